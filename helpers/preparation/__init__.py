"""Everything before classification: detector frames to cropped photon counts (section 2.1 of the paper).

photons, hits, background, circles, fitted_pixels, refinement, sphere, profile, size, crop: one step each, on arrays,
vectorised over patterns. survey looks at all frames of a stack, learning finds what they have in common, chain prepares
them, file does that for the command. The experiment is an argument everywhere.
"""

from helpers.preparation.profile import radial_average
from helpers.preparation.size import SIZE_RANGE_NM, particle_sizes
from helpers.preparation.sphere import sphere_form_factor

__all__ = ["SIZE_RANGE_NM", "particle_sizes", "radial_average", "sphere_form_factor"]
