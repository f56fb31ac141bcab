"""Time reversal of a collinear run: of k and -k one is enough.

Without spin-orbit interaction the Hamiltonian of each spin is real in real space, so psi_k^* is a state of the same
energy at -k: with psi_k(r) = sum_G c_k(G) e^{i (k + G) r},

    c_{-k}(-G) = c_k(G)^*,    E_{-k} = E_k.

A nscf run on one point of each pair (5x5: 13 of 25; 6x6: 20 of 36) takes half the time and half the disk. The states
at -k are then conjugate to those at k exactly; of two pw.x runs they are so only to the accuracy of the
diagonalisation, and up to the gauge.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..model.wannier import NOISE, TIME_REVERSAL_WARNING, WannierModel
from .quantum_espresso import SaveFolder, WaveFunctions

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.int64]

KPOINT_TOLERANCE = 1e-6
"""Two k points are one, modulo reciprocal lattice vectors; in their units."""


def one_of_each_pair(kpoints: Floats) -> tuple[Integers, Integers]:
    """The first of k and -k (modulo reciprocal lattice vectors), and for how many points it stands.

    Parameters
    ----------
    kpoints : ndarray, shape (q, 3)
        A list that holds -k with every k, in units of the reciprocal lattice vectors.

    Returns
    -------
    kept : ndarray of int
        Their indices, in the order of the list.
    weights : ndarray of int
        2, or 1 where k and -k are one.

    Raises
    ------
    InputError
        If -k is missing for some k.
    """
    same, _ = _matches(kpoints, -kpoints)
    alone = np.flatnonzero(~same.any(axis=1))
    if len(alone):
        raise InputError(f"kpoints: {_words(kpoints[alone[0]])} is listed without -k; give a Gamma-centred mesh")
    partner = same.argmax(axis=1)
    kept = np.flatnonzero(partner >= np.arange(len(kpoints)))
    return kept, np.where(partner[kept] == kept, 1, 2)


@dataclasses.dataclass(frozen=True)
class CompletedFolder(SaveFolder):
    """A save folder on a longer list of k points: each a stored one or its time-reversed one.

    Point number k of the list is `signs[k]` times the stored point number `origin[k]`, plus the reciprocal lattice
    vector `shifts[k]`.

    Parameters
    ----------
    stored : SaveFolder
        As it is on the disk.
    origin : ndarray of int, shape (q,)
    signs : ndarray of int, shape (q,)
        -1: time-reversed.
    shifts : ndarray of int, shape (q, 3)
        Miller indices.
    """

    stored: SaveFolder
    origin: Integers
    signs: Integers
    shifts: Integers

    def wave_function_file(self, spin: int, k: int) -> Path:
        """Path of the file from which the states of point number k of the list are made."""
        return self.stored.wave_function_file(spin, int(self.origin[k]))

    def check_wave_functions(self) -> None:
        """Refuse before any work when a wave-function file is missing, empty or there in two forms."""
        self.stored.check_wave_functions()

    def wave_functions(self, spin: int, k: int) -> WaveFunctions:
        """States of one spin at point number k of the list.

        Of k = s k' + S (s = +-1), k + G = s (k' + G') asks for G = s G' - S.

        Raises
        ------
        InputError
            If the file is missing, damaged, or belongs to another k point, spin or run.
        """
        waves = self.stored.wave_functions(spin, int(self.origin[k]))
        sign, shift = self.signs[k], self.shifts[k]
        if sign > 0 and not shift.any():
            return waves
        return WaveFunctions(
            kpoint=self.kpoints[k] @ self.reciprocal,
            miller=sign * waves.miller - shift,
            coefficients=waves.coefficients.conj() if sign < 0 else waves.coefficients,
            reciprocal=waves.reciprocal,
        )


def completed(save: SaveFolder, kpoints: Floats, name: str) -> SaveFolder:
    """A save folder on a list of k points, those that it lacks made by time reversal.

    A folder with as many points as the list, or more, is returned as it is: whether the two are one list is checked
    where they are used.

    Parameters
    ----------
    save : SaveFolder
    kpoints : ndarray, shape (q, 3)
        The list, in units of the reciprocal lattice vectors.
    name : str
        Where it comes from, for the message.

    Raises
    ------
    InputError
        If for some point of the list neither k nor -k is stored.
    """
    if len(kpoints) <= len(save.kpoints):
        return save
    direct, direct_shifts = _matches(kpoints, save.kpoints)
    reversed_, reversed_shifts = _matches(kpoints, -save.kpoints)
    stored: npt.NDArray[np.bool_] = np.any(direct, axis=1)
    absent = np.flatnonzero(~stored & ~reversed_.any(axis=1))
    if len(absent):
        raise InputError(
            f"{name}: its k point {absent[0] + 1} of {len(kpoints)}, {_words(kpoints[absent[0]])}, is not among the "
            f"nscf's {len(save.kpoints)}, and neither is -k; give pw.x the full list, or one of each pair k and -k, "
            "with nosym and noinv"
        )
    origin = np.where(stored, direct.argmax(axis=1), reversed_.argmax(axis=1))
    signs = np.where(stored, 1, -1)
    points = np.arange(len(kpoints))
    shifts = np.where(stored[:, None], direct_shifts[points, origin], reversed_shifts[points, origin])
    # From the stored points: lists in text files have fewer digits than pw.x's own.
    inherited = {field.name: getattr(save, field.name) for field in dataclasses.fields(SaveFolder)} | {
        "kpoints": signs[:, None] * save.kpoints[origin] + shifts,
        "energies": save.energies[:, origin],
        "plane_waves": save.plane_waves[origin],
    }
    return CompletedFolder(**inherited, stored=save, origin=origin, signs=signs, shifts=shifts)


def _matches(kpoints: Floats, others: Floats) -> tuple[npt.NDArray[np.bool_], Integers]:
    """Whether k = k' + S with a reciprocal lattice vector S, for each pair, and S."""
    difference = kpoints[:, None, :] - others[None, :, :]
    shifts = np.rint(difference)
    return np.abs(difference - shifts).max(axis=-1) <= KPOINT_TOLERANCE, shifts.astype(np.int64)


def _words(kpoint: Floats) -> str:
    return f"({', '.join(f'{x:.6f}' for x in kpoint)})"


def imposed(model: WannierModel) -> WannierModel:
    """A model with the noise of its time reversal averaged away.

    A collinear run without spin-orbit interaction has time reversal; what Hbar, A, O and the projections lack of it is
    noise of the Wannier functions' gauge (1e-6 to 1e-4 eV). X(q) and X(-q)* are replaced by their mean; then a(I),
    a(II) and D(1) need one of k and -k only (`engine.channels`). A model that lacks more than `TIME_REVERSAL_WARNING`
    is left alone.

    Parameters
    ----------
    model : WannierModel

    Returns
    -------
    WannierModel
        With attribute `time_reversal_noise`: what was averaged away, eV or Angstrom; the gate judges it.
    """
    noise, opposite = model.time_reversal_error, model.opposite
    if noise > TIME_REVERSAL_WARNING:
        return model

    def mean(operator: Complexes, axis: int = 1, sign: int = 1) -> Complexes:
        return np.asarray((operator + sign * np.conj(np.take(operator, opposite, axis=axis))) / 2)

    # d_j beta of a real function at k is minus the conjugate of that at -k.
    gradients = None if model.gradients is None else tuple(mean(gradient, sign=-1) for gradient in model.gradients)
    return dataclasses.replace(
        model,
        hamiltonian=mean(model.hamiltonian),
        position=mean(model.position),
        overlap=mean(model.overlap, axis=0),
        projections=tuple(mean(projection) for projection in model.projections),
        gradients=gradients,
        attributes={**model.attributes, NOISE: noise},
    )
