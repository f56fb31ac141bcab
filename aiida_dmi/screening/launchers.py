"""Where a campaign's processes run: in the daemon, or in this interpreter."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

from aiida import engine, orm
from aiida.engine.daemon.client import get_daemon_client
from aiida.manage import get_manager

from aiida_dmi.aiida_types import pk_of
from aiida_dmi.engine.errors import InputError
from aiida_dmi.workflows.runs import IN_PROCESS, resumable, take_up, this_process


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
        node: orm.ProcessNode = self._runner.submit(builder)
        self._own(node)
        return node

    def take_up(self, node: orm.ProcessNode) -> bool:
        """Go on from the checkpoints that the database holds."""
        process = take_up(node, self._runner)
        if process is None:
            return False
        self._runner.loop.create_task(process.step_until_terminated())
        self._own(node)
        return True

    def wait(self, seconds: float) -> None:
        """Run the event loop for a while."""
        self._runner.run_until_complete(self._runner.loop.create_task(asyncio.sleep(seconds)))

    def runs(self, node: orm.ProcessNode) -> bool:
        """Only what was started or taken up here."""
        return node.pk in self._mine

    def _own(self, node: orm.ProcessNode) -> None:
        self._mine.add(pk_of(node))
        node.base.extras.set(IN_PROCESS, this_process())
