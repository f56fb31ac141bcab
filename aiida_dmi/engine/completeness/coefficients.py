"""D(1), a(I), a(II) exact in plane waves at one k point, before occupations are known.

Without spin-orbit interaction each spin has spatial states |n> of its own and one velocity v = dH/dk for both; W_alpha
is the spatial part of V = sum_alpha sigma_alpha W_alpha and y = dW_alpha/dk_j. With a, c of one spin s, b of the other,
the formulas of `quantities` in a complete space, where sum_b |b><b| = 1, are, for n normal to alpha,

    a(I)  = -Re sum_ab f[a,b] <a|v|b> <b|W|a>,    a(II) = -(1/2) sum_n f_n <n|y|n>   (a(II) along n, too),
    D(1)  = a(I) + a(II) + Re sum_ab g[a,b] <a|b> <b|y|a> + sum_s Re sum_abc g[a,b,c] <a|b> <b|W|c> <c|v|a>

(of `FirstOrderDmi`'s terms that with W_ac is then the real part of an imaginary number). The last two sums are
dP/dk_j of P = Re sum_ab g[a,b] <a|b><b|W|a>, and vanish in the Brillouin zone.

f and g are zero outside the active bands, so the sums over everything else are the resolvents of `resolvents`. With two
of a, b, c active g[a,b,c] = (g[a,b] - g_b/(E_b - E_c))/(E_a - E_c) and its permutations, with one it is
g_a/((E_a - E_b)(E_a - E_c)): what is not active contributes

    f_n:     -Re <p_n|W|n>                                                              to a(I),
    g_n:     Re { <n|W|w_n> + <1_n|W|v_n> + <1_n|y|n> } - Re sum_b <v_n|1_b> <b|W|n>,
    g[a,b]:  Re { <a|b> <b|W|v_a> + <a|v|1_b> <b|W|a> }  and the same with the spins exchanged,
    g[a,c]:  Re <c|v|a> <1_a|W|c>

to D(1) - a(I) - a(II). Energies in eV, lengths in Angstrom.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from ..states.coefficients import Coefficients, Pairs, Triples
from .resolvents import ActiveBands, Coupling

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

Spins = tuple[ActiveBands, ActiveBands]


def coefficients(spins: Spins, coupling: Coupling, threshold: float) -> dict[str, Coefficients]:
    """Coefficients of f and g of every active band, up bands before down bands.

    Parameters
    ----------
    spins : pair of ActiveBands
    coupling : Coupling
    threshold : float
        eV: pairs and triples that are nearer take the limits of their weights (`states.coefficients`).

    Returns
    -------
    dict
        'D_1', 'a_I', 'a_II' to coefficients with trailing axes (atoms, alpha, j), eV and Angstrom.
    """
    parts = [_Sums.empty(spins, coupling, threshold) for _ in range(3)]
    _add_first_part(parts[0], spins, coupling)
    _add_second_part(parts[1], spins, coupling)
    _add_total_derivative(parts[2], spins, coupling)
    return {"D_1": _Sums.total(parts).coefficients(), "a_I": parts[0].coefficients(), "a_II": parts[1].coefficients()}


def _add_first_part(sums: _Sums, spins: Spins, coupling: Coupling) -> None:
    """a(I)."""
    up, down = spins
    interaction = coupling.between(down.of_bands, up.of_bands).swapaxes(-1, -2)[:, :, None]
    sums.add_pairs("f", (0, 1), -(up.across * interaction).real)
    for s, own in enumerate(spins):
        sums.of_f[sums.bands(s)] -= _bands_first(coupling.each(own.of_part, own.of_bands))


def _add_second_part(sums: _Sums, spins: Spins, coupling: Coupling) -> None:
    """a(II): <n|y|n> = 2 Re <d beta|n>* h <beta|n>."""
    for s, own in enumerate(spins):
        sums.of_f[sums.bands(s)] -= _bands_first(coupling.each(own.bands_gradient, own.of_bands))


def _add_total_derivative(sums: _Sums, spins: Spins, coupling: Coupling) -> None:
    """D(1) - a(I) - a(II)."""
    up, down = spins
    gradient = coupling.between(down.bands_gradient, up.of_bands) + coupling.between(down.of_bands, up.bands_gradient)
    sums.add_pairs("g", (0, 1), (up.overlap * gradient.swapaxes(-1, -2)).real)
    for s, own in enumerate(spins):
        other = spins[1 - s]
        across = coupling.between(other.of_bands, own.of_bands)  # <b|W|a>
        of_g = coupling.each(own.of_bands, own.of_second) + coupling.each(own.of_first, own.of_own)
        of_g += coupling.each(own.first_gradient, own.of_bands) + coupling.each(own.of_first, own.bands_gradient)
        of_g -= np.einsum("jnb,xabn->xajn", own.own_first, across, optimize=True)
        sums.of_g[sums.bands(s)] += _bands_first(of_g)
        to_own = coupling.between(other.of_bands, own.of_own).swapaxes(-1, -2)  # <b|W|v_a>, at [a, b]
        pairs = own.overlap * to_own + other.first_velocity * across.swapaxes(-1, -2)[:, :, None]
        sums.add_pairs("g", (s, 1 - s), pairs.real)
        within = coupling.between(own.of_first, own.of_bands)[:, :, None]  # <1_a|W|c>
        sums.add_pairs("g", (s, s), (own.velocity.swapaxes(-1, -2) * within).real)
        _add_triples(sums, s, own, across)


def _add_triples(sums: _Sums, s: int, own: ActiveBands, across: Complexes) -> None:
    """Re sum_abc g[a,b,c] <a|b> <b|W|c> <c|v|a>, a and c of spin s, b of the other, all active.

    Far from each other g[a,b,c] = g_a K_ab K_ac + g_b K_ba K_bc + g_c K_ca K_cb with K the inverse splittings; with
    c = a it is f_a K_ab - (g_a - g_b) K_ab^2. K is zero for what is near, and near triples are weighted one by
    one, less what these sums hold of them.
    """
    to_other, within = sums.inverse(s, 1 - s), sums.inverse(s, s)
    turned = across.swapaxes(-1, -2)  # <b|W|c> at [c, b]
    over = own.overlap * to_other
    velocity = own.velocity.swapaxes(-1, -2)  # <c|v|a> at [a, c]
    of_a = ((over @ across)[:, :, None] * (velocity * within)).sum(-1)
    far = (turned * to_other)[:, :, None]
    of_b = (far * (own.velocity @ over)).sum(-2)
    of_c = (far * ((own.velocity * within) @ own.overlap)).sum(-1)
    same = np.diagonal(own.velocity, axis1=-2, axis2=-1)  # <a|v|a>
    once, twice = (x.sum(-1)[:, :, None] * same for x in (over * turned, over * to_other * turned))
    sums.of_f[sums.bands(s)] += _bands_first(once)
    sums.of_g[sums.bands(s)] += _bands_first(of_a + of_c - twice)
    sums.of_g[sums.bands(1 - s)] += _bands_first(of_b)
    near_other, near_within = to_other == 0.0, within == 0.0
    np.fill_diagonal(near_within, False)
    a, b, c = np.nonzero(near_other[:, :, None] | near_other.T[None] | near_within[:, None, :])
    elements = (own.overlap[a, b] * across[..., b, c])[:, :, None] * own.velocity[:, c, a]
    k_ab, k_cb, k_ac = to_other[a, b], to_other[c, b], within[a, c]
    energies = np.stack([sums.of(s)[a], sums.of(1 - s)[b], sums.of(s)[c]], axis=-1)
    already = np.stack([k_ab * k_ac, k_ab * k_cb, -k_ac * k_cb], axis=-1)
    sums.triples.append(Triples(energies, already, np.moveaxis(elements.real, -1, 0), np.zeros(len(a), dtype=np.intp)))


def _bands_first(values: Complexes) -> Floats:
    """Real part, (atoms, 3, d, n) -> (n, atoms, 3, d)."""
    return np.moveaxis(values.real, -1, 0)


@dataclasses.dataclass
class _Sums:
    """Coefficients in the making, over (bands, atoms, alpha, j); the other fields as in `Coefficients`."""

    energies: tuple[Floats, Floats]
    threshold: float
    of_f: Floats
    of_g: Floats
    quotient: list[Pairs] = dataclasses.field(default_factory=list)
    slope: list[Pairs] = dataclasses.field(default_factory=list)
    triples: list[Triples] = dataclasses.field(default_factory=list)

    @classmethod
    def empty(cls, spins: Spins, coupling: Coupling, threshold: float) -> _Sums:
        shape = (sum(len(own.energies) for own in spins), coupling.atoms, 3, len(spins[0].velocity))
        return cls((spins[0].energies, spins[1].energies), threshold, np.zeros(shape), np.zeros(shape))

    @classmethod
    def total(cls, parts: list[_Sums]) -> _Sums:
        """The sum of several."""
        first = parts[0]
        lists = {
            name: [one for part in parts for one in getattr(part, name)] for name in ("quotient", "slope", "triples")
        }
        of_f, of_g = (np.sum([getattr(part, name) for part in parts], axis=0) for name in ("of_f", "of_g"))
        return cls(first.energies, first.threshold, of_f, of_g, **lists)

    def of(self, spin: int) -> Floats:
        """Energies of a spin's active bands."""
        return self.energies[spin]

    def bands(self, spin: int) -> slice:
        """Place of a spin's bands."""
        up = len(self.energies[0])
        return slice(up, None) if spin else slice(0, up)

    def inverse(self, left: int, right: int) -> Floats:
        """1/(E_x - E_y) between bands of two spins, zero where nearly equal."""
        difference = self.of(left)[:, None] - self.of(right)[None, :]
        near = np.abs(difference) < self.threshold
        return np.where(near, 0.0, 1.0 / np.where(near, 1.0, difference))

    def add_pairs(self, kind: str, spins: tuple[int, int], elements: Floats) -> None:
        """Sum over the bands x, y of two spins of elements (atoms, 3, d, x, y) times f[x,y] ('f') or g[x,y] ('g')."""
        left, right = spins
        inverse = self.inverse(left, right)
        target, near = (self.of_f, self.quotient) if kind == "f" else (self.of_g, self.slope)
        far = elements * inverse
        target[self.bands(left)] += np.moveaxis(far.sum(-1), -1, 0)
        target[self.bands(right)] -= np.moveaxis(far.sum(-2), -1, 0)
        x, y = np.nonzero(inverse == 0.0)
        values, point = np.moveaxis(elements[..., x, y], -1, 0), np.zeros(len(x), dtype=np.intp)
        near.append(Pairs(self.of(left)[x], self.of(right)[y], values, point))

    def coefficients(self) -> Coefficients:
        """Of one k point."""
        return Coefficients(
            np.concatenate(self.energies)[None],
            self.of_f[None],
            of_g=self.of_g[None],
            quotient=_joined(self.quotient),
            slope=_joined(self.slope),
            triples=_joined(self.triples),
        )


def _joined(parts: list[Any]) -> Any:
    """Several `Pairs` or `Triples` as one; None for none."""
    if not parts:
        return None
    fields = [field.name for field in dataclasses.fields(parts[0])]
    return type(parts[0])(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))
