"""The same numbers from any number of processes, MPI ranks and batches."""

import dataclasses
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from aiida_dmi.engine import InputError, compute, load_result
from aiida_dmi.engine.errors import StoppedError
from aiida_dmi.engine.integrate.kernel import Kernel
from aiida_dmi.engine.integrate.settings import Settings
from aiida_dmi.engine.processes.console import COMPLETE
from aiida_dmi.engine.processes.workers import Workers, mpi_communicator
from aiida_dmi.engine.run.cli import main

AXES = {
    "soi_scales": [0.3, 1.0],
    "temperatures": [300.0, 1500.0],
    "fermi_shifts": [-0.2, 0.0],
    "directions": [(0, 0, 1), (1, 0, 1)],
    "soi_masks": {"all": [1, 1], "Pt": [1, 0]},
}
MOMENTS = np.array([0.4, 1.9])
"""Of Pt and Co, mu_B."""
SPEC = """\
model: model.h5
mesh: 9
soi_scales: [0.3, 1.0]
fermi_shifts: [-0.2, 0.0]
memory_limit: 4194304
"""


# -- processes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fermi_level", ["neutral", "dft"])
def test_processes(copt11, fermi_level):
    """Bit for bit, and attributes too: nothing in a result tells how many worked on it. 64 k points in six batches."""
    one, two, three = (
        compute(copt11, 8, fermi_level=fermi_level, processes=n, memory_limit=2**22, **AXES) for n in (1, 2, 3)
    )
    assert np.abs(one.D).max() > 1
    assert two.identical(one)
    assert three.identical(one)


def test_processes_with_tolerance(copt11):
    axes = {"tolerance": 1e-3, "max_mesh": 12, "temperatures": [1500.0], "memory_limit": 2**22}
    assert compute(copt11, 6, processes=2, **axes).identical(compute(copt11, 6, **axes))


def test_errors_from_processes(copt11):
    """The Fourier coefficients that the k errors are made from, of irreducible points, bit for bit."""
    model = dataclasses.replace(copt11, moments=MOMENTS)
    axes = {"symmetry": "auto", "temperatures": [3000.0], "memory_limit": 2**22}
    one, three = (compute(model, 24, processes=n, **axes) for n in (1, 3))
    assert all(np.isfinite(one[f"{name}_error"]).all() for name in one.attrs["quantities"])
    assert three.identical(one)


def test_more_processes_than_batches(small_model):
    assert compute(small_model, 2, processes=3).identical(compute(small_model, 2))


class Slow:
    """A kernel whose early batches take longest."""

    def work(self, batch, factor):
        time.sleep(0.02 * (10 - batch))
        return factor * batch, os.getpid()


def test_order_of_batches():
    with Workers(Slow(), 3) as workers:
        results = list(workers.map("work", range(10), 7))
    assert [value for value, _ in results] == [7 * batch for batch in range(10)]
    assert 1 < len({pid for _, pid in results}) <= 3
    assert os.getpid() not in {pid for _, pid in results}


class Broken:
    def work(self, batch):
        if batch == 3:
            raise InputError(f"batch: {batch} was given")
        return batch


@pytest.mark.parametrize("processes", [1, 2])
def test_error_in_a_batch(processes):
    """It reaches the caller as it is, and the pool ends."""
    with Workers(Broken(), processes) as workers, pytest.raises(InputError, match=r"^batch: 3"):
        list(workers.map("work", range(6)))


class Fatal:
    """A kernel whose fourth batch ends its process as the kernel's memory killer does, or asks for too much."""

    def work(self, batch, how):
        if batch == 3 and how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if batch == 3:
            np.zeros(2**50)
        return batch


def test_killed_worker():
    """What is done before it is kept; the others are ended."""
    done = []
    with Workers(Fatal(), 2) as workers:
        results = workers.map("work", range(50), "killed")
        with pytest.raises(StoppedError, match=r"^processes: a worker process was killed"):
            done.extend(results)
    assert done == list(range(len(done)))
    assert len(done) <= 3


def test_killed_worker_where_the_program_holds_sigterm():
    """The pool ends the others with SIGTERM: a handler forked from the calling program must not keep them.

    Coverage's did: it waits for a lock that the interrupted code holds.
    """
    script = """
import signal, threading
from aiida_dmi.engine.errors import StoppedError
from aiida_dmi.engine.processes.workers import Workers
from test_workers import Fatal

signal.signal(signal.SIGTERM, lambda *_: threading.Event().wait())
with Workers(Fatal(), 2) as workers:
    try:
        list(workers.map("work", range(50), "killed"))
    except StoppedError as error:
        print(error)
"""
    command, here = [sys.executable, "-c", script], Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.startswith("processes: a worker process was killed"), done.stderr


@pytest.mark.parametrize("processes", [1, 2])
def test_too_much_memory(processes):
    with Workers(Fatal(), processes) as workers, pytest.raises(StoppedError, match=r"^memory: .*smaller memory_limit"):
        list(workers.map("work", range(6), "allocates"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_run_with_a_killed_worker(data, tmp_path):
    """dmi-engine ends, says why and what to do, and goes on from its checkpoint when given fewer processes."""
    shutil.copy(data / "copt11.h5", tmp_path / "model.h5")
    (tmp_path / "spec.yaml").write_text("model: model.h5\nmesh: 24\nfermi_level: dft\nmemory_limit: 4194304\n")
    process = subprocess.Popen(
        [sys.executable, "-c", EAGER, "run", "spec.yaml", "--processes", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    checkpoint = tmp_path / "result.nc.checkpoint"
    end = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < end:
        time.sleep(0.005)
    workers = [pid for pid in processes_of(process.pid) if pid != process.pid]
    os.kill(workers[0], signal.SIGKILL)
    output, errors = process.communicate(timeout=60)
    assert process.returncode not in (0, 2)
    assert "processes: a worker process was killed" in errors.splitlines()[-1]
    assert "fewer processes" in errors.splitlines()[-1]
    assert COMPLETE not in output
    assert processes_of(process.pid) == []
    assert checkpoint.exists()
    assert not (tmp_path / "result.nc").exists()
    for name in ("result.nc", "whole.nc"):
        done = subprocess.run(
            [sys.executable, "-m", "aiida_dmi.engine.run.cli", "run", "spec.yaml", "--output", name],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
    assert not checkpoint.exists()
    assert load_result(tmp_path / "result.nc").identical(load_result(tmp_path / "whole.nc"))


EAGER = """
import functools, sys
from importlib import import_module
from aiida_dmi.engine.run.cli import main

driver = import_module("aiida_dmi.engine.run.compute")
driver.Checkpoint = functools.partial(driver.Checkpoint, interval=0.0)
sys.exit(main(sys.argv[1:]))
"""


def processes_of(group):
    """Living processes of a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, own = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:
            continue
        if int(own) == group and state != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("seen", [2, 3])
def test_workers_end_with_their_parent(data, tmp_path, how, seen):
    """Killed by the scheduler or for memory: no worker is left sleeping with its memory.

    As soon as there is one worker, or both: the moment of a fork, of which the pool may not know yet.
    """
    shutil.copy(data / "copt11.h5", tmp_path / "model.h5")
    (tmp_path / "spec.yaml").write_text("model: model.h5\nmesh: 300\nprocesses: 2\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "aiida_dmi.engine.run.cli", "run", "spec.yaml"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        end = time.monotonic() + 30
        while len(processes_of(process.pid)) < seen and time.monotonic() < end:
            time.sleep(0.001)
        assert len(processes_of(process.pid)) >= seen
        process.send_signal(how)
        assert process.wait(timeout=10) != 0
        end = time.monotonic() + 5
        while processes_of(process.pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert processes_of(process.pid) == []
    finally:
        for left in processes_of(process.pid):
            os.kill(left, signal.SIGKILL)
    assert not (tmp_path / "result.nc").exists()


# -- batches ---------------------------------------------------------------------------------------------


def test_memory_limit(copt11):
    """Less memory: smaller batches, and the same result but for the order of a sum."""
    settings = Settings.checked(
        dimension=2,
        atoms=2,
        mesh=12,
        soi_scales=[1.0],
        fermi_shifts=[0.0],
        temperatures=[300.0],
        directions=[(0, 0, 1)],
        soi_masks=None,
        fermi_level="dft",
    )
    sizes = [Kernel.prepare(copt11, settings, limit).batch_size for limit in (2**30, 2**24, 2**22, 1)]
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3] == 1
    # What a batch holds of one k point: some sixteen 2n x 2n complex matrices.
    for limit, size in zip((2**24, 2**22), sizes[1:3], strict=True):
        assert size * 16 * 16 * (2 * copt11.functions) ** 2 <= limit
    axes = AXES | {"directions": [(1, 0, 1)]}
    expected, there = (compute(copt11, 6, fermi_level=f, **axes) for f in ("dft", "neutral"))
    for limit in (2**22, 1):
        result = compute(copt11, 6, fermi_level="dft", memory_limit=limit, **axes)
        # Rounding of the interpolation, 1e-16, over a splitting cubed is 3e-11 in D(1). Which pairs of full bands are
        # left out of D depends on the batch; they are nothing but rounding, a few parts in 1e12.
        for name in ("D", "Q", "a_I", "a_II", "D_1", "Q_1", "D_error", "electrons"):
            scale = np.abs(expected[name].values).max()
            np.testing.assert_allclose(
                result[name],
                expected[name],
                rtol=0,
                atol={"D_1": 1e-9, "D": 1e-11, "D_error": 1e-11}.get(name, 1e-12) * scale,
                err_msg=name,
            )
        # The tensors at 300 K change by a part in 1e10 where mu does by 1e-13.
        neutral = compute(copt11, 6, memory_limit=limit, **axes)
        for name, tolerance in (("mu", 1e-12), ("mu_bare", 1e-12), ("D", 1e-9), ("Q", 1e-9), ("Q_1", 1e-9)):
            np.testing.assert_allclose(neutral[name], there[name], rtol=0, atol=tolerance * np.abs(there[name]).max())


# -- MPI -------------------------------------------------------------------------------------------------

mpi = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None or shutil.which("mpirun") is None,
    reason="needs mpi4py (pip install aiida-dmi[mpi]) and mpirun",
)


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    """A model, a spec and its result from one process."""
    path = tmp_path_factory.mktemp("mpi")
    shutil.copy(data / "copt11.h5", path / "model.h5")
    (path / "spec.yaml").write_text(SPEC)
    done = subprocess.run(
        [sys.executable, "-m", "aiida_dmi.engine.run.cli", "run", "spec.yaml", "--output", "one.nc"],
        cwd=path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return path


def mpirun(ranks, *arguments, cwd):
    from aiida_dmi.cli.setup import mpirun_command

    command = [part.format(tot_num_mpiprocs=ranks) for part in mpirun_command()]
    return subprocess.run(
        [*command, sys.executable, "-m", "aiida_dmi.engine.run.cli", "run", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@mpi
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks(folder, ranks):
    """The same file from several ranks; the first alone speaks."""
    done = mpirun(ranks, "spec.yaml", "--output", f"{ranks}.nc", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert load_result(folder / f"{ranks}.nc").identical(load_result(folder / "one.nc"))
    assert done.stdout.splitlines() == [f"wrote {ranks}.nc", COMPLETE]
    lines = [line for line in done.stderr.splitlines() if " k/s" in line]
    assert len([line for line in lines if "81/81 k (100 %)" in line and line.startswith("D, Q, a")]) == 1
    assert len(lines) == len(set(lines)) >= 2
    assert not list(folder.glob("*.checkpoint*"))
    assert not list(folder.glob(".*"))


@mpi
@pytest.mark.parametrize(
    ("asked", "points"),
    [
        ("mesh: 6\ntolerance: 0.001\nmax_mesh: 12\nsymmetry: true\ntemperatures: [1500]\n", 144),
        ("mesh: 24\ntolerance: 50 %\nsymmetry: auto\ntemperatures: [3000]\n", 576),  # with errors
    ],
)
def test_ranks_with_tolerance_and_symmetry(copt11, tmp_path, asked, points):
    dataclasses.replace(copt11, moments=MOMENTS).save(tmp_path / "model.h5")
    (tmp_path / "spec.yaml").write_text(f"model: model.h5\nmemory_limit: 4194304\n{asked}")
    done = mpirun(2, "spec.yaml", "--output", "two.nc", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    one = subprocess.run(
        [sys.executable, "-m", "aiida_dmi.engine.run.cli", "run", "spec.yaml", "--output", "one.nc"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert one.returncode == 0, one.stderr
    two = load_result(tmp_path / "two.nc")
    assert two.attrs["k_points"] == points
    assert bool(np.isfinite(two.D_error).all()) == (points == 576)
    assert two.identical(load_result(tmp_path / "one.nc"))


STOPPED = """
import functools, os, sys
from importlib import import_module
from aiida_dmi.engine.files.checkpoint import Checkpoint
from aiida_dmi.engine.run.cli import main

class Stopped(Checkpoint):
    def save(self, *arguments, force=True):
        super().save(*arguments, force=True)
        if arguments[1] == 5:
            os._exit(7)

import_module("aiida_dmi.engine.run.compute").Checkpoint = Stopped
main(["run", "spec.yaml", "--output", "stopped.nc"])
"""


@mpi
def test_ranks_resume(folder):
    """What one process began: the first rank reads it, all go on from there."""
    done = subprocess.run([sys.executable, "-c", STOPPED], cwd=folder, capture_output=True, check=False, timeout=60)
    assert done.returncode == 7, done.stderr
    assert (folder / "stopped.nc.checkpoint").exists()
    done = mpirun(2, "spec.yaml", "--output", "stopped.nc", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "band energies" not in done.stderr
    assert load_result(folder / "stopped.nc").identical(load_result(folder / "one.nc"))
    assert not (folder / "stopped.nc.checkpoint").exists()


@mpi
@pytest.mark.parametrize("case", ["bad spec", "foreign checkpoint"])
def test_ranks_refuse_bad_input(folder, tmp_path, case):
    """One line and exit status 2, also where the first rank alone meets the error and the others wait for it."""
    shutil.copy(folder / "model.h5", tmp_path)
    (tmp_path / "spec.yaml").write_text(SPEC + ("temperatures: [-3]\n" if case == "bad spec" else "checkpoint: c\n"))
    (tmp_path / "c").write_bytes(b"something else")
    done = mpirun(2, "spec.yaml", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("dmi-engine: ")]) == 1, done.stderr
    assert ("temperatures: -3" if case == "bad spec" else "checkpoint") in done.stderr
    assert COMPLETE not in done.stdout
    assert not (tmp_path / "result.nc").exists()


WITHOUT = """
import sys
sys.modules["mpi4py"] = None
from aiida_dmi.engine.run.cli import main
sys.exit(main(["run", "spec.yaml", "--output", "without.nc"]))
"""


@pytest.mark.parametrize("variable", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_ranks_without_mpi4py(folder, variable):
    """Each would do all the work and write the same file."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        cwd=folder,
        env=os.environ | {variable: "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "MPI" in done.stderr
    assert "mpi4py" in done.stderr
    assert not (folder / "without.nc").exists()


SLURM_JOB = {"SLURM_JOB_ID": "17", "SLURM_NTASKS": "2", "SLURM_NPROCS": "2", "SLURM_TASKS_PER_NODE": "2"}
SLURM_STEP = SLURM_JOB | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}
ONE = {"SLURM_STEP_NUM_TASKS": "1", "PMIX_RANK": "0", "PMIX_NAMESPACE": "slurm.pmix.17.0"}


@pytest.mark.parametrize(
    ("environment", "ranks"),
    [
        ({}, 1),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, 1),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, 4),
        ({"PMI_SIZE": "3", "PMI_RANK": "0"}, 3),
        ({"PMI_SIZE": " 1 "}, 1),
        ({"OMPI_COMM_WORLD_SIZE": ""}, 1),
        ({"OMPI_COMM_WORLD_SIZE": "0004"}, 4),
        # A batch script, and srun without MPI: Slurm's numbers are not those of MPI ranks.
        (SLURM_JOB, 1),
        (SLURM_STEP, 1),
        # srun --mpi=pmix
        (SLURM_STEP | {"PMIX_RANK": "1", "PMIX_NAMESPACE": "slurm.pmix.17.0"}, 2),
        (SLURM_JOB | {"PMIX_RANK": "0"}, 2),
        # one task of a larger job
        (SLURM_JOB | ONE, 1),
        (SLURM_JOB | ONE | {"OMPI_COMM_WORLD_SIZE": "2"}, 2),
    ],
)
def test_how_many_ranks_were_started(monkeypatch, environment, ranks):
    """Without mpi4py several ranks are refused, and one is not."""
    for name in [name for name in os.environ if name.startswith(("OMPI_", "PMI", "SLURM_"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    if ranks == 1:
        assert mpi_communicator() is None
    else:
        with pytest.raises(InputError, match=r"^MPI: .*mpi4py is not installed"):
            mpi_communicator()


@pytest.mark.parametrize("variable", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
@pytest.mark.parametrize("value", ["no number", "two", "²", "٣", "-1", "0", "1.0", "1e3", "9" * 5000, "0x2"])
def test_number_of_ranks_that_is_none(folder, monkeypatch, capsys, variable, value):
    """One line, whatever stands there: taken for one rank, each of several would do all the work."""
    monkeypatch.setenv(variable, value)
    assert main(["run", str(folder / "spec.yaml")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"dmi-engine: {variable}: '{value[:20]}")
    assert "expected a number of ranks" in error
    assert len(error.splitlines()) == 1


@mpi
def test_ranks_that_do_not_find_each_other(folder):
    """mpi4py built with another library than the launcher's: every rank would be the first of its own world."""
    done = subprocess.run(
        [sys.executable, "-m", "aiida_dmi.engine.run.cli", "run", "spec.yaml", "--output", "alone.nc"],
        cwd=folder,
        env=os.environ | {"PMI_SIZE": "2"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "MPI: 2 ranks were started, but mpi4py's" in done.stderr
    assert "finds only this one" in done.stderr
    assert not (folder / "alone.nc").exists()
