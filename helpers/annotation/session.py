"""Messages of the annotation widget's page and their answers, independent of Jupyter.

A message and its answer are mappings with a `kind`. A change carries the page's `revision`; the answer repeats it, and
is sent only once the change is on disk: without an answer the page knows that the change is not saved. A label names
the position in the queue *and* the pattern that was on screen, and is refused if they do not match.

    message  content                          answer
    begin                                     state: labels so far, and the box
    frames   positions                        frames: photons, sizes, and the levels of each picture
    sum                                       sum: the sum of the positives, and the box proposed for them
    label    position, pattern, label         labelled
    box      edges                            boxed
    undo                                      undone: the previous label or box; or nothing
    ping                                      pong
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from helpers.annotation.box import Box, held_share, propose_box
from helpers.annotation.labels_file import LABELS, SINGLE, LabelsFile
from helpers.annotation.queue import Queue
from helpers.errors import LabelsError, WorkbookError
from helpers.patterns import PatternStack
from helpers.rendering import colour_index

MOST_FRAMES = 32
"""Largest number of pictures in one answer, so that a key pressed in the meantime does not wait for long."""

_LETTER = {None: "-", **{label: label[0] for label in LABELS}}

Answer = tuple[dict[str, Any], list[bytes]]


class AnnotationSession:
    """Annotation session: one person labels patterns and draws the box.

    Parameters
    ----------
    stack
        Open stack of the patterns; it must stay open.
    file
        File that stores labels and box.
    queue
        Patterns in the order in which they are shown.
    labeller
        Name of the person who labels.
    positives
        Patterns to draw the box on, for instance those of the training set; None takes the patterns of the queue that
        are labelled single in `file`.
    share
        Fraction of the positives' counts that the proposed box holds, above 0 and up to 1.

    Raises
    ------
    LabelsError
        If the queue is empty or names a pattern that is not in the stack, or if `labeller` is empty.
    """

    def __init__(
        self,
        stack: PatternStack,
        file: LabelsFile,
        queue: Queue,
        *,
        labeller: str,
        positives: Sequence[int] | np.ndarray | None = None,
        share: float = 0.9,
    ) -> None:
        if len(queue) == 0 or queue.patterns.min() < 0 or queue.patterns.max() >= len(stack):
            raise LabelsError(f"the queue must hold at least one pattern, out of 0 to {len(stack) - 1} of {stack.path}")
        if not labeller.strip():
            raise LabelsError("labeller is empty: give the name of the person who labels")
        self.file = file
        self.queue = queue
        self._stack = stack
        self._labeller = labeller.strip()
        self._known = None if positives is None else frozenset(int(pattern) for pattern in positives)
        self._queued = frozenset(queue.patterns.tolist())
        self._share = share
        table = stack.table()
        self._size_nm = table["size_nm"].to_numpy() if "size_nm" in table else None
        self._summed = np.zeros(file.shape)
        self._in_sum: frozenset[int] = frozenset()
        self._proposals: dict[frozenset[int], Box] = {}
        self._shown: set[int] = set()
        self._before: list[tuple[int | None, str | Box | None]] = []
        self._answers: dict[str, Callable[[Mapping[str, Any]], Answer]] = {
            "begin": self._begin,
            "frames": self._frames,
            "sum": self._sum,
            "label": self._label,
            "box": self._draw,
            "undo": self._undo,
            "ping": lambda _: ({"kind": "pong"}, []),
        }

    def answer(self, message: Mapping[str, Any]) -> Answer:
        """Answer a message of the page.

        Parameters
        ----------
        message
            Message with a `kind` and its content, see the table above.

        Returns
        -------
        dict
            Answer, with `revision` and `view` of the message; of the kind `refused`, with a `reason`, if nothing was
            changed.
        list of bytes
            Pictures as deflated uint8 arrays (2, rows, columns): their levels on the linear and the log scale.
        """
        marks = {name: message[name] for name in ("revision", "view", "position", "pattern") if name in message}
        try:
            answer, buffers = self._answers[message["kind"]](message)
        except (WorkbookError, OSError, KeyError, TypeError, ValueError, IndexError) as error:
            answer, buffers = {"kind": "refused", "reason": _reason(error)}, []
        return {**marks, **answer}, buffers

    @property
    def positives(self) -> frozenset[int]:
        """Patterns that the box is drawn on; labels of patterns outside the queue, as of a test set, do not count."""
        return self._queued.intersection(self.file.labelled(SINGLE).tolist()) if self._known is None else self._known

    def read_positives(self) -> np.ndarray:
        """Photon counts (positives, rows, columns) of `positives`, in the order of their numbers.

        Raises
        ------
        LabelsError
            If there are none.
        """
        if not self.positives:
            raise LabelsError("no pattern is called single yet: label some in the widget, then run the cells below it")
        return self._stack.read(np.array(sorted(self.positives)))

    @property
    def box(self) -> Box | None:
        """Box that the user has drawn, else the proposed one; None as long as there are no positives."""
        return self.file.box or self.proposal

    @property
    def proposal(self) -> Box | None:
        """Smallest box that holds the wanted share of the positives' counts (section 2.6 of the paper)."""
        summed, positives = self.summed, self.positives
        if summed.sum() <= 0:
            return None
        if positives not in self._proposals:
            self._proposals = {positives: propose_box(summed[None], self._share)}
        return self._proposals[positives]

    @property
    def summed(self) -> np.ndarray:
        """Sum of the positives' photon counts, float64 (rows, columns); only patterns that changed are read again."""
        positives = self.positives
        for sign, changed in ((1, positives - self._in_sum), (-1, self._in_sum - positives)):
            for group in _groups(sorted(changed)):
                self._summed += sign * self._stack.read(group).sum(axis=0, dtype=np.float64)
        self._in_sum = positives
        return self._summed if positives else np.zeros_like(self._summed)

    def first_pattern(self) -> np.ndarray:
        """Photon counts (rows, columns) of the first pattern of the queue."""
        return self._stack.read(self.queue.patterns[:1])[0]

    def label_at(self, position: int) -> str | None:
        """Label that was given at a position of the queue; None without one."""
        judgements = self.file.repeats if self.queue.repeats[position] else self.file.labels
        judgement = judgements.get(int(self.queue.patterns[position]))
        return None if judgement is None else judgement.label

    def _begin(self, _message: Mapping[str, Any]) -> Answer:
        """All labels and the box, as on disk."""
        self.file.reload()
        letters = "".join(_LETTER[self.label_at(position)] for position in range(len(self.queue)))
        return {"kind": "state", "labels": letters, **self._box_state()}, []

    def _box_state(self) -> dict[str, Any]:
        """Box on screen, its origin, and the share of the counts inside."""
        drawn, summed = self.file.box, self.summed
        box = drawn or self.proposal
        share = held_share(summed, box) if box is not None and summed.sum() > 0 else None
        return {"edges": _edges(box), "proposal": _edges(self.proposal), "drawn": drawn is not None, "share": share}

    def _frames(self, message: Mapping[str, Any]) -> Answer:
        """Pictures of some positions, with photons, brightest pixel and size."""
        positions = [self._position(position) for position in message["positions"][:MOST_FRAMES]]
        counts = self._stack.read(self.queue.patterns[positions])
        frames = []
        for position, photons, brightest in zip(
            positions, counts.sum(axis=(1, 2)), counts.max(axis=(1, 2)), strict=True
        ):
            pattern = int(self.queue.patterns[position])
            size = None if self._size_nm is None or not np.isfinite(self._size_nm[pattern]) else self._size_nm[pattern]
            frame = {"position": position, "pattern": pattern, "photons": float(photons), "brightest": float(brightest)}
            frames.append(frame | {"size_nm": None if size is None else float(size)})
        self._shown.update(positions)
        return {"kind": "frames", "frames": frames}, levels(counts)

    def _sum(self, _message: Mapping[str, Any]) -> Answer:
        """Picture of the sum of the positives, and the box."""
        positives = len(self.positives)
        pictures = levels(self.summed[None]) if positives else []
        return {"kind": "sum", "positives": positives, **self._box_state()}, pictures

    def _label(self, message: Mapping[str, Any]) -> Answer:
        """Store a label; it is refused unless it names the pattern that was shown at its position."""
        position, label = self._position(message["position"]), message["label"]
        pattern = int(self.queue.patterns[position])
        if message["pattern"] != pattern or position not in self._shown:
            raise LabelsError(f"pattern {message['pattern']} was not on screen at position {position}; label it again")
        before = self.label_at(position)
        self._give(position, label)
        self._before.append((position, before))
        return {"kind": "labelled", "label": _LETTER[label]}, []

    def _give(self, position: int, label: str | None) -> None:
        """Store the label of a position, or remove it."""
        pattern, repeat = int(self.queue.patterns[position]), bool(self.queue.repeats[position])
        self.file.give(pattern, label, labeller=self._labeller, repeat=repeat)

    def _draw(self, message: Mapping[str, Any]) -> Answer:
        """Store the box that the user has drawn; without edges the proposal counts again."""
        before = self.file.box
        self._keep(None if message["edges"] is None else Box(*message["edges"]))
        self._before.append((None, before))
        return {"kind": "boxed", **self._box_state()}, []

    def _keep(self, box: Box | None) -> None:
        """Store a box with the share of the counts inside, or remove it."""
        if box is not None:
            box.check_inside(self.file.shape)
        summed = self.summed
        self.file.draw(box, share=held_share(summed, box) if box is not None and summed.sum() > 0 else None)

    def _undo(self, _message: Mapping[str, Any]) -> Answer:
        """Take back the latest change of this session."""
        if not self._before:
            return {"kind": "nothing"}, []
        position, before = self._before[-1]
        if position is None:
            self._keep(before)
            undone = {"kind": "undone", "position": None, **self._box_state()}
        else:
            self._give(position, before)
            undone = {"kind": "undone", "position": position, "label": _LETTER[before]}
        self._before.pop()
        return undone, []

    def _position(self, position: Any) -> int:
        """Position of the queue, checked."""
        if type(position) is not int or not 0 <= position < len(self.queue):
            raise LabelsError(f"the queue has no position {position!r}, only 0 to {len(self.queue) - 1}")
        return position


def levels(counts: np.ndarray) -> list[bytes]:
    """Levels of each pixel on both intensity scales (section 2.5), deflated, for the page to colour.

    Parameters
    ----------
    counts
        (N, rows, columns) photon counts, of patterns or of their sum.

    Returns
    -------
    list of bytes
        For each picture zlib data of uint8 (2, rows, columns): linear, log.
    """
    counts = np.asarray(counts, dtype=np.float32)
    both = np.stack([colour_index(counts, scale).numpy().astype(np.uint8) for scale in ("linear", "log")], axis=1)
    return [zlib.compress(np.ascontiguousarray(pair), level=1) for pair in both]


def _edges(box: Box | None) -> list[int] | None:
    """Edges of a box as the page has them: rows, then columns."""
    return None if box is None else [box.row_start, box.row_stop, box.column_start, box.column_stop]


def _groups(patterns: list[int], size: int = 256) -> list[np.ndarray]:
    """Patterns in groups that fit into memory."""
    return [np.array(patterns[start : start + size]) for start in range(0, len(patterns), size)]


def _reason(error: Exception) -> str:
    """Text of an error for the user."""
    known = isinstance(error, WorkbookError | OSError)
    return str(error) if known else f"the kernel does not understand the page ({error!r}); run the cell again"
