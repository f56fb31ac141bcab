"""The images of a point in a lattice that lie nearest to another one, in any cell of that lattice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

IMAGE_TOLERANCE = 1e-4
"""Images within this distance (Angstrom) of the nearest share an element equally."""
SHORTER = 1e-9
"""A vector counts as shorter than another one by more than this part of its squared length."""


def nearest_images(cell: Floats, mesh: Sequence[int], centres: Floats) -> tuple[Integers, Floats]:
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
    n = len(centres)
    separation = (centres[None, :, :] - centres[:, None, :]).reshape(-1, 3)
    # Of the supercell that the mesh repeats in, by its shortest vectors.
    supercell = reduced(np.diag(divisions), cell)
    found = []
    for base in itertools.product(*(range(m) for m in divisions)):
        home, around, squared = _images(np.asarray(base) @ cell + separation, supercell @ cell)
        limit = np.sqrt(squared.min(axis=-1)) + IMAGE_TOLERANCE
        near = squared <= (limit**2)[:, None]
        pair, image = np.nonzero(near)
        steps = (home[pair] + around[image]) @ supercell
        found.append((np.asarray(base) + steps, pair, 1 / near.sum(axis=-1)[pair]))
    images, pairs, weights = (np.concatenate(parts) for parts in zip(*found, strict=True))
    vectors, place = _unique_vectors(images)
    share = np.zeros((len(vectors), n * n))
    share[place, pairs] = weights  # an image belongs to one base: no element comes twice
    return vectors, share.reshape(-1, n, n)


def nearest_distances(separation: Floats, cell: Floats) -> Floats:
    """Distance of the nearest image of each separation.

    Parameters
    ----------
    separation : ndarray, shape (..., 3)
        Cartesian, Angstrom.
    cell : ndarray, shape (3, 3)
        Rows, Angstrom.

    Returns
    -------
    ndarray, shape (...)
        Angstrom.
    """
    *_, squared = _images(separation.reshape(-1, 3), reduced(np.eye(3, dtype=np.int64), cell) @ cell)
    return np.asarray(np.sqrt(squared.min(axis=-1)).reshape(separation.shape[:-1]))


def reduced(vectors: Integers, cell: Floats) -> Integers:
    """Short vectors of the lattice that some vectors span: from each is taken what shortens it of each other one.

    Parameters
    ----------
    vectors : ndarray of int, shape (3, 3)
        Rows, in units of the cell's.
    cell : ndarray, shape (3, 3)
        Rows, Angstrom.

    Returns
    -------
    ndarray of int, shape (3, 3)
        Rows; they span the same lattice.
    """
    result = np.array(vectors, dtype=np.int64)
    changed = True
    while changed:
        changed = False
        for i, j in itertools.permutations(range(3), 2):
            a, b = result[[i, j]] @ cell
            shorter = result[i] - int(np.rint(a @ b / (b @ b))) * result[j]
            if ((shorter @ cell) ** 2).sum() < (1 - SHORTER) * (a @ a):
                result[i], changed = shorter, True
    return result


def _images(points: Floats, lattice: Floats) -> tuple[Integers, Integers, Floats]:
    """Images of some points around the origin, the nearest ones of each among them.

    A point r is first brought to fractions f of the lattice vectors with |f_i| <= 1/2. Its nearest image r + n A is no
    longer than r, and the fraction of a vector along a_i is at most its length times that of the reciprocal vector
    b_i: so |n_i| <= |r| |b_i| + 1/2, whatever the shape of the cell.

    Parameters
    ----------
    points : ndarray, shape (points, 3)
        Cartesian.
    lattice : ndarray, shape (3, 3)
        Rows.

    Returns
    -------
    home : ndarray of int, shape (points, 3)
    around : ndarray of int, shape (images, 3)
        The sum of both is the lattice vector that is added to a point for an image.
    squared : ndarray, shape (points, images)
        Its length squared.
    """
    inverse = np.linalg.inv(lattice)
    home = -np.rint(points @ inverse).astype(np.int64)
    points = points + home @ lattice
    longest = np.sqrt((points**2).sum(-1).max()) + IMAGE_TOLERANCE
    reach = np.floor(longest * np.linalg.norm(inverse, axis=0) + 0.5).astype(int)
    around = np.array(list(itertools.product(*(range(-r, r + 1) for r in reach))), dtype=np.int64)
    # |r + T|^2 = |r|^2 + 2 r.T + |T|^2 for all points and images: one matrix product.
    translations = around @ lattice
    squared = points @ (2 * translations.T)
    squared += (points**2).sum(-1)[:, None]
    squared += (translations**2).sum(-1)
    return home, around, squared.clip(0)


def _unique_vectors(images: Integers) -> tuple[Integers, Integers]:
    """Different rows in ascending order, and the place of each row among them."""
    low = images.min(axis=0)
    extent = tuple(images.max(axis=0) - low + 1)
    numbers, place = np.unique(np.ravel_multi_index(tuple((images - low).T), extent), return_inverse=True)
    return np.stack(np.unravel_index(numbers, extent), axis=1) + low, place
