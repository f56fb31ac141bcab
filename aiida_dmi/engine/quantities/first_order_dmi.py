"""D(1): the SOI-linear Dzyaloshinskii-Moriya interaction in its torque form. PRB 96, 054403 (2017), Eqs. 2, 18-20."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..states.coefficients import Coefficients, Pairs, Triples
from ..states.first_order_states import FirstOrderStates, by_band, components, joined, pairs_across, tensor_by_band
from ..states.spinors import dagger
from .near_triples import FarPairs, OneSpin, far_pairs
from .quantity import FirstOrder

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


class FirstOrderDmi(FirstOrder):
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
    """

    name = "D_1"
    title = "dD/dxi at xi = 0 from the torque form (Eq. 2)"
    symbol = "D(1)"
    by_default = True
    place = 6

    def coefficients(self, states: FirstOrderStates) -> Coefficients:
        """Components e_1 and e_2 of the spin frame: D.n = 0."""
        commutators_f, commutators_g = _within_a_spin(states)
        group_f, group_g = _same_band(states)
        of_f = states.anticommutator - 0.25 * states.overlap_velocity + commutators_f + group_f
        # (1/2) sum_ab g[a,b] O_ab conj(y_ab)
        of_g = 0.5 * states.sign * by_band(states.overlap_over * states.flip_velocity)
        far, triples = _near_triples(states)
        of_g += commutators_g + group_g + _middle_band(states) + far.of_g
        energies = states.bands.joined
        pairs = Pairs(
            energies[far.point, far.left], energies[far.point, far.right], components(far.elements.T), far.point
        )
        k, a, b = states.splittings.flip_pairs
        velocity = 0.5 * states.bands.overlap[k, a, b] * states.flip_velocity[:, k, a, b]
        return Coefficients(
            energies,
            tensor_by_band(of_f),
            tensor_by_band(of_g),
            berry=_near_commutators(states),
            quotient=pairs_across(states, components(states.near_anticommutator)),
            slope=joined([pairs_across(states, components(velocity.T)), pairs]),
            triples=triples,
        )


def _within_a_spin(states: FirstOrderStates) -> tuple[Complexes, Complexes]:
    """The commutators' W_ac, and g_a, g_c (g_b, g_d) of the triples: coefficients of f and g.

    With K the inverse splittings and X = O L^+ (down: -L^+ O), f_a and g_a of (1/2) sum_ac W_ac X_ac v_ca are

        -(1/4) sum_c K_ac (X_ac v_ca - X_ca v_ac),    (1/2) sum_c K_ac^2 (X_ac v_ca - X_ca v_ac),

    as W is antisymmetric. Of the triples, g[a,b,c] = g_a K_ab K_ac + g_b K_ba K_bc + g_c K_ca K_cb gives

        g_a: (1/2) sum_c K_ac v_ca (sum_b O_ab K_ab conj(L_cb)),
        g_c: -(1/2) sum_a K_ac v_ca (sum_b O_ab conj(L_cb) K_cb),

    and likewise for spin down. v is Hermitian: sum_c conj(v_ac) G_ac is a scalar product of rows, and the terms
    that are sums of v_ac G_ac are the conjugates of such.
    """
    bands, overlap, flip = states.bands, states.bands.overlap, states.flip
    flip_adjoint, overlap_adjoint = dagger(flip), dagger(overlap)
    # K X, K (K X + sum O K L^+), K X^+, K (sum K L O^+ - K X^+), for spin up and down
    matrices = np.empty((4, *bands.states.shape), dtype=complex)
    x, of_g, x_adjoint, of_g_adjoint = matrices
    np.matmul(overlap, flip_adjoint, out=x[0])
    np.matmul(-flip_adjoint, overlap, out=x[1])
    np.conj(x.swapaxes(-1, -2), out=x_adjoint)
    _over(states, matrices[::2])
    np.matmul(states.overlap_over, flip_adjoint, out=of_g[0])
    np.matmul(-dagger(states.flip_over), overlap, out=of_g[1])
    of_g += x
    np.matmul(states.flip_over, overlap_adjoint, out=of_g_adjoint[0])
    np.matmul(-dagger(states.overlap_over), flip, out=of_g_adjoint[1])
    of_g_adjoint -= x_adjoint
    _over(states, matrices[1::2])
    f, g, f_adjoint, g_adjoint = np.vecdot(bands.velocity, matrices[:, :, None])
    f = -0.25 * (f - f_adjoint.conj())
    g = 0.5 * (g + g_adjoint.conj())
    return np.concatenate(list(f), axis=-1), np.concatenate(list(g), axis=-1)


def _over(states: FirstOrderStates, matrices: Complexes) -> None:
    """Divide matrices of each spin, (..., spin, k, n, n), by the energy differences."""
    for matrix in matrices:
        matrix.view(float)[...] *= states.splittings.same_twice


def _middle_band(states: FirstOrderStates) -> Complexes:
    """g_b of the triples (a, b, c) and g_a of (a, b, d): (1/2) sum O_ab K_ab v_ca conj(L_cb) K_cb and the like."""
    bands, half = states.bands, 0.5 * states.overlap_over
    product = (bands.velocity[0] @ states.flip_over).conj()
    product *= half
    of_down = np.ones(half.shape[-1], dtype=complex) @ product
    of_up = np.vecdot(states.flip_over @ bands.velocity[1], half)
    return np.concatenate([of_up, of_down], axis=-1)


def _same_band(states: FirstOrderStates) -> tuple[Complexes, Complexes]:
    """The triples' terms c = a, g[a,b,a] = f_a K_ab - (g_a - g_b) K_ab^2, and d = b: coefficients of f and g.

    g_b (g_a) of them is among `_middle_band`'s.
    """
    conjugate = 0.5 * states.flip_over.conj()
    once, twice = by_band(np.stack([states.bands.overlap * conjugate, states.overlap_over * conjugate]))
    group = states.bands.group_velocity
    return states.sign * once * group, -twice * group


def _near_commutators(states: FirstOrderStates) -> Pairs:
    """Pairs of one spin, with (X_ac v_ca - X_ca v_ac)/4: 2 W is their weight (see `_within_a_spin`)."""
    overlap, flip, bands = states.bands.overlap, states.flip, states.bands
    parts = []
    for spin, pairs in enumerate(states.splittings.same_pairs):
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
        parts.append(Pairs(bands.energies[spin][k, a], bands.energies[spin][k, c], components(values.T), k))
    return joined(parts)


def _near_triples(states: FirstOrderStates) -> tuple[FarPairs, Triples]:
    """Triples (a, b, c) and (a, b, d) with nearly equal energies among them; see `near_triples`."""
    s, bands = states.splittings, states.bands
    n = bands.overlap.shape[-1]
    half, (k, a, b) = 0.5 * bands.overlap, s.flip_pairs
    up = OneSpin(
        (0, n), half, states.flip, bands.velocity[0],
        s.flip, s.up, s.near_flip, s.near_up, (k, a, b), s.same_pairs[0],
    )  # fmt: skip
    down = OneSpin(
        (n, 0), half.swapaxes(-1, -2), states.flip.swapaxes(-1, -2), bands.velocity[1].swapaxes(-1, -2),
        -s.flip.swapaxes(-1, -2), s.down, s.near_flip.swapaxes(-1, -2), s.near_down, (k, b, a), s.same_pairs[1],
    )  # fmt: skip
    far = far_pairs([up, down], (len(bands.velocity[0]), *bands.joined.shape))
    parts = [spin.triples(bands.joined) for spin in (up, down)]
    energies, already, products, point = (np.concatenate(part) for part in zip(*parts, strict=True))
    return far, Triples(energies, already, components(products), point)


QUANTITIES = (FirstOrderDmi(),)
