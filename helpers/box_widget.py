"""The box on screen: an anywidget with one box by construction, that saves itself and has a picture for static HTML."""

import base64
import io
import os
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from helpers.annotation import Box, held_share, write_box
from helpers.errors import BoxError
from helpers.family import Representation
from helpers.rendering import to_rgb

_STATIC = Path(__file__).with_name("static")
_COLOURS = Representation("jet", "log")


class BoxWidget(anywidget.AnyWidget):
    """One box over the summed positive examples; made by `annotation.box_widget`.

    The page sends `edges` and a new `revision` once a drag or key press ends; Python saves the box and echoes the
    revision as `saved`. A page that waits for the echo says NOT SAVED, for instance after the kernel has died.

    Parameters
    ----------
    summed
        (rows, columns) [photons].
    box
        The box to start from.
    path
        JSON file for the box; making the widget writes nothing.
    """

    _esm = _STATIC / "box_widget.js"
    _css = _STATIC / "box_widget.css"

    picture = traitlets.Unicode().tag(sync=True)
    shape = traitlets.List(traitlets.Int()).tag(sync=True)
    edges = traitlets.List(traitlets.Int(), minlen=4, maxlen=4).tag(sync=True)
    share = traitlets.Float().tag(sync=True)
    file_name = traitlets.Unicode().tag(sync=True)
    revision = traitlets.Int(0).tag(sync=True)
    saved = traitlets.Int(0).tag(sync=True)

    def __init__(self, summed: np.ndarray, box: Box, path: str | os.PathLike) -> None:
        box.check_inside(summed.shape)
        self._summed = summed
        self._path = Path(path)
        super().__init__(
            picture=_data_url(to_rgb(summed, _COLOURS)),
            shape=list(summed.shape),
            edges=[box.row_start, box.row_stop, box.column_start, box.column_stop],
            share=held_share(summed, box),
            file_name=self._path.name,
        )
        self.observe(self._save, names="edges")

    def __repr__(self) -> str:
        return f"BoxWidget({self._caption()})"

    @property
    def box(self) -> Box:
        """The box on screen."""
        return Box(*self.edges)

    def preview(self) -> bytes:
        """The patterns and the box as PNG, for pages without a kernel."""
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.imshow(to_rgb(self._summed, _COLOURS), interpolation="nearest")
        corner = (self.box.column_start - 0.5, self.box.row_start - 0.5)
        width, height = self.box.column_stop - self.box.column_start, self.box.row_stop - self.box.row_start
        outline = Rectangle(corner, width, height, fill=False, edgecolor="white", linewidth=2, clip_on=False)
        axes.add_patch(outline)
        axes.set(xlabel="column [pixels]", ylabel="row [pixels]", title=self._caption())
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
        return stream.getvalue()

    def _caption(self) -> str:
        """One line about the box."""
        row_start, row_stop, column_start, column_stop = self.edges
        return (
            f"rows {row_start} to {row_stop}, columns {column_start} to {column_stop}: "
            f"{100 * self.share:.1f} % of the counts"
        )

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict] | None:
        """The live widget, and a picture where no front end runs."""
        bundle = super()._repr_mimebundle_(**options)
        if bundle is None:
            return None
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "image/png": base64.b64encode(self.preview()).decode("ascii")}, metadata

    @traitlets.validate("edges")
    def _legal(self, proposal: traitlets.Bunch) -> list[int]:
        """Refuse edges that are no box on the pattern."""
        try:
            Box(*proposal["value"]).check_inside(self._summed.shape)
        except BoxError as error:
            raise traitlets.TraitError(str(error)) from error
        return proposal["value"]

    def _save(self, _change: traitlets.Bunch) -> None:
        """Write the box, and tell the page which change is on disk."""
        self.share = held_share(self._summed, self.box)
        write_box(self._path, self.box, shape=self._summed.shape, source="user", share=self.share)
        self.saved = self.revision


def _data_url(colours: np.ndarray) -> str:
    """An RGB image as the address of a PNG picture."""
    stream = io.BytesIO()
    Image.fromarray(colours).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
