"""The simulated twin of the experiment: patterns with exact truth, detector frames, and a beamline."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "detector_frames": ["CAMERA", "simulate_frames"],
        "simulated_beamline": ["beamline"],
        "twin": ["simulate"],
    },
)
