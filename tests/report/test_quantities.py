"""Any choice of quantities: the gate, the headline, tables, files and figures follow what was asked for."""

import io

import numpy as np
import pandas as pd
import pytest
from aiida import engine

from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import in_order, parts_of, symbol_of, unit_words
from aiida_dmi.plots.gallery import Case, draw, possible
from aiida_dmi.report.export import micromagnetic, sweep_csv
from aiida_dmi.report.page import render
from aiida_dmi.report.summary import as_text, summary_of
from aiida_dmi.workflows.dmi import DmiWorkChain

from .conftest import PARAMETERS


@pytest.fixture(scope="module")
def run(codes, model_file):
    """Runs the response of Co/Pt 1+1 with the quantities given, on a mesh that is too coarse for anything."""
    model = WannierModelData(model_file.absolute()).store()

    def made(*quantities):
        overrides = {"response": {**PARAMETERS, "quantities": list(quantities)}, "force": True}
        builder = DmiWorkChain.get_builder_from_model(codes["engine"], model, overrides=overrides)
        _, node = engine.run_get_node(builder)
        assert node.is_finished_ok, node.exit_message
        return node

    return made


@pytest.fixture(scope="module")
def without_dmi(run):
    """A scalar and a tensor of other indices and unit; no D."""
    return run("energy", "ahc")


@pytest.fixture(scope="module")
def spin_current(run):
    return run("Q")


def test_headline_of_what_was_asked(without_dmi):
    summary = summary_of(without_dmi)
    assert set(summary["values"]) == {"energy", "ahc_yx", "ahc_xy"}
    assert set(summary["values"]["energy"]) == {"meV", "meV_error"}
    hall = [summary["values"][key]["e2_per_h"] for key in ("ahc_yx", "ahc_xy")]
    assert hall[0] == pytest.approx(-hall[1], rel=1e-9)
    text = as_text(without_dmi)
    assert "sigma_yx" in text
    assert "D_yx" not in text.partition("sign")[0]


def test_gate_judges_what_is_there(without_dmi, spin_current):
    for node, size in ((without_dmi, "energy"), (spin_current, "Q")):
        gate = node.outputs.quality.get_dict()["response"]
        assert gate["closure"]["value"] is None
        assert gate["closure"]["passed"]
        result = node.outputs.response.dataset.sel(soi_scale=1.0, fermi_shift=0.0, mask="all")
        first = "ahc" if size == "energy" else size
        expected = float(result[f"{first}_error"].max(skipna=False) / abs(result[first]).max())
        assert gate["k_error"]["value"] == (None if np.isnan(expected) else pytest.approx(expected))


def test_page_without_dmi(without_dmi):
    page = render(without_dmi, from_model=False)
    assert "sigma_yx" in page
    assert "left-handed" not in page.partition("Versions")[0].replace("left-handed cycloid)", "")
    assert 'id="figure-others"' in page
    assert '<th class="number">E (meV per cell)</th>' in page


def test_figures_follow(without_dmi, spin_current):
    assert "others" in possible(Case.of(without_dmi))
    assert not {"spin-orbit", "fermi-level", "masked"} & set(possible(Case.of(without_dmi)))
    figure = draw("others", Case.of(without_dmi))
    assert len(figure.axes) == 2
    drawn = figure.table.columns
    values = without_dmi.outputs.response.dataset.sel(fermi_shift=0.0, mask="all", j="y", l="x").ahc.squeeze()
    np.testing.assert_allclose([x for x in drawn["ahc_yx (e^2 / h)"] if x != ""], values)
    # Of Q alone the figure of D and -Q shows Q.
    shown = draw("spin-orbit", Case.of(spin_current)).table.columns
    assert any(name.startswith("Q_yx") for name in shown)
    assert not any(name.startswith("D_yx") for name in shown)
    with pytest.raises(InputError, match=r"ahc, energy were computed, this figure shows D, Q"):
        draw("spin-orbit", Case.of(without_dmi))


def test_a_line_a_point(without_dmi):
    """No index of one quantity multiplies the rows of another."""
    result = without_dmi.outputs.response.dataset
    lines = [line for line in sweep_csv(result).splitlines() if not line.startswith("#")]
    table = pd.read_csv(io.StringIO("\n".join(lines)))
    points = [result.sizes[axis] for axis in ("direction", "mask", "soi_scale", "temperature", "fermi_shift")]
    assert len(table) == np.prod(points)
    assert {"energy (meV per cell)", "ahc_yx (e^2 / h per film)", "ahc_xy (e^2 / h per film)"} <= set(table.columns)
    np.testing.assert_allclose(table["energy (meV per cell)"], result.energy.values.ravel())


def test_micromagnetics_need_dmi(without_dmi):
    with pytest.raises(InputError, match="no D in it"):
        micromagnetic("mumax3", without_dmi.outputs.response.dataset, 2.0, "here", {})


@pytest.mark.parametrize(
    ("quantities", "message"), [(["D", "E"], "quantities: .*E"), ([], "quantities"), ("D, Q", "quantities")]
)
def test_unknown_quantities_are_refused(codes, model_node, quantities, message):
    overrides = {"response": {**PARAMETERS, "quantities": quantities}}
    with pytest.raises(ValueError, match=message):
        DmiWorkChain.get_builder_from_model(codes["engine"], model_node, overrides=overrides)


def test_a_finished_model_does_not_follow_the_scf(codes, model_node):
    with pytest.raises(ValueError, match="scf: not used with a finished model"):
        DmiWorkChain.get_builder_from_model(codes["engine"], model_node, overrides={"scf": {"kpoints_mesh": [4, 4]}})


@pytest.mark.parametrize(
    ("key", "parts", "written"),
    [
        ("D_yx", ("D", "yx"), "D_yx"),
        ("D_1_xy", ("D_1", "xy"), "D(1)_xy"),
        ("a_II_yx", ("a_II", "yx"), "a(II)_yx"),
        ("energy", ("energy", ""), "E"),
        ("unknown_yx", ("unknown_yx", ""), "unknown_yx"),
    ],
)
def test_keys_and_symbols(key, parts, written):
    assert parts_of(key) == parts
    assert symbol_of(key) == written


@pytest.mark.parametrize(
    ("key", "words"),
    [("meV_angstrom", "meV angstrom per cell"), ("e2_per_h", "e^2/h"), ("S_per_cm", "S/cm"), ("mu_B", "mu_B")],
)
def test_units_in_words(key, words):
    assert unit_words(key) == words


def test_order_does_not_depend_on_the_database():
    keys = ["a_I_xy", "energy", "Q_yx", "D_xy", "of_a_newer_version", "D_yx"]
    assert in_order(keys) == ["D_yx", "D_xy", "Q_yx", "a_I_xy", "energy", "of_a_newer_version"]
