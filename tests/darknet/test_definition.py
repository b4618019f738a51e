"""Our networks against Darknet's own definition of each layer, in NumPy after its C source, layer by layer.

The `.cfg` texts are those of yolov2-voc.cfg, yolov3.cfg and darknet53.cfg (pjreddie/darknet), narrow and small: at
full width they have the numbers of weights that the published files hold.
"""

import math
import re

import numpy as np
import pytest
import torch

from helpers import darknet

SIDE = 64


def convolved(values, weights, stride, padding):
    """gemm over im2col_cpu: sums over channels and the pixels of a window, zeros outside."""
    filters, _, size, _ = weights.shape
    channels, rows, columns = values.shape
    padded = np.zeros((channels, rows + 2 * padding, columns + 2 * padding))
    padded[:, padding : padding + rows, padding : padding + columns] = values
    high, wide = ((side + 2 * padding - size) // stride + 1 for side in (rows, columns))
    result = np.zeros((filters, high, wide))
    for row in range(size):
        for column in range(size):
            window = padded[:, row : row + stride * high : stride, column : column + stride * wide : stride]
            result += np.einsum("fc,chw->fhw", weights[:, :, row, column], window[:, :high, :wide])
    return result


def activated(values, name):
    return {
        "linear": lambda x: x,
        "leaky": lambda x: np.where(x > 0, x, 0.1 * x),
        "logistic": lambda x: 1 / (1 + np.exp(-x)),
        "relu": lambda x: np.where(x > 0, x, 0),
    }[name](values)


def convolutional(options, read, outputs, layer):
    """forward_convolutional_layer, normalize_cpu, scale_bias, add_bias."""
    size, weights = int(options.get("size", 1)), layer.weights.detach().double().numpy()
    padding = size // 2 if int(options.get("pad", 0)) else int(options.get("padding", 0))
    values = convolved(read[0], weights, int(options.get("stride", 1)), padding)
    if int(options.get("batch_normalize", 0)):
        mean, variance, scale = (
            tensor.detach().double().numpy()[:, None, None]
            for tensor in (layer.rolling_mean, layer.rolling_variance, layer.scales)
        )
        values = scale * (values - mean) / (np.sqrt(variance) + 0.000001)
    values = values + layer.biases.detach().double().numpy()[:, None, None]
    return activated(values, options.get("activation", "logistic"))


def maxpool(options, read, outputs, layer):
    """forward_maxpool_layer: windows that begin at -pad/2, pixels outside are -FLT_MAX."""
    stride = int(options.get("stride", 1))
    size = int(options.get("size", stride))
    padding = int(options.get("padding", size - 1))
    channels, rows, columns = read[0].shape
    high, wide = ((side + padding - size) // stride + 1 for side in (rows, columns))
    result = np.full((channels, high, wide), -math.inf)
    for i in range(high):
        for j in range(wide):
            top, left = i * stride - padding // 2, j * stride - padding // 2
            result[:, i, j] = read[0][:, max(0, top) : top + size, max(0, left) : left + size].max(axis=(1, 2))
    return result


def reorg(options, read, outputs, layer):
    """reorg_cpu with forward=0, on the channels, rows and columns of the input, as reorg_layer.c calls it."""
    stride, (channels, rows, columns) = int(options.get("stride", 1)), read[0].shape
    flat, result, few = read[0].ravel(), np.empty(read[0].size), channels // stride**2
    k, j, i = np.indices((channels, rows, columns))
    offset = k // few
    column, row = i * stride + offset % stride, j * stride + offset // stride
    result[i + columns * (j + rows * k)] = flat[column + columns * stride * (row + rows * stride * (k % few))]
    return result.reshape(channels * stride**2, rows // stride, columns // stride)


def route(options, read, outputs, layer):
    numbers = [int(number) for number in options["layers"].split(",")]
    return np.concatenate([outputs[number] for number in numbers])


def shortcut(options, read, outputs, layer):
    return activated(read[0] + outputs[int(options["from"])], options.get("activation", "linear"))


def upsample(options, read, outputs, layer):
    stride = int(options.get("stride", 2))
    return read[0].repeat(stride, axis=1).repeat(stride, axis=2)


def avgpool(options, read, outputs, layer):
    return read[0].mean(axis=(1, 2), keepdims=True)


def softmax_of(values, axis):
    exponentials = np.exp(values - values.max(axis=axis, keepdims=True))
    return exponentials / exponentials.sum(axis=axis, keepdims=True)


def softmax(options, read, outputs, layer):
    """softmax_cpu: groups of inputs/groups values, each over the temperature."""
    grouped = read[0].reshape(int(options.get("groups", 1)), -1) / float(options.get("temperature", 1))
    return softmax_of(grouped, 1).reshape(read[0].shape)


def cost(options, read, outputs, layer):
    return read[0]


def head(options, read, anchors, class_activation):
    classes = int(options.get("classes", 20))
    parts = read[0].reshape(anchors, 5 + classes, *read[0].shape[1:]).copy()
    parts[:, :2] = activated(parts[:, :2], "logistic")
    parts[:, 4] = activated(parts[:, 4], "logistic")
    parts[:, 5:] = class_activation(parts[:, 5:])
    return parts.reshape(read[0].shape)


def region(options, read, outputs, layer):
    """forward_region_layer: σ of x, y and objectness, softmax over classes where softmax=1."""
    softmaxed = int(options.get("softmax", 0))
    activation = (lambda x: softmax_of(x, 1)) if softmaxed else (lambda x: activated(x, "logistic"))
    return head(options, read, int(options.get("num", 1)), activation)


def yolo(options, read, outputs, layer):
    """forward_yolo_layer: σ of x, y, objectness and every class."""
    return head(options, read, len(options["mask"].split(",")), lambda x: activated(x, "logistic"))


DEFINITIONS = {function.__name__: function for function in (convolutional, maxpool, reorg, route, shortcut, upsample)}
DEFINITIONS |= {function.__name__: function for function in (avgpool, softmax, cost, region, yolo)}


def sections_of(text):
    """Sections of a `.cfg`, read apart from our reader."""
    blocks = re.split(r"^\[(\w+)\]$", text, flags=re.MULTILINE)[1:]
    lines = (re.findall(r"^(\w+)\s*=\s*(.*?)\s*$", body, flags=re.MULTILINE) for body in blocks[1::2])
    return [(name, dict(reversed(pairs))) for name, pairs in zip(blocks[::2], lines, strict=True)]


def largest_difference(network, text, image):
    """Largest difference of any layer's output from Darknet's definition, each on our outputs of the layers before."""
    (_, *described), outputs = sections_of(text), {-1: image[0].double().numpy()}
    with torch.no_grad():
        ours = network.eval().all_outputs(image)
    outputs |= {number: output[0].double().numpy() for number, output in enumerate(ours)}
    differences = []
    for number, (name, options) in enumerate(described):
        before = {given: outputs[given if given >= 0 else number + given] for given in range(-number, number)}
        theirs = DEFINITIONS[name](options, [outputs[number - 1]], before, network.layers[number])
        assert theirs.shape == outputs[number].shape, (number, name)
        differences.append(float(np.abs(theirs - outputs[number]).max() / max(1, np.abs(theirs).max())))
    return max(differences)


def randomised(network, seed=0):
    """Give every tensor of a file values as after training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in network.convolutions:
            layer.biases.normal_(0, 0.3, generator=generator)
            if layer.batch_normalize:
                layer.scales.uniform_(0.5, 1.5, generator=generator)
                layer.rolling_mean.normal_(0, 0.3, generator=generator)
                layer.rolling_variance.uniform_(0.5, 2, generator=generator)
    return network


CONVOLUTION = "[convolutional]\nbatch_normalize=1\nfilters={}\nsize={}\nstride={}\npad=1\nactivation=leaky\n\n"
LINEAR = "[convolutional]\nfilters={}\nsize=1\nstride=1\npad=1\nactivation=linear\n\n"
RESIDUAL = "[shortcut]\nfrom=-3\nactivation=linear\n\n"
POOL = "[maxpool]\nsize=2\nstride=2\n\n"
NET = "[net]\n# Testing\nbatch=1\nsubdivisions=1\n# Training\n# batch=64\nwidth={0}\nheight={0}\nchannels=3\n\n"
YOLO_ANCHORS = "10,13,  16,30,  33,23,  30,61,  62,45,  59,119,  116,90,  156,198,  373,326"


def convolutions(*filters, size=None, stride=1, width):
    """Convolutions; those with more filters than the one before are 3 × 3, as in both Darknets."""
    sizes = [size or (3 if filters[0] < one or len(filters) == 1 else 1) for one in filters]
    return "".join(
        CONVOLUTION.format(max(1, one // width), kernel, stride) for one, kernel in zip(filters, sizes, strict=True)
    )


def darknet53_backbone(width):
    text = convolutions(32, width=width)
    for filters, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        text += convolutions(filters, stride=2, width=width)
        text += blocks * (convolutions(filters // 2, filters, width=width) + RESIDUAL)
    return text


def darknet53(width, side):
    backbone = NET.format(side) + darknet53_backbone(width)
    return backbone + "[avgpool]\n\n" + LINEAR.format(1000) + "[softmax]\ngroups=1\n"


def yolov3(width, side):
    text = NET.format(side) + darknet53_backbone(width)
    for filters, mask, joined in ((512, "6,7,8", None), (256, "3,4,5", 61), (128, "0,1,2", 36)):
        if joined:
            text += "[route]\nlayers = -4\n\n" + convolutions(filters, size=1, width=width)
            text += f"[upsample]\nstride=2\n\n[route]\nlayers = -1, {joined}\n\n"
        text += 3 * convolutions(filters, 2 * filters, width=width) + LINEAR.format(255)
        text += f"[yolo]\nmask = {mask}\nanchors = {YOLO_ANCHORS}\nclasses=80\nnum=9\njitter=.3\n"
        text += "ignore_thresh = .7\ntruth_thresh = 1\nrandom=1\n\n"
    return text


def yolov2_voc(width, side):
    text = NET.format(side) + convolutions(32, width=width) + POOL + convolutions(64, width=width) + POOL
    for filters, narrow in ((128, 1), (256, 1), (512, 2), (1024, 2)):
        wide = convolutions(filters, size=3, width=width)
        text += wide + narrow * (convolutions(filters // 2, size=1, width=width) + wide)
        text += POOL if filters < 1024 else ""
    text += 2 * convolutions(1024, size=3, width=width) + "[route]\nlayers=-9\n\n"
    text += convolutions(64, size=1, width=width) + "[reorg]\nstride=2\n\n[route]\nlayers=-1,-4\n\n"
    text += convolutions(1024, size=3, width=width) + LINEAR.format(125)
    return text + (
        "[region]\nanchors =  1.3221, 1.73145, 3.19275, 4.00944, 5.05587, 8.09892, 9.47112, 4.84053, 11.2364, 10.0071\n"
        "bias_match=1\nclasses=20\ncoords=4\nnum=5\nsoftmax=1\njitter=.3\nrescore=1\n\nobject_scale=5\n"
        "noobject_scale=1\nclass_scale=1\ncoord_scale=1\n\nabsolute=1\nthresh = .6\nrandom=1\n"
    )


def defaults(width, side):
    """Every option left to Darknet's default that has one; yolov2-tiny's pool of stride 1; groups, a temperature."""
    return (
        f"{NET.format(side)}[conv]\nfilters=6\n[convolutional]\nfilters=8\nsize=3\npadding=1\nactivation=relu\n[max]\n"
        "size=2\nstride=1\n[max]\nstride=2\n[upsample]\n[soft]\ngroups=2\ntemperature=3\n[cost]\ntype=sse\n"
    )


@pytest.mark.parametrize(
    ("cfg", "width", "floats"),
    [(yolov2_voc, 16, 50_676_061), (yolov3, 32, 62_001_757), (darknet53, 32, 41_645_640), (defaults, 1, None)],
    ids=["yolov2-voc", "yolov3", "darknet53", "defaults"],
)
def test_every_layer_is_what_darknet_defines(tmp_path, cfg, width, floats):
    path = tmp_path / "public.cfg"
    if floats:
        path.write_text(cfg(1, SIDE))
        with torch.device("meta"):
            assert sum(darknet.float_counts(darknet.read_cfg(path))) == floats
    text = cfg(width, SIDE)
    path.write_text(text)
    network = darknet.read_cfg(path, "darknet-cpu", generator=torch.Generator().manual_seed(1))
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    for short, whole in (("[conv]", "[convolutional]"), ("[max]", "[maxpool]"), ("[soft]", "[softmax]")):
        text = text.replace(short, whole)
    assert largest_difference(randomised(network), text, image) < 2e-6


@pytest.mark.parametrize(("cfg", "classes"), [(darknet53, 1000)])
def test_classifier_gives_the_probabilities_of_its_softmax_folded_too(tmp_path, cfg, classes):
    path = tmp_path / "classifier.cfg"
    path.write_text(cfg(64, SIDE))
    network = randomised(darknet.read_cfg(path, generator=torch.Generator().manual_seed(1)))
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    found = darknet.class_probabilities(network, images)
    assert found.shape == (2, classes)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(found, network.eval().all_outputs(images)[-1].flatten(1).detach())
    torch.testing.assert_close(darknet.class_probabilities(darknet.folded(network), images), found)
