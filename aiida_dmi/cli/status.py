"""`aiida-dmi status`: what runs, what ended, and how."""

from __future__ import annotations

from datetime import timedelta

import click
from aiida import orm
from aiida.common.timezone import now
from tabulate import tabulate

from aiida_dmi.aiida_types import pk_of, state_of
from aiida_dmi.cli.completion import ALL_RUNS, NodeName
from aiida_dmi.cli.inputs import load_node
from aiida_dmi.cli.numbers import DAYS, LINES
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.cli.watch import job_detail, step_name
from aiida_dmi.workflows.runs import called_jobs, is_cut_off, runner_of, unfinished


@click.command()
@click.argument("pk", required=False, type=NodeName(ALL_RUNS))
@click.option("-a", "--all", "every", is_flag=True, help="Also those that a workchain started itself.")
@click.option("-D", "--past-days", type=DAYS, default=30, show_default=True)
@click.option("-l", "--limit", type=LINES, default=30, show_default=True, help="Lines at most.")
@click.pass_context
def status(context: click.Context, pk: str | None, every: bool, past_days: int, limit: int) -> None:
    """Workchains of the last days and how they are; with PK, one of them step by step.

    \b
    Example:
        aiida-dmi status
        aiida-dmi status 1234
    """
    load_profile(context)
    if pk is not None:
        node = load_node(pk)
        if not isinstance(node, orm.ProcessNode):
            raise click.UsageError(f"{pk}: {type(node).__name__}<{node.pk}> is no process; give the pk of a workchain")
        click.echo(describe(node))
        return
    query = orm.QueryBuilder()
    filters = {"attributes.process_label": {"in": list(ALL_RUNS)}, "ctime": {">": now() - timedelta(days=past_days)}}
    query.append(orm.WorkChainNode, filters=filters, tag="node", project="*")
    nodes = query.order_by({"node": {"id": "desc"}}).all(flat=True)
    rows = [_row(node) for node in nodes if every or node.caller is None][:limit]
    if not rows:
        click.echo("no workchains yet; start one with `aiida-dmi launch dmi 'Co/Pt(111):1+1'`")
        return
    click.echo(tabulate(rows, headers=["pk", "started", "label", "workchain", "state"]))


def _row(node: orm.WorkChainNode) -> list[str]:
    return [str(node.pk), f"{node.ctime.astimezone():%m-%d %H:%M}", node.label, str(node.process_label), _state(node)]


def _state(node: orm.ProcessNode) -> str:
    if node.is_finished_ok:
        return "finished"
    if node.is_finished:
        return f"FAILED, exit {node.exit_status}: {_short(node.exit_message or '')}"
    if node.is_terminated:
        return state_of(node).upper()
    running = [job for job in node.called_descendants if isinstance(job, orm.CalcJobNode) and not job.is_terminated]
    steps = ", ".join(dict.fromkeys(step_name(job) for job in running))
    paused = "paused, " if node.paused else ""
    state = "CUT OFF" if is_cut_off(node) else state_of(node)
    return f"{paused}{state}{f': {steps}' if steps else ''}"


def _short(text: str, length: int = 90) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _left_over(node: orm.ProcessNode) -> str:
    """What is left of a cut-off run, and what to do."""
    runner = runner_of(node) or {}
    numbers = [f"{job.pk} (job {job.get_job_id()})" for job in unfinished(called_jobs(node))]
    return (
        f"its process {runner.get('pid')} on {runner.get('host')} is gone (killed?); jobs that had not ended: "
        f"{', '.join(numbers) or 'none'}; start the same again, and it goes on from here, or end it: "
        f"`aiida-dmi stop {node.pk}`"
    )


def describe(node: orm.ProcessNode) -> str:
    """One workchain: its state and every job with its step, state, seconds and folder."""
    name = f"{node.process_label}<{node.pk}> {node.label}".rstrip()
    lines = [f"{name}: {_state(node)}", ""]
    if node.is_finished and not node.is_finished_ok:
        lines[1:1] = [str(node.exit_message)]
    if is_cut_off(node):
        lines[1:1] = [_left_over(node)]
    rows = []
    for job in sorted((n for n in node.called_descendants if isinstance(n, orm.CalcJobNode)), key=pk_of):
        seconds = ((job.mtime if job.is_terminated else now()) - job.ctime).total_seconds()
        cached = "reused" if job.base.caching.is_created_from_cache else f"{seconds:.0f} s"
        rows.append([str(job.pk), step_name(job), _state(job) + ("" if job.is_terminated else job_detail(job)), cached])
    lines.append(tabulate(rows, headers=["pk", "step", "state", "time"]))
    lines.append(f"\nmore: verdi process report {node.pk}; verdi calcjob outputcat PK")
    return "\n".join(lines)
