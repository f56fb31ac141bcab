"""What a worker does with one batch of k points."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from . import first_order, response
from .brillouin import Batch
from .chemical_potential import ChemicalPotentials
from .constants import BOLTZMANN_EV
from .green import dmi_green
from .interpolation import Interpolation, Operators, SpinOrbit, spin_frame
from .model import WannierModel
from .rashba import RashbaModel
from .response import Occupations
from .settings import Settings
from .sums import Sums

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

BATCH_BYTES = 12 * 1024**2
"""Working arrays of one batch of k points; larger ones fall out of the cache, smaller ones waste calls."""
SMALLEST_BATCH = 4
"""... but no fewer points than this, where memory allows it."""


class BandModel(Protocol):
    """What the kernel asks of a model: operators at k points."""

    @property
    def functions(self) -> int: ...  # noqa: D102
    @property
    def dimension(self) -> int: ...  # noqa: D102
    @property
    def measure(self) -> float: ...  # noqa: D102
    def operators(self, kpoints: Floats) -> Operators: ...  # noqa: D102
    def spin_orbit_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Any: ...  # noqa: D102
    def spin_orbit(self, columns: Any, kpoints: Floats, operators: Operators) -> SpinOrbit: ...  # noqa: D102
    def exact_velocity_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Any: ...  # noqa: D102
    def exact_velocity(self, columns: Any, kpoints: Floats) -> Complexes: ...  # noqa: D102


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A model with its spin-orbit operators prepared: everything a worker needs.

    Parameters
    ----------
    bands : BandModel
    settings : Settings
    columns, exact : dict
        V(R), and v^SOI(R) from differentiated projectors where the model has them (else None), of every (direction,
        mask): in the form that `bands` made them and takes them.
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
        bands: BandModel = Interpolation(model) if isinstance(model, WannierModel) else model
        columns, exact = {}, {}
        for index, direction in enumerate(settings.directions):
            for name, mask in settings.soi_masks.items():
                columns[index, name] = bands.spin_orbit_columns(direction, mask)
                exact[index, name] = bands.exact_velocity_columns(direction, mask)
        return cls(bands, settings, columns, exact, memory_limit)

    @property
    def batch_size(self) -> int:
        """K points a batch: fixed by the model alone, so that sums are the same for any number of processes."""
        per_k = 16 * (2 * self.bands.functions) ** 2 * (8 + 4 * self.bands.dimension)
        # The limit also has to hold the R-space operators and the parts that wait to be added.
        wanted = max(BATCH_BYTES, SMALLEST_BATCH * per_k)
        return int(np.clip(min(wanted, self.memory_limit // 4) // per_k, 1, 1024))

    def energies(self, batch: Batch, full: bool) -> tuple[Floats, Floats]:
        """Band energies of Hbar, (k, 2n), and of H, (direction, mask, xi, k, 2n), empty unless `full`."""
        operators = self.bands.operators(batch.kpoints)
        bare = response.band_energies(operators, None, 0.0)
        if not full:
            return bare, np.empty(0)
        energies = []
        for columns in self.columns.values():
            spin_orbit = self.bands.spin_orbit(columns, batch.kpoints, operators)
            energies.append([response.band_energies(operators, spin_orbit, xi) for xi in self.settings.soi_scales])
        shape = (len(self.settings.directions), len(self.settings.soi_masks), len(self.settings.soi_scales))
        return bare, np.array(energies).reshape(*shape, *bare.shape)

    def sums(self, batch: Batch, levels: ChemicalPotentials) -> list[Sums]:
        """Sums over the batch: with the fine mesh's mu and, for nested points, with the coarse mesh's too."""
        settings = self.settings
        kt = BOLTZMANN_EV * np.asarray(settings.temperatures)
        threshold = response.splitting_threshold(min(settings.temperatures))
        result = [Sums.zeros(settings, self.bands.dimension) for _ in range(2 if batch.nested else 1)]
        operators = self.bands.operators(batch.kpoints)
        collinear = first_order.Collinear.of(operators)
        splittings = first_order.Splittings.of(collinear, threshold)
        bare = [
            Occupations.of(collinear.joined, *_grid(levels.bare[level], settings.fermi_shifts, kt), batch.weights)
            for level in range(len(result))
        ]
        for sums, occupations in zip(result, bare, strict=True):
            sums.electrons += occupations.electrons.reshape(sums.electrons.shape)
        for (direction, name), columns in self.columns.items():
            mask = list(settings.soi_masks).index(name)
            frame = spin_frame(settings.directions[direction])
            spin_orbit = self.bands.spin_orbit(columns, batch.kpoints, operators)
            first = first_order.FirstOrder(collinear, splittings, spin_orbit)
            firsts = {"D_1": first.dmi(), "a_I": first.first_part(), "a_II": first.second_part()}
            exact = self.exact[direction, name]
            if exact is not None:
                velocity = self.bands.exact_velocity(exact, batch.kpoints)
                firsts["a_II_exact"] = first_order.second_part(collinear, velocity)
            for sums, occupations in zip(result, bare, strict=True):
                for quantity, coefficients in firsts.items():
                    target = getattr(sums, quantity)
                    target[direction, mask] += _evaluate(coefficients, occupations, frame, target.shape[2:])
            for index, xi in enumerate(settings.soi_scales):
                grids = [
                    _grid(levels.full[level, direction, mask, index], settings.fermi_shifts, kt)
                    for level in range(len(result))
                ]
                window = response.energy_window(*np.concatenate(grids, axis=1))
                dmi, current = response.dmi_and_spin_current(operators, spin_orbit, xi, threshold, window)
                for sums, grid in zip(result, grids, strict=True):
                    occupations = Occupations.of(dmi.energies, *grid, batch.weights)
                    shape = sums.D.shape[3:]
                    sums.Q[direction, mask, index] += _evaluate(current, occupations, frame, shape)
                    if settings.method == "bands":
                        sums.D[direction, mask, index] += _evaluate(dmi, occupations, frame, shape)
                    else:
                        total = _green(operators, spin_orbit, xi, occupations)
                        sums.D[direction, mask, index] += response.to_lab(total, frame).reshape(shape)
        return result


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


def _evaluate(
    coefficients: response.Coefficients, occupations: Occupations, frame: Floats, shape: tuple[int, ...]
) -> Floats:
    return response.to_lab(response.occupy(coefficients, occupations), frame).reshape(shape)
