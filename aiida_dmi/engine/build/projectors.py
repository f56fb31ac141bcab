"""Non-local projectors of the pseudopotentials on plane waves, and their gradients in k."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.special import spherical_jn

from ..model.harmonics import direction_cosines
from .pseudopotential import Pseudopotential
from .quantum_espresso import WaveFunctions

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

RADIAL_STEP = 0.01
"""Step in |k + G| (1/bohr) at which projectors are transformed; a cubic spline joins the points to 1e-9."""


class Projectors:
    """Plane-wave form of one atom's non-local projectors with l > 0, those the spin-orbit operator needs.

    With tau the atom's position and V the cell's volume, the plane-wave coefficients are

        <k+G|beta_lm> = 4 pi/sqrt(V) (-i)^l Y_lm(k+G) exp(-i(k+G).tau) int r^2 beta(r) j_l(|k+G| r) dr.
    """

    def __init__(self, pseudo: Pseudopotential, volume: float, cutoff: float) -> None:
        """Tabulate the radial integrals.

        Parameters
        ----------
        pseudo : Pseudopotential
            Fully relativistic.
        volume : float
            Of the cell, bohr^3.
        cutoff : float
            Largest |k + G|, 1/bohr.
        """
        indices, self.coupling = pseudo.spin_orbit()
        self._ells = [pseudo.projectors[i].ell for i in indices]
        self._radial, self._moments = radial_tables(pseudo, indices, volume, cutoff)

    def overlaps(self, waves: WaveFunctions, position: Floats) -> Complexes:
        """<beta|psi> for an atom at `position` (Cartesian, bohr).

        Returns
        -------
        ndarray, shape (p, bands), complex
            Rows in the order of `Pseudopotential.spin_orbit`.
        """
        vectors = waves.vectors
        radial = self._radial(np.linalg.norm(vectors, axis=1))
        moved = _moved(waves, vectors, position)
        blocks = [
            1j**ell * _real_times_complex((radial[:, i, None] * waves.harmonics(ell)).T, moved)
            for i, ell in enumerate(self._ells)
        ]
        return np.concatenate(blocks) if blocks else np.zeros((0, len(waves.coefficients)), dtype=complex)

    def gradients(self, waves: WaveFunctions, position: Floats) -> Complexes:
        """<d_j beta|psi>: the form factor differentiated in k_j, the phase of the atom's position kept.

        The phases drop out of i[V, r], V = sum |beta> h <beta|, which does not know the origin: what is
        differentiated is int exp(-i(k+G).r) beta(r) dr with r measured from the atom, so that

            d_j beta = -i r_j beta,    r_j beta_lm = r beta(r) sum_l'm' Y_l'm' <l'm'|r_j/r|lm>,  l' = l - 1, l + 1,

        each l' transformed like a projector. Nothing is divided by |k + G|.

        Returns
        -------
        ndarray, shape (3, p, bands), complex
            Bohr; rows as `overlaps`.
        """
        vectors = waves.vectors
        length = np.linalg.norm(vectors, axis=1)
        radial = {shift: spline(length) for shift, spline in self._moments.items()}
        moved = _moved(waves, vectors, position)
        blocks = []
        for i, ell in enumerate(self._ells):
            block = np.zeros((3, 2 * ell + 1, moved.shape[1]), dtype=complex)
            for shift in radial:
                # conj[-i (-i)^l'] = i^(l' + 1)
                other = ell + shift
                moment = _real_times_complex((radial[shift][:, i, None] * waves.harmonics(other)).T, moved)
                block += 1j ** (other + 1) * (direction_cosines(other, ell).swapaxes(1, 2) @ moment)
            blocks.append(block)
        return np.concatenate(blocks, axis=1) if blocks else np.zeros((3, 0, moved.shape[1]), dtype=complex)


def _moved(waves: WaveFunctions, vectors: Floats, position: Floats) -> Complexes:
    """exp(i(k+G).tau) <k+G|psi>, shape (plane waves, bands): the states seen from the atom."""
    return np.ascontiguousarray((np.exp(1j * vectors @ position) * waves.coefficients).T)


def _real_times_complex(left: Floats, right: Complexes) -> Complexes:
    """Matrix product at half the cost of a complex one."""
    return np.asarray((left @ right.view(np.float64)).view(np.complex128))


def radial_tables(
    pseudo: Pseudopotential, indices: Sequence[int], volume: float, cutoff: float
) -> tuple[CubicSpline, dict[int, CubicSpline]]:
    """Radial integrals of projectors, and of r times them, as functions of |k + G| in 1/bohr.

    Parameters
    ----------
    pseudo : Pseudopotential
    indices : sequence of int
        Of the projectors.
    volume : float
        Of the cell, bohr^3.
    cutoff : float
        Largest |k + G|, 1/bohr.

    Returns
    -------
    radial : CubicSpline
        4 pi/sqrt(V) int r^2 beta j_l, a column each.
    moments : dict
        l' - l = -1, 1 to 4 pi/sqrt(V) int r^3 beta j_l'; zero where l' is below 0: r_j leads from l = 0 to 1 only.
    """
    grid = np.arange(0.0, cutoff + 2 * RADIAL_STEP, RADIAL_STEP)

    def spline(power: int, shift: int) -> CubicSpline:
        columns = [
            _radial_transform(pseudo, i, grid, power, shift) if pseudo.projectors[i].ell + shift >= 0 else 0 * grid
            for i in indices
        ]
        table = np.stack(columns, axis=1) if columns else np.zeros((len(grid), 0))
        return CubicSpline(grid, 4 * np.pi / np.sqrt(volume) * table)

    return spline(2, 0), {shift: spline(3, shift) for shift in (-1, 1)}


def _radial_transform(pseudo: Pseudopotential, index: int, grid: Floats, power: int, shift: int) -> Floats:
    """Int r^power beta(r) j_(l + shift)(qr) dr, power >= 2.

    Simpson's rule on the pseudopotential's own mesh; r*beta is stored.

    Parameters
    ----------
    pseudo : Pseudopotential
    index : int
        Of the projector.
    grid : ndarray, shape (q,)
        1/bohr.
    power, shift : int

    Returns
    -------
    ndarray, shape (q,)
    """
    projector = pseudo.projectors[index]
    count = projector.cutoff_index + 1 - projector.cutoff_index % 2  # Simpson wants an odd number of points
    count = min(count, len(pseudo.radii) - 1 + len(pseudo.radii) % 2)
    radii, values = pseudo.radii[:count], projector.values[:count]
    simpson = np.ones(count)
    simpson[1:-1:2], simpson[2:-1:2] = 4.0, 2.0
    weights = simpson / 3 * pseudo.weights[:count] * values * radii ** (power - 1)
    result: Floats = spherical_jn(projector.ell + shift, grid[:, None] * radii[None, :]) @ weights
    return result
