"""Online classification: every pattern scored once, through kills of writer and classifier; what is said of it."""

import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from helpers.classification import OnlineClassification, follow, load_family, score_stack
from helpers.classification.online.command import BETWEEN_LINES_S, BETWEEN_PROBLEMS_S, rates, steps
from helpers.classification.online.score_log import ScoreLog, known_patterns
from helpers.classification.online.scoring import Batch, Tally
from helpers.errors import LockedError, MissingStepError, PatternFileError
from helpers.patterns import Known, NewPatterns, ReadOptions, open_stack
from helpers.preparation import are_hits, lit_pixels
from helpers.simulation import beamline
from helpers.workbook.commands import workbook

PATIENCE_S = 90


def new_patterns(path, patterns, *, refused=None):
    """Patterns without light."""
    patterns = np.asarray(patterns)
    refused = refused or {}
    return NewPatterns(
        path,
        patterns,
        [f"shot {pattern}" for pattern in patterns],
        np.zeros(len(patterns)),
        np.zeros((len(patterns) - len(refused), 4, 6), np.float32),
        refused,
        np.zeros((4, 6), bool),
    )


def written(path, *, shots=None):
    """The scores in a log, and a check that each pattern of the file is there once."""
    table = pd.read_csv(path, skiprows=1)
    assert list(table["index"]) == list(range(len(table) if shots is None else shots))
    return table


def run_until(process, line):
    """Lines that a process has printed, up to one that begins so."""
    lines = []
    for printed in process.stdout:
        lines.append(printed.rstrip())
        if printed.startswith(line):
            return lines
    raise AssertionError(lines)


def classify(*arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "helpers", "classify", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_scores_are_those_of_the_whole_file_and_the_selection_follows_from_them(twin, model, tmp_path):
    copy = shutil.copy(twin, tmp_path / "twin.cxi")
    line = follow(copy, model, output=tmp_path / "s.csv", threshold=0.0, stop_after=2.0)
    trained = load_family(model)
    with open_stack(twin) as stack:
        wanted = score_stack(stack, trained)
        hits = are_hits(lit_pixels(stack.read(slice(None)), stack.mask)).sum()
        ids = stack.event_ids
    log = written(tmp_path / "s.scores.csv", shots=len(wanted))
    np.testing.assert_allclose(
        log.filter(like="iteration_"), wanted.drop(columns="pattern"), rtol=1e-4, atol=1e-6
    )  # batches of another size add up in another order
    selection = pd.read_csv(tmp_path / "s.csv")
    assert list(selection) == ["file", "index", "event_id", "score", "single"]
    assert set(selection["file"]) == {str(copy)}
    assert list(selection["event_id"]) == list(ids)
    np.testing.assert_allclose(selection["score"], log.filter(like="iteration_").min(axis=1))
    assert (selection["single"] == (selection["score"] > 0)).all()
    assert f"{len(wanted)} patterns scored ({len(wanted)} patterns in this run): {hits / len(wanted):.1%} hits" in line
    assert line.startswith("no new patterns for 2 s; ")
    again = follow(copy, model, output=tmp_path / "s.csv", threshold=1.0, stop_after=2.0)
    assert f"{len(wanted)} patterns scored (0 patterns in this run)" in again
    assert pd.read_csv(tmp_path / "s.csv")["single"].sum() == 0
    written(tmp_path / "s.scores.csv", shots=len(wanted))


def test_classifier_and_writer_are_killed_and_every_pattern_is_scored_once(twin, model, tmp_path):
    live = tmp_path / "live.cxi"
    given = (live, "--model", model, "--follow", "--output", "s.csv")
    log = tmp_path / "s.scores.csv"

    def lines():
        return log.read_bytes().count(b"\n") - 2 if log.exists() else 0

    def wait_for(wanted):
        end = time.monotonic() + PATIENCE_S
        while lines() < wanted and time.monotonic() < end:
            time.sleep(0.05)
        return lines()

    with beamline(twin, live, rate=20, shots=100_000) as writer:
        with classify(*given, cwd=tmp_path) as first:
            assert wait_for(10) >= 10
            first.kill()
        kept = lines()
        with log.open("ab") as stream:
            stream.write(b"/a/half/line,0,1")  # as a kill in the middle of writing leaves it
        writer.kill()
        writer.wait()
    with h5py.File(live, "r", swmr=True, locking=False) as file:
        before = len(file["entry_1/image_1/event_id"])
    with classify(*given, cwd=tmp_path) as second:
        assert run_until(second, "going on after")[-1] == f"going on after {kept} patterns in s.scores.csv"
        with beamline(twin, live, rate=20, shots=20):
            assert wait_for(before + 20) == before + 20
        second.terminate()
        assert f"ended by SIGTERM; {before + 20} patterns scored" in second.communicate(timeout=PATIENCE_S)[0]
        assert second.returncode == 0
    table = written(log, shots=before + 20)
    assert list(table["event_id"]) == list(range(before + 20))
    assert list(pd.read_csv(tmp_path / "s.csv")["index"]) == list(range(before + 20))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_the_selection_and_one_line(twin, model, tmp_path, number):
    live = tmp_path / "live.cxi"
    with (
        beamline(twin, live, rate=20, shots=100_000),
        classify(live, "--model", model, "--follow", "--output", "s.csv", cwd=tmp_path) as process,
    ):
        run_until(process, "following")
        end = time.monotonic() + PATIENCE_S
        while (tmp_path / "s.scores.csv").read_bytes().count(b"\n") < 5 and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(number)
        (line,) = process.communicate(timeout=PATIENCE_S)[0].splitlines()[-1:]
        assert process.returncode == 0
    assert line.startswith(f"ended by {number.name}; ")
    selection = pd.read_csv(tmp_path / "s.csv")
    written(tmp_path / "s.scores.csv", shots=len(selection))
    assert f"; {len(selection)} patterns scored" in line


def test_a_folder_of_files_with_a_bad_pattern_goes_on_and_says_which(twin, model, tmp_path, capsys):
    folder = tmp_path / "run_17"
    folder.mkdir()
    for name in ("a.cxi", "b.cxi"):
        shutil.copy(twin, folder / name)
    with h5py.File(folder / "b.cxi", "r+") as file:
        counts = file["entry_1/image_1/data"]
        counts[1] = 60_000
        patterns = len(counts)
    line = follow(folder, model, output=tmp_path / "s.csv", stop_after=2.5)
    printed = capsys.readouterr().out
    assert printed.count("not scored: ") == 1
    assert f"not scored: {folder / 'b.cxi'}: entry_1/image_1/data has values that cannot be photon counts" in printed
    assert f"{2 * patterns - 1} patterns scored" in line
    assert "1 not scored" in line
    selection = pd.read_csv(tmp_path / "s.csv").set_index(["file", "index"])
    assert len(selection) == 2 * patterns
    bad = selection.loc[(str(folder / "b.cxi"), 1)]
    assert np.isnan(bad["score"])
    assert bad["single"] == 0
    assert selection["score"].isna().sum() == 1


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def online(model, tmp_path):
    with OnlineClassification(tmp_path / "live.cxi", model, log=tmp_path / "log.csv", clock=Clock()) as found:
        yield found


def test_what_cannot_be_read_is_said_once(online, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    lines, dues = [], []
    for is_due in steps(online, say=lines.append, stop_after=3 * BETWEEN_LINES_S):
        dues.append(is_due)
        assert bool(lines) == (online.clock.now >= 100 + BETWEEN_PROBLEMS_S)
        online.clock.now += BETWEEN_LINES_S / 2
    assert dues == [False, False, True, False, True, False, True]
    assert lines == [f"cannot be read now: {online.following.where}: No such file or directory"]


def test_a_reason_that_differs_in_its_numbers_only_is_said_once(online, monkeypatch):
    """A file that is copied while one follows it: it holds more bytes at each look."""
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    lines = []
    for number, _ in enumerate(steps(online, say=lines.append, stop_after=6 * BETWEEN_PROBLEMS_S)):
        online.following.problems = {"a.cxi": f"is cut short, {number} of 90 bytes" if number < 4 else "is busy"}
        online.clock.now += BETWEEN_PROBLEMS_S
    named = [line for line in lines if "a.cxi" in line]
    assert [line.partition("a.cxi: ")[2].partition(",")[0] for line in named] == ["is cut short", "is busy"]


def test_what_waits_is_in_the_line_on_rates(twin, model, tmp_path):
    waiting = []
    for name in ("a.cxi", "b.cxi"):
        settled = time.time() - 2
        os.utime(shutil.copy(twin, tmp_path / name), (settled, settled))
    with OnlineClassification(tmp_path, model, log=tmp_path / "log.csv") as online:
        online.following.most = 30
        while online.total.scored < 88:
            assert online.step() is not None
            waiting.append(rates(online).split("; ")[-1])
    names = ["14 patterns and 1 files", "0 patterns and 1 files", "14 patterns", "0 patterns"]
    assert waiting == [f"{name} wait" for name in names]


def test_rates_are_those_of_the_last_seconds(online):
    online.clock.now += 60
    online.total = Tally(scored=500, refused=2, hits=400, selected=90)
    online.batches.append(Batch(online.clock() - 60, Tally(scored=300), np.full(300, 9.0), {}, "live.cxi"))
    online.batches.append(Batch(online.clock() - 5, Tally(200, 0, 100, 50), np.full(200, 0.04), {}, "live.cxi"))
    expected = (
        "500 patterns, 20/s; hits 50.0%, single hits 25.0% (5.0/s); median delay 40 ms; 0 patterns wait; 2 not scored"
    )
    assert rates(online) == expected


def test_a_log_goes_on_after_its_last_whole_line(tmp_path):
    path = tmp_path / "log.csv"
    given = {"scores": np.array([[0.25, 0.5], [1 / 3, 0.75]], np.float32), "lit_pixels": np.array([7, 600])}
    log = ScoreLog(path, model={"family": "a"}, iterations=[2, 4])
    log.append(new_patterns(tmp_path / "a, b.cxi", [0, 1, 2], refused={1: 'has "NaN", 3'}), **given, scored_at=1.5)
    log.close()
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        log = ScoreLog(path, model={"family": "a"}, iterations=[2, 4])
        lines = max(0, whole[:cut].count(b"\n") - 2)
        assert len(log.table()) == lines
        log.close()
    path.write_bytes(whole)
    log = ScoreLog(path, model={"family": "a"}, iterations=[2, 4])
    table = log.table()
    np.testing.assert_array_equal(table.loc[[0, 2], ["iteration_000002", "iteration_000004"]], given["scores"])
    assert list(table["refused"]) == ["", 'has "NaN", 3', ""]
    assert np.isnan(table.loc[1, "iteration_000002"])
    log.append(new_patterns(tmp_path / "c.cxi", [0, 1]), **given, scored_at=2.0)
    assert known_patterns(log.table()) == {
        str(tmp_path / "a, b.cxi"): Known(3, "shot 2"),
        str(tmp_path / "c.cxi"): Known(2, "shot 1"),
    }
    with pytest.raises(LockedError, match=r"log\.csv is in use by process"):
        ScoreLog(path, model={"family": "a"}, iterations=[2, 4])
    log.close()
    with pytest.raises(MissingStepError, match="scores of another model; choose another --output"):
        ScoreLog(path, model={"family": "b"}, iterations=[2, 4])
    path.write_text("index,score\n")
    with pytest.raises(PatternFileError, match="is not a log of scores"):
        ScoreLog(path, model={"family": "a"}, iterations=[2, 4])
    assert path.read_text() == "index,score\n"


def test_the_latest_single_hits_can_be_gone_back_to(twin, model, tmp_path):
    with OnlineClassification(twin, model, log=tmp_path / "log.csv", threshold=0.0) as online:
        while online.step() is None:
            time.sleep(0.05)
        while online.step() is not None:
            pass
        assert len(online.latest) == 12
        assert online.histogram.sum() == online.total.scored == online.total.selected
        with open_stack(twin) as stack:
            for hit in online.latest:
                assert hit.file == str(twin)
                assert hit.event_id == str(stack.event_ids[hit.pattern])
                np.testing.assert_array_equal(hit.counts, stack.read(np.array([hit.pattern]))[0])


def test_a_selection_of_followed_patterns_is_a_list(model, tmp_path):
    with pytest.raises(PatternFileError, match=r"s\.emc: while patterns are followed a selection is a list"):
        follow(tmp_path / "a.cxi", model, output=tmp_path / "s.emc")
    assert list(tmp_path.iterdir()) == []


def test_the_command_hands_on_what_it_is_given(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr("helpers.classification.follow", lambda *given, **named: calls.append((given, named)) or "done")
    arguments = ["classify", "runs", "--model", str(tmp_path), "--follow", "--stop-after", "5", "--nan-as-zero"]
    done = CliRunner().invoke(workbook, arguments, catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, "done\n")
    ((given, named),) = calls
    assert [str(one) for one in given] == ["runs", str(tmp_path)]
    assert named == {"stop_after": 5.0, "options": ReadOptions(nan_as_zero=True)}
    done = CliRunner().invoke(workbook, ["classify", "a.cxi", "--model", str(tmp_path), "--stop-after", "5"])
    assert (done.exit_code, "--stop-after goes with --follow" in done.output) == (2, True)
