"""CalcJob dmi.response, run for real."""

import numpy as np
import pytest
from aiida import engine, orm

from aiida_dmi.calculations.response import DmiCalculation
from aiida_dmi.engine import WannierModel, compute


@pytest.fixture
def builder(codes, model_node):
    builder = DmiCalculation.get_builder()
    builder.code = codes["engine"]
    builder.model = model_node
    builder.parameters = orm.Dict({"mesh": 6, "soi_scales": [0.1, 1.0], "temperatures": [1500.0]})
    return builder


def test_real_run_equals_the_engine(builder, model_file):
    builder.metadata.options.processes = 2
    results, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    expected = compute(WannierModel.load(model_file), 6, soi_scales=[0.1, 1.0], temperatures=[1500.0])
    found = results["response"].dataset
    for name in ("D", "Q", "a_I", "a_II", "D_1", "mu"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert found.D.attrs["units"] == "meV angstrom"
    assert results["response"].base.attributes.get("mesh") == [6, 6]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "mesh is missing"),
        ({"mesh": 6, "meshes": 3}, "unknown key meshes"),
        ({"mesh": [6, 6, 6]}, "mesh"),
        ({"mesh": 6, "temperatures": [0.0]}, "temperatures"),
        ({"mesh": 6, "fermi_level": "charge"}, "fermi_level"),
        ({"mesh": 6, "soi_masks": {"magnet": [1.0]}}, "soi_masks: magnet"),
        ({"mesh": 6, "directions": [[0, 0, 0]]}, "directions"),
        ({"mesh": 6, "symmetry": "maybe"}, "symmetry: 'maybe' was given, expected true, false, 'model' or 'auto'"),
        ({"mesh": 6, "symmetry": 1}, "symmetry: 1"),
        ({"mesh": 6, "tolerance": -1}, "tolerance: -1"),
        ({"mesh": None}, "mesh is missing"),
        ({"tolerance": 1.0, "max_mesh": 12}, "max_mesh: 12"),
        ({"mesh": 6, "tolerance": 1.0, "max_mesh": "big"}, "max_mesh: 'big'"),
        ({"mesh": 6, "temperatures": [1e-100]}, "at least 0.001 K"),
        ({"mesh": 6, "temperatures": ["300"]}, "temperatures"),
        ({"mesh": 6, "soi_masks": {"a": 1}}, "soi_masks: a: 1 was given"),
        ({"mesh": 6, "soi_masks": [1, 1]}, "soi_masks"),
        ({"mesh": 6, "soi_masks": {"a\nb": [1, 1]}}, "printable"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(builder, parameters, message):
    builder.parameters = orm.Dict(parameters)
    with pytest.raises(ValueError, match=message):
        engine.run(builder)
