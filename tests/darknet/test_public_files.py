"""`.cfg` files as people have them; the names of repositories say whose complaint or file each is."""

import math

import pytest
import torch

from helpers import darknet
from helpers.darknet import network as network_module
from helpers.darknet import options
from helpers.errors import NetworkFileError

NET = "[net]\nwidth=64\nheight=64\nchannels=3\n"
CONVOLUTION = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
LINEAR = "[convolutional]\nfilters=12\nsize=1\nstride=1\npad=1\nactivation=linear\n"
YOLO = "[yolo]\nmask=0,1\nanchors=10,14, 23,27\nclasses=1\nnum=2\n"
REGION = "[region]\nanchors=1,1.5, 2,2\nbias_match=1\nclasses=1\ncoords=4\nnum=2\nsoftmax=1\n"
BASE = NET + CONVOLUTION + LINEAR + YOLO
WITH_REGION = NET + CONVOLUTION + LINEAR + REGION


def read(folder, text):
    path = folder / "some.cfg"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return darknet.read_cfg(path, generator=torch.Generator().manual_seed(1))


def outputs(network):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        return torch.cat([output.flatten() for output in network.eval().all_outputs(images)])


def line_of(text, content):
    return text.split("\n").index(content) + 1


ACCEPTED = {
    "CRLF, pjreddie/darknet #476": BASE.replace("\n", "\r\n"),
    "old Mac ends of lines": BASE.replace("\n", "\r"),
    "UTF-8 with BOM, as Notepad saves": "\ufeff" + BASE,
    "GBK comment, darkflow #1036": "# 批次\n".encode("gbk") + BASE.encode(),
    "Latin-1 comment": "; Größe\n".encode("latin-1") + BASE.encode(),
    "UTF-8 comment read as cp1252, YAD2K #68": "# ï × \u2028 大小\n".encode() + BASE.encode(),
    "comment behind a value": BASE.replace("channels=3", "channels=3 # RGB"),
    "filters=12 #testing, hank-ai/darknet #87": BASE.replace("filters=12", "filters=12 #testing"),
    "layers=0###P5, as in cspx-p7-mish.cfg": BASE.replace(YOLO, "[route]\nlayers=-1###P5\n" + YOLO),
    "filters=12#32, as in efficientnet-lite3.cfg": BASE.replace("filters=12", "filters=12#32"),
    "trailing comma, PyTorch-YOLOv3 #374": BASE.replace("23,27", "23,27,").replace("filters=12", "filters=12,"),
    "no empty lines, tabs, jkjung-avt/tensorrt_demos #46": BASE.replace("=", "\t = "),
    "Testing and Training both on, hank-ai/darknet #88": BASE.replace(
        "[net]\n", "[net]\nbatch=1\nsubdivisions=1\nbatch=64\nsubdivisions=16\n"
    ),
    "a repeated key, of which the first counts, AlexeyAB/darknet #3844": BASE.replace(
        "channels=3", "channels=3\nchannels=1"
    ),
    "whole numbers with a point": BASE.replace("filters=12", "filters=12.0"),
    "short names of layers": BASE.replace("[convolutional]", "[conv]").replace("[net]", "[network]"),
    "training and display of AlexeyAB's": BASE
    + "jitter=.3\nrandom=1\nresize=1.5\nnms_kind=greedynms\nbeta_nms=0.6\nmax=200\n",
    "options with their defaults": BASE + "scale_x_y=1.0\nnew_coords=0\niou_loss=mse\n",
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_what_darknet_reads_alike_is_read_alike(tmp_path, kind):
    network = read(tmp_path, ACCEPTED[kind])
    assert torch.equal(outputs(network)[-24576:], outputs(read(tmp_path, BASE))[-24576:])


REFUSED = {
    "AlexeyAB/darknet #5168 and #3691": (BASE, YOLO, YOLO + "scale_x_y=1.2\n", "scale_x_y=1.2"),
    "yolov4-csp.cfg": (BASE, YOLO, YOLO + "new_coords=1\n", "new_coords=1"),
    "yolov4-csp-swish.cfg": (BASE, "channels=3", "channels=3\nletter_box=1", "letter_box=1"),
    "background of a region": (WITH_REGION, REGION, REGION + "background=1\n", "background=1"),
    "yolo9000.cfg": (WITH_REGION, REGION, REGION + "tree=data/9k.tree\n", "tree=data/9k.tree"),
    "coordinates of masks": (WITH_REGION, "coords=4", "coords=5", "coords=5"),
    "tiny-yolo_xnor.cfg": (BASE, "filters=8", "filters=8\nxnor=1", "xnor=1"),
    "resnet152_trident.cfg": (BASE, "filters=8", "filters=8\nshare_index=1", "share_index=1"),
    "dilation": (BASE, "filters=8", "filters=8\ndilation=2", "dilation=2"),
    "stride_x": (BASE, "filters=8", "filters=8\nstride_x=1", "stride_x=1"),
    "a layer that is not loaded": (BASE, "filters=8", "filters=8\ndontload=1", "dontload=1"),
    "yolov4-tiny.cfg": (BASE, YOLO, "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n" + YOLO, "groups=2"),
    "yolov7-tiny.cfg": (BASE, "activation=leaky", "activation=mish", "activation=mish"),
    "comment behind a name, of which Darknet makes relu": (
        BASE,
        "activation=leaky",
        "activation=leaky # slope 0.1",
        "activation=leaky#slope0.1",
    ),
    "comma at the end of a list of layers, where Darknet takes 0": (
        BASE,
        "mask=0,1",
        "mask=0,1,",
        "mask=0,1, is not a whole number",
    ),
    "comma in a comment, where Darknet reads on": (
        BASE,
        "mask=0,1",
        "mask=0,1 # 2,3",
        "mask=0,1#2,3: Darknet reads on",
    ),
    "decimal comma, which Darknet cuts": (
        BASE,
        YOLO,
        YOLO + "ignore_thresh=0,7\n",
        "ignore_thresh=0,7 is not a number",
    ),
    "a part of a number, which Darknet cuts": (BASE, "filters=8", "filters=8.5", "filters=8.5 is not a whole number"),
    "Chinese sign =": (BASE, "filters=8", "filters＝8", "'filters＝8' is not key=value"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_changes_a_number_is_refused_by_line_and_option(tmp_path, kind):
    base, old, new, message = REFUSED[kind]
    text = base.replace(old, new, 1)
    option = message.split(" is not ")[0].split(": ")[0].strip("'")
    line = next(number for number, content in enumerate(text.split("\n"), 1) if content.replace(" ", "") == option)
    with pytest.raises(NetworkFileError) as refused:
        read(tmp_path, text)
    assert str(refused.value).startswith(f"{tmp_path / 'some.cfg'}, line {line}")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", [b"<!DOCTYPE html>\n<html>", "[net]\nwidth=64\n".encode("utf-16")])
def test_a_page_or_utf_16_in_place_of_a_cfg_is_refused(tmp_path, text):
    """A page of GitHub saved as tiny-yolo.cfg: darkflow #441; Notepad's "Unicode"."""
    with pytest.raises(
        NetworkFileError, match=r"some\.cfg(, line 1:.*is not key=value|: is not text, or text in UTF-16)"
    ):
        read(tmp_path, text)


def test_an_option_that_nobody_knows_is_named_and_ignored(tmp_path):
    """Darknet says "Unused field"; `beta1` of Gaussian_yolov3_BDD.cfg and `seen` of writing.cfg are such."""
    text = BASE + "beta1=0.6\n"
    line = line_of(text, "beta1=0.6")
    with pytest.warns(
        UserWarning, match=rf"some\.cfg, line {line}, \[yolo\]: beta1=0.6 is no option of Darknet"
    ) as said:
        network = read(tmp_path, text)
    assert len(said) == 1
    assert torch.equal(outputs(network), outputs(read(tmp_path, BASE)))


def test_activation_that_is_left_out_is_logistic_as_in_darknet(tmp_path):
    network = read(tmp_path, BASE.replace("activation=leaky\n", ""))
    assert network.layers[0].activation == "logistic"
    first = network.eval().all_outputs(torch.randn(1, 3, 64, 64))[0]
    assert 0 < first.min() < first.max() < 1
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(darknet.scores(darknet.folded(network), images), darknet.scores(network, images))


def test_cfg_without_a_head_says_so_and_gives_no_scores(tmp_path):
    """vgg-conv.cfg and jnet-conv.cfg of pjreddie/darknet are such."""
    with pytest.warns(UserWarning, match=r"some\.cfg: has no \[region\], \[yolo\] or \[softmax\]"):
        network = read(tmp_path, NET + CONVOLUTION)
    images, truth = torch.rand(1, 3, 64, 64), torch.zeros(1, 1, 5)
    for use in (darknet.scores, darknet.detections):
        with pytest.raises(NetworkFileError, match="neither boxes nor scores"):
            use(network, images)
    with pytest.raises(NetworkFileError, match="neither boxes nor scores"):
        darknet.loss(network, images, truth, seen=0)
    with pytest.raises(NetworkFileError, match=r"does not end in \[softmax\]"):
        darknet.class_probabilities(network, images)


def test_a_classifier_says_nothing_and_points_to_its_classes(tmp_path):
    network = read(tmp_path, NET + CONVOLUTION + LINEAR + "[avgpool]\n[softmax]\ngroups=1\n[cost]\ntype=sse\n")
    assert darknet.class_probabilities(network, torch.rand(2, 3, 64, 64)).shape == (2, 12)
    with pytest.raises(NetworkFileError, match="class_probabilities"):
        darknet.scores(network, torch.rand(2, 3, 64, 64))


@pytest.mark.parametrize(
    "option", ["iou_loss=giou", "iou_normalizer=0.5", "label_smooth_eps=0.1", "counters_per_class=100", "max_delta=5"]
)
def test_an_option_of_the_loss_alone_leaves_scores_and_refuses_training(tmp_path, option):
    """yolov3.coco-giou-12.cfg and yolov3-voc.yolov3-giou-40.cfg of AlexeyAB/darknet."""
    text, images = f"{BASE}{option}\n", torch.rand(1, 3, 64, 64)
    network = read(tmp_path, text)
    assert math.isfinite(darknet.scores(network, images))
    with pytest.raises(NetworkFileError, match=rf"line {line_of(text, option)}, \[yolo\]: {option} changes the loss"):
        darknet.cost(network, images, torch.zeros(1, 1, 5), seen=0)


@pytest.mark.parametrize(("groups", "temperature", "message"), [(5, 1, "groups=5"), (1, 0, "temperature=0")])
def test_a_softmax_that_cannot_be_is_refused(tmp_path, groups, temperature, message):
    with pytest.raises(NetworkFileError, match=message):
        read(tmp_path, f"{NET}{CONVOLUTION}[avgpool]\n[softmax]\ngroups={groups}\ntemperature={temperature}\n")


def test_an_option_cannot_both_change_a_number_and_change_none():
    for name in ("net", *network_module._LAYERS):
        neutral = f"{options._NEUTRAL_OF_EVERY_LAYER} {options._NEUTRAL.get(name, '')}".split()
        outputs = {*options._OF_EVERY_LAYER, *options._OUTPUTS.get(name, {})}
        assert outputs.isdisjoint(neutral)
        assert set(options._LOSSES.get(name, {})).isdisjoint([*neutral, *outputs])
    assert {*options._OUTPUTS, *options._LOSSES, *options._NEUTRAL} <= {"net", *network_module._LAYERS}


@pytest.mark.parametrize("name", ["net", *network_module._LAYERS])
def test_every_option_that_changes_a_number_is_refused_but_for_the_value_that_we_compute(name):
    for key, value in {**options._OF_EVERY_LAYER, **options._OUTPUTS.get(name, {})}.items():
        for other in ("7", "-1.5", "softmax"):
            with pytest.raises(NetworkFileError, match=rf"\[{name}\]: {key}={other} "):
                options.refuse_other_outputs(darknet.section(name, **{key: other}))
        if value is not None:
            options.refuse_other_outputs(darknet.section(name, **{key: value}))


@pytest.mark.parametrize("name", ["net", *network_module._LAYERS])
def test_no_option_of_training_or_display_is_refused_or_said_to_be_unknown(name):
    neutral = f"{options._NEUTRAL_OF_EVERY_LAYER} {options._NEUTRAL.get(name, '')}".split()
    section = darknet.section(name, **dict.fromkeys(neutral, "something"))
    options.refuse_other_outputs(section)
    options.refuse_other_losses(section)
    options.warn_of_unknown(section)
