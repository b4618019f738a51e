"""Colours of all figures, and colours, line styles and titles of the families."""

import zlib

import matplotlib

from helpers.errors import ProfileError
from helpers.family import Family

BAD_PIXEL = "#BBBBBB"
INK = "#333333"
QUIET = "#888888"
HIGHLIGHT = "#D55E00"
NEUTRAL = "#0072B2"
PHOTON_COLOURS = matplotlib.colormaps["viridis"].with_extremes(bad=BAD_PIXEL)

# the colours of Okabe and Ito without yellow for the paper's families; the others are only distinct and dark enough
_FAMILY_COLOURS = {
    "yolov2-jet-linear": "#0072B2",
    "yolov2-jet-log": "#009E73",
    "yolov2-gray-linear": "#D55E00",
    "yolov2-gray-log": "#CC79A7",
    "yolov3-jet-linear": "#56B4E9",
    "yolov3-gray-linear": "#E69F00",
    "yolov3-jet-log": "#999933",
    "yolov3-gray-log": "#882255",
    "em": "#7F7F7F",
    "never-single": "#000000",
}
_OTHER_COLOURS = ("#332288", "#117733", "#AA4499", "#661100", "#44AA99", "#6699CC", "#888888")
_DASHES = {
    "jet-linear": "-",
    "jet-log": (0, (5, 1.5)),
    "gray-linear": (0, (5, 1.2, 1, 1.2)),
    "gray-log": (0, (1.2, 1.2)),
}
_TITLES = {"em": "EM", "never-single": "never single", "manual": "manual selection", "truth": "simulated truth"}


def family_colour(name: str) -> str:
    """Hexadecimal colour of a family, or of another row of Table 4 ("em", "never-single"), the same in every figure."""
    return _FAMILY_COLOURS.get(name) or _OTHER_COLOURS[zlib.crc32(name.encode()) % len(_OTHER_COLOURS)]


def family_dashes(name: str) -> str | tuple[float, tuple[float, ...]]:
    """Line style of a family: one for each representation, so that lines differ in gray print, too."""
    return _DASHES.get(name.partition("-")[2], "-")


def family_title(name: str) -> str:
    """Title of a family as in the paper, or a readable name for another row of Table 4."""
    try:
        return Family.from_name(name).title
    except ProfileError:
        return _TITLES.get(name, name)
