"""Scattering of single particles: amplitudes of spheres, spheroids and icosahedra in the projection approximation.

Every particle here is a centrosymmetric solid of uniform density, so the Fourier transform of its projection is real.
The curvature of the Ewald sphere, polarisation and absorption are neglected.
"""

import math
from dataclasses import dataclass

import numpy as np

_GOLDEN = (1 + math.sqrt(5)) / 2
_FACE_NORMALS = np.array(
    [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1)]
    + [(0, sign / _GOLDEN, _GOLDEN) for sign in (1, -1)]
    + [(sign / _GOLDEN, _GOLDEN, 0) for sign in (1, -1)]
    + [(_GOLDEN, 0, sign / _GOLDEN) for sign in (1, -1)]
) / math.sqrt(3)
"""Unit normals (10, 3) of an icosahedron's faces, one of each opposite pair."""

_INRADIUS = _GOLDEN**2 / (2 * math.sqrt(3))
_CIRCUMRADIUS = math.sqrt(10 + 2 * math.sqrt(5)) / 4
_SPHERE_RADIUS = (5 * (3 + math.sqrt(5)) / (16 * math.pi)) ** (1 / 3)
"""Radii of the inscribed sphere, the circumscribed sphere and the sphere of equal volume, in units of the edge."""

_RAYS = 64


@dataclass(frozen=True)
class Particle:
    """A uniform solid in the beam."""

    size_nm: float  # diameter of the sphere of the same volume, whatever the shape [nm]
    axis_ratio: float | None  # polar over equatorial diameter of a spheroid (1 is a sphere); None is an icosahedron
    orientation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    """Unit quaternion (w, x, y, z) that rotates the particle's axes, of which a spheroid's own axis is z, to the
    laboratory's (row, column, beam)."""
    position_nm: tuple[float, float] = (0.0, 0.0)  # position across the beam, along rows and columns [nm]
    brightness: float = 1.0  # fluence at this position relative to the middle of the focus


def rotation_matrix(quaternion: tuple[float, float, float, float]) -> np.ndarray:
    """Rotation matrix (3, 3) of a unit quaternion (w, x, y, z); column k is the rotated axis k."""
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def solid_sphere(x: np.ndarray | float) -> np.ndarray:
    """Amplitude scattered by a solid sphere relative to q = 0: 3 (sin x − x cos x) / x³ with x = qR, of any shape."""
    x = np.asarray(x, dtype=float)
    # near 0 the difference of sine and cosine loses its digits: there the series 1 − x²/10 is used
    small = np.abs(x) < 1e-2
    safe = np.where(small, 1.0, x)
    return np.where(small, 1 - x * x / 10, 3 * (np.sin(safe) - safe * np.cos(safe)) / safe**3)


def icosahedron_projection(
    size_nm: float, orientation: tuple[float, float, float, float], rays_nm: np.ndarray
) -> np.ndarray:
    """Thickness (rays, rays) of an icosahedron along the beam, ray by ray [nm]: the intersection of ten slabs.

    `rays_nm` (rays,) are the positions of the rays, the same along rows and columns; the thickness is 0 beside it.
    """
    normals = _FACE_NORMALS @ rotation_matrix(orientation).T
    half_thickness = size_nm / 2 / _SPHERE_RADIUS * _INRADIUS
    # a slab parallel to the beam has no finite ends: a tiny slope keeps the division defined
    slope = np.where(np.abs(normals[:, 2]) < 1e-9, 1e-9, normals[:, 2])[:, None, None]
    # the slab |n · r| ≤ half_thickness cuts a ray between middle − half_chord and middle + half_chord
    across = normals[:, 0, None, None] * rays_nm[:, None] + normals[:, 1, None, None] * rays_nm
    middle = -across / slope
    half_chord = half_thickness / np.abs(slope)
    # inside the particle is inside all slabs: from the last entry to the first exit
    return np.maximum((middle + half_chord).min(axis=0) - (middle - half_chord).max(axis=0), 0.0)


def icosahedron_amplitude(particle: Particle, row_frequency: np.ndarray, column_frequency: np.ndarray) -> np.ndarray:
    """Fourier transform (rows, columns) of the projected icosahedron about its middle [nm³], with separable matrices.

    The projection P is even, so the transform is C P Cᵀ − S P Sᵀ with cosines C and sines S of 2π f x and the spatial
    frequencies f (rows,) and (columns,) [1/nm]; at f = 0 it is the volume.
    """
    outer = particle.size_nm / 2 / _SPHERE_RADIUS * _CIRCUMRADIUS
    spacing = 2 * outer / _RAYS
    rays = (np.arange(_RAYS) + 0.5) * spacing - outer
    projection = icosahedron_projection(particle.size_nm, particle.orientation, rays) * spacing**2
    row_phase = 2 * math.pi * np.outer(row_frequency, rays)
    column_phase = 2 * math.pi * np.outer(rays, column_frequency)
    cosines = np.cos(row_phase) @ projection @ np.cos(column_phase)
    return cosines - np.sin(row_phase) @ projection @ np.sin(column_phase)


def spheroid_amplitude(particle: Particle, row_frequency: np.ndarray, column_frequency: np.ndarray) -> np.ndarray:
    """Fourier transform (rows, columns) of a solid spheroid [nm³]: a sphere whose radius depends on the direction.

    V · 3 (sin x − x cos x) / x³ with x² = (2π)² [a² f² + (c² − a²)(f · u)²], equatorial radius a, polar radius c along
    u, and V = 4πa²c/3; the spatial frequencies f are (rows,) and (columns,) [1/nm].
    """
    equator = particle.size_nm / 2 / particle.axis_ratio ** (1 / 3)
    axis = equator * particle.axis_ratio
    direction = rotation_matrix(particle.orientation)[:, 2]
    rows, columns = row_frequency[:, None], column_frequency[None, :]
    along = rows * direction[0] + columns * direction[1]
    x = 2 * math.pi * np.sqrt(np.maximum(equator**2 * (rows**2 + columns**2) + (axis**2 - equator**2) * along**2, 0.0))
    return math.pi / 6 * particle.size_nm**3 * solid_sphere(x)


def amplitude(particle: Particle, row_frequency: np.ndarray, column_frequency: np.ndarray) -> np.ndarray:
    """Real amplitude (rows, columns) of a particle of either shape about its own middle [nm³]."""
    shape = icosahedron_amplitude if particle.axis_ratio is None else spheroid_amplitude
    return shape(particle, row_frequency, column_frequency)


def intensity(
    particles: list[Particle], row_frequency: np.ndarray, column_frequency: np.ndarray, *, frequency_step: float
) -> np.ndarray:
    """Intensity (rows, columns) of all particles in a coherent pulse [nm⁶ at unit fluence]: amplitudes add with phases.

    I = Σ a_j² + 2 Σ_{j<k} a_j a_k cos(2π f · d_jk) sinc(Δ d_row) sinc(Δ d_column): fringes of period 1/d. The sincs
    average over the width Δ of a pixel, `frequency_step` [1/nm], which washes out the fringes of particles that are far
    apart. The spatial frequencies f are (rows,) and (columns,), at the middles of the pixels [1/nm].
    """
    amplitudes = [
        math.sqrt(particle.brightness) * amplitude(particle, row_frequency, column_frequency) for particle in particles
    ]
    total = np.zeros((row_frequency.size, column_frequency.size))
    for one, (particle, wave) in enumerate(zip(particles, amplitudes, strict=True)):
        total += wave**2
        for other in range(one):
            # interference of each pair, damped by the average over a pixel
            apart = np.subtract(particle.position_nm, particles[other].position_nm)
            contrast = np.prod(np.sinc(frequency_step * apart))
            phase = 2 * math.pi * (row_frequency[:, None] * apart[0] + column_frequency[None, :] * apart[1])
            total += 2 * contrast * wave * amplitudes[other] * np.cos(phase)
    return np.maximum(total, 0.0)  # dark fringes undershoot zero by a rounding error
