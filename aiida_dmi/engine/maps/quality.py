"""Numbers that tell whether a Wannier model can be trusted, before anything is computed from it.

The model against the program it was made with: its bands at k points that were not in its mesh, its electrons and its
moment on a fine mesh, the spread of its functions, and the symmetries that interpolation relies on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..constants import BOLTZMANN_EV
from ..errors import InputError
from ..integrate.chemical_potential import neutral_level
from ..kspace.interpolation import Interpolation
from ..kspace.mesh import Mesh
from ..model.wannier import WannierModel
from ..states.divided_differences import fermi, fermi_derivatives
from ..states.spinors import eigenvalues

Floats = npt.NDArray[np.float64]

WIDTH = 1.0
"""eV around the Fermi level over which bands are held against the reference; D comes from there."""
BATCH = 64


def control_points(mesh: Sequence[int], count: int = 6) -> Floats:
    """K points that are not in a mesh: centres of its cells, where interpolation is worst.

    Parameters
    ----------
    mesh : sequence of int, length 3
        Divisions of the ab-initio mesh.
    count : int
        Points at most; a mesh with fewer cells gives one a cell.

    Returns
    -------
    ndarray, shape (k, 3)
        In units of the reciprocal lattice vectors, no two equal or opposite to each other.

    Examples
    --------
    >>> control_points((1, 1, 1)).tolist()
    [[0.5, 0.5, 0.0]]
    """
    divisions = np.asarray(mesh)
    cells = np.indices(tuple(int(m) for m in mesh)).reshape(3, -1).T
    points = (cells + np.where(divisions > 1, 0.5, 0.0)) / divisions
    if divisions.max() == 1:
        return np.array([[0.5, 0.5, 0.0]])
    # Of k and -k, which have the same collinear bands, the first; then evenly spread over those that are left.
    index = {tuple(np.round(k % 1.0, 8) % 1.0): i for i, k in enumerate(points)}
    first = [i for i, k in enumerate(points) if i <= index[tuple(np.round(-k % 1.0, 8) % 1.0)]]
    chosen = np.unique(np.linspace(0, len(first) - 1, min(count, len(first))).round().astype(int))
    result: Floats = points[np.asarray(first)[chosen]]
    return result


def band_errors(bands: Interpolation, kpoints: Floats, energies: Floats) -> tuple[float, float]:
    """Bands of Hbar against the ab-initio ones.

    Parameters
    ----------
    bands : Interpolation
        Of the model.
    kpoints : ndarray, shape (k, 3)
        In units of the reciprocal lattice vectors.
    energies : ndarray, shape (2, k, b)
        Ab-initio energies of spin up and down, eV, without the bands the model leaves out.

    Returns
    -------
    weighted, largest : float
        meV. The root mean square with the weight exp(-(E - E_F)^2 / 2 (1 eV)^2) of bands up to 1 eV above E_F, and
        the largest difference within 1 eV of E_F.

    Raises
    ------
    InputError
        If shapes do not fit, or no band comes near the Fermi level.
    """
    ours = np.sort(
        eigenvalues(bands.hamiltonian(kpoints), None, 0.0).reshape(len(kpoints), 2, -1).swapaxes(0, 1), axis=-1
    )
    return _compared(ours, np.asarray(energies, dtype=float), bands.model.fermi_energy)


def spin_orbit_band_errors(
    bands: Interpolation, kpoints: Floats, energies: Floats, direction: Sequence[float] = (0, 0, 1)
) -> tuple[float, float]:
    """Bands of Hbar + V against noncollinear ab-initio bands of the same density.

    Parameters
    ----------
    bands : Interpolation
        Of the model.
    kpoints : ndarray, shape (k, 3)
    energies : ndarray, shape (k, b)
        eV, without the bands the model leaves out.
    direction : vector
        Axis n of the spin-up spinor.

    Returns
    -------
    weighted, largest : float
        As `band_errors`.
    """
    columns = bands.spin_orbit_columns(direction, [1.0] * bands.model.atoms)
    ours = eigenvalues(bands.hamiltonian(kpoints), bands.interaction(columns, kpoints), 1.0)
    return _compared(ours, np.asarray(energies, dtype=float), bands.model.fermi_energy)


def _compared(ours: Floats, reference: Floats, fermi_energy: float) -> tuple[float, float]:
    if reference.shape[:-1] != ours.shape[:-1]:
        raise InputError(f"energies: shape {reference.shape} was given, expected {ours.shape[:-1]} and the bands")
    bands = min(ours.shape[-1], reference.shape[-1])
    distance = reference[..., :bands] - fermi_energy
    error = 1e3 * (ours[..., :bands] - reference[..., :bands])
    counted = distance < WIDTH
    if not (np.abs(distance) < WIDTH).any():
        raise InputError(f"energies: none lies within {WIDTH:g} eV of the Fermi energy {fermi_energy:.3f} eV")
    weight = np.exp(-(distance**2) / (2 * WIDTH**2))[counted]
    weighted = np.sqrt(np.average(error[counted] ** 2, weights=weight))
    return float(weighted), float(np.abs(error[np.abs(distance) < WIDTH]).max())


def filling(bands: Interpolation, mesh: int | Sequence[int] = 48, temperature: float = 300.0) -> dict[str, float]:
    """Electrons, moment and density of states of Hbar on a fine mesh.

    Parameters
    ----------
    bands : Interpolation
        Of the model.
    mesh : int or sequence of int
        Points along each periodic direction.
    temperature : float
        K, of the Fermi function.

    Returns
    -------
    dict
        `electrons`: per cell below the model's `fermi_energy`, the ab-initio one; `expected_electrons`: those the
        model has to hold; `moment` (mu_B per cell, up minus down) and `states` (1/eV per cell) at the level at which
        it holds them.
    """
    model = bands.model
    points = Mesh.from_input(mesh, model.dimension)
    energies = np.concatenate(
        [eigenvalues(bands.hamiltonian(batch.kpoints), None, 0.0) for batch in points.batches(BATCH)]
    )
    kt = BOLTZMANN_EV * temperature
    electrons = model.electrons
    level = model.fermi_energy if electrons is None else neutral_level(energies, electrons, kt)
    occupied = fermi(energies, level, kt).sum(axis=0) / points.size
    slope = fermi_derivatives(energies, level, kt)[0]
    below = float(fermi(energies, model.fermi_energy, kt).sum() / points.size)
    return {
        "electrons": below,
        "expected_electrons": below if electrons is None else electrons,
        "moment": float(occupied[: model.functions].sum() - occupied[model.functions :].sum()),
        "states": float(-slope.sum() / points.size),
    }


def smallest_spin_overlap(model: WannierModel) -> float:
    """Smallest |<W_i up|W_i down>| of a function with itself (1: the functions of both spins are the same)."""
    return float(np.abs(np.einsum("qii->i", model.overlap) / len(model.kpoints)).min())


def largest_spread(model: WannierModel) -> float | None:
    """Largest spread of a Wannier function (Angstrom^2), None where the model does not say."""
    names = [f"spreads_{spin}_angstrom2" for spin in ("up", "down")]
    if any(name not in model.attributes for name in names):
        return None
    return max(float(np.max(model.attributes[name])) for name in names)
