"""How the batch system ended a job: what it leaves in the job's own files, which are there without its accounting."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiida import orm

CANCELLED = re.compile(
    r"\*\*\* JOB (?P<job>\d+) ON (?P<node>\S+) CANCELLED AT (?P<time>[\d:T-]+)(?: DUE TO (?P<cause>[A-Z ]+))?"
)
"""Slurm's last words on a job, from slurmstepd. Its lines on a STEP do not count: a step also ends by its own fault."""
CAUSES = {
    "TIME LIMIT": "ran out of walltime",
    "NODE FAILURE": "lost its node",
    "PREEMPTION": "was preempted",
    "JOB REQUEUE": "was requeued",
}


@dataclass(frozen=True)
class Ending:
    """What ended a job.

    Attributes
    ----------
    message : str
        One line that names job, node and cause.
    cancelled : bool
        Whether somebody ended it on purpose: such a job is not to be started again unasked.
    """

    message: str
    cancelled: bool


def ending(job: orm.CalcJobNode) -> Ending | None:
    """How Slurm ended a job that did not come to its end; None where nothing tells that it was Slurm.

    Parameters
    ----------
    job : CalcJobNode
        Its files are retrieved.
    """
    if job.computer is None or job.computer.scheduler_type != "core.slurm" or "retrieved" not in job.outputs:
        return None
    # Slurm writes where the job script's own output goes, and makes these files when the job starts.
    files = job.outputs.retrieved.base.repository
    written = {job.get_option("scheduler_stderr"), job.get_option("scheduler_stdout")}
    names = sorted(name for name in files.list_object_names() if name in written)
    # As bytes: a killed program may leave anything there.
    said = [files.get_object_content(name, mode="rb").decode(errors="replace") for name in names]
    number = job.get_job_id()
    if not said:
        return Ending(
            f"Slurm job {number} left the queue without having started: cancelled while it waited (scancel, an "
            "administrator), or its folder cannot be written on the node",
            cancelled=True,
        )
    found = CANCELLED.search("\n".join(said))
    if found is None:
        return None
    cause = (found["cause"] or "").strip()
    what = CAUSES.get(cause, f"was cancelled {f'due to {cause.lower()}' if cause else 'by scancel'}")
    return Ending(f"Slurm job {found['job']} {what} (node {found['node']}, {found['time']})", cancelled=not cause)
