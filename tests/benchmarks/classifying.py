"""Classifying on the CPU, from a file to the verdicts, beside the rate of LCLS; networks.py has the networks alone."""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from demo_family import train_demo_family
from record import record

from helpers.classification.files import classify_file
from helpers.patterns import open_stack
from helpers.simulation import simulate

LCLS_HZ = 120


def file_to_verdict(options: argparse.Namespace, twin: Path, folder: Path) -> None:
    """Patterns a second of `workbook classify` under the families of the demo profile, five checkpoints each."""
    with open_stack(twin) as stack:
        patterns = len(stack)
    for network in ("yolov2", "yolov3"):
        model = train_demo_family(twin, folder, f"{network}-jet-linear")
        taken = []
        for _ in range(options.rounds):
            began = {"seconds": time.perf_counter(), "processor_seconds": time.process_time()}
            classify_file(twin, model, output=folder / "selection.csv")
            ended = {"seconds": time.perf_counter(), "processor_seconds": time.process_time()}
            taken.append(ended[options.clock] - began[options.clock])
        name = f"demo family {network}, patterns/s beside LCLS {LCLS_HZ} Hz"
        record(name=name, ours=patterns / median(taken), peer=LCLS_HZ, unit="1/s", wanted=1, better="more")


def main() -> None:
    """Simulate, measure, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patterns", type=int, default=1000)
    parser.add_argument("--processor-time", action="store_true", help="instead of wall time")
    options = parser.parse_args()
    options.clock = "processor_seconds" if options.processor_time else "seconds"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder / "twin.cxi", patterns=options.patterns, outside=(0, 0), seed=3)
        file_to_verdict(options, folder / "twin.cxi", folder)


if __name__ == "__main__":
    main()
