"""One file for each layout, written as the program that it comes from writes it, and opened by us."""

import os
import tracemalloc

import h5py
import numpy as np
import pytest

from helpers.errors import PatternFileError
from helpers.patterns import DEFAULTS, ReadOptions, open_stack

RNG = np.random.default_rng(20210301)
COUNTS = RNG.poisson(0.6, (7, 5, 6))
MASK = np.zeros((5, 6), bool)
MASK[2, 3] = MASK[0, 0] = True
GOOD = np.where(MASK, 0, COUNTS)


def write_co_author(path):
    """Bobkov's tools (cxidata.py): groups image_k, linked as data_k."""
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        entry = file.create_group("entry_1")
        for number, patterns in ((1, slice(0, 4)), (2, slice(4, 7))):
            image = entry.create_group(f"image_{number}")
            entry[f"data_{number}"] = h5py.SoftLink(f"/entry_1/image_{number}")
            image.create_dataset("data", data=COUNTS[patterns], chunks=(1, 5, 6), compression="gzip")
            image["mask"] = MASK.astype(np.int32)
            image["image_center"] = np.array([2.5, 1.5, 0.0])
            image["psd/size"] = np.arange(7.0)[patterns] * 10
    return {}


def write_cxidb_156(path):
    """CXIDB 156 as its readers open it: several entries, several data groups."""
    with h5py.File(path, "w") as file:
        file["entry_10/data_1/data"] = COUNTS[6:].astype("f8")
        file["entry_2/data_10/data"] = COUNTS[4:6].astype("f8")
        file["entry_2/data_9/data"] = COUNTS[2:4].astype("f8")
        file["entry_1/data_1/data"] = COUNTS[:2].astype("f8")
        for entry in (1, 2, 10):
            file[f"entry_{entry}/instrument_1/detector_1/mask"] = MASK.astype(np.uint16) * 0x80
        file["entry_1/event_id"] = [10, 11]
        file["entry_2/event_id"] = [12, 13, 14, 15]
        file["entry_10/event_id"] = [16]
    return {}


def write_detector_only(path):
    """A CXI file without data groups: the detector itself."""
    with h5py.File(path, "w") as file:
        file["entry_1/instrument_1/detector_1/data"] = COUNTS.astype("u2")
        file["entry_1/instrument_1/detector_1/mask"] = MASK.astype(np.int32)
    return {}


def write_psocake(path):
    """The program xtc2cxi of psocake in SPI mode: photons and ADU, data_1 linked to the ADU, values shot by shot."""
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 140
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["data"] = (COUNTS * 130 + RNG.normal(0, 4, COUNTS.shape)).astype("f4")
        detector["photons"] = COUNTS.astype(np.int64)
        detector["distance"] = np.full(7, 0.130)
        detector["x_pixel_size"] = detector["y_pixel_size"] = np.full(7, 75e-6)
        detector["mask"] = MASK.astype(np.int32)
        detector["description"] = "pnccdFront"
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        file["entry_1/instrument_1/source_1/energy"] = np.array(
            [0, 1700.0, 1701, 1702, 1701, 1701, 1701]
        )  # [eV], its way
        file["entry_1/experimental_identifier"] = np.arange(7)
        file["entry_1/result_1/nHits"] = np.arange(7) * 100
        file["entry_1/result_1/nHitsAll"] = np.arange(900)
        file["LCLS/eventNumber"] = np.arange(7) * 3 + 5
    return {}


def write_cxidb_58(path):
    """CXIDB 58: one file a run of single hits; in the mask 1 is good but not for orientation."""
    with h5py.File(path, "w") as file:
        file["photonConverter/pnccdBack/photonCount"] = COUNTS.astype(np.int32)
        mask = np.where(MASK, 2, 0).astype(np.uint8)
        mask[4, :] = 1
        file["photonConverter/pnccdBack/mask"] = mask
    return {}


def write_batches(path):
    """Arsenal: batches of patterns in float64 with the index of each event; ten of them, so that names do not sort."""
    with h5py.File(path, "w") as file:
        parts = np.array_split(np.arange(7), [1, 1, 2, 2, 3, 4, 4, 5, 6, 6])
        for number, patterns in enumerate(parts):
            file[f"batch_{number}_pattern"] = COUNTS[patterns].astype("f8")
            file[f"batch_{number}_index"] = patterns + 100
        file["mask"] = MASK
    return {}


def emc_header(kind, pixels=30):
    header = np.zeros(256, "<i4")
    header[:3] = len(COUNTS), pixels, kind
    return header.tobytes()


def write_detector(path):
    """A detector of Dragonfly as its make_detector computes it: D = 1733.3 pixels, centre (1.5, 2.5)."""
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(5) - 1.5, np.arange(6) - 2.5, indexing="ij"))
    length = np.sqrt(x**2 + y**2 + 1733.3**2)
    with h5py.File(path, "w") as file:
        file["qx"], file["qy"] = x * 1500 / length, y * 1500 / length
        file["qz"] = 1500 * (1733.3 / length - 1)
        file["corr"] = 1733.3 / length**3 * (1 - x**2 / length**2)
        mask = np.where(MASK, 2, 0).astype(np.uint8)
        mask[4, :] = 1
        file["mask"] = mask.ravel()
        file["detd"], file["ewald_rad"] = 1733.3, 1500.0


def write_sparse_emc(path):
    """EMCWriter of Dragonfly: places of ones, places of several, their counts."""
    frames = COUNTS.reshape(7, -1)
    ones, several = [np.flatnonzero(f == 1) for f in frames], [np.flatnonzero(f > 1) for f in frames]
    counts = [frame[places] for frame, places in zip(frames, several, strict=True)]
    lists = [[len(places) for places in ones], [len(places) for places in several], *ones, *several, *counts]
    path.write_bytes(emc_header(0) + np.concatenate(lists).astype("<i4").tobytes())
    write_detector(path.with_name(f"{path.stem}_detector.h5"))
    return {}


def write_dense_integers(path):
    path.write_bytes(emc_header(1) + COUNTS.astype("<i4").tobytes())
    write_detector(path.with_name("elsewhere.h5"))
    return {"detector": path.with_name("elsewhere.h5")}


def write_dense_floats(path):
    path.write_bytes(emc_header(2) + COUNTS.astype("<f8").tobytes())
    return {"frame_shape": (5, 6)}


def write_dragonfly_hdf5(path):
    frames = COUNTS.reshape(7, -1)
    with h5py.File(path, "w") as file:
        file["num_pix"] = [30]
        vlen = h5py.vlen_dtype(np.int32)
        for name in ("place_ones", "place_multi", "count_multi"):
            file.create_dataset(name, (7,), vlen)
        for number, frame in enumerate(frames):
            file["place_ones"][number] = np.flatnonzero(frame == 1).astype("i4")
            file["place_multi"][number] = np.flatnonzero(frame > 1).astype("i4")
            file["count_multi"][number] = frame[frame > 1].astype("i4")
    write_detector(path.with_name(f"{path.stem}_detector.h5"))
    return {}


def write_modules(folder):
    """Files of two modules as the European XFEL stores them; each mask marks another pixel of each train."""
    for module in range(2):
        with h5py.File(folder / f"CORR-R0001-AGIPD{module:02d}-S00000.h5", "w") as file:
            image = file.create_group(f"INSTRUMENT/SPB_DET_AGIPD1M-1/DET/{module}CH0:xtdf/image")
            image["data"] = COUNTS[:, :, module * 3 : module * 3 + 3].astype("f4")
            mask = np.broadcast_to(MASK[:, module * 3 : module * 3 + 3], (7, 5, 3)).astype(np.uint32)
            mask[5, 4, 1] = 8
            image["mask"] = mask


def write_virtual_cxi(path):
    """VirtualCXIWriter of EXtra-data: virtual (N, module, y, x), its mask likewise, ids train:pulse, data_1 a link."""
    write_modules(path.parent)
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file["cxi_version"] = [150]
        ids = [f"{train}:{pulse}" for train, pulse in zip([1, 1, 1, 2, 2, 3, 3], [0, 8, 16, 0, 8, 0, 8], strict=True)]
        file["entry_1/experiment_identifier"] = np.array(ids, dtype=h5py.string_dtype())
        file["entry_1/trainId"] = np.array([1, 1, 1, 2, 2, 3, 3], np.uint64)
        detector = file.create_group("entry_1/instrument_1/detector_1")
        for name, kind, fill in (("data", "f4", np.nan), ("mask", "u4", 0xFFFFFFFF)):
            layout = h5py.VirtualLayout((7, 2, 5, 3), dtype=kind)
            for module in range(2):
                source = f"CORR-R0001-AGIPD{module:02d}-S00000.h5"
                place = f"INSTRUMENT/SPB_DET_AGIPD1M-1/DET/{module}CH0:xtdf/image/{name}"
                layout[:, module] = h5py.VirtualSource(source, place, shape=(7, 5, 3))
            data = detector.create_virtual_dataset(name, layout, fillvalue=np.dtype(kind).type(fill))
            data.attrs["axes"] = "experiment_identifier:module_identifier:y:x"
        detector["experiment_identifier"] = h5py.SoftLink("/entry_1/experiment_identifier")
        detector["module_identifier"] = [0, 1]
        detector["x_pixel_size"] = detector["y_pixel_size"] = 2e-4
        detector["basis_vectors"] = np.tile([[[0, -2e-4, 0], [-2e-4, 0, 0]]], (2, 1, 1))
        detector["corner_position"] = np.array([[6e-4, 4e-4, 0.7], [0, 4e-4, 0.7]])
        file["entry_1/data_1"] = h5py.SoftLink("/entry_1/instrument_1/detector_1")
    return {}


IN_RUN_ORDER = list(range(10, 17))
LAYOUTS = {
    "CXI images": (write_co_author, "a.cxi", ["entry_1/image_1/data", "entry_1/image_2/data"], None),
    "CXI data": (
        write_cxidb_156,
        "amox34117.cxi",
        ["entry_1/data_1/data", "entry_2/data_9/data", "entry_2/data_10/data", "entry_10/data_1/data"],
        IN_RUN_ORDER,
    ),
    "CXI detector": (write_detector_only, "a.cxi", ["entry_1/instrument_1/detector_1/data"], None),
    "psocake": (write_psocake, "a.cxi", ["entry_1/instrument_1/detector_1/photons"], list(range(7))),
    "CXIDB-58": (write_cxidb_58, "amo86615_182_PR772_single.h5", ["photonConverter/pnccdBack/photonCount"], None),
    "batches": (write_batches, "a.h5", [f"batch_{k}_pattern" for k in (0, 2, 4, 5, 7, 8, 10)], list(range(100, 107))),
    "Dragonfly .emc": (write_sparse_emc, "photons.emc", ["sparse photons"], None),
    "Dragonfly .emc, dense integers": (write_dense_integers, "photons.emc", ["dense int32 frames"], None),
    "Dragonfly .emc, dense floats": (write_dense_floats, "photons.emc", ["dense float64 frames"], None),
    "Dragonfly HDF5": (write_dragonfly_hdf5, "photons.h5", ["place_ones"], None),
    "CXI data (virtual)": (
        write_virtual_cxi,
        "virtual.cxi",
        ["entry_1/data_1/data"],
        ["1:0", "1:8", "1:16", "2:0", "2:8", "3:0", "3:8"],
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_patterns(tmp_path, layout):
    write, name, datasets, ids = LAYOUTS[layout]
    options = write(tmp_path / name)
    expected = COUNTS if layout.endswith("dense floats") else GOOD.copy()
    if layout.endswith("(virtual)"):
        expected[5, 4, [1, 4]] = 0
    with open_stack(tmp_path / name, ReadOptions(**options)) as stack:
        assert stack.layout == layout.partition(",")[0]
        assert list(stack.datasets) == datasets
        assert (len(stack), stack.shape) == (7, (7, 5, 6))
        np.testing.assert_array_equal(stack.read(slice(None)), expected)
        np.testing.assert_array_equal(stack.read(np.array([6, 0, 3])), expected[[6, 0, 3]])
        np.testing.assert_array_equal(stack.read_frames(np.array([2])), expected[[2]])
        if expected is not COUNTS:
            np.testing.assert_array_equal(stack.mask, MASK)
        assert (None if stack.event_ids is None else list(stack.event_ids)) == ids
        assert len(stack.table()) == 7


def test_the_origin_of_each_pattern_is_kept(tmp_path):
    write_cxidb_156(tmp_path / "a.cxi")
    with open_stack(tmp_path / "a.cxi") as stack:
        origins = stack.origins(np.array([6, 3, 4]))
        assert len(stack.origins()) == 7
    assert list(origins["dataset"]) == ["entry_10/data_1/data", "entry_2/data_9/data", "entry_2/data_10/data"]
    assert list(origins["dataset_index"]) == [0, 1, 0]


def test_columns_of_several_data_sets_follow_each_other(tmp_path):
    write_co_author(tmp_path / "a.cxi")
    with open_stack(tmp_path / "a.cxi") as stack:
        assert stack.column_names == ["psd/size"]
        assert list(stack.table()["psd/size"]) == [0, 10, 20, 30, 40, 50, 60]
        assert stack.centre == (1.5, 2.5)


def test_psocake_keeps_its_columns_and_tells_the_experiment(tmp_path):
    write_psocake(tmp_path / "a.cxi")
    with open_stack(tmp_path / "a.cxi") as stack:
        assert {"result_1/nHits", "LCLS/eventNumber", "distance"} <= set(stack.table())
        assert "result_1/nHitsAll" not in stack.table()
        assert stack.experiment is None
        assert stack.missing == ("image_center",)
    with h5py.File(tmp_path / "a.cxi", "a") as file:
        file["entry_1/instrument_1/detector_1/image_center"] = [2.5, 1.5, 0]
    with open_stack(tmp_path / "a.cxi") as stack:
        assert stack.experiment.wavelength_nm == pytest.approx(0.7289, rel=1e-4)  # 1701 eV
        assert (stack.experiment.distance_m, stack.experiment.pixel_m) == (0.130, 75e-6)
        assert (stack.experiment.shape, stack.experiment.centre) == ((5, 6), (1.5, 2.5))


def test_adu_can_be_named_and_are_refused_as_photons_but_read_as_frames(tmp_path):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/instrument_1/detector_1/photons"] = COUNTS
        adu = np.maximum(COUNTS * 130 + RNG.normal(0, 4, COUNTS.shape), 0).astype("f4")
        file["entry_1/instrument_1/detector_1/data"] = adu
    with open_stack(tmp_path / "a.cxi", ReadOptions(dataset="entry_1/instrument_1/detector_1/data")) as stack:
        np.testing.assert_array_equal(stack.read_frames(slice(None)), adu)
        with pytest.raises(PatternFileError, match=r"detector_1/data has values.*detector units.*workbook prepare"):
            stack.read(slice(None))


@pytest.mark.parametrize(
    ("polarity", "bad"),
    [("format", MASK), ("nonzero-bad", MASK | (np.arange(5) == 4)[:, None]), ("nonzero-good", None)],
)
def test_polarity_of_a_mask_follows_dragonfly_and_can_be_told_otherwise(tmp_path, polarity, bad):
    expected = bad if bad is not None else ~(MASK | (np.arange(5) == 4)[:, None])
    for write, name in ((write_cxidb_58, "a.h5"), (write_sparse_emc, "a.emc")):
        write(tmp_path / name)
        with open_stack(tmp_path / name, ReadOptions(mask_polarity=polarity)) as stack:
            np.testing.assert_array_equal(stack.mask, expected)


def test_polarity_of_a_cxi_mask_can_be_told(tmp_path):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/data_1/data"] = COUNTS
        file["entry_1/data_1/mask"] = (~MASK).astype(np.uint8)
    with open_stack(tmp_path / "a.cxi", ReadOptions(mask_polarity="nonzero-good")) as stack:
        np.testing.assert_array_equal(stack.mask, MASK)
    with pytest.raises(ValueError, match="nonzero-good, got 'good'"):
        open_stack(tmp_path / "a.cxi", ReadOptions(mask_polarity="good"))


def test_one_data_set_under_several_names_counts_once(tmp_path):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/data_1/data"] = COUNTS
        file["entry_1/data_2"] = h5py.SoftLink("/entry_1/data_1")
        file["entry_1/data_3/data"] = file["entry_1/data_1/data"]
        file["entry_2"] = h5py.SoftLink("/entry_1")
    with open_stack(tmp_path / "a.cxi") as stack:
        assert stack.datasets == ("entry_1/data_1/data",)


def test_data_in_another_file_is_followed(tmp_path):
    write_detector_only(tmp_path / "raw.h5")
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/data_1"] = h5py.ExternalLink("raw.h5", "/entry_1/instrument_1/detector_1")
    with open_stack(tmp_path / "a.cxi") as stack:
        np.testing.assert_array_equal(stack.read(slice(None)), GOOD)


def test_a_link_within_the_file_that_leads_nowhere_is_no_stack(tmp_path):
    write_psocake(tmp_path / "a.cxi")
    with h5py.File(tmp_path / "a.cxi", "a") as file:
        del file["entry_1/instrument_1/detector_1/data"]
        file["entry_1/data_2"] = h5py.SoftLink("/entry_1/data_2")
    with open_stack(tmp_path / "a.cxi") as stack:
        assert stack.datasets == ("entry_1/instrument_1/detector_1/photons",)


def test_an_average_image_beside_the_patterns_is_not_taken_for_them(tmp_path):
    write_cxidb_156(tmp_path / "a.cxi")
    with h5py.File(tmp_path / "a.cxi", "a") as file:
        file["entry_1/image_1/data"] = COUNTS.mean(axis=0)
    with open_stack(tmp_path / "a.cxi") as stack:
        assert len(stack) == 7
    with h5py.File(tmp_path / "b.cxi", "w") as file:
        file["entry_1/image_1/data"] = COUNTS.mean(axis=0)
    with pytest.raises(PatternFileError, match=r"b\.cxi: entry_1/image_1/data has shape \(5, 6\); a stack is"):
        open_stack(tmp_path / "b.cxi")


def test_stacks_that_differ_in_shape_must_be_named(tmp_path):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/data_1/data"] = COUNTS
        file["entry_2/data_1/data"] = COUNTS[:, :4]
    with pytest.raises(
        PatternFileError, match=r"entry_1/data_1/data \(5, 6\), entry_2/data_1/data \(4, 6\).*--dataset"
    ):
        open_stack(tmp_path / "a.cxi")
    with open_stack(tmp_path / "a.cxi", ReadOptions(dataset="entry_2/data_1/data")) as stack:
        assert stack.shape == (7, 4, 6)


@pytest.mark.parametrize("linked", [False, True])
def test_several_detectors_show_the_same_shots_and_must_be_named(tmp_path, linked):
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        for number in (1, 2):
            file[f"entry_1/instrument_1/detector_{number}/data"] = COUNTS
            if linked:
                file[f"entry_1/data_{number}"] = h5py.SoftLink(f"/entry_1/instrument_1/detector_{number}")
    with pytest.raises(PatternFileError, match=r"show the same shots on several detectors.*; name one with dataset"):
        open_stack(tmp_path / "a.cxi")


def test_several_detectors_of_a_photon_converter_must_be_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["photonConverter/pnccdBack/photonCount"] = COUNTS
        file["photonConverter/pnccdFront/photonCount"] = COUNTS
    with pytest.raises(PatternFileError, match=r"pnccdBack/photonCount, photonConverter/pnccdFront/photonCount show"):
        open_stack(tmp_path / "a.h5")


def test_parts_of_a_virtual_data_set_without_a_source_are_told_or_read_as_no_photons(tmp_path):
    write_modules(tmp_path)
    layout = h5py.VirtualLayout((7, 5, 6), dtype="u2")
    place = "INSTRUMENT/SPB_DET_AGIPD1M-1/DET/0CH0:xtdf/image/data"
    layout[:, :, :3] = h5py.VirtualSource("CORR-R0001-AGIPD00-S00000.h5", place, shape=(7, 5, 3))
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file.create_virtual_dataset("entry_1/data_1/data", layout)
    with pytest.raises(PatternFileError, match=r"50\.0% of it has no source"):
        open_stack(tmp_path / "a.cxi")
    with open_stack(tmp_path / "a.cxi", ReadOptions(nan_as_zero=True)) as stack:
        assert not stack.read(slice(None))[..., 3:].any()


def test_modules_missing_from_a_float_virtual_data_set_are_nan_and_refused(tmp_path):
    write_modules(tmp_path)
    layout = h5py.VirtualLayout((7, 5, 6), dtype="f4")
    place = "INSTRUMENT/SPB_DET_AGIPD1M-1/DET/0CH0:xtdf/image/data"
    layout[:, :, :3] = h5py.VirtualSource("CORR-R0001-AGIPD00-S00000.h5", place, shape=(7, 5, 3))
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file.create_virtual_dataset("entry_1/data_1/data", layout, fillvalue=np.float32(np.nan))
    with open_stack(tmp_path / "a.cxi") as stack, pytest.raises(PatternFileError, match="NaN"):
        stack.read(slice(0, 1))


def cut_short(folder):
    write_psocake(folder / "a.cxi")
    (folder / "a.cxi").write_bytes((folder / "a.cxi").read_bytes()[:-500])


def cut_short_emc(folder):
    write_sparse_emc(folder / "a.emc")
    (folder / "a.emc").write_bytes((folder / "a.emc").read_bytes()[:-4])


def cut_short_in_the_header(folder):
    (folder / "a.emc").write_bytes(b"\0" * 100)


def no_emc(folder):
    (folder / "a.emc").write_bytes(b"not photons, but text" * 100)


def empty_emc(folder):
    (folder / "a.emc").write_bytes(np.array([0, 30, 0], "<i4").tobytes() + b"\0" * 1012)


def link_to_nothing(folder):
    (folder / "a.cxi").symlink_to("moved_away.cxi")


def external_link_to_nothing(folder):
    with h5py.File(folder / "a.cxi", "w") as file:
        file["entry_1/data_1/data"] = COUNTS
        file["entry_2/data_1"] = h5py.ExternalLink("run_0177.h5", "/entry_1/data_1")


def soft_link_to_an_external_link_to_nothing(folder):
    with h5py.File(folder / "a.cxi", "w") as file:
        file["raw"] = h5py.ExternalLink("run_0177.h5", "/entry_1/data_1")
        file["entry_1/data_1"] = h5py.SoftLink("/raw")


def external_link_to_no_data_set(folder):
    write_detector_only(folder / "run_0177.h5")
    with h5py.File(folder / "a.cxi", "w") as file:
        file["entry_1/data_1/data"] = h5py.ExternalLink("run_0177.h5", "/absent")


def virtual_without_a_source(folder):
    write_virtual_cxi(folder / "a.cxi")
    (folder / "CORR-R0001-AGIPD01-S00000.h5").unlink()


def virtual_of_a_virtual_without_a_source(folder):
    layout = h5py.VirtualLayout((7, 5, 3), dtype="f4")
    layout[:] = h5py.VirtualSource("run_0177.h5", "data", shape=(7, 5, 3))
    for name, source in (("a.cxi", "between.h5"), ("between.h5", "run_0177.h5")):
        layout = h5py.VirtualLayout((7, 5, 3), dtype="f4")
        layout[:] = h5py.VirtualSource(source, "entry_1/data_1/data", shape=(7, 5, 3))
        with h5py.File(folder / name, "w") as file:
            file.create_virtual_dataset("entry_1/data_1/data", layout)


def virtual_with_a_source_that_lacks_the_data_set(folder):
    write_virtual_cxi(folder / "a.cxi")
    with h5py.File(folder / "CORR-R0001-AGIPD01-S00000.h5", "a") as file:
        del file["INSTRUMENT/SPB_DET_AGIPD1M-1/DET/1CH0:xtdf/image/data"]


def virtual_with_a_damaged_source(folder):
    write_virtual_cxi(folder / "a.cxi")
    (folder / "CORR-R0001-AGIPD01-S00000.h5").write_bytes(b"damaged")


def panels_without_a_geometry(folder):
    with h5py.File(folder / "a.cxi", "w") as file:
        file["entry_1/data_1/data"] = np.stack([COUNTS, COUNTS], axis=1)


def emc_without_a_shape(folder):
    write_dense_floats(folder / "a.emc")


def no_detector_beside(folder):
    write_dense_floats(folder / "a.emc")
    (folder / "a_detector.h5").write_bytes(b"damaged")


def detector_of_other_photons(folder):
    write_dense_floats(folder / "a.emc")
    with h5py.File(folder / "a_detector.h5", "w") as file:
        for name in ("qx", "qy", "qz", "corr", "mask"):
            file[name] = np.zeros(31)
        file["detd"] = file["ewald_rad"] = 100.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (cut_short, r"a\.cxi: is not a whole HDF5 file.*copy it again"),
        (cut_short_emc, r"a\.emc: is not a whole Dragonfly file.*copy it again"),
        (cut_short_in_the_header, r"a\.emc: is not a whole Dragonfly file, it has 100 bytes"),
        (no_emc, r"a\.emc: is no Dragonfly file.*check the path"),
        (empty_emc, r"a\.emc: sparse photons are empty.*write at least one"),
        (link_to_nothing, r"a\.cxi: is a link to moved_away\.cxi, which is missing; mend"),
        (external_link_to_nothing, r"a\.cxi: entry_2/data_1 is a link to run_0177\.h5, which is missing; put"),
        (soft_link_to_an_external_link_to_nothing, r"entry_1/data_1 is a link to /raw, which leads nowhere; mend"),
        (external_link_to_no_data_set, r"entry_1/data_1/data is a link to run_0177\.h5, which has no /absent"),
        (
            virtual_without_a_source,
            r"a\.cxi: entry_1/data_1/data is virtual and its source CORR.*01.* is missing.*; put",
        ),
        (virtual_of_a_virtual_without_a_source, r"a\.cxi: .* is virtual and its source run_0177\.h5 is missing"),
        (
            virtual_with_a_source_that_lacks_the_data_set,
            r"virtual and its source CORR.*01.* has no data set INSTR.*; put",
        ),
        (
            virtual_with_a_damaged_source,
            r"source CORR.*01.* of entry_1/data_1/data is not a whole HDF5 file.*copy it again",
        ),
        (panels_without_a_geometry, r"a\.cxi: entry_1/data_1/data holds panels.*no geometry; give.*--detector"),
        (emc_without_a_shape, r"a\.emc: .*30 pixels; give frame_shape.*--frame-shape 123x240.*a_detector\.h5"),
        (no_detector_beside, r"a_detector\.h5: is not a whole HDF5 file"),
        (detector_of_other_photons, r"a_detector\.h5: .*31.*the photons have 30 pixels; give"),
    ],
)
def test_each_wrong_file_gives_one_error_with_the_next_step(tmp_path, make, message):
    make(tmp_path)
    name = "a.emc" if (tmp_path / "a.emc").exists() else "a.cxi"
    with pytest.raises(PatternFileError, match=message) as raised:
        open_stack(tmp_path / name)
    assert "\n" not in str(raised.value)
    os.rename(tmp_path / name, tmp_path / "closed")  # nothing holds the file


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_shape": (6, 6)}, r"30 pixels.*frame shape \(6, 6\) does not fit"),
        ({"dataset": "entry_1/data_1/data"}, "no data sets; leave"),
    ],
)
def test_options_that_do_not_fit_a_dragonfly_file_are_refused(tmp_path, options, message):
    write_dense_floats(tmp_path / "a.emc")
    with pytest.raises(PatternFileError, match=message):
        open_stack(tmp_path / "a.emc", ReadOptions(**options))


def test_options_that_do_not_fit_an_hdf5_file_are_refused(tmp_path):
    write_co_author(tmp_path / "a.cxi")
    with pytest.raises(PatternFileError, match=r"not of the frame shape \(6, 5\)"):
        open_stack(tmp_path / "a.cxi", ReadOptions(frame_shape=(6, 5)))
    with pytest.raises(PatternFileError, match="no data set entry_9/data"):
        open_stack(tmp_path / "a.cxi", ReadOptions(dataset="entry_9/data"))


def opened_within(megabytes, path, options=DEFAULTS):
    """Open a stack while less memory than that is taken."""
    tracemalloc.start()
    try:
        stack = open_stack(path, options)
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
    finally:
        tracemalloc.stop()
    return stack


def test_a_huge_hdf5_file_is_opened_without_reading_it(tmp_path):
    path = tmp_path / "huge.cxi"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("entry_1/data_1/data", (100_000, 1024, 1024), "u2", chunks=(1, 1024, 1024))
        data[77_777] = 3
    with opened_within(20, path) as stack:
        assert stack.shape == (100_000, 1024, 1024)
        assert stack.read(np.array([77_777])).sum() == 3 * 1024**2


def test_a_huge_dense_emc_is_opened_without_reading_it(tmp_path):
    path = tmp_path / "huge.emc"
    header = np.zeros(256, "<i4")
    header[:3] = 1_700_000, 123 * 240, 1
    path.write_bytes(header.tobytes())
    os.truncate(path, 1024 + 1_700_000 * 123 * 240 * 4)
    with opened_within(5, path, ReadOptions(frame_shape=(123, 240))) as stack:
        assert stack.shape == (1_700_000, 123, 240)
        assert stack.read(np.array([1_699_999])).shape == (1, 123, 240)


def test_a_huge_sparse_emc_is_opened_by_its_index(tmp_path):
    path = tmp_path / "huge.emc"
    ones = np.full(50_000, 1_000_000, "<i4")
    ones[40_000] = 2
    header = np.zeros(256, "<i4")
    header[:3] = ones.size, 1_000_000, 0
    offset = 1024 + 8 * ones.size
    with open(path, "wb") as file:
        file.write(header.tobytes() + ones.tobytes() + np.zeros(ones.size, "<i4").tobytes())
        file.seek(offset + 4 * int(ones[:40_000].sum(dtype=np.int64)))
        file.write(np.array([5, 999_999], "<i4").tobytes())
        file.truncate(offset + 4 * int(ones.sum(dtype=np.int64)))
    assert path.stat().st_size > 190e9
    with opened_within(60, path, ReadOptions(frame_shape=(1000, 1000))) as stack:
        pattern = stack.read(np.array([40_000]))[0]
    assert list(zip(*np.nonzero(pattern), strict=True)) == [(0, 5), (999, 999)]
