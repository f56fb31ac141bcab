"""Which family is used where none is named, and what it recommends."""

import shutil

import pytest
from aiida import orm
from aiida.plugins import GroupFactory
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.virtual_crystal import virtual_crystal_pseudo
from aiida_dmi.cli.pseudopotentials import ensure_pseudo_family
from aiida_dmi.engine.errors import InputError
from aiida_dmi.workflows.families import EARLIER, PSEUDO_DOJO, SG15, STRINGENCIES, family, family_of, recommended


@pytest.fixture
def some_files(upf_folder, tmp_path):
    """A folder with the files of some elements."""

    def copied(*elements):
        folder = tmp_path / "-".join(elements)
        folder.mkdir()
        for element in elements:
            shutil.copy(upf_folder / f"{element}.UPF", folder)
        return folder

    return copied


def made(kind, label, folder):
    """A family as aiida-pseudo makes it."""
    return GroupFactory(kind).create_from_folder(folder, label, pseudo_type=UpfData)


def test_nothing_is_installed(no_families):
    with pytest.raises(InputError, match=r"neither PseudoDojo/.* nor SG15/.* is installed; run `aiida-dmi setup`"):
        family()


@pytest.mark.parametrize("label", [SG15, EARLIER])
def test_without_results_in_mind_the_set_that_is_there(no_families, some_files, label):
    """Under its name or, in profiles of earlier versions, under the earlier one; both stand for each other."""
    there = made("pseudo.family", label, some_files("Co", "Pt"))
    assert {family(name).uuid for name in (None, SG15, EARLIER)} == {there.uuid}
    # Nothing is made twice under the other label.
    assert ensure_pseudo_family().uuid == there.uuid


def test_the_set_for_results_goes_before(no_families, some_files):
    made("pseudo.family.cutoffs", SG15, some_files("Co"))
    there = made("pseudo.family.pseudo_dojo", PSEUDO_DOJO, some_files("Pt"))
    assert family().uuid == there.uuid
    assert family(SG15).label == SG15


@pytest.mark.parametrize(
    ("label", "command"),
    [
        (PSEUDO_DOJO, f"`aiida-dmi setup --family {PSEUDO_DOJO}`"),
        (EARLIER, f"`aiida-dmi setup --family {EARLIER}`"),
        ("my/PBE/FR", "`aiida-dmi setup --pseudos FOLDER --family my/PBE/FR`"),
    ],
)
def test_a_named_family_that_is_not_there(no_families, label, command):
    with pytest.raises(InputError, match="is not installed") as raised:
        family(label)
    assert command in str(raised.value)


def test_cutoffs_of_the_projects_own(no_families, some_files):
    """Set when the family is made; the largest of the elements', ecutrho four times as large, and growing."""
    there = ensure_pseudo_family("films/PBE/FR", some_files("Co", "Pt", "Si"))
    found = recommended(there, ["Pt", "Co"])
    assert list(found) == list(STRINGENCIES)
    assert found == recommended(there, ["Co"]) != recommended(there, ["Si"])
    assert all(density == 4 * waves for waves, density in found.values())
    assert found["low"] < found["normal"] < found["high"]
    assert found["normal"] == pytest.approx(there.get_recommended_cutoffs(elements="Co", unit="Ry"))
    with pytest.raises(InputError, match="'films/PBE/FR' has none for Ni; use one that has"):
        recommended(there, ["Co", "Ni"])


def test_cutoffs_of_a_family_of_an_earlier_version(no_families, some_files):
    """It has no place for cutoffs; its files are known."""
    folder = some_files("Co", "Pt")
    there = made("pseudo.family", EARLIER, folder)
    assert recommended(there, ["Co", "Pt"]) == recommended(ensure_pseudo_family("new/PBE/FR", folder), ["Co", "Pt"])


def test_what_a_user_sets_goes_before(no_families, some_files):
    there = ensure_pseudo_family("films/PBE/FR", some_files("Co"))
    there.set_cutoffs({"Co": {"cutoff_wfc": 41.0, "cutoff_rho": 200.0}}, "normal", unit="Ry")
    assert recommended(there, ["Co"])["normal"] == pytest.approx((41.0, 200.0))


def test_family_of_files_and_of_mixtures(no_families, some_files):
    """The one that holds all of them, of a virtual crystal what it was mixed from."""
    there = ensure_pseudo_family("films/PBE/FR", some_files("Co", "Ni", "Pt"))
    other = made("pseudo.family", "none/PBE/FR", some_files("Co", "Ni"))
    co, ni, pt = (there.get_pseudo(element) for element in ("Co", "Ni", "Pt"))
    mixed = virtual_crystal_pseudo(co, ni, orm.Float(0.2))
    assert family_of([mixed, pt]).uuid == there.uuid
    # Both hold these; the one with cutoffs, unless the other is named.
    assert family_of([mixed]).uuid == there.uuid
    assert family_of([mixed], "none/PBE/FR").uuid == other.uuid
    alone = virtual_crystal_pseudo(co, UpfData.get_or_create(some_files("Mn") / "Mn.UPF").store(), orm.Float(0.1))
    assert family_of([alone, pt]) is None


def test_the_official_set(no_families, official_folder):
    there = ensure_pseudo_family(source=official_folder)
    assert (there.label, family().uuid) == (PSEUDO_DOJO, there.uuid)
    assert recommended(there, ["Co", "Pt"]) == {"low": (84, 336), "normal": (96, 384), "high": (108, 432)}
    assert recommended(there, ["W"])["normal"] == (74, 296)
