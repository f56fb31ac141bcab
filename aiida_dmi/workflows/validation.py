"""What is refused before anything runs: one line each, what was given, what is expected, what to do."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aiida import orm
from aiida.orm.implementation.utils import clean_value
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.quality import MODEL, RESPONSE
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.build.atomic_functions import KINDS
from aiida_dmi.engine.build.ghost_states import can_be_searched, require_no_ghost_states
from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.film import NEEDED, Film
from aiida_dmi.structures.frame import MIN_VACUUM
from aiida_dmi.structures.heights import heights_of
from aiida_dmi.structures.intake import as_it_stands
from aiida_dmi.structures.moments import check_order
from aiida_dmi.structures.slab import choices_of
from aiida_dmi.workflows import neighbours
from aiida_dmi.workflows.retries import RETRIES

SAME_PLACE = 1e-3
"""Angstrom within which atoms of a model and of a structure are the same."""

SETTINGS = ("orbitals", "bands_per_function", "frozen_window")
TRIAL_FUNCTIONS = "trial_functions"
"""May be left out: hydrogenic."""
MOST = {"bands_per_function": 20.0, "frozen_window": 100.0}
"""Bands a function, eV above the Fermi level: more is a slip of the pen."""
MOST_RETRIES = 20
MOST_RANDOM_POINTS = 1000
RANDOM_POINTS = f"a whole number from 0 to {MOST_RANDOM_POINTS}"


def structure(node: orm.StructureData, _: Any = None) -> str | None:
    """A film: periodic in x and y, its vectors in the xy plane, vacuum along z."""
    if tuple(node.pbc) != (True, True, False):
        return f"structure: pbc {tuple(node.pbc)} was given, a film needs (True, True, False)"
    cell = np.array(node.cell)
    if np.abs(cell[:2, 2]).max() > 1e-6 or np.abs(cell[2, :2]).max() > 1e-6:
        return (
            "structure: the first two lattice vectors have to lie in the xy plane and the third along z; "
            "turn the film's normal to z"
        )
    vacuum = abs(cell[2, 2]) - np.ptp(heights_of(node))
    if vacuum < MIN_VACUUM:
        return (
            f"structure: {vacuum:.2f} Angstrom of vacuum along z, at least {MIN_VACUUM:g} are needed; "
            "give a slab, or more vacuum"
        )
    if any(not kind.isidentifier() or len(kind) > 3 for kind in node.get_kind_names()):
        names = ", ".join(node.get_kind_names())
        return f"structure: kinds {names} were given, expected letters and digits, three at most, such as Pt1"
    return None


def film(node: orm.Dict | None, _: Any = None) -> str | None:
    """A record of the intake."""
    if node is None or set(NEEDED) <= set(node.get_dict()):
        return None
    return "film: no record of a film was given; leave it out, or take get_builder_from_protocol, which makes it"


def film_of_structure(
    record: orm.Dict | None, node: orm.StructureData, moments: Mapping[str, float] | None = None
) -> str | None:
    """Whether a record is that of a structure, or without one, whether the structure is a film.

    Parameters
    ----------
    record : Dict, optional
        `Film.record`.
    node : StructureData
    moments : mapping, optional
        Kind to starting moment, mu_B: those of an antiferromagnet are refused.
    """
    try:
        if record is None:
            film = as_it_stands(node, choices_of(node))
            film.record()
        else:
            film = Film.from_record(record.get_dict(), node)
        if moments is not None:
            check_order(dataclasses.replace(film, moments=dict(moments)))
    except InputError as error:
        return str(error)
    return None


def pseudos(nodes: dict[str, UpfData], _: Any = None) -> str | None:
    """Fully relativistic, norm-conserving, and without ghost states as far as those can be searched for."""
    for kind, pseudo in (nodes or {}).items():
        message = _pseudo_message(pseudo.get_content(), pseudo.filename)
        if message is not None:
            return f"pseudos.{kind}: {message}"
    return None


@functools.lru_cache(maxsize=64)
def _parsed(content: str, filename: str) -> Pseudopotential:
    return Pseudopotential.from_text(content, filename)


@functools.lru_cache(maxsize=64)
def _pseudo_message(content: str, filename: str) -> str | None:
    """What is wrong with a UPF file; the search takes half a second, so that a file is searched once a process."""
    try:
        found = _parsed(content, filename)
        found.require_fully_relativistic(filename)
        if can_be_searched(found):
            require_no_ghost_states(found, filename)
    except InputError as error:
        return str(error)
    return None


def pseudos_of(structure_: orm.StructureData, nodes: Mapping[str, UpfData], functional: Any = None) -> str | None:
    """One pseudopotential for every kind, of its own element, and of one functional unless pw.x is told which to use.

    Parameters
    ----------
    structure_ : StructureData
    nodes : mapping
        Kind to pseudopotential, each of which `pseudos` lets pass.
    functional : str, optional
        pw.x's `input_dft`.
    """
    symbols = {kind.name: kind.symbol for kind in structure_.kinds}
    if missing := sorted(set(symbols) - set(nodes)):
        return f"pseudos: none was given for {', '.join(missing)}; give one for every kind of the structure"
    if sorted(nodes) != sorted(symbols):
        return f"pseudos: given for {sorted(nodes)}, the structure's kinds are {sorted(symbols)}"
    functionals: dict[str, str] = {}
    for kind, node in nodes.items():
        pseudo = _parsed(node.get_content(), node.filename)
        if symbols[kind] not in pseudo.elements:
            return (
                f"pseudos.{kind}: {node.filename} of {'/'.join(pseudo.elements)} was given, kind {kind} is "
                f"{symbols[kind]}; give one of {symbols[kind]}"
            )
        functionals.setdefault(pseudo.functional, f"{node.filename} has {pseudo.header.get('functional', '?')}")
    if len(functionals) > 1 and functional is None:
        return (
            f"pseudos: different functionals: {', '.join(functionals.values())}; pw.x takes one: give pseudopotentials "
            "of one family"
        )
    return None


def require_moments(moments: Mapping[str, float], valence: Mapping[str, float]) -> None:
    """Refuse a moment (mu_B) of a kind that is larger than its valence electrons can have.

    Raises
    ------
    InputError
        Naming the kind.
    """
    for kind, moment in moments.items():
        if not abs(moment) <= valence[kind]:
            raise InputError(
                f"moments: {moment:g} mu_B was given for {kind}, expected at most {valence[kind]:g}: all valence "
                "electrons it has"
            )


def require_kinds(system: Mapping[str, Any], structure_: orm.StructureData) -> None:
    """Keywords of pw.x with a value for each kind name kinds of the film.

    Raises
    ------
    InputError
        Naming the keyword and the kind that is not there.
    """
    kinds = structure_.get_kind_names()
    for keyword, values in system.items():
        unknown = [str(name) for name in values if name not in kinds] if isinstance(values, Mapping) else []
        if unknown:
            raise InputError(
                f"overrides: scf.parameters.SYSTEM.{keyword}: {', '.join(unknown)} was given, the film's kinds are "
                f"{', '.join(kinds)}"
            )


def mesh(node: orm.KpointsData, _: Any = None) -> str | None:
    """A Gamma-centred mesh of a film."""
    try:
        divisions, offset = node.get_kpoints_mesh()
    except AttributeError:
        return "kpoints: a list was given, a mesh is needed"
    if any(offset):
        return f"kpoints: offset {offset} was given, a Gamma-centred mesh is needed"
    if divisions[2] != 1:
        return f"kpoints: {'x'.join(map(str, divisions))} was given, a film has one point along its normal"
    return None


def wannierisation(node: orm.Dict, _: Any = None) -> str | None:
    """Orbitals, bands and window of the first choice, and how many may follow."""
    settings = node.get_dict()
    missing = [key for key in SETTINGS if key not in settings]
    if missing:
        return f"wannierisation: {', '.join(missing)} missing; expected {', '.join(SETTINGS)}"
    message = choices(settings)
    return None if message is None else f"wannierisation: {message}"


def choices(settings: dict[str, Any]) -> str | None:
    """What is wrong with a first choice of Wannier functions, whole or in part, and with its `retries`."""
    for key, value in settings.items():
        message = _setting(key, value)
        if message:
            return message
    return None


def _setting(key: str, value: Any) -> str | None:
    if key == RETRIES:
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_RETRIES:
            return None
        return f"{key} {value!r} was given, expected a whole number from 0 to {MOST_RETRIES}"
    if key == TRIAL_FUNCTIONS:
        return None if value in KINDS else f"{key} {value!r} was given, expected {' or '.join(KINDS)}"
    if key not in SETTINGS:
        return f"{key} is unknown; expected {', '.join((*SETTINGS, TRIAL_FUNCTIONS, RETRIES))}"
    if key == "orbitals":
        fits = isinstance(value, list) and value and all(value.count(orbital) == 1 for orbital in value)
        fits = fits and all(orbital in ("s", "p", "d", "f") for orbital in value)
        return None if fits else f"orbitals {value!r} was given, expected a list of s, p, d, f"
    least = 1.0 if key == "bands_per_function" else 0.0
    fits = _number(value) and least < value <= MOST[key]
    return None if fits else f"{key} {value!r} was given, expected a number above {least:g}, {MOST[key]:g} at most"


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def limits(node: orm.Dict, _: Any = None) -> str | None:
    """Limits of the quality gate: known quantities, numbers or null."""
    for name, limit in node.get_dict().items():
        if name not in {**MODEL, **RESPONSE}:
            return f"quality: {name} is unknown; expected {', '.join([*MODEL, *RESPONSE])}"
        if limit is not None and not (_number(limit) and limit >= 0):
            return f"quality: {name} {limit!r} was given, expected a number, or null not to judge it"
    return None


def random_points(node: orm.Int, _: Any = None) -> str | None:
    """How many k points bands are checked at, besides the film's own."""
    if fits_random_points(node.value):
        return None
    return f"random_points: {node.value} was given, expected {RANDOM_POINTS}"


def fits_random_points(value: Any) -> bool:
    """Whether a number of random k points makes sense."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_RANDOM_POINTS


def cutoffs(node: orm.Dict | None, _: Any = None) -> str | None:
    """What was decided of the cutoffs."""
    reference = None if node is None else node.get("reference", None)
    if reference is None or (_number(reference) and reference > 0):
        return None
    return f"cutoffs: reference {reference!r} was given, expected Ry, or null where none is recommended"


def finished_run(folder: orm.RemoteData, _: Any = None) -> str | None:
    """The folder of a finished collinear scf run: its energies and Fermi level come from its outputs."""
    creator = folder.creator
    if creator is None or "output_parameters" not in creator.outputs:
        return "parent_folder: no finished pw.x run made it; give the remote_folder of a collinear scf PwCalculation"
    if folder.is_cleaned:
        return f"parent_folder: RemoteData<{folder.pk}> was cleaned, its density is gone; run the scf again"
    parameters = creator.inputs.parameters.get_dict()
    if parameters.get("CONTROL", {}).get("calculation", "scf") not in ("scf", "relax"):
        return f"parent_folder: PwCalculation<{creator.pk}> is no scf run; give the remote_folder of one"
    system = parameters.get("SYSTEM", {})
    if system.get("nspin") != 2:
        return f"parent_folder: PwCalculation<{creator.pk}> is not collinear (nspin = 2); run such a scf"
    if system.get("tot_magnetization") is not None or system.get("occupations", "smearing") != "smearing":
        return f"parent_folder: PwCalculation<{creator.pk}> has two Fermi levels or none; run a scf with smearing"
    return None


def scf_of_another_film(folder: orm.RemoteData, node: orm.StructureData) -> str | None:
    """Whether a scf run's folder is that of a structure."""
    theirs = folder.creator.inputs.structure
    # By their content: a structure that is not stored has no hash.
    if clean_value(theirs.base.attributes.all) == clean_value(node.base.attributes.all):
        return None
    return (
        f"parent_folder: the scf of StructureData<{theirs.pk}>, not of the given one; leave parent_folder out, or give "
        "that structure"
    )


def magnetic_start(parameters: orm.Dict, kinds: Sequence[str]) -> str | None:
    """A collinear run that starts magnetic."""
    system = parameters.get_dict().get("SYSTEM", {})
    if system.get("nspin") != 2:
        return f"scf: nspin = {system.get('nspin')} was given, a collinear run (nspin = 2) is needed"
    if system.get("tot_magnetization") is not None:
        return (
            "scf: tot_magnetization was given, which makes two Fermi levels where the theory has one; give starting "
            "moments (starting_magnetization) instead"
        )
    starting = system.get("starting_magnetization", {})
    if over := [kind for kind in kinds if abs(starting.get(kind) or 0.0) > 1.0]:
        return (
            f"scf: starting_magnetization of {', '.join(over)} is beyond 1: a moment larger than all valence electrons "
            "of the atom can have; give a smaller one"
        )
    if any(starting.get(kind) for kind in kinds):
        return None
    return (
        f"structure: no magnetic atom among the kinds {', '.join(kinds)}: starting_magnetization is zero for all; "
        "give `magnetic_moments` for the kinds that carry the film's magnetism"
    )


def same_atoms(model: WannierModelData, node: orm.StructureData) -> str | None:
    """Whether a model is that of a structure."""
    loaded = model.load()
    symbols = [node.get_kind(site.kind_name).symbol for site in node.sites]
    if list(loaded.symbols) != symbols:
        return f"model: of {' '.join(loaded.symbols)}, the structure has {' '.join(symbols)}; give one of the two"
    moved = np.abs(np.array([site.position for site in node.sites]) - loaded.positions).max()
    strained = np.abs(np.array(node.cell) - loaded.cell).max()
    if max(moved, strained) > SAME_PLACE:
        return (
            f"model: of another structure (positions differ by {moved:.3f}, lattice vectors by {strained:.3f} "
            "Angstrom); give one of the two"
        )
    return None


def model_of_film(inputs: Mapping[str, Any]) -> str | None:
    """Inputs of a film's model together: pseudopotentials, neighbours of the mesh, a start that is magnetic."""
    structure_, scf = inputs["structure"], inputs["scf"]["pw"]["parameters"]
    message = pseudos_of(structure_, inputs.get("pseudos", {}), scf.get_dict().get("SYSTEM", {}).get("input_dft"))
    if message is None and "kpoints" in inputs:
        given = inputs.get("wannier90", {}).get("parameters", None)
        message = neighbours.refusal(structure_, inputs["kpoints"], {} if given is None else given.get_dict())
    if message is not None:
        return message
    if "parent_folder" not in inputs:
        message = magnetic_start(scf, structure_.get_kind_names())
    elif inputs.get("relax"):
        message = "parent_folder: given with relax; the density of another geometry would be used, give one"
    else:
        message = scf_of_another_film(inputs["parent_folder"], structure_)
    if message is not None:
        return message
    starting = scf.get_dict().get("SYSTEM", {}).get("starting_magnetization") or {}
    # Of a kind without one, pw.x starts from no moment.
    moments = {
        kind: float(starting.get(kind) or 0.0) * _parsed(pseudo.get_content(), pseudo.filename).valence
        for kind, pseudo in inputs.get("pseudos", {}).items()
    }
    return film_of_structure(inputs.get("film"), structure_, None if "parent_folder" in inputs else moments)
