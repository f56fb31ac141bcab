"""`dmi-engine complete`: D(1), a(I), a(II) exact in plane waves and of the model, on one mesh and at one mu."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..build.pseudopotential import Pseudopotential
from ..build.quantum_espresso import SaveFolder, in_angstrom
from ..constants import BOLTZMANN_EV
from ..errors import InputError
from ..files.checkpoint import Checkpoint, fingerprint, held
from ..integrate.chemical_potential import ChemicalPotentials, find_chemical_potentials
from ..integrate.kernel import Kernel
from ..integrate.settings import AUTOMATIC, SYMMETRISED, Settings
from ..integrate.sums import Sums
from ..kspace.aliases import Aliases
from ..kspace.mesh import Mesh
from ..model.wannier import WannierModel
from ..processes.heap import keep_heap
from ..processes.progress import Progress, SilentProgress
from ..processes.workers import Workers
from ..symmetry.symmetrise import symmetrised, symmetrised_if_possible
from .active import active_counts
from .file import Compared, dataset
from .kernel import NAMES, PlaneWaveKernel
from .points import MeshPoints, nested_mesh
from .potential import read_potentials
from .spec import CompletenessSpec

Floats = npt.NDArray[np.float64]

DIRECTIONS = ((0, 0, 1), (1, 0, 0))
"""Of n: the model's rows i = x, y are those of the first, z that of the second, each with n normal to i."""
MU_MESH = 48
"""Points a side, at least, of the mesh on which the model's neutral mu is found."""
SITE_TOLERANCE = 1e-4
"""Angstrom, between the model's and the nscf's atoms."""


def complete(
    spec: CompletenessSpec,
    *,
    communicator: Any = None,
    checkpoint: Path | None = None,
    save: Callable[[xr.Dataset], None] | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """What the Wannier functions of a model leave out of D(1), a(I) and a(II).

    Parameters
    ----------
    spec : CompletenessSpec
    communicator : mpi4py communicator, optional
        Share the k points among its ranks.
    checkpoint : Path, optional
        File to resume from, and to keep the sums of an unfinished run in; removed at the end.
    save : callable, optional
        Called with the result on the first rank, before the checkpoint is removed.
    progress : bool
        Print progress to standard error.

    Returns
    -------
    xarray.Dataset
        See `file.dataset`.

    Raises
    ------
    InputError
        If a file is missing or damaged, is not of the same film as the others, or holds too few bands or k points.
    StoppedError
        If conjugate gradients do not converge, a worker was killed, or the checkpoint could not be written.
    """
    root = communicator is None or communicator.Get_rank() == 0
    model = WannierModel.load(spec.model)
    settings = _settings(spec, model)
    folder = SaveFolder.read(spec.nscf)
    folder.check_wave_functions()
    _check_film(model, folder)
    points = MeshPoints.of(folder, model)
    settings = dataclasses.replace(settings, mesh=points.mesh)
    pseudos = _pseudopotentials(spec, folder)
    potentials = read_potentials(spec.potentials, folder)
    model, symmetry = _symmetric(spec, model)
    with held(checkpoint if root else None):
        keep_heap()
        mu = _chemical_potentials(spec, model, settings)
        shifts, kt = np.asarray(settings.fermi_shifts), BOLTZMANN_EV * np.asarray(settings.temperatures)
        counts = active_counts(folder.energies, float(mu.max() + shifts.max()), max(settings.temperatures))
        grid = ((mu[:, None] + shifts).ravel(), np.repeat(kt, len(shifts)))
        kernel = PlaneWaveKernel.of(folder, pseudos, potentials, counts, grid, model.dimension, spec.memory_limit)
        states = (folder.energies, folder.kpoints, folder.plane_waves)
        key = fingerprint(model, settings, mu, states, potentials, pseudos, counts, spec.memory_limit)
        kept = Checkpoint(checkpoint if root else None, key)
        with Workers(kernel, spec.processes, communicator) as workers:
            sums = _summed(points, workers, kept, len(grid[0]), model, progress and root)
        exact = [_turned(part, points, settings) for part in sums]
        compared = Compared(
            settings=settings,
            mu=mu,
            exact=exact,
            model=_of_model(model, settings, mu, spec),
            electrons=sums[0]["electrons"].reshape(len(settings.temperatures), -1),
        )
        result = dataset(model, compared, _attributes(spec, folder, points, counts) | {"model_symmetry": symmetry})
        if save is not None and root:
            save(result)
        kept.remove()
    return result


# -- plane waves -------------------------------------------------------------------------------------


def _summed(
    points: MeshPoints, workers: Workers, kept: Checkpoint, grid: int, model: WannierModel, show: bool
) -> list[dict[str, Floats]]:
    """Means over the mesh and, where there is one, over its nested mesh, not turned yet; in the order of the points."""
    shape = (grid, model.atoms, 3, model.dimension)
    meshes = _meshes(points.mesh)
    levels = len(meshes)
    total = [{**{name: np.zeros(shape) for name in NAMES}, "electrons": np.zeros(grid)} for _ in range(levels)]
    stage = f"plane waves, mesh {points.mesh.text}"
    start = 0
    found = workers.shared(kept.load(stage) if workers.root else None)
    if found is not None:
        start = found[0]
        try:
            for level, arrays in enumerate(total):
                for name, values in arrays.items():
                    values[...] = found[1][f"{name}_{level}"]
        except (KeyError, ValueError) as error:
            raise InputError(
                f"checkpoint: damaged, {error} is missing or does not fit; remove it to start anew"
            ) from error
    report = (Progress if show else SilentProgress)(len(points.places), stage)
    report.resume(start)
    for done, (tensors, electrons) in enumerate(workers.map("point", points.places[start:].tolist()), start + 1):
        at = done - 1
        for level in range(2 if points.nested[at] and levels == 2 else 1):
            for name, values in {**tensors, "electrons": electrons}.items():
                total[level][name] += points.weights[at] * values
        report.advance(1)
        arrays = {f"{name}_{level}": values for level, part in enumerate(total) for name, values in part.items()}
        kept.save(stage, done, arrays)
    return [
        {name: values / mesh.size for name, values in part.items()} for part, mesh in zip(total, meshes, strict=True)
    ]


def _meshes(mesh: Mesh) -> list[Mesh]:
    """A mesh and, where there is one, its nested mesh."""
    coarse = nested_mesh(mesh)
    return [mesh] if coarse is None else [mesh, coarse]


def _turned(part: dict[str, Floats], points: MeshPoints, settings: Settings) -> dict[str, Floats]:
    """Of every mask, shape (mask, temperature, shift, 3, d), eV*Angstrom: turned over the mesh, atoms weighted."""
    outer = (len(settings.temperatures), len(settings.fermi_shifts))
    masks = np.array(list(settings.soi_masks.values()))
    result = {}
    for name in NAMES:
        turned = points.turned(part[name])
        result[name] = np.einsum("ma,txaij->mtxij", masks, turned.reshape(*outer, *turned.shape[1:]))
    return result


# -- the model -----------------------------------------------------------------------------------------


def _of_model(model: WannierModel, settings: Settings, mu: Floats, spec: CompletenessSpec) -> list[dict[str, Floats]]:
    """The model's tensors on the same meshes and at the same mu, as `_turned`'s."""
    levels, no_error = ChemicalPotentials(np.zeros(0), mu[None]), Aliases.none(model.dimension)
    result = []
    for mesh in _meshes(settings.mesh):
        kernel = Kernel.prepare(model, dataclasses.replace(settings, mesh=mesh), spec.memory_limit)
        total = Sums.zeros(settings, model.dimension)
        for batch in mesh.batches(kernel.batch_size):
            total += kernel.sums(batch, levels, no_error)[0]
        result.append({name: _normal_rows(total.tensors[name][0] / mesh.size) for name in NAMES})
    return result


def _normal_rows(tensors: Floats) -> Floats:
    """Rows i of directions n normal to i, from tensors over DIRECTIONS."""
    along_z, along_x = tensors
    return np.concatenate([along_z[..., :2, :], along_x[..., 2:, :]], axis=-2)


def _chemical_potentials(spec: CompletenessSpec, model: WannierModel, settings: Settings) -> Floats:
    """Without the shift, at every temperature, eV."""
    temperatures = settings.temperatures
    if not isinstance(spec.fermi_level, str):
        values = np.atleast_1d(np.asarray(spec.fermi_level, dtype=float))
        if len(values) not in (1, len(temperatures)):
            raise InputError(
                f"fermi_level: {len(values)} numbers were given, expected one, or one for each of the "
                f"{len(temperatures)} temperatures"
            )
        return np.broadcast_to(values, len(temperatures)).copy()
    mesh = Mesh(tuple(-(-MU_MESH // m) * m for m in settings.mesh.divisions))
    on_mesh = dataclasses.replace(settings, mesh=mesh, fermi_level=spec.fermi_level)
    kernel = Kernel.prepare(model, on_mesh, spec.memory_limit)
    batches = mesh.batches(kernel.batch_size)
    report = SilentProgress(mesh.size, "band energies")
    with Workers(kernel, 1) as workers:
        levels = find_chemical_potentials(model, on_mesh, mesh, batches, workers, report)
    return np.asarray(levels.bare[0])


# -- checks ----------------------------------------------------------------------------------------------


def _settings(spec: CompletenessSpec, model: WannierModel) -> Settings:
    return Settings.checked(
        dimension=model.dimension,
        atoms=model.atoms,
        mesh=2,
        directions=DIRECTIONS,
        temperatures=spec.temperatures,
        fermi_shifts=spec.fermi_shifts,
        soi_masks=spec.soi_masks,
        quantities=NAMES,
    )


def _check_film(model: WannierModel, folder: SaveFolder) -> None:
    """Model and nscf are of one film."""
    if len(folder.species) != model.atoms:
        raise InputError(
            f"nscf: it has {len(folder.species)} atoms, the model {model.atoms}; give the nscf of the model's film"
        )
    off = max(
        float(np.abs(in_angstrom(folder.cell) - model.cell).max()),
        float(np.abs(in_angstrom(folder.positions) - model.positions).max()),
    )
    if not off <= SITE_TOLERANCE:
        raise InputError(
            f"nscf: its cell or atoms are {off:.1e} Angstrom from the model's; give the nscf of the model's film"
        )


def _symmetric(spec: CompletenessSpec, model: WannierModel) -> tuple[WannierModel, str]:
    """The model that is compared, and in words whether it is symmetrised."""
    if spec.symmetry == SYMMETRISED:
        return symmetrised(model), spec.symmetry
    if spec.symmetry != AUTOMATIC:
        return model, "none"
    compared, why = symmetrised_if_possible(model)
    return compared, f"none: {why}" if why else SYMMETRISED


def _pseudopotentials(spec: CompletenessSpec, folder: SaveFolder) -> dict[str, Pseudopotential]:
    result = {}
    for name in dict.fromkeys(folder.species):
        if name not in spec.pseudopotentials:
            raise InputError(
                f"pseudopotentials: {name} is missing; give the fully relativistic UPF file of each species"
            )
        path = spec.pseudopotentials[name]
        result[name] = Pseudopotential.read(path)
        result[name].require_fully_relativistic(str(path))
    return result


def _attributes(spec: CompletenessSpec, folder: SaveFolder, points: MeshPoints, counts: Any) -> dict[str, Any]:
    """What the file says of its making."""
    hashes = {
        **{f"pseudopotential_{name}_sha256": path for name, path in spec.pseudopotentials.items()},
        **{f"potential_{spin}_sha256": path for spin, path in zip(("up", "down"), spec.potentials, strict=True)},
        "model_sha256": spec.model,
    }
    return {
        **{name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in hashes.items()},
        "irreducible_points": len(points.places),
        "operations": len(points.operations),
        "bands": int(folder.energies.shape[-1]),
        "active_bands": int(counts.max()),
        "plane_waves": int(folder.plane_waves.max()),
        "fermi_level": str(spec.fermi_level),
    }
