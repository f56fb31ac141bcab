"""What the intake says of D by symmetry, held against D of a model that knows nothing of symmetry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from aiida import orm

from aiida_dmi.calculations.quality import assess_response
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine import compute
from aiida_dmi.engine.output.results import save_result
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.intake import take_in, with_starting_moments
from aiida_dmi.structures.symmetry import allowed_components

from .notation import read_films
from .test_descriptions import without_symmetry
from .tight_binding import density_of_d, p_model

FILMS = {entry.name: entry for entry in read_films()}
NOTHING = 1e-10
SOMETHING = 1e-5
TILTED = (0.3, -0.5, 0.8)


def taken(name):
    entry = FILMS[name]
    return take_in(entry.atoms(), Choices.checked(entry.said))


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        # C_3v, C_4v: one number.
        ("Mn/Au(111) 1+1", ("xy", "yx")),
        ("MnSeTe Janus", ("xy", "yx")),
        ("FeCo, ordered, two layers", ("xy", "yx")),
        # C_2v: two of them.
        ("Fe/W(110)", ("xy", "yx")),
        ("Gd/W(110)", ("xy", "yx")),
        ("2x1 Fe/Ir(001)", ("xy", "yx")),
        # D_3d, D_3h, D_4h.
        ("Co, one layer", ()),
        ("CrTe2, 1T", ()),
        ("VSe2, 2H", ()),
        ("Fe, three layers", ()),
        ("Co/Ru/Co", ()),
    ],
)
def test_components(name, allowed):
    """Those that are allowed are there, the others vanish to rounding."""
    film = taken(name)
    assert allowed_components(film.atoms).components == allowed
    found = density_of_d(film.atoms, film.film)
    for i, j in itertools.product(range(3), range(2)):
        size = abs(found[i, j])
        assert (size > SOMETHING) if f"{'xyz'[i]}{'xy'[j]}" in allowed else (size < NOTHING), (i, j, found)


def test_without_symmetry():
    """All but those along n are there, and none is said to vanish."""
    film = take_in(without_symmetry())
    assert film.film.vanishing is None
    found = np.abs(density_of_d(film.atoms, film.film))
    assert found[:2].min() > SOMETHING
    assert found[2].max() < NOTHING


@pytest.mark.parametrize("name", ["CrTe2, 1T", "VSe2, 2H", "Co, two layers", "Co/Ru/Co", "FeCl2, 1T", "Fe3GeTe2"])
def test_zero_for_which_directions(name):
    """With a centre of inversion D vanishes whichever way n points; with a mirror plane for n along z alone."""
    film = taken(name)
    for direction in ((0, 0, 1), TILTED):
        found = np.abs(density_of_d(film.atoms, film.film, direction)).max()
        zero = "for every direction of n" in film.film.vanishing or direction == (0, 0, 1)
        assert found < NOTHING if zero else found > SOMETHING, direction


def test_moments_can_lower_it():
    """Two layers of a symmetric film with moments of their own: the starting moments decide, once they are known."""
    entry = FILMS["Co, two layers"]
    film = take_in(entry.atoms(), Choices.checked({"kinds": "layer"}))
    assert "centre of inversion" in film.film.vanishing
    told = with_starting_moments(film.film, film.atoms, {"Co1": 1.7, "Co2": 1.7})
    assert "centre of inversion" in told.vanishing
    assert with_starting_moments(film.film, film.atoms, {"Co1": 1.9, "Co2": 1.2}).vanishing is None


def test_symmetry_but_for_rounding():
    """Heights of two digits: D is nearly zero, which a run would show as noise; said, not decided."""
    entry = FILMS["CrTe2, 1T"]
    atoms = entry.atoms()
    atoms.positions[0, 2] += 0.008
    film = take_in(atoms).film
    assert film.vanishing is None
    assert any(line.startswith("nearly symmetric, to 0.03 Angstrom") for line in film.decisions)
    atoms.positions[0, 2] += 0.1
    assert not any("nearly symmetric" in line for line in take_in(atoms).film.decisions)


@pytest.mark.usefixtures("aiida_profile")
@pytest.mark.parametrize(
    ("name", "directions", "masks", "judged"),
    [
        ("CrTe2, 1T", [(0, 0, 1), TILTED], {"all": [1, 1, 1]}, {"vanishing"}),
        ("VSe2, 2H", [(0, 0, 1)], {"all": [1, 1, 1]}, {"vanishing"}),
        ("VSe2, 2H", [(0, 0, 2), TILTED], {"all": [1, 1, 1]}, {"vanishing", "closure"}),
        # Of one layer alone it need not vanish, and nothing says whether it does.
        ("CrTe2, 1T", [(0, 0, 1)], {"below": [1, 0, 0]}, set()),
        ("MnSeTe Janus", [(0, 0, 1)], {"all": [1, 1, 1]}, {"closure"}),
    ],
)
def test_gate_of_films_without_dmi(name, directions, masks, judged, tmp_path):
    """Where D is zero its size is judged, not what is relative to it; elsewhere as for any film."""
    film = taken(name)
    result = compute(p_model(film.atoms, film.film), 4, temperatures=[4000.0], directions=directions, soi_masks=masks)
    save_result(result, tmp_path / "result.nc")
    limits = {"vanishing": 1e-6, "closure": 1e9}
    gate = assess_response(
        DmiData((tmp_path / "result.nc").absolute()), orm.Dict(limits), orm.Dict(film.film.record())
    ).get_dict()
    assert {key for key in limits if gate["quantities"][key]["value"] is not None} == judged
    assert gate["failed"] == []
