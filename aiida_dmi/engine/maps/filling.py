"""Filling of the bands: densities of states, electrons against the Fermi-level shift, and the doping that it means."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from .. import arguments
from ..constants import BOLTZMANN_EV, ELEMENTS, LOWEST_TEMPERATURE
from ..errors import InputError
from ..integrate.chemical_potential import neutral_level
from ..integrate.settings import FERMI_LEVELS, LIMITS, direction_label
from ..kspace.interpolation import Interpolation
from ..model.rashba import RashbaModel
from ..model.spin_frame import spin_frame
from ..model.wannier import WannierModel
from ..states.divided_differences import fermi, fermi_derivatives
from ..states.spinors import eigenvalues
from .arguments import checked_divisions, checked_mask, checked_scale, mesh_points, minority, with_cutoff
from .k_map import BATCH_BYTES

Floats = npt.NDArray[np.float64]


def density_of_states(
    model: WannierModel | RashbaModel,
    mesh: int | Sequence[int],
    fermi_shifts: Iterable[float] | None = None,
    *,
    temperature: float = 300.0,
    broadening: float | None = None,
    fermi_level: str = "neutral",
    soi_scale: float = 1.0,
    direction: Sequence[float] = (0, 0, 1),
    mask: Sequence[float] | None = None,
    cutoff: float | None = None,
) -> xr.Dataset:
    """Density of states and electrons against the shift of the Fermi level.

    Parameters
    ----------
    model : WannierModel or RashbaModel
    mesh : int or sequence of int
        Points along each periodic direction, Gamma-centred.
    fermi_shifts : iterable of float, optional
        eV, added to the chemical potential; default -1 to 1 in steps of 0.01.
    temperature : float
        K, of the electrons' Fermi function.
    broadening : float, optional
        eV. The density of states is sum_n -f'(E_n - E) with this kT; default k_B * temperature, with which it is
        the slope of `electrons`. Larger values hide the mesh.
    fermi_level : {'neutral', 'neutral-bare', 'dft'}
        As in `compute`. A RashbaModel's mu is its `fermi_energy`, 0.
    soi_scale : float
        xi, for `dos_soi` and `electrons_soi`.
    direction : vector
        Axis n of the spin-up spinor.
    mask : sequence of float, optional
        One weight an atom on its spin-orbit interaction; default all 1.
    cutoff : float, optional
        For a RashbaModel: half the side of the square of k, 1/Angstrom.

    Returns
    -------
    xarray.Dataset
        `dos` of Hbar over (spin, fermi_shift) and `dos_soi` of H over (fermi_shift), 1/eV per cell (RashbaModel: per
        Angstrom^2); `electrons` of Hbar and `electrons_soi` over (temperature, fermi_shift). `mu_bare` and `mu` in eV:
        where the shift is 0, of Hbar and of H.

    Raises
    ------
    InputError
        Naming the argument that does not fit.
    """
    settings = StatesSettings.checked(
        model,
        mesh,
        fermi_shifts,
        temperature=temperature,
        broadening=broadening,
        fermi_level=fermi_level,
        soi_scale=soi_scale,
        direction=direction,
        mask=mask,
        cutoff=cutoff,
    )
    model, divisions, shifts = settings.model, settings.divisions, settings.fermi_shifts
    kt, width = BOLTZMANN_EV * settings.temperature, settings.broadening
    bare, full = _energies(settings)
    electrons = model.electrons
    if electrons is None or fermi_level == "dft":
        mu_bare = mu = float(model.fermi_energy)
    else:
        mu_bare = neutral_level(bare, electrons, kt)
        mu = neutral_level(full, electrons, kt) if fermi_level == "neutral" else mu_bare
    half = model.functions
    measure = model.measure if isinstance(model, RashbaModel) else 1.0
    spins = [_slope(bare[:, part], mu_bare + shifts, width) for part in (slice(half), slice(half, None))]
    per = "angstrom^2" if isinstance(model, RashbaModel) else "cell"
    density = {"units": "1 / eV", "per": per, "broadening_ev": width}
    number = {"units": "1", "per": per}
    in_ev = {"units": "eV"}
    counted = ("temperature", "fermi_shift")
    return xr.Dataset(
        {
            "dos": (("spin", "fermi_shift"), measure * np.stack(spins), density | {"long_name": "of Hbar"}),
            "dos_soi": ("fermi_shift", measure * _slope(full, mu + shifts, width), density | {"long_name": "of H(xi)"}),
            "electrons": (counted, measure * _count(bare, mu_bare + shifts, kt)[None], number),
            "electrons_soi": (counted, measure * _count(full, mu + shifts, kt)[None], number),
            "mu": ((), mu, in_ev | {"long_name": "chemical potential of H(xi) at zero shift"}),
            "mu_bare": ((), mu_bare, in_ev | {"long_name": "chemical potential of Hbar at zero shift"}),
        },
        {
            "spin": ["up", "down"],
            "fermi_shift": ("fermi_shift", shifts, in_ev),
            "temperature": ("temperature", np.array([settings.temperature]), {"units": "K"}),
        },
        {
            "mesh": list(divisions),
            "fermi_level": fermi_level,
            "soi_scale": settings.soi_scale,
            "direction": direction_label(settings.direction),
            "minority": minority(model),
        }
        | (
            {"symbols": list(model.symbols), "electrons_per_cell": electrons} if isinstance(model, WannierModel) else {}
        ),
    )


@dataclasses.dataclass(frozen=True)
class StatesSettings:
    """What a density of states is to be of: the arguments of `density_of_states`, checked.

    Parameters
    ----------
    model : WannierModel or RashbaModel
        With the cut-off.
    divisions : tuple of int
        Of the mesh.
    fermi_shifts : ndarray, shape (shifts,)
        eV.
    temperature, broadening, soi_scale : float
        K, eV and xi.
    direction, mask : tuple of float
    """

    model: WannierModel | RashbaModel
    divisions: tuple[int, ...]
    fermi_shifts: Floats
    temperature: float
    broadening: float
    soi_scale: float
    direction: tuple[float, ...]
    mask: tuple[float, ...]

    @classmethod
    def checked(
        cls,
        model: WannierModel | RashbaModel,
        mesh: int | Sequence[int] | None = None,
        fermi_shifts: Iterable[float] | None = None,
        *,
        temperature: float = 300.0,
        broadening: float | None = None,
        fermi_level: str = "neutral",
        soi_scale: float = 1.0,
        direction: Sequence[float] = (0, 0, 1),
        mask: Sequence[float] | None = None,
        cutoff: float | None = None,
    ) -> StatesSettings:
        """Validate every argument of `density_of_states` against the model.

        Raises
        ------
        InputError
            Naming the argument that does not fit.
        """
        model = with_cutoff(model, cutoff)
        if mesh is None:
            raise InputError("mesh: missing; give the points along each direction")
        arguments.choice("fermi_level", fermi_level, FERMI_LEVELS)
        shifts = np.linspace(-1, 1, 201) if fermi_shifts is None else arguments.numbers("fermi_shifts", fermi_shifts)
        kelvins = arguments.temperature("temperature", temperature)
        width = BOLTZMANN_EV * kelvins
        if broadening is not None:
            least, most = (BOLTZMANN_EV * limit for limit in (LOWEST_TEMPERATURE, arguments.HIGHEST_TEMPERATURE))
            expected = f"eV above 0, from {least:.1g} to {most:.2g}"
            width = arguments.number("broadening", broadening, expected, least=least, most=most)
        limit, unit = LIMITS["fermi_shifts"]
        return cls(
            model=model,
            divisions=checked_divisions(mesh, model.dimension),
            fermi_shifts=np.array([arguments.limited("fermi_shifts", float(s), limit, unit) for s in shifts]),
            temperature=kelvins,
            broadening=width,
            soi_scale=checked_scale(soi_scale),
            direction=tuple(float(x) for x in spin_frame(direction)[2]),
            mask=checked_mask(mask, model.atoms),
        )


def doping_axis(result: xr.Dataset, substituted: Sequence[str] | None = None) -> xr.Dataset:
    """The doping that a shift of the Fermi level stands for (Figs. 4, 5): one electron per substituted atom.

    x = (N(shift) - N(0)) / (number of atoms of the substituted kinds): every one of these kinds is replaced to the
    same part abs(x) by its neighbour in the periodic table, on the left for x < 0 and on the right for x > 0.

    Parameters
    ----------
    result : Dataset
        From `compute` or `density_of_states`: `electrons` over (temperature, fermi_shift), attribute `symbols`.
    substituted : sequence of str, optional
        Kinds that are substituted, in the order of the label; default all.

    Returns
    -------
    xarray.Dataset
        `doping` x over (temperature, fermi_shift), with its `units` 1, and the coordinate `compound` along
        fermi_shift, such as 'Mn1-xCrx/W1-xTax' below 0; x in the label is its absolute value.
        Attributes `negative`, `positive`.

    Raises
    ------
    InputError
        If the result names no atoms or an unknown kind, or if N(0) is not known.

    Examples
    --------
    >>> shifts = [-0.1, 0.0, 0.1]
    >>> result = xr.Dataset(
    ...     {"electrons": (("temperature", "fermi_shift"), [[18.8, 19.0, 19.3]])},
    ...     {"fermi_shift": shifts, "temperature": [300.0]},
    ...     {"symbols": ["Co", "Pt"]},
    ... )
    >>> axis = doping_axis(result)
    >>> [round(float(x), 3) for x in axis.doping[0]], str(axis.compound.values[2])
    ([-0.1, 0.0, 0.15], 'Co1-xNix/Pt1-xAux')
    """
    if "electrons" not in result or "symbols" not in result.attrs:
        raise InputError("result: no electrons or symbols in it; a doping needs the result of a Wannier model")
    symbols = [str(s) for s in np.atleast_1d(result.attrs["symbols"])]
    shifts = np.atleast_1d(result["fermi_shift"].values)
    fermi_level = result.attrs.get("fermi_level", "dft")
    kinds = check_doping(symbols, shifts.tolist(), fermi_level, substituted)
    atoms = sum(symbol in kinds for symbol in symbols)
    electrons = result["electrons"]
    if (shifts == 0.0).any():
        neutral = electrons.sel(fermi_shift=0.0)
    else:
        neutral = xr.DataArray(float(result.attrs["electrons_per_cell"]))
    doping = ((electrons - neutral) / atoms).drop_vars("compound", errors="ignore")
    doping.attrs = {
        "units": "1",
        "long_name": "electrons per substituted atom: part of each kind replaced by its neighbour",
    }
    labels = {sign: compound_label(kinds, sign) for sign in (-1, 0, 1)}
    compound = [labels[int(np.sign(shift))] for shift in shifts]
    return xr.Dataset(
        {"doping": doping},
        {"compound": ("fermi_shift", compound)} if "fermi_shift" in doping.dims else {},
        {"negative": labels[-1], "positive": labels[1], "atoms": atoms},
    )


def check_doping(
    symbols: Sequence[str], fermi_shifts: Sequence[float], fermi_level: str, substituted: Any
) -> list[str]:
    """The kinds that are substituted in a result with these atoms and shifts, known or still to come.

    Parameters
    ----------
    symbols : sequence of str
        One an atom.
    fermi_shifts : sequence of float
    fermi_level : str
        As in `compute`.
    substituted : sequence of str or None
        As given to `doping_axis`.

    Raises
    ------
    InputError
        If a kind is unknown, or N(0) would not be.
    """
    own = list(dict.fromkeys(symbols))
    kinds = own
    if substituted is not None:
        arguments.choices("substituted", substituted, own)
        kinds = list(dict.fromkeys(str(kind) for kind in substituted))
    for sign in (-1, 1):
        compound_label(kinds, sign)
    if 0.0 not in fermi_shifts and fermi_level == "dft":
        raise InputError("fermi_shifts: 0 is not among them, and N(0) is not known at a fixed Fermi level; include 0")
    return kinds


def compound_label(kinds: Sequence[str], step: int) -> str:
    """'Mn1-xCrx/W1-xTax' for ('Mn', 'W') and step -1: each kind and its neighbour in the periodic table.

    Raises
    ------
    InputError
        If a kind is no chemical symbol or has no neighbour on that side.
    """
    parts = []
    for kind in kinds:
        if kind not in ELEMENTS:
            raise InputError(f"symbols: {kind!r} was given, expected a chemical symbol")
        place = ELEMENTS.index(kind) + step
        if not 0 <= place < len(ELEMENTS):
            raise InputError(f"symbols: {kind} has no neighbour {'below' if step < 0 else 'above'} it in atomic number")
        parts.append(kind if step == 0 else f"{kind}1-x{ELEMENTS[place]}x")
    return "/".join(parts)


# -- energies and sums -------------------------------------------------------------------------------------


def _energies(settings: StatesSettings) -> tuple[Floats, Floats]:
    """Bands of Hbar (up, then down) and of H(xi) on the mesh, (k, 2n) each, eV."""
    model = settings.model
    bands: Any = Interpolation(model) if isinstance(model, WannierModel) else model
    columns = bands.spin_orbit_columns(settings.direction, settings.mask)
    points = mesh_points(settings.divisions)
    per_k = 16 * (2 * model.functions) ** 2 * (8 + 4 * model.dimension)
    bare, full = [], []
    for batch in np.array_split(points, -(-len(points) * per_k // BATCH_BYTES)):
        hamiltonian = bands.hamiltonian(batch)
        bare.append(eigenvalues(hamiltonian, None, 0.0))
        full.append(eigenvalues(hamiltonian, bands.interaction(columns, batch), settings.soi_scale))
    return np.concatenate(bare), np.concatenate(full)


def _count(energies: Floats, levels: Floats, kt: float) -> Floats:
    """Electrons below each level."""
    return np.array([fermi(energies, float(level), kt).sum() for level in levels]) / len(energies)


def _slope(energies: Floats, levels: Floats, width: float) -> Floats:
    """sum_n -f'(E_n - level) at each level, 1/eV."""
    slopes = [-fermi_derivatives(energies, float(level), width)[0].sum() for level in levels]
    return np.array(slopes) / len(energies)
