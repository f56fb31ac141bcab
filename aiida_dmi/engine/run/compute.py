"""The driver: one model, every xi, shift, direction, mask and temperature, summed over the Brillouin zone."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from .. import arguments
from ..errors import InputError
from ..files.checkpoint import Checkpoint, fingerprint, held
from ..integrate.chemical_potential import ChemicalPotentials, find_chemical_potentials
from ..integrate.kernel import Kernel
from ..integrate.settings import MAX_MESH, SYMMETRISED, Settings
from ..integrate.sums import Sums
from ..kspace.mesh import Mesh
from ..maps.arguments import with_cutoff
from ..model.rashba import RashbaModel
from ..model.wannier import WannierModel
from ..output.results import dataset, refinement_attributes
from ..processes.heap import keep_heap
from ..processes.progress import Progress, SilentProgress
from ..processes.workers import Workers
from ..quantities.registry import NAMES, QUANTITIES
from ..symmetry.groups import Operation, magnetic_point_group, symmetry_residual
from ..symmetry.symmetrise import symmetrised

Floats = npt.NDArray[np.float64]

MEMORY_LIMIT = 1024**3
MOST_PROCESSES = 4096
RESIDUAL_MESH = 12
"""The forbidden part of D is measured on a full mesh of at least this many points a side."""


def compute(
    model: WannierModel | RashbaModel,
    mesh: int | Sequence[int] | None = None,
    soi_scales: Iterable[float] = (1.0,),
    fermi_shifts: Iterable[float] = (0.0,),
    temperatures: Iterable[float] = (300.0,),
    directions: Iterable[Sequence[float]] = ((0, 0, 1),),
    soi_masks: Mapping[str, Sequence[float]] | None = None,
    fermi_level: str = "neutral",
    symmetry: bool | str = False,
    *,
    tolerance: float | None = None,
    max_mesh: int = MAX_MESH,
    method: str = "bands",
    quantities: Iterable[str] | None = None,
    cutoff: float | None = None,
    processes: int = 1,
    communicator: Any = None,
    memory_limit: int = MEMORY_LIMIT,
    checkpoint: str | Path | None = None,
    save: Callable[[xr.Dataset], None] | None = None,
    progress: bool = False,
) -> xr.Dataset:
    """D, Q, a(I), a(II), D(1) and Q(1) of one model on one mesh, or on meshes refined to a tolerance.

    Parameters
    ----------
    model : WannierModel or RashbaModel
    mesh : int or sequence of int, optional
        Points along each periodic direction, Gamma-centred. With `tolerance`: the first mesh.
    soi_scales : iterable of float
        xi, the factor on the spin-orbit interaction, for D and Q.
    fermi_shifts : iterable of float
        eV, added to the chemical potential.
    temperatures : iterable of float
        K, above 0.
    directions : iterable of vectors
        Axis n of the spin-up spinor; any length.
    soi_masks : dict, optional
        Name to one weight an atom, any real number; default {'all': ones}.
    fermi_level : {'neutral', 'neutral-bare', 'dft'}
        'neutral': mu such that H(xi) holds the model's electrons (D, Q), and Hbar does (a, D(1), Q(1));
        'neutral-bare': Hbar's mu for all; 'dft': the model's `fermi_energy`. A RashbaModel holds no number
        of electrons: its mu is always its `fermi_energy`, 0, plus the shift.
    symmetry : bool or 'model'
        True: reduce the mesh by the magnetic point group of structure, moments, every direction and every mask, and
        symmetrise the tensors. Agrees with the full mesh as far as the model has the symmetry
        (`symmetry_residual`). 'model': symmetrise the model first (`symmetrise.symmetrised`), so that the reduced
        mesh is exact; `symmetry_residual` is that of the model as it was given.
    tolerance : float, optional
        meV*Angstrom per cell: double the mesh until D, Q and a(I) + a(II) change by less, everywhere. Without these
        among the `quantities`: until those do that are.
    max_mesh : int
        Points along a direction at most; reaching it is recorded in the attribute `converged`.
    method : {'bands', 'green'}
        D from the bands (Eqs. 2, 11, 12), or from Green functions on a complex contour (Eq. 15 with its
        prefactor corrected): an independent implementation, some twenty times slower.
    quantities : iterable of str, optional
        Names of `quantities.registry`; default 'D', 'Q', 'a_I', 'a_II', 'D_1'. What is left out costs nothing and is
        not in the result, nor is what follows from it: Q_1 (of a_I and a_II), closure (of these and D_1),
        symmetry_residual (of D).
    cutoff : float, optional
        For a RashbaModel: half the side of the square of k, 1/Angstrom.
    processes : int
        Worker processes; the result does not depend on their number. Pin threads (OMP_NUM_THREADS=1).
    communicator : mpi4py communicator, optional
        Share the batches among its ranks instead; every rank gets the result.
    memory_limit : int
        Bytes of working arrays a process.
    checkpoint : path, optional
        File to resume from, and to keep the sums of an unfinished run in; removed at the end.
    save : callable, optional
        Called with the result on the first rank, before the checkpoint is removed: a run that is killed until the
        result is safe can still be resumed. An error it raises leaves the checkpoint.
    progress : bool
        Print count, rate, elapsed and remaining time to standard error.

    Returns
    -------
    xarray.Dataset
        D, Q over (direction, mask, soi_scale, temperature, fermi_shift, i, j); a_I, a_II, D_1, Q_1 the same
        without soi_scale; meV*Angstrom per cell (RashbaModel: meV/Angstrom). `*_error` is the change from the
        nested coarse mesh. mu, mu_bare, electrons, closure, symmetry_residual. See the attributes.

    Raises
    ------
    InputError
        Naming the argument that does not fit, its value and what is expected.
    StoppedError
        If a worker process was killed, or the checkpoint could not be written.
    """
    if checkpoint is not None and not isinstance(checkpoint, (str, Path)):
        raise arguments.refusal("checkpoint", checkpoint, "a path")
    if save is not None and not callable(save):
        raise arguments.refusal("save", save, "a function that takes the result")
    arguments.whole("processes", processes, most=MOST_PROCESSES)
    arguments.whole("memory_limit", memory_limit)
    show = arguments.truth("progress", progress)
    model, settings = prepared(
        model,
        cutoff,
        mesh=mesh,
        soi_scales=soi_scales,
        fermi_shifts=fermi_shifts,
        temperatures=temperatures,
        directions=directions,
        soi_masks=soi_masks,
        fermi_level=fermi_level,
        method=method,
        quantities=quantities,
        symmetry=symmetry,
        tolerance=tolerance,
        max_mesh=max_mesh,
    )
    root = communicator is None or communicator.Get_rank() == 0
    path = Path(checkpoint) if checkpoint is not None and root else None
    with held(path):
        keep_heap()
        given, model = model, _symmetrised(model) if settings.symmetry == SYMMETRISED else model
        group = _group(model, settings)
        run = _Run(model, settings, Kernel.prepare(model, settings, memory_limit), group, _groups(model, settings))
        run.given, run.memory_limit, run.show = given, memory_limit, show and root
        run.checkpoint = Checkpoint(path, fingerprint(model, settings, group, run.kernel.partition))
        with Workers(run.kernel, processes, communicator) as run.workers:
            result = run.on_mesh(settings.mesh) if settings.tolerance is None else run.refined()
            if save is not None and root:
                save(result)
            run.checkpoint.remove()
    return result


def prepared(
    model: WannierModel | RashbaModel, cutoff: float | None = None, **axes: Any
) -> tuple[WannierModel | RashbaModel, Settings]:
    """Every argument of `compute` that says what is computed, checked against the model.

    Parameters
    ----------
    model : WannierModel or RashbaModel
    cutoff : float, optional
    **axes
        Of `Settings.checked`.

    Returns
    -------
    model : WannierModel or RashbaModel
        With the cut-off.
    settings : Settings

    Raises
    ------
    InputError
        Naming the argument that does not fit, its value and what is expected.
    """
    model = with_cutoff(model, cutoff)
    settings = Settings.checked(dimension=model.dimension, atoms=model.atoms, **axes)
    for name in settings.quantities:
        if not QUANTITIES[name].given_by(model):
            raise InputError(f"quantities: {name} was given, which this {type(model).__name__} lacks; leave it out")
    if isinstance(model, WannierModel):
        return model, settings
    if settings.symmetry:
        raise InputError(
            f"symmetry: {settings.symmetry} was given, a RashbaModel is summed over its full square; give False"
        )
    return model, dataclasses.replace(settings, fermi_level="dft")


def _symmetrised(model: WannierModel | RashbaModel) -> WannierModel | RashbaModel:
    return symmetrised(model) if isinstance(model, WannierModel) else model


def _group(model: WannierModel | RashbaModel, settings: Settings) -> tuple[Operation, ...]:
    if not settings.symmetry or not isinstance(model, WannierModel):
        return ()
    return magnetic_point_group(model, settings.directions, list(settings.soi_masks.values()))


def _groups(
    model: WannierModel | RashbaModel, settings: Settings
) -> dict[tuple[int, int], tuple[Operation, ...]] | None:
    """The magnetic point group of every direction and mask by itself, for the part of D that it forbids.

    None where it cannot be known: for a RashbaModel, without moments, without spglib, or where spglib finds none. That
    costs no run its sums, so it is asked for before them.
    """
    known = isinstance(model, WannierModel) and model.moments is not None and find_spec("spglib") is not None
    if not known or "D" not in settings.quantities:
        return None
    assert isinstance(model, WannierModel)
    masks = list(settings.soi_masks.values())
    try:
        return {
            (direction, mask): magnetic_point_group(model, [n], [weights])
            for direction, n in enumerate(settings.directions)
            for mask, weights in enumerate(masks)
        }
    except InputError:
        return None


@dataclasses.dataclass
class _Run:
    """One call of `compute`."""

    model: WannierModel | RashbaModel
    settings: Settings
    kernel: Kernel
    group: tuple[Operation, ...]
    groups: dict[tuple[int, int], tuple[Operation, ...]] | None = None
    workers: Workers = dataclasses.field(init=False)
    checkpoint: Checkpoint = dataclasses.field(init=False)
    given: WannierModel | RashbaModel = dataclasses.field(init=False)
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
        reuse = (
            bool(found[1].get("reuse", False)) if found else self.settings.fermi_level == "dft" and earlier is not None
        )
        if reuse:
            batches = [batch for batch in batches if not batch.nested]
        points = sum(len(batch.kpoints) for batch in batches)
        if found:
            start, levels = _resume(found, total)
        else:
            if reuse and earlier is not None:
                total = [earlier.scaled(1.0) for _ in range(2)]
            report = self._progress(points, f"band energies, mesh {stage}")
            levels = find_chemical_potentials(self.model, self.settings, mesh, batches, self.workers, report)
            start = 0
            if self.settings.fermi_level != "dft":
                # The band energies are a large part of the work: a run that is killed from here on keeps mu.
                self.checkpoint.save(stage, start, self._as_arrays(levels, total, reuse), force=True)
        report = self._progress(points, f"D, Q, a, mesh {stage}")
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

        Measured before symmetrising, on a full mesh; None where the group cannot be known, see `_groups`.
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
        if self.given is self.model:
            full = _Run(self.model, self.settings, self.kernel, ())
            full.workers, full.checkpoint = self.workers, Checkpoint(None, "")
            return full._sums(mesh)[1][0]
        # The workers hold the symmetrised model.
        full = _Run(self.given, self.settings, Kernel.prepare(self.given, self.settings, self.memory_limit), ())
        full.checkpoint = Checkpoint(None, "")
        with Workers(full.kernel, 1) as full.workers:
            return full._sums(mesh)[1][0]


def _changes(result: xr.Dataset) -> dict[str, float]:
    """The largest change of D, Q and a(I) + a(II), or of what there is instead, from the nested mesh."""
    names = {"D": "D", "Q": "Q", "Q_1": "a_I + a_II"}
    found = {name: text for name, text in names.items() if name in result} or {
        name: name for name in NAMES if name in result
    }
    return {text: float(result[f"{name}_error"].max()) for name, text in found.items()}


def _resume(found: tuple[int, dict[str, Any]], total: list[Sums]) -> tuple[int, ChemicalPotentials]:
    """Take over an earlier run's sums: batches done, and its chemical potentials."""
    done, arrays = found
    try:
        for level, sums in enumerate(total):
            sums.take(arrays, level)
        return done, ChemicalPotentials(arrays["mu_full"], arrays["mu_bare"])
    except (KeyError, ValueError) as error:
        raise InputError(f"checkpoint: damaged, {error} is missing or does not fit; remove it to start anew") from error


def print_change(mesh: Mesh, changes: Mapping[str, float], tolerance: float) -> None:
    """One line on how far a refinement is, on standard error."""
    text = ", ".join(f"{name} {change:.3g}" for name, change in changes.items())
    name = "x".join(map(str, mesh.divisions))
    print(f"mesh {name}: changed by {text} meV*Angstrom (tolerance {tolerance:g})", file=sys.stderr)
