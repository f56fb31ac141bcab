"""The self-consistent local potential of one spin, from pp.x's file (`plot_num = 1`, `spin_component` 1 or 2).

Quantum ESPRESSO's PP/src/plot_io.f90 writes text: a title; eight integers, the grid's dimensions in memory and in
space, numbers of atoms and of species; ibrav and celldm, three lattice vectors where ibrav is 0; cut-offs and plot_num;
a line a species, a line an atom; then values in Ry, five a line, the first direction running fastest. Run: 6.7.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..build.given import LARGEST
from ..build.quantum_espresso import SaveFolder
from ..constants import RYDBERG_EV
from ..errors import InputError, brief

Floats = npt.NDArray[np.float64]

TOTAL_POTENTIAL = 1
"""plot_num of V_bare + V_H + V_xc."""
LARGEST_GRID = 4096
"""Points along a direction; what is larger comes from a damaged file."""
SITE_TOLERANCE = 1e-5
"""Bohr; pp.x writes lattice vectors with nine decimals and celldm(1), in which they are, with eight."""


@dataclasses.dataclass(frozen=True)
class LocalPotential:
    """V(r) of one spin on the grid of the charge density.

    Parameters
    ----------
    path : Path
    values : ndarray, shape (n1, n2, n3)
        eV, at r = i a_1/n1 + j a_2/n2 + k a_3/n3.
    positions : ndarray, shape (atoms, 3)
        Cartesian, bohr.
    """

    path: Path
    values: Floats
    positions: Floats

    @classmethod
    def read(cls, path: Path) -> LocalPotential:
        """Read pp.x's `filplot`.

        Raises
        ------
        InputError
            If it cannot be read, is damaged, or holds something else than the total potential.
        """
        try:
            return cls._from_text(path, path.read_text(encoding="ascii"))
        except OSError as error:
            raise InputError(f"potentials: {path} cannot be read ({error.strerror})") from error
        except (ValueError, IndexError) as error:
            raise InputError(
                f"potentials: {path} is not a complete filplot of pp.x ({brief(error)}); run pp.x with plot_num = 1 "
                "again"
            ) from error

    @classmethod
    def _from_text(cls, path: Path, text: str) -> LocalPotential:
        lines = text.split("\n")
        *grid, atoms, species = _whole_numbers(lines[1], 8)
        in_memory, in_space = grid[:3], grid[3:]
        if any(not 0 < n <= m <= LARGEST_GRID for n, m in zip(in_space, in_memory, strict=True)):
            raise ValueError(f"its grid is {' x '.join(map(str, in_space))}")
        lattice = lines[2].split()
        alat, at = float(lattice[1]), 3 + (3 if int(lattice[0]) == 0 else 0)
        kind = int(lines[at].split()[3])
        if kind != TOTAL_POTENTIAL:
            raise InputError(f"potentials: {path} holds plot_num = {kind} of pp.x, expected plot_num = 1; run pp.x so")
        first = at + 1 + species
        sites = [line.split()[1:4] for line in lines[first : first + atoms]]
        # The last plane of the grid in memory may be left out; of the others all points are there.
        count = in_memory[0] * in_memory[1] * in_space[2]
        values = np.array(re.findall(r"\S+", "\n".join(lines[first + atoms :])), dtype=float)
        if len(values) != count:
            raise ValueError(f"it holds {len(values)} values, {count} expected")
        if not (np.abs(values) < LARGEST).all():
            raise ValueError(f"it holds values that are not finite, or not below {LARGEST:g} Ry")
        stored = values.reshape(in_space[2], in_memory[1], in_memory[0])[:, : in_space[1], : in_space[0]]
        return cls(path, np.ascontiguousarray(stored.T) * RYDBERG_EV, np.array(sites, dtype=float) * alat)

    def check(self, save: SaveFolder) -> None:
        """Refuse a potential of another film.

        Raises
        ------
        InputError
        """
        if self.positions.shape != save.positions.shape:
            raise InputError(
                f"potentials: {self.path} is of {len(self.positions)} atoms, the nscf of {len(save.positions)}; run "
                "pp.x on the scf that the nscf started from"
            )
        error = float(np.abs(self.positions - save.positions).max())
        if not error <= SITE_TOLERANCE:
            raise InputError(
                f"potentials: the atoms of {self.path} are {error:.1e} bohr from the nscf's; run pp.x on the scf that "
                "the nscf started from"
            )


def read_potentials(paths: tuple[Path, Path], save: SaveFolder) -> Floats:
    """Both spins' local potentials.

    Parameters
    ----------
    paths : pair of Path
        Spin up, down.
    save : SaveFolder
        The nscf's, of the same film.

    Returns
    -------
    ndarray, shape (2, n1, n2, n3)
        eV.

    Raises
    ------
    InputError
        If a file is damaged, or of another film than the others.
    """
    both = [LocalPotential.read(path) for path in paths]
    for one in both:
        one.check(save)
    if both[0].values.shape != both[1].values.shape:
        raise InputError(
            f"potentials: the grids of {paths[0]} and {paths[1]} differ, {both[0].values.shape} and "
            f"{both[1].values.shape}; run pp.x for both spins of one scf"
        )
    return np.stack([one.values for one in both])


def _whole_numbers(line: str, count: int) -> list[int]:
    numbers = [int(word) for word in line.split()]
    if len(numbers) != count:
        raise ValueError(f"its second line holds {len(numbers)} numbers, {count} expected")
    return numbers
