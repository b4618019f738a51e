"""EM classes on screen: a picture and a box to tick for each; every tick is on disk at once."""

import io
import os
from collections.abc import Sequence

import ipywidgets
import matplotlib
import numpy as np
from PIL import Image

from helpers.em.class_choice import write_choice

_WIDTH = "132px"


class ClassPicker(ipywidgets.Tab):
    """One tab a run, one tick box a class; a change writes the JSON file whole, as a person's choice.

    Parameters
    ----------
    pictures
        Models of a run as pictures (classes, side, side), NaN outside the band.
    titles
        Lines above the pictures of a run.
    choice
        Classes ticked at the start, of each run; making the widget writes nothing.
    path
        The JSON file.
    key
        Checksum of the runs, from `runs_key`.
    """

    def __init__(
        self,
        pictures: Sequence[np.ndarray],
        titles: Sequence[Sequence[str]],
        choice: Sequence[Sequence[int]],
        *,
        path: str | os.PathLike,
        key: str,
    ) -> None:
        self._path, self._key = path, key
        self.ticks = [
            [ipywidgets.Checkbox(k in chosen, description=title, indent=False) for k, title in enumerate(names)]
            for names, chosen in zip(titles, choice, strict=True)
        ]
        super().__init__([_page(images, ticks) for images, ticks in zip(pictures, self.ticks, strict=True)])
        self.titles = [f"run {run}" for run in range(1, len(self.ticks) + 1)]
        for tick in (tick for ticks in self.ticks for tick in ticks):
            tick.observe(self._save, names="value")

    def __repr__(self) -> str:
        return f"ClassPicker({self.choice})"

    @property
    def choice(self) -> list[list[int]]:
        """Ticked classes of each run."""
        return [[k for k, tick in enumerate(ticks) if tick.value] for ticks in self.ticks]

    def _save(self, _change: object) -> None:
        """Write what is ticked now."""
        write_choice(self._path, self.choice, key=self._key, source="user")


def _page(pictures: np.ndarray, ticks: Sequence[ipywidgets.Checkbox]) -> ipywidgets.HBox:
    """The classes of a run, as many in a row as fit."""
    layout = ipywidgets.Layout(width=_WIDTH)
    cells = []
    for picture, tick in zip(pictures, ticks, strict=True):
        tick.layout = layout
        cells.append(ipywidgets.VBox([ipywidgets.Image(value=_png(picture), layout=layout), tick]))
    return ipywidgets.HBox(cells, layout=ipywidgets.Layout(flex_flow="row wrap"))


def _png(picture: np.ndarray) -> bytes:
    """A model as a PNG picture, its own brightest cell white; gray outside the band."""
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#BBBBBB")
    highest = np.nanmax(picture, initial=0.0) or 1.0
    rgb = colours(np.ma.masked_invalid(picture / highest), bytes=True)[..., :3]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(stream, format="PNG")
    return stream.getvalue()
