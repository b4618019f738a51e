"""Numbers printed in the paper (Ignatenko et al. 2021), for comparison: Tables 1 and 4, and the selection of EM."""

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
