"""Find single hits among XFEL diffraction patterns with YOLOv2 and YOLOv3 (Ignatenko et al. 2021)."""

from pathlib import Path

__version__ = "0.1.0"

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds notebooks/, data/ and results/: every path starts here, whatever the working directory."""
