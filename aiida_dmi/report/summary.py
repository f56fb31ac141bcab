"""The numbers people ask for first, as a table with units and errors, and the quality gate beside them."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any

from aiida import orm
from tabulate import tabulate

from aiida_dmi.calculations.functions import headline
from aiida_dmi.calculations.quality import MODEL, RESPONSE, place_in_words
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import (
    error_words,
    in_order,
    mesh_label,
    symbol_of,
    unit_words,
    units_of,
    with_error,
)
from aiida_dmi.structures.runs import film_of_run

NEAR = 0.2
"""A value that meets its limit by less than this part of it is shown in amber."""
FROM_ONE = ("spin_overlap",)
"""Overlaps are 1 at best: what is missing to 1 is held against what the limit allows."""
WIDTH = 116


@dataclass(frozen=True)
class Gate:
    """One number of the quality gate.

    Parameters
    ----------
    of : str
        'model' or 'response'.
    name, meaning, unit : str
    value, limit : float or None
        None: not measured, not judged.
    colour : {'green', 'amber', 'red', 'grey'}
        Met; met, but by less than a fifth of the limit; not met; not measured or not judged.
    where : str
        At which k point, spin, band and energy it was found, in words; '' where it has no such place.
    """

    of: str
    name: str
    meaning: str
    unit: str
    value: float | None
    limit: float | None
    colour: str
    where: str = ""

    @property
    def verdict(self) -> str:
        """The colour in a word."""
        if self.value is None:
            return {"red": "failed", "grey": "not measured"}[self.colour]
        return {"green": "passed", "amber": "close", "red": "failed", "grey": "not judged"}[self.colour]


def summary_of(node: orm.Node, thickness: float | None = None) -> dict[str, Any]:
    """The headline values of a DmiWorkChain or of a response.

    Parameters
    ----------
    node : DmiWorkChain or DmiData
    thickness : float, optional
        Of the magnetic film, Angstrom, for mJ/m^2; default the workchain's.

    Returns
    -------
    dict
        As `calculations.functions.headline`.

    Raises
    ------
    InputError
        If the node has no response (yet).
    """
    if thickness is not None and not (math.isfinite(thickness) and thickness > 0):
        raise InputError(f"thickness: {thickness} was given, expected a positive number of Angstrom")
    response, own, scf, film = _response(node), None, None, None
    if isinstance(node, orm.WorkChainNode):
        if thickness is None and "output_parameters" in node.outputs:
            found: dict[str, Any] = node.outputs.output_parameters.get_dict()
            return found
        own = node.inputs.thickness.value if "thickness" in node.inputs else None
        film = film_of_run(node)
        scf = node.outputs.scf_parameters if "scf_parameters" in node.outputs else None
    wanted = own if thickness is None else thickness
    optional: dict[str, Any] = {} if wanted is None else {"thickness": orm.Float(wanted)}
    if scf is not None:
        optional["scf_parameters"] = scf
    if film is not None and any(film.magnetic):
        optional["film"] = orm.Dict(film.record())
    # Looking at a number is no calculation: it leaves nothing in the database.
    optional["metadata"] = {"store_provenance": False}
    computed = headline(response, **optional)
    return dict(computed.get_dict())


def _response(node: orm.Node) -> DmiData:
    if isinstance(node, DmiData):
        return node
    if isinstance(node, orm.WorkChainNode) and "response" in node.outputs:
        response: DmiData = node.outputs.response
        return response
    kind = getattr(node, "process_label", None) or type(node).__name__
    if isinstance(node, orm.ProcessNode) and node.exit_status:
        raise InputError(f"{node.pk}: {kind} has no response; exit {node.exit_status}: {node.exit_message}")
    if isinstance(node, orm.ProcessNode) and not node.is_terminated:
        raise InputError(f"{node.pk}: {kind} has no response yet; see `aiida-dmi status {node.pk}`")
    raise InputError(f"{node.pk}: {kind} was given, expected a finished DmiWorkChain or its response")


def value_rows(summary: dict[str, Any], alone: bool = True) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table: quantity, and its value with error in each unit.

    Parameters
    ----------
    summary : dict
        From `summary_of`.
    alone : bool
        Of a corrected result what the values were before, in a last column.
    """
    values = {key: summary["values"][key] for key in in_order(list(summary["values"]))}
    units = units_of(unit for value in values.values() for unit in value)
    rows = []
    for key, value in values.items():
        row = [symbol_of(key)]
        row += [with_error(value[unit], value[f"{unit}_error"]) if unit in value else "-" for unit in units]
        rows.append(row)
    headings = ["", *map(unit_words, units)]
    if not alone or "values_wannier" not in summary:
        return headings, rows
    for key, row in zip(values, rows, strict=True):
        before = summary["values_wannier"].get(key, {})
        first = units[0]
        row.append(with_error(before[first], before[f"{first}_error"]) if first in before else "-")
    return [*headings, "Wannier functions alone"], rows


def conditions(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """What the values belong to, as pairs of name and text."""
    mesh = mesh_label(summary["mesh"])
    moment, thickness = summary.get("total_magnetization_bohr"), summary.get("thickness_angstrom")
    film = summary.get("film", {})
    rule = f" ({film['thickness_rule']})" if film else ""
    return [
        ("xi", f"{summary['soi_scale']:g}"),
        ("temperature", f"{summary['temperature_K']:g} K"),
        ("direction n", summary["direction"]),
        ("spin-orbit mask", summary["mask"]),
        ("shift of the Fermi level", f"{summary['fermi_shift_eV']:g} eV"),
        ("chemical potential", f"{summary['chemical_potential_eV']:.4f} eV ({summary['fermi_level']})"),
        ("Fermi energy of the scf", f"{summary['fermi_energy_eV']:.4f} eV"),
        ("response mesh", f"{mesh}; errors: {error_words(summary)}"),
        ("closure |D(1) + Q(1)|/|D(1)|", _closure_words(summary)),
        *_completeness_row(summary),
        ("cell area", f"{summary['cell_area_angstrom2']:.4f} angstrom^2"),
        *([("magnetic thickness t", f"{thickness:.4f} angstrom{rule}")] if thickness is not None else []),
        *([("magnetic thickness t", film["thickness_rule"])] if film and thickness is None else []),
        *([("moment per cell", f"{moment:.2f} mu_B")] if moment is not None else []),
        *([("film", _film_words(film))] if film else []),
        *([("film normal", film["normal"])] if film else []),
        *([("symmetry", film["vanishing"])] if film.get("vanishing") else []),
        *[("note", decision) for decision in film.get("decisions", [])],
        ("sign", summary["sign"]),
    ]


def _closure_words(summary: dict[str, Any]) -> str:
    closure = summary["closure"]
    if closure is None:
        return "none, D(1) is 0" if "D_1_yx" in summary["values"] else "not computed"
    return f"{closure:.3f}"


def _completeness_row(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """How much the Wannier functions had left out, where it was put back."""
    if "completeness_mesh" not in summary:
        return []
    part, mesh = summary["completeness"], mesh_label(summary["completeness_mesh"])
    words = "no D(1)" if part is None else f"{part:.3f} of D(1)"
    return [("left out by the functions", f"{words}; put back from plane waves, mesh {mesh}")]


def _film_words(film: dict[str, Any]) -> str:
    """Magnet, substrate and cap, and the order of the moments."""
    parts = [f"{part} {'/'.join(film[key])}" for part, key in
             (("magnet", "magnets"), ("substrate", "substrate"), ("cap", "cap")) if film[key]]  # fmt: skip
    return ", ".join([*parts, *([film["order"]] if film["order"] else [])])


def gates(quality: dict[str, Any]) -> list[Gate]:
    """The quality gate, number by number.

    Parameters
    ----------
    quality : dict
        The output `quality` of a DmiWorkChain.
    """
    found = []
    for of, quantities in (("model", MODEL), ("response", RESPONSE)):
        for name, entry in quality.get(of, {}).items():
            value, limit = entry["value"], entry["limit"]
            colour = "red" if not entry["passed"] else "grey"
            if entry["passed"] and value is not None and limit is not None:
                at_most = quantities[name].at_most if name in quantities else True
                colour = _margin(1 - value, 1 - limit, True) if name in FROM_ONE else _margin(value, limit, at_most)
            where = place_in_words(entry.get("at"))
            found.append(Gate(of, name, entry["meaning"], entry["unit"], value, limit, colour, where))
    return found


def _margin(value: float, limit: float, at_most: bool) -> str:
    """Green or amber, of a value that meets its limit."""
    close = value > (1 - NEAR) * limit if at_most else value < (1 + NEAR) * limit
    return "amber" if close else "green"


def quality_of(node: orm.Node) -> dict[str, Any]:
    """The output `quality` of a workchain, in the form of a DmiWorkChain's; empty where there is none."""
    if not isinstance(node, orm.WorkChainNode) or "quality" not in node.outputs:
        return {}
    content: dict[str, Any] = node.outputs.quality.get_dict()
    if "quantities" in content:  # a WannierModelWorkChain's: the model's gate alone
        return {"model": content["quantities"], "warnings": content["messages"]}
    return content


def as_text(node: orm.Node, thickness: float | None = None) -> str:
    """What `aiida-dmi show` prints.

    Parameters
    ----------
    node : DmiWorkChain or DmiData
    thickness : float, optional
        As `summary_of`.
    """
    summary = summary_of(node, thickness)
    headings, rows = value_rows(summary)
    lines = [tabulate(rows, headings, stralign="right"), ""]
    for name, text in conditions(summary):
        lines += textwrap.wrap(f"{name:29s} {text}", WIDTH, subsequent_indent=" " * 30)
    quality = quality_of(node)
    if quality:
        lines += ["", *gate_lines(quality)]
    kind = getattr(node, "process_label", None) or type(node).__name__
    lines += ["", f"{kind} pk {node.pk}, uuid {node.uuid}"]
    if isinstance(node, orm.ProcessNode) and node.exit_status:
        lines += textwrap.wrap(f"exit {node.exit_status}: {node.exit_message}", WIDTH)
    return "\n".join(lines)


def gate_lines(quality: dict[str, Any]) -> list[str]:
    """The quality gate as lines of text."""
    rows = [
        [gate.verdict, f"{gate.of}: {gate.name}", number(gate.value), number(gate.limit), gate.unit]
        for gate in gates(quality)
    ]
    table = tabulate(rows, ["gate", "quantity", "value", "limit", "unit"], disable_numparse=True).splitlines()
    return table + [f"{gate.name} {gate.where}" for gate in gates(quality) if gate.where]


def number(value: float | None) -> str:
    """Three digits; '-' for what is not known."""
    return "-" if value is None else f"{value:.3g}"
