"""Progress of a process that runs in this interpreter: which step, for how long, and how many are done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import Process, ProcessBuilder
from aiida.engine.runners import Runner
from aiida.manage import get_manager
from plumpy.exceptions import KilledError
from sqlalchemy.exc import SQLAlchemyError

from aiida_dmi.aiida_types import computer_of, node_of, pk_of
from aiida_dmi.workflows.ports import inputs_of
from aiida_dmi.workflows.runs import (
    IN_PROCESS,
    called_jobs,
    cut_off_runs,
    end_run,
    runner_of,
    take_up,
    the_same,
    this_process,
    unfinished,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CHECK = 1.0
LONGEST = 300
"""Characters of a line of AiiDA's."""
INTERVAL = 15.0
"""Seconds between looking for started and ended jobs, and between lines on those that run."""
PW_STEPS = ("relax", "scf", "bands", "spin_orbit_bands", "nscf")
OF_A_MODEL = 6
"""Jobs besides those of pw.x: wannier90 -pp; overlaps and wannier90 of two spins; build."""


def run_with_progress(builder: ProcessBuilder) -> orm.ProcessNode:
    """Run a process here; every job that starts or ends, and every 15 seconds what runs, gets a line.

    Where the same process was cut off before (its interpreter was killed), that one goes on instead.

    Parameters
    ----------
    builder : ProcessBuilder

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
    process = _left_over(builder, runner) or runner.instantiate_process(builder)
    process.node.base.extras.set(IN_PROCESS, {**this_process(), "alone": True})
    watch = _Watch(process.node, expected_jobs(builder))
    # AiiDA's own handlers end the process right where the signal meets it, often enough amid a transaction of the
    # database, which then fails and leaves the run hanging: these wait for the loop, which calls them once it runs.
    runner.loop.call_soon(_end_on_signals, runner.loop, process)
    try:
        with quiet_console():
            runner.run_until_complete(runner.loop.create_task(_until_ended(process, watch)))
    except KilledError as error:
        ended, left = end_run(process.node, f"the run of {process.node.process_label}<{process.pid}> was interrupted")
        click.echo(f"  interrupted; running jobs ended: {ended}; what was finished is reused when it is started again")
        for line in left:
            click.echo(f"  {line}")
        raise click.Abort from error
    except (SQLAlchemyError, PausedError) as error:
        # What is left in the loop goes with it; of a database that failed it would say the same again.
        runner.loop.set_exception_handler(lambda *_: None)
        if isinstance(error, SQLAlchemyError):
            click.echo("  broken off: the database takes nothing more; the same started again goes on from here")
        raise
    finally:
        for number in SIGNALS:
            runner.loop.remove_signal_handler(number)
    watch.look()
    return process.node


async def _until_ended(process: Process, watch: _Watch) -> None:
    """Run a process to its end.

    Raises
    ------
    KilledError
        If it was killed.
    SQLAlchemyError
        If the database failed. AiiDA goes on without: what it could not write is lost, and it waits for ever.
    PausedError
        If AiiDA has paused a job: after five tries to reach its computer or to write there.
    """
    loop = asyncio.get_running_loop()
    broken: asyncio.Future[None] = loop.create_future()

    def heed(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, SQLAlchemyError):
            loop.default_exception_handler(context)
        elif not broken.done():
            broken.set_exception(error)

    loop.set_exception_handler(heed)
    run, watcher = loop.create_task(process.step_until_terminated()), loop.create_task(watch.follow())
    await asyncio.wait([run, watcher, broken], return_when=asyncio.FIRST_COMPLETED)
    if not watcher.done():
        watcher.cancel()
    for task in (watcher, broken, run):
        if task.done() and not task.cancelled():
            await task
    if process.killed():
        process.future().result()


def _end_on_signals(loop: asyncio.AbstractEventLoop, process: Process) -> None:
    for number in SIGNALS:
        # Whoever started this with nohup wants it to outlive its terminal.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, process.kill, "interrupted")


def _left_over(builder: ProcessBuilder, runner: Runner) -> Process | None:
    """The same process where an earlier interpreter was killed with it; a word on it, and on others that were left."""
    going_on = None
    for node in cut_off_runs():
        name, by = f"{node.process_label}<{node.pk}> {node.label}".rstrip(), runner_of(node) or {}
        if going_on is not None or not the_same(node, builder):
            click.echo(f"  left over: {name}, whose process {by.get('pid')} is gone; see `aiida-dmi status {node.pk}`")
            continue
        running = len(unfinished(called_jobs(node)))
        going_on = take_up(node, runner)
        if going_on is not None:
            node.label = builder["metadata"].get("label") or node.label
            click.echo(f"  {name} goes on: its process {by.get('pid')} is gone, {running} of its jobs had not ended")
            continue
        ended, left = end_run(node, "cut off while it started; another one takes its place")
        click.echo("; ".join([f"  {name} was cut off while it started: ended, {ended} jobs with it", *left]))
    return going_on


def expected_jobs(builder: ProcessBuilder) -> int:
    """CalcJobs of a process that needs no second try."""
    inputs = inputs_of(builder)
    model = inputs if "wannierisation" in inputs else inputs.get("wannier_model", {})
    steps = [step for step in PW_STEPS if model.get(step) and not (step == "scf" and "parent_folder" in model)]
    return len(steps) + (OF_A_MODEL if model else 0) + (1 if "response" in inputs else 0)


class PausedError(click.ClickException):
    """A job of a run here waits for its user: without a daemon nobody can make it go on but a new run."""


class _Watch:
    """What has been seen of the jobs of a process."""

    def __init__(self, process: orm.ProcessNode, expected: int) -> None:
        self._process, self._expected = process, expected
        self._began = time.monotonic()
        self._started: dict[int, float] = {}
        self._ended: set[int] = set()
        self._steps: set[str] = set()
        # Of a process that goes on: what had ended before is no news.
        for node in called_jobs(process):
            self._begin(node)
            if node.is_terminated:
                self._ended.add(pk_of(node))

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
        for node in called_jobs(self._process):
            if node.pk not in self._started:
                self._begin(node)
                self._say(f"{step_name(node)} started, {node.process_label}<{node.pk}>")
            if node.paused and not node.is_terminated:
                raise PausedError(
                    f"{step_name(node)}: AiiDA has paused {node.process_label}<{node.pk}>, {node.process_status}"
                    f"{_last_error(node)}; mend it and start the same again: it goes on from here"
                )
            if node.is_terminated and node.pk not in self._ended:
                self._ended.add(pk_of(node))
                cached = " (reused from an earlier run)" if node.base.caching.is_created_from_cache else ""
                outcome = "done" if node.is_finished_ok else f"FAILED, exit {node.exit_status}: {node.exit_message}"
                seconds = time.monotonic() - self._started[pk_of(node)]
                self._say(f"{step_name(node)} {outcome} in {seconds:.0f} s{cached}, {self._count()} jobs")

    def _begin(self, node: orm.CalcJobNode) -> None:
        self._started[pk_of(node)] = time.monotonic()
        self._steps.add(step_name(node))

    def _count(self) -> str:
        """Such as '3/10'; a step that is done again is one job more."""
        repeated = len(self._started) - len(self._steps)
        return f"{len(self._ended)}/{max(self._expected, len(self._steps)) + repeated}"

    def _say_running(self) -> None:
        running = [pk for pk in self._started if pk not in self._ended]
        for pk in running:
            node = node_of(pk, orm.CalcJobNode)
            self._say(f"{step_name(node)} running for {time.monotonic() - self._started[pk]:.0f} s{job_detail(node)}")

    def _say(self, text: str) -> None:
        click.echo(f"  [{self._elapsed():5.0f} s] {text}")

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def _last_error(node: orm.ProcessNode) -> str:
    """What went wrong with a process last, from its report."""
    lines = "\n".join(log.message for log in orm.Log.collection.get_logs_for(node)).splitlines()
    found = [line.strip() for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return f" ({found[-1][:LONGEST]})" if found else f" (`verdi process report {node.pk}`)"


def step_name(node: orm.ProcessNode) -> str:
    """The workchains' own name of the step that a job belongs to, such as 'nscf'."""
    current: orm.Node = node
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
    if folder is None or computer_of(node).transport_type != "core.local":
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
    """Keep AiiDA's reports off the console; they are in the database (`verdi process report`), traces too.

    A database that fails is told of once, by whoever runs the process, and not by itself.
    """
    handlers = logging.getLogger("aiida").handlers
    consoles = [h for h in handlers if type(h) is logging.StreamHandler or type(h).__name__ == "CliHandler"]
    before = [(handler.level, handler.formatter) for handler in consoles]
    reporting = logging.raiseExceptions
    for handler in consoles:
        handler.setLevel(logging.WARNING)
        handler.setFormatter(_OneLine())
    for handler in handlers:
        handler.addFilter(_not_of_the_database)
    logging.raiseExceptions = False
    try:
        yield
    finally:
        logging.raiseExceptions = reporting
        for handler in handlers:
            handler.removeFilter(_not_of_the_database)
        for handler, (level, formatter) in zip(consoles, before, strict=True):
            handler.setLevel(level)
            handler.setFormatter(formatter)


class _OneLine(logging.Formatter):
    """What is said, and of an error what it says."""

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        words, trace, rest = record.getMessage().partition("Traceback (most recent call last):")
        if trace:
            words += rest.strip().rpartition("\n")[2]
        if error is not None:
            words += f": {type(error).__name__}: {error}"
        return f"  {' '.join(words.split())[:LONGEST]}"


def _not_of_the_database(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], SQLAlchemyError))
