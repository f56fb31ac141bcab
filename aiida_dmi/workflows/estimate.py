"""What the steps of a film are estimated to take, in processor time and memory, before anything runs.

Every step is a few matrix operations of known size, repeated a known number of times: the sizes come from the film, the
cutoff and the meshes, the seconds of one operation from runs that were measured (cost.yaml, written by
benchmarks/cost.py). docs/cost.md holds the two against each other.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import spglib

from aiida_dmi.calculations.functions import FUNCTIONS_PER_ORBITAL, SPARE_BANDS
from aiida_dmi.engine.build.irreducible import film_operations, gamma_centred, reduced
from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.engine.completeness.spec import MEMORY_LIMIT as COMPLETENESS_MEMORY
from aiida_dmi.engine.constants import BOHR_ANGSTROM
from aiida_dmi.engine.files.yaml_text import load_yaml
from aiida_dmi.engine.integrate.settings import MAX_MESH
from aiida_dmi.engine.kspace.zone import check_points
from aiida_dmi.engine.run.summation import MEMORY_LIMIT

COMPLEX = 16
"""Bytes of a complex number."""
PROGRAM = 60e6
"""Bytes of a rank of pw.x whatever the film: program, libraries, MPI, interpolation tables (51 MB for a tiny film)."""
ENGINE = 180e6
"""Bytes of a process of dmi-engine whatever the model: interpreter and libraries (185 MB for a tiny one)."""
TYPICAL_MESH, ROOM = 160, 300.0
"""Points a side that Co/Pt(111) 1+1 takes for an error of 1 % of D, and the temperature (K); it is inverse to it."""
SOLVED, ITERATIONS = 7, 7
"""Of `dmi-engine complete`: vectors of first order for each active band, and iterations that each takes."""
ABOVE_FILLED = 2.5
"""Active bands of a spin beyond those that hold the electrons, an atom (Co/Pt, Mn/W, shifts up to 1 eV)."""
NMIX = 8
"""Densities that pw.x keeps for mixing, unless told."""


@dataclass(frozen=True)
class FilmSize:
    """The sizes that time and memory follow from.

    Attributes
    ----------
    atoms : int
    electrons : float
        Valence electrons of the pseudopotentials, semicore with them.
    projectors : int
        Nonlocal projectors beta of all atoms.
    plane_waves : float
        N_pw of a k point, on average.
    grid : tuple of int
        Points of pw.x's FFT along the three lattice vectors.
    functions : int
        Wannier functions a spin.
    scf_bands, nscf_bands : int
        Bands a spin: as pw.x takes by itself for a metal, and those for the Wannier functions.
    kept_bands : int
        Those without semicore and spare bands.
    scf_points, nscf_points : int
        k points of the two runs.
    mesh_points : int
        k points of the complete mesh for the Wannier functions.
    mixed : int
        Densities that pw.x keeps for mixing: ELECTRONS' `mixing_ndim`.
    check_points : int
        K points at which the gate holds the model's bands against pw.x's.
    """

    atoms: int
    electrons: float
    projectors: int
    plane_waves: float
    grid: tuple[int, int, int]
    functions: int
    scf_bands: int
    nscf_bands: int
    kept_bands: int
    scf_points: int
    nscf_points: int
    mesh_points: int
    mixed: int = NMIX
    check_points: int = 45

    @classmethod
    def of(
        cls,
        cell: tuple[Any, Any, Sequence[int]],
        pseudos: Sequence[Pseudopotential],
        parameters: Mapping[str, Any],
        meshes: tuple[Sequence[int], Sequence[int]],
        wannierisation: Mapping[str, Any],
        irreducible: bool = True,
        random_points: int = 40,
    ) -> FilmSize:
        """Sizes of a film with its inputs.

        Parameters
        ----------
        cell : tuple
            As spglib takes it: lattice vectors in Angstrom, positions in units of them, a number for the kind of each
            atom.
        pseudos : sequence of Pseudopotential
            Of every atom.
        parameters : mapping
            pw.x's: of SYSTEM `ecutwfc`, `ecutrho` in Ry and `nbnd`, of ELECTRONS `mixing_ndim`.
        meshes : tuple
            Divisions of the scf's and of the Wannier functions' mesh.
        wannierisation : mapping
            `orbitals`, `bands_per_function`.
        irreducible : bool
            Whether the nscf has the irreducible points of its mesh alone; pw2wannier90.x needs all.
        random_points : int
            Of the k points at which bands are checked, those besides the film's high-symmetry points.

        Raises
        ------
        ValueError
            If a cutoff is no number.
        """
        lattice = np.asarray(cell[0], float) / BOHR_ANGSTROM
        electrons = sum(pseudo.valence for pseudo in pseudos)
        functions = len(pseudos) * sum(FUNCTIONS_PER_ORBITAL[orbital] for orbital in wannierisation["orbitals"])
        kept = math.ceil(wannierisation["bands_per_function"] * functions)
        scf_mesh, mesh = ([*divisions, 1][:3] for divisions in meshes)
        system = parameters["SYSTEM"]
        symmetric = not system.get("nosym", False)
        cutoff = _cutoff(system, "ecutwfc", None)
        return cls(
            atoms=len(pseudos),
            electrons=electrons,
            projectors=sum(2 * p.ell + 1 for pseudo in pseudos for p in pseudo.projectors),
            # A sphere of radius k_cut = sqrt(E_cut): N_pw = V k_cut^3 / (6 pi^2).
            plane_waves=float(abs(np.linalg.det(lattice))) * cutoff**1.5 / (6 * math.pi**2),
            grid=fft_grid(lattice, _cutoff(system, "ecutrho", 4 * cutoff)),
            functions=functions,
            # Without a number pw.x takes its own for a metal.
            scf_bands=system.get("nbnd") or math.ceil(max(0.6 * electrons, electrons / 2 + 4)),
            nscf_bands=sum(pseudo.semicore_bands() for pseudo in pseudos) + kept + SPARE_BANDS,
            kept_bands=kept,
            scf_points=irreducible_points(cell, scf_mesh),
            nscf_points=computed_points(cell, mesh, symmetric) if irreducible else math.prod(mesh),
            mesh_points=math.prod(mesh),
            mixed=int(parameters.get("ELECTRONS", {}).get("mixing_ndim", NMIX)),
            check_points=len(check_points(cell[0], random_points)),
        )


def _cutoff(system: Mapping[str, Any], key: str, default: float | None) -> float:
    value = system.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ValueError(f"{key}: {value!r} was given, expected a number above 0, in Ry")
    return float(value)


def fft_grid(lattice: Any, density_cutoff: float) -> tuple[int, int, int]:
    """pw.x's dense FFT grid.

    Parameters
    ----------
    lattice : array_like, shape (3, 3)
        Lattice vectors, bohr.
    density_cutoff : float
        ecutrho, Ry.

    Returns
    -------
    tuple of int
        The least numbers made of 2, 3 and 5 that hold every G with |G|^2 < ecutrho: 2 |a| sqrt(ecutrho) / (2 pi) + 1.
    """
    lengths = np.linalg.norm(lattice, axis=1)
    first, second, third = (2 * int(math.sqrt(density_cutoff) / (2 * math.pi) * length) + 1 for length in lengths)
    return _smooth(first), _smooth(second), _smooth(third)


def _smooth(number: int) -> int:
    """The least product of 2, 3 and 5 that is not below a number."""
    while True:
        rest = number
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return number
        number += 1


def irreducible_points(cell: Any, mesh: Sequence[int]) -> int:
    """K points of a Gamma-centred mesh that the crystal's symmetry and time reversal leave."""
    mapping, _ = spglib.get_ir_reciprocal_mesh(list(mesh), cell, is_time_reversal=True)
    return len(np.unique(mapping))


def computed_points(cell: Any, mesh: Sequence[int], symmetric: bool = True) -> int:
    """K points of a Gamma-centred mesh that the nscf computes (`calculations.functions.irreducible_mesh`).

    Parameters
    ----------
    cell : tuple
        As `FilmSize.of` has it.
    mesh : sequence of int
        Divisions.
    symmetric : bool
        False: one of k and -k.
    """
    lattice, positions, kinds = cell
    operations = film_operations(lattice, positions, kinds) if symmetric else ()
    return len(reduced(gamma_centred(mesh), operations).kept)


# -- seconds of one processor ------------------------------------------------------------------------------


@functools.cache
def coefficients() -> dict[str, dict[str, float]]:
    """Seconds of one operation, by program; from the runs of docs/cost.md."""
    content: dict[str, dict[str, float]] = load_yaml((files(__package__) / "cost.yaml").read_text("utf-8"))
    return content


def solve_terms(size: FilmSize, bands: int, spinors: int = 1) -> dict[str, float]:
    """Operations of diagonalising H at one k point for one spin, without their seconds.

    A Davidson step applies H to N_b bands, by FFT to real space and back for the local part and by matrix products
    with the N_beta projectors for the nonlocal one, and makes the bands orthogonal:

        t = c_fft N_b N_fft log2 N_fft + c_matrix N_b (N_b + N_beta) N_pw + c_cubic N_b^3
    """
    points = math.prod(size.grid)
    return {
        "fft": spinors * bands * points * math.log2(points),
        "matrix": spinors * bands * (bands + size.projectors) * size.plane_waves,
        "cubic": float(bands**3),
    }


def solve_seconds(size: FilmSize, bands: int, spinors: int = 1) -> float:
    """Seconds of a k point and spin in a nscf run."""
    seconds = coefficients()["pw"]
    return sum(seconds[name] * number for name, number in solve_terms(size, bands, spinors).items())


def scf_iterations(size: FilmSize) -> float:
    """Iterations of the scf: more for thicker films, whose charge sloshes over longer ways."""
    return coefficients()["pw"]["iterations"] * math.sqrt(size.atoms)


def point_seconds(size: FilmSize, step: str) -> float:
    """Seconds of a k point and spin in a pw.x step: 'relax', 'scf', 'bands', 'spin_orbit_bands', 'nscf'."""
    pw = coefficients()["pw"]
    few = size.nscf_bands - size.kept_bands - SPARE_BANDS + size.functions
    if step in ("scf", "relax"):
        runs = pw["relax"] if step == "relax" else 1.0
        return runs * pw["scf"] * scf_iterations(size) * solve_seconds(size, size.scf_bands)
    if step == "spin_orbit_bands":
        return solve_seconds(size, 2 * few, spinors=2)
    return solve_seconds(size, size.nscf_bands if step == "nscf" else few)


def points_of(size: FilmSize, step: str) -> int:
    """K points of a pw.x step, both spins counted."""
    numbers = {"nscf": 2 * size.nscf_points, "bands": 2 * size.check_points, "spin_orbit_bands": size.check_points}
    return numbers.get(step, 2 * size.scf_points)


def engine_terms(size: FilmSize) -> dict[str, float]:
    """Operations of the steps between nscf and response, for one spin (`build`: both), without their seconds."""
    products = size.mesh_points * size.kept_bands * size.plane_waves
    return {
        # <u_k|u_k+b>: N_b x N_pw by N_pw x N_b, for every neighbour.
        "overlaps": products * size.kept_bands,
        # Reads a text of N_b^2 numbers for every neighbour.
        "wannier90": float(size.mesh_points * size.kept_bands**2),
        # Projectors of the spin-orbit interaction on the bands.
        "build": products * size.projectors,
    }


def engine_seconds(size: FilmSize, step: str) -> float:
    """Seconds of 'overlaps' or 'wannier90' for one spin, or of 'build', its start with it."""
    seconds = coefficients()[step]
    return seconds["start"] + seconds["operation"] * engine_terms(size)[step]


def film_seconds(size: FilmSize, steps: Iterable[str]) -> float:
    """Seconds of one processor from the film to the model, with the given steps of pw.x."""
    pw = sum(points_of(size, step) * point_seconds(size, step) for step in steps)
    spins = {"overlaps": 2, "wannier90": 2, "build": 1}
    return pw + sum(number * engine_seconds(size, step) for step, number in spins.items())


def active_bands(size: FilmSize) -> float:
    """Bands of a spin that may hold electrons, about."""
    return size.electrons / 2 + ABOVE_FILLED * size.atoms


def completeness_terms(size: FilmSize) -> float:
    """Operations of `dmi-engine complete` at one k point, both spins.

    Conjugate gradients for so many vectors of every active band apply H, by FFT and with the projectors, and keep
    the vectors orthogonal to the bands; the two kinds of work take about the same time (docs/cost.md).
    """
    points = math.prod(size.grid)
    products = 2 * (size.projectors + size.nscf_bands) * size.plane_waves
    return 2 * active_bands(size) * SOLVED * ITERATIONS * (points * math.log2(points) + products)


def completeness_seconds(size: FilmSize) -> float:
    """Seconds of `dmi-engine complete`, on the irreducible points of its mesh (`nscf_points`), its start with it."""
    seconds = coefficients()["completeness"]
    return seconds["start"] + seconds["operation"] * size.nscf_points * completeness_terms(size)


def response_seconds(functions: int, settings: Mapping[str, Any]) -> float:
    """Seconds of dmi-engine run for a whole mesh of a film.

    At every k point, for a model of n functions a spin and each direction and mask: eigenstates and products of 2n x 2n
    matrices once for a(I), a(II), D(1), and for each xi for D and Q. The share of n^2 is elementwise work and sums
    over R. The energies alone, once more, give the chemical potential. Before the first point, products are tabulated
    on R. Symmetry leaves fewer points.
    """
    parts = [len(settings.get(axis) or [1]) for axis in ("directions", "soi_masks")]
    scales = len(settings.get("soi_scales") or [1])
    once, each = (response_point_seconds(functions, part) for part in ("once", "each"))
    start = coefficients()["response"]["start_cube"] * (2 * functions) ** 3
    return start + mesh_size(settings) * math.prod(parts) * (once + scales * each)


def response_point_seconds(functions: int, part: str) -> float:
    """Seconds of a k point, direction and mask: 'once', and for 'each' xi."""
    seconds = coefficients()["response"]
    return seconds[f"{part}_square"] * (2 * functions) ** 2 + seconds[f"{part}_cube"] * (2 * functions) ** 3


def mesh_size(settings: Mapping[str, Any]) -> float:
    """K points of the response's mesh: the given one, or what a tolerance takes at the lowest temperature."""
    mesh = settings.get("mesh") or 1
    if settings.get("tolerance") is not None:
        kelvin = min(settings.get("temperatures") or [ROOM])
        mesh = min(TYPICAL_MESH * max(ROOM / kelvin, 0.5), settings.get("max_mesh") or MAX_MESH)
    return float(np.prod(mesh)) if isinstance(mesh, list | tuple) else float(mesh) ** 2


# -- bytes -------------------------------------------------------------------------------------------------


def pw_bytes(size: FilmSize, step: str, pools: int, ranks_per_pool: int) -> float:
    """Memory of one rank of pw.x.

    Its ranks share what a pool holds: N_b bands of N_pw plane waves five times over (the bands, and psi and H psi of a
    subspace of 2 N_b), in a scf once more for every k point of the pool, the projectors, and densities and potentials
    on the FFT grid. Pools of few ranks are fast and take much memory, for each holds all of it.
    """
    scf = step in ("scf", "relax")
    spinors = 2 if step == "spin_orbit_bands" else 1
    few = size.nscf_bands - size.kept_bands - SPARE_BANDS + size.functions
    bands = size.scf_bands if scf else size.nscf_bands if step == "nscf" else spinors * few
    wave_functions = COMPLEX * spinors * bands * size.plane_waves
    copies = 5 + (math.ceil(points_of(size, step) / pools) if scf else 0)
    projectors = COMPLEX * size.projectors * size.plane_waves
    # Of both spins, in reals: density and potentials on the grid; in a scf those that are mixed.
    densities = 8 * math.prod(size.grid) * (11 + (4 * size.mixed if scf else 0))
    # |G|^2, indices and structure factors of the density's 8 N_pw vectors.
    vectors = 8 * size.plane_waves * 100
    subspace = 3 * COMPLEX * (2 * bands) ** 2
    return PROGRAM + (copies * wave_functions + projectors + densities + vectors) / ranks_per_pool + subspace


def engine_bytes(size: FilmSize, step: str) -> float:
    """Memory of 'overlaps', 'wannier90' (one spin) or 'build'."""
    states = COMPLEX * size.mesh_points * size.kept_bands * size.plane_waves
    overlaps = COMPLEX * size.mesh_points * 8 * size.kept_bands**2
    return {"overlaps": ENGINE + states + overlaps, "wannier90": 2 * overlaps, "build": ENGINE + states}[step]


def completeness_bytes(size: FilmSize) -> float:
    """Memory of one process of `dmi-engine complete`, at one k point.

    Bands of both spins, projectors with their gradients, and what conjugate gradients hold: ten arrays, in single
    precision, of the vectors that are solved for at once, within the engine's limit.
    """
    vectors = SOLVED * active_bands(size)
    waves = COMPLEX * size.plane_waves * (2 * size.nscf_bands + 6 * size.projectors + 2 * vectors)
    return ENGINE + waves + min(10 * COMPLEX / 2 * vectors * size.plane_waves, COMPLETENESS_MEMORY)


def response_bytes(functions: int, atoms: int, mesh: Sequence[int], settings: Mapping[str, Any]) -> float:
    """Memory of one process of dmi-engine run.

    Parameters
    ----------
    functions, atoms : int
    mesh : sequence of int
        The model's own.
    settings : mapping
        The response's.
    """
    cells = math.prod(mesh)
    columns = math.prod(len(settings.get(axis) or [1]) for axis in ("directions", "soi_masks"))
    matrix = COMPLEX * functions**2
    # H, r of both spins, their overlap, and V of every direction and mask, on R vectors (images doubled at the edge).
    operators = matrix * 2 * cells * (9 + 9 * columns)
    # Tables of products: sums of two R vectors.
    table = matrix * (5 + 6 * columns) * math.prod(2 * divisions + 1 for divisions in mesh if divisions > 1)
    tabulated = table if table <= MEMORY_LIMIT / 2 else 0.0
    batch = min(MEMORY_LIMIT / 4, 64 * matrix * (12 + 9 * columns))
    return ENGINE + operators + tabulated + batch
