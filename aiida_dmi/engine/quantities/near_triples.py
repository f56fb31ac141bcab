"""Triples of bands with nearly equal energies in D(1): sums of g[x,y,z] O_xy conj(L_zy) v_zx.

x and z are bands of one spin, y of the other (`first_order_dmi.FirstOrderDmi`, last line). With K inverse splittings,
zero where energies are nearly equal, `of_g` holds the terms g_x K_xy K_xz + g_y K_yx K_yz + g_z K_zx K_zy of every
triple. Where only x and y are nearly equal, z far from both, g_z's is right and the rest is

    g[x,y,z] - g_z/((z-x)(z-y)) = g[x,y] (K_xz + K_yz)/2 - (g_x + g_y) K_xz K_yz/2,

summed over z: a pair with the weight g[x,y], and terms in g_x and g_y. Triples of three nearly equal energies, or
of a chain of two such pairs, are rare and kept one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.intp]
Booleans = npt.NDArray[np.bool_]
Indices = tuple[Integers, Integers, Integers]


@dataclasses.dataclass(frozen=True)
class ThirdBands:
    """Nearly equal pairs with every third band.

    Parameters
    ----------
    point, left, right : ndarray of int, shape (pairs,)
        k point, and the pair's bands, up bands counted before down bands.
    elements : ndarray, shape (d, pairs, n)
    over_left, over_right : ndarray, shape (pairs, n)
        1/(E - E_third) of the pair's two bands; zero where nearly equal.
    """

    point: Integers
    left: Integers
    right: Integers
    elements: Complexes
    over_left: Floats
    over_right: Floats


@dataclasses.dataclass(frozen=True)
class FarPairs:
    """Nearly equal pairs, the third bands that are far from both summed.

    Parameters
    ----------
    point, left, right : ndarray of int, shape (pairs,)
    elements : ndarray, shape (d, pairs)
        To be weighted by g[left, right].
    of_g : ndarray, shape (d, k, 2n)
        What such pairs add to the coefficients of g.
    """

    point: Integers
    left: Integers
    right: Integers
    elements: Complexes
    of_g: Complexes


@dataclasses.dataclass(frozen=True)
class OneSpin:
    """The triples with x and z of one spin. For spin down everything is to be given transposed.

    Parameters
    ----------
    first : (int, int)
        Number of the first band of x's and of y's spin, up bands counted before down bands.
    overlap, flip : ndarray, shape (k, x, y)
        O/2 and L.
    velocity : ndarray, shape (d, k, z, x)
    across, same : ndarray, shapes (k, x, y) and (k, x, z)
        1/(E_x - E_y) and 1/(E_x - E_z), zero where nearly equal.
    near_across, near_same : ndarray of bool
        Where that is; the diagonal of `near_same` counts.
    across_pairs, same_pairs : tuple of ndarray
        (k, x, y) and (k, x, z), x != z, of the nearly equal pairs.
    """

    first: tuple[int, int]
    overlap: Complexes
    flip: Complexes
    velocity: Complexes
    across: Floats
    same: Floats
    near_across: Booleans
    near_same: Booleans
    across_pairs: Indices
    same_pairs: Indices

    def pairs(self) -> Iterator[ThirdBands]:
        """Of every triple the two that may be nearly equal, in turn."""
        own, other = self.first
        k, x, y = self.across_pairs
        # x and y nearly equal, all z
        conj_flip = self.flip[k, :, y].conj()
        v = np.moveaxis(self.velocity[:, k, :, x], 1, 0)
        elements = self.overlap[k, x, y, None] * conj_flip * v
        yield ThirdBands(k, own + x, other + y, elements, self.same[k, x], -self.across[k, :, y])
        # z (named x here) and y nearly equal, all x
        elements = self.overlap[k, :, y] * self.flip[k, x, y, None].conj() * self.velocity[:, k, x]
        yield ThirdBands(k, own + x, other + y, elements, self.same[k, x], -self.across[k, :, y])
        # x and z nearly equal, all y
        k, x, z = self.same_pairs
        elements = self.overlap[k, x] * self.flip[k, z].conj() * self.velocity[:, k, z, x, None]
        yield ThirdBands(k, own + x, own + z, elements, self.across[k, x], self.across[k, z])

    def triples(self, energies: Floats) -> tuple[Floats, Floats, Complexes, Integers]:
        """Triples that are nearly equal, or of which one is to both others (x = z counts as equal).

        Parameters
        ----------
        energies : ndarray, shape (k, 2n)
            Up bands, then down bands.

        Returns
        -------
        energies, already : ndarray, shape (triples, 3)
            Of x, y, z, and what stands in `of_g` of each.
        elements : ndarray, shape (triples, d)
        point : ndarray of int, shape (triples,)
        """
        n = self.near_same.shape[-1]
        k, x, y = (np.repeat(index, n) for index in self.across_pairs)
        z = np.tile(np.arange(n), len(k) // n)
        two = self.near_same[k, x, z] | self.near_across[k, z, y]
        # ... and with x and z in the other order, unless that is among them
        chain = self.near_same[k, x, z] & ~self.near_across[k, z, y]
        x, z = np.concatenate([x[two], z[chain]]), np.concatenate([z[two], x[chain]])
        k, y = np.concatenate([k[two], k[chain]]), np.concatenate([y[two], y[chain]])
        elements = self.overlap[k, x, y] * self.flip[k, z, y].conj() * self.velocity[:, k, z, x]
        k_xy, k_zy, k_xz = self.across[k, x, y], self.across[k, z, y], self.same[k, x, z]
        already = np.stack([k_xy * k_xz, k_xy * k_zy, -k_xz * k_zy], axis=-1)
        own, other = self.first
        three = np.stack([energies[k, own + x], energies[k, other + y], energies[k, own + z]], axis=-1)
        return three, already, elements.T, k


def far_pairs(spins: Sequence[OneSpin], shape: tuple[int, int, int]) -> FarPairs:
    """Nearly equal pairs of all triples, everything that is far from both summed.

    Parameters
    ----------
    spins : sequence of OneSpin
    shape : (int, int, int)
        Of the coefficients of g: directions, k points, bands of both spins.
    """
    terms = [pairs for spin in spins for pairs in spin.pairs()]

    def joined(name: str, axis: int = 0) -> Any:
        return np.concatenate([getattr(term, name) for term in terms], axis=axis)

    point, left, right, elements = joined("point"), joined("left"), joined("right"), joined("elements", axis=1)
    over_left, over_right = joined("over_left"), joined("over_right")
    product = over_left * over_right
    far = product != 0
    once = -0.5 * (elements * product).sum(-1)
    of_g = np.zeros(shape, dtype=complex)
    for component, values in zip(of_g, once, strict=True):
        for band in (left, right):
            np.add.at(component, (point, band), values)
    return FarPairs(point, left, right, 0.5 * (elements * far * (over_left + over_right)).sum(-1), of_g)
