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
from ..kspace.opposite import EVERY, Channel, channels, stretch
from ..kspace.tabulated import TabulatedInterpolation
from ..model.operators import Operators, SpinOrbit
from ..model.rashba import RashbaModel
from ..model.spin_frame import spin_frame
from ..model.wannier import WannierModel
from ..quantities.first_order import FirstOrder, second_part
from ..quantities.green import dmi_green
from ..quantities.response import FiniteOrder
from ..states.collinear import Collinear, Splittings
from ..states.spinors import band_energies, eigenvalues, to_lab
from ..states.weights import Coefficients, Occupations, energy_window, occupy, splitting_threshold
from .chemical_potential import ChemicalPotentials
from .settings import Settings
from .sums import Sums

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

BATCH = 192
"""k points at which operators are interpolated at once, where memory allows it."""
LARGEST_ARRAY = 31 * 1024**2
"""... and each array stays below this: the C library maps larger ones anew every time (see `memory.keep_heap`)."""
PART_BYTES = 12 * 1024**2
"""Working arrays of the part of a batch that is worked on at once; larger ones fall out of the cache."""
SMALLEST_PART = 4
"""... but no fewer points than this: smaller ones waste calls."""


class BandModel(Protocol):
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
    def exact_velocity(self, columns: Any, kpoints: Floats) -> Complexes: ...  # noqa: D102
    def second_component(  # noqa: D102
        self, columns: Any, kpoints: Floats, operators: Operators
    ) -> tuple[Complexes, Complexes]: ...
    def exact_second_component(self, columns: Any, kpoints: Floats) -> Complexes: ...  # noqa: D102


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
    memory_limit : int
        Bytes of working arrays.
    """

    bands: BandModel
    settings: Settings
    columns: dict[tuple[int, str], Any]
    exact: dict[tuple[int, str], Any]
    memory_limit: int

    @classmethod
    def prepare(cls, model: WannierModel | RashbaModel, settings: Settings, memory_limit: int) -> Kernel:
        """Interpolation and V(R) of every direction and mask."""
        bands: BandModel = _interpolation(model, settings, memory_limit) if isinstance(model, WannierModel) else model
        columns, exact = {}, {}
        for index, direction in enumerate(settings.directions):
            for name, mask in settings.soi_masks.items():
                columns[index, name] = bands.spin_orbit_columns(direction, mask)
                if "a_II" in settings.quantities:
                    exact[index, name] = bands.exact_velocity_columns(direction, mask)
        return cls(bands, settings, columns, exact, memory_limit)

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
        for part in self._parts(len(batch.kpoints)):
            at, weights = operators.part(part), batch.weights[part]
            for key, spin_orbit in interactions.items():
                self._add_dmi_and_spin_current(result, at, spin_orbit.part(part), key, levels, weights)
        self._add_first_orders(result, batch, operators, interactions, levels)
        return result

    def _add_first_orders(
        self,
        result: list[Sums],
        batch: Batch,
        operators: Operators,
        interactions: dict[tuple[int, str], SpinOrbit],
        levels: ChemicalPotentials,
    ) -> None:
        """Add a(I), a(II), D(1) and the electrons; with time reversal one of k and -k is enough, see `channels`."""
        points, weights, split = np.arange(len(batch.kpoints)), batch.weights, False
        if self.bands.time_reversal and batch.opposite is not None:
            points, split = np.flatnonzero(batch.opposite), True
            weights = batch.opposite[points]
        if not len(points):
            return
        of_batch: dict[tuple[int, str], list[Channel]] = {}
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
        interactions: dict[tuple[int, str], list[Channel]],
        levels: ChemicalPotentials,
        weights: Floats,
    ) -> None:
        """Add a(I), a(II), D(1) of every direction and mask, and the electrons, of a part of a batch."""
        settings, asked = self.settings, self.settings.quantities
        grids = [_grid(levels.bare[level], settings.fermi_shifts, self._kt) for level in range(len(result))]
        if not settings.first_order:
            energies = band_energies(operators, None, 0.0)
        else:
            collinear = Collinear.of(operators)
            splittings = Splittings.of(collinear, self._threshold)
            window = energy_window(*np.concatenate(grids, axis=1))
            energies = collinear.joined
        bare = [Occupations.of(energies, *grid, weights) for grid in grids]
        for sums, occupations in zip(result, bare, strict=True):
            sums.electrons += occupations.electrons.reshape(sums.electrons.shape)
        for key, own in interactions.items():
            for channel in own:
                coefficients = _first_order(collinear, splittings, channel, window, asked)
                for sums, occupations in zip(result, bare, strict=True):
                    for quantity, values in coefficients.items():
                        self._add(getattr(sums, quantity), values, occupations, key, channel.components)

    def _add_dmi_and_spin_current(
        self,
        result: list[Sums],
        operators: Operators,
        spin_orbit: SpinOrbit,
        key: tuple[int, str],
        levels: ChemicalPotentials,
        weights: Floats,
    ) -> None:
        """Add D and Q of one direction and mask at every xi."""
        settings, (direction, name) = self.settings, key
        mask = list(settings.soi_masks).index(name)
        for index, xi in enumerate(settings.soi_scales if settings.finite_order else ()):
            grids = [
                _grid(levels.full[level, direction, mask, index], settings.fermi_shifts, self._kt)
                for level in range(len(result))
            ]
            window = energy_window(*np.concatenate(grids, axis=1))
            order = FiniteOrder(operators, spin_orbit, xi, window)
            current = order.spin_current() if "Q" in settings.quantities else None
            by_bands = "D" in settings.quantities and settings.method == "bands"
            dmi = order.dmi(self._threshold) if by_bands else None
            for sums, grid in zip(result, grids, strict=True):
                occupations = Occupations.of(order.energies, *grid, weights)
                if current is not None:
                    self._add(sums.Q[:, :, index], current, occupations, key)
                if dmi is not None:
                    self._add(sums.D[:, :, index], dmi, occupations, key)
                elif "D" in settings.quantities:
                    total = _green(operators, spin_orbit, xi, occupations)
                    frame = spin_frame(settings.directions[direction])
                    sums.D[direction, mask, index] += to_lab(total, frame).reshape(sums.D.shape[3:])

    def _add(
        self,
        target: Floats,
        coefficients: Coefficients,
        occupations: Occupations,
        key: tuple[int, str],
        components: tuple[bool, bool, bool] = EVERY,
    ) -> None:
        """Add a quantity of one direction and mask to its place in (direction, mask, temperature, shift, 3, d)."""
        direction, name = key
        mask = list(self.settings.soi_masks).index(name)
        total = occupy(coefficients, occupations)
        if components != EVERY:
            total = total * np.array(components)[: total.shape[-2], None]
        total = to_lab(total, spin_frame(self.settings.directions[direction]))
        target[direction, mask] += total.reshape(target.shape[2:])

    @property
    def _kt(self) -> Floats:
        """One k_B T a temperature, eV."""
        return BOLTZMANN_EV * np.asarray(self.settings.temperatures)

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


def _first_order(
    bands: Collinear,
    splittings: Splittings,
    channel: Channel,
    window: tuple[float, float],
    asked: Sequence[str],
) -> dict[str, Coefficients]:
    """The quantities that are asked for, by name."""
    along_n = channel.components[2]
    first = FirstOrder(bands, splittings, channel.spin_orbit, window, channel.flip, along_n)
    quantities = {"D_1": first.dmi, "a_I": first.first_part, "a_II": first.second_part}
    found = {name: quantity() for name, quantity in quantities.items() if name in asked}
    if channel.exact is not None:
        found["a_II_exact"] = second_part(bands, channel.exact, channel.exact_flip, along_n)
    return found


def _grid(mu: Floats, shifts: Sequence[float], kt: Floats) -> tuple[Floats, Floats]:
    """Mu and kT of every (temperature, shift), flat; `mu` has one value a temperature."""
    return (mu[:, None] + np.asarray(shifts)[None, :]).ravel(), np.repeat(kt, len(shifts))


def _green(operators: Operators, spin_orbit: SpinOrbit, xi: float, occupations: Occupations) -> Floats:
    """D from Green functions, summed over the batch: (mu and kT, component, d)."""
    grid = zip(occupations.mu, occupations.kt, strict=True)
    return np.stack(
        [
            np.tensordot(occupations.weights, dmi_green(operators, spin_orbit, xi, float(mu), float(kt)), axes=1)
            for mu, kt in grid
        ]
    )
