"""Wannier interpolation: the model's operators at any k point.

X(R) = (1/q) sum_q exp(-iqR) X(q), every pair (i, j) placed on the periodic image(s) of R that make
|R + c_j - c_i| smallest; X(k) = sum_R exp(ikR) X(R), dX/dk_j = sum_R i R_j exp(ikR) X(R).
The same R vectors serve every operator, so that identities between operators survive interpolation.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .model import WannierModel

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

IMAGE_TOLERANCE = 1e-4
"""Images within this distance (Angstrom) of the nearest share an element equally."""


@dataclasses.dataclass(frozen=True)
class Operators:
    """Operators without spin-orbit interaction at a batch of k points, in the basis up, then down.

    Parameters
    ----------
    hamiltonian : ndarray, shape (2, k, n, n)
        Hbar of spin up and down, eV.
    velocity : ndarray, shape (2, d, k, n, n)
        hbar vbar_j = dHbar/dk_j - i [A_j, Hbar], eV*Angstrom; d Cartesian directions.
    position : ndarray, shape (2, d, k, n, n)
        A_j, Angstrom.
    overlap : ndarray, shape (k, n, n)
        <W_i up|W_j down>.
    """

    hamiltonian: Complexes
    velocity: Complexes
    position: Complexes
    overlap: Complexes


@dataclasses.dataclass(frozen=True)
class SpinOrbit:
    """V of one direction n and one mask at a batch of k points.

    Parameters
    ----------
    interaction : ndarray, shape (3, k, n, n)
        Blocks up-up, up-down, down-down of V along the spinors of n, eV.
    velocity : ndarray, shape (3, d, k, n, n)
        The same blocks of hbar v_j^SOI = dV/dk_j - i [A_j, V], eV*Angstrom.
    """

    interaction: Complexes
    velocity: Complexes


def spin_frame(direction: Sequence[float]) -> Floats:
    """Right-handed axes (e_1, e_2, n) of the spin frame whose third axis is the direction n.

    `direction` is the axis of the spin-up spinor (physics.md); for n = z the frame is x, y, z.

    Parameters
    ----------
    direction : sequence of float, length 3
        Any length but zero.

    Returns
    -------
    ndarray, shape (3, 3)
        Rows e_1, e_2, n.

    Raises
    ------
    InputError
        If the direction is not three finite numbers or has no length.
    """
    vector = np.asarray(direction, dtype=float)
    if vector.shape != (3,) or not np.isfinite(vector).all() or np.abs(vector).max() < 1e-12:
        raise InputError(f"directions: {np.ravel(vector).tolist()} was given, expected three numbers, not all zero")
    # Scaled first: the squares of large components would overflow.
    vector = vector / np.abs(vector).max()
    x, y, z = vector / np.linalg.norm(vector)
    theta, phi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    return np.array(
        [
            [np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)],
            [-np.sin(phi), np.cos(phi), 0.0],
            [x, y, z],
        ]
    )


def in_spin_frame(blocks: Complexes, frame: Floats) -> Complexes:
    """V's blocks along n from W_alpha: V = sum_alpha sigma_alpha W_alpha with sigma in the frame of n.

    With W'_beta = sum_alpha e_beta,alpha W_alpha: V_uu = W'_z, V_ud = W'_x - i W'_y, V_dd = -W'_z.

    Parameters
    ----------
    blocks : ndarray, shape (3, 3, ...)
        W_alpha for the spin blocks up-up, up-down, down-down (first axis) and alpha (second axis).
    frame : ndarray, shape (3, 3)
        Rows e_1, e_2, n.

    Returns
    -------
    ndarray, shape (3, ...)
        V's blocks up-up, up-down, down-down.
    """
    e_1, e_2, n = frame
    return np.stack(
        [
            np.tensordot(n, blocks[0], axes=1),
            np.tensordot(e_1 - 1j * e_2, blocks[1], axes=1),
            -np.tensordot(n, blocks[2], axes=1),
        ]
    )


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
        self._cartesian = self.vectors @ model.cell
        self._to_lattice = np.exp(-2j * np.pi * self.vectors @ model.kpoints.T) / len(model.kpoints)
        hamiltonian = self.on_lattice(model.hamiltonian)
        position = self.on_lattice(np.moveaxis(model.position, 2, 1)[:, self.axes])
        parts = [hamiltonian, *(self._gradient(hamiltonian, j) for j in self.axes), position.swapaxes(0, 1)]
        parts.append(self.on_lattice(model.overlap)[None])
        # (spin, H, dH/dk_x.., A_x.., overlap) side by side: one matrix product a batch.
        self._columns = np.concatenate([self._as_columns(part) for part in parts], axis=-1)

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
        n, d, k = self.functions, len(self.axes), len(kpoints)
        values = self._evaluate(self._columns, kpoints)
        hamiltonian = values[0:2]
        gradient = values[2 : 2 + 2 * d].reshape(d, 2, k, n, n)
        position = values[2 + 2 * d : 2 + 4 * d].reshape(d, 2, k, n, n)
        # hbar vbar_j = dHbar/dk_j - i [A_j, Hbar]
        velocity = position @ hamiltonian
        velocity -= hamiltonian @ position
        velocity *= -1j
        velocity += gradient
        return Operators(hamiltonian, velocity.swapaxes(0, 1), position.swapaxes(0, 1), values[-1])

    def spin_orbit_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Complexes:
        """V(R) of one direction and mask, prepared once and handed to `spin_orbit` for every batch."""
        blocks = in_spin_frame(self.model.spin_orbit(mask), spin_frame(direction))
        lattice = self.on_lattice(blocks)
        parts = [lattice, *(self._gradient(lattice, j) for j in self.axes)]
        return np.concatenate([self._as_columns(part) for part in parts], axis=-1)

    def spin_orbit(self, columns: Complexes, kpoints: Floats, operators: Operators) -> SpinOrbit:
        """V and hbar v^SOI of one direction and mask.

        Parameters
        ----------
        columns : ndarray
            From `spin_orbit_columns`.
        kpoints : ndarray, shape (k, 3)
            The batch that `operators` belongs to.
        operators : Operators
            Its position matrices enter v^SOI.
        """
        n, d, k = self.functions, len(self.axes), len(kpoints)
        values = self._evaluate(columns, kpoints)
        interaction = values[0:3]
        gradient = values[3:].reshape(d, 3, k, n, n).swapaxes(0, 1)
        (up, down), (v_uu, v_ud, v_dd) = operators.position, interaction
        velocity = np.empty((3, d, k, n, n), dtype=complex)
        for block, (left, middle, right) in enumerate(((up, v_uu, up), (up, v_ud, down), (down, v_dd, down))):
            np.matmul(left, middle, out=velocity[block])
            velocity[block] -= middle @ right
        # hbar v^SOI_j = dV/dk_j - i [A_j, V]
        velocity *= -1j
        velocity += gradient
        return SpinOrbit(interaction, velocity)

    def exact_velocity_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Complexes | None:
        """dV/dk(R) from the differentiated projectors, for `exact_velocity`; None where the model has none."""
        blocks = self.model.spin_orbit_velocity(mask)
        if blocks is None:
            return None
        lattice = self.on_lattice(in_spin_frame(blocks, spin_frame(direction))[:, self.axes])
        return self._as_columns(lattice)

    def exact_velocity(self, columns: Complexes, kpoints: Floats) -> Complexes:
        """Hbar v^SOI = dV_k/dk of one direction and mask, exact in plane waves (no position matrices).

        Put in place of `SpinOrbit.velocity` it gives a(II) without what the Wannier space cuts off; a(I) + a(II)
        closes only with the velocity of `spin_orbit`.

        Parameters
        ----------
        columns : ndarray
            From `exact_velocity_columns`.
        kpoints : ndarray, shape (k, 3)
            In units of the reciprocal lattice vectors.

        Returns
        -------
        ndarray, shape (3, d, k, n, n)
            Blocks up-up, up-down, down-down in the spin frame, eV*Angstrom.
        """
        values = self._evaluate(columns, kpoints)
        return values.reshape(3, len(self.axes), *values.shape[1:])

    def _gradient(self, lattice: Complexes, j: int) -> Complexes:
        result: Complexes = 1j * self._cartesian[:, j, None, None] * lattice
        return result

    def _as_columns(self, lattice: Complexes) -> Complexes:
        """(..., R, n, n) -> (R_1, R_2, R_3, columns) on the box of R vectors, zero where there is none."""
        flat = np.moveaxis(lattice, -3, 0).reshape(len(self.vectors), -1)
        low, high = self.vectors.min(axis=0), self.vectors.max(axis=0)
        box = np.zeros((*(high - low + 1), flat.shape[1]), dtype=complex)
        box[tuple((self.vectors - low).T)] = flat
        return box

    def _evaluate(self, columns: Complexes, kpoints: Floats) -> Complexes:
        """sum_R exp(ikR) X(R) -> (matrices, k, n, n)."""
        n = self.functions
        values = _fourier_sum(self.vectors.min(axis=0), columns, kpoints)
        return np.ascontiguousarray(values.reshape(len(kpoints), -1, n, n).swapaxes(0, 1))


def _fourier_sum(lowest: npt.NDArray[np.int64], box: Complexes, kpoints: Floats) -> Complexes:
    """sum_R exp(2 pi i k.R) X(R), one axis after the other.

    exp(ik.R) factorises, and the points of a mesh's batch share their first coordinate: it is summed once for all
    of them, which leaves a sum over the R of one axis for each k.

    Parameters
    ----------
    lowest : ndarray of int, shape (axes,)
        R of the box's first corner.
    box : ndarray, shape (R_1, ..., R_axes, c), complex
    kpoints : ndarray, shape (k, axes)

    Returns
    -------
    ndarray, shape (k, c), complex
    """
    length = box.shape[0]
    if length == 1 and lowest[0] == 0 and len(lowest) > 1:
        return _fourier_sum(lowest[1:], box[0], kpoints[:, 1:])
    vectors = lowest[0] + np.arange(length)
    coordinates, of_k = np.unique(kpoints[:, 0], return_inverse=True)
    partial = (np.exp(2j * np.pi * np.outer(coordinates, vectors)) @ box.reshape(length, -1)).reshape(
        -1, *box.shape[1:]
    )
    if all(size == 1 for size in box.shape[1:-1]) and (lowest[1:] == 0).all():
        return np.asarray(partial.reshape(len(coordinates), -1)[of_k.ravel()])
    result = np.empty((len(kpoints), box.shape[-1]), dtype=complex)
    for index in range(len(coordinates)):
        mine = of_k.ravel() == index
        result[mine] = _fourier_sum(lowest[1:], partial[index], kpoints[mine, 1:])
    return result


def nearest_images(cell: Floats, mesh: Sequence[int], centres: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """R vectors and the share that each gives to every pair of functions.

    Parameters
    ----------
    cell : ndarray, shape (3, 3)
        Rows, Angstrom.
    mesh : sequence of int, length 3
        The ab-initio mesh; R and R + mesh are the same to it.
    centres : ndarray, shape (n, 3)
        Angstrom.

    Returns
    -------
    vectors : ndarray of int, shape (R, 3)
    share : ndarray, shape (R, n, n)
        1 over the number of equally near images where |R + c_j - c_i| is smallest, else 0.
    """
    divisions = np.asarray(mesh)
    separation = centres[None, :, :] - centres[:, None, :]
    # Functions may sit in a cell far from home: search around the image that the fractional distance suggests.
    home = np.rint(separation @ np.linalg.inv(cell)).astype(int)
    shares: dict[tuple[int, ...], Floats] = {}
    n = len(centres)
    rows, columns = np.indices((n, n))
    supercells = np.array(list(itertools.product(range(-2, 3), repeat=3))) * divisions
    for base in itertools.product(*(range(m) for m in divisions)):
        start = np.asarray(base) - (home + np.asarray(base)) // divisions * divisions
        candidates = start[:, :, None, :] + supercells
        distance = np.linalg.norm(candidates @ cell + separation[:, :, None, :], axis=-1)
        near = distance <= distance.min(axis=-1, keepdims=True) + IMAGE_TOLERANCE
        weight = near / near.sum(axis=-1, keepdims=True)
        for image in np.flatnonzero(near.any(axis=(0, 1))):
            chosen = near[:, :, image]
            for vector in np.unique(candidates[:, :, image][chosen], axis=0):
                mine = chosen & (candidates[:, :, image] == vector).all(axis=-1)
                share = shares.setdefault(tuple(int(x) for x in vector), np.zeros((n, n)))
                share[rows[mine], columns[mine]] += weight[:, :, image][mine]
    vectors = sorted(shares)
    return np.array(vectors, dtype=np.int64), np.array([shares[v] for v in vectors])


def _images_in_plane(model: WannierModel) -> tuple[npt.NDArray[np.int64], Floats]:
    """The nearest images, those that differ only along a non-periodic axis added up: k has no such component."""
    vectors, shares = nearest_images(model.cell, model.mesh, model.centres.mean(axis=0))
    idle = [axis for axis in range(model.dimension, 3) if np.abs(model.cell[axis, : model.dimension]).max() < 1e-9]
    vectors[:, idle] = 0
    unique, place = np.unique(vectors, axis=0, return_inverse=True)
    merged = np.zeros((len(unique), *shares.shape[1:]))
    np.add.at(merged, place.ravel(), shares)
    return unique, merged
