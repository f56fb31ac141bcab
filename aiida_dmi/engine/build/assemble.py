"""`dmi-engine build`: one WannierModel from pw.x's save folder, two wannier90.x runs and the pseudopotentials."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import __version__
from ..arguments import check_keys, label, limited, named, number, numbers, refusal
from ..constants import BOHR_ANGSTROM, BOLTZMANN_EV
from ..errors import InputError
from ..files.regular import path_of
from ..kspace.images import nearest_distances, nearest_images
from ..model.file import SPINS
from ..model.wannier import COMPUTED, WannierModel
from ..processes.progress import Progress, SilentProgress
from ..states.divided_differences import fermi
from .completed import completed, operations_of, symmetry_residual, used_operations
from .given import LARGEST
from .irreducible import SpaceOperation
from .orbitals import projected_shells
from .projectors import Projectors
from .pseudopotential import Pseudopotential
from .quantum_espresso import SCHEMA, SaveFolder, in_angstrom
from .time_reversal import imposed
from .wannier90 import Channel, Gradient, position_matrices
from .wannier90_files import SUFFIXES

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

ENERGY_TOLERANCE = 1e-4
"""Largest difference (eV) between .eig and the nscf's energies: larger means another run or the other spin."""
POPULATION_TEMPERATURE = 1500.0
"""Kelvin at which Wannier functions are populated for the atoms' moments."""


@dataclasses.dataclass(frozen=True)
class BuildSpec:
    """What a model is built from.

    Parameters
    ----------
    nscf : Path
        pw.x's `.save` folder, collinear, run with nosym and noinv: on the complete mesh, on one of each pair k and -k,
        or on the irreducible points of `operations`.
    wannier_up, wannier_down : Path
        Seeds: folder/name without suffix.
    pseudopotentials : dict
        Species name to the path of its fully relativistic UPF file.
    fermi_energy : float, optional
        eV, the scf's; the nscf's own where it is not given.
    moments : tuple of float, optional
        mu_B along n, one an atom; default from the populations of the Wannier functions.
    operations : tuple of SpaceOperation
        Of the film, by which points that the nscf lacks are made: those that the overlaps were made with.
    """

    nscf: Path
    wannier_up: Path
    wannier_down: Path
    pseudopotentials: dict[str, Path]
    fermi_energy: float | None = None
    moments: tuple[float, ...] | None = None
    operations: tuple[SpaceOperation, ...] = ()

    @classmethod
    def from_mapping(cls, spec: Mapping[str, Any], folder: Path) -> BuildSpec:
        """From a SPEC.yaml's content; relative paths are taken from `folder`.

        Raises
        ------
        InputError
            Naming the key that is missing, unknown or of the wrong kind.
        """
        keys = [field.name for field in dataclasses.fields(cls)]
        check_keys(spec, [*keys, "output"], ("nscf", "wannier_up", "wannier_down", "pseudopotentials"), "build")
        files = spec["pseudopotentials"]
        if not isinstance(files, Mapping) or not files:
            raise refusal("pseudopotentials", files, "species names with UPF paths")
        fermi_energy, moments = spec.get("fermi_energy"), spec.get("moments")
        if fermi_energy is not None:
            fermi_energy = number("fermi_energy", fermi_energy, "a number in eV", least=-LARGEST, most=LARGEST)
        if moments is not None:
            moments = numbers("moments", moments, "one number (mu_B) an atom")
            moments = tuple(limited("moments", moment, LARGEST, " mu_B") for moment in moments)
        return cls(
            nscf=path_of("nscf", folder, spec["nscf"]),
            wannier_up=path_of("wannier_up", folder, spec["wannier_up"]),
            wannier_down=path_of("wannier_down", folder, spec["wannier_down"]),
            pseudopotentials={
                label("pseudopotentials", name): path_of(f"pseudopotentials: {named(name)}", folder, path)
                for name, path in files.items()
            },
            fermi_energy=fermi_energy,
            moments=moments,
            operations=operations_of(spec.get("operations")),
        )

    def input_files(self) -> list[Path]:
        """The files that are read, as far as their names are known: none of them may become the output."""
        seeds = (self.wannier_up, self.wannier_down)
        channels = [Path(f"{seed}{suffix}") for seed in seeds for suffix in SUFFIXES]
        return [*self.pseudopotentials.values(), *channels, self.nscf / SCHEMA, *self.nscf.glob("wfc*")]


def build(spec: BuildSpec, progress: bool = False) -> WannierModel:
    """Assemble and check a WannierModel.

    Every file and every k point is checked before any work.

    Parameters
    ----------
    spec : BuildSpec
    progress : bool
        Print progress to standard error.

    Raises
    ------
    InputError
        If a file is missing, truncated or does not belong to the others; if time reversal or the
        correspondence of the two spins' functions is broken.
    """
    stored = SaveFolder.read(spec.nscf)
    stored.check_wave_functions()
    if spec.moments is not None and len(spec.moments) != len(stored.species):
        raise InputError(
            f"moments: {len(spec.moments)} were given, expected {len(stored.species)}, one for each of the atoms "
            f"{', '.join(stored.species)}"
        )
    pseudos = {name: _pseudopotential(spec, name) for name in dict.fromkeys(stored.species)}
    channels = (Channel.read(spec.wannier_up), Channel.read(spec.wannier_down))
    save = completed(stored, channels[0].kpoints, "wannier_up", spec.operations)
    mesh = _mesh(save.kpoints)
    for spin, channel in enumerate(channels):
        _check_channel(channel, save, spin)
    if channels[0].gauge.shape[-1] != channels[1].gauge.shape[-1]:
        raise InputError("wannier_down: another number of Wannier functions than wannier_up; use the same projections")

    made = _made_by(save, len(stored.kpoints))
    cell = in_angstrom(save.cell)
    gradients = [Gradient.of(channel, cell) for channel in channels]
    centres = np.stack([gradient.centres for gradient in gradients])
    images, share = nearest_images(cell, mesh, centres.mean(axis=0))
    position = np.stack([position_matrices(g, save.kpoints, cell, images, share) for g in gradients])
    overlap, projections, differentiated = _from_wave_functions(save, channels, pseudos, progress)
    hamiltonian = np.stack([channel.hamiltonian() for channel in channels])
    fermi_energy = save.fermi_energy if spec.fermi_energy is None else spec.fermi_energy
    positions = in_angstrom(save.positions)
    moments = _population_moments(hamiltonian, fermi_energy, centres.mean(axis=0), positions, cell)
    model = WannierModel(
        cell=cell,
        periodic=np.array([True, True, mesh[2] > 1]),
        symbols=tuple(pseudos[name].element for name in save.species),
        positions=positions,
        mesh=mesh,
        kpoints=save.kpoints,
        fermi_energy=fermi_energy,
        electrons=_electrons(save, channels),
        centres=centres,
        hamiltonian=hamiltonian,
        position=position,
        overlap=overlap,
        projections=projections,
        coupling=tuple(pseudos[name].spin_orbit()[1] for name in save.species),
        moments=moments if spec.moments is None else np.asarray(spec.moments),
        attributes=_provenance(spec, channels) | _orbitals(spec, save, channels) | made,
        gradients=differentiated,
    )
    return imposed(model)


def _pseudopotential(spec: BuildSpec, species: str) -> Pseudopotential:
    if species not in spec.pseudopotentials:
        raise InputError(f"pseudopotentials: none for species {species}; give its fully relativistic UPF file")
    path = spec.pseudopotentials[species]
    pseudo = Pseudopotential.read(path)
    pseudo.require_fully_relativistic(str(path))
    return pseudo


def _mesh(kpoints: Floats) -> tuple[int, int, int]:
    """Divisions of the complete Gamma-centred mesh that the k points fill."""
    divisions = [len(np.unique(np.round(kpoints[:, axis] % 1.0, 5) % 1.0)) for axis in range(3)]
    if np.prod(divisions) != len(kpoints):
        raise InputError(
            f"nscf: its {len(kpoints)} k points are no complete mesh ({'x'.join(map(str, divisions))} distinct "
            "coordinates); give pw.x the full list with nosym and noinv"
        )
    return divisions[0], divisions[1], divisions[2]


def _check_channel(channel: Channel, save: SaveFolder, spin: int) -> None:
    name = f"wannier_{SPINS[spin]}"
    if len(channel.kpoints) != len(save.kpoints):
        raise InputError(f"{name}: {len(channel.kpoints)} k points, the nscf has {len(save.kpoints)}")
    if not np.abs(channel.kpoints - save.kpoints).max() <= 1e-5:
        raise InputError(f"{name}: its k points are not the nscf's in the same order; use one list for both")
    if channel.kept.max() >= save.energies.shape[-1]:
        raise InputError(f"{name}: keeps band {channel.kept.max() + 1}, the nscf has {save.energies.shape[-1]}")
    error = float(np.abs(channel.energies - save.energies[spin][:, channel.kept]).max())
    if not error <= ENERGY_TOLERANCE:
        raise InputError(
            f"{name}: its .eig differs from the nscf's spin-{SPINS[spin]} energies by {error:.1e} eV; "
            "it belongs to another run, to the other spin, or exclude_bands differs"
        )


def _electrons(save: SaveFolder, channels: tuple[Channel, Channel]) -> float:
    """Valence electrons minus those in the excluded bands that lie below the Fermi energy throughout."""
    excluded = 0
    for energies, channel in zip(save.energies, channels, strict=True):
        out = np.setdiff1d(np.arange(energies.shape[-1]), channel.kept)
        below = (energies[:, out] < save.fermi_energy).all(axis=0)
        if (~below & (energies[:, out] < save.fermi_energy).any(axis=0)).any():
            raise InputError("exclude_bands: an excluded band crosses the Fermi energy; exclude closed shells only")
        excluded += int(below.sum())
    return save.electrons - excluded


def _from_wave_functions(
    save: SaveFolder, channels: tuple[Channel, Channel], pseudos: dict[str, Pseudopotential], progress: bool
) -> tuple[Complexes, tuple[Complexes, ...], tuple[Complexes, ...]]:
    """Integrals over the Wannier functions' plane waves.

    Returns
    -------
    overlap : ndarray, shape (q, n, n)
        <W up|W down>(q).
    projections : tuple of ndarray, shape (2, q, p, n)
        <beta|W>(q), one array an atom.
    gradients : tuple of ndarray, shape (2, q, 3, p, n)
        <d_j beta|W>(q), Angstrom.
    """
    points, functions = len(save.kpoints), channels[0].gauge.shape[-1]
    volume = float(abs(np.linalg.det(save.cell)))
    largest = max(np.linalg.norm(save.wave_functions(0, k).vectors, axis=1).max() for k in (0, points - 1)) * 1.1
    projectors = {name: Projectors(pseudo, volume, largest) for name, pseudo in pseudos.items()}
    sizes = [projectors[name].coupling.shape[-1] for name in save.species]
    overlap = np.zeros((points, functions, functions), dtype=complex)
    projections = tuple(np.zeros((2, points, size, functions), dtype=complex) for size in sizes)
    gradients = tuple(np.zeros((2, points, 3, size, functions), dtype=complex) for size in sizes)
    report = (Progress if progress else SilentProgress)(points, "wave functions")
    for k in range(points):
        waves = [save.wave_functions(spin, k) for spin in range(2)]
        if not np.array_equal(waves[0].miller, waves[1].miller):
            raise InputError(f"nscf: the plane waves of the two spins differ at k point {k + 1}; run the nscf again")
        wannier = [c.gauge[k].T @ w.coefficients[c.kept] for w, c in zip(waves, channels, strict=True)]
        overlap[k] = wannier[0].conj() @ wannier[1].T
        both = dataclasses.replace(waves[0], coefficients=np.concatenate(wannier))
        for atom, name in enumerate(save.species):
            beta = projectors[name].overlaps(both, save.positions[atom])
            projections[atom][:, k] = _by_spin(beta)
            differentiated = projectors[name].gradients(both, save.positions[atom])
            gradients[atom][:, k] = _by_spin(differentiated) * BOHR_ANGSTROM
        report.advance(1)
    return overlap, projections, gradients


def _by_spin(values: Complexes) -> Complexes:
    """(..., up and down functions) -> (2, ..., functions)."""
    return np.stack(np.split(values, 2, axis=-1))


def _population_moments(
    hamiltonian: Complexes, fermi_energy: float, centres: Floats, positions: Floats, cell: Floats
) -> Floats:
    """Moment of every atom (mu_B): populations of its Wannier functions, up minus down, on the ab-initio mesh.

    A function belongs to the atom nearest to its centre. The Fermi function is broadened as a mesh this coarse
    needs it; symmetry analysis only asks which atoms have equal or opposite moments.
    """
    energies, states = np.linalg.eigh(hamiltonian)
    occupations = fermi(energies, fermi_energy, BOLTZMANN_EV * POPULATION_TEMPERATURE)
    populations = np.einsum("sqim,sqm->si", np.abs(states) ** 2, occupations) / hamiltonian.shape[1]
    distance = nearest_distances(centres[:, None, :] - positions[None, :, :], cell)
    moments = np.zeros(len(positions))
    np.add.at(moments, distance.argmin(axis=1), populations[0] - populations[1])
    return moments


def _orbitals(spec: BuildSpec, save: SaveFolder, channels: tuple[Channel, Channel]) -> dict[str, str]:
    """Attribute `orbitals`: [[atom, l], ...] in the order of the Wannier functions, where the .win files tell."""
    seeds = (spec.wannier_up, spec.wannier_down)
    found = [projected_shells(Path(f"{seed}.win").read_text(errors="replace"), save.species) for seed in seeds]
    functions = channels[0].gauge.shape[-1]
    if found[0] is None or found[0] != found[1] or sum(2 * ell + 1 for _, ell in found[0]) != functions:
        return {}
    return {"orbitals": json.dumps(found[0])}


def _made_by(save: SaveFolder, computed: int) -> dict[str, Any]:
    """Attributes that say which k points were computed, and by which operations the others were made."""
    operations = used_operations(save)
    attributes: dict[str, Any] = {COMPUTED: computed}
    if operations:
        attributes["nscf_operations"] = json.dumps([operation.record() for operation in operations])
        attributes["nscf_symmetry_residual"] = max(symmetry_residual(save, spin) for spin in range(2))
    return attributes


def _provenance(spec: BuildSpec, channels: tuple[Channel, Channel]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "built_by": f"aiida-dmi {__version__}",
        "engine_version": __version__,
        "fermi_energy_source": "nscf" if spec.fermi_energy is None else "scf",
        "excluded_bands": int(channels[0].kept.min()),
        "spreads_up_angstrom2": channels[0].spreads,
        "spreads_down_angstrom2": channels[1].spreads,
    }
    for name, path in spec.pseudopotentials.items():
        attributes[f"sha256_{name}"] = hashlib.sha256(path.read_bytes()).hexdigest()
    return attributes
