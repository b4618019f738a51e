import numpy as np
import pandas as pd
import pytest

from helpers.annotation import LabelsFile, SetSizes, beside_published, kinds_of, labels_of, split, table_1
from helpers.annotation.labels import read_labels
from helpers.errors import LabelsError
from helpers.experiment import AMOX34117
from helpers.patterns import open_stack
from helpers.patterns.writing import write_stack
from tests.selection_lists import write_selection


@pytest.fixture
def stack(tmp_path):
    columns = {"event_id": np.arange(6) * 10, "label": [1, 0, 0, 1, 0, 0], "truth": [1, 0, 1, 1, 0, 0]}
    table = pd.DataFrame(columns | {"size_nm": [55.0, 84.0, 54.9, 84.1, 70.0, 60.0]})
    counts = np.ones((6, 2, 3), np.uint16)
    path = tmp_path / "six.cxi"
    write_stack(path, counts, mask=np.zeros((2, 3), bool), centre=(0, 1), table=table, experiment=AMOX34117)
    with open_stack(path) as opened:
        yield opened


@pytest.fixture
def bare(tmp_path):
    path = tmp_path / "bare.cxi"
    table = pd.DataFrame(index=range(6))
    counts = np.ones((6, 2, 3), np.uint16)
    write_stack(path, counts, mask=np.zeros((2, 3), bool), centre=(0, 1), table=table, experiment=AMOX34117)
    with open_stack(path) as opened:
        yield opened


def test_the_truth_of_a_file_of_an_earlier_version_is_called_single(tmp_path):
    table = pd.DataFrame({"manual": [1, 0], "single": [0, 1]})
    given = {"mask": np.zeros((2, 3), bool), "centre": (0, 1), "experiment": AMOX34117}
    write_stack(tmp_path / "old.cxi", np.ones((2, 2, 3), np.uint16), table=table, **given)
    with open_stack(tmp_path / "old.cxi") as stack:
        labels = labels_of(stack)
    assert labels["truth"].tolist() == [False, True]
    assert "single" not in labels


def population(*, positives, negatives, positives_outside=0, negatives_outside=0):
    numbers = (positives, negatives, positives_outside, negatives_outside)
    label = np.repeat([True, False, True, False], numbers)
    in_range = np.repeat([True, True, False, False], numbers)
    order = np.random.default_rng(0).permutation(label.size)
    return pd.DataFrame({"pattern": np.arange(label.size), "label": label[order], "in_size_range": in_range[order]})


@pytest.fixture(scope="module")
def papers():
    return split(
        population(positives=1196, negatives=17_017, positives_outside=17, negatives_outside=593), SetSizes(), seed=1
    )


def test_table_1_is_the_papers(papers):
    table = table_1(papers).set_index("set")
    assert table.loc["size range", ["patterns", "positive", "negative"]].tolist() == [18_213, 1196, 17_017]
    assert table.loc["training", ["patterns", "positive", "negative"]].tolist() == [555, 165, 390]
    assert table.loc["validation", ["patterns", "positive", "negative"]].tolist() == [336, 53, 283]
    assert table.loc["test", ["patterns", "positive", "negative"]].tolist() == [17_932, 995, 16_937]


def test_the_papers_numbers_imply_610_of_891_patterns_outside_the_size_range(papers):
    assert 18_213 - 281 == 17_932
    assert 1196 - 201 == 995
    learning = papers[papers["set"].isin(["training", "validation"])]
    assert len(learning) == 891
    assert learning["in_size_range"].sum() == 281
    assert (~learning["in_size_range"]).sum() == 610
    assert (learning["in_size_range"] & learning["label"]).sum() == 201
    table = table_1(papers).set_index("set")
    assert table.loc[["training", "validation"], "in_size_range"].sum() == 281
    assert table.loc["test", "in_size_range"] == 17_932


def test_patterns_from_outside_are_shared_in_proportion(papers):
    outside = papers[~papers["in_size_range"]].groupby(["set", "label"]).size()
    assert outside["training", True] == round(17 * 165 / 218)
    assert outside["training", False] == round(593 * 390 / 673)
    assert (papers["set"] != "unused").all()


def test_same_seed_same_sets_and_another_seed_other_sets():
    labels = population(positives=100, negatives=300)
    sizes = SetSizes((20, 40), (10, 20), (0, 0))
    first = split(labels, sizes, seed=4)
    pd.testing.assert_frame_equal(first, split(labels, sizes, seed=4))
    assert (first["set"] != split(labels, sizes, seed=5)["set"]).any()


def test_truth_does_not_influence_the_sets():
    labels = population(positives=50, negatives=150, negatives_outside=10)
    sizes = SetSizes((10, 30), (5, 10), (0, 5))
    without = split(labels, sizes, seed=2)["set"]
    truth = np.random.default_rng(1).random(len(labels)) < 0.5
    pd.testing.assert_series_equal(split(labels.assign(truth=truth), sizes, seed=2)["set"], without)


def test_without_patterns_outside_all_come_from_the_size_range():
    sets = split(population(positives=300, negatives=1000), SetSizes(), seed=1)
    table = table_1(sets).set_index("set")
    assert table.loc["training", ["patterns", "positive", "in_size_range"]].tolist() == [555, 165, 555]
    assert table.loc["validation", ["patterns", "positive", "in_size_range"]].tolist() == [336, 53, 336]
    assert table.loc["test", ["positive", "negative"]].tolist() == [300 - 218, 1000 - 673]


def test_patterns_outside_that_are_not_taken_stay_unused():
    labels = population(positives=20, negatives=20, positives_outside=7, negatives_outside=9)
    sets = split(labels, SetSizes((4, 4), (2, 2), (3, 0)), seed=1)
    outside = sets[~sets["in_size_range"]]
    assert (outside.loc[outside["label"], "set"] != "unused").sum() == 3
    assert (outside.loc[~outside["label"], "set"] == "unused").all()
    assert (sets.loc[sets["set"] == "test", "in_size_range"]).all()


@pytest.mark.parametrize(
    ("positives", "negatives", "message"),
    [(30, 100, "30 positive patterns are available.*ask for 30"), (100, 45, "45 negative patterns.*ask for 60")],
)
def test_too_few_patterns_of_a_class_tell_available_and_asked(positives, negatives, message):
    sizes = SetSizes((20, 40), (10, 20), (0, 0))
    with pytest.raises(LabelsError, match=message):
        split(population(positives=positives, negatives=negatives), sizes, seed=1)


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="593 negatives"):
        SetSizes((10, 20), (5, 10), (2, 593))
    with pytest.raises(ValueError, match="validation"):
        SetSizes(validation=(-1, 3))


def test_labels_come_from_the_label_column_with_range_truth_and_ids(stack):
    labels = labels_of(stack)
    assert labels["pattern"].tolist() == list(range(6))
    assert labels["label"].tolist() == [True, False, False, True, False, False]
    assert labels["in_size_range"].tolist() == [True, True, False, False, True, True]
    assert labels["truth"].tolist() == [True, False, True, True, False, False]
    assert labels["event_id"].tolist() == [0, 10, 20, 30, 40, 50]


def stack_of(path, **columns):
    counts = np.ones((2, 2, 3), np.uint16)
    given = {"mask": np.zeros((2, 3), bool), "centre": (0, 1), "experiment": AMOX34117}
    write_stack(path, counts, table=pd.DataFrame(columns), **given)
    return open_stack(path)


def test_older_files_call_the_label_manual_and_the_truth_single(tmp_path):
    with stack_of(tmp_path / "old.cxi", manual=[1, 0], single=[1, 1]) as stack:
        labels = labels_of(stack)
    assert labels[["label", "truth"]].to_numpy().tolist() == [[True, True], [False, True]]


def test_a_column_of_text_is_no_label(tmp_path):
    with (
        stack_of(tmp_path / "text.cxi", label=["hit", "miss"]) as stack,
        pytest.raises(LabelsError, match=r"text\.cxi: the column label must hold numbers, 0 or 1"),
    ):
        labels_of(stack)


@pytest.mark.parametrize("text", ["index,single\n4,1\n0,0\n", "event_id, single\n40,1\n0,0\n"])
def test_user_labels_name_patterns_by_index_or_event_id(stack, tmp_path, text):
    (tmp_path / "labels.csv").write_text(text)
    labels = labels_of(stack, tmp_path / "labels.csv")
    assert labels["pattern"].tolist() == [0, 4]
    assert labels["label"].tolist() == [False, True]
    assert labels["in_size_range"].tolist() == [True, True]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfindex;single\r\n4;1\r\n0;0\r\n",
        b"index\tsingle\n4\t1\n0\t0\n",
        b"sep=,\r\nindex,single\r\n4,1\r\n0,0\r\n",
        b"index,single\r\n4,TRUE\r\n0,FALSE\r\n",
        "index,single,Bemerkung\r\n4,1,schön\r\n0,0,groß\r\n".encode("latin-1"),
        "index\tsingle\r\n4\tWAHR\r\n0\tFALSCH\r\n".encode("utf-16"),
        b"index;single\n4,0;1,0\n0,0;0,0\n",
        b"event_id,single\n40.0,1.0\n0.0,0.0\n",
        b",event_id,single\n0,40,yes\n1,0,no\n",
        b"index,event_id,single,,\n4,40,1,,\n,,,,\n0,,0,,\n,,,,\n",
    ],
)
def test_labels_are_read_as_table_programs_write_them(stack, tmp_path, content):
    (tmp_path / "labels.csv").write_bytes(content)
    labels = read_labels(tmp_path / "labels.csv", stack)
    assert labels.to_numpy().tolist() == [[0, False], [4, True]]


def test_a_written_selection_is_a_label_file(stack, tmp_path):
    path = tmp_path / "selection.csv"
    indices = np.array([1, 3])
    single = np.array([True, False])
    ids = stack.event_ids[indices]
    write_selection(path, file=stack.path, patterns=indices, event_ids=ids, scores=[0.1, 0.2], selected=single)
    labels = read_labels(path, stack)
    assert labels["pattern"].tolist() == [1, 3]
    assert labels["label"].tolist() == [True, False]


def test_stack_without_sizes_is_all_in_range_and_without_truth(bare, tmp_path):
    (tmp_path / "labels.csv").write_text("index,single\n" + "".join(f"{pattern},1\n" for pattern in range(6)))
    labels = labels_of(bare, tmp_path / "labels.csv")
    assert labels["in_size_range"].all()
    assert list(labels) == ["pattern", "label", "in_size_range"]


def test_stack_without_labels_asks_for_a_csv_file(bare):
    with pytest.raises(LabelsError, match="give a CSV file"):
        labels_of(bare)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,label\n0,1\n", "needs single"),
        ("index,single\n", "no rows"),
        ("index,single\n0,1\n6,1\n", "patterns 0 to 5; correct index '6' in line 3"),
        ("index,single\n0.5,1\n", "correct index '0.5' in line 2"),
        ("index,single\n0,2\n", "the column single must hold 0 or 1"),
        ("index,single\n0,\n", "the column single must hold 0 or 1"),
        ("index,single\n0,1\n0,0\n", "labelled twice; keep only one row for 0 in line 3"),
        ("sep=;\n\nindex;single\n0;1\n;\n1;maybe\n", "the column single must hold 0 or 1; correct 'maybe' in line 6"),
        ("index,single\n1.000,1\n", "correct index '1.000' in line 2"),
        ("event_id,single\n4E+01,1\n", "correct '4E\\+01' in line 2"),
        (",single\n0,1\n", "needs single, and index or event_id"),
        ("event_id,single\n15,1\n", "not an event id of"),
        ("index,event_id,single\n1,20,1\n", "index and event_id disagree"),
    ],
)
def test_wrong_label_files_are_told_with_the_line(stack, tmp_path, text, message):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(LabelsError, match=message):
        read_labels(tmp_path / "labels.csv", stack)


def test_missing_label_file_and_missing_event_ids_are_told(stack, bare, tmp_path):
    with pytest.raises(LabelsError, match="cannot be read"):
        read_labels(tmp_path / "absent.csv", stack)
    (tmp_path / "labels.csv").write_text("event_id,single\n0,1\n")
    with pytest.raises(LabelsError, match="no event ids; use a column index"):
        read_labels(tmp_path / "labels.csv", bare)


def test_event_ids_that_repeat_cannot_be_labels(tmp_path):
    table = pd.DataFrame({"event_id": [1, 1]})
    path = tmp_path / "twice.cxi"
    counts = np.ones((2, 2, 2), np.uint16)
    write_stack(path, counts, mask=np.zeros((2, 2), bool), centre=(0, 0), table=table, experiment=AMOX34117)
    (tmp_path / "labels.csv").write_text("event_id,single\n1,1\n")
    with open_stack(path) as stack, pytest.raises(LabelsError, match="belongs to several patterns"):
        read_labels(tmp_path / "labels.csv", stack)


def test_labels_of_the_annotation_widget_are_labels_without_the_unsure_ones(stack, tmp_path):
    path = tmp_path / "anna.json"
    file = LabelsFile(path, stack)
    with pytest.raises(LabelsError, match=r"anna\.json"):
        read_labels(path, stack)
    file.give(3, "unsure", labeller="anna")
    with pytest.raises(LabelsError, match=r"anna\.json: labels no pattern as single"):
        read_labels(path, stack)
    for pattern, label in ((5, "not single"), (1, "single")):
        file.give(pattern, label, labeller="anna")
    labels = labels_of(stack, path)
    assert labels[["pattern", "label"]].to_numpy().tolist() == [[1, True], [5, False]]
    assert labels["event_id"].tolist() == [10, 50]
    assert labels["in_size_range"].tolist() == [True, True]


def test_a_test_set_that_is_kept_never_trains_or_validates():
    labels = population(positives=60, negatives=90, positives_outside=4, negatives_outside=8)
    sizes = SetSizes(training=(20, 30), validation=(8, 16), outside=(2, 6))
    test = labels["pattern"].sample(60, random_state=0).to_numpy()
    for seed in range(5):
        sets = split(labels, sizes, seed=seed, test=test)
        assert set(sets.loc[sets["set"] == "test", "pattern"]) == set(test)
        for name in ("training", "validation"):
            chosen = sets[sets["set"] == name]
            assert (chosen["label"].sum(), (~chosen["label"]).sum()) == getattr(sizes, name)
    assert (sets["set"] == "unused").sum() == len(labels) - 60 - 50 - 24


def test_with_a_kept_test_set_the_last_pattern_may_train():
    labels = population(positives=3, negatives=3)
    kept = labels.groupby("label")["pattern"].first().to_numpy()
    sizes = SetSizes(training=(1, 1), validation=(1, 1), outside=(0, 0))
    sets = split(labels, sizes, seed=0, test=kept)
    assert (sets["set"] == "unused").sum() == 0
    with pytest.raises(LabelsError, match=r"2 positive patterns .* ask for 3; label more"):
        split(labels, SetSizes(training=(2, 1), validation=(1, 1), outside=(0, 0)), seed=0, test=kept)


def test_beside_its_own_numbers_the_papers_table_1_shows_no_difference(papers):
    table = beside_published(table_1(papers))
    for column in ("patterns", "positive", "negative"):
        assert (table[column] == table[f"{column}_paper"]).all()


def test_a_kind_is_the_species_or_else_the_label(twin, to_label):
    with open_stack(twin) as stack:
        assert kinds_of(stack, labels_of(stack)).tolist() == stack.table()["species"].tolist()
    labels = pd.DataFrame({"pattern": [3, 5], "label": [True, False]})
    kinds = kinds_of(to_label, labels)
    assert kinds[[3, 5, 6]].tolist() == ["labelled single", "labelled not single", "without a label"]
    assert kinds.value_counts().to_dict()["without a label"] == 10
