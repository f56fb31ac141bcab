"""Films at one cutoff after the other through the workchains: `make cutoffs`, a night of one core.

What has been computed stands in cutoffs.json and is not computed again; jobs of a run that was killed are reused
(AiiDA's caching). `cutoffs_table.py` makes of it the cutoffs of SG15's set and the tables of the documentation.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from aiida import engine, orm
from aiida.manage.caching import enable_caching
from aiida.plugins import WorkflowFactory
from films import HYDROGENIC

from aiida_dmi.cli.pseudopotentials import ensure_pseudo_family
from aiida_dmi.cli.setup import ensure_codes, ensure_computer, ensure_profile
from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.structures.bilayer import film as preset
from aiida_dmi.workflows.families import SG15

FILMS = ("Co/Pt(111):1+1", "Mn/W(001):1+1")
CUTOFFS = (100.0, 50.0, 70.0, 80.0, 60.0, 90.0, 40.0)
"""Ry, the ones that say most first: such a series may be stopped."""
NUMBERS = Path(__file__).with_name("cutoffs.json")
ONE_RANK = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}}
RESPONSE = {
    "mesh": 192, "soi_scales": [1.0], "fermi_shifts": [0.0], "temperatures": [300.0, 1500.0], "directions": [[0, 0, 1]],
}  # fmt: skip


def recorded() -> list[dict[str, Any]]:
    """What has been computed."""
    return list(json.loads(NUMBERS.read_text(encoding="utf-8"))) if NUMBERS.exists() else []


def run(codes: dict[str, orm.AbstractCode], film: str, family: str, cutoff: float) -> orm.WorkChainNode:
    """From the preset to D, with the protocol `fast` and one choice of Wannier functions for all cutoffs."""
    overrides = {
        "pseudo_family": family,
        "scf": {"parameters": {"SYSTEM": {"ecutwfc": cutoff}}},
        "wannierisation": {**HYDROGENIC["wannierisation"], "retries": 0},
        "response": RESPONSE,
        # Far from convergence the gate may say no; the number is asked for all the same.
        "force": True,
    }
    builder = WorkflowFactory("dmi.dmi").get_builder_from_protocol(
        codes, preset(film), "fast", overrides, options=ONE_RANK
    )
    builder.metadata.label = f"{film} at {cutoff:g} Ry"
    with enable_caching():
        _, node = engine.run_get_node(builder)
    return node


def record(node: orm.WorkChainNode, film: str, family: str, cutoff: float) -> dict[str, Any]:
    """What is compared, with units in the keys."""
    jobs = [job for job in node.called_descendants if job.process_label == "PwCalculation" and job.is_finished_ok]
    scf, bands = (
        next(job for job in jobs if job.inputs.parameters["CONTROL"]["calculation"] == kind)
        for kind in ("scf", "bands")
    )
    said = scf.outputs.output_parameters
    at = node.outputs.response.dataset.isel(soi_scale=0, fermi_shift=0, direction=0, mask=0)
    yx = {"i": "y", "j": "x"}
    return {
        "film": film,
        "family": family,
        "ecutwfc_ry": cutoff,
        "workchain": node.uuid,
        "D_mev_angstrom": {f"{t:g} K": float(at.D.sel(temperature=t, **yx)) for t in RESPONSE["temperatures"]},
        "D_1_mev_angstrom": {f"{t:g} K": float(at.D_1.sel(temperature=t, **yx)) for t in RESPONSE["temperatures"]},
        "moment_bohr_magneton": said["total_magnetization"],
        "energy_ev": said["energy"],
        "scf_seconds": round(said["wall_time_seconds"]),
        # Spin, k point off the mesh, band; from the Fermi energy of the scf.
        "bands_ev": (bands.outputs.output_band.get_bands() - said["fermi_energy"]).round(4).tolist(),
    }


def main(arguments: list[str] | None = None) -> int:
    """Compute what is missing; the exit status is the number of runs that failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", nargs="*", default=FILMS, help="presets")
    parser.add_argument("--family", default=SG15, help="label of the pseudopotential family")
    parser.add_argument("--cutoffs", nargs="+", type=float, default=CUTOFFS, help="Ry")
    given = parser.parse_args(arguments)
    ensure_profile()
    codes = ensure_codes(ensure_computer())
    ensure_pseudo_family(given.family)
    failed = 0
    for cutoff in given.cutoffs:
        for film in given.films:
            if any((r["film"], r["family"], r["ecutwfc_ry"]) == (film, given.family, cutoff) for r in recorded()):
                continue
            clock = time.monotonic()
            node = run(codes, film, given.family, cutoff)
            if node.is_finished_ok:
                found = sorted(
                    [*recorded(), record(node, film, given.family, cutoff)],
                    key=lambda r: (r["family"], r["film"], r["ecutwfc_ry"]),
                )
                with whole_file(NUMBERS) as path:
                    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            failed += not node.is_finished_ok
            print(f"{film} {cutoff:g} Ry: exit {node.exit_status} {time.monotonic() - clock:.0f} s", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
