"""First order in the spin-orbit interaction: a(I), a(II) and D(1) from the eigenstates of Hbar.

Equation numbers are those of Freimuth, Bluegel, Mokrousov, PRB 96, 054403 (2017). The two spins are
diagonalised apart, once for all directions and masks. Indices: a, c for spin up, b, d for spin down.
O is the spin overlap <up|down>, L the up-down block of V, both between bands; v_u, v_d are hbar vbar.

sigma_x has the up-down block O and sigma_y has -i O, so a quantity that is linear in sigma and real is
2 Re F for the component x and 2 Im F for y, with F what the up-down block O alone contributes.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from ..model.operators import SpinOrbit
from ..states.collinear import Collinear, Splittings
from ..states.spinors import dagger, real_products, real_products_by_row
from ..states.weights import EVERY_ENERGY, Coefficients, Pairs, Triples, occupied_range
from .near_triples import OneSpin, far_pairs

__all__ = ["Collinear", "FirstOrder", "Splittings", "first_order_dmi", "first_part", "second_part"]

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.intp]


# -- the three quantities --------------------------------------------------------------------------------


def first_part(bands: Collinear, splittings: Splittings, spin_orbit: SpinOrbit) -> Coefficients:
    """a(I) = -(1/4) Re sum_nm (f_n - f_m)/(E_n - E_m) <n|{sigma, hbar vbar}|m><m|V|n> (Eq. 22).

    Parameters
    ----------
    bands : Collinear
    splittings : Splittings
    spin_orbit : SpinOrbit
        V of one direction and mask.

    Returns
    -------
    Coefficients
        Bands: up, then down; trailing axes spin component (3), direction j; eV*Angstrom.
    """
    return FirstOrder(bands, splittings, spin_orbit).first_part()


def second_part(
    bands: Collinear, velocity: Complexes, flip: Complexes | None = None, along_n: bool = True
) -> Coefficients:
    """a(II) = -(1/4) Re sum_n f_n <n|{sigma, hbar v^SOI}|n> (Eq. 23).

    Parameters
    ----------
    bands : Collinear
    velocity : ndarray, shape (3, d, k, n, n)
        Blocks up-up, up-down, down-down of hbar v^SOI along n: from [V, A], or from differentiated projectors.
    flip, along_n
        As `FirstOrder`'s; `flip` of v^SOI alone.

    Returns
    -------
    Coefficients
        As `first_part`'s.
    """
    block = velocity[1] if flip is None else flip
    sums = _by_band(bands.overlap * bands.flip(block).conj())
    return _second_part(bands, velocity, sums, EVERY_ENERGY, along_n)


def first_order_dmi(bands: Collinear, splittings: Splittings, spin_orbit: SpinOrbit) -> Coefficients:
    """D(1) = dD/dxi at xi = 0, the torque form (Eq. 2) expanded in V at every k.

    The torque's element (i/2)(E_a - E_b) O_ab takes one energy denominator off each term of the expansion of
    the Green functions (Eqs. 18-20). With f[x, y], g[x, y], g[x, y, z] divided differences and W the weight of
    the Berry-phase sum, what remains of sigma's block O is (v_u, v_d: hbar vbar; y = hbar v^SOI_ud)

        F =  -(1/4) sum_ab f[a,b] (v_u O + O v_d)_ab conj(L_ab)
           + (1/2) sum_ac W_ac (O L^+)_ac v_ca - (1/2) sum_bd W_bd (L^+ O)_bd v_db
           + (1/2) sum_ab (g[a,b] - (f_a + f_b)/2) O_ab conj(y_ab)
           + (1/2) sum_ab O_ab { sum_c g[a,b,c] v_ca conj(L_cb) + sum_d g[a,b,d] v_bd conj(L_ad) }.

    The first and third line's terms in f are a(I)'s and a(II)'s components normal to n; the rest vanishes only in
    the sum over the Brillouin zone.

    Returns
    -------
    Coefficients
        Bands: up, then down; trailing axes spin component (2, for D.n = 0), direction j; eV*Angstrom.
    """
    return FirstOrder(bands, splittings, spin_orbit).dmi()


class FirstOrder:
    """a(I), a(II) and D(1) of one V: see `first_part`, `second_part` and `first_order_dmi`.

    What they share, the elements of V and v^SOI between the bands of Hbar, is made once. Sums by band are complex
    (the block O alone), axes (d, k, band), up bands before down bands.

    Parameters
    ----------
    bands : Collinear
    splittings : Splittings
    spin_orbit : SpinOrbit
        V of one direction and mask.
    window : (float, float)
        Energies (eV) below which every state is full and above which every state is empty: see
        `weights.energy_window`. Terms of first_part and second_part that are then zero are left out.
    flip : (ndarray, ndarray), optional
        The up-down blocks of V and v^SOI, shapes (k, n, n) and (d, k, n, n), instead of those of `spin_orbit`.
    along_n : bool
        Whether the components along n of first_part and second_part are wanted; else they are zero.
    """

    def __init__(
        self,
        bands: Collinear,
        splittings: Splittings,
        spin_orbit: SpinOrbit,
        window: tuple[float, float] = EVERY_ENERGY,
        flip: tuple[Complexes, Complexes] | None = None,
        along_n: bool = True,
    ) -> None:
        self.bands, self.splittings, self.spin_orbit, self._window = bands, splittings, spin_orbit, window
        self._wants_n, n = along_n, bands.overlap.shape[-1]
        interaction, velocity = (spin_orbit.interaction[1], spin_orbit.velocity[1]) if flip is None else flip
        # (f_a - f_b)/(E_a - E_b): a sum over pairs enters f_a with a plus, f_b with a minus.
        self._sign = np.repeat([1.0, -1.0], n)
        self._blocks = interaction, velocity

    @functools.cached_property
    def _flip(self) -> Complexes:
        """L."""
        return self.bands.flip(self._blocks[0])

    @functools.cached_property
    def _velocity(self) -> Complexes:
        """conj(y)."""
        return np.conj(self.bands.flip(self._blocks[1]))

    @functools.cached_property
    def _overlap_over(self) -> Complexes:
        """O/(E_a - E_b)."""
        return self.bands.overlap * self.splittings.flip

    @functools.cached_property
    def _flip_over(self) -> Complexes:
        """L/(E_a - E_b)."""
        return self._flip * self.splittings.flip

    @functools.cached_property
    def _anticommutator(self) -> Complexes:
        """-(1/4) sum_ab f[a,b] (v_u O + O v_d)_ab conj(L_ab), coefficients of f."""
        return -0.25 * self._sign * _by_band(self.bands.anticommutator * self._flip_over.conj())

    @functools.cached_property
    def _overlap_velocity(self) -> Complexes:
        """O_ab conj(y_ab) summed for each band."""
        return _by_band(self.bands.overlap * self._velocity)

    # -- a(I), a(II) ---------------------------------------------------------------------------------------

    def first_part(self) -> Coefficients:
        """a(I), Eq. 22."""
        bands, n = self.bands, self.bands.overlap.shape[-1]
        across = _components(np.moveaxis(self._anticommutator, 0, -1))
        of_f = np.concatenate([across, np.zeros_like(across[:, :, :1])], axis=2)
        of_slope = np.zeros_like(of_f)
        k, a, b = self.splittings.flip_pairs
        flip = _components(-0.25 * bands.anticommutator[:, k, a, b].T * self._flip[k, a, b, None].conj())
        near = [self._flip_pairs(np.concatenate([flip, np.zeros_like(flip[:, :1])], axis=1), k, a, b)]
        for spin in range(2) if self._wants_n else ():
            own = slice(spin * n, (spin + 1) * n)
            near.append(self._along_n(spin, of_f[:, own, 2], of_slope[:, own, 2]))
        return Coefficients(bands.joined, of_f, of_slope=of_slope, quotient=_joined(near))

    def _along_n(self, spin: int, of_f: Floats, of_slope: Floats) -> Pairs:
        """a(I) along n, of one spin: coefficients of f and f' are written, (k, band, d), pairs returned.

        {sigma_z, vbar} = +-2 vbar within one spin, and f_n gets both orders of every pair:
        -+ sum_m Re[v_nm V_mn]/(E_n - E_m) for spin up (down). Two full or two empty bands need no such term.
        """
        bands, energies = self.bands, self.bands.energies[spin]
        factor = (-1.0, 1.0)[spin]
        held, full = occupied_range(energies, self._window)
        kets = bands.states[spin][..., :held]
        interaction = bands.bras[spin][:, full:] @ (self.spin_orbit.interaction[2 * spin] @ kets)
        velocity = bands.velocity[spin][..., full:, :held]
        # 1/(E_m - E_n), rows m, columns n
        elements = interaction * self.splittings.same[spin][:, full:, :held]
        of_f[:, :held] = -factor * real_products(elements, velocity)
        # Bands that are full somewhere only have the bands that are full everywhere among their partners, too.
        rows, columns = slice(0, max(held - full, 0)), slice(0, min(full, held))
        of_f[:, full:held] += factor * real_products_by_row(elements, velocity, rows, columns)
        # A band with itself: the quotient is f'.
        own = np.arange(full, max(held, full))
        diagonal = velocity[:, :, own - full, own] * interaction[:, own - full, own].conj()
        of_slope[:, own] = 0.5 * factor * np.moveaxis(diagonal.real, 0, -1)
        k, m, n = self.splittings.same_pairs[spin]
        inside = (m >= full) & (n < held)
        k, m, n = k[inside], m[inside], n[inside]
        values = np.zeros((len(k), 3, velocity.shape[0]))
        values[:, 2] = 0.5 * factor * (velocity[:, k, m - full, n] * interaction[k, m - full, n].conj()).real.T
        return Pairs(energies[k, m], energies[k, n], values, k)

    def second_part(self) -> Coefficients:
        """a(II), Eq. 23."""
        return _second_part(self.bands, self.spin_orbit.velocity, self._overlap_velocity, self._window, self._wants_n)

    # -- D(1) ----------------------------------------------------------------------------------------------

    def dmi(self) -> Coefficients:
        """D(1), see `first_order_dmi`."""
        commutators_f, commutators_g = self._within_a_spin()
        group_f, group_g = self._same_band()
        of_f = self._anticommutator - 0.25 * self._overlap_velocity + commutators_f + group_f
        # (1/2) sum_ab g[a,b] O_ab conj(y_ab)
        of_g = 0.5 * self._sign * _by_band(self._overlap_over * self._velocity)
        of_g += commutators_g + group_g + self._middle_band()
        pairs, triples = self._near_triples(of_g)
        k, a, b = self.splittings.flip_pairs
        anticommutator = -0.25 * self.bands.anticommutator[:, k, a, b] * self._flip[k, a, b].conj()
        velocity = 0.5 * self.bands.overlap[k, a, b] * self._velocity[:, k, a, b]
        return Coefficients(
            self.bands.joined,
            _components(np.moveaxis(of_f, 0, -1)),
            _components(np.moveaxis(of_g, 0, -1)),
            berry=self._near_commutators(),
            quotient=self._flip_pairs(_components(anticommutator.T), k, a, b),
            slope=_joined([self._flip_pairs(_components(velocity.T), k, a, b), pairs]),
            triples=triples,
        )

    def _within_a_spin(self) -> tuple[Complexes, Complexes]:
        """The commutators' W_ac, and g_a, g_c (g_b, g_d) of the triples: coefficients of f and g.

        With K the inverse splittings and X = O L^+ (down: -L^+ O), f_a and g_a of (1/2) sum_ac W_ac X_ac v_ca are

            -(1/4) sum_c K_ac (X_ac v_ca - X_ca v_ac),    (1/2) sum_c K_ac^2 (X_ac v_ca - X_ca v_ac),

        as W is antisymmetric. Of the triples, g[a,b,c] = g_a K_ab K_ac + g_b K_ba K_bc + g_c K_ca K_cb gives

            g_a: (1/2) sum_c K_ac v_ca (sum_b O_ab K_ab conj(L_cb)),
            g_c: -(1/2) sum_a K_ac v_ca (sum_b O_ab conj(L_cb) K_cb),

        and likewise for spin down. v is Hermitian: sum_c conj(v_ac) G_ac is a scalar product of rows, and the terms
        that are sums of v_ac G_ac are the conjugates of such.
        """
        bands, overlap, flip = self.bands, self.bands.overlap, self._flip
        flip_adjoint, overlap_adjoint = dagger(flip), dagger(overlap)
        # K X, K (K X + sum O K L^+), K X^+, K (sum K L O^+ - K X^+), for spin up and down
        matrices = np.empty((4, *bands.states.shape), dtype=complex)
        x, of_g, x_adjoint, of_g_adjoint = matrices
        np.matmul(overlap, flip_adjoint, out=x[0])
        np.matmul(-flip_adjoint, overlap, out=x[1])
        np.conj(x.swapaxes(-1, -2), out=x_adjoint)
        self._over(matrices[::2])
        np.matmul(self._overlap_over, flip_adjoint, out=of_g[0])
        np.matmul(-dagger(self._flip_over), overlap, out=of_g[1])
        of_g += x
        np.matmul(self._flip_over, overlap_adjoint, out=of_g_adjoint[0])
        np.matmul(-dagger(self._overlap_over), flip, out=of_g_adjoint[1])
        of_g_adjoint -= x_adjoint
        self._over(matrices[1::2])
        f, g, f_adjoint, g_adjoint = np.vecdot(bands.velocity, matrices[:, :, None])
        f = -0.25 * (f - f_adjoint.conj())
        g = 0.5 * (g + g_adjoint.conj())
        return np.concatenate(list(f), axis=-1), np.concatenate(list(g), axis=-1)

    def _over(self, matrices: Complexes) -> None:
        """Divide matrices of each spin, (..., spin, k, n, n), by the energy differences."""
        for matrix in matrices:
            matrix.view(float)[...] *= self.splittings.same_twice

    def _middle_band(self) -> Complexes:
        """g_b of the triples (a, b, c) and g_a of (a, b, d): (1/2) sum O_ab K_ab v_ca conj(L_cb) K_cb and the like."""
        bands, half = self.bands, 0.5 * self._overlap_over
        product = (bands.velocity[0] @ self._flip_over).conj()
        product *= half
        of_down = np.ones(half.shape[-1], dtype=complex) @ product
        of_up = np.vecdot(self._flip_over @ bands.velocity[1], half)
        return np.concatenate([of_up, of_down], axis=-1)

    def _same_band(self) -> tuple[Complexes, Complexes]:
        """The triples' terms c = a, g[a,b,a] = f_a K_ab - (g_a - g_b) K_ab^2, and d = b: coefficients of f and g.

        g_b (g_a) of them is among `_middle_band`'s.
        """
        conjugate = 0.5 * self._flip_over.conj()
        once, twice = _by_band(np.stack([self.bands.overlap * conjugate, self._overlap_over * conjugate]))
        group = self.bands.group_velocity
        return self._sign * once * group, -twice * group

    # -- nearly equal energies -----------------------------------------------------------------------------

    def _near_commutators(self) -> Pairs:
        """Pairs of one spin, with (X_ac v_ca - X_ca v_ac)/4: 2 W is their weight (see `_within_a_spin`)."""
        overlap, flip, bands = self.bands.overlap, self._flip, self.bands
        parts = []
        for spin, pairs in enumerate(self.splittings.same_pairs):
            once = pairs[1] < pairs[2]
            k, a, c = (index[once] for index in pairs)
            if spin == 0:
                x_ac = np.vecdot(flip[k, c], overlap[k, a])
                x_ca = np.vecdot(flip[k, a], overlap[k, c])
            else:
                x_ac = -np.vecdot(flip[k, :, a], overlap[k, :, c])
                x_ca = -np.vecdot(flip[k, :, c], overlap[k, :, a])
            v = bands.velocity[spin]
            values = 0.25 * (x_ac * v[:, k, c, a] - x_ca * v[:, k, a, c])
            parts.append(Pairs(bands.energies[spin][k, a], bands.energies[spin][k, c], _components(values.T), k))
        return _joined(parts)

    def _near_triples(self, of_g: Complexes) -> tuple[Pairs, Triples]:
        """Triples (a, b, c) and (a, b, d) with nearly equal energies among them; see `near_triples`."""
        s, bands = self.splittings, self.bands
        n = bands.overlap.shape[-1]
        half, (k, a, b) = 0.5 * bands.overlap, s.flip_pairs
        up = OneSpin(
            (0, n), half, self._flip, bands.velocity[0],
            s.flip, s.up, s.near_flip, s.near_up, (k, a, b), s.same_pairs[0],
        )  # fmt: skip
        down = OneSpin(
            (n, 0), half.swapaxes(-1, -2), self._flip.swapaxes(-1, -2), bands.velocity[1].swapaxes(-1, -2),
            -s.flip.swapaxes(-1, -2), s.down, s.near_flip.swapaxes(-1, -2), s.near_down, (k, b, a), s.same_pairs[1],
        )  # fmt: skip
        point, left, right, elements = far_pairs([up, down], of_g)
        pairs = Pairs(bands.joined[point, left], bands.joined[point, right], _components(elements.T), point)
        parts = [spin.triples(bands.joined) for spin in (up, down)]
        energies, already, products, point = (np.concatenate(part) for part in zip(*parts, strict=True))
        return pairs, Triples(energies, already, _components(products), point)

    def _flip_pairs(self, elements: Floats, k: Integers, a: Integers, b: Integers) -> Pairs:
        up, down = self.bands.energies
        return Pairs(up[k, a], down[k, b], elements, k)


def _second_part(
    bands: Collinear, velocity: Complexes, flip: Complexes, window: tuple[float, float], along_n: bool
) -> Coefficients:
    """a(II) from v^SOI's blocks and the sums of O_ab conj(y_ab) for each band.

    {sigma_x, v}_uu = v_ud O^+ + h.c., {sigma_y, v}_uu = i v_ud O^+ + h.c., {sigma_x, v}_dd = O^+ v_ud + h.c.,
    {sigma_y, v}_dd = i O^+ v_ud + h.c., {sigma_z, v} = +-2 v within one spin. Empty bands' last is left out.
    """
    n = bands.overlap.shape[-1]
    across = _components(-0.25 * np.moveaxis(flip, 0, -1))
    of_f = np.concatenate([across, np.zeros_like(across[:, :, :1])], axis=2)
    for spin, factor in enumerate((-0.5, 0.5) if along_n else ()):
        held, _ = occupied_range(bands.energies[spin], window)
        kets = bands.states[spin][..., :held]
        of_f[:, spin * n : spin * n + held, 2] = factor * real_products(kets, velocity[2 * spin] @ kets)
    return Coefficients(bands.joined, of_f)


# -- sums ------------------------------------------------------------------------------------------------


def _by_band(elements: Complexes) -> Complexes:
    """Sums over the partners of every band: (..., a, b) -> (..., band), up bands (over b), then down bands (over a)."""
    ones = np.ones(elements.shape[-1], dtype=complex)
    return np.concatenate([elements @ ones, ones @ elements], axis=-1)


def _joined(parts: list[Pairs]) -> Pairs:
    fields = [field.name for field in dataclasses.fields(Pairs)]
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def _components(values: Complexes) -> Floats:
    """F, axes (..., d), to the components x = 2 Re F, y = 2 Im F: axes (..., component, d)."""
    return 2 * np.stack([values.real, values.imag], axis=-2)
