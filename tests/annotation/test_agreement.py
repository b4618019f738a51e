import math

import pandas as pd
import pytest

from helpers.annotation import LabelsFile, judgements, labels_in, table_consistency
from helpers.annotation.agreement import agreement, self_agreement
from helpers.errors import LabelsError


def test_kappa_is_that_of_its_definition():
    # 20 agree on single, 15 on not single, 5 + 10 differ: p = 0.7, chance = 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa = 0.4
    pairs = [("single", "single")] * 20 + [("single", "not single")] * 5
    pairs += [("not single", "single")] * 10 + [("not single", "not single")] * 15
    found = agreement({n: pair[0] for n, pair in enumerate(pairs)}, {n: pair[1] for n, pair in enumerate(pairs)})
    assert found.kappa == pytest.approx(0.4)
    assert (found.patterns, found.share, len(found.disputed)) == (50, 0.7, 15)
    assert found.disputed.iloc[0].tolist() == [20, "single", "not single"]


def test_only_patterns_with_both_judgements_count():
    found = agreement({1: "single", 2: "unsure", 3: "single"}, {3: "single", 2: "single", 8: "single"})
    assert found.judged["pattern"].tolist() == [2, 3]
    assert found.disputed["pattern"].tolist() == [2]


@pytest.mark.parametrize("said", [{}, {1: "single", 2: "single"}])
def test_kappa_means_nothing_where_there_is_nothing_to_tell_apart(said):
    found = agreement(said, said)
    assert math.isnan(found.kappa)
    assert found.patterns == len(said)


def test_a_labeller_is_compared_with_themselves_only(to_label, tmp_path):
    file = LabelsFile(tmp_path / "labels.json", to_label)
    for pattern, first, second in ((1, "single", "single"), (2, "single", "unsure"), (3, "not single", "not single")):
        file.give(pattern, first, labeller="anna")
        file.give(pattern, second, labeller="anna", repeat=True)
    file.give(4, "single", labeller="anna")
    file.give(4, "not single", labeller="ben", repeat=True)
    file.give(5, "single", labeller="anna")
    found = self_agreement(file)
    assert found.judged["pattern"].tolist() == [1, 2, 3]
    assert found.disputed["pattern"].tolist() == [2]
    # p = 2/3, chance = 2/3 * 1/3 + 1/3 * 1/3 = 1/3
    assert found.kappa == pytest.approx(0.5)


def test_two_files_of_two_kinds_are_compared(to_label, tmp_path):
    file = LabelsFile(tmp_path / "anna.json", to_label)
    for pattern, label in ((0, "single"), (1, "not single"), (2, "unsure")):
        file.give(pattern, label, labeller="anna")
    (tmp_path / "ben.csv").write_text("event_id,single\n0,1\n10,1\n20,0\n110,1\n")
    anna, ben = (labels_in(tmp_path / name, to_label) for name in ("anna.json", "ben.csv"))
    assert ben == {0: "single", 1: "single", 2: "not single", 11: "single"}
    found = agreement(anna, ben)
    assert found.disputed.to_numpy().tolist() == [[1, "not single", "single"], [2, "unsure", "not single"]]


@pytest.mark.parametrize("name", ["nobody.json", "nobody.csv"])
def test_a_missing_file_is_named(to_label, tmp_path, name):
    with pytest.raises(LabelsError, match=name.replace(".", r"\.")):
        labels_in(tmp_path / name, to_label)


def test_all_judgements_that_there_are_make_a_row(to_label, tmp_path):
    file = LabelsFile(tmp_path / "labels.json", to_label)
    for pattern, label in ((1, "single"), (2, "not single"), (3, "single")):
        file.give(pattern, label, labeller="anna")
    sets = pd.DataFrame({"pattern": [1, 2, 4], "label": [True, False, False], "truth": [True, False, True]})
    other = {1: "single", 2: "single", 9: "single"}
    table = table_consistency(judgements(file, sets, other)).set_index("judgements")
    assert table["patterns"].to_dict() == {
        "a labeller with themselves": 0,
        "two people": 2,
        "simulated expert and truth": 3,
    }
    assert table["disputed"].tolist() == [0, 1, 1]
    assert table["agreement"].tolist()[1:] == [0.5, pytest.approx(2 / 3)]
    assert list(judgements(file, None)) == ["a labeller with themselves"]
    assert list(judgements(file, sets.drop(columns="truth"))) == ["a labeller with themselves"]
