"""`quantities`: what is not asked for is not computed, not in the result, and changes nothing else."""

import numpy as np
import pytest

from aiida_dmi.engine import InputError, compute, load_result
from aiida_dmi.engine.cli import main
from aiida_dmi.engine.response import dmi_and_spin_current
from aiida_dmi.engine.settings import QUANTITIES

AXES = {"temperatures": [900.0], "soi_scales": [0.5, 1.0], "fermi_shifts": [-0.2, 0.0], "directions": [(1, 0, 1)]}
NAMED = ("D", "Q", "a_I", "a_II")
OTHERS = {"mu", "mu_bare", "electrons", "direction_vector", "mask_weights"}


@pytest.fixture(scope="module")
def everything(film):
    return compute(film(6).model(), 6, **AXES)


@pytest.mark.parametrize(
    ("asked", "follow"),
    [
        (NAMED, {"Q_1", "symmetry_residual"}),
        (("a_II", "a_I"), {"Q_1"}),
        (("D_1", "a_I", "a_II"), {"Q_1", "closure"}),
        (("D",), {"symmetry_residual"}),
        (["Q", "D_1"], set()),
        (["a_II"], set()),
        (iter(QUANTITIES), {"Q_1", "closure", "symmetry_residual"}),
    ],
)
def test_some(film, everything, asked, follow):
    asked = list(asked)
    result = compute(film(6).model(), 6, quantities=iter(asked), **AXES)
    tensors = {*asked, *(follow & {"Q_1"})}
    assert set(result.data_vars) == tensors | {f"{name}_error" for name in tensors} | follow | OTHERS
    assert list(result.attrs["quantities"]) == [name for name in QUANTITIES if name in asked]
    for name in result.data_vars:
        np.testing.assert_array_equal(result[name], everything[name], err_msg=name)


def test_all_by_default(everything):
    assert list(everything.attrs["quantities"]) == list(QUANTITIES)
    assert float(everything.closure.min()) > 0


def test_left_out_is_not_computed(film, monkeypatch):
    """No eigenstates of H(xi) for what is of first order in xi."""
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return dmi_and_spin_current(*arguments)

    monkeypatch.setattr("aiida_dmi.engine.kernel.response.dmi_and_spin_current", counted)
    model = film(6).model()
    compute(model, 2, quantities=["a_I", "a_II", "D_1"], **AXES)
    assert not calls
    compute(model, 2, quantities=["Q"], **AXES)
    assert calls


@pytest.mark.parametrize(
    ("asked", "named"), [(["D", "a_I"], {"D"}), (["a_I", "a_II"], {"a_I + a_II"}), (["a_I", "D_1"], {"a_I", "D_1"})]
)
def test_refinement(film, asked, named):
    """It looks at what there is."""
    axes = {"temperatures": [4000.0], "quantities": asked}
    result = compute(film(4).model(), 4, tolerance=1e-9, max_mesh=8, **axes)
    text = result.attrs["refinement"].split("; ")[-1]
    assert {part.rsplit(" ", 1)[0] for part in text.split(": ", 1)[1].split(", ")} == named


def test_in_a_spec(tmp_path, film):
    film(6).model().save(tmp_path / "model.h5")
    spec = tmp_path / "spec.yaml"
    spec.write_text("model: model.h5\nmesh: 2\nquantities: [Q, D]\n")
    assert main(["run", str(spec), "--output", str(tmp_path / "result.nc")]) == 0
    result = load_result(tmp_path / "result.nc")
    assert {"D", "Q"} <= set(result.data_vars)
    assert {"a_I", "D_1", "closure"}.isdisjoint(result.data_vars)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("quantities: []", "quantities: []"),
        ("quantities: D", "quantities: 'D'"),
        ("quantities: [D, E]", "expected a list of some of D, Q, a_I, a_II, D_1"),
        ("quantities: {D: 1}", "quantities:"),
        ("quantities: 3", "quantities: 3"),
        ("quantities: [Q]\nmicromagnetics: {thickness: 2.0}", "micromagnetics: quantities:"),
        ("quantities: [a_I]\nenergy_current: {dn_dt: [1, 0, 0]}", "energy_current: quantities:"),
    ],
)
def test_refused(tmp_path, film, capsys, line, word):
    film(6).model().save(tmp_path / "model.h5")
    spec = tmp_path / "spec.yaml"
    spec.write_text(f"model: model.h5\nmesh: 2\n{line}\n")
    assert main(["run", str(spec)]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "result.nc").exists()


@pytest.mark.parametrize("given", [[], "D", ["D", 1], {"D": 1}, 1])
def test_refused_in_python(film, given):
    with pytest.raises(InputError, match="quantities"):
        compute(film(6).model(), 2, quantities=given)
