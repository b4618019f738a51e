import h5py
import numpy as np
import pytest

from helpers.patterns import open_stack
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
