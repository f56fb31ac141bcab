"""Bilayers of a magnetic film on a close-packed substrate."""

from __future__ import annotations

import ase
import numpy as np
from aiida import orm
from aiida.engine import calcfunction

BELOW = 5.0
"""Height of the lowest layer above the cell's floor, Angstrom."""


def fcc111_bilayer(
    substrate: str,
    magnet: str,
    lattice_constant: float,
    substrate_layers: int,
    magnet_layers: int,
    interface_spacing: float,
    magnet_spacing: float,
    height: float,
) -> ase.Atoms:
    """An fcc(111) substrate with a pseudomorphic magnetic film on top, fcc stacking throughout.

    Parameters
    ----------
    substrate, magnet : str
        Chemical symbols.
    lattice_constant : float
        Cubic, of the substrate, Angstrom.
    substrate_layers, magnet_layers : int
    interface_spacing, magnet_spacing : float
        Between the last substrate and the first magnetic layer, and between magnetic layers, Angstrom.
    height : float
        Of the cell, slab and vacuum, Angstrom.

    Returns
    -------
    ase.Atoms
        Periodic in x and y; the substrate's lowest layer at z = 5 Angstrom, the film on top of it.

    Raises
    ------
    ValueError
        If a layer count is below one, a length is not positive, or the slab does not fit into the cell.
    """
    if substrate_layers < 1 or magnet_layers < 1:
        raise ValueError(f"layers: {substrate_layers} and {magnet_layers} were given, expected at least one of each")
    lengths = {
        "lattice_constant": lattice_constant,
        "interface_spacing": interface_spacing,
        "magnet_spacing": magnet_spacing,
    }
    for name, value in lengths.items():
        if not value > 0:
            raise ValueError(f"{name}: {value} was given, expected a positive length in Angstrom")
    side, spacing = lattice_constant / np.sqrt(2), lattice_constant / np.sqrt(3)
    steps = [spacing] * (substrate_layers - 1) + [interface_spacing] + [magnet_spacing] * (magnet_layers - 1)
    heights = BELOW + np.concatenate([[0.0], np.cumsum(steps)])
    if heights[-1] + BELOW > height:
        raise ValueError(f"height: {height} was given, the slab needs at least {heights[-1] + BELOW:.2f} Angstrom")
    cell = np.array([[side, 0.0, 0.0], [side / 2, side * np.sqrt(3) / 2, 0.0], [0.0, 0.0, height]])
    symbols = [substrate] * substrate_layers + [magnet] * magnet_layers
    # fcc stacking: every layer moves by (a_1 + a_2)/3; the first one starts at two thirds, so that the first
    # magnetic layer on a single substrate layer stands at the origin.
    in_plane = np.array([[(2 + layer) % 3 / 3] * 2 for layer in range(len(symbols))])
    positions = in_plane @ cell[:2] + heights[:, None] * np.array([0.0, 0.0, 1.0])
    # Into the cell that contains the origin, so that atoms of one column have one in-plane position.
    positions[:, 0] -= side * (positions[:, 0] > side - 1e-9)
    return ase.Atoms(symbols, positions=positions, cell=cell, pbc=(True, True, False))


@calcfunction
def build_fcc111_bilayer(parameters: orm.Dict) -> orm.StructureData:
    """`fcc111_bilayer` in the provenance: a Dict of its arguments to a StructureData."""
    return orm.StructureData(ase=fcc111_bilayer(**parameters.get_dict()))


def co_pt111(magnet_layers: int = 1, substrate_layers: int = 1, height: float | None = None) -> orm.StructureData:
    """Co/Pt(111): a = 3.92 Angstrom, Co-Pt and Co-Co spacing of the prototype.

    Parameters
    ----------
    magnet_layers, substrate_layers : int
        Layers of Co and Pt (the paper: 3 and 10).
    height : float, optional
        Of the cell, Angstrom; default the slab plus 10.22 of vacuum.

    Returns
    -------
    StructureData
        Made by a calcfunction, so that the provenance shows the numbers it was built from.
    """
    lattice_constant, spacing = 3.92, 2.0432130552
    slab = (substrate_layers - 1) * lattice_constant / np.sqrt(3) + magnet_layers * spacing
    arguments = {
        "substrate": "Pt",
        "magnet": "Co",
        "lattice_constant": lattice_constant,
        "substrate_layers": substrate_layers,
        "magnet_layers": magnet_layers,
        "interface_spacing": spacing,
        "magnet_spacing": spacing,
        "height": float(slab + 10.22) if height is None else height,
    }
    structure = build_fcc111_bilayer(orm.Dict(arguments))
    if not structure.label:
        structure.label = f"Co/Pt(111) {magnet_layers}+{substrate_layers}"
    return structure
