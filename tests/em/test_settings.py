import pytest

from helpers.em import EMSettings
from helpers.errors import ProfileError


def test_the_defaults_are_those_of_the_co_authors_program():
    settings = EMSettings()
    assert (settings.classes, settings.rotations, settings.friedel, settings.intensity) == (20, 100, True, "log")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"classes": 0}, "classes must be at least 1, got 0"),
        ({"q_range": (60, 15)}, r"q_range must be two ascending radii from 0, got \[60, 15\]"),
        ({"tolerance": -1.0}, "tolerance must not be negative"),
        ({"scales": "free"}, "scales must be one of updated, fixed, got 'free'"),
        ({"intensity": "sqrt"}, "intensity must be one of log, linear"),
    ],
)
def test_impossible_values_are_refused(wrong, message):
    with pytest.raises(ProfileError, match=message):
        EMSettings(**wrong)
