"""Campaigns on an existing model: each candidate once, bad ones written down, failed ones only on request."""

import pytest
from aiida import orm

from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.campaign import CONTROLLER, FACTS, KEY, REPLACED, campaign_group, entries
from aiida_dmi.screening.candidates import expand
from aiida_dmi.screening.controller import ScreeningController, adopt, enter, screen, set_aside
from aiida_dmi.screening.inputs import MARK
from aiida_dmi.screening.launchers import InProcess, this_process
from aiida_dmi.screening.spec import parse_spec

QUICK = {"mesh": 8, "soi_scales": [1.0], "temperatures": [1500.0]}
LOOSE = {"closure": None, "k_error": None, "symmetry_residual": None}


def spec_of(model, name, family=None, **keys):
    """A campaign of one model, and of a film without a pseudopotential where a family is given."""
    systems = [{"model": model.uuid}]
    overrides = {"response": QUICK, "quality": LOOSE}
    if family:
        systems.insert(0, {"film": "Ni/Pt(111):1+1"})
        overrides["pseudo_family"] = family.label
    return parse_spec({"name": name, "systems": systems, "overrides": overrides, "shifts": [0.1], **keys})


def jobs():
    return orm.QueryBuilder().append(orm.CalcJobNode).count()


def controller_of(spec, launcher=None, **keys):
    candidates = {c.key: c for c in expand(spec)}
    group = campaign_group(spec.name, create=True)
    return ScreeningController(
        group_label=group.label, max_concurrent=10, candidates=candidates, codes={}, launcher=launcher, **keys
    )


def test_each_candidate_once_and_a_refused_one_stops_nobody(model_node, codes, pseudo_family, unique):
    spec = spec_of(model_node.store(), unique, pseudo_family)
    said = []
    found = screen(spec, codes, in_process=True, say=said.append)
    assert [entry.state for entry in found] == ["finished", "refused"]
    good, refused = found
    assert "lacks an element" in refused.message
    assert "Ni" in refused.message
    assert any("D_yx = " in line for line in said)
    assert said[-1].endswith("2 of 2 candidates: 1 finished, 1 refused")
    node = orm.load_node(good.uuid)
    assert node.description == f"{MARK} {good.key}"
    assert node.base.extras.get(KEY) == good.key
    assert node.base.extras.get(FACTS)["magnet"] == "Co"

    before = jobs()
    assert screen(spec, codes, in_process=True, say=said.append) == found
    # Another campaign takes the result over.
    (other,) = screen(spec_of(model_node, f"{unique}-2"), codes, in_process=True, say=said.append)
    assert other.uuid == good.uuid
    assert said[-2] == "1 candidates were computed or started before: taken over"
    assert jobs() == before


def test_what_another_program_made_stays_where_it_is(model_node, codes, unique, tmp_path):
    """A campaign keeps its results; a new one takes over what its programs made, as they are now."""
    program = tmp_path / "dmi-engine"
    program.write_text(f'#!/bin/bash\nexec {codes["engine"].filepath_executable} "$@"\n')
    program.chmod(0o755)
    own = orm.InstalledCode(
        label=f"own-{unique}", computer=codes["engine"].computer, filepath_executable=str(program),
        default_calc_job_plugin="dmi.response",
    ).store()  # fmt: skip
    spec = spec_of(model_node.store(), unique, shifts=[0.14])

    def uuid(name, code):
        (entry,) = screen(spec_of(model_node, name, shifts=[0.14]), {"engine": code}, in_process=True, say=list)
        assert entry.state == "finished"
        return entry.uuid

    (first,) = screen(spec, {"engine": own}, in_process=True, say=list)
    assert uuid(f"{unique}-2", own) == first.uuid
    assert uuid(f"{unique}-3", codes["engine"]) != first.uuid
    program.write_text(f"{program.read_text()}# another release\n")
    assert uuid(unique, own) == first.uuid
    assert uuid(f"{unique}-4", own) != first.uuid


def test_stopped_before_it_was_entered(model_node, make_chain, unique):
    """The controller died between starting a process and writing it down: the description tells."""
    spec = spec_of(model_node.store(), unique, shifts=[0.11])
    controller = controller_of(spec)
    (candidate,) = controller.candidates.values()
    assert list(controller.submit_new_batch(dry_run=True)) == [(candidate.key,)]
    started = make_chain(description=f"{MARK} {candidate.key}")
    assert adopt(controller.group, controller.candidates) == 1
    assert adopt(controller.group, controller.candidates) == 0
    assert controller.submit_new_batch(dry_run=True) == {}
    (entry,) = entries(unique)
    assert (entry.uuid, entry.state, entry.label) == (started.uuid, "finished", candidate.label)


def test_a_failed_one_only_with_retry(model_node, make_chain, unique):
    controller = controller_of(spec_of(model_node.store(), unique, shifts=[0.12]))
    (candidate,) = controller.candidates.values()
    failed = make_chain(status=401, message="step model: no", outputs=False)
    enter(controller.group, failed, candidate)
    (entry,) = entries(unique)
    assert (entry.state, entry.exit_status, entry.message) == ("failed", 401, "step model: no")
    assert controller.submit_new_batch(dry_run=True) == {}
    set_aside(controller.group, [entry])
    assert entries(unique) == []
    assert failed.base.extras.get(REPLACED) is True
    assert adopt(controller.group, controller.candidates) == 0
    assert list(controller.submit_new_batch(dry_run=True)) == [(candidate.key,)]


def test_candidates_start_in_the_order_of_the_spec_within_the_slots(unique, aiida_profile):
    grid = {"magnets": ["Co", "Fe", "Mn"], "substrates": ["Pt"], "layers": "1+1"}
    spec = parse_spec({"name": unique, "systems": [grid]})
    controller = controller_of(spec)
    controller.max_concurrent = 2
    assert [key for (key,) in controller.submit_new_batch(dry_run=True)] == [c.key for c in expand(spec)][:2]


def test_goes_on_from_the_checkpoints(model_node, codes, unique):
    """A `--run` that was stopped in the middle: its process is taken up, nothing starts from the beginning."""
    spec = spec_of(model_node.store(), unique, shifts=[0.13])
    stopped = InProcess()
    controller = controller_of(spec, stopped)
    controller.codes = codes
    (node,) = controller.submit_new_batch().values()
    while not any(isinstance(child, orm.CalcJobNode) for child in node.called_descendants):
        stopped.wait(0.5)
    stopped.wait(1.0)
    assert not node.is_sealed
    # The other interpreter is gone.
    node.base.extras.set("dmi_in_process", {**this_process(), "pid": 2**22 + 1})
    said = []
    (entry,) = screen(spec, codes, in_process=True, say=said.append)
    assert said[0] == f"{entry.label}: goes on, DmiWorkChain<{node.pk}>"
    assert (entry.uuid, entry.state) == (node.uuid, "finished")
    assert [child.process_label for child in node.called_descendants].count("DmiCalculation") == 1


def test_one_controller_a_campaign(model_node, codes, unique):
    spec = spec_of(model_node.store(), unique)
    group = campaign_group(unique, create=True)
    group.base.extras.set(CONTROLLER, {**this_process(), "seen": 0.0})
    with pytest.raises(InputError, match="is being run by process"):
        screen(spec, codes, in_process=True)
    with pytest.raises(InputError, match="daemon: not running; start it"):
        screen(spec, codes)
    with pytest.raises(InputError, match="max-active: 0 was given"):
        screen(spec, codes, max_active=0, in_process=True)


def test_unknown_codes_and_campaigns(model_node, aiida_profile, unique):
    spec = spec_of(model_node.store(), unique, codes={"engine": "absent@nowhere"})
    with pytest.raises(InputError, match="codes: engine: no code 'absent@nowhere'"):
        screen(spec, in_process=True)
    with pytest.raises(InputError, match="campaign: 'absent' was given, this profile has"):
        entries("absent")
