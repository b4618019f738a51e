import re
import shutil
import subprocess

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117
from helpers.patterns import ReadOptions, check_output, open_stack, write_any_selection
from helpers.patterns.selections import write_photons
from helpers.patterns.writing import write_stack
from tests.patterns import test_layouts as layouts

SCORES = np.array([0.9, 0.1, 0.25, 0.75, 0.5])
SINGLE = np.array([True, False, False, True, True])
PATTERNS = np.array([0, 1, 3, 4, 6])
SELECT = [1, 0, 0, 0, 1, 0, 1]
SCORE = [0.9, 0.1, np.nan, 0.25, 0.75, np.nan, 0.5]

HDF5_LAYOUTS = [name for name in layouts.LAYOUTS if ".emc" not in name]


def dumped(path, *options):
    """What h5dump prints of a file, or nothing where it is not installed."""
    if shutil.which("h5dump") is None:
        return None
    return subprocess.run(["h5dump", *options, path], capture_output=True, text=True, check=True).stdout


def opened_layout(folder, layout):
    write, name, *_ = layouts.LAYOUTS[layout]
    return open_stack(folder / name, ReadOptions(**write(folder / name)))


@pytest.mark.parametrize("layout", HDF5_LAYOUTS)
def test_a_copy_of_each_hdf5_layout_holds_the_selection_beside_the_patterns(tmp_path, layout):
    with opened_layout(tmp_path, layout) as stack:
        write_any_selection(tmp_path / "copy.h5", stack, patterns=PATTERNS, scores=SCORES, selected=SINGLE)
        before, datasets = stack.path.read_bytes(), stack.datasets
        counts = stack.read(slice(None))
    options = {"frame_shape": (5, 6)} if layout == "Dragonfly HDF5" else {}
    with open_stack(tmp_path / "copy.h5", ReadOptions(**options)) as copy:
        names = ("select", "score") if layout == "batches" else ("single_hit/select", "single_hit/score")
        assert copy.table()[names[0]].tolist() == SELECT
        np.testing.assert_array_equal(copy.table()[names[1]], SCORE)
        if not options:
            np.testing.assert_array_equal(copy.read(slice(None)), counts)
            assert copy.datasets == datasets
    with open_stack(tmp_path / "copy.h5", ReadOptions(**options)) as copy, h5py.File(tmp_path / "copy.h5") as file:
        first = copy.datasets[0]
        place = (
            first.replace("pattern", "select")
            if layout == "batches"
            else first.rpartition("/")[0] + "/single_hit/select"
        )
        assert file[place].dtype == np.int32
    assert before == stack.path.read_bytes()
    assert not list(tmp_path.glob("*partial*"))
    assert "select" in (dumped(tmp_path / "copy.h5", "-n") or "select")


def test_a_second_selection_replaces_the_first(tmp_path):
    with opened_layout(tmp_path, "CXI images") as stack:
        write_any_selection(tmp_path / "first.cxi", stack, patterns=PATTERNS, scores=SCORES, selected=SINGLE)
    with open_stack(tmp_path / "first.cxi") as stack:
        write_any_selection(tmp_path / "second.cxi", stack, patterns=PATTERNS, scores=SCORES, selected=~SINGLE)
    with open_stack(tmp_path / "second.cxi") as stack:
        assert stack.table()["single_hit/select"].tolist() == [0, 1, 0, 1, 0, 0, 0]


def test_a_list_of_a_file_with_several_data_sets_says_where_each_pattern_is(tmp_path):
    with opened_layout(tmp_path, "CXI data") as stack:
        write_any_selection(tmp_path / "list.csv", stack, patterns=PATTERNS, scores=SCORES, selected=SINGLE)
    table = pd.read_csv(tmp_path / "list.csv")
    assert list(table) == ["file", "index", "event_id", "score", "single", "dataset", "dataset_index"]
    assert table["event_id"].tolist() == [10, 11, 13, 14, 16]
    assert table["dataset"].tolist()[-2:] == ["entry_2/data_10/data", "entry_10/data_1/data"]
    assert table["dataset_index"].tolist() == [0, 1, 1, 0, 0]
    with h5py.File(tmp_path / "amox34117.cxi") as file:
        for row in table.itertuples():
            np.testing.assert_array_equal(file[row.dataset][row.dataset_index], layouts.COUNTS[row.index])


def test_a_list_of_a_file_with_one_data_set_has_the_columns_of_always(tmp_path):
    with opened_layout(tmp_path, "psocake") as stack:
        write_any_selection(tmp_path / "list.csv", stack, patterns=PATTERNS, scores=SCORES, selected=SINGLE)
    assert list(pd.read_csv(tmp_path / "list.csv")) == ["file", "index", "event_id", "score", "single"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    counts=npst.arrays(np.uint16, (6, 5, 7), elements=st.integers(0, 40)),
    mask=npst.arrays(bool, (5, 7)).filter(lambda mask: not mask.all()),
    centre=st.tuples(*[st.floats(-20, 30)] * 2),
    single=npst.arrays(bool, 6).filter(np.any),
    suffix=st.sampled_from([".emc", ".h5"]),
)
def test_selected_photons_and_their_detector_survive_a_round_trip(tmp_path, counts, mask, centre, single, suffix):
    table = pd.DataFrame(index=range(6))
    write_stack(tmp_path / "a.cxi", counts, mask=mask, centre=centre, table=table, experiment=AMOX34117)
    path = tmp_path / f"selected{suffix}"
    with open_stack(tmp_path / "a.cxi") as stack:
        write_photons(path, stack, np.flatnonzero(single))
        experiment = stack.experiment
    with open_stack(path) as stack:
        assert stack.shape == (single.sum(), 5, 7)
        np.testing.assert_array_equal(stack.mask, mask)
        np.testing.assert_array_equal(stack.read(slice(None)), np.where(mask, 0, counts)[single])
        np.testing.assert_allclose(stack.centre, centre, atol=1e-5)
        for field in ("wavelength_nm", "distance_m", "pixel_m", "adu_per_photon", "saturation", "shape"):
            assert getattr(stack.experiment, field) == pytest.approx(getattr(experiment, field))
    with h5py.File(tmp_path / "selected_detector.h5") as file:
        assert sorted(file) == ["corr", "detd", "ewald_rad", "mask", "qx", "qy", "qz"]
        assert all(file[name].shape == (35,) for name in ("qx", "qy", "qz", "corr", "mask"))


def test_photons_of_dragonfly_are_written_again_with_their_detector(tmp_path):
    with opened_layout(tmp_path, "Dragonfly .emc") as stack:
        write_any_selection(tmp_path / "b.emc", stack, patterns=PATTERNS, scores=SCORES, selected=SINGLE)
    with open_stack(tmp_path / "b.emc") as stack:
        np.testing.assert_array_equal(stack.read(slice(None)), layouts.GOOD[PATTERNS[SINGLE]])
        np.testing.assert_array_equal(stack.mask, layouts.MASK)
        assert stack.centre == pytest.approx((1.5, 2.5))
        assert stack.geometry.distance == pytest.approx(1733.3)


def test_fractional_counts_are_refused_or_rounded(tmp_path):
    given = {
        "mask": np.zeros((2, 3), bool),
        "centre": (0, 0),
        "experiment": AMOX34117,
        "table": pd.DataFrame(index=[0]),
    }
    write_stack(tmp_path / "a.cxi", np.array([[[0.2, 0.6, 1.4], [2.6, 0, 0]]]), **given)
    with open_stack(tmp_path / "a.cxi") as stack:
        with pytest.raises(PatternFileError, match=r"fractions; round them"):
            write_photons(tmp_path / "b.emc", stack)
        assert [path.name for path in tmp_path.iterdir()] == ["a.cxi"]


def refuse(stack, path, message):
    with pytest.raises(PatternFileError, match=message):
        check_output(path, stack)
    with pytest.raises(PatternFileError, match=message):
        write_any_selection(path, stack, patterns=PATTERNS, scores=SCORES, selected=SINGLE)


def test_forms_that_cannot_be_written_are_refused_before_the_work(tmp_path):
    with opened_layout(tmp_path, "CXI images") as stack:
        refuse(stack, tmp_path / "x.txt", r"x\.txt: a selection is written as \.csv, \.cxi, \.h5, \.emc")
        refuse(stack, tmp_path / "a.cxi", "file of the patterns itself; choose another name")
        refuse(
            stack, tmp_path / "x.emc", r"a\.cxi: does not tell distance, x_pixel_size, source_1/energy, so there is no"
        )
    with opened_layout(tmp_path, "Dragonfly .emc") as stack:
        refuse(stack, tmp_path / "x.cxi", r"photons\.emc is not HDF5")
    with opened_layout(tmp_path, "CXI data (virtual)") as stack:
        (tmp_path / "below").mkdir()
        refuse(
            stack, tmp_path / "below" / "x.cxi", "refers to other files beside it; write the copy into the same folder"
        )
    layouts.write_detector_only(tmp_path / "raw.h5")
    with h5py.File(tmp_path / "linked.cxi", "w") as file:
        file["entry_1/data_1"] = h5py.ExternalLink("raw.h5", "/entry_1/instrument_1/detector_1")
    with open_stack(tmp_path / "linked.cxi") as stack:
        refuse(stack, tmp_path / "x.cxi", "is a link to another file; copy that one")
    assert not list(tmp_path.rglob("x.*"))


def test_no_photons_are_written_where_nothing_is_selected(tmp_path, write_patterns):
    nothing = {"patterns": np.arange(3), "scores": np.zeros(3), "selected": np.zeros(3, bool)}
    with (
        open_stack(write_patterns(tmp_path / "a.cxi")) as stack,
        pytest.raises(PatternFileError, match=r"b\.emc: no pattern of .*a\.cxi is selected"),
    ):
        write_any_selection(tmp_path / "b.emc", stack, **nothing)
    assert not list(tmp_path.glob("b*"))


def test_a_copy_that_fails_leaves_nothing(tmp_path, monkeypatch, write_patterns):
    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("helpers.patterns.selections._replace", fail)
    with open_stack(write_patterns(tmp_path / "a.cxi")) as stack, pytest.raises(OSError, match="full"):
        write_any_selection(
            tmp_path / "b.cxi", stack, patterns=np.arange(3), scores=np.zeros(3), selected=np.zeros(3, bool)
        )
    assert [path.name for path in tmp_path.iterdir()] == ["a.cxi"]


def test_every_hdf5_file_of_ours_is_readable_without_us(tmp_path, write_patterns):
    """With plain h5py and no plugin, value by value; with h5dump where it is installed."""
    with open_stack(write_patterns(tmp_path / "a.cxi", "run 7")) as stack:
        scores = np.array([0.1, 0.9, 0.5])
        write_any_selection(tmp_path / "b.cxi", stack, patterns=np.arange(3), scores=scores, selected=scores > 0.4)
        write_photons(tmp_path / "c.emc", stack)
    for name in ("a.cxi", "b.cxi", "c_detector.h5"):
        filters, read = set(), []

        def look_at(place, node, filters=filters, read=read):
            if isinstance(node, h5py.Dataset):
                plist = node.id.get_create_plist()
                filters |= {plist.get_filter(number)[0] for number in range(plist.get_nfilters())}
                read.append(place if node[()] is not None else None)

        with h5py.File(tmp_path / name) as file:
            file.visititems(look_at)
        assert read
        assert None not in read
        assert filters <= {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}
        text = dumped(tmp_path / name)
        if text is not None:
            assert all(re.search(rf'DATASET "{place.rpartition("/")[2]}"', text) for place in read)
            assert "unable to" not in text
