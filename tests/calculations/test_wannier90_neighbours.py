"""Neighbours of k points as wannier90.x finds them: held against the program itself, for films of every kind."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from aiida_dmi.calculations.wannier90_input import format_win
from aiida_dmi.calculations.wannier90_neighbours import mesh_that_closes, neighbours, settings_that_close

ROUNDED = np.array([[2.77186, 0, 0], [1.38594, 2.40050, 0], [0, 0, 16.0]])
"""A hexagonal cell to five digits."""


def hexagonal(a, c):
    return np.array([[a, 0, 0], [a / 2, a * 3**0.5 / 2, 0], [0, 0, c]])


def square(a, c):
    return np.diag([a, a, c])


def program(cell, mesh, **settings):
    """What wannier90.x -pp makes of it: the number of neighbours, or None and what it said."""
    points = [(i / mesh[0], j / mesh[1], 0) for i in range(mesh[0]) for j in range(mesh[1])]
    parameters = {"num_wann": 1, "mp_grid": list(mesh), **settings}
    text = format_win(parameters, cell=cell, sites=[("Co", (0, 0, 5))], kpoints=points, projections=["Co:s"])
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.win").write_text(text)
        subprocess.run(["wannier90.x", "-pp", "a"], cwd=folder, capture_output=True, check=False)
        nnkp = Path(folder, "a.nnkp")
        if not nnkp.exists():
            return None, "".join(file.read_text() for file in Path(folder).glob("a.*"))
        return int(nnkp.read_text().partition("begin nnkpts")[2].split()[0]), ""


def found(cell, mesh, **settings):
    try:
        return sum(neighbours(cell, mesh, settings))
    except ValueError:
        return None


def test_cell_of_few_digits():
    """Lengths that should be equal differ by more than Wannier90's tolerance."""
    with pytest.raises(ValueError, match=r"not enough b vectors: \d of 6 have the length"):
        neighbours(ROUNDED, [6, 6, 1])
    count, words = program(ROUNDED, [6, 6, 1])
    assert count is None
    assert "Not enough bvectors found" in words
    settings = settings_that_close(ROUNDED, [6, 6, 1], {})
    assert settings == {"kmesh_tol": 1e-5}
    assert program(ROUNDED, [6, 6, 1], **settings)[0] == found(ROUNDED, [6, 6, 1], **settings) == 8


@pytest.mark.parametrize("lattice", [hexagonal, square])
@pytest.mark.parametrize("divisions", range(4, 17))
def test_coinciding_lengths(lattice, divisions):
    """c/a such that b_z is as long as some b in the plane: nothing passes here that wannier90.x refuses."""
    a = 3.165
    for ratio in (divisions / 2, divisions, divisions / 3**0.5, divisions * 3**0.5 / 4):
        cell, mesh = lattice(a, a * ratio), [divisions, divisions, 1]
        assert found(cell, mesh) == program(cell, mesh)[0], (ratio, mesh)
        try:
            settings = settings_that_close(cell, mesh, {})
        except ValueError:
            mesh = mesh_that_closes(cell, mesh, {})
            settings = settings_that_close(cell, mesh, {})
        assert program(cell, mesh, **settings)[0] == found(cell, mesh, **settings) is not None


def test_too_many_neighbours():
    """W(001) in a cell of five lattice constants on 10x10."""
    cell = square(3.165, 5 * 3.165)
    with pytest.raises(ValueError, match="20 neighbours of a k point, Wannier90 keeps 12 at most"):
        neighbours(cell, [10, 10, 1])
    assert "too many nearest neighbours" in program(cell, [10, 10, 1])[1]
    with pytest.raises(ValueError, match="20 neighbours"):
        settings_that_close(cell, [10, 10, 1], {})
    assert mesh_that_closes(cell, [10, 10, 1], {}) == [11, 11, 1]
    assert program(cell, [11, 11, 1])[0] == 6


def test_cells_of_every_kind():
    """Rounded, rectangular, oblique, sheared: as the program, with what is chosen for them."""
    random = np.random.default_rng(7)
    for case in range(40):
        a, c = random.uniform(2.4, 6), random.uniform(12, 40)
        cell = [
            np.round(hexagonal(a, c), random.integers(2, 7)),
            np.diag([a, a * random.choice([1, 1.5, 2**0.5, 3**0.5]), c]),
            np.array([[a, 0, 0], [random.uniform(-a / 2, a / 2), random.uniform(0.7 * a, 2 * a), 0], [0, 0, c]]),
            square(a, c) + np.array([[0, 0, 0], [a, 0, 0], [0, 0, 0]]),
        ][case % 4]
        n = int(random.integers(1, 13))
        mesh = [n, max(1, round(n * np.linalg.norm(cell[0]) / np.linalg.norm(cell[1]))), 1]
        try:
            settings = settings_that_close(cell, mesh, {})
        except ValueError:
            settings = {}
        assert found(cell, mesh, **settings) == program(cell, mesh, **settings)[0], (cell.tolist(), mesh, settings)


@pytest.mark.parametrize("shells", [[1, 2], [1], 1, [1, 9]])
def test_shells_that_are_given(shells):
    cell, mesh = square(2.5, 16.0), [6, 6, 1]
    assert found(cell, mesh, shell_list=shells) == program(cell, mesh, shell_list=shells)[0]


@pytest.mark.parametrize("shells", [[], [0], [1.0], "1", list(range(1, 9))])
def test_shells_that_are_none(shells):
    with pytest.raises(ValueError, match="shell_list"):
        neighbours(square(2.5, 16.0), [6, 6, 1], {"shell_list": shells})


def test_given_settings_are_kept():
    assert settings_that_close(ROUNDED, [6, 6, 1], {"kmesh_tol": 2e-5}) == {}
    with pytest.raises(ValueError, match="not enough b vectors"):
        settings_that_close(ROUNDED, [6, 6, 1], {"kmesh_tol": 1e-6})
