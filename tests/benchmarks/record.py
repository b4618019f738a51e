"""Where all benchmarks write: results/benchmarks/benchmarks.csv, one row a name; a later run replaces its rows."""

from typing import Literal

import pandas as pd

from helpers import ROOT
from helpers.system import write_csv

PATH = ROOT / "results" / "benchmarks" / "benchmarks.csv"
COLUMNS = ["name", "ours", "peer", "unit", "ratio", "wanted"]


def record(
    *, name: str, ours: float, peer: float, unit: str, wanted: float, better: Literal["less", "more"] = "less"
) -> dict[str, object]:
    """Print and keep one row.

    Parameters
    ----------
    name
        What was measured.
    ours, peer
        The two numbers.
    unit
        Of both.
    wanted
        The ratio that is a pass: so many times better than the peer.
    better
        Whether less (seconds) or more (a share) is better.

    Returns
    -------
    dict
        The row; `ratio` is how many times ours is better.
    """
    ratio = peer / ours if better == "less" else ours / peer
    row = {"name": name, "ours": ours, "peer": peer, "unit": unit, "ratio": ratio, "wanted": wanted}
    known = pd.read_csv(PATH) if PATH.is_file() else pd.DataFrame(columns=COLUMNS)
    rows = [*known[known["name"] != name].to_dict("records"), row]
    write_csv(PATH, pd.DataFrame(rows, columns=COLUMNS))
    print(f"{name}: ours {ours:.4g}, peer {peer:.4g} {unit}; ratio {ratio:.3g}, wanted {wanted:g}", flush=True)
    return row
