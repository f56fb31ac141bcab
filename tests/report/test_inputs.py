"""Inputs that differ from the protocol."""

from __future__ import annotations

import io

import pytest
from aiida import orm
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.provenance.protocol import how_known
from aiida_dmi.report.inputs import protocol_differences
from aiida_dmi.workflows.families import PSEUDO_DOJO, recommended
from aiida_dmi.workflows.origin import origin_of, recorded_origin

FAMILY = ("tests/PBE/FR", PSEUDO_DOJO)
"""Of the tests, and of the protocols."""


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("protocol", ["fast", "balanced", "stringent"])
def test_a_protocol_without_overrides_is_recognised(stored_inputs, protocol, recorded):
    name, differences = protocol_differences(stored_inputs(protocol=protocol, recorded=recorded))
    assert name == protocol
    assert [(row.key, row.used, row.protocol) for row in differences] == [("pseudo_family", *FAMILY)]


@pytest.mark.parametrize("recorded", [True, False])
def test_pseudopotentials_given_one_by_one(stored_inputs, pseudo_family, upf_folder, recorded):
    """Files of no family are named themselves."""
    pseudos = {kind: pseudo_family.get_pseudo(kind) for kind in ("Co", "Pt")}
    other = UpfData(io.BytesIO((upf_folder / "Pt.UPF").read_bytes() + b"\n<!-- own -->\n"), filename="own.UPF")
    given = {"scf": {"parameters": {"SYSTEM": {"ecutwfc": 60.0}}}}
    node = stored_inputs(pseudos={**pseudos, "Pt": other.store()}, recorded=recorded, overrides=given)
    *cutoffs, row = sorted(protocol_differences(node)[1], key=lambda row: row.key == "pseudo_family")
    assert (row.key, row.used) == ("pseudo_family", "Co: Co.UPF, Pt: own.UPF")
    # No family, no recommended cutoff: the protocol has none for them.
    assert [(row.key.rpartition(".")[2], row.used, row.protocol) for row in cutoffs] == [
        ("ecutrho", "240", "-"),
        ("ecutwfc", "60", "-"),
    ]


@pytest.fixture
def the_protocols_own(pseudo_family):
    """The files of the tests' family also as the one that a protocol names."""
    family = type(pseudo_family)(label=PSEUDO_DOJO).store()
    family.add_nodes(list(pseudo_family.nodes))
    yield
    orm.Group.collection.delete(family.pk)


def test_the_protocols_own_family_is_no_difference(stored_inputs, the_protocols_own):
    """By the files where nothing is recorded: whatever other families hold them too."""
    assert protocol_differences(stored_inputs(recorded=False))[1] == []


def test_what_was_given_is_recorded(stored_inputs):
    """Overrides that happen to be another protocol's values do not make it that protocol."""
    overrides = {"response": {"mesh": 288}, "scf": {"parameters": {"SYSTEM": {"ecutwfc": 65.0}}}}
    node = stored_inputs(recorded=True, protocol="fast", overrides=overrides, magnetic_moments={"Co": 1.5})
    origin = recorded_origin(node)
    assert origin["protocol"] == "fast"
    assert origin["overrides"] == {"pseudo_family": "tests/PBE/FR", **overrides}
    assert (origin["pseudo_family"], origin["magnetic_moments"]) == ("tests/PBE/FR", {"Co": 1.5})
    assert protocol_differences(node)[0] == "fast"
    assert how_known(node) == "recorded when it was started"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"digest": "another"}, "this version's protocol of that name is another one"),
        ({"protocol": "gone"}, "the nearest one"),
    ],
)
def test_a_protocol_that_has_changed_since(aiida_profile, change, words):
    node = orm.WorkChainNode()
    node.set_metadata_inputs({"origin": {**origin_of("fast", None), **change}})
    assert words in how_known(node)


def test_overrides_are_listed_once(stored_inputs, pseudo_family):
    overrides = {
        "scf": {"parameters": {"SYSTEM": {"ecutwfc": 40.0}}, "kpoints_mesh": [3, 3]},
        "wannierisation": {"frozen_window": 2.5},
        "response": {"mesh": 64, "symmetry": True},
        "quality": {"closure": 0.5},
        "overlaps": "pw2wannier90",
    }
    node = stored_inputs(protocol="balanced", overrides=overrides, magnetic_moments={"Co": 1.5})
    name, differences = protocol_differences(node)
    assert name == "balanced"
    waves, density = recommended(pseudo_family, ["Co", "Pt"])["normal"]
    assert {row.key: (row.used, row.protocol) for row in differences} == {
        "scf.parameters.SYSTEM.ecutwfc": ("40", f"{waves:g}"),
        # It follows.
        "scf.parameters.SYSTEM.ecutrho": ("160", f"{density:g}"),
        "scf mesh": ("3, 3, 1", "12, 12, 1"),
        "wannierisation.frozen_window": ("2.5", "2"),
        # It follows from the program of the overlaps.
        "wannierisation.trial_functions": ("hydrogenic", "atomic"),
        "response.mesh": ("64", "-"),
        "response.tolerance": ("-", "0.5 %"),
        "response.symmetry": ("True", "auto"),
        "quality.closure": ("0.5", "0.1"),
        "overlaps": ("pw2wannier90", "dmi-engine"),
        "magnetic_moments": ("Co: 1.5, Pt: 0", "Co: 2, Pt: 0"),
        "pseudo_family": FAMILY,
    }


def test_a_run_from_a_model_is_compared_by_its_response(finished):
    name, differences = protocol_differences(finished)
    assert name == "fast"
    keys = {row.key for row in differences}
    assert {"response.mesh", "response.soi_scales", "response.temperatures"} <= keys
    assert all(key.startswith("response") for key in keys)
