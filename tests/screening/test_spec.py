"""The spec: what is accepted, and one line for what is not."""

import math

import pytest

from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.spec import parse_spec, read_spec

FILM = {"systems": [{"film": "Co/Pt(111):1+1"}], "name": "test"}


def with_film(**keys):
    return {**FILM, "systems": [{"film": "Co/Pt(111):1+1", **keys}]}


def with_doping(*entries):
    return {**FILM, "dopings": list(entries)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**FILM, "sistems": []}, "sistems: unknown; expected some of name, systems"),
        ({**FILM, "name": "a b"}, "name: 'a b' was given"),
        ({"name": "x"}, "systems: None was given, expected a list"),
        ({**FILM, "systems": [{"film": "Co/Pt(111)"}]}, r"systems\[0\].layers: None was given"),
        ({**FILM, "systems": [{"film": "Co/Pt(111)", "layers": [11]}]}, r"systems\[0\].layers: \[11\] was given"),
        ({**FILM, "systems": [{"film": "Co/Pt(111):1+1", "layers": "1+2"}]}, "names its layers already"),
        ({**FILM, "systems": [{"layers": "1+1"}]}, "no source was given, expected one of film, magnets"),
        ({**FILM, "systems": [{"model": "x", "film": "y"}]}, "film, model was given, expected one of"),
        ({**FILM, "systems": [{"model": "x", "changes": {}}]}, "changes given beside model"),
        ({**FILM, "systems": [{"film": "Co/Pt(111):1+1", "caps": ["Ir"]}]}, "caps given beside film"),
        ({**FILM, "systems": [{"magnets": ["Co"], "layers": "1+1"}]}, r"systems\[0\].substrates: None was given"),
        (
            {**FILM, "systems": [{"magnets": ["Co", False], "substrates": ["Pt"], "layers": "1+1"}]},
            "expected a list of elements",
        ),
        (with_doping({"vca": {"Co.1": {"Fe": [0.0]}}}), r"expected parts x above 0 and below 1"),
        (with_doping({"vca": {"Co.1": {"Fe": [True]}}}), "expected a list of numbers"),
        (with_doping({"vca": {"Co": {"Fe": [0.1]}}}), "'Co' was given, expected a layer such as Co.1"),
        (with_doping({"vca": {"Co.1": {}}}), "no element, expected such as"),
        (with_doping({"exchange": {}}), "no layer, expected such as"),
        (with_doping({"mixture": {}}), r"dopings\[0\]: mixture was given, expected one of rigid, vca, exchange"),
        (with_doping({"rigid": {"shift": 0.1}}), r"dopings\[0\].rigid.shift: unknown"),
        (with_doping({"rigid": {}}, {"rigid": {}}), "a second rigid doping"),
        ({**FILM, "protocol": "slow"}, "protocol: 'slow' was given, expected one of fast"),
        ({**FILM, "overrides": {"sfc": {}}}, "overrides: sfc is unknown"),
        (
            {**FILM, "shifts": [0.1], "overrides": {"response": {"fermi_shifts": [0.2]}}},
            "shifts: overrides.response.fermi_shifts is given too",
        ),
        # The response, by the engine's own check.
        ({**FILM, "temperatures": [0.0]}, "temperatures: 0.0 was given, expected kelvins above 0"),
        ({**FILM, "temperatures": 300.0}, "temperatures: 300.0 was given"),
        ({**FILM, "directions": [[0, 0, 0]]}, r"directions: \[0.0, 0.0, 0.0\] was given"),
        ({**FILM, "shifts": [math.nan]}, r"shifts: \[nan\] was given, expected a list of numbers"),
        ({**FILM, "shifts": ["0.1"]}, r"shifts: \['0.1'\] was given, expected a list of numbers"),
        (with_doping({"rigid": {"shifts": [math.inf]}}), r"dopings\[0\].rigid.shifts: \[inf\] was given"),
        ({**FILM, "masks": ["Co"]}, r"masks: \['Co'\] was given, expected a mapping"),
        ({**FILM, "masks": {1: "Co"}}, r"masks: \{1: 'Co'\} was given"),
        # Overrides, by their schema.
        ({**FILM, "overrides": {"force": "n"}}, "overrides: force: 'n' was given, expected true or false"),
        ({**FILM, "overrides": {"scf": {"parameters": {"SYSTEM": {"nat": 3}}}}}, "SYSTEM.nat cannot be given"),
        ({**FILM, "overrides": 5}, "overrides: 5 was given, expected a mapping"),
        ({**FILM, "overrides": {"response": 5}}, "overrides: response 5 was given, expected a mapping"),
        # What a film is made of.
        (with_film(changes={"foo": 1}), r"systems\[0\].changes.foo: unknown; expected some of substrate, magnet"),
        (with_film(changes={"vacuum": "big"}), r"systems\[0\].changes.vacuum: 'big' was given, expected a number"),
        (with_film(changes={"vacuum": math.nan}), r"changes.vacuum: nan was given, expected a number"),
        (with_film(changes={"vacuum": True}), r"changes.vacuum: True was given, expected a number"),
        (
            with_film(changes={"strain": [0.1, "x"]}),
            r"changes.strain: \[0.1, 'x'\] was given, expected a number or a list",
        ),
        (with_film(changes={"magnet_layers": 1.5}), r"changes.magnet_layers: 1.5 was given, expected a whole number"),
        (with_film(changes={"kinds": "atom"}), r"changes.kinds: 'atom' was given, expected element or layer"),
        (with_film(changes=3), r"systems\[0\].changes: 3 was given, expected a mapping"),
        (with_film(moments="abc"), r"systems\[0\].moments: 'abc' was given, expected a mapping"),
        (with_film(moments={"Co": "abc"}), r"systems\[0\].moments.Co: 'abc' was given, expected a number"),
        ({**FILM, "moments": {"Co": math.nan}}, "moments.Co: nan was given, expected a number"),
        ({**FILM, "moments": [1.0]}, r"moments: \[1.0\] was given, expected a mapping"),
        (with_film(colour="red"), r"systems\[0\].colour: unknown; expected some of film, magnets"),
        ({**FILM, "systems": [FILM["systems"][0], {"film": 5}]}, r"systems\[1\].film: 5 was given, expected text"),
        ({**FILM, "systems": [{"structure": True}]}, r"systems\[0\].structure: True was given, expected a pk, uuid"),
        ({**FILM, "systems": [{"model": [1]}]}, r"systems\[0\].model: \[1\] was given, expected a pk, uuid"),
        ({**FILM, "systems": [5]}, r"systems\[0\]: 5 was given, expected a mapping"),
        ({**FILM, "systems": {}}, r"systems: \{\} was given, expected a list"),
        (with_doping(5), r"dopings\[0\]: 5 was given, expected a mapping"),
        ({**FILM, "dopings": {"rigid": {}}}, r"dopings: \{'rigid': \{\}\} was given, expected a list"),
        (with_doping({"vca": {"Co.1": {"Fe": "0.1"}}}), r"vca.Co.1.Fe: '0.1' was given, expected a list of numbers"),
        (with_doping({"vca": {"Co.1": {"Fe": []}}}), r"vca.Co.1.Fe: \[\] was given, expected parts"),
        (with_doping({"vca": {"Co.1": ["Fe"]}}), r"vca.Co.1: \['Fe'\] was given, expected a mapping"),
        (with_doping({"exchange": {"Pt.1": [1]}}), r"exchange.Pt.1: \[1\] was given, expected a list of elements"),
        # Codes and options.
        ({**FILM, "codes": {"pww": "x"}}, "codes: pww is unknown; expected some of pw, pw2wannier90"),
        ({**FILM, "codes": {"pw": 3}}, "codes.pw: 3 was given, expected text"),
        ({**FILM, "options": {"max_wallclock_seconds": "2h"}}, "options.max_wallclock_seconds: '2h' was given"),
        ({**FILM, "options": {"walltime": 60}}, "options.walltime: unknown; expected some of account"),
        ({**FILM, "options": 3}, "options: 3 was given, expected a mapping"),
        ({**FILM, "protocol": ["fast"]}, r"protocol: \['fast'\] was given, expected text"),
        ({**FILM, "name": 5}, "name: 5 was given, expected letters, digits"),
        ({**FILM, 1: 2}, "1: unknown; expected some of name"),
        (["systems"], r"\['systems'\] was given, expected a mapping"),
    ],
)
def test_bad_specs_are_refused_in_one_line(content, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_spec(content)
    assert "\n" not in str(caught.value)


def test_response_keys_reach_the_overrides():
    spec = parse_spec(
        {**FILM, "masks": {"magnet": "Co"}, "shifts": [0.2, -0.2], "directions": [[0, 0, 1]], "temperatures": [100.0]}
    )
    assert spec.overrides["response"] == {
        "soi_masks": {"all": ["all"], "magnet": "Co"},
        "fermi_shifts": [-0.2, 0.0, 0.2],
        "directions": [[0, 0, 1]],
        "temperatures": [100.0],
    }


def test_read_from_a_file(tmp_path):
    path = tmp_path / "campaign.yaml"
    path.write_text("systems:\n  - film: Co/Pt(111)\n    layers: [1+1, 1+2]\n")
    spec = read_spec(path)
    assert spec.name == "campaign"
    assert spec.systems[0].layers == ("1+1", "1+2")
    path.write_text("systems: [")
    with pytest.raises(InputError, match="no valid YAML"):
        read_spec(path)
    path.write_text("- a\n")
    with pytest.raises(InputError, match="expected a mapping with name, systems"):
        read_spec(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_spec(tmp_path / "absent.yaml")


def test_all_faults_of_a_spec_are_said_at_once():
    with pytest.raises(InputError) as caught:
        parse_spec({**with_film(changes={"foo": 1}, moments={"Co": "a"}), "codes": {"pw": 3}})
    for place in ("systems[0].changes.foo: ", "systems[0].moments.Co: ", "codes.pw: "):
        assert place in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("given", "surface"), [(111, "111"), (1, "001"), ("001", "001"), ("110", "110")])
def test_surfaces_as_numbers(given, surface):
    """YAML takes 001 for a number."""
    entry = {"magnets": ["Co"], "substrates": ["W"], "surface": given, "layers": "1+1"}
    assert parse_spec({"name": "x", "systems": [entry]}).systems[0].given["surface"] == surface


def test_values_that_decide_a_candidate_stay_as_they_are():
    """Its key is a hash of them: 2 must not become 2.0."""
    spec = parse_spec({**with_film(moments={"Co": 2}, changes={"vacuum": 12}), "temperatures": [300]})
    assert repr((spec.systems[0].moments, spec.systems[0].changes)) == "({'Co': 2}, {'vacuum': 12})"
    assert repr(spec.overrides) == "{'response': {'temperatures': [300]}}"


def test_nothing_behind_a_key_is_nothing():
    spec = parse_spec({**FILM, "dopings": None, "overrides": None, "codes": None, "options": None, "moments": None})
    assert (spec.overrides, spec.codes, spec.options, spec.systems[0].moments) == ({}, {}, None, None)
    assert parse_spec({**FILM, "dopings": [{"rigid": None}]}).systems[0].dopings.rigid.shifts == ()
