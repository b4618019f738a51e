import re
import shutil
import sys

import h5py
import hdf5plugin
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from helpers import ROOT
from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117
from helpers.patterns import ReadOptions, describe, doubts, open_stack, write_any_selection
from helpers.patterns.writing import write_stack

COUNTS = np.arange(5 * 4 * 6, dtype=np.uint16).reshape(5, 4, 6)
MASK = np.zeros((4, 6), bool)
MASK[1, 2] = True
TABLE = pd.DataFrame({"event_id": [7, 9, 12, 40, 41], "species": ["single", "Größe", "", "double", "x"]})


def write_plain(path, data, *, place="entry_1/data_1/data", **others):
    with h5py.File(path, "w") as file:
        file[place] = data
        for name, values in others.items():
            file[name.replace("__", "/")] = values
    return path


@pytest.fixture
def ours(tmp_path):
    path = tmp_path / "ours.cxi"
    write_stack(path, COUNTS, mask=MASK, centre=(1.5, 2.5), table=TABLE, experiment=AMOX34117, title="simulated")
    return path


def test_written_stack_reads_back_with_bad_pixels_zero(ours):
    with open_stack(ours) as stack:
        assert (len(stack), stack.shape, stack.dtype) == (5, (5, 4, 6), np.uint16)
        assert (stack.path, stack.dataset) == (ours, "entry_1/image_1/data")
        assert (stack.centre, stack.title) == ((1.5, 2.5), "simulated")
        np.testing.assert_array_equal(stack.mask, MASK)
        np.testing.assert_array_equal(stack.event_ids, TABLE["event_id"])
        counts = stack.read(slice(None))
        pd.testing.assert_frame_equal(
            stack.table()[["event_id", "species"]], TABLE, check_names=False, check_dtype=False
        )
    assert counts.dtype == np.float32
    np.testing.assert_array_equal(counts, np.where(MASK, 0, COUNTS))


def test_written_file_has_the_co_authors_layout_in_si_units(ours):
    with h5py.File(ours) as file:
        image = file["entry_1/image_1"]
        assert file["cxi_version"][()] == 160
        assert image["data"].chunks == (1, 4, 6)
        assert (image["data"].compression, image["data"].shuffle) == ("gzip", True)
        np.testing.assert_array_equal(image["image_center"], [2.5, 1.5, 0.0])
        np.testing.assert_array_equal(image["mask"][()] != 0, MASK)
        assert file["entry_1/data_1/data"] == image["data"]
        assert isinstance(file.get("entry_1/data_1", getlink=True), h5py.SoftLink)
        assert file["entry_1/instrument_1/detector_1/distance"][()] == 0.130
        assert file["entry_1/instrument_1/source_1/energy"][()] == pytest.approx(1700.7 * 1.602177e-19, rel=1e-4)


def test_written_bytes_do_not_depend_on_when_or_on_blocks(ours, tmp_path):
    blocks = (COUNTS[start : start + 2] for start in (0, 2, 4))
    again = tmp_path / "again.cxi"
    write_stack(again, blocks, mask=MASK, centre=(1.5, 2.5), table=TABLE, experiment=AMOX34117, title="simulated")
    assert again.read_bytes() == ours.read_bytes()


@pytest.mark.parametrize("patterns", [4, 6])
def test_table_of_another_length_is_refused_and_nothing_is_left(tmp_path, patterns):
    table = pd.DataFrame(index=range(patterns))
    with pytest.raises(ValueError, match="rows of the table"):
        write_stack(tmp_path / "x.cxi", COUNTS, mask=MASK, centre=(0, 0), table=table, experiment=AMOX34117)
    assert not list(tmp_path.iterdir())


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    counts=npst.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int32]),
        npst.array_shapes(min_dims=3, max_dims=3, max_side=5),
        elements=st.integers(0, 255),
    ),
    data=st.data(),
)
def test_any_stack_survives_a_round_trip(tmp_path, counts, data):
    number = len(counts)
    mask = data.draw(npst.arrays(bool, counts.shape[1:]).filter(lambda mask: not mask.all()))
    centre = data.draw(st.tuples(*[st.floats(-1e6, 1e6)] * 2))
    text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
    table = pd.DataFrame(
        {
            "event_id": data.draw(npst.arrays(np.int64, number)),
            "size_nm": data.draw(npst.arrays(np.float32, number, elements=st.floats(0, 100, width=32))),
            "species": data.draw(st.lists(text, min_size=number, max_size=number)),
        }
    )
    path = tmp_path / "any.cxi"
    write_stack(path, counts, mask=mask, centre=centre, table=table, experiment=AMOX34117)
    with open_stack(path) as stack:
        order = np.array(data.draw(st.lists(st.integers(0, number - 1), max_size=6)), dtype=int)
        np.testing.assert_array_equal(stack.read(order), np.where(mask, 0, counts)[order])
        np.testing.assert_array_equal(stack.mask, mask)
        assert stack.centre == centre
        pd.testing.assert_frame_equal(
            stack.table()[list(table)], table, check_names=False, check_dtype=False, check_index_type=False
        )


def test_batches_cover_all_patterns_in_order(ours):
    with open_stack(ours) as stack:
        batches = list(stack.batches(2))
        whole = stack.read(slice(None))
    assert [start for start, _ in batches] == [0, 2, 4]
    np.testing.assert_array_equal(np.concatenate([counts for _, counts in batches]), whole)


def test_indices_may_come_in_any_order_and_twice(ours):
    with open_stack(ours) as stack:
        np.testing.assert_array_equal(stack.read(np.array([4, 0, 4])), stack.read(slice(None))[[4, 0, 4]])
        np.testing.assert_array_equal(stack.read(slice(4, None, -2)), stack.read(slice(None))[::-2])
        assert stack.read(np.array([], dtype=int)).shape == (0, 4, 6)


@pytest.mark.parametrize("wrong", [np.array([5]), np.array([-1]), np.array([0.5]), np.array([[0]])])
def test_wrong_indices_are_refused(ours, wrong):
    with open_stack(ours) as stack, pytest.raises(IndexError):
        stack.read(wrong)


def test_data_of_other_programs_is_read_with_a_mask_from_its_image(tmp_path):
    path = write_plain(tmp_path / "a.cxi", COUNTS.astype("f8"), entry_1__image_1__mask=MASK.astype("i4") * 512)
    with open_stack(path) as stack:
        assert (stack.dataset, stack.centre, stack.event_ids) == ("entry_1/data_1/data", None, None)
        np.testing.assert_array_equal(stack.read(slice(0, 5)), np.where(MASK, 0, COUNTS))
        assert stack.table().shape == (5, 0)


def test_without_a_mask_every_pixel_is_good(tmp_path):
    with open_stack(write_plain(tmp_path / "a.cxi", COUNTS)) as stack:
        assert stack.mask.shape == (4, 6)
        assert not stack.mask.any()
        np.testing.assert_array_equal(stack.read(slice(None)), COUNTS)


def test_image_comes_before_data(tmp_path):
    path = write_plain(tmp_path / "a.cxi", COUNTS + 1, entry_1__image_1__data=COUNTS)
    with open_stack(path) as stack:
        assert stack.dataset == "entry_1/image_1/data"


def test_several_stacks_of_one_shape_are_one_and_can_be_named(tmp_path):
    path = write_plain(tmp_path / "a.cxi", COUNTS, entry_2__data_1__data=COUNTS + 1)
    with open_stack(path) as stack:
        assert (len(stack), stack.dataset) == (10, "entry_1/data_1/data, entry_2/data_1/data")
        np.testing.assert_array_equal(stack.read(slice(None)), np.concatenate([COUNTS, COUNTS + 1]))
    with open_stack(path, ReadOptions(dataset="/entry_2/data_1/data")) as stack:
        assert stack.read(slice(0, 1))[0, 0, 0] == 1


def test_foreign_compression_can_be_read(tmp_path):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file.create_dataset("entry_1/data_1/data", data=COUNTS, chunks=(1, 4, 6), **hdf5plugin.Bitshuffle())
    with open_stack(tmp_path / "a.cxi") as stack:
        np.testing.assert_array_equal(stack.read(slice(None)), COUNTS)


@pytest.mark.parametrize("place", ["entry_1__data_1__event_id", "entry_1__event_id", "LCLS__eventNumber"])
def test_event_ids_are_found_in_the_usual_places(tmp_path, place):
    path = write_plain(tmp_path / "a.cxi", COUNTS, **{place: np.arange(5) * 3})
    with open_stack(path) as stack:
        np.testing.assert_array_equal(stack.event_ids, np.arange(5) * 3)


def test_event_ids_of_another_length_are_not_taken(tmp_path):
    with open_stack(write_plain(tmp_path / "a.cxi", COUNTS, LCLS__eventNumber=np.arange(6))) as stack:
        assert stack.event_ids is None


def test_table_names_nested_columns_by_path_and_decodes_strings(tmp_path):
    path = write_plain(
        tmp_path / "a.cxi",
        COUNTS[:3],
        entry_1__data_1__psd__size=np.arange(3.0),
        entry_1__data_1__name=["a", "ü", ""],
        entry_1__data_1__code=np.array([b"x", b"yy", b"z"]),
        entry_1__data_1__image_center=np.arange(3.0),
    )
    with open_stack(path) as stack:
        table = stack.table()
    assert sorted(table) == ["code", "name", "psd/size"]
    assert table["name"].tolist() == ["a", "ü", ""]
    assert table["code"].tolist() == ["x", "yy", "z"]


@pytest.mark.parametrize(
    ("value", "kind", "cure"),
    [
        (np.nan, "NaN or infinite", "nan_as_zero"),
        (np.inf, "NaN or infinite", "nan_as_zero"),
        (-0.5, "negative", "mask"),
    ],
)
def test_impossible_counts_are_told_with_file_data_set_pattern_and_cure(tmp_path, value, kind, cure):
    data = COUNTS.astype("f4")
    data[3, 0, 0] = value
    with open_stack(write_plain(tmp_path / "bad.cxi", data)) as stack:
        assert stack.read(slice(0, 3)).shape == (3, 4, 6)
        with pytest.raises(PatternFileError, match=rf"bad\.cxi: entry_1/data_1/data has 1 {kind}.*pattern 3; .*{cure}"):
            stack.read(np.array([0, 3]))


def changed(place, value):
    data = COUNTS.astype("f4")
    data[place] = value
    return data


@pytest.mark.parametrize(
    ("data", "others", "message"),
    [
        (None, {}, r"no patterns at .*entry_\*/data_\*/data.*; name the data set with"),
        (COUNTS[0], {}, r"entry_1/data_1/data has shape \(4, 6\); a stack is .*: reshape it"),
        (COUNTS[:0], {}, "entry_1/data_1/data is empty, .*; write at least one pattern"),
        (changed((2, 0, 0), np.nan), {}, "entry_1/data_1/data has 1 NaN .* of pattern 2; mask them, or read"),
        (changed((2, 0, 0), -np.inf), {}, "entry_1/data_1/data has 1 NaN or infinite .* of pattern 2; mask them, or"),
        (changed((2, 0, 0), -1), {}, "entry_1/data_1/data has 1 negative .* of pattern 2; mask them, or convert"),
        (
            COUNTS * 130.4,
            {},
            "entry_1/data_1/data has values that cannot be photon .* of pattern 0; .*`workbook prepare`",
        ),
        (changed((2, 0, 0), 65535**2), {}, "entry_1/data_1/data has 1 values that cannot .* of pattern 2; mark those"),
        (COUNTS + np.uint16(9000), {}, r"entry_1/data_1/data has values .*\(mean 90.*; .*`workbook prepare`"),
        (COUNTS, {"entry_1__data_1__mask": MASK.T}, r"mask entry_1/data_1/mask has shape .*; store one mask"),
        (
            COUNTS,
            {"entry_2__data_1__data": h5py.ExternalLink("gone.h5", "data")},
            r"entry_2/data_1/data is a link to gone\.h5, which is missing; put the right file",
        ),
    ],
)
def test_each_wrong_thing_gives_one_error_with_file_data_set_and_next_step(tmp_path, data, others, message):
    path = tmp_path / "wrong.cxi"
    with h5py.File(path, "w") as file:
        for name, values in {"entry_1__data_1__data": data, **others}.items():
            if values is not None:
                file[name.replace("__", "/")] = values
    with pytest.raises(PatternFileError, match=rf"wrong\.cxi: {message}") as raised, open_stack(path) as stack:
        stack.read(slice(None))
    assert "\n" not in str(raised.value)


def test_impossible_counts_under_the_mask_do_not_matter(tmp_path):
    data = COUNTS.astype("f4")
    data[:, 1, 2] = [np.nan, np.inf, -1, 0, 1]
    with open_stack(write_plain(tmp_path / "a.cxi", data, entry_1__data_1__mask=MASK)) as stack:
        np.testing.assert_array_equal(stack.read(slice(None)), np.where(MASK, 0, COUNTS))


def test_nan_and_infinity_become_zero_when_asked_but_negative_counts_do_not(tmp_path):
    data = COUNTS.astype("f4")
    data[1, 0, :2] = [np.nan, -np.inf]
    data[4, 0, 0] = -1
    with open_stack(write_plain(tmp_path / "a.cxi", data), ReadOptions(nan_as_zero=True)) as stack:
        assert not stack.read(slice(1, 2))[0, 0, :2].any()
        with pytest.raises(PatternFileError, match="negative"):
            stack.read(slice(4, 5))


def test_negative_integers_are_refused(tmp_path):
    with (
        open_stack(write_plain(tmp_path / "a.cxi", COUNTS.astype("i2") - 1)) as stack,
        pytest.raises(PatternFileError, match=r"negative values.*pattern 0"),
    ):
        stack.read(slice(None))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (COUNTS[0], "shape"),
        (COUNTS[None], "no geometry"),
        (COUNTS.reshape(5, 2, 2, 3, 2), "shape"),
        (COUNTS[:0], "empty"),
        (COUNTS.astype("c8"), "complex64"),
        (np.full((1, 2, 2), b"x"), "integers or floats"),
    ],
)
def test_data_that_is_no_stack_of_counts_is_refused(tmp_path, data, reason):
    with pytest.raises(PatternFileError, match=reason):
        open_stack(write_plain(tmp_path / "a.cxi", data))


def test_mask_of_another_shape_is_refused(tmp_path):
    with pytest.raises(PatternFileError, match=r"mask entry_1/data_1/mask has shape \(6, 4\)"):
        open_stack(write_plain(tmp_path / "a.cxi", COUNTS, entry_1__data_1__mask=MASK.T))


def test_impossible_centre_is_refused(tmp_path):
    path = write_plain(tmp_path / "a.cxi", COUNTS, entry_1__data_1__image_center=[np.nan, 1.0, 0.0])
    with pytest.raises(PatternFileError, match="image_center"):
        open_stack(path)


def test_file_without_patterns_tells_what_it_holds(tmp_path):
    with pytest.raises(PatternFileError, match="its root holds measurement"):
        open_stack(write_plain(tmp_path / "a.cxi", COUNTS, place="measurement/frames"))


def test_missing_wrong_and_truncated_files_are_told_apart_from_ours(ours, tmp_path):
    with pytest.raises(PatternFileError, match="no such file"):
        open_stack(tmp_path / "absent.cxi")
    with pytest.raises(PatternFileError, match="no such file"):
        open_stack(tmp_path)
    (tmp_path / "text.cxi").write_text("no HDF5")
    with pytest.raises(PatternFileError, match=r"text\.cxi: is not a whole HDF5 file"):
        open_stack(tmp_path / "text.cxi")
    (tmp_path / "cut.cxi").write_bytes(ours.read_bytes()[:-200])
    with pytest.raises(PatternFileError, match=r"cut\.cxi: is not a whole HDF5 file"):
        open_stack(tmp_path / "cut.cxi")


def test_damaged_pattern_is_told(ours, tmp_path):
    with h5py.File(ours) as file:
        chunk = file["entry_1/image_1/data"].id.get_chunk_info(2)
    damaged = bytearray(ours.read_bytes())
    damaged[chunk.byte_offset : chunk.byte_offset + chunk.size] = b"\xff" * chunk.size
    (tmp_path / "damaged.cxi").write_bytes(damaged)
    with open_stack(tmp_path / "damaged.cxi") as stack:
        assert stack.read(slice(0, 2)).shape == (2, 4, 6)
        with pytest.raises(PatternFileError, match="cannot be decoded in patterns 2 to 2"):
            stack.read(slice(2, 3))


def test_virtual_stack_is_read_and_a_missing_source_is_refused(ours, tmp_path):
    layout = h5py.VirtualLayout(shape=(5, 4, 6), dtype=np.uint16)
    layout[:] = h5py.VirtualSource(ours.name, "entry_1/image_1/data", shape=(5, 4, 6))
    with h5py.File(tmp_path / "virtual.cxi", "w") as file:
        file.create_virtual_dataset("entry_1/data_1/data", layout)
    with open_stack(tmp_path / "virtual.cxi") as stack:
        np.testing.assert_array_equal(stack.read(slice(None)), COUNTS)
    shutil.move(ours, tmp_path / "elsewhere.cxi")
    with pytest.raises(PatternFileError, match=r"source ours\.cxi is missing"):
        open_stack(tmp_path / "virtual.cxi")


def test_description_tells_data_set_shape_mask_centre_ids_columns_and_photons(ours):
    text = describe(ours)
    for part in (
        "simulated",
        "entry_1/image_1/data",
        "5 of 4 rows x 6 columns, uint16",
        "1 bad pixels (4.2%)",
        "row 1.5, column 2.5",
        "7 to 41",
        "event_id, species",
    ):
        assert part in text
    photons = np.where(MASK, 0, COUNTS).sum(axis=(1, 2))
    assert f"median {np.median(photons):.0f}" in text


def test_description_of_unreadable_counts_tells_why(tmp_path):
    text = describe(write_plain(tmp_path / "a.cxi", np.full((2, 3, 3), np.nan)))
    assert "unreadable" in text
    assert "nan_as_zero" in text


def test_selection_without_event_ids_leaves_the_column_empty(tmp_path):
    file, path = write_plain(tmp_path / "a.cxi", np.zeros((4, 3, 3))), tmp_path / "out" / "selection.csv"
    chosen = {"patterns": np.array([3, 1]), "scores": np.array([0.5, 0.25]), "selected": np.array([True, False])}
    with open_stack(file) as stack:
        write_any_selection(path, stack, **chosen)
    assert path.read_text() == f"file,index,event_id,score,single\n{file},3,,0.5,1\n{file},1,,0.25,0\n"


def functions_called_by(call):
    """Names of the functions of helpers that are entered, comprehensions not counted."""
    found = set()

    def note(frame, event, _):
        code = frame.f_code
        if event == "call" and "/helpers/" in code.co_filename and not code.co_name.startswith("<"):
            found.add((code.co_filename, code.co_qualname))

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return found


def test_our_own_file_is_opened_by_few_functions_and_no_message_is_made_in_advance(ours):
    open_stack(ours).close()
    found = functions_called_by(lambda: open_stack(ours).close())
    assert 20 < len(found) <= 80
    assert not {name for _, name in found} & {"in_short", "printable"}


def calls_of_helpers(call):
    """Number of calls of functions of helpers."""
    calls = 0

    def note(frame, event, _):
        nonlocal calls
        calls += event == "call" and "/helpers/" in frame.f_code.co_filename

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("masked", ["beside", "detector"])
def test_the_cost_of_many_groups_does_not_grow_with_their_square(tmp_path, masked):
    """A run of 182 groups of 100 patterns took 15 s to open, and 32 s to look at."""

    def look(groups):
        path = tmp_path / f"{groups}.cxi"
        with h5py.File(path, "w") as file:
            for number in range(1, groups + 1):
                file[f"entry_1/image_{number}/data"] = np.ones((2, 3, 4), np.uint16)
                file[f"entry_1/image_{number}/event_id"] = np.array([2, 3]) * number + 1000 * number
                if masked == "beside":
                    file[f"entry_1/image_{number}/mask"] = np.zeros((3, 4), np.int32)
            if masked == "detector":
                file["entry_1/instrument_1/detector_1/mask"] = np.zeros((3, 4), np.int32)
        with open_stack(path) as stack:
            assert len(stack) == 2 * groups
            doubts(stack)

    look(2)
    few, many = (calls_of_helpers(lambda groups=groups: look(groups)) for groups in (20, 40))
    assert many < 3.2 * few, many / few


def test_what_is_not_asked_for_is_not_read(ours):
    with h5py.File(ours, "r+") as file:
        file["entry_1/instrument_1/detector_1/distance"][()] = 0.5
        del file["entry_1/image_1/event_id"]
        file["entry_1/image_1"].create_dataset("event_id", (5,), "i8")  # never written
    with open_stack(ours) as stack:
        assert stack.experiment.distance_m == 0.5
        with pytest.raises(PatternFileError, match=r"ours\.cxi: entry_1/image_1/event_id.*was never written"):
            stack.event_ids  # noqa: B018


def test_each_file_of_a_layout_is_a_row_of_the_documentation():
    modules = {path.name for path in (ROOT / "helpers" / "patterns" / "layouts").glob("[a-z]*.py")}
    rows = re.findall(r"^\|.*\| `(\w+\.py)` \|", (ROOT / "docs" / "files.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(rows) == modules - {"base.py", "columns.py", "same_shots.py"}
