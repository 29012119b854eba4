"""Tables as the chapter on bins for real lengths has them, made up."""

import pandas as pd


def rules(**changes):
    rows = {"source": "azure_2023", "predictor": "oracle", "k_bins": [2, 4], "batch_size": 8, "rule": "optimal"}
    rows |= {"rows": 400, "gain": 1.5, "gain_low": 1.4, "gain_high": 1.6, "over_equal_mass": [1.1, 1.2]}
    return pd.DataFrame(rows | {"over_low": [1.05, 0.9], "over_high": 1.3, "refused": ""} | changes)


def joint(**changes):
    rows = {"source": "log_normal", "predictor": ["oracle", "oracle", "rank 0.7"], "deadline_s": [0.3, 2.4, 0.3]}
    rows |= {"k_bins": 2, "choice": "joint", "edges": "1133", "batch_sizes": ["128 1", "128 128", "16 1"]}
    rows |= {"last_share": [0.02, 0.1, 0.1], "held_out_rps": 106.0, "ci_low": 92.0, "ci_high": 121.0}
    rows |= {"late_share": 0.07, "ratio": [3.0, 1.5, 1.1], "ratio_low": [2.8, 1.4, 0.9], "ratio_high": [3.4, 1.6, 1.2]}
    return pd.DataFrame(rows | {"refused": ""} | changes)
