"""Films by name and the paper's presets, in the provenance."""

import numpy as np
import pytest

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.bilayer import bilayer_structure, co_pt111, film, film_arguments, mn_w001
from aiida_dmi.structures.layers import layer_names
from aiida_dmi.workflows import validation

pytestmark = pytest.mark.usefixtures("aiida_profile")


def heights(structure):
    return [site.position[2] for site in structure.sites]


def test_demo_film_is_the_prototypes():
    """What the stored reference runs were made from: the node's content, digit by digit."""
    structure = co_pt111(magnet_layers=1, substrate_layers=1)
    assert structure.base.attributes.all == {
        "cell": [[2.7718585822513, 0.0, 0.0], [1.3859292911256, 2.4004999479275, 0.0], [0.0, 0.0, 12.2632130552]],
        "pbc1": True,
        "pbc2": True,
        "pbc3": False,
        "kinds": [
            {"symbols": ["Pt"], "weights": [1.0], "mass": 195.084, "name": "Pt"},
            {"symbols": ["Co"], "weights": [1.0], "mass": 58.933194, "name": "Co"},
        ],
        "sites": [
            {"position": [0.0, 1.6003332986183, 5.0], "kind_name": "Pt"},
            {"position": [0.0, 0.0, 7.0432130552], "kind_name": "Co"},
        ],
    }


def test_papers_films():
    cobalt, manganese = co_pt111(), mn_w001()
    assert (cobalt.get_formula(), cobalt.label) == ("Co3Pt10", "Co/Pt(111) 3+10")
    assert (manganese.get_formula(), manganese.label) == ("MnW9", "Mn/W(001) 1+9")
    np.testing.assert_allclose(np.diff(heights(manganese)), [1.5825] * 8 + [1.4825], atol=1e-9)
    np.testing.assert_allclose(np.diff(heights(cobalt)), [3.92 / 3**0.5] * 9 + [2.0432130552] + [1.9165] * 2, atol=1e-4)
    for structure in (cobalt, manganese):
        assert validation.structure(structure) is None


def test_prototype_of_mn_w():
    structure = mn_w001(substrate_layers=3)
    assert layer_names(structure) == ["W.3", "W.2", "W.1", "Mn.1"]
    np.testing.assert_allclose(np.array(structure.cell)[:2, :2], 3.165 * np.eye(2), atol=1e-9)
    # The Mn atom above the middle of four W.
    offset = np.subtract(structure.sites[3].position, structure.sites[2].position)
    np.testing.assert_allclose(np.abs(offset), [1.5825, 1.5825, 1.4825], atol=1e-9)


def test_provenance_and_hash():
    """The graph holds every number; the same numbers make the same node."""
    first, second = co_pt111(2, 3), film("Co/Pt(111):2+3")
    assert first.creator.process_label == "build_bilayer"
    parameters = first.creator.inputs.parameters.get_dict()
    assert parameters["lattice_constant"] == 3.92
    assert parameters["magnet_spacing"] == pytest.approx(1.9165)
    assert first.uuid != second.uuid
    assert first.base.caching.compute_hash() == second.base.caching.compute_hash()
    assert first.base.caching.compute_hash() != co_pt111(2, 3, strain=0.01).base.caching.compute_hash()
    # 10.22 Angstrom of vacuum as in the prototype.
    assert first.cell[2][2] - np.ptp(heights(first)) == pytest.approx(10.22)


@pytest.mark.parametrize(
    ("text", "facet", "names"),
    [
        ("Fe/Ir(111):1+2", "fcc111", ["Ir.2", "Ir.1", "Fe.1"]),
        ("Mn/W(110):1+2", "bcc110", ["W.2", "W.1", "Mn.1"]),
        ("Cr/Ta(001):1+1", "bcc001", ["Ta.1", "Cr.1"]),
        ("Ni/Re(0001):2+2", "hcp0001", ["Re.2", "Re.1", "Ni.1", "Ni.2"]),
        ("Pt/Ir/Co/Pt(111) : 1+2+1+1", "fcc111", ["Pt.1", "Co.1", "Ir.1", "Ir.2", "Pt.2"]),
    ],
)
def test_films_by_name(text, facet, names):
    assert film_arguments(text)["facet"] == facet
    structure = film(text)
    assert layer_names(structure) == names
    assert structure.label == text.replace(" ", "").replace(":", " ")
    # No two atoms nearer than 2.3 Angstrom: estimated spacings make sensible bonds.
    assert np.diff(heights(structure)).min() > 1.0


def test_rhenium_keeps_its_own_c():
    assert np.diff(heights(film("Co/Re(0001):1+2")))[0] == pytest.approx(4.456 / 2)


def test_changes_by_argument():
    structure = film(
        "Co/Pt(111):2+2",
        substitutions={"Co.1": "Fe", "Pt.1": "Ir"},
        caps=[{"element": "Ir", "layers": 2}],
        kinds="layer",
        vacuum=15.0,
    )
    assert [site.kind_name for site in structure.sites] == ["Pt1", "Ir1", "Fe1", "Co1", "Ir2", "Ir3"]
    assert structure.label == "Ir/Co/Pt(111) 2+2+2, Co.1 = Fe, Pt.1 = Ir"
    assert structure.cell[2][2] - np.ptp(heights(structure)) == pytest.approx(15.0)
    cap = structure.creator.inputs.parameters["caps"][0]
    assert (cap["interface_spacing"], cap["spacing"]) == pytest.approx((2.0563, 2.1932), abs=1e-3)


def test_elements_outside_the_tables():
    """Any film by its numbers, magnets that are none by default included."""
    structure = bilayer_structure(
        substrate="Y",
        magnet="Gd",
        facet="hcp0001",
        lattice_constant=3.65,
        substrate_layers=2,
        magnet_layers=1,
        interface_spacing=2.88,
        kinds="layer",
    )
    assert [site.kind_name for site in structure.sites] == ["Y2", "Y1", "Gd1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Co on Pt", "film: 'Co on Pt' was given, expected such as 'Co/Pt"),
        ("Co/Pt(111):1+2+3", "names 2 elements and 3 numbers of layers"),
        ("Co/Pt(001):1+3", r"Pt\(001\) was given, Pt is fcc: \(111\) can be built"),
        ("Mn/W(111):1+3", r"W is bcc: \(001\) and \(110\) can be built"),
        ("Co/Y(0001):1+3", "Y is not in the table"),
        ("Pt/Co(0001):1+3", r"expected one magnet \(Cr, Mn, Fe, Co, Ni\) right above the substrate"),
        ("Fe/Co/Pt(111):1+1+3", "replace single layers by `substitutions`"),
        ("Co/Pt(111):0+3", "magnet_layers: 0 was given"),
    ],
)
def test_bad_names_are_answered(text, message):
    with pytest.raises(InputError, match=message):
        film(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kinds": "atom"}, "kinds: 'atom' was given"),
        ({"height": 20.0}, "height: no argument of a bilayer"),
        ({"caps": ["Ir"]}, "caps: 'Ir' was given"),
        ({"caps": [{"element": "Y"}]}, "Y is not in the table"),
        ({"lattice_constant": "4"}, "lattice_constant: '4' was given"),
    ],
)
def test_bad_changes_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        co_pt111(1, 1, **changes)
