"""`aiida-dmi stop`: end a run that somebody started here, also where whoever ran it is gone."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import click
from aiida import orm

from aiida_dmi.cli.completion import ALL_RUNS, NodeName
from aiida_dmi.cli.inputs import load_node
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.workflows.runs import end_run, lives, runner_of

PATIENCE = 60.0
"""Seconds that a process which was asked to stop has for ending its jobs."""


@click.command()
@click.argument("pk", type=NodeName(ALL_RUNS))
@click.pass_context
def stop(context: click.Context, pk: str) -> None:
    """End a run of `aiida-dmi launch`: its jobs and its processes; what is finished stays and is reused.

    \b
    Example:
        aiida-dmi stop 1234
    """
    load_profile(context)
    node = load_node(pk)
    if not isinstance(node, orm.ProcessNode):
        raise click.UsageError(f"{pk}: {type(node).__name__}<{node.pk}> is no process; give the pk of a workchain")
    while node.caller is not None:
        node = node.caller
    name = f"{node.process_label}<{node.pk}>"
    if node.is_terminated:
        raise click.UsageError(f"{name} has ended; `aiida-dmi status {node.pk}` says how")
    runner = runner_of(node)
    if runner is None:
        raise click.UsageError(
            f"{name} is not run by `aiida-dmi launch`; `verdi process kill {node.pk}` ends what the daemon runs"
        )
    alive = lives(runner)
    if alive is None:
        raise click.UsageError(f"{name} is run by process {runner['pid']} on {runner['host']}; stop it there")
    if alive and not runner.get("alone"):
        raise click.UsageError(
            f"{name} is one of those that process {runner['pid']} runs (`aiida-dmi screen`); stop that"
        )
    if alive:
        _ask(node, runner["pid"])
        return
    ended, left = end_run(node, "ended by aiida-dmi stop")
    click.echo(f"{name} is ended, {ended} jobs with it")
    if left:
        raise click.ClickException("; ".join(left))


def _ask(node: orm.ProcessNode, pid: int) -> None:
    """Let the process that runs a node end it."""
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + PATIENCE
    while not node.is_sealed and time.monotonic() < end:
        time.sleep(0.2)
    if not node.is_sealed:
        raise click.ClickException(f"{node.process_label}<{node.pk}>: process {pid} was asked to stop and has not yet")
    click.echo(f"{node.process_label}<{node.pk}>: stopped by process {pid}, which ran it")
