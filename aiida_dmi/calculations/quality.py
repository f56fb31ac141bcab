"""The quality gate: numbers that tell whether a model and a response can be trusted, each against its limit."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from aiida import orm
from aiida.engine import calcfunction

from aiida_dmi.engine.completeness.file import OF_MODEL
from aiida_dmi.engine.constants import RYDBERG_EV
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.kspace.zone import high_symmetry_points
from aiida_dmi.engine.maps import quality
from aiida_dmi.engine.output.headline import indices_of
from aiida_dmi.engine.output.results import tensors_of
from aiida_dmi.engine.quantities.quantity import OF_DMI

DENSER = "a denser ab-initio mesh (wannierisation: kpoints_distance)"
WANNIER = "more bands or another frozen window (wannierisation: bands_per_function, frozen_window)"


@dataclasses.dataclass(frozen=True)
class Quantity:
    """One number of the gate.

    Parameters
    ----------
    meaning, unit : str
    at_most : bool
        Whether the limit is an upper one.
    remedy : str
        What to do when it is not met.
    retry : bool
        Whether another choice of the Wannier functions may mend it.
    unknown : str
        What a number that is none is called.
    """

    meaning: str
    unit: str
    at_most: bool
    remedy: str
    retry: bool = False
    unknown: str = "not a number"


MODEL = {
    "basis": Quantity(
        "ecutwfc, of the one that the pseudopotentials' family recommends for these elements (normal)", "1", False,
        "the recommended cutoff (leave scf.parameters.SYSTEM.ecutwfc out, or choose by `cutoffs`: low, normal, high)",
    ),
    "bands": Quantity(
        "weighted difference of the bands to pw.x off the mesh", "meV", True, f"{WANNIER}, or {DENSER}", True
    ),
    "bands_largest": Quantity(
        "largest difference of the bands to pw.x, from 6 eV below to 1 eV above the Fermi energy", "meV", True,
        f"{DENSER}, or {WANNIER}", True,
    ),
    "bands_on_mesh": Quantity(
        "weighted difference of the bands to pw.x on the mesh", "meV", True, WANNIER, True
    ),
    "spread": Quantity(
        "largest spread of a Wannier function", "angstrom^2", True, f"{WANNIER}, or other orbitals", True
    ),
    "time_reversal": Quantity("largest |X(-q) - X(q)*|", "eV, angstrom", True, WANNIER, True),
    "spin_overlap": Quantity("smallest |<up|down>| of a function with itself", "1", False, WANNIER, True),
    "charge": Quantity(
        "electrons below the Fermi energy, less pw.x's at the same k points", "1", True, f"{DENSER}, or {WANNIER}", True
    ),
    "moment": Quantity(
        "moment, less pw.x's at the same k points", "bohr magneton", True, f"{DENSER}, or {WANNIER}", True
    ),
    "minimum_moment": Quantity(
        "moment per cell along the starting moments", "bohr magneton", False,
        "other starting moments (magnetic_moments): the film is not the ferromagnet that was asked for",
    ),
    "states": Quantity(
        "density of states at the Fermi level", "1/eV", False,
        "this theory is for metals: check structure and scf, or use fermi_level='dft' with a shift into the bands",
    ),
    "spin_orbit_bands": Quantity(
        "weighted difference of the bands of Hbar + V to pw.x with spin-orbit interaction", "meV", True,
        f"{WANNIER}, or the pseudopotentials",
    ),
}  # fmt: skip
"""What is asked of a model; the limits are the protocol's section `quality`."""

RESPONSE = {
    "closure": Quantity(
        "|D(1) + Q(1)| / |D(1)|", "1", True, "a denser response mesh (response: mesh, tolerance)",
    ),
    "symmetry_residual": Quantity(
        "part of D that the film's symmetry forbids", "1", True, f"symmetry: true in the response, or {DENSER}",
    ),
    "k_error": Quantity(
        "largest error from the k mesh of D (without D: of the first quantity), of its largest size", "1", True,
        "a denser response mesh (response: mesh, tolerance, max_mesh)", unknown="not resolved",
    ),
    "completeness": Quantity(
        "largest |D(1) - D(1) of the Wannier functions| / |D(1)|, what was put back", "1", True,
        f"{WANNIER}; the result is the corrected one",
    ),
    "vanishing": Quantity(
        "largest component of D where the film's symmetry allows none", "meV angstrom", True,
        f"a denser response mesh (response: mesh, tolerance), or {DENSER}",
    ),
}  # fmt: skip
"""What is asked of a response; `vanishing` in place of the others where D is zero by symmetry."""


@calcfunction
def assess_model(
    model: orm.Data,
    limits: orm.Dict,
    scf_parameters: orm.Dict,
    bands: orm.BandsData | None = None,
    nscf_bands: orm.BandsData | None = None,
    spin_orbit_bands: orm.BandsData | None = None,
    cutoffs: orm.Dict | None = None,
) -> orm.Dict:
    """Every number of the model's gate against its limit.

    Parameters
    ----------
    model : WannierModelData
    limits : Dict
        Quantity to limit; a quantity without one is measured and not judged.
    scf_parameters : Dict
        Output parameters of the scf run.
    bands, spin_orbit_bands : BandsData, optional
        pw.x's bands at the k points of `check_kpoints`, collinear, and with spin-orbit interaction along z.
    nscf_bands : BandsData, optional
        pw.x's bands on the model's own mesh.
    cutoffs : Dict, optional
        What was decided of the cutoffs: `reference`, the recommended ecutwfc in Ry.

    Returns
    -------
    Dict
        See `judged`.
    """
    loaded = model.load()
    # Its set-up, the images of R, takes a second for a thick film: once for all that is measured.
    interpolated = Interpolation(loaded)
    excluded = int(loaded.attributes.get("excluded_bands", 0))
    places: dict[str, dict[str, Any]] = {}
    numbers: dict[str, float | None] = {
        "basis": _basis(scf_parameters, cutoffs),
        "spread": quality.largest_spread(loaded),
        "time_reversal": loaded.time_reversal_error,
        "spin_overlap": quality.smallest_spin_overlap(loaded),
    }
    if bands is not None:
        kpoints, kept = bands.get_kpoints(), bands.get_bands()[..., excluded:]
        found = quality.band_errors(interpolated, kpoints, kept)
        numbers |= {"bands": found.weighted, "bands_largest": found.largest}
        places["bands_largest"] = _place(found, loaded.cell)
        electrons, moment = quality.filling_errors(interpolated, kpoints, kept)
        numbers |= {"charge": abs(electrons), "moment": abs(moment)}
    if nscf_bands is not None:
        kept = nscf_bands.get_bands()[..., excluded:]
        numbers["bands_on_mesh"] = quality.band_errors(interpolated, nscf_bands.get_kpoints(), kept).weighted
    if spin_orbit_bands is not None:
        kept = spin_orbit_bands.get_bands()[..., 2 * excluded :]
        numbers["spin_orbit_bands"] = quality.spin_orbit_band_errors(
            interpolated, spin_orbit_bands.get_kpoints(), kept
        ).weighted
    filling = quality.filling(interpolated)
    numbers |= {"states": filling["states"], "minimum_moment": filling["moment"]}
    return orm.Dict(judged(MODEL, numbers, limits.get_dict(), places))


def _place(found: quality.BandErrors, cell: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Where a largest difference lies: which k point and what it is called, spin, band, energy from E_F."""
    named = [name for name, point in high_symmetry_points(cell) if np.allclose(point, found.kpoint, atol=1e-6)]
    return {
        "kpoint": list(found.kpoint),
        "point": named[0] if named else None,
        "spin": found.spin,
        "band": found.band,
        "energy_ev": found.energy,
    }


def place_in_words(place: Mapping[str, Any] | None) -> str:
    """`at` of a quantity: 'at k = (0.3333, 0.3333), corner; spin up, band 7, 2.31 eV below E_F'; '' for none."""
    if not place:
        return ""
    point = ", ".join(f"{x:.4f}" for x in place["kpoint"][:2])
    named = f", {place['point']}" if place["point"] else ""
    side = "below" if place["energy_ev"] < 0 else "above"
    energy = f"{abs(place['energy_ev']):.2f} eV {side} E_F"
    return f"at k = ({point}){named}; spin {place['spin']}, band {place['band']}, {energy}"


def _basis(scf_parameters: orm.Dict, cutoffs: orm.Dict | None) -> float | None:
    """The cutoff that pw.x had, in units of the recommended one; None where none is recommended."""
    reference = None if cutoffs is None else cutoffs.get("reference", None)
    used = scf_parameters.get("wfc_cutoff", None)
    if reference is None or used is None or used <= 0:
        return None
    # In eV, by the parser's constants: what differs in the fifth digit is the same.
    return round(float(used) / (float(reference) * RYDBERG_EV), 4)


@calcfunction
def assess_response(response: orm.Data, limits: orm.Dict, film: orm.Dict | None = None) -> orm.Dict:
    """Every number of the response's gate against its limit, at the largest xi and the shift nearest to zero.

    Parameters
    ----------
    response : DmiData
    limits : Dict
        Number to limit; what needs a quantity that was not asked for is not known.
    film : Dict, optional
        The film's record. Where D vanishes by symmetry, for the directions for which it does, what is relative to D is
        nothing beside nothing: the size of the largest component is judged in its place.

    Returns
    -------
    Dict
        See `judged`; the worst over directions and temperatures, of the mask `all` where there is one, else of all.
    """
    result = response.dataset
    point = result.sel(soi_scale=result.soi_scale.max()).sel(fermi_shift=0.0, method="nearest")
    if "all" in point["mask"].values:
        # Of one layer alone D may be next to nothing, and so large beside nothing is no fault.
        point = point.sel(mask=["all"])
    record = {} if film is None else film.get_dict()
    numbers: dict[str, float | None] = {}
    # Without D, what comes first has to do: the error of the mesh is to be judged in any case.
    leading = tensors_of(result)[0]
    if record.get("vanishing") and indices_of(result[leading]) == OF_DMI:
        # A mask may lower the symmetry, and may not: nothing can be asked of one that is not the same on all atoms.
        point = point.isel(mask=np.ptp(point.mask_weights.values, axis=1) == 0.0)
        zero = _along_z(point) | bool(record.get("vanishing_for_every_n"))
        if zero.any():
            there = point.isel(direction=zero)
            numbers["vanishing"] = float(abs(there.D).max()) if "D" in there and there.D.size else None
        point = point.isel(direction=~zero)
    if point[leading].size:
        size = float(abs(point[leading]).max())
        # What was put back has a mesh and an error of its own, which stand beside the number.
        own = f"{leading}{OF_MODEL}_error" if f"{leading}{OF_MODEL}_error" in point else f"{leading}_error"
        # Where the mesh does not resolve kT there is no error, which is no small one.
        numbers["k_error"] = float(point[own].max(skipna=False)) / size if size > 0 else None
        numbers |= {
            name: _worst(point[name]) for name in ("closure", "symmetry_residual", "completeness") if name in point
        }
    return orm.Dict(judged(RESPONSE, numbers, limits.get_dict()))


def _along_z(point: Any) -> npt.NDArray[np.bool_]:
    """Which of a result's directions are the film's normal."""
    vectors = point.direction_vector.values
    return np.asarray(np.abs(vectors[:, 2]) > (1 - 1e-9) * np.linalg.norm(vectors, axis=1))


def _worst(values: Any) -> float | None:
    """The largest; None where none is defined (closure without spin-orbit interaction, residual without moments)."""
    found = float(values.max(skipna=True))
    return None if math.isnan(found) else found


def judged(
    quantities: dict[str, Quantity],
    numbers: dict[str, float | None],
    limits: dict[str, Any],
    places: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Numbers with their limits.

    Parameters
    ----------
    quantities, numbers, limits
        By name.
    places : mapping, optional
        Where a number was found.

    Returns
    -------
    dict
        `quantities`: name to value (None: not known), unit, limit (None: not judged), meaning, passed, and
        `at` where that is known (`place_in_words`);
        `failed`: names, in order; `retry`: whether another choice of Wannier functions may mend all of them;
        `messages`: one line for each of them: quantity, value, limit, remedy.
    """
    entries, failed, messages = {}, [], []
    for name, quantity in quantities.items():
        value, limit = numbers.get(name), limits.get(name)
        known = value is not None and math.isfinite(value)
        if value is None or limit is None:
            passed = True
        else:
            passed = known and bool(value <= limit if quantity.at_most else value >= limit)
        entries[name] = {
            "value": value if known else None,
            "unit": quantity.unit,
            "limit": limit,
            "meaning": quantity.meaning,
            "passed": bool(passed),
        }
        place = (places or {}).get(name)
        if place:
            entries[name]["at"] = place
        if not passed:
            failed.append(name)
            word = "at most" if quantity.at_most else "at least"
            shown = f"{value:.4g}" if known else quantity.unknown
            unit = "" if quantity.unit == "1" else f" {quantity.unit}"
            where = f", {place_in_words(place)}" if place else ""
            messages.append(
                f"{name} = {shown}{unit} ({quantity.meaning}{where}), expected {word} {limit:g}; try {quantity.remedy}"
            )
    return {
        "quantities": entries,
        "failed": failed,
        "retry": bool(failed) and all(quantities[name].retry for name in failed),
        "messages": messages,
    }


@calcfunction
def quality_summary(model: orm.Dict | None = None, response: orm.Dict | None = None) -> orm.Dict:
    """The gates of a run side by side, with all that failed as `warnings`."""
    gates = {name: gate.get_dict() for name, gate in (("model", model), ("response", response)) if gate is not None}
    warnings = [message for gate in gates.values() for message in gate["messages"]]
    quantities = {name: gate["quantities"] for name, gate in gates.items()}
    return orm.Dict({**quantities, "warnings": warnings})
