"""The driver: one model, every xi, shift, direction, mask and temperature, summed over the Brillouin zone."""

from __future__ import annotations

import dataclasses
import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.optimize import brentq

from . import response
from .brillouin import Batch
from .constants import BOLTZMANN_EV
from .errors import InputError
from .interpolation import Interpolation, Operators, SpinOrbit, spin_frame
from .model import WannierModel
from .progress import Progress, SilentProgress
from .rashba import RashbaModel
from .results import Sums, dataset
from .settings import Settings

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

FIRST_ORDER_STEP = 0.02
"""D(1) = D(step)/step with step = 0.02 kT/eV: V of order 1 eV then shifts bands by 0.02 kT."""
BATCH_BYTES = 32 * 1024**2
"""Working arrays of one batch of k points; larger ones fall out of the cache, smaller ones waste calls."""


class BandModel(Protocol):
    """What the driver asks of a model: operators at k points."""

    @property
    def functions(self) -> int: ...  # noqa: D102
    @property
    def dimension(self) -> int: ...  # noqa: D102
    @property
    def measure(self) -> float: ...  # noqa: D102
    def operators(self, kpoints: Floats) -> Operators: ...  # noqa: D102
    def spin_orbit_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Complexes: ...  # noqa: D102
    def spin_orbit(self, columns: Complexes, kpoints: Floats, operators: Operators) -> SpinOrbit: ...  # noqa: D102


def compute(
    model: WannierModel | RashbaModel,
    mesh: int | Sequence[int],
    soi_scales: Iterable[float] = (1.0,),
    fermi_shifts: Iterable[float] = (0.0,),
    temperatures: Iterable[float] = (300.0,),
    directions: Iterable[Sequence[float]] = ((0, 0, 1),),
    soi_masks: Mapping[str, Sequence[float]] | None = None,
    fermi_level: str = "neutral",
    symmetry: bool = False,
    *,
    cutoff: float | None = None,
    processes: int = 1,
    progress: bool = False,
) -> xr.Dataset:
    """D, Q, a(I), a(II), D(1) and Q(1) of one model on one mesh.

    Parameters
    ----------
    model : WannierModel or RashbaModel
    mesh : int or sequence of int
        Points along each periodic direction, Gamma-centred.
    soi_scales : iterable of float
        xi, the factor on the spin-orbit interaction, for D and Q.
    fermi_shifts : iterable of float
        eV, added to the chemical potential.
    temperatures : iterable of float
        K, above 0.
    directions : iterable of vectors
        Axis n of the spin-up spinor; any length.
    soi_masks : dict, optional
        Name to one weight an atom; default {'all': ones}.
    fermi_level : {'neutral', 'neutral-bare', 'dft'}
        'neutral': mu such that H(xi) holds the model's electrons (D, Q), and Hbar does (a, D(1), Q(1));
        'neutral-bare': Hbar's mu for all; 'dft': the model's `fermi_energy`. A RashbaModel holds no number
        of electrons: its mu is always its `fermi_energy`, 0, plus the shift.
    symmetry : bool
        Reduce the mesh by the magnetic point group. Only False is available so far.
    cutoff : float, optional
        For a RashbaModel: half the side of the square of k, 1/Angstrom.
    processes : int
        Worker processes; the result does not depend on their number. Pin threads (OMP_NUM_THREADS=1).
    progress : bool
        Print count, rate, elapsed and remaining time to standard error.

    Returns
    -------
    xarray.Dataset
        D, Q over (direction, mask, soi_scale, temperature, fermi_shift, i, j); a_I, a_II, D_1, Q_1 the same
        without soi_scale; meV*Angstrom per cell (RashbaModel: meV/Angstrom). `*_error` is the change from the
        nested coarse mesh. mu, mu_bare, electrons, closure. See the attributes for conventions.

    Raises
    ------
    InputError
        Naming the argument that does not fit, its value and what is expected.
    """
    if symmetry:
        raise InputError("symmetry: True was given, only False (the full mesh) is available so far")
    if isinstance(processes, bool) or not isinstance(processes, (int, np.integer)) or processes < 1:
        raise InputError(f"processes: {processes!r} was given, expected a positive integer")
    settings = Settings.checked(
        dimension=model.dimension,
        atoms=model.atoms,
        mesh=mesh,
        soi_scales=soi_scales,
        fermi_shifts=fermi_shifts,
        temperatures=temperatures,
        directions=directions,
        soi_masks=soi_masks,
        fermi_level="dft" if model.electrons is None else fermi_level,
    )
    if isinstance(model, RashbaModel):
        model = model.with_cutoff(cutoff)
    elif cutoff is not None:
        raise InputError(f"cutoff: {cutoff} was given, only a RashbaModel takes one; a Wannier model has its cell")
    kernel = Kernel.prepare(model, settings)
    batches = settings.mesh.batches(kernel.batch_size)
    with _Pool(kernel, processes) as pool:
        levels = _chemical_potentials(model, settings, batches, pool, progress)
        sums = _sum(settings, batches, levels, pool, progress)
    return dataset(model, settings, levels, sums)


# -- what a worker does with one batch ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A model with its spin-orbit operators prepared: everything a worker needs."""

    bands: BandModel
    settings: Settings
    columns: dict[tuple[int, str], Complexes]

    @classmethod
    def prepare(cls, model: WannierModel | RashbaModel, settings: Settings) -> Kernel:
        """Interpolation and V(R) of every direction and mask."""
        bands: BandModel = Interpolation(model) if isinstance(model, WannierModel) else model
        columns = {
            (index, name): bands.spin_orbit_columns(direction, mask)
            for index, direction in enumerate(settings.directions)
            for name, mask in settings.soi_masks.items()
        }
        return cls(bands, settings, columns)

    @property
    def batch_size(self) -> int:
        """K points a batch: fixed by the model alone, so that sums are the same for any number of processes."""
        per_k = 16 * (2 * self.bands.functions) ** 2 * (8 + 4 * self.bands.dimension)
        return int(np.clip(BATCH_BYTES // per_k, 1, 1024))

    def energies(self, batch: Batch) -> tuple[Floats, Floats]:
        """Band energies of Hbar, (k, 2n), and of H, (direction, mask, xi, k, 2n)."""
        operators = self.bands.operators(batch.kpoints)
        bare = response.band_energies(operators, None, 0.0)
        if self.settings.fermi_level != "neutral":
            return bare, np.empty(0)
        full = []
        for columns in self.columns.values():
            spin_orbit = self.bands.spin_orbit(columns, batch.kpoints, operators)
            full.append([response.band_energies(operators, spin_orbit, xi) for xi in self.settings.soi_scales])
        shape = (len(self.settings.directions), len(self.settings.soi_masks), len(self.settings.soi_scales))
        return bare, np.array(full).reshape(*shape, *bare.shape)

    def sums(self, batch: Batch, levels: ChemicalPotentials) -> list[Sums]:
        """Sums over the batch: with the fine mesh's mu and, for nested points, with the coarse mesh's too."""
        settings = self.settings
        operators = self.bands.operators(batch.kpoints)
        collinear = response.Collinear.of(operators)
        kt = BOLTZMANN_EV * np.asarray(settings.temperatures)
        threshold = response.splitting_threshold(min(settings.temperatures))
        step = FIRST_ORDER_STEP * float(kt.min())
        result = [Sums.zeros(settings, self.bands.dimension) for _ in range(2 if batch.nested else 1)]
        bare = response.band_energies(operators, None, 0.0)
        for level, sums in enumerate(result):
            mu, k_t = _grid(levels.bare[level], settings.fermi_shifts, kt)
            occupied = response.fermi(bare.ravel(), mu[:, None], k_t[:, None]).sum(axis=1)
            sums.electrons += occupied.reshape(sums.electrons.shape)
        for (direction, name), columns in self.columns.items():
            mask = list(settings.soi_masks).index(name)
            frame = spin_frame(settings.directions[direction])
            spin_orbit = self.bands.spin_orbit(columns, batch.kpoints, operators)
            first = response.first_order_dmi(operators, spin_orbit, step, threshold)
            a_1, a_2 = response.decomposition(collinear, spin_orbit, threshold)
            for level, sums in enumerate(result):
                grid = _grid(levels.bare[level], settings.fermi_shifts, kt)
                for target, coefficients in ((sums.D_1, first), (sums.a_I, a_1), (sums.a_II, a_2)):
                    target[direction, mask] += _evaluate(coefficients, grid, frame, target.shape[2:])
            for index, xi in enumerate(settings.soi_scales):
                dmi, current = response.dmi_and_spin_current(operators, spin_orbit, xi, threshold)
                for level, sums in enumerate(result):
                    grid = _grid(levels.full[level, direction, mask, index], settings.fermi_shifts, kt)
                    for target, coefficients in ((sums.D, dmi), (sums.Q, current)):
                        target[direction, mask, index] += _evaluate(coefficients, grid, frame, target.shape[3:])
        return result


def _grid(mu: Floats, shifts: Sequence[float], kt: Floats) -> tuple[Floats, Floats]:
    """Mu and kT of every (temperature, shift), flat; `mu` has one value a temperature."""
    return (mu[:, None] + np.asarray(shifts)[None, :]).ravel(), np.repeat(kt, len(shifts))


def _evaluate(
    coefficients: response.Coefficients, grid: tuple[Floats, Floats], frame: Floats, shape: tuple[int, ...]
) -> Floats:
    return response.to_lab(response.occupy(coefficients, *grid), frame).reshape(shape)


# -- workers ------------------------------------------------------------------------------------------

_worker_kernel: Kernel | None = None


def _start_worker(kernel: Kernel) -> None:
    global _worker_kernel  # noqa: PLW0603  (a pool's worker has no other place for what it starts with)
    _worker_kernel = kernel


def _work(name: str, arguments: tuple[Any, ...]) -> Any:
    return getattr(_worker_kernel, name)(*arguments)


class _Pool:
    """Maps a kernel's method over batches, here or in worker processes; results come in the order of the batches."""

    def __init__(self, kernel: Kernel, processes: int) -> None:
        self._kernel = kernel
        # fork shares the prepared operators; where it does not exist they are sent once.
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
        self._executor = (
            ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker, initargs=(kernel,))
            if processes > 1
            else None
        )

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def map(self, name: str, batches: list[Batch], *arguments: Any) -> Iterator[Any]:
        """kernel.name(batch, *arguments) for every batch, in order."""
        if self._executor is None:
            for batch in batches:
                yield getattr(self._kernel, name)(batch, *arguments)
        else:
            count = len(batches)
            yield from self._executor.map(_work, [name] * count, [(batch, *arguments) for batch in batches])


def _progress(show: bool, total: int, label: str) -> Progress:
    return Progress(total, label) if show else SilentProgress(total, label)


# -- chemical potentials --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class ChemicalPotentials:
    """mu in eV, without the shift, on the fine (0) and the nested coarse mesh (1).

    Parameters
    ----------
    full : ndarray, shape (2, direction, mask, xi, temperature)
        For D and Q.
    bare : ndarray, shape (2, temperature)
        For a(I), a(II), D(1), Q(1) and the electrons.
    """

    full: Floats
    bare: Floats


def _chemical_potentials(
    model: WannierModel | RashbaModel, settings: Settings, batches: list[Batch], pool: _Pool, progress: bool
) -> ChemicalPotentials:
    """Mu on the mesh in use and on the nested one, from charge neutrality or fixed."""
    kt = BOLTZMANN_EV * np.asarray(settings.temperatures)
    shape = (len(settings.directions), len(settings.soi_masks), len(settings.soi_scales), len(kt))
    if settings.fermi_level == "dft" or model.electrons is None:
        fixed = float(model.fermi_energy)
        return ChemicalPotentials(np.full((2, *shape), fixed), np.full((2, len(kt)), fixed))
    report = _progress(progress, settings.mesh.size, "band energies")
    bare, full, nested = [], [], []
    for batch, (bare_part, full_part) in zip(batches, pool.map("energies", batches), strict=True):
        bare.append(bare_part)
        full.append(full_part)
        nested.append(np.full(len(batch.kpoints), batch.nested))
        report.advance(len(batch.kpoints))
    bare_energies, inner = np.concatenate(bare), np.concatenate(nested)
    bare_mu = np.stack([_neutral(bare_energies[chosen], model.electrons, kt) for chosen in _two_levels(inner)])
    if settings.fermi_level == "neutral-bare":
        return ChemicalPotentials(np.broadcast_to(bare_mu[:, None, None, None], (2, *shape)).copy(), bare_mu)
    full_energies = np.concatenate(full, axis=-2)
    full_mu = np.zeros((2, *shape))
    for level, chosen in enumerate(_two_levels(inner)):
        for index in np.ndindex(*shape[:3]):
            full_mu[(level, *index)] = _neutral(full_energies[index][chosen], model.electrons, kt)
    return ChemicalPotentials(full_mu, bare_mu)


def _two_levels(nested: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """All points, and the nested ones (all again where no coarse mesh is nested)."""
    every = np.ones_like(nested)
    return every, nested if nested.any() else every


def _neutral(energies: Floats, electrons: float, kt: Floats) -> Floats:
    """Mu at which sum_kn f_kn / N_k = electrons, one a temperature.

    Raises
    ------
    InputError
        If the bands cannot hold that many electrons.
    """
    if not 0 < electrons < energies.shape[-1]:
        raise InputError(f"electrons: {electrons:g} do not fit into {energies.shape[-1]} bands; give fermi_level='dft'")
    lowest, highest = float(energies.min()), float(energies.max())

    def excess(mu: float, temperature: float) -> float:
        return float(response.fermi(energies, mu, temperature).sum() / len(energies) - electrons)

    return np.array([brentq(excess, lowest - 50 * t, highest + 50 * t, args=(t,), xtol=1e-13) for t in kt])


# -- the sum --------------------------------------------------------------------------------------------


def _sum(
    settings: Settings, batches: list[Batch], levels: ChemicalPotentials, pool: _Pool, progress: bool
) -> list[Sums]:
    """Sums over the fine and the nested mesh, divided by their numbers of k points."""
    dimension = len(settings.mesh.divisions)
    total = [Sums.zeros(settings, dimension) for _ in range(2)]
    report = _progress(progress, settings.mesh.size, "D, Q, a")
    for batch, parts in zip(batches, pool.map("sums", batches, levels), strict=True):
        for level, part in enumerate(parts):
            total[level] += part
        report.advance(len(batch.kpoints))
    coarse = settings.mesh.coarse
    result = [total[0].scaled(1 / settings.mesh.size)]
    return result if coarse is None else [*result, total[1].scaled(1 / coarse.size)]
