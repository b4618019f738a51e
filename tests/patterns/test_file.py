import h5py
import numpy as np
import pytest

from helpers.errors import BoxError, BrokenLinkError, PatternFileError
from helpers.patterns.hdf5.file import dataset, errors_name, find_beside, member, open_hdf5, require_file


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["a/there"] = [4, 5]
        other["back"] = h5py.ExternalLink("a.h5", "/a/data")
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["a/data"] = [1, 2, 3]
        made["a/relative"] = h5py.SoftLink("data")
        made["a/lost below"] = h5py.SoftLink("none")
        made["soft"] = h5py.SoftLink("/a")
        made["lost"] = h5py.SoftLink("/none")
        made["circle"] = h5py.SoftLink("/circle")
        made["away"] = h5py.ExternalLink("other.h5", "/a")
        made["gone"] = h5py.ExternalLink("none.h5", "/a")
        made["to gone"] = h5py.SoftLink("/gone")
        made["folder"] = h5py.ExternalLink(".", "/a")
        made["other name"] = h5py.ExternalLink("other.h5", "/b")
        made["there and back"] = h5py.ExternalLink("other.h5", "/back")
        made["itself"] = h5py.ExternalLink("a.h5", "/itself")
        made["kind"] = np.dtype("f8")
    with h5py.File(tmp_path / "a.h5") as read:
        yield read


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a/data", [1, 2, 3]),
        ("/a//./data", [1, 2, 3]),
        ("soft/data", [1, 2, 3]),
        ("soft/relative", [1, 2, 3]),
        ("away/there", [4, 5]),
        ("there and back", [1, 2, 3]),
    ],
)
def test_names_are_followed_through_every_kind_of_link(file, name, values):
    assert member(file, name)[()].tolist() == values


@pytest.mark.parametrize("name", ["none", "a/none", "a/data/below", "away/none"])
def test_a_name_that_is_not_there_is_none(file, name):
    assert member(file, name) is None


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("lost", BrokenLinkError, "lost is a link to /none, which leads nowhere; mend the link"),
        ("lost/below", BrokenLinkError, "lost is a link to /none"),
        ("a/lost below", BrokenLinkError, "a/lost below is a link to none, which leads nowhere"),
        ("circle", BrokenLinkError, "circle is a link to /circle, which leads nowhere"),
        ("gone", PatternFileError, r"gone is a link to none\.h5, which is missing; put the right file beside a\.h5"),
        ("to gone", BrokenLinkError, "to gone is a link to /gone, which leads nowhere"),
        ("folder", PatternFileError, r"folder is a link to \., which is no file"),
        ("other name", PatternFileError, r"other name is a link to other\.h5, which has no /b"),
        ("itself", PatternFileError, r"itself is a link to a\.h5, which has no /itself, leads back here"),
        ("kind", PatternFileError, "kind is neither a data set nor a group"),
    ],
)
def test_links_that_lead_nowhere_or_in_a_circle_are_told(file, name, error, reason):
    with pytest.raises(error, match=rf"^{reason}") as caught:
        member(file, name)
    assert type(caught.value) is error


def test_a_damaged_object_is_not_taken_for_one_that_is_absent(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["entry_1/data"] = np.arange(3)
        place = h5py.h5o.get_info(made["entry_1/data"].id).addr
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[place : place + 40] = b"\xff" * 40
    (tmp_path / "a.h5").write_bytes(content)
    with h5py.File(tmp_path / "a.h5") as read, pytest.raises(PatternFileError, match="entry_1/data cannot be read"):
        member(read, "entry_1/data")


def test_only_data_sets_count_as_data_sets(file):
    assert dataset(file, "a/data").shape == (3,)
    assert dataset(file, "a") is None


@pytest.mark.parametrize("error", [OSError("o"), KeyError("k"), RecursionError("r"), MemoryError(), OverflowError("o")])
def test_what_libraries_raise_becomes_one_line_of_ours_with_the_file(tmp_path, error):
    told = r"a\.h5: cannot be read .*copy it again"
    with pytest.raises(PatternFileError, match=told) as caught, errors_name(tmp_path / "a.h5"):
        raise error
    assert caught.value.__cause__ is error


def test_an_error_of_ours_gets_the_name_of_the_file_and_keeps_its_kind_and_cause(tmp_path):
    cause = OSError("cause")
    with pytest.raises(BoxError, match=r"a\.h5: ours") as caught, errors_name(tmp_path / "a.h5"):
        raise BoxError("ours") from cause
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("error", [KeyboardInterrupt(), AssertionError("a bug")])
def test_interrupts_and_bugs_pass(tmp_path, error):
    with pytest.raises(type(error)), errors_name(tmp_path / "a.h5"):
        raise error


@pytest.mark.parametrize("name", ["none.h5", "x" * 300, "a\0b", "."])
def test_what_is_no_file_is_told(tmp_path, name):
    with pytest.raises(PatternFileError, match="there is no such file"):
        require_file(tmp_path / name)


def test_what_is_no_hdf5_file_is_told(tmp_path):
    (tmp_path / "a.cxi").write_text("no HDF5")
    with pytest.raises(PatternFileError, match="is not a whole HDF5 file"):
        open_hdf5(tmp_path / "a.cxi")


def test_another_file_is_looked_for_where_hdf5_looks(tmp_path, monkeypatch):
    for folder in ("here", "real", "cwd"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"in_{folder}.h5").touch()
    (tmp_path / "real" / "a.h5").touch()
    (tmp_path / "here" / "a.h5").symlink_to(tmp_path / "real" / "a.h5")
    monkeypatch.chdir(tmp_path / "cwd")
    here = tmp_path / "here" / "a.h5"
    assert all(find_beside(here, f"in_{folder}.h5") for folder in ("here", "real", "cwd"))
    assert find_beside(here, "/moved/in_here.h5") == tmp_path / "here" / "in_here.h5"
    assert [find_beside(here, name) for name in ("none.h5", "", "a\0b", "x" * 300)] == [None] * 4
