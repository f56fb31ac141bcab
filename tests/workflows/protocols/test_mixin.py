"""The protocols as aiida-quantumespresso's workchains show them."""

import inspect

import pytest

from aiida_dmi.workflows.dmi import DmiWorkChain
from aiida_dmi.workflows.protocols.utils import load_protocol
from aiida_dmi.workflows.response_base import DmiBaseWorkChain
from aiida_dmi.workflows.wannier_functions import WannierFunctionsWorkChain
from aiida_dmi.workflows.wannier_model import WannierModelWorkChain

WORKCHAINS = [DmiWorkChain, WannierModelWorkChain, WannierFunctionsWorkChain, DmiBaseWorkChain]


@pytest.mark.parametrize("workchain", WORKCHAINS)
def test_protocols_are_shown(workchain):
    found = workchain.get_available_protocols()
    assert set(found) == {"fast", "balanced", "stringent"}
    assert all(one["description"] for one in found.values())
    assert workchain.get_default_protocol() in found
    assert workchain.get_protocol_filepath().name == "film.yaml"


def test_inputs_are_those_of_the_protocol(tmp_path):
    changes = {"response": {"mesh": 48}}
    assert DmiWorkChain.get_protocol_inputs("balanced", changes) == load_protocol("balanced", changes)
    path = tmp_path / "overrides.yaml"
    path.write_text("response: {mesh: 48}\n")
    assert DmiWorkChain.get_protocol_inputs("balanced", path) == load_protocol("balanced", changes)
    with pytest.raises(ValueError, match="overrides: respons is unknown"):
        DmiWorkChain.get_protocol_inputs("fast", {"respons": {}})


@pytest.mark.parametrize("workchain", WORKCHAINS)
def test_arguments_have_names(workchain):
    names = list(inspect.signature(workchain.get_builder_from_protocol).parameters)
    assert names[2:4] == ["protocol", "overrides"]
    assert not {"args", "kwargs", "options_"} & set(names)
