"""Numbers that tell whether a Wannier model can be trusted, before anything is computed from it.

The model against the program it was made with: its bands, electrons and moment at k points that were not in its mesh,
the spread of its functions, and the symmetries that interpolation relies on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..constants import BOLTZMANN_EV
from ..errors import InputError
from ..integrate.chemical_potential import neutral_level
from ..kspace.interpolation import Interpolation
from ..kspace.mesh import Mesh
from ..model.file import SPINS
from ..model.wannier import WannierModel
from ..states.divided_differences import fermi, fermi_derivatives
from ..states.spinors import eigenvalues

Floats = npt.NDArray[np.float64]

WIDTH = 1.0
"""eV around the Fermi level over which bands are held against the reference; D comes from there."""
DEPTH = 6.0
"""eV below it from which on the largest difference is looked for."""
BATCH = 64


@dataclasses.dataclass(frozen=True)
class BandErrors:
    """Bands of a model against a reference.

    Parameters
    ----------
    weighted : float
        Root mean square with the weight exp(-(E - E_F)^2 / 2 (1 eV)^2), of bands up to 1 eV above E_F, meV.
    largest : float
        Largest size of a difference from 6 eV below to 1 eV above E_F, meV.
    kpoint : tuple of float
        Where that is, in units of the reciprocal lattice vectors.
    spin : str or None
        'up' or 'down'; None of bands with spin-orbit interaction.
    band : int
        From 1, of the model's.
    energy : float
        The reference's, from E_F, eV.
    """

    weighted: float
    largest: float
    kpoint: tuple[float, ...]
    spin: str | None
    band: int
    energy: float


def model_bands(bands: Interpolation, kpoints: Floats) -> Floats:
    """Bands of Hbar in ascending order, spin up and down, eV: (2, k, functions)."""
    found = [
        eigenvalues(bands.hamiltonian(kpoints[start : start + BATCH]), None, 0.0).reshape(-1, 2, bands.model.functions)
        for start in range(0, len(kpoints), BATCH)
    ]
    return np.sort(np.concatenate(found).swapaxes(0, 1), axis=-1)


def band_errors(bands: Interpolation, kpoints: Floats, energies: Floats) -> BandErrors:
    """Bands of Hbar against the ab-initio ones.

    Parameters
    ----------
    bands : Interpolation
        Of the model.
    kpoints : ndarray, shape (k, 3)
        In units of the reciprocal lattice vectors.
    energies : ndarray, shape (2, k, b)
        Ab-initio energies of spin up and down, eV, without the bands the model leaves out.

    Raises
    ------
    InputError
        If shapes do not fit, or no band comes near the Fermi level.
    """
    reference = np.asarray(energies, dtype=float)
    return _compared(model_bands(bands, kpoints), reference, kpoints, bands.model.fermi_energy)


def spin_orbit_band_errors(
    bands: Interpolation, kpoints: Floats, energies: Floats, direction: Sequence[float] = (0, 0, 1)
) -> BandErrors:
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
    """
    columns = bands.spin_orbit_columns(direction, [1.0] * bands.model.atoms)
    ours = eigenvalues(bands.hamiltonian(kpoints), bands.interaction(columns, kpoints), 1.0)
    return _compared(ours, np.asarray(energies, dtype=float), kpoints, bands.model.fermi_energy)


def _compared(ours: Floats, reference: Floats, kpoints: Floats, fermi_energy: float) -> BandErrors:
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
    sizes = np.where(counted & (distance > -DEPTH), np.abs(error), -1.0)
    worst = tuple(int(i) for i in np.unravel_index(int(sizes.argmax()), sizes.shape))
    return BandErrors(
        weighted=float(weighted),
        largest=float(sizes[worst]),
        kpoint=tuple(float(x) for x in kpoints[worst[-2]]),
        spin=SPINS[worst[0]] if len(worst) == 3 else None,
        band=worst[-1] + 1,
        energy=float(distance[worst]),
    )


def filling_errors(
    bands: Interpolation, kpoints: Floats, energies: Floats, temperature: float = 300.0
) -> tuple[float, float]:
    """Electrons and moment of Hbar less those of the ab-initio bands: the same k points, level and temperature.

    Against the numbers of an scf run the error of its own mesh and smearing would be measured, many times larger.

    Parameters
    ----------
    bands, kpoints, energies
        As `band_errors`.
    temperature : float
        K, of the Fermi function at the ab-initio Fermi energy.

    Returns
    -------
    electrons, moment : float
        Per cell, averaged over the k points; mu_B.
    """
    reference, kt = np.asarray(energies, dtype=float), BOLTZMANN_EV * temperature
    ours, theirs = (
        fermi(levels, bands.model.fermi_energy, kt).sum(axis=(1, 2)) / len(kpoints)
        for levels in (model_bands(bands, kpoints), reference)
    )
    difference = ours - theirs
    return float(difference.sum()), float(difference[0] - difference[1])


def filling(bands: Interpolation, mesh: int | Sequence[int] = 48, temperature: float = 300.0) -> dict[str, float]:
    """Moment and density of states of Hbar on a fine mesh.

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
        `moment` (mu_B per cell, up minus down) and `states` (1/eV per cell) at the level at which the model holds its
        electrons.
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
    return {
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
