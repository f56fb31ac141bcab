"""The results of a campaign as one table: a row a candidate, or a row a point of its axes."""

from __future__ import annotations

import csv
import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from aiida import orm

from aiida_dmi.calculations.quality import MODEL, RESPONSE
from aiida_dmi.engine.completeness.correct import of_functions
from aiida_dmi.engine.completeness.file import OF_MODEL
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.engine.maps.filling import doping_axis
from aiida_dmi.engine.output.headline import Numbers, headline_values, in_order, parts_of, symbol_of, units_of
from aiida_dmi.engine.output.units import UNITS
from aiida_dmi.screening.campaign import Entry, entries, plain_rows
from aiida_dmi.text import csv_text

FILM = ("host", "magnet", "substrate", "cap", "layers", "doping", "series", "x")
"""Facts of the candidate that are columns."""

GATE = (*MODEL, *RESPONSE)
"""Quantities of the gates (units: aiida_dmi/calculations/quality.py)."""

COMPONENTS = ("yx", "x", "y", "z")
"""Of tensors and vectors, in the names of columns."""
NOT_SHOWN = ("xy",)
"""Components that are no columns: with the film's symmetry they say what yx says."""

CHUNK = 5000
"""Numbers in one condition: SQLite takes 32766 in all."""

FORMATS = (".csv", ".json", ".parquet")


@contextmanager
def _nothing_is_garbage() -> Iterator[None]:
    """Without Python's collector, which walks through all rows again and again while they grow: a third of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@_nothing_is_garbage()
def campaign_table(name: str, points: bool = False) -> pd.DataFrame:
    """The results of a campaign.

    Parameters
    ----------
    name : str
        Of the campaign.
    points : bool
        A row for every direction, mask, temperature and shift of every candidate, with the doping x that a shift
        stands for; otherwise one row a candidate, at its headline point (zero shift, first direction, mask and
        temperature). The points are read from the result files, the headline from the database.

    Returns
    -------
    pandas.DataFrame
        Columns: `label`, `state`, the film (`FILM`), the point (`direction`, `mask`, `temperature_K`, `shift_eV`,
        `soi_scale`, `compound`), each quantity that was computed as '<name>_yx_<unit>' and '<name>_yx_<unit>_error'
        (D and its like: meV*Angstrom per cell, pJ/m, mJ/m^2), a scalar as '<name>_<unit>', of corrected ones what
        they were as '<name>_wannier_yx_meV_angstrom', the gate's numbers (`completeness` among them),
        `mu_eV`, `area_angstrom2`, `thickness_angstrom`, uuids of `workchain`, `response`, `model`, `structure`, and
        `message`: why there are no numbers, or what the gate said.

    Raises
    ------
    InputError
        If there is no such campaign.
    """
    return rows(entries(name), points)


@_nothing_is_garbage()
def rows(candidates: Iterable[Entry], points: bool = False) -> pd.DataFrame:
    """As `campaign_table`, of entries."""
    candidates = list(candidates)
    results = _results([entry.pk for entry in candidates if entry.pk is not None])
    found: list[dict[str, Any]] = []
    shown: dict[str, None] = {}
    for entry in candidates:
        outputs = results.get(entry.pk or 0, {})
        common = {
            "label": entry.label,
            "state": entry.state,
            **{fact: entry.facts.get(fact) for fact in FILM},
            "candidate": entry.key,
            "workchain": entry.uuid,
            **{name: outputs[name][0] if name in outputs else None for name in ("response", "model", "structure")},
            "exit_status": entry.exit_status,
            "message": entry.message,
        }
        if "output_parameters" not in outputs:
            found.append(common)
            continue
        summary = outputs["output_parameters"][1]
        gates = outputs["quality"][1] if "quality" in outputs else {}
        values = _columns(summary["values"]) | _before(summary.get("values_wannier", {}))
        shown |= dict.fromkeys(values)
        numbers = {**_headline(summary), **values, **_gate(gates)}
        if not points:
            found.append({**common, **numbers})
            continue
        result = orm.load_node(outputs["response"][0]).dataset
        constant: dict[str, Any] = {
            key: numbers[key] for key in ("area_angstrom2", "thickness_angstrom") if key in numbers
        }
        model_gate = _gate({"model": gates.get("model", {})})
        for row in _points(result, summary.get("thickness_angstrom"), entry.facts):
            found.append({**common, **constant, **model_gate, **row})
    table = pd.DataFrame(found)
    return table[[*_ordered(table.columns, shown)]]


def rank(table: pd.DataFrame, by: str, ascending: bool = False, absolute: bool = False) -> pd.DataFrame:
    """Sort by a column, rows without a number last.

    Parameters
    ----------
    table : DataFrame
    by : str
        Column.
    ascending : bool
        Smallest first.
    absolute : bool
        By the size of the number, whatever its sign.

    Raises
    ------
    InputError
        If there is no such column.
    """
    if by not in table.columns:
        raise InputError(f"rank: {by!r} is no column, expected one of {', '.join(table.columns)}")
    key = (lambda column: column.abs()) if absolute and pd.api.types.is_numeric_dtype(table[by]) else None
    return table.sort_values(by, ascending=ascending, key=key, na_position="last", kind="stable")


class Column(NamedTuple):
    """One number of a table: its column, what it is, and the key of its unit.

    Attributes
    ----------
    name, quantity : str
    component : str
        'yx' of a tensor, 'x', 'y' or 'z' of a vector, '' of a scalar.
    unit : str
        As in `engine.output.units.in_units`.
    """

    name: str
    quantity: str
    component: str
    unit: str

    @classmethod
    def of(cls, name: str) -> Column:
        """Of a heading such as 'a_I_yx_meV_angstrom' or 'energy_meV'."""
        quantity, rest = parts_of(name)
        component, _, unit = rest.partition("_")
        return cls(name, quantity, component, unit) if component in COMPONENTS else cls(name, quantity, "", rest)

    @property
    def symbol(self) -> str:
        """As it is written: 'a(I)_yx'."""
        return symbol_of("_".join(part for part in (self.quantity, self.component) if part))


def number_columns(table: pd.DataFrame) -> list[Column]:
    """The columns of numbers that have an error, in order."""
    return [Column.of(name) for name in table.columns if f"{name}_error" in table.columns]


def column_of(table: pd.DataFrame, quantity: str, unit: str) -> Column:
    """The column of a quantity.

    Parameters
    ----------
    table : DataFrame
    quantity : str
        Such as 'D', 'a_I', 'energy'.
    unit : str
        Of `engine.output.units.UNITS`; of what is given in none of them its own is taken.

    Raises
    ------
    InputError
        If the table does not hold it.
    """
    numbers = number_columns(table)
    own = [column for column in numbers if column.quantity == quantity]
    found = [c for c in own if c.unit == unit] or [c for c in own if c.unit not in UNITS]
    if not found:
        known = dict.fromkeys(column.quantity for column in numbers)
        raise InputError(
            f"table: {quantity} in {unit} was given, it has {', '.join(known) or 'no numbers'} in {', '.join(UNITS)} "
            "(mJ_per_m2 needs a thickness) or a unit of their own"
        )
    return found[0]


def write_table(table: pd.DataFrame, path: str | Path) -> Path:
    """Write a table as CSV, JSON (a list of rows) or Parquet, by the file's suffix.

    Raises
    ------
    InputError
        If the suffix is another one, or Parquet is asked for without pyarrow.
    """
    path = Path(path)
    check_format(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        if path.suffix == ".csv":
            table.map(csv_text).rename(columns=csv_text).to_csv(temporary, index=False, quoting=csv.QUOTE_NONNUMERIC)
        elif path.suffix == ".json":
            table.to_json(temporary, orient="records", indent=1, double_precision=15)
        else:
            table.to_parquet(temporary, index=False)
    return path


def check_format(path: Path) -> None:
    """Refuse what `write_table` cannot write."""
    if path.suffix not in FORMATS:
        raise InputError(f"output: {path} was given, expected a name that ends in {', '.join(FORMATS)}")
    if path.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise InputError(f"output: {path} needs pyarrow (`pip install pyarrow`); or write .csv or .json") from error


# -- rows --------------------------------------------------------------------------------------------------


def _results(pks: list[int]) -> dict[int, dict[str, tuple[str, dict[str, Any]]]]:
    """Outputs of the processes in few queries: process to link label to (uuid, attributes of a Dict).

    A model or structure that was given, not made, counts as well.
    """
    found: dict[int, dict[str, tuple[str, dict[str, Any]]]] = {}
    numbers = {"label": {"in": ["output_parameters", "quality"]}}
    given = {"label": {"in": ["model", "structure"]}}
    made = {"label": {"in": ["response", "model", "structure"]}}
    for start in range(0, len(pks), CHUNK):
        wanted = {"id": {"in": pks[start : start + CHUNK]}}
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters=wanted, project="id", tag="process")
        found_in: dict[str, Any] = {"with_incoming": "process", "edge_filters": numbers, "edge_project": "label"}
        query.append(orm.Dict, project=["uuid", "attributes"], **found_in)
        for pk, uuid, attributes, label in plain_rows(query):
            found.setdefault(pk, {})[label] = (uuid, attributes)
        for edges, link in ((given, "with_outgoing"), (made, "with_incoming")):
            query = orm.QueryBuilder().append(orm.WorkChainNode, filters=wanted, project="id", tag="process")
            of_process: dict[str, Any] = {link: "process"}
            query.append(orm.Data, **of_process, edge_filters=edges, edge_project="label", project="uuid")
            for pk, uuid, label in plain_rows(query):
                found.setdefault(pk, {})[label] = (uuid, {})
    return found


def _headline(summary: dict[str, Any]) -> dict[str, Any]:
    """The numbers of `output_parameters`."""
    row: dict[str, Any] = {
        "direction": summary["direction"],
        "mask": summary["mask"],
        "temperature_K": summary["temperature_K"],
        "shift_eV": summary["fermi_shift_eV"],
        "soi_scale": summary["soi_scale"],
        "mu_eV": summary["chemical_potential_eV"],
        "area_angstrom2": summary["cell_area_angstrom2"],
        "total_moment_bohr": summary.get("total_magnetization_bohr"),
    }
    if "thickness_angstrom" in summary:
        row["thickness_angstrom"] = summary["thickness_angstrom"]
    return row


def _columns(values: dict[str, Numbers]) -> dict[str, Any]:
    """Headline values as columns, yx of a tensor, in the order of results, whatever order the database kept."""
    keys = [key for key in in_order(list(values)) if parts_of(key)[1] not in NOT_SHOWN]
    units = ((key, unit) for key in keys for unit in units_of(values[key]))
    return {f"{key}_{one}": values[key][one] for key, unit in units for one in (unit, f"{unit}_error")}


def _before(values: dict[str, Numbers]) -> dict[str, Any]:
    """Of a corrected result D, Q, ... of the Wannier functions alone, per cell, as 'D_wannier_yx_meV_angstrom'."""
    found = {}
    for key in in_order(list(values)):
        name, component = parts_of(key)
        if component not in NOT_SHOWN:
            found[f"{name}{OF_MODEL}_{component}_meV_angstrom"] = values[key]["meV_angstrom"]
    return found


def _gate(gates: dict[str, Any]) -> dict[str, Any]:
    """The gates' numbers, whatever their limits."""
    found = {}
    for gate in ("model", "response"):
        for name, entry in gates.get(gate, {}).items():
            found[name] = entry["value"]
    return found


def _points(result: xr.Dataset, thickness: float | None, facts: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """One row for every direction, mask, temperature and shift, at xi = 1 or the largest."""
    scales = result.soi_scale.values
    scale = 1.0 if 1.0 in scales else float(scales.max())
    at_scale = result.sel(soi_scale=scale)
    axis = doping_axis(result, facts.get("substituted") or _elements(result, facts))
    area = float(result.attrs["cell_area"])
    for d in range(result.sizes["direction"]):
        for m in range(result.sizes["mask"]):
            for t in range(result.sizes["temperature"]):
                for s in range(result.sizes["fermi_shift"]):
                    point = at_scale.isel(direction=d, mask=m, temperature=t, fermi_shift=s)
                    shift = float(point.fermi_shift)
                    row = {
                        "direction": str(point.direction.item()),
                        "mask": str(point["mask"].item()),
                        "temperature_K": float(point.temperature),
                        "shift_eV": shift,
                        "soi_scale": scale,
                        "mu_eV": float(point.mu if "mu" in point else point.mu_bare),
                        **{name: float(point[name]) for name in ("closure", "symmetry_residual") if name in point},
                    }
                    # A shift of a film that is doped otherwise already has no x of its own.
                    if facts.get("doping") in ("none", "rigid"):
                        row["x"] = float(axis.doping.isel(temperature=t, fermi_shift=s))
                        row["compound"] = str(axis.compound.values[s])
                    elif shift != 0.0:
                        row["x"] = None
                    if "completeness" in point:
                        row["completeness"] = float(point.completeness)
                        row |= _before(headline_values(of_functions(point), area, None, NOT_SHOWN))
                    yield row | _columns(headline_values(point, area, thickness, NOT_SHOWN))


def _elements(result: xr.Dataset, facts: dict[str, Any]) -> list[str]:
    """All elements, the magnet's first, as the paper writes its compounds."""
    magnet = str(facts.get("magnet", "")).split("/")
    symbols = dict.fromkeys(str(symbol) for symbol in np.atleast_1d(result.attrs["symbols"]))
    return sorted(symbols, key=lambda symbol: symbol not in magnet)


def _ordered(columns: Iterable[str], numbers: Iterable[str]) -> list[str]:
    """What it is, at which point, the numbers, how good they are, where they come from."""
    order = [
        "label", "state", *FILM, "compound", "direction", "mask", "temperature_K", "shift_eV", "soi_scale", *numbers,
        *GATE, "total_moment_bohr", "mu_eV", "area_angstrom2", "thickness_angstrom",
        "exit_status", "message", "candidate", "workchain", "response", "model", "structure",
    ]  # fmt: skip
    known = list(columns)
    return [name for name in order if name in known] + [name for name in known if name not in order]
