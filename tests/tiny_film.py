"""A film of one phosphorus and one hydrogen atom a cell, small enough for every plane wave: run once a session.

A square cell with hydrogen above phosphorus: C_4v, magnetic, without inversion. pw.x: scf, nscf on its irreducible
points of a 4 x 4 mesh and on one of each pair k and -k; pp.x: both spins' potentials; wannier90.x and `build`: a model.
"""

import contextlib
import dataclasses
import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from aiida_dmi.engine import WannierModel
from aiida_dmi.engine.build import BuildSpec, Pseudopotential, build
from aiida_dmi.engine.build.irreducible import reduced
from aiida_dmi.engine.build.overlaps import OverlapsSpec, write_overlaps
from aiida_dmi.engine.build.quantum_espresso import SaveFolder
from aiida_dmi.engine.completeness import CompletenessSpec, complete, save_completeness
from aiida_dmi.engine.completeness.potential import read_potentials

MESH = 4
BANDS = 20
SYSTEM = """&CONTROL
  calculation='{calculation}', prefix='aiida', outdir='{outdir}/out', pseudo_dir='.', verbosity='high'
/
&SYSTEM
  ibrav=0, nat=2, ntyp=2, ecutwfc=5, nbnd={bands}, {symmetry}
  occupations='smearing', smearing='mv', degauss=0.02
  nspin=2, starting_magnetization(1)=0.5, starting_magnetization(2)=0.6
/
&ELECTRONS
  conv_thr=1e-10, diago_full_acc=.true.
/
ATOMIC_SPECIES
H 1.008 H.UPF
P 30.97 P.UPF
CELL_PARAMETERS bohr
6.5 0 0
0 6.5 0
0 0 15
ATOMIC_POSITIONS crystal
H 0 0 0.6
P 0 0 0.42
"""
WANNIER = """num_wann = 5
num_bands = {bands}
dis_froz_max = {frozen}
num_iter = 0
dis_num_iter = 0
begin projections
P: s; p
H: s
end projections
begin unit_cell_cart
bohr
6.5 0 0
0 6.5 0
0 0 15
end unit_cell_cart
begin atoms_frac
H 0 0 0.6
P 0 0 0.42
end atoms_frac
mp_grid = {mesh} {mesh} 1
begin kpoints
{points}
end kpoints
"""


@dataclasses.dataclass(frozen=True)
class TinyFilm:
    """What the programs have left."""

    folder: Path
    pseudopotentials: dict
    irreducible: Path
    pairs: Path
    potentials: tuple
    model: Path

    @property
    def averages(self):
        """The pseudopotentials that pw.x has used."""
        return {name: self.folder / f"{name}.UPF" for name in self.pseudopotentials}

    def save(self):
        return SaveFolder.read(self.irreducible)

    def local(self):
        return read_potentials(self.potentials, self.save())

    def pseudos(self):
        return {name: Pseudopotential.read(path) for name, path in self.pseudopotentials.items()}

    def spec(self, **changes):
        """Of `dmi-engine complete`, as YAML would give it."""
        return {
            "model": str(self.model),
            "nscf": str(self.irreducible),
            "potentials": [str(path) for path in self.potentials],
            "pseudopotentials": {name: str(path) for name, path in self.pseudopotentials.items()},
            "temperatures": [3000.0, 1500.0],
        } | changes


def program(folder, name, *arguments):
    done = subprocess.run(
        [name, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def pw(folder, calculation, outdir, points, symmetry=""):
    text = SYSTEM.format(calculation=calculation, outdir=outdir, bands=BANDS, symmetry=symmetry) + points
    (folder / outdir).mkdir(exist_ok=True)
    (folder / f"{outdir}.in").write_text(text)
    assert "JOB DONE" in program(folder, "pw.x", "-in", f"{outdir}.in")


def nscf(folder, outdir, points, symmetry=""):
    shutil.copytree(folder / "scf", folder / outdir)
    pw(folder, "nscf", outdir, points, symmetry)


def run_pw(folder, pseudopotentials):
    """Scf, both potentials, and the irreducible points."""
    for name, path in pseudopotentials.items():
        (folder / f"{name}.UPF").write_text(Pseudopotential.read(path).scalar_relativistic().to_upf())
    mesh = f"K_POINTS automatic\n{MESH} {MESH} 1 0 0 0\n"
    pw(folder, "scf", "scf", mesh)
    for spin in (1, 2):
        text = f"&INPUTPP\n prefix='aiida', outdir='scf/out', filplot='v{spin}', plot_num=1, spin_component={spin}\n/\n"
        (folder / f"pp{spin}.in").write_text(text)
        program(folder, "pp.x", "-in", f"pp{spin}.in")
    nscf(folder, "irreducible", mesh)


def run_wannier(folder, pseudopotentials):
    """One of each pair k and -k, Wannier functions of both spins, and the model."""
    points = np.array([(i / MESH, j / MESH, 0) for i in range(MESH) for j in range(MESH)])
    kept = reduced(points).kept

    def lines(chosen, end=""):
        return "\n".join(" ".join(map(str, point)) + end for point in chosen)

    nscf(folder, "pairs", f"K_POINTS crystal\n{len(kept)}\n{lines(points[kept], ' 1')}\n", "nosym=.true., noinv=.true.")
    save = SaveFolder.read(folder / "pairs" / "out" / "aiida.save")
    for spin in ("up", "down"):
        text = WANNIER.format(bands=BANDS, frozen=save.fermi_energy + 0.5, mesh=MESH, points=lines(points))
        (folder / f"{spin}.win").write_text(text)
        program(folder, "wannier90.x", "-pp", spin)
        write_overlaps(OverlapsSpec(save.folder, folder / f"{spin}.nnkp", spin), folder / spin)
        (folder / f"{spin}.win").write_text(text + "write_u_matrices = true\n")
        program(folder, "wannier90.x", spin)
    spec = BuildSpec(save.folder, folder / "up", folder / "down", pseudopotentials, moments=(0.1, 1.9))
    build(spec).save(folder / "model.h5")


@contextlib.contextmanager
def only_one(path):
    """Of all workers of pytest-xdist."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory, upf_folder, worker_id):
    """The film by pw.x and pp.x, once for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "tiny-film"
    pseudopotentials = {name: upf_folder / f"{name}.UPF" for name in ("H", "P")}
    finished = folder / "finished"
    with only_one(folder.parent / "tiny-film.lock"):
        if not finished.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            run_pw(folder, pseudopotentials)
            finished.touch()
    return TinyFilm(
        folder=folder,
        pseudopotentials=pseudopotentials,
        irreducible=folder / "irreducible" / "out" / "aiida.save",
        pairs=folder / "pairs" / "out" / "aiida.save",
        potentials=(folder / "v1", folder / "v2"),
        model=folder / "model.h5",
    )


@pytest.fixture(scope="session")
def tiny_model(tiny):
    """Its model, whose file `tiny.model` is."""
    with only_one(tiny.folder / "model.lock"):
        if not tiny.model.exists():
            shutil.rmtree(tiny.folder / "pairs", ignore_errors=True)
            run_wannier(tiny.folder, tiny.pseudopotentials)
    return WannierModel.load(tiny.model)


@pytest.fixture(scope="session")
def tiny_completeness(tiny, tiny_model, tmp_path_factory):
    """A completeness file of it."""
    folder = tmp_path_factory.mktemp("completeness")
    path = folder / "completeness.nc"
    save_completeness(complete(CompletenessSpec.from_mapping(tiny.spec(temperatures=[3000.0]), folder)), path)
    return path
