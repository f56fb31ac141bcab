"""What benchmarks share: the real model, random ones of any size, and a peer's interpreter and _tb.dat."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aiida_dmi.engine import WannierModel
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.model.spin_frame import in_spin_frame, spin_frame
from aiida_dmi.engine.states.spinors import spinor

COPT = Path(__file__).resolve().parent.parent / "tests" / "data" / "copt11.h5"


def synthetic(functions: int, mesh: int = 6) -> WannierModel:
    """A film of the size of a real one: `functions` a spin, 13 atoms at most."""
    atoms = max(1, functions // 9)
    return random_model(
        functions,
        cell=np.array([[2.8, 0, 0], [1.4, 2.42, 0], [0, 0, 40.0]]),
        positions=np.column_stack([np.zeros((atoms, 2)), 5 + 2.0 * np.arange(atoms)]),
        vectors=[(0, 0, 0), (1, 0, 0), (0, 1, 0), (-1, 1, 0)],
        mesh=(mesh, mesh, 1),
    )


def stacked(film: WannierModel, copies: int, height: float = 6.0, offset: float = 0.15) -> WannierModel:
    """A film several times in one cell, `height` Angstrom apart, not coupled: as many functions as one so much thicker.

    Levels of the copies are `offset` eV apart: bands that are the same would be degenerate everywhere.
    """

    def blocks(operator: np.ndarray, shifts: Sequence[float] | None = None) -> np.ndarray:
        *outer, n, _ = operator.shape
        result = np.zeros((*outer, copies * n, copies * n), dtype=complex)
        for copy in range(copies):
            own = slice(copy * n, (copy + 1) * n)
            result[..., own, own] = operator + (0 if shifts is None else shifts[copy] * np.eye(n))
        return result

    numbers = np.arange(copies)
    up = np.array([0.0, 0.0, height])
    position = blocks(film.position)
    position[:, :, 2] += np.diag(np.repeat(height * numbers, film.functions))
    projections = []
    for copy in range(copies):
        for own in film.projections:
            wide = np.zeros((*own.shape[:-1], copies * film.functions), dtype=complex)
            wide[..., copy * film.functions : (copy + 1) * film.functions] = own
            projections.append(wide)
    cell = film.cell + np.outer([0, 0, 1], (copies - 1) * up)
    return dataclasses.replace(
        film, cell=cell, symbols=film.symbols * copies,
        positions=np.concatenate([film.positions + copy * up for copy in numbers]),
        electrons=film.electrons * copies,
        centres=np.concatenate([film.centres + copy * up for copy in numbers], axis=1),
        hamiltonian=blocks(film.hamiltonian, offset * (numbers - numbers.mean())), position=position,
        overlap=blocks(film.overlap), projections=tuple(projections), coupling=film.coupling * copies,
        moments=None if film.moments is None else np.tile(film.moments, copies), gradients=None,
        attributes={key: value for key, value in film.attributes.items() if key != "orbitals"},
    )  # fmt: skip


def crystal(functions: int = 4, mesh: int = 4) -> WannierModel:
    """A bulk magnet of two atoms without any symmetry: every component of every tensor is there."""
    return random_model(
        functions,
        cell=np.array([[2.9, 0, 0], [0.4, 3.1, 0], [-0.3, 0.5, 3.4]]),
        positions=np.array([[0.1, 0.0, 0.2], [1.4, 1.2, 1.9]]),
        vectors=[(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, -1), (-1, 1, 1)],
        mesh=(mesh, mesh, mesh),
    )


def random_model(
    functions: int, cell: np.ndarray, positions: np.ndarray, vectors: Sequence[tuple[int, int, int]], mesh: tuple,
    seed: int | None = None,
) -> WannierModel:  # fmt: skip
    """Random operators between the cells that the lattice vectors connect; periodic where the mesh has points."""
    rng = np.random.default_rng(functions if seed is None else seed)
    atoms = len(positions)
    kpoints = np.stack(np.indices(mesh), axis=-1).reshape(-1, 3) / np.array(mesh)
    phases = np.exp(2j * np.pi * kpoints @ np.array(vectors).T)

    def operator(scale, diagonal=None):
        blocks = rng.normal(scale=scale, size=(len(vectors), functions, functions))
        value = np.einsum("qr,rij->qij", phases, blocks)
        value = (value + value.conj().swapaxes(-1, -2)) / 2
        if diagonal is not None:
            value[:, np.arange(functions), np.arange(functions)] += diagonal
        return value

    centres = np.repeat(positions, -(-functions // atoms), axis=0)[:functions]
    energies = rng.uniform(-6, 8, functions)
    base = operator(0.6 / np.sqrt(functions), energies)
    split = operator(0.05 / np.sqrt(functions), rng.uniform(0.2, 1.0, functions))
    position = np.stack([operator(0.1 / np.sqrt(functions), centres[:, j]) for j in range(3)], axis=1)
    l_matrix = np.zeros((3, 3, 3), dtype=complex)
    for a, (b, c) in enumerate([(1, 2), (2, 0), (0, 1)]):
        l_matrix[a, b, c], l_matrix[a, c, b] = -1j, 1j
    blocks = rng.normal(scale=0.2, size=(len(vectors), 3, functions))
    projections = np.stack([np.einsum("qr,rpi->qpi", phases, blocks)] * 2)
    return WannierModel(
        cell=cell, periodic=np.array(mesh) > 1, symbols=("Pt",) * atoms, positions=positions,
        mesh=mesh, kpoints=kpoints, fermi_energy=0.0, electrons=float(functions),
        centres=np.stack([centres, centres]), hamiltonian=np.stack([base, base + split]),
        position=np.stack([position, position]), overlap=np.broadcast_to(np.eye(functions), base.shape).astype(complex),
        projections=(projections,) * atoms, coupling=(0.3 * l_matrix,) * atoms,
    )  # fmt: skip


def hamiltonians(model: WannierModel, kpoints: np.ndarray) -> np.ndarray:
    """H at xi = 1, n along z: the very matrices that compute diagonalises."""
    bands = Interpolation(model)
    columns = bands.spin_orbit_columns((0, 0, 1), [1.0] * model.atoms)
    result = []
    for start in range(0, len(kpoints), 64):
        points = kpoints[start : start + 64]
        operators = bands.operators(points)
        result.append(spinor(operators.hamiltonian, bands.spin_orbit(columns, points, operators).interaction, 1.0))
    return np.concatenate(result)


def write_tb(model: WannierModel, path: Path, direction: Sequence[float] = (0, 0, 1)) -> None:
    """H at xi = 1 and the position matrices on R as a Wannier90 _tb.dat of spinors, up functions first."""
    bands, n = Interpolation(model), model.functions

    def on_lattice(operator: np.ndarray) -> np.ndarray:
        up, down = slice(None, n), slice(n, None)
        rows = [[bands.on_lattice(operator[..., s, t]) for t in (up, down)] for s in (up, down)]
        return np.block(rows)

    position = np.zeros((3, len(model.kpoints), 2 * n, 2 * n), dtype=complex)
    position[..., :n, :n], position[..., n:, n:] = np.moveaxis(model.position, 2, 1)
    # From the model's own k points, not through the interpolation: those are written with ten digits.
    spin_orbit = in_spin_frame(model.spin_orbit([1.0] * model.atoms), spin_frame(direction))
    hamiltonian, position = on_lattice(spinor(model.hamiltonian, spin_orbit, 1.0)), on_lattice(position)
    vectors, size = bands.vectors, 2 * n
    lines = ["aiida-dmi benchmark", *(" ".join(f"{x:.12f}" for x in row) for row in model.cell)]
    lines += [str(size), str(len(vectors))]
    degeneracy = ["1"] * len(vectors)
    lines += [" ".join(degeneracy[i : i + 15]) for i in range(0, len(vectors), 15)]
    for index, vector in enumerate(vectors):
        lines += ["", " ".join(map(str, vector))]
        lines += [
            f"{i + 1} {j + 1} {hamiltonian[index, i, j].real:.16e} {hamiltonian[index, i, j].imag:.16e}"
            for j in range(size)
            for i in range(size)
        ]
    for index, vector in enumerate(vectors):
        lines += ["", " ".join(map(str, vector))]
        for j in range(size):
            for i in range(size):
                values = position[:, index, i, j]
                lines.append(f"{i + 1} {j + 1} " + " ".join(f"{v.real:.16e} {v.imag:.16e}" for v in values))
    path.write_text("\n".join(lines) + "\n")


def interpreter(text: str) -> str:
    """The peer's Python, which runs in another folder: its whole path."""
    found = shutil.which(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text} was given, expected a Python interpreter")
    return str(Path(found).absolute())
