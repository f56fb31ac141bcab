"""Faults made on purpose: skipped unless AIIDA_DMI_TEST_FAULTS names the file to write (`make test-faults`).

Each test notes what the user saw; these rows are the table of docs/reliability.md.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aiida_dmi.cli.setup import COMPUTER

from ..fuzz.seeds import SPECS, make
from ..workflows.conftest import processes
from ..workflows.test_daemon import LONG, Session, daemon_of

TABLE = os.environ.get("AIIDA_DMI_TEST_FAULTS", "")
HEAD = (
    "<!-- Written by make test-faults; do not edit. -->\n\n"
    "| Fault | What the user sees | Database | After the restart |\n|---|---|---|---|\n"
)
ENGINE = Path(sys.executable).parent / "dmi-engine"

EAGER = """\
#!{python}
# dmi-engine, but with a checkpoint after every batch of k points instead of every 20 s, and no faster than is asked.
# Where a file no-memory lies beside it, it removes the file and goes on without any memory to take.
import functools, resource, sys, time
from importlib import import_module
from pathlib import Path
from aiida_dmi.engine.run.cli import main

no_memory, taken = Path(__file__).with_name("no-memory"), []

def take_memory():
    used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
    resource.setrlimit(resource.RLIMIT_AS, (1024 * used, 1024 * used))
    try:
        while True:
            taken.append(bytearray(2**19))
    except MemoryError:
        no_memory.unlink()

driver = import_module("aiida_dmi.engine.run.compute")
driver.Checkpoint = functools.partial(driver.Checkpoint, interval=0.0)
save = driver.Checkpoint.func.save
def slowly(*arguments, **options):
    save(*arguments, **options)
    time.sleep({pause})
    if no_memory.exists():
        take_memory()
driver.Checkpoint.func.save = slowly
sys.exit(main())
"""


def pytest_collection_modifyitems(items):
    for item in items:
        if not TABLE and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="breaks things on purpose: make test-faults"))


def table(rows):
    """Lines of the table, in the tests' order."""
    return [f"| {' | '.join(rows[key])} |" for key in sorted(rows)]


def pytest_sessionfinish(session):
    rows = session.config.stash.get(ROWS, {})
    if TABLE and rows:
        Path(TABLE).write_text(HEAD + "\n".join(table(rows)) + "\n")


def pytest_terminal_summary(terminalreporter, config):
    """The rows also where a failed test keeps the table from being written: a run takes long."""
    for line in table(config.stash.get(ROWS, {})):
        terminalreporter.write_line(line)


ROWS = pytest.StashKey[dict]()


@pytest.fixture
def note(request, tmp_path_factory):
    """One row of the table: note(fault, seen, database, restart); a row that a test did not reach is not there."""
    rows = request.config.stash.setdefault(ROWS, {})

    def row(fault, seen, database, restart):
        # Of the paths only what a reader has too: no temporary folder of this test.
        folder = re.compile(rf"{re.escape(str(tmp_path_factory.getbasetemp()))}(/[^/\s':]+)+/")
        given = [folder.sub(".../", str(text)) for text in (fault, seen, database, restart)]
        words = [" ".join(text.split()).replace("|", "\\|") for text in given]
        rows[f"{request.node.path.name}{len(rows):04d}"] = words

    return row


@pytest.fixture(scope="session")
def chain(tmp_path_factory, upf_folder):
    """All files of a finished run of the film of one Be atom, from pw.x to the result."""
    folder = tmp_path_factory.mktemp("chain")
    make(folder, upf_folder)
    (folder / "run.yaml").write_text(SPECS["run"])
    return folder


@pytest.fixture
def copy(chain, tmp_path):
    """The same to damage."""
    return Path(shutil.copytree(chain, tmp_path / "run"))


def engine(folder, *words, prefix=(), program=ENGINE):
    """Exit code and standard error of dmi-engine in a folder."""
    done = subprocess.run(
        [*map(str, prefix), str(program), *map(str, words)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG,
    )
    return done.returncode, done.stderr


def last_line(stderr):
    """What the engine said last; never a traceback."""
    assert "Traceback" not in stderr
    return stderr.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def eager(tmp_path_factory):
    """Path of a dmi-engine that writes a checkpoint after every batch, and waits a little then."""
    script = tmp_path_factory.mktemp("bin") / "eager-engine"
    script.write_text(EAGER.format(python=sys.executable, pause=0.3))
    script.chmod(0o755)
    return script


RESPONSE = """
import json, sys
from aiida import engine, orm
from aiida.plugins import WorkflowFactory
from aiida_dmi.data.model import WannierModelData

given = json.loads(sys.argv[1])
builder = WorkflowFactory("dmi.response_base").get_builder()
computer = orm.load_code(given["engine"]).computer
builder.dmi.code = orm.InstalledCode(
    label=f"eager-{given['number']}", computer=computer, filepath_executable=given["program"],
    default_calc_job_plugin="dmi.response",
).store()
builder.dmi.model = WannierModelData(given["model"])
builder.dmi.parameters = orm.Dict(given["parameters"])
print(engine.submit(builder).pk)
"""

STATE = """
import json, sys, time
from aiida import orm

node, end = orm.load_node(int(sys.argv[1])), time.monotonic() + float(sys.argv[2])
while not node.is_terminated and time.monotonic() < end:
    time.sleep(0.5)
jobs = sorted((n for n in node.called_descendants if isinstance(n, orm.CalcJobNode)), key=lambda n: n.pk)
found = "response" in node.outputs
print(json.dumps({
    "exit_status": node.exit_status, "exit_message": node.exit_message, "state": node.process_state.value,
    "jobs": [[n.exit_status, n.exit_message, n.get_remote_workdir()] for n in jobs],
    "D": node.outputs.response.dataset.D.values.tolist() if found else None,
}))
"""

PAUSED = """
import json, sys
from aiida import orm

jobs = [n for n in orm.load_node(int(sys.argv[1])).called_descendants if n.paused]
print(json.dumps({"pk": jobs[0].pk, "status": jobs[0].process_status} if jobs else None))
"""

CHECK = """
import sqlite3
from pathlib import Path
from aiida import orm
from aiida.manage import get_manager

storage = get_manager().get_profile_storage()
(database,) = Path(storage.profile.storage_config["filepath"]).glob("*.sqlite")
assert sqlite3.connect(database).execute("pragma integrity_check").fetchall() == [("ok",)]
damaged = storage.get_container().validate()
assert not any(vars(damaged).values()), damaged
nodes = orm.QueryBuilder().append(orm.Node).all(flat=True)
for node in nodes:
    for folder, _, files in node.base.repository.walk():
        for name in files:
            node.base.repository.get_object_content(str(folder / name), mode="rb")
    if node.node_type.startswith("data.dmi.response."):
        assert "D" in node.dataset and node.creator.is_finished_ok
print(f"{len(nodes)} nodes and their files are whole")
"""

PARAMETERS = {"mesh": 24, "soi_scales": [0.5, 1.0], "fermi_shifts": [-0.5, 0.0], "temperatures": [1500.0]}


class FaultSession(Session):
    """A user with the response of a real model to compute, through a daemon."""

    number = 0

    def respond(self, program, model):
        """Submit the response; its pk."""
        given = {"engine": f"engine@{COMPUTER}", "program": str(program), "model": str(model), "parameters": PARAMETERS}
        self.number += 1
        return int(self.script(RESPONSE, json.dumps({**given, "number": self.number})))

    def state(self, pk, wait=0):
        """What is known of a process."""
        return json.loads(self.script(STATE, pk, wait))

    def paused(self, pk):
        """The job of a process that waits for its user, None where none does."""
        return json.loads(self.script(PAUSED, pk))

    def consistent(self):
        """Database, repository (every object against its hash), every node's files; every result is a whole job's."""
        assert "entities" in self.run("verdi", "storage", "info")
        return self.script(CHECK)

    def engines(self):
        """Folders of running eager engines."""
        return processes("eager-engine", self.scratch)


@pytest.fixture(scope="module")
def session(tmp_path_factory, upf_folder):
    """Set up by `aiida-dmi setup`, the daemon running; nothing outlives the tests."""
    folder = tmp_path_factory.mktemp("user")
    pseudos = folder / "pseudos"
    pseudos.mkdir()
    shutil.copy(upf_folder / "Co.UPF", pseudos)
    session = FaultSession(folder)
    session.run("aiida-dmi", "setup", "--pseudos", pseudos, "--family", "tests/PBE/FR")
    # An upload that fails is tried five times, twice as long apart each time: from 20 s, that takes five minutes.
    session.run("verdi", "config", "set", "transport.task_retry_initial_interval", 1)
    with daemon_of(session):
        yield session
