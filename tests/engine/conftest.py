"""Small exact models for the engine's tests: random tight-binding films of which everything is known in real space."""

import collections
import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from aiida_dmi.engine import WannierModel, compute

DATA = Path(__file__).parents[1] / "data"


@dataclasses.dataclass(frozen=True)
class TightBinding:
    """A magnetic film in real space: n real functions, the same for both spins.

    Every X(R) is real with X_ij(R) = X_ji(-R), as physics.md asks of the identity D(1) = a(I) + a(II).

    cell (3, 3); centres (n, 3); vectors (R, 3) int; hopping (R, n, n): Hbar of both spins; exchange (n,): +- it is
    added for spin up and down, on site; position (R, 3, n, n): centres on the diagonal at R = 0;
    projections, coupling: one entry an atom, (p, n) real and (3, p, p) imaginary antisymmetric.
    """

    cell: np.ndarray
    centres: np.ndarray
    vectors: np.ndarray
    hopping: np.ndarray
    exchange: np.ndarray
    position: np.ndarray
    projections: tuple
    coupling: tuple
    fermi_energy: float = 0.0

    @property
    def functions(self):
        return len(self.centres)

    @property
    def spin_orbit(self):
        """W_alpha with V = sum_alpha sigma_alpha (x) W_alpha: on site, the same for every cell and spin."""
        return sum(p.T @ h @ p for p, h in zip(self.projections, self.coupling, strict=True))

    def bloch(self, lattice, kpoints):
        """sum_R exp(ikR) X(R): (R, ..., n, n) -> (k, ..., n, n)."""
        return np.tensordot(np.exp(2j * np.pi * kpoints @ self.vectors.T), lattice, axes=1)

    def model(self, mesh=(5, 5, 1), **changes):
        """The WannierModel with these operators on an ab-initio mesh."""
        kpoints = np.stack(np.indices(mesh), axis=-1).reshape(-1, 3) / np.array(mesh)
        common = self.bloch(self.hopping, kpoints)
        splitting = np.diag(self.exchange)
        position = self.bloch(self.position, kpoints)
        arguments = {
            "cell": self.cell,
            "periodic": np.array([True, True, False]),
            "symbols": ("Co", "Pt")[: len(self.coupling)],
            "positions": self.centres[: len(self.coupling)].copy(),
            "mesh": tuple(mesh),
            "kpoints": kpoints,
            "fermi_energy": self.fermi_energy,
            "electrons": 0.9 * self.functions,
            "centres": np.stack([self.centres] * 2),
            "hamiltonian": np.stack([common + splitting, common - splitting]),
            "position": np.stack([position] * 2),
            "overlap": np.broadcast_to(np.eye(self.functions, dtype=complex), common.shape).copy(),
            "projections": tuple(
                np.broadcast_to(p.astype(complex), (2, len(kpoints), *p.shape)).copy() for p in self.projections
            ),
            "coupling": self.coupling,
        }
        return WannierModel(**(arguments | changes))

    def inverted(self):
        """The film seen through r -> -r: R -> -R, r -> -r; spin and angular momentum are axial and stay."""
        return dataclasses.replace(
            self,
            centres=-self.centres,
            vectors=-self.vectors,
            position=-self.position,
        )

    def rotated(self, angle):
        """The film and its spin-orbit interaction turned about z; returns it and the rotation matrix."""
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        film = dataclasses.replace(
            self,
            cell=self.cell @ turn.T,
            centres=self.centres @ turn.T,
            position=np.einsum("ab,rbij->raij", turn, self.position),
            coupling=tuple(np.einsum("ab,bpq->apq", turn, h) for h in self.coupling),
        )
        return film, turn


def random_film(seed, functions=4, exchange=0.5, spin_orbit=0.3, on_centres=False):
    """A random film of two atoms without any symmetry.

    With `on_centres` the position matrices are diagonal: a spin texture is then a function of the centres alone.
    Hoppings reach the nearest cells, which stays inside the Wigner-Seitz cell of a 5x5 mesh.
    """
    random = np.random.default_rng(seed)
    cell = np.array([[2.6, 0.0, 0.0], [0.4, 2.9, 0.0], [0.0, 0.0, 14.0]])
    atoms = np.array([[0.1, -0.2, 0.3], [1.0, 0.9, 2.1]])
    owner = np.arange(functions) * 2 // functions
    centres = atoms[owner] + random.uniform(-0.15, 0.15, (functions, 3))
    vectors = np.array([(x, y, 0) for x, y in itertools.product((-1, 0, 1), repeat=2)])
    opposite = np.arange(len(vectors))[::-1]
    home = len(vectors) // 2

    def symmetric(*shape):
        lattice = random.normal(size=(len(vectors), *shape, functions, functions))
        lattice = (lattice + lattice[opposite].swapaxes(-1, -2)) / 2
        distance = np.linalg.norm(
            (vectors @ cell)[:, None, None] + centres[None, None] - centres[None, :, None], axis=-1
        )
        decay = np.exp(-distance / 1.5)
        return lattice * decay.reshape(len(vectors), *(1,) * len(shape), functions, functions)

    hopping = symmetric()
    position = np.zeros((len(vectors), 3, functions, functions)) if on_centres else 0.3 * symmetric(3)
    diagonal = np.arange(functions)
    position[home][:, diagonal, diagonal] = centres.T
    projections, coupling = [], []
    for atom in range(2):
        own = np.where(owner == atom, 1.0, 0.0 if on_centres else 0.2)
        projections.append(random.normal(size=(3, functions)) * own)
        antisymmetric = random.normal(size=(3, 3, 3))
        coupling.append(spin_orbit * 1j * (antisymmetric - antisymmetric.swapaxes(-1, -2)) / 2)
    return TightBinding(
        cell=cell,
        centres=centres,
        vectors=vectors,
        hopping=hopping,
        exchange=exchange * random.uniform(0.6, 1.4, functions) * np.where(owner == 0, 1.0, 0.3),
        position=position,
        projections=tuple(projections),
        coupling=tuple(coupling),
        fermi_energy=0.1,
    )


@pytest.fixture(scope="session")
def film():
    """Factory of random TightBinding films: film(seed, functions=4, exchange=0.5, spin_orbit=0.3, on_centres=False)."""
    return random_film


@pytest.fixture
def small_model():
    """A fresh WannierModel of two functions, for what does not depend on size."""
    return random_film(1, functions=2).model((3, 3, 1))


@pytest.fixture
def diagonalised(monkeypatch):
    """diagonalised(model, mesh, **axes): how many matrices of each size numpy diagonalises in `compute`.

    The work that a computation is, on any machine.
    """

    def count(model, mesh, **axes):
        sizes = collections.Counter()

        def counting(function):
            def counted(matrices, *arguments, **options):
                sizes[matrices.shape[-1]] += math.prod(matrices.shape[:-2])
                return function(matrices, *arguments, **options)

            return counted

        with monkeypatch.context() as patch:
            for name in ("eigh", "eigvalsh"):
                patch.setattr(np.linalg, name, counting(getattr(np.linalg, name)))
            compute(model, mesh, **axes)
        return sizes

    return count


@pytest.fixture(scope="session")
def data():
    """Folder of the reference files."""
    return DATA


@pytest.fixture(scope="session")
def copt11(data):
    """One Co on one Pt(111) layer, from Quantum ESPRESSO and Wannier90."""
    return WannierModel.load(data / "copt11.h5")
