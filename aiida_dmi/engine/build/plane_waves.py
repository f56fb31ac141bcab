"""States at one k point with the place of each plane wave, for inner products with those of another."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from .quantum_espresso import WaveFunctions

Integers = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]


@dataclasses.dataclass(frozen=True)
class LocatedStates:
    """The states of one k point, and where each plane wave stands.

    Parameters
    ----------
    waves : WaveFunctions
    table : ndarray of int
        Index of the plane wave with Miller indices h in `table[h + reach]`, -1 where there is none.
    reach : ndarray of int, shape (3,)
        Largest Miller indices.
    """

    waves: WaveFunctions
    table: Integers
    reach: Integers

    @classmethod
    def of(cls, waves: WaveFunctions) -> LocatedStates:
        """Of states as they were read or made."""
        reach = np.abs(waves.miller).max(axis=0)
        table = np.full(2 * reach + 1, -1)
        table[tuple((waves.miller + reach).T)] = np.arange(len(waves.miller))
        return cls(waves, table, reach)

    def overlaps(self, other: LocatedStates, shift: Integers) -> Complexes:
        """<u_mk|u_nk+b>, the other point's states standing for k + b = k' + shift; shape (bands, bands)."""
        wanted = self.waves.miller + shift
        inside = (np.abs(wanted) <= other.reach).all(axis=1)
        index = np.full(len(wanted), -1)
        index[inside] = other.table[tuple((wanted[inside] + other.reach).T)]
        common = index >= 0
        bra, ket = self.waves.coefficients[:, common], other.waves.coefficients[:, index[common]]
        result: Complexes = bra.conj() @ ket.T
        return result
