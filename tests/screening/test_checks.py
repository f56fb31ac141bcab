"""The dry run of a screen finds what the run would refuse, and stores nothing."""

import pytest
from aiida import orm

from aiida_dmi.cli.screen import planned
from aiida_dmi.screening.candidates import expand
from aiida_dmi.screening.checks import check_campaign_codes, check_candidate
from aiida_dmi.screening.inputs import candidate_builder
from aiida_dmi.screening.spec import parse_spec


def candidate(family, system="Co/Pt(111):1+2", overrides=None, **keys):
    entry = {"film": system} if isinstance(system, str) else system
    given = {"pseudo_family": family.label, **(overrides or {})}
    return expand(parse_spec({"name": "x", "systems": [entry], "overrides": given, **keys}))[-1]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"masks": {"a": ["Ir"]}}, "mask a: 'Ir' is no part of this film"),
        ({"masks": {"a": ["Pt.3"]}}, "mask a: 'Pt.3' is no part of this film"),
        ({"masks": {"a": {"Co": "much"}}}, "mask a: "),
        ({"masks": {"a": [1, 2]}}, "mask a: "),
        ({"masks": {"a": 5}}, "mask a: 5 was given"),
        ({"moments": {"Fe": 2.0}}, "'Fe' is no part of this film"),
        ({"moments": {"Co.2": 2.0}}, "'Co.2' is no part of this film"),
        ({"moments": {"Co": 20.0}}, "moments: 20 mu_B was given for Co, expected at most 17"),
        ({"moments": {"Co": 0.0}}, "all are 0 for Co, the film's magnet"),
        (
            {"system": {"film": "Mn/W(001):2+1", "changes": {"kinds": "layer"}}, "moments": {"Mn.1": 4, "Mn.2": -4}},
            "moments: antiferromagnetic ones were given",
        ),
        ({"overrides": {"relax": {"fixed": ["Pt.9"]}}}, "'Pt.9' is no part of this film"),
        ({"overrides": {"wannierisation": {"kpoints_mesh": [4, 4, 2]}}}, "4x4x2 was given, a film has one point along"),
        ({"overrides": {"scf": {"kpoints_mesh": [4, 4, 2]}}}, "4x4x2 was given, a film has one point along"),
        ({"overrides": {"scf": {"parameters": {"SYSTEM": {"hubbard_u": {"Fe": 3.0}}}}}}, "hubbard_u: Fe was given"),
        (
            {"system": {"film": "Mn/W(001):1+1", "changes": {"vacuum": 5 * 3.165 - 1.4825}},
             "overrides": {"wannierisation": {"kpoints_mesh": [10, 10]}}},
            "kpoints: 10x10 was given, a mesh without neighbours for Wannier90",
        ),
    ],
)  # fmt: skip
def test_candidates_that_the_run_would_refuse(codes, pseudo_family, keys, message):
    found = candidate(pseudo_family, **keys)
    nodes = orm.QueryBuilder().append(orm.Node).count()
    with pytest.raises(ValueError, match=r".") as caught:
        check_candidate(found)
    assert message in str(caught.value)
    assert orm.QueryBuilder().append(orm.Node).count() == nodes
    # The builder says the same.
    with pytest.raises(ValueError, match=r".") as refused:
        candidate_builder(found, codes)
    assert message in str(refused.value)


def test_candidates_that_run(codes, pseudo_family):
    keys = {"masks": {"interface": ["Co", "Pt.1"]}, "moments": {"Co": 1.7}, "shifts": [0.1]}
    for found in (
        candidate(pseudo_family, **keys),
        candidate(pseudo_family, {"film": "Mn/W(001):1+1"}, dopings=[{"vca": {"Mn.1": {"Co": 0.1}}}], overrides={}),
        candidate(
            pseudo_family, {"film": "Co/Pt(111):2+1", "changes": {"kinds": "layer"}}, moments={"Co": 1.9, "Co.2": 1.7}
        ),
    ):
        check_candidate(found)


def test_masks_of_a_finished_model(model_node, pseudo_family):
    model = model_node.store().uuid
    check_candidate(candidate(pseudo_family, {"model": model}, masks={"magnet": ["Co"]}))
    with pytest.raises(ValueError, match="mask a: 'Ir' is no part of this film"):
        check_candidate(candidate(pseudo_family, {"model": model}, masks={"a": ["Ir"]}))


def test_dry_run_says_which_candidate_is_refused(pseudo_family):
    spec = {"name": "x", "systems": [{"film": "Co/Pt(111)"}], "layers": ["1+1", "1+2"], "masks": {"deep": ["Pt.2"]}}
    table = planned(parse_spec({**spec, "overrides": {"pseudo_family": pseudo_family.label}}))
    assert "refused: mask deep: 'Pt.2' is no part of this film" in " ".join(table.split())
    assert "2 candidates, 1 refused" in table


def test_codes_of_a_campaign(codes, pseudo_family, model_node):
    film, model = candidate(pseudo_family), candidate(pseudo_family, {"model": model_node.store().uuid})
    labels = {name: code.full_label for name, code in codes.items()}

    def told(candidates, labels):
        spec = parse_spec({"name": "x", "systems": [{"film": "Co/Pt(111):1+1"}], "codes": labels})
        with pytest.raises(ValueError, match="codes: ") as caught:
            check_campaign_codes(spec, candidates)
        return str(caught.value)

    assert "codes: pw: no code 'absent' in this profile" in told([film], {**labels, "pw": "absent"})
    assert "codes: missing wannier90" in told([film], {n: labels[n] for n in ("pw", "engine")})
    assert "a finished model needs `engine`" in told([model], {"pw": labels["pw"]})
    other = candidate(pseudo_family, overrides={"overlaps": "pw2wannier90"})
    assert "codes: missing pw2wannier90" in told([other], {n: labels[n] for n in ("pw", "engine", "wannier90")})
    given = parse_spec({"name": "x", "systems": [{"film": "Co/Pt(111):1+1"}], "codes": labels})
    check_campaign_codes(given, [film, model, other])
