"""A first centre from the sum of all hits: circles through pixels of equal brightness."""

import numpy as np
from scipy.ndimage import gaussian_filter

from helpers.errors import PatternFileError
from helpers.experiment import Centre

_LEVELS = 100
_FEWEST_PIXELS = 20
_ROUNDNESS = 0.1
_FEWEST_CIRCLES = 3
_BLURS = (0.0, 1.0, 2.0, 3.0)
_STEPS = 30
_SETTLED = 1e-4


def fitted_circle(row: np.ndarray, column: np.ndarray) -> tuple[float, float, float]:
    """Circle that is nearest to points: Σ (d − mean d)² of their distances d from the centre is least.

    Gauss–Newton, started from the circle that is the linear least-squares solution of d² = const.

    Parameters
    ----------
    row, column
        (n,) points, at least three.

    Returns
    -------
    row, column, radius : float
        [pixels]
    """
    row, column = np.asarray(row, float), np.asarray(column, float)
    origin = np.array([row.mean(), column.mean()])
    down, right = row - origin[0], column - origin[1]
    linear = np.stack([2 * down, 2 * right, np.ones_like(down)], axis=1)
    centre = np.linalg.lstsq(linear, down**2 + right**2, rcond=None)[0][:2]
    for _ in range(_STEPS):
        distance = np.maximum(np.hypot(down - centre[0], right - centre[1]), 1e-9)
        slope = np.stack([(centre[0] - down) / distance, (centre[1] - right) / distance], axis=1)
        step = np.linalg.lstsq(slope - slope.mean(axis=0), distance - distance.mean(), rcond=None)[0]
        centre = centre - step
        if np.abs(step).max() < _SETTLED:
            break
    radius = np.hypot(down - centre[0], right - centre[1]).mean()
    return float(centre[0] + origin[0]), float(centre[1] + origin[1]), float(radius)


def circle_centre(image: np.ndarray, mask: np.ndarray) -> Centre:
    """Beam centre from circles through the pixels of each brightness of a sum image.

    The image is scaled to 0–100 and rounded; a circle is fitted to every level with at least 20 good pixels. A circle
    counts if no pixel is farther from it than 0.1 of its radius, and if it is not larger than the detector could show.
    The centre is the mean over the circles. Where fewer than three levels are round (a sum of few patterns), the image
    is blurred by 1, 2 and at last 3 pixels.

    Parameters
    ----------
    image
        (rows, columns) sum of patterns, not negative, in any unit.
    mask
        (rows, columns), True = bad pixel.

    Returns
    -------
    Centre
        Rounded to 0.1 pixels.

    Raises
    ------
    PatternFileError
        If too few levels are round.
    """
    good = ~mask
    for blur in _BLURS:
        centres = _circle_centres(_blurred(image * good, good, blur), good)
        if len(centres) >= _FEWEST_CIRCLES:
            row, column = np.mean(centres, axis=0)
            return round(float(row), 1), round(float(column), 1)
    raise PatternFileError(
        "too few levels of the sum of the hits are round, so the beam centre cannot be found; "
        "give it as centre=(row, column) (--centre ROW,COLUMN), and mask what is not scattering"
    )


def _blurred(image: np.ndarray, good: np.ndarray, blur: float) -> np.ndarray:
    """Gaussian blur [pixels] over the good pixels."""
    if blur == 0:
        return image
    return gaussian_filter(image.astype(float), blur) / np.maximum(gaussian_filter(good.astype(float), blur), 1e-9)


def _circle_centres(image: np.ndarray, good: np.ndarray) -> list[Centre]:
    """Centres of the circles of all levels that are round."""
    brightest = float(image[good].max(initial=0.0))
    if brightest <= 0:
        return []
    level = np.rint(image * (_LEVELS / brightest)).astype(int)
    pixels = [np.nonzero(good & (level == value)) for value in range(1, _LEVELS + 1)]
    circles = [(fitted_circle(*members), members) for members in pixels if members[0].size >= _FEWEST_PIXELS]
    return [circle[:2] for circle, members in circles if _is_round(circle, members, max(image.shape))]


def _is_round(circle: tuple[float, float, float], pixels: tuple[np.ndarray, np.ndarray], side: int) -> bool:
    """Whether all pixels lie on the circle, within a tenth of its radius and of the detector's longer side."""
    row, column, radius = circle
    farthest = np.abs(np.hypot(pixels[0] - row, pixels[1] - column) - radius).max()
    return bool(farthest <= _ROUNDNESS * min(radius, side))
