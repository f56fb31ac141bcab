"""The chemical potential: fixed, or where the bands on the mesh in use hold the model's electrons."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from ..constants import BOLTZMANN_EV
from ..errors import InputError
from ..kspace.mesh import Batch, Mesh
from ..processes.progress import Progress
from ..states.coefficients import FILLED
from ..states.divided_differences import fermi
from .settings import Settings

Floats = npt.NDArray[np.float64]

WIDE_GAP = 40.0
"""kT. In a wider gap mu is that of a non-degenerate semiconductor; occupations deviate from 0 and 1 by 1e-9 at most."""
WHOLE = 1e-9
"""Electrons per cell within which a band is taken for full."""
MARGIN = 0.5
"""eV that the guess from a small mesh may be wrong before energies are kept in a wider window."""
GUESS_MESH = 12
STEP = 0.05
"""kT between the two chemical potentials of a mesh."""


@dataclasses.dataclass(frozen=True)
class ChemicalPotentials:
    """mu in eV, without the shift: that of the mesh, and where it follows from the mesh a second one slightly above.

    The change between the two says how much of an error in the number of electrons gets into a quantity.

    Parameters
    ----------
    full : ndarray, shape (level, direction, mask, xi, temperature)
        For D and Q; that of Hbar where neither is asked for.
    bare : ndarray, shape (level, temperature)
        For a(I), a(II), D(1), Q(1) and the electrons.
    """

    full: Floats
    bare: Floats


def find_chemical_potentials(
    model: Any, settings: Settings, mesh: Mesh, batches: Sequence[Batch], workers: Any, report: Progress
) -> ChemicalPotentials:
    """Mu on the mesh in use.

    Only energies near the Fermi level are kept (bands below are counted), so memory stays small for any mesh.

    Parameters
    ----------
    model : WannierModel or RashbaModel
    settings : Settings
    mesh : Mesh
    batches : list of Batch
        Of this mesh.
    workers : Workers
    report : Progress

    Raises
    ------
    InputError
        If the bands cannot hold the model's electrons.
    """
    kt = BOLTZMANN_EV * np.asarray(settings.temperatures)
    shape = (len(settings.directions), len(settings.soi_masks), len(settings.soi_scales))
    if settings.fermi_level == "dft" or model.electrons is None:
        fixed = float(model.fermi_energy)
        return ChemicalPotentials(np.full((1, *shape, len(kt)), fixed), np.full((1, len(kt)), fixed))
    electrons = float(model.electrons)
    full = settings.fermi_level == "neutral" and bool(settings.finite_order)
    guess = Mesh(tuple(min(GUESS_MESH, m) for m in mesh.divisions)).batches(256)
    low, high = _guess(electrons, kt, guess, workers, full)
    margin, tail = MARGIN, FILLED * float(kt.max())
    while True:
        window = (low - margin - tail, high + margin + tail)
        kept = _Kept.gather(batches, workers, full, window, shape, report)
        result, needed = _solve(kept, electrons, kt, shape, full)
        if window[0] + tail <= needed[0] and needed[1] <= window[1] - tail:
            return result
        margin *= 4


def _guess(electrons: float, kt: Floats, batches: Sequence[Batch], workers: Any, full: bool) -> tuple[float, float]:
    """Lowest and highest energy that decides on mu, over all xi, directions, masks, temperatures on a small mesh."""
    parts = [workers.here("energies", batch, full) for batch in batches]
    sets = [np.concatenate([part[0] for part in parts])]
    if full:
        everything = np.concatenate([part[1] for part in parts], axis=-2)
        sets += list(everything.reshape(-1, *everything.shape[-2:]))
    found = [_neutral(_Energies.of_mesh(energies), electrons, kt, float(len(energies))) for energies in sets]
    return _range(found)


@dataclasses.dataclass(frozen=True)
class _Energies:
    """Band energies of a set of k points near the Fermi level, with weights, and the weight of the bands below."""

    near: Floats
    weights: Floats
    below: float
    bands: int

    @classmethod
    def of(cls, energies: Floats, weights: Floats, window: tuple[float, float]) -> _Energies:
        inside = (energies >= window[0]) & (energies <= window[1])
        below = float(((energies < window[0]).sum(axis=1) * weights).sum())
        spread = np.broadcast_to(weights[:, None], energies.shape)
        return cls(energies[inside], spread[inside], below, energies.shape[1])

    @classmethod
    def of_mesh(cls, energies: Floats) -> _Energies:
        """Every band of a complete mesh, (k, bands)."""
        return cls.of(energies, np.ones(len(energies)), (-np.inf, np.inf))

    @classmethod
    def joined(cls, parts: Sequence[_Energies]) -> _Energies:
        near = np.concatenate([part.near for part in parts])
        weights = np.concatenate([part.weights for part in parts])
        return cls(near, weights, sum(part.below for part in parts), parts[0].bands)


@dataclasses.dataclass(frozen=True)
class _Kept:
    """Energies of Hbar and of every H(xi), batch by batch, and the number of k points."""

    bare: list[_Energies]
    full: dict[tuple[int, ...], list[_Energies]]
    points: float

    @classmethod
    def gather(
        cls,
        batches: Sequence[Batch],
        workers: Any,
        full: bool,
        window: tuple[float, float],
        shape: tuple[int, ...],
        report: Progress,
    ) -> _Kept:
        kept = cls([], {index: [] for index in np.ndindex(*shape)} if full else {}, 0.0)
        points = 0.0
        for batch, (bare, energies) in zip(batches, workers.map("energies", batches, full), strict=True):
            points += float(batch.weights.sum())
            kept.bare.append(_Energies.of(bare, batch.weights, window))
            for index, parts in kept.full.items():
                parts.append(_Energies.of(energies[index], batch.weights, window))
            report.advance(len(batch.kpoints))
        return dataclasses.replace(kept, points=points)


@dataclasses.dataclass(frozen=True)
class _Level:
    """Mu of one set of bands, one a temperature, and the edges of the gap it lies in (equal in a metal); eV."""

    mu: Floats
    valence: float
    conduction: float


def _range(levels: Sequence[_Level]) -> tuple[float, float]:
    """Lowest and highest energy among chemical potentials and band edges."""
    lowest = min(min(float(level.mu.min()), level.valence) for level in levels)
    return lowest, max(max(float(level.mu.max()), level.conduction) for level in levels)


def _solve(
    kept: _Kept, electrons: float, kt: Floats, shape: tuple[int, ...], full: bool
) -> tuple[ChemicalPotentials, tuple[float, float]]:
    """Mu, and the range of energies that it follows from, which the window has to hold."""
    found: list[_Level] = []

    def levels(parts: list[_Energies]) -> Floats:
        found.append(_neutral(_Energies.joined(parts), electrons, kt, kept.points))
        return np.stack([found[-1].mu, found[-1].mu + STEP * kt])

    bare = levels(kept.bare)
    result = np.broadcast_to(bare.reshape(2, *[1] * len(shape), len(kt)), (2, *shape, len(kt))).copy()
    for index, parts in kept.full.items():
        direction, mask, xi = index
        result[:, direction, mask, xi] = levels(parts)
    return ChemicalPotentials(result, bare), _range(found)


def neutral_level(energies: Floats, electrons: float, kt: float) -> float:
    """Mu at which the bands of a complete mesh hold `electrons`: towards T = 0 the middle of a gap.

    Parameters
    ----------
    energies : ndarray, shape (k, bands)
        eV.
    electrons : float
        Per cell.
    kt : float
        eV.

    Raises
    ------
    InputError
        If the bands cannot hold that many electrons.
    """
    return float(_neutral(_Energies.of_mesh(energies), electrons, np.array([kt]), float(len(energies))).mu[0])


def _neutral(energies: _Energies, electrons: float, kt: Floats, points: float) -> _Level:
    """Mu at which sum_kn f_kn / N_k = electrons, one a temperature.

    Raises
    ------
    InputError
        If the bands cannot hold that many electrons.
    """
    if not 0 < electrons < energies.bands:
        raise InputError(f"electrons: {electrons:g} do not fit into {energies.bands} bands; give fermi_level='dft'")
    valence, conduction = _edges(energies, electrons, points)
    if not np.isfinite([valence, conduction]).all():
        return _Level(np.full(len(kt), -np.inf), valence, conduction)  # an edge outside the window: it has to grow
    lowest, highest = float(energies.near.min()), float(energies.near.max())

    def excess(mu: float, temperature: float) -> float:
        occupied = float(fermi(energies.near, mu, temperature) @ energies.weights)
        return (energies.below + occupied) / points - electrons

    mu = [
        _in_gap(energies, valence, conduction, t)
        if conduction - valence > WIDE_GAP * t
        else _root(excess, lowest - 50 * t, highest + 50 * t, t)
        for t in kt
    ]
    return _Level(np.array(mu), valence, conduction)


def _edges(energies: _Energies, electrons: float, points: float) -> tuple[float, float]:
    """The highest state that holds electrons at T = 0 and the lowest with room for one; infinite outside the window.

    A state that is partly filled, as in a metal, is both.
    """
    order = np.argsort(energies.near)
    filled = energies.below + np.cumsum(energies.weights[order])
    valence = int(np.searchsorted(filled, (electrons - WHOLE) * points))
    conduction = int(np.searchsorted(filled, (electrons + WHOLE) * points, side="right"))
    low = energies.near[order[valence]] if valence < len(order) else np.inf
    high = energies.near[order[conduction]] if conduction < len(order) else np.inf
    return float(low) if energies.below < (electrons - WHOLE) * points else -np.inf, float(high)


def _in_gap(energies: _Energies, valence: float, conduction: float, kt: float) -> float:
    """Mu in a gap much wider than kT, where sum f of the bands above equals sum (1 - f) of those below.

    Both are exponential there, exp(-(E_c - mu)/kT) N_c = exp(-(mu - E_v)/kT) N_v with N_c = sum_k exp(-(E - E_c)/kT)
    and N_v alike, so mu = (E_v + E_c)/2 + (kT/2) ln(N_v/N_c). The count of electrons itself is flat to rounding.
    """
    below, above = energies.near <= valence, energies.near >= conduction
    holes = np.exp((energies.near[below] - valence) / kt) @ energies.weights[below]
    electrons = np.exp((conduction - energies.near[above]) / kt) @ energies.weights[above]
    return (valence + conduction) / 2 + kt / 2 * float(np.log(holes / electrons))


def _root(excess: Callable[[float, float], float], low: float, high: float, temperature: float) -> float:
    """The zero of a rising function; the end of the range where it lies outside (the window is then widened)."""
    if excess(low, temperature) >= 0:
        return low
    if excess(high, temperature) <= 0:
        return high
    return float(brentq(excess, low, high, args=(temperature,), xtol=1e-13))
