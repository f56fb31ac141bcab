"""Wannier interpolation: the model's operators at any k point.

X(R) = (1/q) sum_q exp(-iqR) X(q), every pair (i, j) placed on the periodic image(s) of R that make
|R + c_j - c_i| smallest; X(k) = sum_R exp(ikR) X(R), dX/dk_j = sum_R i R_j exp(ikR) X(R).
The same R vectors serve every operator, so that identities between operators survive interpolation.

Without spin-orbit interaction the collinear channels have time reversal each by itself: with real functions Hbar(R),
A(R) and O(R) are real, and V = sum_alpha sigma_alpha W_alpha with imaginary W_alpha(R). Where a model has that exactly
(those of `dmi-engine build` do), -k follows from k: see `opposite`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..model.operators import Operators, SpinOrbit
from ..model.spin_frame import in_spin_frame, spin_frame
from ..model.wannier import WannierModel
from .images import nearest_images
from .lattice_sum import LatticeSum

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

TIME_REVERSAL = 1e-9
"""A model has time reversal if it is broken by no more than this (eV, Angstrom)."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """V(R), or hbar v^SOI(R), of one direction and mask; `second`: sigma_2's part of it, up-down block alone."""

    whole: LatticeSum
    second: LatticeSum | None


class Interpolation:
    """The operators of a WannierModel at any batch of k points.

    Parameters
    ----------
    model : WannierModel
        The model on its ab-initio mesh.
    """

    def __init__(self, model: WannierModel) -> None:
        self.model = model
        self.axes = [axis for axis in range(3) if axis < model.dimension]
        self.vectors, self._share = _images_in_plane(model)
        self._to_lattice = np.exp(-2j * np.pi * self.vectors @ model.kpoints.T) / len(model.kpoints)
        self._hamiltonian = self.lattice_sum(model.hamiltonian, gradient=True)
        position = np.moveaxis(model.position, 2, 1)[:, self.axes]
        self._position = self.lattice_sum(position.reshape(-1, *position.shape[2:]))
        self._overlap = self.lattice_sum(model.overlap[None])
        self.time_reversal = max(model.time_reversal_left, self._spin_orbit_broken()) <= TIME_REVERSAL

    @property
    def functions(self) -> int:
        """Wannier functions per spin."""
        return self.model.functions

    @property
    def dimension(self) -> int:
        """Periodic directions."""
        return self.model.dimension

    @property
    def measure(self) -> float:
        """Tensors are per cell: the mean over the mesh as it is."""
        return 1.0

    def _spin_orbit_broken(self) -> float:
        """By how much time reversal is broken in W_alpha (eV), odd, and in its exact derivative (eV*Angstrom), even."""
        every = [1.0] * self.model.atoms
        velocity = self.model.spin_orbit_velocity(every)
        parts = [self.on_lattice(self.model.spin_orbit(every)).real]
        parts += [] if velocity is None else [self.on_lattice(velocity).imag]
        return max(float(np.abs(part).max()) for part in parts)

    def on_lattice(self, operator: Complexes) -> Complexes:
        """X(R) of an operator X(q), shape (..., q, n, n) -> (..., R, n, n)."""
        flat = np.moveaxis(operator, -3, 0)
        lattice = np.tensordot(self._to_lattice, flat, axes=1)
        return np.moveaxis(lattice, 0, -3) * self._share

    def operators(self, kpoints: Floats) -> Operators:
        """Operators without spin-orbit interaction.

        Parameters
        ----------
        kpoints : ndarray, shape (k, 3)
            In units of the reciprocal lattice vectors.
        """
        hamiltonian, velocity = self._hamiltonian.with_gradient(kpoints)
        position, overlap = self.positions(kpoints), self._overlap.at(kpoints)[0]
        # hbar vbar_j = dHbar/dk_j - i [A_j, Hbar]
        _add_commutator(velocity, position, hamiltonian[:, None])
        return Operators(hamiltonian, velocity, position, overlap)

    def hamiltonian(self, kpoints: Floats) -> Complexes:
        """Hbar of spin up and down alone, shape (2, k, n, n), eV."""
        return self._hamiltonian.at(kpoints)

    def interaction(self, columns: Columns, kpoints: Floats) -> Complexes:
        """V's blocks of one direction and mask alone, from `spin_orbit_columns`, shape (3, k, n, n), eV."""
        return columns.whole.at(kpoints)

    def positions(self, kpoints: Floats) -> Complexes:
        """A_j of both spins, shape (2, d, k, n, n), Angstrom."""
        position = self._position.at(kpoints)
        return position.reshape(2, len(self.axes), *position.shape[1:])

    def spin_orbit_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Any:
        """V(R) of one direction and mask, prepared once and handed to `spin_orbit` for every batch."""
        blocks = in_spin_frame(self.model.spin_orbit(mask), spin_frame(direction))
        whole = self.lattice_sum(blocks, gradient=True)
        # V_ud = W'_x - i W'_y with imaginary W': the real part of V_ud(R) is sigma_2's.
        return Columns(whole, whole.part(slice(1, 2), imaginary=False) if self.time_reversal else None)

    def spin_orbit(self, columns: Columns, kpoints: Floats, operators: Operators | None = None) -> SpinOrbit:
        """V and hbar v^SOI of one direction and mask.

        Parameters
        ----------
        columns : Columns
            From `spin_orbit_columns`.
        kpoints : ndarray, shape (k, 3)
            The batch that `operators` belongs to.
        operators : Operators, optional
            Its position matrices enter v^SOI; without it they are summed here.
        """
        interaction, velocity = columns.whole.with_gradient(kpoints)
        up, down = self.positions(kpoints) if operators is None else operators.position
        v_uu, v_ud, v_dd = interaction
        # hbar v^SOI_j = dV/dk_j - i [A_j, V]
        _add_commutator(velocity[0], up, v_uu)
        _add_commutator(velocity[2], down, v_dd)
        _add_mixed_commutator(velocity[1], up, v_ud, down)
        return SpinOrbit(interaction, velocity)

    def second_component(
        self, columns: Columns, kpoints: Floats, operators: Operators | None = None
    ) -> tuple[Complexes, Complexes]:
        """What of V_ud, shape (k, n, n), and of hbar v^SOI_ud, (d, k, n, n), belongs to sigma_2 of the spin frame.

        Where the model has time reversal alone: see `opposite`.
        """
        if columns.second is None:
            raise ValueError("second_component: the model lacks time reversal")
        interaction, velocity = columns.second.with_gradient(kpoints)
        up, down = self.positions(kpoints) if operators is None else operators.position
        _add_mixed_commutator(velocity[0], up, interaction[0], down)
        return interaction[0], velocity[0]

    def exact_velocity_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Columns | None:
        """dV/dk(R) from the differentiated projectors, for `exact_velocity`; None where the model has none."""
        blocks = self.model.spin_orbit_velocity(mask)
        if blocks is None:
            return None
        velocity = in_spin_frame(blocks, spin_frame(direction))[:, self.axes]
        whole, d = self.lattice_sum(velocity.reshape(-1, *velocity.shape[2:])), len(self.axes)
        return Columns(whole, whole.part(slice(d, 2 * d), imaginary=True) if self.time_reversal else None)

    def exact_velocity(self, columns: Columns, kpoints: Floats) -> Complexes:
        """Hbar v^SOI = dV_k/dk of one direction and mask, exact in plane waves (no position matrices).

        Put in place of `SpinOrbit.velocity` it gives a(II) without what the Wannier space cuts off; a(I) + a(II)
        closes only with the velocity of `spin_orbit`.

        Parameters
        ----------
        columns : Columns
            From `exact_velocity_columns`.
        kpoints : ndarray, shape (k, 3)
            In units of the reciprocal lattice vectors.

        Returns
        -------
        ndarray, shape (3, d, k, n, n)
            Blocks up-up, up-down, down-down in the spin frame, eV*Angstrom.
        """
        values = columns.whole.at(kpoints)
        return values.reshape(3, len(self.axes), *values.shape[1:])

    def exact_second_component(self, columns: Columns, kpoints: Floats) -> Complexes:
        """As `second_component`, of `exact_velocity`: shape (d, k, n, n)."""
        if columns.second is None:
            raise ValueError("exact_second_component: the model lacks time reversal")
        return columns.second.at(kpoints)

    def lattice_sum(self, operator: Complexes, gradient: bool = False) -> LatticeSum:
        """The sum over R of an operator X(q), shape (matrices, q, n, n)."""
        cell = self.model.cell[:, self.axes] if gradient else None
        return LatticeSum.of(self.vectors, self.on_lattice(operator), cell)


def _add_commutator(result: Complexes, position: Complexes, operator: Complexes) -> None:
    """Add -i [A, X] of Hermitian A and X: -i A X and its adjoint."""
    product = position @ (-1j * operator)
    result += product
    result += np.conj(product, out=product).swapaxes(-1, -2)


def _add_mixed_commutator(result: Complexes, up: Complexes, block: Complexes, down: Complexes) -> None:
    """Add -i (A_u X - X A_d) of an up-down block."""
    mixed = -1j * block
    result += up @ mixed
    result -= mixed @ down


def _images_in_plane(model: WannierModel) -> tuple[npt.NDArray[np.int64], Floats]:
    """The nearest images, those that differ only along a non-periodic axis added up: k has no such component."""
    vectors, shares = nearest_images(model.cell, model.mesh, model.centres.mean(axis=0))
    idle = [axis for axis in range(model.dimension, 3) if np.abs(model.cell[axis, : model.dimension]).max() < 1e-9]
    vectors[:, idle] = 0
    unique, place = np.unique(vectors, axis=0, return_inverse=True)
    merged = np.zeros((len(unique), *shares.shape[1:]))
    for where, share in zip(place.ravel(), shares, strict=True):
        merged[where] += share
    return unique, merged
