"""Calculation functions on real pseudopotentials and a real result."""

import numpy as np
import pytest
from aiida import orm

from aiida_dmi.calculations import functions
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine import WannierModel, compute, save_result
from aiida_dmi.report.summary import conditions
from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.workflows.wannier_functions import WannierFunctionsWorkChain

pytestmark = pytest.mark.usefixtures("aiida_profile")


@pytest.fixture
def pseudos(pseudo_family):
    return {element: pseudo_family.get_pseudo(element) for element in ("Co", "Pt")}


@pytest.fixture
def kpoints():
    mesh = orm.KpointsData()
    mesh.set_kpoints_mesh([6, 6, 1])
    return mesh


def test_average_is_scalar_and_keeps_the_element(pseudos):
    averaged = functions.scalar_relativistic_average(pseudos["Pt"])
    assert averaged.element == "Pt"
    assert averaged.z_valence == pseudos["Pt"].z_valence
    pseudo = functions.read_pseudo(averaged)
    assert not pseudo.fully_relativistic
    assert [p.j for p in pseudo.projectors] == [None] * 14
    assert averaged.creator.inputs.pseudo.uuid == pseudos["Pt"].uuid


def test_plan_counts_semicore_from_the_pseudopotentials(pseudos):
    settings = orm.Dict({"orbitals": ["s", "p", "d"], "bands_per_function": 1.75, "frozen_window": 3.0})
    plan = functions.plan_wannierisation(co_pt111(1, 1), settings, **pseudos).get_dict()
    assert plan["semicore_bands"] == {"Co": 4, "Pt": 4}
    assert plan["exclude_bands"] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert (plan["num_wann"], plan["num_bands"], plan["nbnd"]) == (18, 32, 44)
    assert plan["projections"] == ["Pt:s;p;d", "Co:s;p;d"]


@pytest.mark.parametrize(
    ("next_band", "top"), [(9.0, 6.687), (5.2, 5.19)], ids=["as asked", "cut where the functions are used up"]
)
def test_wannier90_parameters(pseudos, kpoints, next_band, top):
    """44 bands of which 8 are semicore, 18 functions: band 27 may not come into the frozen window.

    Bands 41 to 44 are spare. At one k point 40 and 41 are a degenerate pair, at another 42 and 43: 41 are kept.
    """
    settings = orm.Dict({"orbitals": ["s", "p", "d"], "bands_per_function": 1.75, "frozen_window": 3.0})
    plan = functions.plan_wannierisation(co_pt111(1, 1), settings, **pseudos)
    base, scf = orm.Dict({"num_iter": 0}), orm.Dict({"fermi_energy": 3.687})
    energies = np.broadcast_to(np.linspace(-60, 4, 44), (2, 36, 44)).copy()
    energies[..., 26:] = np.linspace(10.0, 12.0, 18)
    energies[0, 0, 40] = energies[0, 0, 39]
    energies[1, 3, 42] = energies[1, 3, 41]
    energies[1, 3, 43] = energies[1, 3, 42] + 0.01
    energies[1, 5, 26] = next_band
    bands = orm.BandsData()
    bands.set_kpoints(np.zeros((36, 3)))
    bands.set_bands(energies, units="eV")
    parameters = functions.wannier90_parameters(base, settings, plan, scf, kpoints, bands).get_dict()
    assert parameters["dis_froz_max"] == pytest.approx(top)
    assert parameters["num_bands"] == 33
    assert parameters["exclude_bands"] == [*range(1, 9), 42, 43, 44]
    assert parameters["mp_grid"] == [6, 6, 1]
    assert parameters["num_iter"] == 0


def test_more_bands_than_planned_are_kept(pseudos, kpoints):
    """A nscf of 60 bands where 44 are planned: the cut lies among the last four, whatever gaps lie below."""
    settings = orm.Dict({"orbitals": ["s", "p", "d"], "bands_per_function": 1.75, "frozen_window": 3.0})
    plan = functions.plan_wannierisation(co_pt111(1, 1), settings, **pseudos)
    energies = np.broadcast_to(np.arange(60.0), (2, 36, 60)).copy()
    energies[..., 45:] += 10.0
    energies[..., 58:] += 1.0
    bands = orm.BandsData()
    bands.set_kpoints(np.zeros((36, 3)))
    bands.set_bands(energies, units="eV")
    parameters = functions.wannier90_parameters(
        orm.Dict({}), settings, plan, orm.Dict({"fermi_energy": 15.0}), kpoints, bands
    ).get_dict()
    assert parameters["num_bands"] == 58 - 8
    assert parameters["exclude_bands"] == [*range(1, 9), 59, 60]


def test_complete_mesh(kpoints):
    explicit = functions.complete_mesh(kpoints)
    points, weights = explicit.get_kpoints(also_weights=True)
    assert len(points) == 36
    assert points[7] == pytest.approx([1 / 6, 1 / 6, 0])
    assert sum(weights) == pytest.approx(1)


@pytest.mark.parametrize(("symmetries", "count", "operations"), [(6, 7, 6), (12, 7, 6), (1, 20, 1), (3, 20, 1)])
def test_points_that_a_nscf_computes(kpoints, symmetries, count, operations):
    """Of C_3v; of k and -k one where pw.x found less of it in the scf. Weights of the complete mesh."""
    scf = orm.Dict({"number_of_symmetries": symmetries})
    found = functions.irreducible_mesh(functions.complete_mesh(kpoints), co_pt111(1, 1), scf)
    points, weights = found["kpoints"].get_kpoints(also_weights=True)
    assert len(points) == count
    assert sum(weights) == pytest.approx(1)
    own = {tuple(point) for point, weight in zip(points.tolist(), weights, strict=True) if weight < 1.5 / 36}
    assert own == ({(0, 0, 0)} if count == 7 else {(0, 0, 0), (0, 0.5, 0), (0.5, 0, 0), (0.5, 0.5, 0)})
    record = found["symmetry"].get_dict()
    assert (record["points"], record["mesh"], len(record["operations"])) == (count, 36, operations)
    for node in found.values():
        assert node.creator.inputs.kpoints.creator.inputs.kpoints.uuid == kpoints.uuid


def test_points_where_the_scf_says_nothing_of_symmetry(kpoints):
    """As outputs of another code: one of k and -k."""
    found = functions.irreducible_mesh(functions.complete_mesh(kpoints), co_pt111(1, 1), orm.Dict({}))
    assert len(found["kpoints"].get_kpoints()) == 20


@pytest.mark.parametrize(("points", "accepted"), [(20, False), (36, True)])
def test_pw2wannier90_needs_the_complete_run(kpoints, points, accepted):
    """An earlier nscf run on one of k and -k is refused before anything starts, where pw2wannier90.x would read it."""
    bands = orm.BandsData()
    bands.set_kpoints(np.zeros((points, 3)))
    inputs = {"nscf_folder": orm.RemoteData(), "nscf_bands": bands, "kpoints": kpoints}
    for way, fits in (("overlaps", True), ("pw2wannier90", accepted)):
        message = WannierFunctionsWorkChain.validate_inputs({**inputs, way: {"code": None}}, None)
        assert message is None if fits else "of 20 k points, pw2wannier90 needs all 36 of the mesh" in message


def test_headline_units(model_file, tmp_path):
    result = compute(WannierModel.load(model_file), 6, temperatures=[1500.0], soi_scales=[0.5, 1.0])
    save_result(result, tmp_path / "result.nc")
    node = DmiData(tmp_path / "result.nc")
    scf = orm.Dict({"fermi_energy": 3.687, "total_magnetization": 2.57, "absolute_magnetization": 2.8})
    summary = functions.headline(node, scf, orm.Float(2.0)).get_dict()
    value = summary["values"]["D_yx"]
    expected = result.D.sel(i="y", j="x", soi_scale=1.0).item()
    assert value["meV_angstrom"] == pytest.approx(expected)
    # 1 meV/Angstrom = 1.602177 pJ/m; divided by 2 Angstrom: 1 pJ/m / 2e-10 m = 5 mJ/m^2.
    assert value["pJ_per_m"] == pytest.approx(expected / 6.653846382 * 1.602176634, rel=1e-8)
    assert value["mJ_per_m2"] == pytest.approx(value["pJ_per_m"] * 5, rel=1e-12)
    # Six points a side do not resolve kT: the database takes no NaN.
    assert np.isnan(result.D_error.sel(i="y", j="x", soi_scale=1.0).item())
    assert value["meV_angstrom_error"] is None
    assert summary["total_magnetization_bohr"] == 2.57
    assert "mJ_per_m2" not in functions.headline(node).get_dict()["values"]["D_yx"]


def test_headline_where_nothing_of_first_order_is_left(model_file, tmp_path):
    """Without any spin-orbit interaction D(1) is 0 and the closure no number, which the database could not hold."""
    result = compute(WannierModel.load(model_file), 2, soi_masks={"none": [0.0, 0.0]})
    assert np.isnan(result.closure).all()
    save_result(result, tmp_path / "result.nc")
    numbers = functions.headline(DmiData((tmp_path / "result.nc").absolute()))
    assert numbers.is_stored
    assert numbers["closure"] is None
    assert ("closure |D(1) + Q(1)|/|D(1)|", "none, D(1) is 0") in conditions(numbers.get_dict())
