"""Films of the literature, as people have them: every form, lying in any way, and one intake for all of them."""

from __future__ import annotations

import pytest

from aiida_dmi.data.model import WannierModelData
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.intake import take_in
from aiida_dmi.structures.runs import film_of_model

from .notation import read_films
from .people import ANY_WAY_UP, FORMS, STORED, THE_RIGHT_WAY_UP
from .tight_binding import p_model

pytestmark = pytest.mark.usefixtures("aiida_profile")

FILMS = read_films()
PART = {"s": "substrate", "m": "magnet", "x": "spacer", "c": "cap"}
NORMAL = {True: "+z as given", False: "+z from the substrate to the magnet"}
EACH = 4
"""Forms in which every film is given."""
IN_THE_DATABASE = 5
"""Every so many films are made in the database too."""


def test_there_are_enough():
    assert len(FILMS) >= 120
    assert len({entry.name for entry in FILMS}) == len(FILMS)
    assert all(entry.source for entry in FILMS)


@pytest.mark.parametrize(("number", "entry"), enumerate(FILMS), ids=[entry.name for entry in FILMS])
def test_film_of_the_literature(number, entry, tmp_path):
    """As it is, and in four of the forms and orientations: others for every film, so that all pairs come up."""
    plain = take_in(entry.atoms(), Choices.checked(entry.said)).film
    check(entry, plain, "as it is")
    assert any("turned over" in line for line in plain.decisions) == entry.over
    # Where +z is as given, which way up it lies is what the user says.
    ways = THE_RIGHT_WAY_UP if entry.given or "normal" in entry.said else ANY_WAY_UP
    forms, stored = list(FORMS.items()), list(STORED.items())
    chosen = [forms[(number + 3 * turn) % len(forms)] for turn in range(EACH)]
    if number % IN_THE_DATABASE == 0:
        chosen.append(stored[(number // IN_THE_DATABASE) % len(stored)])
    for turn, (form, read) in enumerate(chosen):
        lie = ways[(3 * number + turn) % len(ways)]
        check(entry, read(lie(entry.atoms()), dict(entry.said), tmp_path), f"{form}, {lie.__name__}")


SMALL = [entry for entry in FILMS if "normal" not in entry.said and len(entry.expected_names) <= 4]


@pytest.mark.parametrize("entry", SMALL[::3], ids=[entry.name for entry in SMALL[::3]])
def test_film_of_a_finished_model(entry, tmp_path):
    """A model is not turned: it is of the film as it was computed, and is read as that."""
    taken = take_in(entry.atoms(), Choices.checked(entry.said))
    p_model(taken.atoms, taken.film).save(tmp_path / "model.h5")
    node = WannierModelData((tmp_path / "model.h5").absolute())
    said = {key: value for key, value in entry.said.items() if key in ("magnets", "substrate", "thickness")}
    film = film_of_model(node, choices=Choices.checked(said))
    check(entry, film, "model")
    assert film.vanishing == taken.film.vanishing


def check(entry, film, how):
    assert list(film.names) == entry.expected_names, how
    part = {site: own for layer, own in zip(film.layers, film.parts, strict=True) for site in layer}
    letters = [PART[letter] for letter, layer in zip(entry.parts, entry.atoms_of_layers(), strict=True) for _ in layer]
    assert [part[site] for site in range(len(letters))] == letters, how
    assert film.normal == NORMAL[entry.given], how
    assert film.thickness == (None if entry.thickness is None else pytest.approx(entry.thickness, abs=1e-3)), how
    assert film.area == pytest.approx(entry.lattice.area, rel=1e-4), how
    zero = film.vanishing or ""
    found = {"inversion": "centre of inversion" in zero, "mirror": "mirror plane" in zero, None: not zero}
    assert found[entry.zero], (how, zero)
    for note in entry.notes:
        assert any(note in line for line in film.decisions), (how, film.decisions)
