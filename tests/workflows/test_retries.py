"""What a further try changes, by the numbers of the last one."""

from __future__ import annotations

import pytest
from aiida import orm

from aiida_dmi.calculations.quality import MODEL as OF_MODEL
from aiida_dmi.calculations.quality import judged
from aiida_dmi.workflows.retries import MODEL, WANNIER90, WINDOW, change, first_choice, next_choice, reach_of

SETTINGS = {
    "orbitals": ["s", "p", "d"],
    "bands_per_function": 1.75,
    "frozen_window": 2.0,
    "trial_functions": "atomic",
}
LIMITS = {"bands": 10.0, "spread": 12.0, "time_reversal": 1e-3, "spin_overlap": 0.9, "charge": 0.05, "moment": 0.05}
GOOD = {"bands": 5.0, "bands_on_mesh": 0.1, "spread": 4.0, "time_reversal": 1e-6, "spin_overlap": 0.99}
REACH = 8.0
"""Angstrom, of 6x6 points of Co/Pt(111)."""


def gate(**numbers):
    return judged(OF_MODEL, {**GOOD, **numbers}, LIMITS)


def test_bands_that_are_right_on_the_mesh_want_a_denser_one():
    little, more, most = (change(SETTINGS, REACH, gate(bands=bands)) for bands in (11.0, 25.0, 400.0))
    assert 1.25 <= little.factor < more.factor < most.factor == 2.0
    assert not little.settings
    assert more.why == "bands 25 meV between the mesh's points, 0.1 meV at its points"
    # The same error on a mesh that reaches further: that much denser is less of it.
    assert change(SETTINGS, 2 * REACH, gate(bands=25.0)).factor < more.factor


def test_charge_and_moment_between_the_points_want_a_denser_mesh():
    found = change(SETTINGS, REACH, gate(charge=0.1))
    assert found.factor > 1
    assert found.why.startswith("charge 0.1 between")


def test_bands_that_are_off_on_the_mesh_want_functions():
    off = gate(bands=40.0, bands_on_mesh=30.0)
    narrow = change({**SETTINGS, "frozen_window": 0.5}, REACH, off)
    assert (narrow.settings, narrow.factor) == ({"frozen_window": 2.0}, 1.0)
    few = change({**SETTINGS, "orbitals": ["s", "d"]}, REACH, off)
    assert few.settings == {"orbitals": ["s", "d", "p"]}
    shell = change(SETTINGS, REACH, off)
    assert shell.settings == {"orbitals": ["s", "p", "d", "f"], "bands_per_function": 4.5}
    assert "bands 30 meV off at the mesh's own points" in shell.why
    assert change({**SETTINGS, "orbitals": ["s", "p", "d", "f"]}, REACH, off) is None


@pytest.mark.parametrize("wrong", [{"spread": 40.0}, {"time_reversal": 0.1}, {"spin_overlap": 0.5}])
def test_functions_that_are_none_of_the_bands_want_more_bands_then_other_functions(wrong):
    # The bands are off because the functions are.
    found = change(SETTINGS, REACH, gate(bands=90.0, **wrong))
    assert found.settings == {"bands_per_function": 2.5}
    assert found.factor == 1.0
    second = change({**SETTINGS, **found.settings}, REACH, gate(**wrong))
    assert second.settings == {"trial_functions": "hydrogenic", "frozen_window": 3.0}
    assert change({**SETTINGS, **found.settings, **second.settings}, REACH, gate(**wrong)) is None


@pytest.mark.parametrize(
    ("failure", "settings", "expected"),
    [
        (WINDOW, {}, {"orbitals": ["s", "p", "d", "f"], "bands_per_function": 4.5}),
        (WANNIER90, {}, {"frozen_window": 1.0}),
        (WANNIER90, {"frozen_window": 1.0}, {"bands_per_function": 2.5}),
        (MODEL, {}, {"bands_per_function": 2.5}),
    ],
)
def test_steps_that_fail(failure, settings, expected):
    assert change({**SETTINGS, **settings}, REACH, failure=failure).settings == expected


def test_what_other_functions_do_not_mend_is_left():
    assert change(SETTINGS, REACH, gate(states=0.0)) is None


def test_the_next_choice_has_a_mesh_of_the_film_with_neighbours(aiida_profile):
    film = orm.StructureData(cell=[[2.75, 0, 0], [-1.375, 1.375 * 3**0.5, 0], [0, 0, 16.0]], pbc=(True, True, False))
    film.append_atom(position=(0, 0, 0), symbols="Co")
    mesh = orm.KpointsData()
    mesh.set_cell_from_structure(film)
    mesh.set_kpoints_mesh([6, 6, 1])
    assert reach_of(mesh, film) == pytest.approx(8.25)
    settings = first_choice(orm.Dict({**SETTINGS, "retries": 3}))
    assert settings.get_dict() == SETTINGS
    found = next_choice(settings, mesh, film, orm.Dict({"num_iter": 0}), quality=orm.Dict(gate(bands=25.0)))
    assert found["settings"].get_dict() == SETTINGS
    assert found["kpoints"].get_kpoints_mesh() == ([9, 9, 1], [0, 0, 0])
    assert found["wannier90"]["num_iter"] == 0
