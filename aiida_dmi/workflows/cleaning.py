"""Removing what jobs left on their computer, so that nothing later relies on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from aiida import orm
from aiida.common.links import LinkType

from aiida_dmi.aiida_types import computer_of

RemoteData = orm.RemoteData


class Cleaned(NamedTuple):
    """What became of the folders: how many were removed, and a line on each that was not."""

    removed: int
    kept: list[str]


def clean(workchain: orm.WorkChainNode) -> Cleaned:
    """Remove the remote folders of every job of a workchain; none of them serves as a cache source any more.

    A job that was taken from the cache shares its folder with the one it was taken from: whichever job has the folder
    loses it, and stops being a cache source. A folder that another running process needs stays.

    Parameters
    ----------
    workchain : WorkChainNode

    Returns
    -------
    Cleaned
        Folders removed, and why others were not: in use, or not to be reached.
    """
    removed, kept = 0, []
    for job in workchain.called_descendants:
        if not isinstance(job, orm.CalcJobNode) or "remote_folder" not in job.outputs:
            continue
        folder = job.outputs.remote_folder
        if folder.is_cleaned:
            continue
        shared = sharing(folder)
        user = next((node for other in shared for node in _users(other, workchain)), None)
        if user is not None:
            kept.append(f"{folder.get_remote_path()} stays, {user.process_label}<{user.pk}> is using it")
            continue
        # First of all nothing may start from it any more: removing it may break off half-way.
        for other in shared:
            if other.creator is not None:
                other.creator.base.caching.is_valid_cache = False
        try:
            _remove(folder)
        except Exception as error:  # whatever a transport raises: the results are stored all the same
            kept.append(f"{folder.get_remote_path()} could not be removed ({error}); remove it by hand")
            continue
        for other in shared:
            other.base.extras.set(RemoteData.KEY_EXTRA_CLEANED, True)
        removed += 1
    return Cleaned(removed, kept)


def sharing(folder: RemoteData) -> list[RemoteData]:
    """Every node of the same folder on the same computer, the given one among them."""
    query = orm.QueryBuilder().append(orm.Computer, filters={"uuid": computer_of(folder).uuid}, tag="computer")
    path = {"attributes.remote_path": folder.get_remote_path()}
    query.append(RemoteData, with_computer="computer", filters=path)
    found: list[RemoteData] = query.all(flat=True)
    return found


def _users(folder: RemoteData, workchain: orm.WorkChainNode) -> Iterator[orm.ProcessNode]:
    """Running processes that were given the folder, or made it on the way to something else."""
    own = {node.uuid for node in (workchain, *callers(workchain))}
    links = (LinkType.INPUT_CALC, LinkType.INPUT_WORK)
    nodes = [link.node for link in folder.base.links.get_outgoing(link_type=links).all()]
    if folder.creator is not None:
        nodes += callers(folder.creator)
    for node in nodes:
        if isinstance(node, orm.ProcessNode) and node.uuid not in own and not node.is_terminated:
            yield node


def callers(node: orm.ProcessNode) -> list[orm.ProcessNode]:
    """The workchains above a process, the nearest first."""
    callers = []
    while node.caller is not None:
        node = node.caller
        callers.append(node)
    return callers


def _remove(folder: RemoteData) -> None:
    with folder.get_authinfo().get_transport() as transport:
        if transport.path_exists(folder.get_remote_path()):
            transport.rmtree(folder.get_remote_path())
