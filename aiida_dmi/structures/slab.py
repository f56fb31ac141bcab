"""Films from any slab: pymatgen, ASE, StructureData."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ase
import numpy as np
from aiida import orm
from aiida.engine import calcfunction
from numpy.typing import NDArray

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.convert import check_kinds, structure_data
from aiida_dmi.structures.geometry import FLOOR, MIN_VACUUM
from aiida_dmi.structures.layers import MAGNETS, Film


def film_from_pymatgen(slab: Any, magnets: Sequence[str] | None = None, **options: Any) -> orm.StructureData:
    """A film from a pymatgen Structure or Slab (SlabGenerator, `Structure.from_file`).

    Parameters
    ----------
    slab : pymatgen.core.Structure
        Ordered; the vacuum along any of its lattice vectors.
    magnets, **options
        As `film_from_structure`.

    Raises
    ------
    InputError
        If a site holds more than one element, or as `film_from_structure`.
    """
    if not slab.is_ordered:
        raise InputError("structure: sites shared by several elements were given, expected one element a site")
    atoms = ase.Atoms(
        [site.specie.symbol for site in slab], positions=slab.cart_coords, cell=slab.lattice.matrix, pbc=True
    )
    return film_from_ase(atoms, magnets, **options)


def film_from_ase(atoms: ase.Atoms, magnets: Sequence[str] | None = None, **options: Any) -> orm.StructureData:
    """A film from ASE's Atoms; parameters and errors as `film_from_structure`. Tags and moments are left behind."""
    slab = orm.StructureData(cell=atoms.cell.tolist(), pbc=tuple(bool(periodic) for periodic in atoms.pbc))
    for symbol, position in zip(atoms.get_chemical_symbols(), atoms.positions.tolist(), strict=True):
        slab.append_atom(symbols=symbol, position=position)
    return film_from_structure(slab, magnets, **options)


def film_from_structure(
    slab: orm.StructureData,
    magnets: Sequence[str] | None = None,
    substrate: str | None = None,
    kinds: str = "element",
    vacuum: float | None = None,
) -> orm.StructureData:
    """Turn a slab into a film as the workflows want it: normal +z from the substrate to the magnet, pbc (T, T, F).

    The slab is turned, never mirrored (a mirror would change the sign of D): a1 along x, a2 in the upper half of the
    xy plane, both as given (exchanged where the film had to be put on its head), a3 along z. Atoms go from the lowest
    to the highest.

    Parameters
    ----------
    slab : StructureData
        The vacuum along any lattice vector, which need not be perpendicular to the film.
    magnets : sequence of str, optional
        Elements of the magnet; default Cr, Mn, Fe, Co, Ni.
    substrate : str, optional
        An element of the substrate; default the side of the magnet with more layers.
    kinds : {'element', 'layer'}
        'element' keeps the slab's kinds; see `convert.structure_data`.
    vacuum : float, optional
        To set, Angstrom; default as in the slab.

    Returns
    -------
    StructureData
        Made by the calcfunction `orient_film` from the slab.

    Raises
    ------
    InputError
        If there is no vacuum, no magnet, no substrate, two magnets with other layers in between, or nothing that
        tells the substrate from a cap.
    """
    check_kinds(kinds)
    magnets = list(magnets or MAGNETS)
    orient(_atoms(slab), magnets, substrate, vacuum)
    return orient_film(slab, orm.Dict({"magnets": magnets, "substrate": substrate, "vacuum": vacuum, "kinds": kinds}))


@calcfunction
def orient_film(slab: orm.StructureData, parameters: orm.Dict) -> orm.StructureData:
    """`orient` in the provenance: a slab and a Dict of the arguments, and `kinds`, to the film."""
    options = parameters.get_dict()
    kinds = options.pop("kinds", "element")
    atoms = orient(_atoms(slab), **options)
    layers = len(Film.of(atoms, options["magnets"]).layers)
    label = slab.label or f"{slab.get_formula()} film, {layers} layers"
    return structure_data(atoms, label, kinds, options["magnets"])


def orient(
    slab: ase.Atoms, magnets: Sequence[str] = MAGNETS, substrate: str | None = None, vacuum: float | None = None
) -> ase.Atoms:
    """The pure function behind `film_from_structure`; the same arguments and errors."""
    atoms, gap = _cut_at_vacuum(slab)
    film = Film.of(atoms, magnets)
    first, last = film.magnetic_block
    below, above = film.layers[:first], film.layers[last + 1 :]
    if _magnet_below(film, below, above, substrate):
        # The frame of a film on its head: (a2, a1, -normal) is right-handed as (a1, a2, normal) is.
        atoms = _in_frame(atoms, atoms.cell[1], atoms.cell[0])
    if vacuum is not None and not vacuum >= MIN_VACUUM:
        raise InputError(f"vacuum: {vacuum} was given, expected {MIN_VACUUM:g} Angstrom or more")
    gap = gap if vacuum is None else float(vacuum)
    heights = atoms.positions[:, 2]
    height = float(np.ptp(heights)) + gap
    atoms.positions[:, 2] += min(FLOOR, gap / 2) - heights.min()
    atoms.cell[2] = [0.0, 0.0, height]
    order = [site for layer in Film.of(atoms, magnets).layers for site in layer]
    return atoms[order]


def _magnet_below(
    film: Film, below: Sequence[Sequence[int]], above: Sequence[Sequence[int]], substrate: str | None
) -> bool:
    """Whether the substrate lies above the magnet, so that the film stands on its head."""
    if not below and not above:
        raise InputError("structure: all layers are magnetic, expected a magnet on a substrate")
    if substrate is None:
        if len(below) == len(above):
            raise InputError(
                f"structure: {len(below)} layers on either side of the magnet, expected a thicker side, the substrate; "
                "give `substrate`, an element of it"
            )
        return len(above) > len(below)
    sides = [any(film.symbols[site] == substrate for layer in side for site in layer) for side in (below, above)]
    if sides[0] == sides[1]:
        where = "both sides" if sides[0] else "neither side"
        raise InputError(f"substrate: {substrate!r} was given, it is on {where} of the magnet; name another element")
    return sides[1]


def _cut_at_vacuum(slab: ase.Atoms) -> tuple[ase.Atoms, float]:
    """The slab with its normal along z, in one piece, and its vacuum in Angstrom."""
    cell = np.array(slab.cell)
    if abs(np.linalg.det(cell)) < 1e-6:
        raise InputError("structure: three lattice vectors were expected, some are missing; add vacuum along the third")
    fractions = np.linalg.solve(cell.T, slab.positions.T).T % 1.0
    gaps = [_largest_gap(fractions[:, axis], _height(cell, axis)) for axis in range(3)]
    open_axes = [axis for axis in range(3) if not slab.pbc[axis]]
    wide = [axis for axis in range(3) if gaps[axis][0] >= MIN_VACUUM]
    candidates = [axis for axis in wide if axis in open_axes] if open_axes else wide
    if len(open_axes) > 1 or len(candidates) != 1:
        found = ", ".join(f"{gap:.1f} along a{axis + 1}" for axis, (gap, _) in enumerate(gaps))
        raise InputError(
            f"structure: empty space of {found} Angstrom was given, expected a film: at least {MIN_VACUUM:g} along one "
            "lattice vector and less along the others; add or remove vacuum"
        )
    axis = candidates[0]
    gap, edge = gaps[axis]
    # In one piece: cut in the middle of the vacuum, not at the cell's face.
    fractions[:, axis] = (fractions[:, axis] - edge) % 1.0
    kinds = slab.arrays.get("kinds", np.array(slab.get_chemical_symbols()))
    whole = ase.Atoms(slab.get_chemical_symbols(), positions=fractions @ cell, cell=cell, pbc=True)
    whole.set_array("kinds", kinds)
    return _in_frame(whole, cell[(axis + 1) % 3], cell[(axis + 2) % 3]), gap


def _in_frame(atoms: ase.Atoms, a1: NDArray[np.float64], a2: NDArray[np.float64]) -> ase.Atoms:
    """Turn a film so that a1 lies along x and a2 in the upper half of the xy plane.

    The third lattice vector becomes the normal: along it nothing repeats, so any vector will do.
    """
    x = a1 / np.linalg.norm(a1)
    z = np.cross(a1, a2)
    z /= np.linalg.norm(z)
    frame = np.array([x, np.cross(z, x), z])
    turned = np.array([frame @ a1, frame @ a2, [0.0, 0.0, 1.0]])
    turned[0, 1:] = turned[1, 2] = 0.0
    positions = atoms.positions @ frame.T
    # Back into the cell in the plane; what rounding leaves just below 1 belongs to 0.
    in_plane = np.linalg.solve(turned.T, positions.T).T[:, :2] % 1.0
    in_plane[in_plane > 1.0 - 1e-9] = 0.0
    positions[:, :2] = in_plane @ turned[:2, :2]
    film = ase.Atoms(atoms.get_chemical_symbols(), positions=positions, cell=turned, pbc=(True, True, False))
    film.set_array("kinds", atoms.arrays["kinds"])
    return film


def _largest_gap(fractions: NDArray[np.float64], height: float) -> tuple[float, float]:
    """Widest empty slice of a periodic direction, Angstrom, and the middle of it in units of the lattice vector."""
    ordered = np.sort(fractions)
    widths = np.diff([*ordered, ordered[0] + 1.0])
    widest = int(np.argmax(widths))
    return float(widths[widest] * height), float((ordered[widest] + widths[widest] / 2) % 1.0)


def _height(cell: NDArray[np.float64], axis: int) -> float:
    """Distance of the cell's faces across one lattice vector, Angstrom."""
    normal = np.cross(cell[(axis + 1) % 3], cell[(axis + 2) % 3])
    return float(abs(cell[axis] @ normal) / np.linalg.norm(normal))


def _atoms(slab: orm.StructureData) -> ase.Atoms:
    """ASE's view of a StructureData, with the kinds as an array."""
    kinds = [site.kind_name for site in slab.sites]
    atoms = ase.Atoms(
        [slab.get_kind(kind).symbol for kind in kinds],
        positions=[site.position for site in slab.sites],
        cell=slab.cell,
        pbc=slab.pbc,
    )
    atoms.set_array("kinds", np.array(kinds))
    return atoms
