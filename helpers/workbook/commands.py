"""The command `workbook`: run the notebooks, simulate, classify, look into pattern files, and fetch published ones."""

import sys
from pathlib import Path

import click

from helpers import __version__
from helpers.errors import WorkbookError

_FILE = click.Path(path_type=Path)


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


@workbook.command()
@click.argument("file", type=_FILE, metavar="FILE.cxi")
@click.option("--model", type=_FILE, required=True, metavar="RUN/FAMILY", help="For instance demo/yolov2-jet-linear.")
@click.option("--output", type=_FILE, metavar="FILE.csv", help="The selection; FILE.FAMILY.csv without.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Score of a single hit; the family's own without.")
@click.option("--nan-as-zero", is_flag=True, help="Read NaN and infinity as no photons instead of refusing the file.")
def classify(file: Path, model: Path, output: Path | None, threshold: float | None, nan_as_zero: bool) -> None:
    """Write a selection of single hits for a file of patterns."""
    from helpers.classification import classify_file

    click.echo(classify_file(file, model_folder(model), output=output, threshold=threshold, nan_as_zero=nan_as_zero))


@workbook.command()
@click.argument("file", type=_FILE, metavar="FILE")
def info(file: Path) -> None:
    """Tell what is in a file, and how it would be read."""
    from helpers.cxi import describe

    click.echo(describe(file))


@workbook.command()
@click.argument("name", metavar="cxidb-156|darknet19|darknet53")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--from", "source", type=_FILE, metavar="FILE", help="Check and place a file downloaded by hand instead.")
@click.option("--address", metavar="URL", help="Take it from there, for instance from a mirror of your institute.")
def fetch(name: str, yes: bool, source: Path | None, address: str | None) -> None:
    """Fetch measured patterns or pre-trained weights into data/; the only command that needs a network."""
    from helpers import fetching

    file = fetching.published_file(name)
    if source:
        click.echo(fetching.place(file, source))
        return
    if there := fetching.found_in_place(file):
        click.echo(there)
        return
    file = file.located(address)
    click.echo(fetching.describe(file))
    if not (yes or click.confirm("Fetch it?")):
        click.echo("nothing was fetched")
        sys.exit(1)
    click.echo(fetching.fetch(file))


def model_folder(model: Path) -> Path:
    """Folder of a family: a path as it is, or RUN/FAMILY for `results/RUN/families/FAMILY`."""
    from helpers.workbook.run import RESULTS

    places = [model, model.parent / "families" / model.name, RESULTS / model.parent / "families" / model.name]
    return next((place for place in places if (place / "family.json").is_file()), model)


def main() -> None:
    """Run the command; an error that a user can act on is one line and exit code 2."""
    try:
        workbook(prog_name="workbook")
    except WorkbookError as error:
        click.echo(f"workbook: {error}", err=True)
        sys.exit(2)
