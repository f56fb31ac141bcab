"""A response with what its Wannier functions leave out put back; the uncorrected numbers stay beside the others.

Of first order the Wannier functions miss D(1)_exact - D(1)_Wannier, which hardly depends on the mesh where both are
taken on the same one; so it is added to what the model gives on its fine mesh,

    D(xi) = D_W(xi) + xi c,    Q(xi) = Q_W(xi) - xi c,    c = D(1)_exact - D(1)_W    (of direction n: (1 - n n^T) c),
    D(1) = D(1)_W + c = -Q(1),    a(II) exact,    a(I) = D(1) - a(II).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..errors import InputError
from .file import OF_MODEL

Floats = npt.NDArray[np.float64]

CORRECTED = ("D", "Q", "D_1", "Q_1", "a_I", "a_II")
SAME = 1e-6
"""Temperatures (K) and shifts (eV) that differ by less are the same."""


def corrected(result: xr.Dataset, completeness: xr.Dataset) -> xr.Dataset:
    """The corrected result.

    Parameters
    ----------
    result : Dataset
        Of `compute`, of a model; with D_1.
    completeness : Dataset
        Of `complete`, with the result's masks, temperatures and shifts among its own.

    Returns
    -------
    Dataset
        As `result`, with D, Q, D_1, Q_1, a_I, a_II corrected (those that it has), what they were as `D_wannier` and so
        on, and `completeness` = |D_1 - D_1_wannier|/|D_1| over (direction, mask, temperature, fermi_shift). The errors
        `*_error` are the k errors, and that of the correction added.

    Raises
    ------
    InputError
        If the result is corrected already, lacks D_1, or the other file lacks something of it.
    """
    if "completeness" in result:
        raise InputError("completeness: the result is corrected already; give what dmi-engine run wrote")
    if "D_1" not in result:
        raise InputError("completeness: the result has no D_1; ask for quantities D_1 as well")
    part = _matching(result, completeness)
    n = result["direction_vector"]
    normal = xr.DataArray(np.eye(3), dims=("i", "l")) - n * n.rename(i="l")
    of_file = part.rename(i="l") if "i" in part.dims else part
    along = ("direction", "mask", "temperature", "fermi_shift", "i", "j")
    missing = (normal * (of_file["D_1"] - of_file["D_1" + OF_MODEL])).sum("l").transpose(*along)
    error = np.abs(normal * of_file["D_1_correction_error"]).sum("l", skipna=False).transpose(*along)
    second, second_error = (part[name].expand_dims(direction=result["direction"]) for name in ("a_II", "a_II_error"))
    new: dict[str, Any] = {"D_1": (result["D_1"] + missing, result["D_1_error"] + error)}
    for name, sign in (("D", 1.0), ("Q", -1.0)):
        if name in result:
            xi = result["soi_scale"]
            new[name] = (result[name] + sign * xi * missing, result[f"{name}_error"] + np.abs(xi) * error)
    if "Q_1" in result:
        new["Q_1"] = (-new["D_1"][0], new["D_1"][1])
    if "a_II" in result:
        new["a_II"] = (second, second_error)
    if "a_I" in result:
        new["a_I"] = (new["D_1"][0] - second, new["D_1"][1] + second_error)
    variables: dict[str, Any] = {}
    for name, (values, errors) in new.items():
        for key, array in ((name, values), (f"{name}_error", errors)):
            before = result[key]
            attrs = {
                **before.attrs,
                "long_name": f"{before.attrs.get('long_name', key)}, of the Wannier functions alone",
            }
            variables[f"{key.removesuffix('_error')}{OF_MODEL}{'_error' if key != name else ''}"] = before.assign_attrs(
                attrs
            )
            variables[key] = array.transpose(*before.dims).assign_attrs(before.attrs)
    size = _norm(variables["D_1"])
    ratio = _norm(variables["D_1"] - result["D_1"]) / size.where(size > 0)
    variables["completeness"] = ratio.assign_attrs(units="1", long_name="|D_1 - D_1_wannier|/|D_1|")
    return result.assign(variables).assign_attrs(
        completeness_mesh=completeness.attrs["mesh"],
        completeness_error="change of D_1 - D_1_wannier, and of a_II, from the nested mesh of completeness_mesh",
    )


def _norm(tensor: xr.DataArray) -> xr.DataArray:
    result: xr.DataArray = np.sqrt((tensor**2).sum(("i", "j")))
    return result


def _matching(result: xr.Dataset, completeness: xr.Dataset) -> xr.Dataset:
    """The completeness file at the result's masks, temperatures and shifts."""
    if list(result.attrs.get("symbols", [])) != list(completeness.attrs["symbols"]):
        raise InputError(
            f"completeness: it is of the atoms {' '.join(completeness.attrs['symbols'])}, the result of "
            f"{' '.join(result.attrs.get('symbols', ['no atoms']))}; give the files of one model"
        )
    if list(result["j"].values) != list(completeness["j"].values):
        raise InputError("completeness: it has other directions j than the result; give the files of one model")
    for mask in result["mask"].values:
        own = completeness["mask_weights"].sel(mask=mask).values if mask in completeness["mask"].values else None
        if own is None or not np.allclose(own, result["mask_weights"].sel(mask=mask).values):
            raise InputError(
                f"completeness: it lacks the mask {mask} of the result, or has other weights for it; run dmi-engine "
                "complete with the result's soi_masks"
            )
    part = completeness.sel(mask=result["mask"].values)
    for axis, unit in (("temperature", "K"), ("fermi_shift", "eV")):
        places = []
        for value in result[axis].values:
            near = np.abs(completeness[axis].values - value)
            if not near.min() <= SAME:
                raise InputError(
                    f"completeness: it lacks the {axis} {value:g} {unit} of the result; run dmi-engine complete "
                    f"with the result's {axis}s"
                )
            places.append(int(near.argmin()))
        part = part.isel({axis: places}).assign_coords({axis: result[axis].values})
    return part
