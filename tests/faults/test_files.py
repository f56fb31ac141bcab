"""Damaged files at every stage, a full disk, no permission, no memory: the engine on a real chain of files."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest

from aiida_dmi.engine import WannierModel, load_result
from aiida_dmi.engine.model.file import VERSION
from aiida_dmi.engine.output.results import save_result
from aiida_dmi.engine.run.cli import main

from .conftest import engine, last_line

STAGES = {
    "wave functions": ("x.save/wfcup1.dat", "build"),
    "data-file-schema.xml": ("x.save/data-file-schema.xml", "build"),
    "pseudopotential": ("FR-Be.UPF", "build"),
    ".nnkp": ("up.nnkp", "overlaps"),
    ".eig": ("up.eig", "build"),
    ".mmn": ("up.mmn", "build"),
    "_u.mat": ("up_u.mat", "build"),
    "_u_dis.mat": ("up_u_dis.mat", "build"),
    ".wout": ("up.wout", "build"),
    "model": ("model.h5", "run"),
}
WRITTEN = {"overlaps": ["up.amn", "up.mmn", "up.eig"], "build": ["model.h5"], "run": ["result.nc"]}
SPEC = {"overlaps": "overlaps-up.yaml", "build": "build.yaml", "run": "run.yaml"}
DAMAGE = {
    "empty": lambda content: b"",
    "truncated": lambda content: content[: len(content) * 2 // 3],
    "garbage": lambda content: np.random.default_rng(1).bytes(len(content)),
    "zeros at the end": lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
}


@pytest.fixture(scope="module")
def whole(chain):
    """D of the undamaged chain."""
    return load_result(chain / "result.nc")


@pytest.fixture
def here(copy, monkeypatch, capfd):
    """dmi-engine in the copy's folder, in this process: exit code and standard error."""
    monkeypatch.chdir(copy)

    def run(*words):
        capfd.readouterr()
        code = main(list(words))
        return code, capfd.readouterr().err

    return run


def run_again(folder, whole, here):
    """All steps from the model on; the result is that of the undamaged chain, to the last bit."""
    for command in ("build", "run"):
        code, said = here(command, SPEC[command])
        assert code == 0, said
    assert load_result(folder / "result.nc").identical(whole)


@pytest.mark.parametrize("stage", STAGES)
def test_damaged_file(stage, copy, whole, here, note):
    name, command = STAGES[stage]
    content = (copy / name).read_bytes()
    seen = {}
    for kind, damage in DAMAGE.items():
        for written in WRITTEN[command]:
            if written != name:
                (copy / written).unlink(missing_ok=True)
        (copy / name).write_bytes(damage(content))
        code, said = here(command, SPEC[command])
        seen[kind] = last_line(said)
        assert code == 2, (kind, seen[kind])
        assert seen[kind].startswith("dmi-engine: ")
        assert os.path.basename(name).rsplit(".", 1)[0] in seen[kind]
        assert not any((copy / written).exists() for written in WRITTEN[command] if written != name), kind
        assert not list(copy.glob(".*.part"))
    (copy / name).write_bytes(content)
    if command == "overlaps":
        assert here(command, SPEC[command])[0] == 0
    run_again(copy, whole, here)
    said = seen["truncated"]
    note(f"{stage}: {', '.join(DAMAGE)}", f"exit 2, `{said}`", "-", "nothing was written; with the file, the same bits")


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_result_is_none(kind, copy, note):
    path = copy / "result.nc"
    path.write_bytes(DAMAGE[kind](path.read_bytes()))
    with pytest.raises(ValueError, match=r"result\.nc"):
        load_result(path)
    if kind == "truncated":
        note("result: " + ", ".join(DAMAGE), "`result ...: not a readable netCDF file`", "-", "refused")


def test_damaged_amn(copy, note):
    """wannier90.x reads it: it must not end as if it were done."""
    path = copy / "up.amn"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (copy / "up.wout").unlink()
    subprocess.run(["wannier90.x", "up"], cwd=copy, capture_output=True, timeout=100, check=False)
    (copy / "model.h5").unlink()
    code, said = engine(copy, "build", "build.yaml")
    assert code == 2
    assert "up.wout" in last_line(said)
    assert not (copy / "model.h5").exists()
    note(".amn: truncated", f"`{last_line(said)}`", "-", "no model is built")


def test_other_versions(copy, whole, note):
    """A file of a later version is refused by its number."""
    import h5py

    with h5py.File(copy / "model.h5", "r+") as file:
        file.attrs["version"] = VERSION + 1
    code, said = engine(copy, "run", "run.yaml")
    assert code == 2
    assert f"version {VERSION + 1} was given" in last_line(said)
    with pytest.raises(ValueError, match="dmi-engine build"):
        WannierModel.load(copy / "model.h5")
    save_result(whole.assign_attrs(version=99), copy / "result.nc")
    with pytest.raises(ValueError, match="version 99 was given"):
        load_result(copy / "result.nc")
    note("model, result: of a later version", f"exit 2, `{last_line(said)}`", "-", "refused")


SMALL_MEMORY = """
import resource, sys
from aiida_dmi.engine import compute, further
from aiida_dmi.engine.run.cli import main

used = 1024 * next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, used + 2**26))
sys.exit(main())
"""
"""dmi-engine, which may take 64 MiB beyond what its libraries do."""

# -- disk, permission, memory --------------------------------------------------------------------------

LONG_RUN = "model: model.h5\nmesh: 64\nsoi_scales: [1.0]\nfermi_shifts: [0.0]\nfermi_level: dft\noutput: {output}\n"


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a disk to fill cannot be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder, leave):
    """All but `leave` bytes of what is free."""
    free = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - leave)))


def test_full_scratch(copy, small_disk, whole, eager, note):
    """The checkpoint fits, the result does not."""
    spec = copy / "long.yaml"
    spec.write_text(LONG_RUN.format(output=small_disk / "result.nc"))
    (copy / "reference.yaml").write_text(LONG_RUN.format(output="reference.nc"))
    assert engine(copy, "run", "reference.yaml")[0] == 0
    fill(small_disk, leave=8192)
    code, said = engine(copy, "run", "long.yaml", program=eager)
    assert code == 1
    assert "make room" in last_line(said)
    assert not (small_disk / "result.nc").exists()
    (small_disk / "filler").unlink()
    assert engine(copy, "run", "long.yaml")[0] == 0
    assert load_result(small_disk / "result.nc").identical(load_result(copy / "reference.nc"))
    assert [p.name for p in small_disk.iterdir()] == ["result.nc"]
    note("disk full in scratch", f"exit 1, `{last_line(said)}`", "-", "the same bits")


def test_no_permission(copy, chain, note):
    """Root obeys permissions once it has laid down its capabilities."""
    prefix = []
    if os.geteuid() == 0:
        prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
            pytest.skip("setpriv cannot lay down capabilities here")
    (copy / "result.nc").unlink()
    copy.chmod(0o500)
    try:
        code, said = engine(copy, "run", "run.yaml", prefix=prefix)
    finally:
        copy.chmod(0o700)
    assert code == 2
    assert "name a file in a folder of yours" in last_line(said)
    (copy / "model.h5").chmod(0)
    code, unreadable = engine(copy, "run", "run.yaml", prefix=prefix)
    assert code == 2
    assert "model.h5" in last_line(unreadable)
    assert "Permission denied" in unreadable
    assert not (copy / "result.nc").exists()
    note("permission denied", f"exit 2, `{last_line(said)}`", "-", "nothing was written")


@pytest.mark.parametrize("mesh", ["[30000, 30000]"])
def test_out_of_memory(mesh, copy, whole, here, note):
    """The address space ends in the list of k points."""
    (copy / "result.nc").unlink()
    spec = copy / "run.yaml"
    text = spec.read_text()
    spec.write_text(text.replace("memory_limit: 1000000", "memory_limit: 8000000000").replace("[4, 4]", mesh))
    code, said = engine(copy, "-c", SMALL_MEMORY, "run", "run.yaml", program=sys.executable)
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY
    assert code == 1, said[-2000:]
    assert last_line(said).startswith("dmi-engine stopped: memory: ")
    assert not (copy / "result.nc").exists()
    spec.write_text(text)
    run_again(copy, whole, here)
    note(
        f"out of memory in the response, mesh {mesh}",
        f"exit 1, `{last_line(said)}`",
        "-",
        "with less memory, the same bits",
    )
