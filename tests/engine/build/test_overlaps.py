"""dmi-engine overlaps against pw2wannier90.x on the prototype's run: Co/Pt(111) 1+1.

pw2wannier90.x up to 7.1 normalises the trial functions at each k as dmi-engine does; from 7.2 on it does not, and .amn
then differs by the norms (0.85 to 1.24 here).
"""

import json
import re
import shutil
import struct

import numpy as np
import pytest

from aiida_dmi.engine import compute
from aiida_dmi.engine.build import build
from aiida_dmi.engine.build.overlaps import SUFFIXES
from aiida_dmi.engine.build.quantum_espresso import SaveFolder
from aiida_dmi.engine.build.wannier90 import Channel
from aiida_dmi.engine.processes.console import COMPLETE
from aiida_dmi.engine.run.cli import main

SEEDS = {"up": "up", "down": "dn"}


def numbers(path, header_lines):
    text = path.read_text().split("\n", header_lines)[-1]
    return np.array(text.split(), dtype=float)


@pytest.fixture
def overlaps(prototype, tmp_path, capsys):
    """Run the command in tmp_path: overlaps(**changes of the spec) gives exit status, output and error."""

    def run(**changes):
        folder = prototype[0]
        spec = {"nscf": folder / "out" / "x.save", "nnkp": folder / "up.nnkp", "spin": "up"} | changes
        (tmp_path / "spec.yaml").write_text("".join(f"{key}: {value}\n" for key, value in spec.items()))
        capsys.readouterr()
        status = main(["overlaps", str(tmp_path / "spec.yaml")])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture(scope="module")
def written(prototype, tmp_path_factory):
    """Both spins' files under the prototype's names, by the command line."""
    source, folder = prototype[0], tmp_path_factory.mktemp("overlaps")
    for spin, seed in SEEDS.items():
        spec = folder / f"{spin}.yaml"
        spec.write_text(f"nscf: {source / 'out' / 'x.save'}\nnnkp: {source / seed}.nnkp\nspin: {spin}\n")
        assert main(["overlaps", str(spec), "--output", str(folder / seed)]) == 0
    return folder


@pytest.mark.parametrize("seed", SEEDS.values())
@pytest.mark.parametrize(
    ("suffix", "header_lines", "tolerance"), [(".mmn", 1, 1e-10), (".eig", 0, 1e-10), (".amn", 1, 1e-3)]
)
def test_files_are_those_of_pw2wannier90(prototype, written, seed, suffix, header_lines, tolerance):
    """Sizes, indices and numbers. In .amn 6e-5 are left: pw2wannier90.x keeps the five decimals of the atoms."""
    theirs = numbers(prototype[0] / f"{seed}{suffix}", header_lines)
    ours = numbers(written / f"{seed}{suffix}", header_lines)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_same_model_and_tensors(prototype, written, specification, run):
    """wannier90.x and dmi-engine build take the files; every tensor is the same to 1e-3 of D."""
    for seed in SEEDS.values():
        shutil.copy(prototype[0] / f"{seed}.win", written)
        run(written, "wannier90.x", [seed], ranks=1)
    (written / "out").symlink_to(prototype[0] / "out")
    theirs, ours = build(specification(*prototype)), build(specification(written, prototype[1]))
    np.testing.assert_allclose(ours.hamiltonian, theirs.hamiltonian, atol=2e-3)
    assert ours.time_reversal_error < 1e-3
    assert ours.correspondence_error < 0.01
    tensors = [compute(model, 24, temperatures=[1500.0], fermi_level="dft") for model in (theirs, ours)]
    scale = float(np.abs(tensors[0].D).max())
    assert scale > 5
    for name in ("D", "D_1", "Q", "a_I", "a_II"):
        expected, found = (tensor[name].values.squeeze() for tensor in tensors)
        np.testing.assert_allclose(found, expected, atol=1e-3 * scale, err_msg=name)


PROJECTIONS = """num_wann=7
begin projections
Pt:l=3,mr=2,6:zona=1.5
Co:l=-5,mr=1,5:z=1,0,1:x=0,1,0
f=0.1,0.2,0.45:l=-3,mr=2:r=2
Co:l=2,mr=4:r=3:x=1,1,0
f=0.3,0.0,0.55:l=-1,mr=1
end projections
"""


def test_other_projections_are_those_of_pw2wannier90(prototype, tmp_path, run, overlaps):
    """F functions, hybrids, own axes, sites off the atoms, other radial functions and lengths.

    Off the atoms r = 1 agrees to 1e-6. Near the end of pw2wannier90.x's radial mesh its points are 0.25/zona apart,
    which shows for r = 2 (2e-4) and r = 3 (2e-3), the functions that are not small there.
    """
    text = re.sub(r"begin projections.*?end projections\n", "", (prototype[0] / "up.win").read_text(), flags=re.S)
    (tmp_path / "up.win").write_text(text.replace("num_wann=18\n", PROJECTIONS))
    run(tmp_path, "wannier90.x", ["-pp", "up"], ranks=1)
    shutil.copytree(prototype[0] / "out", tmp_path / "out")
    shutil.copy(prototype[0] / "pw2wan_up.in", tmp_path)
    inputs = (tmp_path / "pw2wan_up.in").read_text().replace("write_mmn=.true.", "write_mmn=.false.")
    (tmp_path / "pw2wan_up.in").write_text(inputs)
    run(tmp_path, "pw2wannier90.x", ["-in", "pw2wan_up.in"])
    assert overlaps(nnkp="up.nnkp", seedname="ours")[0] == 0
    theirs, ours = (numbers(tmp_path / f"{seed}.amn", 2).reshape(36, 7, 32, 5) for seed in ("up", "ours"))
    difference = np.abs(ours - theirs).max(axis=(0, 2, 3))
    assert difference[:4].max() < 2e-4
    assert difference[4] < 1e-3
    assert difference[5] < 3e-3
    assert difference[6] < 2e-6


def test_what_is_said(written, overlaps, tmp_path):
    """Progress, summary and completion; the summary's singular value is that of the .amn file."""
    status, output, error = overlaps()
    assert status == 0
    assert output.splitlines()[-1] == COMPLETE
    assert "36/36 k" in error
    assert {path.name for path in tmp_path.iterdir()} == {"spec.yaml", *(f"aiida{suffix}" for suffix in SUFFIXES)}
    summary = json.loads((tmp_path / "aiida.overlaps.json").read_text())
    assert [summary[key] for key in ("bands", "kpoints", "functions", "neighbours")] == [32, 36, 18, 8]
    rows = numbers(written / "up.amn", 2).reshape(36, 18, 32, 5)
    smallest = np.linalg.svd(rows[..., 3] + 1j * rows[..., 4], compute_uv=False).min(axis=1)
    assert summary["smallest_singular_value"] == pytest.approx(smallest.min(), abs=1e-10)
    assert summary["smallest_at"] == pytest.approx(rows_to_kpoint(smallest.argmin()), abs=1e-8)


def rows_to_kpoint(k):
    """The prototype's list: 6x6, the second coordinate fastest."""
    return [k // 6 / 6, k % 6 / 6, 0.0]


def test_little_memory_changes_nothing_but_the_time(written, overlaps, tmp_path):
    """Two k points at once: every other is read again."""
    assert overlaps(memory_limit=1)[0] == 0
    for suffix in SUFFIXES[:3]:
        assert (tmp_path / f"aiida{suffix}").read_bytes() == (written / f"up{suffix}").read_bytes()


def test_fewer_bands_hold_less_of_the_trial_functions(prototype, written, overlaps, tmp_path):
    """Bands 9 to 26 for 18 functions: the excluded ones leave every file, and a singular value falls."""
    excluded = [*range(1, 9), *range(27, 41)]
    listed = "\n".join(map(str, [len(excluded), *excluded]))
    text = (prototype[0] / "up.nnkp").read_text()
    text = re.sub(r"begin exclude_bands.*?end", f"begin exclude_bands\n{listed}\nend", text, flags=re.S)
    (tmp_path / "few.nnkp").write_text(text)
    assert overlaps(nnkp="few.nnkp")[0] == 0
    few = json.loads((tmp_path / "aiida.overlaps.json").read_text())
    all_bands = json.loads((written / "up.overlaps.json").read_text())
    assert few["bands"] == 18
    assert few["smallest_singular_value"] < 0.5 * all_bands["smallest_singular_value"]
    kept = numbers(written / "up.mmn", 2).reshape(288, -1)[:, 5:].reshape(288, 32, 32, 2)[:, :18, :18]
    found = numbers(tmp_path / "aiida.mmn", 2).reshape(288, -1)[:, 5:].reshape(288, 18, 18, 2)
    np.testing.assert_array_equal(found, kept)


def test_degenerate_states_are_not_parted(prototype, overlaps, tmp_path, run):
    """Of two states of one energy at Gamma the first alone is kept: neither is taken, and H(-q) = H(q)* holds.

    Half of such a pair is an arbitrary state: with its projections time reversal is off by 0.05 eV.
    """
    save = SaveFolder.read(prototype[0] / "out" / "x.save")
    at_gamma = np.diff(save.energies[0, 0])
    last = 8 + 28 + int(at_gamma[8 + 28 - 1 : 38].argmin())
    assert at_gamma[last - 1] < 1e-6
    text = (prototype[0] / "up.win").read_text().replace("num_bands=32", f"num_bands={last - 8}")
    (tmp_path / "aiida.win").write_text(text.replace("exclude_bands=1-8", f"exclude_bands=1-8,{last + 1}-40"))
    run(tmp_path, "wannier90.x", ["-pp", "aiida"], ranks=1)
    assert overlaps(nnkp="aiida.nnkp")[0] == 0
    run(tmp_path, "wannier90.x", ["aiida"], ranks=1)
    channel = Channel.read(tmp_path / "aiida")
    numbers_of = np.rint(6 * channel.kpoints[:, :2]).astype(int)
    opposite = (-numbers_of % 6) @ [6, 1]
    hamiltonian = channel.hamiltonian()
    assert np.abs(hamiltonian[opposite] - hamiltonian.conj()).max() < 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spin": "sideways"}, "spin: 'sideways' was given, expected one of up, down"),
        ({"memory_limit": 0}, "memory_limit: 0 was given"),
        ({"memory_limit": "true"}, "memory_limit: True was given"),
        ({"nscf": "[1]"}, "nscf: [1] was given, expected a path"),
        (
            {"seed": "x"},
            "seed: unknown key; expected nscf, nnkp, spin, operations, trial_functions, pseudos, memory_limit, "
            "seedname",
        ),
        ({"seedname": 3}, "seedname: 3 was given, expected a path"),
        ({"seedname": "none/aiida"}, "none does not exist"),
        ({"nnkp": "nothing.nnkp"}, "nothing.nnkp cannot be read"),
        ({"nscf": "nothing.save"}, "give pw.x's .save folder"),
    ],
)
def test_bad_spec_is_refused(overlaps, tmp_path, changes, message):
    refused(overlaps(**changes), message, tmp_path)


def refused(result, message, folder):
    status, output, error = result
    last = error.splitlines()[-1]
    assert status == 2
    assert output == ""
    assert last.startswith("dmi-engine: ")
    assert message in last
    assert not [path for path in folder.iterdir() if "aiida" in path.name]


def test_missing_key_is_named(prototype, tmp_path, capsys):
    (tmp_path / "spec.yaml").write_text("nscf: x.save\nspin: up\n")
    assert main(["overlaps", str(tmp_path / "spec.yaml")]) == 2
    assert "nnkp: missing; dmi-engine overlaps needs it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("12.2632131", "12.2633131", "its cell differs from the nscf's by 1.0e-04 Angstrom"),
        ("    0.00000000    0.16666667    0.00000000\n", "    0.16666667    0.00000000    0.00000000\n", "same order"),
        ("   8\n   1\n", "   8\n  41\n", "excludes band 41, the nscf has 40"),
        (
            "   8\n   1\n",
            "  23\n" + "".join(f"  {n}\n" for n in range(26, 41)) + "   1\n",
            "18 projections for 17 bands",
        ),
    ],
)
def test_nnkp_of_another_run_is_refused(prototype, overlaps, tmp_path, old, new, message):
    text = (prototype[0] / "up.nnkp").read_text()
    assert text.count(old) == 1
    (tmp_path / "other.nnkp").write_text(text.replace(old, new))
    refused(overlaps(nnkp="other.nnkp"), message, tmp_path)


def test_another_number_of_kpoints_is_refused(prototype, run, overlaps, tmp_path):
    text = (prototype[0] / "up.win").read_text().replace("mp_grid=6 6 1", "mp_grid=3 6 1")
    head, _, points = text.partition("begin kpoints\n")
    (tmp_path / "half.win").write_text(
        f"{head}begin kpoints\n" + "".join(line for line in points.splitlines(True) if line.split()[0] not in ODD)
    )
    run(tmp_path, "wannier90.x", ["-pp", "half"], ranks=1)
    refused(overlaps(nnkp="half.nnkp"), "18 k points, the nscf has 36", tmp_path)


ODD = ("0.166666666667", "0.500000000000", "0.833333333333")


def test_damaged_wave_functions_are_refused(prototype, overlaps, tmp_path):
    """Truncated, and with one coefficient changed (like augmented states it is not normalised)."""
    save = tmp_path / "x.save"
    shutil.copytree(prototype[0] / "out" / "x.save", save)
    path = save / "wfcup30.dat"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    refused(overlaps(nscf="x.save"), "wfcup30.dat cannot be read", tmp_path)
    # Doubles stand at the end of the file in the last band's record.
    path.write_bytes(content[:-20] + struct.pack("<d", 0.5) + content[-12:])
    refused(overlaps(nscf="x.save"), "norm-conserving", tmp_path)
    path.unlink()
    refused(overlaps(nscf="x.save"), "wfcup30.dat is missing", tmp_path)
