"""A model that any film has, for seconds: p orbitals on every atom, hoppings of the distance alone, L.S on every atom.

It knows nothing of cells and axes, so that D of two descriptions of one film is the same number.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from ase.data import atomic_numbers

from aiida_dmi.engine import WannierModel, compute
from aiida_dmi.structures.film import Film

REACH = 4.6
"""Angstrom; hoppings end there, smoothly."""
SPLITTING = 1.2
"""eV, between the spins of a magnet's functions; others have a tenth."""
TEMPERATURE = 4000.0
SAMPLED = 58.0
"""Angstrom; points of the mesh times the lattice vector. D per area has converged then, to 1e-8 of it."""
LEVI_CIVITA = np.zeros((3, 3, 3))
for (a, b, c), sign in zip(itertools.permutations(range(3)), (1, -1, -1, 1, 1, -1), strict=True):
    LEVI_CIVITA[a, b, c] = sign


def p_model(atoms, film: Film) -> WannierModel:
    """Slater-Koster p orbitals: (pp sigma) d d^T + (pp pi) (1 - d d^T), d the unit vector between two atoms."""
    cell, positions = np.array(atoms.cell[:]), np.array(atoms.positions)
    # Its supercell holds every hopping once.
    mesh = tuple(math.ceil(2.4 * REACH / (film.area / np.linalg.norm(cell[1 - axis]))) for axis in range(2))
    count, n = len(atoms), 3 * len(atoms)
    charges = np.array([atomic_numbers[symbol] for symbol in film.symbols], dtype=float)
    divisions = (*mesh, 1)
    kpoints = np.stack(np.indices(divisions), axis=-1).reshape(-1, 3) / np.array(divisions)
    vectors = np.array(list(itertools.product(*(range(-m, m + 1) for m in mesh))))
    bonds = (vectors @ cell[:2])[:, None, None] + positions[None, None] - positions[None, :, None]
    distances = np.linalg.norm(bonds, axis=-1)
    near = (distances > 1e-6) & (distances < REACH)
    strength = np.where(near, np.exp((2.5 - distances) / 0.8) * (1 - (distances / REACH) ** 2) ** 2, 0.0)
    strength *= 1 + 0.2 * np.sin(np.outer(charges, charges))
    along = bonds / np.where(near, distances, 1.0)[..., None]
    hopping = strength[..., None, None] * (2.1 * along[..., :, None] * along[..., None, :] - 0.5 * np.eye(3))
    hopping[len(vectors) // 2, range(count), range(count)] = np.sin(charges)[:, None, None] * np.eye(3)
    lattice = hopping.transpose(0, 1, 3, 2, 4).reshape(len(vectors), n, n)
    common = np.tensordot(np.exp(2j * np.pi * kpoints[:, :2] @ vectors.T), lattice, axes=1)
    magnetic = np.array([symbol in film.magnets for symbol in film.symbols])
    splitting = np.diag(np.repeat(np.where(magnetic, SPLITTING, SPLITTING / 10) / 2, 3))
    centres = np.repeat(positions, 3, axis=0)
    position = np.zeros((len(kpoints), 3, n, n), dtype=complex)
    position[:, :, np.arange(n), np.arange(n)] = centres.T
    everywhere = np.broadcast_to(np.eye(n, dtype=complex), (2, len(kpoints), n, n))
    return WannierModel(
        cell=cell,
        periodic=np.array([True, True, False]),
        symbols=film.symbols,
        positions=positions,
        mesh=divisions,
        kpoints=kpoints,
        fermi_energy=0.3,
        electrons=0.8 * n,
        centres=np.stack([centres] * 2),
        # Up is the minority: the moment is against the spin.
        hamiltonian=np.stack([common + splitting, common - splitting]),
        position=np.stack([position] * 2),
        overlap=everywhere[0].copy(),
        projections=tuple(everywhere[:, :, 3 * atom : 3 * atom + 3, :].copy() for atom in range(count)),
        coupling=tuple(-0.5j * 4e-3 * charge * LEVI_CIVITA for charge in charges),
    )


def density_of_d(atoms, film: Film, direction=(0, 0, 1)) -> np.ndarray:
    """D_ij per area, (3, 2), meV/Angstrom."""
    # Even: half of it is nested in it.
    mesh = [2 * math.ceil(SAMPLED / 2 / length) for length in np.linalg.norm(np.array(atoms.cell)[:2], axis=1)]
    options = {"temperatures": [TEMPERATURE], "fermi_level": "dft", "quantities": ["D"], "directions": [direction]}
    return compute(p_model(atoms, film), mesh, **options)["D"].squeeze().values / film.area


def invariants(atoms, film: Film) -> dict[str, float]:
    """D per area for n along z, as numbers that a turn about z leaves as they are."""
    found = density_of_d(atoms, film)
    return {
        "antisymmetric": found[0, 1] - found[1, 0],
        "trace": found[0, 0] + found[1, 1],
        "rest": float(np.hypot(found[0, 0] - found[1, 1], found[0, 1] + found[1, 0])),
        "normal": float(np.hypot(*found[2, :2])),
    }
