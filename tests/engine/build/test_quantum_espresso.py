"""data-file-schema.xml: 7.2's own, what other versions write differently, and what is refused in one line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiida_dmi.engine import InputError
from aiida_dmi.engine.build import BuildSpec, build
from aiida_dmi.engine.build.quantum_espresso import SaveFolder
from aiida_dmi.engine.constants import HARTREE_EV

# Written by pw.x 7.2 for the pw.in beside it; cut down to the header and three sections of the output.
SCHEMA_72 = (Path(__file__).parents[2] / "data" / "hydrogen-film" / "data-file-schema-7.2.xml").read_text()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data-file-schema.xml").write_text(SCHEMA_72)
    return tmp_path


def test_schema(folder):
    save = SaveFolder.read(folder)
    assert save.species == ("H",)
    assert save.electrons == 1
    assert save.fermi_energy == -8.750184885540098e-02 * HARTREE_EV
    np.testing.assert_allclose(save.positions, [[0.4, 1.5, 4.5]])
    np.testing.assert_allclose(save.cell, [[4, 0, 0], [0, 5, 0], [0, 1, 9]])
    np.testing.assert_allclose(save.kpoints, [[0, 0, 0], [0.5, 0.25, 0]], atol=1e-15)
    np.testing.assert_array_equal(save.plane_waves, [129, 130])
    down = [[2.689896021987548e-01, 5.154067641953975e-01, 7.356600576260204e-01]]
    down += [[6.093932468228801e-01, 6.448130857405678e-01, 8.473084910416703e-01]]
    np.testing.assert_allclose(save.energies[1], HARTREE_EV * np.array(down))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        # From 7.4 on (Modules/qes_write_module.f90) these two stand elsewhere, and two_chem is new.
        ("      <num_of_atomic_wfc>1</num_of_atomic_wfc>\n      <wf_collected>true</wf_collected>\n", ""),
        ('nat="1" alat', 'nat="1" num_of_atomic_wfc="1" alat'),
        # Optional since 7.0, by the schema.
        (SCHEMA_72[SCHEMA_72.index("    <magnetization>") : SCHEMA_72.index("    <band_structure>")], ""),
        ("  </output>", "    <two_chem><nbnd_cond>2</nbnd_cond></two_chem>\n  </output>"),
        # Numbers as 6.7 writes them.
        ("-8.750184885540098E-02", "-8.750184885540098e-2"),
    ],
)
def test_schema_of_other_versions(folder, old, new):
    expected = SaveFolder.read(folder)
    assert SCHEMA_72.count(old) == 1
    (folder / "data-file-schema.xml").write_text(SCHEMA_72.replace(old, new))
    found = SaveFolder.read(folder)
    assert found.species == expected.species
    for name in ("cell", "positions", "kpoints", "energies", "plane_waves", "electrons", "fermi_energy"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "****", "1e300", "", "1 2"])
@pytest.mark.parametrize(
    "number",
    ["4.500000000000000E+00", "9.000000000000000E+00", "1.000000000000000E+00</n", "-8.75", "7.356600576260204E-01"],
)
def test_number_that_is_none(folder, number, value):
    """A diverged run: NaN would pass every `difference > tolerance`."""
    end = "</n" if number.endswith("</n") else ""
    text = SCHEMA_72.replace("-8.750184885540098E-02", "-8.75").replace(number, value + end, 1)
    assert text != SCHEMA_72
    (folder / "data-file-schema.xml").write_text(text)
    with pytest.raises(InputError, match=r"^nscf: .*data-file-schema\.xml"):
        SaveFolder.read(folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (' alat="4.0000000000000000"', "", "alat"),
        ('alat="4.0000000000000000"', 'alat="0"', "alat is 0 bohr"),
        ("9.000000000000000E+00</a3>", "0.000000000000000E+00</a3>", "cell spans"),
        ("<nbnd_up>3</nbnd_up>", "<nbnd_up>4</nbnd_up>", "eigenvalues holds 6 numbers, expected 8"),
        ("<nbnd_up>3</nbnd_up>", "", "section nbnd_up is missing"),
        ("ks_energies>", "other>", "1 atoms and 0 k points"),
        ("atom name", "atom label", "name"),
        ("output>", "input>", "section output is missing"),
        ("band_structure>", "bands>", "section band_structure is missing"),
    ],
)
def test_incomplete_schema(folder, old, new, words):
    assert old in SCHEMA_72
    (folder / "data-file-schema.xml").write_text(SCHEMA_72.replace(old, new))
    with pytest.raises(InputError, match=f"is not a complete pw.x output .*{words}.*; run the nscf again"):
        SaveFolder.read(folder)


ANY_TEXT = st.binary(max_size=6) | st.sampled_from([b"9", b"-", b"E+30", b"E-300", b"nan", b" "])


@given(
    changes=st.lists(st.tuples(st.integers(0, 2**20), ANY_TEXT), min_size=1, max_size=4),
)
@settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_changed_bytes(folder, changes):
    """Read, or refused in one line; any other exception fails the test."""
    start = SCHEMA_72.index("<output>")
    content = bytearray(SCHEMA_72.encode())
    for place, value in changes:
        at = start + place % (len(content) - start)
        content[at : at + 1] = value
    (folder / "data-file-schema.xml").write_bytes(content)
    try:
        save = SaveFolder.read(folder)
        numbers = [save.cell, save.kpoints, save.energies, save.positions]
        lines = 1
    except InputError as refusal:
        numbers, lines = [], len(str(refusal).splitlines())
    assert all(np.isfinite(n).all() for n in numbers)
    assert lines == 1


def test_moments_are_counted_before_any_work(folder):
    for spin in ("up", "dw"):
        for k in (1, 2):
            (folder / f"wfc{spin}{k}.dat").write_text("states")
    spec = BuildSpec(folder, folder / "up", folder / "dn", {}, moments=(1.0, 0.0, 0.0))
    with pytest.raises(InputError, match=r"moments: 3 were given, expected 1.*H"):
        build(spec)
