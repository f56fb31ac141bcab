"""From the slab to D through Slurm, in the daemon, by the script of the documentation: `make test-slurm`."""

import time

import numpy as np
import pytest
import yaml

from aiida_dmi.engine import load_result

from .conftest import CLUSTER, RANKS, TEMPLATES

pytestmark = pytest.mark.skipif(not CLUSTER, reason="needs Slurm: make test-slurm")

SMALL = {
    "pseudo_family": "tests/PBE/FR",
    "scf": {
        # Converged so far that D is the same to 1e-6 whichever way the ranks add up.
        "parameters": {"SYSTEM": {"ecutwfc": 30.0, "ecutrho": 120.0}, "ELECTRONS": {"conv_thr": 1e-11}},
        "kpoints_mesh": [4, 4],
    },
    "bands": {"random_points": 2},
    "wannierisation": {"kpoints_mesh": [4, 4]},
    "response": {"mesh": 8, "soi_scales": [0.5, 1.0], "fermi_shifts": [0.0], "temperatures": [1500.0]},
    # A 4x4 mesh at 30 Ry is no good model: here three runs of one film are compared.
    "force": True,
}
LIMIT = 3600
"""Seconds for what takes two minutes on an idle machine."""
OPTIONS = {"resources": {"num_machines": 1, "num_mpiprocs_per_machine": RANKS}, "max_wallclock_seconds": 1800}
OF_SLURM = {**OPTIONS, "queue_name": "normal", "account": "s1234", "qos": "normal", "max_memory_kb": 500_000}


def main_job(session, computer, options):
    """The main job by examples/cluster/submit.py; its state at the end and its seconds."""
    settings = session.folder / "settings.yaml"
    settings.write_text(yaml.safe_dump({"computer": computer, "options": options, "overrides": SMALL}))
    start = time.monotonic()
    words = session.run("verdi", "run", TEMPLATES / "submit.py", settings)
    pk = int(words.split("DmiWorkChain<")[1].split(">")[0])
    state = session.state(pk, wait=LIMIT)
    assert state["status"] == 0, f"{state['message']} {session.run('verdi', 'process', 'report', pk)}"
    return pk, state, time.monotonic() - start


@pytest.fixture(scope="module")
def direct(session):
    return main_job(session, "direct", OPTIONS)


def largest_difference(session, one, other, name):
    first, second = (load_result(session.result(pk))[name].values for pk in (one, other))
    assert np.abs(second).max() > 0.1
    return float(np.abs(first - second).max() / np.abs(second).max())


@pytest.mark.parametrize("computer", ["slurm", "ssh"])
def test_same_as_without_batch_system(session, direct, computer, say):
    pk, state, seconds = main_job(session, computer, OF_SLURM)
    numbers = [job["slurm"] for job in state["jobs"]]
    assert [job["label"] for job in state["jobs"]].count("PwCalculation") == 3
    assert all(number.isdigit() for number in numbers)
    for job in state["jobs"]:
        for line in ("--partition=normal", "--account=s1234", "--qos=normal", "--mem=488", "--time=00:30:00"):
            assert f"#SBATCH {line}" in job["script"]
        parallel = "srun" in job["script"]
        assert parallel == (job["label"] == "PwCalculation")
        assert f"#SBATCH --ntasks-per-node={RANKS if parallel else 1}\n" in job["script"]
    say(f"{computer}: {len(numbers)} Slurm jobs in {seconds:.0f} s; core.direct {direct[2]:.0f} s")
    for name in ("D", "Q", "a_I", "a_II"):
        found = largest_difference(session, pk, direct[0], name)
        say(f"{computer}, {name}: relative difference to core.direct {found:.1e}")
        assert found < 1e-6
