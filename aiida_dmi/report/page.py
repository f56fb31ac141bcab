"""`aiida-dmi report`: one HTML file with everything that a reader of a result asks for; it opens offline."""

from __future__ import annotations

import base64
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from aiida import orm
from aiida.common.links import LinkType
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from aiida_dmi import __version__
from aiida_dmi.aiida_types import pk_of, state_of
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.engine.output.headline import with_error
from aiida_dmi.engine.quantities.registry import SYMBOLS
from aiida_dmi.plots.gallery import MESH, Case, draw, possible
from aiida_dmi.plots.selection import point
from aiida_dmi.plots.structure import atom_names
from aiida_dmi.plots.style import Plot, plain_unit
from aiida_dmi.provenance.protocol import how_known
from aiida_dmi.structures.film import Film
from aiida_dmi.text import one_line

from .citations import citations, versions
from .inputs import protocol_differences
from .summary import conditions, gates, number, quality_of, summary_of, value_rows

MARKS = {"green": "\u25cf", "amber": "\u25b2", "red": "\u2716", "grey": "\u25cb"}
"""A shape for every colour: the page can be read without telling colours apart."""
VECTOR = ("spin-orbit", "fermi-level", "masked", "others", "layers", "structure", "provenance")
"""Figures of few lines, as SVG; the others would be megabytes of paths, and are PNG."""
FROM_MODEL = ("k-map", "bands", "layers", "convergence")
REM = 16 * 0.75
"""Points of a figure that become one rem on the page."""
CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)


def write_report(node: orm.Node, path: Path, mesh: int = MESH, from_model: bool = True) -> None:
    """Write the report of a workchain.

    Parameters
    ----------
    node : DmiWorkChain
        Finished, well or not: what is missing is said.
    path : Path
        HTML file to write.
    mesh : int
        Points along each direction for the figures that are computed from the model.
    from_model : bool
        Draw these at all: they take from seconds to minutes.

    Raises
    ------
    InputError
        If the node is no DmiWorkChain, or has not ended.
    """
    text = render(node, mesh, from_model)
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def render(node: orm.Node, mesh: int = MESH, from_model: bool = True) -> str:
    """The page as text; parameters as `write_report`."""
    if not isinstance(node, orm.WorkChainNode) or node.process_label != "DmiWorkChain":
        kind = getattr(node, "process_label", None) or type(node).__name__
        raise InputError(f"{node.pk}: a {kind} was given, expected a DmiWorkChain; `aiida-dmi status` lists them")
    if not node.is_terminated:
        raise InputError(f"{node.pk}: this DmiWorkChain has not ended; wait for it (`aiida-dmi status {node.pk}`)")
    case = Case.of(node, mesh=mesh)
    figures, missing = _figures(case, from_model)
    protocol, differences = protocol_differences(node)
    quality = quality_of(node)
    content: dict[str, Any] = {
        "title": case.title,
        "node": node,
        "started": f"{node.ctime.astimezone():%Y-%m-%d %H:%M %Z}",
        "state": _state(node),
        "values": None,
        "gates": gates(quality),
        "warnings": quality.get("warnings", []),
        "film": [] if case.structure is None else _film(case.structure, case.film),
        "protocol": protocol,
        "how_known": how_known(node),
        "differences": differences,
        "figures": figures,
        "missing": missing,
        "tree": _tree(node, "run"),
        "versions": versions(node),
        "citations": citations(node),
        "version": __version__,
        "component": f"{case.i}{case.j}",
        "marks": MARKS,
        "number": number,
    }
    if case.response is not None:
        content |= _numbers(node, case)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_shown)
    environment.filters["pretty"] = _pretty
    template = environment.from_string((files(__package__) / "page.html").read_text(encoding="utf-8"))
    return template.render(content)


def _shown(value: Any) -> Any:
    """What a page takes: HTML has no control characters, and marks of direction would turn what follows."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "\n".join(one_line(line) for line in value.split("\n"))


def _pretty(text: str) -> str:
    """Units and signs as one writes them where every character can be had."""
    for plain, nice in (("+-", "\u00b1"), ("angstrom", "\u00c5"), ("^2", "\u00b2"), ("bohr magneton", "\u00b5_B")):
        text = text.replace(plain, nice)
    return text


def _state(node: orm.WorkChainNode) -> dict[str, str]:
    if node.is_finished_ok:
        return {"colour": "green", "text": "finished"}
    if node.is_finished:
        return {"colour": "red", "text": f"exit {node.exit_status}: {node.exit_message}"}
    return {"colour": "red", "text": state_of(node)}


# -- numbers ------------------------------------------------------------------------------------------------------


def _numbers(node: orm.WorkChainNode, case: Case) -> dict[str, Any]:
    summary = summary_of(node)
    headings, rows = value_rows(summary)
    key = f"D_{case.i}{case.j}"
    in_units, own = value_rows(summary, alone=False)
    row = next((cells for cells in own if cells[0] == key), own[0])
    numbers = zip(in_units[1:], row[1:], strict=True)
    cards = [{"name": row[0], "value": value, "unit": unit} for unit, value in numbers if value != "-"]
    return {
        "values": {"headings": headings, "rows": rows},
        "cards": cards,
        "chirality": _chirality(summary["values"].get(key), summary.get("film", {}).get("normal", "+z")),
        "conditions": conditions(summary),
        "sweep": _sweep(case.result, case.i, case.j),
    }


def _chirality(value: dict[str, float] | None, normal: str) -> str:
    """What the sign of D_yx means, if it has one; nothing where D was not asked for."""
    if value is None:
        return ""
    size, error = value["meV_angstrom"], value["meV_angstrom_error"]
    if error is None:
        return "The sign of D_yx is not determined: the k mesh does not resolve kT."
    if abs(size) <= error:
        return "The sign of D_yx is not determined: its error from the k mesh is as large as its value."
    hand, wave = ("left", "q < 0") if size > 0 else ("right", "q > 0")
    return (
        f"D_yx {'>' if size > 0 else '<'} 0 favours {wave} in n = (sin qx, 0, cos qx): {hand}-handed cycloids "
        f"(F = q D_yx; film normal {normal})."
    )


def _sweep(result: xr.Dataset, i: str, j: str) -> dict[str, Any]:
    """What was asked for and the closure at every direction, mask and temperature."""
    first = point(result, i, j, {})
    # D(1) stands in the closure.
    names = [name for name in np.atleast_1d(first.attrs["quantities"]) if name != "D_1" and first[name].ndim == 0]
    units = {name: plain_unit(first[name]) for name in names}
    # One unit stands above the table; another one at its quantity.
    common = next(iter(units.values()), "")
    headings = [SYMBOLS[name] + ("" if units[name] == common else f" ({units[name]})") for name in names]
    rows = []
    for direction in result.direction.values:
        for mask in result["mask"].values:
            for temperature in result.temperature.values:
                at = point(result, i, j, {"direction": direction, "mask": mask, "temperature": temperature})
                values = [with_error(float(at[name]), float(at[f"{name}_error"])) for name in names]
                closure = [f"{float(at.closure):.3f}"] if "closure" in at else []
                rows.append([str(direction), str(mask), f"{temperature:g} K", *values, *closure])
    return {
        "scale": f"{first.soi_scale.item():g}",
        "shift": f"{first.fermi_shift.item():g}",
        "unit": common,
        "headings": ["n", "mask", "T", *headings, *(["closure"] if "closure" in first else [])],
        "rows": rows,
    }


# -- film -----------------------------------------------------------------------------------------------------------


def _film(structure: orm.StructureData, film: Film | None) -> list[dict[str, str]]:
    """Atoms from the surface down."""
    film = film or Film.of(structure)
    names, heights, layers, means = atom_names(structure, film), film.heights, film.layers, film.layer_heights
    rows = []
    for number_, layer in reversed(list(enumerate(layers))):
        spacing = f"{means[number_] - means[number_ - 1]:.3f}" if number_ else "-"
        rows += [
            {
                "name": names[site],
                "kind": structure.sites[site].kind_name,
                "z": f"{heights[site]:.3f}",
                "spacing": spacing,
            }
            for site in layer
        ]
    return rows


# -- figures --------------------------------------------------------------------------------------------------------


def _figures(case: Case, from_model: bool) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Images and data to put into the page, and what could not be drawn."""
    figures, missing = {}, []
    for name in possible(case):
        if name in FROM_MODEL and not from_model:
            missing.append(f"{name}: left out on request.")
            continue
        try:
            plot = draw(name, case)
        except InputError as error:
            # A film without a standard path has no band figure; the rest of the page stands.
            missing.append(f"{name}: not drawn ({error}).")
            continue
        figures[name] = {
            "name": name,
            "image": _image(plot, "svg" if name in VECTOR else "png"),
            "data": _data(plot),
            "caption": plot.caption,
            "width": round(plot.get_figwidth() * 72 / REM, 1),
        }
    return figures, missing


def _image(plot: Plot, suffix: str) -> str:
    media = {"svg": "image/svg+xml", "png": "image/png"}[suffix]
    return f"data:{media};base64,{base64.b64encode(plot.rendered(suffix)).decode()}"


def _data(plot: Plot) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        plot.table.write(path)
        return f"data:text/csv;base64,{base64.b64encode(path.read_bytes()).decode()}"


# -- provenance -------------------------------------------------------------------------------------------------------


def _tree(node: orm.ProcessNode, label: str) -> dict[str, Any]:
    """A process and what it called."""
    called = sorted(node.base.links.get_outgoing(link_type=CALLS).all(), key=lambda link: pk_of(link.node))
    seconds = (node.mtime - node.ctime).total_seconds()
    ended = "" if node.is_finished_ok else f", exit {node.exit_status}: {node.exit_message}"
    cached = node.base.caching.is_created_from_cache
    return {
        "label": label.replace("CALL", "function"),
        "process": node.process_label,
        "pk": node.pk,
        "detail": f", {'from the cache' if cached else f'{seconds:.0f} s'}{ended}",
        "colour": "green" if node.is_finished_ok else "red",
        "children": [_tree(link.node, link.link_label) for link in called if isinstance(link.node, orm.ProcessNode)],
    }
