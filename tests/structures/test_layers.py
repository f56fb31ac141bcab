"""Names of layers, masks and moments."""

import ase
import pytest
from aiida import orm

from aiida_dmi.engine import WannierModel
from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.bilayer import co_pt111, film
from aiida_dmi.structures.heights import cluster_layers, layer_kind
from aiida_dmi.structures.layers import layer_names, mask_weights, moments_by_name, sites_of
from aiida_dmi.structures.slab import film_of
from aiida_dmi.workflows.model_inputs import starting_moments


def column(symbols, spacing=2.0):
    """Atoms above each other, from below."""
    positions = [(0.0, 0.0, spacing * layer) for layer in range(len(symbols))]
    return ase.Atoms(symbols, positions=positions, cell=[2.7, 2.7, 40.0], pbc=(True, True, False))


CO2_PT3 = column(["Pt", "Pt", "Pt", "Co", "Co"])


def test_layers_are_numbered_from_the_interface():
    assert layer_names(CO2_PT3) == ["Pt.3", "Pt.2", "Pt.1", "Co.1", "Co.2"]
    # The order of the sites does not matter.
    assert layer_names(CO2_PT3[[4, 0, 2, 3, 1]]) == ["Co.2", "Pt.3", "Pt.1", "Co.1", "Pt.2"]


def test_caps_count_on():
    assert layer_names(column(["Pt", "Pt", "Co", "Pt", "Ir"])) == ["Pt.2", "Pt.1", "Co.1", "Pt.3", "Ir.1"]


def test_mixed_layers_have_one_number_an_element():
    """Two atoms a layer, Co and Fe in the magnet's first one."""
    symbols = ["Pt", "Pt", "Co", "Fe", "Co", "Co"]
    positions = [(x, x, z) for z in (0.0, 2.05, 4.0) for x in (0.0, 1.35)]
    atoms = ase.Atoms(symbols, positions=positions, cell=[2.7, 2.7, 20.0], pbc=(True, True, False))
    assert layer_names(atoms) == ["Pt.1", "Pt.1", "Co.1", "Fe.1", "Co.2", "Co.2"]
    assert sites_of(atoms, "interface") == [0, 1, 2, 3]


def test_rumpled_layers_stay_together():
    assert cluster_layers([0.1, 2.0, 0.0, 2.25, 4.0]) == ((0, 2), (1, 3), (4,))


@pytest.mark.parametrize(
    ("names", "sites"),
    [
        ("Co", [3, 4]),
        ("Pt.1", [2]),
        ("Pt.1-2", [1, 2]),
        ("substrate", [0, 1, 2]),
        ("magnet", [3, 4]),
        ("interface", [2, 3]),
        ("all", [0, 1, 2, 3, 4]),
        (["Co.2", "Pt.3", "Co.2"], [0, 4]),
    ],
)
def test_sites_by_name(names, sites):
    assert sites_of(CO2_PT3, names) == sites


@pytest.mark.parametrize("name", ["Pt.4", "Pt.2-4", "Pt.0", "Pt.2-1", "Ir", "cap", "Pt1", "pt"])
def test_unknown_names_are_answered_with_what_exists(name):
    message = (
        f"{name!r} is no part of this film; it has elements Co, Pt; layers Co.1-2, Pt.1-3; "
        "groups all, substrate, magnet, interface"
    )
    with pytest.raises(InputError) as error:
        sites_of(CO2_PT3, name)
    assert str(error.value) == message


def test_magnet_by_choice():
    """Fe below and Co above Pt: refused until it is said which one counts."""
    sandwich = column(["Fe", "Pt", "Pt", "Co"])
    with pytest.raises(InputError, match=r"two magnets .* \(upwards: Fe / Pt / Pt / Co\), .* give `magnets`"):
        layer_names(sandwich)
    assert layer_names(sandwich, magnets=["Co"]) == ["Fe.1", "Pt.2", "Pt.1", "Co.1"]
    # Elements need no layers.
    assert sites_of(sandwich, "Pt") == [1, 2]
    with pytest.raises(InputError, match="no magnetic layer among Pt, Gd"):
        layer_names(column(["Pt", "Gd"]))
    assert layer_names(column(["Pt", "Gd"]), magnets=["Gd"]) == ["Pt.1", "Gd.1"]


def test_masks():
    masks = {
        "all": "all",
        "interface": ["Co", "Pt.1"],
        "half": {"Pt": 0.5, "Co": 1},
        # Fewer atoms win, in either order.
        "deep": {"Pt.3": 1.0, "substrate": 0.25},
        "plain": [1, 0, 0, 0, 0.5],
    }
    assert mask_weights(CO2_PT3, masks) == {
        "all": [1.0] * 5,
        "interface": [0.0, 0.0, 1.0, 1.0, 1.0],
        "half": [0.5, 0.5, 0.5, 1.0, 1.0],
        "deep": [1.0, 0.25, 0.25, 0.0, 0.0],
        "plain": [1.0, 0.0, 0.0, 0.0, 0.5],
    }


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (["Co", "Pt.7"], "mask m: 'Pt.7' is no part of this film"),
        ({"Ir": 1.0}, "mask m: 'Ir' is no part of this film"),
        ({"Co": "strong"}, "mask m: 'strong' was given, expected a number"),
        ({"Co": float("nan")}, "mask m: nan was given"),
        ({"magnet": 1.0, "Co": 0.5}, "mask m: 'Co' and 'magnet' stand for the same atom with different values"),
        ([1.0, 0.0], "mask m: 2 weights were given for 5 atoms"),
        ([], r"mask m: \[\] was given"),
        (1.0, "mask m: 1.0 was given"),
    ],
)
def test_bad_masks_are_named(mask, message):
    with pytest.raises(InputError, match=message):
        mask_weights(CO2_PT3, {"m": mask})


def test_masks_of_a_model(model_file):
    """The same names on a stored model, Co/Pt(111) 1+1."""
    model = WannierModel.load(model_file)
    assert mask_weights(model, {"magnet": ["magnet"], "substrate": "Pt.1"}) == {
        "magnet": [0.0, 1.0],
        "substrate": [1.0, 0.0],
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [("Pt.1", "Pt1"), ("Pt.9", "Pt9"), ("Pt.10", "Pta"), ("Pt.35", "Ptz"), ("W.9", "W9"), ("W.10", "W10")],
)
def test_kinds_fit_into_three_characters(name, kind):
    assert layer_kind(name) == kind
    assert len(kind) <= 3


@pytest.mark.parametrize("name", ["Pt.36", "W.100"])
def test_layers_beyond_the_kinds_are_refused(name):
    with pytest.raises(InputError, match=rf"layer {name}: kinds by layer reach"):
        layer_kind(name)


@pytest.mark.usefixtures("aiida_profile")
def test_kinds_of_the_papers_films():
    """Ten Pt and three Co, all different, none in capitals that only case tells apart."""
    paper = co_pt111(kinds="layer")
    kinds = [site.kind_name for site in paper.sites]
    assert kinds == ["Pta", *[f"Pt{n}" for n in range(9, 0, -1)], "Co1", "Co2", "Co3"]
    assert len({kind.lower() for kind in kinds}) == 13
    assert sites_of(paper, ["Pta", "Co1"]) == sites_of(paper, ["Pt.10", "Co.1"]) == [0, 10]
    assert {paper.get_kind(kind).symbol for kind in kinds[:10]} == {"Pt"}


@pytest.mark.usefixtures("aiida_profile")
def test_moments_become_the_builders():
    structure = film("Co/Pt(111):2+3", kinds="layer")
    moments = moments_by_name(structure, {"Co": 1.9, "Co.2": 2.1, "Pt.1": 0.3})
    assert moments == {"Pt3": 0.0, "Pt2": 0.0, "Pt1": 0.3, "Co1": 1.9, "Co2": 2.1}
    assert starting_moments(film_of(structure).film, moments, {}) == moments
    plain = film("Co/Pt(111):2+3")
    assert moments_by_name(plain, {"magnet": 2.0}) == {"Pt": 0.0, "Co": 2.0}
    with pytest.raises(InputError, match=r"atoms of kind Co were given 0 and 2\.1 mu_B"):
        moments_by_name(plain, {"Co.2": 2.1})
    with pytest.raises(InputError, match="moments: 'Fe' is no part"):
        moments_by_name(plain, {"Fe": 2.0})


@pytest.mark.usefixtures("aiida_profile")
def test_kind_of_a_users_own():
    """Kinds that are neither element nor layer are names too."""
    structure = orm.StructureData(cell=[[2.7, 0, 0], [0, 2.7, 0], [0, 0, 20]], pbc=(True, True, False))
    structure.append_atom(symbols="Pt", name="Ptx", position=(0, 0, 5))
    structure.append_atom(symbols="Co", name="Co", position=(0, 0, 7))
    assert sites_of(structure, "Ptx") == sites_of(structure, "Pt") == [0]
    with pytest.raises(InputError, match=r"'Ptx1' is no part .*; kinds Ptx$"):
        sites_of(structure, "Ptx1")
