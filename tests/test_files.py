import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.files import read_csv, sha256, write_csv, write_text, written_whole


def test_a_written_file_is_whole_and_its_folder_is_made(tmp_path):
    with written_whole(tmp_path / "deep" / "file.bin") as partial:
        partial.write_bytes(b"12345")
        assert not (tmp_path / "deep" / "file.bin").exists()
    assert (tmp_path / "deep" / "file.bin").read_bytes() == b"12345"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["file.bin"]


def fail_half_way(path):
    with written_whole(path) as partial:
        partial.write_text("new, but hal")
        raise OSError("disk full")


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="disk full"):
        fail_half_way(path)
    assert [name.name for name in tmp_path.iterdir()] == ["file.txt"]
    assert path.read_text() == "old"


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_csv_keeps_every_digit(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    write_csv(path, pd.DataFrame({"value": values}))
    back = read_csv(path)["value"]
    assert back.tolist() == values


def test_sha256_of_the_standard_example(tmp_path):
    write_text(tmp_path / "abc", "abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
