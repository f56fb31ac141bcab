"""From Quantum ESPRESSO and Wannier90 files to the Wannier model file (model-format 1)."""

from .assemble import BuildSpec, build
from .pseudopotential import Pseudopotential

__all__ = ["BuildSpec", "Pseudopotential", "build"]
