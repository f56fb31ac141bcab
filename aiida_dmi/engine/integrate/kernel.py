"""What a worker does with one batch of k points."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..constants import BOLTZMANN_EV
from ..kspace.aliases import Aliases
from ..kspace.interpolation import Interpolation
from ..kspace.mesh import Batch
from ..kspace.opposite import EVERY, Channel, SplitBands, channels, stretch
from ..kspace.tabulated import TabulatedInterpolation
from ..model.operators import Operators, SpinOrbit
from ..model.rashba import RashbaModel
from ..model.spin_frame import spin_frame
from ..model.wannier import WannierModel
from ..quantities.quantity import Quantity
from ..states.coefficients import Occupations, energy_window, splitting_threshold
from ..states.collinear import Collinear, Splittings
from ..states.first_order_states import FirstOrderStates
from ..states.spinor_states import SpinorStates
from ..states.spinors import band_energies, eigenvalues
from .chemical_potential import ChemicalPotentials
from .k_error import band_speeds
from .settings import Settings
from .sums import Sums

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]
Key = tuple[int, str]
"""Number of a direction and name of a mask."""

BATCH = 192
"""k points at which operators are interpolated at once, where memory allows it."""
LARGEST_ARRAY = 31 * 1024**2
"""... and each array stays below this: the C library maps larger ones anew every time (see `heap.keep_heap`)."""
PART_BYTES = 24 * 1024**2
"""Working arrays of the part of a batch that is worked on at once; larger ones fall out of the cache."""
SMALLEST_PART = 4
"""... but no fewer points than this: smaller ones waste calls."""


class BandModel(SplitBands, Protocol):
    """What the kernel asks of a model: operators at k points."""

    @property
    def functions(self) -> int: ...  # noqa: D102
    @property
    def dimension(self) -> int: ...  # noqa: D102
    @property
    def measure(self) -> float: ...  # noqa: D102
    @property
    def time_reversal(self) -> bool: ...  # noqa: D102
    def hamiltonian(self, kpoints: Floats) -> Complexes: ...  # noqa: D102
    def interaction(self, columns: Any, kpoints: Floats) -> Complexes: ...  # noqa: D102
    def operators(self, kpoints: Floats) -> Operators: ...  # noqa: D102
    def spin_orbit_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Any: ...  # noqa: D102
    def spin_orbit(self, columns: Any, kpoints: Floats, operators: Operators) -> SpinOrbit: ...  # noqa: D102
    def exact_velocity_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Any: ...  # noqa: D102


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a sum belongs.

    Parameters
    ----------
    quantity : Quantity
    key : Key
    xi : int or None
        Number of the scale, of a quantity at finite xi.
    components : tuple of bool
        Those of the spin frame that count.
    """

    quantity: Quantity
    key: Key
    xi: int | None = None
    components: tuple[bool, bool, bool] = EVERY


Totals = dict[Target, Floats]
"""Sums over some points in the spin frame, (row, level and temperature and shift, *axes)."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A model with its spin-orbit operators prepared: everything a worker needs.

    Parameters
    ----------
    bands : BandModel
    settings : Settings
    columns, exact : dict
        V(R), and v^SOI(R) from differentiated projectors where the model has them (else None) and they are asked for,
        of every (direction, mask): in the form that `bands` made them and takes them.
    absent : tuple of str
        Quantities that accompany others, and that this model lacks something for: their sums stay zero.
    memory_limit : int
        Bytes of working arrays.
    """

    bands: BandModel
    settings: Settings
    columns: dict[Key, Any]
    exact: dict[Key, Any]
    absent: tuple[str, ...]
    memory_limit: int

    @classmethod
    def prepare(cls, model: WannierModel | RashbaModel, settings: Settings, memory_limit: int) -> Kernel:
        """Interpolation and V(R) of every direction and mask."""
        bands: BandModel = _interpolation(model, settings, memory_limit) if isinstance(model, WannierModel) else model
        absent = tuple(one.name for one in settings.summed if not one.given_by(model))
        with_exact = any(one.exact and one.name not in absent for one in settings.first_order)
        columns, exact = {}, {}
        for index, direction in enumerate(settings.directions):
            for name, mask in settings.soi_masks.items():
                columns[index, name] = bands.spin_orbit_columns(direction, mask)
                if with_exact:
                    exact[index, name] = bands.exact_velocity_columns(direction, mask)
        return cls(bands, settings, columns, exact, absent, memory_limit)

    @property
    def batch_size(self) -> int:
        """K points a batch: fixed by model and settings, so that sums are the same for any number of processes."""
        # Hbar, O, its commutator and vbar; V and v^SOI of every direction and mask
        d, matrix = self.bands.dimension, 16 * self.bands.functions**2
        per_k = matrix * (4 + 4 * d + (3 + 3 * d) * len(self.columns))
        wanted = min(BATCH, max(LARGEST_ARRAY // (3 * d * matrix), SMALLEST_PART))
        # The limit also has to hold the R-space operators, the parts of a batch and what waits to be added.
        return int(np.clip(self.memory_limit // 4 // per_k, 1, wanted))

    @property
    def part_size(self) -> int:
        """K points of a batch that are worked on at once."""
        per_k = 16 * (2 * self.bands.functions) ** 2 * (8 + 4 * self.bands.dimension)
        wanted = max(PART_BYTES, SMALLEST_PART * per_k)
        return max(1, min(wanted, self.memory_limit // 4) // per_k)

    @property
    def partition(self) -> tuple[int, int, str, bool]:
        """What the result's last bits depend on beside model and settings."""
        return self.batch_size, self.part_size, type(self.bands).__name__, self.bands.time_reversal

    def _parts(self, points: int) -> list[slice]:
        """A batch in the parts that are worked on at once."""
        size = self.part_size
        return [slice(start, min(start + size, points)) for start in range(0, points, size)]

    def energies(self, batch: Batch, full: bool) -> tuple[Floats, Floats]:
        """Band energies of Hbar, (k, 2n), and of H, (direction, mask, xi, k, 2n), empty unless `full`."""
        hamiltonian = self.bands.hamiltonian(batch.kpoints)
        bare = eigenvalues(hamiltonian, None, 0.0)
        if not full:
            return bare, np.empty(0)
        energies = []
        for columns in self.columns.values():
            interaction = self.bands.interaction(columns, batch.kpoints)
            energies.append([self._energies(hamiltonian, interaction, xi) for xi in self.settings.soi_scales])
        shape = (len(self.settings.directions), len(self.settings.soi_masks), len(self.settings.soi_scales))
        return bare, np.array(energies).reshape(*shape, *bare.shape)

    def _energies(self, hamiltonian: Complexes, interaction: Complexes, xi: float) -> Floats:
        parts = self._parts(hamiltonian.shape[1])
        return np.concatenate([eigenvalues(hamiltonian[:, p], interaction[:, p], xi) for p in parts])

    def speeds(self, batch: Batch) -> tuple[Floats, Floats]:
        """Energies of the bands of Hbar and their hbar |v|, each (k, 2n); with time reversal of one of k and -k."""
        kpoints = batch.kpoints
        if self.bands.time_reversal and batch.opposite is not None:
            kpoints = kpoints[batch.opposite > 0]
        return band_speeds(self.bands.operators(kpoints))

    def sums(self, batch: Batch, levels: ChemicalPotentials, aliases: Aliases) -> list[Sums]:
        """Sums over the batch with each of the chemical potentials; with the first, also those of the cosines."""
        cosines = np.concatenate([np.ones((1, len(batch.kpoints))), aliases.cosines(batch.kpoints)])
        rows = [len(cosines), *[1] * (len(levels.bare) - 1)]
        result = [Sums.zeros(self.settings, self.bands.dimension, number) for number in rows]
        operators = self.bands.operators(batch.kpoints)
        interactions = {
            key: self.bands.spin_orbit(columns, batch.kpoints, operators) for key, columns in self.columns.items()
        }
        totals: Totals = {}
        for part in self._parts(len(batch.kpoints)) if self.settings.finite_order else ():
            at, weights = operators.part(part), batch.weights[part] * cosines[:, part]
            for key, spin_orbit in interactions.items():
                self._add_finite_order(result, totals, at, spin_orbit.part(part), key, levels, weights)
        self._add_first_orders(result, totals, batch, operators, interactions, levels, cosines)
        for target, total in totals.items():
            self._add(result, target, total)
        return result

    def _add_finite_order(
        self,
        result: list[Sums],
        totals: Totals,
        operators: Operators,
        spin_orbit: SpinOrbit,
        key: Key,
        levels: ChemicalPotentials,
        weights: Floats,
    ) -> None:
        """Add the quantities of H(xi) of one direction and mask, at every xi, of a part of a batch."""
        direction, mask = self._place(key)
        for index, xi in enumerate(self.settings.soi_scales):
            grid = self._grid(levels.full[:, direction, mask, index])
            states = SpinorStates(operators, spin_orbit, xi, self._threshold, energy_window(*grid))
            occupations = Occupations.of(states.energies, *grid, weights)
            for sums, electrons in zip(result, self._by_level(occupations.electrons, result), strict=True):
                sums.filled[:, direction, mask, index] += electrons
            for quantity in self.settings.finite_order:
                total = quantity.summed(quantity.coefficients(states), occupations)
                _add_to(totals, Target(quantity, key, index), total)

    def _add_first_orders(
        self,
        result: list[Sums],
        totals: Totals,
        batch: Batch,
        operators: Operators,
        interactions: dict[Key, SpinOrbit],
        levels: ChemicalPotentials,
        cosines: Floats,
    ) -> None:
        """Add what is of first order, and the electrons; with time reversal one of k and -k is enough: `opposite`."""
        points, weights, split = np.arange(len(batch.kpoints)), batch.weights, False
        if self.bands.time_reversal and batch.opposite is not None:
            points, split = np.flatnonzero(batch.opposite), True
            weights = batch.opposite[points]
        if not len(points):
            return
        weights = weights * cosines[:, points]  # the same at k and -k
        of_batch: dict[Key, list[Channel]] = {}
        if self.settings.first_order:
            at, kpoints = operators.part(stretch(points)), batch.kpoints[points]
            for key, spin_orbit in interactions.items():
                columns = self.columns[key], self.exact.get(key)
                here = spin_orbit.part(stretch(points))
                of_batch[key] = channels(self.bands, columns, kpoints, at, here, split)
        for part in self._parts(len(points)):
            of_part = {key: [channel.part(part) for channel in own] for key, own in of_batch.items()}
            at = operators.part(stretch(points[part]))
            self._add_first_order(result, totals, at, of_part, levels, weights[:, part])

    def _add_first_order(
        self,
        result: list[Sums],
        totals: Totals,
        operators: Operators,
        interactions: dict[Key, list[Channel]],
        levels: ChemicalPotentials,
        weights: Floats,
    ) -> None:
        """Add the first order of every direction and mask, and the electrons, of a part of a batch."""
        grid = self._grid(levels.bare)
        if not self.settings.first_order:
            energies = band_energies(operators, None, 0.0)
        else:
            bands = Collinear.of(operators)
            splittings = Splittings.of(bands, self._threshold)
            window = energy_window(*grid)
            energies = bands.joined
        occupations = Occupations.of(energies, *grid, weights)
        for sums, electrons in zip(result, self._by_level(occupations.electrons, result), strict=True):
            sums.electrons += electrons
        for key, own in interactions.items():
            for channel in own:
                states = FirstOrderStates(
                    bands,
                    splittings,
                    channel.spin_orbit,
                    window,
                    channel.flip,
                    along_n=channel.components[2],
                    exact=channel.exact,
                    exact_flip=channel.exact_flip,
                )
                for quantity in self.settings.first_order:
                    if quantity.name in self.absent:
                        continue
                    total = quantity.summed(quantity.coefficients(states), occupations)
                    _add_to(totals, Target(quantity, key, components=channel.components), total)

    def _by_level(self, total: Floats, result: list[Sums]) -> list[Floats]:
        """Sums (row, level and temperature and shift, *axes) by level, each (its rows, temperature, shift, *axes)."""
        inner = len(self.settings.temperatures), len(self.settings.fermi_shifts)
        by_level = total.reshape(len(total), len(result), *inner, *total.shape[2:])
        return [by_level[: len(sums.electrons), level] for level, sums in enumerate(result)]

    def _add(self, result: list[Sums], target: Target, total: Floats) -> None:
        """Add a batch's sum, in the spin frame, to its place: (row, direction, mask, temperature, shift, *axes)."""
        quantity, components = target.quantity, target.components
        direction, mask = self._place(target.key)
        frame = spin_frame(self.settings.directions[direction])
        for sums, own in zip(result, self._by_level(total, result), strict=True):
            values = own
            if components != EVERY:
                values = own * np.array(components)[: own.shape[3]].reshape(-1, *[1] * (own.ndim - 4))
            tensor = sums.tensors[quantity.name]
            place = tensor[:, :, :, target.xi] if target.xi is not None else tensor
            place[:, direction, mask] += quantity.in_lab(values, frame)

    def _place(self, key: Key) -> tuple[int, int]:
        """Numbers of a direction and mask."""
        direction, name = key
        return direction, list(self.settings.soi_masks).index(name)

    def _grid(self, mu: Floats) -> tuple[Floats, Floats]:
        """Mu and kT of every (level, temperature, shift), flat; `mu` is (level, temperature)."""
        shifts = np.asarray(self.settings.fermi_shifts)
        kt = BOLTZMANN_EV * np.asarray(self.settings.temperatures)
        return (mu[..., None] + shifts).ravel(), np.tile(np.repeat(kt, len(shifts)), len(mu))

    @property
    def _threshold(self) -> float:
        return splitting_threshold(min(self.settings.temperatures))


def _interpolation(model: WannierModel, settings: Settings, memory_limit: int) -> BandModel:
    """With tables of products where the mesh is worth it and half of the memory holds them."""
    plain = Interpolation(model)
    columns = len(settings.directions) * len(settings.soi_masks)
    if TabulatedInterpolation.pays(plain, columns, settings.mesh.size, memory_limit // 2):
        return TabulatedInterpolation(plain)
    return plain


def _add_to(totals: Totals, target: Target, total: Floats) -> None:
    """Add to what is there already."""
    if target in totals:
        totals[target] += total
    else:
        totals[target] = total
