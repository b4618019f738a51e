"""What holds for every test: pictures without a screen, random examples from one seed, no traces in the home folder."""

import os
import tempfile

import matplotlib
from hypothesis import settings

matplotlib.use("Agg")

settings.register_profile("workbook", deadline=None, derandomize=True)
settings.load_profile("workbook")

os.environ.setdefault("IPYTHONDIR", tempfile.mkdtemp(prefix="ipython-"))
