"""The completeness file: D(1), a(I), a(II) exact in plane waves and of the model, on one mesh and at one mu."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ... import __version__
from ..constants import EV
from ..errors import InputError
from ..files.netcdf import load_dataset, save_dataset
from ..files.stored_version import check_version
from ..integrate.settings import Settings
from ..model.wannier import WannierModel
from ..output.results import SIGN
from ..quantities.registry import TITLES
from .kernel import NAMES
from .points import nested_mesh

Floats = npt.NDArray[np.float64]

FORMAT = "aiida-dmi-completeness"
VERSION = 1
OF_MODEL = "_wannier"
"""Suffix of what the model gives."""
OUTER, INDICES = ("mask", "temperature", "fermi_shift"), ("i", "j")
UNITS = {"units": "meV angstrom", "per": "cell"}
ROWS = (
    "row i is that of every direction n normal to i: of first order the tensor of direction n is (1 - n n^T) times "
    "this; a_II has the same row along n, too"
)


@dataclasses.dataclass(frozen=True)
class Compared:
    """Both sides, on the mesh and, where there is one, on its nested mesh.

    Parameters
    ----------
    settings : Settings
        With the mesh.
    mu : ndarray, shape (temperature,)
        Without the shift, eV.
    exact, model : list of dict
        Of `NAMES`, shape (mask, temperature, shift, 3, d), eV*Angstrom.
    electrons : ndarray, shape (temperature, shift)
        In plane waves, with semicore.
    """

    settings: Settings
    mu: Floats
    exact: list[dict[str, Floats]]
    model: list[dict[str, Floats]]
    electrons: Floats


def dataset(model: WannierModel, compared: Compared, attributes: dict[str, Any]) -> xr.Dataset:
    """The labelled result of `complete`.

    Returns
    -------
    xarray.Dataset
        D_1, a_I, a_II (plane waves) and D_1_wannier, a_I_wannier, a_II_wannier (the model), meV*Angstrom per cell over
        (mask, temperature, fermi_shift, i, j); `D_1_correction_error` and `a_II_error`, what D_1 - D_1_wannier and a_II
        change from the nested mesh (not a number without one); `identity`, |D_1 - a_I - a_II|/|D_1|; mu, electrons.
    """
    settings, dims = compared.settings, (*OUTER, *INDICES)
    exact, wannier = compared.exact[0], compared.model[0]
    variables: dict[str, Any] = {}
    for name in NAMES:
        title = TITLES[name]
        variables[name] = (dims, EV * exact[name], {**UNITS, "long_name": f"{title}, exact in plane waves"})
        variables[name + OF_MODEL] = (dims, EV * wannier[name], {**UNITS, "long_name": f"{title}, of the model"})
    variables |= {
        "D_1_correction_error": (
            dims,
            EV * _change(compared, lambda exact, model: exact["D_1"] - model["D_1"]),
            {**UNITS, "long_name": "change of D_1 - D_1_wannier from the nested mesh"},
        ),
        "a_II_error": (
            dims,
            EV * _change(compared, lambda exact, model: exact["a_II"]),
            {**UNITS, "long_name": "change of a_II from the nested mesh"},
        ),
        "identity": (
            OUTER,
            _ratio(exact["D_1"] - exact["a_I"] - exact["a_II"], exact["D_1"]),
            {"units": "1", "long_name": "|D_1 - a_I - a_II|/|D_1|, zero for the converged sum over k"},
        ),
        "completeness": (
            OUTER,
            _ratio(exact["D_1"] - wannier["D_1"], exact["D_1"]),
            {"units": "1", "long_name": "|D_1 - D_1_wannier|/|D_1|"},
        ),
        "mu": ("temperature", compared.mu, {"units": "eV", "long_name": "chemical potential at zero shift"}),
        "electrons": (
            ("temperature", "fermi_shift"),
            compared.electrons,
            {"units": "1", "per": "cell", "long_name": "electrons in plane waves, semicore among them"},
        ),
        "mask_weights": (("mask", "atom"), np.array(list(settings.soi_masks.values())), {"units": "1"}),
    }
    coordinates: dict[str, Any] = {
        "mask": list(settings.soi_masks),
        "temperature": ("temperature", np.asarray(settings.temperatures), {"units": "K"}),
        "fermi_shift": ("fermi_shift", np.asarray(settings.fermi_shifts), {"units": "eV"}),
        "i": ["x", "y", "z"],
        "j": ["x", "y", "z"][: model.dimension],
    }
    coarse = nested_mesh(settings.mesh)
    return xr.Dataset(
        variables,
        coordinates,
        {
            "format": FORMAT,
            "version": VERSION,
            "aiida_dmi_version": __version__,
            "sign": SIGN,
            "rows": ROWS,
            "mesh": list(settings.mesh.divisions),
            "nested_mesh": [] if coarse is None else list(coarse.divisions),
            "symbols": list(model.symbols),
            **attributes,
        },
    )


def _change(compared: Compared, of: Any) -> Floats:
    """How much a number changes from the nested mesh to the mesh."""
    values = [of(exact, model) for exact, model in zip(compared.exact, compared.model, strict=True)]
    return np.abs(values[0] - values[1]) if len(values) == 2 else np.full(values[0].shape, np.nan)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """|part|/|whole| of tensors; not a number where the whole is zero."""
    size = np.linalg.norm(whole, axis=(-2, -1))
    ratio = np.linalg.norm(part, axis=(-2, -1)) / np.where(size > 0, size, 1.0)
    return np.where(size > 0, ratio, np.nan)


save_completeness = save_dataset


def load_completeness(path: str | Path) -> xr.Dataset:
    """Read a completeness file.

    Raises
    ------
    InputError
        If it is missing, not netCDF, truncated, or lacks what every completeness file has.
    """
    result = load_dataset(path, "completeness", "dmi-engine complete")
    check_version(f"completeness {path}", result.attrs, FORMAT, VERSION, "dmi-engine complete")
    for name in (*NAMES, *(name + OF_MODEL for name in NAMES), "D_1_correction_error", "a_II_error"):
        if name not in result or result[name].dims != (*OUTER, *INDICES) or result[name].dtype.kind != "f":
            raise InputError(f"completeness {path}: {name} is missing or has other axes; run dmi-engine complete again")
    return result
