"""The first Brillouin zone of a film: its corners, and points at which bands are held against a reference."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHELLS = range(-3, 4)
"""Reciprocal lattice vectors that can bound the first zone of any cell that is not badly skewed."""
SEED = 20260
"""Of the random points: the same ones for every film, mesh and try."""
GAMMA, EDGE, CORNER = "Gamma", "edge centre", "corner"
DIGITS = 8
"""Of fractional coordinates: pw.x is given as many."""


def first_zone(cell: npt.ArrayLike) -> Floats:
    """Corners of the first Brillouin zone of a film, counter-clockwise.

    Parameters
    ----------
    cell : array_like, shape (3, 3)
        Lattice vectors as rows, Angstrom; the first two in the plane.

    Returns
    -------
    ndarray, shape (corners, 2)
        1/Angstrom: six of a hexagonal cell, four of a square one.
    """
    reciprocal = plane_reciprocal(cell)
    size = 4 * np.abs(reciprocal).sum()
    corners = size * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    for indices in product(SHELLS, SHELLS):
        if indices != (0, 0):
            vector = np.array(indices) @ reciprocal
            corners = _cut(corners, vector, float(vector @ vector) / 2)
    distinct = np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1) > 1e-6 * np.linalg.norm(reciprocal[0])
    zone: Floats = corners[distinct]
    return zone


def plane_reciprocal(cell: npt.ArrayLike) -> Floats:
    """Reciprocal vectors of a film as rows, in its plane, 1/Angstrom."""
    plane = np.asarray(cell, dtype=float)[:2, :2]
    return np.asarray(2 * np.pi * np.linalg.inv(plane).T)


def high_symmetry_points(cell: npt.ArrayLike) -> list[tuple[str, tuple[float, float, float]]]:
    """Gamma, the centres of the zone's edges and its corners, of points that are equal or opposite the first.

    Parameters
    ----------
    cell : array_like, shape (3, 3)
        As `first_zone`.

    Returns
    -------
    list of (name, k point)
        In units of the reciprocal lattice vectors.

    Examples
    --------
    >>> high_symmetry_points([[2.7, 0, 0], [0, 2.7, 0], [0, 0, 20]])  # doctest: +NORMALIZE_WHITESPACE
    [('Gamma', (0.0, 0.0, 0.0)), ('edge centre', (0.0, 0.5, 0.0)), ('edge centre', (0.5, 0.0, 0.0)),
     ('corner', (0.5, 0.5, 0.0))]
    """
    corners = first_zone(cell)
    centres = (corners + np.roll(corners, 1, axis=0)) / 2
    found = [(GAMMA, (0.0, 0.0, 0.0))]
    to_fractional = np.linalg.inv(plane_reciprocal(cell))
    for name, points in ((EDGE, centres), (CORNER, corners)):
        # Of k, -k and their images the one with the smallest coordinates, in a fixed order.
        images = {min(_inside(point), _inside(-point)) for point in points @ to_fractional}
        found += [(name, point) for point in sorted(images)]
    return found


def check_points(cell: npt.ArrayLike, count: int) -> Floats:
    """The film's high-symmetry points, then random ones, evenly spread, the same at every call.

    Parameters
    ----------
    cell : array_like, shape (3, 3)
        As `first_zone`.
    count : int
        Random points (numpy's default generator with `SEED`).

    Returns
    -------
    ndarray, shape (k, 3)
        In units of the reciprocal lattice vectors.
    """
    special = [point for _, point in high_symmetry_points(cell)]
    random = np.zeros((count, 3))
    random[:, :2] = np.random.default_rng(SEED).random((count, 2)).round(DIGITS)
    return np.concatenate([np.array(special), random])


def _inside(point: Floats) -> tuple[float, float, float]:
    """Fractional coordinates in [0, 1)."""
    first, second = (point.round(DIGITS) % 1.0).round(DIGITS) % 1.0
    return float(first), float(second), 0.0


def _cut(corners: Floats, normal: Floats, limit: float) -> Floats:
    """The part of a convex polygon with k.normal <= limit."""
    kept = []
    excess = corners @ normal - limit
    for index in range(len(corners)):
        here, before = index, index - 1
        if excess[here] * excess[before] < 0:
            share = excess[before] / (excess[before] - excess[here])
            kept.append(corners[before] + share * (corners[here] - corners[before]))
        if excess[here] <= 0:
            kept.append(corners[here])
    return np.array(kept)
