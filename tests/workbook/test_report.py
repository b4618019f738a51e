import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from helpers.workbook.report import write_report
from helpers.workbook.tables import shown, to_html

RECORD = {
    "profile": {"name": "demo"},
    "seed": 7,
    "data": {"file": "twin_demo.cxi", "sha256": "ab" * 32, "simulated": True},
    "labels": None,
    "software": {"single-hit-workbook": "0.1.0", "commit": "c0ffee", "dirty": True},
    "versions": {"python": "3.11", "torch": "2.13.0"},
    "hardware": {"processor": "P", "cores": 2, "threads": 2, "memory_gib": 8.0, "gpu": None, "system": "Linux x86_64"},
    "steps": {"01_look": {"seconds": 12.2}, "02_count": {"seconds": 173.0}},
}
TABLES = {
    "table_1": pd.DataFrame({"set": ["size range", "test"], "patterns": [2500, 2130]}),
    "table_3": pd.DataFrame({"family": ["yolov2-jet-linear", "yolov3-jet-linear"], "stable": [210, 180]}),
    "table_4": pd.DataFrame(
        {
            "family": ["yolov2-jet-linear", "yolov2-jet-linear", "yolov3-jet-linear", "never-single"],
            "reference": ["manual", "truth", "truth", "truth"],
            "f1": [0.9, 0.61, 0.74, 0.99],
        }
    ),
    "agreement": pd.DataFrame({"iou": [0.5]}),
}


@pytest.fixture
def folder(tmp_path):
    """A run's folder with made-up tables, a wide and a narrow figure, and a notebook."""
    (tmp_path / "run.json").write_text(json.dumps(RECORD))
    for name in ("tables", "figures", "selections"):
        (tmp_path / name).mkdir()
    for name, table in TABLES.items():
        table.to_csv(tmp_path / "tables" / f"{name}.csv", index=False)
        (tmp_path / "tables" / f"{name}.html").write_text(to_html(table, shown(table), f"About {name}."))
    for name, size in {"figure_10": (3, 3), "figure_2": (6, 2), "figure_spread": (3, 3)}.items():
        figure = plt.figure(figsize=size)
        figure.savefig(tmp_path / "figures" / f"{name}.png", dpi=200)
        plt.close(figure)
        (tmp_path / "figures" / f"{name}.json").write_text(json.dumps({"caption": f"<About> {name}."}))
    notebook = {"cells": [{"cell_type": "markdown", "source": ["# Look at patterns\n", "text"]}]}
    (tmp_path / "01_look.ipynb").write_text(json.dumps(notebook))
    (tmp_path / "01_look.html").write_text("")
    (tmp_path / "selections" / "yolov2-jet-linear.csv").write_text("")
    return tmp_path


def page(folder):
    return write_report(folder).read_text(encoding="utf-8")


def test_the_summary_is_computed_from_the_tables(folder):
    text = page(folder)
    for value, name in {
        "2,500": "patterns",
        "2": "families of models",
        "0.74": "best F₁ against the truth",
        "3 min 5 s": "total time",
    }.items():
        assert f'<dt>{name}</dt><dd class="value">{value}</dd>' in text
    assert "YOLOv3 color, linear" in text


def test_without_a_truth_the_manual_selection_is_the_reference(folder):
    TABLES["table_4"].head(1).to_csv(folder / "tables" / "table_4.csv", index=False)
    assert '<dt>best F₁ against the manual selection</dt><dd class="value">0.90</dd>' in page(folder)


def test_simulated_data_are_labelled_and_measured_ones_are_not(folder):
    assert "<strong>Simulated data</strong>" in page(folder)
    (folder / "run.json").write_text(json.dumps({**RECORD, "data": {**RECORD["data"], "simulated": False}}))
    assert "Simulated data" not in page(folder)
    assert "(simulated)" not in page(folder)


def test_the_papers_tables_and_figures_come_first_and_in_order(folder):
    text = page(folder)
    places = [text.index(f'id="{name}"') for name in ("table_1", "table_3", "table_4", "figure_2", "figure_spread")]
    assert places == sorted(places)
    assert text.index('id="further"') < text.index('id="figure_10"') < text.index('id="figure_spread"')
    assert text.index('id="further"') < text.index('id="agreement"')


def test_wide_figures_take_the_whole_width_and_narrow_ones_stand_in_pairs(folder):
    text = page(folder)
    assert '<figure id="figure_2" class="wide">' in text
    assert '<figure id="figure_10">' in text
    assert '<figure id="figure_spread">' in text
    (folder / "figures" / "figure_10.png").unlink()
    assert '<figure id="figure_spread" class="alone">' in page(folder)


def test_captions_are_text_under_a_heading_from_the_name(folder):
    text = page(folder)
    assert "<b>Figure 2.</b> &lt;About&gt; figure_2." in text
    assert "<b>Spread.</b>" in text
    assert "<h3>Agreement</h3>" in text


def test_notebooks_are_linked_by_their_titles(folder):
    assert '<a href="01_look.html">Look at patterns</a> <span class="time">12 s</span>' in page(folder)


def test_provenance_names_data_commit_versions_and_times(folder):
    text = page(folder)
    for part in ("ab" * 32, "c0ffee and local changes", "2.13.0", "<th>02_count</th><td>2 min 53 s</td>"):
        assert part in text


def test_each_table_and_figure_names_the_step_that_wrote_it_and_that_step_what_it_read(folder):
    made_with = {name: RECORD[name] for name in ("software", "versions", "hardware", "seed", "data")}
    entry = {"seconds": 173.0, **made_with, "reads": {"families/<b>/scores.csv": "cd" * 32}}
    entry["writes"] = {
        "tables/table_1.csv": "12" * 32,
        "tables/table_1.tex": "34" * 32,
        "figures/figure_2.png": "56" * 32,
    }
    (folder / "run.json").write_text(json.dumps(RECORD | {"steps": {**RECORD["steps"], "02_count": entry}}))
    text = page(folder)
    step = '<td><a href="#step_02_count">02_count</a></td>'
    for name, heading, checksum in (("table_1", "Table 1", "12" * 32), ("figure_2", "Figure 2", "56" * 32)):
        file = f"tables/{name}.csv" if heading[0] == "T" else f"figures/{name}.png"
        row = f'<td><a href="#{name}">{heading}</a></td><td>{file}</td>{step}<td class="code">{checksum}</td>'
        assert row in text
    assert '<details id="step_02_count">' in text
    assert "<summary>02_count: commit c0ffee and local changes, 2 min 53 s on P</summary>" in text
    assert f'<td>families/&lt;b&gt;/scores.csv</td><td class="code">{"cd" * 32}</td>' in text
    assert 'id="step_01_look"' not in text  # it tells nothing of what it read


def test_the_page_needs_nothing_from_the_network(folder):
    text = page(folder)
    assert "http" not in text
    assert "<script" not in text
    assert "@import" not in text


def test_every_link_leads_to_a_file(folder):
    links = [part.split('"')[0] for part in page(folder).replace('src="', 'href="').split('href="')[1:]]
    missing = {link for link in links if not (folder / link).exists()}
    assert missing == {f"tables/{name}.tex" for name in TABLES}  # which this test has not written


def test_an_empty_folder_has_a_page_too(tmp_path):
    assert "Nothing has been computed yet." in page(tmp_path)


def test_a_long_run_is_told_in_hours(folder):
    (folder / "run.json").write_text(json.dumps({**RECORD, "steps": {"04": {"seconds": 7815.0}}}))
    assert '<dt>total time</dt><dd class="value">2 h 10 min</dd>' in page(folder)
