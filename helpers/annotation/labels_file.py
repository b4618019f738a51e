"""JSON file of the labels that people give in the widget, and of the box that they draw.

{"file": "twin.cxi", "patterns": 2140, "shape": [123, 240], "checksum": "…",
 "box": {"rows": [0, 61], "columns": [60, 180], "share": 0.91},
 "labels": [{"pattern": 17, "event_id": 4711, "label": "single", "labeller": "anna"}, …],
 "repeats": [second judgements of patterns that were shown twice, in the same form]}
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from helpers.annotation.box import Box
from helpers.errors import LabelsError
from helpers.patterns import PatternStack
from helpers.system import in_short, read_json, write_text

SINGLE, NOT_SINGLE, UNSURE = LABELS = ("single", "not single", "unsure")

_SECTIONS = ("labels", "repeats")


@dataclass(frozen=True)
class Judgement:
    """Label of a pattern, one of `LABELS`, and the name of the person who gave it."""

    label: str
    labeller: str


@dataclass(frozen=True)
class _Content:
    """Content of the file beside the description of the patterns."""

    box: Box | None
    share: float | None
    labels: Mapping[int, Judgement]
    repeats: Mapping[int, Judgement]


class LabelsFile:
    """Labels and box in a JSON file; opening it writes nothing.

    Every change is on disk when the call returns, and the file is never half written. Changes by another program are
    read first, so that neither loses the other's labels.

    Parameters
    ----------
    path
        JSON file, which need not exist yet.
    stack
        Open stack of the patterns that the file labels.

    Raises
    ------
    LabelsError
        If the file is damaged, or labels other patterns.
    """

    def __init__(self, path: str | os.PathLike, stack: PatternStack) -> None:
        self.path = Path(path)
        self.patterns = len(stack)
        self.shape = tuple(int(length) for length in stack.shape[1:])
        self._event_ids = stack.event_ids
        self._head = {"patterns": self.patterns, "shape": list(self.shape), "checksum": _checksum(stack)}
        self._name = stack.path.name
        self._content = _Content(None, None, {}, {})
        self._lines: dict[tuple[int, Judgement], str] = {}
        self._written: tuple | None = None
        self.reload()

    @property
    def labels(self) -> Mapping[int, Judgement]:
        """Pattern → its judgement, in the order in which the patterns were first labelled."""
        return self._content.labels

    @property
    def repeats(self) -> Mapping[int, Judgement]:
        """Pattern → its second judgement, where it was shown a second time."""
        return self._content.repeats

    @property
    def box(self) -> Box | None:
        """Box that a person has drawn; None if nobody has."""
        return self._content.box

    def labelled(self, label: str) -> np.ndarray:
        """Patterns with this label, int64 (n,), ascending."""
        return np.array(
            sorted(pattern for pattern, given in self.labels.items() if given.label == label), dtype=np.int64
        )

    def give(self, pattern: int, label: str | None, *, labeller: str, repeat: bool = False) -> None:
        """Label a pattern, or remove its label.

        Parameters
        ----------
        pattern
            Index of the pattern in the stack.
        label
            One of `LABELS`; None removes the label.
        labeller
            Name of the person who labels.
        repeat
            True if the pattern was shown a second time; its first judgement is then kept.

        Raises
        ------
        LabelsError
            If there is no such pattern or label. Then nothing is changed, nor if the file cannot be written.
        """
        if isinstance(pattern, bool) or not isinstance(pattern, int) or not 0 <= pattern < self.patterns:
            raise LabelsError(f"{self.path}: there is no pattern {pattern!r}, only 0 to {self.patterns - 1}")
        if label is not None and label not in LABELS:
            raise LabelsError(f"{self.path}: a label must be one of {', '.join(LABELS)}, got {label!r}")
        self.reload()
        section = _SECTIONS[repeat]
        judgements = dict(getattr(self._content, section))
        if label is None:
            judgements.pop(pattern, None)
        else:
            judgements[pattern] = Judgement(label, labeller)
        self._write(**{section: judgements})

    def draw(self, box: Box | None, *, share: float | None = None) -> None:
        """Store the box that a person has drawn, or remove it.

        Parameters
        ----------
        box
            Rectangle on the patterns; None removes the box.
        share
            Fraction of the positives' counts inside, if known; it is only information for readers of the file.

        Raises
        ------
        BoxError
            If the box extends beyond the patterns. Then nothing is changed, nor if the file cannot be written.
        """
        if box is not None:
            box.check_inside(self.shape)
        self.reload()
        self._write(box=box, share=share)

    def reload(self) -> None:
        """Read changes that another program has made to the file; if the file has been deleted, nothing is lost.

        Raises
        ------
        LabelsError
            If the file is damaged, or labels other patterns.
        """
        state = self._on_disk()
        if state is None or state == self._written:
            return
        advice = "restore it from a copy, or move it away"
        content = read_json(self.path, "labels of this workbook", error=LabelsError, advice=advice)
        try:
            head = {name: content[name] for name in self._head}
            if head == self._head:
                sections = {name: self._judgements(content[name]) for name in _SECTIONS}
                self._content = _Content(*_box(content["box"], self.shape), **sections)
        except (KeyError, TypeError, ValueError) as error:
            raise LabelsError(
                f"{self.path} holds no labels of this workbook ({in_short(repr(error))}); {advice}"
            ) from error
        if head != self._head:
            found = in_short(f"{content.get('file')}: {head['patterns']} patterns of {head['shape']} pixels")
            raise LabelsError(
                f"{self.path} labels {found}, not the {self.patterns} of {self._head['shape']} in {self._name}; "
                "move it away, or choose another file"
            )
        self._written = state

    def _judgements(self, rows: list[dict[str, Any]]) -> dict[int, Judgement]:
        """Judgements of a section of the file, checked."""
        judgements: dict[int, Judgement] = {}
        for row in rows:
            pattern, label = row["pattern"], row["label"]
            is_pattern = type(pattern) is int and 0 <= pattern < self.patterns and pattern not in judgements
            if not is_pattern or label not in LABELS:
                raise ValueError(f"pattern {pattern!r}, label {label!r}")
            if row.get("event_id") != self._event_id(pattern):
                raise ValueError(f"pattern {pattern} does not have the event id {row.get('event_id')!r}")
            judgements[pattern] = Judgement(label, str(row["labeller"]))
        return judgements

    def _write(self, **changes: Any) -> None:
        """Write the content with some changes; they take effect only once they are on disk."""
        content = _Content(**{**vars(self._content), **changes})
        head = {"file": self._name, **self._head}
        box = None
        if content.box is not None:
            box = {
                "rows": [int(content.box.row_start), int(content.box.row_stop)],
                "columns": [int(content.box.column_start), int(content.box.column_stop)],
                "share": content.share,
            }
        parts = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in {**head, "box": box}.items()]
        for name in _SECTIONS:
            rows = ",\n".join(self._line(pattern, given) for pattern, given in getattr(content, name).items())
            parts.append(f'"{name}": [\n{rows}\n]' if rows else f'"{name}": []')
        write_text(self.path, "{" + ",\n".join(parts) + "}\n")
        self._content, self._written = content, self._on_disk()

    def _line(self, pattern: int, judgement: Judgement) -> str:
        """Line of the file for a judgement; cached, because every key press writes thousands of them."""
        key = (pattern, judgement)
        if key not in self._lines:
            row = {"pattern": pattern, "event_id": self._event_id(pattern), **vars(judgement)}
            self._lines[key] = json.dumps({name: value for name, value in row.items() if value is not None})
        return self._lines[key]

    def _event_id(self, pattern: int) -> int | str | None:
        """Event id of a pattern as a type of JSON."""
        if self._event_ids is None:
            return None
        event_id = self._event_ids[pattern]
        return int(event_id) if isinstance(event_id, int | np.integer) else str(event_id)

    def _on_disk(self) -> tuple | None:
        """Identity of the version on disk (every write moves a new file into place); None if there is no file."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return None
        return state.st_ino, state.st_mtime_ns, state.st_size


def _box(fields: dict[str, Any] | None, shape: tuple[int, int]) -> tuple[Box | None, float | None]:
    """Box in the file, checked, and its share of the counts."""
    if fields is None:
        return None, None
    (row_start, row_stop), (column_start, column_stop) = fields["rows"], fields["columns"]
    box = Box(row_start, row_stop, column_start, column_stop)
    box.check_inside(shape)
    return box, fields.get("share")


def _checksum(stack: PatternStack) -> str:
    """Checksum of the first and the last pattern: enough to tell two files apart, and quick for any size."""
    ends = stack.read(np.array([0, len(stack) - 1]) if len(stack) else np.array([], dtype=np.int64))
    return hashlib.sha256(np.ascontiguousarray(ends)).hexdigest()[:16]
