"""Which atomic shells the Wannier functions were projected on, from wannier90's input file."""

from __future__ import annotations

import re
from collections.abc import Sequence

SHELLS = {"s": 0, "p": 1, "d": 2, "f": 3}


def projected_shells(win: str, species: Sequence[str]) -> list[tuple[int, int]] | None:
    """Shells (atom, l) in the order of the projections; each stands for 2l + 1 of them.

    wannier90 goes through the lines of the block as written, for each line through the atoms of that label, and
    for each atom through l in ascending order, whatever order the line names them in ("Pt:d;s" is s, then d;
    seen in the .nnkp of wannier90 3.1).

    Parameters
    ----------
    win : str
        Text of the .win file.
    species : sequence of str
        Label of every atom of the model.

    Returns
    -------
    list of tuple of int or None
        None where the projections are no full shells on whole kinds of atoms (hybrids, single m, own axes, sites
        given as coordinates) or the file's atoms are not the model's.

    Examples
    --------
    >>> atoms = ["begin atoms_frac", "Pt 0 0 0.1", "Co 0 0 0.2", "end atoms_frac"]
    >>> text = [*atoms, "begin projections", "Co:d;s", "end projections"]
    >>> projected_shells(chr(10).join(text), ["Pt", "Co"])
    [(1, 0), (1, 2)]
    """
    lines = [re.split(r"[!#]", raw, maxsplit=1)[0].strip().lower() for raw in win.splitlines()]
    atoms = _block(lines, "atoms_frac") or _block(lines, "atoms_cart")
    projections = _block(lines, "projections")
    labels = [line.split()[0] for line in atoms if len(line.split()) == 4]
    if not projections or labels != [name.lower() for name in species]:
        return None
    shells: list[tuple[int, int]] = []
    for line in projections:
        site, *states = re.sub(r"\s", "", line).split(":")
        ells = _angular_momenta(states[0]) if len(states) == 1 else None
        if site not in labels or ells is None:
            return None
        shells += [(atom, ell) for atom, label in enumerate(labels) if label == site for ell in ells]
    return shells


def _block(lines: list[str], name: str) -> list[str]:
    """The lines between `begin name` and `end name` that are not empty."""
    marks = [" ".join(line.split()) for line in lines]
    if f"begin {name}" not in marks or f"end {name}" not in marks:
        return []
    return [line for line in lines[marks.index(f"begin {name}") + 1 : marks.index(f"end {name}")] if line]


def _angular_momenta(states: str) -> list[int] | None:
    """[0, 2] for "d;s" or "l=0;l=2", each once and ascending; None for anything that is no full shell."""
    names = [re.sub(r"^l=([0-3])$", lambda match: "spdf"[int(match[1])], state) for state in states.split(";")]
    if not all(name in SHELLS for name in names):
        return None
    return sorted({SHELLS[name] for name in names})
