"""Spin spirals of a collinear Kohn-Sham Hamiltonian in plane waves, by the generalised Bloch theorem.

For n(r) = sin(q.r) e_q + cos(q.r) z the local frame is that of R = exp(-i q.r sigma_e/2), e = z x e_q. R is diagonal in
the spinors along +e and -e: psi_+ = exp(-i q.r/2) chi_+, psi_- = exp(i q.r/2) chi_-, and sigma_z is 1 between the two.
So the plane waves of psi_+ are p + G, those of psi_- p + q + G, and in this basis

    H(p; q) = [[ T + V_mean + V_nl at p,  B ],  [ B,  T + V_mean + V_nl at p + q ]],     V_up,down = V_mean +- B.

Of the spin-orbit interaction sum_alpha sigma_alpha W_alpha the part sigma_e W_e is diagonal in both, +W_e at p and -W_e
at p + q; the rest turns with q.r and has no first order. With f the occupations of H(p; q)

    E_DM(q) = (1/N) sum_p,n f_n ( <psi_n+|W_e|psi_n+> - <psi_n-|W_e|psi_n-> ),     D(q) = E_DM(q)/|q|,

F = q D for this n(r) (docs/theory.md), and D(q) of q to 0 is the D(1) of `dmi-engine complete`.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
import scipy.linalg

from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.build.quantum_espresso import SaveFolder
from aiida_dmi.engine.completeness.form_factors import FormFactors
from aiida_dmi.engine.constants import RYDBERG_EV

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Spiral:
    """H(p; q) of one film and one q.

    Parameters
    ----------
    factors : FormFactors
    reciprocal : ndarray, shape (3, 3)
        Rows, 1/bohr.
    local : ndarray, shape (2, n1, n2, n3), complex
        Fourier coefficients of V_mean and B, eV.
    cutoff : float
        Of the plane waves, Ry.
    q : ndarray, shape (3,)
        In the film's plane, 1/bohr.
    axis : ndarray, shape (3,)
        e.
    same_waves : bool
        One set of G for both spinors, that of p + q/2, which does not change with q: a slope in q at one p needs that.
        Pw.x has two.
    """

    factors: FormFactors
    reciprocal: Floats
    local: Complexes
    cutoff: float
    q: Floats
    axis: Floats
    same_waves: bool = False

    @classmethod
    def of(
        cls,
        save: SaveFolder,
        pseudos: dict[str, Pseudopotential],
        potentials: Floats,
        cutoff: float,
        q: Floats,
        axis: Floats,
        same_waves: bool = False,
    ) -> Spiral:
        """Of a collinear run.

        Parameters
        ----------
        save : SaveFolder
        pseudos : dict
            Fully relativistic, by species.
        potentials : ndarray, shape (2, n1, n2, n3)
            Of spin up and down, eV.
        cutoff : float
            Ry.
        q, axis : ndarray, shape (3,)
            1/bohr, and e.
        same_waves : bool
        """
        mean, field = (potentials[0] + potentials[1]) / 2, (potentials[0] - potentials[1]) / 2
        local = np.stack([np.fft.fftn(values) / values.size for values in (mean, field)])
        largest = np.sqrt(cutoff) + (np.linalg.norm(q) / 2 if same_waves else 0)
        factors = FormFactors.of(save, pseudos, float(largest))
        return cls(factors, save.reciprocal, local, cutoff, q, axis, same_waves)

    def at(self, p: Floats, bands: int) -> tuple[Floats, Floats]:
        """Lowest states at p (Cartesian, 1/bohr).

        Returns
        -------
        energies : ndarray, shape (bands,)
            eV.
        chiral : ndarray, shape (atoms, 4, bands)
            <sigma_e W_e> of each atom and angular momentum, eV.
        """
        spheres = [self.sphere(p), self.sphere(p + self.q)]
        if self.same_waves:
            miller, vectors = self.sphere(p + self.q / 2)
            spheres = [(miller, vectors - self.q / 2), (miller, vectors + self.q / 2)]
        projectors = [self.factors.at(vectors)[0] for _, vectors in spheres]
        count = len(spheres[0][0])
        size = count + len(spheres[1][0])
        parts = (slice(0, count), slice(count, size))
        h = np.empty((size, size), dtype=complex)
        for part, (miller, vectors), beta in zip(parts, spheres, projectors, strict=True):
            block = self._between(0, miller, miller) + beta.T @ (self.factors.average @ beta.conj())
            block[np.diag_indices(len(miller))] += RYDBERG_EV * (vectors**2).sum(axis=1)
            h[part, part] = block
        h[parts[0], parts[1]] = self._between(1, spheres[0][0], spheres[1][0])
        h[parts[1], parts[0]] = h[parts[0], parts[1]].conj().T
        energies, states = scipy.linalg.eigh(
            h, subset_by_index=[0, bands - 1], driver="evr", overwrite_a=True, check_finite=False
        )
        chiral = sum(
            sign * self._expectations(beta.conj() @ states[part])
            for sign, beta, part in zip((1, -1), projectors, parts, strict=True)
        )
        return energies, np.asarray(chiral)

    def sphere(self, p: Floats) -> tuple[Integers, Floats]:
        """Miller indices of the plane waves p + G, and p + G itself."""
        # |n_i| <= |a_i| |p + G|/2pi + |a_i.p|/2pi
        lengths = np.linalg.norm(np.linalg.inv(self.reciprocal), axis=0)
        reach = (lengths * (np.sqrt(self.cutoff) + np.linalg.norm(p))).astype(int) + 1
        miller = np.array(list(itertools.product(*(range(-n, n + 1) for n in reach))))
        vectors = p + miller @ self.reciprocal
        inside = (vectors**2).sum(axis=1) <= self.cutoff
        return miller[inside], vectors[inside]

    def _between(self, which: int, left: Integers, right: Integers) -> Complexes:
        """V(G - G')."""
        grid = np.array(self.local.shape[1:])
        first, second, third = np.moveaxis((left[:, None] - right[None]) % grid, -1, 0)
        return np.asarray(self.local[which, first, second, third])

    def _expectations(self, overlaps: Complexes) -> Floats:
        """<W_e> of each atom and l from <beta|psi> (p, bands)."""
        result = np.zeros((len(self.factors.tables), 4, overlaps.shape[1]))
        for atom, (table, rows) in enumerate(zip(self.factors.tables, self.factors.rows, strict=True)):
            own = overlaps[rows]
            each = (own.conj() * (np.tensordot(self.axis, table.spin_orbit, 1) @ own)).real
            ells = np.repeat(table.ells, [2 * ell + 1 for ell in table.ells])
            for ell in range(4):
                result[atom, ell] = each[ells == ell].sum(axis=0)
        return result
