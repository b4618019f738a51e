import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.em import (
    EMSettings,
    class_profiles,
    class_titles,
    icosahedron_profiles,
    likeness,
    pattern_profiles,
    proposed_classes,
    runs_key,
    settled_choice,
    votes,
)
from helpers.em.class_choice import read_choice, write_choice
from helpers.errors import ClassChoiceError
from helpers.experiment import AMOX34117
from helpers.particles import Particle, intensity
from helpers.preparation import sphere_form_factor
from helpers.simulation.shots import detector_mask, frequencies

SETTINGS = EMSettings()
RADII = np.arange(15, 61)
MASK = detector_mask(AMOX34117)


@pytest.fixture(scope="module")
def references():
    return icosahedron_profiles(AMOX34117, SETTINGS)


def profile_of(particles, photons=4000):
    """Radial profile of a pattern without noise."""
    pattern = intensity(particles, *frequencies(AMOX34117, AMOX34117.centre), frequency_step=AMOX34117.frequency_step)
    pattern *= photons / pattern[~MASK].sum()
    return pattern_profiles([pattern[None]], MASK, AMOX34117.centre, SETTINGS)


def test_icosahedra_scatter_nearly_as_spheres_of_their_volume(references):
    assert references.shape == (16, RADII.size)
    for size, profile in zip(range(60, 76), references, strict=True):
        sphere = sphere_form_factor(AMOX34117.q_step * RADII, size / 2)
        assert np.corrcoef(profile, sphere)[0, 1] > 0.99


def test_a_virus_is_like_the_references_and_other_things_are_less(references):
    virus = likeness(profile_of([Particle(67.5, None)]), references)
    small = likeness(profile_of([Particle(45.0, 1.0)]), references)
    long = likeness(profile_of([Particle(68.0, 2.4, (np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0))]), references)
    assert virus[0] > 0.99 > max(small[0], long[0])


def test_likeness_is_one_for_a_reference_at_any_brightness_and_zero_for_nothing(references):
    profiles = np.array([references[3] / references[3].sum() * 20, np.zeros(RADII.size), np.full(RADII.size, np.nan)])
    np.testing.assert_allclose(likeness(profiles, references), [1, 0, 0])


def test_class_profiles_are_means_and_an_empty_class_has_none():
    profiles = np.arange(12.0).reshape(4, 3)
    found = class_profiles(profiles, np.array([0, 2, 2, 0]), number=3)
    np.testing.assert_allclose(found[[0, 2]], [profiles[[0, 3]].mean(axis=0), profiles[[1, 2]].mean(axis=0)])
    assert np.isnan(found[1]).all()


def test_the_proposal_is_what_is_like_enough_or_else_the_best():
    assert proposed_classes(np.array([0.9995, 0.5, 0.999])) == [0, 2]
    assert proposed_classes(np.array([0.2, 0.5, 0.3])) == [1]


def test_votes_are_the_share_of_runs():
    classes = np.array([[0, 1, 2, 0], [3, 3, 1, 0], [1, 0, 0, 1]])
    np.testing.assert_allclose(votes(classes, [[0, 2], [3], []]), [2 / 3, 1 / 3, 1 / 3, 1 / 3])


@given(st.lists(st.sets(st.integers(0, 19)), min_size=1, max_size=6), st.sampled_from(["proposed", "user"]))
def test_a_choice_is_read_as_it_was_written(tmp_path_factory, chosen, source):
    path = tmp_path_factory.mktemp("choice") / "choice.json"
    write_choice(path, [list(one) for one in chosen], key="abc", source=source)
    assert read_choice(path, key="abc", classes=20) == ([sorted(one) for one in chosen], source)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "holds no choice of classes"),
        ('{"runs": [[1]]}', "holds no choice of classes"),
        ('{"runs": [["a"]], "key": "abc", "source": "user"}', "holds no choice of classes"),
        ('{"runs": [[1]], "key": "old", "source": "user"}', "was made for other runs of EM"),
        ('{"runs": [[1], [20]], "key": "abc", "source": "user"}', "names a class 20, but there are 0 to 19"),
        ('{"runs": [[-1]], "key": "abc", "source": "user"}', "names a class -1"),
    ],
)
def test_a_file_that_is_no_choice_for_these_runs_is_refused_and_kept(tmp_path, content, message):
    path = tmp_path / "choice.json"
    path.write_text(content)
    with pytest.raises(ClassChoiceError, match=message):
        read_choice(path, key="abc", classes=20)
    if '"source"' in content or content == "{":
        with pytest.raises(ClassChoiceError, match=message):
            settled_choice(path, [[0]], key="abc", classes=20)
        assert path.read_text() == content


def test_a_persons_choice_wins_over_the_proposal_and_an_old_proposal_does_not(tmp_path):
    path = tmp_path / "em" / "choice.json"
    assert settled_choice(path, [[1, 2]], key="one", classes=5) == ([[1, 2]], "proposed")
    assert settled_choice(path, [[3]], key="two", classes=5) == ([[3]], "proposed")
    write_choice(path, [[4]], key="two", source="user")
    assert settled_choice(path, [[3]], key="two", classes=5) == ([[4]], "user")


def test_the_key_tells_runs_apart():
    classes = np.array([[0, 1], [1, 0]])
    assert runs_key(classes) == runs_key(classes.astype(np.int32)) != runs_key(classes[::-1])


def test_a_title_has_class_patterns_and_likeness():
    assert class_titles(np.array([0, 2, 2]), np.array([0.5, 0.0, 0.99991])) == [
        "0: 1 patterns, 0.5000",
        "1: 0 patterns, 0.0000",
        "2: 2 patterns, 0.9999",
    ]
