"""Interpolation with the products of operators taken once, on lattice vectors, instead of at every k point.

A product of two sums over R is a sum over R itself, whose vectors reach twice as far: with
X(k) = sum_R exp(ik.R) X(R), -i [A, X](k) = sum_R exp(ik.R) sum_S -i (A(S) X(R - S) - X(R - S) A(S)). The velocities and
the torque's commutator are such sums, so at a k point they cost no matrix product. Both ways agree to rounding.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ..model.operators import Operators, SpinOrbit
from ..states.spinors import exchange_commutator
from .interpolation import Columns, Interpolation
from .lattice_sum import LatticeSum

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

CHUNK_BYTES = 96 * 1024**2
"""Operators of the k points at which products are taken at once while tables are made."""
LEAST_USE = 8
"""Tables are made for at least so many times as many k points as the products are taken at to make them."""


@dataclasses.dataclass(frozen=True)
class SpinOrbitTable:
    """V(R), and hbar v^SOI(R), of one direction and mask: up-up, up-down, down-down, the velocities with j."""

    interaction: Columns
    velocity: Columns


class TabulatedInterpolation:
    """An Interpolation for many k points: faster at each, for more memory and some time before the first.

    Parameters
    ----------
    source : Interpolation
    """

    def __init__(self, source: Interpolation) -> None:
        self._source = source
        model, n, d = source.model, source.functions, source.dimension

        def products(kpoints: Floats) -> Complexes:
            operators = source.operators(kpoints)
            velocity = operators.velocity.reshape(2 * d, len(kpoints), n, n)
            return np.concatenate([velocity, exchange_commutator(operators)[None]])

        self._products = self._table(products, 2 * d + 1)
        self._plain = source.lattice_sum(np.concatenate([model.hamiltonian, model.overlap[None]]))

    @staticmethod
    def pays(source: Interpolation, columns: int, points: int, memory: int) -> bool:
        """Whether tables for so many directions and masks fit into the memory (bytes) and serve enough k points."""
        table = int(np.prod([high - low + 1 for low, high in _reach(source.vectors)]))
        matrices = 2 * source.dimension + 1 + 3 * source.dimension * columns
        return table <= points / LEAST_USE and 16 * matrices * source.functions**2 * table <= memory

    @property
    def functions(self) -> int:
        """Wannier functions per spin."""
        return self._source.functions

    @property
    def time_reversal(self) -> bool:
        """See `Interpolation.second_component`."""
        return self._source.time_reversal

    @property
    def dimension(self) -> int:
        """Periodic directions."""
        return self._source.dimension

    @property
    def measure(self) -> float:
        """Tensors are per cell: the mean over the mesh as it is."""
        return self._source.measure

    def operators(self, kpoints: Floats) -> Operators:
        """Operators without spin-orbit interaction, and without position matrices: what they enter is in the tables.

        Parameters
        ----------
        kpoints : ndarray, shape (k, 3)
            In units of the reciprocal lattice vectors.
        """
        plain, products = self._plain.at(kpoints), self._products.at(kpoints)
        velocity = products[:-1].reshape(2, self.dimension, *products.shape[1:])
        return Operators(plain[:2], velocity, np.empty((2, self.dimension, 0), dtype=complex), plain[2], products[-1])

    def hamiltonian(self, kpoints: Floats) -> Complexes:
        """See `Interpolation.hamiltonian`."""
        return self._source.hamiltonian(kpoints)

    def interaction(self, columns: SpinOrbitTable, kpoints: Floats) -> Complexes:
        """See `Interpolation.interaction`."""
        return columns.interaction.whole.at(kpoints)

    def spin_orbit_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> SpinOrbitTable:
        """V(R) and hbar v^SOI(R) of one direction and mask, for `spin_orbit`."""
        columns = self._source.spin_orbit_columns(direction, mask)
        n, d = self.functions, self.dimension

        def velocities(kpoints: Floats) -> Complexes:
            return self._source.spin_orbit(columns, kpoints).velocity.reshape(3 * d, len(kpoints), n, n)

        table = self._table(velocities, 3 * d)
        # As for V: the commutator with the real A(R) and the factor i R leave sigma_2's part imaginary.
        second = table.part(slice(d, 2 * d), imaginary=True) if self.time_reversal else None
        return SpinOrbitTable(columns, Columns(table, second))

    def spin_orbit(self, columns: SpinOrbitTable, kpoints: Floats, operators: Operators) -> SpinOrbit:
        """V and hbar v^SOI of one direction and mask; `operators` are not needed here."""
        velocity = columns.velocity.whole.at(kpoints)
        interaction = columns.interaction.whole.at(kpoints)
        return SpinOrbit(interaction, velocity.reshape(3, self.dimension, *velocity.shape[1:]))

    def second_component(
        self, columns: SpinOrbitTable, kpoints: Floats, operators: Operators
    ) -> tuple[Complexes, Complexes]:
        """See `Interpolation.second_component`; `operators` are not needed here."""
        interaction, velocity = columns.interaction.second, columns.velocity.second
        if interaction is None or velocity is None:
            raise ValueError("second_component: the model lacks time reversal")
        return interaction.at(kpoints)[0], velocity.at(kpoints)

    def exact_velocity_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Columns | None:
        """See `Interpolation.exact_velocity_columns`."""
        return self._source.exact_velocity_columns(direction, mask)

    def exact_velocity(self, columns: Columns, kpoints: Floats) -> Complexes:
        """See `Interpolation.exact_velocity`."""
        return self._source.exact_velocity(columns, kpoints)

    def exact_second_component(self, columns: Columns, kpoints: Floats) -> Complexes:
        """See `Interpolation.exact_second_component`."""
        return self._source.exact_second_component(columns, kpoints)

    def _table(self, evaluate: Callable[[Floats], Complexes], matrices: int) -> LatticeSum:
        """The sum over R that a product of two of the model's sums is.

        It follows from the values on a mesh of as many points as the R vectors reach.

        Parameters
        ----------
        evaluate : callable
            k points, shape (k, 3), to the matrices X(k), shape (matrices, k, n, n).
        matrices : int
        """
        reach, n = _reach(self._source.vectors), self.functions
        divisions = [high - low + 1 for low, high in reach]
        mesh = np.array(list(itertools.product(*(range(m) for m in divisions)))) / divisions
        samples = np.empty((len(mesh), matrices, n, n), dtype=complex)
        size = max(1, CHUNK_BYTES // (16 * n**2 * 10 * (1 + self.dimension)))
        for start in range(0, len(mesh), size):
            samples[start : start + size] = evaluate(mesh[start : start + size]).swapaxes(0, 1)
        return LatticeSum.from_samples([low for low, _ in reach], samples.reshape(*divisions, matrices, n, n))


def _reach(vectors: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last R of a product's sum along each axis."""
    return [(2 * int(low), 2 * int(high)) for low, high in zip(vectors.min(0), vectors.max(0), strict=True)]
