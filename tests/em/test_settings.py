import pytest

from helpers.em import EMSettings
from helpers.errors import ProfileError
from helpers.system import validated


def test_the_defaults_are_those_of_the_co_authors_program():
    settings = EMSettings()
    assert (settings.classes, settings.rotations, settings.friedel, settings.intensity) == (20, 100, True, "log")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"classes": 0}, "em: classes must be greater than 0, got 0"),
        ({"q_range": [60, 15]}, r"q_range must be two ascending radii from 0, got \[60, 15\]"),
        ({"runs": 2.5}, "em: runs must be a whole number, got 2.5"),
        ({"tolerance": -1.0}, "tolerance must be greater than or equal to 0, got -1.0"),
        ({"scales": "free"}, "scales must be 'updated' or 'fixed', got 'free'"),
        ({"intensity": "sqrt"}, "intensity must be 'log' or 'linear'"),
    ],
)
def test_impossible_values_are_refused(wrong, message):
    with pytest.raises(ProfileError, match=message):
        validated(EMSettings, wrong, error=ProfileError, source="em")
