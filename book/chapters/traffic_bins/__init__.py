"""Which bins for real lengths: where to cut, with which batch sizes, from which rate on."""
