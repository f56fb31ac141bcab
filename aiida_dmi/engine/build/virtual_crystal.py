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

from ..errors import InputError
from .pseudopotential import Orbital, Projector, Pseudopotential

Floats = npt.NDArray[np.float64]

ELEMENTS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr "
    "Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir "
    "Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh "
    "Fl Mc Lv Ts Og"
)
"""Chemical symbols in the order of Z, from 1."""

MESH_TOLERANCE = 1e-8
"""Bohr within which the points of two radial meshes are the same."""


def virtual_crystal(first: Pseudopotential, second: Pseudopotential, fraction: float) -> Pseudopotential:
    """Mix two norm-conserving pseudopotentials as operators.

    Projectors keep their radial functions, those of weight zero too: the mixture goes to the pure element without a
    step. The radial mesh ends where the shorter one of the two does (both are beyond the last decimal of anything but
    the Coulomb tail there). Pseudo-atomic orbitals of one shell and j, and the atomic densities, are mixed linearly:
    pw.x takes no more than its starting guess from them.

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
    _check_pair(first, second)
    points = min(len(first.radii), len(second.radii))
    _check_meshes(first, second, points)

    def mixed(one: Floats, other: Floats) -> Floats:
        return (1 - fraction) * one[:points] + fraction * other[:points]

    projectors = [_on_mesh(projector, points) for projector in (*first.projectors, *second.projectors)]
    return Pseudopotential(
        header=_header(first, second, fraction, float(first.radii[points - 1])),
        radii=first.radii[:points],
        weights=first.weights[:points],
        local=mixed(first.local, second.local),
        projectors=tuple(projectors),
        coupling=_block_diagonal((1 - fraction) * first.coupling, fraction * second.coupling),
        orbitals=_mixed_orbitals(first, second, fraction, points),
        density=mixed(first.density, second.density),
        core_density=_mixed_core(first, second, fraction, points),
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
    symbols = ELEMENTS.split()
    if pseudo.element not in symbols:
        raise InputError(f"pseudopotential: element '{pseudo.element}' is unknown, expected a chemical symbol")
    return symbols.index(pseudo.element) + 1 - pseudo.valence


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


def _header(first: Pseudopotential, second: Pseudopotential, fraction: float, last_radius: float) -> dict[str, str]:
    """Of the nearest element, with what the mixture changes."""
    nearest = first if fraction <= 0.5 else second
    name = formula(first.element, second.element, fraction)
    core = first.core_density is not None or second.core_density is not None
    header = {
        **nearest.header,
        "generated": f"Virtual crystal made by aiida-dmi; parts: {nearest.header.get('generated', '?')}",
        "comment": f"virtual crystal {name} made by aiida-dmi, labelled by its nearest element {nearest.element}",
        # 15 digits: 16.8, not 16.799999999999997.
        "z_valence": f"{(1 - fraction) * first.valence + fraction * second.valence:.15g}",
        "core_correction": "T" if core else "F",
        "l_max": str(max(projector.ell for p in (first, second) for projector in p.projectors)),
        "rho_cutoff": f"{last_radius:.11E}",
    }
    # The energy of an isolated pseudo-atom: the mixture has none.
    header.pop("total_psenergy", None)
    return header


def _on_mesh(projector: Projector, points: int) -> Projector:
    index = min(projector.cutoff_index, points)
    return dataclasses.replace(projector, values=projector.values[:points], cutoff_index=index)


def _block_diagonal(one: Floats, other: Floats) -> Floats:
    """No D couples projectors of the two elements."""
    size = len(one)
    coupling = np.zeros((size + len(other),) * 2)
    coupling[:size, :size], coupling[size:, size:] = one, other
    return coupling


def _mixed_core(first: Pseudopotential, second: Pseudopotential, fraction: float, points: int) -> Floats | None:
    """The model core charges' mixture; an element without one has none to give."""
    parts = [
        weight * pseudo.core_density[:points]
        for weight, pseudo in ((1 - fraction, first), (fraction, second))
        if pseudo.core_density is not None
    ]
    return np.sum(parts, axis=0) if parts else None


def _mixed_orbitals(
    first: Pseudopotential, second: Pseudopotential, fraction: float, points: int
) -> tuple[Orbital, ...]:
    """Orbitals of one shell and j mixed; those that only one element has follow, with their share of electrons."""
    partners = {_shell(orbital): orbital for orbital in second.orbitals}
    mixed = []
    for own in first.orbitals:
        other = partners.pop(_shell(own), None)
        if other is None:
            mixed.append(_share(own, 1 - fraction, points))
            continue
        pair = ((1 - fraction, own), (fraction, other))
        mixed.append(
            dataclasses.replace(
                own,
                occupation=_mixed_occupation(pair),
                energy=sum(weight * orbital.energy for weight, orbital in pair),
                values=np.sum([weight * orbital.values[:points] for weight, orbital in pair], axis=0),
            )
        )
    return (*mixed, *(_share(orbital, fraction, points) for orbital in partners.values()))


def _shell(orbital: Orbital) -> tuple[str, int, float | None]:
    return orbital.label.strip().upper(), orbital.ell, orbital.j


def _share(orbital: Orbital, weight: float, points: int) -> Orbital:
    occupation = _mixed_occupation(((weight, orbital),))
    return dataclasses.replace(orbital, occupation=occupation, values=orbital.values[:points])


def _mixed_occupation(pair: tuple[tuple[float, Orbital], ...]) -> float:
    """Electrons; a negative occupation marks an orbital that no element binds and must not be added to another's."""
    if all(orbital.occupation < 0 for _, orbital in pair):
        return pair[0][1].occupation
    return sum(weight * max(orbital.occupation, 0.0) for weight, orbital in pair)
