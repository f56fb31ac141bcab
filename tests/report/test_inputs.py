"""Inputs that differ from the protocol."""

from __future__ import annotations

import pytest

from aiida_dmi.report.inputs import protocol_differences


@pytest.mark.parametrize("protocol", ["fast", "balanced", "stringent"])
def test_a_protocol_without_overrides_is_recognised(stored_inputs, protocol):
    assert protocol_differences(stored_inputs(protocol=protocol)) == (protocol, [])


def test_overrides_are_listed_once(stored_inputs):
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
    assert {row.key: (row.used, row.protocol) for row in differences} == {
        "scf.parameters.SYSTEM.ecutwfc": ("40", "65"),
        # It follows.
        "scf.parameters.SYSTEM.ecutrho": ("160", "260"),
        "scf mesh": ("3, 3, 1", "12, 12, 1"),
        "wannierisation.frozen_window": ("2.5", "3"),
        "response.mesh": ("64", "288"),
        "response.symmetry": ("True", "-"),
        "quality.closure": ("0.5", "0.1"),
        "overlaps": ("pw2wannier90", "dmi-engine"),
        "magnetic_moments": ("Co: 1.5, Pt: 0", "Co: 2, Pt: 0"),
    }


def test_a_run_from_a_model_is_compared_by_its_response(finished):
    name, differences = protocol_differences(finished)
    assert name == "fast"
    keys = {row.key for row in differences}
    assert {"response.mesh", "response.soi_scales", "response.temperatures"} <= keys
    assert all(key.startswith("response") for key in keys)
