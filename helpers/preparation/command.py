"""Preparation of a file, for the command `workbook prepare`."""

import os
from functools import partial
from pathlib import Path

from helpers.errors import PatternFileError
from helpers.experiment import AMOX34117, Centre, Experiment
from helpers.patterns import DEFAULTS, PatternStack, ReadOptions, doubts, open_stack, print_doubts, probe
from helpers.preparation.calibration import PrepareSettings, check_centre
from helpers.preparation.crop import Crop
from helpers.preparation.hit_finding import HitRule
from helpers.preparation.hits import LIT_ABOVE, LIT_PIXELS
from helpers.preparation.pipeline import prepare, summary
from helpers.preparation.size import SIZE_RANGE_NM

_OPTIONS = {
    "wavelength_nm": "--wavelength",
    "distance_m": "--distance",
    "pixel_m": "--pixel",
    "adu_per_photon": "--adu-per-photon",
}


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
    """Prepare the frames of a file (see `pipeline.prepare`).

    Parameters
    ----------
    path
        File of detector frames, in any layout that `patterns.open_stack` reads.
    output
        CXI file to write with the prepared patterns; the table of all frames is written beside it as CSV.
    wavelength, distance, pixel
        Wavelength [nm], distance from the focus to the detector [m] and edge length of a pixel [m]; None takes the
        value in the file.
    adu_per_photon
        Detector units that one photon makes; None if the file holds photon counts [ADU/photon].
    conversion
        Conversion of charge to photons, "pairs" or "round" (see `photons.to_photons`).
    centre
        First estimate of the beam centre (row, column) in the frame; None fits circles [pixels].
    lit_above
        Value above which a pixel is lit [photons].
    lit_pixels, most_lit_pixels
        Fewest and most lit pixels of a hit; None sets no upper limit.
    background
        Source of the background, "auto", "blank", "peak" or "none" (see `calibration.PrepareSettings`).
    keep_sizes, search_sizes
        Smallest and largest size of the patterns that are kept, and of the sizes that are tried [nm].
    radii
        First radius that is compared, and the one after the last; None derives them from the mask [pixels].
    side, crop
        Half of the detector that is kept, and numbers of rows and columns of the crop (see `crop.Crop`).
    seed
        Seed for the choice of the background photons that are removed.
    options
        Options of reading for files that do not tell themselves.

    Returns
    -------
    str
        One line: number of frames kept, reasons for the others, and the path of the output.

    Raises
    ------
    PatternFileError
        If the file cannot be read or does not hold the geometry, or if no pattern is kept.
    """
    rule = HitRule(adu_per_photon, conversion, lit_above, (lit_pixels, most_lit_pixels))
    settings = PrepareSettings(rule, background, centre, keep_sizes, search_sizes, radii, Crop(side, *crop), seed)
    if Path(output).exists() and Path(output).samefile(path):
        raise PatternFileError(f"{output}: would overwrite the frames that it is made from; choose another name")
    print_doubts(probe(path, options, look=partial(doubts, are_frames=True)))
    with open_stack(path, options) as stack:
        given = {"wavelength_nm": wavelength, "distance_m": distance, "pixel_m": pixel}
        experiment = _experiment(stack, {**given, "adu_per_photon": adu_per_photon})
        try:
            if centre is not None:
                check_centre(centre, stack.mask, experiment, settings)
            table = prepare(
                stack, output, experiment, settings, columns=stack.table(), title=f"prepared: {stack.title}"
            )
        except PatternFileError as error:
            raise PatternFileError(f"{path}: {error}") from error
    return f"{summary(table)}: {output}"


def _experiment(stack: PatternStack, given: dict[str, float | None]) -> Experiment:
    """Experiment of the file, with the values given by the user in place of the file's."""
    stored = stack.experiment_values
    known = {name: stored.get(name) if value is None else value for name, value in given.items()}
    missing = [option for name, option in _OPTIONS.items() if known[name] is None]
    if missing:
        raise PatternFileError(f"{stack.path}: does not tell all of the experiment; give {', '.join(missing)}")
    return Experiment(
        name=stored.get("name") or stack.title or stack.path.stem,
        **known,
        rows=stack.shape[1],
        columns=stack.shape[2],
        centre_row=(stack.shape[1] - 1) / 2,
        centre_column=(stack.shape[2] - 1) / 2,
        saturation=stored.get("saturation", AMOX34117.saturation),
    )
