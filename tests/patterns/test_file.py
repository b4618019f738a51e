import h5py
import numpy as np
import pytest

from helpers.errors import BoxError, LostLinkError, PatternFileError
from helpers.patterns.hdf5.file import has, member, opened, place_of, require_file, understandable


@pytest.fixture
def file(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["a/there"] = [4, 5]
        other["back"] = h5py.ExternalLink("a.h5", "/a/data")
    with h5py.File(tmp_path / "a.h5", "w") as made:
        made["a/data"] = [1, 2, 3]
        made["a/relative"] = h5py.SoftLink("data")
        made["soft"] = h5py.SoftLink("/a")
        made["lost"] = h5py.SoftLink("/none")
        made["circle"] = h5py.SoftLink("/round")
        made["round"] = h5py.SoftLink("/circle")
        made["away"] = h5py.ExternalLink("other.h5", "/a")
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
def test_names_are_followed_through_every_kind_of_link(file, tmp_path, name, values):
    assert member(file, tmp_path / "a.h5", name)[()].tolist() == values


@pytest.mark.parametrize("name", ["none", "a/none", "a/data/below", "away/none"])
def test_a_name_that_is_not_there_is_none(file, tmp_path, name):
    assert member(file, tmp_path / "a.h5", name) is None


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("lost", LostLinkError, "lost is a link to /none, which is not there; mend the link"),
        ("lost/below", LostLinkError, "lost is a link to /none"),
        ("circle", LostLinkError, "circle is a link to /round, which is not there"),
        ("itself", PatternFileError, "itself is a link to a.h5, one of too many links that lead to each other"),
        ("kind", PatternFileError, "kind cannot be read .*neither a data set nor a group"),
    ],
)
def test_links_that_lead_nowhere_or_in_a_circle_are_told(file, tmp_path, name, error, reason):
    with pytest.raises(error, match=rf"a\.h5: {reason}"):
        member(file, tmp_path / "a.h5", name)


def test_only_data_sets_count_as_members(file, tmp_path):
    assert has(file, tmp_path / "a.h5", ("a/data", "away/there"))
    assert not has(file, tmp_path / "a.h5", ("a/data", "a"))


@pytest.mark.parametrize("error", [OSError("o"), KeyError("k"), RecursionError("r"), MemoryError(), OverflowError("o")])
def test_what_libraries_raise_becomes_one_line_of_ours(tmp_path, error):
    told = r"a\.h5: the mask cannot be read .*copy it again"
    with pytest.raises(PatternFileError, match=told) as caught, understandable(tmp_path / "a.h5", "the mask"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [BoxError("ours"), KeyboardInterrupt(), AssertionError("a bug")])
def test_errors_of_ours_interrupts_and_bugs_pass(tmp_path, error):
    with pytest.raises(type(error)), understandable(tmp_path / "a.h5"):
        raise error


@pytest.mark.parametrize("name", ["none.h5", "x" * 300, "a\0b", "."])
def test_what_is_no_file_is_told(tmp_path, name):
    with pytest.raises(PatternFileError, match="there is no such file"):
        require_file(tmp_path / name)


def test_what_is_no_hdf5_file_is_told(tmp_path):
    (tmp_path / "a.cxi").write_text("no HDF5")
    with pytest.raises(PatternFileError, match=r"a\.cxi: is not a whole HDF5 file"):
        opened(tmp_path / "a.cxi")


def test_another_file_is_looked_for_where_hdf5_looks(tmp_path, monkeypatch):
    for folder in ("here", "real", "cwd"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"in_{folder}.h5").touch()
    (tmp_path / "real" / "a.h5").touch()
    (tmp_path / "here" / "a.h5").symlink_to(tmp_path / "real" / "a.h5")
    monkeypatch.chdir(tmp_path / "cwd")
    here = tmp_path / "here" / "a.h5"
    assert all(place_of(here, f"in_{folder}.h5") for folder in ("here", "real", "cwd"))
    assert place_of(here, "/moved/in_here.h5") == tmp_path / "here" / "in_here.h5"
    assert [place_of(here, name) for name in ("none.h5", "", "a\0b", "x" * 300)] == [None] * 4
