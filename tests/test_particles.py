import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial import ConvexHull

from helpers import particles
from helpers.experiment import AMOX34117
from helpers.particles import Particle, amplitude, icosahedron_projection, intensity, rotation_matrix, solid_sphere

STEP = AMOX34117.frequency_step
UPRIGHT = (1.0, 0.0, 0.0, 0.0)


def random_orientation(seed):
    quaternion = np.random.default_rng(seed).normal(size=4)
    return tuple(quaternion / np.linalg.norm(quaternion))


def axis(pixels):
    return np.arange(-pixels, pixels + 1) * STEP


def test_rotation_matrix_turns_by_a_quarter_about_the_beam():
    quarter = rotation_matrix((math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)))
    assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-15)


def test_rotation_matrices_are_orthogonal_and_keep_handedness():
    matrix = rotation_matrix(random_orientation(3))
    assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_solid_sphere_is_smooth_where_the_series_takes_over():
    assert solid_sphere(0.0) == 1
    x = np.array([0.0099999, 0.0100001])
    assert_allclose(solid_sphere(x), 1 - x**2 / 10, rtol=1e-9)
    assert solid_sphere(4.493409458) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("orientation", [UPRIGHT, random_orientation(1), random_orientation(2)])
def test_projection_of_an_icosahedron_holds_its_volume(orientation):
    rays = np.linspace(-50, 50, 801)
    volume = icosahedron_projection(70.0, orientation, rays).sum() * (rays[1] - rays[0]) ** 2
    assert volume == pytest.approx(math.pi / 6 * 70**3, rel=1e-3)


def test_projection_is_the_shadow_of_the_polyhedron_with_the_right_chord():
    normals = np.concatenate([particles._FACE_NORMALS, -particles._FACE_NORMALS])
    inradius = 35.0 / particles._SPHERE_RADIUS * particles._INRADIUS
    vertices = ConvexHull(normals / inradius).equations
    corners = -vertices[:, :3] / vertices[:, 3:]
    assert np.unique(corners.round(6), axis=0).shape == (12, 3)
    shadow = ConvexHull(corners[:, :2])
    rays = np.linspace(-45, 45, 61)
    points = np.stack(np.meshgrid(rays, rays, indexing="ij"), axis=-1).reshape(-1, 2)
    inside = (points @ shadow.equations[:, :2].T + shadow.equations[:, 2] < 0).all(axis=1).reshape(61, 61)
    chords = icosahedron_projection(70.0, UPRIGHT, rays)
    np.testing.assert_array_equal(chords > 1e-9, inside)
    # Along a two-fold axis the beam runs from edge to edge: twice the midradius.
    assert chords[30, 30] == pytest.approx(2 * 35.0 / particles._SPHERE_RADIUS * (1 + math.sqrt(5)) / 4)


@pytest.mark.parametrize("ratio", [None, 1.0, 1.7, 0.5])
def test_forward_amplitude_is_the_volume_for_every_shape(ratio):
    particle = Particle(66.0, ratio, random_orientation(4))
    assert amplitude(particle, np.zeros(1), np.zeros(1))[0, 0] == pytest.approx(math.pi / 6 * 66**3, rel=1e-3)


def test_icosahedron_amplitude_is_the_fourier_sum_of_its_projection():
    particle = Particle(70.0, None, random_orientation(5))
    rows, columns = np.array([0.0, 0.013, -0.04]), np.array([0.021, 0.06])
    rays = np.linspace(-50, 50, 501)
    projection = icosahedron_projection(70.0, particle.orientation, rays)
    row_wave = np.exp(-2j * math.pi * np.outer(rows, rays))
    column_wave = np.exp(-2j * math.pi * np.outer(rays, columns))
    direct = row_wave @ projection @ column_wave * (rays[1] - rays[0]) ** 2
    assert_allclose(direct.imag, 0, atol=1e-6 * math.pi / 6 * 70**3)
    assert_allclose(amplitude(particle, rows, columns), direct.real, atol=2e-3 * math.pi / 6 * 70**3)


def test_small_angle_scattering_of_an_icosahedron_follows_guinier():
    frequency = 2 * STEP
    wave = amplitude(Particle(70.0, None, random_orientation(6)), np.array([0.0, frequency]), np.zeros(1))[:, 0]
    edge = 35.0 / particles._SPHERE_RADIUS
    mean_square_along_an_axis = edge**2 * (3 + math.sqrt(5)) / 40
    slope = (1 - wave[1] / wave[0]) / (2 * math.pi * frequency) ** 2
    assert slope == pytest.approx(mean_square_along_an_axis / 2, rel=0.01)


def test_prolate_spheroid_along_rows_has_its_minimum_nearer_along_rows():
    along_rows = Particle(60.0, 2.0, (math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0))
    equator = 30.0 / 2 ** (1 / 3)
    minimum = 4.493409458 / (2 * math.pi)
    assert amplitude(along_rows, np.array([minimum / (2 * equator)]), np.zeros(1))[0, 0] == pytest.approx(0, abs=1e-3)
    assert amplitude(along_rows, np.zeros(1), np.array([minimum / equator]))[0, 0] == pytest.approx(0, abs=1e-3)


def test_noise_free_pattern_has_friedel_symmetry_about_its_centre():
    several = [
        Particle(65.0, None, random_orientation(7), (120.0, -60.0)),
        Particle(72.0, None, random_orientation(8), (-40.0, 200.0), brightness=0.6),
        Particle(50.0, 1.5, random_orientation(9)),
    ]
    pattern = intensity(several, axis(60), axis(60), frequency_step=STEP)
    assert_allclose(pattern, pattern[::-1, ::-1], rtol=1e-9, atol=1e-9 * pattern.max())
    assert abs(pattern - pattern[::-1]).max() > 0.01 * pattern.max()


@pytest.mark.parametrize("separation", [150.0, 300.0])
def test_fringes_of_a_coherent_double_have_the_spacing_lambda_d_over_d(separation):
    orientation = random_orientation(10)
    pair = [Particle(60.0, None, orientation), Particle(60.0, None, orientation, (0.0, separation))]
    frequency = np.linspace(-0.014, 0.014, 2801)
    alone = intensity(pair[:1], np.zeros(1), frequency, frequency_step=STEP)
    fringes = (intensity(pair, np.zeros(1), frequency, frequency_step=STEP) / alone)[0]
    peaks = frequency[1:-1][(fringes[1:-1] > fringes[:-2]) & (fringes[1:-1] > fringes[2:])] / STEP
    spacing_pixels = AMOX34117.wavelength_nm * AMOX34117.distance_m / (separation * AMOX34117.pixel_m)
    assert_allclose(np.diff(peaks), spacing_pixels, rtol=0.01)


def test_pixels_wash_out_the_fringes_of_distant_particles():
    def visibility(separation):
        pair = [Particle(60.0, 1.0), Particle(60.0, 1.0, position_nm=(0.0, separation))]
        frequency = np.linspace(-0.004, 0.004, 4001)
        alone = intensity(pair[:1], np.zeros(1), frequency, frequency_step=STEP)
        fringes = intensity(pair, np.zeros(1), frequency, frequency_step=STEP) / alone
        return (fringes.max() - fringes.min()) / (fringes.max() + fringes.min())

    assert visibility(300.0) == pytest.approx(np.sinc(300.0 * STEP), abs=1e-3)
    assert visibility(1 / STEP) == pytest.approx(0, abs=1e-6)


def test_nothing_in_the_focus_scatters_nothing():
    assert not intensity([], axis(3), axis(5), frequency_step=STEP).any()
