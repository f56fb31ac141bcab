"""Put what the runs of run.py gave into one small archive: `python validation/collect.py`.

The Wannier models of all films are several hundred MB; the archive holds them for the films in COMPLETE, with every
step that made them. Of the others it holds the responses and a record: the quality gate, the scf's numbers, the seconds
that every step took, and the provenance tree with the uuids of the profile in which they ran.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from aiida import load_profile, orm
from aiida.tools.archive import create_archive
from films import FILMS, Film
from run import finished, responses

from aiida_dmi.provenance.trace import trace
from aiida_dmi.structures.layers import layer_names

ARCHIVE = Path(__file__).with_name("validation.aiida")
RESULTS = "validation-results"
COMPLETE = ("copt-1-1",)
"""Films whose models are kept."""
PW_LINES = re.compile(r"starts on|PWSCF  |RAM per process")
"""Of pw.x's output: when it began, processor and wall time of a rank, its memory (benchmarks/cost.py)."""


def record(label: str, film: Film, chain: orm.WorkChainNode) -> dict[str, Any]:
    """What there is to say about a film's model: plain numbers, with units in the keys."""
    scf = chain.outputs.scf_parameters.get_dict()
    model = chain.outputs.model.load()
    structure = chain.outputs.structure if "structure" in chain.outputs else chain.inputs.structure
    system = chain.inputs.scf.pw.parameters["SYSTEM"]
    choice = chain.inputs.wannierisation.get_dict()
    jobs = [node for node in chain.called_descendants if isinstance(node, orm.CalcJobNode)]
    return {
        "film": label,
        "preset": film.preset,
        "overrides": dict(film.overrides),
        "workchain": chain.uuid,
        "model": chain.outputs.model.uuid,
        "heights_angstrom": dict(
            zip(layer_names(structure), [round(site.position[2], 4) for site in structure.sites], strict=True)
        ),
        "ecutwfc_ry": system["ecutwfc"],
        "scf_mesh": chain.inputs.scf.kpoints.get_kpoints_mesh()[0],
        "wannier_mesh": chain.inputs.kpoints.get_kpoints_mesh()[0],
        "frozen_window_ev": choice["frozen_window"],
        "orbitals": choice["orbitals"],
        "functions_per_spin": model.functions,
        "electrons": model.electrons,
        "energy_ev": scf["energy"],
        "moment_bohr_magneton": scf["total_magnetization"],
        "scf_iterations": scf["convergence_info"]["scf_conv"]["n_scf_steps"],
        "model_megabytes": round(len(chain.outputs.model.get_content(mode="rb")) / 1e6, 1),
        "quality": {name: entry["value"] for name, entry in chain.outputs.quality["quantities"].items()},
        "seconds": [[step_of(job), seconds_of(job)] for job in sorted(jobs, key=pk)],
        "pw_output": {step_of(job).split()[1]: clocks(job) for job in sorted(jobs, key=pk) if pw_run(job)},
        "trace": trace(chain.outputs.model),
    }


def pk(node: orm.Node) -> int:
    """To sort by."""
    return int(node.pk)


def pw_run(job: orm.CalcJobNode) -> bool:
    """A run of pw.x that ended well."""
    return job.process_label == "PwCalculation" and job.is_finished_ok


def clocks(job: orm.CalcJobNode) -> list[str]:
    """The lines of pw.x's output that say what the run took; a reused job has those of the run it was taken from."""
    text = job.outputs.retrieved.get_object_content("aiida.out")
    return [line.strip() for line in text.splitlines() if PW_LINES.search(line)]


def seconds_of(job: orm.CalcJobNode) -> int:
    """Wall time: pw.x's own, else from the job's start to its end, of the job that ran where this one was reused."""
    said = job.outputs.output_parameters.get_dict() if "output_parameters" in job.outputs else {}
    if "wall_time_seconds" in said:
        return round(said["wall_time_seconds"])
    source = job.base.caching.get_cache_source()
    ran = job if source is None else orm.load_node(source)
    return round((ran.mtime - ran.ctime).total_seconds())


def step_of(job: orm.CalcJobNode) -> str:
    """'PwCalculation scf' and the like."""
    if "parameters" in job.inputs and job.process_label == "PwCalculation":
        return f"{job.process_label} {job.inputs.parameters['CONTROL']['calculation']}"
    return str(job.process_label)


def main() -> int:
    """Write the archive."""
    load_profile()
    group = orm.Group.collection.get_or_create(RESULTS)[0]
    group.clear()
    complete: list[orm.Node] = []
    for label, film in FILMS.items():
        chain = finished(label)
        if chain is None:
            print(f"{label}: not there, left out", file=sys.stderr)
            continue
        kept = orm.Dict(record(label, film, chain), label=label).store()
        group.add_nodes(kept)
        complete += [chain] if label in COMPLETE else []
        for name in responses(label, chain.outputs.model):
            node = finished(name)
            if node is None:
                print(f"{name}: not there, left out", file=sys.stderr)
                continue
            result = node.outputs.response
            result.label = name
            group.add_nodes(result)
            complete += [node] if label in COMPLETE else []
    create_archive([group, *complete], filename=ARCHIVE, create_backward=False, return_backward=False, overwrite=True)
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size / 1e6:.1f} MB, {group.count()} nodes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
