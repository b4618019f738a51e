"""What a data set tells of its axes and of its number of events is followed, or refused in one line."""

import h5py
import numpy as np
import pytest

from helpers.errors import PatternFileError
from helpers.patterns import ReadOptions, describe, open_stack

COUNTS = np.random.default_rng(5).poisson(0.8, (6, 3, 5)).astype(np.uint16)
BAD = np.zeros((3, 5), bool)
BAD[1, 2] = True
GOOD = np.where(BAD, 0, COUNTS)


def write(path, data, axes=None, *, place="entry_1/data_1/data", group_axes=None, **others):
    with h5py.File(path, "w") as file:
        stored = file.create_dataset(place, data=data)
        if axes is not None:
            stored.attrs["axes"] = axes
        if group_axes is not None:
            stored.parent.attrs["signal"], stored.parent.attrs["axes"] = "data", group_axes
        for name, values in others.items():
            file[name.replace("__", "/")] = values
    return path


def counts_in(path, options=None):
    with open_stack(path, options or ReadOptions()) as stack:
        whole = stack.read(slice(None))
        backwards = np.arange(len(stack))[::-1]
        np.testing.assert_array_equal(stack.read(backwards), whole[::-1])
        return whole


LAST = np.moveaxis(COUNTS, 0, 2)


@pytest.mark.parametrize(
    ("data", "axes"),
    [
        (COUNTS, "experiment_identifier:y:x"),
        (COUNTS, np.array([b"experiment_identifier:y:x"])),  # as Cheetah's addStackAttributes writes it
        (LAST, "y:x:experiment_identifier"),
        (LAST, b"y:x:experiment_identifier"),
        (LAST, ["y", "x", "frame"]),
        (LAST, "[y,x,time]"),
        (np.moveaxis(COUNTS, 0, 1), "y:experiment_identifier:x"),
        (COUNTS.transpose(2, 1, 0), "x:y:experiment_identifier"),
        (COUNTS.transpose(0, 2, 1), "shot_number:fs:ss"),
        (LAST, ["row", "column", "scan"]),  # the one that is neither row nor column
        (LAST[:, :, None], "y:x:module_identifier:experiment_identifier"),
        (COUNTS[None], "module_identifier:experiment_identifier:y:x"),
        (COUNTS, "dim_0:dim_1:dim_2"),
        (COUNTS, "y:x"),
        (COUNTS, ""),
        (COUNTS, np.array([1.5, 2])),
        (COUNTS, h5py.Empty("S4")),
    ],
)
@pytest.mark.parametrize("mask", ["none", "one", "each", "one as stored", "each as it shall be"])
def test_axes_are_put_into_order_with_the_mask(tmp_path, data, axes, mask):
    """The row `axes_last.cxi` (sima #181, NeXus #647) and what CXI, NeXus and Cheetah write besides."""
    each = np.broadcast_to(BAD, COUNTS.shape)
    as_stored = each.transpose([COUNTS.shape.index(length) for length in data.shape if length != 1]).reshape(data.shape)
    masks = {
        "one": BAD,
        "each": as_stored,
        "one as stored": as_stored.take(0, axis=data.shape.index(6)),
        "each as it shall be": each,
    }
    others = {"entry_1__event_id": np.arange(6) * 3}
    others |= {} if mask == "none" else {"entry_1__data_1__mask": masks[mask].astype(np.int32)}
    path = write(tmp_path / "a.cxi", data, axes, **others)
    np.testing.assert_array_equal(counts_in(path), COUNTS if mask == "none" else GOOD)
    with open_stack(path) as stack:
        assert stack.event_ids.tolist() == list(range(0, 18, 3))


def test_axes_of_nexus_lie_at_the_group_and_labels_of_hdf5_at_the_data_set(tmp_path):
    """Siblings of `axes`: NXdata names axes at its group (nexusformat/definitions #1213), HDF5 labels dimensions."""
    path = write(tmp_path / "a.cxi", LAST, group_axes=["y", "x", "frame"])
    np.testing.assert_array_equal(counts_in(path), COUNTS)
    path = write(tmp_path / "b.cxi", LAST)
    with h5py.File(path, "r+") as file:
        for dimension, label in zip(file["entry_1/data_1/data"].dims, ("y", "x", "event"), strict=True):
            dimension.label = label
    np.testing.assert_array_equal(counts_in(path), COUNTS)
    path = write(tmp_path / "c.cxi", COUNTS, group_axes=["y", "x", "frame"])
    with h5py.File(path, "r+") as file:
        file["entry_1/data_1"].attrs["signal"] = "other"
    np.testing.assert_array_equal(counts_in(path), COUNTS)


@pytest.mark.parametrize("chunks", [(3, 5, 1), (2, 2, 4), (3, 5, 6)])
def test_chunks_of_another_order_are_read_and_a_hole_is_refused(tmp_path, chunks):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        data = file.create_dataset("entry_1/data_1/data", LAST.shape, "u2", chunks=chunks, compression="gzip")
        data.attrs["axes"] = "y:x:experiment_identifier"
        data[:, :, :] = LAST
        hole = file.create_dataset("entry_2/data_1/data", LAST.shape, "u2", chunks=(3, 5, 1), compression="gzip")
        hole.attrs["axes"] = "y:x:experiment_identifier"
        hole[:, :, :4] = LAST[:, :, :4]
    np.testing.assert_array_equal(counts_in(tmp_path / "a.cxi", ReadOptions(dataset="entry_1/data_1/data")), COUNTS)
    with open_stack(tmp_path / "a.cxi", ReadOptions(dataset="entry_2/data_1/data")) as stack:
        np.testing.assert_array_equal(stack.read(slice(0, 4)), COUNTS[:4])
        with pytest.raises(PatternFileError, match="was never written"):
            stack.read(slice(3, 5))


@pytest.mark.parametrize(
    ("data", "axes"),
    [
        (COUNTS, "module_identifier:y:x"),
        (COUNTS, "x:x:x"),
        (LAST[None], "y:x:experiment_identifier"),
        (np.stack([COUNTS, COUNTS], axis=1), "train:pulse:y:x"),
        (np.stack([COUNTS, COUNTS], axis=1), "x:y"),
    ],
)
def test_axes_that_contradict_the_data_are_refused_in_one_line(tmp_path, data, axes):
    path = write(tmp_path / "a.cxi", data, axes)
    with pytest.raises(
        PatternFileError, match=r"a\.cxi: entry_1/data_1/data of shape \(.*axes are .*correct"
    ) as raised:
        open_stack(path)
    assert "\n" not in str(raised.value)


def allocated(path, number, rows=10, **others):
    data = np.zeros((rows, 3, 5), np.uint16)
    data[:6] = COUNTS
    ids = np.zeros(rows, "S8")
    ids[:6] = [b"ev%d" % number for number in range(6)]
    path = write(path, data, "experiment_identifier:y:x", entry_1__experiment_identifier=ids, **others)
    with h5py.File(path, "r+") as file:
        file["entry_1/data_1/data"].attrs["numEvents"] = number
    return path


@pytest.mark.parametrize("number", [6, np.array([6], np.int32), 6.0])
def test_rows_after_the_last_event_are_no_patterns(tmp_path, number):
    """The row `num_events.cxi`: Cheetah and psocake allocate rows; columns and masks have all of them, or not."""
    mask = np.broadcast_to(BAD, (10, 3, 5)).astype(np.int32)
    others = {"entry_1__energy": np.arange(10.0), "entry_1__size": np.arange(6.0), "entry_1__data_1__mask": mask}
    path = allocated(tmp_path / "a.cxi", number, **others)
    np.testing.assert_array_equal(counts_in(path), GOOD)
    with open_stack(path) as stack:
        assert stack.event_ids.tolist() == [f"ev{number}" for number in range(6)]
        table = stack.table()
    assert table["energy"].tolist() == table["size"].tolist() == list(range(6))


def test_events_of_several_groups_follow_each_other_without_the_empty_rows(tmp_path):
    path = allocated(tmp_path / "a.cxi", 6)
    with h5py.File(path, "r+") as file:
        data = file.create_dataset("entry_1/data_2/data", data=file["entry_1/data_1/data"][...])
        data.attrs["numEvents"] = 2
        del file["entry_1/experiment_identifier"]
        file["entry_1/experiment_identifier"] = np.arange(100, 120)
        file["entry_1/size"] = np.arange(8)
    np.testing.assert_array_equal(counts_in(path), np.concatenate([COUNTS, COUNTS[:2]]))
    with open_stack(path) as stack:
        assert stack.event_ids.tolist() == [*range(100, 106), 110, 111]
        assert stack.table()["size"].tolist() == list(range(8))


@pytest.mark.parametrize("number", [11, -1, np.nan, np.inf, 2.5, "six", [1, 2]])
def test_a_number_of_events_that_cannot_be_is_refused_in_one_line(tmp_path, number):
    path = allocated(tmp_path / "a.cxi", number)
    with pytest.raises(PatternFileError, match=r"has 10 rows, and its attribute numEvents is .*correct the attribute"):
        open_stack(path)


def test_a_file_without_an_event_is_empty(tmp_path):
    with pytest.raises(PatternFileError, match=r"is empty, its shape is \(0, 3, 5\); write at least one pattern"):
        open_stack(allocated(tmp_path / "a.cxi", 0))


@pytest.mark.parametrize("shape", [(6, 1, 3, 5), (6, 3, 5, 1), (6, 1, 1, 3, 5)])
@pytest.mark.parametrize("mask", [(3, 5), (1, 3, 5), (6, 3, 5), "as the data"])
def test_one_panel_is_a_picture(tmp_path, shape, mask):
    """The row `one_panel.cxi` (EXtra-data #62: one memory cell); a channel at the end is written by image libraries."""
    shown = shape if mask == "as the data" else mask
    patterns_first = shown[0] == 6
    bad = np.broadcast_to(BAD, COUNTS.shape).reshape(shown) if patterns_first else BAD.reshape(shown)
    path = write(tmp_path / "a.cxi", COUNTS.reshape(shape), entry_1__data_1__mask=bad.astype(np.uint32))
    np.testing.assert_array_equal(counts_in(path), GOOD)
    assert "6 of 3 rows x 5 columns" in describe(path)


def test_one_picture_with_an_axis_of_patterns_is_a_stack_of_one(tmp_path):
    path = write(tmp_path / "a.cxi", COUNTS[:1], entry_1__data_1__mask=BAD[None].astype(np.int32))
    np.testing.assert_array_equal(counts_in(path), GOOD[:1])


def test_one_panel_with_a_geometry_is_still_put_together(tmp_path):
    corner = {"corner_position": [[5e-3, 3e-3, 0.1]], "basis_vectors": [[[0, 1e-3, 0], [-1e-3, 0, 0]]]}
    others = {f"entry_1__instrument_1__detector_1__{name}": np.array(value) for name, value in corner.items()}
    path = write(tmp_path / "a.cxi", COUNTS[:, None], **others)
    np.testing.assert_array_equal(counts_in(path), COUNTS[:, ::-1])  # y grows with the rows
