"""WannierBerri's side of the benchmark: AHC with internal terms, 21 Fermi levels, serial, warm, processor time.

Run by benchmarks/engine.py with an interpreter of its own: WannierBerri is GPL and no dependency of this package.
Usage: python peer_wannierberri.py MODEL_tb.dat MESH
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import wannierberri as wb


def main() -> None:
    path, mesh = sys.argv[1], int(sys.argv[2])
    system = wb.system.System_tb(path, periodic=(True, True, False))
    levels = 3.687 + np.linspace(-1, 1, 21)
    calculator = wb.calculators.static.AHC(Efermi=levels, tetra=False, kwargs_formula={"external_terms": False})
    grid = wb.Grid(system, NK=[mesh, mesh, 1])

    def run() -> float:
        start = time.process_time()
        wb.run(
            system, grid=grid, calculators={"ahc": calculator}, parallel=False, print_Kpoints=False,
            fout_name="peer", use_irred_kpt=False, symmetrize=False,
        )  # fmt: skip
        return time.process_time() - start

    run()
    seconds = float(np.median([run() for _ in range(3)]))
    print(json.dumps({"version": version("wannierberri"), "k per second": mesh**2 / seconds}))


if __name__ == "__main__":
    main()
