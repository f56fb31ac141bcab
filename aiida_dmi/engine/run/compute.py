"""The driver: one model, every xi, shift, direction, mask and temperature, summed over the Brillouin zone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from .. import arguments
from ..errors import InputError, brief
from ..files.checkpoint import Checkpoint, fingerprint, held
from ..integrate.kernel import Kernel
from ..integrate.settings import AUTOMATIC, MAX_MESH, SYMMETRISED, Settings
from ..maps.arguments import with_cutoff
from ..model.rashba import RashbaModel
from ..model.wannier import WannierModel
from ..processes.heap import keep_heap
from ..processes.workers import Workers
from ..quantities.registry import QUANTITIES
from ..symmetry.action import mesh_matrices
from ..symmetry.groups import Operation, magnetic_point_group
from ..symmetry.symmetrise import symmetrised, symmetrised_if_possible
from .summation import MEMORY_LIMIT, Summation

Floats = npt.NDArray[np.float64]

MOST_PROCESSES = 4096


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
    tolerance: float | str | None = None,
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
    symmetry : bool, 'model' or 'auto'
        True: reduce the mesh by the magnetic point group of structure, moments, every direction and every mask, and
        symmetrise the tensors. Agrees with the full mesh as far as the model has the symmetry
        (`symmetry_residual`). 'model': symmetrise the model first (`symmetrise.symmetrised`), so that the reduced
        mesh is exact; `symmetry_residual` is that of the model as it was given. 'auto': 'model' where moments and group
        are known and symmetrising moves no band by more than `symmetrise.AUTOMATIC_CHANGE`, else no symmetry; the
        attribute `symmetry` says which, and why.
    tolerance : float or str, optional
        meV*Angstrom per cell, or a part of D such as '1 %': refine the mesh until the errors of D and all that is
        compared with it are smaller, everywhere; without these among the `quantities`, of those that are. A part of D
        is one of its largest component at the temperature, at the largest xi and the shift nearest to zero; of other
        quantities, and without D, one of the quantity itself.
    max_mesh : int
        Points along a direction at most; where it does not suffice the attribute `converged` is 0.
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
        without soi_scale; meV*Angstrom per cell (RashbaModel: meV/Angstrom). `*_error` is what the mesh may still be
        off the converged sum (`integrate.k_error`), NaN where it does not resolve kT. mu, mu_bare, electrons, closure,
        symmetry_residual. See the attributes.

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
        chosen = Symmetry.of(model, settings)
        given, model = model, chosen.model
        group, kernel = chosen.group, Kernel.prepare(model, settings, memory_limit)
        kept = Checkpoint(path, fingerprint(model, settings, group, kernel.partition))
        with Workers(kernel, processes, communicator) as workers:
            run = Summation(
                model=model,
                given=given,
                settings=settings,
                kernel=kernel,
                group=group,
                symmetry=chosen.words,
                groups=_groups(model, settings),
                workers=workers,
                checkpoint=kept,
                memory_limit=memory_limit,
                show=show and root,
            )
            result = run.on_mesh(settings.mesh)[0] if settings.tolerance is None else run.refined()
            if save is not None and root:
                save(result)
            kept.remove()
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
    if settings.symmetry and settings.symmetry != AUTOMATIC:
        raise InputError(
            f"symmetry: {settings.symmetry} was given, a RashbaModel is summed over its full square; give False"
        )
    return model, dataclasses.replace(settings, fermi_level="dft")


@dataclasses.dataclass(frozen=True)
class Symmetry:
    """The model that is summed, the group that reduces its mesh, and both in words."""

    model: WannierModel | RashbaModel
    group: tuple[Operation, ...]
    words: str

    @classmethod
    def of(cls, model: WannierModel | RashbaModel, settings: Settings) -> Symmetry:
        """What `symmetry` asks for.

        Raises
        ------
        InputError
            If it is asked for and the model or the mesh has not what it takes.
        """
        if not settings.symmetry:
            return cls(model, (), "none")
        if settings.symmetry != AUTOMATIC:
            assert isinstance(model, WannierModel)
            summed = symmetrised(model) if settings.symmetry == SYMMETRISED else model
            return cls._reduced(summed, settings, ", of the symmetrised model" if summed is not model else "")
        if not isinstance(model, WannierModel):
            return cls(model, (), "none: not of a RashbaModel")
        summed, why = symmetrised_if_possible(model)
        if why:
            return cls(model, (), f"none: {why}")
        try:
            found = cls._reduced(summed, settings, ", of the symmetrised model")
            mesh_matrices(settings.mesh.divisions, found.group)
        except InputError as error:
            return cls(model, (), f"none: {brief(error)}")
        return found if len(found.group) > 1 else cls(model, (), "none: the film has no other than the identity")

    @classmethod
    def _reduced(cls, model: WannierModel, settings: Settings, of: str) -> Symmetry:
        group = magnetic_point_group(model, settings.directions, list(settings.soi_masks.values()))
        return cls(model, group, f"magnetic point group of {len(group)} operations{of}")


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
