"""The sum over the Brillouin zone: on one mesh, or on meshes refined to a tolerance."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..constants import BOLTZMANN_EV
from ..errors import InputError
from ..files.checkpoint import Checkpoint
from ..integrate.chemical_potential import ChemicalPotentials, find_chemical_potentials
from ..integrate.k_error import SPEED_MESH, KError, fastest, thermal_decay
from ..integrate.kernel import Kernel
from ..integrate.settings import Settings, Tolerance
from ..integrate.sums import Sums
from ..kspace.aliases import MOST, Aliases
from ..kspace.mesh import Mesh
from ..model.rashba import RashbaModel
from ..model.wannier import WannierModel
from ..output.headline import indices_of
from ..output.results import Means, dataset, error_text, refinement_attributes
from ..processes.progress import Progress, SilentProgress
from ..processes.workers import Workers
from ..quantities.quantity import OF_DMI
from ..symmetry.action import symmetry_residual
from ..symmetry.groups import Operation

Floats = npt.NDArray[np.float64]

MEMORY_LIMIT = 1024**3
"""Bytes of working arrays of a process, unless told."""
RESIDUAL_MESH = 12
"""The forbidden part of D is measured on a full mesh of at least this many points a side."""
MARGIN, LEAST_GROWTH = 1.02, 1.05
"""How many times as many points a side the next mesh of a refinement has: what the decay asks for and a little more."""
SMALLEST_SIZE = 1.0
"""meV*Angstrom; a D below this is taken for it where an error is asked for as a part of D."""
LIKE_DMI = ("meV angstrom", "meV / angstrom")
"""Units of D: of a cell's, and of a RashbaModel's."""


@dataclasses.dataclass
class Summation:
    """The sum of one call of `compute` over the Brillouin zone, resumed from its checkpoint and refined where asked.

    Parameters
    ----------
    model, given : WannierModel or RashbaModel
        What is summed, and what it was symmetrised from (itself where it was not).
    settings : Settings
    kernel : Kernel
        Of the model.
    group : tuple of Operation
        That reduces the mesh; empty for none.
    symmetry : str
        The same in words.
    groups : dict or None
        The magnetic point group of every direction and mask by itself; None where it is not known.
    workers : Workers
        That hold the kernel.
    checkpoint : Checkpoint
    memory_limit : int
    show : bool
        Whether progress is printed.
    history : list
        Divisions and errors of the meshes of a refinement.
    residual_sums : Sums or None
        Of the small full mesh that the residual is measured on, once it is known.
    speeds : tuple of ndarray or None
        Energies and hbar |v| of Hbar's bands on a small mesh, once they are known.
    """

    model: WannierModel | RashbaModel
    given: WannierModel | RashbaModel
    settings: Settings
    kernel: Kernel
    group: tuple[Operation, ...]
    symmetry: str
    groups: dict[tuple[int, int], tuple[Operation, ...]] | None
    workers: Workers
    checkpoint: Checkpoint
    memory_limit: int = MEMORY_LIMIT
    show: bool = False
    history: list[tuple[tuple[int, ...], dict[str, float]]] = dataclasses.field(default_factory=list)
    residual_sums: Sums | None = None
    speeds: tuple[Floats, Floats] | None = None

    def on_mesh(self, mesh: Mesh) -> tuple[xr.Dataset, dict[str, KError]]:
        """The result on one mesh, and its errors."""
        aliases = self._aliases(mesh)
        levels, sums = self._sums(mesh, aliases)
        residual = self._symmetry_residual(mesh, sums[0])
        if self.group:
            sums = [part.symmetrised(self.group, aliases.images) for part in sums]
        settings = dataclasses.replace(self.settings, mesh=mesh)
        means = Means(self.model, settings, levels, sums)
        errors = means.errors(aliases, self._thermal(aliases, levels))
        return dataset(means, errors, self.symmetry, residual), errors

    def refined(self) -> xr.Dataset:
        """On finer and finer meshes, until every error is within the tolerance."""
        tolerance, max_mesh = self.settings.tolerance, self.settings.max_mesh
        assert tolerance is not None
        mesh = self._resumed_mesh(self.settings.mesh)
        while True:
            result, errors = self.on_mesh(mesh)
            counted = counted_errors(result, errors)
            self.history.append((mesh.divisions, {name: float(one.error.max()) for name, one in counted.items()}))
            if self.show:
                print_errors(mesh, self.history[-1][1], tolerance)
            growth = max(one.growth(allowed(tolerance, result, name)) for name, one in counted.items())
            if growth <= 1 or max(mesh.divisions) >= max_mesh:
                return result.assign_attrs(refinement_attributes(tolerance.stored, max_mesh, growth <= 1, self.history))
            mesh = mesh.grown(min(max(growth * MARGIN, LEAST_GROWTH), max_mesh / max(mesh.divisions)))

    def _thermal(self, aliases: Aliases, levels: ChemicalPotentials) -> Floats:
        """How fast coefficients fall at least, (way, temperature, shift): see `k_error.thermal_decay`."""
        if self.speeds is None:
            points = Mesh((SPEED_MESH,) * self.model.dimension).batches(self.kernel.batch_size)
            parts = [self.workers.here("speeds", batch) for batch in points]
            self.speeds = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        result = np.zeros((len(aliases.ways), len(self.settings.temperatures), len(self.settings.fermi_shifts)))
        for t, mu in enumerate(levels.bare[0]):
            kt = BOLTZMANN_EV * self.settings.temperatures[t]
            for s, shift in enumerate(self.settings.fermi_shifts):
                result[:, t, s] = thermal_decay(aliases.ways, fastest(*self.speeds, mu + shift, kt), kt)
        return result

    def _aliases(self, mesh: Mesh) -> Aliases:
        """The Fourier coefficients that the errors follow from, fewer for a sweep of very many numbers."""
        cell = periodic_vectors(self.model)
        room = self.memory_limit // 16 // Sums.zeros(self.settings, len(mesh.divisions)).bytes
        for most in MOST:
            found = Aliases.of(mesh.divisions, cell, self.group, most)
            if len(found.vectors) <= room:
                break
        return found

    def _sums(self, mesh: Mesh, aliases: Aliases) -> tuple[ChemicalPotentials, list[Sums]]:
        """Chemical potentials, and means over the mesh for each of them."""
        batches = mesh.batches(self.kernel.batch_size, self.group)
        stage = "x".join(map(str, mesh.divisions))
        found = self.workers.shared(self.checkpoint.load(stage) if self.workers.root else None)
        points = sum(len(batch.kpoints) for batch in batches)
        if found is None:
            report = self._progress(points, f"band energies, mesh {stage}")
            levels = find_chemical_potentials(self.model, self.settings, mesh, batches, self.workers, report)
            start, total = 0, self._zeros(mesh, levels, aliases)
            if self.settings.fermi_level != "dft":
                # The band energies are a large part of the work: a run that is killed from here on keeps mu.
                self.checkpoint.save(stage, start, self._as_arrays(levels, total), force=True)
        else:
            start, arrays = found
            try:
                levels = ChemicalPotentials(arrays["mu_full"], arrays["mu_bare"])
                total = self._zeros(mesh, levels, aliases)
                for level, sums in enumerate(total):
                    sums.take(arrays, level)
            except (KeyError, ValueError) as error:
                raise InputError(
                    f"checkpoint: damaged, {error} is missing or does not fit; remove it to start anew"
                ) from error
        report = self._progress(points, f"{', '.join(self.settings.quantities)}, mesh {stage}")
        report.resume(sum(len(batch.kpoints) for batch in batches[:start]))
        for done, parts in enumerate(self.workers.map("sums", batches[start:], levels, aliases), start + 1):
            for level, part in enumerate(parts):
                total[level] += part
            report.advance(len(batches[done - 1].kpoints))
            self.checkpoint.save(stage, done, self._as_arrays(levels, total))
        return levels, [sums.scaled(1 / mesh.size) for sums in total]

    def _zeros(self, mesh: Mesh, levels: ChemicalPotentials, aliases: Aliases) -> list[Sums]:
        """Empty sums, one for each level; the first with a row for each Fourier coefficient."""
        rows = [1 + len(aliases.vectors), *[1] * (len(levels.bare) - 1)]
        return [Sums.zeros(self.settings, len(mesh.divisions), number) for number in rows]

    def _resumed_mesh(self, first: Mesh) -> Mesh:
        """The mesh an earlier run was at, with the changes of those before it; else the first."""
        found = self.workers.shared(self.checkpoint.history() if self.workers.root else None)
        if found is None:
            return first
        stage, noted = found
        self.history = [(tuple(divisions), errors) for divisions, errors in json.loads(noted)]
        return Mesh(tuple(int(m) for m in stage.split("x")))

    def _as_arrays(self, levels: ChemicalPotentials, total: list[Sums]) -> dict[str, Any]:
        """What a checkpoint holds."""
        arrays: dict[str, Any] = {"mu_full": levels.full, "mu_bare": levels.bare}
        for level, sums in enumerate(total):
            arrays |= sums.as_arrays(level)
        return arrays | {"history": json.dumps(self.history)}

    def _progress(self, points: int, label: str) -> Progress:
        return Progress(points, label) if self.show else SilentProgress(points, label)

    def _symmetry_residual(self, mesh: Mesh, sums: Sums) -> Floats | None:
        """|D - PD|/|D|, the part of D that its direction's and mask's magnetic point group forbids.

        Measured before symmetrising, on a full mesh; None where the group cannot be known, see `groups`.
        """
        if self.groups is None:
            return None
        assert isinstance(self.model, WannierModel)
        if self.group and self.residual_sums is None:
            least = [max(RESIDUAL_MESH, 2 * m) for m in self.model.mesh]
            small = Mesh(tuple(min(m, other) for m, other in zip(mesh.divisions, least, strict=False)))
            if self.settings.tolerance is not None:
                small = Mesh(tuple(least[: len(mesh.divisions)]))  # the same, wherever a refinement is resumed
            self.residual_sums = self._full(small)
        dmi = (self.residual_sums or sums).tensors["D"][0]
        result = np.zeros(dmi.shape[:-2])
        for place, group in self.groups.items():
            result[place] = symmetry_residual(dmi[place], group)
        return result

    def _full(self, mesh: Mesh) -> Sums:
        """Means of D alone over a small mesh without symmetry, of the model as it was given."""
        settings = dataclasses.replace(self.settings, quantities=("D",))
        kernel = Kernel.prepare(self.given, settings, self.memory_limit)
        with self.workers.alike(kernel) as workers:
            full = dataclasses.replace(
                self,
                model=self.given,
                settings=settings,
                kernel=kernel,
                group=(),
                workers=workers,
                checkpoint=Checkpoint(None, ""),
                show=False,
            )
            return full._sums(mesh, Aliases.none(len(mesh.divisions)))[1][0]


def periodic_vectors(model: WannierModel | RashbaModel) -> Floats:
    """(d, 3) Angstrom; of a RashbaModel those whose reciprocal vectors span its square."""
    if isinstance(model, WannierModel):
        return np.asarray(model.cell[: model.dimension])
    return 2 * np.pi / model.side * np.eye(3)[:2]


def counted_errors(result: xr.Dataset, errors: Mapping[str, KError]) -> dict[str, KError]:
    """The errors that a tolerance is for: of all that is compared with D, or of all there is where nothing is."""
    return {name: one for name, one in errors.items() if _like_dmi(result, name)} or dict(errors)


def allowed(tolerance: Tolerance, result: xr.Dataset, name: str) -> Floats:
    """What the error of a quantity may be, to be compared with its array.

    Relative, that is a part of D at the temperature, at the largest xi and the shift nearest to zero, the largest among
    directions, masks and components; without D, of the quantity itself.
    """
    if not tolerance.relative:
        return np.array(tolerance.value)
    reference = abs(result["D" if "D" in result and _like_dmi(result, name) else name])
    reference = reference.sel(fermi_shift=0.0, method="nearest")
    if "soi_scale" in reference.dims:
        reference = reference.isel(soi_scale=int(np.abs(reference.soi_scale.values).argmax()))
    size = reference.max([dim for dim in reference.dims if dim != "temperature"]).values
    shape = [len(size) if dim == "temperature" else 1 for dim in result[name].dims]
    least = SMALLEST_SIZE if _like_dmi(result, name) else 0.0
    return np.asarray(tolerance.value * np.maximum(size, least).reshape(shape))


def _like_dmi(result: xr.Dataset, name: str) -> bool:
    """Whether a quantity has the indices and the unit of D."""
    return indices_of(result[name]) == OF_DMI and result[name].attrs["units"] in LIKE_DMI


def print_errors(mesh: Mesh, errors: Mapping[str, float], tolerance: Tolerance) -> None:
    """One line on how far a refinement is, on standard error."""
    text = ", ".join(f"{name} {error_text(error)}" for name, error in errors.items())
    name = "x".join(map(str, mesh.divisions))
    print(f"mesh {name}: errors {text} meV*Angstrom (tolerance {tolerance.text})", file=sys.stderr)
