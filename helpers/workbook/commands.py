"""The command `workbook`: run the notebooks, simulate, fetch, look into pattern files, prepare and classify them."""

import sys
from collections.abc import Callable
from dataclasses import fields
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
_GALLERY = 12
_GALLERY_COLUMNS = 4


class _FrameShape(click.ParamType):
    """Rows and columns of a pattern, written 123x240."""

    name = "ROWSxCOLUMNS"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        """Two whole numbers above 0."""
        numbers = str(value).lower().replace("×", "x").split("x")
        if len(numbers) != 2 or not all(number.isdecimal() and int(number) > 0 for number in numbers):
            self.fail(f"{value!r} is not ROWSxCOLUMNS, for instance 123x240", parameter, context)
        return int(numbers[0]), int(numbers[1])


_LAYOUT = (
    click.option("--dataset", metavar="NAME", help="The data set to read, where there are several that differ."),
    click.option("--frame-shape", type=_FrameShape(), help="Of a Dragonfly file without a detector: 123x240."),
    click.option(
        "--mask-polarity",
        type=click.Choice(["format", "nonzero-bad", "nonzero-good"]),
        help="What a mask means; as its format says without.",
    ),
    click.option(
        "--detector", type=_FILE, metavar="FILE", help="Where the pixels are: a geometry (HDF5) or Dragonfly detector."
    ),
)
_READING = (
    *_LAYOUT,
    click.option(
        "--nan-as-zero", is_flag=True, help="Read NaN and infinity as no photons instead of refusing the file."
    ),
)


def _options(options: tuple[Callable, ...]) -> Callable[[Callable], Callable]:
    """Add several options to a command."""

    def add(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _given(reading: dict[str, Any]) -> dict[str, Any]:
    """The options that the user gave."""
    return {name: value for name, value in reading.items() if value is not None and value is not False}


def _read_options(given: dict[str, Any]) -> "ReadOptions":
    """The options of reading among those that the user gave, taken out of them."""
    from helpers.patterns import ReadOptions

    names = [field.name for field in fields(ReadOptions) if field.name in given]
    return ReadOptions(**_given({name: given.pop(name) for name in names}))


_POSITIVE = click.FloatRange(min=0, min_open=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="workbook")
def workbook() -> None:
    """Find single hits among XFEL diffraction patterns."""


@workbook.command()
@click.option("--profile", default="demo", show_default=True, help="demo, paper, or the path of a YAML file.")
@click.option("--data", type=_FILE, metavar="FILE.cxi", help="Your patterns; a twin is simulated without.")
@click.option("--labels", type=_FILE, metavar="FILE.csv", help="Your labels: index or event_id, and single (0 or 1).")
@click.option("--results", type=_FILE, metavar="DIR", help="Folder of the run; results/PROFILE without.")
@click.option("--only", default="", metavar="NN,…", help="Only these notebooks, for instance 04,05.")
@click.option("--fresh", is_flag=True, help="Delete what the run has left before, and start anew.")
def run(profile: str, data: Path | None, labels: Path | None, results: Path | None, only: str, fresh: bool) -> None:
    """Run the notebooks; steps in which nothing has changed are skipped."""
    from helpers.workbook.runner import run_workbook

    numbers = [number.strip() for number in only.split(",") if number.strip()]
    if fresh and numbers:
        raise click.UsageError("--fresh starts from nothing, so it does not go with --only")
    sys.exit(run_workbook(profile, results=results, data=data, labels=labels, only=numbers, fresh=fresh))


@workbook.command()
@click.argument("output", type=_FILE, metavar="OUT.cxi")
@click.option("--patterns", type=click.IntRange(min=1), help="Patterns inside the size range; as in the paper without.")
@click.option("--seed", type=click.IntRange(min=0), help="The same seed gives the same file.")
def simulate(output: Path, patterns: int | None, seed: int | None) -> None:
    """Simulate labelled patterns with known truth."""
    from helpers.simulation import simulate as simulate_twin

    given = {"patterns": patterns, "seed": seed}
    simulate_twin(output, **{name: value for name, value in given.items() if value is not None})
    click.echo(f"simulated patterns: {output}")


class _Share(click.ParamType):
    """Which share of how many, written 2/16."""

    name = "K/N"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        """Two whole numbers, 1 ≤ K ≤ N."""
        numbers = str(value).split("/")
        if len(numbers) != 2 or not all(map(str.isdecimal, numbers)) or not 1 <= int(numbers[0]) <= int(numbers[1]):
            self.fail(f"{value!r} is not K/N with K from 1 to N, for instance 2/16", parameter, context)
        return int(numbers[0]), int(numbers[1])


@workbook.command()
@click.argument("files", type=_FILE, metavar="FILES", nargs=-1, required=True)
@click.option("--model", type=_FILE, required=True, metavar="RUN/FAMILY", help="For instance demo/yolov2-jet-linear.")
@click.option(
    "--output",
    type=_FILE,
    help="A list (.csv) of all FILES; of one FILE also a copy with marks (.cxi, .h5) or photons for Dragonfly (.emc); "
    "or a folder for FILE.FAMILY.csv of each: the working directory without.",
)
@click.option("--threshold", type=click.FloatRange(0, 1), help="Score of a single hit; the family's own without.")
@click.option("--cluster", metavar="SPEC", help="Compute on local:4, slurm:PROFILE[:JOBS] or tcp://HOST:PORT (Dask).")
@click.option("--chunks", "share", type=_Share(), help="Only compute every N-th chunk, and write no selection yet.")
@click.option(
    "--follow", is_flag=True, help="FILE is still written (SWMR), or a folder or 'NAME*.cxi' where files appear."
)
@click.option("--stop-after", type=_POSITIVE, metavar="SECONDS", help="End --follow after so long without patterns.")
@_options(_READING)
def classify(files: tuple[Path, ...], model: Path, follow: bool, stop_after: float | None, **given: Any) -> None:
    """Write selections of single hits for files of patterns; after an interruption, the same command goes on."""
    from helpers.classification import classify_files
    from helpers.classification import follow as follow_patterns

    if stop_after is not None and not follow:
        raise click.UsageError("--stop-after goes with --follow")
    reading = _read_options(given)
    if not follow:
        click.echo(classify_files(files, model_folder(model), options=reading, **_given(given)))
        return
    if len(files) > 1 or given["cluster"] or given["share"]:
        raise click.UsageError("--follow takes one FILE, folder or 'NAME*.cxi' in quotes, in this process")
    options = {name: value for name, value in given.items() if name not in ("cluster", "share")}
    followed = follow_patterns(files[0], model_folder(model), stop_after=stop_after, options=reading, **_given(options))
    click.echo(followed)


@workbook.command()
@click.argument("file", type=_FILE, metavar="FILE")
@_options(_READING)
@click.option("--picture", type=_FILE, metavar="OUT.png", help="Also draw a gallery of patterns.")
def info(file: Path, picture: Path | None, **given: Any) -> None:
    """Tell what is in a file, and how it would be read; show a few patterns."""
    from helpers.patterns import describe, probe

    if picture is not None and picture.suffix.lower() != ".png":
        raise click.UsageError(f"--picture draws a PNG, not {picture.name}; give a name that ends in .png")
    options = _read_options(given)
    probe(file, options)
    click.echo(describe(file, options, pictures=True))
    if picture is not None:
        _draw_gallery(file, picture, options)
        click.echo(f"\n  gallery    {picture}")


def _draw_gallery(file: Path, picture: Path, options: "ReadOptions") -> None:
    """Draw patterns of a file, from dim to bright."""
    from helpers.figures import gallery, save_picture
    from helpers.patterns import from_dim_to_bright, open_stack

    with open_stack(file, options) as stack:
        values, titles, unit = from_dim_to_bright(stack, _GALLERY)
        columns = min(_GALLERY_COLUMNS, len(titles))
        figure = gallery(values, titles, columns=columns, mask=stack.mask, unit=unit)
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
@click.option("--wavelength", type=_POSITIVE, metavar="NM", help="The file's own without.")
@click.option("--distance", type=_POSITIVE, metavar="M", help="Particles to detector; the file's own without.")
@click.option("--pixel", type=_POSITIVE, metavar="M", help="Size of a pixel; the file's own without.")
@click.option("--adu-per-photon", type=_POSITIVE, metavar="ADU", help="The file holds photon counts without.")
@click.option("--conversion", type=click.Choice(["pairs", "round"]), help="ADU to photons: pairs without, as psana.")
@click.option("--centre", type=(float, float), metavar="ROW COLUMN", help="Beam centre; circles are fitted without.")
@click.option("--lit-above", type=_POSITIVE, metavar="PHOTONS", help="A pixel over this is lit; 0.23 without.")
@click.option("--lit-pixels", type=click.IntRange(min=0), help="Fewest lit pixels of a hit; 500 without.")
@click.option("--most-lit-pixels", type=click.IntRange(min=0), help="Most lit pixels of a hit; no limit without.")
@click.option("--background", type=click.Choice(["auto", "blank", "peak", "none"]), help="auto without.")
@click.option("--keep-sizes", type=(float, float), metavar="NM NM", help="Sizes that are kept; 55 84 without.")
@click.option("--search-sizes", type=(float, float), metavar="NM NM", help="Sizes that are tried.")
@click.option("--radii", type=(int, int), metavar="FIRST STOP", help="Radii that are compared, in pixels.")
@click.option("--side", type=click.Choice(["down", "up", "left", "right", "both"]), help="Half to keep; down without.")
@click.option("--crop", type=(int, int), metavar="ROWS COLUMNS", help="123 240 without.")
@click.option("--seed", type=click.IntRange(min=0), help="Of the background photons that are taken away.")
def prepare(file: Path, output: Path, **given: Any) -> None:
    """Prepare detector frames: photons, hits, background, centres, sizes, crop."""
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
@click.option("--data", type=_FILE, metavar="FILE", help="The patterns of the run; found in data/ without.")
@click.option("--labels", type=_FILE, metavar="FILE", help="The label file of the run, if it had one.")
def verify(run: Path, data: Path | None, labels: Path | None) -> None:
    """Recompute every table of a run from what it has stored, and compare; RUN is a folder or a name in results/."""
    from helpers.workbook.verification import verify_run

    verdict = verify_run(run, data=data, labels=labels)
    click.echo("\n".join(verdict.lines()))
    sys.exit(0 if verdict.holds else 1)


def model_folder(model: Path) -> Path:
    """Folder of a family: a path as it is, or RUN/FAMILY for `results/RUN/families/FAMILY`."""
    from helpers.workbook.run import RESULTS

    places = [model, model.parent / "families" / model.name, RESULTS / model.parent / "families" / model.name]
    return next((place for place in places if (place / "family.json").is_file()), model)


def main() -> None:
    """Run the command; an error that a user can act on is one line and exit code 2, a signal one line and 128 more."""
    try:
        with stopped_by_signals():
            workbook(prog_name="workbook")
    except WorkbookError as error:
        click.echo(f"workbook: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if (line := explained(error)) is None:
            raise
        click.echo(f"workbook: {line}", err=True)
        sys.exit(2)
    except Stopped as stopped:
        click.echo(stopped.line, err=True)
        sys.exit(stopped.code)
