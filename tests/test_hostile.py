"""Files and names that were made to do harm: no code runs, nothing is written elsewhere, no name is a command."""

import ast
import functools
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import requests
import safetensors.torch
import torch
import yaml
from click.testing import CliRunner

from helpers import ROOT
from helpers.em.runs import read_state
from helpers.errors import DownloadError, NetworkFileError, PatternFileError, ProfileError
from helpers.patterns import describe, open_stack, probe, write_any_selection
from helpers.system import load_tensors, save_tensors, write_csv
from helpers.training import load_network, load_ultralytics
from helpers.training.ultralytics_networks import described
from helpers.workbook import Run, commands, fetch, load_profile, staleness
from helpers.workbook.notebook_page import write_page
from helpers.workbook.report import write_report
from helpers.workbook.runner import run_workbook
from helpers.workbook.tables import shown, to_html, to_latex
from tests.fuzzing.checkpoint_mutations import Payload

CPU = torch.device("cpu")
SCRIPT = "<script>alert('x')</script>"
NAMES = [
    "a; touch pwned.cxi",
    "$(touch pwned).cxi",
    "`touch pwned`.cxi",
    'it\'s "quoted".cxi',
    "two\nlines.cxi",
    "-rf.cxi",
    "$HOME.cxi",
    "{a,b}*?.cxi",
    "%s%n.cxi",
    f"{SCRIPT.replace('/', '|')}.cxi",
]


@pytest.fixture
def workbook(tmp_path, monkeypatch):
    """Run the command in a folder of its own, which must hold afterwards what it held before."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(commands.workbook, [*map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize("load", [load_tensors, load_network, load_ultralytics, read_state])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_that_would_run_a_command_is_refused_and_runs_none(tmp_path, load, zipped):
    mark = tmp_path / "pwned"
    content = {"weights": Payload(mark), "model": "yolo11n.yaml", "sections": []}
    torch.save(content, tmp_path / "hostile.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(NetworkFileError, match=r"hostile\.pt: not a checkpoint"):
        load(tmp_path / "hostile.pt", CPU)
    assert not mark.exists()
    assert torch.load(tmp_path / "hostile.pt", weights_only=False) is not None  # the payload is real
    assert mark.exists()


def test_the_description_of_a_model_in_a_checkpoint_is_not_evaluated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call = f"__import__('os').system('touch {tmp_path / 'pwned'}')"
    network = {"nc": 1, "activation": call, "backbone": [[-1, 1, "Conv", [8, 3, 2]]], "head": []}
    Path("evil.yaml").write_text(yaml.safe_dump(network))
    Path("yolo11n.yaml").write_text(yaml.safe_dump(network))
    for model in (network, "evil.yaml", str(tmp_path / "evil.yaml"), "../evil.yaml", "http://127.0.0.1:9/evil.yaml", 3):
        save_tensors(tmp_path / "hostile.safetensors", {"model": model, "weights": {}})
        with pytest.raises(NetworkFileError, match=r"hostile\.safetensors: its weights do not fit"):
            load_ultralytics(tmp_path / "hostile.safetensors", CPU)
    assert described("yolo11n.yaml")["scale"] == "n"  # the package's own, not the one in the working directory
    assert "activation" not in described("yolo11n.yaml")
    assert not Path("pwned").exists()


def test_a_bit_that_flipped_in_the_weights_is_noticed(tmp_path):
    save_tensors(tmp_path / "a.safetensors", {"weights": torch.ones(500)})
    content = bytearray((tmp_path / "a.safetensors").read_bytes())
    content[content.find(torch.ones(500).numpy().tobytes()) + 99] ^= 1
    (tmp_path / "a.safetensors").write_bytes(content)
    assert safetensors.torch.load_file(tmp_path / "a.safetensors")["weights"].sum() != 500  # safetensors does not look
    with pytest.raises(NetworkFileError, match="its checksum is wrong"):
        load_tensors(tmp_path / "a.safetensors", CPU)


def test_a_profile_that_would_run_a_command_is_refused_and_runs_none(tmp_path):
    text = (ROOT / "helpers" / "profiles" / "demo.yaml").read_text(encoding="utf-8")
    for tag in ("os.system", "subprocess.check_output"):
        call = f"!!python/object/apply:{tag} ['touch {tmp_path / 'pwned'}']"
        (tmp_path / "hostile.yaml").write_text(re.sub(r"^name: .*$", f"name: {call}", text, flags=re.MULTILINE))
        with pytest.raises(ProfileError, match=r"hostile\.yaml is not YAML as it is read here"):
            load_profile(tmp_path / "hostile.yaml")
    assert not (tmp_path / "pwned").exists()


def test_nothing_in_the_package_unpickles_evaluates_or_asks_a_shell():
    forbidden = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pickle.load", "pickle.loads"}
    forbidden |= {
        "os.system",
        "os.popen",
        "pd.read_pickle",
        "torch.load",
        "joblib.load",
        "marshal.loads",
        "shelve.open",
    }
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "helpers").rglob("*.py")}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources[path] = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    calls = [
        (path.name, ast.unparse(node.func), [keyword.arg for keyword in node.keywords], ast.unparse(node))
        for path, text in sources.items()
        for node in ast.walk(ast.parse(re.sub(r"^\s*[%!].*$", "", text, flags=re.MULTILINE)))
        if isinstance(node, ast.Call)
    ]
    assert len(calls) > 1000
    assert [call for call in calls if call[1] in forbidden or "shell" in call[2]] == []
    assert all("allow_pickle=False" in call[3] for call in calls if call[1] == "np.load")


@pytest.mark.parametrize("name", NAMES)
def test_no_file_name_is_a_command_for_info(tmp_path, workbook, write_patterns, name):
    write_patterns(tmp_path / name, title=f"a title; touch pwned $x$ {SCRIPT}")
    done = workbook("info", "--picture", "out.png", "--", name)
    assert done.exit_code == 0, done.output
    assert "patterns   3 of 4 rows" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "out.png"])


def test_no_file_name_is_a_command_for_classify(tmp_path, workbook, twin, model):
    for name in NAMES[:5]:
        os.link(twin, tmp_path / name)
        done = workbook("classify", "--model", model, "--", name)
        assert done.exit_code == 0, done.output
        written = tmp_path / f"{Path(name).stem}.{model.name}.csv"
        assert written.is_file()
        written.unlink()
        (tmp_path / name).unlink()
    assert list(tmp_path.iterdir()) == []


def test_no_file_name_is_a_command_or_code_for_a_notebook(tmp_path, monkeypatch, write_patterns):
    monkeypatch.chdir(tmp_path)
    names = ["a; touch pwned.cxi", "$(touch pwned).cxi", 'it\'s """ + str(open(\'pwned\', \'w\')) + """ \\.cxi']
    notebooks, data = tmp_path / "notebooks", tmp_path / "data"
    notebooks.mkdir()
    data.mkdir()
    sources = (
        "profile = 'demo'\nresults = None\ndata = None",
        "from pathlib import Path\nassert Path(data).is_file()\nPath(results, 'seen.txt').write_text(data)",
    )
    code = {"cell_type": "code", "outputs": [], "execution_count": None}
    cells = [{**code, "id": f"cell{place}", "metadata": {}, "source": source} for place, source in enumerate(sources)]
    cells[0]["metadata"] = {"tags": ["parameters"]}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"workbook": {"writes": ["seen.txt"]}, "kernelspec": kernel, "language_info": {"name": "python"}}
    content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    (notebooks / "01_look.ipynb").write_text(json.dumps(content))
    for number, name in enumerate(names):
        write_patterns(data / name)
        folder = tmp_path / f"run {number}; touch pwned"
        assert run_workbook("demo", results=folder, data=data / name, notebooks=notebooks) == 0
        assert (folder / "seen.txt").read_text() == str(data / name)
    assert not list(tmp_path.rglob("pwned"))


def test_a_report_and_the_page_of_a_notebook_escape_what_comes_from_files(tmp_path):
    step = {"seconds": 3}
    record = {
        "profile": {"name": SCRIPT},
        "data": {"file": SCRIPT, "sha256": SCRIPT, "simulated": False},
        "labels": SCRIPT,
        "steps": {SCRIPT: step},
        "hardware": {"processor": SCRIPT},
        "versions": {SCRIPT: SCRIPT},
        "software": {"single-hit-workbook": SCRIPT},
        "seed": SCRIPT,
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    name = SCRIPT.replace("/", "|")
    (tmp_path / "selections").mkdir()
    (tmp_path / "selections" / f"{name}.csv").write_text("")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "figure_1.png").write_bytes(bytes(40))
    (tmp_path / "figures" / "figure_1.json").write_text(json.dumps({"caption": SCRIPT + '" onload="alert(1)'}))
    cell = {"cell_type": "markdown", "metadata": {}, "source": f"# {SCRIPT}", "id": "a"}
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "01_look.ipynb").write_text(json.dumps(content))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert '" onload="' not in page
    assert page.count("&lt;script&gt;") > 8


def test_what_a_notebook_prints_is_text_in_its_page(tmp_path):
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": SCRIPT},
        {"output_type": "execute_result", "execution_count": 1, "metadata": {}, "data": {"text/plain": SCRIPT}},
    ]
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1", "outputs": outputs, "execution_count": 1}
    content = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "01_look.ipynb").write_text(json.dumps(content))
    write_page(tmp_path / "01_look.ipynb")
    page = (tmp_path / "01_look.html").read_text(encoding="utf-8")
    assert SCRIPT not in page
    assert page.count("&lt;script&gt;") == 2


def test_a_table_escapes_the_names_in_it(tmp_path):
    table = pd.DataFrame({f"a{SCRIPT}": [SCRIPT, r"\input{/etc/passwd} $x$"]})
    assert "<script" not in to_html(table, shown(table), SCRIPT)
    assert r"\input{" not in to_latex(table, shown(table), "table_9", r"\input{x}")


def test_a_copy_with_marks_writes_nothing_into_linked_files(tmp_path, write_patterns):
    write_patterns(tmp_path / "a.cxi")
    with h5py.File(tmp_path / "victim.h5", "w") as file:
        file["group/select"] = np.arange(5)
    before = (tmp_path / "victim.h5").read_bytes()
    with h5py.File(tmp_path / "a.cxi", "r+") as file:
        file["entry_1/image_1/single_hit"] = h5py.ExternalLink("victim.h5", "/group")
    given = {"patterns": np.arange(3), "scores": np.array([0.1, 0.9, 0.5]), "selected": np.array([False, True, False])}
    with open_stack(tmp_path / "a.cxi") as stack:
        write_any_selection(tmp_path / "b.cxi", stack, **given)
    assert (tmp_path / "victim.h5").read_bytes() == before
    with h5py.File(tmp_path / "b.cxi") as file:
        assert file["entry_1/image_1/single_hit/select"][()].tolist() == [0, 1, 0]
        assert file["entry_1/image_1/single_hit"].file.filename == file.filename


def test_other_files_that_patterns_come_from_are_named_and_pipes_are_not_followed(tmp_path, write_patterns):
    (tmp_path / "elsewhere").mkdir()
    write_patterns(tmp_path / "elsewhere" / "real.cxi")
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        file["entry_1/image_1"] = h5py.ExternalLink("elsewhere/real.cxi", "/entry_1/image_1")
    assert re.search(r"from +.*elsewhere/real\.cxi", describe(tmp_path / "a.cxi"))
    os.mkfifo(tmp_path / "pipe.h5")
    for target, told in (
        ("pipe.h5", "comes to no end .* a link in it leads to a pipe"),
        ("/dev/zero", "entry_1/image_1 is a link to /dev/zero, which is no file"),
        (".", r"entry_1/image_1 is a link to \., which is no file"),
    ):
        with h5py.File(tmp_path / "b.cxi", "w") as file:
            file["entry_1/image_1"] = h5py.ExternalLink(target, "/entry_1/image_1")
        with pytest.raises(PatternFileError, match=rf"b\.cxi: .*{told}"):
            probe(tmp_path / "b.cxi", limit_s=2)


def test_raw_bytes_of_another_file_are_no_patterns(tmp_path):
    (tmp_path / "secret.txt").write_bytes(b"password" * 99)
    with h5py.File(tmp_path / "a.cxi", "w") as file:
        data = {"external": [(str(tmp_path / "secret.txt"), 0, h5py.h5f.UNLIMITED)]}
        file.create_dataset("entry_1/data_1/data", (3, 4, 6), "u1", **data)
    with pytest.raises(PatternFileError, match="lie as raw bytes in other files"):
        open_stack(tmp_path / "a.cxi")


def test_an_event_id_is_text_in_a_selection(tmp_path):
    ids = np.array(['=HYPERLINK("x")', "a,b\nc", '"', "../../x"], dtype=object)
    write_csv(tmp_path / "a.csv", pd.DataFrame({"index": np.arange(4), "event_id": ids}))
    assert pd.read_csv(tmp_path / "a.csv")["event_id"].tolist() == ids.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("target", ["../../outside.cxi", "/tmp/outside.cxi", "weights/../../outside"])
def test_a_published_file_goes_nowhere_but_below_data(tmp_path, monkeypatch, target):
    entries = yaml.safe_load(fetch.PUBLISHED.read_text(encoding="utf-8"))
    entries["darknet19"]["target"] = target
    (tmp_path / "published.yaml").write_text(yaml.safe_dump(entries))
    monkeypatch.setattr(fetch, "PUBLISHED", tmp_path / "published.yaml")
    with pytest.raises(DownloadError, match="is outside"):
        fetch.published_file("darknet19")


def test_a_stamp_deletes_nothing_outside_its_run(tmp_path):
    folder = tmp_path / "run"
    (folder / "tables").mkdir(parents=True)
    (folder / "tables" / "old.csv").write_text("")
    (tmp_path / "victim.csv").write_text("")
    staleness.write_stamp(folder / ".01.done", {}, {"tables/../../victim.csv": "a", "tables/old.csv": "b"})
    staleness.delete_tables_and_figures(folder / ".01.done", folder)
    assert (tmp_path / "victim.csv").exists()
    assert not (folder / "tables" / "old.csv").exists()


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/b", ".."])
def test_the_name_of_a_profile_leads_nowhere(tmp_path, name):
    text = (ROOT / "helpers" / "profiles" / "demo.yaml").read_text(encoding="utf-8")
    (tmp_path / "own.yaml").write_text(re.sub(r"^name: .*$", f"name: {name}", text, flags=re.MULTILINE))
    with pytest.raises(ProfileError, match="name must be a plain folder name"):
        load_profile(tmp_path / "own.yaml")


def _answer(address, **query):
    """The status that a server answers, which listens soon after it has said so."""
    for _ in range(100):
        try:
            return requests.get(address, params=query, timeout=20).status_code
        except requests.ConnectionError:
            time.sleep(0.1)
    raise TimeoutError(address)


def test_the_jupyter_server_of_make_lab_keeps_its_token(tmp_path):
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "jupyter lab" in line]
    assert lines
    assert not re.search(r"token|password|allow|ip=|NotebookApp|ServerApp|IdentityProvider", " ".join(lines))
    places = {name: str(tmp_path) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "HOME")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0", str(tmp_path)]
    environment = {**os.environ, **places}
    environment.pop("JUPYTER_TOKEN", None)
    server = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        shown = re.compile(r"(http://127\.0\.0\.1:\d+/)\S*token=(\w{40,})")
        address, token = next(match.groups() for line in server.stderr if (match := shown.search(line)))
        answer = functools.partial(_answer, f"{address}api/contents")
        assert answer() == 403
        assert answer(token=token) == 200
    finally:
        server.terminate()
        server.wait(20)
        server.stderr.close()


def test_a_run_has_no_place_for_names_from_files(tmp_path):
    run = Run(load_profile("demo"), tmp_path, tmp_path / "a.cxi", None)
    assert run.family("yolov2-jet-log").path.parent == tmp_path / "families"
