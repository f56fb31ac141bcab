"""Doped films: kinds, pseudopotentials, provenance and what is refused."""

import ase
import pytest
from aiida import orm
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.structures.doping import dope
from aiida_dmi.structures.layers import mask_weights
from aiida_dmi.structures.slab import film_from_ase, film_of
from aiida_dmi.workflows import validation
from aiida_dmi.workflows.model_inputs import starting_moments

pytestmark = pytest.mark.usefixtures("aiida_profile")


@pytest.fixture
def pseudos(upf_folder):
    return {element: UpfData(upf_folder / f"{element}.UPF").store() for element in ("Co", "Ni", "Fe", "Pt", "Ir", "Au")}


def kinds(structure):
    return [site.kind_name for site in structure.sites]


def test_one_layer_of_several(pseudos):
    """Only the doped layer gets a kind of its own; nothing moves."""
    host = co_pt111(2, 3)
    film, chosen = dope(host, {"Co.1": ("Ni", 0.2)}, pseudos)
    assert kinds(host) == ["Pt", "Pt", "Pt", "Co", "Co"]
    assert kinds(film) == ["Pt", "Pt", "Pt", "Co1", "Co"]
    assert [film.get_kind(kind).symbol for kind in kinds(film)] == [host.get_kind(kind).symbol for kind in kinds(host)]
    assert [site.position for site in film.sites] == [site.position for site in host.sites]
    assert (film.cell, film.pbc) == (host.cell, host.pbc)
    assert film.label == "Co/Pt(111) 2+3, Co.1 = Co0.8Ni0.2"
    assert sorted(chosen) == sorted(film.get_kind_names())
    assert [chosen[kind].uuid for kind in ("Pt", "Co")] == [pseudos[kind].uuid for kind in ("Pt", "Co")]
    assert chosen["Co1"].z_valence == pytest.approx(17.2)


def test_whole_elements_keep_their_kinds(pseudos):
    """The paper's Co(1-x)Ni(x) on Pt(1-x)Au(x): other pseudopotentials under the same names."""
    film, chosen = dope(co_pt111(2, 2), {"Co": ("Ni", 0.1), "Pt": ("Au", 0.1)}, pseudos)
    assert kinds(film) == ["Pt", "Pt", "Co", "Co"]
    assert {kind: pseudo.z_valence for kind, pseudo in chosen.items()} == pytest.approx({"Pt": 18.1, "Co": 17.1})
    assert film.label == "Co/Pt(111) 2+2, Co = Co0.9Ni0.1, Pt = Pt0.9Au0.1"


def test_layers_doped_differently(pseudos):
    film, chosen = dope(co_pt111(1, 4), {"Pt.1": ("Ir", 0.3), "Pt.2-3": ("Ir", 0.1)}, pseudos)
    assert kinds(film) == ["Pt", "Pt3", "Pt2", "Pt1", "Co"]
    electrons = {kind: chosen[kind].z_valence for kind in kinds(film)}
    assert electrons == pytest.approx({"Pt": 18, "Pt3": 17.9, "Pt2": 17.9, "Pt1": 17.7, "Co": 17})
    # One mixture for two kinds.
    assert chosen["Pt2"].uuid == chosen["Pt3"].uuid


def test_layers_are_those_of_the_film(pseudos):
    """With what was said of the host when it was made: a seed that is no magnet, a stated normal."""
    sites = [(0.0, 0.0), (1.386, 0.8), (2.772, 1.6)]
    heights = [3.0, 5.1, 7.4, 9.4]
    atoms = ase.Atoms("NiPtPtCo", positions=[[*sites[n % 3], z] for n, z in enumerate(heights)], pbc=True)
    atoms.set_cell([2.772, 2.772, 24.0, 90, 90, 60])
    doped, _ = dope(film_from_ase(atoms, magnets=["Co"]), {"Pt.1": ("Ir", 0.2)}, pseudos)
    assert kinds(doped) == ["Ni", "Pt", "Pt1", "Co"]
    assert film_of(doped).film.names == ("Ni.1", "Pt.2", "Pt.1", "Co.1")
    over, _ = dope(film_from_ase(atoms, magnets=["Co"], normal="down"), {"Pt.1": ("Ir", 0.2)}, pseudos)
    assert kinds(over) == ["Co", "Pt1", "Pt", "Ni"]
    with pytest.raises(InputError, match="two magnets with other layers in between"):
        dope(film_from_ase(atoms, magnets=["Co"]), {"Pt.1": ("Ir", 0.2)}, pseudos, magnets=["Ni", "Co"])


def test_kinds_by_layer_stay(pseudos):
    film, chosen = dope(co_pt111(2, 2, kinds="layer"), {"Co.1": ("Ni", 0.2)}, pseudos)
    assert kinds(film) == ["Pt2", "Pt1", "Co1", "Co2"]
    assert chosen["Co1"].uuid != chosen["Co2"].uuid == pseudos["Co"].uuid


def test_what_the_workflow_asks_of_it(pseudos):
    """Its validators take the film; moments and masks are named as for the host, at every x."""
    for fraction in (0.0, 0.2, 0.8, 1.0):
        film, chosen = dope(co_pt111(2, 2), {"Co.1": ("Ni", fraction)}, pseudos)
        assert validation.structure(film) is None
        assert validation.pseudos(chosen) is None
        assert starting_moments(film_of(film).film, None, {"Co": 1.7}) == {"Pt": 0.0, "Co1": 1.7, "Co": 1.7}
        assert mask_weights(film, {"interface": ["Co.1", "Pt.1"]}) == {"interface": [0, 1, 1, 0]}
        electrons = read_pseudo(chosen["Co1"]).valence
        assert electrons == pytest.approx(17 + fraction)


def test_provenance(pseudos):
    """From the doped film to the host and the parts; from its pseudopotentials to the elements."""
    host = co_pt111(2, 2)
    film, chosen = dope(host, {"Co.1": ("Ni", 0.2)}, pseudos)
    assert film.creator.inputs.structure.uuid == host.uuid
    assert film.creator.inputs.arguments["doping"] == {"Co.1": ["Ni", 0.2]}
    assert chosen["Co1"].creator.inputs.second.uuid == pseudos["Ni"].uuid


def test_pseudopotentials_of_a_family(pseudo_family, pseudos):
    """By the family's label; what it lacks is named."""
    chosen = dope(co_pt111(1, 1), {"Co": ["Mn", 0.5]}, pseudo_family.label).pseudos
    assert chosen["Pt"].uuid == pseudo_family.get_pseudo("Pt").uuid
    assert chosen["Co"].z_valence == 16
    with pytest.raises(InputError, match="has none for Ni"):
        dope(co_pt111(1, 1), {"Co": ("Ni", 0.5)}, pseudo_family.label)
    with pytest.raises(InputError, match="no family 'nothing'"):
        dope(co_pt111(1, 1), {"Co": ("Ni", 0.5)}, "nothing")


@pytest.mark.parametrize(
    ("doping", "message"),
    [
        ({}, "doping: none was given"),
        ({"Co.3": ("Ni", 0.2)}, "doping: Co.3: 'Co.3' is no part of this film"),
        ({"Co.1": ("Ni", 1.2)}, "doping: Co.1: fraction: 1.2 was given"),
        ({"Co.1": "Ni"}, "doping: Co.1: 'Ni' was given, expected an element and its part"),
        ({"Co.1": ("Ni", 0.2, 0.1)}, "expected an element and its part"),
        ({"Co.1": ("Co", 0.2)}, "doping: Co.1: Co is to replace Co"),
        ({"Co": ("Ni", 0.2), "Co.1": ("Ni", 0.3)}, "doping: Co.1: atom 2 is doped by another name too"),
        ({"Co.1": ("Mn", 0.2)}, "pseudos: none for Mn"),
        ({"Co.1": ("Fe", 0.2)}, "pseudopotential Co0.8Fe0.2 of Co: ghost state in its s channel"),
        ({"Co.1": ("Ir", 0.2)}, "virtual crystal of Co and Ir: their cores hold 10 and 60"),
    ],
)
def test_refused(pseudos, doping, message):
    """In one line, before anything is stored."""
    host = co_pt111(2, 2)
    before = orm.QueryBuilder().append(orm.Node).count()
    with pytest.raises(InputError) as caught:
        dope(host, doping, pseudos)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert orm.QueryBuilder().append(orm.Node).count() == before


def test_kind_names_that_clash(pseudos):
    """A host with a kind Co1 that is not the layer Co.1, which would have to be called so."""
    host = co_pt111(3, 1)
    named = orm.StructureData(cell=host.cell, pbc=host.pbc)
    for site, kind in zip(host.sites, ("Pt", "Co", "Co", "Co1"), strict=True):
        named.append_atom(position=site.position, symbols=kind[:2], name=kind)
    with pytest.raises(InputError, match="doping: kind Co1 would stand for atoms that are doped differently"):
        dope(named, {"Co.1": ("Ni", 0.2)}, pseudos)
    # The other kinds do not stand in the way.
    assert kinds(dope(named, {"Co.3": ("Ni", 0.2)}, pseudos).structure) == ["Pt", "Co", "Co", "Co1"]
