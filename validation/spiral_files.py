"""What pw.x reads for a spin spiral with a given strength of the spin-orbit interaction: its density, its potentials.

`charge-density.dat` (Quantum ESPRESSO's Modules/io_base.f90, `write_rhog`; run: 6.7), a Fortran record a line:

    gamma_only, ngm, nspin                  3 i4
    b1(3), b2(3), b3(3)                     9 f8, 1/bohr
    mill(3, ngm)                            3 ngm i4
    rho(ngm), once a component              complex f8; density, magnetisation; or density, m_x, m_y, m_z

pw.x takes the plane waves in its own order, whatever the Miller indices in the file are: a file of the same cell, grid
and cutoff that pw.x itself has written has to lend them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.io import FortranFile

from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.build.upf import Projector
from aiida_dmi.engine.files.atomic import whole_file

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Integers = npt.NDArray[np.int64]

FILE = "charge-density.dat"


@dataclasses.dataclass(frozen=True)
class Density:
    """A charge density in plane waves.

    Parameters
    ----------
    reciprocal : ndarray, shape (3, 3)
        Reciprocal vectors as rows, 1/bohr.
    miller : ndarray of int, shape (ngm, 3)
    values : ndarray, shape (nspin, ngm), complex
        Density and magnetisation, one component of it or three.
    """

    reciprocal: Floats
    miller: Integers
    values: Complexes

    @classmethod
    def read(cls, path: Path) -> Density:
        """Read pw.x's file."""
        with FortranFile(path) as file:
            _, _, components = file.read_ints(np.int32)
            reciprocal = file.read_reals().reshape(3, 3)
            miller = file.read_ints(np.int32).reshape(-1, 3).astype(np.int64)
            values = np.stack([file.read_record("<c16") for _ in range(components)])
        return cls(reciprocal, miller, values)

    def write(self, path: Path) -> None:
        """Write a file for pw.x."""
        with whole_file(path) as temporary, FortranFile(temporary, "w") as file:
            file.write_record(np.array([0, len(self.miller), len(self.values)], dtype="<i4"))
            file.write_record(self.reciprocal)
            file.write_record(self.miller.astype("<i4"))
            for component in self.values:
                file.write_record(component)

    def _at(self, miller: Integers, component: int) -> Complexes:
        """Of a component at Miller indices; zero where there is no such plane wave."""
        reach = np.abs(self.miller).max(axis=0)
        table = np.zeros(2 * reach + 1, dtype=complex)
        table[tuple((self.miller + reach).T)] = self.values[component]
        inside = (np.abs(miller) <= reach).all(axis=1)
        result = np.zeros(len(miller), dtype=complex)
        result[inside] = table[tuple((miller[inside] + reach).T)]
        return result

    def wound(self, target: Density, cells: int, turns: int) -> Density:
        """The magnetisation of a collinear density wound up along b1, in a supercell of `cells` cells along a1.

        m(r) = m_collinear(r) (sin(q.r) e_q + cos(q.r) z) with q = turns b1/cells, e_q along b1. In plane waves sin and
        cos shift G by +-q, a plane wave of the supercell for every G; what is shifted out of its sphere is left out.

        Parameters
        ----------
        target : Density
            Any of the supercell, for its plane waves.
        cells : int
        turns : int
            Along the supercell: 1 and -1 are the two cycloids of one pitch, 0 is the collinear density along z.
        """
        first, rest = target.miller[:, 0], target.miller[:, 1:]

        def of_cell(shift: int, component: int) -> Complexes:
            """Sum over G of the cell at target plane waves G + shift b1/cells."""
            own = (first - shift) % cells == 0
            result = np.zeros(len(first), dtype=complex)
            result[own] = self._at(np.column_stack([(first[own] - shift) // cells, rest[own]]), component)
            return result

        ahead, behind = of_cell(turns, 1), of_cell(-turns, 1)
        along_q, along_z = (ahead - behind) / 2j, (ahead + behind) / 2
        e_q = self.reciprocal[0] / np.linalg.norm(self.reciprocal[0])
        values = np.stack([of_cell(0, 0), e_q[0] * along_q, e_q[1] * along_q, along_z])
        return Density(target.reciprocal, target.miller, values)


def with_spin_orbit(pseudo: Pseudopotential, scale: float) -> Pseudopotential:
    """A fully relativistic pseudopotential with `scale` times its spin-orbit interaction, the average kept.

    D |beta> P_(l,j) <beta| is D |beta> (w + s sigma.L/(2l + 1)) <beta|, w = (l + 1)/(2l + 1) and s = 1 for j = l + 1/2,
    l/(2l + 1) and -1 for j = l - 1/2. sigma.L is l in the channel l + 1/2 and -(l + 1) in l - 1/2, so with `scale`
    before it every projector stands in both channels, each with a strength of its own.
    """
    projectors: list[Projector] = []
    origin: list[int] = []
    factors: list[float] = []
    for i, one in enumerate(pseudo.projectors):
        if one.ell == 0:
            projectors, origin, factors = [*projectors, one], [*origin, i], [*factors, 1.0]
            continue
        ell, upper = one.ell, one.j is not None and one.j > one.ell
        weight, sign = ((ell + 1), 1) if upper else (ell, -1)
        for j, of_spin_orbit in ((ell - 0.5, -(ell + 1)), (ell + 0.5, ell)):
            factor = (weight + scale * sign * of_spin_orbit) / (2 * ell + 1)
            if factor != 0.0:
                projectors.append(dataclasses.replace(one, j=j))
                origin.append(i)
                factors.append(factor)
    same = np.array([[a.j == b.j for b in projectors] for a in projectors])
    coupling = pseudo.coupling[np.ix_(origin, origin)] * np.array(factors)[:, None] * same
    return dataclasses.replace(pseudo, projectors=tuple(projectors), coupling=coupling)
