"""From a spec to candidates: which films, in which order, under which keys; and what each is estimated to cost."""

import pytest

from aiida_dmi.cli.pseudopotentials import ensure_pseudo_family
from aiida_dmi.cli.screen import planned
from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.candidates import expand
from aiida_dmi.screening.cost import estimated_cost
from aiida_dmi.screening.inputs import candidate_builder
from aiida_dmi.screening.spec import parse_spec
from aiida_dmi.workflows.layout import model_steps, response_step


def candidates(*systems, **keys):
    return expand(parse_spec({"name": "test", "systems": list(systems), **keys}))


def test_grid_of_magnets_and_substrates():
    found = candidates({"magnets": ["Co", "Fe"], "substrates": ["Pt", "W"], "layers": ["1+1", "1+2"]})
    assert [c.label for c in found] == [
        "Co/Pt(111) 1+1", "Co/Pt(111) 1+2", "Co/W(001) 1+1", "Co/W(001) 1+2",
        "Fe/Pt(111) 1+1", "Fe/Pt(111) 1+2", "Fe/W(001) 1+1", "Fe/W(001) 1+2",
    ]  # fmt: skip
    assert len({c.key for c in found}) == 8
    assert {key: found[3].facts[key] for key in ("magnet", "substrate", "cap", "layers")} == {
        "magnet": "Co",
        "substrate": "W",
        "cap": "",
        "layers": "1+2",
    }


def test_caps_and_surfaces():
    found = candidates({"magnets": ["Co"], "substrates": ["W"], "caps": ["Ir"], "surface": "110", "layers": "2+1+3"})
    assert [c.label for c in found] == ["Ir/Co/W(110) 2+1+3"]
    assert found[0].facts["cap"] == "Ir"
    assert found[0].facts["layers"] == "2+1+3"


def test_virtual_crystals_and_exchanges_of_the_films_that_have_the_layers():
    found = candidates(
        {"film": "Co/Pt(111):2+2"},
        {"film": "Mn/W(001):1+1"},
        dopings=[{"vca": {"Co.1": {"Fe": [0.1, 0.2]}, "Pt.1": {"Ir": 0.1}}}, {"exchange": {"Pt.1": ["Ir", "Au"]}}],
    )
    assert [c.label for c in found] == [
        "Co/Pt(111) 2+2",
        "Co/Pt(111) 2+2, Co.1 = Co0.9Fe0.1, Pt.1 = Pt0.9Ir0.1",
        "Co/Pt(111) 2+2, Co.1 = Co0.8Fe0.2, Pt.1 = Pt0.9Ir0.1",
        "Co/Pt(111) 2+2, Pt.1 = Ir",
        "Co/Pt(111) 2+2, Pt.1 = Au",
        "Mn/W(001) 1+1",
    ]
    first, second = found[1].facts, found[2].facts
    assert (first["series"], first["x"]) == ("Co1-xFex/Pt1-xIrx in Co.1, Pt.1", -0.1)
    # Two parts that differ are no common x.
    assert second["x"] is None
    assert found[3].facts["substrate"] == "Pt/Ir"
    assert found[3].atoms().get_chemical_symbols() == ["Pt", "Ir", "Co", "Co"]


def test_x_has_the_sign_of_the_rigid_shift():
    found = candidates({"film": "Co/Pt(111):1+1"}, dopings=[{"vca": {"Co.1": {"Ni": 0.1, "Fe": 0.1}}}])
    assert [c.facts["x"] for c in found] == [0.0, 0.1, -0.1]
    # Electrons to one layer, from the other: no axis holds both.
    found = candidates({"film": "Co/Pt(111):1+1"}, dopings=[{"vca": {"Co.1": {"Ni": 0.1}, "Pt.1": {"Ir": 0.1}}}])
    assert found[1].facts["x"] is None
    with pytest.raises(InputError, match="'Xy' was given, expected a chemical symbol"):
        candidates({"film": "Co/Pt(111):1+1"}, dopings=[{"vca": {"Co.1": {"Xy": 0.1}}}])


def test_rigid_shifts_are_one_candidate():
    found = candidates({"film": "Co/Pt(111):1+1"}, shifts=[0.5], dopings=[{"rigid": {"shifts": [-0.3, 0.3]}}])
    assert len(found) == 1
    assert found[0].inputs["response"]["fermi_shifts"] == [-0.3, 0.0, 0.3, 0.5]
    assert found[0].facts["doping"] == "rigid"


def test_key_holds_what_decides_the_numbers():
    def key(**keys):
        return candidates({"film": "Co/Pt(111):1+1"}, **keys)[0].key

    base = key()
    assert base == key(protocol="fast", name="another", codes={"pw": "x"}, options={"queue_name": "y"})
    assert base == key(overrides={"clean_workdir": True})
    assert base == candidates({"magnets": ["Co"], "substrates": ["Pt"], "layers": "1+1"})[0].key
    others = [
        key(protocol="balanced"),
        key(shifts=[0.1]),
        key(moments={"Co": 1.0}),
        key(overrides={"pseudo_family": "another"}),
        candidates({"film": "Co/Pt(111):1+1", "changes": {"strain": 0.01}})[0].key,
    ]
    assert len({base, *others}) == 6


def test_films_of_one_label_are_told_apart():
    system = {"film": "Co/Pt(111):1+1"}
    found = candidates(system, {**system, "changes": {"strain": 0.01}}, system)
    assert [c.label for c in found] == [f"Co/Pt(111) 1+1 [{c.key[:6]}]" for c in found]
    assert len(found) == 2


def test_a_doping_of_no_film_is_refused():
    with pytest.raises(InputError, match=r"no film of the spec has the layers Ir.1 \(nor Co/Pt\(111\) 1\+1\)"):
        candidates({"film": "Co/Pt(111):1+1"}, dopings=[{"vca": {"Ir.1": {"Pt": 0.1}}}])
    with pytest.raises(InputError, match="has none of Ir"):
        candidates({"film": "Co/Pt(111):1+1"}, dopings=[{"rigid": {"substituted": ["Ir"]}}])


def test_finished_nodes(model_node):
    model_node.store()
    found = candidates({"model": model_node.uuid})[0]
    assert found.source == {"model": model_node.uuid}
    assert (found.facts["magnet"], found.facts["substrate"], found.facts["layers"]) == ("Co", "Pt", "1+1")
    assert estimated_cost(found).functions == 18
    with pytest.raises(InputError, match=r"vca of .* needs a film by name or a structure"):
        candidates({"model": model_node.uuid}, dopings=[{"vca": {"Co.1": {"Fe": 0.1}}}])
    with pytest.raises(InputError, match="is a WannierModelData, expected a StructureData"):
        candidates({"structure": model_node.uuid})
    with pytest.raises(InputError, match="model: '99999999' was given, no node"):
        candidates({"model": "9" * 8})


def test_cost_grows_with_film_and_settings(pseudo_family):
    family = {"pseudo_family": pseudo_family.label}
    thin, thick = candidates({"film": "Co/Pt(111)", "layers": ["1+1", "1+3"]}, overrides=family)
    dense = candidates({"film": "Co/Pt(111):1+1"}, protocol="balanced", overrides=family)[0]
    # 8 semicore bands, 1.75 for each of 18 functions, 4 to spare.
    assert estimated_cost(thin)[1:4] == (35.0, 18, 44)
    assert estimated_cost(thick).core_seconds > 3 * estimated_cost(thin).core_seconds
    assert estimated_cost(thick).memory > estimated_cost(thin).memory > 1.5e8
    assert estimated_cost(dense).core_seconds > 1.2 * estimated_cost(thin).core_seconds


def test_cost_of_a_candidate_is_that_of_its_jobs(codes, pseudo_family):
    """The estimate before anything is stored, and the one from the complete inputs."""
    overrides = {"pseudo_family": pseudo_family.label, "relax": {}, "check_spin_orbit": True}
    candidate = candidates({"film": "Co/Pt(111):1+2"}, overrides=overrides)[0]
    builder = candidate_builder(candidate, codes)
    job, mesh = builder.response.dmi, builder.wannier_model.kpoints.get_kpoints_mesh()[0]
    steps = [*model_steps(builder.structure, builder.wannier_model), response_step(job, 27, 3, mesh)]
    assert estimated_cost(candidate).core_seconds == pytest.approx(sum(step.core_seconds for step in steps))


def test_a_mixed_atom_is_another_kind(pseudo_family):
    """A film whose two like atoms are told apart by a mixture has other sizes, never fewer k points."""
    family = {"pseudo_family": pseudo_family.label}
    plain, mixed = candidates({"film": "Co/Pt(111):1+2"}, overrides=family, dopings=[{"vca": {"Pt.2": {"Pt": 0.5}}}])
    assert estimated_cost(mixed).electrons == estimated_cost(plain).electrons
    assert estimated_cost(mixed).core_seconds >= estimated_cost(plain).core_seconds


def test_cost_names_what_cannot_be_computed(pseudo_family):
    def cost(film, label, **keys):
        return estimated_cost(candidates({"film": film}, overrides={"pseudo_family": label}, **keys)[-1])

    with pytest.raises(InputError, match="has none for Ni"):
        cost("Ni/Pt(111):1+1", pseudo_family.label)
    with pytest.raises(InputError, match="'absent' is not installed"):
        cost("Co/Pt(111):1+1", "absent")
    # The run would refuse it too; its family is the one of the examples.
    with pytest.raises(InputError, match=r"Fe\.UPF of Fe: ghost state in its s channel"):
        cost("Fe/Pt(111):1+1", ensure_pseudo_family().label)
    with pytest.raises(InputError, match="virtual crystal of Co and W"):
        cost("Co/Pt(111):1+1", pseudo_family.label, dopings=[{"vca": {"Co.1": {"W": 0.1}}}])


def test_dry_run_of_a_campaign(pseudo_family):
    """Core hours and memory of each candidate, and of all that are left; what would be refused is said."""
    overrides = {"pseudo_family": pseudo_family.label}
    spec = {"name": "test", "systems": [{"film": "Co/Pt(111)"}, {"film": "Ni/Pt(111)"}], "layers": "1+3"}
    _, _, first, second, *_, last = planned(parse_spec({**spec, "overrides": overrides})).splitlines()
    cost = estimated_cost(candidates({"film": "Co/Pt(111):1+3"}, overrides=overrides)[0])
    hours, memory = f"{cost.core_seconds / 3600:.2g}", f"{cost.memory / 1e9:.2g}"
    assert first.split() == ["1", "Co/Pt(111)", "1+3", "71", "36", hours, memory]
    assert "refused: pseudo_family" in second
    assert last.startswith("2 candidates, 1 refused, 21 Fermi-level shifts each; about ")
    assert last.endswith(f"{hours} core hours to compute and up to {memory} GB a rank (to a factor of two)")
