"""How long a batch takes: the formula against measured GPUs, calibration here, levels 3 and 4 under measured times."""
