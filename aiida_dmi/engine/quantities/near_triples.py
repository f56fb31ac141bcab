"""Triples of bands with nearly equal energies in D(1): sums of g[x,y,z] O_xy conj(L_zy) v_zx.

x and z are bands of one spin, y of the other (`first_order.first_order_dmi`, last line). With K inverse splittings,
zero where energies are nearly equal, `of_g` holds the terms g_x K_xy K_xz + g_y K_yx K_yz + g_z K_zx K_zy of every
triple. Where only x and y are nearly equal, z far from both, g_z's is right and the rest is

    g[x,y,z] - g_z/((z-x)(z-y)) = g[x,y] (K_xz + K_yz)/2 - (g_x + g_y) K_xz K_yz/2,

summed over z: a pair with the weight g[x,y], and terms in g_x and g_y. Triples of three nearly equal energies, or
of a chain of two such pairs, are rare and kept one by one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.intp]
Booleans = npt.NDArray[np.bool_]
Indices = tuple[Integers, Integers, Integers]

PairTerms = tuple[Integers, Integers, Integers, Complexes, Floats, Floats]


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

    def pairs(self) -> Iterator[PairTerms]:
        """Nearly equal pairs with every third band.

        k point, the pair's bands, elements (d, pair, third band), inverse distances of the pair's bands to the third.
        """
        own, other = self.first
        k, x, y = self.across_pairs
        # x and y nearly equal, all z
        conj_flip = self.flip[k, :, y].conj()
        v = np.moveaxis(self.velocity[:, k, :, x], 1, 0)
        yield k, own + x, other + y, self.overlap[k, x, y, None] * conj_flip * v, self.same[k, x], -self.across[k, :, y]
        # z (named x here) and y nearly equal, all x
        elements = self.overlap[k, :, y] * self.flip[k, x, y, None].conj() * self.velocity[:, k, x]
        yield k, own + x, other + y, elements, self.same[k, x], -self.across[k, :, y]
        # x and z nearly equal, all y
        k, x, z = self.same_pairs
        elements = self.overlap[k, x] * self.flip[k, z].conj() * self.velocity[:, k, z, x, None]
        yield k, own + x, own + z, elements, self.across[k, x], self.across[k, z]

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


def far_pairs(spins: Sequence[OneSpin], of_g: Complexes) -> tuple[Integers, Integers, Integers, Complexes]:
    """Nearly equal pairs, everything that is far from both summed; terms in g_x and g_y are added to `of_g`.

    Parameters
    ----------
    spins : sequence of OneSpin
    of_g : ndarray, shape (d, k, 2n)
        Changed in place.

    Returns
    -------
    point, left, right : ndarray of int, shape (pairs,)
        k point, and the pair's bands.
    elements : ndarray, shape (d, pairs)
        To be weighted by g[left, right].
    """
    terms = [pairs for spin in spins for pairs in spin.pairs()]
    point, left, right = (np.concatenate([term[index] for term in terms]) for index in range(3))
    elements = np.concatenate([term[3] for term in terms], axis=1)
    over_left, over_right = (np.concatenate([term[index] for term in terms]) for index in (4, 5))
    product = over_left * over_right
    far = product != 0
    once = -0.5 * (elements * product).sum(-1)
    for component, values in zip(of_g, once, strict=True):
        for band in (left, right):
            np.add.at(component, (point, band), values)
    return point, left, right, 0.5 * (elements * far * (over_left + over_right)).sum(-1)
