"""What the active bands, those that may hold electrons, need of all others at one k point: resolvents, no sums.

For band n of spin s (other spin t), with R_s(E) = sum_c |c><c|/(E - E_c) over the states c of spin s that are none,

    |v_n> = R_s(E_n) v|n>,  |1_n> = R_t(E_n)|n>,  |p_n> = R_t(E_n) v|n>,
    |w_n> = R_t(E_n) { v|1_n> + |v_n> - sum_a'(t) |v_a'><a'|n> - sum_a(s) |1_a><a|v|n> },

a and a' active: `coefficients` derives that this is all. W is only ever taken between vectors, through their overlaps
with the projectors: one set of vectors, seven a band of a film, serves every atom's W_alpha and every alpha.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from .plane_waves import PlaneWaves
from .remainder import Remainder

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


class Coupling:
    """W_alpha of every atom between vectors that are known by their overlaps with the projectors.

    Parameters
    ----------
    rows : tuple of slice
        Each atom's projectors.
    coupling : tuple of ndarray, shape (3, p_a, p_a)
        h_alpha of each atom, eV.
    """

    def __init__(self, rows: tuple[slice, ...], coupling: tuple[Complexes, ...]) -> None:
        self._atoms = list(zip(rows, coupling, strict=True))

    @property
    def atoms(self) -> int:
        """How many there are."""
        return len(self._atoms)

    def between(self, left: Complexes, right: Complexes) -> Complexes:
        """<l|W|r> from <beta|l> (..., m, p) and <beta|r> (..., n, p): shape (atoms, 3, ..., m, n)."""
        return np.stack(
            [
                np.stack([left[..., rows].conj() @ (right[..., rows] @ h.T).swapaxes(-1, -2) for h in couplings])
                for rows, couplings in self._atoms
            ]
        )

    def each(self, left: Complexes, right: Complexes) -> Complexes:
        """<l_n|W|r_n> of the rows n: shape (atoms, 3, ..., n)."""
        return np.stack(
            [
                np.stack([np.vecdot(left[..., rows], right[..., rows] @ h.T) for h in couplings])
                for rows, couplings in self._atoms
            ]
        )


@dataclasses.dataclass(frozen=True)
class ActiveBands:
    """Active bands of one spin with everything that enters from outside them; W only through the projectors.

    Parameters
    ----------
    energies : ndarray, shape (n,)
    velocity : ndarray, shape (d, n, n)
        <a|v_j|c>.
    across : ndarray, shape (d, n, other n)
        <a|v_j|b>, b of the other spin.
    overlap : ndarray, shape (n, other n)
        <a|b>.
    of_bands, of_own, of_first, of_part, of_second : ndarray
        <beta|.> of |n> (n, p), |v_n> (d, n, p), |1_n> (n, p), |p_n> (d, n, p), |w_n> (d, n, p).
    bands_gradient, first_gradient : ndarray, shape (d, n, p)
        <d_j beta|.> of |n> and |1_n>.
    first_velocity : ndarray, shape (d, other n, n)
        <c|v_j|1_n>, c of the other spin.
    own_first : ndarray, shape (d, n, other n)
        <v_n|1_b>, b of the other spin.
    """

    energies: Floats
    velocity: Complexes
    across: Complexes
    overlap: Complexes
    of_bands: Complexes
    of_own: Complexes
    of_first: Complexes
    of_part: Complexes
    of_second: Complexes
    bands_gradient: Complexes
    first_gradient: Complexes
    first_velocity: Complexes
    own_first: Complexes


def active_bands(
    waves: PlaneWaves,
    single: PlaneWaves,
    remainders: tuple[Remainder, Remainder],
    states: tuple[Complexes, Complexes],
    energies: tuple[Floats, Floats],
) -> tuple[ActiveBands, ActiveBands]:
    """Resolvents of the active bands of both spins at one k point.

    Parameters
    ----------
    waves, single : PlaneWaves
        In double precision, and in that of the remainders.
    remainders : pair of Remainder
    states, energies : pair of ndarray, shapes (n, N) and (n,)
        Active bands of spin up and down.

    Returns
    -------
    pair of ActiveBands
    """
    axes = range(len(waves.slopes))
    overlap = [states[s].conj() @ states[1 - s].T for s in range(2)]
    moved = [np.stack([waves.velocity(j, own) for j in axes]) for own in states]
    velocity = [states[s].conj() @ moved[s].swapaxes(-1, -2) for s in range(2)]
    kind = single.projectors.dtype

    def solved(spin: int, own: Floats, vectors: Complexes) -> Complexes:
        """R_spin(E) on (d, n, N)."""
        flat = vectors.reshape(-1, vectors.shape[-1])
        return remainders[spin](np.tile(own, len(vectors)), flat).reshape(vectors.shape)

    own = [solved(s, energies[s], moved[s]) for s in range(2)]
    cross = [solved(1 - s, energies[s], np.concatenate([states[s][None], moved[s]])) for s in range(2)]
    first, part = [x[0] for x in cross], [x[1:] for x in cross]
    bands = []
    for s in range(2):
        first_moved = np.stack([single.velocity(j, first[s]) for j in axes])
        rest = first_moved + own[s]
        rest -= overlap[s].conj().astype(kind) @ own[1 - s]
        rest -= velocity[s].swapaxes(-1, -2).astype(kind) @ first[s]
        second = solved(1 - s, energies[s], rest)
        bands.append(
            ActiveBands(
                energies=energies[s],
                velocity=velocity[s],
                across=states[s].conj() @ moved[1 - s].swapaxes(-1, -2),
                overlap=overlap[s],
                of_bands=waves.overlaps(states[s]),
                of_own=single.overlaps(own[s]),
                of_first=single.overlaps(first[s]),
                of_part=single.overlaps(part[s]),
                of_second=single.overlaps(second),
                bands_gradient=np.stack([waves.gradient_overlaps(j, states[s]) for j in axes]),
                first_gradient=np.stack([single.gradient_overlaps(j, first[s]) for j in axes]),
                first_velocity=states[1 - s].conj() @ first_moved.swapaxes(-1, -2),
                own_first=own[s].conj() @ first[1 - s].T,
            )
        )
    return bands[0], bands[1]
