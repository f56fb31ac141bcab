"""A save folder with the irreducible points of a mesh, as one with all of them; see `irreducible`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import listed, refusal
from ..errors import InputError
from .irreducible import DISTANCE_TOLERANCE, IDENTITY, KPOINT_TOLERANCE, Images, SpaceOperation, words
from .plane_waves import LocatedStates
from .quantum_espresso import SaveFolder, WaveFunctions, in_angstrom

Floats = npt.NDArray[np.float64]

SYMMETRY_LIMIT = 0.01
"""eV by which states may break an operation: of more the density lacks it."""


@dataclasses.dataclass(frozen=True)
class CompletedFolder(SaveFolder):
    """A save folder on a longer list of k points: each a stored one, or made of one.

    Parameters
    ----------
    stored : SaveFolder
        As it is on the disk.
    images : Images
        How each point of the list is made.
    """

    stored: SaveFolder
    images: Images

    def wave_function_file(self, spin: int, k: int) -> Path:
        """Path of the file from which the states of point number k of the list are made."""
        return self.stored.wave_function_file(spin, int(self.images.origin[k]))

    def check_wave_functions(self) -> None:
        """Refuse before any work when a wave-function file is missing, empty or there in two forms."""
        self.stored.check_wave_functions()

    def wave_functions(self, spin: int, k: int) -> WaveFunctions:
        """States of one spin at point number k of the list.

        Raises
        ------
        InputError
            If the file is missing, damaged, or belongs to another k point, spin or run.
        """
        images = self.images
        waves = self.stored.wave_functions(spin, int(images.origin[k]))
        operation, shift = images.operations[images.operation[k]], images.shifts[k]
        if operation == IDENTITY and not images.conjugated[k] and not shift.any():
            return waves
        origin = self.stored.kpoints[images.origin[k]]
        return rotated(waves, origin, operation, bool(images.conjugated[k]), shift, self.kpoints[k])

    def symmetry_residual(self, spin: int) -> float:
        """By how much the stored states of one spin break the operations that are used, eV, at least.

        At a point that {R|f} keeps, R k = k + G, the states {R|f} psi_n of energy E_n are combinations of the psi_m of
        that energy. What they are short of that,

            |(H - E_n) {R|f} psi_n|^2 >= sum_m |O_mn|^2 (E_m - E_n)^2 + (1 - sum_m |O_mn|^2) (E_N - E_n)^2,

        O_mn = <psi_m|{R|f} psi_n> over N computed bands, is 0 where H has the operation; Gamma is kept by all. The
        bands are orthonormal to 1e-8 only, so that the second sum goes through their overlaps.

        Raises
        ------
        InputError
            If no stored point is kept by an operation, or states break one by more than `SYMMETRY_LIMIT`.
        """
        worst = 0.0
        for operation in self.images.operations[1:]:
            k, shift = self._kept_by(operation)
            waves = self.stored.wave_functions(spin, k)
            image = rotated(waves, self.stored.kpoints[k], operation, False, shift, self.stored.kpoints[k])
            own, here = LocatedStates.of(waves), np.zeros(3, dtype=np.int64)
            gram, products = own.overlaps(own, here), own.overlaps(LocatedStates.of(image), here)
            energies = self.stored.energies[spin, k]
            within = (np.abs(products) ** 2 * (energies[:, None] - energies) ** 2).sum(axis=0)
            spanned = np.einsum("mn,mn->n", products.conj(), np.linalg.solve(gram, products)).real
            beyond = np.clip(gram.diagonal().real - spanned, 0, None) * (energies.max() - energies) ** 2
            residual = float(np.sqrt((within + beyond).max()))
            if not residual <= SYMMETRY_LIMIT:
                raise InputError(
                    f"operations: the nscf's states at {words(self.stored.kpoints[k])} break {operation.describe()} by "
                    f"{residual:.1e} eV, expected at most {SYMMETRY_LIMIT:g}: the density lacks it; run scf and nscf "
                    "with nosym, the nscf on one of each pair k and -k"
                )
            worst = max(worst, residual)
        return worst

    def _kept_by(self, operation: SpaceOperation) -> tuple[int, Any]:
        """A stored point that an operation keeps, and S of k = R k + S."""
        moved = self.stored.kpoints - self.stored.kpoints @ operation.reciprocal.T
        shifts = np.rint(moved)
        kept = np.flatnonzero(np.abs(moved - shifts).max(axis=1) <= KPOINT_TOLERANCE)
        if not len(kept):
            raise InputError(
                f"operations: no k point of the nscf stays where {operation.describe()} puts it, so that it cannot be "
                "checked; give the nscf Gamma, too"
            )
        return int(kept[0]), shifts[kept[0]].astype(np.int64)


def rotated(
    waves: WaveFunctions, origin: Floats, operation: SpaceOperation, conjugated: bool, shift: Any, kpoint: Floats
) -> WaveFunctions:
    """States at k = +-R k' + S from those at k'.

    With G' = +-R G - S the plane wave k + G' is +-R(k' + G).

    Parameters
    ----------
    waves : WaveFunctions
        At k'.
    origin, kpoint : ndarray, shape (3,)
        k' and k, in units of the reciprocal lattice vectors.
    operation : SpaceOperation
    conjugated : bool
        Minus.
    shift : ndarray of int, shape (3,)
        S.
    """
    miller = waves.miller @ operation.reciprocal.T
    coefficients = waves.coefficients
    if any(operation.translation):
        coefficients = coefficients * operation.phases(origin @ operation.reciprocal.T + miller)
    return WaveFunctions(
        kpoint=kpoint @ waves.reciprocal,
        miller=(-miller if conjugated else miller) - shift,
        coefficients=coefficients.conj() if conjugated else coefficients,
        reciprocal=waves.reciprocal,
    )


def completed(save: SaveFolder, kpoints: Floats, name: str, operations: Sequence[SpaceOperation] = ()) -> SaveFolder:
    """A save folder on a list of k points, those that it lacks made by time reversal and operations of the film.

    A folder with as many points as the list, or more, is returned as it is: whether the two are one list is checked
    where they are used.

    Parameters
    ----------
    save : SaveFolder
    kpoints : ndarray, shape (q, 3)
        The list, in units of the reciprocal lattice vectors.
    name : str
        Where it comes from, for the message.
    operations : sequence of SpaceOperation
        Without any, time reversal alone.

    Raises
    ------
    InputError
        If some point of the list is no image of a stored one, or an operation does not keep cell and atoms.
    """
    if len(kpoints) <= len(save.kpoints):
        return save
    for number, operation in enumerate(operations, start=1):
        _check(operation, number, save)
    images = Images.of(kpoints, save.kpoints, operations)
    absent = np.flatnonzero(images.origin < 0)
    if len(absent):
        others = f", nor an image of the two under the {len(operations)} operations" if operations else ""
        raise InputError(
            f"{name}: its k point {absent[0] + 1} of {len(kpoints)}, {words(kpoints[absent[0]])}, is not among the "
            f"nscf's {len(save.kpoints)}, and neither is -k{others}; give pw.x the full list, or one of each pair k "
            "and -k, with nosym and noinv"
        )
    # From the stored points: lists in text files have fewer digits than pw.x's own.
    inherited = {field.name: getattr(save, field.name) for field in dataclasses.fields(SaveFolder)} | {
        "kpoints": images.points(save.kpoints),
        "energies": save.energies[:, images.origin],
        "plane_waves": save.plane_waves[images.origin],
    }
    return CompletedFolder(**inherited, stored=save, images=images)


def operations_of(given: Any) -> tuple[SpaceOperation, ...]:
    """Key `operations` of a spec, a list of mappings; none if it is not given.

    Raises
    ------
    InputError
        Naming the one that is none.
    """
    items = [] if given is None else listed(given)
    if items is None:
        raise refusal("operations", given, "a list of mappings with rotation and translation")
    return tuple(SpaceOperation.from_mapping(f"operations: entry {n}", item) for n, item in enumerate(items, start=1))


def used_operations(save: SaveFolder) -> tuple[SpaceOperation, ...]:
    """Those by which points of a folder were made, without the identity."""
    return save.images.operations[1:] if isinstance(save, CompletedFolder) else ()


def symmetry_residual(save: SaveFolder, spin: int) -> float:
    """`CompletedFolder.symmetry_residual`, eV; 0 of a folder of which nothing is made by operations."""
    return save.symmetry_residual(spin) if isinstance(save, CompletedFolder) else 0.0


def _check(operation: SpaceOperation, number: int, save: SaveFolder) -> None:
    """An operation keeps lengths and angles, and moves every atom to one of its species."""
    cell, matrix = in_angstrom(save.cell), operation.matrix
    metric = cell @ cell.T
    # x -> W x keeps every x.(metric x).
    stretched = float(np.abs(matrix.T @ metric @ matrix - metric).max() / np.abs(metric).max())
    atoms = save.positions @ np.linalg.inv(save.cell)
    distance = (atoms @ matrix.T + np.array(operation.translation))[:, None] - atoms
    distance = np.linalg.norm((distance - np.rint(distance)) @ cell, axis=-1)
    alike = np.array(save.species)[:, None] == np.array(save.species)
    off = float(np.where(alike, distance, np.inf).min(axis=1).max())
    if not (stretched <= KPOINT_TOLERANCE and off <= 10 * DISTANCE_TOLERANCE):
        raise InputError(
            f"operations: entry {number}, {operation.describe()}, does not keep the nscf's cell and atoms "
            f"({off:.1e} Angstrom off); use one structure for both"
        )
