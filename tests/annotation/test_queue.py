import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.annotation import in_order, with_repeats
from helpers.annotation.queue import Queue, at_random, by_photons, disputed_first, least_sure_first
from helpers.errors import LabelsError


def scores(**columns):
    table = pd.DataFrame({"pattern": [5, 7, 2, 9]})
    return table.assign(**{f"iteration_{number:06d}": given for number, given in enumerate(columns.values(), start=1)})


def test_random_order_holds_each_pattern_once_and_follows_the_seed():
    patterns = np.arange(100) * 3
    order = at_random(patterns, seed=1)
    assert sorted(order) == list(patterns)
    np.testing.assert_array_equal(order, at_random(patterns, seed=1))
    assert (order != at_random(patterns, seed=2)).any()
    assert (order != patterns).any()


def test_most_photons_come_first():
    assert by_photons(np.array([3, 4, 5, 6]), np.array([10, 30, 10, 20.5])).tolist() == [4, 6, 3, 5]


def test_least_sure_is_nearest_to_the_threshold_on_the_scale_of_odds():
    # with a threshold of 0.2 the odds are 1/4: 0.05 (1/19) is farther away than 0.5 (1), though its score is nearer
    table = scores(first=[0.05, 0.5, 0.21, 0.99])
    assert least_sure_first(table, 0.2).tolist() == [2, 7, 5, 9]


def test_least_sure_takes_the_mean_of_the_checkpoints_and_bears_zero_and_one():
    table = scores(first=[0.0, 0.9, 0.6, 1.0], second=[0.1, 0.1, 0.6, 1.0])
    assert least_sure_first(table, 0.5).tolist() == [7, 2, 5, 9]


def test_disputed_patterns_are_those_on_which_checkpoints_are_divided():
    table = scores(a=[0.9, 0.9, 0.1, 0.2], b=[0.9, 0.9, 0.1, 0.2], c=[0.9, 0.1, 0.1, 0.9], d=[0.4, 0.1, 0.1, 0.2])
    # 7 is called single by 2 of 4; 5 by 3 and 9 by 1, which are as divided, but 9 is nearer to the threshold; 2 by none
    assert disputed_first(table, 0.5).tolist() == [7, 9, 5, 2]


@pytest.mark.parametrize("order", [least_sure_first, disputed_first])
def test_scores_without_checkpoints_or_an_impossible_threshold_are_refused(order):
    with pytest.raises(LabelsError, match="no checkpoint"):
        order(pd.DataFrame({"pattern": [1]}), 0.5)
    with pytest.raises(LabelsError, match="got 1"):
        order(scores(a=[0, 0, 0, 0.5]), 1)


@given(st.integers(0, 200), st.integers(0, 12), st.integers(1, 40), st.integers(0, 5))
def test_repeats_come_once_late_enough_and_as_often_as_asked(number, every, apart, seed):
    patterns = np.random.default_rng(seed).permutation(number)
    queue = with_repeats(patterns, every=every, apart=apart, seed=seed)
    np.testing.assert_array_equal(queue.patterns[~queue.repeats], patterns)
    first = {pattern: place for place, pattern in reversed(list(enumerate(queue.patterns.tolist())))}
    repeated = np.flatnonzero(queue.repeats)
    assert all(place - first[int(queue.patterns[place])] >= apart for place in repeated)
    assert len(repeated) <= (number // every if every else 0)
    if every and number >= 2 * (apart + every):
        assert len(repeated) >= (number - apart) // every - 1


def test_ten_thousand_patterns_are_queued_with_their_repeats():
    queue = with_repeats(np.arange(10_000), every=10, seed=0)
    assert (len(queue), queue.repeats.sum()) == (10_998, 998)


@pytest.mark.parametrize(
    ("patterns", "repeats"), [([1, 1], [False, False]), ([1, 2], [False, True]), ([1, 1, 1], [False, True, True])]
)
def test_a_queue_shows_a_pattern_once_and_then_perhaps_again(patterns, repeats):
    with pytest.raises(LabelsError, match="once"):
        Queue(np.array(patterns), np.array(repeats))


def test_impossible_repeats_are_refused():
    with pytest.raises(LabelsError, match="apart 0"):
        with_repeats(np.arange(3), every=1, apart=0, seed=0)


def test_each_order_has_a_name(to_label):
    candidates = np.array([1, 4, 7])
    table = pd.DataFrame(
        {"pattern": candidates, "iteration_000001": [0.5, 0.9, 0.4], "iteration_000002": [0.6, 0.9, 0.7]}
    )
    given = {"seed": 3, "scored": lambda: (table, 0.5)}
    assert in_order("photons", to_label, candidates, seed=3).tolist() == [7, 4, 1]
    np.testing.assert_array_equal(in_order("random", to_label, candidates, seed=3), at_random(candidates, seed=3))
    assert in_order("least sure", to_label, candidates, **given).tolist() == least_sure_first(table, 0.5).tolist()
    assert in_order("disputed", to_label, candidates, **given).tolist() == disputed_first(table, 0.5).tolist()


@pytest.mark.parametrize("order", ["brightest", "disputed"])
def test_an_order_that_is_not_known_or_has_no_family_is_named(to_label, order):
    with pytest.raises(LabelsError, match=f"random, photons, least sure, disputed .* got '{order}'"):
        in_order(order, to_label, np.array([1]), seed=3)
