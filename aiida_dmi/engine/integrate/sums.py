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
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass
class Sums:
    """Quantities in eV and Angstrom, and electrons, summed over a batch or averaged over a mesh.

    Row 0 is the sum; each further row is weighted with the cosine of one of the `aliases`' vectors.

    Parameters
    ----------
    tensors : dict
        By name, each over (row, direction, mask, xi, temperature, shift, *axes); of first order without xi.
    electrons : ndarray, shape (row, temperature, shift)
        Of Hbar.
    filled : ndarray, shape (row, direction, mask, xi, temperature, shift)
        Electrons of H(xi); zero where no quantity of it is asked for.
    """

    tensors: dict[str, Floats]
    electrons: Floats
    filled: Floats

    @classmethod
    def zeros(cls, settings: Settings, dimension: int, rows: int = 1) -> Sums:
        """Empty sums for these settings."""
        outer = (len(settings.directions), len(settings.soi_masks))
        inner = (len(settings.temperatures), len(settings.fermi_shifts))
        scales = (len(settings.soi_scales),)
        tensors = {
            one.name: np.zeros((rows, *outer, *(scales if one.finite else ()), *inner, *one.shape(dimension)))
            for one in settings.summed
        }
        return cls(tensors, np.zeros((rows, *inner)), np.zeros((rows, *outer, *scales, *inner)))

    def __iadd__(self, other: Sums) -> Sums:
        for name, values in other.tensors.items():
            self.tensors[name] += values
        self.electrons += other.electrons
        self.filled += other.filled
        return self

    def scaled(self, factor: float) -> Sums:
        """Every sum times `factor`."""
        tensors = {name: values * factor for name, values in self.tensors.items()}
        return Sums(tensors, self.electrons * factor, self.filled * factor)

    def symmetrised(self, group: Sequence[Operation], images: Sequence[Integers] = ()) -> Sums:
        """What the symmetry allows of every row: the mean over the group of what each operation makes of it.

        X(gk) = g X(k), so that the mean of X(k) cos(2 pi k.R) over the whole mesh is that of g F(M^T R) over the group,
        F the sum over irreducible points, and M what g makes of k.

        Parameters
        ----------
        group : sequence of Operation
        images : sequence of ndarray of int
            Of `Aliases`, for the rows after the first.
        """
        rows = len(self.electrons)
        orders = [np.append(0, 1 + image) for image in images] if rows > 1 else [np.array([0])] * len(group)
        changed = {}
        for name, values in self.tensors.items():
            one = QUANTITIES[name]
            axial = [axis.axial for axis in one.axes]
            changed[name] = np.mean(
                [
                    symmetrise_tensor(values[order], [g], axial, one.odd_in_time)
                    for g, order in zip(group, orders, strict=True)
                ],
                axis=0,
            )
        electrons, filled = (
            np.mean([values[order] for order in orders], axis=0) for values in (self.electrons, self.filled)
        )
        return Sums(changed, electrons, filled)

    @property
    def bytes(self) -> int:
        """Of all numbers."""
        return sum(values.nbytes for values in self._all().values())

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
        return {**self.tensors, "electrons": self.electrons, "filled": self.filled}
