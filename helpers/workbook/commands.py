"""The command line `workbook`: each subcommand reads its options and calls one function of the package."""

import sys
from collections.abc import Callable
from dataclasses import fields
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from helpers import __version__
from helpers.errors import WorkbookError
from helpers.system import explained
from helpers.workbook.signals import Stopped, stopped_by_signals

if TYPE_CHECKING:
    from helpers.patterns import ReadOptions

_FILE = click.Path(path_type=Path)
_TRAINED = "families/*/family.json"


class _Pair(click.ParamType):
    """Two whole numbers that `fits` accepts, with a sign between them."""

    def __init__(self, name: str, sign: str, fits: Callable[[int, int], bool], advice: str) -> None:
        self.name, self.sign, self.fits, self.advice = name, sign, fits, advice

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        """The two numbers."""
        numbers = str(value).lower().replace("×", "x").split(self.sign)
        if len(numbers) != 2 or not all(map(str.isdecimal, numbers)) or not self.fits(*map(int, numbers)):
            self.fail(f"{value!r} is not {self.name}{self.advice}", parameter, context)
        return int(numbers[0]), int(numbers[1])


_FRAME_SHAPE = _Pair("ROWSxCOLUMNS", "x", lambda rows, columns: min(rows, columns) > 0, ", for instance 123x240")
_SHARE = _Pair("K/N", "/", lambda k, n: 1 <= k <= n, " with K from 1 to N, for instance 2/16")


def _option(name: str, kind: Any, metavar: str | None, text: str, default: str | None = None) -> Callable:
    """Decorator that adds an option; `default` is what the help says of it."""
    return click.option(name, type=kind, metavar=metavar, help=text, show_default=default)


_POLARITY = click.Choice(["format", "nonzero-bad", "nonzero-good"])
_LAYOUT = (
    _option("--dataset", None, "NAME", "Data set to read, if the file has several."),
    _option("--frame-shape", _FRAME_SHAPE, None, "Of a Dragonfly file without a detector, for instance 123x240."),
    _option("--mask-polarity", _POLARITY, None, "Meaning of the mask.", "as the format defines it"),
    _option("--detector", _FILE, "FILE", "Positions of the pixels: a geometry (HDF5) or Dragonfly detector."),
)
_READING = (
    *_LAYOUT,
    click.option(
        "--nan-as-zero", is_flag=True, help="Read NaN and infinity as zero photons instead of refusing the file."
    ),
)


def _options(options: tuple[Callable, ...]) -> Callable[[Callable], Callable]:
    """Decorator that adds several options to a command."""
    return lambda command: reduce(lambda added, option: option(added), reversed(options), command)


def _given(reading: dict[str, Any]) -> dict[str, Any]:
    """Options that the user has given."""
    return {name: value for name, value in reading.items() if value is not None and value is not False}


def _read_options(given: dict[str, Any]) -> "ReadOptions":
    """The options of reading among those that the user gave, taken out of them."""
    from helpers.patterns import ReadOptions

    names = [field.name for field in fields(ReadOptions) if field.name in given]
    return ReadOptions(**_given({name: given.pop(name) for name in names}))


_POSITIVE = click.FloatRange(min=0, min_open=True)
_COUNT = click.IntRange(min=0)
_PREPARATION = (
    _option("--wavelength", _POSITIVE, "NM", "Wavelength.", "from FILE"),
    _option("--distance", _POSITIVE, "M", "Distance from the particles to the detector.", "from FILE"),
    _option("--pixel", _POSITIVE, "M", "Size of a pixel.", "from FILE"),
    _option("--adu-per-photon", _POSITIVE, "ADU", "Detector units of a photon.", "FILE counts photons"),
    _option("--conversion", click.Choice(["pairs", "round"]), None, "From ADU to photons.", "pairs, as in psana"),
    _option("--centre", (float, float), "ROW COLUMN", "Beam centre.", "fitted circles"),
    _option("--lit-above", _POSITIVE, "PHOTONS", "A pixel with more photons is lit.", "0.23"),
    _option("--lit-pixels", _COUNT, "PIXELS", "Fewest lit pixels of a hit.", "500"),
    _option("--most-lit-pixels", _COUNT, "PIXELS", "Most lit pixels of a hit.", "no limit"),
    _option("--background", click.Choice(["auto", "blank", "peak", "none"]), None, "Source of the background.", "auto"),
    _option("--keep-sizes", (float, float), "NM NM", "Smallest and largest particle to keep.", "55 84"),
    _option("--search-sizes", (float, float), "NM NM", "Smallest and largest particle to try.", "as the radii resolve"),
    _option("--radii", (int, int), "FIRST STOP", "Radii at which sizes are compared, in pixels.", "all useful ones"),
    _option("--side", click.Choice(["down", "up", "left", "right", "both"]), None, "Half to keep.", "down"),
    _option("--crop", (int, int), "ROWS COLUMNS", "Shape of the patterns.", "123 240"),
    _option("--seed", _COUNT, None, "Seed for the removal of background photons.", "0"),
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="workbook")
def workbook() -> None:
    """Find single hits among XFEL diffraction patterns (Ignatenko et al. 2021)."""


@workbook.command()
@click.option("--profile", default="demo", show_default=True, help="demo, paper, or a YAML file of your own.")
@click.option("--data", type=_FILE, metavar="FILE.cxi", help="Your patterns.", show_default="a simulated twin")
@click.option("--labels", type=_FILE, metavar="FILE.csv", help="Your labels: index or event_id, and single (0 or 1).")
@click.option("--results", type=_FILE, metavar="DIR", help="Folder of the run.", show_default="results/PROFILE")
@click.option("--only", default="", metavar="NN,…", help="Run only these notebooks, for instance 04,05.")
@click.option("--fresh", is_flag=True, help="Start anew: delete what the run has left, trained families too.")
def run(profile: str, data: Path | None, labels: Path | None, results: Path | None, only: str, fresh: bool) -> None:
    """Run the notebooks, from patterns to tables and figures. Steps in which nothing has changed are skipped."""
    from helpers.workbook.runner import run_workbook

    numbers = [number.strip() for number in only.split(",") if number.strip()]
    if fresh and numbers:
        raise click.UsageError("--fresh starts from nothing, so it does not go with --only")
    sys.exit(run_workbook(profile, results=results, data=data, labels=labels, only=numbers, fresh=fresh))


@workbook.command()
@click.argument("output", type=_FILE, metavar="OUT.cxi")
@click.option("--patterns", type=click.IntRange(min=1), help="Patterns inside the size range.", show_default="18213")
@click.option("--seed", type=click.IntRange(min=0), help="The same seed gives the same file.")
def simulate(output: Path, **given: Any) -> None:
    """Simulate labelled patterns of which the truth is known, and write them to OUT.cxi."""
    from helpers.simulation import simulate as simulate_twin

    simulate_twin(output, **_given(given))
    click.echo(f"simulated patterns: {output}")


@workbook.command()
@click.argument("files", type=_FILE, metavar="FILES", nargs=-1, required=True)
@click.option(
    "--model", type=_FILE, required=True, metavar="RUN/FAMILY", help="Trained family, as demo/yolov2-jet-linear."
)
@_option(
    "--output",
    _FILE,
    "SELECTION",
    "A list of all FILES (.csv), a copy of FILE with the selection marked (.cxi, .h5), its selected patterns for "
    "Dragonfly (.emc), or a folder.",
    "FILE.FAMILY.csv of each, here",
)
@click.option(
    "--bin",
    "bin_side",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="Sum the counts of an .emc in bins of so many pixels a side.",
    show_default="1",
)
@_option("--threshold", click.FloatRange(0, 1), None, "Score of a single hit.", "the family's own")
@_option("--cluster", None, "SPEC", "Compute with Dask on local:4, slurm:PROFILE[:JOBS] or tcp://HOST:PORT.")
@click.option("--chunks", "share", type=_SHARE, help="Compute only the K-th of N shares, and write no selection yet.")
@click.option(
    "--follow",
    is_flag=True,
    help="Classify while FILE is written (SWMR), or files appear in a folder or as 'NAME*.cxi'.",
)
@click.option("--stop-after", type=_POSITIVE, metavar="SECONDS", help="End --follow after so long without patterns.")
@_options(_READING)
def classify(files: tuple[Path, ...], model: Path, follow: bool, stop_after: float | None, **given: Any) -> None:
    """Select the single hits in files of patterns. After an interruption, the same command goes on."""
    from helpers.classification import classify_files
    from helpers.classification import follow as follow_patterns

    if stop_after is not None and not follow:
        raise click.UsageError("--stop-after goes with --follow")
    reading = _read_options(given)
    if not follow:
        click.echo(classify_files(files, model_folder(model), options=reading, **_given(given)))
        return
    if len(files) > 1 or given["cluster"] or given["share"] or given["bin_side"]:
        raise click.UsageError("--follow takes one FILE, folder or 'NAME*.cxi' in quotes, and neither bins nor shares")
    options = {name: value for name, value in given.items() if name not in ("cluster", "share", "bin_side")}
    followed = follow_patterns(files[0], model_folder(model), stop_after=stop_after, options=reading, **_given(options))
    click.echo(followed)


@workbook.command()
@click.argument("file", type=_FILE, metavar="FILE")
@_options(_READING)
@click.option("--picture", type=_FILE, metavar="OUT.png", help="Also draw a few patterns.")
def info(file: Path, picture: Path | None, **given: Any) -> None:
    """Show what a file of patterns holds, how it would be read, and a few patterns."""
    from helpers.patterns import describe, doubts, print_doubts, probe

    if picture is not None and picture.suffix.lower() != ".png":
        raise click.UsageError(f"--picture draws a PNG, not {picture.name}; give a name that ends in .png")
    options = _read_options(given)
    doubtful = probe(file, options, look=doubts)
    click.echo(describe(file, options, pictures=True))
    if picture is not None:
        _draw_gallery(file, picture, options)
        click.echo(f"\n  gallery    {picture}")
    print_doubts(doubtful)


def _draw_gallery(file: Path, picture: Path, options: "ReadOptions") -> None:
    """Draw patterns of a file, from dim to bright."""
    from helpers.figures import gallery, save_picture
    from helpers.patterns import from_dim_to_bright, open_stack

    with open_stack(file, options) as stack:
        values, titles, unit = from_dim_to_bright(stack, 12)
        figure = gallery(values, titles, columns=min(4, len(titles)), mask=stack.mask, unit=unit)
    save_picture(figure, picture)


@workbook.command()
@click.argument("name", metavar="cxidb-156|darknet19|darknet53")
@click.option("--yes", is_flag=True, help="Download without asking.")
@click.option("--from", "source", type=_FILE, metavar="FILE", help="Check and place a file downloaded by hand.")
@click.option("--address", metavar="URL", help="Download from here, for instance from a mirror of your institute.")
def fetch(name: str, yes: bool, source: Path | None, address: str | None) -> None:
    """Fetch measured patterns or pre-trained weights into data/; the only command that needs a network."""
    from helpers.workbook import fetch as published

    file = published.published_file(name)
    if source:
        click.echo(published.place(file, source))
        return
    if file.path.exists():
        click.echo(f"{file.path} is already there: {published.check(file, file.path)}")
        return
    click.echo(file.described())
    if file.is_large:
        click.echo(f"\nThis file has gigabytes. Look up its name on the page, then:\n    {file.by_hand(address)}")
    elif yes or click.confirm("Download it?"):
        click.echo(published.download(file, address))
        return
    click.echo("nothing was fetched")
    sys.exit(1)


@workbook.command()
@click.argument("file", type=_FILE, metavar="FILE")
@click.argument("output", type=_FILE, metavar="OUT.cxi")
@_options(_LAYOUT)
@_options(_PREPARATION)
def prepare(file: Path, output: Path, **given: Any) -> None:
    """Turn detector frames into cropped patterns: photons, hits, background, centres, sizes, crop."""
    import warnings

    from helpers.preparation import prepare_file

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = prepare_file(file, output, options=_read_options(given), **_given(given))
    for warning in caught:
        click.echo(f"workbook: warning: {warning.message}", err=True)
    click.echo(done)


@workbook.command()
@click.argument("run", type=_FILE, metavar="RUN")
@click.option("--data", type=_FILE, metavar="FILE", help="Patterns of the run.", show_default="found in data/")
@click.option("--labels", type=_FILE, metavar="FILE", help="Label file of the run, if it had one.")
def verify(run: Path, data: Path | None, labels: Path | None) -> None:
    """Run the notebooks of RUN again on what it has stored, and compare every table, selection and checksum.

    RUN is a folder or a name in results/. Nothing is trained, and RUN stays as it is.
    """
    from helpers.workbook.verification import verify_run

    verdict = verify_run(run, data=data, labels=labels)
    click.echo("\n".join(verdict.lines()))
    sys.exit(0 if verdict.holds else 1)


def model_folder(model: Path) -> Path:
    """Folder of a trained family, from its path or from RUN/FAMILY for `results/RUN/families/FAMILY`."""
    from helpers.workbook.run import RESULTS

    if names := sorted({path.parent.name for run in (model, RESULTS / model) for path in run.glob(_TRAINED)}):
        raise WorkbookError(f"{model}: is a run; name one of its families ({', '.join(names)}), as {model}/{names[0]}")
    places = [model, model.parent / "families" / model.name, RESULTS / model.parent / "families" / model.name]
    return next((place for place in places if (place / "family.json").is_file()), model)


def main() -> None:
    """Run the command; an error that a user can act on is one line and exit code 2, a signal one line and 128 more."""
    try:
        with stopped_by_signals():
            workbook(prog_name="workbook")
    except (WorkbookError, OSError) as error:
        line = error if isinstance(error, WorkbookError) else explained(error)
        if line is None:
            raise
        click.echo(f"workbook: {line}", err=True)
        sys.exit(2)
    except Stopped as stopped:
        click.echo(stopped.line, err=True)
        sys.exit(stopped.code)
