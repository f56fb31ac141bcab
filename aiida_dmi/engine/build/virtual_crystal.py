"""Virtual crystal: the pseudopotential of an atom that is element A with weight 1 - x and element B with weight x.

Pseudopotentials are mixed as operators (Bellaiche and Vanderbilt, PRB 61, 7877 (2000)). With
V_A = V_loc,A + sum_i D_A,i |beta_A,i> P_lj <beta_A,i| the mixture is

    V = (1 - x) V_A + x V_B:    V_loc = (1 - x) V_loc,A + x V_loc,B,    projectors of both, D scaled by 1 - x and x,

and the valence charge Z_v, which sets the number of electrons and the Coulomb tail -2 Z_v/r of V_loc (Ry), and the
model core charge of the exchange-correlation energy are mixed with the same weights. Everything that is linear in D
follows: the scalar-relativistic average of the mixture is the mixture of the averages, and its spin-orbit operator is
(1 - x) of A's on A's projectors plus x of B's on B's.

What this describes, and what not. Every site of the doped layer carries the same averaged potential: the change of
band filling and, to first order in the difference of the two potentials, the shift of the levels, of the exchange
splitting and of the spin-orbit strength are in, self-consistently; that is more than a rigid shift of the Fermi level.
Left out is all that tells an A site from a B site: scattering and the broadening of the bands by disorder, short-range
order, relaxation around an impurity, and separate moments of the two species (which matters where they differ much, as
in Co-Mn, or couple antiparallel, as Mn in Ni). It is good for neighbours in a row of the periodic table (Co-Fe, Co-Ni,
Mn-Fe, Mn-Cr, Pt-Ir, Pt-Au, W-Ta) and gets worse with the distance of their levels. Total energies at two different x
are those of different ions and have no common zero: compare only energies at one x.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag

from ..constants import ELEMENTS
from ..errors import InputError
from .pseudopotential import Pseudopotential
from .upf import Orbital, Projector

Floats = npt.NDArray[np.float64]

MESH_TOLERANCE = 1e-8
"""Bohr within which the points of two radial meshes are the same."""


Parts = tuple[tuple[float, Pseudopotential], ...]
"""Weights and elements of a mixture; an element of weight zero is no part of it."""


def virtual_crystal(first: Pseudopotential, second: Pseudopotential, fraction: float) -> Pseudopotential:
    """Mix two norm-conserving pseudopotentials as operators.

    Projectors keep their radial functions. The radial mesh ends where the shorter one of the two does: all but the
    Coulomb tail has died away there. Pseudo-atomic orbitals of one shell and j, and the atomic densities, are mixed
    linearly; pw.x takes no more than its starting guess from them. x = 0 and x = 1 are the elements themselves, to
    the last bit. x near them differs by what pw.x's quadrature makes of projectors that end elsewhere: nothing to 1e-8
    Ry for Co and Ni, 3e-6 Ry for Bi beside Pb.

    Parameters
    ----------
    first, second : Pseudopotential
        Both fully relativistic, or both not; on one radial mesh up to its length.
    fraction : float
        x, the weight of `second`, 0 to 1.

    Returns
    -------
    Pseudopotential
        z_valence (1 - x) Z_A + x Z_B, in general no integer. Its `element` is that of the larger weight (`first` for
        x = 1/2), a label without meaning for the physics; the header's comment says what was mixed.

    Raises
    ------
    InputError
        If x is no number from 0 to 1, or the two do not belong together: other functional, other kind of relativity,
        other numbers of core electrons (Z - z_valence), other semicore shells, other radial mesh.
    """
    check_fraction(fraction)
    points = min(len(first.radii), len(second.radii))
    _check_pair(first, second)
    _check_meshes(first, second, points)
    parts = tuple((weight, part) for weight, part in ((1 - fraction, first), (fraction, second)) if weight > 0)
    points = min(len(part.radii) for _, part in parts)
    return Pseudopotential(
        header=_header(parts, formula(first.element, second.element, fraction), points),
        radii=parts[0][1].radii[:points],
        weights=parts[0][1].weights[:points],
        local=_sum([weight * part.local[:points] for weight, part in parts]),
        projectors=tuple(_on_mesh(projector, points) for _, part in parts for projector in part.projectors),
        # No D couples projectors of the two elements.
        coupling=block_diag(*(weight * part.coupling for weight, part in parts)),
        orbitals=_mixed_orbitals(parts, points),
        density=_sum([weight * part.density[:points] for weight, part in parts]),
        core_density=_mixed_core(parts, points),
    )


def check_fraction(fraction: float) -> None:
    """Refuse what is no number from 0 to 1.

    Raises
    ------
    InputError
        Naming what was given.
    """
    number = isinstance(fraction, (int, float)) and not isinstance(fraction, bool) and math.isfinite(fraction)
    if not number or not 0 <= fraction <= 1:
        raise InputError(f"fraction: {fraction!r} was given, expected a number from 0 (pure first element) to 1")


def formula(first: str, second: str, fraction: float) -> str:
    """Name of a mixture: 'Co0.8Fe0.2'."""
    return f"{first}{1 - fraction:.6g}{second}{fraction:.6g}"


def core_electrons(pseudo: Pseudopotential) -> float:
    """Electrons that the pseudopotential holds in its core, Z - z_valence.

    Raises
    ------
    InputError
        If the element is unknown.
    """
    if pseudo.element not in ELEMENTS:
        raise InputError(f"pseudopotential: element '{pseudo.element}' is unknown, expected a chemical symbol")
    return ELEMENTS.index(pseudo.element) + 1 - pseudo.valence


def _check_pair(first: Pseudopotential, second: Pseudopotential) -> None:
    """Refuse two pseudopotentials whose potentials are no approximations of one kind."""
    pair = f"virtual crystal of {first.element} and {second.element}"
    functionals = [" ".join(p.header.get("functional", "?").upper().split()) for p in (first, second)]
    if functionals[0] != functionals[1]:
        raise InputError(f"{pair}: functionals {' and '.join(functionals)} were given, one is needed; take one family")
    if first.fully_relativistic != second.fully_relativistic:
        raise InputError(f"{pair}: only one of the two is fully relativistic; take both from one family")
    for pseudo in (first, second):
        if not pseudo.valence.is_integer():
            raise InputError(
                f"{pair}: one of the two (z_valence {pseudo.valence:g}) is a mixture already; mix elements"
            )
    cores = [core_electrons(p) for p in (first, second)]
    if cores[0] != cores[1]:
        raise InputError(
            f"{pair}: their cores hold {cores[0]:g} and {cores[1]:g} electrons (Z - z_valence), so a shell is valence "
            "in one and core in the other; take pseudopotentials with the same core, or exchange the whole layer"
        )
    shells = [p.semicore_shells() for p in (first, second)]
    if shells[0] != shells[1]:
        names = [", ".join(f"{n}{'spdf'[ell]}" for n, ell in sorted(found)) or "none" for found in shells]
        raise InputError(
            f"{pair}: closed semicore shells {names[0]} and {names[1]} were given, expected the same in both, so that "
            "the same bands can be excluded; mix neighbours in a row of the periodic table"
        )


def _check_meshes(first: Pseudopotential, second: Pseudopotential, points: int) -> None:
    for name in ("radii", "weights"):
        difference = np.abs(getattr(first, name)[:points] - getattr(second, name)[:points]).max()
        if not difference <= MESH_TOLERANCE:
            raise InputError(
                f"virtual crystal of {first.element} and {second.element}: their radial meshes differ by "
                f"{difference:.1e} bohr, one mesh is needed; take both from one family, such as PseudoDojo's"
            )


def _header(parts: Parts, name: str, points: int) -> dict[str, str]:
    """Of the nearest element, with what the mixture changes."""
    # The first of equal weights.
    nearest = max(parts, key=lambda part: part[0])[1]
    header = {
        **nearest.header,
        "generated": f"Virtual crystal made by aiida-dmi; parts: {nearest.header.get('generated', '?')}",
        "comment": f"virtual crystal {name} made by aiida-dmi, labelled by its nearest element {nearest.element}",
        # 15 digits: 16.8, not 16.799999999999997.
        "z_valence": f"{sum(weight * part.valence for weight, part in parts):.15g}",
        "core_correction": "T" if any(part.core_density is not None for _, part in parts) else "F",
        "l_max": str(max((projector.ell for _, part in parts for projector in part.projectors), default=0)),
        "rho_cutoff": f"{nearest.radii[points - 1]:.11E}",
    }
    # The energy of an isolated pseudo-atom: the mixture has none.
    header.pop("total_psenergy", None)
    return header


def _sum(terms: list[Floats]) -> Floats:
    return np.asarray(np.sum(terms, axis=0))


def _on_mesh(projector: Projector, points: int) -> Projector:
    index = min(projector.cutoff_index, points)
    return dataclasses.replace(projector, values=projector.values[:points], cutoff_index=index)


def _mixed_core(parts: Parts, points: int) -> Floats | None:
    """The model core charges' mixture; an element without one has none to give."""
    cores = [weight * part.core_density[:points] for weight, part in parts if part.core_density is not None]
    return _sum(cores) if cores else None


def _mixed_orbitals(parts: Parts, points: int) -> tuple[Orbital, ...]:
    """Orbitals of one shell and j mixed; one that a single element has is taken as it is, with its share of electrons.

    Occupations below zero mark orbitals that an element does not bind: they must not be added to another's.
    """
    shells: dict[tuple[str, int, float | None], list[tuple[float, Orbital]]] = {}
    for weight, part in parts:
        for orbital in part.orbitals:
            key = (orbital.label.strip().upper(), orbital.ell, orbital.j)
            shells.setdefault(key, []).append((weight, orbital))
    mixed = []
    for members in shells.values():
        norm = sum(weight for weight, _ in members)
        bound = [weight * orbital.occupation for weight, orbital in members if orbital.occupation >= 0]
        mixed.append(
            dataclasses.replace(
                members[0][1],
                occupation=sum(bound) if bound else members[0][1].occupation,
                energy=sum(weight * orbital.energy for weight, orbital in members) / norm,
                values=_sum([weight * orbital.values[:points] for weight, orbital in members]) / norm,
            )
        )
    return tuple(mixed)
