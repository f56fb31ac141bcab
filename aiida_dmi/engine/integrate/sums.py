"""Tensors summed over k, before they get names and units."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..quantities.registry import QUANTITIES
from ..symmetry.action import symmetrise_tensor
from ..symmetry.groups import Operation
from .settings import Settings

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass
class Sums:
    """Quantities in eV and Angstrom, and electrons, summed over a batch or averaged over a mesh.

    Parameters
    ----------
    tensors : dict
        By name, each over (direction, mask, xi, temperature, shift, *axes); of first order without xi.
    electrons : ndarray, shape (temperature, shift)
    """

    tensors: dict[str, Floats]
    electrons: Floats

    @classmethod
    def zeros(cls, settings: Settings, dimension: int) -> Sums:
        """Empty sums for these settings."""
        outer = (len(settings.directions), len(settings.soi_masks))
        inner = (len(settings.temperatures), len(settings.fermi_shifts))
        scales = (len(settings.soi_scales),)
        tensors = {
            one.name: np.zeros((*outer, *(scales if one.finite else ()), *inner, *one.shape(dimension)))
            for one in settings.summed
        }
        return cls(tensors, np.zeros(inner))

    def __iadd__(self, other: Sums) -> Sums:
        for name, values in other.tensors.items():
            self.tensors[name] += values
        self.electrons += other.electrons
        return self

    def scaled(self, factor: float) -> Sums:
        """Every sum times `factor`."""
        return Sums({name: values * factor for name, values in self.tensors.items()}, self.electrons * factor)

    def symmetrised(self, group: Sequence[Operation]) -> Sums:
        """What the symmetry allows of every tensor; the electrons as they are."""
        changed = {}
        for name, values in self.tensors.items():
            one = QUANTITIES[name]
            changed[name] = symmetrise_tensor(values, group, [axis.axial for axis in one.axes], one.odd_in_time)
        return Sums(changed, self.electrons)

    def as_arrays(self, level: int) -> dict[str, Floats]:
        """For a checkpoint."""
        return {f"{name}_{level}": values for name, values in self._all().items()}

    def take(self, arrays: Mapping[str, Any], level: int) -> None:
        """Take over what `as_arrays` made.

        Raises
        ------
        KeyError, ValueError
            If something is missing or has another shape.
        """
        for name, values in self._all().items():
            values[...] = arrays[f"{name}_{level}"]

    def _all(self) -> dict[str, Floats]:
        return {**self.tensors, "electrons": self.electrons}
