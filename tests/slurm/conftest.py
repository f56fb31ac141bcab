"""A user with a cluster: profile and daemon of their own, computers by examples/cluster, Slurm by scripts/slurm."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from ..engine.test_standalone import LIBRARIES, ROOT
from ..workflows.conftest import wait_until
from ..workflows.test_daemon import LONG, Session, daemon_of

CLUSTER = os.environ.get("AIIDA_DMI_TEST_SLURM", "")
TEMPLATES = ROOT / "examples" / "cluster"
RANKS = 2

RESPONSE = """
import json, sys
from aiida import engine, orm
from aiida.plugins import CalculationFactory, WorkflowFactory
from aiida_dmi.data.model import WannierModelData

given = json.loads(sys.argv[1])
if given.get("restart"):
    builder = WorkflowFactory("dmi.response_base").get_builder()
    builder.max_iterations = orm.Int(12)
    job = builder.dmi
else:
    builder = job = CalculationFactory("dmi.response").get_builder()
job.code = orm.load_code(f"engine@{given['computer']}")
job.model = WannierModelData(given["model"])
job.parameters = orm.Dict(given["parameters"])
job.metadata.options = given["options"]
print(engine.submit(builder).pk)
"""

VERDI = """
import json, sys
from aiida.cmdline.commands.cmd_verdi import verdi

for words in json.loads(sys.argv[1]):
    verdi.main([str(word) for word in words], prog_name="verdi", standalone_mode=False)
"""

STATE = """
import json, sys, time
from pathlib import Path
from aiida import orm

node, end = orm.load_node(int(sys.argv[1])), time.monotonic() + float(sys.argv[2])
while not node.is_terminated and time.monotonic() < end:
    time.sleep(2)
jobs = [node] if isinstance(node, orm.CalcJobNode) else [
    n for n in node.called_descendants if isinstance(n, orm.CalcJobNode)
]
about = [{
    "label": n.process_label,
    "status": n.exit_status,
    "message": n.exit_message,
    "slurm": n.get_job_id(),
    "folder": n.get_remote_workdir(),
    "script": n.base.repository.get_object_content("_aiidasubmit.sh") if n.get_job_id() else "",
    "parent": "parent_folder" in n.inputs,
} for n in sorted(jobs, key=lambda n: n.pk)]
if node.is_finished_ok:
    data = node.outputs.response
    Path(sys.argv[3]).write_bytes(data.base.repository.get_object_content(data.filename, mode="rb"))
print(json.dumps({
    "state": node.process_state.value,
    "paused": node.paused,
    "status": node.exit_status,
    "message": node.exit_message,
    "outputs": sorted(node.outputs),
    "terminated": node.is_terminated,
    "jobs": about,
}))
"""


class ClusterSession(Session):
    """The session of a user whose computers are the cluster's."""

    def response(self, **given):
        """Submit a response job; its pk."""
        return int(self.script(RESPONSE, json.dumps(given)))

    def state(self, pk, wait=0):
        """What is known of a process and its jobs; of a finished one the result is in `self.result(pk)`."""
        end = time.monotonic() + wait
        while True:
            # No command of a session may take longer than LONG.
            state = json.loads(self.script(STATE, pk, min(wait, LONG / 4), self.result(pk)))
            if state["terminated"] or time.monotonic() >= end:
                return state

    def result(self, pk):
        """Copy of a process's result file."""
        return self.folder / f"result-{pk}.nc"


def queued(state):
    """Wait until the one job in Slurm's queue is in this state; its number and its folder.

    Slurm is asked, not AiiDA: readers of its SQLite database that come again and again can lock the daemon out.
    """
    command = ["squeue", "--noheader", f"--states={state}", "--format=%i %Z"]

    def job():
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    number, folder = wait_until(job, LONG, f"a job is {state}")
    return number, Path(folder)


def template(folder, name, **changes):
    """A template of examples/cluster with this cluster's values: a file for --config."""
    content = yaml.safe_load((TEMPLATES / f"{name}.yaml").read_text())
    assert set(changes) <= set(content), "the template does not have what the test fills in"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


SRUN = "srun --mpi=pmix -n {tot_num_mpiprocs}"
HOSTS = {"core.local": "localhost", "core.ssh": "127.0.0.1", "core.ssh_async": "cluster"}


def verdi_commands(folder, label, programs, mpirun=SRUN, transport="core.local", **ssh):
    """A computer and its codes by the templates, as docs/how-to/cluster.md has it: the words after `verdi`."""
    folder = folder / label
    computer = template(
        folder,
        "computer",
        label=label,
        hostname=HOSTS[transport],
        transport=transport,
        work_dir=str(folder / "scratch"),
        mpirun_command=mpirun,
        mpiprocs_per_machine=RANKS,
        default_memory_per_machine=500_000,
    )
    configuration = ["--safe-interval", 0]
    if transport != "core.local":
        name = transport.removeprefix("core.").replace("_", "-")
        configuration = ["--config", template(folder, name, safe_interval=0, **ssh)]
    commands = [
        ["computer", "setup", "-n", "--config", computer],
        ["computer", "configure", transport, "-n", label, *configuration],
    ]
    for name, path in programs.items():
        code = template(folder, f"code-{name}", computer=label, filepath_executable=str(path), prepend_text=" ")
        commands.append(["code", "create", "core.code.installed", "-n", "--config", code])
    return commands


@pytest.fixture(scope="session")
def programs(cluster_engine):
    """Full paths, as a module of a cluster would give them."""
    paths = {name: shutil.which(f"{name}.x") for name in ("pw", "pp", "wannier90")}
    return {**paths, "engine": cluster_engine}


@pytest.fixture(scope="session")
def cluster_engine(tmp_path_factory):
    """dmi-engine in an environment without AiiDA, as docs/how-to/cluster.md makes it, with mpi4py."""
    folder = tmp_path_factory.mktemp("cluster")
    source = folder / "aiida-dmi"
    source.mkdir()
    shutil.copytree(ROOT / "aiida_dmi", source / "aiida_dmi", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [folder / "venv" / "bin" / "pip", "--disable-pip-version-check", "install", "--quiet"]
    for command in (
        ["python3", "-m", "venv", folder / "venv"],
        [*pip, *LIBRARIES, "mpi4py"],
        [*pip, "--no-deps", source],
    ):
        subprocess.run(list(map(str, command)), check=True, timeout=LONG)
    return folder / "venv" / "bin" / "dmi-engine"


@pytest.fixture(scope="session")
def session(tmp_path_factory, upf_folder, programs):
    """Computers `direct` (no batch system), `slurm`, `slurm-mpirun`, `ssh` and `ssh-async`; the daemon runs."""
    folder = tmp_path_factory.mktemp("user")
    pseudos = folder / "pseudos"
    pseudos.mkdir()
    for element in ("Co", "Pt"):
        shutil.copy(upf_folder / f"{element}.UPF", pseudos)
    session = ClusterSession(folder)
    # AiiDA's ssh_async reads ~/.ssh/config.
    session.environment["HOME"] = str(folder)
    (folder / ".ssh").mkdir(mode=0o700)
    shutil.copy(f"{CLUSTER}/ssh_config", folder / ".ssh" / "config")
    shutil.copy(f"{CLUSTER}/known_hosts", folder / ".ssh" / "known_hosts")
    ssh = dict(line.split(maxsplit=1) for line in Path(f"{CLUSTER}/ssh_config").read_text().splitlines())
    login = {"username": ssh["User"], "port": int(ssh["Port"]), "key_filename": ssh["IdentityFile"]}
    # Open MPI refuses root unless told otherwise.
    mpirun = f"mpirun{' --allow-run-as-root' if os.geteuid() == 0 else ''} --oversubscribe -np {{tot_num_mpiprocs}}"
    engine = {"engine": programs["engine"]}

    session.run("aiida-dmi", "setup", "--pseudos", pseudos, "--family", "tests/PBE/FR", "--computer", "direct")
    commands = [
        *verdi_commands(folder, "slurm", programs),
        *verdi_commands(folder, "slurm-mpirun", engine, mpirun),
        *verdi_commands(folder, "ssh", programs, transport="core.ssh", **login),
        *verdi_commands(folder, "ssh-async", engine, transport="core.ssh_async"),
        # What is not run here is at least what verdi takes.
        ["code", "create", "core.code.installed", "-n", "--config", template(folder, "code-pw-gpu", computer="slurm")],
        [
            *("code", "create", "core.code.containerized", "-n", "--config"),
            template(folder, "code-pw-apptainer", computer="slurm", label="pw-apptainer"),
        ],
        # A refused submission is tried five times with growing pauses, minutes in all; here twice within seconds.
        ["config", "set", "transport.task_maximum_attempts", 2],
        ["config", "set", "transport.task_retry_initial_interval", 1],
    ]
    # In one process: each start of verdi takes seconds.
    session.script(VERDI, json.dumps(commands, default=str))
    # node.sh ends the jobs.
    with daemon_of(session):
        yield session
