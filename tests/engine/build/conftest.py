"""The prototype's run by the plain programs, once a session, and what repeats such a run.

The inputs are the prototype's own (tests/data/prototype); they take about two minutes on two cores. They need
no AiiDA: only `mpirun_command` comes from the setup.
"""

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from aiida_dmi.cli.setup import mpirun_command
from aiida_dmi.engine.build import BuildSpec, Pseudopotential

ELEMENTS = ("Pt", "Co")


def run_program(folder: Path, program: str, arguments: list[str], ranks: int = 2) -> str:
    prefix = [part.format(tot_num_mpiprocs=ranks) for part in mpirun_command()] if ranks > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*prefix, program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def run_all(folder: Path) -> float:
    output = run_program(folder, "pw.x", ["-npool", "2", "-in", "scf.in"])
    fermi_energy = float(re.findall(r"the Fermi energy is\s+(\S+) ev", output)[-1])
    run_program(folder, "pw.x", ["-npool", "2", "-in", "nscf.in"])
    for spin in ("up", "dn"):
        run_program(folder, "wannier90.x", ["-pp", spin], ranks=1)
        run_program(folder, "pw2wannier90.x", ["-in", f"pw2wan_{spin}.in"])
        run_program(folder, "wannier90.x", [spin], ranks=1)
    return fermi_energy


@pytest.fixture(scope="session")
def run() -> Callable[..., str]:
    """Run a program in a folder, run(folder, program, arguments, ranks=2); its output."""
    return run_program


@pytest.fixture(scope="session")
def run_chain() -> Callable[[Path], float]:
    """Scf, nscf and both spins' Wannier functions from the inputs in a folder; the scf's Fermi energy (eV)."""
    return run_all


@pytest.fixture(scope="session")
def write_averages(upf_folder) -> Callable[[Path], None]:
    """Write the scalar-relativistic averages of Co and Pt to a new folder."""

    def write(folder: Path) -> None:
        folder.mkdir()
        for element in ELEMENTS:
            averaged = Pseudopotential.read(upf_folder / f"{element}.UPF").scalar_relativistic()
            (folder / f"{element}.UPF").write_text(averaged.to_upf())

    return write


@pytest.fixture(scope="session")
def specification(upf_folder) -> Callable[[Path, float], BuildSpec]:
    """What `build` needs of a finished chain: specification(folder, fermi_energy)."""

    def of(folder: Path, fermi_energy: float) -> BuildSpec:
        return BuildSpec(
            nscf=folder / "out" / "x.save",
            wannier_up=folder / "up",
            wannier_down=folder / "dn",
            pseudopotentials={element: upf_folder / f"{element}.UPF" for element in ELEMENTS},
            fermi_energy=fermi_energy,
        )

    return of


@pytest.fixture(scope="session")
def prototype(tmp_path_factory, data_folder, write_averages, worker_id) -> tuple[Path, float]:
    """The prototype's run, repeated: folder and Fermi energy; once for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "prototype"
    finished = folder / "fermi_energy"
    with (folder.parent / "prototype.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(data_folder / "prototype", folder)
            write_averages(folder / "pseudo_averaged")
            finished.write_text(repr(run_all(folder)))
    return folder, float(finished.read_text())
