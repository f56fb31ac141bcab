"""`quantities`: what is not asked for is not computed, not in the result, and changes nothing else."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine import InputError, compute, load_result
from aiida_dmi.engine.quantities.registry import BY_DEFAULT
from aiida_dmi.engine.run.cli import main

AXES = {"temperatures": [900.0], "soi_scales": [0.5, 1.0], "fermi_shifts": [-0.2, 0.0], "directions": [(1, 0, 1)]}
NAMED = ("D", "Q", "a_I", "a_II")
OTHERS = {"mu_bare", "electrons", "direction_vector", "mask_weights"}


@pytest.fixture(scope="module")
def everything(film):
    return compute(film(6).model(), 6, **AXES)


@pytest.mark.parametrize(
    ("asked", "follow"),
    [
        (NAMED, {"mu", "Q_1", "symmetry_residual"}),
        (("a_II", "a_I"), {"Q_1"}),
        (("D_1", "a_I", "a_II"), {"Q_1", "closure"}),
        (("D",), {"mu", "symmetry_residual"}),
        (["Q"], {"mu"}),
        (["Q", "D"], {"mu", "symmetry_residual"}),
        (["Q", "D_1"], {"mu"}),
        (["a_II"], set()),
        (["a_I"], set()),
        (["D_1"], set()),
        (["a_II", "D_1"], set()),
        (iter(BY_DEFAULT), {"mu", "Q_1", "closure", "symmetry_residual"}),
    ],
)
def test_some(film, everything, asked, follow):
    asked = list(asked)
    result = compute(film(6).model(), 6, quantities=iter(asked), **AXES)
    tensors = {*asked, *(follow & {"Q_1"})}
    assert set(result.data_vars) == tensors | {f"{name}_error" for name in tensors} | follow | OTHERS
    assert list(result.attrs["quantities"]) == [name for name in BY_DEFAULT if name in asked]
    for name in result.data_vars:
        np.testing.assert_array_equal(result[name], everything[name], err_msg=name)


def test_all_by_default(everything):
    assert list(everything.attrs["quantities"]) == list(BY_DEFAULT)
    assert float(everything.closure.min()) > 0


@pytest.mark.parametrize("fermi_level", ["neutral", "neutral-bare", "dft"])
@pytest.mark.parametrize("asked", [["Q"], ["D"], ["a_I", "a_II"], ["a_II"], ["D_1"], ["Q", "a_II"]])
@pytest.mark.parametrize("exact", [False, True])
def test_the_rest_is_the_same_to_the_last_bit(film, fermi_level, asked, exact):
    """Whatever is left out, with a chemical potential of any kind and projectors differentiated or not."""
    model = film(7).model()
    if exact:
        gradients = tuple(1j * np.einsum("sqpm,sqjmn->sqjpn", p, model.position) for p in model.projections)
        model = dataclasses.replace(model, gradients=gradients)
    axes = AXES | {"fermi_level": fermi_level, "soi_masks": {"all": [1, 1], "Co": [1, 0]}}
    whole, part = compute(model, 4, **axes), compute(model, 4, quantities=asked, **axes)
    assert set(part.data_vars) < set(whole.data_vars)
    assert ("a_II_exact" in part) == (exact and "a_II" in asked)
    for name in part.data_vars:
        # The number of electrons is from eigenvalues alone where no states are needed: LAPACK's last digit.
        same = np.testing.assert_allclose if name == "electrons" else np.testing.assert_array_equal
        same(part[name], whole[name], err_msg=name)


@pytest.mark.parametrize("fermi_level", ["neutral", "neutral-bare", "dft"])
def test_work_that_is_left_out(film, diagonalised, fermi_level):
    """H(xi), of twice the size of Hbar's blocks, is solved for D and Q, and for mu of them, alone.

    Two xi at 16 k points: once for the states, and at `neutral` twice for their energies, on this mesh and on the small
    one of the first guess, which is the same here.
    """
    model = film(6).model()
    half, whole = model.functions, 2 * model.functions
    for asked in (["a_I", "a_II"], ["a_I"], ["a_II"], ["D_1"], ["a_I", "a_II", "D_1"]):
        sizes = diagonalised(model, 4, quantities=asked, fermi_level=fermi_level, **AXES)
        assert sizes[whole] == 0
        assert sizes[half] > 0
    times = 3 if fermi_level == "neutral" else 1
    for asked in (["Q"], ["D", "Q"], ["Q", "a_I"]):
        sizes = diagonalised(model, 4, quantities=asked, fermi_level=fermi_level, **AXES)
        assert sizes[whole] == 32 * times


@pytest.mark.parametrize(
    ("asked", "named"),
    [(["D", "a_I"], {"D", "a_I"}), (["a_I", "a_II"], {"a_I", "a_II", "Q_1"}), (["a_I", "D_1"], {"a_I", "D_1"})],
)
def test_refinement(film, asked, named):
    """It looks at what there is."""
    axes = {"temperatures": [4000.0], "quantities": asked}
    result = compute(film(4).model(), 4, tolerance=1e-9, max_mesh=8, **axes)
    text = result.attrs["refinement"].split("; ")[-1]
    assert {part.split(" ")[0] for part in text.split(": ", 1)[1].split(", ")} == named


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
