import h5py
import numpy as np
import pytest

from helpers.patterns import describe, open_stack
from helpers.patterns.layouts.columns import decoded

COUNTS = np.ones((4, 3, 5), np.uint16)


def write(path, **columns):
    """A file with two data sets of four patterns in one entry."""
    with h5py.File(path, "w") as file:
        for number in (1, 2):
            file[f"entry_1/data_{number}/data"] = COUNTS
        for name, values in columns.items():
            file[name.replace("__", "/")] = values
    return path


def test_ids_that_an_entry_shares_are_taken_only_if_there_is_one_for_each_pattern(tmp_path):
    with open_stack(write(tmp_path / "a.cxi", entry_1__event_id=np.arange(8) + 20)) as stack:
        assert stack.event_ids.tolist() == list(range(20, 28))
        assert stack.table()["event_id"].tolist() == list(range(20, 28))
    with open_stack(write(tmp_path / "b.cxi", entry_1__event_id=np.arange(5))) as stack:
        assert stack.event_ids is None


def test_columns_lie_beside_the_patterns_or_in_groups_there_but_not_behind_links(tmp_path):
    path = tmp_path / "a.cxi"
    with h5py.File(path, "w") as file:
        group = file.create_group("entry_1/data_1")
        group["data"], group["energy"] = COUNTS, np.arange(4.0)
        group["laser/delay"] = np.arange(4)
        group["linked"] = h5py.SoftLink("/entry_1/data_1/energy")
        group["short"] = np.arange(3)
    with open_stack(path) as stack:
        assert {"energy", "laser/delay"} <= set(stack.table())
        assert not {"linked", "short"} & set(stack.table())


@pytest.mark.parametrize(
    ("stored", "read"), [([b"a", b"\xff"], ["a", "\ufffd"]), ([1, 2], [1, 2]), (["d", "e"], ["d", "e"])]
)
def test_byte_strings_become_text_whatever_they_hold(stored, read):
    values = np.array(stored, dtype=object if isinstance(stored[0], str) else None)
    assert decoded(values).tolist() == read


@pytest.mark.parametrize(
    ("stored", "ids"),
    [
        (np.array([3.0, 1e6, 17.0, 2.0**40]), [3, 1000000, 17, 2**40]),  # pandas and MATLAB write whole numbers so
        (np.array([0.5, 1, 2, 3]), [0.5, 1.0, 2.0, 3.0]),
        (np.array([[4], [5], [6], [7]]), [4, 5, 6, 7]),
        (np.array([[90, 4], [90, 5], [91, 0], [91, 1]]), ["90:4", "90:5", "91:0", "91:1"]),  # CXIDB 156: run and index
        (np.array([[90.0, 4], [90, 5], [91, 0], [91, 1]]), ["90:4", "90:5", "91:0", "91:1"]),
        (np.array([b"a", b"", b"c", b""]), ["a", "", "c", ""]),
        (np.array([b"", b"", b"", b""]), None),
    ],
)
def test_event_ids_may_be_floats_or_columns_or_pairs(tmp_path, stored, ids):
    path = tmp_path / "a.cxi"
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"], file["entry_1/data_1/event_id"] = COUNTS, stored
    with open_stack(path) as stack:
        assert (None if stack.event_ids is None else stack.event_ids.tolist()) == ids
        assert ids is None or list(map(str, stack.event_ids)) == list(map(str, ids))
    assert ("event ids  none" in describe(path)) == (ids is None)


def test_an_empty_id_is_shown_as_such_and_the_next_list_is_taken_if_all_are(tmp_path):
    """The row `num_events.cxi`: an empty id was shown as "str"."""
    path = tmp_path / "a.cxi"
    with h5py.File(path, "w") as file:
        file["entry_1/data_1/data"], file["entry_1/event_id"] = COUNTS, [b"a", b"b", b"c", b""]
    assert "event ids  a to an empty one" in describe(path)
    with h5py.File(path, "r+") as file:
        file["entry_1/event_id"][...] = b""
        file["LCLS/eventNumber"] = np.arange(4) + 7
    with open_stack(path) as stack:
        assert stack.event_ids.tolist() == [7, 8, 9, 10]
