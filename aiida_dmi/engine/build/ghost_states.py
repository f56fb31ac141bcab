"""Ghost states: bound levels of a separable pseudopotential that the atom does not have.

A projector of large negative strength can bind a state of its own far below the valence (Gonze, Kaeckell, Scheffler,
PRB 41, 12264 (1990)). pw.x converges on it without a word: the number of electrons is right and one shell too many is
filled, so moments, bands and every number after them belong to another atom.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from ..errors import InputError
from .pseudopotential import Pseudopotential

Floats = npt.NDArray[np.float64]
Channel = tuple[int, float | None]
"""l and j; j is None in a scalar-relativistic pseudopotential."""

STEP = 0.02
"""Bohr between the points of the radial equation: levels come out to some 0.1 Ry, ghosts are off by whole Ry."""
RADIUS = 10.0
"""Bohr to which it is solved, as far as pw.x looks (its rcut)."""
LEVELS = 3
"""Of each channel that are looked at: semicore, valence, and one that may be too many."""
MARGIN = 0.5
"""Ry below the lowest orbital of a channel that no correct level lies; the energies differ by some 0.3 Ry at most."""
NEXT = 0.15
"""Ry above the highest orbital of a channel below which no further level is expected."""
UNBOUND = -0.3
"""Ry below which a channel without an occupied orbital has no level."""


def can_be_searched(pseudo: Pseudopotential) -> bool:
    """Whether the radial mesh is equidistant, as `levels` needs it."""
    steps = np.diff(pseudo.radii)
    return bool(np.abs(steps - steps[0]).max() <= 1e-6 * steps[0])


def levels(pseudo: Pseudopotential) -> dict[Channel, Floats]:
    """Lowest levels of the neutral pseudo-atom in its own atomic density, for every l (and j) that has projectors.

    With u(r) = r R(r) and energies in Ry

        [-d^2/dr^2 + l(l + 1)/r^2 + V_loc + V_H + V_xc] u + sum_ii' beta_i D_ii' <beta_i'|u> = e u,

    V_H of PP_RHOATOM, V_xc the local density approximation (Perdew-Zunger) with the model core charge.

    Parameters
    ----------
    pseudo : Pseudopotential

    Returns
    -------
    dict
        (l, j) to `LEVELS` energies, Ry, ascending.

    Raises
    ------
    InputError
        If the radial mesh is not equidistant.
    """
    spacing = float(pseudo.radii[1] - pseudo.radii[0])
    if not can_be_searched(pseudo):
        raise InputError(
            f"pseudopotential of {pseudo.element}: its radial mesh is not equidistant, so it cannot be searched for "
            "ghost states; use for instance PseudoDojo's"
        )
    stride = max(1, round(STEP / spacing))
    chosen = slice(stride, round(RADIUS / spacing), stride)
    radii, step = pseudo.radii[chosen], stride * spacing
    potential = (pseudo.local + _screening(pseudo, spacing))[chosen]
    found: dict[Channel, Floats] = {}
    for channel in dict.fromkeys((p.ell, p.j) for p in pseudo.projectors):
        indices = [i for i, p in enumerate(pseudo.projectors) if (p.ell, p.j) == channel]
        betas = np.stack([pseudo.projectors[i].values[chosen] for i in indices])
        hamiltonian = step * betas.T @ pseudo.coupling[np.ix_(indices, indices)] @ betas
        diagonal = np.arange(len(radii))
        hamiltonian[diagonal, diagonal] += 2 / step**2 + channel[0] * (channel[0] + 1) / radii**2 + potential
        hamiltonian[diagonal[1:], diagonal[:-1]] -= 1 / step**2
        hamiltonian[diagonal[:-1], diagonal[1:]] -= 1 / step**2
        found[channel] = eigh(hamiltonian, eigvals_only=True, subset_by_index=[0, LEVELS - 1])
    return found


def require_no_ghost_states(pseudo: Pseudopotential, name: str) -> None:
    """Refuse a pseudopotential, pure or mixed, that binds what the atom does not.

    Held against the occupied pseudo-atomic orbitals: no level may lie below the lowest, nor more of them up to the
    highest than there are.

    Parameters
    ----------
    pseudo : Pseudopotential
    name : str
        Of the file, for the message.

    Raises
    ------
    InputError
        Naming the channel, its lowest level and the lowest orbital; as `levels`.
    """
    for (ell, j), energies in levels(pseudo).items():
        known = sorted(o.energy for o in pseudo.orbitals if (o.ell, o.j) == (ell, j) and o.occupation >= 0)
        below = energies[0] < (known[0] - MARGIN if known else UNBOUND)
        too_many = bool(known) and np.count_nonzero(energies < known[-1] + NEXT) > len(known)
        if below or too_many:
            listed = ", ".join(f"{energy:.1f}" for energy in energies[: len(known) + 1])
            orbitals = ", ".join(f"{energy:.1f}" for energy in known) or "none"
            raise InputError(
                f"pseudopotential {name} of {pseudo.element}: ghost state in its {'spdf'[ell]} channel (levels "
                f"{listed} Ry, the atom's are {orbitals}); use another pseudopotential of the element"
            )


def _screening(pseudo: Pseudopotential, spacing: float) -> Floats:
    """Hartree and exchange-correlation potential (Ry) of the atomic density, on the whole mesh."""
    radii = np.maximum(pseudo.radii, spacing)
    inside = np.cumsum(pseudo.density) * spacing / radii
    outside = np.cumsum((pseudo.density / radii)[::-1])[::-1] * spacing
    density = pseudo.density / (4 * np.pi * radii**2)
    if pseudo.core_density is not None:
        density = density + pseudo.core_density
    result: Floats = 2 * (inside + outside) + _local_density(density)
    return result


def _local_density(density: Floats) -> Floats:
    """V_xc (Ry) of Perdew and Zunger, PRB 23, 5048 (1981), Eqs. C3-C5, unpolarised; its constants are in Hartree."""
    radius = (3 / (4 * np.pi * np.maximum(density, 1e-12))) ** (1 / 3)
    exchange = -((9 / (4 * np.pi**2)) ** (1 / 3)) / radius
    root, logarithm = np.sqrt(radius), np.log(radius)
    dense = 0.0311 * logarithm - 0.0584 + 0.0020 * 2 / 3 * radius * logarithm - 0.0084 * radius
    energy = -0.1423 / (1 + 1.0529 * root + 0.3334 * radius)
    dilute = energy * (1 + 7 / 6 * 1.0529 * root + 4 / 3 * 0.3334 * radius) / (1 + 1.0529 * root + 0.3334 * radius)
    return np.asarray(2 * (exchange + np.where(radius < 1, dense, dilute)))
