"""Lists of single hits, as `write_any_selection` writes them, without a stack."""

import numpy as np
import pandas as pd

from helpers.system import write_csv


def write_selection(path, *, file, patterns, event_ids, scores, selected):
    columns = {
        "file": str(file),
        "index": patterns,
        "event_id": "" if event_ids is None else event_ids,
        "score": scores,
        "single": np.asarray(selected).astype(int),
    }
    write_csv(path, pd.DataFrame(columns))
