"""The calcfunction that mixes two pseudopotentials: nodes, provenance, and what follows on them."""

import pytest
from aiida import orm
from aiida.common.links import LinkType
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations import functions
from aiida_dmi.calculations.virtual_crystal import virtual_crystal_pseudo
from aiida_dmi.engine import InputError
from aiida_dmi.structures.bilayer import co_pt111

pytestmark = pytest.mark.usefixtures("aiida_profile")


@pytest.fixture
def upf(upf_folder):
    """Node of an element's fully relativistic file."""
    return lambda element: UpfData(upf_folder / f"{element}.UPF").store()


@pytest.fixture
def mixture(upf):
    return virtual_crystal_pseudo(upf("Co"), upf("Ni"), orm.Float(0.2))


def test_node_of_a_mixture(mixture):
    """Element of the larger weight; as many valence electrons as the mixture has, in the node and in the file."""
    assert mixture.is_stored
    assert mixture.element == "Co"
    assert mixture.z_valence == pytest.approx(17.2, abs=1e-12)
    assert mixture.filename == "Co0.8Ni0.2.upf"
    pseudo = functions.read_pseudo(mixture)
    assert pseudo.valence == 17.2
    assert pseudo.fully_relativistic
    assert len(pseudo.projectors) == 20


def test_provenance(mixture):
    """From a mixture back to its elements."""
    inputs = mixture.base.links.get_incoming(link_type=LinkType.CREATE).one().node.inputs
    assert (inputs.first.element, inputs.second.element, inputs.fraction.value) == ("Co", "Ni", 0.2)
    assert mixture.creator.process_label == "virtual_crystal_pseudo"


@pytest.mark.parametrize(("fraction", "element"), [(0.0, "Co"), (1.0, "Ni")])
def test_ends(upf, fraction, element):
    pure = upf(element)
    end = virtual_crystal_pseudo(upf("Co"), upf("Ni"), orm.Float(fraction))
    assert (end.element, end.z_valence) == (element, pure.z_valence)
    found, expected = functions.read_pseudo(end), functions.read_pseudo(pure)
    assert (found.local == expected.local).all()
    assert (found.coupling == expected.coupling).all()


def test_average_of_a_mixture(mixture):
    """What pw.x is given: the average, with the mixture's electrons."""
    averaged = functions.scalar_relativistic_average(mixture)
    pseudo = functions.read_pseudo(averaged)
    assert not pseudo.fully_relativistic
    assert pseudo.valence == 17.2
    assert averaged.z_valence == pytest.approx(17.2)
    assert "virtual crystal Co0.8Ni0.2" in averaged.get_content()


def test_plan_with_a_mixture(mixture, upf):
    settings = orm.Dict({"orbitals": ["s", "p", "d"], "bands_per_function": 1.75, "frozen_window": 3.0})
    plan = functions.plan_wannierisation(co_pt111(1, 1), settings, Co=mixture, Pt=upf("Pt")).get_dict()
    assert plan["semicore_bands"] == {"Co": 4, "Pt": 4}


def test_pair_that_cannot_be_mixed(upf):
    with pytest.raises(InputError, match="cores hold 46 and 60"):
        virtual_crystal_pseudo(upf("W"), upf("Re"), orm.Float(0.1))
