"""First estimate of the beam centre: circles through pixels of equal brightness in the sum of all hits."""

import numpy as np
from scipy.ndimage import gaussian_filter

from helpers.errors import PatternFileError
from helpers.experiment import Centre

_LEVELS = 100
_FEWEST_PIXELS = 20
_ROUNDNESS = 0.1
_FEWEST_CIRCLES = 3
_BLURS = (0.0, 1.0, 2.0, 3.0)
_ITERATIONS = 30
_CONVERGED = 1e-4


def fitted_circle(row: np.ndarray, column: np.ndarray) -> tuple[float, float, float]:
    """Row, column, radius of the circle that minimises Σ (d − mean d)² over the distances d of points from its centre.

    Gauss–Newton, started from the circle that is the linear least-squares solution of d² = const.
    """
    row, column = np.asarray(row, float), np.asarray(column, float)
    # coordinates about the middle of the points keep the equations well conditioned
    origin = np.array([row.mean(), column.mean()])
    down, right = row - origin[0], column - origin[1]
    # start: (down − a)² + (right − b)² = R² is linear in a, b and R² − a² − b²
    linear = np.stack([2 * down, 2 * right, np.ones_like(down)], axis=1)
    centre = np.linalg.lstsq(linear, down**2 + right**2, rcond=None)[0][:2]
    for _ in range(_ITERATIONS):
        distance = np.maximum(np.hypot(down - centre[0], right - centre[1]), 1e-9)
        # derivatives of the distances by the centre; taking off the mean eliminates the radius
        slope = np.stack([(centre[0] - down) / distance, (centre[1] - right) / distance], axis=1)
        step = np.linalg.lstsq(slope - slope.mean(axis=0), distance - distance.mean(), rcond=None)[0]
        centre = centre - step
        if np.abs(step).max() < _CONVERGED:
            break
    radius = np.hypot(down - centre[0], right - centre[1]).mean()
    return float(centre[0] + origin[0]), float(centre[1] + origin[1]), float(radius)


def circle_centre(image: np.ndarray, mask: np.ndarray) -> Centre:
    """Beam centre, rounded to 0.1 pixels, from circles through the pixels of each brightness level of a sum image.

    The image is scaled to 0–100 and rounded; a circle is fitted to every level with at least 20 good pixels. It counts
    if no pixel deviates from it by more than 0.1 of its radius, nor by 0.1 of the detector's longer side. The centre is
    the mean over these circles. If fewer than three levels are round (in a sum of few patterns), the image is blurred
    by 1, then 2, then 3 pixels; if that does not help, PatternFileError.
    """
    good = ~mask
    for blur in _BLURS:
        centres = _circle_centres(_blurred(image * good, good, blur), good)
        if len(centres) >= _FEWEST_CIRCLES:
            row, column = np.mean(centres, axis=0)
            return round(float(row), 1), round(float(column), 1)
    raise PatternFileError(
        "too few brightness levels of the summed hits are round, so the beam centre cannot be found; "
        "give it as centre=(row, column) (--centre ROW,COLUMN), and mask all that is not scattering"
    )


def _blurred(image: np.ndarray, good: np.ndarray, blur: float) -> np.ndarray:
    """Gaussian blur of this width [pixels], normalised to the good pixels."""
    if blur == 0:
        return image
    return gaussian_filter(image.astype(float), blur) / np.maximum(gaussian_filter(good.astype(float), blur), 1e-9)


def _circle_centres(image: np.ndarray, good: np.ndarray) -> list[Centre]:
    """Centres of the circles through all levels that are round."""
    brightest = float(image[good].max(initial=0.0))
    if brightest <= 0:
        return []
    level = np.rint(image * (_LEVELS / brightest)).astype(int)
    pixels = [np.nonzero(good & (level == value)) for value in range(1, _LEVELS + 1)]
    circles = [(fitted_circle(*members), members) for members in pixels if members[0].size >= _FEWEST_PIXELS]
    return [circle[:2] for circle, members in circles if _is_round(circle, members, max(image.shape))]


def _is_round(circle: tuple[float, float, float], pixels: tuple[np.ndarray, np.ndarray], side: int) -> bool:
    """True if all pixels lie on the circle, within a tenth of its radius and of the detector's longer side."""
    row, column, radius = circle
    farthest = np.abs(np.hypot(pixels[0] - row, pixels[1] - column) - radius).max()
    return bool(farthest <= _ROUNDNESS * min(radius, side))
