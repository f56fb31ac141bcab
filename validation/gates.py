"""Films through `dmi.wannier_model`, unattended, and what the quality gate says of each: `python validation/gates.py`.

What is recorded in gates.json under the same name is not computed again; jobs of a run that was killed are reused
(AiiDA's caching). `--table` prints the table of docs/how-to/wannier-functions.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiida import engine, orm
from aiida.manage.caching import enable_caching
from aiida.plugins import WorkflowFactory
from ase import Atoms

from aiida_dmi.calculations.quality import place_in_words
from aiida_dmi.cli.pseudopotentials import ensure_pseudo_family
from aiida_dmi.cli.setup import ensure_codes, ensure_computer, ensure_profile
from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.engine.output.headline import mesh_label
from aiida_dmi.structures.bilayer import film as preset
from aiida_dmi.workflows.families import SG15

NUMBERS = Path(__file__).with_name("gates.json")
ONE_RANK = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}}
VACUUM = 12.0
"""Angstrom above the films that are built here."""


@dataclass(frozen=True)
class Case:
    """One film.

    Attributes
    ----------
    kind : str
        What it stands for.
    film : str or Atoms
        As `aiida_dmi.structures.bilayer.film` reads it, or atoms.
    protocol : str
    moments : dict, optional
        Starting moments, mu_B.
    family : str, optional
        Of pseudopotentials; default the one that is used where none is named.
    """

    kind: str
    film: str | Atoms
    protocol: str = "balanced"
    moments: dict[str, float] | None = None
    family: str | None = None


def layers(symbols: str, places: list[tuple[float, float, float]], cell: tuple[Any, Any]) -> Atoms:
    """Atoms at (fractional, fractional, height in Angstrom) of a cell with these two in-plane vectors."""
    top = max(z for _, _, z in places)
    plane = [[*vector, 0.0] for vector in cell]
    atoms = Atoms(symbols, cell=[*plane, [0.0, 0.0, top + VACUUM]], pbc=(True, True, False))
    atoms.set_scaled_positions([(x, y, z / (top + VACUUM)) for x, y, z in places])
    return atoms


def hexagonal(a: float) -> tuple[Any, Any]:
    """In-plane vectors at 120 degrees."""
    return (a, 0.0), (-a / 2, a * 3**0.5 / 2)


def square(a: float) -> tuple[Any, Any]:
    """In-plane vectors of a square cell."""
    return (a, 0.0), (0.0, a)


OXIDE = layers("CoCoMgO", [(0, 0, 0), (0.5, 0.5, 1.40), (0, 0, 3.50), (0.5, 0.5, 3.50)], square(2.90))
"""MgO on two layers of Co(001), O above Co."""
GRAPHENE = layers("CoCoCC", [(2 / 3, 1 / 3, 0), (0, 0, 2.0), (0, 0, 4.1), (1 / 3, 2 / 3, 4.1)], hexagonal(2.49))
"""On two layers of hcp Co(0001), one C above Co."""
TELLURIDE = layers("TeCrTe", [(1 / 3, 2 / 3, 0), (0, 0, 1.60), (2 / 3, 1 / 3, 3.20)], hexagonal(3.70))
"""A monolayer of 1T-CrTe2."""
DOUBLE = layers("PtPtCoCo", [(0, 0, 0), (0.5, 0.5, 0), (0, 1 / 3, 2.05), (0.5, 5 / 6, 2.05)], ((2.775, 0), (0, 4.806)))
"""Co/Pt(111) 1+1 in its rectangular cell of two."""

FILMS = {
    "Co/Pt(111) 1+1": Case("bilayer", "Co/Pt(111):1+1"),
    "Mn/W(001) 1+1": Case("bilayer", "Mn/W(001):1+1"),
    "Ni/Au(111) 1+1": Case("bilayer", "Ni/Au(111):1+1"),
    "Mn/Au(111) 1+1": Case("bilayer", "Mn/Au(111):1+1"),
    "Cr/Pt(111) 1+1": Case("bilayer", "Cr/Pt(111):1+1"),
    "Co/Ir(111) 1+2": Case("bilayer", "Co/Ir(111):1+2"),
    "Pt/Co/Pt(111) 1+1+1": Case("inversion-symmetric slab", "Pt/Co/Pt(111):1+1+1", "fast"),
    "graphene/Co(0001) 1+2": Case("graphene cap", GRAPHENE, "fast"),
    "MgO/Co(001) 1+2": Case("oxide cap", OXIDE, "fast"),
    "CrTe2": Case("van-der-Waals monolayer", TELLURIDE, "fast"),
    "Co/Pt(111) 1+1, rectangular": Case("cell of two", DOUBLE, "fast"),
    "Mn/W(001) 1+1, 4f": Case("4f in the valence", "Mn/W(001):1+1", "fast", family=SG15),
    "Co/Pt(111) 1+3": Case("bilayer", "Co/Pt(111):1+3"),
    "Mn/W(001) 1+3": Case("bilayer", "Mn/W(001):1+3"),
    "Fe/Ir(111) 1+2": Case("bilayer", "Fe/Ir(111):1+2"),
    "Co/Pt(111) 3+3": Case("bilayer", "Co/Pt(111):3+3"),
}


def recorded() -> dict[str, Any]:
    """What has been computed."""
    return dict(json.loads(NUMBERS.read_text(encoding="utf-8"))) if NUMBERS.exists() else {}


def run(codes: dict[str, orm.AbstractCode], name: str, case: Case, protocol: str) -> orm.WorkChainNode:
    """From the film to its model, as the protocol says."""
    structure = preset(case.film) if isinstance(case.film, str) else orm.StructureData(ase=case.film)
    overrides = {"pseudo_family": case.family} if case.family else {}
    builder = WorkflowFactory("dmi.wannier_model").get_builder_from_protocol(
        codes, structure, protocol, overrides, magnetic_moments=case.moments, options=ONE_RANK
    )
    builder.metadata.label = name
    with enable_caching():
        _, node = engine.run_get_node(builder)
    return node


def record(node: orm.WorkChainNode, case: Case, protocol: str) -> dict[str, Any]:
    """What is shown of a run; also of one that the gate ended."""
    quality = node.outputs.quality.get_dict() if "quality" in node.outputs else {"quantities": {}, "failed": []}
    tries = sorted((n for n in node.called if n.process_label == "WannierFunctionsWorkChain"), key=lambda n: n.pk)
    return {
        "kind": case.kind,
        "protocol": protocol,
        "family": node.inputs.cutoffs["family"],
        "cutoff_ry": node.inputs.scf.pw.parameters["SYSTEM"]["ecutwfc"],
        "tries": [mesh_label(one.inputs.kpoints.get_kpoints_mesh()[0][:2]) for one in tries],
        "settings": tries[-1].inputs.settings.get_dict() if tries else {},
        "numbers": {name: entry["value"] for name, entry in quality["quantities"].items()},
        "where": place_in_words(quality["quantities"].get("bands_largest", {}).get("at")),
        "failed": quality["failed"],
        "exit": [node.exit_status, node.exit_message],
        "workchain": node.uuid,
    }


def table(records: dict[str, Any]) -> str:
    """Rows of docs/how-to/wannier-functions.md."""
    heads = (
        "film", "protocol, cutoff (Ry)", "meshes tried", "bands (meV)", "on the mesh", "largest, where",
        "time reversal (eV)", "passed",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name, one in records.items():
        numbers = one["numbers"]
        bands, on_mesh, largest = (_shown(numbers.get(key)) for key in ("bands", "bands_on_mesh", "bands_largest"))
        reversal = numbers.get("time_reversal")
        passed = "yes" if one["exit"][0] == 0 else f"no: {', '.join(one['failed']) or one['exit'][1]}"
        lines.append(
            f"| {name} | {one['protocol']}, {one['cutoff_ry']:g} | {', '.join(one['tries'])} | {bands} | {on_mesh} | "
            f"{largest} {one['where']} | {'' if reversal is None else f'{reversal:.0e}'} | {passed} |"
        )
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def main(arguments: list[str] | None = None) -> int:
    """Compute what is missing; the exit status is the number of runs that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", nargs="*", default=list(FILMS), help=f"of {', '.join(FILMS)}")
    parser.add_argument("--pseudos", type=Path, help="folder of PseudoDojo's files, where they are not installed")
    parser.add_argument("--family", help="of pseudopotentials, for all of the films")
    parser.add_argument("--protocol", help="in place of the one that stands beside the film")
    parser.add_argument("--table", action="store_true", help="print the table of what is recorded, and nothing else")
    given = parser.parse_args(arguments)
    if given.table:
        print(table(recorded()))
        return 0
    ensure_profile()
    codes = ensure_codes(ensure_computer())
    ensure_pseudo_family(SG15)
    ensure_pseudo_family(source=given.pseudos)
    failed = 0
    for name in given.films:
        if name in recorded():
            continue
        clock, protocol = time.monotonic(), given.protocol or FILMS[name].protocol
        case = replace(FILMS[name], family=given.family or FILMS[name].family)
        node = run(codes, name, case, protocol)
        failed += not node.is_finished_ok
        found = {**recorded(), name: record(node, case, protocol)}
        with whole_file(NUMBERS) as path:
            path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        said = f"exit {node.exit_status} {node.exit_message or ''}"
        print(f"{name}: {node.pk} {said}, {time.monotonic() - clock:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
