"""A family of models: network × colour × scale, written `yolov2-jet-linear` (section 2.6 of the paper)."""

from dataclasses import dataclass

from helpers.errors import ProfileError

COLOURS = ("jet", "gray")
SCALES = ("linear", "log")

PAPER_FAMILIES = (
    "yolov2-jet-linear",
    "yolov2-jet-log",
    "yolov2-gray-linear",
    "yolov2-gray-log",
    "yolov3-jet-linear",
    "yolov3-gray-linear",
)
"""The six families of Tables 2, 3 and 4, in the paper's order."""

_NETWORK_TITLES = {"yolov2": "YOLOv2", "yolov3": "YOLOv3", "yolo11n": "YOLO11n"}


@dataclass(frozen=True)
class Representation:
    """Representation of photon counts as an image: a colour map and an intensity scale (section 2.5)."""

    colour: str
    scale: str

    def __post_init__(self) -> None:
        if self.colour not in COLOURS:
            raise ProfileError(f"colour must be one of {', '.join(COLOURS)}, got {self.colour!r}")
        if self.scale not in SCALES:
            raise ProfileError(f"scale must be one of {', '.join(SCALES)}, got {self.scale!r}")

    def __str__(self) -> str:
        return f"{self.colour}-{self.scale}"


REPRESENTATIONS = tuple(Representation(colour, scale) for colour in COLOURS for scale in SCALES)
"""The four representations of Figure 5: jet linear, jet log, gray linear, gray log."""


@dataclass(frozen=True)
class Family:
    """A network and the representation of the patterns that it is trained on."""

    network: str
    representation: Representation

    @classmethod
    def from_name(cls, name: str) -> "Family":
        """Read `network-colour-scale`.

        Raises
        ------
        ProfileError
            If the name has not three parts, or an unknown colour or scale.
        """
        parts = name.split("-")
        if len(parts) != 3 or not parts[0]:
            raise ProfileError(
                f"a family is written network-colour-scale (for instance yolov2-jet-linear), got {name!r}"
            )
        return cls(parts[0], Representation(*parts[1:]))

    def __str__(self) -> str:
        return f"{self.network}-{self.representation}"

    @property
    def title(self) -> str:
        """The paper's wording, for tables and figures: `YOLOv2 color, linear`."""
        colour = "color" if self.representation.colour == "jet" else "grayscale"
        return f"{_NETWORK_TITLES.get(self.network, self.network)} {colour}, {self.representation.scale}"
