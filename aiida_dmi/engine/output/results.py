"""From sums over k to the labelled result: dimensions, units, errors and conventions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ... import __version__
from ..errors import InputError
from ..files.netcdf import load_dataset, save_dataset
from ..files.stored_version import check_version
from ..integrate.chemical_potential import ChemicalPotentials
from ..integrate.k_error import KError, k_error
from ..integrate.settings import Settings
from ..integrate.sums import Sums
from ..kspace.aliases import Aliases
from ..model.rashba import RashbaModel
from ..model.wannier import WannierModel
from ..quantities.quantity import Filling, Quantity, energy_length
from ..quantities.registry import DERIVED, QUANTITIES, TITLES, is_finite

Floats = npt.NDArray[np.float64]

FORMAT = "aiida-dmi-response"
VERSION = 2

SMALLEST_CHANGE = 1e-9
"""Electrons between the two levels, below which mu is taken to lie in a gap."""

SIGN = (
    "F = sum_j D_j . (n x dn/dr_j); for n = (sin qx, 0, cos qx) F = q D_yx; film normal +z; "
    "D_yx > 0 favours q < 0 (left-handed cycloid); i: spin or DMI-vector component, j: propagation direction; "
    "direction: axis of the spin-up spinor"
)
COORDINATES = {
    "direction": "OUT", "mask": "OUT", "soi_scale": "f", "temperature": "f", "fermi_shift": "f", "i": "OUT", "j": "OUT",
}  # fmt: skip
"""Axes of a result, and the kinds of numpy's types that hold names or numbers."""


@dataclasses.dataclass(frozen=True)
class Means:
    """Means over one mesh, and what their quantities are in their units.

    Parameters
    ----------
    model, settings
    levels : ChemicalPotentials
        The mesh's, and where mu is not fixed a second one above it.
    sums : list of Sums
        One for each level.
    """

    model: WannierModel | RashbaModel
    settings: Settings
    levels: ChemicalPotentials
    sums: list[Sums]

    @property
    def quantities(self) -> list[Quantity]:
        """That were asked for and that the model has."""
        return [one for one in self.settings.summed if one.given_by(self.model)]

    def tensors(self, level: int = 0) -> dict[str, Floats]:
        """What was asked for, and what follows from it, at a level and the electrons of level 0."""
        electrons = self.sums[0].electrons[0]
        values = {
            one.name: one.completed(self.sums[level].tensors[one.name][0], self._filling(one, level, electrons))
            for one in self.quantities
        }
        return self._with_derived(values)

    def errors(self, aliases: Aliases, thermal: Floats) -> dict[str, KError]:
        """What the mesh's aliases add to each tensor; `thermal`: decay of the fastest band, (way, temperature, shift).

        Where mu is that of neutrality it moves with the number of electrons: an alias F_n of their number moves it by
        -F_n/(dn/dmu), and X by that times dX/dmu. So the aliases of X at the right filling are F_X - (dX/dn) F_n.
        """
        values, coefficients = self.tensors(), {}
        slopes = self._slopes() if len(self.sums) > 1 else {}
        for one in self.quantities:
            # Of fixed mu the number of electrons has aliases of its own.
            electrons = self.sums[0].electrons[1:] * (not slopes)
            mean, filling = self.sums[0].tensors[one.name][1:], self._filling(one, 0, electrons)
            found = one.completed(mean, filling)
            if slopes:
                number = self._number(one, 0)[1:]
                scaled = slopes[one.name] / one.unit(self.model).factor
                found = found - scaled * number.reshape(*number.shape, *[1] * len(one.axes))
            coefficients[one.name] = found
        return {
            name: k_error(found, aliases, len(shown(name).axes), values[name], thermal)
            for name, found in self._with_derived(coefficients).items()
        }

    def _with_derived(self, values: dict[str, Floats]) -> dict[str, Floats]:
        """In their units, with what follows from them."""
        tensors = {one.name: one.unit(self.model).factor * values[one.name] for one in self.quantities}
        for derived in DERIVED:
            if set(derived.of) <= set(tensors):
                tensors[derived.name] = derived.value(tensors)
        return {name: tensors[name] for name in TITLES if name in tensors}

    def _slopes(self) -> dict[str, Floats]:
        """dX/dn of every quantity: changes of X and of the electrons between the two levels."""
        first, second = self.tensors(0), self.tensors(1)
        slopes = {}
        for one in self.quantities:
            change = self._number(one, 1)[0] - self._number(one, 0)[0]
            change = change.reshape(*change.shape, *[1] * len(one.axes))
            # In a gap mu moves, and nothing with it.
            filled = np.abs(change) > SMALLEST_CHANGE
            slopes[one.name] = np.where(
                filled, (second[one.name] - first[one.name]) / np.where(filled, change, 1.0), 0.0
            )
        return slopes

    def _number(self, one: Quantity, level: int) -> Floats:
        """The electrons that a quantity's mu follows from, (row, direction, mask, xi, temperature, shift)."""
        sums = self.sums[level]
        if one.finite and self.settings.fermi_level == "neutral":
            return sums.filled
        electrons = sums.electrons[:, None, None]
        return electrons[:, :, :, None] if one.finite else electrons

    def _filling(self, one: Quantity, level: int, electrons: Floats) -> Filling:
        mu = self.levels.full[level]
        if not one.finite:
            mu = np.broadcast_to(self.levels.bare[level], mu.shape[:2] + mu.shape[-1:])
        if electrons.ndim > 2:  # of many rows
            electrons = electrons.reshape(len(electrons), *[1] * (mu.ndim - 1), *electrons.shape[1:])
        return Filling(mu[..., None] + np.asarray(self.settings.fermi_shifts), electrons)


def dataset(
    means: Means, errors: Mapping[str, KError], symmetry: str = "none", residual: Floats | None = None
) -> xr.Dataset:
    """The labelled result of `compute`.

    Parameters
    ----------
    means : Means
    errors : dict
        Of each tensor.
    symmetry : str
        Which group reduced the mesh, in words.
    residual : ndarray, optional
        Forbidden part of D, (direction, mask, xi, temperature, shift).
    """
    model, settings, levels, sums = means.model, means.settings, means.levels, means.sums
    tensors = means.tensors()
    outer, inner = ("direction", "mask"), ("temperature", "fermi_shift")
    variables: dict[str, Any] = {}
    for name, values in tensors.items():
        one = shown(name)
        unit, axes = one.unit(model), [axis.name for axis in one.axes]
        dims = (*outer, "soi_scale", *inner, *axes) if is_finite(name) else (*outer, *inner, *axes)
        attrs = {"units": unit.name, "per": unit.per, "long_name": TITLES[name]}
        variables[name] = (dims, values, attrs)
        variables[f"{name}_error"] = (
            dims, errors[name].error, {**attrs, "long_name": f"k error of {name}; nan: kT not resolved"},
        )  # fmt: skip
    if "D" in settings.quantities:
        nothing = np.full(sums[0].tensors["D"].shape[1:-2], np.nan)
        variables["symmetry_residual"] = (
            (*outer, "soi_scale", *inner),
            nothing if residual is None else residual,
            {"units": "1", "long_name": "|D - PD|/|D|: part of D that the magnetic point group forbids, full mesh"},
        )
    if {"D_1", "Q_1"} <= set(tensors):
        variables["closure"] = (
            (*outer, *inner),
            _closure(tensors, [np.asarray(n) for n in settings.directions]),
            {"units": "1", "long_name": "|D_1 + Q_1|/|D_1|, components normal to n"},
        )
    if settings.finite_order:
        variables["mu"] = (
            (*outer, "soi_scale", "temperature"),
            levels.full[0],
            {"units": "eV", "long_name": "chemical potential of D and Q at zero shift"},
        )
    variables |= {
        "mu_bare": (
            ("temperature",),
            levels.bare[0],
            {"units": "eV", "long_name": "chemical potential of a_I, a_II, D_1, Q_1 at zero shift"},
        ),
        "electrons": (
            inner,
            sums[0].electrons[0] * _measure(model),
            {"units": "1", "per": energy_length(model).per, "long_name": "electrons of Hbar against the shift"},
        ),
        "direction_vector": (("direction", "i"), np.asarray(settings.directions), {"units": "1"}),
        "mask_weights": (("mask", "atom"), np.asarray(list(settings.soi_masks.values())), {"units": "1"}),
    }
    coordinates: dict[str, Any] = {
        "direction": settings.direction_labels,
        "mask": list(settings.soi_masks),
        "soi_scale": ("soi_scale", np.asarray(settings.soi_scales), {"units": "1", "long_name": "xi"}),
        "temperature": ("temperature", np.asarray(settings.temperatures), {"units": "K"}),
        "fermi_shift": ("fermi_shift", np.asarray(settings.fermi_shifts), {"units": "eV"}),
        "i": ["x", "y", "z"],
        "j": ["x", "y", "z"][: model.dimension],
    }
    for one in settings.summed:
        coordinates |= one.labels(model.dimension)
    return xr.Dataset(variables, coordinates, _attributes(model, settings, symmetry))


def _measure(model: WannierModel | RashbaModel) -> float:
    return model.measure if isinstance(model, RashbaModel) else 1.0


def shown(name: str) -> Quantity:
    """The quantity of a name; of what is derived, the first that it is derived from, with its axes and unit."""
    first = next((derived.of[0] for derived in DERIVED if derived.name == name), name)
    return QUANTITIES[first]


def _closure(tensors: dict[str, Floats], directions: list[Floats]) -> Floats:
    """|D_1 + Q_1|/|D_1| over i normal to n and j: along n D vanishes identically and Q only for the converged sum."""
    result = []
    for index, n in enumerate(directions):
        normal = np.eye(3) - np.outer(n, n)
        total = normal @ (tensors["D_1"][index] + tensors["Q_1"][index])
        size = np.linalg.norm(tensors["D_1"][index], axis=(-2, -1))
        # Without D(1), as in a magnet that has lost its exchange splitting, the ratio has no meaning.
        result.append(np.where(size > 0, np.linalg.norm(total, axis=(-2, -1)) / np.where(size > 0, size, 1.0), np.nan))
    return np.stack(result)


def _attributes(model: WannierModel | RashbaModel, settings: Settings, symmetry: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "aiida_dmi_version": __version__,
        "reference": "F. Freimuth, S. Bluegel, Y. Mokrousov, Phys. Rev. B 96, 054403 (2017)",
        "sign": SIGN,
        "mesh": list(settings.mesh.divisions),
        "k_points": settings.mesh.size,
        "error": "aliases of the mesh, from the decay of Fourier coefficients; nan: the mesh does not resolve kT",
        "fermi_level": settings.fermi_level,
        "method": settings.method,
        "quantities": list(settings.quantities),
        "fermi_energy": float(model.fermi_energy),
        "fermi_energy_units": "eV",
        "symmetry": symmetry,
    }
    if isinstance(model, RashbaModel):
        return attributes | {
            "model": "Rashba (Eq. 84)",
            "alpha": model.alpha,
            "exchange": model.exchange,
            "mass": model.mass,
            "cutoff": float(model.cutoff or 0.0),
        }
    attributes |= {"model": "Wannier", "symbols": list(model.symbols), "electrons_per_cell": model.electrons}
    if model.dimension == 2:
        attributes |= {"cell_area": model.area, "cell_area_units": "angstrom^2"}
    else:
        attributes |= {"cell_volume": abs(float(np.linalg.det(model.cell))), "cell_volume_units": "angstrom^3"}
    return attributes | {f"model_{key}": _storable(value) for key, value in model.attributes.items()}


def _storable(value: Any) -> Any:
    """An attribute of a model file, where netCDF has its type, else in words: it may not cost a finished sum."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if isinstance(value, np.ndarray) and value.ndim < 2 and value.size and value.dtype.kind in "iuf":
        return value
    return str(value).replace("\0", " ")


def error_text(error: float) -> str:
    """Three digits, or 'not resolved'."""
    return f"{error:.3g}" if math.isfinite(error) else "not resolved"


def refinement_attributes(
    tolerance: float | str, max_mesh: int, converged: bool, history: list[tuple[tuple[int, ...], dict[str, float]]]
) -> dict[str, Any]:
    """What a refined result says of its meshes: converged or not, and the largest errors on the way."""
    return {
        "tolerance": tolerance,
        "max_mesh": max_mesh,
        "converged": int(converged),
        "refinement": "; ".join(
            f"{'x'.join(map(str, divisions))}: "
            + ", ".join(f"{name} {error_text(error)}" for name, error in errors.items())
            for divisions, errors in history
        ),
    }


def save_result(result: xr.Dataset, path: str | Path) -> None:
    """Write a result as netCDF-4; it appears under its name only when it is complete.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    save_dataset(result, path)


def load_result(path: str | Path) -> xr.Dataset:
    """Read a result file.

    Raises
    ------
    InputError
        If it is missing, not netCDF, truncated, not a result of this package or of a newer one, or lacks what every
        result has.
    """
    result = load_dataset(path, "result", "dmi-engine")
    check_version(f"result {path}", result.attrs, FORMAT, VERSION, "dmi-engine run")
    if absent := _absent(result):
        raise InputError(f"result {path}: {absent}; run dmi-engine again")
    return result


def tensors_of(result: xr.Dataset) -> list[str]:
    """Names of the tensors that a result holds, as far as they were asked for."""
    return [name for name in TITLES if name in result.data_vars]


def _absent(result: xr.Dataset) -> str:
    """What every result has and this one lacks; empty where it lacks nothing."""
    for key in ("mesh", "fermi_level", "aiida_dmi_version"):
        if key not in result.attrs:
            return f"attribute {key} is missing"
    if not np.issubdtype(np.asarray(result.attrs["mesh"]).dtype, np.integer):
        return f"attribute mesh is {str(result.attrs['mesh'])[:40]}, expected whole numbers"
    for name, kinds in COORDINATES.items():
        if name not in result.coords or result[name].dims != (name,) or result[name].dtype.kind not in kinds:
            return f"coordinate {name} is missing or no list of {'numbers' if 'f' in kinds else 'names'}"
    if not tensors_of(result):
        return f"none of {', '.join(TITLES)} is in it"
    for name in tensors_of(result):
        dims = {"direction", "mask", "temperature", "fermi_shift", *(axis.name for axis in shown(name).axes)}
        dims |= {"soi_scale"} if is_finite(name) else set()
        if set(result[name].dims) != dims or result[name].dtype.kind != "f" or "units" not in result[name].attrs:
            return f"{name} has not the axes of a result, or no unit"
    return ""
