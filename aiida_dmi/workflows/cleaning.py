"""Removing what jobs left on their computer, so that nothing later relies on it."""

from __future__ import annotations

from aiida import orm


def clean(workchain: orm.WorkChainNode) -> int:
    """Clean the remote folders of every job of a workchain; none of them serves as a cache source any more.

    A job that was taken from the cache shares its folder with the one it was taken from: whichever job has the folder
    loses it, and stops being a cache source.

    Parameters
    ----------
    workchain : WorkChainNode

    Returns
    -------
    int
        Number of folders that were removed.
    """
    removed = 0
    for job in workchain.called_descendants:
        if not isinstance(job, orm.CalcJobNode) or "remote_folder" not in job.outputs:
            continue
        folder = job.outputs.remote_folder
        for other in _sharing(folder):
            creator = other.creator
            if creator is not None:
                creator.base.caching.is_valid_cache = False
            if other.uuid != folder.uuid:
                other.base.extras.set(orm.RemoteData.KEY_EXTRA_CLEANED, True)
        if not folder.is_cleaned:
            folder.clean()
            removed += 1
    return removed


def _sharing(folder: orm.RemoteData) -> list[orm.RemoteData]:
    """Every node of the same folder on the same computer."""
    query = orm.QueryBuilder().append(orm.Computer, filters={"uuid": folder.computer.uuid}, tag="computer")
    path = {"attributes.remote_path": folder.get_remote_path()}
    query.append(orm.RemoteData, with_computer="computer", filters=path)
    found: list[orm.RemoteData] = query.all(flat=True)
    return found
