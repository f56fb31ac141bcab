"""What is refused before anything runs: each validator's refusals, and what it lets pass."""

import io

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.data.pseudopotential import upf_data
from aiida_dmi.engine.build.virtual_crystal import virtual_crystal
from aiida_dmi.workflows import validation


def film(cell=None, pbc=(True, True, False), kinds=("Co", "Pt"), height=2.1):
    """Co on Pt in a cell of 2.5 by 2.5 by 20 Angstrom."""
    node = orm.StructureData(cell=np.diag([2.5, 2.5, 20.0]) if cell is None else cell, pbc=pbc)
    for number, (name, symbol) in enumerate(zip(kinds, ("Co", "Pt"), strict=True)):
        node.append_atom(position=(0.0, 0.0, 5.0 + number * height), symbols=symbol, name=name)
    return node


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pbc": (True, True, True)}, "pbc (True, True, True) was given, a film needs (True, True, False)"),
        ({"cell": [[2.5, 0, 0.1], [0, 2.5, 0], [0, 0, 20]]}, "turn the film's normal to z"),
        ({"cell": [[2.5, 0, 0], [0, 2.5, 0], [0.1, 0, 20]]}, "the third along z"),
        ({"cell": np.diag([2.5, 2.5, 7.1])}, "5.00 Angstrom of vacuum along z, at least"),
        ({"kinds": ("Co", "Pt_1")}, "kinds Co, Pt_1 were given, expected letters and digits, three at most"),
        ({"kinds": ("Co", "P-1")}, "kinds Co, P-1 were given"),
    ],
)
def test_structures_that_are_no_film(aiida_profile, changes, words):
    assert words in validation.structure(film(**changes))


def test_film(aiida_profile):
    assert validation.structure(film()) is None
    assert validation.structure(film(kinds=("Co1", "Pt2"))) is None


def test_meshes(aiida_profile):
    given = orm.KpointsData()
    given.set_kpoints_mesh([6, 6, 1])
    assert validation.mesh(given) is None
    given.set_kpoints_mesh([6, 6, 1], offset=[0.5, 0.5, 0.0])
    assert "offset [0.5, 0.5, 0.0] was given, a Gamma-centred mesh" in validation.mesh(given)
    given.set_kpoints_mesh([6, 6, 2])
    assert "6x6x2 was given, a film has one point along its normal" in validation.mesh(given)
    points = orm.KpointsData()
    points.set_kpoints([[0.0, 0.0, 0.0]])
    assert validation.mesh(points) == "kpoints: a list was given, a mesh is needed"


CHOICE = {"orbitals": ["s", "p", "d"], "bands_per_function": 1.5, "frozen_window": 2.0}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"frozen_window": ...}, "frozen_window missing; expected orbitals, bands_per_function, frozen_window"),
        ({"retries": [1]}, "retries [1] was given, expected a whole number from 0 to 20"),
        ({"retries": 21}, "retries 21 was given"),
        ({"retries": True}, "retries True was given"),
        ({"window": 1.0}, "window is unknown"),
        ({"orbitals": []}, "orbitals [] was given, expected a list of s, p, d, f"),
        ({"orbitals": ["s", "s"]}, "orbitals ['s', 's'] was given"),
        ({"orbitals": ["g"]}, "orbitals ['g'] was given"),
        ({"orbitals": "spd"}, "orbitals 'spd' was given"),
        ({"bands_per_function": 1.0}, "bands_per_function 1.0 was given, expected a number above 1"),
        ({"frozen_window": True}, "frozen_window True was given, expected a number above 0"),
        ({"frozen_window": 1000.0}, "frozen_window 1000.0 was given, expected a number above 0, 100 at most"),
        ({"bands_per_function": "2"}, "bands_per_function '2' was given"),
        ({"frozen_window": -1.0}, "frozen_window -1.0 was given"),
    ],
)
def test_choices_that_cannot_be_made(aiida_profile, changes, words):
    given = {key: value for key, value in (CHOICE | changes).items() if value is not ...}
    assert words in validation.wannierisation(orm.Dict(given))


def test_choices(aiida_profile):
    assert validation.wannierisation(orm.Dict(CHOICE | {"retries": 3})) is None


def test_limits(aiida_profile):
    known = sorted(validation.MODEL)[0]
    assert validation.limits(orm.Dict({known: 0.1, sorted(validation.RESPONSE)[0]: None})) is None
    assert f"{known} True was given, expected a number, or null" in validation.limits(orm.Dict({known: True}))
    assert f"{known} '1' was given" in validation.limits(orm.Dict({known: "1"}))
    assert "spreads is unknown; expected" in validation.limits(orm.Dict({"spreads": 1.0}))
    assert f"{known} -1.0 was given, expected a number" in validation.limits(orm.Dict({known: -1.0}))


# -- what earlier runs have left -------------------------------------------------------------------------


def scf(computer, structure, calculation="scf", nspin=2, finished=True, **system):
    """The remote folder of a pw.x run as AiiDA keeps it."""
    run = orm.CalcJobNode(computer=computer, process_type="aiida.calculations:quantumespresso.pw")
    parameters = orm.Dict({"CONTROL": {"calculation": calculation}, "SYSTEM": {"nspin": nspin, **system}})
    for label, node in (("parameters", parameters), ("structure", structure)):
        run.base.links.add_incoming(node.store(), LinkType.INPUT_CALC, label)
    run.set_option("resources", {"num_machines": 1})
    run.store()
    folder = orm.RemoteData(remote_path="/scratch/run", computer=computer)
    folder.base.links.add_incoming(run, LinkType.CREATE, "remote_folder")
    folder.store()
    if finished:
        output = orm.Dict({"energy": -1.0})
        output.base.links.add_incoming(run, LinkType.CREATE, "output_parameters")
        output.store()
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"finished": False}, "no finished pw.x run made it"),
        ({"calculation": "nscf"}, "is no scf run"),
        ({"nspin": 1}, "is not collinear (nspin = 2)"),
        ({"nspin": 4}, "is not collinear (nspin = 2)"),
        ({"tot_magnetization": 2.0}, "has two Fermi levels or none"),
        ({"occupations": "fixed"}, "has two Fermi levels or none"),
    ],
)
def test_folders_that_hold_no_density(computer, changes, words):
    assert words in validation.finished_run(scf(computer, film(), **changes))


def test_folder_that_nobody_made(computer):
    folder = orm.RemoteData(remote_path="/scratch/run", computer=computer)
    assert "no finished pw.x run made it" in validation.finished_run(folder)


@pytest.mark.parametrize("calculation", ["scf", "relax"])
def test_folder_of_a_finished_scf(computer, calculation):
    folder = scf(computer, film(), calculation)
    assert validation.finished_run(folder) is None
    folder.base.extras.set(folder.KEY_EXTRA_CLEANED, True)
    assert f"RemoteData<{folder.pk}> was cleaned, its density is gone" in validation.finished_run(folder)


def test_density_of_another_film(computer):
    folder = scf(computer, film())
    assert validation.scf_of_another_film(folder, film()) is None
    assert "not of the given one" in validation.scf_of_another_film(folder, film(height=2.2))


def test_model_of_another_film(aiida_profile, data_folder):
    model = WannierModelData(data_folder / "stored" / "model-1.h5")
    loaded = model.load()

    def structure(shift=0.0, strain=1.0, symbols=loaded.symbols):
        node = orm.StructureData(cell=loaded.cell * strain, pbc=(True, True, False))
        for symbol, position in zip(symbols, loaded.positions, strict=True):
            node.append_atom(symbols=symbol, position=position + np.array([0, 0, shift]))
        return node

    assert validation.same_atoms(model, structure()) is None
    assert validation.same_atoms(model, structure(shift=5e-4)) is None
    assert "of Co Pt, the structure has Pt Co" in validation.same_atoms(model, structure(symbols=("Pt", "Co")))
    assert "positions differ by 0.010, lattice vectors by 0.000" in validation.same_atoms(model, structure(0.01))
    assert "positions differ by 0.000, lattice vectors by 0.140" in validation.same_atoms(model, structure(0, 1.01))


def test_magnetic_start(aiida_profile):
    def told(system, kinds=("Co", "Pt")):
        return validation.magnetic_start(orm.Dict({"SYSTEM": system}), kinds)

    assert told({"nspin": 2, "starting_magnetization": {"Co": 0.3}}) is None
    assert "tot_magnetization was given, which makes two Fermi levels" in told({"nspin": 2, "tot_magnetization": 2.0})
    assert "starting_magnetization of Co is beyond 1" in told({"nspin": 2, "starting_magnetization": {"Co": 1.2}})
    assert "starting_magnetization of Pt is beyond 1" in told(
        {"nspin": 2, "starting_magnetization": {"Pt": -3, "Co": 1}}
    )
    assert "nspin = 1 was given" in told({"nspin": 1})
    assert "nspin = None was given" in told({})
    assert "no magnetic atom among the kinds Co, Pt" in told({"nspin": 2, "starting_magnetization": {"Fe": 0.3}})


# -- pseudopotentials --------------------------------------------------------------------------------------


def changed(pseudo, *replacements):
    """A pseudopotential with parts of its text replaced."""
    text = pseudo.get_content()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return UpfData(io.BytesIO(text.encode()), filename=f"changed-{pseudo.filename}")


def test_pseudopotential_of_another_element(pseudo_family):
    of = {element: pseudo_family.get_pseudo(element) for element in ("Co", "Pt")}
    assert validation.pseudos_of(film(), of) is None
    told = validation.pseudos_of(film(), {"Co": of["Co"], "Pt": of["Co"]})
    assert told == "pseudos.Pt: Co.UPF of Co was given, kind Pt is Pt; give one of Pt"
    told = validation.pseudos_of(film(), {"Co": of["Pt"], "Pt": of["Co"]})
    assert "pseudos.Co: Pt.UPF of Pt was given, kind Co is Co" in told
    # Kinds with names of their own are of an element all the same.
    kinds = film(kinds=("Co1", "Pt1"))
    assert validation.pseudos_of(kinds, {"Co1": of["Co"], "Pt1": of["Pt"]}) is None
    assert "pseudos.Pt1: Co.UPF of Co" in validation.pseudos_of(kinds, {"Co1": of["Co"], "Pt1": of["Co"]})
    assert "pseudos: none was given for Pt; give one" in validation.pseudos_of(film(), {"Co": of["Co"]})
    assert "the structure's kinds are ['Co', 'Pt']" in validation.pseudos_of(film(), {**of, "Ir": of["Pt"]})


def test_virtual_crystals_stand_for_two_elements(pseudo_family):
    """On either side of one half, also averaged: the kind is still the host's."""
    co, mn = (read_pseudo(pseudo_family.get_pseudo(element)) for element in ("Co", "Mn"))
    for x in (0.2, 0.8):
        mixed = virtual_crystal(co, mn, x)
        assert mixed.elements == mixed.scalar_relativistic().elements == ("Co", "Mn")
        nodes = {"Co": upf_data(mixed, "mixed.UPF"), "Pt": pseudo_family.get_pseudo("Pt")}
        assert validation.pseudos_of(film(), nodes) is None
        nodes["Pt"], nodes["Co"] = nodes["Co"], nodes["Pt"]
        assert "of Pt was given, kind Co is Co" in validation.pseudos_of(film(), nodes)


@pytest.mark.parametrize("functional", ["PBESOL", "SLA PW PSX PSC", "sla-pw-nogx-nogc", "PZ"])
def test_different_functionals(pseudo_family, functional):
    nodes = {element: pseudo_family.get_pseudo(element) for element in ("Co", "Pt")}
    nodes["Pt"] = changed(nodes["Pt"], ('functional="PBE"', f'functional="{functional}"'))
    told = validation.pseudos_of(film(), nodes)
    assert told.startswith("pseudos: different functionals: Co.UPF has PBE, changed-Pt.UPF has ")
    assert "pw.x takes one" in told
    # pw.x does with one that it is told to use.
    assert validation.pseudos_of(film(), nodes, "PBE") is None


@pytest.mark.parametrize("functional", ["pbe", "SLA  PW  PBX  PBC", "sla+pw+pbx+pbc"])
def test_functional_by_another_name(pseudo_family, functional):
    nodes = {element: pseudo_family.get_pseudo(element) for element in ("Co", "Pt")}
    nodes["Pt"] = changed(nodes["Pt"], ('functional="PBE"', f'functional="{functional}"'))
    assert validation.pseudos_of(film(), nodes) is None
