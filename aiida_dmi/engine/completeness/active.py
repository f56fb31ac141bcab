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


def active_counts(energies: Floats, highest_mu: float, hottest: float) -> Integers:
    """Numbers of active bands of each spin and k point.

    All energy denominators between an active band and one that is none are those of true quotients as long as the cut
    lies in a gap: between nearly equal bands above `TAIL` they would be off by f/kT.

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
    low = highest_mu + TAIL * BOLTZMANN_EV * hottest
    high = low + SPACE
    top = energies[..., -1]
    if top.min() < high:
        spin, k = np.unravel_index(top.argmin(), top.shape)
        raise InputError(
            f"nscf: its {energies.shape[-1]} bands end at {top.min():.2f} eV (k point {k + 1}, spin "
            f"{('up', 'down')[spin]}), expected up to {high:.2f} eV, {high - highest_mu:.2f} eV above the chemical "
            f"potential, for {hottest:g} K; raise nbnd, or lower the temperatures or shifts"
        )
    counts = np.empty(top.shape, dtype=np.int64)
    for index in np.ndindex(*top.shape):
        bands = energies[index]
        first, last = np.searchsorted(bands, [low, high])
        # Band number `first` is the lowest that is empty; the cut is below one of first .. last.
        cuts = np.arange(max(int(first), 1), max(int(last), int(first), 1) + 1)
        cuts = cuts[cuts < len(bands)]
        counts[index] = cuts[np.argmax(bands[cuts] - bands[cuts - 1])]
    return counts
