"""The spec: what is accepted, and one line for what is not."""

import pytest

from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.spec import parse_spec, read_spec

FILM = {"systems": [{"film": "Co/Pt(111):1+1"}], "name": "test"}


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
