"""Quantities at each k point: the integrands of D, Q, a(I), a(II), and the Zeeman picture of a(I).

The convention for the direction n, and what it does to a map, stands in `zeeman`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from .. import arguments
from ..constants import BOLTZMANN_EV, EV
from ..errors import InputError
from ..integrate.settings import direction_label
from ..kspace.interpolation import Interpolation
from ..model.rashba import RashbaModel
from ..model.spin_frame import spin_frame
from ..model.wannier import WannierModel
from ..quantities import registry, zeeman
from ..quantities.quantity import AXES, Unit, energy_length
from ..quantities.registry import NAMES
from ..states.coefficients import splitting_threshold
from ..states.collinear import Collinear, Splittings
from ..states.first_order_states import FirstOrderStates
from ..states.spinor_states import SpinorStates
from ..states.spinors import to_lab
from .arguments import (
    cartesian_points,
    checked_divisions,
    checked_mask,
    checked_scale,
    chemical_potential,
    fractional_points,
    mesh_points,
    minority,
    with_cutoff,
)

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

BATCH_BYTES = 32 * 1024**2
"""Working arrays of one batch of k points."""

BANDS = "band_energy"
"""Energies of the bands of Hbar."""
OF_BANDS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "zeeman": (("i", "j"), "meV angstrom", "energy of the misaligned spins in the spin-orbit field (Eq. 66)"),
    "zeeman_field": (("i", "j"), "meV angstrom", "sum_n f_n 2 mu_B Omega_i J_j, i normal to n (Eqs. 65, 68)"),
    "misalignment": (("j",), "hbar angstrom", "sum_n f_n J_j: spin along n x dn/dr_j per gradient (Eqs. 58, 75)"),
    "zeeman_band": (("band", "i", "j"), "meV angstrom", "a band's term of Eq. 66, before the factor f"),
    "misalignment_band": (("band", "j"), "hbar angstrom", "J_j of each band of Hbar (Eqs. 58, 75)"),
    "spin_orbit_field": (("band", "i"), "meV", "mu_B Omega_i of each band of Hbar (Eq. 63)"),
}
"""Of the Zeeman picture; name: dimensions after k, units, meaning."""
QUANTITIES = (*NAMES, *OF_BANDS)
"""What can be asked for: integrands of the registry's quantities, and these."""
OF_FIELD = ("zeeman_field", "spin_orbit_field")


def k_map(
    model: WannierModel | RashbaModel,
    mesh: int | Sequence[int] | None = None,
    quantities: Iterable[str] = ("D", "Q", "a_I", "a_II"),
    *,
    kpoints: npt.ArrayLike | None = None,
    temperature: float = 300.0,
    mu: float | str = "dft",
    direction: Sequence[float] = (0, 0, 1),
    mask: Sequence[float] | None = None,
    soi_scale: float = 1.0,
    cutoff: float | None = None,
) -> xr.Dataset:
    """Integrands and band-resolved quantities at each k point.

    Parameters
    ----------
    model : WannierModel or RashbaModel
    mesh : int or sequence of int, optional
        Gamma-centred mesh, in C order (`values.reshape(*mesh, ...)`); this or `kpoints`.
    quantities : iterable of str
        Names from `QUANTITIES`.
    kpoints : array_like, shape (k, 2) or (k, 3), optional
        In units of the reciprocal lattice vectors (RashbaModel: of 2 cutoff).
    temperature : float
        K.
    mu : float or 'dft'
        Chemical potential, eV; 'dft': the model's `fermi_energy`. `compute`'s result holds those of charge
        neutrality: `mu` for D and Q, `mu_bare` for everything else.
    direction : vector
        Axis n of the spin-up spinor.
    mask : sequence of float, optional
        One weight an atom on its spin-orbit interaction; default all 1.
    soi_scale : float
        xi, for D and Q. The others are first order in SOI and taken at xi = 1.
    cutoff : float, optional
        For a RashbaModel: half the side of the square of k, 1/Angstrom.

    Returns
    -------
    xarray.Dataset
        The quantities over (k, ...) with their units. The mean over a mesh of D, Q, D_1, a_I, a_II is `compute`'s
        result (RashbaModel: sums over bands carry the factor (2 cutoff)^2/(2 pi)^2 and are in meV/Angstrom).
        Coordinates: kx, ky(, kz) in 1/Angstrom, `k_fractional`; with a band-resolved quantity also `energy`
        (k, band) in eV, `channel` ('up', 'down') and `spin_index` (+1 minority, -1 majority) of the bands of Hbar.

    Raises
    ------
    InputError
        Naming the argument that does not fit.

    Notes
    -----
    In band-resolved quantities partners nearer than 0.05 kT are left out (Eq. 58 diverges where a spin-up and a
    spin-down band cross); sums over bands hold their finite limit.

    Examples
    --------
    >>> from aiida_dmi.engine import RashbaModel
    >>> from aiida_dmi.engine.maps.k_map import k_map
    >>> result = k_map(RashbaModel(0.1, 1.0), 64, ["a_I", "misalignment_band"], cutoff=0.6)
    >>> list(result)
    ['a_I', 'misalignment_band']
    """
    settings = MapSettings.checked(
        model,
        mesh,
        quantities,
        kpoints=kpoints,
        temperature=temperature,
        mu=mu,
        direction=direction,
        mask=mask,
        soi_scale=soi_scale,
        cutoff=cutoff,
    )
    task, points = _Task.prepare(settings), settings.points
    parts = [task.evaluate(batch) for batch in np.array_split(points, -(-len(points) // task.batch_size))]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    result = _dataset(settings, values)
    return result if settings.divisions is None else result.assign_attrs(mesh=list(settings.divisions))


@dataclasses.dataclass(frozen=True)
class MapSettings:
    """What a map is to show: the arguments of `k_map`, checked.

    Parameters
    ----------
    model : WannierModel or RashbaModel
        With the cut-off.
    names : tuple of str
        Of QUANTITIES.
    divisions : tuple of int or None
        Of a mesh.
    points : ndarray, shape (k, 3)
    temperature, mu, soi_scale : float
        K, eV and xi.
    frame : ndarray, shape (3, 3)
        Of the direction n, see `spin_frame`.
    mask : tuple of float
    """

    model: WannierModel | RashbaModel
    names: tuple[str, ...]
    divisions: tuple[int, ...] | None
    points: Floats
    temperature: float
    mu: float
    frame: Floats
    mask: tuple[float, ...]
    soi_scale: float

    @classmethod
    def checked(
        cls,
        model: WannierModel | RashbaModel,
        mesh: int | Sequence[int] | None = None,
        quantities: Iterable[str] = ("D", "Q", "a_I", "a_II"),
        *,
        kpoints: npt.ArrayLike | None = None,
        temperature: float = 300.0,
        mu: float | str = "dft",
        direction: Sequence[float] = (0, 0, 1),
        mask: Sequence[float] | None = None,
        soi_scale: float = 1.0,
        cutoff: float | None = None,
    ) -> MapSettings:
        """Validate every argument of `k_map` against the model.

        Raises
        ------
        InputError
            Naming the argument that does not fit.
        """
        model = with_cutoff(model, cutoff)
        if (mesh is None) == (kpoints is None):
            raise InputError("mesh, kpoints: give one of the two")
        divisions = None if mesh is None else checked_divisions(mesh, model.dimension)
        return cls(
            model=model,
            names=arguments.choices(
                "quantities", [quantities] if isinstance(quantities, str) else quantities, QUANTITIES
            ),
            divisions=divisions,
            points=mesh_points(divisions) if divisions is not None else fractional_points(kpoints, model.dimension),
            temperature=arguments.temperature("temperature", temperature),
            mu=chemical_potential(model, mu),
            frame=spin_frame(direction),
            mask=checked_mask(mask, model.atoms),
            soi_scale=checked_scale(soi_scale),
        )


# -- one batch ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class _Task:
    """A model prepared for one direction, mask and chemical potential."""

    bands: Interpolation | RashbaModel
    settings: MapSettings
    columns: Any
    axes_columns: tuple[Any, ...]

    @classmethod
    def prepare(cls, settings: MapSettings) -> _Task:
        model, weights = settings.model, settings.mask
        bands = Interpolation(model) if isinstance(model, WannierModel) else model
        axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)) if set(OF_FIELD) & set(settings.names) else ()
        return cls(
            bands=bands,
            settings=settings,
            columns=bands.spin_orbit_columns(tuple(settings.frame[2]), weights),
            axes_columns=tuple(bands.spin_orbit_columns(axis, weights) for axis in axes),
        )

    @property
    def kt(self) -> float:
        return BOLTZMANN_EV * self.settings.temperature

    @property
    def batch_size(self) -> int:
        """K points whose matrices fit into BATCH_BYTES."""
        per_k = 16 * (2 * self.bands.functions) ** 2 * (8 + 4 * self.bands.dimension)
        return int(np.clip(BATCH_BYTES // per_k, 1, 4096))

    def evaluate(self, points: Floats) -> dict[str, Floats]:
        """The quantities asked for, and the energies of Hbar, in eV and Angstrom, in the lattice frame."""
        settings = self.settings
        operators = self.bands.operators(points)
        spin_orbit = self.bands.spin_orbit(self.columns, points, operators)
        threshold = splitting_threshold(settings.temperature)
        asked, mu, kt = set(settings.names), settings.mu, self.kt
        result: dict[str, Floats] = {}
        integrands = [registry.QUANTITIES[name] for name in settings.names if name in NAMES]
        if any(one.finite for one in integrands):
            spinors = SpinorStates(operators, spin_orbit, settings.soi_scale, threshold)
        bands = Collinear.of(operators)
        result[BANDS] = bands.joined
        splittings = Splittings.of(bands, threshold)
        first = FirstOrderStates(bands, splittings, spin_orbit)
        for one in integrands:
            values = one.integrand(one.coefficients(spinors if one.finite else first), mu, kt)
            result[one.name] = one.in_lab(values, settings.frame)
        if "zeeman" in asked:
            energy = zeeman.occupied_zeeman_energy(bands, spin_orbit, mu, kt)
            result["zeeman"] = to_lab(energy, settings.frame)
        if "zeeman_band" in asked:
            by_band = zeeman.zeeman_energy(bands, splittings, spin_orbit)
            result["zeeman_band"] = to_lab(by_band, settings.frame)
        if "misalignment" in asked:
            result["misalignment"] = zeeman.occupied_misalignment(bands, mu, kt)
        if "misalignment_band" in asked:
            result["misalignment_band"] = zeeman.misalignment(bands, splittings)
        if asked & set(OF_FIELD):
            along = [self.bands.spin_orbit(columns, points, operators) for columns in self.axes_columns]
            result["spin_orbit_field"] = zeeman.spin_orbit_field(bands, along)
        if "zeeman_field" in asked:
            field = result["spin_orbit_field"]
            result["zeeman_field"] = zeeman.field_energy(bands, field, settings.frame[2], mu, kt)
        return {name: value for name, value in result.items() if name in asked or name == BANDS}


# -- output ---------------------------------------------------------------------------------------------


def _described(name: str, model: WannierModel | RashbaModel) -> tuple[tuple[str, ...], Unit, str]:
    """Dimensions after k, unit and meaning."""
    if name in NAMES:
        one = registry.QUANTITIES[name]
        return tuple(axis.name for axis in one.axes), one.unit(model), f"integrand: {one.title}"
    dims, units, meaning = OF_BANDS[name]
    if dims == ("i", "j"):
        return dims, energy_length(model), meaning
    return dims, Unit(EV if units.startswith("meV") else 1.0, units, "cell"), meaning


def _dataset(settings: MapSettings, values: dict[str, Floats]) -> xr.Dataset:
    model, points = settings.model, settings.points
    axes = "xyz"[: model.dimension]
    cartesian = cartesian_points(model, points)
    variables: dict[str, Any] = {}
    for name in settings.names:
        dims, unit, meaning = _described(name, model)
        variables[name] = (("k", *dims), values[name] * unit.factor, {"units": unit.name, "long_name": meaning})
    coordinates: dict[str, Any] = {
        f"k{axis}": ("k", cartesian[:, j], {"units": "1 / angstrom"}) for j, axis in enumerate(axes)
    }
    in_reciprocal = {"units": "1", "long_name": "in units of the reciprocal lattice vectors"}
    coordinates["k_fractional"] = (("k", "reciprocal"), points, in_reciprocal)
    used = {dim for dims, *_ in variables.values() for dim in dims}
    coordinates |= {axis.name: list("xyz")[: axis.size(model.dimension)] for axis in AXES if axis.name in used}
    if "band" in used:
        half = model.functions
        s = np.repeat([1, -1] if minority(model) == "up" else [-1, 1], half)
        # One name for two things would be one too few: the bands give way to the quantity.
        bands = "energy" if "energy" not in settings.names else BANDS
        coordinates[bands] = (("k", "band"), values[BANDS], {"units": "eV", "long_name": "bands of Hbar"})
        coordinates["channel"] = ("band", ["up"] * half + ["down"] * half)
        coordinates["spin_index"] = ("band", s, {"units": "1", "long_name": "+1 minority, -1 majority (Eq. 52)"})
    attributes = {
        "direction": direction_label(tuple(settings.frame[2])),
        "direction_convention": "axis of the spin-up spinor; the paper's n has majority states at sigma.n = -1",
        "minority": minority(model),
        "mask": list(settings.mask),
        "soi_scale": settings.soi_scale,
        "temperature": settings.temperature,
        "temperature_units": "K",
        "mu": settings.mu,
        "mu_units": "eV",
    }
    return xr.Dataset(variables, coordinates, attributes)
