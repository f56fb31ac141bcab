"""Eigenstates of Hbar with one V between them: what a(I), a(II) and D(1) share.

The two spins are diagonalised apart, once for all directions and masks (`collinear`). Indices: a, c for spin up, b, d
for spin down. O is the spin overlap <up|down>, L the up-down block of V, y that of hbar v^SOI, all between bands.

sigma_x has the up-down block O and sigma_y has -i O, so a quantity that is linear in sigma and real is
2 Re F for the component x and 2 Im F for y, with F what the up-down block O alone contributes (`components`).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from ..model.operators import SpinOrbit
from .coefficients import EVERY_ENERGY, Pairs
from .collinear import Collinear, Splittings

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


class FirstOrderStates:
    """Bands of Hbar and the elements of V and v^SOI between them; each is made once, if asked for.

    Sums by band are complex (the block O alone), axes (d, k, band), up bands before down bands.

    Parameters
    ----------
    bands : Collinear
    splittings : Splittings
    spin_orbit : SpinOrbit
        V of one direction and mask.
    window : (float, float)
        Energies (eV) below which every state is full and above which every state is empty: see
        `coefficients.energy_window`. Terms that are then zero may be left out.
    flip : (ndarray, ndarray), optional
        The up-down blocks of V and v^SOI, shapes (k, n, n) and (d, k, n, n), instead of those of `spin_orbit`.
    along_n : bool
        Whether the components along n are wanted; else they are zero.
    exact : ndarray, shape (3, d, k, n, n), optional
        Blocks up-up, up-down, down-down of hbar v^SOI from differentiated projectors.
    exact_flip : ndarray, shape (d, k, n, n), optional
        Its up-down block, instead of that of `exact`.
    """

    def __init__(
        self,
        bands: Collinear,
        splittings: Splittings,
        spin_orbit: SpinOrbit,
        window: tuple[float, float] = EVERY_ENERGY,
        flip: tuple[Complexes, Complexes] | None = None,
        along_n: bool = True,
        exact: Complexes | None = None,
        exact_flip: Complexes | None = None,
    ) -> None:
        self.bands, self.splittings, self.spin_orbit, self.window = bands, splittings, spin_orbit, window
        self.along_n, self.exact = along_n, exact
        self._blocks = (spin_orbit.interaction[1], spin_orbit.velocity[1]) if flip is None else flip
        self._exact_flip = exact[1] if exact is not None and exact_flip is None else exact_flip
        # (f_a - f_b)/(E_a - E_b): a sum over pairs enters f_a with a plus, f_b with a minus.
        self.sign = np.repeat([1.0, -1.0], bands.overlap.shape[-1])

    @functools.cached_property
    def flip(self) -> Complexes:
        """L, shape (k, a, b), eV."""
        return self.bands.flip(self._blocks[0])

    @functools.cached_property
    def flip_velocity(self) -> Complexes:
        """conj(y), shape (d, k, a, b), eV*Angstrom."""
        return np.conj(self.bands.flip(self._blocks[1]))

    @functools.cached_property
    def exact_flip_velocity(self) -> Complexes:
        """conj(y) of the differentiated projectors."""
        if self._exact_flip is None:
            raise ValueError("exact: this V has no differentiated projectors")
        return np.conj(self.bands.flip(self._exact_flip))

    @functools.cached_property
    def overlap_over(self) -> Complexes:
        """O/(E_a - E_b)."""
        return self.bands.overlap * self.splittings.flip

    @functools.cached_property
    def flip_over(self) -> Complexes:
        """L/(E_a - E_b)."""
        return self.flip * self.splittings.flip

    @functools.cached_property
    def anticommutator(self) -> Complexes:
        """-(1/4) sum_ab f[a,b] (v_u O + O v_d)_ab conj(L_ab), coefficients of f; nearly equal pairs apart."""
        return -0.25 * self.sign * by_band(self.bands.anticommutator * self.flip_over.conj())

    @functools.cached_property
    def near_anticommutator(self) -> Complexes:
        """-(1/4) (v_u O + O v_d)_ab conj(L_ab) of the nearly equal pairs, shape (pairs, d)."""
        k, a, b = self.splittings.flip_pairs
        return -0.25 * self.bands.anticommutator[:, k, a, b].T * self.flip[k, a, b, None].conj()

    @functools.cached_property
    def overlap_velocity(self) -> Complexes:
        """O_ab conj(y_ab) summed for each band."""
        return by_band(self.bands.overlap * self.flip_velocity)


def by_band(elements: Complexes) -> Complexes:
    """Sums over the partners of every band: (..., a, b) -> (..., band), up bands (over b), then down bands (over a)."""
    ones = np.ones(elements.shape[-1], dtype=complex)
    return np.concatenate([elements @ ones, ones @ elements], axis=-1)


def components(values: Complexes) -> Floats:
    """F, axes (..., d), to the components x = 2 Re F, y = 2 Im F: axes (..., component, d)."""
    return 2 * np.stack([values.real, values.imag], axis=-2)


def tensor_by_band(values: Complexes) -> Floats:
    """F by band, axes (d, k, band), to the components x, y: axes (k, band, component, d)."""
    return components(np.moveaxis(values, 0, -1))


def pairs_across(states: FirstOrderStates, elements: Floats) -> Pairs:
    """The nearly equal pairs of an up and a down band, with their elements, shape (pairs, component, d)."""
    k, a, b = states.splittings.flip_pairs
    up, down = states.bands.energies
    return Pairs(up[k, a], down[k, b], elements, k)


def joined(parts: list[Pairs]) -> Pairs:
    """Several sets of pairs as one."""
    fields = [field.name for field in dataclasses.fields(Pairs)]
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
