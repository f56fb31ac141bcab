"""Heights of a film's atoms, the layers they form, and the kinds that layers make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from aiida import orm
from numpy.typing import ArrayLike, NDArray

from aiida_dmi.engine.errors import InputError

LAYER_TOLERANCE = 0.5
"""Atoms whose heights follow each other within this, Angstrom, are one layer: more than layers are rumpled by (surface
alloys 0.3, the puckered layers of CrSBr 0.45), less than the layers of open surfaces are apart (bcc(111) 0.8)."""
WIDEST_LAYER = 1.0
"""Angstrom; what is higher is no layer but a slope, such as the rows of a vicinal surface."""
ROUNDING = 1e-6
"""Angstrom by which heights of one film differ from one description of it to the next: layers do not hang on that."""
SAME_STEP = 0.01
"""Angstrom within which gaps count as equal, so that noise does not choose between them."""


def heights_of(structure: Any) -> tuple[float, ...]:
    """Heights z of all atoms, Angstrom, of a film in one piece: cut in the middle of the widest gap along z.

    Parameters
    ----------
    structure : StructureData, ase.Atoms or WannierModel
        With its third lattice vector along z; without one (length 0) the heights stand as they are.
    """
    if isinstance(structure, orm.StructureData):
        heights = np.array([site.position[2] for site in structure.sites])
    else:
        heights = np.asarray(structure.positions, dtype=float)[:, 2]
    period = abs(float(np.asarray(structure.cell, dtype=float)[2, 2]))
    if period == 0.0 or np.ptp(heights) == 0.0:
        return tuple(heights.tolist())
    return tuple((in_one_piece(heights / period, heights[0] / period) * period).tolist())


def in_one_piece(fractions: ArrayLike, anchor: float = 0.0) -> NDArray[np.float64]:
    """Periodic coordinates, in units of the period, without the widest gap between them.

    Parameters
    ----------
    fractions : array of float
    anchor : float
        The first coordinate lies within half a period of it.
    """
    given = np.asarray(fractions, dtype=float)
    _, edge = widest_gap(given)
    whole = (given - edge) % 1.0 + edge
    whole += np.round(anchor - whole[0])
    # By whole periods, so that what is in one piece already keeps its last digit.
    in_one_piece: NDArray[np.float64] = given + np.round(whole - given)
    return in_one_piece


def widest_gap(fractions: ArrayLike) -> tuple[float, float]:
    """Widest empty slice of a periodic coordinate and its middle, both in units of the period."""
    ordered = np.sort(np.asarray(fractions, dtype=float) % 1.0)
    widths = np.diff([*ordered, ordered[0] + 1.0])
    widest = int(np.argmax(widths))
    return float(widths[widest]), float((ordered[widest] + widths[widest] / 2) % 1.0)


def cluster_layers(heights: Sequence[float], tolerance: float = LAYER_TOLERANCE) -> tuple[tuple[int, ...], ...]:
    """Layers of atoms from their heights.

    Parameters
    ----------
    heights : sequence of float
        z of every atom, Angstrom.
    tolerance : float
        An atom higher than the one before it by more than this, Angstrom, opens a new layer. What would be thicker
        than `WIDEST_LAYER` then is cut at its widest gaps.

    Returns
    -------
    tuple of tuple of int
        Atom numbers of each layer, from the lowest layer to the highest.
    """
    order = sorted(range(len(heights)), key=lambda site: (heights[site], site))
    layers: list[list[int]] = []
    for site in order:
        if layers and heights[site] - heights[layers[-1][-1]] <= tolerance + ROUNDING:
            layers[-1].append(site)
        else:
            layers.append([site])
    return tuple(tuple(sorted(part)) for layer in layers for part in _cut(layer, heights))


def _cut(layer: list[int], heights: Sequence[float]) -> list[list[int]]:
    """Atoms in the order of their heights, cut at their widest gaps until no part is thicker than `WIDEST_LAYER`."""
    if heights[layer[-1]] - heights[layer[0]] <= WIDEST_LAYER + ROUNDING:
        return [layer]
    ordered = np.array([heights[site] for site in layer])
    gaps, middles = np.diff(ordered), (ordered[1:] + ordered[:-1]) / 2
    widest = np.flatnonzero(gaps > gaps.max() - SAME_STEP)
    # Of equal ones that in the middle.
    at = int(min(widest, key=lambda gap: abs(middles[gap] - (ordered[0] + ordered[-1]) / 2))) + 1
    return [*_cut(layer[:at], heights), *_cut(layer[at:], heights)]


def layer_kind(name: str) -> str:
    """Kind of a layer: letters and digits, three at most, since pw.x (6.7) keeps no more of a label.

    Parameters
    ----------
    name : str
        Such as `Pt.1`.

    Returns
    -------
    str
        Symbols of two letters take one character, 1 to 9 and then a to z: Pt1 ... Pt9, Pta ... Ptz, 35 layers.
        Symbols of one letter take a decimal number, W1 ... W99: a letter would make another element of them.

    Raises
    ------
    InputError
        If the number does not fit.
    """
    element, number = name.split(".")
    most = 99 if len(element) == 1 else 35
    if not 1 <= int(number) <= most:
        raise InputError(f"layer {name}: kinds by layer reach {element}.{most}; build the film with kinds by element")
    if len(element) == 1 or int(number) < 10:
        return f"{element}{number}"
    return element + chr(ord("a") + int(number) - 10)
