"""The spin-orbit operator's strength against the levels of the atom, and which shells are semicore."""

import pytest

from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.engine.build.shell_splitting import shell_splittings

ELEMENTS = ("V", "Mn", "Co", "Cu", "Rh", "Pd", "Ta", "W", "Ir", "Pt", "Au", "C", "Te", "Bi")
SEMICORE = {
    "V": {(3, 0), (3, 1)},
    "Pd": {(4, 0), (4, 1)},  # 4d10 5s0: no s shell above its semicore is occupied
    "Pt": {(5, 0), (5, 1)},
    "Te": set(),
    "C": set(),
    "Bi": set(),
}


@pytest.fixture(params=ELEMENTS)
def files(request, upf_folder, official_folder):
    """One element of both sets."""
    return [Pseudopotential.read(upf_folder / f"{request.param}.UPF"),
            Pseudopotential.read(official_folder / f"{request.param}.upf")]  # fmt: skip


def test_operator_splits_the_atoms_levels(files):
    """The levels are of the all-electron atom that the file was made for; the operator knows its projectors only."""
    for pseudo in files:
        shells = shell_splittings(pseudo)
        assert shells
        for shell in shells:
            assert shell.of_operator > 0
            assert shell.of_operator == pytest.approx(shell.of_levels, rel=4e-3, abs=3e-4), (pseudo.element, shell)


def test_semicore(files):
    for pseudo in files:
        if pseudo.element in SEMICORE:
            assert pseudo.semicore_shells() == SEMICORE[pseudo.element]


def test_half_an_operator_would_be_seen(official_folder):
    import dataclasses

    pseudo = Pseudopotential.read(official_folder / "Pt.upf")
    weak = dataclasses.replace(pseudo, coupling=pseudo.coupling / 2)
    (_, full), (_, half) = ([(s.label, s.of_operator) for s in shell_splittings(p)][-1] for p in (pseudo, weak))
    assert half == pytest.approx(full / 2)
