"""From sums over k to the labelled result: dimensions, units, errors and conventions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xarray as xr

from ... import __version__
from ..errors import InputError
from ..files.atomic import whole_file
from ..files.hdf5 import check_whole
from ..files.regular import check_regular
from ..files.stored_version import check_version
from ..integrate.chemical_potential import ChemicalPotentials
from ..integrate.settings import Settings
from ..integrate.sums import Sums
from ..model.rashba import RashbaModel
from ..model.wannier import WannierModel
from ..quantities.quantity import Filling, Quantity, energy_length
from ..quantities.registry import DERIVED, QUANTITIES, TITLES, is_finite

Floats = npt.NDArray[np.float64]

UNREADABLE = (OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, AssertionError)
"""What h5py, h5netcdf and xarray raise of a damaged or foreign file."""

FORMAT = "aiida-dmi-response"
VERSION = 1

SIGN = (
    "F = sum_j D_j . (n x dn/dr_j); for n = (sin qx, 0, cos qx) F = q D_yx; film normal +z; "
    "D_yx > 0 favours q < 0 (left-handed cycloid); i: spin or DMI-vector component, j: propagation direction; "
    "direction: axis of the spin-up spinor"
)
COORDINATES = {
    "direction": "OUT", "mask": "OUT", "soi_scale": "f", "temperature": "f", "fermi_shift": "f", "i": "OUT", "j": "OUT",
}  # fmt: skip
"""Axes of a result, and the kinds of numpy's types that hold names or numbers."""


def dataset(
    model: WannierModel | RashbaModel,
    settings: Settings,
    levels: ChemicalPotentials,
    sums: list[Sums],
    operations: int = 0,
    residual: Floats | None = None,
) -> xr.Dataset:
    """The labelled result of `compute`.

    Parameters
    ----------
    model, settings, levels
    sums : list of Sums
        The mesh's means and the nested mesh's.
    operations : int
        Order of the magnetic point group that reduced the mesh; 0 for the full mesh.
    residual : ndarray, optional
        Forbidden part of D, (direction, mask, xi, temperature, shift).
    """
    tensors = [_tensors(model, settings, part, levels, level) for level, part in enumerate(sums)]
    outer, inner = ("direction", "mask"), ("temperature", "fermi_shift")
    variables: dict[str, Any] = {}
    for name, values in tensors[0].items():
        one = _shown(name)
        unit, axes = one.unit(model), [axis.name for axis in one.axes]
        dims = (*outer, "soi_scale", *inner, *axes) if is_finite(name) else (*outer, *inner, *axes)
        attrs = {"units": unit.name, "per": unit.per, "long_name": TITLES[name]}
        variables[name] = (dims, values, attrs)
        variables[f"{name}_error"] = (
            dims,
            np.abs(values - tensors[1][name]),
            {**attrs, "long_name": f"k error of {name}: change from the nested mesh"},
        )
    if "D" in settings.quantities:
        nothing = np.full(sums[0].tensors["D"].shape[:-2], np.nan)
        variables["symmetry_residual"] = (
            (*outer, "soi_scale", *inner),
            nothing if residual is None else residual,
            {"units": "1", "long_name": "|D - PD|/|D|: part of D that the magnetic point group forbids, full mesh"},
        )
    if {"D_1", "Q_1"} <= set(tensors[0]):
        variables["closure"] = (
            (*outer, *inner),
            _closure(tensors[0], [np.asarray(n) for n in settings.directions]),
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
            sums[0].electrons * _measure(model),
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
    return xr.Dataset(variables, coordinates, _attributes(model, settings, operations))


def _measure(model: WannierModel | RashbaModel) -> float:
    return model.measure if isinstance(model, RashbaModel) else 1.0


def _tensors(
    model: WannierModel | RashbaModel, settings: Settings, sums: Sums, levels: ChemicalPotentials, level: int
) -> dict[str, Floats]:
    """What was asked for, and what follows from it, in the order of `TITLES`."""
    shifts = np.asarray(settings.fermi_shifts)
    full, bare = levels.full[level], levels.bare[level]
    fillings = {
        True: Filling(full[..., None] + shifts, sums.electrons),
        False: Filling(np.broadcast_to(bare, full.shape[:2] + bare.shape)[..., None] + shifts, sums.electrons),
    }
    tensors = {
        one.name: one.unit(model).factor * one.completed(sums.tensors[one.name], fillings[one.finite])
        for one in settings.summed
        if one.given_by(model)
    }
    for derived in DERIVED:
        if set(derived.of) <= set(tensors):
            tensors[derived.name] = derived.value(tensors)
    return {name: tensors[name] for name in TITLES if name in tensors}


def _shown(name: str) -> Quantity:
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


def _attributes(model: WannierModel | RashbaModel, settings: Settings, operations: int) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "aiida_dmi_version": __version__,
        "reference": "F. Freimuth, S. Bluegel, Y. Mokrousov, Phys. Rev. B 96, 054403 (2017)",
        "sign": SIGN,
        "mesh": list(settings.mesh.divisions),
        "k_points": settings.mesh.size,
        "error": "absolute change between the nested coarse mesh and the mesh",
        "nested_mesh": list(settings.mesh.coarse.divisions) if settings.mesh.coarse is not None else [],
        "fermi_level": settings.fermi_level,
        "method": settings.method,
        "quantities": list(settings.quantities),
        "fermi_energy": float(model.fermi_energy),
        "fermi_energy_units": "eV",
        "symmetry": f"magnetic point group of {operations} operations" if operations else "none",
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


def refinement_attributes(
    tolerance: float, max_mesh: int, converged: bool, history: list[tuple[tuple[int, ...], dict[str, float]]]
) -> dict[str, Any]:
    """What a refined result says of its meshes: converged or not, and the largest changes on the way."""
    return {
        "tolerance": tolerance,
        "max_mesh": max_mesh,
        "converged": int(converged),
        "refinement": "; ".join(
            f"{'x'.join(map(str, divisions))}: " + ", ".join(f"{name} {change:.3g}" for name, change in changes.items())
            for divisions, changes in history
        ),
    }


def save_result(result: xr.Dataset, path: str | Path) -> None:
    """Write a result as netCDF-4; it appears under its name only when it is complete.

    It is made in memory: on a full disk HDF5 fails when it closes a file, too, and can end the process.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    content = result.to_netcdf(engine="h5netcdf")
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(content)


def load_result(path: str | Path) -> xr.Dataset:
    """Read a result file.

    Raises
    ------
    InputError
        If it is missing, not netCDF, truncated, not a result of this package or of a newer one, or lacks what every
        result has.
    """
    try:
        check_regular(path)
        with h5py.File(path, "r") as file:
            check_whole(file)
        with xr.open_dataset(path, engine="h5netcdf") as file:
            result = file.load()
    except UNREADABLE as error:
        raise InputError(f"result {path}: not a readable netCDF file ({error}); run dmi-engine again") from error
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
        dims = {"direction", "mask", "temperature", "fermi_shift", *(axis.name for axis in _shown(name).axes)}
        dims |= {"soi_scale"} if is_finite(name) else set()
        if set(result[name].dims) != dims or result[name].dtype.kind != "f" or "units" not in result[name].attrs:
            return f"{name} has not the axes of a result, or no unit"
    return ""
