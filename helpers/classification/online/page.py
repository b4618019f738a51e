"""A live page in a notebook: rates, the latest single hits to go back to, and scores, while patterns are written."""

import io
from collections.abc import Sequence
from pathlib import Path

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib.figure import Figure

from helpers.classification.online.command import rates, steps
from helpers.classification.online.scoring import OnlineClassification, SingleHit
from helpers.figures import gallery, online_rates_figure, online_scores_figure, style
from helpers.system import is_sparse

EACH_S = 2.0
"""Time between updates, at least [s]."""

_DRAWING_SHARE = 0.1
"""Share of the time that is spent on drawing, at most: the classification waits meanwhile."""

_COLUMNS = 4


class OnlinePage(ipywidgets.VBox):
    """A widget with a line of rates and pictures of the classification that runs."""

    def __init__(self, online: OnlineClassification) -> None:
        self._online = online
        self._next = -np.inf
        self.line = ipywidgets.HTML()
        self.pictures = [
            ipywidgets.Image(format="png", layout={"width": width}) for width in ("690px", "335px", "690px")
        ]
        super().__init__([self.line, *self.pictures])

    def update(self) -> None:
        """Draw anew, if it is time to."""
        if (began := self._online.clock()) < self._next:
            return
        self.line.value = rates(self._online)
        for picture, figure in zip(self.pictures, self._figures(), strict=True):
            picture.value = b"" if figure is None else _png(figure)
        ended = self._online.clock()
        self._next = ended + max(EACH_S, (ended - began) / _DRAWING_SHARE)

    def _figures(self) -> Sequence[Figure | None]:
        online, history = self._online, self._online.history()
        return (
            online_rates_figure(history) if len(history) else None,
            online_scores_figure(online.histogram, online.threshold),
            latest_figure(online),
        )


def watch(online: OnlineClassification, *, stop_after: float | None) -> None:
    """Follow until nothing comes any more or the cell is stopped: a live page in Jupyter, lines of text elsewhere.

    Parameters
    ----------
    online
        The classification to run.
    stop_after
        Time without new patterns after which it ends [s]; default: only when the cell is stopped.
    """
    page = None if is_sparse() else OnlinePage(online)
    if page is not None:
        display(page)
    try:
        for is_due in steps(online, say=print, stop_after=stop_after):
            if page is not None:
                page.update()
            elif is_due:
                print(rates(online))
    except KeyboardInterrupt:
        print("stopped")


def latest_figure(online: OnlineClassification) -> Figure | None:
    """The latest single hits, newest first, each with its file, pattern number and score; None if there are none."""
    hits = list(reversed(online.latest))
    if not hits:
        return None
    counts = np.stack([hit.counts for hit in hits])
    return gallery(counts, [_title(hit) for hit in hits], columns=_COLUMNS, mask=online.mask)


def _title(hit: SingleHit) -> str:
    return f"{Path(hit.file).name} {hit.pattern}: {hit.score:.2f}"


def _png(figure: Figure) -> bytes:
    """A figure as PNG."""
    stream = io.BytesIO()
    with style():
        figure.savefig(stream, format="png")
    return stream.getvalue()
