"""WannierBerri's anomalous Hall conductivity with its own adaptive refinement: its side of benchmarks/certified.py.

Run with an interpreter of its own: WannierBerri is GPL and no dependency of this package.
Usage: python peer_certified.py MODEL_tb.dat SETTINGS, a JSON object of `mu`, `kt` (eV), `accuracy`, `reference` (points
a side), `meshes` and `iterations`. Prints the least processor time in which the refined value, with the Fermi function
of kT, comes within `accuracy` of that of the reference mesh and stays there for every longer refinement of that mesh.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import wannierberri as wb

LEVELS, WIDTH = 81, 8.0
"""Fermi levels in +-WIDTH kT about mu, which the derivative of the Fermi function is integrated over."""


def main() -> None:
    path, settings = sys.argv[1], json.loads(sys.argv[2])
    system = wb.system.System_R.from_tb_dat(path, berry=True, periodic=(True, True, False))
    away = np.linspace(-WIDTH, WIDTH, LEVELS)
    weights = 0.25 / np.cosh(away / 2) ** 2
    calculator = wb.calculators.static.AHC(
        Efermi=settings["mu"] + settings["kt"] * away, tetra=False, kwargs_formula={"external_terms": False}
    )

    def run(mesh: int, iterations: int) -> tuple[float, float]:
        """Value and processor time."""
        grid = wb.Grid(system, NK=[mesh, mesh, 1])
        start = time.process_time()
        done = wb.run(
            system, grid=grid, calculators={"ahc": calculator}, parallel=False, print_Kpoints=False, fout_name="peer",
            adpt_num_iter=iterations, use_irred_kpt=False, symmetrize=False,
        )  # fmt: skip
        taken = time.process_time() - start
        return float(weights @ done.results["ahc"].data[:, 2] / weights.sum()), taken

    run(settings["meshes"][0], 0)
    exact, _ = run(settings["reference"], 0)
    tried = []
    for mesh in settings["meshes"]:
        found = [(iterations, *run(mesh, iterations)) for iterations in settings["iterations"]]
        for place, (iterations, _, seconds) in enumerate(found):
            worst = max(abs(value / exact - 1) for _, value, _ in found[place:])
            tried.append({"mesh": mesh, "iterations": iterations, "seconds": seconds, "error": worst})
    enough = [one for one in tried if one["error"] <= settings["accuracy"]]
    if not enough:
        raise SystemExit(f"no refinement comes within {settings['accuracy']:g}: {tried}")
    best = min(enough, key=lambda one: one["seconds"])
    print(json.dumps({"version": version("wannierberri"), "value": exact, **best}))


if __name__ == "__main__":
    main()
