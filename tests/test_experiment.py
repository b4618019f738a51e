from dataclasses import replace

import numpy as np
import pytest

from helpers.experiment import AMOX34117


def test_paper_geometry_gives_the_frequency_step_of_7_914e_4_per_nm():
    assert AMOX34117.frequency_step == pytest.approx(75e-6 / (0.729 * 0.130))
    assert AMOX34117.frequency_step == pytest.approx(7.914e-4, rel=1e-4)
    assert AMOX34117.q_step == pytest.approx(4.972e-3, rel=1e-4)


def test_wavelength_is_that_of_1_7_kev():
    assert 1239.84198 / AMOX34117.wavelength_nm == pytest.approx(1700, abs=1)


def test_pattern_is_the_papers_crop_with_the_beam_at_its_first_rows():
    assert AMOX34117.shape == (123, 240)
    row, column = AMOX34117.centre
    assert -1 < row < 5
    assert column == (240 - 1) / 2


def test_pixel_radius_is_the_distance_from_a_given_centre():
    radius = AMOX34117.pixel_radius((3.0, 4.0))
    assert radius.shape == (123, 240)
    assert radius[3, 4] == 0
    assert radius[0, 0] == 5
    assert radius[6, 8] == 5


def test_q_is_proportional_to_the_radius_about_the_nominal_centre():
    np.testing.assert_allclose(AMOX34117.q(), AMOX34117.q_step * AMOX34117.pixel_radius(AMOX34117.centre))


@pytest.mark.parametrize("field", ["wavelength_nm", "distance_m", "pixel_m", "rows", "saturation"])
def test_impossible_geometry_is_refused_by_name(field):
    with pytest.raises(ValueError, match=field):
        replace(AMOX34117, **{field: 0})
