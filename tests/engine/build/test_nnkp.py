"""The .nnkp reader on a file of wannier90.x itself, and on the same file spoilt."""

import re
import shutil

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.build.nnkp import Nnkp


@pytest.fixture(scope="module")
def text(tmp_path_factory, data_folder, run):
    """What `wannier90.x -pp` makes of the prototype's input."""
    folder = tmp_path_factory.mktemp("nnkp")
    shutil.copy(data_folder / "prototype" / "up.win", folder)
    run(folder, "wannier90.x", ["-pp", "up"], ranks=1)
    return (folder / "up.nnkp").read_text()


def test_content(text, tmp_path):
    path = tmp_path / "up.nnkp"
    path.write_text(text)
    nnkp = Nnkp.read(path)
    np.testing.assert_allclose(nnkp.cell[1], [1.3859292911, 2.4004999479, 0], atol=1e-7)
    np.testing.assert_allclose(nnkp.kpoints[7], [1 / 6, 1 / 6, 0], atol=1e-8)
    assert [(f.ell, f.mr) for f in nnkp.functions[:9]] == [(el, m) for el in range(3) for m in range(1, 2 * el + 2)]
    assert {f.centre for f in nnkp.functions} == {(0.66667, 0.66667, 0.40772), (0.0, 0.0, 0.57434)}
    assert nnkp.excluded == tuple(range(8))
    vectors = nnkp.kpoints[nnkp.neighbours] + nnkp.shifts - nnkp.kpoints[:, None]
    # Six neighbours in the plane, two along the film's normal, of each k point.
    np.testing.assert_allclose(sorted(np.abs(vectors).max(axis=-1)[17]), [1 / 6] * 6 + [1.0] * 2, atol=1e-7)


def block(name, body):
    """Exchange a whole block."""
    return lambda text: re.sub(rf"begin {name}\n.*?end {name}", f"begin {name}\n{body}\nend {name}", text, flags=re.S)


SPOILT = [
    (lambda text: text[: len(text) // 2], "block nnkpts is missing or has no end"),
    (lambda text: "", "block kpoints is missing"),
    (lambda text: text.replace("begin real_lattice", "begin lattice"), "block real_lattice is missing"),
    (lambda text: text.replace("   0.0000000   0.0000000  12.2632131\n", ""), "real_lattice is not 3 rows"),
    (lambda text: text.replace("12.2632131", "nan"), "real_lattice holds numbers that are not finite"),
    (lambda text: text.replace("12.2632131", "*********"), "real_lattice holds what is not a number"),
    (lambda text: text.replace("begin kpoints\n    36", "begin kpoints\n    35"), "kpoints is not 35 rows"),
    (lambda text: text.replace("begin kpoints\n    36", "begin kpoints\n    -36"), "does not start with a number"),
    (block("kpoints", "0"), "no k points"),
    (block("projections", "0"), "block projections is empty"),
    (block("projections", "1\n 0 0 0 2 1 1"), "projections is not 1 rows of 7"),
    (block("projections", "1\n 0 0 0 2 1.5 1\n 0 0 1 1 0 0 1"), "no whole number"),
    (block("projections", "1\n 0 0 0 2 6 1\n 0 0 1 1 0 0 1"), "mr = 6 was given for l = 2"),
    (block("projections", "1\n 0 0 0 2 1 1\n 0 0 1 1 0 1 1"), "not orthogonal"),
    (block("exclude_bands", "2\n 1"), "exclude_bands is not 2 rows"),
    (block("exclude_bands", "1\n 0"), "names band 0"),
    (lambda text: text.replace("     1     2      0   0   0\n", "", 1), "nnkpts is not 288 rows"),
    (lambda text: text.replace("     1     2      0   0   0\n", "     1    37      0   0   0\n", 1), "none of the 36"),
    (lambda text: text.replace("     1     2      0   0   0\n", "     2     2      0   0   0\n", 1), "in order"),
    (lambda text: text.replace("     1     2      0   0   0\n", "     1     2      1e30 0 0\n", 1), "not below 1e"),
    (lambda text: text + "begin auto_projections\n 18\n 0\nend auto_projections\n", "auto_projections"),
    (lambda text: text + "begin spinor_projections\n 0\nend spinor_projections\n", "spinor_projections"),
]


@pytest.mark.parametrize(("spoil", "message"), SPOILT, ids=[message for _, message in SPOILT])
def test_spoilt_file_is_refused_in_one_line(spoil, message, text, tmp_path):
    path = tmp_path / "up.nnkp"
    path.write_text(spoil(text))
    assert path.read_text() != text
    with pytest.raises(InputError, match=message) as refusal:
        Nnkp.read(path)
    assert str(refusal.value).startswith(f"nnkp: {path}")
    assert "\n" not in str(refusal.value)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read .*run wannier90\.x -pp first"):
        Nnkp.read(tmp_path / "up.nnkp")
