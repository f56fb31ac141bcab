"""Magnetic symmetry: the operations that keep cell, moments and masks, and what they do to k meshes and tensors.

An operation g moves r to R r + t and, with time reversal, turns every moment round. Moments and the spin index i
of a tensor are axial (det(R) R), k and the direction j polar (R); time reversal turns k but not D, Q or a. With
the same operation acting on both sides, the integrand obeys T(g k) = g T(k): the sum over irreducible points,
times the number of points each stands for, averaged over the group, is the sum over the whole mesh.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..model.spin_frame import spin_frame
from ..model.wannier import WannierModel

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

MOMENT_TOLERANCE = 0.05
"""Moments that differ by less than this part of the largest one are equal."""
DIRECTION_TOLERANCE = 1e-5
"""Largest |g n - n| (unit vectors) of an operation that keeps the direction n."""
VACUUM = 10.0
"""Angstrom added to twice a film's thickness: no operation then relates the film to its images along z."""


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """One operation of a magnetic group.

    Parameters
    ----------
    rotation : ndarray of int, shape (3, 3)
        R on fractional coordinates, x -> rotation @ x. For a film it acts on the two periodic ones; z stays.
    cartesian : ndarray, shape (3, 3)
        R on Cartesian vectors; orthogonal.
    time_reversal : bool
        Whether it turns moments and k round.
    permutation : ndarray of int, shape (atoms,)
        The atom to which each atom is moved.
    translation : ndarray, shape (3,)
        t, Angstrom: atom a moves to R r_a + t, which is atom permutation[a] in some cell.
    """

    rotation: Integers
    cartesian: Floats
    time_reversal: bool
    permutation: Integers
    translation: Floats

    @property
    def axial(self) -> Floats:
        """det(R) R: what it does to spins and angular momenta, time reversal left aside."""
        return np.asarray(np.linalg.det(self.cartesian) * self.cartesian, dtype=np.float64)

    @property
    def reciprocal(self) -> Integers:
        """What it does to k in units of the reciprocal lattice vectors: +-inverse transpose of `rotation`."""
        inverse = np.rint(np.linalg.inv(self.rotation)).astype(np.int64)
        return -inverse.T if self.time_reversal else inverse.T


# -- groups ------------------------------------------------------------------------------------------


def magnetic_point_group(
    model: WannierModel,
    directions: Iterable[Sequence[float]],
    masks: Iterable[Sequence[float]] = (),
    tolerance: float = 1e-4,
) -> tuple[Operation, ...]:
    """Operations that keep the structure, the moments along every direction n, and every mask.

    An operation takes the moment m_a n of atom a to +-det(R) R n m_a (minus with time reversal) on the atom to which
    it moves a. In an antiferromagnet it may turn n round where it moves atoms to those of opposite moment.

    Parameters
    ----------
    model : WannierModel
        With moments.
    directions : iterable of vectors
        Every n of the computation, any length.
    masks : iterable of sequences of float
        Every mask of the computation, one weight an atom: symmetric atoms must weigh the same.
    tolerance : float
        Largest distance (Angstrom) between an atom's image and the atom it is taken for.

    Returns
    -------
    tuple of Operation
        A group, the identity first; every (R, time reversal) once. For a film all of them keep +z.

    Raises
    ------
    InputError
        If the model has no moments, or spglib is missing or finds no symmetry.
    """
    moments = moment_classes(model)
    axes = [spin_frame(direction)[2] for direction in directions]
    weights = [np.asarray(mask, dtype=float) for mask in masks]
    found: dict[tuple[bool, tuple[int, ...]], Operation] = {}
    for spatial in space_group(model, tolerance):
        permutation = spatial.permutation
        if not all(np.allclose(weight[permutation], weight) for weight in weights):
            continue
        for time_reversal in (False, True):
            turn = -spatial.axial if time_reversal else spatial.axial
            for sign in moment_signs(moments, permutation):
                if all(np.abs(turn @ n - sign * n).max() < DIRECTION_TOLERANCE for n in axes):
                    # In a supercell R comes with several translations: as a point operation it is one.
                    key = (time_reversal, tuple(spatial.rotation.ravel().tolist()))
                    found.setdefault(key, dataclasses.replace(spatial, time_reversal=time_reversal))
    if not found:
        raise InputError("symmetry: not even the identity keeps atoms and moments; atoms lie on one another")
    return tuple(sorted(found.values(), key=_identity_first))


def space_group(model: WannierModel, tolerance: float = 1e-4) -> tuple[Operation, ...]:
    """Operations that keep cell and atoms, whatever the moments; all translations of a supercell, no time reversal.

    Atoms are alike if symbol and spin-orbit coupling are: doped and pure sites may share a symbol. For a film
    they are those that keep +z, of one film with vacuum on both sides, however its cell cuts it.

    Parameters
    ----------
    model : WannierModel
    tolerance : float
        Angstrom.

    Raises
    ------
    InputError
        If spglib is missing or finds no symmetry.
    """
    positions = film_positions(model)
    frame = lattice_frame(model)
    lattice = frame.copy()
    if model.dimension == 2:
        lattice[2] *= 2 * float(np.ptp(positions[:, 2])) + VACUUM
    coordinates = positions @ np.linalg.inv(lattice)
    result = []
    for rotation, translation in crystal_operations(lattice, coordinates, _kinds(model), tolerance):
        if model.dimension == 2:
            if not np.array_equal(rotation[[0, 1, 2, 2, 2], [2, 2, 2, 0, 1]], [0, 0, 1, 0, 0]):
                continue
            translation[2] = 0.0
        # r = x @ lattice: R = lattice^T rotation lattice^-T. The cell has the symmetry within the tolerance
        # only; the nearest orthogonal matrix has it in full.
        left, _, right = np.linalg.svd(frame.T @ rotation @ np.linalg.inv(frame.T))
        images = coordinates @ rotation.T + translation
        difference = images[:, None, :] - coordinates[None, :, :]
        distance = np.linalg.norm((difference - np.rint(difference)) @ lattice, axis=-1)
        operation = Operation(
            rotation=np.asarray(rotation, dtype=np.int64),
            cartesian=left @ right,
            time_reversal=False,
            permutation=distance.argmin(axis=1).astype(np.int64),
            translation=translation @ lattice,
        )
        result.append(operation)
    return tuple(sorted(result, key=_identity_first))


def crystal_operations(
    lattice: Floats, coordinates: Floats, kinds: list[int], tolerance: float
) -> list[tuple[Integers, Floats]]:
    """Rotations and translations, fractional, of a crystal.

    Parameters
    ----------
    lattice : ndarray, shape (3, 3)
        Rows, Angstrom.
    coordinates : ndarray, shape (atoms, 3)
        In units of the lattice vectors.
    kinds : list of int
        A number for the kind of every atom.
    tolerance : float
        Angstrom.

    Raises
    ------
    InputError
        If spglib is missing or finds no symmetry.
    """
    try:
        import spglib
    except ImportError as error:
        raise InputError("symmetry: needs spglib, which is missing; run pip install spglib") from error
    try:
        with warnings.catch_warnings():
            # spglib warns that it will raise one day where it returns None.
            warnings.simplefilter("ignore", DeprecationWarning)
            found = spglib.get_symmetry((lattice.tolist(), coordinates.tolist(), kinds), symprec=tolerance)
    except Exception:  # its releases differ in what they raise
        found = None
    if found is None:
        raise InputError(
            f"symmetry: spglib finds no symmetry within {tolerance:g} Angstrom; atoms lie on one another, "
            "or the tolerance is too large"
        )
    return list(zip(found["rotations"], found["translations"], strict=True))


def _identity_first(operation: Operation) -> tuple[object, ...]:
    """Order of a group's operations, the same whatever spglib's: identity, then without time reversal."""
    matrix = tuple(int(x) for x in operation.rotation.ravel())
    shift = tuple(float(x) for x in np.round(operation.translation, 3) + 0.0)
    trivial = matrix == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    return (operation.time_reversal, not trivial, matrix, float(np.linalg.norm(shift)), shift)


def lattice_frame(model: WannierModel) -> Floats:
    """Rows in which an operation's `rotation` is written: the cell; for a film its third vector is unit z."""
    frame: Floats = np.array(model.cell, dtype=float)
    if model.dimension == 2:
        frame[2] = (0.0, 0.0, 1.0)
    return frame


def film_positions(model: WannierModel) -> Floats:
    """Positions (Angstrom) with a film in one piece: cut where the gap along the third cell vector is widest."""
    positions: Floats = np.array(model.positions, dtype=float)
    if model.dimension == 3:
        return positions
    heights = positions[:, 2] / model.cell[2, 2]
    order = np.argsort(heights % 1.0)
    gaps = np.diff(heights[order] % 1.0, append=(heights[order[0]] % 1.0) + 1.0)
    top = int(gaps.argmax())
    cells = np.floor(heights)
    cells[order[top + 1 :]] += 1.0
    result: Floats = positions - cells[:, None] * model.cell[2]
    return result


def _kinds(model: WannierModel) -> list[int]:
    """A number for every atom, the same for atoms of one symbol and one spin-orbit coupling."""
    examples: list[int] = []
    kinds = []
    for atom, (symbol, coupling) in enumerate(zip(model.symbols, model.coupling, strict=True)):
        for kind, other in enumerate(examples):
            alike = symbol == model.symbols[other] and coupling.shape == model.coupling[other].shape
            if alike and np.allclose(coupling, model.coupling[other], rtol=1e-5, atol=1e-6):
                kinds.append(kind)
                break
        else:
            kinds.append(len(examples))
            examples.append(atom)
    return kinds


# -- moments -----------------------------------------------------------------------------------------


def moment_classes(model: WannierModel) -> Integers:
    """A signed number for every atom: equal for equal moments, opposite for opposite ones, 0 for none.

    Classes, not differences, decide: being equal within a tolerance is not transitive, and a group needs that.

    Raises
    ------
    InputError
        If the model has no moments.
    """
    if model.moments is None:
        raise InputError(
            "symmetry: the model holds no moments, which decide the magnetic symmetry; build it with moments "
            "(mu_B, one an atom) or use symmetry=False"
        )
    moments = np.asarray(model.moments, dtype=float)
    sizes = np.abs(moments)
    tolerance = MOMENT_TOLERANCE * float(sizes.max(initial=0.0))
    order = np.argsort(sizes)
    classes = np.empty(len(sizes), dtype=np.int64)
    classes[order] = np.cumsum(np.diff(sizes[order], prepend=0.0) > tolerance)
    signed: Integers = classes * np.sign(moments).astype(np.int64)
    return signed


def moment_signs(classes: Integers, permutation: Integers) -> tuple[int, ...]:
    """+1 or -1 with which every moment arrives at the atom it is moved to; none if moments differ in size.

    Parameters
    ----------
    classes : ndarray of int, shape (atoms,)
        From `moment_classes`.
    permutation : ndarray of int, shape (atoms,)
    """
    if not classes.any():
        # Without moments n is still the axis of the spinors.
        return (1,)
    return tuple(sign for sign in (1, -1) if np.array_equal(classes[permutation], sign * classes))
