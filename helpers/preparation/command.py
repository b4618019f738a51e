"""Prepare a file: what the command `workbook prepare` does."""

import os
from pathlib import Path

from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117, Centre, Experiment
from helpers.patterns import DEFAULTS, PatternStack, ReadOptions, open_stack, probe
from helpers.preparation.calibration import Steps
from helpers.preparation.crop import Crop
from helpers.preparation.hit_finding import HitRule
from helpers.preparation.hits import LIT_ABOVE, LIT_PIXELS
from helpers.preparation.pipeline import prepare, summary
from helpers.preparation.size import SIZE_RANGE_NM

_GEOMETRY = {"wavelength_nm": "--wavelength", "distance_m": "--distance", "pixel_m": "--pixel"}


def prepare_file(
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    wavelength: float | None = None,
    distance: float | None = None,
    pixel: float | None = None,
    adu_per_photon: float | None = None,
    conversion: str = "pairs",
    centre: Centre | None = None,
    lit_above: float = LIT_ABOVE,
    lit_pixels: int = LIT_PIXELS[0],
    most_lit_pixels: int | None = LIT_PIXELS[1],
    background: str = "auto",
    keep_sizes: tuple[float, float] = SIZE_RANGE_NM,
    search_sizes: tuple[float, float] | None = None,
    radii: tuple[int, int] | None = None,
    side: str = "down",
    crop: tuple[int, int] = AMOX34117.shape,
    seed: int = 0,
    options: ReadOptions = DEFAULTS,
) -> str:
    """Prepare the frames of a file, see `chain.prepare`.

    Parameters
    ----------
    path
        A file that `cxi.open_stack` reads.
    output
        The CXI file of the prepared patterns; the table of all frames is written beside it as CSV.
    wavelength, distance, pixel
        Geometry; None takes the file's own [nm, m, m].
    adu_per_photon
        None: the file holds photon counts [ADU/photon].
    conversion, lit_above, lit_pixels, most_lit_pixels
        See `photons.to_photons` and `hits.are_hits`; lit_above [photons].
    centre
        First estimate (row, column) in the frame; None fits circles [pixels].
    background, keep_sizes, search_sizes, radii, seed
        See `learning.Steps` [nm, nm, pixels].
    side, crop
        Half of the detector, rows and columns that are kept, see `crop.Crop`.
    options
        How the file is read.

    Returns
    -------
    str
        A line: how many frames were kept, why others were not, and where they are.

    Raises
    ------
    PatternFileError
        If the file cannot be read, does not tell the geometry, or if no pattern is kept.
    """
    rule = HitRule(adu_per_photon, conversion, lit_above, (lit_pixels, most_lit_pixels))
    steps = Steps(rule, background, centre, keep_sizes, search_sizes, radii, Crop(side, *crop), seed)
    if Path(output).exists() and Path(output).samefile(path):
        raise PatternFileError(f"{output}: would be written over the frames it is made from; choose another name")
    probe(path, options)
    with open_stack(path, options) as stack:
        given = {"wavelength_nm": wavelength, "distance_m": distance, "pixel_m": pixel}
        experiment = _experiment(stack, given, adu_per_photon)
        try:
            table = prepare(stack, output, experiment, steps, columns=stack.table(), title=f"prepared: {stack.title}")
        except PatternFileError as error:
            raise PatternFileError(f"{path}: {error}") from error
    return f"{summary(table)}: {output}"


def _experiment(stack: PatternStack, given: dict[str, float | None], adu_per_photon: float | None) -> Experiment:
    """What the file says of the experiment, with what was given instead."""
    told = stack.experiment
    known = {name: value if value is not None else getattr(told, name, None) for name, value in given.items()}
    missing = [option for name, option in _GEOMETRY.items() if known[name] is None]
    if missing:
        raise PatternFileError(f"{stack.path}: does not say what the experiment was; give {', '.join(missing)}")
    return Experiment(
        name=told.name if told else stack.title or stack.path.stem,
        **known,
        rows=stack.shape[1],
        columns=stack.shape[2],
        centre_row=(stack.shape[1] - 1) / 2,
        centre_column=(stack.shape[2] - 1) / 2,
        adu_per_photon=adu_per_photon or (told or AMOX34117).adu_per_photon,
        saturation=(told or AMOX34117).saturation,
    )
