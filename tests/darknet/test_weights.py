import gzip
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers import darknet
from helpers.errors import NetworkFileError


def small_network(filters=(4, 3), seed=0):
    sections = [darknet.section("net", width=8, height=8, channels=2)]
    for count in filters:
        options = {"batch_normalize": count % 2, "filters": count, "size": 3, "pad": 1, "activation": "leaky"}
        sections.append(darknet.section("convolutional", **options))
    network = darknet.Network(sections, generator=torch.Generator().manual_seed(seed))
    for layer in network.convolutions:
        torch.nn.init.normal_(layer.biases, generator=torch.Generator().manual_seed(seed + 1))
    return network


def floats_of(network):
    return sum(darknet.float_counts(network))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.integers(0, 2**63 - 1), st.integers(0, 99))
def test_file_read_and_written_again_is_the_same(tmp_path_factory, filters, seen, seed):
    folder = tmp_path_factory.mktemp("weights")
    network, other = small_network(filters, seed), small_network(filters, seed + 1)
    darknet.write_weights(network, folder / "first.weights", seen=seen)
    assert darknet.read_weights(other, folder / "first.weights") == seen
    darknet.write_weights(other, folder / "second.weights", seen=seen)
    assert (folder / "first.weights").read_bytes() == (folder / "second.weights").read_bytes()
    for name, values in network.state_dict().items():
        assert torch.equal(values, other.state_dict()[name])


def test_layout_is_biases_scales_means_variances_weights(tmp_path):
    network = small_network((1,))
    layer = network.layers[0]
    with torch.no_grad():
        for value, tensor in enumerate((layer.biases, layer.scales, layer.rolling_mean, layer.rolling_variance)):
            tensor.fill_(value)
        layer.weights.copy_(torch.arange(18.0).reshape(1, 2, 3, 3))
    darknet.write_weights(network, tmp_path / "one.weights", seen=7)
    content = (tmp_path / "one.weights").read_bytes()
    assert struct.unpack_from("<iiiq", content) == (0, 2, 0, 7)
    assert np.frombuffer(content, "<f4", offset=20).tolist() == [0, 1, 2, 3, *range(18)]


@pytest.mark.parametrize(
    ("version", "seen_format"),
    [((0, 1, 0), "<i"), ((0, 2, 0), "<q"), ((0, 2, 5), "<q"), ((1, 0, 0), "<q"), ((1000, 0, 0), "<i")],
)
def test_version_decides_the_length_of_the_header(tmp_path, version, seen_format):
    network = small_network()
    values = np.arange(floats_of(network), dtype="<f4")
    path = tmp_path / "some.weights"
    path.write_bytes(struct.pack("<iii", *version) + struct.pack(seen_format, 123) + values.tobytes())
    assert darknet.read_weights(network, path) == 123
    read = torch.cat([tensor.detach().flatten() for layer in network.convolutions for tensor in layer.file_tensors])
    assert np.array_equal(read.numpy(), values)


@pytest.mark.parametrize("change", [-1, 1, -30])
def test_float_too_few_or_too_many_is_refused_and_changes_nothing(tmp_path, change):
    network, path = small_network(), tmp_path / "some.weights"
    count = floats_of(network) + change
    path.write_bytes(struct.pack("<iiiq", 0, 2, 0, 0) + bytes(4 * count))
    before = {name: values.clone() for name, values in network.state_dict().items()}
    with pytest.raises(NetworkFileError, match=rf"some\.weights: expected {count - change} floats.*found {count};"):
        darknet.read_weights(network, path)
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"\0" * 11, b"\0\0\0\0\2\0\0\0" + bytes(8), bytes(16) + b"\0\0\0"])
def test_file_without_a_header_or_with_half_a_float_is_refused(tmp_path, content):
    path = tmp_path / "cut.weights"
    path.write_bytes(content)
    with pytest.raises(NetworkFileError, match=rf"cut\.weights: {len(content)} bytes are not a header"):
        darknet.read_weights(small_network(), path)


def test_absent_file_is_named(tmp_path):
    with pytest.raises(NetworkFileError, match=r"absent\.weights: cannot be read"):
        darknet.read_weights(small_network(), tmp_path / "absent.weights")


@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_backbone_fills_the_first_convolutions(tmp_path, convolutions):
    whole, path = small_network((4, 3, 5)), tmp_path / "some.conv.2"
    darknet.write_weights(small_network((4, 3, 5)[:convolutions], seed=9), path, seen=11)
    before = whole.layers[-1].weights.clone()
    assert darknet.read_backbone(whole, path) == (convolutions, 11)
    filled = small_network((4, 3, 5)[:convolutions], seed=9)
    for ours, theirs in zip(whole.convolutions, filled.convolutions, strict=False):
        assert torch.equal(ours.weights, theirs.weights)
    assert torch.equal(whole.layers[-1].weights, before) == (convolutions < 3)


@pytest.mark.parametrize("change", [-1, 1])
def test_backbone_that_ends_within_a_convolution_is_refused(tmp_path, change):
    network, path = small_network(), tmp_path / "some.conv.1"
    first = darknet.float_counts(network)[0]
    path.write_bytes(struct.pack("<iiii", 0, 1, 0, 0) + bytes(4 * (first + change)))
    with pytest.raises(NetworkFileError, match=rf"some\.conv\.1: found {first + change} floats"):
        darknet.read_backbone(network, path)


@pytest.mark.parametrize("floats", [0, 10_000])
def test_backbone_without_a_convolution_or_with_too_many_floats_is_refused(tmp_path, floats):
    path = tmp_path / "some.conv.9"
    path.write_bytes(struct.pack("<iiii", 0, 1, 0, 0) + bytes(4 * floats))
    with pytest.raises(NetworkFileError, match=f"found {floats} floats"):
        darknet.read_backbone(small_network(), path)


@pytest.mark.parametrize(
    ("version", "seen_format", "message"),
    [
        ((0, 1, 0), "<q", "says version 0.1, of 16 bytes, but seems to have 20 bytes, that of version 0.2; write 2 as"),
        ((0, 0, 0), "<q", "says version 0.0, of 16 bytes, but seems to have 20 bytes, that of version 0.2; write 2 as"),
        ((0, 2, 0), "<i", "says version 0.2, of 20 bytes, but seems to have 16 bytes, that of version 0.1; write 1 as"),
        ((0, 2, 5), "<i", "says version 0.2, of 20 bytes, but seems to have 16 bytes, that of version 0.1; write 1 as"),
    ],
)
@pytest.mark.parametrize("read", [darknet.read_weights, darknet.read_backbone])
def test_header_of_another_version_is_named(tmp_path, version, seen_format, message, read):
    """0.1 with 64 bits: pjreddie/darknet #850; 0.0 with 64 bits, as PyTorch-YOLOv3 wrote it: its pull request #842;
    0.2 with 32 bits, as Darknet wrote it on 32-bit systems: AlexeyAB/darknet #539."""
    network, path = small_network(), tmp_path / "other.weights"
    with torch.no_grad():
        network.layers[0].biases.fill_(-1)  # a header that is read too far ends in it
    floats = [tensor.detach().flatten() for layer in network.convolutions for tensor in layer.file_tensors]
    header = struct.pack("<iii", *version) + struct.pack(seen_format, 1234)
    path.write_bytes(header + torch.cat(floats).numpy().astype("<f4").tobytes())
    with pytest.raises(NetworkFileError, match=rf"other\.weights: .*{message.replace('.', '[.]')} its second number"):
        read(small_network(), path)


def test_header_that_is_corrected_as_the_message_says_is_read(tmp_path):
    network, path = small_network(), tmp_path / "corrected.weights"
    darknet.write_weights(network, path, seen=1234)
    content = bytearray(path.read_bytes())
    content[4:8] = struct.pack("<i", 1)
    path.write_bytes(content)
    with pytest.raises(NetworkFileError, match="bytes 4 to 7"):
        darknet.read_weights(network, path)
    content[4:8] = struct.pack("<i", 2)
    path.write_bytes(content)
    assert darknet.read_weights(network, path) == 1234


def test_file_without_any_header_is_refused(tmp_path):
    """The published vgg-16.weights of 2013 begins with its first bias: pjreddie/darknet #1593."""
    network, path = small_network(), tmp_path / "vgg-16.weights"
    path.write_bytes(np.full(floats_of(network), 0.3, "<f4").tobytes())
    with pytest.raises(NetworkFileError, match=r"vgg-16\.weights: expected \d+ floats for this network, found"):
        darknet.read_weights(network, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(bytes(64), mtime=0), "is compressed; unpack it"),
        (b"PK\x03\x04" + bytes(64), "is an archive, of zip or PyTorch"),
        (b"<!DOCTYPE html>\n<html>" + bytes(9), "is a web page; download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n", "is a pointer of Git LFS"),
        (struct.pack(">iiiq", 0, 2, 0, 7) + bytes(64), "has its bytes in big-endian order"),
    ],
)
def test_another_file_given_for_weights_is_named(tmp_path, content, message):
    """A page saved in place of the file: darkflow #441; the packed file opened as it is: YAD2K #99."""
    path = tmp_path / "downloaded.weights"
    path.write_bytes(content)
    for read in (darknet.read_weights, darknet.read_backbone):
        with pytest.raises(NetworkFileError, match=rf"downloaded\.weights: {message}"):
            read(small_network(), path)
