"""All non-local projectors of a film in plane waves, their gradients in k, and what couples them.

`build.projectors` makes overlaps of the projectors with l > 0 with given states; here all of them, l = 0 too, are
columns of plane waves, as the Hamiltonian needs them.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag

from ..build.projectors import radial_tables
from ..build.pseudopotential import Pseudopotential
from ..build.quantum_espresso import SaveFolder
from ..constants import BOHR_ANGSTROM, RYDBERG_EV
from ..model.harmonics import direction_cosines, real_harmonics

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


class AtomTable:
    """Radial integrals of one pseudopotential's projectors, and its couplings.

    Parameters
    ----------
    pseudo : Pseudopotential
        Fully relativistic.
    volume : float
        Of the cell, bohr^3.
    cutoff : float
        Largest |k + G|, 1/bohr.

    Attributes
    ----------
    average : ndarray, shape (p, p)
        Of the scalar-relativistic average, eV; p counts every projector's 2l + 1 rows.
    spin_orbit : ndarray, shape (3, p, p), complex
        h_alpha, eV; zero for l = 0.
    """

    def __init__(self, pseudo: Pseudopotential, volume: float, cutoff: float) -> None:
        self.ells = [projector.ell for projector in pseudo.projectors]
        self._radial, self._moments = radial_tables(pseudo, range(len(self.ells)), volume, cutoff)
        sizes = [2 * ell + 1 for ell in self.ells]
        offsets = np.cumsum([0, *sizes])
        rows = [np.arange(offsets[i], offsets[i + 1]) for i in range(len(sizes))]
        self.average = np.zeros((offsets[-1], offsets[-1]))
        strengths = pseudo.scalar_relativistic().coupling * RYDBERG_EV
        for i, left in enumerate(self.ells):
            for k, right in enumerate(self.ells):
                if left == right:
                    self.average[np.ix_(rows[i], rows[k])] = strengths[i, k] * np.eye(2 * left + 1)
        indices, coupling = pseudo.spin_orbit()
        own = np.concatenate([rows[i] for i in indices]) if indices else np.zeros(0, dtype=int)
        self.spin_orbit = np.zeros((3, offsets[-1], offsets[-1]), dtype=complex)
        self.spin_orbit[np.ix_(np.arange(3), own, own)] = coupling

    def form_factors(self, vectors: Floats) -> Complexes:
        """4 pi/sqrt(V) (-i)^l Y_lm(q) int r^2 beta(r) j_l(qr) dr at q, shape (p, plane waves); V in bohr^3."""
        radial = self._radial(np.linalg.norm(vectors, axis=1))
        blocks = [
            (-1j) ** ell * (radial[:, i, None] * real_harmonics(ell, vectors)).T for i, ell in enumerate(self.ells)
        ]
        return np.concatenate(blocks) if blocks else np.zeros((0, len(vectors)), dtype=complex)

    def gradients(self, vectors: Floats) -> Complexes:
        """The form factors differentiated in q_j, shape (3, p, plane waves), bohr: see `Projectors.gradients`.

        d_j beta = -i r_j beta, and r_j beta is a sum over l' = l - 1, l + 1 of functions r beta(r) Y_l'm' with form
        factors of their own.
        """
        length = np.linalg.norm(vectors, axis=1)
        radial = {shift: spline(length) for shift, spline in self._moments.items()}
        blocks = []
        for i, ell in enumerate(self.ells):
            block = np.zeros((3, 2 * ell + 1, len(vectors)), dtype=complex)
            for shift, values in radial.items():
                other = ell + shift
                if other < 0:
                    continue
                moment = (values[:, i, None] * real_harmonics(other, vectors)).T
                block += (-1j) ** (other + 1) * (direction_cosines(other, ell).swapaxes(1, 2) @ moment)
            blocks.append(block)
        return np.concatenate(blocks, axis=1) if blocks else np.zeros((3, 0, len(vectors)), dtype=complex)


@dataclasses.dataclass(frozen=True)
class FormFactors:
    """Projectors of every atom of a film.

    Parameters
    ----------
    tables : tuple of AtomTable
        One an atom.
    positions : ndarray, shape (atoms, 3)
        Bohr.
    average : ndarray, shape (p, p)
        Scalar-relativistic coupling of all atoms, eV.
    rows : tuple of slice
        Each atom's projectors among the p.
    """

    tables: tuple[AtomTable, ...]
    positions: Floats
    average: Floats
    rows: tuple[slice, ...]

    @classmethod
    def of(cls, save: SaveFolder, pseudos: dict[str, Pseudopotential], cutoff: float) -> FormFactors:
        """Of a film.

        Parameters
        ----------
        save : SaveFolder
        pseudos : dict
            Fully relativistic, by species.
        cutoff : float
            Largest |k + G|, 1/bohr.
        """
        volume = abs(float(np.linalg.det(save.cell)))
        by_species = {name: AtomTable(pseudo, volume, cutoff) for name, pseudo in pseudos.items()}
        tables = tuple(by_species[name] for name in save.species)
        ends = np.cumsum([0, *(len(table.average) for table in tables)])
        rows = tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(ends))
        return cls(tables, save.positions, np.asarray(block_diag(*(t.average for t in tables))), rows)

    @property
    def spin_orbit(self) -> tuple[Complexes, ...]:
        """h_alpha of every atom, shape (3, p_a, p_a), eV."""
        return tuple(table.spin_orbit for table in self.tables)

    def at(self, vectors: Floats) -> tuple[Complexes, Complexes]:
        """Projectors and their gradients at k + G.

        The phases exp(-i(k+G).tau) of the atoms' positions are not differentiated: they drop out of i[V, r].

        Parameters
        ----------
        vectors : ndarray, shape (plane waves, 3)
            1/bohr.

        Returns
        -------
        projectors : ndarray, shape (p, plane waves), complex
            <k+G|beta>.
        gradients : ndarray, shape (3, p, plane waves), complex
            Angstrom.
        """
        made: dict[int, tuple[Complexes, Complexes]] = {}
        columns, derivatives = [], []
        for table, position in zip(self.tables, self.positions, strict=True):
            if id(table) not in made:
                made[id(table)] = table.form_factors(vectors), table.gradients(vectors) * BOHR_ANGSTROM
            phase = np.exp(-1j * vectors @ position)
            form, gradient = made[id(table)]
            columns.append(form * phase)
            derivatives.append(gradient * phase)
        return np.concatenate(columns), np.concatenate(derivatives, axis=1)
