"""Evaluation from stored scores alone: equations (1) to (5), Tables 2 to 4, intervals, and the paper's numbers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparison": ["references_of", "table_em", "table_intervals", "table_published"],
        "metrics": [
            "Confusion",
            "agreement",
            "by_score",
            "consensus_f1",
            "stable_selection",
            "validation_curve",
        ],
        "published": ["TABLE_1"],
        "scores": ["iteration_column", "iterations_of", "read_scores", "scores_at"],
        "tables": ["NEVER_SINGLE", "table_2", "table_3", "table_4"],
    },
)
