"""How Wannier functions and projectors turn under rotations: representations of the point group on real harmonics."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import expm
from scipy.sparse.csgraph import connected_components
from scipy.spatial.transform import Rotation

from ..errors import InputError
from ..model.harmonics import angular_momentum
from ..model.wannier import WannierModel

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]

LARGEST_ELL = 3
"""f shells: Wannier90 knows no higher ones."""
COUPLING_TOLERANCE = 1e-4
"""Largest relative deviation of a coupling from c L_alpha."""

# -- shells ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Shell:
    """The 2l + 1 functions of one shell on an atom; `number` counts the shells of this atom and l."""

    atom: int
    ell: int
    number: int
    functions: slice


def read_shells(model: WannierModel, orbitals: Iterable[Sequence[int]] | None = None) -> list[Shell]:
    """The shells of a model's functions, from pairs (atom, l) or the model itself (`symmetrised` says how).

    Raises
    ------
    InputError
        If they do not stand for the model's functions.
    """
    given = _default_orbitals(model) if orbitals is None else orbitals
    try:
        pairs = [(int(atom), int(ell)) for atom, ell in given]
    except (TypeError, ValueError) as error:
        raise InputError(f"orbitals: {given!r} was given, expected pairs (atom, l) such as [[0, 0], [0, 1]]") from error
    shells: list[Shell] = []
    start = 0
    for atom, ell in pairs:
        if not (0 <= atom < model.atoms and 0 <= ell <= LARGEST_ELL):
            raise InputError(
                f"orbitals: ({atom}, {ell}) was given, expected an atom from 0 to {model.atoms - 1} and "
                f"l from 0 to {LARGEST_ELL}"
            )
        number = sum(shell.atom == atom and shell.ell == ell for shell in shells)
        shells.append(Shell(atom, ell, number, slice(start, start + 2 * ell + 1)))
        start += 2 * ell + 1
    if start != model.functions:
        raise InputError(
            f"orbitals: {pairs} stand for {start} functions, the model has {model.functions}; name every shell"
        )
    return shells


def _default_orbitals(model: WannierModel) -> Iterable[Sequence[int]]:
    if "orbitals" in model.attributes:
        text = model.attributes["orbitals"]
        try:
            stored: list[list[int]] = json.loads(text)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"orbitals: the model's attribute {text!r} is not JSON such as [[0, 0], [0, 1]]"
            ) from error
        return stored
    if model.functions != 9 * model.atoms:
        raise InputError(
            f"orbitals: missing; the model has {model.functions} functions on {model.atoms} atoms, so they are not s, "
            "p, d on each: name the shells as pairs (atom, l) in the order of the functions"
        )
    return [(atom, ell) for atom in range(model.atoms) for ell in range(3)]


# -- representations ---------------------------------------------------------------------------------


def harmonics_rotation(momentum: Complexes, ell: int, rotation: Floats) -> Complexes:
    """Matrix D of a rotation or rotoinversion on functions of one l: g|m> = sum_m' |m'> D_m'm.

    A proper rotation by theta about u is exp(-i theta u.L); the inversion is (-1)^l.

    Parameters
    ----------
    momentum : ndarray, shape (3, p, p)
        L_x, L_y, L_z (units of hbar) between the functions.
    ell : int
    rotation : ndarray, shape (3, 3)
        Cartesian.
    """
    parity = round(float(np.linalg.det(rotation)))
    turn = Rotation.from_matrix(parity * rotation).as_rotvec()
    result: Complexes = parity**ell * expm(-1j * np.tensordot(turn, momentum, axes=1))
    return result


def wannier90_momentum(ell: int) -> Complexes:
    """L_alpha between real harmonics in Wannier90's order: m = 0, cosine 1, sine 1, cosine 2, sine 2, ..."""
    order = [ell, *(ell + sign * m for m in range(1, ell + 1) for sign in (1, -1))]
    result: Complexes = angular_momentum(ell)[:, order][:, :, order]
    return result


def projector_momenta(coupling: Complexes) -> list[tuple[Integers, int, Complexes]]:
    """L_alpha between an atom's projectors, read off the couplings h_alpha = c (x) L_alpha in whatever order of m.

    In a block of projectors that h connects, c Hermitian between its radial functions, sum_a h_a h_a = c^2 l(l+1)
    and -i [h_x, h_y] = c^2 L_z, so N_z = -i [h_x, h_y] (sum_a h_a h_a)^-1 = L_z/l(l+1) and sum_a N_a N_a = 1/l(l+1).

    Parameters
    ----------
    coupling : ndarray, shape (3, p, p)
        eV.

    Returns
    -------
    list of (indices, l, L)
        One entry a block. Projectors that nothing couples do not enter V; they stand as l = 0.

    Raises
    ------
    InputError
        If a block is not of this form.
    """
    scale = float(np.abs(coupling).max(initial=0.0))
    connected = (np.abs(coupling) > 1e-9 * scale).any(axis=0)
    count, labels = connected_components(connected, directed=False)
    result = []
    for block in range(count):
        indices = np.flatnonzero(labels == block).astype(np.int64)
        h = coupling[:, indices][:, :, indices]
        if not np.abs(h).max() > 1e-9 * scale:
            result.append((indices, 0, np.zeros_like(h)))
            continue
        h = h / np.abs(h).max()
        inverse = np.linalg.pinv(np.einsum("aij,ajk->ik", h, h), rcond=1e-10, hermitian=True)
        products = np.stack([h[1] @ h[2], h[2] @ h[0], h[0] @ h[1]])
        scaled = -1j * (products - products.conj().swapaxes(-1, -2)) @ inverse
        rank = np.trace(np.einsum("aij,ajk->ik", h, h) @ inverse).real
        square = rank / np.einsum("aij,aji->", scaled, scaled).real if np.abs(scaled).max() > 1e-6 else 0.0
        ell = round((np.sqrt(1 + 4 * max(square, 0.0)) - 1) / 2)
        momentum = scaled * ell * (ell + 1)
        result.append((indices, ell, momentum))
        rest = momentum[0] @ momentum[1] - momentum[1] @ momentum[0] - 1j * momentum[2]
        if ell == 0 or max(abs(square - ell * (ell + 1)), np.abs(rest).max()) > COUPLING_TOLERANCE * square:
            raise InputError(
                f"spin_orbit: the coupling of projectors {indices.tolist()} is not proportional to the angular "
                "momentum of one l; the model cannot be symmetrised"
            )
    return result


def projector_rotation(coupling: Complexes, rotation: Floats) -> Complexes:
    """D between an atom's projectors, shape (p, p), from its coupling (3, p, p) and a Cartesian rotation."""
    result = np.zeros(coupling.shape[1:], dtype=complex)
    for indices, ell, momentum in projector_momenta(coupling):
        result[np.ix_(indices, indices)] = harmonics_rotation(momentum, ell, rotation)
    return result


def function_rotation(shells: list[Shell], permutation: Integers, rotation: Floats) -> Complexes:
    """D between all functions: the k-th shell of an atom and l moves to the k-th of the atom that g takes it to.

    Parameters
    ----------
    shells : list of Shell
    permutation : ndarray of int, shape (atoms,)
        The atom to which each atom is moved.
    rotation : ndarray, shape (3, 3)
        Cartesian.
    """
    functions = shells[-1].functions.stop
    place = {(shell.atom, shell.ell, shell.number): shell.functions for shell in shells}
    result = np.zeros((functions, functions), dtype=complex)
    for shell in shells:
        target = (int(permutation[shell.atom]), shell.ell, shell.number)
        if target not in place:
            raise InputError(
                f"orbitals: atom {shell.atom} has a shell l = {shell.ell} that atom {target[0]}, symmetric to it, lacks"
            )
        momentum = wannier90_momentum(shell.ell)
        result[place[target], shell.functions] = harmonics_rotation(momentum, shell.ell, rotation)
    return result
