"""What the operations of a group do to k meshes and to tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .groups import Operation

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def reduce_mesh(divisions: Sequence[int], operations: Iterable[Operation]) -> tuple[Integers, Integers]:
    """Irreducible points of a Gamma-centred mesh.

    Parameters
    ----------
    divisions : sequence of int
        Points along each periodic direction, 2 or 3 of them.
    operations : iterable of Operation
        A group.

    Returns
    -------
    indices : ndarray of int, shape (points,)
        Flat (C order) indices, ascending; `numpy.unravel_index(indices, divisions)` over the divisions is k in
        units of the reciprocal lattice vectors.
    weights : ndarray of int, shape (points,)
        How many points of the mesh each stands for; their sum is the mesh's size.

    Raises
    ------
    InputError
        If the mesh lacks the symmetry.
    """
    indices, weights = np.unique(stars(divisions, operations), return_counts=True)
    return indices.astype(np.int64), weights.astype(np.int64)


def stars(divisions: Sequence[int], operations: Iterable[Operation]) -> Integers:
    """Of every point of a Gamma-centred mesh (flat, C order) the first point of its star, which stands for all of it.

    Parameters
    ----------
    divisions, operations
        As for `reduce_mesh`.

    Raises
    ------
    InputError
        If the mesh lacks the symmetry.
    """
    shape = tuple(int(m) for m in divisions)
    points = np.indices(shape).reshape(len(shape), -1)
    # The operations form a group, so the smallest index among a point's images is that of its whole star.
    first = np.arange(points.shape[1])
    for matrix in {tuple(m.ravel()): m for m in mesh_matrices(shape, operations)}.values():
        images = (matrix @ points) % np.asarray(shape)[:, None]
        np.minimum(first, np.ravel_multi_index(tuple(images), shape), out=first)
    return first.astype(np.int64)


def mesh_matrices(divisions: Sequence[int], operations: Iterable[Operation], name: str = "mesh") -> list[Integers]:
    """What operations do to the integers n of the mesh points k = n/divisions: diag(N) k-matrix diag(1/N).

    `name` is what an error calls the mesh.

    Raises
    ------
    InputError
        If an operation takes points of the mesh between them.
    """
    d = len(divisions)
    numbers = np.asarray(divisions, dtype=np.int64)
    result = []
    for operation in operations:
        scaled = operation.reciprocal[:d, :d] * numbers[:, None]
        if (scaled % numbers[None, :]).any():
            raise InputError(
                f"{name}: {tuple(int(m) for m in numbers)} lacks the symmetry of the crystal, which exchanges "
                "directions; give the same number of points along them, or use symmetry=False"
            )
        result.append(scaled // numbers[None, :])
    return result


def symmetrise_tensor(
    tensor: npt.ArrayLike,
    operations: Iterable[Operation],
    axial: Sequence[bool] = (True, False),
    odd_in_time: bool = False,
) -> Floats:
    """Average of g T over a group: what the symmetry allows of T.

    g turns a polar index with R and an axial one with det(R) R; one with time reversal turns the sign of what is odd
    under it. D, Q and a are (det(R) R)_ii' R_jj' T_i'j', and even under time reversal, which leaves them as they are.

    Parameters
    ----------
    tensor : array_like, shape (..., *axes)
        An axial axis of length 3; a polar one of the length d (2 for a film).
    operations : iterable of Operation
        A group.
    axial : sequence of bool
        Of every index of the tensor, its last axes: spins are axial, directions in space polar.
    odd_in_time : bool
    """
    values = np.asarray(tensor, dtype=float)
    images = []
    for g in operations:
        image = -values if odd_in_time and g.time_reversal else values
        for place, turns_as_spin in enumerate(axial, start=-len(axial)):
            turn = g.axial if turns_as_spin else g.cartesian
            size = values.shape[place]
            image = np.moveaxis(np.moveaxis(image, place, -1) @ turn[:size, :size].T, -1, place)
        images.append(image)
    result: Floats = np.mean(images, axis=0)
    return result


def symmetry_residual(tensor: npt.ArrayLike, operations: Iterable[Operation]) -> Floats:
    """|T - P T|/|T|, P T from `symmetrise_tensor`: the part of T that the symmetry forbids; 0 where T is 0.

    Parameters
    ----------
    tensor : array_like, shape (..., 3, d)
        Spin index i (axial), then direction j (polar).
    operations : iterable of Operation

    Returns
    -------
    ndarray, shape (...)
    """
    values = np.asarray(tensor, dtype=float)
    forbidden = np.linalg.norm(values - symmetrise_tensor(values, operations), axis=(-2, -1))
    size = np.linalg.norm(values, axis=(-2, -1))
    return np.asarray(forbidden / np.where(size > 0, size, 1.0), dtype=np.float64)
