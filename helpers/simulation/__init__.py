"""Simulated twin of the experiment: labelled patterns with exact truth, detector frames, and a live beamline."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "detector_frames": ["CAMERA", "simulate_frames"],
        "simulated_beamline": ["beamline"],
        "twin": ["simulate"],
    },
)
