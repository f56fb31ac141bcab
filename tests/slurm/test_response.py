"""The response job under Slurm: ranks, walltime, scancel, refused submissions: `make test-slurm`."""

import re
import subprocess
import time

import numpy as np
import pytest

from aiida_dmi.engine import WannierModel, compute, load_result

from ..workflows.conftest import wait_until
from ..workflows.test_daemon import LONG
from .conftest import CLUSTER, RANKS, queued

pytestmark = pytest.mark.skipif(not CLUSTER, reason="needs Slurm: make test-slurm")

AXES = {"soi_scales": [0.5, 1.0], "fermi_shifts": [-0.5, 0.0, 0.5], "temperatures": [1500.0]}
SERIAL = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1}, "max_wallclock_seconds": 600}
PARALLEL = {**SERIAL, "resources": {"num_machines": 1, "num_mpiprocs_per_machine": RANKS}, "withmpi": True}
LAYOUTS = {
    "srun": ("slurm", PARALLEL),
    "mpirun": ("slurm-mpirun", PARALLEL),
    "worker processes": (
        "slurm",
        {
            **SERIAL,
            "processes": 2,
            "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1, "num_cores_per_mpiproc": 2},
        },
    ),
    "core.ssh_async": ("ssh-async", SERIAL),
}
# Band energies, for a neutral film, come before the first checkpoint: without them all of the minute counts.
LONG_AXES = {**AXES, "fermi_level": "dft"}
MINUTE = 60
"""Slurm's smallest walltime, s."""


@pytest.fixture(scope="module")
def job(session, model_file):
    """Submit a response job; its pk."""

    def submit(computer="slurm", options=SERIAL, mesh=24, axes=AXES, restart=False):
        return session.response(
            computer=computer,
            options=options,
            parameters={"mesh": mesh, **axes},
            model=str(model_file.absolute()),
            restart=restart,
        )

    return submit


@pytest.fixture(scope="module")
def serial(session, job):
    """One process."""
    pk = job()
    state = session.state(pk, wait=LONG)
    assert state["status"] == 0, state["message"]
    return load_result(session.result(pk))


@pytest.fixture(scope="module")
def long_mesh(model_file):
    """A mesh that takes one process about three minutes, so that one does not do on a machine that is busy just now."""
    model, start = WannierModel.load(model_file), time.monotonic()
    compute(model, 36, **LONG_AXES)
    seconds = time.monotonic() - start
    return int(36 * np.sqrt(3 * MINUTE / seconds))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bit_for_bit_as_one_process(session, job, serial, layout, say):
    computer, options = LAYOUTS[layout]
    pk = job(computer, options)
    state = session.state(pk, wait=LONG)
    assert state["status"] == 0, state["message"]
    (done,) = state["jobs"]
    if options is PARALLEL:
        assert re.search(r"srun' '--mpi=pmix' '-n' '2'" if layout == "srun" else r"mpirun' .*'-np' '2'", done["script"])
    if layout == "worker processes":
        assert "#SBATCH --cpus-per-task=2" in done["script"]
    found = load_result(session.result(pk))
    assert np.abs(serial.D).max() > 1
    assert found.identical(serial)
    point = {"soi_scale": 1.0, "fermi_shift": 0.0, "i": "y", "j": "x"}
    say(f"{layout}: D_yx = {found.D.sel(point).item():.12f} meV*Angstrom, identical to one process")


def test_walltime_is_followed_by_the_checkpoint(session, job, long_mesh, model_file, say):
    """Killed after a minute, again and again, until the sums are complete: the same numbers."""
    start = time.monotonic()
    pk = job(options={**SERIAL, "max_wallclock_seconds": MINUTE}, mesh=long_mesh, axes=LONG_AXES, restart=True)
    state = session.state(pk, wait=3 * LONG)
    seconds = time.monotonic() - start
    assert state["status"] == 0, state["message"]
    *killed, last = state["jobs"]
    assert killed
    for one in killed:
        assert one["status"] == 312
        expected = rf"Slurm job {one['slurm']} ran out of walltime \(node node1, \d{{4}}-\d\d-\d\dT[\d:]+\)"
        assert re.search(expected, one["message"]), one["message"]
    assert last["parent"]
    report = session.run("verdi", "process", "report", pk)
    assert "ran out of walltime (node node1" in report
    assert "goes on from its checkpoint" in report
    undisturbed = compute(WannierModel.load(model_file), long_mesh, processes=2, **LONG_AXES)
    assert load_result(session.result(pk)).identical(undisturbed)
    say(f"mesh {long_mesh}: {len(killed)} jobs killed by walltime, then complete, {seconds:.0f} s in all; identical")
    say(killed[0]["message"])


def test_scancel_of_a_running_job(session, job, long_mesh, say):
    """Said in one line, not started again, no result; its checkpoint is kept."""
    pk = job(mesh=2 * long_mesh, axes=LONG_AXES, restart=True)
    number, folder = queued("RUNNING")
    wait_until((folder / "result.nc.checkpoint").exists, LONG, "the first checkpoint")
    subprocess.run(["scancel", number], check=True)
    state = session.state(pk, wait=LONG)
    assert state["status"] == 410
    assert "response" not in state["outputs"]
    (cancelled,) = state["jobs"]
    assert cancelled["status"] == 313
    assert re.search(rf"Slurm job {number} was cancelled by scancel \(node node1, 20\d\d-", cancelled["message"])
    assert cancelled["message"] in state["message"]
    assert "\n" not in state["message"]
    assert (folder / "result.nc.checkpoint").exists()
    say(f"exit {state['status']}: {state['message']}")


def test_scancel_of_a_waiting_job(session, job, say):
    """A job that never started leaves no file at all."""
    hold = {**SERIAL, "custom_scheduler_commands": "#SBATCH --hold"}
    pk = job(options=hold, restart=True)
    number, _ = queued("PENDING")
    subprocess.run(["scancel", number], check=True)
    state = session.state(pk, wait=LONG)
    assert state["status"] == 410
    assert [one["status"] for one in state["jobs"]] == [313]
    assert f"Slurm job {number} left the queue without having started" in state["message"]
    say(f"exit {state['status']}: {state['message']}")


def test_refused_submission_waits_for_the_user(session, job, say):
    """A partition that does not exist: AiiDA tries again, then pauses the job and says why."""
    pk = job(options={**SERIAL, "queue_name": "nonesuch"})
    state = wait_until(lambda: (s := session.state(pk))["paused"] and s, LONG, "the job is paused", pause=5)
    assert not state["terminated"]
    report = session.run("verdi", "process", "report", pk)
    assert "invalid partition specified: nonesuch" in report
    session.run("verdi", "process", "kill", pk, "--timeout", 60)
    assert session.state(pk, wait=LONG)["state"] == "killed"
    say("a partition that does not exist: paused, sbatch's words are in `verdi process report`")
