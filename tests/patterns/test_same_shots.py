"""Data sets of the same shots are a choice; they never come one after the other."""

import h5py
import numpy as np
import pytest

from helpers.errors import PatternFileError
from helpers.patterns import ReadOptions, open_stack

COUNTS = np.ones((4, 3, 5), np.uint16)
NAMES = [b"LCLS_2013_%06d" % number for number in range(4)]


def write(path, *, groups=("image_1", "image_2"), links=(), **others):
    with h5py.File(path, "w") as file:
        for number, group in enumerate(groups, start=1):
            file[f"entry_1/{group}/data"] = COUNTS * number
        for name, values in others.items():
            file[name.replace("__", "/")] = values
        for name, target in links:
            file[name] = h5py.SoftLink(target)
    return path


DETECTORS = {f"entry_1__instrument_1__detector_{number}__distance": 0.13 * number for number in (1, 2)}
IDS_OF_BOTH = [(f"entry_1/image_{number}/event_id", "/entry_1/instrument_1/event_id") for number in (1, 2)]


@pytest.mark.parametrize("name", ["detector", "detector_1"])
def test_links_to_different_detectors_are_a_choice(tmp_path, name):
    """The row `cheetah_two_detectors.cxi`."""
    links = [(f"entry_1/image_{k}/{name}", f"/entry_1/instrument_1/detector_{k}") for k in (1, 2)]
    path = write(tmp_path / "a.cxi", links=links, **DETECTORS, entry_1__experiment_identifier=NAMES)
    with pytest.raises(PatternFileError, match=r"image_1/data, .*image_2/data show the same shots.*--dataset"):
        open_stack(path)
    with open_stack(path, ReadOptions(dataset="entry_1/image_2/data")) as stack:
        assert stack.read(slice(None)).max() == 2
        assert stack.experiment_values["distance_m"] == 0.26
        assert stack.event_ids.tolist() == [name.decode() for name in NAMES]


@pytest.mark.parametrize(
    ("links", "others"),
    [
        ((), {"entry_1__experiment_identifier": NAMES}),
        ((), {"entry_1__event_id": np.arange(4)}),
        ((), {"LCLS__eventNumber": np.arange(4) * 3}),
        ((), {"entry_1__image_1__event_id": NAMES, "entry_1__image_2__event_id": NAMES}),
        (IDS_OF_BOTH, {"entry_1__instrument_1__event_id": np.arange(4)}),
    ],
)
def test_one_list_of_events_for_two_data_sets_is_a_choice(tmp_path, links, others):
    """Siblings: raw and corrected images of one detector, as Cheetah's `saveRaw` and `saveDetectorCorrected` write."""
    with pytest.raises(PatternFileError, match="show the same shots"):
        open_stack(write(tmp_path / "a.cxi", links=links, **others))


@pytest.mark.parametrize(
    ("links", "others"),
    [
        ((), {}),
        ((), {"entry_1__event_id": np.arange(8)}),
        ((), {"entry_1__image_1__event_id": np.arange(4), "entry_1__image_2__event_id": np.arange(4) + 4}),
        ((), {"entry_1__image_1__event_id": np.arange(4), "entry_1__image_2__event_id": np.arange(4)}),  # just numbers
        ((), {"entry_1__image_1__event_id": [b""] * 4, "entry_1__image_2__event_id": [b""] * 4}),
        ([(f"entry_1/image_{k}/detector", "/entry_1/instrument_1/detector_1") for k in (1, 2)], DETECTORS),
    ],
)
def test_other_shots_come_one_after_the_other(tmp_path, links, others):
    with open_stack(write(tmp_path / "a.cxi", links=links, **others)) as stack:
        assert stack.read(slice(None)).max(axis=(1, 2)).tolist() == [1] * 4 + [2] * 4


def test_a_list_of_events_that_was_never_written_is_told_to_whoever_asks_for_it(tmp_path):
    path = write(tmp_path / "a.cxi")
    with h5py.File(path, "r+") as file:
        file["entry_1/image_1"].create_dataset("event_id", (4,), "i8")
    with open_stack(path) as stack, pytest.raises(PatternFileError, match="was never written"):
        stack.event_ids  # noqa: B018
