"""A film small enough to be computed again and again, and what the tests of killed programs share."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from aiida import engine, orm
from aiida.plugins import WorkflowFactory

from aiida_dmi.structures.bilayer import co_pt111

QUICK = {
    "scf": {
        "parameters": {"SYSTEM": {"ecutwfc": 16.0, "ecutrho": 64.0}, "ELECTRONS": {"conv_thr": 1e-6}},
        "kpoints_mesh": [2, 2],
    },
    "bands": {"random_points": 2},
    "wannierisation": {"kpoints_mesh": [2, 2], "retries": 0},
    "response": {"mesh": 6, "soi_scales": [1.0], "fermi_shifts": [0.0], "temperatures": [1500.0]},
    # A 2x2 mesh is no good model: its bands are 1 eV off. These tests are about the steps, not about the number.
    "force": True,
}


@pytest.fixture(scope="session")
def quick_overrides(pseudo_family):
    """Overrides of the quick film."""
    return {"pseudo_family": pseudo_family.label, **QUICK}


@pytest.fixture(scope="session")
def quick_builder(codes, quick_overrides):
    """Inputs of dmi.dmi for Co/Pt(111) 1+1; `changes` replace some of the overrides, `others` some of the codes."""

    def build(changes=None, others=None, **arguments):
        overrides = {**quick_overrides, **(changes or {})}
        return WorkflowFactory("dmi.dmi").get_builder_from_protocol(
            {**codes, **(others or {})}, co_pt111(1, 1), overrides=overrides, **arguments
        )

    return build


@pytest.fixture(scope="session")
def quick_finished(quick_builder):
    """The quick film, once."""
    _, node = engine.run_get_node(quick_builder())
    assert node.is_finished_ok, node.exit_message
    return node


@pytest.fixture(scope="module")
def only_source(quick_finished):
    """The quick film, the only one of its kind that anything may be taken from: others may have run a part of it."""
    ours = {job.pk for job in jobs_of(quick_finished)}
    jobs = orm.QueryBuilder().append(orm.CalcJobNode, filters={"attributes.exit_status": 0})
    shut = [job for job in jobs.all(flat=True) if job.pk not in ours and job.base.caching.is_valid_cache]
    for job in shut:
        job.base.caching.is_valid_cache = False
    yield quick_finished
    for job in shut:
        job.base.caching.is_valid_cache = True


def said(node):
    """Everything that a process and those it called reported, one text."""
    nodes = (node, *node.called_descendants)
    return "\n".join(log.message for n in nodes for log in orm.Log.collection.get_logs_for(n))


def jobs_of(node, label=None):
    """CalcJobs of a workchain, the first one first; `label` such as 'PwCalculation'."""
    jobs = [n for n in node.called_descendants if isinstance(n, orm.CalcJobNode)]
    return sorted((n for n in jobs if label in (None, n.process_label)), key=lambda n: n.pk)


def processes(program, scratch):
    """Running processes of a program whose working folder lies in `scratch`: pid to that folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command, folder = (entry / "cmdline").read_bytes(), Path(os.readlink(entry / "cwd"))
            alive = (entry / "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
        except OSError:
            continue  # it has ended, or is another user's
        # mpirun names the program it starts among its arguments: only the program itself is meant.
        names = [Path(word.decode(errors="replace")).name for word in command.split(b"\0")[:2]]
        if alive and program in names and folder.is_relative_to(scratch):
            found[int(entry.name)] = folder
    return found


class Killer(threading.Thread):
    """Kills a program with SIGKILL as soon as it has come far enough, `times` times; `killed` holds the folders.

    Parameters
    ----------
    program : str
        File name of the executable or of the script.
    scratch : Path
        Work folder of the computer.
    ready : callable
        Of a job's folder: whether to kill now.
    """

    def __init__(self, program, scratch, ready, times=1):
        super().__init__(daemon=True)
        self.program, self.scratch, self.ready, self.times = program, Path(scratch), ready, times
        self.killed = []
        self._stop_now = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._stop_now.set()
        self.join(timeout=10)

    def run(self):
        while len(self.killed) < self.times and not self._stop_now.wait(0.02):
            found = processes(self.program, self.scratch)
            for folder in {f for f in found.values() if f not in self.killed and self.ready(f)}:
                for pid in (p for p, f in found.items() if f == folder):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue  # ended with the first of them
                self.killed.append(folder)


def wait_until(condition, seconds, what, pause=0.2):
    """First true value of `condition`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(pause)
