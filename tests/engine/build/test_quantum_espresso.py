"""pw.x's save folder: a small one read back, numbers that are none refused with the section's name."""

import numpy as np
import pytest

from aiida_dmi.engine import InputError
from aiida_dmi.engine.build import BuildSpec, build
from aiida_dmi.engine.build.quantum_espresso import SaveFolder
from aiida_dmi.engine.constants import HARTREE_EV

SCHEMA = """<?xml version="1.0"?>
<espresso><output>
  <magnetization><lsda>true</lsda><noncolin>false</noncolin></magnetization>
  <atomic_structure alat="5.0">
    <atomic_positions><atom name="Co">0.5 1.5 2.5</atom><atom name="Pt">0.0 0.0 0.0</atom></atomic_positions>
    <cell><a1>5.0 0.0 0.0</a1><a2>0.0 5.0 0.0</a2><a3>0.0 0.0 20.0</a3></cell>
  </atomic_structure>
  <band_structure>
    <nelec>27.0</nelec><fermi_energy>0.125</fermi_energy>
    <ks_energies><k_point>0.0 0.0 0.0</k_point><eigenvalues>-0.5 0.25 -0.375 0.75</eigenvalues></ks_energies>
    <ks_energies><k_point>0.5 0.0 0.0</k_point><eigenvalues>-0.4 0.2 -0.3 0.7</eigenvalues></ks_energies>
  </band_structure>
</output></espresso>
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data-file-schema.xml").write_text(SCHEMA)
    return tmp_path


def test_schema(folder):
    save = SaveFolder.read(folder)
    assert save.species == ("Co", "Pt")
    assert save.electrons == 27
    assert save.fermi_energy == 0.125 * HARTREE_EV
    np.testing.assert_allclose(save.positions, [[0.5, 1.5, 2.5], [0, 0, 0]])
    np.testing.assert_allclose(save.kpoints, [[0, 0, 0], [0.5, 0, 0]], atol=1e-15)
    np.testing.assert_allclose(save.energies[1], HARTREE_EV * np.array([[-0.375, 0.75], [-0.3, 0.7]]))


@pytest.mark.parametrize("value", ["NaN", "Infinity", "****"])
@pytest.mark.parametrize("number", ["2.5", "20.0", "27.0", "0.125", "0.75"])
def test_number_that_is_none(folder, number, value):
    """A diverged run: NaN would pass every `difference > tolerance`."""
    (folder / "data-file-schema.xml").write_text(SCHEMA.replace(number, value, 1))
    with pytest.raises(InputError, match=r"^nscf: .*data-file-schema\.xml"):
        SaveFolder.read(folder)


def test_moments_are_counted_before_any_work(folder):
    for spin in ("up", "dw"):
        for k in (1, 2):
            (folder / f"wfc{spin}{k}.dat").write_text("states")
    spec = BuildSpec(folder, folder / "up", folder / "dn", {}, moments=(1.0, 0.0, 0.0))
    with pytest.raises(InputError, match=r"moments: 3 were given, expected 2.*Co, Pt"):
        build(spec)
