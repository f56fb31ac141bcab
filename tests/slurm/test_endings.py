"""What Slurm 22.05 left in the files of jobs that it ended, word for word."""

import io

import pytest
from aiida import orm
from aiida.common.links import LinkType

from aiida_dmi.calculations.scheduler import ending

NOISE = "srun: error: node1: tasks 0-1: Terminated\n"
STEP = "slurmstepd-node1: error: *** STEP 4.0 ON node1 CANCELLED AT 2026-11-22T16:10:16 ***\n"
JOB = "slurmstepd-node1: error: *** JOB 4 ON node1 CANCELLED AT 2026-11-22T16:10:16{} ***\n"


@pytest.fixture
def job(aiida_profile, tmp_path):
    """A finished job with these files, `None` for one that was never written."""

    def make(stderr, stdout="", scheduler="core.slurm"):
        computer = orm.Computer(
            label=f"{tmp_path.name}-{scheduler}",
            hostname="localhost",
            transport_type="core.local",
            scheduler_type=scheduler,
        ).store()
        node = orm.CalcJobNode(computer=computer, process_type="aiida.calculations:dmi.response")
        node.set_option("scheduler_stderr", "_scheduler-stderr.txt")
        node.set_option("scheduler_stdout", "_scheduler-stdout.txt")
        node.set_job_id("4")
        node.store()
        folder = orm.FolderData()
        for name, said in (("_scheduler-stderr.txt", stderr), ("_scheduler-stdout.txt", stdout)):
            if said is not None:
                content = said if isinstance(said, bytes) else said.encode()
                folder.base.repository.put_object_from_filelike(io.BytesIO(content), name)
        folder.base.links.add_incoming(node, link_type=LinkType.CREATE, link_label="retrieved")
        folder.store()
        return node

    return make


@pytest.mark.parametrize(
    ("cause", "words", "cancelled"),
    [
        ("", "Slurm job 4 was cancelled by scancel (node node1, 2026-11-22T16:10:16)", True),
        (" DUE TO TIME LIMIT", "Slurm job 4 ran out of walltime (node node1, 2026-11-22T16:10:16)", False),
        (" DUE TO PREEMPTION", "Slurm job 4 was preempted (node node1, 2026-11-22T16:10:16)", False),
        (
            " DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS",
            "Slurm job 4 lost its node (node node1, 2026-11-22T16:10:16)",
            False,
        ),
    ],
)
def test_who_ended_it(job, cause, words, cancelled):
    found = ending(job(NOISE + STEP + JOB.format(cause)))
    assert found.message == words
    assert found.cancelled == cancelled


def test_bytes_that_are_no_text(job):
    assert ending(job(b"\xff\xfe\n" + JOB.format("").encode())).cancelled


def test_joined_files(job):
    assert "walltime" in ending(job(None, JOB.format(" DUE TO TIME LIMIT"))).message


@pytest.mark.parametrize("stderr", ["", NOISE, STEP])
def test_a_step_that_ends_by_itself_was_not_cancelled(job, stderr):
    """srun ends the other ranks of a program that failed, and says CANCELLED too."""
    assert ending(job(stderr)) is None


def test_a_job_that_never_started(job):
    found = ending(job(None, None))
    assert found.cancelled
    assert found.message.startswith("Slurm job 4 left the queue without having started")


def test_without_slurm(job):
    assert ending(job(JOB.format(""), scheduler="core.direct")) is None
