"""Numbers printed in the paper, for comparison and to check its arithmetic: Tables 1–4 (Ignatenko et al. 2021)."""

import pandas as pd

from helpers.family import PAPER_FAMILIES

TABLE_1 = pd.DataFrame(
    {
        "set": ["size range", "training", "validation", "test"],
        "patterns": [18_213, 555, 336, 17_932],
        "positive": [1196, 165, 53, 995],
        "negative": [17_017, 390, 283, 16_937],
    }
)
"""Table 1: patterns in each data set."""

TABLE_2 = pd.DataFrame(
    {
        "family": list(PAPER_FAMILIES),
        "accuracy_mean": [0.95, 0.94, 0.93, 0.94, 0.93, 0.89],
        "precision_mean": [0.98, 0.92, 0.91, 0.98, 0.94, 0.83],
        "recall_mean": [0.72, 0.64, 0.64, 0.66, 0.60, 0.39],
        "f1_mean": [0.83, 0.76, 0.75, 0.79, 0.72, 0.53],
    }
)
"""Means of Table 2: validation set, iterations 2000 to 5000."""

TABLE_3 = pd.DataFrame(
    {
        "family": list(PAPER_FAMILIES),
        "iteration_004000": [1247, 1664, 2990, 1506, 1063, 3452],
        "iteration_004100": [1376, 1633, 3046, 2255, 3497, 3377],
        "iteration_004200": [1632, 1414, 2691, 1605, 4566, 3135],
        "iteration_004300": [1604, 1793, 3847, 1297, 3036, 2541],
        "iteration_004400": [1509, 2060, 2194, 926, 1958, 5014],
        "std": [144.3, 212.1, 539.3, 435.9, 1215.2, 820.1],
        "stable": [1185, 1368, 1756, 904, 1041, 2316],
    }
)
"""Table 3: selected patterns at five checkpoints, their population standard deviation, and the stable selection."""

TABLE_4 = pd.DataFrame(
    {
        "family": list(PAPER_FAMILIES),
        "selected": [1185, 1368, 1756, 904, 1041, 2316],
        "intersection": [597, 614, 622, 487, 505, 465],
        "iou": [0.38, 0.35, 0.29, 0.34, 0.33, 0.16],
        "accuracy": [0.95, 0.94, 0.92, 0.95, 0.94, 0.87],
        "precision": [0.50, 0.45, 0.35, 0.54, 0.49, 0.20],
        "recall": [0.60, 0.62, 0.63, 0.50, 0.51, 0.47],
    }
)
"""Table 4: stable selections against the manual selection, rounded to a percent as printed."""

TEST_PATTERNS = 17_932
TEST_POSITIVES = 995

EM = {"selected": 1085, "intersection": 575, "positives": 1196, "patterns": 18_213}
"""EM classification against the manual selection, on the whole size range (end of section 3). The paper prints 1085
selected, IoU 34 %, accuracy 94 %, precision 53 % and recall 48 %; the intersection follows from these."""
