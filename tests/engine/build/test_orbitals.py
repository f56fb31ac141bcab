"""The order of Wannier90's projections, as its .nnkp files list them (wannier90.x -pp, version 3.1)."""

import pytest

from aiida_dmi.engine.build.orbitals import projected_shells

FOUR = ["Pt", "Co", "Pt", "Co"]


def win(projections, species, block="atoms_frac"):
    atoms = "\n".join(f"{name} 0.0 0.0 {0.1 * i:.1f}" for i, name in enumerate(species))
    return f"num_wann = 18\nBegin {block}\n{atoms}\nEnd {block}\nbegin projections\n{projections}\nend projections"


@pytest.mark.parametrize(
    ("projections", "expected"),
    [
        ("Pt:s;p\nCo:s;p;d", [(0, 0), (0, 1), (2, 0), (2, 1), (1, 0), (1, 1), (1, 2), (3, 0), (3, 1), (3, 2)]),
        ("Pt:d;s\nCo:p;s", [(0, 0), (0, 2), (2, 0), (2, 2), (1, 0), (1, 1), (3, 0), (3, 1)]),
        ("co : l=2 ; l=0  ! a comment\n\nPT:l=3", [(1, 0), (1, 2), (3, 0), (3, 2), (0, 3), (2, 3)]),
        ("Co:d\nPt:s\nCo:s", [(1, 2), (3, 2), (0, 0), (2, 0), (1, 0), (3, 0)]),
    ],
)
def test_order(projections, expected):
    """Line by line, atom by atom, l ascending whatever the line says."""
    assert projected_shells(win(projections, FOUR), FOUR) == expected


def test_cartesian_atoms_with_a_unit():
    assert projected_shells(win("Co:d", ["ang\nCo"], block="atoms_cart"), ["Co"]) == [(0, 2)]


@pytest.mark.parametrize(
    "projections",
    [
        "Pt:sp3\nCo:d",
        "Pt:dxy\nCo:d",
        "Pt:l=2,mr=1,3",
        "Pt:l=-1",
        "Pt:d:z=1,0,0",
        "f=0,0,0.3:p",
        "random",
        "ang\nPt:d",
        "Fe:d",
        "Pt",
        "",
    ],
)
def test_anything_else_is_left_alone(projections):
    """Hybrids, single m, own axes, coordinates, unknown labels."""
    assert projected_shells(win(projections, FOUR), FOUR) is None


def test_other_atoms_than_the_model():
    assert projected_shells(win("Pt:d", FOUR), ["Pt", "Co"]) is None
    assert projected_shells(win("Pt:d", FOUR), ["Co", "Pt", "Pt", "Co"]) is None
    assert projected_shells("num_wann = 3\n", ["Co"]) is None
