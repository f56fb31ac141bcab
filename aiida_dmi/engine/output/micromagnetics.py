"""What micromagnetic programs ask for, from D; the energy current of a moving texture (Eq. 74).

All follows from F = sum_j D_j . (n x dn/dr_j) with m = n. Where symmetry leaves one constant d (to first order in
SOI), D = d (1 - n n^T) E, since D.n = 0, and F is d times a Lifshitz invariant:

    film, C_nv about z:  E_yx = 1, E_xy = -1:  F = d (m_z div m - m.grad m_z)
    bulk, T or O:        E_ij = delta_ij:      F = -d m.curl m

Both are quadratic in m, so it does not matter whether m is the moment or the spin.

What the programs mean by their constants:

- ubermag, micromagneticmodel/energy/dmi.py: w = D (m.grad m_z - m_z div m) for crystalclass 'Cnv_z' and
  w = D m.curl m for 'T' and 'O': D = -d of the film, D = -d of the bulk.
- mumax3, commit a0c5126: cuda/dmi.cu adds (2 Dind/Msat) (dm_z/dx, dm_z/dy, -dm_x/dx - dm_y/dy) to B_exch and
  cuda/dmibulk.cu (2 Dbulk/Msat) (-curl m); the energy is -(1/2) Msat m.B (engine/exchange.go). So
  w = Dind (m_z div m - m.grad m_z), Dind = d of the film, and w = Dbulk m.curl m, Dbulk = -d of the bulk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from ..arguments import limited, named, number, shown, vector
from ..errors import InputError, brief
from ..model.spin_frame import spin_frame
from .units import MEV_PER_ANGSTROM2_IN_MJ_PER_M2

Floats = npt.NDArray[np.float64]

MILLI = 1e-3
LARGEST_RATE = 1e30
"""1/s; what lies beyond is a slip of the pen."""

FILM = np.array([[0.0, -1.0], [1.0, 0.0], [0.0, 0.0]])
"""E of a film with C_nv about z: D_yx = d, D_xy = -d for n along z."""
BULK = np.eye(3)
"""E of a cubic chiral crystal (T, O)."""


@dataclasses.dataclass(frozen=True)
class Micromagnetic:
    """One constant for a micromagnetic program.

    Parameters
    ----------
    program, parameter : str
        Such as 'mumax3' and 'Dind'.
    value, error : float
        J/m^2. The error is the larger of the k error and of what symmetry forbids, of any component.
    convention : str
        The energy density that the program gives the constant, its relation to D, and what D was divided by.
    residual : float
        |D - d E| / |D|: the part of the tensor that the constant leaves out.
    thickness : float or None
        Angstrom, of the magnetic film; None for a bulk magnet.
    """

    program: str
    parameter: str
    value: float
    error: float
    convention: str
    residual: float
    thickness: float | None
    unit: str = "J/m2"


def energy_current(dmi: xr.DataArray, direction: Sequence[float], dn_dt: Sequence[float]) -> xr.DataArray:
    """The ground-state energy current J_j = -D_j . (n x dn/dt) of a moving texture (Eq. 74).

    Parameters
    ----------
    dmi : DataArray
        D over i, j (and any other dimensions), for magnetisation along `direction`.
    direction : vector
        n.
    dn_dt : vector
        1/s; what of it lies along n has no effect.

    Returns
    -------
    DataArray
        Over j, in the unit of `dmi` per second: meV*Angstrom/s per cell, pJ/(m s) = pW/m after `per_length`. For
        n(r - w t) it is w_l times the DMI's energy density D_j.(n x dn/dr_l): the energy moves with the texture.

    Examples
    --------
    >>> dmi = xr.DataArray([[0.0, -2.0], [2.0, 0.0], [0.0, 0.0]], coords={"i": list("xyz"), "j": list("xy")})
    >>> energy_current(dmi, (0, 0, 1), (1e9, 0, 0)).sel(j="x").item()
    -2000000000.0
    """
    _needs(dmi, "i", "j")
    rate = np.array(checked_rate(dn_dt))
    axis = xr.DataArray(np.cross(spin_frame(direction)[2], rate), coords={"i": ["x", "y", "z"]}, dims="i")
    current = -(dmi * axis).sum("i")
    return current.assign_attrs(
        units=f"{dmi.attrs.get('units', 'meV angstrom')} / s",
        long_name="energy current -D_j.(n x dn/dt) (Eq. 74)",
        **{key: dmi.attrs[key] for key in ("per",) if key in dmi.attrs},
    )


def checked_rate(dn_dt: Any) -> tuple[float, ...]:
    """dn/dt, 1/s.

    Raises
    ------
    InputError
        If it is not three finite numbers.
    """
    rate = vector("dn_dt", dn_dt, "three finite numbers, 1/s")
    return tuple(limited("dn_dt", component, LARGEST_RATE, " 1/s") for component in rate)


def to_ubermag(
    result: xr.Dataset, thickness: float | None = None, tolerance: float = 0.05, **point: Any
) -> Micromagnetic:
    """`micromagneticmodel.DMI(D=value, crystalclass=...)`: w = D (m.grad m_z - m_z div m), or D m.curl m in bulk.

    Parameters
    ----------
    result : Dataset
        From `compute`, of a Wannier model.
    thickness : float, optional
        Of the magnetic film, Angstrom; a film needs it, a bulk magnet takes none.
    tolerance : float
        Largest residual accepted.
    **point
        Labels of the point in the sweep, such as soi_scale=1.0, direction='0,0,1'; dimensions of length 1 need none.

    Raises
    ------
    InputError
        If the point is not one, or the tensor is not of the form that one constant describes.
    """
    d, error, residual, text = _constant(result, thickness, tolerance, point)
    if thickness is None:
        parameter, relation = "DMI D, crystalclass 'T'", "w = D m.curl m, D = -d with D_ij = d (delta_ij - n_i n_j)"
    else:
        parameter, relation = "DMI D, crystalclass 'Cnv_z'", "w = D (m.grad m_z - m_z div m), D = -D_yx / t"
    return Micromagnetic("ubermag", parameter, -d, error, f"{relation}; {text}", residual, thickness)


def to_mumax3(
    result: xr.Dataset, thickness: float | None = None, tolerance: float = 0.05, **point: Any
) -> Micromagnetic:
    """mumax3's `Dind`: w = Dind (m_z div m - m.grad m_z), or `Dbulk` in bulk: w = Dbulk m.curl m.

    Parameters, errors as in `to_ubermag`.
    """
    d, error, residual, text = _constant(result, thickness, tolerance, point)
    if thickness is None:
        relation = "w = Dbulk m.curl m, Dbulk = -d with D_ij = d (delta_ij - n_i n_j)"
        return Micromagnetic("mumax3", "Dbulk", -d, error, f"{relation}; {text}", residual, None)
    relation = "w = Dind (m_z div m - m.grad m_z), Dind = D_yx / t"
    return Micromagnetic("mumax3", "Dind", d, error, f"{relation}; {text}", residual, thickness)


def lifshitz_constant(dmi: npt.ArrayLike, direction: Sequence[float]) -> tuple[float, float]:
    """The constant d of D = d (1 - n n^T) E, and the part |D - d (1 - n n^T) E| / |D| that it leaves out.

    Parameters
    ----------
    dmi : array_like, shape (3, 2) or (3, 3)
        D_ij of a film (C_nv about z) or of a bulk magnet (T, O), for magnetisation along `direction`.
    direction : vector
        n.

    Returns
    -------
    d, residual : float
        d in the unit of `dmi`: D_yx of a film with n along z, D_xx = D_yy of a bulk magnet with n along z.
    """
    tensor = np.asarray(dmi, dtype=float)
    forms = {(3, 2): FILM, (3, 3): BULK}
    if tensor.shape not in forms or not np.isfinite(tensor).all():
        raise InputError(f"dmi: shape {tensor.shape} was given, expected (3, 2) or (3, 3), finite numbers")
    n = spin_frame(direction)[2]
    form = forms[tensor.shape] - np.outer(n, n @ forms[tensor.shape])
    d = float((form * tensor).sum() / (form**2).sum())
    size = float(np.linalg.norm(tensor))
    return d, float(np.linalg.norm(tensor - d * form)) / size if size > 0 else 0.0


# -- from a result ------------------------------------------------------------------------------------------


def _constant(
    result: xr.Dataset, thickness: float | None, tolerance: float, point: dict[str, Any]
) -> tuple[float, float, float, str]:
    """D and its error (J/m^2), the residual, and what D was divided by."""
    if "D" not in result or "D_error" not in result:
        raise InputError("result: no D in it; give what compute returned")
    if not {"cell_area", "cell_volume"} & set(result.attrs):
        raise InputError("result: it has no cell_area or cell_volume; D of a Wannier model is needed")
    selected = _select(result, thickness, tolerance, point)
    dmi = selected["D"].transpose("i", "j").values
    label = str(selected["direction"].values)
    d, residual = lifshitz_constant(dmi, tuple(selected["direction_vector"].values))
    if residual > tolerance:
        form = "D_yx = -D_xy alone (C_nv)" if dmi.shape == (3, 2) else "D_ij = d (delta_ij - n_i n_j) (T, O)"
        raise InputError(
            f"result: D = {np.round(dmi, 4).tolist()} for n = {label} is off {form} by {residual:.2f} of its size, "
            f"more than tolerance={tolerance:g}; one constant does not describe it"
        )
    k_error = float(selected["D_error"].values.max())  # NaN, of a mesh that does not resolve kT, stays
    forbidden = residual * float(np.linalg.norm(dmi))
    scale, text = _density(result, thickness)
    text = f"D for n along {label}, {selected['D'].attrs['long_name']}; {text}"
    return d * scale, max(k_error, forbidden) * scale, residual, text


def check_point(
    axes: Mapping[str, Sequence[Any]], bulk: bool, thickness: Any, tolerance: Any, point: Mapping[str, Any]
) -> None:
    """Refuse arguments of `to_ubermag` and `to_mumax3` that do not fit a result with these axes, there or to come.

    Parameters
    ----------
    axes : mapping
        Dimension of D, without i and j, to its labels.
    bulk : bool
        Whether the result is a bulk magnet's.
    thickness, tolerance, point
        As given.

    Raises
    ------
    InputError
        Naming what does not fit.
    """
    number("tolerance", tolerance, "a number of at least 0", least=0)
    if bulk and thickness is not None:
        raise InputError(f"thickness: {shown(thickness)} was given, a bulk magnet takes none")
    if not bulk:
        try:
            number("thickness", thickness, above=0)
        except InputError as error:
            raise InputError(
                f"thickness: {shown(thickness)} was given, a film needs its magnetic thickness t in Angstrom"
            ) from error
    for key, value in point.items():
        if key not in axes:
            raise InputError(f"point: {named(key)} is not in the result, which has {', '.join(axes)}")
        if isinstance(value, bool) or not any(type(value) in _TYPES[type(x)] and value == x for x in axes[key]):
            labels = ", ".join(str(x) for x in axes[key])
            raise InputError(f"point: {key}: {shown(value)} is not in the result; expected one of {brief(labels)}")
    several = [key for key, labels in axes.items() if key not in point and len(labels) > 1]
    if several:
        raise InputError(f"point: several values of {', '.join(several)} are left; choose one, as {several[0]}=...")


_TYPES = {str: (str,), float: (int, float)}
"""Type of an axis' labels to those of a value that may name one."""


def _select(result: xr.Dataset, thickness: Any, tolerance: Any, point: dict[str, Any]) -> xr.Dataset:
    dimensions = [str(dim) for dim in result["D"].dims if dim not in ("i", "j")]
    plain = {key: value.item() if isinstance(value, np.generic) else value for key, value in point.items()}
    check_point(
        {key: result[key].values.tolist() for key in dimensions},
        "cell_volume" in result.attrs,
        thickness,
        tolerance,
        plain,
    )
    return result.sel({key: [value] for key, value in plain.items()}).squeeze(dimensions)


def _density(result: xr.Dataset, thickness: float | None) -> tuple[float, str]:
    """J/m^2 per meV*Angstrom of the cell, and in words."""
    factor = MEV_PER_ANGSTROM2_IN_MJ_PER_M2 * MILLI
    if thickness is None:
        volume = float(result.attrs["cell_volume"])
        return factor / volume, f"cell volume {volume:.6g} Angstrom^3"
    area = float(result.attrs["cell_area"])
    return factor / (area * thickness), f"cell area {area:.6g} Angstrom^2, thickness t = {thickness:.6g} Angstrom"


def _needs(array: xr.DataArray, *dims: str) -> None:
    missing = [dim for dim in dims if dim not in array.dims]
    if missing:
        raise InputError(f"dmi: dimensions {array.dims} were given, {', '.join(missing)} missing")
