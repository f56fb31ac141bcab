"""WannierModel: one collinear magnet in the Wannier functions of its two spin channels (model-format 1)."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ..arguments import number
from ..errors import InputError
from ..files.atomic import whole_file
from ..files.regular import check_regular
from .file import read_arguments, write_model

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

HERMITICITY = 1e-6
"""Largest |X - X^+| accepted: eV for the Hamiltonian and the coupling, Angstrom for the position matrices."""
NOISE = "time_reversal_noise"
COMPUTED = "nscf_kpoints"
"""Attribute: k points of the mesh that the nscf computed; the others follow by symmetry."""
TIME_REVERSAL_WARNING = 1e-3
TIME_REVERSAL_LIMIT = 0.1
CORRESPONDENCE_WARNING = 0.05
CORRESPONDENCE_LIMIT = 0.5
"""Largest |diag <up|down>(R = 0) - 1|: beyond it, function i of one spin is not function i of the other."""


@dataclasses.dataclass(frozen=True)
class WannierModel:
    """Operators of one collinear magnet on its ab-initio k mesh.

    n = Wannier functions per spin, q = points of the ab-initio mesh, p_a = projectors of atom a.
    Leading axes of length 2 are spin: up, down.

    Parameters
    ----------
    cell : ndarray, shape (3, 3)
        Lattice vectors as rows, Angstrom.
    periodic : ndarray of bool, shape (3,)
        Periodic directions: two for a film, three for a bulk magnet.
    symbols : tuple of str
        Chemical symbols.
    positions : ndarray, shape (atoms, 3)
        Cartesian, Angstrom.
    mesh : tuple of int, length 3
        Ab-initio mesh, Gamma-centred and complete.
    kpoints : ndarray, shape (q, 3)
        In units of the reciprocal lattice vectors.
    fermi_energy : float
        Of the scf run, eV.
    electrons : float
        Electrons per cell in the Wannier manifold.
    centres : ndarray, shape (2, n, 3)
        Wannier centres, Angstrom.
    hamiltonian : ndarray, shape (2, q, n, n), complex
        Hbar(q), without spin-orbit interaction, eV.
    position : ndarray, shape (2, q, 3, n, n), complex
        A(q) = sum_R exp(iqR) <0i|r|Rj>, Angstrom.
    overlap : ndarray, shape (q, n, n), complex
        <W_i up|W_j down>(q).
    projections : tuple of ndarray, shape (2, q, p_a, n), complex
        P_a(q) = <beta_a|W>(q), one array an atom.
    coupling : tuple of ndarray, shape (3, p_a, p_a), complex
        h_a,alpha for alpha = x, y, z of the lattice frame, eV.
    moments : ndarray, shape (atoms,), optional
        mu_B along n.
    attributes : dict
        Provenance that travels with the file: code versions, pseudopotential hashes, windows, spreads.
    gradients : tuple of ndarray, shape (2, q, 3, p_a, n), complex, optional
        <d_j beta_a|W>(q), one array an atom: the projectors differentiated in k, the phase of the atom's position
        kept; Angstrom. None where the file does not carry them.
    """

    cell: Floats
    periodic: npt.NDArray[np.bool_]
    symbols: tuple[str, ...]
    positions: Floats
    mesh: tuple[int, int, int]
    kpoints: Floats
    fermi_energy: float
    electrons: float
    centres: Floats
    hamiltonian: Complexes
    position: Complexes
    overlap: Complexes
    projections: tuple[Complexes, ...]
    coupling: tuple[Complexes, ...]
    moments: Floats | None = None
    attributes: dict[str, Any] = dataclasses.field(default_factory=dict)
    gradients: tuple[Complexes, ...] | None = None

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_directions()
        self._check_values()
        self._check_mesh()
        self._check_symmetries()

    @property
    def functions(self) -> int:
        """Number n of Wannier functions per spin."""
        return int(self.hamiltonian.shape[-1])

    @property
    def atoms(self) -> int:
        """Number of atoms, the length of a spin-orbit mask."""
        return len(self.symbols)

    @property
    def dimension(self) -> int:
        """Number of periodic directions: 2 for a film, 3 for a bulk magnet."""
        return int(np.count_nonzero(self.periodic))

    @property
    def area(self) -> float:
        """Area of the film's cell, Angstrom^2."""
        first, second = self.cell[self.periodic][:2]
        return float(np.linalg.norm(np.cross(first, second)))

    def spin_orbit(self, mask: npt.ArrayLike) -> Complexes:
        """W_alpha(q) = sum_a mask_a P_a,s(q)^+ h_a,alpha P_a,s'(q), so that V = sum_alpha sigma_alpha W_alpha.

        Parameters
        ----------
        mask : array_like, shape (atoms,)
            Weight of each atom's spin-orbit interaction (0 off, 1 on).

        Returns
        -------
        ndarray, shape (3, 3, q, n, n), complex
            Axes: spin block (up-up, up-down, down-down), alpha = x, y, z of the lattice frame; eV.

        Raises
        ------
        InputError
            If the mask does not have one finite weight an atom.
        """
        weights = self._weights(mask)
        n, q = self.functions, len(self.kpoints)
        result = np.zeros((3, 3, q, n, n), dtype=complex)
        for weight, projection, coupling in zip(weights, self.projections, self.coupling, strict=True):
            if weight == 0.0 or coupling.shape[-1] == 0:
                continue
            for block, (left, right) in enumerate(((0, 0), (0, 1), (1, 1))):
                bra = projection[left].conj().swapaxes(-1, -2)
                result[block] += weight * np.matmul(bra[None], np.matmul(coupling[:, None], projection[right][None]))
        return result

    def spin_orbit_velocity(self, mask: npt.ArrayLike) -> Complexes | None:
        """dW_alpha/dk_j = sum_a mask_a (d_j P_a^+ h_a,alpha P_a + P_a^+ h_a,alpha d_j P_a), exact in plane waves.

        With it hbar v_j^SOI = sum_alpha sigma_alpha dW_alpha/dk_j without any position matrix (physics.md,
        `a_II_exact`): the matrix elements of i[V, r_j] between Wannier functions, where dV/dk_j - i [A_j, V]
        inserts the Wannier functions between V and r_j.

        Parameters
        ----------
        mask : array_like, shape (atoms,)
            As in `spin_orbit`.

        Returns
        -------
        ndarray, shape (3, 3, 3, q, n, n), complex, or None
            Axes: spin block (up-up, up-down, down-down), alpha, j = x, y, z of the lattice frame; eV*Angstrom.
            None for a model without `gradients`.

        Raises
        ------
        InputError
            If the mask does not have one finite weight an atom.
        """
        weights = self._weights(mask)
        if self.gradients is None:
            return None
        n, q = self.functions, len(self.kpoints)
        result = np.zeros((3, 3, 3, q, n, n), dtype=complex)
        atoms = zip(weights, self.projections, self.gradients, self.coupling, strict=True)
        for weight, projection, gradient, coupling in atoms:
            if weight == 0.0 or coupling.shape[-1] == 0:
                continue
            bras, gradient_bras = projection.conj().swapaxes(-1, -2), gradient.conj().swapaxes(-1, -2)
            for block, (left, right) in enumerate(((0, 0), (0, 1), (1, 1))):
                coupled = np.matmul(coupling[:, None], projection[right])  # (alpha, q, p, n)
                differentiated = np.matmul(coupling[:, None, None], gradient[right])  # (alpha, q, j, p, n)
                product = np.matmul(gradient_bras[left], coupled[:, :, None])
                product += np.matmul(bras[left][:, None], differentiated)
                result[block] += weight * np.moveaxis(product, 2, 1)
        return result

    def _weights(self, mask: npt.ArrayLike) -> Floats:
        weights = np.asarray(mask, dtype=float)
        if weights.shape != (self.atoms,) or not np.isfinite(weights).all():
            raise InputError(
                f"soi_masks: {np.asarray(mask).tolist()} was given, expected {self.atoms} finite weights, "
                f"one for each of the atoms {', '.join(self.symbols)}"
            )
        return weights

    @property
    def time_reversal_error(self) -> float:
        """Largest |X(-q) - X(q)*| of hamiltonian (eV), position (Angstrom) and overlap, as Wannier90 left it.

        `dmi-engine build` averages it away and keeps its size in the attribute `NOISE`.
        """
        return max(self.time_reversal_left, float(self.attributes.get(NOISE, 0.0)))

    @property
    def time_reversal_left(self) -> float:
        """As `time_reversal_error`, of the operators as they are."""
        return max(self._time_reversal().values())

    @property
    def opposite(self) -> npt.NDArray[np.intp]:
        """Place of -q on the ab-initio mesh for every q."""
        place = np.empty(len(self.kpoints), dtype=np.intp)
        place[self._mesh_index()] = np.arange(len(self.kpoints))
        return np.asarray(place[self._mesh_index(-1)])

    @property
    def correspondence_error(self) -> float:
        """Largest |diag <up|down>(R = 0) - 1|: 0 when the functions of both spins are the same."""
        return float(np.abs(np.einsum("qii->i", self.overlap) / len(self.kpoints) - 1).max())

    # -- checks ------------------------------------------------------------------------------------

    def _check_shapes(self) -> None:
        n, q, atoms = self.functions, len(self.kpoints), len(self.symbols)
        expected: dict[str, tuple[Any, tuple[int, ...]]] = {
            "cell": (self.cell, (3, 3)),
            "periodic": (self.periodic, (3,)),
            "positions": (self.positions, (atoms, 3)),
            "kpoints": (self.kpoints, (q, 3)),
            "centres": (self.centres, (2, n, 3)),
            "hamiltonian": (self.hamiltonian, (2, q, n, n)),
            "position": (self.position, (2, q, 3, n, n)),
            "overlap": (self.overlap, (q, n, n)),
        }
        if self.moments is not None:
            expected["moments"] = (self.moments, (atoms,))
        for name, (array, shape) in expected.items():
            if np.shape(array) != shape:
                raise InputError(f"model: {name} has shape {np.shape(array)}, expected {shape}")
        if len(self.projections) != atoms or len(self.coupling) != atoms:
            raise InputError(
                f"model: spin_orbit holds {len(self.projections)} atoms, expected one entry for each of {atoms}"
            )
        for atom, (projection, coupling) in enumerate(zip(self.projections, self.coupling, strict=True)):
            p = coupling.shape[-1] if coupling.ndim else 0
            if coupling.shape != (3, p, p):
                raise InputError(f"model: spin_orbit/{atom}/coupling has shape {coupling.shape}, expected (3, p, p)")
            if projection.shape != (2, q, p, n):
                raise InputError(
                    f"model: spin_orbit/{atom}/projections has shape {projection.shape}, expected {(2, q, p, n)}"
                )
        if self.gradients is not None and len(self.gradients) != atoms:
            raise InputError(
                f"model: spin_orbit holds gradients of {len(self.gradients)} atoms, expected {atoms} or none"
            )
        for atom, gradient in enumerate(self.gradients or ()):
            wanted = (2, q, 3, self.coupling[atom].shape[-1], n)
            if gradient.shape != wanted:
                raise InputError(f"model: spin_orbit/{atom}/gradients has shape {gradient.shape}, expected {wanted}")

    def _check_directions(self) -> None:
        if self.dimension < 2:
            raise InputError(f"model: periodic is {list(map(bool, self.periodic))}, expected two or three directions")
        if self.dimension == 2 and self.periodic[2]:
            raise InputError(
                f"model: periodic is {list(map(bool, self.periodic))}, for a film the third lattice vector must be the "
                "non-periodic one; reorder the lattice vectors"
            )
        if self.dimension == 2 and np.abs(self.cell[self.periodic][:, 2]).max() > 1e-6:
            raise InputError("model: the film's lattice vectors do not lie in the xy plane; its normal must be z")

    def _check_values(self) -> None:
        arrays: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("cell", "positions", "kpoints", "centres", "hamiltonian", "position", "overlap")
        }
        arrays |= {"fermi_energy": self.fermi_energy, "electrons": self.electrons}
        if self.moments is not None:
            arrays["moments"] = self.moments
        for atom in range(self.atoms):
            arrays[f"spin_orbit/{atom}/projections"] = self.projections[atom]
            arrays[f"spin_orbit/{atom}/coupling"] = self.coupling[atom]
            if self.gradients is not None:
                arrays[f"spin_orbit/{atom}/gradients"] = self.gradients[atom]
        for name, array in arrays.items():
            bad = np.count_nonzero(~np.isfinite(array))
            if bad:
                raise InputError(f"model: {name} holds {bad} values that are not finite; build the model again")
        number(f"model: attribute {NOISE}", self.attributes.get(NOISE, 0.0))
        if not 0 < self.electrons <= 2 * self.functions:
            raise InputError(
                f"model: electrons is {self.electrons:g}, expected between 0 and {2 * self.functions} "
                f"({self.functions} functions a spin)"
            )
        if abs(np.linalg.det(self.cell)) < 1e-6:
            raise InputError("model: cell has no volume")

    def _check_mesh(self) -> None:
        mesh = np.asarray(self.mesh)
        if mesh.shape != (3,) or (mesh < 1).any() or int(mesh.prod()) != len(self.kpoints):
            raise InputError(
                f"model: mesh {tuple(map(int, mesh))} needs {int(mesh.prod())} kpoints, found {len(self.kpoints)}"
            )
        # Far outside the cell doubles are all whole numbers, and then none that a mesh could count.
        scaled = np.clip(self.kpoints, -1e6, 1e6) * mesh
        on_points = np.abs(self.kpoints).max() < 1e6 and np.abs(scaled - np.rint(scaled)).max() <= 1e-4
        if not on_points or len(np.unique(self._mesh_index())) != len(self.kpoints):
            raise InputError(
                f"model: kpoints do not fill the Gamma-centred mesh {tuple(map(int, mesh))}; run the nscf with the "
                "complete, unshifted list"
            )

    def _mesh_index(self, sign: int = 1) -> npt.NDArray[np.intp]:
        """Flat index of every k point (or of its opposite, sign = -1) on the mesh."""
        integers = np.rint(sign * self.kpoints * self.mesh).astype(int) % self.mesh
        return np.asarray(np.ravel_multi_index(tuple(integers.T), self.mesh), dtype=np.intp)

    def _time_reversal(self) -> dict[str, float]:
        opposite = self.opposite
        return {
            "hamiltonian": float(np.abs(self.hamiltonian[:, opposite] - self.hamiltonian.conj()).max()),
            "position": float(np.abs(self.position[:, opposite] - self.position.conj()).max()),
            "overlap": float(np.abs(self.overlap[opposite] - self.overlap.conj()).max()),
        }

    def _check_symmetries(self) -> None:
        hermitian = {"hamiltonian": self.hamiltonian, "position": self.position}
        hermitian |= {f"spin_orbit/{atom}/coupling": coupling for atom, coupling in enumerate(self.coupling)}
        for name, array in hermitian.items():
            error = float(np.abs(array - array.conj().swapaxes(-1, -2)).max(initial=0.0))
            if error > HERMITICITY:
                raise InputError(
                    f"model: {name} is not Hermitian (off by {error:.1e}, at most {HERMITICITY:g} expected)"
                )
        for name, error in self._time_reversal().items():
            message = (
                f"model: {name} breaks time reversal of the collinear channels, |X(-q) - X(q)*| = {error:.1e}; "
                "use a projected subspace with a frozen window and dis_num_iter = 0"
            )
            if error > TIME_REVERSAL_LIMIT:
                raise InputError(message)
            if error > TIME_REVERSAL_WARNING:
                warnings.warn(message, stacklevel=4)
        error = self.correspondence_error
        message = (
            f"model: the Wannier functions of the two spins do not correspond, |<up|down> - 1| = {error:.2f}; "
            "the same projections and windows for both spins are needed"
        )
        if error > CORRESPONDENCE_LIMIT:
            raise InputError(message)
        if error > CORRESPONDENCE_WARNING:
            warnings.warn(message, stacklevel=4)

    # -- files -------------------------------------------------------------------------------------

    @classmethod
    def load(cls, path: str | Path) -> WannierModel:
        """Read and check a Wannier model file.

        Raises
        ------
        InputError
            If the file is missing, is not format 1, lacks a dataset, or fails a check of model-format.md.
        """
        try:
            check_regular(path)
            with h5py.File(path, "r") as file:
                return cls(**read_arguments(file))
        except (OSError, RuntimeError) as error:  # h5py says RuntimeError where a file is damaged inside
            raise InputError(f"model {path}: not a readable HDF5 file ({error})") from error
        except KeyError as error:
            raise InputError(f"model {path}: {str(error).strip(chr(34))}; build the model again") from error
        except InputError as error:
            raise InputError(str(error).replace("model:", f"model {path}:", 1)) from error
        except (TypeError, ValueError, IndexError, OverflowError) as error:
            raise InputError(f"model {path}: a dataset has the wrong type ({error})") from error

    def save(self, path: str | Path) -> None:
        """Write the model file; it appears under its name only when it is complete."""
        with whole_file(Path(path)) as temporary, h5py.File(temporary, "w") as file:
            write_model({field.name: getattr(self, field.name) for field in dataclasses.fields(self)}, file)
