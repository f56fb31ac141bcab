"""Run the films of films.py through the workchains, each once: `python validation/run.py [LABEL ...]`.

What has ended well under its label in the group `validation` is left alone; jobs are reused (AiiDA's caching).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from aiida import engine, load_profile, orm
from aiida.manage.caching import enable_caching
from aiida.plugins import WorkflowFactory
from films import (
    AXES,
    CONVERGENCE,
    FILMS,
    FINE,
    HYDROGENIC,
    IN_PLANE,
    LAYERS,
    OWN,
    POINT,
    SWEEP,
    Film,
    cutoff,
    merged,
    response_mesh,
)

from aiida_dmi.structures.bilayer import film as preset
from aiida_dmi.workflows.families import SG15

GROUP = "validation"
AS_ARCHIVED = {**cutoff(50), **HYDROGENIC, "pseudo_family": SG15, "quality": {"basis": None, "bands": 60.0}}
"""The films were computed before cutoffs followed the family; some with less than it recommends, as prototypes were.
Their bands were held against pw.x's at six points off the mesh, charge and moment against the scf's."""
RANKS = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 2}}


def finished(label: str) -> orm.WorkChainNode | None:
    """The run that ended well under a label."""
    query = orm.QueryBuilder().append(orm.Group, filters={"label": GROUP}, tag="group")
    query.append(orm.WorkChainNode, filters={"label": label, "attributes.exit_status": 0}, with_group="group")
    return query.first(flat=True)


def run_model(label: str, film: Film) -> orm.WorkChainNode:
    """From the preset to the Wannier model."""
    codes = {name: orm.load_code(f"{name}@dmi-localhost") for name in ("pw", "wannier90", "engine")}
    builder = WorkflowFactory("dmi.wannier_model").get_builder_from_protocol(
        codes, preset(film.preset), "fast", merged(AS_ARCHIVED, film.overrides), options=RANKS
    )
    return run(label, builder)


def run(label: str, builder: Any) -> orm.WorkChainNode:
    """Run a workchain here, and put it into the group."""
    builder.metadata.label = label
    with enable_caching():
        _, node = engine.run_get_node(builder)
    orm.Group.collection.get_or_create(GROUP)[0].add_nodes(node)
    return node


def run_response(label: str, model: orm.Data, **parameters: Any) -> orm.WorkChainNode:
    """One response of a finished model."""
    mesh = response_mesh(len(model.base.attributes.get("symbols")))
    overrides = {"response": {"mesh": mesh, **parameters}}
    builder = WorkflowFactory("dmi.dmi").get_builder_from_model(
        orm.load_code("engine@dmi-localhost"), model, protocol="fast", overrides=overrides, options=RANKS
    )
    return run(label, builder)


def responses(label: str, model: orm.Data) -> dict[str, dict[str, Any]]:
    """Labels of a film's responses, and their parameters."""
    symbols = model.base.attributes.get("symbols")
    substrate, magnet = symbols[0], symbols[-1]
    layers = [f"{substrate}.{n}" for n in range(1, symbols.count(substrate) + 1)]
    interface = {"all": ["all"], "interface": [magnet, layers[0]]}
    result = {f"{label}/z": SWEEP}
    if label in IN_PLANE:
        result[f"{label}/x"] = {**SWEEP, "directions": [[1, 0, 0]]}
    if label in FINE:
        figures = {**AXES, "soi_masks": interface} if label in OWN.values() else {}
        result[f"{label}/fine"] = {**POINT, **figures, "mesh": FINE[label]}
    if label not in CONVERGENCE:
        masks = interface | {magnet: [magnet]} | {name: [name] for name in layers}
        result[f"{label}/layers"] = {**LAYERS, "soi_masks": masks}
    return result


def main(labels: list[str]) -> int:
    """Run what is missing; the exit status is the number of runs that failed."""
    load_profile()
    failed = 0
    for label in labels or list(FILMS):
        node = report(label, lambda label=label: run_model(label, FILMS[label]))
        if not node.is_finished_ok:
            failed += 1
            continue
        model = node.outputs.model
        for name, parameters in responses(label, model).items():
            ended = report(name, lambda n=name, m=model, p=parameters: run_response(n, m, **p))
            failed += not ended.is_finished_ok
    return failed


def report(label: str, start: Callable[[], orm.WorkChainNode]) -> orm.WorkChainNode:
    """The run under a label, started if there is none that ended well; one line about it."""
    clock = time.monotonic()
    node = finished(label) or start()
    seconds = time.monotonic() - clock
    print(f"{label:24} pk {node.pk} exit {node.exit_status} {node.exit_message or ''} {seconds:.0f} s", flush=True)
    return node


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
