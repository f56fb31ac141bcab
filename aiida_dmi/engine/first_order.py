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

from .interpolation import Operators, SpinOrbit
from .response import Coefficients, Pairs, Triples

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.intp]


@dataclasses.dataclass(frozen=True)
class Collinear:
    """Eigenstates of Hbar, up and down apart, and what the first order needs between them.

    Parameters
    ----------
    energies : ndarray, shape (2, k, n)
    states : ndarray, shape (2, k, n, n)
    overlap : ndarray, shape (k, n, n)
        O = <a up|b down>.
    velocity : ndarray, shape (2, d, k, n, n)
        hbar vbar between the bands of one spin.
    anticommutator : ndarray, shape (d, k, n, n)
        Up-down block v_u O + O v_d of {sigma_x, hbar vbar}.
    """

    energies: Floats
    states: Complexes
    overlap: Complexes
    velocity: Complexes
    anticommutator: Complexes

    @classmethod
    def of(cls, operators: Operators) -> Collinear:
        """Diagonalise Hbar at a batch of k points."""
        energies, states = np.linalg.eigh(operators.hamiltonian)
        bras = _dagger(states)
        overlap = bras[0] @ operators.overlap @ states[1]
        velocity = bras[:, None] @ operators.velocity @ states[:, None]
        return cls(energies, states, overlap, velocity, velocity[0] @ overlap + overlap @ velocity[1])

    @property
    def joined(self) -> Floats:
        """Energies of the up, then the down bands, shape (k, 2n)."""
        return np.concatenate([self.energies[0], self.energies[1]], axis=-1)

    def flip(self, block: Complexes) -> Complexes:
        """An up-down block between the bands."""
        result: Complexes = self.bra_up @ block @ self.states[1]
        return result

    @functools.cached_property
    def bra_up(self) -> Complexes:
        """Conjugate transpose of the up states."""
        return np.ascontiguousarray(_dagger(self.states[0]))


@dataclasses.dataclass(frozen=True)
class Splittings:
    """Inverse energy differences, zero where energies are nearly equal.

    Parameters
    ----------
    flip : ndarray, shape (k, n, n)
        1/(E_a - E_b), up minus down.
    up, down : ndarray, shape (k, n, n)
        1/(E_a - E_c), 1/(E_b - E_d); zero on the diagonal.
    near_flip, near_up, near_down : ndarray of bool
        Nearly equal energies; the diagonal counts.
    """

    flip: Floats
    up: Floats
    down: Floats
    near_flip: npt.NDArray[np.bool_]
    near_up: npt.NDArray[np.bool_]
    near_down: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, bands: Collinear, threshold: float) -> Splittings:
        """Of all pairs of bands; `threshold` in eV."""
        up, down = bands.energies
        flip, near_flip = _inverse(up, down, threshold)
        same_up, near_up = _inverse(up, up, threshold)
        same_down, near_down = _inverse(down, down, threshold)
        return cls(flip, same_up, same_down, near_flip, near_up, near_down)


def _inverse(left: Floats, right: Floats, threshold: float) -> tuple[Floats, npt.NDArray[np.bool_]]:
    difference = left[:, :, None] - right[:, None, :]
    near = np.abs(difference) < threshold
    return np.where(near, 0.0, 1.0 / np.where(near, 1.0, difference)), near


def _dagger(matrix: Complexes) -> Complexes:
    return np.conj(matrix).swapaxes(-1, -2)


# -- a(I) ------------------------------------------------------------------------------------------------


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
    up, down = bands.states
    product = bands.anticommutator * bands.flip(spin_orbit.interaction[1]).conj()
    # Both orders of the pair count: 2 Re, 2 Im.
    flip = -0.5 * np.stack([product.real, product.imag])
    # {sigma_z, vbar} = +-2 vbar within one spin.
    v_up, v_down = bands.velocity
    along_up = -0.5 * (v_up * np.conj(_dagger(up) @ spin_orbit.interaction[0] @ up)).real
    along_down = 0.5 * (v_down * np.conj(_dagger(down) @ spin_orbit.interaction[2] @ down)).real

    quotient = flip * splittings.flip
    # Within one spin the quotient is symmetric: f_n gets both orders of every pair.
    z_up, z_down = 2 * (along_up * splittings.up).sum(-1), 2 * (along_down * splittings.down).sum(-1)
    of_up = np.concatenate([quotient.sum(-1), z_up[None]])
    of_down = np.concatenate([-quotient.sum(-2), z_down[None]])
    of_f = np.moveaxis(np.concatenate([of_up, of_down], axis=-1), (0, 1), (-2, -1))
    # A band with itself: the quotient is f'.
    own = np.concatenate([np.einsum("dknn->dkn", along) for along in (along_up, along_down)], axis=-1)
    of_slope = np.zeros_like(of_f)
    of_slope[..., 2, :] = np.moveaxis(own, 0, -1)
    e_up, e_down = bands.energies
    others = ~np.eye(e_up.shape[-1], dtype=bool)
    near = [
        _pairs(splittings.near_flip, e_up, e_down, np.concatenate([flip, np.zeros_like(flip[:1])])),
        _pairs(splittings.near_up & others, e_up, e_up, _only_z(along_up)),
        _pairs(splittings.near_down & others, e_down, e_down, _only_z(along_down)),
    ]
    return Coefficients(bands.joined, of_f, of_slope=of_slope, quotient=_joined(near))


def _only_z(values: Floats) -> Floats:
    return np.stack([np.zeros_like(values), np.zeros_like(values), values])


def _pairs(near: npt.NDArray[np.bool_], left: Floats, right: Floats, elements: Floats) -> Pairs:
    """The nearly equal pairs among elements (component, d, k, n, m)."""
    k, n, m = np.nonzero(near)
    return Pairs(left[k, n], right[k, m], np.moveaxis(elements[:, :, k, n, m], -1, 0), k)


def _joined(parts: list[Pairs]) -> Pairs:
    fields = [field.name for field in dataclasses.fields(Pairs)]
    return Pairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


# -- a(II) -----------------------------------------------------------------------------------------------


def second_part(bands: Collinear, velocity: Complexes) -> Coefficients:
    """a(II) = -(1/4) Re sum_n f_n <n|{sigma, hbar v^SOI}|n> (Eq. 23).

    Parameters
    ----------
    bands : Collinear
    velocity : ndarray, shape (3, d, k, n, n)
        Blocks up-up, up-down, down-down of hbar v^SOI along n: from [V, A], or from differentiated projectors.

    Returns
    -------
    Coefficients
        As `first_part`'s.
    """
    up, down = bands.states
    # {sigma_x, v}_uu = v_ud O^+ + h.c., {sigma_y, v}_uu = i v_ud O^+ + h.c.,
    # {sigma_x, v}_dd = O^+ v_ud + h.c., {sigma_y, v}_dd = i O^+ v_ud + h.c., {sigma_z, v} = +-2 v.
    product = bands.flip(velocity[1]) * bands.overlap.conj()
    on_up, on_down = product.sum(-1), product.sum(-2)
    z_up = (up.conj() * (velocity[0] @ up)).real.sum(-2)
    z_down = -(down.conj() * (velocity[2] @ down)).real.sum(-2)
    of_up = np.stack([on_up.real, -on_up.imag, z_up])
    of_down = np.stack([on_down.real, -on_down.imag, z_down])
    of_f = -0.5 * np.moveaxis(np.concatenate([of_up, of_down], axis=-1), (0, 1), (-2, -1))
    return Coefficients(bands.joined, of_f)


# -- D(1) ------------------------------------------------------------------------------------------------


def first_order_dmi(bands: Collinear, splittings: Splittings, spin_orbit: SpinOrbit) -> Coefficients:
    """D(1) = dD/dxi at xi = 0, the torque form (Eq. 2) expanded in V at every k.

    The torque's element (i/2)(E_a - E_b) O_ab takes one energy denominator off each term of the expansion of
    the Green functions (Eqs. 18-20). With f[x, y], g[x, y], g[x, y, z] divided differences and W the weight of
    the Berry-phase sum, what remains of sigma's block O is (v_u, v_d: hbar vbar; y = hbar v^SOI_ud)

        F =  -(1/4) sum_ab f[a,b] (v_u O + O v_d)_ab conj(L_ab)
           + (1/2) sum_ac W_ac (O L^+)_ac v_ca - (1/2) sum_bd W_bd (L^+ O)_bd v_db
           + (1/2) sum_ab (g[a,b] - (f_a + f_b)/2) O_ab conj(y_ab)
           + (1/2) sum_ab O_ab { sum_c g[a,b,c] v_ca conj(L_cb) + sum_d g[a,b,d] v_bd conj(L_ad) }.

    The first and third line meet a(I) and a(II); the rest vanishes only in the sum over the Brillouin zone.

    Returns
    -------
    Coefficients
        Bands: up, then down; trailing axes spin component (2, for D.n = 0), direction j; eV*Angstrom.
    """
    terms = _FirstOrderDmi(bands, splittings, bands.flip(spin_orbit.interaction[1]))
    terms.anticommutator()
    terms.commutators()
    terms.spin_orbit_velocity(bands.flip(spin_orbit.velocity[1]))
    terms.three_bands()
    return terms.coefficients()


class _FirstOrderDmi:
    """Coefficients of f and g, complex (the block O alone), gathered term by term; axes (d, k, band)."""

    def __init__(self, bands: Collinear, splittings: Splittings, flip: Complexes) -> None:
        self.bands, self.splittings, self.flip = bands, splittings, flip
        shape = bands.velocity.shape[1:-1]
        self.f_up, self.f_down = np.zeros(shape, complex), np.zeros(shape, complex)
        self.g_up, self.g_down = np.zeros(shape, complex), np.zeros(shape, complex)
        self.berry: list[Pairs] = []
        self.quotient: list[Pairs] = []
        self.slope: list[Pairs] = []
        self.triples: list[Triples] = []

    def anticommutator(self) -> None:
        """-(1/4) sum_ab f[a,b] (v_u O + O v_d)_ab conj(L_ab)."""
        elements = -0.25 * self.bands.anticommutator * self.flip.conj()
        quotient = elements * self.splittings.flip
        self.f_up += quotient.sum(-1)
        self.f_down -= quotient.sum(-2)
        self.quotient.append(self._flip_pairs(elements))

    def commutators(self) -> None:
        """(1/2) sum_ac W_ac (O L^+)_ac v_ca - (1/2) sum_bd W_bd (L^+ O)_bd v_db.

        W is antisymmetric: f_a gets sum_c (B_ac - B_ca)/(2 (E_c - E_a)), g_a sum_c (B_ac - B_ca)/(E_c - E_a)^2.
        """
        overlap, flip, s = self.bands.overlap, self.flip, self.splittings
        self._commutator(0, 0.5 * (overlap @ _dagger(flip)), s.up, s.near_up)
        self._commutator(1, -0.5 * (_dagger(flip) @ overlap), s.down, s.near_down)

    def _commutator(self, spin: int, product: Complexes, inverse: Floats, near: npt.NDArray[np.bool_]) -> None:
        elements = product * self.bands.velocity[spin].swapaxes(-1, -2)
        antisymmetric = elements - elements.swapaxes(-1, -2)
        once = antisymmetric * inverse
        (self.f_up, self.f_down)[spin].__isub__(0.5 * once.sum(-1))
        (self.g_up, self.g_down)[spin].__iadd__((once * inverse).sum(-1))
        k, lower, upper = np.nonzero(np.triu(near, 1))
        energies = self.bands.energies[spin]
        values = 0.5 * np.moveaxis(antisymmetric[:, k, lower, upper], -1, 0)
        self.berry.append(Pairs(energies[k, lower], energies[k, upper], _components(values), k))

    def spin_orbit_velocity(self, velocity: Complexes) -> None:
        """(1/2) sum_ab (g[a,b] - (f_a + f_b)/2) O_ab conj(y_ab)."""
        elements = 0.5 * self.bands.overlap * velocity.conj()
        self.f_up -= 0.5 * elements.sum(-1)
        self.f_down -= 0.5 * elements.sum(-2)
        quotient = elements * self.splittings.flip
        self.g_up += quotient.sum(-1)
        self.g_down -= quotient.sum(-2)
        self.slope.append(self._flip_pairs(elements))

    def three_bands(self) -> None:
        """(1/2) sum_ab O_ab { sum_c g[a,b,c] v_ca conj(L_cb) + sum_d g[a,b,d] v_bd conj(L_ad) }.

        g[x,y,z] = g_x/((x-y)(x-z)) + g_y/((y-x)(y-z)) + g_z/((z-x)(z-y)); for c = a, g[a,b,a] is
        f_a/(a-b) - (g_a - g_b)/(a-b)^2.
        """
        s, overlap, flip = self.splittings, 0.5 * self.bands.overlap, self.flip
        v_up, v_down = self.bands.velocity
        o_i, l_i = overlap * s.flip, flip * s.flip
        v_up_t = v_up.swapaxes(-1, -2)  # v_ca at (a, c)
        # up: g_a, g_c, then g_b with c = a among the sum
        self.g_up += (v_up_t * (s.up * (o_i @ _dagger(flip)))).sum(-1)
        self.g_up -= (v_up_t * (s.up * (overlap @ _dagger(l_i)))).sum(-2)  # 1/(c - a) = -1/(a - c)
        self.g_down += (o_i * (_dagger(l_i) @ v_up).swapaxes(-1, -2)).sum(-2)
        # down: g_a, then g_b, g_d
        self.g_up += (o_i * (v_down @ _dagger(l_i)).swapaxes(-1, -2)).sum(-1)
        self.g_down -= (v_down * (s.down * (o_i.swapaxes(-1, -2) @ flip.conj()))).sum(-1)
        self.g_down += (v_down * (s.down * (overlap.swapaxes(-1, -2) @ l_i.conj()))).sum(-2)
        # c = a and d = b
        once = o_i * flip.conj()
        twice = once * s.flip
        group_up, group_down = (np.einsum("dknn->dkn", v) for v in (v_up, v_down))
        self.f_up += once.sum(-1) * group_up
        self.g_up -= twice.sum(-1) * group_up
        self.f_down -= once.sum(-2) * group_down
        self.g_down -= twice.sum(-2) * group_down
        self._near_triples()

    def _near_triples(self) -> None:
        s, e = self.splittings, self.bands.energies
        overlap, flip, (v_up, v_down) = 0.5 * self.bands.overlap, self.flip, self.bands.velocity
        k, a, b, c = _triples(s.near_flip, s.near_up)
        elements = overlap[k, a, b] * flip[k, c, b].conj() * v_up[:, k, c, a]
        i_ab, i_cb, k_ac = s.flip[k, a, b], s.flip[k, c, b], s.up[k, a, c]
        already = np.stack([i_ab * k_ac, i_ab * i_cb, -k_ac * i_cb], axis=-1)
        energies = np.stack([e[0][k, a], e[1][k, b], e[0][k, c]], axis=-1)
        self.triples.append(Triples(energies, already, _components(elements.T), k))
        k, b, a, d = _triples(s.near_flip.swapaxes(-1, -2), s.near_down)
        elements = overlap[k, a, b] * v_down[:, k, b, d] * flip[k, a, d].conj()
        i_ab, i_ad, k_bd = s.flip[k, a, b], s.flip[k, a, d], s.down[k, b, d]
        already = np.stack([i_ab * i_ad, -i_ab * k_bd, i_ad * k_bd], axis=-1)
        energies = np.stack([e[0][k, a], e[1][k, b], e[1][k, d]], axis=-1)
        self.triples.append(Triples(energies, already, _components(elements.T), k))

    def _flip_pairs(self, elements: Complexes) -> Pairs:
        k, a, b = np.nonzero(self.splittings.near_flip)
        up, down = self.bands.energies
        return Pairs(up[k, a], down[k, b], _components(elements[:, k, a, b].T), k)

    def coefficients(self) -> Coefficients:
        """Real coefficients of the components x and y."""
        of_f = np.concatenate([self.f_up, self.f_down], axis=-1)
        of_g = np.concatenate([self.g_up, self.g_down], axis=-1)
        triples = self.triples
        return Coefficients(
            self.bands.joined,
            _components(np.moveaxis(of_f, 0, -1)),
            _components(np.moveaxis(of_g, 0, -1)),
            berry=_joined(self.berry),
            quotient=_joined(self.quotient),
            slope=_joined(self.slope),
            triples=Triples(
                *(np.concatenate([getattr(t, f.name) for t in triples]) for f in dataclasses.fields(Triples))
            ),
        )


def _components(values: Complexes) -> Floats:
    """F, axes (..., d), to the components x = 2 Re F, y = 2 Im F: axes (..., component, d)."""
    return 2 * np.stack([values.real, values.imag], axis=-2)


def _triples(near_flip: npt.NDArray[np.bool_], near_same: npt.NDArray[np.bool_]) -> tuple[Integers, ...]:
    """Indices (k, x, y, z) of triples, x and z of one spin, y of the other, in which some pair is nearly equal.

    x = z with y far from both is no such triple: it is part of the bands' own coefficients.
    """
    n = near_same.shape[-1]
    same = near_same & ~np.eye(n, dtype=bool)
    every = np.arange(n)

    def spread(*pair: Integers) -> tuple[Integers, ...]:
        return (*(np.repeat(index, n) for index in pair), np.tile(every, len(pair[0])))

    k, x, z, y = spread(*np.nonzero(same))
    parts = [(k, x, y, z)]
    k, x, y, z = spread(*np.nonzero(near_flip))
    new = ~same[k, x, z]
    parts.append((k[new], x[new], y[new], z[new]))
    k, z, y, x = spread(*np.nonzero(near_flip))
    new = ~near_same[k, x, z] & ~near_flip[k, x, y]
    parts.append((k[new], x[new], y[new], z[new]))
    return tuple(np.concatenate(index) for index in zip(*parts, strict=True))
