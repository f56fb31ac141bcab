"""`dmi-engine overlaps`: the .amn, .mmn and .eig files of wannier90.x from pw.x's wave functions."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from ... import __version__
from ..arguments import check_keys, choice, whole
from ..errors import InputError
from ..files.atomic import whole_file
from ..files.regular import path_of
from ..model.file import SPINS
from ..processes.progress import Progress, SilentProgress
from . import atomic_functions as atomic
from . import trial_functions as hydrogenic
from .atomic_functions import ATOMIC, HYDROGENIC, KINDS
from .completed import completed, operations_of, symmetry_residual, used_operations
from .irreducible import SpaceOperation
from .nnkp import Nnkp
from .plane_waves import LocatedStates
from .pseudopotential import Pseudopotential
from .quantum_espresso import SCHEMA, SaveFolder, WaveFunctions, in_angstrom
from .trial_functions import TrialFunction

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Complexes = npt.NDArray[np.complex128]

SUFFIXES = (".amn", ".mmn", ".eig", ".overlaps.json")
"""Of the files that are written; the last holds the `Summary`."""
MEMORY_LIMIT = 1024**3
CELL_TOLERANCE = 1e-5
"""Angstrom; the .nnkp file gives seven decimals."""
KPOINT_TOLERANCE = 1e-6
SITE_TOLERANCE = 1e-5
"""Lattice vectors; the .nnkp file gives five decimals."""
DEGENERATE = 1e-3
"""eV: states that lie nearer to each other are kept together, or left out together."""
DEGENERATE = 1e-3
"""eV: states that lie nearer to each other are kept together, or left out together."""


@dataclasses.dataclass(frozen=True)
class OverlapsSpec:
    """What overlaps are made from.

    Parameters
    ----------
    nscf : Path
        pw.x's `.save` folder, collinear, run with nosym and noinv: on the complete mesh, on one of each pair k and -k,
        or on the irreducible points of `operations`.
    nnkp : Path
        The .nnkp file of `wannier90.x -pp`.
    spin : str
        'up' or 'down'.
    operations : tuple of SpaceOperation
        Of the film, by which points that the nscf lacks are made.
    trial_functions : str
        'hydrogenic': as the .nnkp file has them; 'atomic': the pseudopotentials' own in their place, see
        `atomic_functions`.
    pseudos : mapping
        Kind to UPF file; needed for 'atomic'.
    memory_limit : int
        Bytes of wave functions that are kept; what does not fit is read again. Two k points are always kept.
    """

    nscf: Path
    nnkp: Path
    spin: str
    operations: tuple[SpaceOperation, ...] = ()
    trial_functions: str = HYDROGENIC
    pseudos: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    memory_limit: int = MEMORY_LIMIT

    @classmethod
    def from_mapping(cls, spec: Mapping[str, Any], folder: Path) -> OverlapsSpec:
        """From a SPEC.yaml's content; relative paths are taken from `folder`.

        Raises
        ------
        InputError
            Naming the key that is missing, unknown or of the wrong kind.
        """
        keys = [field.name for field in dataclasses.fields(cls)]
        check_keys(spec, [*keys, "seedname"], ("nscf", "nnkp", "spin"), "overlaps")
        expected = "a positive whole number of bytes"
        kind = choice("trial_functions", spec.get("trial_functions", HYDROGENIC), KINDS)
        given = spec.get("pseudos", {})
        if not isinstance(given, Mapping) or (kind == ATOMIC) != bool(given):
            raise InputError(
                f"pseudos: {given!r} was given for trial_functions: {kind}, expected a UPF file of every kind of atom "
                f"for {ATOMIC} and none else"
            )
        return cls(
            nscf=path_of("nscf", folder, spec["nscf"]),
            nnkp=path_of("nnkp", folder, spec["nnkp"]),
            spin=choice("spin", spec["spin"], SPINS),
            operations=operations_of(spec.get("operations")),
            trial_functions=kind,
            pseudos={str(name): path_of(f"pseudos: {name}", folder, path) for name, path in given.items()},
            memory_limit=whole("memory_limit", spec.get("memory_limit", MEMORY_LIMIT), expected),
        )

    def input_files(self) -> list[Path]:
        """The files that are read: none of them may become an output."""
        return [self.nnkp, self.nscf / SCHEMA, *self.nscf.glob("wfc*"), *self.pseudos.values()]


@dataclasses.dataclass(frozen=True)
class Summary:
    """What was written, and how well the trial functions lie in the bands.

    Parameters
    ----------
    bands, kpoints, functions, neighbours : int
    smallest_singular_value : float
        Of A(k), its columns of length 1, over all k: the projections are orthonormalised by dividing by the
        singular values, so 1 is perfect and near 0 some function is not in the bands, or depends on the others.
    smallest_at : tuple of float
        That k point, in units of the reciprocal lattice vectors.
    computed : int
        k points of the nscf.
    operations : int
        Of the film, by which others were made, the identity not counted.
    symmetry_residual : float
        By how much the nscf's states break these operations, eV; see `CompletedFolder.symmetry_residual`.
    seconds : float
        Wall time.
    """

    bands: int
    kpoints: int
    functions: int
    neighbours: int
    smallest_singular_value: float
    smallest_at: tuple[float, ...]
    computed: int
    operations: int
    symmetry_residual: float
    seconds: float

    def describe(self) -> str:
        """Lines for a reader."""
        at = ", ".join(f"{x:.4f}" for x in self.smallest_at)
        return (
            f"overlaps             {self.bands} bands, {self.kpoints} k points, {self.neighbours} neighbours each\n"
            f"computed             {self.computed} k points, the others by {self._others()}\n"
            f"trial functions      {self.functions}, smallest singular value of A(k) "
            f"{self.smallest_singular_value:.3f} at k = ({at})"
        )

    def _others(self) -> str:
        if not self.operations:
            return "time reversal"
        return f"time reversal and {self.operations} operations (broken by {self.symmetry_residual:.1e} eV)"


def write_overlaps(spec: OverlapsSpec, seed: str | Path, progress: bool = False) -> Summary:
    """Write SEED.amn, SEED.mmn, SEED.eig and SEED.overlaps.json.

    Of norm-conserving pseudopotentials' states both are plain inner products over plane waves,

        M_mn(k, b) = <u_mk|u_nk+b> = sum_G c_mk(G)* c_nk'(G + S),   k + b = k' + S,
        A_mn(k) = <psi_mk|g_n>,

    A being zero for states that the highest band kept parts from others of their energy (`_parted`). The files appear
    under their names only when all are complete; every input is checked before any work.

    Parameters
    ----------
    spec : OverlapsSpec
    seed : str or Path
        Folder and name without suffix.
    progress : bool
        Print progress to standard error.

    Raises
    ------
    InputError
        If a file is missing or damaged, the .nnkp file is of another cell, mesh or number of bands, the states are
        not normalised (ultrasoft or PAW pseudopotentials; `SaveFolder.wave_functions` refuses them) or break an
        operation.
    """
    start = time.monotonic()
    nnkp = Nnkp.read(spec.nnkp)
    stored = SaveFolder.read(spec.nscf)
    save = completed(stored, nnkp.kpoints, "nnkp", spec.operations)
    save.check_wave_functions()
    kept = _check(nnkp, save)
    functions = _on_atoms(nnkp.functions, save)
    pseudos = {kind: Pseudopotential.read(path) for kind, path in spec.pseudos.items()}
    spin = SPINS.index(spec.spin)
    residual = symmetry_residual(save, spin)
    states = _States(save, spin, kept, spec.memory_limit)
    project = _projector(spec, functions, save, pseudos, states)
    report = (Progress if progress else SilentProgress)(len(save.kpoints), f"overlaps, spin {spec.spin}")
    smallest = np.zeros(len(save.kpoints))
    with _files(seed) as (amn, mmn, eig):
        header = f"aiida-dmi {__version__}, spin {spec.spin}\n"
        amn.write(f"{header}{len(kept):12d}{len(save.kpoints):12d}{len(functions):12d}\n")
        mmn.write(f"{header}{len(kept):12d}{len(save.kpoints):12d}{nnkp.neighbours.shape[1]:12d}\n")
        for k, blocks in enumerate(_neighbour_overlaps(nnkp, states)):
            waves = states[k].waves
            trial = project(waves)
            projections = waves.coefficients.conj() @ trial.T
            projections[_parted(save.energies[spin, k], kept, len(functions))] = 0.0
            lengths = np.linalg.norm(trial, axis=1)
            smallest[k] = np.linalg.svd(projections / lengths, compute_uv=False).min()
            amn.write(_projection_lines(k, projections))
            eig.write(_energy_lines(k, save.energies[spin, k, kept]))
            for b, overlaps in enumerate(blocks):
                mmn.write(_overlap_lines(k, nnkp.neighbours[k, b], nnkp.shifts[k, b], overlaps))
            report.advance(1)
    summary = Summary(
        bands=len(kept),
        kpoints=len(save.kpoints),
        functions=len(functions),
        neighbours=nnkp.neighbours.shape[1],
        smallest_singular_value=float(smallest.min()),
        smallest_at=tuple(save.kpoints[smallest.argmin()].tolist()),
        computed=len(stored.kpoints),
        operations=len(used_operations(save)),
        symmetry_residual=residual,
        seconds=time.monotonic() - start,
    )
    with whole_file(Path(f"{seed}{SUFFIXES[3]}")) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(summary), indent=1) + "\n", encoding="ascii")
    return summary


def _projector(
    spec: OverlapsSpec,
    functions: tuple[TrialFunction, ...],
    save: SaveFolder,
    pseudos: Mapping[str, Pseudopotential],
    states: _States,
) -> Callable[[WaveFunctions], Complexes]:
    """What gives <k+G|g_n> at one k point, shape (functions, plane waves)."""
    if spec.trial_functions == HYDROGENIC:
        return lambda waves: hydrogenic.on_plane_waves(functions, waves, save.cell)
    longest = float(np.linalg.norm(states[0].waves.vectors, axis=1).max())
    # Of all k points the same plane waves to a fraction of a reciprocal vector.
    orbitals = atomic.atomic_functions(functions, save, pseudos, cutoff=longest + 1.0)
    return lambda waves: atomic.on_plane_waves(orbitals, waves, save.cell)


# -- checks --------------------------------------------------------------------------------------------


def _check(nnkp: Nnkp, save: SaveFolder) -> Integers:
    """The .nnkp file belongs to this run; the numbers (from 0) of the kept bands."""
    cell = in_angstrom(save.cell)
    error = float(np.abs(nnkp.cell - cell).max())
    if not error <= CELL_TOLERANCE:
        raise InputError(f"nnkp: its cell differs from the nscf's by {error:.1e} Angstrom; use one structure for both")
    if len(nnkp.kpoints) != len(save.kpoints):
        raise InputError(f"nnkp: {len(nnkp.kpoints)} k points, the nscf has {len(save.kpoints)}; use one list for both")
    if not np.abs(nnkp.kpoints - save.kpoints).max() <= KPOINT_TOLERANCE:
        raise InputError("nnkp: its k points are not the nscf's in the same order; use one list for both")
    bands = save.energies.shape[-1]
    if nnkp.excluded and nnkp.excluded[-1] >= bands:
        raise InputError(f"nnkp: excludes band {nnkp.excluded[-1] + 1}, the nscf has {bands}; correct exclude_bands")
    kept = np.setdiff1d(np.arange(bands), nnkp.excluded)
    if len(kept) < len(nnkp.functions):
        raise InputError(
            f"nnkp: {len(nnkp.functions)} projections for {len(kept)} bands that are not excluded; "
            "raise nbnd of the nscf or ask for fewer projections"
        )
    return kept


def _parted(energies: Floats, kept: Integers, functions: int) -> npt.NDArray[np.bool_]:
    """Which of the kept states have the energy of one above the highest band kept, shape (kept,).

    Half of a degenerate pair is an arbitrary state, other at k than at -k or at an image of k: one such state at Gamma
    broke time reversal of Mn/W(001) 1+1 by 0.1 eV. Without projections wannier90.x never takes it.

    Parameters
    ----------
    energies : ndarray, shape (bands,)
        Of one k point, eV, ascending.
    kept : ndarray of int, shape (kept,)
    functions : int
        As many states stay in any case.
    """
    result = np.zeros(len(kept), dtype=bool)
    above = kept[-1] + 1
    if above < len(energies):
        # Down from the first state left out, as far as each has the energy of the next.
        steps = np.diff(energies[[*kept, above]])
        alike = np.flatnonzero(steps > DEGENERATE)
        result[alike[-1] + 1 if len(alike) else 0 :] = True
    return result if (~result).sum() >= functions else np.zeros_like(result)


def _on_atoms(functions: tuple[TrialFunction, ...], save: SaveFolder) -> tuple[TrialFunction, ...]:
    """Functions within the .nnkp file's five decimals of an atom are moved onto it.

    Off the atoms by 1e-5 Angstrom they would break the film's symmetry in the sixth digit.
    """
    atoms = save.positions @ np.linalg.inv(save.cell)

    def moved(function: TrialFunction) -> TrialFunction:
        distance = np.array(function.centre) - atoms
        lattice = np.rint(distance)
        off = np.abs(distance - lattice).max(axis=1)
        nearest = int(off.argmin())
        if off[nearest] > SITE_TOLERANCE:
            return function
        return dataclasses.replace(function, centre=tuple((atoms[nearest] + lattice[nearest]).tolist()))

    return tuple(moved(function) for function in functions)


# -- overlaps ------------------------------------------------------------------------------------------


class _States:
    """The points of one spin by number: read when asked for, the least recently used dropped beyond the limit."""

    def __init__(self, save: SaveFolder, spin: int, kept: Integers, memory_limit: int) -> None:
        self._save, self._spin, self._kept, self._limit = save, spin, kept, memory_limit
        self._points: OrderedDict[int, LocatedStates] = OrderedDict()
        self._capacity = 2

    def __getitem__(self, k: int) -> LocatedStates:
        if k not in self._points:
            waves = self._save.wave_functions(self._spin, k)
            point = LocatedStates.of(dataclasses.replace(waves, coefficients=waves.coefficients[self._kept]))
            self._capacity = max(2, self._limit // point.waves.coefficients.nbytes)
            self._points[k] = point
            while len(self._points) > self._capacity:
                self._points.popitem(last=False)
        self._points.move_to_end(k)
        return self._points[k]


def _neighbour_overlaps(nnkp: Nnkp, states: _States) -> Iterator[list[Complexes]]:
    """M(k, b) of one k point after the other, in the order of its neighbours.

    Each pair is multiplied once: M(k + b, -b) = M(k, b)^+, kept until its k point comes (of a mesh in its usual
    order, about two rows).
    """
    waiting: dict[tuple[int, int], Complexes] = {}
    for k, (neighbours, shifts) in enumerate(zip(nnkp.neighbours, nnkp.shifts, strict=True)):
        blocks = []
        for b, (other, shift) in enumerate(zip(neighbours.tolist(), shifts, strict=True)):
            block = waiting.pop((k, b), None)
            if block is None:
                block = states[k].overlaps(states[other], shift)
                back = (nnkp.neighbours[other] == k) & (nnkp.shifts[other] == -shift).all(axis=1)
                for reverse in np.flatnonzero(back).tolist():
                    if (other, reverse) > (k, b):
                        waiting[other, reverse] = block.conj().T
            blocks.append(block)
        yield blocks


# -- files ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _files(seed: str | Path) -> Iterator[list[TextIO]]:
    """The .amn, .mmn and .eig files to write to; they appear under their names when the block ends well."""
    with contextlib.ExitStack() as stack:
        temporaries = [stack.enter_context(whole_file(Path(f"{seed}{suffix}"))) for suffix in SUFFIXES[:3]]
        yield [stack.enter_context(temporary.open("w", encoding="ascii")) for temporary in temporaries]


def _projection_lines(k: int, projections: Complexes) -> str:
    """Band (fastest), function, k point, Re, Im: pw2wannier90.x's rows."""
    bands, functions = projections.shape
    columns = np.empty((functions, bands, 5))
    columns[..., 0] = np.arange(1, bands + 1)
    columns[..., 1] = np.arange(1, functions + 1)[:, None]
    columns[..., 2] = k + 1
    columns[..., 3], columns[..., 4] = projections.T.real, projections.T.imag
    rows: str = "%8d%8d%8d%18.12f%18.12f\n" * (bands * functions) % tuple(columns.ravel().tolist())
    return rows


def _overlap_lines(k: int, neighbour: int, shift: Integers, overlaps: Complexes) -> str:
    """Head of k point, neighbour and reciprocal vector; then Re, Im with the first band fastest."""
    head = "".join(f"{number:8d}" for number in (k + 1, neighbour + 1, *shift.tolist()))
    values = np.ascontiguousarray(overlaps.T).view(np.float64).ravel()
    rows: str = "%18.12f%18.12f\n" * overlaps.size % tuple(values.tolist())
    return f"{head}\n{rows}"


def _energy_lines(k: int, energies: Floats) -> str:
    """Band, k point, energy (eV)."""
    return "".join(f"{band:8d}{k + 1:8d}{energy:18.12f}\n" for band, energy in enumerate(energies, start=1))
