"""WannierBerri's anomalous Hall conductivity of a _tb.dat: its side of benchmarks/ahc.py.

Run with an interpreter of its own: WannierBerri is GPL and no dependency of this package.
Usage: python peer_ahc.py MODEL_tb.dat SETTINGS, a JSON object of `periodic`, `mesh`, `levels` (eV) and `kt` (eV).
Prints vectors O with sigma_ab = eps_abc O_c, for each Fermi level, in S/m.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import wannierberri as wb
from wannierberri.calculators.dynamic import OpticalConductivity
from wannierberri.calculators.static import AHC

EQUAL = 1e-7
"""Bands closer than this (eV) are one: WannierBerri's connection has no quotients of smaller differences."""


def main() -> None:
    path, settings = sys.argv[1], json.loads(sys.argv[2])
    system = wb.system.System_R.from_tb_dat(path, berry=True, periodic=settings["periodic"])
    grid = wb.Grid(system, NK=settings["mesh"])
    if (grid.dense != settings["mesh"]).any():
        raise SystemExit(f"mesh: {settings['mesh']} was asked for, WannierBerri takes {grid.dense.tolist()}")
    common = {"Efermi": np.array(settings["levels"]), "degen_thresh": EQUAL}
    calculators = {
        "internal": AHC(tetra=False, kwargs_formula={"external_terms": False}, **common),
        "whole": AHC(tetra=False, **common),
        # At zero frequency its antisymmetric part is Kubo's sum, with the Fermi function itself; the width, which
        # keeps a band with itself from 0/0, is nothing against differences of energies.
        "kubo": OpticalConductivity(omega=np.zeros(1), kBT=settings["kt"], smr_fixed_width=1e-9, **common),
    }
    run = wb.run(
        system, grid=grid, calculators=calculators, parallel=False, print_Kpoints=False, fout_name="peer",
        use_irred_kpt=False, symmetrize=False,
    )  # fmt: skip
    found = {name: run.results[name].data for name in ("internal", "whole")}
    kubo = run.results["kubo"].data[:, 0].real
    found["kubo"] = np.stack([kubo[:, a, b] - kubo[:, b, a] for a, b in ((1, 2), (2, 0), (0, 1))], axis=-1) / 2
    values = {name: vectors.tolist() for name, vectors in found.items()}
    print(json.dumps({"version": version("wannierberri"), "values": values}))


if __name__ == "__main__":
    main()
