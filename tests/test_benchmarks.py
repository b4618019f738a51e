"""The table that the benchmark scripts share."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).with_name("benchmarks")


@pytest.fixture
def record(monkeypatch, tmp_path):
    spec = importlib.util.spec_from_file_location("record", FOLDER / "record.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PATH", tmp_path / "benchmarks.csv")
    return module


def test_rows_are_kept_and_a_later_run_replaces_its_own(record, capsys):
    record.record(name="sizing", ours=2.0, peer=30.0, unit="s", wanted=10)
    record.record(name="agreement", ours=0.99, peer=1.0, unit="share", wanted=0.95, better="more")
    record.record(name="sizing", ours=1.0, peer=30.0, unit="s", wanted=10)
    table = pd.read_csv(record.PATH).set_index("name")
    assert list(table) == ["ours", "peer", "unit", "ratio", "wanted"]
    assert table["ratio"].to_dict() == pytest.approx({"agreement": 0.99, "sizing": 30.0})
    assert "ratio 30, wanted 10" in capsys.readouterr().out


def test_the_table_is_where_make_bench_looks(record):
    spec = (FOLDER / "record.py").read_text()
    assert '"results" / "benchmarks" / "benchmarks.csv"' in spec
    assert record.COLUMNS == ["name", "ours", "peer", "unit", "ratio", "wanted"]
