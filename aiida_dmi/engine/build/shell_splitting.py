"""How far the spin-orbit operator splits the shells of the free atom: its strength in one number a shell.

The radial functions u_+- of a shell's j = l +- 1/2 solve equations that differ in the non-local part only,

    (h + V_+) u_+ = e_+ u_+,    (h + V_-) u_- = e_- u_-.

Multiplied with the other function and subtracted, with <u_-|h|u_+> in both,

    e_+ - e_- = <u_-|V_+ - V_-|u_+> / <u_-|u_+>,

without any approximation. With V = V_0 + V_1 sigma.L, sigma.L = l and -(l + 1), this is (2l + 1) <u_-|V_1|u_+> over
the overlap: the operator that the model gets, held against the atom's own levels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from ..constants import RYDBERG_EV
from ..model.harmonics import angular_momentum
from .pseudopotential import Pseudopotential

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class ShellSplitting:
    """One shell's distance between j = l + 1/2 and j = l - 1/2.

    Parameters
    ----------
    label : str
        Such as '5D'.
    ell : int
    of_operator : float
        From `Pseudopotential.spin_orbit`, eV.
    of_levels : float
        From the levels that the file gives (Dirac's of the atom it was made for), eV.
    """

    label: str
    ell: int
    of_operator: float
    of_levels: float


def shell_splittings(pseudo: Pseudopotential) -> list[ShellSplitting]:
    """Of every shell of which the file holds both radial functions, in its order.

    Parameters
    ----------
    pseudo : Pseudopotential
        Fully relativistic.

    Raises
    ------
    InputError
        As `Pseudopotential.spin_orbit`.
    """
    strengths = _strengths(pseudo)
    found = []
    for label, ell in dict.fromkeys((o.label.upper(), o.ell) for o in pseudo.orbitals if o.ell > 0):
        pair = {o.j: o for o in pseudo.orbitals if (o.label.upper(), o.ell) == (label, ell)}
        lower, upper = pair.get(ell - 0.5), pair.get(ell + 0.5)
        if lower is None or upper is None:
            continue
        bra, ket = (
            np.array([(p.values * pseudo.weights) @ o.values if p.ell == ell else 0.0 for p in pseudo.projectors])
            for o in (lower, upper)
        )
        overlap = float((pseudo.weights * lower.values) @ upper.values)
        splitting = (2 * ell + 1) * float(bra @ strengths @ ket) / overlap
        found.append(ShellSplitting(label, ell, splitting, (upper.energy - lower.energy) * RYDBERG_EV))
    return found


def _strengths(pseudo: Pseudopotential) -> Floats:
    """V_1 between projectors, eV: the coefficient of sigma.L in the spin-orbit operator, (projectors, projectors)."""
    indices, coupling = pseudo.spin_orbit()
    strengths = np.zeros((len(pseudo.projectors),) * 2)
    ells = [pseudo.projectors[i].ell for i in indices]
    starts = np.cumsum([0, *(2 * ell + 1 for ell in ells)])
    for row, (i, ell) in enumerate(zip(indices, ells, strict=True)):
        moment = angular_momentum(ell)
        for column, (k, other) in enumerate(zip(indices, ells, strict=True)):
            if other != ell:
                continue
            block = coupling[:, starts[row] : starts[row + 1], starts[column] : starts[column + 1]]
            # sum_a tr(L_a L_a) = l(l + 1)(2l + 1)
            trace = np.einsum("amn,anm->", block, moment).real
            strengths[i, k] = trace / (ell * (ell + 1) * (2 * ell + 1))
    return strengths
