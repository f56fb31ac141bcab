"""Progress of a process that runs in this interpreter: which step, for how long, and how many are done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import Process, ProcessState
from aiida.engine.daemon.execmanager import kill_calculation
from aiida.manage import get_manager
from plumpy.exceptions import KilledError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
JOBS = {"dmi": 10, "model": 9, "response": 1}
"""CalcJobs of a run that needs no second try: pw.x three times (scf, bands for the gate, nscf); wannier90 -pp; overlaps
and wannier90 of two spins; build; run."""
CHECK = 1.0
INTERVAL = 15.0
"""Seconds between looking for started and ended jobs, and between lines on those that run."""


def run_with_progress(builder: Any, jobs: int) -> orm.ProcessNode:
    """Run a process here; every job that starts or ends, and every 15 seconds what runs, gets a line.

    Parameters
    ----------
    builder : ProcessBuilder
    jobs : int
        Number of CalcJobs the process will run, for the count.

    Returns
    -------
    ProcessNode

    Raises
    ------
    click.Abort
        If it was interrupted; the programs it had started are ended then.
    """
    # The local runner that aiida.engine.run makes: it needs no daemon and no broker.
    runner = get_manager().create_runner(communicator=None)
    newest = (
        orm.QueryBuilder().append(orm.ProcessNode, project="id").order_by({orm.ProcessNode: {"id": "desc"}}).first()
    )
    watch = _Watch(jobs, newest[0] if newest else 0)
    watcher = runner.loop.create_task(watch.follow())
    process = runner.instantiate_process(builder)
    # AiiDA's own handlers end the process right where the signal meets it, often enough amid a transaction of the
    # database, which then fails and leaves the run hanging: these wait for the loop, which calls them once it runs.
    runner.loop.call_soon(_end_on_signals, runner.loop, process)
    try:
        with quiet_console():
            runner.run(process)
    except KilledError as error:
        ended = _end_descendants(process.node)
        click.echo(f"  interrupted; running jobs ended: {ended}; what was finished is reused when it is started again")
        raise click.Abort from error
    finally:
        watcher.cancel()
        for number in SIGNALS:
            runner.loop.remove_signal_handler(number)
    watch.look()
    return process.node


def _end_on_signals(loop: asyncio.AbstractEventLoop, process: Process) -> None:
    for number in SIGNALS:
        loop.add_signal_handler(number, process.kill, "interrupted")


def _end_descendants(node: orm.ProcessNode) -> int:
    """End what an interrupted process had started, which AiiDA leaves running without a broker; number of jobs."""
    ended = 0
    for child in node.called_descendants:
        if child.is_terminated:
            continue
        if isinstance(child, orm.CalcJobNode):
            with child.get_authinfo().get_transport() as transport:
                kill_calculation(child, transport)
            ended += 1
        # Nobody else will: a process that seems to wait for ever would be in the way of cleaning and of status.
        child.set_process_state(ProcessState.KILLED)
        child.set_process_status(f"the run of {node.process_label}<{node.pk}> was interrupted")
        child.seal()
    return ended


class _Watch:
    """What has been seen of the jobs that are newer than a given pk."""

    def __init__(self, jobs: int, newest: int) -> None:
        self._jobs, self._newest = jobs, newest
        self._began = time.monotonic()
        self._started: dict[int, float] = {}
        self._ended: set[int] = set()

    async def follow(self) -> None:
        """Look every second until cancelled."""
        next_line = INTERVAL
        while True:
            await asyncio.sleep(CHECK)
            self.look()
            if self._elapsed() >= next_line:
                next_line += INTERVAL
                self._say_running()

    def look(self) -> None:
        """A line for every job that started or ended since the last look."""
        query = orm.QueryBuilder().append(orm.CalcJobNode, filters={"id": {">": self._newest}}, tag="job")
        for node in query.order_by({"job": {"id": "asc"}}).all(flat=True):
            if node.pk not in self._started:
                self._started[node.pk] = time.monotonic()
                self._say(f"{step_name(node)} started, {node.process_label}<{node.pk}>")
            if node.is_terminated and node.pk not in self._ended:
                self._ended.add(node.pk)
                cached = " (reused from an earlier run)" if node.base.caching.is_created_from_cache else ""
                outcome = "done" if node.is_finished_ok else f"FAILED, exit {node.exit_status}: {node.exit_message}"
                seconds = time.monotonic() - self._started[node.pk]
                self._say(
                    f"{step_name(node)} {outcome} in {seconds:.0f} s{cached}, {len(self._ended)}/{self._jobs} jobs"
                )

    def _say_running(self) -> None:
        running = [pk for pk in self._started if pk not in self._ended]
        for pk in running:
            node = orm.load_node(pk)
            self._say(f"{step_name(node)} running for {time.monotonic() - self._started[pk]:.0f} s{job_detail(node)}")

    def _say(self, text: str) -> None:
        click.echo(f"  [{self._elapsed():5.0f} s] {text}")

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def step_name(node: orm.ProcessNode) -> str:
    """The workchains' own name of the step that a job belongs to, such as 'nscf'."""
    current = node
    while True:
        callers = current.base.links.get_incoming(link_type=(LinkType.CALL_CALC, LinkType.CALL_WORK)).all()
        if not callers:
            return str(node.process_label)
        label = callers[0].link_label
        if label not in ("CALL",) and not label.startswith("iteration"):
            return str(label).replace("_", " ")
        current = callers[0].node


MARKS = {
    "aiida.out": ("iteration #", "Computing kpt #"),
    "dmi-engine.err": (" k (",),
}
"""Output files of local jobs, and what a line that tells how far a program is looks like."""


def job_detail(node: orm.CalcJobNode) -> str:
    """How far a job on this machine is, in its program's own words; empty where it does not tell."""
    folder = node.get_remote_workdir()
    if folder is None or node.computer.transport_type != "core.local":
        return ""
    for name, marks in MARKS.items():
        path = Path(folder) / name
        if path.is_file():
            with path.open("rb") as handle:
                handle.seek(max(0, path.stat().st_size - 4000))
                lines = handle.read().decode(errors="replace").splitlines()
            telling = [line.strip() for line in lines if any(mark in line for mark in marks)]
            if telling:
                return f": {' '.join(telling[-1].split())}"
    return ""


@contextlib.contextmanager
def quiet_console() -> Iterator[None]:
    """Keep AiiDA's reports off the console; they are in the database (`verdi process report`)."""
    consoles = [h for h in logging.getLogger("aiida").handlers if type(h) is logging.StreamHandler]
    consoles += [h for h in logging.getLogger("aiida").handlers if h.__class__.__name__ == "CliHandler"]
    levels = [handler.level for handler in consoles]
    for handler in consoles:
        handler.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for handler, level in zip(consoles, levels, strict=True):
            handler.setLevel(level)
