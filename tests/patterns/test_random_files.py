"""Random CXI files: they give exactly the counts that were written, bad pixels 0, or one clear line; nothing else.

What is bad is computed here anew, from the tables of CXI 1.6 and Cheetah's page "Pixel masks".
"""

from dataclasses import dataclass, replace

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.errors import PatternFileError
from helpers.patterns import describe, open_stack

BAD_BITS = (0x1, 0x2, 0x4, 0x8, 0x10, 0x80, 0x200, 0x400)
TELLING_BITS = (0x20, 0x800, 0x1000, 0x2000, 0x4000)
NAMES_OF_AXES = ("experiment_identifier", "y", "x", "module_identifier")
HIGHEST_COUNT = 40


@dataclass(frozen=True)
class Mask:
    """A mask (patterns or 1, rows, columns) of bits under a name; it is for all patterns where its first axis is 1."""

    name: str
    values: np.ndarray

    @property
    def bad(self):
        return (self.values.astype(np.int64) & sum(BAD_BITS)) != 0


@dataclass(frozen=True)
class Group:
    """A data set (patterns, rows, columns) of photon counts with its masks and event ids; `spare` rows follow it."""

    counts: np.ndarray
    masks: tuple[Mask, ...] = ()
    spare: int = 0
    events_told: int | None = None
    ids: list[bytes] | None = None
    detector: int | None = None

    @property
    def bad(self):
        """Bad pixels of each pattern."""
        bad = np.zeros(self.counts.shape, bool)
        for mask in self.masks:
            bad |= mask.bad
        return bad

    @property
    def marker(self):
        """The largest value of an integer type, which marks pixels without a count; of 8 bits in many patterns only."""
        is_count = self.counts.dtype.itemsize == 1 and len(self.counts) < 8
        return np.iinfo(self.counts.dtype).max if self.counts.dtype.kind in "iu" and not is_count else None

    @property
    def bad_in_all(self):
        """Pixels that are bad in all patterns, or hold the marker in all."""
        return self.bad.all(axis=0) | (False if self.marker is None else (self.counts == self.marker).all(axis=0))


@dataclass(frozen=True)
class File:
    """What is written; `order` names the axes as they are stored, and `one_panel` adds one of length 1."""

    groups: tuple[Group, ...]
    place: str
    order: tuple[int, ...]
    tells_axes: bool
    packed: str
    shared_ids: bool = False

    @property
    def same_shots(self):
        one_list = self.shared_ids and all(group.ids is None for group in self.groups)
        detectors = {group.detector for group in self.groups} - {None}
        return len(self.groups) > 1 and (one_list or len(detectors) > 1 or self.place == "linked detector")

    def expected(self):
        """Counts (patterns, rows, columns), or None if the file must be refused."""
        if self.same_shots or any(group.bad.all() for group in self.groups):
            return None
        if any(group.events_told not in (None, len(group.counts)) for group in self.groups):
            return None
        in_all = np.logical_or.reduce([group.bad_in_all for group in self.groups])
        counts = [np.where(group.bad | in_all, 0, group.counts) for group in self.groups]
        for group, values in zip(self.groups, counts, strict=True):  # 8 bits may be full
            is_marked = group.counts.dtype.itemsize > 1 and group.marker is not None and (values == group.marker).any()
            if is_marked or not (values >= 0).all():  # NaN is not
                return None
        return np.concatenate([values.astype(np.float32) for values in counts])


@st.composite
def masks(draw, shape):
    """A mask for all or for each, or both, under the names that CXI and Cheetah give them."""
    kind = draw(st.sampled_from(["none", "one", "each", "Cheetah's pair"]))
    if kind == "none":
        return ()
    dtype = draw(st.sampled_from(["u1", "<u2", ">u2", "i4", "u4", "i8"]))
    bits = [bit for bit in (*BAD_BITS, *TELLING_BITS) if bit <= np.iinfo(dtype).max]
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    chosen = draw(st.lists(st.sampled_from(bits), min_size=1, max_size=4, unique=True))

    def mask(name, length):
        values = np.zeros((length, *shape[1:]), dtype)
        for bit in chosen:
            values |= np.where(rng.random(values.shape) < 0.2, bit, 0).astype(dtype)
        return Mask(name, values)

    if kind == "Cheetah's pair":
        return (mask("mask", shape[0]), mask("mask_shared", 1))
    if kind == "each":
        return (mask("mask", shape[0]),)
    return (mask(draw(st.sampled_from(["mask", "mask_shared"])), 1),)


@st.composite
def groups(draw, shape, number):
    """A group that is sound, or has one flaw."""
    dtype = draw(st.sampled_from(["u1", "<u2", ">u2", "u4", "u8", "i1", "i2", "i4", "i8", "<f4", ">f4", "f8"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    counts = rng.integers(0, HIGHEST_COUNT, shape).astype(dtype)
    if counts.dtype.kind == "f" and draw(st.booleans()):
        counts += rng.integers(0, 8, shape) / 8
    spare = draw(st.sampled_from([0, 0, 1, 3]))
    told = len(counts) if spare else draw(st.sampled_from([None, len(counts)]))
    group = Group(counts, draw(masks(shape)), spare, told)
    flaws = ["negative", "nan", "marker", "marker in all", "too many events", "negative events"]
    flaw = draw(st.sampled_from([None] * 8 + flaws))
    where = tuple(draw(st.integers(0, length - 1)) for length in shape)
    if flaw in ("negative", "nan") and counts.dtype.kind in ("if" if flaw == "negative" else "f"):
        counts[where] = -3 if flaw == "negative" else np.nan
    if flaw in ("marker", "marker in all") and group.marker is not None:
        counts[where if flaw == "marker" else (slice(None), *where[1:])] = group.marker
    if flaw in ("too many events", "negative events"):
        group = replace(group, events_told=len(counts) + spare + 1 if flaw == "too many events" else -1)
    if draw(st.booleans()):
        group = replace(group, ids=[b"run%d_%d" % (number, shot) for shot in range(len(counts))])
    return replace(group, detector=draw(st.sampled_from([None, 1, 2])))


@st.composite
def files(draw):
    """A file of one or two groups of one shape, with axes in any order."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(2, 5))
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=2))
    found = [draw(groups((length, rows, columns), number)) for number, length in enumerate(lengths)]
    axes = draw(st.sampled_from([(0, 1, 2), (0, 3, 1, 2)]))
    tells = draw(st.booleans())
    return File(
        groups=tuple(found),
        place=draw(st.sampled_from(["image", "data", "linked detector"])),
        order=tuple(draw(st.permutations(axes))) if tells else axes,
        tells_axes=tells,
        packed=draw(st.sampled_from(["in one piece", "chunks", "gzip", "gzip and shuffle"])),
        shared_ids=len(set(lengths)) == 1 and draw(st.booleans()),
    )


def as_stored(values, order):
    """Values (patterns, rows, columns) with the axes in that order; axis 3 is one panel."""
    values = values[..., None]
    shape = [values.shape[axis] for axis in order]
    return values.transpose([*order, *({3} - {*order})]).reshape(shape)


def write(path, spec):
    with h5py.File(path, "w") as file:
        for number, group in enumerate(spec.groups, start=1):
            place = {"image": "image", "data": "data"}.get(spec.place, "instrument_1/detector")
            base = file.create_group(f"entry_1/{place}_{number}")
            if spec.place == "linked detector":
                file[f"entry_1/data_{number}"] = h5py.SoftLink(base.name)
            write_group(file, base, group, spec)
        if spec.shared_ids:
            file["entry_1/experiment_identifier"] = [b"shot%d" % shot for shot in range(len(spec.groups[0].counts))]


def write_group(file, base, group, spec):
    rows = np.concatenate([group.counts, np.zeros((group.spare, *group.counts.shape[1:]), group.counts.dtype)])
    stored = as_stored(rows, spec.order)
    chunks = tuple(1 if axis == 0 else length for axis, length in zip(spec.order, stored.shape, strict=True))
    packing = {
        "in one piece": {},
        "chunks": {"chunks": True},
        "gzip": {"chunks": chunks, "compression": "gzip"},
        "gzip and shuffle": {"chunks": chunks, "compression": "gzip", "shuffle": True},
    }
    data = base.create_dataset("data", data=stored, **packing[spec.packed])
    if spec.tells_axes:
        data.attrs["axes"] = ":".join(NAMES_OF_AXES[axis] for axis in spec.order)
    if group.events_told is not None:
        data.attrs["numEvents"] = np.array([group.events_told], np.int32)
    for mask in group.masks:
        values = mask.values
        if len(values) > 1:
            spare = np.zeros((group.spare, *values.shape[1:]), values.dtype)
            base[mask.name] = as_stored(np.concatenate([values, spare]), spec.order)
        else:
            base[mask.name] = as_stored(values, spec.order).take(0, axis=spec.order.index(0))
    if group.ids is not None:
        base["experiment_identifier"] = group.ids + [b""] * group.spare
    if group.detector is not None and spec.place != "linked detector":
        detector = file.require_group(f"entry_1/instrument_1/detector_{group.detector}")
        base["detector"] = h5py.SoftLink(detector.name)


def outcome(path, spec):
    """Write a file, read it whole, and compare."""
    write(path, spec)
    expected = spec.expected()
    try:
        with open_stack(path) as stack:
            counts, ids = stack.read(slice(None)), stack.event_ids
    except PatternFileError as error:
        text = str(error)
        assert text.startswith(f"{path}: ")
        assert "\n" not in text
        assert expected is None, text
        return
    assert expected is not None, "a file that must be refused was read"
    np.testing.assert_array_equal(counts, expected)
    if all(group.ids for group in spec.groups):
        assert ids.tolist() == [name.decode() for group in spec.groups for name in group.ids]
    assert f"patterns   {len(expected)} of " in describe(path)


ANY_NUMBER = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@settings(max_examples=60, **ANY_NUMBER)
@given(spec=files())
def test_a_random_file_gives_the_counts_that_were_written_or_one_line(tmp_path, spec):
    outcome(tmp_path / "a.cxi", spec)


@pytest.mark.whole
@settings(max_examples=2000, **ANY_NUMBER)
@given(spec=files())
def test_many_random_files_give_the_counts_that_were_written_or_one_line(tmp_path, spec):
    outcome(tmp_path / "a.cxi", spec)
