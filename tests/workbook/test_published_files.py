import os
import re

import pytest
import yaml

from helpers.workbook import load_profile
from helpers.workbook.fetch import published_files
from helpers.workbook.fetch.published_files import published_file

NAMES = ["cxidb-156", "darknet19", "darknet53"]


def test_the_known_files_are_those_that_the_profile_paper_takes():
    known = yaml.safe_load(published_files.ADDRESSES.read_text())
    assert list(known) == NAMES
    networks = load_profile("paper").networks
    for name, network in (("darknet19", "yolov2"), ("darknet53", "yolov3")):
        file = published_file(name)
        assert file.target == published_files.DATA / "weights" / networks[network]["backbone"]
        assert file.content == network


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_complete(name):
    file = published_file(name)
    assert file.content in ("hdf5", *published_files.BACKBONES)
    assert all(address.startswith("https://") for address in (*file.addresses, file.page))
    assert file.licence
    assert file.description
    assert not os.path.isabs(file.below_data)
    assert (file.size is None) == (file.checksum is None)
    digits = {"sha256": 64, "sha512": 128}
    if file.checksum:
        algorithm, _, digest = file.checksum.partition(":")
        assert re.fullmatch(f"[0-9a-f]{{{digits[algorithm]}}}", digest)
    if any(address.endswith("/") for address in file.addresses):
        assert file.listed
