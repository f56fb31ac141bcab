"""What a candidate is estimated to cost, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from aiida import orm
from aiida_pseudo.groups.family import PseudoPotentialFamily

from aiida_dmi.calculations.functions import FUNCTIONS_PER_ORBITAL, read_pseudo
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.engine.build.virtual_crystal import virtual_crystal
from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.candidates import Candidate, load
from aiida_dmi.structures.layers import sites_of

BOHR = 0.529177210903
"""Angstrom."""

PER_BAND = 2e-7
"""Core seconds of a k point and spin in a nscf run, per bands^2 and plane wave (measured 0.7 to 5e-7)."""

SCF_ITERATIONS = 6.0
"""An scf's k point against a nscf's of as many bands (measured 2 to 12)."""

PER_SOLVE = 2e-8
"""Core seconds of a k point of the response, per cube of the number of spinor functions."""


class Cost(NamedTuple):
    """An estimate: `core_seconds`, and the sizes that it rests on."""

    core_seconds: float
    electrons: float
    functions: int
    bands: int


def estimated_cost(candidate: Candidate) -> Cost:
    """Core seconds of a candidate, to a factor of a few: for comparing candidates and for planning a campaign.

    A plane-wave run spends its time in orthogonalising N_b bands of N_pw = V k_cut^3 / (6 pi^2) plane waves at N_k
    points and two spins: t = PER_BAND * 2 N_k N_b^2 N_pw. Both runs have the points that time reversal leaves, the nscf
    for pw2wannier90 the whole mesh. The scf has bands for the electrons, and iterates; the nscf has
    `bands_per_function` bands for every Wannier function.
    The response diagonalises 2n functions at every point of its mesh, direction, mask and xi: n^3. Wannierisation,
    overlaps and relaxation are not in it.

    Raises
    ------
    ValueError
        If the pseudopotentials of the candidate are not there or cannot be mixed.
    """
    inputs = candidate.inputs
    if "model" in candidate.source:
        model = load("model", candidate.source["model"], WannierModelData)
        functions = int(model.base.attributes.get("functions"))
        electrons = float(model.base.attributes.get("electrons"))
        return Cost(_response(inputs["response"], functions), electrons, functions, 0)

    atoms = candidate.atoms()
    pseudos = _pseudopotentials(candidate, atoms)
    electrons = sum(pseudo.valence for pseudo in pseudos)
    wannier = inputs["wannierisation"]
    functions = len(atoms) * sum(FUNCTIONS_PER_ORBITAL[orbital] for orbital in wannier["orbitals"])
    bands = sum(p.semicore_bands() for p in pseudos) + math.ceil(wannier["bands_per_function"] * functions)
    cutoff = inputs["scf"]["parameters"]["SYSTEM"]["ecutwfc"]
    plane_waves = atoms.get_volume() / BOHR**3 * cutoff**1.5 / (6 * math.pi**2)

    def plane_wave_run(points: float, number: float) -> float:
        return PER_BAND * 2 * points * number**2 * plane_waves

    # Metals: a fifth more bands than pairs of electrons, as pw.x takes by itself.
    scf = SCF_ITERATIONS * plane_wave_run(_half(_mesh(inputs["scf"], atoms.cell)), 0.6 * electrons)
    mesh = _mesh(wannier, atoms.cell)
    nscf = plane_wave_run(math.prod(mesh) if inputs["overlaps"] == "pw2wannier90" else _half(mesh), bands)
    return Cost(scf + nscf + _response(inputs["response"], functions), electrons, functions, bands)


def _response(settings: dict[str, Any], functions: int) -> float:
    mesh = settings.get("mesh") or settings.get("max_mesh")
    points = float(np.prod(mesh)) if isinstance(mesh, list) else float(mesh or 1) ** 2
    axes = ("soi_scales", "directions", "soi_masks")
    return (
        points * math.prod(max(1, len(settings.get(axis) or [1])) for axis in axes) * PER_SOLVE * (2 * functions) ** 3
    )


def _mesh(settings: dict[str, Any], cell: Any) -> list[int]:
    """Divisions of a film's mesh, given or by distance (1/Angstrom)."""
    if settings.get("kpoints_mesh"):
        return list(settings["kpoints_mesh"])
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(np.array(cell)).T[:2], axis=1)
    return [max(1, math.ceil(length / settings["kpoints_distance"])) for length in lengths]


def _half(mesh: Sequence[int]) -> int:
    """Points of a Gamma-centred mesh that time reversal leaves: half, and half of those that are their own image."""
    own = math.prod(2 if divisions % 2 == 0 else 1 for divisions in mesh)
    return (math.prod(mesh) + own) // 2


def _pseudopotentials(candidate: Candidate, atoms: Any) -> list[Pseudopotential]:
    """The pseudopotential of every atom, mixtures mixed."""
    family = _family(candidate.inputs["pseudo_family"])
    symbols: Sequence[str] = atoms.get_chemical_symbols()
    needed = {*symbols, *(element for element, _ in candidate.mixtures.values())}
    known: dict[str, Pseudopotential] = {}
    for element in sorted(needed):
        try:
            known[element] = _read(family.get_pseudo(element).uuid)
        except ValueError as error:
            raise InputError(f"pseudo_family: {family.label!r} has none for {element}; use one that has") from error
    pseudos = [known[symbol] for symbol in symbols]
    for name, (element, fraction) in candidate.mixtures.items():
        for site in sites_of(atoms, name):
            pseudos[site] = virtual_crystal(known[symbols[site]], known[element], fraction)
    return pseudos


@lru_cache(maxsize=128)
def _read(uuid: str) -> Pseudopotential:
    """A campaign reads each file once."""
    return read_pseudo(orm.load_node(uuid))


def _family(label: str) -> PseudoPotentialFamily:
    query = orm.QueryBuilder().append(PseudoPotentialFamily, filters={"label": label})
    found = query.first(flat=True)
    if found is None:
        raise InputError(f"pseudo_family: {label!r} is not installed; see `aiida-pseudo list`, or name another one")
    return found
