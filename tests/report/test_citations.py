"""What a report says is to be cited: the sets that the files are from, whatever their family is called."""

import pytest
from aiida import orm
from aiida.plugins import GroupFactory
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.cli.pseudopotentials import ensure_pseudo_family
from aiida_dmi.report.citations import citations, versions
from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.structures.doping import dope

SETS = {"Schlipf": "SG15", "Scherpelz": "SG15", "Hamann": "ONCVPSP", "van Setten": "PseudoDojo"}


def cited(node):
    """The sets and programs that are cited for pseudopotentials."""
    text = " ".join(reference for _, reference in citations(node))
    return {SETS[author] for author in SETS if author in text}


def test_inputs_of_sg15(stored_inputs, pseudo_family):
    """Under any label; PseudoDojo is another set."""
    node = stored_inputs()
    assert cited(node) == {"SG15", "ONCVPSP"}
    assert ("cutoffs", node.inputs.wannier_model.cutoffs["words"]) in versions(node)


def test_virtual_crystals_by_what_was_mixed(stored_inputs, pseudo_family):
    doped = dope(co_pt111(1, 1), {"Co.1": ("Mn", 0.1)}, pseudo_family.label)
    assert cited(stored_inputs(structure=doped.structure, pseudos=doped.pseudos)) == {"SG15", "ONCVPSP"}


def test_the_official_set(stored_inputs, official_folder):
    family = ensure_pseudo_family(source=official_folder)
    try:
        pseudos = {kind: family.get_pseudo(kind) for kind in ("Co", "Pt")}
        assert cited(stored_inputs(pseudos=pseudos)) == {"PseudoDojo", "ONCVPSP"}
    finally:
        orm.Group.collection.delete(family.pk)


@pytest.mark.parametrize("kind", ["pseudo.family", "pseudo.family.cutoffs"])
def test_other_files_are_of_no_set(stored_inputs, upf_folder, tmp_path, kind):
    for element in ("Co", "Pt"):
        text = (upf_folder / f"{element}.UPF").read_text()
        (tmp_path / f"{element}.UPF").write_text(text + f"\n<!-- {kind} -->\n")
    family = GroupFactory(kind).create_from_folder(tmp_path, f"own/{kind}", pseudo_type=UpfData)
    try:
        pseudos = {element: family.get_pseudo(element) for element in ("Co", "Pt")}
        given = {"scf": {"parameters": {"SYSTEM": {"ecutwfc": 60}}}}
        assert cited(stored_inputs(pseudos=pseudos, overrides=given)) == {"ONCVPSP"}
    finally:
        orm.Group.collection.delete(family.pk)
