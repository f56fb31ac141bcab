"""A response with what its Wannier functions leave out put back; the uncorrected numbers stay beside the others.

Of first order the Wannier functions miss D(1)_exact - D(1)_Wannier, which hardly depends on the mesh where both are
taken on the same one; so it is added to what the model gives on its fine mesh,

    D(xi) = D_W(xi) + xi c,    Q(xi) = Q_W(xi) - xi c,    c = D(1)_exact - D(1)_W    (of direction n: (1 - n n^T) c),
    D(1) = D(1)_W + c = -Q(1),    a(II) exact,    a(I) = D(1) - a(II).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from ..errors import InputError
from .file import OF_MODEL

CORRECTED = ("D", "Q", "D_1", "Q_1", "a_I", "a_II")
"""Tensors that are put right."""
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
    missing, error = _normal_part(result, part)
    second, second_error = (_of_every_direction(result, part[name]) for name in ("a_II", "a_II_error"))
    first, first_error = result["D_1"] + missing, result["D_1_error"] + error
    new: dict[str, Any] = {"D_1": (first, first_error), "Q_1": (-first, first_error)}
    new |= {"a_II": (second, second_error), "a_I": (first - second, first_error + second_error)}
    for name, sign in (("D", 1.0), ("Q", -1.0)):
        if name in result:
            xi = result["soi_scale"]
            new[name] = (result[name] + sign * xi * missing, result[f"{name}_error"] + np.abs(xi) * error)
    variables: dict[str, xr.DataArray] = {}
    for name in filter(result.data_vars.__contains__, new):
        for suffix, values in zip(("", "_error"), new[name], strict=True):
            before = result[name + suffix]
            words = f"{before.attrs.get('long_name', name)}, of the Wannier functions alone"
            variables[name + OF_MODEL + suffix] = before.assign_attrs(long_name=words)
            variables[name + suffix] = values.transpose(*before.dims).assign_attrs(before.attrs)
    size = _norm(first)
    ratio = _norm(missing) / size.where(size > 0)
    variables["completeness"] = ratio.assign_attrs(units="1", long_name="|D_1 - D_1_wannier|/|D_1|")
    return result.assign(variables).assign_attrs(
        completeness_mesh=completeness.attrs["mesh"],
        completeness_error="change of D_1 - D_1_wannier, and of a_II, from the nested mesh of completeness_mesh",
    )


def of_functions(result: xr.Dataset) -> xr.Dataset:
    """What a corrected result was before: the tensors that were corrected, of the Wannier functions alone.

    Parameters
    ----------
    result : Dataset
        From `corrected`, or a point of it.
    """
    before = {f"{name}{OF_MODEL}{suffix}": name + suffix for name in CORRECTED for suffix in ("", "_error")}
    kept = {old: new for old, new in before.items() if old in result}
    return result[list(kept)].rename(kept)


def _normal_part(result: xr.Dataset, part: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """(1 - n n^T) c and its error of every direction n of the result."""
    n = np.asarray(result["direction_vector"])
    normal = np.eye(3) - n[:, :, None] * n[:, None, :]
    correction = part["D_1"] - part["D_1" + OF_MODEL]
    values = np.einsum("nil,mtslj->nmtsij", normal, correction)
    # Not a number, where there is no nested mesh, stays one.
    errors = np.einsum("nil,mtslj->nmtsij", np.abs(normal), part["D_1_correction_error"])
    template = _of_every_direction(result, correction)
    return template.copy(data=values), template.copy(data=errors)


def _of_every_direction(result: xr.Dataset, tensor: xr.DataArray) -> xr.DataArray:
    """The same tensor for every direction of the result."""
    return tensor.expand_dims(direction=result["direction"])


def _norm(tensor: xr.DataArray) -> xr.DataArray:
    squares: xr.DataArray = (tensor**2).sum(("i", "j"))
    return squares**0.5


def _matching(result: xr.Dataset, completeness: xr.Dataset) -> xr.Dataset:
    """The completeness file at the result's masks, temperatures and shifts."""
    # A list of one text comes out of a netCDF file as that text.
    own, others = (" ".join(np.atleast_1d(one.attrs.get("symbols", "none"))) for one in (completeness, result))
    if own != others:
        raise InputError(f"completeness: it is of the atoms {own}, the result of {others}; give the files of one model")
    if list(result["j"].values) != list(completeness["j"].values):
        raise InputError("completeness: it has other directions j than the result; give the files of one model")
    for mask in result["mask"].values:
        asked = result["mask_weights"].sel(mask=mask).values
        known = mask in completeness["mask"].values
        if not known or not np.allclose(completeness["mask_weights"].sel(mask=mask).values, asked):
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
