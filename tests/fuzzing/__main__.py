"""Run the whole corpus, or that of some readers, and print what came of it: `python tests/fuzzing [READER ...]`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzzing import harness


def main(parts: list[str]) -> int:
    """Print the table and each failure; 1 if there is any."""
    from tests.fuzzing.readers import READERS

    chosen = [name for name in READERS if not parts or any(part in name for part in parts)]
    outcomes = harness.run(harness.corpus(chosen))
    failures = [outcome for outcome in outcomes if outcome.failure]
    for outcome in sorted(failures, key=lambda one: one.job):
        took = f"{outcome.seconds:.1f} s, {outcome.mebibytes:.0f} MiB"
        print(outcome.failure, outcome.job, outcome.mutation, took, outcome.told, sep=" | ")
    print(harness.table(outcomes))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
