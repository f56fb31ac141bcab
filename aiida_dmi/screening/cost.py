"""What a candidate is estimated to cost, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from aiida import orm
from aiida_pseudo.groups.family import PseudoPotentialFamily

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.build.irreducible import film_operations, symmetric_divisions
from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.engine.build.virtual_crystal import virtual_crystal
from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.candidates import Candidate, load
from aiida_dmi.workflows import validation
from aiida_dmi.workflows.estimate import (
    FilmSize,
    completeness_bytes,
    completeness_seconds,
    engine_bytes,
    film_seconds,
    point_seconds,
    points_of,
    pw_bytes,
    response_bytes,
    response_seconds,
)
from aiida_dmi.workflows.model_inputs import same_distance


class Cost(NamedTuple):
    """An estimate: `core_seconds`, `memory` (bytes of one rank or process, the largest), and the sizes they rest on."""

    core_seconds: float
    electrons: float
    functions: int
    bands: int
    memory: float


def estimated_cost(candidate: Candidate) -> Cost:
    """Core seconds and memory of a candidate (`aiida_dmi.workflows.estimate`, docs/cost.md).

    With the first choice of Wannier functions, each pool of pw.x one rank.

    Raises
    ------
    ValueError
        If the pseudopotentials of the candidate are not there, would be refused, or cannot be mixed.
    """
    inputs = candidate.inputs
    response = {key: value for key, value in inputs["response"].items() if value is not None}
    if "model" in candidate.source:
        model = load("model", candidate.source["model"], WannierModelData)
        functions = int(model.base.attributes.get("functions"))
        electrons = float(model.base.attributes.get("electrons"))
        atoms, mesh = len(model.base.attributes.get("symbols")), model.base.attributes.get("mesh")
        memory = response_bytes(functions, atoms, mesh, response)
        return Cost(response_seconds(functions, response), electrons, functions, 0, memory)

    film = candidate.atoms()
    inputs, group = candidate.settled
    wannier = inputs["wannierisation"]
    cell = (film.cell[:], film.get_scaled_positions(), _kinds(candidate, film))
    mesh = _symmetric_mesh(wannier, cell, even=same_distance(inputs))
    pseudos = _pseudopotentials(candidate, film, group)
    scf_mesh, parameters = _mesh(inputs["scf"], film.cell), inputs["scf"]["parameters"]
    by_engine, random_points = inputs["overlaps"] != "pw2wannier90", inputs["bands"]["random_points"]
    size = FilmSize.of(
        cell, pseudos, parameters, (scf_mesh, mesh), wannier, irreducible=by_engine, random_points=random_points
    )
    steps = ["scf", "bands", "nscf"]
    steps += ["relax"] if inputs["relax"] is not None else []
    steps += ["spin_orbit_bands"] if inputs["check_spin_orbit"] else []
    seconds = film_seconds(size, steps) + response_seconds(size.functions, response)
    further = []
    if inputs["completeness"] is not None:
        compared = _symmetric_mesh(inputs["completeness"], cell, even=True)
        exact = FilmSize.of(cell, pseudos, parameters, (scf_mesh, compared), wannier)
        seconds += completeness_seconds(exact)
        if list(compared) != list(mesh):
            seconds += points_of(exact, "nscf") * point_seconds(exact, "nscf")
        further.append(completeness_bytes(exact))
    memory = max(
        *further,
        *(pw_bytes(size, step, size.scf_points, 1) for step in steps),
        *(engine_bytes(size, step) for step in ("overlaps", "wannier90", "build")),
        response_bytes(size.functions, size.atoms, mesh, response),
    )
    return Cost(seconds, size.electrons, size.functions, size.nscf_bands, memory)


def _symmetric_mesh(settings: dict[str, Any], cell: Any, even: bool) -> list[int]:
    """As `model_inputs.symmetric_mesh_of`."""
    mesh = _mesh(settings, cell[0])
    if settings.get("kpoints_mesh"):
        return mesh
    return list(symmetric_divisions([*(n + n % 2 if even else n for n in mesh), 1], film_operations(*cell))[:2])


def _mesh(settings: dict[str, Any], cell: Any) -> list[int]:
    """Divisions of a film's mesh, given or by distance (1/Angstrom)."""
    if settings.get("kpoints_mesh"):
        return list(settings["kpoints_mesh"])
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(np.array(cell)).T[:2], axis=1)
    return [max(1, int(np.ceil(length / settings["kpoints_distance"]))) for length in lengths]


def _kinds(candidate: Candidate, film: Any) -> list[int]:
    """A number for each kind of atom: mixed ones are another kind than the element alone."""
    numbers = [int(number) for number in film.numbers]
    for name in candidate.mixtures:
        for site in candidate.film.sites(name):
            numbers[site] += 200
    return numbers


def _pseudopotentials(candidate: Candidate, atoms: Any, family: PseudoPotentialFamily) -> list[Pseudopotential]:
    """The pseudopotential of every atom, mixtures mixed."""
    symbols: Sequence[str] = atoms.get_chemical_symbols()
    needed = {*symbols, *(element for element, _ in candidate.mixtures.values())}
    known: dict[str, Pseudopotential] = {}
    for element in sorted(needed):
        try:
            pseudo = family.get_pseudo(element)
        except ValueError as error:
            raise InputError(f"pseudo_family: {family.label!r} has none for {element}; use one that has") from error
        if message := validation.pseudos({element: pseudo}):
            raise InputError(message)
        known[element] = read(pseudo.uuid)
    pseudos = [known[symbol] for symbol in symbols]
    for name, (element, fraction) in candidate.mixtures.items():
        for site in candidate.film.sites(name):
            pseudos[site] = virtual_crystal(known[symbols[site]], known[element], fraction)
    return pseudos


@lru_cache(maxsize=128)
def read(uuid: str) -> Pseudopotential:
    """A pseudopotential by its uuid: a campaign reads each file once."""
    return read_pseudo(orm.load_node(uuid))
