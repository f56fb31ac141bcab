"""The error of a sum over a mesh, from the decay of its integrand's Fourier coefficients."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..kspace.aliases import Aliases, Way
from ..model.operators import Operators
from ..states.eigenstates import eigh
from ..states.spinors import real_products

Floats = npt.NDArray[np.float64]

DECAYING = 0.6
"""Far over near coefficients, at most: above it nothing is known of what is farther."""
CHANCE = 0.5
"""Part of its near coefficients, fallen by the tensor's decay, that a component's far ones are taken for at least."""
ROUNDING = 1e-8
"""Of the size of a quantity: far coefficients below are taken for the alias themselves, whether they fall or not."""
NOTHING = 1e-12
"""eV, Angstrom: what is left of a quantity that is zero by symmetry."""
TINY = 1e-3
"""Of the way to an alias; no two sets of coefficients are nearer, but on a mesh of a few points."""
WINDOW, WIDTHS = 0.2, 2.0
"""eV, and kT: as far from mu are the bands whose speed counts."""
SPEED_MESH = 12
"""Points a side on which speeds are looked at."""
RESOLVED = 0.4
"""Thermal decay of the mesh that a refinement goes to where the present one does not resolve kT: its errors are known,
if large, and it has a third of the points of the last one. With 0.25 the whole takes a third longer (Co/Pt 1+1)."""
MOST_AT_ONCE = 8.0
"""Times as many points a side, at most."""


# -- how fast coefficients fall at least --------------------------------------------------------------------------


def band_speeds(operators: Operators) -> tuple[Floats, Floats]:
    """Energies (eV) and hbar |v| (eV*Angstrom) of the bands of Hbar, each of shape (k, 2n)."""
    energies, speeds = [], []
    for hamiltonian, velocity in zip(operators.hamiltonian, operators.velocity, strict=True):
        values, states = eigh(hamiltonian)
        energies.append(values)
        speeds.append(np.linalg.norm(real_products(states, velocity @ states), axis=-1))
    return np.concatenate(energies, axis=1), np.concatenate(speeds, axis=1)


def fastest(energies: Floats, speeds: Floats, mu: float, kt: float) -> float:
    """The largest hbar |v| of bands near mu, eV*Angstrom; 0 in a gap."""
    near = np.abs(energies - mu) < max(WINDOW, WIDTHS * kt)
    return float(speeds[near].max(initial=0.0))


def thermal_decay(ways: Sequence[Way], speed: float, kt: float) -> Floats:
    """Far over near coefficients of the fastest band on each way: exp(-pi kT R/hbar v), R the distance between them.

    Parameters
    ----------
    ways : sequence of Way
        Their lengths in Angstrom.
    speed, kt : float
        eV*Angstrom, eV.
    """
    # On a mesh of a few points the near vectors are as far as the far ones, or farther.
    distances = np.array([max(way.between, 0.0) * way.length for way in ways])
    return np.exp(-np.pi * kt * distances / speed) if speed > 0 else np.zeros(len(distances))


# -- the error ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class KError:
    """The error of a quantity, and how fast it falls.

    Parameters
    ----------
    error : ndarray, shape (..., *axes)
        NaN where the mesh does not resolve kT.
    decay, thermal : ndarray, shape (..., 1 for each axis)
        Far over near coefficients as they enter the error, and as they are of the fastest band; the largest of all
        ways.
    between : float
        Distance of far and near coefficients, in units of that to the alias.
    """

    error: Floats
    decay: Floats
    thermal: Floats
    between: float

    def growth(self, allowed: Floats) -> float:
        """How many times as many points a side are needed for an error of `allowed`.

        The error falls as exp(-a N) where far/near is exp(-between a N). Where the mesh does not resolve kT, it is one
        with a thermal decay of RESOLVED, or twice as fine.
        """
        error, room, decay, thermal = np.broadcast_arrays(self.error, allowed, self.decay, self.thermal)
        unknown = np.isnan(error)
        if unknown.any():
            slowest = float(thermal[unknown].max())
            enough = math.log(RESOLVED) / math.log(slowest) if 0 < slowest < 1 else MOST_AT_ONCE
            return min(max(enough, 2.0), MOST_AT_ONCE) if slowest > RESOLVED else 2.0
        large = error > room
        if not large.any():
            return 1.0
        with np.errstate(divide="ignore"):
            more = np.log(error[large] / room[large]) * self.between / np.log(1 / decay[large])
        return min(1 + float(more.max()), 2.0)


def k_error(coefficients: Floats, aliases: Aliases, axes: int, size: Floats, thermal: Floats) -> KError:
    """What the aliases of a mesh add to a mean over it.

    F falls exponentially with R: the bands are smooth, and occupations have their nearest poles at mu +- i pi kT, so
    that a band of velocity v has F ~ exp(-pi kT |R|/hbar v). With E_1 the largest |F| at 0.2 to 0.25 L and E_2 that at
    0.4 to 0.5 L, F(L) is E_2 (E_2/E_1)^p with p = 0.55/0.225, the ratio of the ways; and for L and -L,

        error = sum over pairs of 2 max(E_2, q E_1/2) q^p,    q the larger of E_2/E_1 and exp(-pi kT 0.225 |L|/hbar v),

    v that of the fastest band near mu. What a smooth part of X contributes falls faster at first and hides what is left
    at L, and what is sharper than the mesh is not seen in E_1 and E_2 at all: q is no smaller than the fastest band
    allows. E_2/E_1 of q is that of the whole tensor: a component which is small by chance does not fall faster. Where
    q > 0.6 the mesh does not resolve kT, and no number is given.

    Parameters
    ----------
    coefficients : ndarray, shape (r, ..., *axes)
        Of the cosines of `aliases`.
    aliases : Aliases
    axes : int
        Number of the tensor's own indices, its last axes.
    size : ndarray, shape (..., *axes)
        Size of the quantity, for what is rounding.
    thermal : ndarray, shape (ways, ...)
        From `thermal_decay`, to be broadcast against the others' axes but the tensor's own.
    """
    total = np.zeros(coefficients.shape[1:])
    slowest = np.zeros(())
    trailing = tuple(range(-axes, 0))
    floor = NOTHING + ROUNDING * np.sqrt((size**2).sum(axis=trailing, keepdims=True))
    least = thermal.reshape(*thermal.shape, *[1] * axes)
    for way, bound in zip(aliases.ways, least, strict=True):
        near, far = (
            np.sqrt((coefficients[r] ** 2).sum(axis=trailing, keepdims=True)).max(axis=0) for r in (way.near, way.far)
        )
        small = far <= floor
        with np.errstate(divide="ignore", invalid="ignore"):
            decay = np.where(small, 1.0, np.maximum(far / near, bound))
        known = (small | (decay <= DECAYING)) & (way.between > 0)  # not on a mesh of a few points
        left = np.where(known, decay, np.nan) ** (way.beyond / max(way.between, TINY))
        # A component that is small by chance where it is far may not be so farther on.
        own = [np.abs(coefficients[r]).max(axis=0) for r in (way.near, way.far)]
        total += 2 * np.where(small, own[1], np.maximum(CHANCE * decay * own[0], own[1])) * left
        slowest = np.maximum(slowest, decay)
    between = min((way.between for way in aliases.ways), default=1.0)
    return KError(total, slowest, least.max(axis=0), between)
