"""Folders that jobs left on their computer and that are not there any more: scratch is emptied by those who own it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiida import orm
from aiida_quantumespresso.calculations.pw import PwCalculation

from aiida_dmi.aiida_types import computer_of
from aiida_dmi.workflows.cleaning import callers, sharing

RemoteData = orm.RemoteData


def is_fresh(folder: RemoteData, workchain: orm.ProcessNode) -> bool:
    """Whether a job that this workchain has run itself made the folder: then nobody has to look whether it is there."""
    made = folder.creator
    return made is not None and not made.base.caching.is_created_from_cache and workchain in callers(made)


def is_gone(folder: RemoteData) -> bool:
    """Whether a job's folder, or of one of pw.x the density in it, is not on its computer any more.

    A computer that cannot be reached answers nothing: what needs the folder then says what is wrong.
    """
    path = folder.get_remote_path()
    try:
        with folder.get_authinfo().get_transport() as transport:
            if not transport.isdir(path):
                return True
            if folder.creator is None or folder.creator.process_type != PwCalculation.build_process_type():
                return not transport.listdir(path)
            saved = f"{path}/out/aiida.save"
            names = transport.listdir(saved) if transport.isdir(saved) else []
    except Exception:  # whatever a transport raises
        return False
    return not any(str(name).startswith("charge-density") for name in names)


def gone_among(inputs: Any) -> list[RemoteData]:
    """The folders among a process's inputs that are not there any more."""
    return [node for node in inputs if isinstance(node, RemoteData) and is_gone(node)]


def forget(folders: Iterable[RemoteData]) -> None:
    """Jobs whose folder is gone no longer serve as cache sources: what they made is computed again."""
    for folder in folders:
        for other in sharing(folder):
            if other.creator is not None:
                other.creator.base.caching.is_valid_cache = False
            other.base.extras.set(RemoteData.KEY_EXTRA_CLEANED, True)


def served_from_cache(folder: RemoteData, kpoints: orm.KpointsData) -> bool:
    """Whether a job that can be reused started from this folder on these k points: its results need it no more."""
    query = _started_from(folder)
    query.append(orm.CalcJobNode, with_incoming="folder", tag="job", project="*")
    query.append(orm.KpointsData, with_outgoing="job", project="*")
    wanted = kpoints.base.caching.compute_hash()
    return any(
        job.base.caching.is_valid_cache and points.base.caching.compute_hash() == wanted
        for job, points in query.distinct().all()
    )


def has_served(folder: RemoteData, process: Any) -> bool:
    """Whether a job of a process that can be reused started from this folder."""
    query = _started_from(folder).append(process, with_incoming="folder")
    return any(job.base.caching.is_valid_cache for job in query.distinct().all(flat=True))


def _started_from(folder: RemoteData) -> orm.QueryBuilder:
    """A query with the nodes of this folder, that of a job and those the cache made of it, tagged 'folder'."""
    query = orm.QueryBuilder().append(orm.Computer, filters={"uuid": computer_of(folder).uuid}, tag="computer")
    path = {"attributes.remote_path": folder.get_remote_path()}
    return query.append(RemoteData, with_computer="computer", filters=path, tag="folder")
