"""Scores and selections of pattern stacks: consensus of checkpoints, many files, a cluster, and online."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "consensus": ["load_family", "score_stack", "stored_scores", "stored_selection", "write_stable_selection"],
        "files": ["classify_files"],
        "online.command": ["follow"],
        "online.page": ["latest_figure", "watch"],
        "online.scoring": ["OnlineClassification"],
    },
)
