"""The workbook's machinery: profiles, runs, which steps are stale, papermill, the report, the command line.

Notebooks need one name of it, `open_run`; nothing else in `helpers` knows that a notebook exists.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "commands": ["main"],
        "profile": ["Profile", "load_profile"],
        "run": ["Run", "open_run"],
    },
)
