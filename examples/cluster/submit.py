"""Co/Pt(111) 1+1 on the cluster: `verdi run submit.py`, with the daemon running (`verdi daemon start`).

An argument, a YAML file, replaces what is below: computer, options, overrides.
"""

import sys
from pathlib import Path

from aiida import engine, orm
from aiida.plugins import WorkflowFactory

from aiida_dmi.engine.files.yaml_text import load_yaml
from aiida_dmi.structures.bilayer import co_pt111

SETTINGS = {
    "computer": "cluster",
    # metadata.options of every job; dmi-engine and wannier90.x get one task of them.
    "options": {
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 16},
        "max_wallclock_seconds": 4 * 3600,
        "queue_name": "normal",  # partition
        "account": "s1234",
        "qos": "normal",
        "max_memory_kb": 64_000_000,  # a node
    },
    # Of the protocol, workflows/protocols/film.yaml.
    "overrides": {"cutoffs": "normal"},
}

settings = SETTINGS | (load_yaml(Path(sys.argv[1]).read_text()) if sys.argv[1:] else {})
names = ("pw", "pp", "wannier90", "engine")  # pp: for balanced and stringent
codes = {name: orm.load_code(f"{name}@{settings['computer']}") for name in names}
builder = WorkflowFactory("dmi.dmi").get_builder_from_protocol(
    codes, co_pt111(1, 1), overrides=settings["overrides"], options=settings["options"]
)
node = engine.submit(builder)
print(f"DmiWorkChain<{node.pk}> submitted; verdi process report {node.pk}")
