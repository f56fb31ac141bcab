"""CalcJob dmi.completeness, run for real, and the response that it corrects."""

import pytest
import xarray as xr
from aiida import engine, orm
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.completeness import CompletenessCalculation
from aiida_dmi.calculations.functions import corrected_response
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine import compute, save_result
from aiida_dmi.engine.completeness import CompletenessSpec, complete, corrected

PARAMETERS = {"temperatures": [3000.0], "fermi_shifts": [0.0, 0.2], "soi_masks": {"all": [1, 1]}}


@pytest.fixture
def builder(codes, computer, tiny, tiny_model, tmp_path):
    """As a workchain gives it: folders of pw.x and pp.x with the names that AiiDA's plugins give their files."""
    builder = CompletenessCalculation.get_builder()
    for name, path in zip(("potential_up", "potential_down"), tiny.potentials, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "aiida.filplot").symlink_to(path)
        builder[name] = orm.RemoteData(str(tmp_path / name), computer=computer)
    builder.nscf = orm.RemoteData(str(tiny.folder / "irreducible"), computer=computer)
    builder.code = codes["engine"]
    builder.model = WannierModelData(tiny.model)
    builder.pseudos = {kind: UpfData(path) for kind, path in tiny.pseudopotentials.items()}
    builder.parameters = orm.Dict(PARAMETERS)
    return builder


def test_real_run_equals_the_engine(builder, tiny, tiny_model, tmp_path):
    results, node = engine.run_get_node(builder)
    assert node.is_finished_ok, node.exit_message
    found = results["completeness"]
    expected = complete(CompletenessSpec.from_mapping(tiny.spec(**PARAMETERS), tmp_path))
    xr.testing.assert_identical(found.dataset, expected)
    attributes = found.base.attributes
    assert attributes.get("mesh") == [4, 4]
    assert attributes.get("temperatures") == [3000.0]
    assert attributes.get("units") == "meV angstrom"
    # The response of the same model, with what it lacks.
    axes = {**PARAMETERS, "soi_scales": [1.0]}
    response = compute(tiny_model, 8, **axes)
    save_result(response, tmp_path / "result.nc")
    data = corrected_response(DmiData(tmp_path / "result.nc"), found)
    xr.testing.assert_identical(data.dataset, corrected(response, expected))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mesh": 6}, "parameters: unknown key mesh; expected soi_masks"),
        ({"fermi_level": "charge"}, "parameters: fermi_level: 'charge' was given"),
        ({"symmetry": "all"}, "parameters: symmetry: 'all' was given"),
    ],
)
def test_bad_parameters_are_refused_before_anything_runs(builder, parameters, message):
    with pytest.raises(ValueError, match=message):
        builder.parameters = orm.Dict(parameters)


def test_engine_refuses_in_its_words(builder):
    builder.parameters = orm.Dict({"temperatures": [30000.0]})
    _, node = engine.run_get_node(builder)
    assert node.exit_status == 320
    assert "raise nbnd" in node.exit_message
