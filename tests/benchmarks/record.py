"""The results of the benchmarks, one row a measurement: results/benchmarks/benchmarks.csv."""

import pandas as pd

from helpers import ROOT
from helpers.files import write_csv

PATH = ROOT / "results" / "benchmarks" / "benchmarks.csv"
_LESS_IS_BETTER = ("s", "ms", "GB")


def record(*, name: str, ours: float, peer: float, unit: str, wanted: float) -> None:
    """Print a measurement and put its row into the table, in place of an earlier one of the same name.

    Parameters
    ----------
    name
        Of what was measured.
    ours, peer
        In `unit`.
    unit
        For time and memory the ratio is peer over ours, for everything else ours over peer.
    wanted
        The least ratio that passes.
    """
    ratio = peer / ours if unit in _LESS_IS_BETTER else ours / peer
    row = pd.DataFrame([{"name": name, "ours": ours, "peer": peer, "unit": unit, "ratio": ratio, "wanted": wanted}])
    if PATH.is_file():
        known = pd.read_csv(PATH)
        row = pd.concat([known[known["name"] != name], row])
    write_csv(PATH, row.sort_values("name"))
    verdict = "passes" if ratio >= wanted else "FAILS"
    print(f"{name}: ours {ours:.4g} {unit}, peer {peer:.4g} {unit}, ratio {ratio:.4g}, wanted {wanted:g}: {verdict}")
