"""Export of the training and validation sets for Darknet: pictures, label files, image lists and a `.data` file.

    cd FOLDER && darknet detector train single_hit.data NETWORK.cfg FIRST.weights

Paths in the lists are relative to the folder. Darknet finds a label file by replacing `.png` with `.txt`, and would
also replace "images" or "raw", so neither occurs in a path (`fill_truth_detection` in its src/data.c).
"""

import os
from pathlib import Path

import pandas as pd

from helpers.annotation.box import Box
from helpers.errors import LabelsError
from helpers.family import Representation
from helpers.patterns import PatternStack
from helpers.rendering import to_png
from helpers.system import progress, write_text

SETS = ("training", "validation")
CLASS = "single_hit"


def label_line(box: Box, shape: tuple[int, int]) -> str:
    """Line of a positive's label file: class 0, then centre and size of the box relative to the picture.

    Parameters
    ----------
    box
        Box of the positive examples.
    shape
        Number of rows and columns of a pattern.

    Returns
    -------
    str
        The line with its line break.

    Raises
    ------
    BoxError
        If the box extends beyond the pattern.
    """
    return "0 " + " ".join(f"{value:.6f}" for value in box.relative(shape)) + "\n"


def export_darknet(
    folder: str | os.PathLike, stack: PatternStack, sets: pd.DataFrame, box: Box, *, representation: Representation
) -> None:
    """Write the training and validation sets for Darknet.

    Pictures are those of section 2.5: 954 × 1855 pixels for the paper's patterns. Positives get the shared box, in the
    validation set, too, because Darknet has no label without a box; negatives get an empty file. The lists are written
    last, so that an interrupted export has none.

    Parameters
    ----------
    folder
        Folder to write to; it is created if it does not exist.
    stack
        Open stack of the patterns in the sets.
    sets
        Table of the sets, from `sets.split`; only the training and validation sets are written, never the test set.
    box
        Box that all positive examples share.
    representation
        Colour map and intensity scale of the pictures.

    Raises
    ------
    LabelsError
        If there is no training pattern.
    BoxError
        If the box extends beyond the patterns.
    """
    folder = Path(folder)
    line = label_line(box, stack.shape[1:])
    chosen = {name: sets[sets["set"] == name] for name in SETS}
    if chosen["training"].empty:
        raise LabelsError("the sets hold no training pattern; label some patterns and run notebook 01 first")
    rows = [(name, int(row.pattern), bool(row.label)) for name in SETS for row in chosen[name].itertuples()]
    lists: dict[str, list[str]] = {name: [] for name in SETS}
    for name, pattern, positive in progress(rows, label="pictures for Darknet", total=len(rows)):
        picture = Path(name, f"pattern_{pattern:06d}.png")
        to_png(folder / picture, stack.read(slice(pattern, pattern + 1))[0], representation)
        write_text(folder / picture.with_suffix(".txt"), line if positive else "")
        lists[name].append(f"{picture.as_posix()}\n")
    for name in SETS:
        write_text(folder / f"{name}.txt", "".join(lists[name]))
    write_text(folder / f"{CLASS}.names", f"{CLASS}\n")
    entries = ("classes = 1", "train = training.txt", "valid = validation.txt", f"names = {CLASS}.names", "backup = .")
    write_text(folder / f"{CLASS}.data", "".join(f"{entry}\n" for entry in entries))
