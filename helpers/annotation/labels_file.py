"""What people have said about a file of patterns, their labels and the shared box: one JSON file, which is the truth.

    {"file": "twin.cxi", "patterns": 2140, "shape": [123, 240], "checksum": "…",
     "box": {"rows": [0, 61], "columns": [60, 180], "share": 0.91},
     "labels": [{"pattern": 17, "event_id": 4711, "label": "single", "labeller": "anna"}, …],
     "repeats": [second judgements of patterns that were shown twice, in the same form]}

Every change is on disk, whole, when the call returns. What another program has written to the same file meanwhile is
taken up first, so that neither loses the other's labels.
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
    """What somebody said about a pattern.

    Parameters
    ----------
    label
        One of `LABELS`.
    labeller
        Who said so.
    """

    label: str
    labeller: str


@dataclass(frozen=True)
class _Content:
    """What the file holds beside the description of the patterns."""

    box: Box | None
    share: float | None
    labels: Mapping[int, Judgement]
    repeats: Mapping[int, Judgement]


class LabelsFile:
    """The labels and the box in a JSON file; opening it writes nothing.

    Parameters
    ----------
    path
        The JSON file; it need not be there yet.
    stack
        The patterns that it is about.

    Raises
    ------
    LabelsError
        If the file is damaged, or is about other patterns.
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
        """Pattern → what was said about it, in the order in which it was said first."""
        return self._content.labels

    @property
    def repeats(self) -> Mapping[int, Judgement]:
        """Pattern → what was said about it when it was shown a second time."""
        return self._content.repeats

    @property
    def box(self) -> Box | None:
        """The box that a person has drawn; None if nobody has."""
        return self._content.box

    def labelled(self, label: str) -> np.ndarray:
        """Patterns with this label, ascending: int64 (n,)."""
        return np.array(sorted(pattern for pattern, said in self.labels.items() if said.label == label), dtype=np.int64)

    def give(self, pattern: int, label: str | None, *, labeller: str, repeat: bool = False) -> None:
        """Label a pattern; None takes the label back.

        Parameters
        ----------
        pattern
            Index in the stack.
        label
            One of `LABELS`, or None.
        labeller
            Who says so.
        repeat
            Whether it was shown a second time; the first judgement stays.

        Raises
        ------
        LabelsError
            If there is no such pattern or label. Nothing is changed then, nor if the file cannot be written.
        """
        if isinstance(pattern, bool) or not isinstance(pattern, int) or not 0 <= pattern < self.patterns:
            raise LabelsError(f"{self.path}: there is no pattern {pattern!r}, only 0 to {self.patterns - 1}")
        if label is not None and label not in LABELS:
            raise LabelsError(f"{self.path}: a label is one of {', '.join(LABELS)}, got {label!r}")
        self.reload()
        section = _SECTIONS[repeat]
        said = dict(getattr(self._content, section))
        if label is None:
            said.pop(pattern, None)
        else:
            said[pattern] = Judgement(label, labeller)
        self._write(**{section: said})

    def draw(self, box: Box | None, *, share: float | None = None) -> None:
        """Keep the box that a person has drawn; None takes it back.

        Parameters
        ----------
        box
            In detector pixels.
        share
            Part of the positives' counts inside, if known; for people who read the file.

        Raises
        ------
        BoxError
            If the box does not lie on the patterns. Nothing is changed then, nor if the file cannot be written.
        """
        if box is not None:
            box.check_inside(self.shape)
        self.reload()
        self._write(box=box, share=share)

    def reload(self) -> None:
        """Take up what another program has written; a file that has vanished is no reason to forget anything.

        Raises
        ------
        LabelsError
            If the file is damaged, or is about other patterns.
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
                f"{self.path} labels {found}, and not the {self.patterns} of {self._head['shape']} in {self._name}; "
                "move it away, or name another file"
            )
        self._written = state

    def _judgements(self, rows: list[dict[str, Any]]) -> dict[int, Judgement]:
        """A section of the file, checked."""
        said: dict[int, Judgement] = {}
        for row in rows:
            pattern, label = row["pattern"], row["label"]
            if type(pattern) is not int or not 0 <= pattern < self.patterns or pattern in said or label not in LABELS:
                raise ValueError(f"pattern {pattern!r}, label {label!r}")
            if row.get("event_id") != self._event_id(pattern):
                raise ValueError(f"pattern {pattern} has not the event id {row.get('event_id')!r}")
            said[pattern] = Judgement(label, str(row["labeller"]))
        return said

    def _write(self, **changes: Any) -> None:
        """Write the content with some changes; only what is on disk counts."""
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
            rows = ",\n".join(self._line(pattern, said) for pattern, said in getattr(content, name).items())
            parts.append(f'"{name}": [\n{rows}\n]' if rows else f'"{name}": []')
        write_text(self.path, "{" + ",\n".join(parts) + "}\n")
        self._content, self._written = content, self._on_disk()

    def _line(self, pattern: int, said: Judgement) -> str:
        """A judgement as the file holds it; made once, because thousands are written at each key."""
        key = (pattern, said)
        if key not in self._lines:
            row = {"pattern": pattern, "event_id": self._event_id(pattern), **vars(said)}
            self._lines[key] = json.dumps({name: value for name, value in row.items() if value is not None})
        return self._lines[key]

    def _event_id(self, pattern: int) -> int | str | None:
        """Event id of a pattern as JSON has it."""
        if self._event_ids is None:
            return None
        event_id = self._event_ids[pattern]
        return int(event_id) if isinstance(event_id, int | np.integer) else str(event_id)

    def _on_disk(self) -> tuple | None:
        """What tells one version of the file from the next: each is a new file, moved into place."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return None
        return state.st_ino, state.st_mtime_ns, state.st_size


def _box(fields: dict[str, Any] | None, shape: tuple[int, int]) -> tuple[Box | None, float | None]:
    """The box in the file, checked, and its share of the counts."""
    if fields is None:
        return None, None
    (row_start, row_stop), (column_start, column_stop) = fields["rows"], fields["columns"]
    box = Box(row_start, row_stop, column_start, column_stop)
    box.check_inside(shape)
    return box, fields.get("share")


def _checksum(stack: PatternStack) -> str:
    """Of the first and the last pattern: enough to tell two files of as many patterns apart, and quick for any size."""
    ends = stack.read(np.array([0, len(stack) - 1]) if len(stack) else np.array([], dtype=np.int64))
    return hashlib.sha256(np.ascontiguousarray(ends)).hexdigest()[:16]
