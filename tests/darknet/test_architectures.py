import pytest
import torch

from helpers import darknet
from helpers.errors import ProfileError


def without_memory(build, **options):
    with torch.device("meta"):
        return build(**options)


@pytest.mark.parametrize(
    ("build", "options", "layers", "convolutions", "floats"),
    [
        (darknet.yolov2, {}, 31, 22, 67_060_734),
        (darknet.yolov2, {"passthrough": "yolov2-voc"}, 32, 23, 50_578_686),
        (darknet.yolov2, {"classes": 20}, 31, 22, 67_158_109),
        (darknet.yolov3, {}, 107, 75, 61_576_342),
        (darknet.yolov3, {"classes": 80}, 107, 75, 62_001_757),
    ],
)
def test_weights_file_has_as_many_floats_as_darknets(build, options, layers, convolutions, floats):
    network = without_memory(build, **options)
    assert len(network.layers) == layers
    assert len(network.convolutions) == convolutions
    assert sum(darknet.float_counts(network)) == floats


@pytest.mark.parametrize(
    ("build", "convolutions", "header", "size"),
    [(darknet.yolov2, 18, 16, 79_327_120), (darknet.yolov3, 52, 20, 162_482_580)],
)
def test_backbone_is_as_long_as_the_published_file(build, convolutions, header, size):
    """darknet19_448.conv.23 and darknet53.conv.74."""
    counts = darknet.float_counts(without_memory(build))
    assert header + 4 * sum(counts[:convolutions]) == size


@pytest.mark.parametrize("passthrough", ["yolo-voc.2.0", "yolov2-voc"])
def test_yolov2_sees_the_image_in_cells_of_32_pixels(passthrough):
    network = darknet.yolov2(size=96, width=0.125, passthrough=passthrough).eval()
    assert network.size == 96
    assert [tuple(output.shape) for output in network(torch.rand(2, 3, 96, 96))] == [(2, 30, 3, 3)]
    assert [tuple(output.shape) for output in network(torch.rand(1, 3, 128, 128))] == [(1, 30, 4, 4)]


def test_yolov3_sees_the_image_at_three_strides():
    network = darknet.yolov3(size=64, width=0.125).eval()
    shapes = [tuple(output.shape) for output in network(torch.rand(2, 3, 64, 64))]
    assert shapes == [(2, 18, 2, 2), (2, 18, 4, 4), (2, 18, 8, 8)]


def test_width_multiplies_filters_to_multiples_of_eight():
    network = without_memory(darknet.yolov2, width=0.2)
    filters = [layer.shape.channels for layer in network.convolutions]
    assert filters[:4] == [8, 16, 24, 16]
    assert filters[-1] == 30
    assert not any(count % 8 for count in filters[:-1])


def test_anchors_keep_their_size_relative_to_the_image():
    published, small = (without_memory(darknet.yolov2, size=size).sections[-1].options["anchors"] for size in (416, 96))
    assert published == "1.08,1.19,3.42,4.41,6.63,11.38,9.42,5.11,16.62,10.52"
    assert float(small.split(",")[0]) == pytest.approx(1.08 * 96 / 416)
    assert without_memory(darknet.yolov2, size=96, scale_anchors=False).sections[-1].options["anchors"] == published
    assert without_memory(darknet.yolov3).sections[-1].options["anchors"].endswith("373,326")
    last = without_memory(darknet.yolov3, size=96).sections[-1].options["anchors"].split(",")[-1]
    assert float(last) == pytest.approx(326 * 96 / 608, rel=1e-5)


def test_options_of_ours_stand_in_the_cfg_only_where_they_differ_from_darknets(tmp_path):
    plain = darknet.yolov2(size=32, width=0.01)
    ours = darknet.yolov2(size=32, width=0.01, box_weight="1", batch_norm_momentum=0.1)
    assert not {"box_weight", "batch_norm_momentum"} & {key for one in plain.sections for key in one.options}
    darknet.write_cfg(ours, tmp_path / "ours.cfg")
    again = darknet.read_cfg(tmp_path / "ours.cfg")
    assert again.sections == ours.sections
    assert again.layers[0].momentum == 0.1
    assert not again.heads[0].weighted


@pytest.mark.parametrize("build", [darknet.yolov2, darknet.yolov3])
def test_seed_decides_the_weights(build):
    first, second = (
        build(size=32, width=0.01, generator=torch.Generator().manual_seed(3)).state_dict() for _ in range(2)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("build", [darknet.yolov2, darknet.yolov3])
@pytest.mark.parametrize("size", [0, 100])
def test_size_between_the_strides_is_refused(build, size):
    with pytest.raises(ProfileError, match=f"multiple of 32 pixels, got {size}"):
        build(size=size)


def test_unknown_passthrough_is_refused():
    with pytest.raises(ProfileError, match=r"yolo-voc\.2\.0, yolov2-voc"):
        darknet.yolov2(passthrough="yolov3")
