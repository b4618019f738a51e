"""Annotation widget for notebooks: label patterns by key, and draw the box of the positives.

The page (`widget.js`) sends messages and `session` answers them; this module connects the two. Where no front end runs,
as in the report of a run, a still picture with the box takes its place.
"""

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers.annotation.box import Box, held_share
from helpers.annotation.labels_file import LabelsFile
from helpers.annotation.queue import Queue
from helpers.annotation.session import AnnotationSession
from helpers.family import Representation
from helpers.patterns import PatternStack
from helpers.rendering import colour_table, to_rgb

_STATIC = Path(__file__).parent
_SCRIPTS = ("box_drawing.js", "widget.js")
_COLOURS = Representation("jet", "log")


class AnnotationWidget(anywidget.AnyWidget):
    """Widget in which a person labels patterns and draws the box of the positives; made by `annotate`.

    Parameters
    ----------
    session
        Session that answers the messages of the page.
    """

    _esm = "\n".join((_STATIC / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    _css = _STATIC / "widget.css"

    shape = traitlets.List(traitlets.Int()).tag(sync=True)
    positions = traitlets.Int().tag(sync=True)
    file_name = traitlets.Unicode().tag(sync=True)
    colour_tables = traitlets.Dict().tag(sync=True)

    def __init__(self, session: AnnotationSession) -> None:
        self._session = session
        super().__init__(
            shape=list(session.file.shape),
            positions=len(session.queue),
            file_name=session.file.path.name,
            colour_tables={name: colour_table(name).ravel().tolist() for name in ("jet", "gray")},
        )
        self.on_msg(self._answer)

    def __repr__(self) -> str:
        return f"AnnotationWidget({'; '.join(self._captions())})"

    @property
    def labels(self) -> dict[int, str]:
        """Pattern → label, as on disk."""
        return {pattern: judgement.label for pattern, judgement in self._session.file.labels.items()}

    @property
    def box(self) -> Box | None:
        """Box that the user has drawn, else the proposed one; None as long as there are no positives."""
        return self._session.box

    @property
    def is_drawn(self) -> bool:
        """True if the user has drawn the box."""
        return self._session.file.box is not None

    @property
    def positives(self) -> list[int]:
        """Patterns that the box is drawn on, ascending."""
        return sorted(self._session.positives)

    def read_positives(self) -> np.ndarray:
        """Photon counts (positives, rows, columns) of the patterns that the box is drawn on.

        Raises
        ------
        LabelsError
            If there are none yet.
        """
        return self._session.read_positives()

    def preview(self) -> bytes:
        """Picture (PNG) for pages without a kernel: the sum of the positives with the box, or the first pattern."""
        box, summed = self.box, self._session.summed
        counts = summed if summed.any() else self._session.first_pattern()
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.imshow(to_rgb(counts, _COLOURS), interpolation="nearest")
        if box is not None:
            corner = (box.column_start - 0.5, box.row_start - 0.5)
            width, height = box.column_stop - box.column_start, box.row_stop - box.row_start
            axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor="white", linewidth=2, clip_on=False))
        axes.set(xlabel="column [pixels]", ylabel="row [pixels]", title="\n".join(self._captions()))
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
        return stream.getvalue()

    def _captions(self) -> tuple[str, str]:
        """One line about the labels, and one about the box."""
        box = self.box
        labelled = f"{len(self.labels)} patterns labelled in {self.file_name}"
        if box is None:
            return labelled, "no box"
        origin = "drawn" if self.is_drawn else "proposed"
        edges = f"rows {box.row_start} to {box.row_stop}, columns {box.column_start} to {box.column_stop}"
        summed = self._session.summed
        share = f": {100 * held_share(summed, box):.1f} % of the counts" if summed.any() else ""
        return labelled, f"{origin} box: {edges}{share}"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict] | None:
        """Live widget, with a picture for pages where no front end runs."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "image/png": base64.b64encode(self.preview()).decode("ascii")}, metadata

    def _answer(self, _widget: "AnnotationWidget", message: Mapping[str, Any], _buffers: list) -> None:
        """Send the session's answer to the page."""
        answer, buffers = self._session.answer(message)
        self.send(answer, buffers)


def annotate(
    stack: PatternStack,
    path: str | os.PathLike,
    queue: Queue,
    *,
    labeller: str,
    positives: Sequence[int] | np.ndarray | None = None,
    share: float = 0.9,
) -> AnnotationWidget:
    """Widget to label patterns and to draw the box of the positives; every change is on disk at once.

    Parameters
    ----------
    stack
        Open stack of the patterns; it must stay open.
    path
        JSON file of labels and box. It is written at the first change, not when the widget is made.
    queue
        Patterns in the order in which they are shown.
    labeller
        Name of the person who labels.
    positives
        Patterns to draw the box on, for instance those of the training set; None takes the patterns of the queue that
        are labelled single in `path`.
    share
        Fraction of the positives' counts that the proposed box holds, above 0 and up to 1.

    Returns
    -------
    AnnotationWidget
        Its `labels` and `box` are those on disk.

    Raises
    ------
    LabelsError
        If `path` is damaged or labels other patterns, or the queue does not fit the patterns.
    """
    file = LabelsFile(path, stack)
    return AnnotationWidget(AnnotationSession(stack, file, queue, labeller=labeller, positives=positives, share=share))
