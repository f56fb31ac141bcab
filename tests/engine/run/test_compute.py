"""The driver: refinement, symmetry, the chemical potential, combined axes, low temperature, memory, refusals."""

import dataclasses
import itertools
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit

from aiida_dmi.engine import InputError, RashbaModel, compute
from aiida_dmi.engine.constants import BOLTZMANN_EV
from aiida_dmi.engine.integrate import chemical_potential
from aiida_dmi.engine.integrate.kernel import Kernel
from aiida_dmi.engine.integrate.settings import Settings, Tolerance
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.kspace.mesh import Mesh
from aiida_dmi.engine.processes.progress import SilentProgress
from aiida_dmi.engine.processes.workers import Workers
from aiida_dmi.engine.states.spinors import band_energies
from aiida_dmi.engine.symmetry.symmetrise import symmetrised

from ..theory import exact_weight

TENSORS = ("D", "Q", "a_I", "a_II", "D_1", "Q_1")
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


@pytest.fixture(scope="module")
def copt(copt11):
    """Co/Pt 1+1 with its moments."""
    return dataclasses.replace(copt11, moments=np.array([0.4, 1.9]))


@pytest.fixture(scope="module")
def symmetric(copt):
    """The same, exactly C3v and time reversal."""
    return symmetrised(copt)


def same(one, other, relative, names=None, ignore=()):
    """Every variable equal to `relative` of its largest element or of 1 (meV*Angstrom); NaN where the other has it."""
    assert set(one.data_vars) == set(other.data_vars)
    for name in names or one.data_vars:
        if name in ignore:
            continue
        expected = other[name].values
        largest = np.abs(expected[np.isfinite(expected)]).max(initial=1.0)
        np.testing.assert_allclose(
            one[name].values, expected, rtol=0, atol=relative * largest, equal_nan=True, err_msg=name
        )


# -- refinement ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def warm(film):
    """A film that converges on small meshes, and its axes."""
    return film(4).model(), {"temperatures": [2500.0, 4000.0], "soi_scales": [0.2, 1.0]}


def largest(result):
    return max(float(result[f"{name}_error"].max()) for name in TENSORS)


def meshes(result):
    """Points a side of each mesh of a refinement."""
    return [int(part.split("x")[0]) for part in result.attrs["refinement"].split("; ")]


@pytest.mark.parametrize("fermi_level", ["dft", "neutral", "neutral-bare"])
def test_refinement(warm, fermi_level):
    """Until every error is within the tolerance; the same as a run on the final mesh."""
    model, axes = warm
    refined = compute(model, 15, tolerance=1e-4, fermi_level=fermi_level, **axes)
    assert largest(refined) <= 1e-4
    assert refined.attrs["converged"] == 1
    assert refined.attrs["tolerance"] == 1e-4
    assert refined.attrs["max_mesh"] == 768
    found = meshes(refined)
    assert found[0] == 15
    assert all(one < other < 2.2 * one for one, other in itertools.pairwise(found))
    assert len(found) <= 4
    direct = compute(model, found[-1], fermi_level=fermi_level, **axes)
    same(refined, direct, 1e-10)
    numbers = dict(re.findall(r"(\w+) ([-+.e\d]+)", refined.attrs["refinement"].split("; ")[-1].split(": ")[1]))
    assert set(numbers) == set(TENSORS)
    for name, number in numbers.items():
        assert float(number) == pytest.approx(float(direct[f"{name}_error"].max()), rel=1e-2)


def test_part_of_dmi_as_tolerance(warm):
    """Of the largest component at each temperature, the largest xi and the shift nearest to zero."""
    model, axes = warm
    axes = {**axes, "fermi_shifts": [-0.3, 0.1], "soi_masks": {"all": [1, 1], "Co": [1, 0]}}
    refined = compute(model, 12, tolerance="0.2 %", **axes)
    assert refined.attrs["tolerance"] == "0.2 %"
    size = abs(refined.D).sel(soi_scale=1.0, fermi_shift=0.1).max(["direction", "mask", "i", "j"])
    for name in TENSORS:
        assert bool((refined[f"{name}_error"] <= 0.002 * size).all()), name
    alone = compute(model, 12, tolerance="0.2 %", quantities=["ahc"], temperatures=[2500.0])
    assert float(alone.ahc_error.max()) <= 0.002 * float(abs(alone.ahc).max())


@pytest.mark.parametrize("given", ["1", "%", "-1 %", "0 %", "1 % ", "200 %", "a %", 0, -1.0, np.nan])
def test_tolerances_that_are_none(warm, given):
    if given == "1 % ":
        assert Tolerance.checked(given) == Tolerance(0.01, True)
        return
    with pytest.raises(InputError, match=r"^tolerance: .*or a part of D such as '1 %'"):
        compute(warm[0], 6, tolerance=given)


def test_refinement_stops_at_the_largest_mesh(warm):
    model, axes = warm
    result = compute(model, 12, tolerance=1e-12, max_mesh=25, **axes)
    assert list(result.attrs["mesh"]) == [25, 25]
    assert (result.attrs["converged"], result.attrs["max_mesh"], result.attrs["tolerance"]) == (0, 25, 1e-12)
    assert largest(result) > 1e-12
    same(result, compute(model, 25, **axes), 1e-10)


def test_first_mesh_of_a_refinement(warm):
    """Any mesh may be the first, and divisions keep their ratio; 24 points a side where none is given."""
    model, axes = warm
    for mesh in (9, (3, 5), None):
        first = compute(model, mesh, tolerance=1e9, max_mesh=24, **axes).attrs["refinement"].split(":")[0]
        assert first == {9: "9x9", (3, 5): "3x5", None: "24x24"}[mesh]
    assert "refinement" not in compute(model, 6, **axes).attrs


def test_what_is_not_resolved_is_refined(film):
    """At 50 K no error is known on the first mesh; it has none in the log either."""
    model = film(4).model()
    result = compute(model, 12, temperatures=[50.0], tolerance=1e9, max_mesh=24)
    assert meshes(result) == [12, 24]
    assert "D not resolved" in result.attrs["refinement"]
    assert np.isnan(result.D_error).all()
    assert np.isfinite(result.D).all()
    assert result.attrs["converged"] == 0


@pytest.mark.parametrize("fermi_level", ["dft", "neutral"])
def test_refinement_with_symmetry(symmetric, fermi_level):
    axes = {"temperatures": [1500.0], "fermi_level": fermi_level, "symmetry": True}
    refined = compute(symmetric, 12, tolerance=1e-9, max_mesh=24, **axes)
    assert list(refined.attrs["mesh"]) == [24, 24]
    same(refined, compute(symmetric, 24, **axes), 1e-10, ignore=["symmetry_residual"])
    assert float(refined.symmetry_residual.max()) < 1e-8


def test_error_covers_the_distance_to_a_finer_mesh(symmetric):
    """Co/Pt at 300 K, yx: 160 points a side and its error against 288."""
    here, fine = (compute(symmetric, n, soi_scales=[1.0], temperatures=[300.0], symmetry=True) for n in (160, 288))
    for name in TENSORS:
        value, error, exact = (
            r.sel(i="y", j="x").values.item() for r in (here[name], here[f"{name}_error"], fine[name])
        )
        assert 0 < abs(value - exact) < error, name
        assert error < 0.06 * abs(fine.D.sel(i="y", j="x").item()), name


@pytest.mark.parametrize("fermi_level", ["neutral", "neutral-bare", "dft"])
def test_error_of_any_mesh(warm, fermi_level):
    """Each mesh with its own chemical potential, all shifts and temperatures, against the converged sum."""
    model, axes = warm
    axes = {**axes, "fermi_level": fermi_level, "fermi_shifts": [-0.2, 0.0]}
    exact = compute(model, 48, **axes)
    away, error = [], []
    for mesh in (12, 14, 15, 17, (12, 18), (17, 13)):
        here = compute(model, mesh, **axes)
        away += [np.abs(here[name] - exact[name]).values.ravel() for name in TENSORS]
        error += [here[f"{name}_error"].values.ravel() for name in TENSORS]
    away, error = np.concatenate(away), np.concatenate(error)
    given = np.isfinite(error)
    assert given.mean() > 0.6
    assert away.max() > 1e-3
    assert (error >= away)[given].mean() >= 0.98


# -- symmetry --------------------------------------------------------------------------------------------

REDUCED = {
    "z": ([(0, 0, 1)], None, 6),
    "-z": ([(0, 0, -1)], None, 6),
    "in-plane": ([(0, 1, 0)], None, 2),
    "other in-plane": ([(1, 0, 0)], None, 2),
    "masks": ([(0, 0, 1)], {"all": [1, 1], "Pt": [1, 0], "odd": [0.3, -2.0]}, 6),
    "both": ([(0, 0, 1), (0, 1, 0)], {"all": [1, 1], "Co": [0, 1]}, 2),
}


@pytest.mark.parametrize("case", REDUCED)
def test_reduced_mesh(symmetric, case):
    """For a symmetric model: tensors, errors, mu and closure of the full mesh."""
    directions, masks, order = REDUCED[case]
    axes = {
        "directions": directions,
        "soi_masks": masks,
        "soi_scales": [0.3, 1.0],
        "temperatures": [300.0, 1500.0],
        "fermi_shifts": [-0.3, 0.0],
    }
    full = compute(symmetric, 12, **axes)
    reduced = compute(symmetric, 12, symmetry=True, **axes)
    assert full.attrs["symmetry"] == "none"
    assert reduced.attrs["symmetry"] == f"magnetic point group of {order} operations"
    same(reduced, full, 1e-10, ignore=["symmetry_residual"])
    for result in (reduced, full):
        assert float(result.symmetry_residual.max()) < 1e-8
        assert np.isfinite(result.symmetry_residual).all()


@pytest.mark.parametrize("fermi_level", ["neutral", "dft"])
def test_errors_of_a_reduced_mesh(symmetric, fermi_level):
    """The Fourier coefficients of irreducible points, turned with the tensors, are those of all points."""
    axes = {"temperatures": [3000.0], "fermi_level": fermi_level}
    full, reduced = (compute(symmetric, 25, symmetry=flag, **axes) for flag in (False, True))
    same(reduced, full, 1e-10, ignore=["symmetry_residual"])
    for name in TENSORS:
        error, expected = reduced[f"{name}_error"].values, full[f"{name}_error"].values
        assert 0 < expected.max() < 5
        np.testing.assert_allclose(error, expected, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("mesh", [8, 9, 10, (6, 6)])
def test_reduced_mesh_of_other_sizes(symmetric, mesh):
    axes = {"temperatures": [1500.0], "fermi_level": "neutral"}
    same(compute(symmetric, mesh, symmetry=True, **axes), compute(symmetric, mesh, **axes), 1e-10, names=TENSORS)


def test_reduced_mesh_of_a_nearly_symmetric_model(copt, symmetric):
    """The raw model agrees within what it breaks the symmetry by, and says how much that is."""
    axes = {"temperatures": [1500.0]}
    full, reduced = (compute(copt, 12, symmetry=flag, **axes) for flag in (False, True))
    residual = float(full.symmetry_residual.max())
    assert 1e-4 < residual < 0.1
    assert float(reduced.symmetry_residual.max()) == pytest.approx(residual, rel=1e-6)
    for name in TENSORS:
        difference = float(np.abs(reduced[name] - full[name]).max())
        scale = max(float(np.abs(full[other]).max()) for other in TENSORS)
        assert 0 < difference < 0.1 * scale, name
    assert np.abs(reduced.mu - full.mu).max() < 2e-3
    # The forbidden components: present in the full sum, gone after symmetrising.
    assert abs(reduced.D.sel(i="x", j="x").values.item()) < 1e-12
    assert abs(full.D.sel(i="x", j="x").values.item()) > 1e-6


def test_symmetrised_on_the_way(copt, symmetric):
    """symmetry='model': the symmetrised model's numbers, the given model's residual."""
    axes = {"temperatures": [1500.0], "soi_masks": {"all": [1, 1], "Pt": [1, 0]}}
    result, expected = compute(copt, 12, symmetry="model", **axes), compute(symmetric, 12, symmetry=True, **axes)
    same(result, expected, 1e-10, ignore=["symmetry_residual"])
    assert result.attrs["symmetry"] == "magnetic point group of 6 operations, of the symmetrised model"
    given = compute(copt, 12, **axes).symmetry_residual
    assert float(np.abs(result.symmetry_residual - given).max()) < 1e-12
    assert float(given.max()) > 1e-4


GROUP = "magnetic point group of 6 operations, of the symmetrised model"
NONE = r"none: symmetry: symmetrising would move bands by 0\.[0-9]+ eV \(at most 0\.05 expected\)"


def strained(model, size):
    """A model that breaks its symmetry: hopping from atom to atom along one direction alone, `size` eV."""
    half = model.functions // 2
    hop = np.zeros((model.functions, model.functions))
    hop[range(half), range(half, 2 * half)] = size
    phases = np.exp(2j * np.pi * model.kpoints[:, 0])[:, None, None]
    change = phases * hop + np.conj(phases) * hop.T
    return dataclasses.replace(model, hamiltonian=model.hamiltonian + change)


@pytest.mark.parametrize(("size", "said"), [(0.0, GROUP), (2e-3, GROUP), (0.3, NONE)])
def test_automatic_symmetry(symmetric, size, said):
    """A symmetric, a slightly asymmetric, an asymmetric model: what is decided, said, summed, and the residual."""
    model, axes = strained(symmetric, size), {"temperatures": [1500.0]}
    result = compute(model, 12, symmetry="auto", **axes)
    assert re.match(said if said == NONE else re.escape(said) + "$", result.attrs["symmetry"])
    full = compute(model, 12, **axes)
    # Of the model as it was given, on a full mesh, whatever is summed.
    residual = float(full.symmetry_residual.max())
    assert float(result.symmetry_residual.max()) == pytest.approx(residual, rel=1e-6, abs=1e-9)
    assert residual < 1e-8 if size == 0 else residual > 1e-4
    summed = symmetrised(model) if said == GROUP else model
    same(result, compute(summed, 12, **axes), 1e-10, ignore=["symmetry_residual"])
    assert (len(np.unique(np.abs(result.D.values.round(12)))) <= 2) == (said == GROUP)  # 0 and |D_xy| = |D_yx|


@pytest.mark.parametrize(
    ("changes", "mesh", "said"),
    [
        ({"moments": None}, 6, "none: symmetry: .*moments"),
        ({}, (6, 4), r"none: mesh: \(6, 4\)"),
        ({"orbitals": "unlike"}, 6, "none: symmetry: symmetrising would move bands"),
    ],
)
def test_automatic_symmetry_says_why_there_is_none(copt, changes, mesh, said):
    model = dataclasses.replace(copt, **{key: value for key, value in changes.items() if key == "moments"})
    if "orbitals" in changes:  # functions in another order than s, p, d
        order = np.roll(np.arange(model.functions), 1)
        both = np.ix_(order, order)
        model = dataclasses.replace(model, hamiltonian=model.hamiltonian[:, :, *both])
    result = compute(model, mesh, symmetry="auto", temperatures=[1500.0])
    assert re.match(said, result.attrs["symmetry"]), result.attrs["symmetry"]
    same(result, compute(model, mesh, temperatures=[1500.0]), 0.0)


def test_residual_is_the_forbidden_part(copt, symmetric):
    """|D - PD|/|D| with P of C3v: only D_yx = -D_xy is allowed."""
    result = compute(copt, 6, temperatures=[1500.0])
    tensor = result.D.values.squeeze()
    allowed = np.zeros((3, 2))
    allowed[1, 0], allowed[0, 1] = (tensor[1, 0] - tensor[0, 1]) / 2 * np.array([1, -1])
    expected = np.linalg.norm(tensor - allowed) / np.linalg.norm(tensor)
    assert result.symmetry_residual.values.item() == pytest.approx(expected, rel=1e-8)


def test_symmetry_refused(copt, copt11):
    with pytest.raises(InputError, match=r"^mesh: \(12, 6\)"):
        compute(copt, (12, 6), symmetry=True)
    with pytest.raises(InputError, match="moments"):
        compute(copt11, 6, symmetry=True)
    with pytest.raises(InputError, match=r"^symmetry"):
        compute(RashbaModel(0.1, 1.0), 6, cutoff=0.5, symmetry=True)
    assert np.isnan(compute(copt11, 2).symmetry_residual).all()


# -- chemical potential ----------------------------------------------------------------------------------


def all_energies(model, mesh, xi, direction=(0, 0, 1), mask=None):
    """Every band energy of H(xi) on the mesh; xi None: of Hbar."""
    interpolation = Interpolation(model)
    kpoints = np.zeros((mesh**2, 3))
    kpoints[:, :2] = np.indices((mesh, mesh)).reshape(2, -1).T / mesh
    operators = interpolation.operators(kpoints)
    if xi is None:
        return np.linalg.eigvalsh(operators.hamiltonian).swapaxes(0, 1).reshape(len(kpoints), -1)
    columns = interpolation.spin_orbit_columns(direction, mask)
    return band_energies(operators, interpolation.spin_orbit(columns, kpoints, operators), xi)


def neutral(energies, electrons, temperature):
    kt = BOLTZMANN_EV * temperature

    def excess(mu):
        return expit((mu - energies) / kt).sum() / len(energies) - electrons

    return brentq(excess, energies.min() - 60 * kt, energies.max() + 60 * kt, xtol=1e-14)


def test_neutral_against_all_energies(copt):
    masks = {"all": [1.0, 1.0], "Pt": [1.0, 0.0]}
    axes = {"soi_scales": [0.0, 1.0, 2.0], "temperatures": [10.0, 300.0, 3000.0], "soi_masks": masks}
    result = compute(copt, 14, directions=[(0, 0, 1), (1, 1, 0)], **axes)
    for t in axes["temperatures"]:
        bare = neutral(all_energies(copt, 14, None), copt.electrons, t)
        assert result.mu_bare.sel(temperature=t).item() == pytest.approx(bare, abs=1e-10)
        for (number, n), mask, xi in (
            (direction, mask, xi)
            for direction in enumerate([(0, 0, 1), (1, 1, 0)])
            for mask in masks
            for xi in axes["soi_scales"]
        ):
            found = result.mu[number].sel(mask=mask, soi_scale=xi, temperature=t).item()
            expected = neutral(all_energies(copt, 14, xi, n, masks[mask]), copt.electrons, t)
            assert found == pytest.approx(expected, abs=1e-10), (n, mask, xi, t)
    np.testing.assert_allclose(result.electrons, copt.electrons, rtol=1e-12)
    assert np.ptp(result.mu.values) > 1e-2


def test_neutral_bare_and_dft(copt):
    axes = {"soi_scales": [0.5, 1.0], "temperatures": [300.0, 900.0]}
    full, bare, dft = (compute(copt, 6, fermi_level=f, **axes) for f in ("neutral", "neutral-bare", "dft"))
    np.testing.assert_array_equal(bare.mu_bare, full.mu_bare)
    np.testing.assert_array_equal(bare.mu, np.broadcast_to(bare.mu_bare, bare.mu.shape))
    assert np.abs(full.mu - bare.mu).min() > 1e-4
    np.testing.assert_array_equal(dft.mu, copt.fermi_energy)
    np.testing.assert_array_equal(dft.mu_bare, copt.fermi_energy)
    same(bare, full, 1e-12, names=["a_I", "a_II", "D_1", "Q_1", "electrons"])
    np.testing.assert_allclose(bare.electrons, copt.electrons, rtol=1e-12)
    assert np.abs(dft.electrons - copt.electrons).min() > 1e-3
    # D and Q at the mu of another choice are those of a fixed mu shifted there.
    for result in (full, bare):
        for xi in axes["soi_scales"]:
            for t in axes["temperatures"]:
                mu = result.mu.sel(soi_scale=xi, temperature=t).values.item()
                there = compute(
                    dataclasses.replace(copt, fermi_energy=mu), 6, soi_scales=[xi], temperatures=[t], fermi_level="dft"
                )
                for name in ("D", "Q"):
                    one = result[name].sel(soi_scale=xi, temperature=t).values.ravel()
                    np.testing.assert_allclose(one, there[name].values.ravel(), atol=1e-9 * np.abs(one).max())


def test_guess_that_is_far_off(copt):
    """Bands a hundred times as wide: the guess from 12 points a side is off by more than what is kept around it."""
    with pytest.warns(UserWarning, match="time reversal"):  # the same noise, a hundred times as large
        wide = dataclasses.replace(copt, hamiltonian=100 * copt.hamiltonian)
    small, large = (compute(wide, mesh, temperatures=[10.0], quantities=["D", "a_I"]) for mesh in (12, 16))
    for name, xi in (("mu_bare", None), ("mu", 1.0)):
        assert abs(small[name] - large[name]).item() > 2 * chemical_potential.MARGIN
        every = all_energies(wide, 16, xi, mask=[1, 1])
        expected = chemical_potential.neutral_level(every, wide.electrons, BOLTZMANN_EV * 10.0)
        assert large[name].item() == pytest.approx(expected, abs=1e-9)


def test_good_guess_is_one_look_at_the_bands(copt, capsys):
    """The log counts every k point once."""
    compute(copt, 16, temperatures=[10.0], progress=True)
    counted = re.findall(r"^band energies, mesh 16x16: (\S+) k", capsys.readouterr().err, re.MULTILINE)
    assert counted[-1] == "256/256"


def test_energies_far_away_are_not_kept(film):
    """Of twenty bands one crosses mu: looking for it takes less memory than all energies alone."""
    model = film(3, functions=10).model((3, 3, 1))
    levels = np.diag(20.0 * np.arange(-9, 1))
    model = dataclasses.replace(model, hamiltonian=0.2 * model.hamiltonian + levels, electrons=18.8)
    mesh = Mesh((150, 150))
    settings = Settings.checked(
        dimension=2, atoms=2, mesh=mesh.divisions, soi_scales=[1.0], fermi_shifts=[0.0], temperatures=[10.0],
        directions=[(0, 0, 1)], soi_masks=None, fermi_level="neutral", quantities=["a_I"],
    )  # fmt: skip
    kernel = Kernel.prepare(model, settings, 2**30)
    batches = mesh.batches(50)
    with Workers(kernel, 1) as workers:
        tracemalloc.start()
        try:
            report = SilentProgress(mesh.size, "band energies")
            chemical_potential.find_chemical_potentials(model, settings, mesh, batches, workers, report)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    bands, of_a_float = 20, 8
    assert peak < mesh.size * bands * of_a_float


def insulator(film, gap):
    """Nearly flat bands on both sides of a gap, filled below."""
    model = film(2, functions=2).model((3, 3, 1))
    up, down = 0.1 * model.hamiltonian
    shift = gap / 2 * np.eye(2)
    return dataclasses.replace(model, hamiltonian=np.stack([up - shift, down + shift]), electrons=2.0)


@pytest.mark.parametrize("temperature", [10.0, 300.0])
@pytest.mark.parametrize("gap", [0.6, 2.0, 6.0])
@pytest.mark.parametrize("mesh", [2, 8])
def test_insulator(film, gap, temperature, mesh):
    """mu in the gap, the tensors those of that mu."""
    model = insulator(film, gap)
    result = compute(model, mesh, temperatures=[temperature], soi_scales=[0.5])
    bare = np.sort(all_energies(model, mesh, None), axis=1)
    assert bare[:, 1].max() < result.mu_bare.item() < bare[:, 2].min()
    assert result.electrons.item() == pytest.approx(2.0, abs=1e-9)
    for mu, names in ((result.mu, ("D", "Q")), (result.mu_bare, ("a_I", "a_II", "D_1", "Q_1"))):
        there = dataclasses.replace(model, fermi_energy=mu.values.item())
        fixed = compute(there, mesh, temperatures=[temperature], soi_scales=[0.5], fermi_level="dft")
        same(result, fixed, 1e-9, names=names)
        assert all(np.isfinite(result[name]).all() for name in names)


def test_electrons_that_do_not_fit(small_model):
    for electrons in (4.0, 0.0, 5.0, -1.0):
        with pytest.raises(InputError, match="electrons"):
            compute(dataclasses.replace(small_model, electrons=electrons), 4)
    for electrons in (3.999, 0.01):
        result = compute(dataclasses.replace(small_model, electrons=electrons), 4)
        assert result.electrons.item() == pytest.approx(electrons, rel=1e-10)
    full = dataclasses.replace(small_model, electrons=4.0)
    assert np.isfinite(compute(full, 4, fermi_level="dft").D).all()


# -- optional parts and axes -----------------------------------------------------------------------------


def with_gradients(model, complete=False):
    """Random gradients, or those of complete functions: <d_j beta|W> = i P A_j."""
    random = np.random.default_rng(5)
    gradients = tuple(
        1j * (p[:, :, None] @ model.position)
        if complete
        else random.normal(size=(*p.shape[:2], 3, *p.shape[2:], 2)) @ [1, 1j]
        for p in model.projections
    )
    return dataclasses.replace(model, gradients=gradients)


def test_exact_second_part_only_with_gradients(film):
    axes = {"directions": [(0, 0, 1), (0.3, 0.2, -1.0)], "soi_masks": {"all": [1, 1], "one": [0, 2.0]}}
    model = film(4).model()
    without = compute(model, 4, **axes)
    assert not any(name.startswith("a_II_exact") for name in without.data_vars)
    other = compute(with_gradients(model), 4, **axes)
    assert other.a_II_exact.dims == other.a_II.dims
    assert other.a_II_exact_error.dims == other.a_II.dims
    assert other.a_II_exact.attrs["units"] == "meV angstrom"
    assert np.abs(other.a_II_exact - other.a_II).max() > 1e-2
    same(other.drop_vars(["a_II_exact", "a_II_exact_error"]), without, 1e-12)
    complete = compute(with_gradients(model, complete=True), 4, **axes)
    np.testing.assert_allclose(complete.a_II_exact, complete.a_II, atol=1e-9 * float(np.abs(complete.a_II).max()))
    np.testing.assert_allclose(
        complete.a_II_exact_error, complete.a_II_error, atol=1e-9 * float(np.abs(complete.a_II).max())
    )


@pytest.mark.parametrize("fermi_level", ["neutral", "neutral-bare", "dft"])
def test_axes_together_are_the_single_calls(film, fermi_level):
    model = film(6, functions=3).model()
    directions = [(0, 0, 1), (1, 0, 0), (0.3, -1.2, 0.5)]
    masks = {"all": [1, 1], "Co": [1, 0], "odd": [-0.5, 2.0]}
    scales, temperatures, shifts = [0.0, 0.4, -1.0], [150.0, 900.0], [-0.25, 0.0, 0.4]
    together = compute(model, 6, scales, shifts, temperatures, directions, masks, fermi_level)
    assert together.D.shape == (3, 3, 3, 2, 3, 3, 2)
    for d, n in enumerate(directions):
        for mask, weights in masks.items():
            for t in temperatures:
                for s in shifts:
                    for xi in scales:
                        single = compute(model, 6, [xi], [s], [t], [n], {mask: weights}, fermi_level)
                        part = together.isel(direction=[d]).sel(
                            mask=[mask], soi_scale=[xi], temperature=[t], fermi_shift=[s]
                        )
                        same(part, single, 1e-10)


# -- towards T = 0 ---------------------------------------------------------------------------------------


def from_the_lattice(film, k, xi, mu, kt):
    """D and Q (eV*Angstrom) of a TightBinding film at one k from H(R), A(R) and W, spinors written out; n = z."""
    phases = np.exp(2j * np.pi * film.vectors @ k)
    reach = film.vectors @ film.cell
    hopping = np.tensordot(phases, film.hopping, axes=1)
    slope = 1j * np.einsum("r,rj,rmn->jmn", phases, reach, film.hopping)
    position = np.tensordot(phases, film.position, axes=1)
    one, zero = np.eye(film.functions), np.zeros((film.functions, film.functions))
    up_down = np.diag(film.exchange)
    bare = np.block([[hopping + up_down, zero], [zero, hopping - up_down]])
    hamiltonian = bare + xi * sum(np.kron(s, w) for s, w in zip(PAULI, film.spin_orbit, strict=True))
    energies, u = np.linalg.eigh(hamiltonian)
    f = expit((mu - energies) / kt)
    dmi, current = np.zeros((2, 3, 2))
    for i, j in np.ndindex(3, 2):
        sigma, r = np.kron(PAULI[i], one), np.kron(np.eye(2), position[j])
        velocity = np.kron(np.eye(2), slope[j]) - 1j * (r @ hamiltonian - hamiltonian @ r)
        torque = u.conj().T @ (0.5j * (bare @ sigma - sigma @ bare)) @ u
        v = u.conj().T @ velocity @ u
        for n, m in np.ndindex(len(energies), len(energies)):
            if n != m:
                dmi[i, j] += exact_weight(energies[n], energies[m], mu, kt) * (torque[n, m] * v[m, n]).imag
        both = u.conj().T @ (sigma @ velocity + velocity @ sigma) @ u
        current[i, j] = (f * np.diag(both).real).sum() / 4
    return energies, dmi, current


@pytest.mark.parametrize("mesh", [2, 3])
def test_ten_kelvin_against_sixty_digits(film, mesh):
    """mu within kT of a band, so that occupations are partial, at a few k points."""
    lattice, kt = film(3), BOLTZMANN_EV * 10.0
    points = [np.array([a / mesh, b / mesh, 0.0]) for a in range(mesh) for b in range(mesh)]
    level = from_the_lattice(lattice, points[-1], 0.8, 0.0, kt)[0][3]
    shifts = [0.0, level + 0.7 * kt, level - 3 * kt, level + 0.3]
    result = compute(
        lattice.model(fermi_energy=0.0),
        mesh,
        soi_scales=[0.8],
        temperatures=[10.0],
        fermi_shifts=shifts,
        fermi_level="dft",
    )
    for s in shifts:
        exact = [from_the_lattice(lattice, k, 0.8, s, kt)[1:] for k in points]
        for name, expected in zip(("D", "Q"), 1e3 * np.mean(exact, axis=0), strict=True):
            found = result[name].sel(fermi_shift=s).values.squeeze()
            assert np.abs(expected).max() > 0.1
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max(), err_msg=name)


def test_ten_kelvin_is_finite(copt):
    result = compute(
        copt, 8, soi_scales=[0.0, 1e-8, 1e-4, 1.0], temperatures=[0.01, 10.0], fermi_shifts=[-1.0, 0.0, 1.0]
    )
    for name in (*TENSORS, "mu", "mu_bare", "electrons"):
        assert np.isfinite(result[name]).all(), name
    np.testing.assert_allclose(result.D.sel(soi_scale=0.0), 0.0, atol=1e-6 * float(np.abs(result.D).max()))
    slope = result.D.sel(soi_scale=1e-4, temperature=10.0) / 1e-4
    assert (
        np.abs(slope - result.D_1.sel(temperature=10.0)).max() < 1e-2 * np.abs(result.D_1.sel(temperature=10.0)).max()
    )


def test_one_orbital_few_points(film):
    """A gap at mu, no spin-orbit interaction: no pair of one spin, D = 0; nothing is infinite."""
    lattice = film(1, functions=1, exchange=10.0)
    atom = {"symbols": ("Co",), "positions": lattice.centres, "projections": lattice.projections[:1]}
    kpoints = 25
    atom["projections"] = (np.broadcast_to(lattice.projections[0].astype(complex), (2, kpoints, 3, 1)).copy(),)
    model = lattice.model(coupling=lattice.coupling[:1], **atom)
    levels = np.sort(all_energies(model, 2, None).ravel())[3:5]
    for fermi_level in ("neutral", "dft"):
        result = compute(
            dataclasses.replace(model, electrons=1.0, fermi_energy=levels.mean()),
            2,
            soi_scales=[0.0],
            temperatures=[10.0, 300.0],
            fermi_level=fermi_level,
        )
        assert levels[0] < result.mu.min() <= result.mu.max() < levels[1]
        np.testing.assert_allclose(result.D, 0.0, atol=1e-12)
        assert np.isfinite(result.Q).all()
        assert np.isfinite(result.a_I).all()


@pytest.mark.parametrize("moments", [(0.4, 1.9), (1.9, 1.9)])
def test_symmetry_that_is_not_found_costs_no_sums(copt, tmp_path, moments):
    """Two atoms on one place: there is no group. That is seen before the sums, and leaves the residual open."""
    model = dataclasses.replace(copt, positions=np.zeros_like(copt.positions), moments=np.array(moments))
    if moments[0] == moments[1]:  # of one kind, spglib refuses them by itself
        model = dataclasses.replace(
            model, symbols=("Co", "Co"), coupling=model.coupling[:1] * 2, projections=model.projections[:1] * 2
        )
    result = compute(model, 4, checkpoint=tmp_path / "c")
    assert np.isnan(result.symmetry_residual).all()
    assert np.isfinite(result.D).all()
    with pytest.raises(InputError, match=r"^symmetry: .*atoms lie on one another"):
        compute(model, 4, symmetry=True, checkpoint=tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


# -- memory ----------------------------------------------------------------------------------------------

PEAK = """
import re, sys
from pathlib import Path
from aiida_dmi.engine import WannierModel, compute

def peak():
    # ru_maxrss also counts what the process was forked from.
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024

model = WannierModel.load(sys.argv[1])
print(peak())
for mesh in (64, 88):
    compute(model, mesh, memory_limit=256 * 1024**2)
    print(peak())
"""


def test_peak_memory(data):
    """Measured, MiB: 174 with the model loaded, 231 at 64x64, 234 at 96x96 and 128x128: it does not grow with the mesh.

    Below 64x64 (204) batches are not full, and the tables of `TabulatedInterpolation` do not pay.
    """
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(data / "copt11.h5")], capture_output=True, text=True, check=True, timeout=240
    )
    loaded, small, large = (int(line) for line in done.stdout.split())
    assert large - loaded < 128
    assert large - small < 16


# -- refusals --------------------------------------------------------------------------------------------

BAD = {
    "mesh": [None, 0, -4, 4.0, "4", True, (4,), (4, 4, 4), (4, 0), (4, 4.5)],
    "soi_scales": [[], [np.nan], [1.0, 1.0], "1.0", 1.0, ["one"]],
    "fermi_shifts": [[], [np.inf], [0.0, 0.0], 0.0, [None]],
    "temperatures": [[], [0.0], [-1.0], [300.0, np.nan], 300.0, [300, 300]],
    "directions": [[], [(0, 0, 0)], [(0, 1)], [(0, 0, np.nan)], (0, 0, 1), [(0, 0, 1), (0, 0, 2)], "z"],
    "soi_masks": [{}, {"a": [1]}, {"a": 1}, {"a": [1, np.nan]}, [[1, 1]], {"a": ["x", 1]}],
    "fermi_level": ["scf", "", None, 3, ["dft"]],
    "method": ["greens", None, 1],
    "tolerance": [-1.0, 0.0, np.nan, np.inf, "fine", -1, True],
    "max_mesh": [0, -1, 24.0, True, "big"],
    "processes": [0, -1, 2.0, True, "many", None],
    "memory_limit": [0, -1, 1e9, "1 GiB", True],
    "cutoff": [0.5],
    "symmetry": [True, "no", 1, None],
    "save": ["result.nc"],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in BAD.items() for v in values], ids=repr)
def test_bad_argument(small_model, key, value):
    """One InputError that begins with the key. (symmetry=True: the model has no moments.)"""
    arguments = {"mesh": 4, key: value}
    with pytest.raises(InputError, match=rf"^{key}\b"):
        compute(small_model, **arguments)


@pytest.mark.parametrize("cutoff", [None, 0.0, -1.0, np.nan])
def test_bad_cutoff(cutoff):
    with pytest.raises(InputError, match="cutoff"):
        compute(RashbaModel(0.1, 1.0), 4, cutoff=cutoff)


def test_fermi_level_of_a_rashba_model():
    """It holds no number of electrons, so all modes are its own zero; a slip of the pen is still refused."""
    model = RashbaModel(0.1, 1.0)
    assert compute(model, 4, cutoff=0.5).attrs["fermi_level"] == "dft"
    with pytest.raises(InputError, match="fermi_level: 'neutrl'"):
        compute(model, 4, cutoff=0.5, fermi_level="neutrl")


@pytest.mark.parametrize(("mesh", "max_mesh"), [(24, 8), (10, 9), (None, 12)])
def test_first_mesh_beyond_the_largest(small_model, mesh, max_mesh):
    with pytest.raises(InputError, match="max_mesh"):
        compute(small_model, mesh, tolerance=1e9, max_mesh=max_mesh)


def test_nothing_is_left_of_a_refused_call(small_model, tmp_path):
    with pytest.raises(InputError):
        compute(small_model, 4, soi_masks={"a": [1]}, checkpoint=tmp_path / "c")
    assert list(tmp_path.iterdir()) == []
