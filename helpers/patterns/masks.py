"""Meaning of the values of a mask: which of them call a pixel bad, and what the others tell.

A mask of CXI holds bits. Version 1.6 of the format (tables of `detector_N/mask` and `image_N/mask`) defines some, and
Cheetah (its page "Pixel masks") others between them. Bad are those that Cheetah leaves out of its radial averages;
the rest only tell something of a pixel, above all bit 13, which its hit finder sets in each pixel that is lit. Bit 12
has two meanings, "above the background" in CXI and "artifact correction failed" in Cheetah: it only tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from helpers.patterns.options import Polarity

NAMES = ("mask", "mask_shared", "pixel_mask")
"""Names of masks: CXI's, Cheetah's for all patterns, NeXus's."""

_BAD_IN_CXI = {
    0x1: "invalid",
    0x2: "saturated",
    0x4: "hot",
    0x8: "dead",
    0x10: "shadowed",
    0x40: "to be ignored",
    0x80: "bad",
    0x200: "missing",
    0x400: "noisy",
    0x8000: "in the jet",
}
_TOLD_IN_CXI = {
    0x20: "in the mask of the peak finder",
    0x100: "out of the resolution limits",
    0x800: "artifact corrected",
    0x1000: "above the background",
    0x2000: "lit for the hit finder",
    0x4000: "photon background corrected",
    0x10000: "inside the support",
}
_BAD_IN_NEXUS = {
    0x1: "gap",
    0x2: "dead",
    0x4: "under responding",
    0x8: "over responding",
    0x10: "noisy",
    0x40: "in a cluster of bad pixels",
    0x100: "masked by a user",
    0x80000000: "virtual",
}


@dataclass(frozen=True)
class MaskRule:
    """Which values of a mask call a pixel bad: `value` alone if there is one, else any with another bit than `told`.

    `name` is for people; `bad` and `told` are the known bits and what they mean.
    """

    name: str
    value: int | None = None
    bad: Mapping[int, str] = field(default_factory=dict)
    told: Mapping[int, str] = field(default_factory=dict)

    def bad_pixels(self, values: np.ndarray) -> np.ndarray:
        """Pixels that are called bad, bool, of the values of a mask in any shape."""
        if self.value is not None:
            return values == self.value
        if not self.told:
            return values != 0
        bits = as_bits(values)
        return (bits & np.array(~sum(self.told), np.int64).astype(bits.dtype)) != 0

    def in_words(self, values: np.ndarray) -> str:
        """What these values mean, for people."""
        plain = self.told and not (as_bits(values) & np.array(sum(self.told)).astype(as_bits(values).dtype)).any()
        return NONZERO_IS_BAD.name if plain else self.name

    def bits_found(self, values: np.ndarray) -> list[str]:
        """The bits that are set in any pixel, each with its meaning and a number of pixels; none in a yes or no."""
        bits = as_bits(values).astype(np.int64)
        if self.value is not None or not self.bad or not (bits & ~1).any():
            return []
        known = {**self.bad, **self.told}
        lines = [
            f"{bit:#x} {known[bit]}{', not bad' if bit in self.told else ''}: {number} pixels"
            for bit in sorted(known)
            if (number := np.count_nonzero(bits & bit))
        ]
        unknown = bits & ~sum(known)
        if number := np.count_nonzero(unknown):
            lines.append(f"{np.bitwise_or.reduce(unknown, axis=None) & 0xFFFFFFFF:#x} unknown, bad: {number} pixels")
        return lines


CXI = MaskRule("bits of CXI", bad=_BAD_IN_CXI, told=_TOLD_IN_CXI)
NEXUS = MaskRule("not 0 = bad", bad=_BAD_IN_NEXUS)
NONZERO_IS_BAD = MaskRule("not 0 = bad")
ZERO_IS_BAD = MaskRule("0 = bad", value=0)
TWO_IS_BAD = MaskRule("2 = bad", value=2)
"""Dragonfly: 0 is good, 1 good but not for orientation."""


def chosen_rule(polarity: Polarity, of_format: MaskRule) -> MaskRule:
    """The rule that the user asks for, or that of the format."""
    return {"format": of_format, "nonzero-bad": NONZERO_IS_BAD, "nonzero-good": ZERO_IS_BAD}[polarity]


def as_bits(values: np.ndarray) -> np.ndarray:
    """Values of a mask as integers; all bits where a float is no whole number."""
    if values.dtype.kind != "f":
        return values.astype(np.uint8) if values.dtype.kind == "b" else values
    is_whole = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2.0**62)
    return np.where(is_whole, values, -1).astype(np.int64)
