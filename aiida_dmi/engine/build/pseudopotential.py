"""Norm-conserving pseudopotentials in UPF 2: scalar-relativistic average and spin-orbit coupling.

A fully relativistic norm-conserving pseudopotential is V = V_loc + sum_i D_i |beta_i> P_{l,j} <beta_i|
with P_{l,j} the projector on total angular momentum j = l +- 1/2:

    P_{l,l+1/2} = (l + 1 + sigma.L) / (2l + 1),    P_{l,l-1/2} = (l - sigma.L) / (2l + 1).

Its spin-free part is the scalar-relativistic average, its sigma part the spin-orbit interaction (SOI);
their sum is the pseudopotential exactly.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..constants import RYDBERG_EV
from ..errors import InputError, brief
from ..model.harmonics import angular_momentum
from .given import LARGEST
from .upf import Orbital, Projector, is_true, read_upf, write_upf

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

AVERAGE_COMMENT = "scalar-relativistic average made by aiida-dmi"
MIXTURE = re.compile(r"virtual crystal ([A-Z][a-z]?)[0-9.e+-]+([A-Z][a-z]?)[0-9.e+-]+ made by aiida-dmi")
"""In the comment of a virtual crystal (`virtual_crystal`): its two elements."""
FUNCTIONALS = {
    "LDA": "SLA PZ NOGX NOGC",
    "PZ": "SLA PZ NOGX NOGC",
    "BP": "SLA PZ B88 P86",
    "PW91": "SLA PW GGX GGC",
    "BLYP": "SLA LYP B88 BLYP",
    "PBE": "SLA PW PBX PBC",
    "REVPBE": "SLA PW RPB PBC",
    "PBESOL": "SLA PW PSX PSC",
    "WC": "SLA PW WCX PBC",
}
"""Short names of functionals and what they stand for (Quantum ESPRESSO, Modules/funct.f90)."""


@dataclasses.dataclass(frozen=True)
class Pseudopotential:
    """A norm-conserving pseudopotential as a UPF file holds it (radial meshes in bohr, energies in Ry)."""

    header: dict[str, str]
    radii: Floats
    weights: Floats
    local: Floats
    projectors: tuple[Projector, ...]
    coupling: Floats
    orbitals: tuple[Orbital, ...]
    density: Floats
    core_density: Floats | None

    @property
    def element(self) -> str:
        """Chemical symbol."""
        return self.header["element"].strip().capitalize()

    @property
    def elements(self) -> tuple[str, ...]:
        """Chemical symbols of what it stands for: the element, or the two of a virtual crystal."""
        mixture = MIXTURE.search(self.header.get("comment", ""))
        return (mixture[1], mixture[2]) if mixture else (self.element,)

    @property
    def functional(self) -> str:
        """Exchange and correlation by its parts, such as 'SLA PW PBX PBC' for PBE; others as they are written."""
        name = " ".join(re.split(r"[\s+-]+", self.header.get("functional", "?").strip().upper()))
        return FUNCTIONALS.get(name, name)

    @property
    def valence(self) -> float:
        """Number of valence electrons, z_valence."""
        return float(self.header["z_valence"])

    @property
    def fully_relativistic(self) -> bool:
        """Whether the file resolves j = l +- 1/2, so that a spin-orbit operator can be made from it."""
        return is_true(self.header.get("has_so", "F"))

    @classmethod
    def read(cls, path: str | Path) -> Pseudopotential:
        """Read a UPF 2 file.

        Raises
        ------
        InputError
            If the file cannot be read, is not UPF 2, or is ultrasoft or PAW.
        """
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise InputError(f"pseudopotential {path}: cannot be read ({error.strerror})") from error
        return cls.from_text(text, str(path))

    @classmethod
    def from_text(cls, text: str, name: str = "UPF") -> Pseudopotential:
        """Parse the text of a UPF 2 file; `name` is used in error messages."""
        return cls(**read_upf(text, name))._checked(name)

    def _checked(self, name: str) -> Pseudopotential:
        points = len(self.radii)
        arrays = [self.weights, self.local, self.density, *(p.values for p in self.projectors)]
        arrays += [o.values for o in self.orbitals] + ([] if self.core_density is None else [self.core_density])
        if points < 2 or any(len(array) != points for array in arrays):
            raise InputError(f"pseudopotential {name}: radial functions do not all have the mesh's {points} points")
        # Functions near r = 0 and their energies in Ry are below a million; squares of what is not would overflow.
        scalars = np.array([x for o in self.orbitals for x in (o.occupation, o.energy)])
        if not all((np.abs(array) < LARGEST).all() for array in (*arrays, self.radii, self.coupling, scalars)):
            raise InputError(
                f"pseudopotential {name}: holds numbers that are not finite, or not below {LARGEST:g}; "
                "fetch the file again"
            )
        if not 0 < self.valence < 120:
            raise InputError(f"pseudopotential {name}: z_valence is {self.valence:g}; fetch the file again")
        for index, projector in enumerate(self.projectors, start=1):
            if projector.j is not None and projector.j not in (projector.ell + 0.5, abs(projector.ell - 0.5)):
                raise InputError(
                    f"pseudopotential {name}: projector {index} has l = {projector.ell} and j = {projector.j:g}, "
                    "expected j = l + 1/2 or l - 1/2; fetch the file again"
                )
        for index, orbital in enumerate(self.orbitals, start=1):
            expected = (orbital.ell + 0.5, abs(orbital.ell - 0.5)) if self.fully_relativistic else (orbital.j,)
            if orbital.j not in expected:
                raise InputError(
                    f"pseudopotential {name}: orbital {index} has l = {orbital.ell} and j = {orbital.j}, "
                    "expected j = l + 1/2 or l - 1/2; fetch the file again"
                )
        return self

    def require_fully_relativistic(self, name: str) -> None:
        """Refuse a file from which no spin-orbit operator can be made.

        Raises
        ------
        InputError
            If the pseudopotential is scalar-relativistic or non-relativistic.
        """
        if not self.fully_relativistic:
            raise InputError(
                f"pseudopotential {name} of {self.element}: relativistic="
                f"'{brief(self.header.get('relativistic', '?'))}' was given, a fully relativistic one (has_so) is "
                "needed for the spin-orbit interaction; use for instance PseudoDojo's FR set"
            )

    def _require_separate_channels(self) -> None:
        """V conserves l and j: D_ii' |beta_i><beta_i'| of two channels is no term of a fully relativistic one."""
        for i, left in enumerate(self.projectors):
            for k, right in enumerate(self.projectors):
                if self.coupling[i, k] != 0.0 and (left.ell, left.j) != (right.ell, right.j):
                    raise InputError(
                        f"pseudopotential of {self.element}: PP_DIJ couples projector {i + 1} (l = {left.ell}, "
                        f"j = {left.j}) with {k + 1} (l = {right.ell}, j = {right.j}), expected coupling within one "
                        "(l, j) only; the file is damaged, fetch it again"
                    )

    def scalar_relativistic(self) -> Pseudopotential:
        """Scalar-relativistic average, exact as an operator.

        Every projector keeps its radial function; its strength is scaled by (l + 1)/(2l + 1) for
        j = l + 1/2 and by l/(2l + 1) for j = l - 1/2 (1 for l = 0). Pseudo-atomic orbitals of one shell
        are averaged with the same weights.

        Returns
        -------
        Pseudopotential
            Without j; its PP_DIJ couples what the original coupled.

        Raises
        ------
        InputError
            If it is not fully relativistic, or PP_DIJ couples projectors of different (l, j).
        """
        self.require_fully_relativistic("to be averaged")
        self._require_separate_channels()
        factors = np.array([_average_weight(p.ell, p.j) for p in self.projectors])
        # D only couples projectors of one (l, j), so scaling rows is scaling blocks.
        return dataclasses.replace(
            self,
            header={
                **self.header,
                "relativistic": "scalar",
                "has_so": "F",
                "comment": "; ".join(filter(None, [self.header.get("comment"), AVERAGE_COMMENT])),
            },
            projectors=tuple(dataclasses.replace(p, j=None) for p in self.projectors),
            coupling=self.coupling * factors[:, None],
            orbitals=_averaged_orbitals(self.orbitals),
        )

    def spin_orbit(self) -> tuple[tuple[int, ...], Complexes]:
        """Spin-orbit operator in the basis of the projectors with l > 0.

        h_alpha[(i m), (i' m')] = +-D_ii' Ry/(2l + 1) <m|L_alpha|m'>, plus for j = l + 1/2 (physics.md).

        Returns
        -------
        indices : tuple of int
            The projectors that enter, in order; each stands for 2l + 1 rows (real harmonics, m = -l..l).
        coupling : ndarray, shape (3, p, p), complex
            h_x, h_y, h_z in eV, Hermitian.

        Raises
        ------
        InputError
            If it is not fully relativistic, or PP_DIJ couples projectors of different (l, j).
        """
        self.require_fully_relativistic("for the spin-orbit operator")
        self._require_separate_channels()
        indices = tuple(i for i, p in enumerate(self.projectors) if p.ell > 0)
        offsets = np.cumsum([0] + [2 * self.projectors[i].ell + 1 for i in indices])
        coupling = np.zeros((3, offsets[-1], offsets[-1]), dtype=complex)
        for row, i in enumerate(indices):
            for column, k in enumerate(indices):
                strength = self.coupling[i, k]
                left = self.projectors[i]
                if strength == 0.0 or left.j is None:
                    continue
                sign = 1.0 if left.j > left.ell else -1.0
                block = sign * strength * RYDBERG_EV / (2 * left.ell + 1) * angular_momentum(left.ell)
                coupling[:, offsets[row] : offsets[row + 1], offsets[column] : offsets[column + 1]] = block
        return indices, coupling

    def semicore_bands(self) -> int:
        """Number of bands, per spin, that the atom's closed inner shells fill.

        Raises
        ------
        InputError
            As `semicore_shells`.
        """
        return sum(2 * ell + 1 for _, ell in self.semicore_shells())

    def semicore_shells(self) -> frozenset[tuple[int, int]]:
        """The atom's closed inner shells, as (n, l).

        Counted from the occupied pseudo-atomic orbitals: s and p shells below the outermost s shell (a d shell has one
        above it even where the free atom leaves it empty, as Pd: 4d10 5s0), and closed f shells of the elements behind
        the lanthanides. What remains is what s, p, d projections describe.

        Raises
        ------
        InputError
            If the orbitals carry no readable labels such as '5P'.
        """
        shells = self._shells()
        outer = max((n if ell == 0 else n + 1 for (n, ell) in shells if ell in (0, 2)), default=0)
        if not outer:
            raise InputError(
                f"pseudopotential of {self.element}: no occupied s orbital among its PP_CHI, so the semicore "
                "shells cannot be counted; give `exclude_bands` by hand"
            )
        return frozenset(
            (n, ell)
            for (n, ell), occupation in shells.items()
            if (ell < 3 and n < outer - max(0, ell - 1)) or (ell == 3 and occupation > 2 * (2 * ell + 1) - 0.5)
        )

    def _shells(self) -> dict[tuple[int, int], float]:
        shells: dict[tuple[int, int], float] = {}
        for orbital in self.orbitals:
            match = re.match(r"(\d)[SPDF]", orbital.label.strip().upper())
            if match is None:
                raise InputError(
                    f"pseudopotential of {self.element}: orbital label '{brief(orbital.label)}' is not of the form "
                    "'5P', so the semicore shells cannot be counted; give `exclude_bands` by hand"
                )
            if orbital.occupation > 0:
                key = (int(match[1]), orbital.ell)
                shells[key] = shells.get(key, 0.0) + orbital.occupation
        return shells

    def to_upf(self) -> str:
        """Text of a UPF 2.0.1 file."""
        return write_upf(self)


def _average_weight(ell: int, j: float | None) -> float:
    if ell == 0 or j is None:
        return 1.0
    return (ell + 1) / (2 * ell + 1) if j > ell else ell / (2 * ell + 1)


def _averaged_orbitals(orbitals: tuple[Orbital, ...]) -> tuple[Orbital, ...]:
    shells: dict[tuple[str, int], list[Orbital]] = {}
    for orbital in orbitals:
        shells.setdefault((orbital.label, orbital.ell), []).append(orbital)
    averaged = []
    for (label, ell), members in shells.items():
        weights = [_average_weight(ell, member.j) for member in members]
        total = sum(weights)
        averaged.append(
            Orbital(
                label=label,
                ell=ell,
                j=None,
                # A negative occupation marks an unbound orbital: it must not be summed into a positive one.
                occupation=sum(m.occupation for m in members) if members[0].occupation >= 0 else members[0].occupation,
                energy=sum(w * m.energy for w, m in zip(weights, members, strict=True)) / total,
                values=np.sum([w * m.values for w, m in zip(weights, members, strict=True)], axis=0) / total,
            )
        )
    return tuple(averaged)
