import math
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from helpers import figures
from helpers.annotation import Box
from helpers.darknet import yolov2, yolov3
from helpers.evaluation import NEVER_SINGLE, Confusion, agreement, table_4, validation_curve
from helpers.evaluation.metrics import intervals
from helpers.experiment import AMOX34117
from helpers.family import PAPER_FAMILIES, REPRESENTATIONS
from helpers.figures.comparison import no_skill_f1
from helpers.figures.curves import rate_changes
from helpers.figures.distributions import labelled_share
from helpers.figures.geometry import largest_q, photon_energy_kev
from helpers.figures.house_style import new_figure, number_twos_and_fives, photon_norm
from helpers.figures.network_stages import stages
from helpers.figures.preparation import binned_bias
from helpers.patterns import open_stack
from helpers.preparation import HitRule
from helpers.rendering import render, to_rgb
from helpers.simulation import simulate_frames

ROWS, COLUMNS = 24, 40
BOX = Box(row_start=0, row_stop=12, column_start=8, column_stop=32)


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    """Patterns that fall off from the beam, Poisson counts."""
    row, column = np.mgrid[0:ROWS, 0:COLUMNS]
    mean = 60 * np.exp(-np.hypot(row, column - COLUMNS / 2) / 6)
    return np.random.default_rng(3).poisson(mean, (6, ROWS, COLUMNS)).astype(np.float32)


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    bad = np.zeros((ROWS, COLUMNS), dtype=bool)
    bad[:3, 18:22] = True
    return bad


@pytest.fixture(scope="module")
def scored() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Truth of 300 patterns and, for each family, a score that follows it with noise."""
    generator = np.random.default_rng(5)
    truth = generator.random(300) < 0.2
    return truth, {name: np.clip(0.4 * truth + generator.uniform(0, 0.6, 300), 0, 1) for name in PAPER_FAMILIES}


@pytest.fixture(scope="module")
def losses() -> dict[str, pd.DataFrame]:
    iteration = np.arange(1, 301)
    loss = 5 + 50 * np.exp(-iteration / 40)
    table = pd.DataFrame(
        {
            "iteration": iteration,
            "loss": loss * (1 + 0.2 * np.sin(iteration)),
            "average_loss": loss,
            "learning_rate": np.where(iteration < 100, 1e-4, 1e-3),
        }
    )
    return dict.fromkeys(PAPER_FAMILIES[:4], table)


@pytest.fixture(scope="module")
def curves(scored) -> dict[str, pd.DataFrame]:
    truth, scores = scored
    return {
        name: validation_curve(
            pd.DataFrame({f"iteration_{k:06d}": score * k / 300 for k in (100, 200, 300)}), truth, 0.3
        )
        for name, score in list(scores.items())[:4]
    }


@pytest.fixture(scope="module")
def compared(scored) -> pd.DataFrame:
    """Table 4 against two references, with intervals."""
    truth, scores = scored
    references = {"manual": truth & (np.arange(300) % 2 == 0), "truth": truth}
    selections = {name: score > 0.5 for name, score in scores.items()}
    table = table_4(selections, references)
    none = np.zeros(300, dtype=bool)
    bounds = [
        intervals(Confusion.from_selection(selections.get(row.family, none), references[row.reference]), seed=1)["f1"]
        for row in table.itertuples()
    ]
    return table.assign(f1_lower=[low for low, _ in bounds], f1_upper=[high for _, high in bounds])


@pytest.fixture(scope="module")
def networks():
    """The published architectures with few filters; sides and layers are those of the full networks."""
    generator = torch.Generator().manual_seed(0)
    return [build(width=0.05, generator=generator) for build in (yolov2, yolov3)]


def texts(figure: Figure) -> list[str]:
    """Everything that is written in a figure."""
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def panel_letters(figure: Figure) -> list[str]:
    """(a), (b), … in the order of the panels."""
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    return [title.split()[0] for title in titles if title.startswith("(")]


def bars(figure: Figure) -> list:
    return [axes for axes in figure.axes if axes.get_label() == "<colorbar>"]


def has_numbers(axis: matplotlib.axis.Axis) -> bool:
    """Whether an axis shows numbers, which need a name and a unit."""
    shown = [label.get_text() for label in axis.get_ticklabels() if label.get_visible()]
    return any(text[0] in "0123456789$" for text in shown if text)


def assert_nothing_is_clipped(figure: Figure) -> None:
    """What is drawn, labels included, ends on the page (to a hundredth of an inch)."""
    page, drawn = figure.bbox_inches, figure.get_tightbbox()
    assert drawn.x0 >= -0.01
    assert drawn.y0 >= -0.01
    assert drawn.x1 <= page.width + 0.01
    assert drawn.y1 <= page.height + 0.01


def class_figures() -> list[Figure]:
    """Those of EM classification: three classes, one of them empty."""
    pictures = np.random.default_rng(1).random((3, 4, 15, 15))
    pictures[..., 6:9, 6:9] = np.nan
    profiles = np.geomspace(5, 0.1, 12) * np.array([[1.0], [2.0], [np.nan]])
    return [
        figures.classes_figure(pictures[:, 0], ["0: 5", "1: 7", "2: 0"], chosen=[1], columns=2),
        figures.evolution_figure(pictures, [0, 1, 2, 4], ["class 0", "class 1", "class 2"]),
        figures.convergence_figure([[-900.0, -500.0, -490.0], [-910.0, -480.0]], [[30, 4, 0], [30, 0]]),
        figures.rings_figure(np.arange(12), profiles, [0], profiles[:2]),
    ]


def test_every_figure_is_labelled_and_fits_its_page(counts, mask, losses, curves, compared, scored, networks):
    truth, scores = scored
    drawn = [
        figures.figure_1(AMOX34117),
        figures.figure_2(*networks),
        figures.figure_3(counts[0], render(counts[:1], REPRESENTATIONS[0], 64)[0].numpy(), mask=mask),
        figures.figure_4(to_rgb(counts[0], REPRESENTATIONS[0]), to_rgb(counts[0], REPRESENTATIONS[1])),
        figures.figure_5(counts[:2], counts[2:4], BOX),
        figures.training_figure(losses, curves, table_2_range=(200, 300)),
        figures.precision_recall_figure(
            {name: precision_recall_curve(truth, score) for name, score in scores.items()},
            dict.fromkeys(scores, (0.6, 0.5)),
            truth.mean(),
        ),
        figures.table_4_figure(compared),
        figures.agreement_figure(agreement({name: score > 0.5 for name, score in scores.items()})),
        figures.gallery(counts, [f"pattern {k}" for k in range(6)], columns=4, mask=mask),
        figures.photon_histogram({"single": counts.sum((1, 2)), "empty": np.zeros(3)}),
        figures.size_histogram(
            {"positive": np.linspace(60, 75, 30), "negative": np.linspace(40, 120, 60)}, (55.0, 84.0)
        ),
        figures.sum_image(counts.mean(0), mask, (0.5, 19.5)),
        figures.camera_figure(130 * counts, mask, HitRule(adu_per_photon=130)),
        figures.augmentation_figure(counts[0], np.array([0.5, 0.5, 0.3, 0.4], np.float32), seed=1),
        figures.detections_figure(to_rgb(counts, REPRESENTATIONS[0]), np.full((6, 4), 0.4), np.linspace(0, 1, 6)),
        figures.label_bias_figure(np.geomspace(100, 1e4, 300), truth, np.ones(300, bool)),
        *class_figures(),
    ]
    for figure in drawn:
        assert isinstance(figure, Figure)
        assert figure.get_size_inches()[0] in (3.35, 6.9)
        assert_nothing_is_clipped(figure)
        for axes in figure.axes:
            if axes.axison and axes not in bars(figure):
                assert axes.get_xlabel() or not has_numbers(axes.xaxis), texts(figure)
                assert axes.get_ylabel() or not has_numbers(axes.yaxis), texts(figure)
            if axes in bars(figure):
                assert axes.get_xlabel() or axes.get_ylabel()


def test_figure_1_states_what_follows_from_the_geometry():
    written = " ".join(texts(figures.figure_1(AMOX34117)))
    assert photon_energy_kev(AMOX34117) == pytest.approx(1.70, abs=0.005)  # the paper's 1.7 keV
    q = 2 * math.pi * math.hypot(122 - 1.5, 239 - 119.5) * 75e-6 / (0.729 * 0.130)
    assert largest_q(AMOX34117) == pytest.approx(q)
    for number in (
        "1.70 keV",
        "0.729 nm",
        "0.130 m",
        "75 × 75 µm²",
        "123 × 240",
        f"{q:.2f}",
        f"{2 * math.pi / q:.1f} nm",
    ):
        assert number in written


def test_figure_1_calls_the_detector_of_another_experiment_no_pnccd():
    other = replace(AMOX34117, pixel_m=1e-4, rows=400, columns=380, centre_row=200.5, centre_column=190)
    written = texts(figures.figure_1(other))
    assert "detector\n400 × 380 pixels\nof 100 × 100 µm²" in written
    assert not any("pnCCD" in text for text in written)


def test_figure_2_shows_the_computed_dimensions_of_every_stage(networks):
    figure = figures.figure_2(*networks)
    written = texts(figure)
    for side in (416, 208, 104, 52, 26, 13, 608, 304, 152, 76, 38, 19):
        assert any(f"{side}×{side}×" in text for text in written), side
    assert "Region 13×13×30" in written
    assert [text for text in written if text.startswith("YOLO ")] == [f"YOLO {s}×{s}×18" for s in (19, 38, 76)]
    assert written.count("Route") == 4
    assert "(b)  YOLOv3, 608×608 pixels: 75 convolutions, 23 residual blocks" in written


def test_stages_hold_every_convolution_and_residual_block(networks):
    small, large = (stages(network) for network in networks)
    assert [stage.convolutions for stage in small] == [1, 1, 3, 3, 5, 7, 2]
    assert [stage.convolutions for stage in large] == [1, 3, 5, 17, 17, 9, 7, 8, 8]
    assert [stage.residual_blocks for stage in large] == [0, 1, 2, 8, 8, 4, 0, 0, 0]


def test_figure_3_shows_the_counts_and_the_network_input(counts, mask):
    image = render(counts[:1], REPRESENTATIONS[0], 64)[0].numpy()
    figure = figures.figure_3(counts[0], image, mask=mask)
    start, shown = figure.axes[:2]
    good = ~mask & (counts[0] > 0)
    assert np.array_equal(start.images[0].get_array()[good], counts[0][good])
    assert np.array_equal(shown.images[0].get_array(), np.moveaxis(image, 0, -1))
    assert (start.get_xlabel(), start.get_ylabel()) == ("column (pixels)", "row (pixels)")
    assert [axes.get_ylabel() for axes in bars(figure)] == ["photons"]


def test_zero_photons_have_the_lowest_colour_and_bad_pixels_are_gray(counts, mask):
    zero = np.argwhere((counts[0] == 0) & ~mask)[0]
    image = figures.figure_3(counts[0], np.zeros((3, 8, 8)), mask=mask).axes[0].images[0]
    colours = image.to_rgba(image.get_array())
    assert to_hex(colours[tuple(zero)]) == to_hex(matplotlib.colormaps["viridis"](0))
    assert to_hex(colours[0, 19]) == "#bbbbbb"


def test_figure_4_separates_the_layers(counts):
    linear, log = (to_rgb(counts[0], REPRESENTATIONS[k]) for k in (0, 1))
    figure = figures.figure_4(linear, log)
    assert panel_letters(figure) == [f"({letter})" for letter in "abcdefgh"]
    for first, rgb in ((0, linear), (4, log)):
        for layer in range(3):
            assert np.array_equal(figure.axes[first + 1 + layer].images[0].get_array(), rgb[..., layer])


def test_figure_5_has_sixteen_panels_and_the_box_on_positives_only(counts):
    figure = figures.figure_5(counts[:2], counts[2:4], BOX)
    assert panel_letters(figure) == [f"({letter})" for letter in "abcdefghijklmnop"]
    assert [len(axes.patches) for axes in figure.axes] == 4 * [1, 1, 0, 0]
    frame = figure.axes[0].patches[0]
    assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == (7.5, -0.5, 24, 12)
    assert np.array_equal(figure.axes[7].images[0].get_array(), to_rgb(counts[3], REPRESENTATIONS[1]))


def test_training_figure_draws_the_tables(losses, curves):
    figure = figures.training_figure(losses, curves, table_2_range=(200, 300))
    assert panel_letters(figure) == [f"({letter})" for letter in "abcdefgh"]
    for row, family in enumerate(losses):
        left, right = figure.axes[2 * row : 2 * row + 2]
        assert left.get_yscale() == "log"
        assert np.array_equal(left.lines[0].get_ydata(), losses[family]["loss"])
        assert np.array_equal(left.lines[1].get_ydata(), losses[family]["average_loss"])
        assert list(left.lines[2].get_xdata()) == [100, 100]
        assert np.array_equal(right.lines[0].get_xydata(), curves[family][["iteration", "f1"]])
        assert to_hex(right.lines[0].get_color()) == figures.family_colour(family).lower()
        assert right.patches[0].get_x() == 200
        assert right.patches[0].get_width() == 100


def test_rate_changes_are_the_end_of_a_burn_in_and_the_steps():
    rate = np.concatenate([(np.arange(1, 11) / 10) ** 4, np.ones(10), np.full(10, 0.1)])
    table = pd.DataFrame({"iteration": np.arange(1, 31), "learning_rate": rate})
    assert list(rate_changes(table)) == [10, 21]


def test_precision_recall_figure_draws_curves_points_and_chance(scored):
    truth, scores = scored
    drawn = {name: precision_recall_curve(truth, score) for name, score in scores.items()}
    axes = figures.precision_recall_figure(drawn, {"yolov2-jet-linear": (0.7, 0.4)}, 0.2).axes[0]
    for line, (precision, recall, _) in zip(axes.lines, drawn.values(), strict=False):
        assert np.array_equal(line.get_xydata()[::-1], np.stack([recall, precision], axis=1)[:-1])
    point, _sample, chance = axes.lines[len(drawn) :]
    assert (list(point.get_xdata()), list(point.get_ydata())) == ([0.4], [0.7])
    assert set(chance.get_ydata()) == {0.2}


def test_table_4_figure_has_a_panel_for_each_reference_and_the_table_values(compared):
    figure = figures.table_4_figure(compared)
    assert panel_letters(figure) == ["(a)", "(b)"]
    for axes, (_, rows) in zip(figure.axes, compared.groupby("reference"), strict=True):
        assert [bar.get_width() for bar in axes.patches] == list(rows["f1"])
        assert "0.00" in [text.get_text() for text in axes.texts]


def test_no_skill_is_what_selecting_everything_gives(scored):
    truth, _ = scored
    table = table_4({"everything": np.ones(300, bool)}, {"truth": truth})
    assert no_skill_f1(table) == pytest.approx(table.loc[table["family"] == "everything", "f1"].item())
    assert math.isnan(no_skill_f1(table[table["family"] != NEVER_SINGLE]))


def test_agreement_figure_writes_every_value(scored):
    iou = agreement({name: score > 0.5 for name, score in scored[1].items()})
    axes = figures.agreement_figure(iou).axes[0]
    assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in iou.to_numpy().ravel()]


def test_gallery_shares_one_colour_scale(counts):
    figure = figures.gallery(counts[:5], list("abcde"), columns=3, log=False)
    *panels, _bar = figure.axes
    assert [axes.get_title() for axes in panels] == list("abcde")
    assert {axes.images[0].norm.vmax for axes in panels} == {counts[:5].max()}


def test_an_empty_pattern_is_drawn():
    assert figures.gallery(np.zeros((1, 4, 6)), ["empty"], columns=2).axes
    assert photon_norm(np.zeros((2, 2))).vmax > photon_norm(np.zeros((2, 2))).vmin
    assert figures.sum_image(np.zeros((4, 6)), np.zeros((4, 6), bool), (0.0, 3.0)).axes


def test_histograms_count_every_pattern(counts):
    photons = {"single": counts.sum((1, 2)), "empty": np.zeros(3)}
    for figure in (figures.photon_histogram(photons), figures.size_histogram(photons, (55.0, 84.0))):
        written = " ".join(texts(figure))
        assert "single (6)" in written
        assert "empty (3)" in written
    first = figures.photon_histogram(photons).axes[0].patches[0].get_xy()[:, 1]
    assert first.sum() >= 6


def test_sum_image_marks_the_centre(counts, mask):
    figure = figures.sum_image(counts.mean(0), mask, (0.5, 19.5))
    marker = figure.axes[0].lines[0]
    assert (list(marker.get_xdata()), list(marker.get_ydata())) == ([19.5], [0.5])


def test_detections_are_drawn_in_pixels_and_only_where_there_is_a_box(counts):
    boxes = np.array([BOX.relative((ROWS, COLUMNS)), [np.nan] * 4])
    figure = figures.detections_figure(to_rgb(counts[:2], REPRESENTATIONS[0]), boxes, np.array([0.91, 0.02]))
    found, none = figure.axes
    frame = found.patches[0]
    assert (*frame.get_xy(), frame.get_width(), frame.get_height()) == pytest.approx((7.5, -0.5, 24, 12))
    assert not none.patches
    assert [axes.get_title() for axes in figure.axes] == ["score 0.91", "score 0.02"]


def test_a_box_beyond_the_picture_ends_at_its_edges(counts):
    boxes = np.array([[0.5, 0.5, np.inf, 0.5], [0.9, 0.5, 0.6, 4.0]])
    figure = figures.detections_figure(to_rgb(counts[:2], REPRESENTATIONS[0]), boxes)
    wide, right = (axes.patches[0] for axes in figure.axes)
    assert (wide.get_x(), wide.get_width()) == pytest.approx((-0.5, COLUMNS))
    assert (right.get_y(), right.get_height()) == pytest.approx((-0.5, ROWS))
    assert right.get_x() + right.get_width() == pytest.approx(COLUMNS - 0.5)


@given(st.lists(st.tuples(st.floats(1, 1e5), st.booleans()), min_size=1, max_size=60))
def test_labelled_share_lies_in_its_interval(patterns):
    photons, manual = (np.array(values) for values in zip(*patterns, strict=True))
    _middle, share, lower, upper = labelled_share(photons, manual, np.ones(len(photons), bool))
    assert (lower <= share).all()
    assert (share <= upper).all()
    assert ((lower >= 0) & (upper <= 1)).all()


def test_labelled_share_counts_single_hits_only():
    single = np.arange(100) % 2 == 0
    manual = np.arange(100) % 4 == 0
    middle, share, lower, upper = labelled_share(np.arange(1.0, 101.0), manual & single, single)
    assert len(middle) == 12
    assert share.mean() == pytest.approx(0.5, abs=0.06)
    # Clopper and Pearson for 2 of 4: the tails of the binomial are 2.5 % at both ends.
    four = np.flatnonzero(np.isclose(share, 0.5))[-1]
    assert (lower[four], upper[four]) == pytest.approx((0.0676, 0.9324), abs=1e-4)


def test_colours_of_the_paper_families_differ_and_stay():
    colours = [figures.family_colour(name) for name in PAPER_FAMILIES]
    assert len(set(colours)) == len(PAPER_FAMILIES)
    assert figures.family_colour("yolov2-jet-linear") == "#0072B2"
    assert figures.family_colour("yolo11n-jet-linear") == figures.family_colour("yolo11n-jet-linear")
    assert len({str(figures.family_dashes(name)) for name in PAPER_FAMILIES[:4]}) == 4


def test_saving_twice_gives_the_same_bytes(counts, tmp_path):
    for name in ("first", "second"):
        figures.save_figure(figures.figure_5(counts[:2], counts[2:4], BOX), tmp_path / name)
    figure = figures.sum_image(counts.mean(0), np.zeros((ROWS, COLUMNS), bool), (0.5, 19.5))
    for name in ("third", "fourth"):
        figures.save_figure(figure, tmp_path / name)
    for one, other in (("first", "second"), ("third", "fourth")):
        for suffix in ("png", "pdf"):
            data = (tmp_path / f"{one}.{suffix}").read_bytes()
            assert data == (tmp_path / f"{other}.{suffix}").read_bytes()
            assert b"CreationDate" not in data
    assert len(list(tmp_path.iterdir())) == 8


def test_a_figure_does_not_depend_on_the_callers_defaults(counts, tmp_path):
    figures.save_figure(figures.gallery(counts[:2], ["a", "b"], columns=2), tmp_path / "plain")
    with matplotlib.rc_context({"font.size": 20, "image.cmap": "jet", "xtick.major.size": 30, "figure.dpi": 30}):
        figures.save_figure(figures.gallery(counts[:2], ["a", "b"], columns=2), tmp_path / "odd")
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "odd.png").read_bytes()


def test_drawing_leaves_no_global_state(counts):
    before = dict(matplotlib.rcParams)
    figures.gallery(counts[:2], ["a", "b"], columns=2)
    assert dict(matplotlib.rcParams) == before


def test_a_figure_shows_itself_once_in_a_notebook(counts):
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    data, _ = formatter.format(figures.gallery(counts[:1], ["a"], columns=1))
    assert data["image/png"].startswith(b"\x89PNG")


def test_error_figures_show_every_pattern_and_the_share_within():
    rng = np.random.default_rng(9)
    photons, errors = rng.uniform(500, 9000, 200), rng.normal(0, 0.2, (200, 2))
    figure = figures.centre_error_figure(photons, errors)
    across, against = figure.axes
    inside = np.mean(np.hypot(*errors.T) <= 0.5)
    assert f"{inside:.1%} within 0.5 pixels" in across.get_title(loc="left")
    np.testing.assert_allclose(against.collections[0].get_offsets(), np.stack([photons, np.hypot(*errors.T)], axis=1))
    true = rng.uniform(50, 90, 200)
    axes = figures.size_error_figure(true, true + 4 * (true > 70)).axes[0]
    assert f"{np.mean(true <= 70):.1%} of 200 within 3 nm" in axes.get_title(loc="left")


def test_photon_bias_is_that_of_the_sums_with_an_error_that_covers_it():
    rng = np.random.default_rng(10)
    signal = rng.uniform(500, 9000, 4000)
    measured = rng.poisson(1.02 * signal)
    middle, bias, error = binned_bias(signal, measured)
    assert (np.diff(middle) > 0).all()
    assert (np.abs(bias - 0.02) < 4 * error).all()
    assert error[-1] == pytest.approx(np.sqrt(1.02 / middle[-1] / 500), rel=0.15)
    legend = figures.photon_bias_figure(signal, {"as counted": measured}).legends[0].get_texts()[0].get_text()
    assert legend == f"as counted: {measured.sum() / signal.sum() - 1:+.1%} in all"


def test_chosen_classes_have_a_frame_and_the_others_have_none():
    figure = class_figures()[0]
    widths = [axes.spines["left"].get_linewidth() for axes in figure.axes]
    assert widths[1] == 2 > max(widths[0], widths[2])
    assert [axes.get_title() for axes in figure.axes] == ["0: 5", "1: 7", "2: 0"]


def test_convergence_is_the_distance_from_the_highest_of_all_runs():
    lines = class_figures()[2].axes[0].lines
    np.testing.assert_allclose(lines[0].get_ydata(), [420, 20, 10])
    assert np.ma.getmaskarray(lines[1].get_ydata()).tolist() == [False, True]


def test_rings_are_divided_by_their_mean_and_an_empty_class_is_left_out():
    chosen, others = class_figures()[3].axes
    assert (len(chosen.lines), len(others.lines)) == (1, 1)
    for axes in (chosen, others):
        assert np.mean(axes.lines[0].get_ydata()) == pytest.approx(1)


def test_online_rates_show_each_second_and_only_delays_that_there_are():
    history = pd.DataFrame(
        {"second": range(4), "scored": [9, 0, 5, 8], "hits": [8, 0, 5, 6], "selected": [2, 0, 1, 3]}
        | {"delay": [0.05, np.nan, 2.5, 0.1]}
    )
    figure = figures.online_rates_figure(history)
    rates, delays = figure.axes
    drawn = {line.get_label(): list(line.get_ydata()) for line in rates.lines}
    assert drawn == {"patterns": [9, 0, 5, 8], "hits": [8, 0, 5, 6], "single hits": [2, 0, 1, 3]}
    assert [list(values) for values in delays.lines[0].get_data()] == [[0, 2, 3], [0.05, 2.5, 0.1]]
    assert panel_letters(figure) == ["(a)", "(b)"]
    assert len(figures.online_rates_figure(history[:0]).axes) == 2


def test_online_scores_are_the_histogram_and_the_threshold():
    figure = figures.online_scores_figure(np.array([40, 0, 3, 7]), 0.24)
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.patches[0].get_data().values, [40, 0.5, 3, 7])
    np.testing.assert_array_equal(axes.patches[0].get_data().edges, [0, 0.25, 0.5, 0.75, 1])
    assert list(axes.lines[0].get_xdata()) == [0.24, 0.24]
    assert len(figures.online_scores_figure(np.zeros(4, int), 0.24).axes) == 1


def test_an_axis_of_a_decade_is_numbered_by_twos_and_fives():
    figure = new_figure(3, 2)
    axes = figure.subplots()
    axes.set(xscale="log", xlim=(150, 4000))
    number_twos_and_fives(axes.xaxis)
    figure.canvas.draw()
    shown = [label.get_text() for label in axes.get_xticklabels() if 150 <= label.get_position()[0] <= 4000]
    assert shown == ["200", "500", "1000", "2000"]
    assert not any(label.get_text() for label in axes.get_xticklabels(minor=True))


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def test_brightness_is_a_quantile_of_the_photons():
    photons = np.array([50, 10, 40, 20, 30])
    assert figures.by_brightness(photons, (0, 0.5, 0.8, 1)).tolist() == [1, 4, 2, 0]


def test_a_gallery_of_kinds_has_a_row_a_kind_the_most_frequent_first(twin):
    with open_stack(twin) as stack:
        photons = stack.read(slice(None)).sum(axis=(1, 2))
        kinds = pd.Series(np.where(np.arange(len(stack)) < 10, "rare", "frequent"))
        figure = figures.kinds_gallery(stack, kinds, photons, quantiles=(0.5, 1))
    assert titles(figure) == [
        f"{kind}: {number:.0f}"
        for kind, part in (("frequent", photons[10:]), ("rare", photons[:10]))
        for number in np.sort(part)[[(len(part) - 1) // 2, -1]]
    ]


def test_a_scored_gallery_names_species_and_score_and_says_when_there_is_none(twin):
    with open_stack(twin) as stack:
        species = stack.table()["species"]
        figure = figures.scored_gallery(stack, np.array([7, 3]), np.array([0.25, 1.0]))
        nothing = figures.scored_gallery(stack, np.array([], int), np.array([]))
    assert titles(figure) == [f"{species[7]} 0.25", f"{species[3]} 1.00"]
    assert texts(nothing) == ["there are no such patterns"]


def test_the_brightest_frame_of_each_kind_is_shown(tmp_path):
    simulate_frames(tmp_path / "frames.cxi", frames=40, seed=5)
    with open_stack(tmp_path / "frames.cxi") as frames:
        truth = frames.table()
        figure = figures.brightest_frames(frames, truth)
    single = truth.loc[truth["species"] == "single", "counted_photons"].idxmax()
    assert f"single, frame {single}" in titles(figure)


def test_training_curves_can_be_those_of_one_network(losses, curves):
    chosen = {"yolov3-jet-linear": losses["yolov2-jet-log"]}
    both = {**losses, **chosen}
    figure = figures.training_figure(
        both, curves | {"yolov3-jet-linear": curves["yolov2-jet-log"]}, table_2_range=(1, 2), network="yolov3"
    )
    assert len(figure.axes) == 2
    assert any("YOLOv3" in text for text in texts(figure))
