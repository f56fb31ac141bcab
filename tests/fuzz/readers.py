"""What is fuzzed: each reader of a file with what is done first with its content, and the valid files to damage.

`seeds` is the folder that seeds.py made. A reader takes the path of a damaged file; it returns, or raises what it is
documented to raise. What else happens is a defect.
"""

import contextlib
import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
import numpy as np

from aiida_dmi.cli.inputs import load_overrides
from aiida_dmi.engine import WannierModel
from aiida_dmi.engine.build import BuildSpec, Pseudopotential
from aiida_dmi.engine.build.completed import completed
from aiida_dmi.engine.build.nnkp import Nnkp
from aiida_dmi.engine.build.orbitals import projected_shells
from aiida_dmi.engine.build.overlaps import OverlapsSpec, write_overlaps
from aiida_dmi.engine.build.quantum_espresso import SaveFolder
from aiida_dmi.engine.build.virtual_crystal import virtual_crystal
from aiida_dmi.engine.build.wannier90 import Channel, Gradient
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.files.checkpoint import Checkpoint
from aiida_dmi.engine.files.regular import check_inputs, path_of
from aiida_dmi.engine.output.results import load_result, tensors_of
from aiida_dmi.engine.run.spec import RunSpec, load_spec
from aiida_dmi.parsers.overlaps import read_summary
from aiida_dmi.parsers.wannier90 import find_error, parse_bands, parse_wout
from aiida_dmi.screening.spec import read_spec
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.description import film_in_words
from aiida_dmi.structures.files import read_structure
from aiida_dmi.structures.intake import take_in
from aiida_dmi.workflows.protocols.utils import load_protocol

REFUSALS = (InputError,)


@dataclasses.dataclass(frozen=True)
class Reader:
    """One reader.

    kind: 'text', 'bytes' or 'hdf5', what its file is damaged as.
    prepare: from the seeds and an empty folder, the path of the file to damage there; what else the reader needs is
    beside it.
    read: from that path.
    refusals: documented exceptions.
    """

    kind: str
    prepare: Callable[[Path, Path], Path]
    read: Callable[[Path], object]
    refusals: tuple[type[Exception], ...] = REFUSALS


def alone(name):
    """The damaged file is all that the reader reads."""
    return lambda seeds, folder: Path(shutil.copy(seeds / name, folder))


def beside(name):
    """The damaged file lies among the others of the run."""
    return lambda seeds, folder: Path(shutil.copytree(seeds, folder / "run")) / name


# -- pw.x and pseudopotentials -------------------------------------------------------------------------


def upf(path):
    pseudo = Pseudopotential.read(path)
    for use in (pseudo.semicore_bands, pseudo.spin_orbit, pseudo.scalar_relativistic, lambda: virtual(pseudo, path)):
        with contextlib.suppress(InputError):
            use()
    Pseudopotential.from_text(pseudo.to_upf())


def virtual(pseudo, path):
    return virtual_crystal(pseudo, Pseudopotential.read(path.parent / "whole.UPF"), 0.5)


def upf_and_whole(seeds, folder):
    shutil.copy(seeds / "short.UPF", folder / "whole.UPF")
    return alone("short.UPF")(seeds, folder)


MESH = np.array([[0, 0, 0], [0, 0.5, 0], [0.5, 0, 0], [0.5, 0.5, 0]])


def schema(path):
    save = completed(SaveFolder.read(path.parent), MESH, "nnkp")
    save.check_wave_functions()
    return save.wave_functions(0, 0)


def wave_functions(path):
    return SaveFolder.read(path.parent).wave_functions(0, 0)


def hdf5_wave_functions(seeds, folder):
    shutil.copy(seeds / "x.save" / "data-file-schema.xml", folder)
    return alone("wfcup1.hdf5")(seeds, folder)


# -- wannier90 -----------------------------------------------------------------------------------------


def nnkp(path):
    Nnkp.read(path)
    return write_overlaps(OverlapsSpec(path.parent / "x.save", path, "up"), path.parent / "written")


BOHR = 0.529177210544
CELL = np.diag([4.0, 5.0, 9.0]) * BOHR


def channel(path):
    found = Channel.read(path.parent / "up")
    projected_shells((path.parent / "up.win").read_text(errors="replace"), ["Be"])
    found.hamiltonian()
    return Gradient.of(found, CELL)


def wout_of_parser(path):
    lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
    find_error(lines, "up")
    return json.dumps(parse_wout(lines), allow_nan=False)


def bands(path):
    files = (path.parent / f"up_band{suffix}" for suffix in (".dat", ".kpt", ".labelinfo.dat"))
    kpoints, energies, labels = parse_bands(*(file.read_text(errors="replace").splitlines() for file in files))
    assert energies.shape[0] == len(kpoints)
    return labels


# -- specs ---------------------------------------------------------------------------------------------


class ReachedError(Exception):
    """The whole spec was taken; what would follow is the computation."""


def overlaps_spec(path):
    content = load_spec(path)
    check_inputs(OverlapsSpec.from_mapping(content, path.parent).input_files())
    return path_of("seedname", path.parent, content.get("seedname", "aiida"))


def build_spec(path):
    content = load_spec(path)
    check_inputs(BuildSpec.from_mapping(content, path.parent).input_files())
    return path_of("output", path.parent, content.get("output", "model.h5"))


def run_spec(path):
    """All that `dmi-engine run` does before the first k point: every key and value, of the sections too."""
    driver = import_module("aiida_dmi.engine.run.compute")

    def stop(*_):
        raise ReachedError

    prepare, driver.Kernel.prepare = driver.Kernel.prepare, stop
    try:
        spec = RunSpec.read(path)
        with spec.sole_writer():
            model = spec.load_model()
            spec.check(model)
            driver.compute(model, checkpoint=spec.checkpoint, **spec.axes, **spec.running)
    except ReachedError:
        return
    finally:
        driver.Kernel.prepare = prepare


def overrides(path):
    """From the file to the inputs of a protocol, each value checked."""
    return load_protocol("balanced", load_overrides(str(path), ()), 40.0)


# -- the table -----------------------------------------------------------------------------------------


def checkpoint(path):
    return Checkpoint(path, "key").load("4x4")


def result(path):
    """With what DmiData reads of it."""
    found = load_result(path)
    units = [found[name].attrs["units"] for name in tensors_of(found)]
    return units, [int(m) for m in found.attrs["mesh"]], [str(x) for x in found.direction.values]


def film(path):
    """A structure file, as far as nothing of it is stored."""
    content = read_structure(str(path))
    taken = take_in(content.atoms, Choices(moments=content.moments or None))
    return film_in_words(taken.film), taken.film.record()


READERS = {
    "UPF": Reader("text", upf_and_whole, upf),
    "data-file-schema.xml": Reader("text", beside("x.save/data-file-schema.xml"), schema),
    "wfcup1.dat": Reader("bytes", beside("x.save/wfcup1.dat"), wave_functions),
    "wfcup1.hdf5": Reader("hdf5", hdf5_wave_functions, wave_functions),
    "nnkp": Reader("text", beside("up.nnkp"), nnkp),
    "win": Reader("text", beside("up.win"), channel),
    "wout": Reader("text", beside("up.wout"), channel),
    "eig": Reader("text", beside("up.eig"), channel),
    "mmn": Reader("text", beside("up.mmn"), channel),
    "u.mat": Reader("text", beside("up_u.mat"), channel),
    "u_dis.mat": Reader("text", beside("up_u_dis.mat"), channel),
    "wout (AiiDA's parser)": Reader("text", alone("up.wout"), wout_of_parser, ()),
    "band.dat": Reader("text", beside("up_band.dat"), bands, (ValueError,)),
    "band.kpt": Reader("text", beside("up_band.kpt"), bands, (ValueError,)),
    "band.labelinfo.dat": Reader("text", beside("up_band.labelinfo.dat"), bands, (ValueError,)),
    "overlaps.json": Reader("text", alone("up.overlaps.json"), read_summary, (ValueError,)),
    "spec of overlaps": Reader("text", beside("overlaps-up.yaml"), overlaps_spec),
    "spec of build": Reader("text", beside("build.yaml"), build_spec),
    "spec of run": Reader("text", beside("run.yaml"), run_spec),
    "spec of run (Rashba)": Reader("text", beside("rashba.yaml"), run_spec),
    "spec of screen": Reader("text", alone("screen.yaml"), read_spec),
    "overrides": Reader("text", alone("overrides.yaml"), overrides, (click.UsageError, InputError)),
    "film of a cif": Reader("text", alone("slab.cif"), film),
    "film of a POSCAR": Reader("text", alone("POSCAR"), film),
    "film of an xsf": Reader("text", alone("slab.xsf"), film),
    "film of an xyz": Reader("text", alone("slab.xyz"), film),
    "film of a pw.x input": Reader("text", alone("slab.in"), film),
    "model": Reader("hdf5", alone("model.h5"), WannierModel.load),
    "result": Reader("hdf5", alone("result.nc"), result),
    "checkpoint": Reader("bytes", alone("checkpoint"), checkpoint),
}


def check(reader, path):
    """One case: whether the file was taken; an AssertionError where its refusal is not one short line."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            reader.read(path)
    except reader.refusals as refusal:
        said = str(refusal)
        # The command line cuts what it prints; here only what grows without bound is meant.
        assert 0 < len(said) < 20_000, f"a message of {len(said)} characters: {said[:200]}..."
        return False
    return True
