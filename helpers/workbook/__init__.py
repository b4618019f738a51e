"""The workbook's machinery: profiles, runs, which steps are stale, papermill, the report, the command line.

Notebooks need one name of it, `open_run`; nothing else in `helpers` knows that a notebook exists.
"""

from helpers.workbook.profile import Profile, load_profile
from helpers.workbook.run import Run, open_run

__all__ = ["Profile", "Run", "load_profile", "open_run"]
