"""Tensors summed over k, before they get names and units."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .settings import Settings

Floats = npt.NDArray[np.float64]

TENSORS = ("D", "Q", "a_I", "a_II", "a_II_exact", "D_1")


@dataclasses.dataclass
class Sums:
    """Tensors in eV*Angstrom and electrons, summed over a batch or averaged over a mesh.

    D, Q: (direction, mask, xi, temperature, shift, 3, d); a_I, a_II, a_II_exact, D_1: the same without xi;
    electrons: (temperature, shift).
    """

    D: Floats
    Q: Floats
    a_I: Floats
    a_II: Floats
    a_II_exact: Floats
    D_1: Floats
    electrons: Floats

    @classmethod
    def zeros(cls, settings: Settings, dimension: int) -> Sums:
        """Empty sums for these settings."""
        outer = (len(settings.directions), len(settings.soi_masks))
        inner = (len(settings.temperatures), len(settings.fermi_shifts))
        full = (*outer, len(settings.soi_scales), *inner, 3, dimension)
        first = (*outer, *inner, 3, dimension)
        shapes = {"D": full, "Q": full, "electrons": inner}
        return cls(**{field.name: np.zeros(shapes.get(field.name, first)) for field in dataclasses.fields(cls)})

    def __iadd__(self, other: Sums) -> Sums:
        for field in dataclasses.fields(self):
            getattr(self, field.name).__iadd__(getattr(other, field.name))
        return self

    def scaled(self, factor: float) -> Sums:
        """Every sum times `factor`."""
        return Sums(*(getattr(self, field.name) * factor for field in dataclasses.fields(self)))

    def symmetrised(self, operation: Callable[[Floats], Floats]) -> Sums:
        """Every tensor symmetrised; the electrons as they are."""
        changed = {name: operation(getattr(self, name)) for name in TENSORS}
        return dataclasses.replace(self, **changed)
