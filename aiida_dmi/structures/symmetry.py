"""What the symmetry of a film allows of D: known before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ase
import numpy as np
import spglib
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TOLERANCE = 1e-3
"""Angstrom within which an operation has to bring atoms onto atoms."""
LOOSE = 0.03
"""Angstrom; what rounding to two digits, or a relaxation that ended early, leaves of a symmetry."""
NEARLY = "nearly symmetric"
FOR_EVERY_N = "D = 0 by symmetry, for every direction of n"
VACUUM = 20.0
"""Angstrom between the film and its image: no operation then relates the two."""


@dataclass(frozen=True)
class Allowed:
    """Components of D_ij (i = x, y, z; j = x, y) for n along the film's normal.

    Attributes
    ----------
    components : tuple of str
        Those that need not vanish, such as ('xy', 'yx').
    inversion : bool
        Whether the film has a centre of inversion: D is zero then for every n.
    """

    components: tuple[str, ...]
    inversion: bool

    @property
    def why_none(self) -> str | None:
        """Why D vanishes altogether, in words; None where it need not."""
        if self.inversion:
            return f"{FOR_EVERY_N}: the film has a centre of inversion"
        if not self.components:
            return "D = 0 by symmetry for n along z: an operation turns the film over, such as a mirror plane in it"
        return None


def vanishing(film: ase.Atoms, moments: Mapping[str, float] | None = None) -> tuple[str | None, str | None]:
    """Why D vanishes by symmetry, or, second, why it nearly does; None where it need not.

    Parameters
    ----------
    film, moments
        As `allowed_components`.
    """
    exact = allowed_components(film, moments).why_none
    if exact is not None:
        return exact, None
    nearly = allowed_components(film, moments, LOOSE).why_none
    if nearly is None:
        return None, None
    return None, f"{NEARLY}, to {LOOSE:g} Angstrom, not to {TOLERANCE:g}: were it exact, {nearly}"


def allowed_components(
    film: ase.Atoms, moments: Mapping[str, float] | None = None, tolerance: float = TOLERANCE
) -> Allowed:
    """Components of D that the film's symmetry allows, for a magnetisation along its normal.

    D_ij is axial in i, polar in j and even under time reversal. Every operation R of a film keeps its normal up to the
    sign, and so, with time reversal where it is needed, a magnetisation along it; atoms of different moments are
    different atoms. So D = R_axial D R^T for all of them, and what the average over the group leaves is allowed.

    Parameters
    ----------
    film : ase.Atoms
        Normal z.
    moments : mapping, optional
        Moment, mu_B, of each kind of the film's array `kinds`; default that of an element's atoms is one.
    tolerance : float
        Angstrom.
    """
    rotations = _rotations(film, moments or {}, tolerance)
    average = np.zeros((3, 2, 3, 2))
    for rotation in rotations:
        average += np.einsum("ik,jl->ijkl", np.linalg.det(rotation) * rotation, rotation[:2, :2]) / len(rotations)
    kept = np.abs(average).max(axis=(2, 3)) > 1e-6
    names = tuple(f"{'xyz'[i]}{'xy'[j]}" for i in range(3) for j in range(2) if kept[i, j])
    return Allowed(names, any(np.allclose(rotation, -np.eye(3), atol=1e-3) for rotation in rotations))


def _rotations(film: ase.Atoms, moments: Mapping[str, float], tolerance: float) -> list[Floats]:
    """Point operations of the film, Cartesian; of a film alone they are those that keep its plane."""
    cell = np.array(film.cell[:])
    cell[2] = [0.0, 0.0, float(np.ptp(film.positions[:, 2])) + VACUUM]
    kinds = film.arrays["kinds"] if "kinds" in film.arrays else film.get_chemical_symbols()
    # Kinds of one element with one moment are the same atoms, whatever their names.
    species = [(int(number), moments.get(str(kind), 0.0)) for number, kind in zip(film.numbers, kinds, strict=True)]
    numbers = [sorted(set(species)).index(own) for own in species]
    fractions = film.positions @ np.linalg.inv(cell)
    found = spglib.get_symmetry((cell.tolist(), fractions.tolist(), numbers), symprec=tolerance)
    if found is None:
        return [np.eye(3)]
    turned = []
    for rotation in np.unique(found["rotations"], axis=0):
        # The cell has the symmetry within the tolerance only; the nearest orthogonal matrix has it in full.
        left, _, right = np.linalg.svd(cell.T @ rotation @ np.linalg.inv(cell.T))
        turned.append(left @ right)
    return turned
