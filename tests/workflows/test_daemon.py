"""The workchain under the daemon, as a user starts it: restarted in mid-run, paused, killed."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .conftest import processes, wait_until

LONG = 400
"""Seconds for what takes a few on an idle machine: it may be a busy one."""

SUBMIT = """
import json, sys
from aiida import engine, orm
from aiida.plugins import WorkflowFactory
from aiida_dmi.cli.setup import CODES, COMPUTER
from aiida_dmi.structures.bilayer import co_pt111

codes = {name: orm.load_code(f"{name}@{COMPUTER}") for name in CODES}
overrides = json.loads(sys.argv[1])
builder = WorkflowFactory("dmi.dmi").get_builder_from_protocol(codes, co_pt111(1, 1), overrides=overrides)
print(engine.submit(builder).pk)
"""

STATE = """
import json, sys, time
from aiida import orm

node, end = orm.load_node(int(sys.argv[1])), time.monotonic() + float(sys.argv[2])
while not node.is_terminated and time.monotonic() < end:
    time.sleep(0.5)
jobs = [n for n in node.called_descendants if isinstance(n, orm.CalcJobNode)]
print(json.dumps({
    "state": node.process_state.value,
    "paused": node.paused,
    "exit_status": node.exit_status,
    "exit_message": node.exit_message,
    "terminated": node.is_terminated,
    "jobs": [[n.process_label, n.process_state.value, n.is_finished_ok] for n in sorted(jobs, key=lambda n: n.pk)],
    "D": node.outputs.response.dataset.D.values.tolist() if "response" in node.outputs else None,
}))
"""


class Session:
    """A user's shell: an AiiDA folder of its own, and the programs of this environment on PATH."""

    def __init__(self, folder):
        self.folder = folder
        self.daemon = False
        self.scratch = folder / ".aiida" / "scratch"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**os.environ, "AIIDA_PATH": str(folder), "PATH": path, "OMP_NUM_THREADS": "1"}
        # Of the tests' own profile.
        self.environment.pop("AIIDA_PROFILE", None)

    def run(self, *command, limit=LONG, check=True):
        """Standard output of a command."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout[-1500:]}{done.stderr[-1500:]}"
        return done.stdout

    def script(self, text, *arguments):
        """Last line that a script of the user's prints."""
        file = self.folder / "script.py"
        file.write_text(text)
        return self.run("verdi", "run", file, *arguments).strip().splitlines()[-1]

    def state(self, pk, wait=0):
        """What is known of a process and its jobs; it may take `wait` seconds to end."""
        return json.loads(self.script(STATE, pk, wait))

    def start_daemon(self):
        """One worker."""
        self.run("verdi", "daemon", "start", "1", "--timeout", LONG)
        self.daemon = True

    def stop_daemon(self, limit=LONG):
        """Stop the daemon and wait until it is gone; by itself `verdi daemon stop` gives up after a few seconds."""
        if self.daemon:
            self.run("verdi", "daemon", "stop", "--timeout", limit, limit=limit + 60)
            self.daemon = False

    def pw(self, calculation=None):
        """Running ranks of pw.x: pid to folder; of one kind of calculation."""
        found = processes("pw.x", self.scratch)
        if calculation is None:
            return found
        wanted = f"calculation = '{calculation}'"
        return {pid: folder for pid, folder in found.items() if wanted in (folder / "aiida.in").read_text()}


@contextlib.contextmanager
def daemon_of(session):
    """The session's daemon, stopped whatever happens."""
    try:
        session.start_daemon()
        yield
    finally:
        try:
            session.stop_daemon(limit=120)
        finally:
            # Whatever went wrong, nothing outlives the tests.
            signal_all(own_processes(session), signal.SIGKILL)


@pytest.fixture(scope="module")
def session(tmp_path_factory, upf_folder):
    """Set up by `aiida-dmi setup`, the daemon running; stopped whatever happens."""
    folder = tmp_path_factory.mktemp("user")
    pseudos = folder / "pseudos"
    pseudos.mkdir()
    for element in ("Co", "Pt"):
        shutil.copy(upf_folder / f"{element}.UPF", pseudos)
    session = Session(folder)
    session.run("aiida-dmi", "setup", "--pseudos", pseudos, "--family", "tests/PBE/FR")
    with daemon_of(session):
        yield session


def own_processes(session):
    """Pids of what was started with the session's AIIDA_PATH; AiiDA gives its daemon the folder's .aiida."""
    found, marks = [], {f"AIIDA_PATH={path}".encode() for path in (session.folder, session.folder / ".aiida")}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # ended, or another user's
            if entry.name.isdigit() and not marks.isdisjoint((entry / "environ").read_bytes().split(b"\0")):
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def restarted(session, quick_overrides):
    """A submitted run whose daemon is stopped and started again in mid-nscf: its pk, and its state in between."""
    pk = session.script(SUBMIT, json.dumps(quick_overrides))
    ranks = wait_until(lambda: session.pw("nscf"), LONG, "pw.x of the nscf runs")
    # Held fast, so that the nscf lasts until the daemon is gone, however fast the machine.
    signal_all(ranks, signal.SIGSTOP)
    try:
        session.stop_daemon()
        between = session.state(pk)
    finally:
        signal_all(ranks, signal.SIGCONT)
    session.start_daemon()
    return pk, between, session.state(pk, wait=LONG)


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def test_daemon_restart_in_the_nscf(restarted, quick_finished):
    """The chain goes on where it was and ends with the numbers of a run without daemon."""
    _, between, after = restarted
    assert not between["terminated"]
    assert between["jobs"][-1][0] == "PwCalculation"
    assert between["jobs"][-1][2] is False
    assert after["exit_status"] == 0, after["exit_message"]
    # No job was run twice.
    assert [label for label, *_ in after["jobs"]].count("PwCalculation") == 3
    assert all(ok for *_, ok in after["jobs"])
    expected = quick_finished.outputs.response.dataset.D.values
    np.testing.assert_allclose(after["D"], expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_report_says_what_ran_and_why(session, restarted):
    report = session.run("verdi", "process", "report", restarted[0])
    for words in (
        "scf: PwBaseWorkChain",
        "started, collinear density, no spin-orbit",
        "44 bands on 2 of 4 k points, the others by time reversal and 2 operations of the film",
        "overlaps, spin down: OverlapsCalculation",
        "quality gate:",
        "response: DmiBaseWorkChain",
    ):
        assert words in report
    assert "Traceback" not in report


def test_pause_play_and_kill(session, quick_overrides):
    # So dense a mesh that the scf is still running when it is killed.
    scf = {"parameters": {"SYSTEM": {"ecutwfc": 40.0, "ecutrho": 160.0}}, "kpoints_mesh": [12, 12]}
    pk = session.script(SUBMIT, json.dumps({**quick_overrides, "scf": scf}))
    wait_until(lambda: session.pw("scf"), LONG, "pw.x of the scf runs")
    session.run("verdi", "process", "pause", pk, "--timeout", 60)
    wait_until(lambda: session.state(pk)["paused"], LONG, "the workchain pauses")
    session.run("verdi", "process", "play", pk, "--timeout", 60)
    state = wait_until(lambda: (s := session.state(pk)) and not s["paused"] and s, LONG, "the workchain plays")
    assert not state["terminated"]

    session.run("verdi", "process", "kill", pk, "--timeout", 60)
    state = session.state(pk, wait=LONG)
    assert state["state"] == "killed"
    assert [job[:2] for job in state["jobs"]] == [["PwCalculation", "killed"]]
    wait_until(lambda: not session.pw(), 60, "the ranks of pw.x end")


REUSED = """
import json, sys, time
from aiida import orm

node, end = orm.load_node(int(sys.argv[1])), time.monotonic() + float(sys.argv[2])
while not node.is_terminated and time.monotonic() < end:
    time.sleep(0.5)
jobs = [n for n in node.called_descendants if isinstance(n, orm.CalcJobNode)]
print(json.dumps([node.exit_status, [n.base.caching.is_created_from_cache for n in jobs]]))
"""


def test_caching_in_the_daemon_is_that_of_a_run_here(session, model_file):
    """`--fresh` and its absence reach the daemon's workers, in a profile whose caching is off."""
    overrides = session.folder / "quick.yaml"
    overrides.write_text("force: true\nresponse: {mesh: 4, soi_scales: [1.0], temperatures: [1500.0]}\n")
    launch = ("aiida-dmi", "launch", "response", model_file.absolute(), "--overrides", overrides)

    def by_daemon(*options):
        said = session.run(*launch, "--daemon", *options)
        return json.loads(session.script(REUSED, re.search(r" pk (\d+);", said)[1], LONG))

    assert session.run("verdi", "config", "get", "caching.default_enabled").strip() == "False"
    assert by_daemon() == [0, [False]]
    assert by_daemon() == [0, [True]]
    assert by_daemon("--fresh") == [0, [False]]
    # ... and between the two.
    assert "reused from an earlier run" in session.run(*launch, "--np", "2")


LEFT = """
from aiida import orm

nodes = orm.QueryBuilder().append(orm.ProcessNode).all(flat=True)
print([f"{node.process_label} {node.process_state}" for node in nodes if not node.is_terminated])
"""


def test_interrupt_of_a_run_without_the_daemon(session):
    """Ctrl-C: one line, and neither programs nor processes that seem to wait are left."""
    session.stop_daemon()
    command = subprocess.Popen(
        ["aiida-dmi", "demo", "--fresh"],
        cwd=session.folder,
        env=session.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(session.pw, LONG, "pw.x of the scf runs")
        command.send_signal(signal.SIGINT)
        output, _ = command.communicate(timeout=60)
    finally:
        command.kill()
    assert command.returncode == 1
    assert "interrupted; running jobs ended: 1;" in output
    assert output.rstrip().endswith("aiida-dmi: stopped")
    assert "Traceback" not in output
    wait_until(lambda: not session.pw(), 60, "the ranks of pw.x end")
    assert session.script(LEFT) == "[]"
