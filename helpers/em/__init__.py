"""EM classification, the unsupervised baseline of the paper (section 2.7)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "class_choice": [
            "class_profiles",
            "class_titles",
            "icosahedron_profiles",
            "likeness",
            "pattern_profiles",
            "proposed_classes",
            "runs_key",
            "settled_choice",
            "votes",
        ],
        "class_picker": ["ClassPicker"],
        "expectation_maximisation": ["PolarPatterns"],
        "polar_grid": ["PolarGrid"],
        "runs": ["blocks", "classify", "classify_runs"],
        "settings": ["EMSettings"],
    },
)
