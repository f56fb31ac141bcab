"""Overrides: every section's keys, types and ranges; one line for what cannot be."""

import json
import math

import numpy as np
import pytest

from aiida_dmi.workflows.protocols.schema import checked_overrides
from aiida_dmi.workflows.protocols.utils import load_protocol, read_protocols


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # Truth is no text and no number.
        ({"force": "n"}, "overrides: force: 'n' was given, expected true or false"),
        ({"force": "maybe"}, "force: 'maybe' was given, expected true or false"),
        ({"force": 1}, "force: 1 was given, expected true or false"),
        ({"force": None}, "force: None was given, expected true or false"),
        ({"clean_workdir": 5}, "clean_workdir: 5 was given, expected true or false"),
        ({"check_spin_orbit": "yes"}, "check_spin_orbit: 'yes' was given, expected true or false"),
        # Meshes.
        ({"scf": {"kpoints_distance": 0}}, "scf.kpoints_distance: 0 was given, expected a number of at least 0.01"),
        ({"scf": {"kpoints_distance": -1}}, "kpoints_distance: -1 was given"),
        ({"scf": {"kpoints_distance": "fine"}}, "kpoints_distance: 'fine' was given"),
        ({"scf": {"kpoints_distance": math.nan}}, "kpoints_distance: nan was given"),
        ({"scf": {"kpoints_distance": math.inf}}, "kpoints_distance: inf was given"),
        ({"wannierisation": {"kpoints_distance": True}}, "wannierisation.kpoints_distance: True was given"),
        (
            {"scf": {"kpoints_mesh": 6}},
            "scf.kpoints_mesh: 6 was given, expected two whole numbers from 1 to 400, such as [6",
        ),
        ({"scf": {"kpoints_mesh": [0, 6]}}, "kpoints_mesh: [0, 6] was given"),
        ({"scf": {"kpoints_mesh": [6]}}, "kpoints_mesh: [6] was given"),
        ({"scf": {"kpoints_mesh": [6.0, 6]}}, "kpoints_mesh: [6.0, 6] was given"),
        ({"scf": {"kpoints_mesh": "6x6"}}, "kpoints_mesh: '6x6' was given"),
        (
            {"scf": {"kpoints_mesh": [6, 6], "kpoints_distance": 0.2}},
            "kpoints_mesh and kpoints_distance are both given",
        ),
        # The response, by the engine's own check.
        (
            {"response": {"symmetry": "maybe"}},
            "response.symmetry: 'maybe' was given, expected true, false, model or auto",
        ),
        ({"response": {"tolerance": -1}}, "response.tolerance: -1 was given, expected a positive number in meV"),
        ({"response": {"max_mesh": 1.5}}, "response.max_mesh: 1.5 was given, expected an integer"),
        ({"response": {"mesh": "fine"}}, "response: parameters: mesh: 'fine' was given"),
        ({"response": {"mesh": None, "tolerance": None}}, "mesh is missing"),
        ({"response": {"temperatures": [0.0]}}, "temperatures: 0.0 was given, expected kelvins above 0"),
        ({"response": {"directions": [[0, 0, 0]]}}, "directions: [0.0, 0.0, 0.0] was given"),
        ({"response": {"fermi_shifts": [math.nan]}}, "fermi_shifts: [nan] was given"),
        ({"response": {"soi_masks": ["Co"]}}, "response.soi_masks: ['Co'] was given, expected names with what they"),
        ({"response": {"soi_masks": {1: ["Co"]}}}, "response.soi_masks: {1: ['Co']} was given"),
        ({"response": {"meshes": 3}}, "response.meshes is unknown; expected one of mesh, soi_scales"),
        # Wannier functions.
        ({"wannierisation": {"orbitals": "spd"}}, "wannierisation: orbitals 'spd' was given"),
        ({"wannierisation": {"frozen_window": math.inf}}, "frozen_window inf was given, expected a number above 0"),
        (
            {"wannierisation": {"bands_per_function": 100}},
            "bands_per_function 100 was given, expected a number above 1, 20",
        ),
        ({"wannierisation": {"retries": "3"}}, "retries '3' was given"),
        (
            {"wannierisation": {"trial_functions": "gaussian"}},
            "trial_functions 'gaussian' was given, expected hydrogenic",
        ),
        (
            {"overlaps": "pw2wannier90", "wannierisation": {"trial_functions": "atomic"}},
            "trial_functions: atomic was given, and overlaps: pw2wannier90, which has hydrogenic ones only",
        ),
        (
            {"overlaps": "pw2wannier90", "wannierisation": {"trial_functions": "atomic"}},
            "trial_functions: atomic was given, and overlaps: pw2wannier90",
        ),
        (
            {"wannierisation": {"parameters": {"num_wann": 9}}},
            "num_wann cannot be given: it follows from wannierisation.",
        ),
        ({"wannierisation": {"parameters": {"mp_grid": [6, 6, 1]}}}, "mp_grid cannot be given: the mesh is that of"),
        ({"wannierisation": {"parameters": {"dis_froz_max": 9.0}}}, "it follows from wannierisation.frozen_window"),
        (
            {"wannierisation": {"parameters": {"num_itr": 9}}},
            "parameters.num_itr is no keyword of wannier90.x; did you mean",
        ),
        (
            {"wannierisation": {"parameters": {"num_iter": "9"}}},
            "parameters.num_iter: '9' was given, expected an integer",
        ),
        ({"wannierisation": {"parameters": {"num_iter": 1, "NUM_ITER": 2}}}, "num_iter is given twice"),
        # pw.x.
        (
            {"scf": {"parameters": {"SYSTEM": {"ecutwcf": 9.0}}}},
            "scf.parameters.SYSTEM.ecutwcf is no keyword of pw.x's",
        ),
        ({"scf": {"parameters": {"SYSTEM": {"nat": 2}}}}, "scf.parameters.SYSTEM.nat cannot be given: cell and atoms"),
        (
            {"scf": {"parameters": {"SYSTEM": {"ecutwfc": 60, "ecutrho": 200}}}},
            "ecutrho: 200 was given, expected at least 240",
        ),
        (
            {"relax": {"parameters": {"SYSTEM": {"ecutwfc": 90, "ecutrho": 100}}}},
            "relax.parameters.SYSTEM.ecutrho: 100 was",
        ),
        ({"scf": {"parameters": {"SYSTEM": {"degauss": None}}}}, "scf.parameters.SYSTEM.degauss is missing"),
        ({"nscf": {"parameters": {"SYSTEM": {"nbnd": 9}}}}, "nscf.parameters.SYSTEM.nbnd was given, but this step's"),
        # The rest.
        ({"relax": True}, "relax True was given, expected a mapping"),
        ({"relax": {"fixed": 3}}, "relax.fixed: 3 was given, expected names of atoms that stay"),
        ({"relax": {"fixed": [3]}}, "relax.fixed: [3] was given"),
        ({"quality": {"bands": -1}}, "quality.bands: -1 was given, expected a number of at least 0"),
        ({"quality": {"bands": math.nan}}, "quality.bands: nan was given"),
        ({"quality": {"bands": "60"}}, "quality.bands: '60' was given"),
        ({"quality": None}, "quality None was given, expected a mapping"),
        ({"overlaps": "wannier90"}, "overlaps: 'wannier90' was given, expected one of dmi-engine, pw2wannier90"),
        ({"overlaps": ["dmi-engine"]}, "overlaps: ['dmi-engine'] was given"),
        ({"pseudo_family": 3}, "pseudo_family: 3 was given, expected text"),
        ({"pseudo_family": ""}, "pseudo_family: '' was given, expected text"),
        ({"magnetic_moments": {"Cobalt": 2.0}}, "magnetic_moments.Cobalt is no chemical symbol"),
        ({"magnetic_moments": {"Co": "2"}}, "magnetic_moments.Co: '2' was given, expected a number"),
        ({"magnetic_moments": {"Co": math.nan}}, "magnetic_moments.Co: nan was given"),
        ({"unchecked_keywords": "ecutwcf"}, "unchecked_keywords: 'ecutwcf' was given, expected a list"),
        (
            {"scff": {}, "forces": 1},
            "overrides: scff, forces is unknown; expected one of pseudo_family, cutoffs, film, relax, scf",
        ),
        ({"cutoffs": 60}, "cutoffs: 60 was given, expected text"),
        ({"cutoffs": ""}, "cutoffs: '' was given"),
        ({"quality": {"basis": -1}}, "quality.basis: -1 was given"),
        ({"tall_cells": {}}, "tall_cells is unknown"),
        ({1: 2}, "overrides: 1 is unknown"),
        ([1], "overrides: [1] was given, expected a mapping"),
        ("force", "overrides: 'force' was given, expected a mapping"),
    ],
)
def test_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=r"overrides|response") as caught:
        load_protocol("fast", changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_deep_and_large_values_are_cut():
    nested = []
    for _ in range(100_000):
        nested = [nested]
    for value in (nested, "x" * 10**6, 10**5000):
        with pytest.raises(ValueError, match="overrides: ") as caught:
            load_protocol("fast", {"force": value})
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", list(read_protocols()["protocols"]))
def test_nothing_is_refused_of_a_protocol(name):
    inputs = load_protocol(name, None)
    # They follow from the pseudopotentials: tests/workflows/test_cutoffs.py.
    assert not {"ecutwfc", "ecutrho"} & set(inputs["scf"]["parameters"]["SYSTEM"])
    assert "unchecked_keywords" not in inputs


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        (None, "atomic"),
        ({"wannierisation": {"trial_functions": None}}, "atomic"),
        ({"wannierisation": {"trial_functions": "hydrogenic"}}, "hydrogenic"),
        ({"overlaps": "pw2wannier90"}, "hydrogenic"),
    ],
)
def test_trial_functions_are_those_that_the_program_makes(changes, kind):
    assert load_protocol("fast", changes)["wannierisation"]["trial_functions"] == kind


def test_density_cutoff_follows():
    """Four times the cutoff of the wave functions, in every step, unless it is given."""

    def cutoffs(system, relax=None):
        changes = {"scf": {"parameters": {"SYSTEM": system}}}
        inputs = load_protocol(
            "fast", changes | ({} if relax is None else {"relax": {"parameters": {"SYSTEM": relax}}})
        )
        found = [inputs["scf"]["parameters"]["SYSTEM"]]
        found += [] if relax is None else [inputs["relax"]["parameters"].get("SYSTEM", {})]
        return [(s.get("ecutwfc"), s.get("ecutrho")) for s in found]

    assert cutoffs({}) == [(None, None)]
    assert cutoffs({"ecutwfc": None, "ecutrho": 300}) == [(None, 300)]
    assert cutoffs({"ecutwfc": 90}) == [(90, 360.0)]
    assert cutoffs({"ecutwfc": 90, "ecutrho": 500}) == [(90, 500)]
    assert cutoffs({"ecutwfc": 90, "ecutrho": None}) == [(90, 360.0)]
    assert cutoffs({"ecutwfc": 90}, {"ecutwfc": 40}) == [(90, 360.0), (40, 160.0)]
    # A relaxation takes the scf's unless it has its own.
    assert cutoffs({"ecutwfc": 90}, {}) == [(90, 360.0), (None, None)]


def test_null_takes_away():
    changes = {
        "scf": {"parameters": {"ELECTRONS": {"mixing_beta": None}}},
        "response": {"soi_scales": None, "mesh": None, "tolerance": 0.5},
        "quality": {"bands": None},
        "relax": None,
    }
    inputs = load_protocol("fast", changes)
    assert "mixing_beta" not in inputs["scf"]["parameters"]["ELECTRONS"]
    assert (inputs["response"]["soi_scales"], inputs["response"]["mesh"]) == ([1.0], None)
    assert inputs["quality"]["bands"] is None
    assert inputs["relax"] is None


def test_a_mesh_that_is_given_is_the_only_one():
    """Unless a tolerance is given beside it: then it is the first."""
    assert load_protocol("fast", {"response": {"mesh": 48}})["response"]["tolerance"] is None
    both = load_protocol("fast", {"response": {"mesh": 48, "tolerance": "2 %"}})["response"]
    assert (both["mesh"], both["tolerance"]) == (48, "2 %")
    assert load_protocol("fast", None)["response"]["tolerance"] == "1 %"


def test_values_stay_as_they_are_given():
    """A campaign's keys are hashes of them: 1 must not become 1.0."""
    given = {
        "scf": {"kpoints_distance": 1, "parameters": {"SYSTEM": {"ecutwfc": 60}}},
        "quality": {"bands": 100},
        "response": {"temperatures": [300], "tolerance": 1},
        "magnetic_moments": {"Co": 2},
    }
    assert json.dumps(checked_overrides(given), sort_keys=True) == json.dumps(given, sort_keys=True)


def test_numbers_of_numpy_and_tuples():
    given = {"scf": {"kpoints_mesh": (np.int64(6), np.int64(6)), "parameters": {"SYSTEM": {"ecutwfc": np.float64(60)}}}}
    assert checked_overrides(given) == {"scf": {"kpoints_mesh": [6, 6], "parameters": {"SYSTEM": {"ecutwfc": 60.0}}}}


def test_unchecked_keywords_pass_for_both_programs():
    changes = {
        "scf": {"parameters": {"SYSTEM": {"newest": 3}}},
        "wannierisation": {"parameters": {"latest": True}},
        "unchecked_keywords": ["newest", "latest"],
    }
    inputs = load_protocol("fast", changes)
    assert inputs["scf"]["parameters"]["SYSTEM"]["newest"] == 3
    assert inputs["wannierisation"]["parameters"]["latest"] is True
    with pytest.raises(ValueError, match=r"SYSTEM\.newest is no keyword"):
        load_protocol("fast", {**changes, "unchecked_keywords": ["latest"]})


def test_lower_case_sections_are_merged():
    inputs = load_protocol("fast", {"scf": {"parameters": {"system": {"ecutwfc": 90}}}})
    system = inputs["scf"]["parameters"]["SYSTEM"]
    assert (system["ecutwfc"], system["ecutrho"], system["degauss"]) == (90, 360.0, 0.02)
    assert "system" not in inputs["scf"]["parameters"]


def test_completeness_follows_what_is_asked_for():
    """On in results; without anything to put right it is left out; what its Hamiltonian has not is refused."""
    assert load_protocol("fast", {})["completeness"] is None
    assert load_protocol("stringent", {"completeness": {}})["completeness"]["kpoints_distance"] == 0.165
    assert load_protocol("balanced", {"completeness": None})["completeness"] is None
    energies = {"response": {"quantities": ["energy"]}}
    assert load_protocol("balanced", energies)["completeness"] is None
    assert load_protocol("balanced", {"response": {"quantities": ["D"]}})["completeness"] is not None
    for system in ({"lda_plus_u": True}, {"input_dft": "SCAN"}):
        changes = {"scf": {"parameters": {"SYSTEM": system}}}
        with pytest.raises(ValueError, match=r"completeness: not with scf\.parameters\.SYSTEM\..*`completeness: null`"):
            load_protocol("balanced", changes)
        load_protocol("balanced", {**changes, "completeness": None})
