"""What a worker does with one batch of k points."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..constants import BOLTZMANN_EV
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
PART_BYTES = 12 * 1024**2
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

    def sums(self, batch: Batch, levels: ChemicalPotentials) -> list[Sums]:
        """Sums over the batch: with the fine mesh's mu and, for nested points, with the coarse mesh's too."""
        result = [Sums.zeros(self.settings, self.bands.dimension) for _ in range(2 if batch.nested else 1)]
        operators = self.bands.operators(batch.kpoints)
        interactions = {
            key: self.bands.spin_orbit(columns, batch.kpoints, operators) for key, columns in self.columns.items()
        }
        for part in self._parts(len(batch.kpoints)) if self.settings.finite_order else ():
            at, weights = operators.part(part), batch.weights[part]
            for key, spin_orbit in interactions.items():
                self._add_finite_order(result, at, spin_orbit.part(part), key, levels, weights)
        self._add_first_orders(result, batch, operators, interactions, levels)
        return result

    def _add_finite_order(
        self,
        result: list[Sums],
        operators: Operators,
        spin_orbit: SpinOrbit,
        key: Key,
        levels: ChemicalPotentials,
        weights: Floats,
    ) -> None:
        """Add the quantities of H(xi) of one direction and mask, at every xi, of a part of a batch."""
        direction, mask = self._place(key)
        for index, xi in enumerate(self.settings.soi_scales):
            grids = [self._grid(levels.full[level, direction, mask, index]) for level in range(len(result))]
            window = energy_window(*np.concatenate(grids, axis=1))
            states = SpinorStates(operators, spin_orbit, xi, self._threshold, window)
            occupations = [Occupations.of(states.energies, *grid, weights) for grid in grids]
            for quantity in self.settings.finite_order:
                coefficients = quantity.coefficients(states)
                for sums, occupation in zip(result, occupations, strict=True):
                    target = sums.tensors[quantity.name][:, :, index]
                    self._add(target, quantity, quantity.summed(coefficients, occupation), key)

    def _add_first_orders(
        self,
        result: list[Sums],
        batch: Batch,
        operators: Operators,
        interactions: dict[Key, SpinOrbit],
        levels: ChemicalPotentials,
    ) -> None:
        """Add what is of first order, and the electrons; with time reversal one of k and -k is enough: `opposite`."""
        points, weights, split = np.arange(len(batch.kpoints)), batch.weights, False
        if self.bands.time_reversal and batch.opposite is not None:
            points, split = np.flatnonzero(batch.opposite), True
            weights = batch.opposite[points]
        if not len(points):
            return
        of_batch: dict[Key, list[Channel]] = {}
        if self.settings.first_order:
            at, kpoints = operators.part(stretch(points)), batch.kpoints[points]
            for key, spin_orbit in interactions.items():
                columns = self.columns[key], self.exact.get(key)
                here = spin_orbit.part(stretch(points))
                of_batch[key] = channels(self.bands, columns, kpoints, at, here, split)
        for part in self._parts(len(points)):
            of_part = {key: [channel.part(part) for channel in own] for key, own in of_batch.items()}
            self._add_first_order(result, operators.part(stretch(points[part])), of_part, levels, weights[part])

    def _add_first_order(
        self,
        result: list[Sums],
        operators: Operators,
        interactions: dict[Key, list[Channel]],
        levels: ChemicalPotentials,
        weights: Floats,
    ) -> None:
        """Add the first order of every direction and mask, and the electrons, of a part of a batch."""
        grids = [self._grid(levels.bare[level]) for level in range(len(result))]
        if not self.settings.first_order:
            energies = band_energies(operators, None, 0.0)
        else:
            bands = Collinear.of(operators)
            splittings = Splittings.of(bands, self._threshold)
            window = energy_window(*np.concatenate(grids, axis=1))
            energies = bands.joined
        occupations = [Occupations.of(energies, *grid, weights) for grid in grids]
        for sums, occupation in zip(result, occupations, strict=True):
            sums.electrons += occupation.electrons.reshape(sums.electrons.shape)
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
                    coefficients = quantity.coefficients(states)
                    for sums, occupation in zip(result, occupations, strict=True):
                        total = quantity.summed(coefficients, occupation)
                        self._add(sums.tensors[quantity.name], quantity, total, key, channel.components)

    def _add(
        self,
        target: Floats,
        quantity: Quantity,
        total: Floats,
        key: Key,
        components: tuple[bool, bool, bool] = EVERY,
    ) -> None:
        """Add a quantity of one direction and mask to its place in (direction, mask, temperature, shift, *axes)."""
        if components != EVERY:
            total = total * np.array(components)[: total.shape[1]].reshape(1, -1, *[1] * (total.ndim - 2))
        place = self._place(key)
        total = quantity.in_lab(total, spin_frame(self.settings.directions[place[0]]))
        target[place] += total.reshape(target.shape[2:])

    def _place(self, key: Key) -> tuple[int, int]:
        """Numbers of a direction and mask."""
        direction, name = key
        return direction, list(self.settings.soi_masks).index(name)

    def _grid(self, mu: Floats) -> tuple[Floats, Floats]:
        """Mu and kT of every (temperature, shift), flat; `mu` has one value a temperature."""
        shifts = np.asarray(self.settings.fermi_shifts)
        kt = BOLTZMANN_EV * np.asarray(self.settings.temperatures)
        return (mu[:, None] + shifts[None, :]).ravel(), np.repeat(kt, len(shifts))

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
