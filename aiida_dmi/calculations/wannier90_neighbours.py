"""Which k points Wannier90 takes for neighbours, found as it finds them: before anything has run.

Nothing here knows AiiDA. Wannier90's gradient in k needs vectors b between neighbouring k points with

    sum_b w_b b_i b_j = delta_ij                                                  (Eq. B1, PRB 56, 12847 (1997))

It sorts the k points around Gamma into shells of equal |b| and takes shells from the innermost outwards, leaving out
those parallel to what it has, until weights w_b exist. In a film the third direction has one k point and b_z is a whole
reciprocal vector: where its length is that of an in-plane b, Wannier90 takes both as one shell and ends with too many
neighbours or with none along z; where the cell has few digits, lengths that should be equal differ by more than its
tolerance. Both end a run after its scf and nscf. The functions here follow `kmesh_get` of Wannier90 3.1
(src/kmesh.F90) step by step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CELLS = 5
"""Reciprocal cells in every direction in which Wannier90 looks for neighbours (nsupcell)."""
MOST_SHELLS = 6
"""Shells that it can combine (max_shells)."""
MOST_NEIGHBOURS = 12
"""Neighbours of a k point that it can keep (num_nnmax)."""
PARALLEL = 1e-6
"""Off 1, the cosine of two vectors that it takes for parallel."""
SINGULAR = 1e-5
"""1/Angstrom^2: singular value below which it takes a shell for one that adds nothing."""
DEFAULTS: dict[str, Any] = {"search_shells": 36, "kmesh_tol": 1e-6}
"""Wannier90's own: shells it looks at, and Angstrom^-1 within which lengths are equal."""
TOLERANCES = (1e-6, 1e-5, 1e-4)
SHELLS = (36, 120)
"""What is tried, in this order; a wider tolerance than these would let w_b be wrong in a digit that counts."""
SETTINGS = ("search_shells", "kmesh_tol", "shell_list", "skip_b1_tests")
"""Wannier90's keywords of this choice."""
DECIMALS = 10
"""Of cell and k points in the .win file: Wannier90 sees them rounded."""


def neighbours(cell: Any, mesh: Sequence[int], settings: Mapping[str, Any] | None = None) -> list[int]:
    """Neighbours of a k point that Wannier90 finds, a number for each shell it uses.

    Parameters
    ----------
    cell : array_like, shape (3, 3)
        Rows, Angstrom.
    mesh : sequence of int
        Divisions of the Gamma-centred mesh.
    settings : mapping, optional
        Wannier90's `search_shells`, `kmesh_tol` (Angstrom^-1), `shell_list`, `skip_b1_tests`.

    Raises
    ------
    ValueError
        With Wannier90's reason, if it would end without neighbours.

    Examples
    --------
    >>> neighbours([[2.5, 0, 0], [0, 2.5, 0], [0, 0, 16]], [6, 6, 1])
    [4, 2]
    """
    given = {**DEFAULTS, **(settings or {})}
    tolerance = float(given["kmesh_tol"])
    around = _Around(np.round(cell, DECIMALS), mesh)
    shells = around.shells(int(given["search_shells"]), tolerance)
    if "shell_list" in given:
        used = _chosen(around, shells, given["shell_list"], tolerance)
    else:
        used = _automatic(around, shells, tolerance)
    found = [len(vectors) for vectors in used]
    if sum(found) > MOST_NEIGHBOURS:
        raise ValueError(f"{sum(found)} neighbours of a k point, Wannier90 keeps {MOST_NEIGHBOURS} at most")
    if not given.get("skip_b1_tests") and _weights(used, tolerance) is None:
        raise ValueError("the vectors to the neighbours do not satisfy Eq. B1")
    return found


def settings_that_close(cell: Any, mesh: Sequence[int], given: Mapping[str, Any]) -> dict[str, Any]:
    """What has to be added to Wannier90's parameters so that it finds its neighbours.

    Parameters
    ----------
    cell : array_like, shape (3, 3)
        Rows, Angstrom.
    mesh : sequence of int
    given : mapping
        Wannier90's parameters; those of `SETTINGS` that are there are kept.

    Returns
    -------
    dict
        Empty where Wannier90 needs nothing.

    Raises
    ------
    ValueError
        With Wannier90's reason, if there is no such choice.
    """
    fixed = {key: given[key] for key in SETTINGS if key in given}
    reasons = []
    for tolerance in _tried(fixed, "kmesh_tol", TOLERANCES):
        for shells in _tried(fixed, "search_shells", SHELLS):
            choice = {"kmesh_tol": tolerance, "search_shells": shells}
            try:
                neighbours(cell, mesh, {**choice, **fixed})
            except ValueError as error:
                reasons.append(error)
            else:
                return {k: v for k, v in choice.items() if k not in fixed and v != DEFAULTS[k]}
    raise reasons[0]


def mesh_that_closes(cell: Any, mesh: Sequence[int], given: Mapping[str, Any], most: int = 6) -> list[int]:
    """The next denser mesh for which `settings_that_close` has an answer: one more point along each divided direction.

    Raises
    ------
    ValueError
        If none of the next `most` meshes has one.
    """
    for more in range(1, most + 1):
        denser = [n + more if n > 1 else n for n in mesh]
        try:
            settings_that_close(cell, denser, given)
        except ValueError as error:
            reason = error
        else:
            return denser
    raise reason


def _tried(fixed: Mapping[str, Any], key: str, values: Iterable[Any]) -> Iterable[Any]:
    return (fixed[key],) if key in fixed else values


class _Around:
    """The k points around Gamma, in the orders in which Wannier90 goes through them."""

    def __init__(self, cell: Floats, mesh: Sequence[int]) -> None:
        reciprocal = 2 * np.pi * np.linalg.inv(cell).T
        axes = [np.arange(n) / n for n in mesh]
        points = np.round(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3), DECIMALS)
        cells = np.stack(np.meshgrid(*[np.arange(-CELLS, CELLS + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        # Home first, then by distance; of equally distant ones the first written down.
        order = np.lexsort((np.arange(len(cells)), np.round(np.linalg.norm(cells @ reciprocal, axis=1), 8)))
        # Shape (cells, points, 3); Gamma is the first point.
        self._vectors = (cells[order] @ reciprocal)[:, None] + (points @ reciprocal)[None]
        self._lengths = np.linalg.norm(self._vectors, axis=-1)

    def shells(self, number: int, tolerance: float) -> list[tuple[float, int]]:
        """Length (1/Angstrom) and number of vectors of the innermost shells."""
        # Point by point, for each of them cell by cell: of nearly equal lengths the first one names the shell.
        lengths = self._lengths.T.ravel()
        order = np.argsort(lengths, kind="stable")
        ascending = lengths[order]
        shells: list[tuple[float, int]] = []
        last = 0.0
        while len(shells) < number:
            start = np.searchsorted(ascending, last + tolerance, side="right")
            if start == len(ascending):
                break
            end = np.searchsorted(ascending, ascending[start] + 100 * tolerance)
            last, count = _innermost(lengths[np.sort(order[start:end])], tolerance)
            shells.append((last, count))
        return shells

    def vectors(self, shell: tuple[float, int], tolerance: float) -> Floats:
        """The vectors of a shell, shape (b, 3).

        Raises
        ------
        ValueError
            If the shell has not as many within the tolerance, which is a part of their length here, as were counted.
        """
        length, count = shell
        lower, upper = length * (1 - tolerance), length * (1 + tolerance)
        found: Floats = self._vectors[(self._lengths >= lower) & (self._lengths <= upper)]
        if len(found) != count:
            raise ValueError(f"not enough b vectors: {len(found)} of {count} have the length {length:.7f} 1/Angstrom")
        return found


def _innermost(lengths: Floats, tolerance: float) -> tuple[float, int]:
    """Length and members of the innermost shell, in the order given: what is clearly less replaces what was found."""
    smallest, count = np.inf, 0
    for length in lengths:
        if length < smallest - tolerance:
            smallest, count = float(length), 0
        if smallest - tolerance < length < smallest + tolerance:
            count += 1
    return smallest, count


def _automatic(around: _Around, shells: list[tuple[float, int]], tolerance: float) -> list[Floats]:
    """Shells from the innermost outwards until Eq. B1 holds, without those parallel to an earlier one."""
    used: list[Floats] = []
    for shell in shells:
        vectors = around.vectors(shell, tolerance)
        if any(_parallel(vectors, earlier) for earlier in used):
            continue
        if len(used) == MOST_SHELLS:
            break
        if np.abs(_singular(_products([*used, vectors]))).min() < SINGULAR:
            continue
        used.append(vectors)
        if _weights(used, tolerance) is not None:
            return used
    raise ValueError(f"none of the first {len(shells)} shells of neighbours satisfies Eq. B1")


def _chosen(around: _Around, shells: list[tuple[float, int]], chosen: Any, tolerance: float) -> list[Floats]:
    """The shells of a `shell_list`, counted from 1."""
    numbers = [chosen] if isinstance(chosen, int) else list(chosen)
    if not numbers or not all(isinstance(n, int) and 1 <= n <= len(shells) for n in numbers):
        raise ValueError(f"shell_list {chosen!r} was given, expected numbers from 1 to {len(shells)}")
    if len(numbers) > MOST_SHELLS:
        raise ValueError(f"shell_list {chosen!r} was given, expected {MOST_SHELLS} shells at most")
    used = [around.vectors(shells[n - 1], tolerance) for n in numbers]
    if _weights(used, tolerance) is None:
        raise ValueError(f"the shells {numbers} do not satisfy Eq. B1")
    return used


def _parallel(one: Floats, other: Floats) -> bool:
    cosines = (one @ other.T) / np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
    return bool((np.abs(np.abs(cosines) - 1) < PARALLEL).any())


def _products(used: Sequence[Floats]) -> Floats:
    """sum_b b_i b_j of every shell, shape (6, shells): xx, yy, zz, xy, yz, zx."""
    pairs = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)]
    return np.array([[(shell[:, i] * shell[:, j]).sum() for shell in used] for i, j in pairs])


def _singular(products: Floats) -> Floats:
    return np.asarray(np.linalg.svd(products, compute_uv=False), dtype=float)


def _weights(used: Sequence[Floats], tolerance: float) -> Floats | None:
    """One weight a shell (Angstrom^2) such that Eq. B1 holds to the tolerance; None where there are none."""
    target = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    products = _products(used)
    weights: Floats = np.linalg.pinv(products) @ target
    return weights if np.abs(products @ weights - target).max() <= tolerance else None
