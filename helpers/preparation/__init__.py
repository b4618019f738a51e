"""Everything before classification: detector frames to cropped photon counts (section 2.1 of the paper).

photons, hits, background, circles, fitted_pixels, refinement, sphere, profile, size, crop: one step each, on arrays,
vectorised over patterns. survey looks at all frames of a stack, learning finds what they have in common, chain prepares
them, file does that for the command. The experiment is an argument everywhere.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calibration": ["Steps"],
        "command": ["prepare_file"],
        "crop": ["Crop"],
        "form_factor": ["sphere_form_factor"],
        "hit_finding": ["HitRule", "whole_photons"],
        "hits": ["are_hits", "lit_pixels"],
        "photons": ["CONVERSIONS"],
        "pipeline": ["prepare", "table_preparation"],
        "radial_profile": ["radial_average"],
        "size": ["SIZE_RANGE_NM", "particle_sizes"],
    },
)
