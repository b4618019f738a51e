"""YOLOv2 (Darknet-19) and YOLOv3 (Darknet-53) as sections of a `.cfg`, at any width and size."""

from collections.abc import Sequence

import torch

from helpers.darknet.network import BATCH_NORM_MOMENTUM, Network
from helpers.darknet.region import BOX_WEIGHTS
from helpers.darknet.sections import Section, section
from helpers.errors import ProfileError

YOLOV2_SIZE = 416
YOLOV3_SIZE = 608
STRIDE = 32  # side [pixels] of the square of an image that one cell of the coarsest head covers


def _options(text: str) -> dict[str, str]:
    """Options of a section from `key=value key=value`."""
    return dict(option.split("=") for option in text.split())


_NET = _options("channels=3 momentum=0.9 decay=0.0005 angle=0 saturation=1.5 exposure=1.5 hue=.1")
# filters of the convolutions between the pools; those that widen are 3 × 3, those that narrow 1 × 1
_DARKNET19 = ((32,), (64,), (128, 64, 128), (256, 128, 256), (512, 256, 512, 256, 512), (1024, 512, 1024, 512, 1024))
# filters of each convolution of stride 2, and the number of residual blocks after it
_DARKNET53 = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
_REGION = _options(
    "bias_match=1 coords=4 num=5 softmax=1 rescore=1 object_scale=5 noobject_scale=1 class_scale=1 coord_scale=1 "
    "absolute=1 thresh=.6"
)
# options in which the two published networks differ, beside the 64 filters before the reorg; anchors in cells
_YOLOV2 = {
    "yolo-voc.2.0": {
        "anchors": (1.08, 1.19, 3.42, 4.41, 6.63, 11.38, 9.42, 5.11, 16.62, 10.52),
        "augmentation": _options("jitter=.2 random=0"),
        "schedule": _options(
            "learning_rate=0.0001 max_batches=45000 policy=steps steps=100,25000,35000 scales=10,.1,.1"
        ),
    },
    "yolov2-voc": {
        "anchors": (1.3221, 1.73145, 3.19275, 4.00944, 5.05587, 8.09892, 9.47112, 4.84053, 11.2364, 10.0071),
        "augmentation": _options("jitter=.3 random=1"),
        "schedule": _options(
            "learning_rate=0.001 burn_in=1000 max_batches=80200 policy=steps steps=40000,60000 scales=.1,.1"
        ),
    },
}
_YOLOV3_ANCHORS = (10, 13, 16, 30, 33, 23, 30, 61, 62, 45, 59, 119, 116, 90, 156, 198, 373, 326)
_YOLO = _options("num=9 jitter=.3 ignore_thresh=.7 truth_thresh=1 random=1")
_YOLOV3_SCHEDULE = _options(
    "learning_rate=0.001 burn_in=1000 max_batches=500200 policy=steps steps=400000,450000 scales=.1,.1"
)


def yolov2(
    size: int = YOLOV2_SIZE,
    width: float = 1.0,
    passthrough: str = "yolo-voc.2.0",
    classes: int = 1,
    *,
    box_weight: str = BOX_WEIGHTS[0],
    scale_anchors: bool = True,
    batch_norm: str = "torch",
    batch_norm_momentum: float = BATCH_NORM_MOMENTUM,
    generator: torch.Generator | None = None,
) -> Network:
    """YOLOv2 with random weights, in training mode: Darknet-19, a passthrough with Darknet's reorg, a region head.

    Parameters
    ----------
    size
        Side of the images [pixels], a multiple of 32.
    width
        Factor of the numbers of filters (rounded to a multiple of 8, at least 8); the head keeps its own.
    passthrough
        "yolo-voc.2.0" (the paper's probable network), or "yolov2-voc" with 64 filters before the reorg and that cfg's
        anchors, jitter and learning rates.
    classes
        Number of classes of objects.
    box_weight
        Factor of the box terms, "2-w*h" (pjreddie since 2017) or "1" (AlexeyAB early in 2018).
    scale_anchors
        Multiply the published anchors (cells of 32 pixels, made for 416 pixels) by size/416, so that they keep their
        size relative to the image; otherwise they stay as published.
    batch_norm, generator
        As in `Network`.
    batch_norm_momentum
        Weight of a new batch in the running statistics; Darknet's is 0.01, short runs need more.

    Raises
    ------
    ProfileError
        If the size is not a multiple of 32, or `passthrough` is unknown.
    """
    if passthrough not in _YOLOV2:
        raise ProfileError(f"passthrough must be one of {', '.join(_YOLOV2)}, got {passthrough!r}")
    published = _YOLOV2[passthrough]
    factor = size / YOLOV2_SIZE if scale_anchors else 1.0
    sections = [
        _net(size, 8, batch_norm_momentum, published["schedule"]),
        *_darknet19(width),
        *_yolov2_neck(width, with_bottleneck=passthrough == "yolov2-voc"),
        *_yolov2_head(published, factor, classes, box_weight),
    ]
    return Network(sections, batch_norm=batch_norm, generator=generator)


def yolov3(
    size: int = YOLOV3_SIZE,
    width: float = 1.0,
    classes: int = 1,
    *,
    scale_anchors: bool = True,
    batch_norm: str = "torch",
    batch_norm_momentum: float = BATCH_NORM_MOMENTUM,
    generator: torch.Generator | None = None,
) -> Network:
    """YOLOv3 with random weights, in training mode: Darknet-53 and three yolo heads with strides 32, 16 and 8.

    Parameters are those of `yolov2`, but the published anchors (input pixels, used at 608 in the paper) are multiplied
    by size/608. ProfileError if the size is not a multiple of 32.
    """
    anchors = _anchors_text(_YOLOV3_ANCHORS, size / YOLOV3_SIZE if scale_anchors else 1.0)
    sections = [
        _net(size, 16, batch_norm_momentum, _YOLOV3_SCHEDULE),
        *_darknet53(width),
        *_yolov3_head(512, "6,7,8", anchors, width, classes),
        *_yolov3_branch(256, "61", width),
        *_yolov3_head(256, "3,4,5", anchors, width, classes),
        *_yolov3_branch(128, "36", width),
        *_yolov3_head(128, "0,1,2", anchors, width, classes),
    ]
    return Network(sections, batch_norm=batch_norm, generator=generator)


def _net(size: int, subdivisions: int, momentum: float, schedule: dict[str, str]) -> Section:
    """Section `[net]` as published, at another size."""
    if size < STRIDE or size % STRIDE:
        raise ProfileError(f"the image size must be a multiple of {STRIDE} pixels, got {size}")
    ours = {} if momentum == BATCH_NORM_MOMENTUM else {"batch_norm_momentum": momentum}
    return section("net", batch=64, subdivisions=subdivisions, width=size, height=size, **_NET, **schedule, **ours)


def _convolutional(filters: int, size: int, width: float, stride: int = 1) -> Section:
    """Convolution with batch normalisation, leaky activation and `filters` × `width` filters, a multiple of 8."""
    return section(
        "convolutional",
        batch_normalize=1,
        filters=max(8, 8 * round(filters * width / 8)),
        size=size,
        stride=stride,
        pad=1,
        activation="leaky",
    )


def _linear(filters: int) -> Section:
    """The 1 × 1 convolution in front of a head."""
    return section("convolutional", size=1, stride=1, pad=1, filters=filters, activation="linear")


def _darknet19(width: float) -> list[Section]:
    """Layers 0 to 22 of YOLOv2: the 18 convolutions of `darknet19_448.conv.23`."""
    sections: list[Section] = []
    for block in _DARKNET19:
        if sections:
            sections.append(section("maxpool", size=2, stride=2))
        sections += [_convolutional(filters, 3 if filters == block[0] else 1, width) for filters in block]
    return sections


def _yolov2_neck(width: float, *, with_bottleneck: bool) -> list[Section]:
    """Two convolutions, the passthrough from layer 16 (its reorg joined with them), and one more convolution."""
    bottleneck = [_convolutional(64, 1, width)] if with_bottleneck else []
    return [
        _convolutional(1024, 3, width),
        _convolutional(1024, 3, width),
        section("route", layers=-9),
        *bottleneck,
        section("reorg", stride=2),
        section("route", layers=f"-1,{-3 - len(bottleneck)}"),
        _convolutional(1024, 3, width),
    ]


def _yolov2_head(published: dict, factor: float, classes: int, box_weight: str) -> list[Section]:
    """The linear convolution and the region layer, its anchors multiplied by `factor`."""
    ours = {} if box_weight == BOX_WEIGHTS[0] else {"box_weight": box_weight}
    anchors = _anchors_text(published["anchors"], factor)
    head = section("region", anchors=anchors, classes=classes, **_REGION, **published["augmentation"], **ours)
    return [_linear(5 * (5 + classes)), head]


def _darknet53(width: float) -> list[Section]:
    """Layers 0 to 74 of YOLOv3: the 52 convolutions of `darknet53.conv.74`."""
    sections = [_convolutional(32, 3, width)]
    for filters, blocks in _DARKNET53:
        residual = [
            _convolutional(filters // 2, 1, width),
            _convolutional(filters, 3, width),
            section("shortcut", **{"from": -3, "activation": "linear"}),
        ]
        sections += [_convolutional(filters, 3, width, stride=2), *blocks * residual]
    return sections


def _yolov3_branch(filters: int, joined: str, width: float) -> list[Section]:
    """Branch from the fifth convolution of the last head, enlarged twice and joined with a layer of the backbone."""
    return [
        section("route", layers=-4),
        _convolutional(filters, 1, width),
        section("upsample", stride=2),
        section("route", layers=f"-1,{joined}"),
    ]


def _yolov3_head(filters: int, mask: str, anchors: str, width: float, classes: int) -> list[Section]:
    """Six convolutions, the linear one, and a yolo layer."""
    pair = [_convolutional(filters, 1, width), _convolutional(2 * filters, 3, width)]
    head = section("yolo", mask=mask, anchors=anchors, classes=classes, **_YOLO)
    return [*3 * pair, _linear(3 * (5 + classes)), head]


def _anchors_text(anchors: Sequence[float], factor: float) -> str:
    """Anchors of a section, multiplied by `factor`."""
    return ",".join(f"{factor * value:.6g}" for value in anchors)
