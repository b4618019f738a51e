import string

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import darknet
from helpers.darknet.cfg import read_sections, sections_text
from helpers.errors import NetworkFileError

MINIMAL = """# a comment
[net]
width = 32
height=32
channels=3

; another
[convolutional]
filters=6
size=1
activation=linear

[region]
anchors = 1.5, 2
bias_match=1
classes=1
num=1
softmax=1
jitter=.2
"""

KEYS = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8)
VALUES = st.text(string.ascii_letters + string.digits + ".,-+*=#[]/", min_size=1, max_size=12)
SECTIONS = st.lists(st.builds(darknet.Section, KEYS, st.dictionaries(KEYS, VALUES, max_size=4)), min_size=1, max_size=5)


@st.composite
def network_sections(draw):
    """`[net]` and a few layers that fit, each perhaps with an option that changes no output."""
    unknown = st.dictionaries(st.sampled_from(["learning_rate", "clip"]), VALUES, max_size=2)
    sections = [darknet.section("net", width=16, height=16, channels=draw(st.integers(1, 3)), **draw(unknown))]
    for name in draw(st.lists(st.sampled_from(["convolutional", "maxpool", "upsample", "route"]), max_size=5)):
        options = {
            "convolutional": {
                "filters": draw(st.integers(1, 5)),
                "size": draw(st.sampled_from([1, 3])),
                "stride": draw(st.integers(1, 2)),
                "pad": 1,
                "batch_normalize": draw(st.integers(0, 1)),
                "activation": draw(st.sampled_from(["leaky", "linear", "logistic", "relu"])),
            },
            "maxpool": {"size": 2, "stride": draw(st.integers(1, 2))},
            "upsample": {"stride": 2},
            "route": {"layers": -1},
        }[name]
        if name != "route" or len(sections) > 1:
            sections.append(darknet.section(name, **options, **draw(unknown)))
    return sections


def written(folder, text):
    path = folder / "some.cfg"
    path.write_text(text, encoding="utf-8")
    return path


@given(SECTIONS)
def test_sections_written_and_read_are_the_same(tmp_path_factory, sections):
    path = written(tmp_path_factory.mktemp("cfg", numbered=True), sections_text(sections))
    assert read_sections(path) == sections


@pytest.mark.filterwarnings("ignore:.*has no .region., .yolo. or .softmax.")
@given(network_sections())
def test_network_written_and_read_is_the_same(tmp_path_factory, sections):
    network, path = darknet.Network(sections), tmp_path_factory.mktemp("cfg") / "some.cfg"
    darknet.write_cfg(network, path)
    again = darknet.read_cfg(path)
    assert again.sections == network.sections
    again.load_state_dict(network.state_dict())
    images = torch.rand(2, int(sections[0].options["channels"]), 16, 16)
    for ours, theirs in zip(network.eval().all_outputs(images), again.eval().all_outputs(images), strict=True):
        assert torch.equal(ours, theirs)


def test_comments_and_white_space_are_ignored_and_unknown_options_kept(tmp_path):
    network = darknet.read_cfg(written(tmp_path, MINIMAL))
    assert [section.name for section in network.sections] == ["net", "convolutional", "region"]
    assert network.size == 32
    assert network.sections[2].options["jitter"] == ".2"
    assert network.heads[0].anchors.tolist() == [[1.5, 2.0]]


def test_generator_decides_the_weights(tmp_path):
    path = written(tmp_path, MINIMAL)
    first, second, other = (
        darknet.read_cfg(path, generator=torch.Generator().manual_seed(seed)).layers[0].weights for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("[convolutional]", "[lstm]", 8, r"\[lstm\]: this layer type is not supported, only convolutional, maxpool"),
        ("filters=6", "filters=six", 9, "filters=six is not a whole number"),
        ("filters=6", "filters=12", 13, "need filters=6 in the layer before, not 12"),
        ("activation=linear", "activation=swish", 11, "activation=swish is not supported, only leaky, linear"),
        ("filters=6\n", "", 12, "need filters=6 in the layer before, not 1"),
        ("height=32\n", "", 2, "height=... is missing"),
        ("height=32", "height=64", 4, "only square images are supported"),
        ("size=1", "size 1", 10, "'size1' is not key=value"),
        ("size=1", "size=", 10, "'size=' is not key=value"),
        ("[convolutional]", "[cost]\n[convolutional]", 8, "supported only as the last layer"),
        ("[region]", "[region", 13, "is not a \\[section\\]"),
        ("[net]", "[convolutional]", 2, r"the first section must be \[net\]"),
        (
            "[region]",
            "[route]\nlayers=-3\n[region]",
            14,
            "layers names layer -3, but only layers 0 to 0 come before layer 1",
        ),
        ("[region]", "[shortcut]\nfrom=1\n[region]", 14, "from names layer 1, but only layers 0 to 0"),
    ],
)
def test_wrong_line_is_named_with_its_number(tmp_path, old, new, line, message):
    path = written(tmp_path, MINIMAL.replace(old, new, 1))
    with pytest.raises(NetworkFileError, match=f"^{path}, line {line}.*{message}"):
        darknet.read_cfg(path)


@pytest.mark.parametrize(("content", "message"), [(b"", "holds no"), (b"a=1", "line 1"), (bytes(9), "is not text")])
def test_file_that_is_no_cfg_is_refused(tmp_path, content, message):
    path = tmp_path / "wrong.cfg"
    path.write_bytes(content)
    with pytest.raises(NetworkFileError, match=message):
        darknet.read_cfg(path)


def test_absent_cfg_is_named(tmp_path):
    with pytest.raises(NetworkFileError, match=r"absent\.cfg: cannot be read"):
        darknet.read_cfg(tmp_path / "absent.cfg")


def test_unknown_batch_norm_is_refused(tmp_path):
    with pytest.raises(ValueError, match="torch, darknet-cpu"):
        darknet.read_cfg(written(tmp_path, MINIMAL), batch_norm="cpu")
