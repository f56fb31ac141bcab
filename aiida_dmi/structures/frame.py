"""The frame of a film: its atoms in one piece, its normal along z, its cell reduced and as symmetric as its lattice.

Everything here turns, shifts or replaces lattice vectors; nothing mirrors, since a mirror changes the sign of D.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import ase
import numpy as np
from ase.data import chemical_symbols, covalent_radii
from ase.geometry import minkowski_reduce
from numpy.typing import NDArray
from scipy.spatial import KDTree

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.heights import in_one_piece, widest_gap

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

FLOOR = 5.0
"""Height of the lowest layer above the cell's floor, Angstrom; half the vacuum where that is less."""
MIN_VACUUM = 6.0
"""Angstrom; the film and its periodic image overlap below."""
ROUNDED = 1e-3
"""Angstrom by which a lattice vector may miss its lattice: what rounding to three digits leaves. More is a strain."""
NEARLY = 0.03
"""Angstrom; a lattice missed by less than this is meant, as a cell of two digits does, or strained by a per cent."""
HALF = 5e-3
"""Parts of a lattice vector; a cell of two digits is no sheared one, though its a2 ends beyond the middle of a1."""
OVERLAP = 0.6
"""Atoms nearer than this part of the sum of their covalent radii lie on one another."""
ONE_ATOM = 0.1
"""Angstrom; nearer atoms of one element are one that the operations of a cif did not bring onto itself, its place on a
symmetry element being rounded."""
APART = 1.45
"""Where no atoms are nearer than this times the sum of their covalent radii, lengths are no Angstrom: neighbours in
films lie at 0.7 to 1.2 of it, in bohr at 1.6 and more."""
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
    turned : bool
        Whether the atoms had to be turned.
    across : bool
        Whether the slab lay across a face of its cell.
    """

    atoms: ase.Atoms
    vacuum: float
    axes: tuple[int, int]
    turned: bool
    across: bool

    @property
    def words(self) -> list[str]:
        """What might surprise of it."""
        normal = 3 - sum(self.axes)
        along = "" if normal == 2 else f", the vacuum lay along a{normal + 1}"
        words = [f"axes: x along the given a{self.axes[0] + 1}{along}"] if self.turned else []
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
    if not cell.any():
        raise InputError(
            "structure: no lattice vectors were given, expected three; give a format that has them, such as cif or "
            "extended xyz (Lattice=...)"
        )
    if abs(np.linalg.det(cell)) < 1e-6:
        raise InputError("structure: three lattice vectors were expected, some are missing; add vacuum along the third")
    for number in atoms.numbers:
        if not 0 < number < len(chemical_symbols):
            raise InputError("structure: an atom without a chemical element (X) was given, expected elements")
    _check_distances(atoms)


def _check_distances(atoms: ase.Atoms) -> None:
    """Refuse atoms on one another, and lengths in other units than Angstrom."""
    radii, symbols = covalent_radii[atoms.numbers], atoms.get_chemical_symbols()
    cell = minkowski_reduce(np.array(atoms.cell[:]))[0]
    repeat = float(np.linalg.norm(cell, axis=1).min())
    if repeat < OVERLAP * 2 * radii.max():
        raise InputError(
            f"structure: a lattice vector of {repeat:.2f} Angstrom was given, atoms would lie on their own images; "
            "give lengths in Angstrom"
        )
    first, second, distances = _neighbours(atoms.positions, cell, 2 * APART * float(radii.max()))
    parts = distances / (radii[first] + radii[second])
    if not len(parts) or parts.min() > APART:
        raise InputError(
            f"structure: no two atoms are nearer than {APART:g} times the sum of their radii; give lengths in Angstrom "
            "(these may be in bohr)"
        )
    if parts.min() < OVERLAP:
        one, other = sorted((first[parts.argmin()], second[parts.argmin()]))
        distance = distances[parts.argmin()]
        remedy = "remove one of them, or give lengths in Angstrom"
        if symbols[one] == symbols[other] and distance < ONE_ATOM:
            remedy = "if symmetry made two of one, give its place with more digits (0.33333333), else remove one"
        raise InputError(
            f"structure: atoms {one + 1} ({symbols[one]}) and {other + 1} ({symbols[other]}) lie {distance:.2f} "
            f"Angstrom apart, expected at least {OVERLAP * (radii[one] + radii[other]):.2f}; {remedy}"
        )


def _neighbours(positions: Floats, cell: Floats, cutoff: float) -> tuple[Ints, Ints, Floats]:
    """Pairs of atoms and their distances, Angstrom, their nearest images among them.

    In a reduced cell the nearest image of an atom lies in the cell itself or in one of those around it.
    """
    fractions = np.linalg.solve(cell.T, positions.T).T % 1.0
    shifts = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    images = ((fractions[None] + shifts[:, None]) @ cell).reshape(-1, 3)
    pairs = KDTree(fractions @ cell).sparse_distance_matrix(KDTree(images), cutoff, output_type="ndarray")
    own = pairs["j"] == len(positions) * (len(shifts) // 2) + pairs["i"]
    return pairs["i"][~own], pairs["j"][~own] % len(positions), pairs["v"][~own]


def vacuum_along_a_vector(slab: ase.Atoms) -> tuple[ase.Atoms, str | None]:
    """The slab in the shortest cell of its lattice where the vacuum lies along no vector of its own; and in words."""
    if slab.pbc.any() != slab.pbc.all() or len(_wide(slab)) == 1:
        return slab, None
    shortest = slab.copy()
    shortest.set_cell(minkowski_reduce(np.array(slab.cell[:]))[0], scale_atoms=False)
    if len(_wide(shortest)) != 1:
        return slab, None
    return shortest, "lattice vectors replaced by the shortest ones of the lattice: the vacuum lay along none of them"


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
    axis, vacuum = _open_axis(slab)
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
    frame = frame_of(cell[axes[0]], cell[axes[1]])
    turned = float(np.abs(frame - np.eye(3)).max()) > SAID
    return Upright(in_frame(whole, cell[axes[0]], cell[axes[1]]), vacuum, axes, turned, across)


def _gaps(slab: ase.Atoms) -> list[float]:
    """Empty space along each lattice vector, Angstrom."""
    cell = np.array(slab.cell[:])
    fractions = np.linalg.solve(cell.T, slab.positions.T).T
    return [widest_gap(fractions[:, axis])[0] * height(cell, axis) for axis in range(3)]


def _wide(slab: ase.Atoms) -> list[int]:
    return [axis for axis, gap in enumerate(_gaps(slab)) if gap >= MIN_VACUUM]


def _open_axis(slab: ase.Atoms) -> tuple[int, float]:
    """The lattice vector across the vacuum, and the vacuum, Angstrom."""
    gaps, wide = _gaps(slab), _wide(slab)
    # An ASE structure says False along all three unless it is told: that is no word on the film.
    open_axes = [axis for axis in range(3) if not slab.pbc[axis]] if any(slab.pbc) else []
    candidates = [axis for axis in wide if axis in open_axes] if open_axes else wide
    if len(open_axes) <= 1 and len(candidates) == 1:
        return candidates[0], gaps[candidates[0]]
    found = ", ".join(f"{gap:.1f} along a{axis + 1}" for axis, gap in enumerate(gaps))
    if len(open_axes) > 1:
        said = " and ".join(f"a{axis + 1}" for axis in open_axes)
        raise InputError(
            f"structure: it does not repeat along {said} (pbc), expected a film, which repeats along two lattice "
            "vectors; set pbc to True, or to False for the one across the vacuum alone"
        )
    if open_axes:
        raise InputError(
            f"structure: empty space of {found} Angstrom was given, expected at least {MIN_VACUUM:g} along "
            f"a{open_axes[0] + 1}, along which it does not repeat (pbc); add vacuum"
        )
    if wide:
        raise InputError(
            f"structure: empty space of {found} Angstrom was given, expected a film: at least {MIN_VACUUM:g} along one "
            "lattice vector and less along the others; say which one by pbc, False along the vacuum (from Python), or "
            "put the atoms of one layer nearer to each other"
        )
    raise InputError(
        f"structure: empty space of {found} Angstrom was given, expected a film: at least {MIN_VACUUM:g} along one "
        "lattice vector; add vacuum, or give a slab in place of a bulk crystal"
    )


def turned_over(film: Upright) -> Upright:
    """The film on its head: (a2, a1, -normal) is right-handed as (a1, a2, normal) is."""
    atoms = in_frame(film.atoms, film.atoms.cell[1], film.atoms.cell[0])
    return Upright(atoms, film.vacuum, film.axes[::-1], True, film.across)


def frame_of(a1: Floats, a2: Floats) -> Floats:
    """Rows: unit vectors along x (a1), y, and z, the normal of a1 and a2."""
    x = a1 / np.linalg.norm(a1)
    z = np.cross(a1, a2)
    z /= np.linalg.norm(z)
    return np.array([x, np.cross(z, x), z])


def in_frame(atoms: ase.Atoms, a1: Floats, a2: Floats) -> ase.Atoms:
    """Turn a film so that a1 lies along x and a2 in the upper half of the xy plane.

    The third lattice vector becomes the normal: along it nothing repeats, so any length will do.
    """
    frame = frame_of(a1, a2)
    film = atoms.copy()
    film.positions = atoms.positions @ frame.T
    turned = np.array([frame @ a1, frame @ a2, [0.0, 0.0, np.ptp(film.positions[:, 2]) + 2 * MIN_VACUUM]])
    turned[0, 1:] = turned[1, 2] = 0.0
    film.set_cell(turned, scale_atoms=False)
    film.pbc = (True, True, False)
    return in_plane(film)


def in_plane(film: ase.Atoms) -> ase.Atoms:
    """Atoms back in the cell in the plane; what rounding leaves just below 1 belongs to 0."""
    wrapped: ase.Atoms = film.copy()
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
    placed: ase.Atoms = film.copy()
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
    new = np.eye(2)
    while True:
        # a2 is taken nearer first, so that x stays along a1. A centred cell, a2 above the middle of a1, may stay.
        if abs(a1 @ a2) > (a1 @ a1) * (0.5 + HALF):
            times = np.round((a1 @ a2) / (a1 @ a1))
            a2, new[1] = a2 - times * a1, new[1] - times * new[0]
        elif abs(a1 @ a2) > (a2 @ a2) * (1.0 - HALF):
            times = np.round((a1 @ a2) / (a2 @ a2))
            a1, new[0] = a1 - times * a2, new[0] - times * new[1]
        else:
            break
    if np.array_equal(new, np.eye(2)):
        return film, None
    if np.cross(a1, a2)[2] < 0:
        a2, new[1] = -a2, -new[1]
    words = [f"{name} = {' '.join(f'{n:+.0f} {v}' for n, v in zip(row, ('a1', 'a2'), strict=True) if n)}"
             for name, row in (("a1", new[0]), ("a2", new[1]))]  # fmt: skip
    turn = float(np.degrees(np.arctan2(a1[1], a1[0])))
    x = "" if abs(turn) < 1e-3 else f"; x along the new a1, {turn:.2f} degrees from the old one"
    result = in_frame(film, a1, a2)
    result.set_cell([result.cell[0], result.cell[1], film.cell[2]], scale_atoms=False)
    return result, f"sheared cell replaced by a shorter one of its lattice: {', '.join(words)}{x}"


def on_lattice(film: ase.Atoms) -> tuple[ase.Atoms, str | None]:
    """The film on the symmetric lattice that its rounded cell stands for, and in words what changed.

    A hexagonal or square lattice written with three or five digits is neither: k meshes come out uneven, the shells of
    neighbours that Wannier90 looks for fall apart, and symmetry is lost.
    """
    given = np.array(film.cell[:2, :2])
    moved = _moved(given)
    # Of the lattices within reach the most symmetric one.
    by, name, lattice = next((entry for entry in moved if entry[0] <= ROUNDED), (0.0, "oblique", given))
    if by <= EXACT:
        return film, None
    result = film.copy()
    cell = np.array(film.cell[:])
    fractions = np.linalg.solve(given.T, film.positions[:, :2].T).T
    cell[:2, :2] = lattice
    result.set_cell(cell, scale_atoms=False)
    result.positions[:, :2] = fractions @ lattice
    return result, f"cell set to its {name} lattice (rounded by up to {by:.1e} Angstrom)" if by > SAID else None


def missed_lattice(film: ase.Atoms) -> str | None:
    """The symmetric lattice that a cell misses by so little that it may have been meant, in words."""
    for by, name, _ in _moved(np.array(film.cell[:2, :2])):
        if by <= ROUNDED:
            return None
        if by <= NEARLY:
            return f"cell {name} but for {by:.3f} Angstrom: taken as strained; if it is not, give it with more digits"
    return None


def _moved(cell: Floats) -> list[tuple[float, str, Floats]]:
    """Symmetric lattices, the most symmetric first: how far (Angstrom) a plane cell is from them, name, vectors."""
    return [(float(np.linalg.norm(lattice - cell, axis=1).max()), name, lattice) for name, lattice in _lattices(cell)]


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
