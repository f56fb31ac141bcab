"""What is changed when a try fails or its model fails the gate, by what its numbers say, and why.

- Functions that are spread out, differ between the spins or break time reversal are not made of the bands that were
  kept: more bands, then trial functions of the other kind.
- Bands that are off at the k points of the mesh itself are not held by the functions, whatever the mesh: a wider frozen
  window, where it ends below what is compared, else functions of one more shell.
- Bands that are right on the mesh and off between its points, or charge and moment there, are a matter of the
  interpolation alone: a denser mesh, by as much as the error is too large.
- wannier90.x that breaks down on a window: a narrower one, then more bands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_dmi.calculations.functions import operations_of_film
from aiida_dmi.engine.build.atomic_functions import ATOMIC, HYDROGENIC
from aiida_dmi.engine.build.irreducible import symmetric_divisions
from aiida_dmi.engine.maps.quality import WIDTH
from aiida_dmi.workflows import neighbours

RETRIES = "retries"
"""Key of `wannierisation`: how many further tries there may be."""
WINDOW, WANNIER90, MODEL = FAILURES = ("frozen window", "wannier90", "model")
"""Steps of a try whose failure other functions may mend."""
OF_FUNCTIONS = ("spread", "spin_overlap", "time_reversal")
OFF_MESH = ("bands", "bands_largest", "spin_orbit_bands", "charge", "moment")
SHARE_ON_MESH = 0.5
"""Of the error between the points: as much on the points themselves, and a denser mesh would not help."""
SHELLS = ("s", "p", "d", "f")
BANDS, F_BANDS = 2.5, 4.5
"""Bands a function: for functions that are not in fewer; where there are f functions, which begin far above E_F."""
WIDE, NARROW, OF_HYDROGENIC = 2.0, 1.0, 3.0
"""eV above E_F: frozen windows."""
DECAY = 0.3
"""1/Angstrom: the error between the points falls by exp(-DECAY L) with the reach L of the mesh, half its supercell's
side. Measured 0.13 (Ni/Au(111)) to 0.56 (Co/Pt(111)), docs/how-to/wannier-functions.md."""
AIM = 0.8
"""Of the limit: what a denser mesh is to reach."""
LEAST_STEP, MOST_STEP = 1.25, 2.0
"""By how much a denser mesh is denser along each direction."""


@dataclass(frozen=True)
class Change:
    """What the next try does differently.

    Parameters
    ----------
    why : str
        What the numbers of the last one say.
    settings : dict
        Of `wannierisation`, those that change.
    factor : float
        By which the mesh is denser along each direction.
    """

    why: str
    settings: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0


def change(
    settings: Mapping[str, Any], reach: float, gate: Mapping[str, Any] | None = None, failure: str = ""
) -> Change | None:
    """What to change after a try; None where nothing is left that would help.

    Parameters
    ----------
    settings : mapping
        `orbitals`, `bands_per_function`, `frozen_window`, `trial_functions` of the try.
    reach : float
        Half the shorter side of its mesh's supercell, Angstrom.
    gate : mapping, optional
        The output of the quality gate, where the try ended well.
    failure : str
        The one of `FAILURES` at which it ended, else.
    """
    if gate is None:
        return _after_failure(settings, failure)
    entries, failed = gate["quantities"], gate["failed"]
    if unlike := [name for name in OF_FUNCTIONS if name in failed]:
        return _other_functions(settings, f"{_said(entries, unlike)}: the functions are not made of the bands kept")
    off = [name for name in OFF_MESH if name in failed]
    if not off and "bands_on_mesh" not in failed:
        return None
    between, on_mesh = (entries.get(name, {}).get("value") for name in ("bands", "bands_on_mesh"))
    held = on_mesh is None or (between is not None and on_mesh < SHARE_ON_MESH * between)
    if "bands_on_mesh" in failed or not held:
        return _more_functions(settings, f"bands {_number(on_mesh)} meV off at the mesh's own points")
    known = "" if on_mesh is None else f", {_number(on_mesh)} meV at its points"
    worst = max(_ratio(entries[name]) for name in off)
    factor = 1 + max(0.0, math.log(worst / AIM)) / (DECAY * reach)
    return Change(f"{_said(entries, off)} between the mesh's points{known}", factor=_clipped(factor))


def _after_failure(settings: Mapping[str, Any], failure: str) -> Change | None:
    if failure == WINDOW:
        return _more_functions(settings, "more states than functions near the Fermi energy", window=False)
    if failure == WANNIER90 and settings["frozen_window"] > NARROW:
        return Change("wannier90 broke down, perhaps on the frozen window", {"frozen_window": NARROW})
    return _other_functions(settings, f"{failure} failed with these functions")


def _other_functions(settings: Mapping[str, Any], why: str) -> Change | None:
    if settings["bands_per_function"] < BANDS:
        return Change(why, {"bands_per_function": BANDS})
    if settings.get("trial_functions", HYDROGENIC) == ATOMIC:
        return Change(why, {"trial_functions": HYDROGENIC, "frozen_window": OF_HYDROGENIC})
    return None


def _more_functions(settings: Mapping[str, Any], why: str, window: bool = True) -> Change | None:
    if window and settings["frozen_window"] <= WIDTH:
        return Change(why, {"frozen_window": WIDE})
    missing = [shell for shell in SHELLS if shell not in settings["orbitals"]]
    if not missing:
        return None
    changes: dict[str, Any] = {"orbitals": [*settings["orbitals"], missing[0]]}
    if missing[0] == "f":
        changes["bands_per_function"] = max(F_BANDS, settings["bands_per_function"])
    return Change(why, changes)


def _ratio(entry: Mapping[str, Any]) -> float:
    """By how many times a number is too large; one that is none is as much as can be done about."""
    value, limit = entry["value"], entry["limit"]
    return math.inf if value is None or limit == 0 else float(value / limit)


def _clipped(factor: float) -> float:
    return min(max(factor, LEAST_STEP), MOST_STEP)


def _said(entries: Mapping[str, Any], names: Sequence[str]) -> str:
    units = {name: "" if entries[name]["unit"] == "1" else f" {entries[name]['unit']}" for name in names}
    return ", ".join(f"{name} {_number(entries[name]['value'])}{units[name]}" for name in names)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


def reach_of(kpoints: orm.KpointsData, structure: orm.StructureData) -> float:
    """Half the shorter side of the supercell that a mesh stands for, Angstrom."""
    sides = np.linalg.norm(np.array(structure.cell)[:2], axis=1) * kpoints.get_kpoints_mesh()[0][:2]
    return float(sides.min()) / 2


@calcfunction
def first_choice(wannierisation: orm.Dict) -> orm.Dict:
    """The settings of the first try."""
    return orm.Dict({key: value for key, value in wannierisation.get_dict().items() if key != RETRIES})


@calcfunction
def next_choice(
    settings: orm.Dict,
    kpoints: orm.KpointsData,
    structure: orm.StructureData,
    wannier90: orm.Dict,
    quality: orm.Dict | None = None,
    failure: orm.Str | None = None,
) -> dict[str, orm.Data]:
    """Settings, mesh and wannier90.x's parameters of the next try (`change`).

    Parameters
    ----------
    settings, kpoints, wannier90
        Of the last try.
    structure : StructureData
    quality : Dict, optional
        Of its model.
    failure : Str, optional
        The step at which it ended, where there is no model.

    Returns
    -------
    dict
        `settings`, `kpoints`, `wannier90`.

    Raises
    ------
    ValueError
        If nothing is left to change, or no denser mesh has neighbours for Wannier90.
    """
    gate = None if quality is None else quality.get_dict()
    changed = change(settings.get_dict(), reach_of(kpoints, structure), gate, "" if failure is None else failure.value)
    if changed is None:
        raise ValueError("no change of the Wannier functions would help")
    parameters, mesh = wannier90.get_dict(), kpoints.get_kpoints_mesh()[0]
    if changed.factor > 1:
        denser = [n if n == 1 else math.ceil(n * changed.factor - 1e-9) for n in mesh]
        asked = symmetric_divisions(denser, operations_of_film(structure))
        chosen = neighbours.choose(structure.cell, asked, parameters, fixed=False)
        mesh, parameters = chosen.mesh, {**parameters, **chosen.parameters}
    points = orm.KpointsData()
    points.set_cell_from_structure(structure)
    points.set_kpoints_mesh(mesh)
    return {
        "settings": orm.Dict({**settings.get_dict(), **changed.settings}),
        "kpoints": points,
        "wannier90": orm.Dict(parameters),
    }
