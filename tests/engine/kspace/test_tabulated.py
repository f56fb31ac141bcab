"""Tables of products on R against the products at every k point, and which of the two a computation takes."""

import dataclasses

import numpy as np
import pytest

from aiida_dmi.engine import compute
from aiida_dmi.engine.integrate.kernel import Kernel
from aiida_dmi.engine.integrate.settings import Settings
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.kspace.lattice_sum import LatticeSum
from aiida_dmi.engine.kspace.tabulated import TabulatedInterpolation
from aiida_dmi.engine.states.spinors import exchange_commutator

from ..run.test_bulk import crystal

DIRECTION = (0.3, -0.4, 0.8)


@pytest.fixture(scope="module", params=["film", "on centres", "copt11", "bulk"])
def model(request, film, copt11):
    models = {"film": lambda: film(3).model(mesh=(4, 3, 1)), "copt11": lambda: copt11, "bulk": lambda: crystal(0.1)}
    return models.get(request.param, lambda: film(5, on_centres=True).model())()


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * max(1.0, np.abs(expected).max()))


def test_same_operators(model):
    """At any k, not only where the tables were made."""
    plain = Interpolation(model)
    table = TabulatedInterpolation(plain)
    used = np.arange(3) < model.dimension
    kpoints = np.random.default_rng(1).uniform(-1, 1, (7, 3)) * used
    weights = np.linspace(0.5, 1, model.atoms)
    operators, expected = table.operators(kpoints), plain.operators(kpoints)
    for name in ("hamiltonian", "velocity", "overlap"):
        close(getattr(operators, name), getattr(expected, name))
    close(operators.commutator, exchange_commutator(expected))
    columns = [bands.spin_orbit_columns(DIRECTION, weights) for bands in (table, plain)]
    found = table.spin_orbit(columns[0], kpoints, operators)
    there = plain.spin_orbit(columns[1], kpoints, expected)
    close(found.interaction, there.interaction)
    close(found.velocity, there.velocity)
    assert np.abs(there.velocity).max() > 1e-3


def test_position_matrices_are_summed_where_they_are_missing(model):
    plain = Interpolation(model)
    kpoints = np.random.default_rng(2).uniform(-1, 1, (3, 3)) * (np.arange(3) < model.dimension)
    columns = plain.spin_orbit_columns(DIRECTION, np.ones(model.atoms))
    with_position = plain.spin_orbit(columns, kpoints, plain.operators(kpoints))
    np.testing.assert_array_equal(plain.spin_orbit(columns, kpoints).velocity, with_position.velocity)


@pytest.mark.parametrize("divisions", [(5, 4, 1), (1, 6, 1), (3, 4, 5)])
def test_sum_from_its_values(divisions):
    """X(R) from X on as many points as there are R, with R on both sides of zero."""
    random = np.random.default_rng(3)
    first = [-(m // 2) for m in divisions]
    vectors = np.stack(np.indices(divisions), axis=-1).reshape(-1, 3) + first
    matrices = random.normal(size=(2, len(vectors), 3, 3, 2)) @ [1, 1j]
    expected = LatticeSum.of(vectors, matrices)
    mesh = np.stack(np.indices(divisions), axis=-1).reshape(-1, 3) / divisions
    samples = expected.at(mesh).swapaxes(0, 1).reshape(*divisions, 2, 3, 3)
    kpoints = random.uniform(-1, 1, (6, 3))
    np.testing.assert_allclose(LatticeSum.from_samples(first, samples).at(kpoints), expected.at(kpoints), atol=1e-12)


@pytest.mark.parametrize(
    ("mesh", "memory_limit", "tabulated"), [(64, 2**30, True), (16, 2**30, False), (64, 2**24, False)]
)
def test_where_tables_are_made(copt11, mesh, memory_limit, tabulated):
    """For a mesh of many points, within the memory."""
    settings = Settings.checked(
        dimension=2, atoms=2, mesh=mesh, soi_scales=[1.0], fermi_shifts=[0.0], temperatures=[300.0],
        directions=[(0, 0, 1), (1, 0, 0)], soi_masks=None, fermi_level="dft",
    )  # fmt: skip
    kernel = Kernel.prepare(copt11, settings, memory_limit)
    assert isinstance(kernel.bands, TabulatedInterpolation) == tabulated


def with_tables(model, mesh, memory_limit, columns):
    """Whether `compute` has tables within this memory."""
    return TabulatedInterpolation.pays(Interpolation(model), columns, mesh**2, memory_limit // 2)


def same_tensors(found, expected):
    """Rounding of the operators, 1e-16, over a splitting squared (D) or cubed (D(1)) is what may differ."""
    tolerances = {"D": 1e-10, "Q": 1e-12, "a_I": 1e-12, "a_II": 1e-12, "D_1": 1e-9, "mu": 1e-12, "electrons": 1e-12}
    for name, tolerance in tolerances.items():
        scale = float(np.abs(expected[name]).max())
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize("fermi_level", ["dft", "neutral"])
def test_same_result(film, fermi_level):
    """Memory that holds the tables, or does not."""
    axes = {"temperatures": [300.0, 1500.0], "fermi_shifts": [-3.0, 0.0, 0.4, 3.0], "directions": [DIRECTION]}
    axes |= {"soi_scales": [0.3, 1.0], "soi_masks": {"all": [1, 1], "half": [0.5, -1]}, "fermi_level": fermi_level}
    model, mesh, much, little = film(4).model((3, 3, 1)), 26, 2**30, 2**18
    assert with_tables(model, mesh, much, 2)
    assert not with_tables(model, mesh, little, 2)
    same_tensors(compute(model, mesh, memory_limit=much, **axes), compute(model, mesh, memory_limit=little, **axes))


def test_same_result_of_a_real_film(copt11):
    mesh, much, little = 50, 2**30, 2**24
    assert with_tables(copt11, mesh, much, 1)
    assert not with_tables(copt11, mesh, little, 1)
    model, axes = dataclasses.replace(copt11, moments=np.array([0.4, 1.9])), {"symmetry": True}
    same_tensors(compute(model, mesh, memory_limit=much, **axes), compute(model, mesh, memory_limit=little, **axes))


def test_same_bits_for_any_number_of_processes(film):
    model, mesh, memory = film(4, functions=8).model((3, 3, 1)), 26, 2**23
    assert with_tables(model, mesh, memory, 1)
    axes = {"temperatures": [300.0], "memory_limit": memory}
    assert compute(model, mesh, processes=2, **axes).identical(compute(model, mesh, **axes))
