"""The sum over the Brillouin zone: on one mesh and its nested one, or on meshes refined to a tolerance."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..errors import InputError
from ..files.checkpoint import Checkpoint
from ..integrate.chemical_potential import ChemicalPotentials, find_chemical_potentials
from ..integrate.kernel import Kernel
from ..integrate.settings import Settings
from ..integrate.sums import Sums
from ..kspace.mesh import Mesh
from ..model.rashba import RashbaModel
from ..model.wannier import WannierModel
from ..output.results import dataset, refinement_attributes
from ..processes.progress import Progress, SilentProgress
from ..processes.workers import Workers
from ..quantities.registry import NAMES
from ..symmetry.action import symmetry_residual
from ..symmetry.groups import Operation

Floats = npt.NDArray[np.float64]

MEMORY_LIMIT = 1024**3
"""Bytes of working arrays of a process, unless told."""
RESIDUAL_MESH = 12
"""The forbidden part of D is measured on a full mesh of at least this many points a side."""


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
    groups : dict or None
        The magnetic point group of every direction and mask by itself; None where it is not known.
    workers : Workers
        That hold the kernel.
    checkpoint : Checkpoint
    memory_limit : int
    show : bool
        Whether progress is printed.
    finished : dict
        Sums over the last mesh, by its divisions.
    history : list
        Divisions and changes of the meshes of a refinement.
    """

    model: WannierModel | RashbaModel
    given: WannierModel | RashbaModel
    settings: Settings
    kernel: Kernel
    group: tuple[Operation, ...]
    groups: dict[tuple[int, int], tuple[Operation, ...]] | None
    workers: Workers
    checkpoint: Checkpoint
    memory_limit: int = MEMORY_LIMIT
    show: bool = False
    finished: dict[tuple[int, ...], Sums] = dataclasses.field(default_factory=dict)
    history: list[tuple[tuple[int, ...], dict[str, float]]] = dataclasses.field(default_factory=list)

    def on_mesh(self, mesh: Mesh) -> xr.Dataset:
        """The result on one mesh, with the change from its nested mesh as error."""
        levels, sums = self._sums(mesh)
        residual = self._symmetry_residual(mesh, sums[0])
        if self.group:
            sums = [part.symmetrised(self.group) for part in sums]
        settings = dataclasses.replace(self.settings, mesh=mesh)
        result = dataset(self.model, settings, levels, sums, len(self.group), residual)
        if self.given is not self.model:
            result.attrs["symmetry"] += ", of the symmetrised model"
        return result

    def refined(self) -> xr.Dataset:
        """Double the mesh until the result changes by less than the tolerance."""
        tolerance, max_mesh = self.settings.tolerance, self.settings.max_mesh
        assert tolerance is not None
        mesh = self._resumed_mesh(self.settings.mesh)
        while True:
            result = self.on_mesh(mesh)
            changes = _changes(result)
            self.history.append((mesh.divisions, changes))
            if self.show:
                print_change(mesh, changes, tolerance)
            converged = max(changes.values()) < tolerance
            if converged or 2 * max(mesh.divisions) > max_mesh:
                return result.assign_attrs(refinement_attributes(tolerance, max_mesh, converged, self.history))
            mesh = mesh.doubled()

    def _sums(self, mesh: Mesh) -> tuple[ChemicalPotentials, list[Sums]]:
        """Chemical potentials and means over the mesh and its nested mesh."""
        batches = mesh.batches(self.kernel.batch_size, self.group)
        stage = "x".join(map(str, mesh.divisions))
        total = [Sums.zeros(self.settings, len(mesh.divisions)) for _ in range(2)]
        found = self.workers.shared(self.checkpoint.load(stage) if self.workers.root else None)
        # With mu fixed, what an earlier mesh has summed over the nested points stands.
        earlier = self.finished.get(mesh.coarse.divisions) if mesh.coarse is not None else None
        if found:
            start, levels, reuse = _resume(found, total)
        else:
            reuse = self.settings.fermi_level == "dft" and earlier is not None
        if reuse:
            batches = [batch for batch in batches if not batch.nested]
        points = sum(len(batch.kpoints) for batch in batches)
        if not found:
            if reuse and earlier is not None:
                total = [earlier.scaled(1.0) for _ in range(2)]
            report = self._progress(points, f"band energies, mesh {stage}")
            levels = find_chemical_potentials(self.model, self.settings, mesh, batches, self.workers, report)
            start = 0
            if self.settings.fermi_level != "dft":
                # The band energies are a large part of the work: a run that is killed from here on keeps mu.
                self.checkpoint.save(stage, start, self._as_arrays(levels, total, reuse), force=True)
        report = self._progress(points, f"{', '.join(self.settings.quantities)}, mesh {stage}")
        report.resume(sum(len(batch.kpoints) for batch in batches[:start]))
        for done, parts in enumerate(self.workers.map("sums", batches[start:], levels), start + 1):
            for level, part in enumerate(parts):
                total[level] += part
            report.advance(len(batches[done - 1].kpoints))
            self.checkpoint.save(stage, done, self._as_arrays(levels, total, reuse))
        self.finished = {mesh.divisions: total[0]}
        result = [total[0].scaled(1 / mesh.size)]
        return levels, result if mesh.coarse is None else [*result, total[1].scaled(1 / mesh.coarse.size)]

    def _resumed_mesh(self, first: Mesh) -> Mesh:
        """The mesh an earlier run was at, with the changes of those before it; else the first."""
        found = self.workers.shared(self.checkpoint.history() if self.workers.root else None)
        if found is None:
            return first
        stage, noted = found
        self.history = [(tuple(divisions), changes) for divisions, changes in json.loads(noted)]
        return Mesh(tuple(int(m) for m in stage.split("x")))

    def _as_arrays(self, levels: ChemicalPotentials, total: list[Sums], reuse: bool) -> dict[str, Any]:
        """What a checkpoint holds."""
        arrays: dict[str, Any] = {"mu_full": levels.full, "mu_bare": levels.bare}
        for level, sums in enumerate(total):
            arrays |= sums.as_arrays(level)
        return arrays | {"history": json.dumps(self.history), "reuse": reuse}

    def _progress(self, points: int, label: str) -> Progress:
        return Progress(points, label) if self.show else SilentProgress(points, label)

    def _symmetry_residual(self, mesh: Mesh, sums: Sums) -> Floats | None:
        """|D - PD|/|D|, the part of D that its direction's and mask's magnetic point group forbids.

        Measured before symmetrising, on a full mesh; None where the group cannot be known, see `groups`.
        """
        if self.groups is None:
            return None
        assert isinstance(self.model, WannierModel)
        if self.group:
            least = [max(RESIDUAL_MESH, 2 * m) for m in self.model.mesh]
            sums = self._full(Mesh(tuple(min(m, small) for m, small in zip(mesh.divisions, least, strict=False))))
        dmi = sums.tensors["D"]
        result = np.zeros(dmi.shape[:-2])
        for place, group in self.groups.items():
            result[place] = symmetry_residual(dmi[place], group)
        return result

    def _full(self, mesh: Mesh) -> Sums:
        """Means over a small mesh without symmetry."""
        full = dataclasses.replace(
            self, model=self.given, group=(), checkpoint=Checkpoint(None, ""), show=False, finished={}, history=[]
        )
        if self.given is self.model:
            return full._sums(mesh)[1][0]
        # The workers hold the symmetrised model.
        kernel = Kernel.prepare(self.given, self.settings, self.memory_limit)
        with Workers(kernel, 1) as workers:
            return dataclasses.replace(full, kernel=kernel, workers=workers)._sums(mesh)[1][0]


def _changes(result: xr.Dataset) -> dict[str, float]:
    """The largest change of D, Q and a(I) + a(II), or of what there is instead, from the nested mesh."""
    names = {"D": "D", "Q": "Q", "Q_1": "a_I + a_II"}
    found = {name: text for name, text in names.items() if name in result} or {
        name: name for name in NAMES if name in result
    }
    return {text: float(result[f"{name}_error"].max()) for name, text in found.items()}


def _resume(found: tuple[int, dict[str, Any]], total: list[Sums]) -> tuple[int, ChemicalPotentials, bool]:
    """Take over an earlier run's sums: batches done, its chemical potentials, whether it left the nested points out."""
    done, arrays = found
    try:
        for level, sums in enumerate(total):
            sums.take(arrays, level)
        return done, ChemicalPotentials(arrays["mu_full"], arrays["mu_bare"]), bool(arrays["reuse"])
    except (KeyError, ValueError) as error:
        raise InputError(f"checkpoint: damaged, {error} is missing or does not fit; remove it to start anew") from error


def print_change(mesh: Mesh, changes: Mapping[str, float], tolerance: float) -> None:
    """One line on how far a refinement is, on standard error."""
    text = ", ".join(f"{name} {change:.3g}" for name, change in changes.items())
    name = "x".join(map(str, mesh.divisions))
    print(f"mesh {name}: changed by {text} meV*Angstrom (tolerance {tolerance:g})", file=sys.stderr)
