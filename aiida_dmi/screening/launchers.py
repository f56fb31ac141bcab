"""Where a campaign's processes run: in the daemon, or in this interpreter."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any, Protocol

import psutil
from aiida import engine, orm
from aiida.engine.daemon.client import get_daemon_client
from aiida.engine.persistence import get_object_loader
from aiida.manage import get_manager
from plumpy.persistence import LoadSaveContext

from aiida_dmi.engine.errors import InputError

IN_PROCESS = "dmi_in_process"
"""Extra of a process that runs in a `--run`: it does not go on by itself when that ends."""


class Launcher(Protocol):
    """How processes are started, waited for, and taken up again."""

    def submit(self, builder: Any) -> orm.ProcessNode:
        """Start a process; returns at once."""

    def take_up(self, node: orm.ProcessNode) -> bool:
        """Take up a process that nobody runs; False if it cannot go on."""

    def wait(self, seconds: float) -> None:
        """Let the processes run."""

    def runs(self, node: orm.ProcessNode) -> bool:
        """Whether an unfinished process will go on with this launcher."""


class Daemon:
    """The profile's daemon.

    Raises
    ------
    InputError
        If it is not running.
    """

    def __init__(self) -> None:
        if not get_daemon_client().is_daemon_running:
            raise InputError("daemon: not running; start it (`verdi daemon start`), or give --run to do without")

    def submit(self, builder: Any) -> orm.ProcessNode:
        """Hand a process to the daemon."""
        return engine.submit(builder)

    def take_up(self, node: orm.ProcessNode) -> bool:
        """What a `--run` has left goes to the daemon."""
        parts = resumable(node)
        controller = get_manager().get_process_controller()
        node.base.extras.delete(IN_PROCESS)
        for part in parts:
            controller.continue_process(part.pk, nowait=False, no_reply=True)
        return bool(parts)

    def wait(self, seconds: float) -> None:
        """Let the daemon work."""
        time.sleep(seconds)

    def runs(self, node: orm.ProcessNode) -> bool:
        """The daemon holds on to everything it was given, through its own restarts as well."""
        return True


class InProcess:
    """The interpreter itself: no daemon and no broker."""

    def __init__(self) -> None:
        self._runner = get_manager().create_runner(communicator=None)
        self._mine: set[int] = set()

    def submit(self, builder: Any) -> orm.ProcessNode:
        """Start a process in the event loop."""
        node = self._runner.submit(builder)
        self._own(node)
        return node

    def take_up(self, node: orm.ProcessNode) -> bool:
        """Go on from the checkpoints that the database holds."""
        parts = resumable(node)
        context = LoadSaveContext(loader=get_object_loader(), runner=self._runner)
        # Callees first: whoever waits for them finds them running.
        for part in reversed(parts):
            process = self._runner.persister.load_checkpoint(part.pk).unbundle(context)
            self._runner.loop.create_task(process.step_until_terminated())
        if parts:
            self._own(node)
        return bool(parts)

    def wait(self, seconds: float) -> None:
        """Run the event loop for a while."""
        self._runner.run_until_complete(self._runner.loop.create_task(asyncio.sleep(seconds)))

    def runs(self, node: orm.ProcessNode) -> bool:
        """Only what was started or taken up here."""
        return node.pk in self._mine

    def _own(self, node: orm.ProcessNode) -> None:
        self._mine.add(node.pk)
        node.base.extras.set(IN_PROCESS, this_process())


def resumable(node: orm.ProcessNode) -> list[orm.ProcessNode]:
    """An unfinished process and those it called, callers first; empty if one of them has no checkpoint.

    A job or workchain without one was cut off in the instant of its creation; whoever waits for it would wait for ever.
    Calculation functions have none: the step that called them is done again.
    """
    unfinished = [part for part in (node, *node.called_descendants) if not part.is_sealed]
    parts = [part for part in unfinished if isinstance(part, (orm.WorkChainNode, orm.CalcJobNode))]
    return [] if any(part.checkpoint is None for part in parts) else parts


def this_process() -> dict[str, Any]:
    """Host, number and time of start: what tells a process from a later one of the same number."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def lives(process: dict[str, Any]) -> bool | None:
    """Whether a process of `this_process` still runs; None where it ran on another machine."""
    if process.get("host") != socket.gethostname():
        return None
    try:
        return bool(abs(psutil.Process(process["pid"]).create_time() - process["started"]) < 1.0)
    except psutil.NoSuchProcess:
        return False
