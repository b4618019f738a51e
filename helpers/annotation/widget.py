"""The annotation widget: label patterns by key and draw the box of the positives, in a notebook.

The page (`widget.js`) asks and shows, `session` answers; here they meet. Where no front
end runs, as in the pages of a run, a picture with the box stands in its place.
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
    """Patterns to label, and the box of the positives to draw; made by `annotate`.

    Parameters
    ----------
    session
        Answers the page.
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
        return {pattern: said.label for pattern, said in self._session.file.labels.items()}

    @property
    def box(self) -> Box | None:
        """The box that the user has drawn, else the proposed one; None as long as there are no positives."""
        return self._session.box

    @property
    def is_drawn(self) -> bool:
        """Whether the box is the user's."""
        return self._session.file.box is not None

    @property
    def positives(self) -> list[int]:
        """Patterns that the box is drawn on, ascending."""
        return sorted(self._session.positives)

    def preview(self) -> bytes:
        """The positives added up with the box, or the first pattern, as PNG: for pages without a kernel."""
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
        """A line about the labels, and one about the box."""
        box = self.box
        said = f"{len(self.labels)} patterns labelled in {self.file_name}"
        if box is None:
            return said, "no box"
        whose = "drawn" if self.is_drawn else "proposed"
        edges = f"rows {box.row_start} to {box.row_stop}, columns {box.column_start} to {box.column_stop}"
        summed = self._session.summed
        share = f": {100 * held_share(summed, box):.1f} % of the counts" if summed.any() else ""
        return said, f"{whose} box: {edges}{share}"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict] | None:
        """The live widget, and a picture where no front end runs."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "image/png": base64.b64encode(self.preview()).decode("ascii")}, metadata

    def _answer(self, _widget: "AnnotationWidget", message: Mapping[str, Any], _buffers: list) -> None:
        """Answer the page."""
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
    """Show patterns to label, and the box of the positives to draw; every change is on disk at once.

    Parameters
    ----------
    stack
        The patterns; it must stay open.
    path
        JSON file of labels and box. It is written when something is changed, not when the widget is made.
    queue
        Which patterns are shown, in order.
    labeller
        Who labels.
    positives
        Patterns to draw the box on, for instance those of the training set; if None, those of the queue that are called
        single here.
    share
        Of the positives' counts that the proposed box holds.

    Returns
    -------
    AnnotationWidget
        `.labels` and `.box` are what is on disk.

    Raises
    ------
    LabelsError
        If `path` labels other patterns or is damaged, or the queue does not fit the patterns.
    """
    file = LabelsFile(path, stack)
    return AnnotationWidget(AnnotationSession(stack, file, queue, labeller=labeller, positives=positives, share=share))
