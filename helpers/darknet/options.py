"""Options of a Darknet `.cfg` beside those that our layers read: which change a number, and which do not.

Sources are parse_* in pjreddie's and AlexeyAB's parser.c. An option that changes an output, or what lies in a
`.weights` file, must have the value that we compute; one of training, display or data paths may have any.
"""

import warnings
from collections.abc import Mapping

from helpers.darknet.sections import Section

Required = int | str | None
"""Value that an option must have if it is there; None if it must not be there."""

_ZERO, _ABSENT = 0, None
_OF_EVERY_LAYER: dict[str, Required] = dict.fromkeys(("dontload", "dontloadscales", "dontsave", "numload"), _ZERO)
_OUTPUTS: dict[str, Mapping[str, Required]] = {
    "net": {"letter_box": 0},
    "convolutional": {
        **dict.fromkeys(("antialiasing", "assisted_excitation", "bin_output", "binary", "cbn", "coordconv"), _ZERO),
        **dict.fromkeys(("flipped", "reverse", "rotate", "stretch", "stretch_sway", "sway", "xnor"), _ZERO),
        **dict.fromkeys(("share_index", "stride_x", "stride_y"), _ABSENT),
        "dilation": 1,
    },
    "maxpool": {"maxpool_depth": 0, "antialiasing": 0, "maxpool_zero_nonmax": 0, "stride_x": None, "stride_y": None},
    "route": {"groups": 1, "group_id": 0},
    "shortcut": {"alpha": 1, "beta": 1, "weights_type": "none", "weights_normalization": "none"},
    "upsample": {"scale": 1},
    "reorg": {"reverse": 0, "flatten": 0, "extra": 0},
    "softmax": {"spatial": 0, "tree": None},
    "region": {"coords": 4, "background": 0, "classfix": 0, "tree": None, "map": None},
    "yolo": {"scale_x_y": 1, "new_coords": 0, "embedding_layer": None},
}
# options of AlexeyAB's heads that change what is descended in training, and no output
_LOSSES: dict[str, Mapping[str, Required]] = {
    "region": {"focal_loss": 0},
    "yolo": {
        "iou_loss": "mse",
        "iou_thresh_kind": "iou",
        **dict.fromkeys(("iou_thresh", "iou_normalizer", "obj_normalizer", "cls_normalizer", "delta_normalizer"), 1),
        **dict.fromkeys(("focal_loss", "label_smooth_eps", "objectness_smooth"), _ZERO),
        **dict.fromkeys(("counters_per_class", "max_delta"), _ABSENT),
    },
}
_NEUTRAL_OF_EVERY_LAYER = (
    "burnin_update clip dont_update learning_rate onlyforward smooth stopbackward train_only_bn truth"
)
_NEUTRAL_OF_EVERY_HEAD = "jitter max random resize"
_NEUTRAL = {
    "net": "B1 B2 adam adversarial_lr angle aspect attention augment_speed badlabels_rejection_percentage batch blur "
    "burn_in center clip contrastive contrastive_color contrastive_jit_flip cutmix decay dynamic_minibatch ema_alpha "
    "eps equidistant_point exposure flip gamma gaussian_noise hue inputs label_smooth_eps learning_rate "
    "learning_rate_min loss_scale max_batches max_chart_loss max_crop max_ratio min_crop min_ratio mixup momentum "
    "mosaic mosaic_bound notruth num_sigmas_reject_badlabels optimized_memory policy power random resize_step "
    "saturation scale scales seq_scales sequential_subdivisions sgdr_cycle sgdr_mult show_receptive_field step steps "
    "subdivisions time_steps track try_fix_nan unsupervised use_cuda_graph weights_reject_freq "
    "workspace_size_limit_MB",
    "convolutional": "angle dot grad_centr pad padding stream wait_stream",
    "maxpool": "out_channels",
    "route": "stream wait_stream",
    "softmax": "noloss",
    "cost": "noobj ratio scale thresh type",
    "region": f"{_NEUTRAL_OF_EVERY_HEAD} absolute log mask_scale sqrt",
    "yolo": f"{_NEUTRAL_OF_EVERY_HEAD} beta_nms dets_for_show dets_for_track map nms_kind show_details sim_thresh "
    "track_ciou_norm track_history_size",
}


def refuse_other_outputs(section: Section) -> None:
    """Raise NetworkFileError if an option makes Darknet compute or store other numbers than we do."""
    section.require_all(_OF_EVERY_LAYER | _OUTPUTS.get(section.name, {}), "is not supported")


def refuse_other_losses(section: Section) -> None:
    """Raise NetworkFileError if an option of a head makes Darknet train it by another loss than ours."""
    section.require_all(_LOSSES.get(section.name, {}), "changes the loss and is not supported in training")


def warn_of_unknown(section: Section) -> None:
    """Warn of options that neither we nor Darknet know, which are mostly misspelt; Darknet says "Unused field"."""
    neutral = f"{_NEUTRAL_OF_EVERY_LAYER} {_NEUTRAL.get(section.name, '')}"
    known = {*section.read, *_LOSSES.get(section.name, {}), *neutral.split()}
    for key in [key for key in section.options if key not in known]:
        warnings.warn(
            section.message(
                f"{key}={section.options[key]} is no option of Darknet, and ignored; correct its name", key
            ),
            stacklevel=2,
        )
