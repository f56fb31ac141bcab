"""Which bands may hold electrons, at the hottest temperature and the highest Fermi-level shift."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..constants import BOLTZMANN_EV
from ..errors import InputError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

TAIL = 11.5
"""kT above mu where f and g/kT are 1e-5: bands that begin higher are taken for empty."""
SPACE = 0.5
"""eV above that where the widest gap between bands is taken for the cut."""


def highest_needed(highest_mu: float, hottest: float) -> float:
    """Energy (eV) that the bands at every k point have to reach.

    Parameters
    ----------
    highest_mu : float
        With the highest shift, eV.
    hottest : float
        K.
    """
    return highest_mu + TAIL * BOLTZMANN_EV * hottest + SPACE


def active_counts(energies: Floats, highest_mu: float, hottest: float) -> Integers:
    """Numbers of active bands of each spin and k point.

    One cut for both spins at each k, in the widest gap from `TAIL` to `SPACE` above: every active band lies below every
    other one, so that H - E is positive in `remainder`, and no energy denominator between the two kinds is small.

    Parameters
    ----------
    energies : ndarray, shape (2, k, bands)
        Ascending, eV.
    highest_mu : float
        With the highest shift, eV.
    hottest : float
        K.

    Returns
    -------
    ndarray of int, shape (2, k)

    Raises
    ------
    InputError
        If there are too few bands.
    """
    high = highest_needed(highest_mu, hottest)
    low = high - SPACE
    top = energies[..., -1]
    if top.min() < high:
        spin, k = np.unravel_index(top.argmin(), top.shape)
        raise InputError(
            f"nscf: its {energies.shape[-1]} bands end at {top.min():.2f} eV (k point {k + 1}, spin "
            f"{('up', 'down')[spin]}), expected up to {high:.2f} eV, {high - highest_mu:.2f} eV above the chemical "
            f"potential, for {hottest:g} K; raise nbnd, or lower the temperatures or shifts"
        )
    counts = np.empty(top.shape, dtype=np.int64)
    for point in range(energies.shape[1]):
        both = np.sort(energies[:, point], axis=None)
        first, last = np.searchsorted(both, [low, high])
        # The cut lies below one of the bands first .. last, of both spins alike: R_t(E) is taken at energies of s.
        above = np.arange(max(int(first), 1), int(last) + 1)
        cut = above[np.argmax(both[above] - both[above - 1])]
        counts[:, point] = (energies[:, point] < both[cut]).sum(axis=-1)
    return counts
