"""The frame of a film: its atoms in one piece, its normal along z, its cell reduced and as symmetric as its lattice.

Everything here turns, shifts or replaces lattice vectors; nothing mirrors, since a mirror changes the sign of D.
"""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.geometry import get_distances, minkowski_reduce
from numpy.typing import NDArray

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.geometry import FLOOR, MIN_VACUUM
from aiida_dmi.structures.heights import in_one_piece, widest_gap

Floats = NDArray[np.float64]

ROUNDED = 1e-3
"""Angstrom by which a lattice vector may miss its lattice: what rounding to three digits leaves. More is a strain."""
OVERLAP = 0.6
"""Atoms nearer than this part of the sum of their covalent radii lie on one another."""
LARGEST = 1e4
"""Angstrom; no coordinate of a film is larger."""
EXACT = 1e-9
"""Angstrom; nearer than this a lattice vector is where it should be."""
SAID = 1e-6
"""Angstrom; what is moved by less is not worth a word."""


@dataclass(frozen=True)
class Upright:
    """A slab with its normal along z.

    Attributes
    ----------
    atoms : ase.Atoms
        a1 along x, a2 in the upper half of the xy plane, a3 along z; pbc (T, T, F); arrays of the slab kept.
    vacuum : float
        Angstrom.
    axes : tuple of int
        Which lattice vectors of the slab (0, 1, 2) have become a1 and a2.
    across : bool
        Whether the slab lay across a face of its cell.
    """

    atoms: ase.Atoms
    vacuum: float
    axes: tuple[int, int]
    across: bool

    @property
    def words(self) -> list[str]:
        """What might surprise of it."""
        words = [] if self.axes[0] == 0 else [f"axes: x along the given a{self.axes[0] + 1}"]
        return [*words, *(["put together across the face of its cell"] if self.across else [])]


def check_atoms(atoms: ase.Atoms) -> None:
    """Refuse what is no crystal of atoms: no lattice, no numbers, no elements, atoms on one another.

    Raises
    ------
    InputError
    """
    if len(atoms) == 0:
        raise InputError("structure: no atoms were given, expected a film")
    cell, positions = np.array(atoms.cell[:], dtype=float), np.array(atoms.positions, dtype=float)
    for name, values in (("lattice vectors", cell), ("positions", positions)):
        if not np.isfinite(values).all() or np.abs(values).max() > LARGEST:
            raise InputError(f"structure: {name} that are no finite lengths in Angstrom were given; mend the file")
    if abs(np.linalg.det(cell)) < 1e-6:
        raise InputError("structure: three lattice vectors were expected, some are missing; add vacuum along the third")
    for number in atoms.numbers:
        if not 0 < number < len(chemical_symbols):
            raise InputError("structure: an atom without a chemical element (X) was given, expected elements")
    _, distances = get_distances(positions, cell=cell, pbc=True)
    least = OVERLAP * np.add.outer(covalent_radii[atoms.numbers], covalent_radii[atoms.numbers])
    np.fill_diagonal(distances, np.inf)
    first, second = np.unravel_index(int(np.argmin(distances / least)), distances.shape)
    if distances[first, second] < least[first, second]:
        symbols = atoms.get_chemical_symbols()
        raise InputError(
            f"structure: atoms {first + 1} ({symbols[first]}) and {second + 1} ({symbols[second]}) lie "
            f"{distances[first, second]:.2f} Angstrom apart, expected at least {least[first, second]:.2f}; remove one "
            "of them, or give lengths in Angstrom"
        )
    repeat = shortest_vector(cell)
    widest = OVERLAP * 2 * covalent_radii[atoms.numbers].max()
    if repeat < widest:
        raise InputError(
            f"structure: a lattice vector of {repeat:.2f} Angstrom was given, atoms would lie on their own images; "
            "give lengths in Angstrom"
        )


def shortest_vector(cell: Floats) -> float:
    """Length of the shortest lattice vector, Angstrom."""
    return float(np.linalg.norm(minkowski_reduce(cell)[0], axis=1).min())


def upright(slab: ase.Atoms) -> Upright:
    """Turn a slab so that its normal lies along z, in one piece; the lattice vector across the vacuum points up.

    Parameters
    ----------
    slab : ase.Atoms
        The vacuum along any lattice vector, which need not be perpendicular to the film. Where the slab says that it
        does not repeat along one of them, the vacuum is that one.

    Raises
    ------
    InputError
        If there is not one lattice vector along which it is empty.
    """
    cell = np.array(slab.cell[:])
    fractions = np.linalg.solve(cell.T, slab.positions.T).T
    gaps = [widest_gap(fractions[:, axis])[0] * height(cell, axis) for axis in range(3)]
    open_axes = [axis for axis in range(3) if not slab.pbc[axis]]
    wide = [axis for axis in range(3) if gaps[axis] >= MIN_VACUUM]
    candidates = [axis for axis in wide if axis in open_axes] if open_axes else wide
    if len(open_axes) > 1 or len(candidates) != 1:
        found = ", ".join(f"{gap:.1f} along a{axis + 1}" for axis, gap in enumerate(gaps))
        raise InputError(
            f"structure: empty space of {found} Angstrom was given, expected a film: at least {MIN_VACUUM:g} along one "
            "lattice vector and less along the others, or pbc that names it; add or remove vacuum"
        )
    axis = candidates[0]
    wrapped = fractions.copy()
    # In one piece: cut in the middle of the vacuum, not at the cell's face.
    wrapped[:, axis] = in_one_piece(fractions[:, axis], fractions[0, axis])
    whole = slab.copy()
    whole.positions = wrapped @ cell
    whole.pbc = True
    across = bool(np.ptp(np.round(wrapped[:, axis] - fractions[:, axis])) > 0)
    axes = ((axis + 1) % 3, (axis + 2) % 3)
    if np.linalg.det(cell) < 0:
        axes = axes[::-1]
    return Upright(in_frame(whole, cell[axes[0]], cell[axes[1]]), gaps[axis], axes, across)


def turned_over(film: Upright) -> Upright:
    """The film on its head: (a2, a1, -normal) is right-handed as (a1, a2, normal) is."""
    atoms = in_frame(film.atoms, film.atoms.cell[1], film.atoms.cell[0])
    return Upright(atoms, film.vacuum, film.axes[::-1], film.across)


def in_frame(atoms: ase.Atoms, a1: Floats, a2: Floats) -> ase.Atoms:
    """Turn a film so that a1 lies along x and a2 in the upper half of the xy plane.

    The third lattice vector becomes the normal: along it nothing repeats, so any length will do.
    """
    x = a1 / np.linalg.norm(a1)
    z = np.cross(a1, a2)
    z /= np.linalg.norm(z)
    frame = np.array([x, np.cross(z, x), z])
    film = atoms.copy()
    film.positions = atoms.positions @ frame.T
    turned = np.array([frame @ a1, frame @ a2, [0.0, 0.0, np.ptp(film.positions[:, 2]) + 2 * MIN_VACUUM]])
    turned[0, 1:] = turned[1, 2] = 0.0
    film.set_cell(turned, scale_atoms=False)
    film.pbc = (True, True, False)
    return in_plane(film)


def in_plane(film: ase.Atoms) -> ase.Atoms:
    """Atoms back in the cell in the plane; what rounding leaves just below 1 belongs to 0."""
    wrapped = film.copy()
    plane = np.array(film.cell[:2, :2])
    fractions = np.linalg.solve(plane.T, film.positions[:, :2].T).T % 1.0
    fractions[fractions > 1.0 - 1e-9] = 0.0
    wrapped.positions[:, :2] = fractions @ plane
    return wrapped


def with_vacuum(film: ase.Atoms, vacuum: float) -> ase.Atoms:
    """The film above the cell's floor, in a cell that leaves this vacuum, Angstrom.

    Raises
    ------
    InputError
        If it is too little.
    """
    if not MIN_VACUUM <= vacuum < LARGEST:
        raise InputError(f"vacuum: {vacuum} was given, expected {MIN_VACUUM:g} Angstrom or more")
    placed = film.copy()
    heights = placed.positions[:, 2]
    cell = np.array(placed.cell[:])
    cell[2] = [0.0, 0.0, float(np.ptp(heights)) + vacuum]
    placed.positions[:, 2] += min(FLOOR, vacuum / 2) - heights.min()
    placed.set_cell(cell, scale_atoms=False)
    return placed


def shortest_cell(film: ase.Atoms) -> tuple[ase.Atoms, str | None]:
    """The film in the shortest cell of its plane, x along its a1, and in words what changed; None where nothing did.

    Meshes follow from the lengths of the lattice vectors: in a sheared cell they come out uneven.
    """
    a1, a2 = np.array(film.cell[0]), np.array(film.cell[1])
    # A centred cell, a2 above the middle of a1, is no sheared one.
    if abs(a1 @ a2) <= (a1 @ a1) * (0.5 + 1e-4) and abs(a1 @ a2) < (a2 @ a2) * (1.0 - 1e-4):
        return film, None
    new = np.eye(2)
    while True:
        # Gauss: the shorter one is taken from the longer one as often as it fits.
        if a1 @ a1 <= a2 @ a2:
            times = np.round((a1 @ a2) / (a1 @ a1))
            a2, new[1] = a2 - times * a1, new[1] - times * new[0]
        else:
            times = np.round((a1 @ a2) / (a2 @ a2))
            a1, new[0] = a1 - times * a2, new[0] - times * new[1]
        if times == 0:
            break
    if np.cross(a1, a2)[2] < 0:
        a2, new[1] = -a2, -new[1]
    words = [f"{name} = {' '.join(f'{n:+.0f} {v}' for n, v in zip(row, ('a1', 'a2'), strict=True) if n)}"
             for name, row in (("a1", new[0]), ("a2", new[1]))]  # fmt: skip
    turn = float(np.degrees(np.arctan2(a1[1], a1[0])))
    x = "" if abs(turn) < 1e-3 else f", x along the new a1, {turn:.2f} degrees from the old one"
    result = in_frame(film, a1, a2)
    result.set_cell([result.cell[0], result.cell[1], film.cell[2]], scale_atoms=False)
    return result, f"sheared cell replaced by the shortest one of its lattice: {', '.join(words)}{x}"


def on_lattice(film: ase.Atoms) -> tuple[ase.Atoms, str | None]:
    """The film on the symmetric lattice that its rounded cell stands for, and in words what changed.

    A hexagonal or square lattice written with three or five digits is neither: k meshes come out uneven, the shells of
    neighbours that Wannier90 looks for fall apart, and symmetry is lost.
    """
    given = np.array(film.cell[:2, :2])
    moved = [
        (float(np.linalg.norm(lattice - given, axis=1).max()), name, lattice) for name, lattice in _lattices(given)
    ]
    near = [entry for entry in moved if entry[0] <= ROUNDED]
    if not near or near[0][0] <= EXACT:
        return film, None
    # Of the lattices within reach the most symmetric one.
    by, name, lattice = near[0]
    result = film.copy()
    cell = np.array(film.cell[:])
    fractions = np.linalg.solve(given.T, film.positions[:, :2].T).T
    cell[:2, :2] = lattice
    result.set_cell(cell, scale_atoms=False)
    result.positions[:, :2] = fractions @ lattice
    words = f"cell set to its {name} lattice (rounded by up to {by:.1e} Angstrom)" if by > SAID else None
    return result, words


def _lattices(cell: Floats) -> list[tuple[str, Floats]]:
    """Symmetric lattices near a plane cell, the most symmetric first: name and (2, 2) vectors, a1 as it points."""
    angle = np.arctan2(cell[0, 1], cell[0, 0])
    lengths = np.linalg.norm(cell, axis=1)
    cosine = float(cell[0] @ cell[1] / lengths.prod())
    opening = np.arccos(np.clip(cosine, -1.0, 1.0))

    def spanned(a: float, b: float, between: float) -> Floats:
        return np.array(
            [[a * np.cos(angle), a * np.sin(angle)], [b * np.cos(angle + between), b * np.sin(angle + between)]]
        )

    side = float(lengths.mean())
    hexagonal = np.radians(60.0 if cosine > 0 else 120.0)
    return [
        ("hexagonal", spanned(side, side, hexagonal)),
        ("square", spanned(side, side, np.pi / 2)),
        ("rectangular", spanned(lengths[0], lengths[1], np.pi / 2)),
        # a2 ends above the middle of a1: centred rectangular, with a1 along an edge; bcc(110).
        ("centred rectangular", _above_the_middle(cell, angle, lengths)),
        ("centred rectangular", spanned(side, side, float(opening))),
    ]


def _above_the_middle(cell: Floats, angle: float, lengths: Floats) -> Floats:
    """The cell with the component of a2 along a1 at plus or minus half of a1."""
    x = np.array([np.cos(angle), np.sin(angle)])
    y = np.array([-x[1], x[0]])
    along = np.sign(cell[1] @ x) * lengths[0] / 2
    return np.array([lengths[0] * x, along * x + (cell[1] @ y) * y])


def height(cell: Floats, axis: int) -> float:
    """Distance of the cell's faces across one lattice vector, Angstrom."""
    normal = np.cross(cell[(axis + 1) % 3], cell[(axis + 2) % 3])
    return float(abs(cell[axis] @ normal) / np.linalg.norm(normal))
