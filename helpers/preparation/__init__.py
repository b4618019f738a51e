"""Preparation of detector frames: from ADU to cropped photon counts of single particles (section 2.1 of the paper).

One step in each module, on arrays, vectorised over patterns: `photons`, `hits`, `background`, `circle_fit`,
`sphere_fit` (with `form_factor`), `radial_profile`, `size`, `crop`. Above them `hit_finding` passes once over all
frames, `calibration` determines what they share, `pipeline` prepares the hits, and `command` does so for a file.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calibration": ["PrepareSettings"],
        "command": ["prepare_file"],
        "crop": ["Crop"],
        "form_factor": ["first_dark_ring", "sphere_form_factor"],
        "hit_finding": ["HitRule", "share_found", "whole_photons"],
        "hits": ["are_hits", "lit_pixels"],
        "photons": ["CONVERSIONS"],
        "pipeline": ["prepare", "table_preparation"],
        "radial_profile": ["radial_average"],
        "size": ["SIZE_RANGE_NM", "particle_sizes"],
    },
)
