"""Runs that an interpreter carries itself, without the daemon: which one it is, and what is left where it was killed.

A workchain whose interpreter is gone waits for ever, and what it had started goes on computing for nobody. The database
holds all that is needed to go on: the extra `dmi_in_process` says who ran it, AiiDA's checkpoints where it stood.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any

import psutil
from aiida import orm
from aiida.common.exceptions import AiidaException
from aiida.common.links import LinkType
from aiida.engine import Process, ProcessBuilder, ProcessState
from aiida.engine.daemon.execmanager import kill_calculation
from aiida.engine.persistence import get_object_loader
from aiida.engine.runners import Runner
from plumpy.persistence import LoadSaveContext

from aiida_dmi.aiida_types import pk_of
from aiida_dmi.workflows.ports import inputs_of
from aiida_dmi.workflows.reuse import caching_asked, input_hashes, made_by

IN_PROCESS = "dmi_in_process"
"""Extra of a process that runs in an interpreter of its own: it does not go on by itself when that ends."""
CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)


def this_process() -> dict[str, Any]:
    """Host, number and time of start: what tells a process from a later one of the same number."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def lives(process: Mapping[str, Any]) -> bool | None:
    """Whether a process of `this_process` still runs; None where it ran on another machine."""
    if process.get("host") != socket.gethostname():
        return None
    try:
        found = psutil.Process(process["pid"])
        return bool(abs(found.create_time() - process["started"]) < 1.0 and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def runner_of(node: orm.ProcessNode) -> dict[str, Any] | None:
    """Which interpreter runs a process, as `this_process` of it said; None for the daemon's and for others'."""
    while node.caller is not None:
        node = node.caller
    found: dict[str, Any] | None = node.base.extras.get(IN_PROCESS, None)
    return found


def is_cut_off(node: orm.ProcessNode) -> bool:
    """Whether a process has not ended, and whoever ran it is gone."""
    if node.is_terminated:
        return False
    runner = runner_of(node)
    return runner is not None and lives(runner) is False


def cut_off_runs() -> list[orm.WorkChainNode]:
    """The cut-off processes that nobody called, the newest first."""
    query = orm.QueryBuilder().append(
        orm.WorkChainNode,
        filters={"attributes": {"!has_key": "sealed"}, "extras": {"has_key": IN_PROCESS}},
        tag="node",
    )
    found = query.order_by({"node": {"id": "desc"}}).all(flat=True)
    return [node for node in found if node.caller is None and is_cut_off(node)]


def called_jobs(node: orm.ProcessNode) -> list[orm.CalcJobNode]:
    """Every CalcJob below a process, in the order of starting; a question to the database for each generation."""
    jobs: list[orm.CalcJobNode] = []
    parents = [node.pk]
    while parents:
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters={"id": {"in": parents}}, tag="caller")
        edge = {"type": {"in": [link.value for link in CALLS]}}
        query.append((orm.WorkChainNode, orm.CalcJobNode), with_incoming="caller", edge_filters=edge, project="*")
        children = query.all(flat=True)
        jobs += [child for child in children if isinstance(child, orm.CalcJobNode)]
        parents = [child.pk for child in children if isinstance(child, orm.WorkChainNode)]
    return sorted(jobs, key=pk_of)


def unfinished(jobs: Iterable[orm.CalcJobNode]) -> list[orm.CalcJobNode]:
    """Those that have not come to their end, as far as the database knows."""
    return [job for job in jobs if not job.is_terminated]


# -- going on ----------------------------------------------------------------------------------------------


def resumable(node: orm.ProcessNode) -> list[orm.ProcessNode]:
    """An unfinished process and those it called, callers first; empty if one of them has no checkpoint.

    A job or workchain without one was cut off in the instant of its creation; whoever waits for it would wait for ever.
    Calculation functions have none: the step that called them is done again.
    """
    parts = [part for part in (node, *node.called_descendants) if not part.is_sealed]
    parts = [part for part in parts if isinstance(part, (orm.WorkChainNode, orm.CalcJobNode))]
    return [] if any(part.checkpoint is None for part in parts) else parts


def take_up(node: orm.ProcessNode, runner: Runner) -> Process | None:
    """Go on from the checkpoints that the database holds, in the runner's loop.

    Returns
    -------
    Process or None
        The process itself, which the caller is to run; those below it are in the loop. None if it cannot go on.
    """
    parts = resumable(node)
    context = LoadSaveContext(loader=get_object_loader(), runner=runner)
    # Callees first: whoever waits for them finds them running.
    persister: Any = runner.persister
    loaded: list[Process] = [persister.load_checkpoint(part.pk).unbundle(context) for part in reversed(parts)]
    for process in loaded:
        if process.paused:
            process.play()
    for process in loaded[:-1]:
        runner.loop.create_task(process.step_until_terminated())
    return loaded[-1] if loaded else None


def the_same(node: orm.ProcessNode, builder: ProcessBuilder) -> bool:
    """Whether a process is what a builder would start, by the programs that there are now; layout and label aside."""
    if node.process_type != builder.process_class.build_process_type():
        return False
    filled = builder.process_class.spec().inputs.pre_process(inputs_of(builder))
    # One that is to compute everything itself is not one that may have taken jobs over.
    if filled.get("caching") is False and caching_asked(node) is not False:
        return False
    links = node.base.links.get_incoming(link_type=LinkType.INPUT_WORK).all()
    if input_hashes({link.link_label: link.node for link in links}) != input_hashes(filled):
        return False
    return made_by(node, [job.inputs.code for job in called_jobs(node)])


# -- ending ------------------------------------------------------------------------------------------------


def end_run(node: orm.ProcessNode, why: str) -> tuple[int, list[str]]:
    """End what a process had started, and itself, where nobody runs it any more.

    Parameters
    ----------
    node : ProcessNode
    why : str
        Stands as the status of every process that is ended.

    Returns
    -------
    ended : int
        Jobs.
    left : list of str
        A line on each job that could not be reached.
    """
    ended, left = 0, []
    for part in (*node.called_descendants, node):
        if part.is_sealed:
            continue
        if isinstance(part, orm.CalcJobNode):
            try:
                with part.get_authinfo().get_transport() as transport:
                    kill_calculation(part, transport)
                ended += 1
            except (AiidaException, OSError) as error:
                left.append(f"job {part.get_job_id()} of {part.process_label}<{part.pk}> may still run ({error})")
        # Nobody else will: a process that seems to wait for ever would be in the way of cleaning and of status.
        if not part.is_terminated:
            part.set_process_state(ProcessState.KILLED)
            part.set_process_status(why)
        part.seal()
    return ended, left
