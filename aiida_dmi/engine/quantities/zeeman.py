"""The Zeeman picture of a(I) (Sec. III A): misaligned spins of conduction electrons in the spin-orbit field.

An electron that moves through a texture n(r) is misaligned with it (Eq. 75),

    S_kn = sum_j J_j^(kn) (n x dn/dr_j),
    J_j^(kn) = -(hbar/4) sum_{m != n} Re <n|sigma_i|m><m|{sigma_i, hbar vbar_j}|n> / (E_n - E_m)      (Eq. 58),

for i normal to n (both such axes give the same). With V = mu_B sigma.Omega that spin has an energy in the
spin-orbit field whose sum over occupied states is a(I) (Eqs. 65, 66).

Which way n points. `direction` is the axis of the spin-up spinor, everywhere in this package. The paper's n is
the axis along which majority states have sigma.n = -1. Where the spin-up channel is the majority (what Quantum
ESPRESSO makes of a positive starting magnetisation) the two are opposite; in the Rashba model with exchange > 0
spin up is the minority and they agree. J and the energies of Hbar know nothing of it. What depends on SOI
changes from k to -k when n is turned round, so a map for the paper's n is the map for direction = -n where spin
up is the majority. s_kn of Eqs. 52-69 is +1 for minority and -1 for majority states, whatever `direction` is.

Arrays over bands hold the up bands first, then the down bands; j runs over the periodic directions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..model.operators import SpinOrbit
from ..states.collinear import Collinear, Splittings
from ..states.divided_differences import divided_f

Floats = npt.NDArray[np.float64]


def misalignment(bands: Collinear, splittings: Splittings) -> Floats:
    """J_j of every band (Eq. 58).

    Partners of nearly equal energy are left out: Eq. 58 diverges where a spin-up and a spin-down band cross.

    Parameters
    ----------
    bands : Collinear
    splittings : Splittings

    Returns
    -------
    ndarray, shape (k, 2n, d)
        hbar*Angstrom: spin in hbar along n x dn/dr_j per 1/Angstrom of |dn/dr_j|. For bands split rigidly by dE it
        is -s hbar vbar_j / (2 dE), Eq. 76.
    """
    on_up, on_down = _by_band(_tilt(bands), splittings.flip)
    result: Floats = -0.25 * np.concatenate([on_up, on_down], axis=1)[:, :, 0]
    return result


def occupied_misalignment(bands: Collinear, mu: float, kt: float) -> Floats:
    """sum_n f_n J_j at every k, finite where bands cross: shape (k, d), hbar*Angstrom; odd in k (Eq. 80)."""
    weight = _quotients(bands.energies[0], bands.energies[1], mu, kt)
    result: Floats = -0.25 * np.einsum("dknm,knm->kd", _tilt(bands)[0], weight)
    return result


def zeeman_energy(bands: Collinear, splittings: Splittings, spin_orbit: SpinOrbit) -> Floats:
    """A band's energy per gradient in the spin-orbit field, the term of Eq. 66 before the factor f_n.

        -(1/2) sum_{m != n} Re <n|V|m><m|{sigma_i, hbar vbar_j}|n> / (E_n - E_m)

    Returns
    -------
    ndarray, shape (k, 2n, 3, d)
        Components i of the spin frame, eV*Angstrom. Partners of nearly equal energy are left out.
    """
    flip, *along = _energy_elements(bands, spin_orbit)
    on_up, on_down = _by_band(flip, splittings.flip)
    own = [
        _by_band(elements, inverse)[0]
        for elements, inverse in zip(along, (splittings.up, splittings.down), strict=True)
    ]
    both = [np.concatenate(pair, axis=2) for pair in ((on_up, own[0]), (on_down, own[1]))]
    result: Floats = -0.5 * np.concatenate(both, axis=1)
    return result


def occupied_zeeman_energy(bands: Collinear, spin_orbit: SpinOrbit, mu: float, kt: float) -> Floats:
    """Integrand of Eq. 66 at every k, shape (k, 3, d), eV*Angstrom, components of the spin frame.

    Normal to n it is a(I)'s; along n Eq. 66 lacks a(I)'s terms n = m, which the Fermi surface gives.
    """
    flip, along_up, along_down = _energy_elements(bands, spin_orbit)
    up, down = bands.energies
    off = ~np.eye(up.shape[-1], dtype=bool)
    normal = np.einsum("cdknm,knm->kcd", flip, _quotients(up, down, mu, kt))
    # Within a spin the sum over n and m holds every pair twice.
    parallel = 0.5 * np.einsum("cdknm,knm->kcd", along_up, off * _quotients(up, up, mu, kt))
    parallel += 0.5 * np.einsum("cdknm,knm->kcd", along_down, off * _quotients(down, down, mu, kt))
    return -0.5 * np.concatenate([normal, parallel], axis=1)


def spin_orbit_field(bands: Collinear, along_axes: Sequence[SpinOrbit]) -> Floats:
    """mu_B Omega_alpha = <n|W_alpha|n> of every band of Hbar, where V = sum_alpha sigma_alpha W_alpha (Eq. 63).

    Parameters
    ----------
    bands : Collinear
    along_axes : sequence of SpinOrbit
        V for the directions x, y, z: along alpha its spin-diagonal blocks are +W_alpha (up) and -W_alpha (down).

    Returns
    -------
    ndarray, shape (k, 2n, 3)
        alpha = x, y, z of the lattice frame, eV; odd in k where Hbar is collinear.
    """
    field = []
    for spin_orbit in along_axes:
        blocks = np.stack([spin_orbit.interaction[0], -spin_orbit.interaction[2]])
        field.append((bands.states.conj() * (blocks @ bands.states)).real.sum(-2))
    stacked = np.stack(field, axis=-1)  # (spin, k, n, alpha)
    return np.concatenate([stacked[0], stacked[1]], axis=1)


def field_energy(bands: Collinear, field: Floats, direction: Floats, mu: float, kt: float) -> Floats:
    """sum_n f_n 2 mu_B Omega_i J_j at every k (Eqs. 65, 68): the estimate of a(I) from the bands' own fields.

    A pair of bands that tilt each other is given the mean of their two fields, as if they belonged to one orbital
    (Eq. 59): exact where they do, and finite where bands cross.

    Parameters
    ----------
    bands : Collinear
    field : ndarray, shape (k, 2n, 3)
        From `spin_orbit_field`.
    direction : ndarray, shape (3,)
        n: the misaligned spin lies normal to it, so only Omega normal to n counts.
    mu, kt : float
        eV.

    Returns
    -------
    ndarray, shape (k, 3, d)
        Lattice frame, eV*Angstrom.
    """
    normal = field - (field @ direction)[..., None] * direction
    on_up, on_down = np.split(normal, 2, axis=1)
    weight = _quotients(bands.energies[0], bands.energies[1], mu, kt)
    tilt = _tilt(bands)[0] * weight
    result: Floats = -0.25 * (
        np.einsum("dka,kai->kid", tilt.sum(-1), on_up) + np.einsum("dkb,kbi->kid", tilt.sum(-2), on_down)
    )
    return result


# -- matrix elements and sums -------------------------------------------------------------------------------


def _tilt(bands: Collinear) -> Floats:
    """Re <n|sigma_i|m><m|{sigma_i, hbar vbar_j}|n>, n up, m down: (1, d, k, n, m).

    sigma_x is O and {sigma_x, vbar} is Z = v_u O + O v_d, sigma_y is -i O and {sigma_y, vbar} is -i Z: Re[O Z*].
    """
    result: Floats = (bands.overlap * bands.anticommutator.conj()).real[None]
    return result


def _energy_elements(bands: Collinear, spin_orbit: SpinOrbit) -> tuple[Floats, Floats, Floats]:
    """Re <n|V|m><m|{sigma_i, hbar vbar_j}|n>: up-down (i = x, y of the spin frame), up-up and down-down (i = z)."""
    product = bands.anticommutator * bands.flip(spin_orbit.interaction[1]).conj()
    flip = np.stack([product.real, product.imag])  # Re[Z V*], and Re[-i Z V*]
    along = []
    for spin, sign, block in ((0, 2.0, spin_orbit.interaction[0]), (1, -2.0, spin_orbit.interaction[2])):
        states = bands.states[spin]
        between = states.conj().swapaxes(-1, -2) @ block @ states
        along.append(sign * (bands.velocity[spin] * between.conj()).real[None])
    return flip, along[0], along[1]


def _by_band(elements: Floats, inverse: Floats) -> tuple[Floats, Floats]:
    """sum_m G_nm/(E_n - E_m) of every n, sum_n G_nm/(E_m - E_n) of every m: (k, band, component, d)."""
    return np.einsum("cdknm,knm->kncd", elements, inverse), -np.einsum("cdknm,knm->kmcd", elements, inverse)


def _quotients(left: Floats, right: Floats, mu: float, kt: float) -> Floats:
    """(f_n - f_m)/(E_n - E_m) of every n and m: (k, n, m)."""
    return divided_f(left[:, :, None], right[:, None, :], mu, kt)
