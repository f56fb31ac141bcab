"""A film from the side and from above."""

from __future__ import annotations

import numpy as np
from aiida import orm
from ase import Atoms
from ase.data import covalent_radii
from ase.visualize.plot import plot_atoms

from aiida_dmi.structures.film import Film

from .style import Plot, drawn, panels, plain

VIEWS = (("from the side, along $y$", "-90x"), ("from above", ""))
SCALE_BAR = 3.0
"""Angstrom."""
REPEAT = (3, 3, 1)
RADII = 0.85
"""Of the atoms, in units of their covalent radii: neighbours just do not touch."""


@drawn
def plot_structure(structure: orm.StructureData, film: Film | None = None, title: str = "") -> Plot:
    """Side and top view of a film, its layers named.

    Parameters
    ----------
    structure : StructureData
        Normal z.
    film : Film, optional
        Its layers; without it the atoms are named by their kinds.
    title : str

    Returns
    -------
    Plot
        With a scale bar of 3 Angstrom; the table lists every atom.
    """
    cell = structure.get_ase()
    atoms = cell.repeat(REPEAT)
    # Vacuum is not drawn: atoms fill the picture.
    atoms.positions[:, 2] -= cell.positions[:, 2].min()
    atoms.set_cell(None)
    atoms.pbc = False
    plot, axes = panels(["", ""], width=3.2, height=3.4, letters=False)
    for panel, (name, rotation) in zip(axes, VIEWS, strict=True):
        plot_atoms(atoms, panel, rotation=rotation, radii=RADII)
        panel.set_title(f"{plain(title)}, {name}" if title else name)
        # plot_atoms puts the leftmost edge of the atoms at 0.
        panel.plot([0.0, SCALE_BAR], [-0.9, -0.9], color=panel.title.get_color(), linewidth=2.0)
        panel.annotate(
            f"{SCALE_BAR:g} $\\mathrm{{\\AA}}$",
            (SCALE_BAR, -0.9),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
        panel.autoscale()
    names = atom_names(structure, film)
    drawn_: set[str] = set()
    # plot_atoms puts the lowest edge of the lowest atom at 0.
    offset = _bottom(atoms)
    for name, height in zip(names, cell.positions[:, 2] - cell.positions[:, 2].min(), strict=True):
        if name not in drawn_:
            drawn_.add(name)
            place = (1.0, height + offset)
            axes[0].annotate(
                plain(name), place, (4, 0), ("axes fraction", "data"), "offset points", va="center", fontsize=8
            )
    plot.table.add(
        {
            "layer": names,
            "kind": [site.kind_name for site in structure.sites],
            **{
                f"{axis} (angstrom)": [site.position[number] for site in structure.sites]
                for number, axis in enumerate("xyz")
            },
        }
    )
    normal = "+z" if film is None else film.normal
    plot.table.notes.append(f"cell {np.round(structure.cell, 6).tolist()} angstrom, film normal {normal}")
    plot.caption = "The film from the side and from above, 3x3 cells; layers are counted from the interface."
    return plot


def atom_names(structure: orm.StructureData, film: Film | None) -> list[str]:
    """Layer names; kinds where the film has no magnet to count from, or is not known."""
    if film is None or not any(film.magnetic):
        return [site.kind_name for site in structure.sites]
    return list(film.names)


def _bottom(atoms: Atoms) -> float:
    """Where plot_atoms puts the height 0: the radius of the atom that reaches lowest."""
    radii = RADII * covalent_radii[atoms.numbers]
    return float(-(atoms.positions[:, 2] - radii).min())
