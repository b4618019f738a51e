"""Pattern stacks on disk: open every known layout, describe, write, and write selections.

CXI is HDF5 with agreed names (cxidb.org, version 1.6); Dragonfly has files of its own.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "description": ["describe", "from_dim_to_bright"],
        "dragonfly.detector": ["detector_beside"],
        "growing.following": ["Following", "Known", "NewPatterns"],
        "look": ["doubts", "print_doubts"],
        "opening": ["open_stack"],
        "options": ["DEFAULTS", "ReadOptions"],
        "probing": ["probe"],
        "selections": [
            "SUFFIXES",
            "check_output",
            "selection_table",
            "write_any_selection",
            "write_selections",
        ],
        "stack": ["PatternStack"],
        "writing": ["new_stack", "write_stack", "write_table"],
    },
)
