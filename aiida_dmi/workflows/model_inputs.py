"""Inputs by protocol: from codes and a slab to all that the workchains of a model need."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.functions import operations_of_film, read_pseudo
from aiida_dmi.engine.build.irreducible import symmetric_divisions
from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.intake import with_starting_moments
from aiida_dmi.structures.layers import moments_by_name, sites_of
from aiida_dmi.structures.slab import CheckedFilm, film_of, read_film
from aiida_dmi.workflows import cutoffs, families, neighbours, scheduling, validation
from aiida_dmi.workflows.codes import check_codes, needed
from aiida_dmi.workflows.layout import asked_memory, pw_layout, pw_ports, resources_of, size_of
from aiida_dmi.workflows.ports import Ports
from aiida_dmi.workflows.protocols.utils import load_protocol
from aiida_dmi.workflows.retries import RETRIES

FREE = (True, True, True)


def checked_film(
    structure: orm.StructureData,
    protocol: str | None,
    overrides: dict[str, Any] | None,
    magnetic_moments: dict[str, float] | None,
) -> CheckedFilm:
    """The film with its starting moments.

    Parameters
    ----------
    structure : StructureData
        Of any origin: `structures.slab.film_of` turns it where it does not lie as a film does.
    protocol, overrides, magnetic_moments
        As `WannierModelWorkChain.get_builder_from_protocol`.
    """
    inputs = load_protocol(protocol, overrides)
    choices = Choices.checked(inputs["film"])
    taken = read_film(structure, choices)
    moments = starting_moments(taken.film, magnetic_moments, inputs["magnetic_moments"])
    film = with_starting_moments(taken.film, taken.atoms, moments)
    # Nothing is stored before it is known to be one.
    return CheckedFilm(film_of(structure, choices).structure, film)


def model_ports(
    codes: dict[str, orm.AbstractCode],
    checked: CheckedFilm,
    protocol: str | None,
    overrides: dict[str, Any] | None,
    pseudos: dict[str, UpfData] | None,
    options: dict[str, Any] | None,
    npool: int | None,
) -> Ports:
    """Inputs of `WannierModelWorkChain`, and so those of `WannierFunctionsWorkChain` among them.

    Parameters
    ----------
    codes, protocol, overrides, pseudos, options, npool
        As `WannierModelWorkChain.get_builder_from_protocol`.
    checked : CheckedFilm
        From `checked_film`.
    """
    structure, film = checked
    inputs = load_protocol(protocol, overrides, structure.cell[2][2])
    by_engine = inputs["overlaps"] == "dmi-engine"
    check_codes(codes, needed(inputs, response=False))
    message = validation.structure(structure)
    if message:
        raise ValueError(message)
    chosen, decided = _pseudos_and_cutoffs(inputs, structure, pseudos)
    scf = inputs["scf"]["parameters"]
    scf["SYSTEM"]["starting_magnetization"] = _starting_magnetization(dict(film.moments), chosen)
    validation.require_kinds(scf["SYSTEM"], structure)

    builder = Ports()
    builder.structure = structure
    builder.film = orm.Dict(film.record())
    builder.pseudos = chosen
    builder.cutoffs = orm.Dict(decided)
    mesh = wannier_mesh_of(structure, inputs)
    builder.kpoints, wannier90, words = neighbours.settled(mesh, inputs["wannierisation"])
    settings = (*validation.SETTINGS, validation.TRIAL_FUNCTIONS, RETRIES)
    chosen_functions = inputs["wannierisation"]
    builder.wannierisation = orm.Dict({key: chosen_functions[key] for key in settings if key in chosen_functions})
    # Every choice, one of them again where a job was killed, and thrice where folders are gone.
    builder.max_iterations = orm.Int(inputs["wannierisation"][RETRIES] + 5)
    builder.quality = orm.Dict(inputs["quality"])
    builder.random_points = orm.Int(inputs["bands"]["random_points"])
    builder.force = orm.Bool(inputs["force"])
    builder.clean_workdir = orm.Bool(inputs["clean_workdir"])
    builder.scf.kpoints = mesh_of(structure, inputs["scf"])
    _set_pw(builder.scf.pw, codes["pw"], scf)
    for step in ("nscf", "bands"):
        _set_pw(builder[step].pw, codes["pw"], _later(scf, inputs[step]["parameters"]))
    if inputs["check_spin_orbit"]:
        parameters = _later(scf, inputs["spin_orbit_bands"]["parameters"])
        del parameters["SYSTEM"]["nspin"]
        _set_pw(builder.spin_orbit_bands.pw, codes["pw"], parameters)
    if inputs["relax"]:
        _set_relaxation(builder, codes["pw"], film, scf, inputs["relax"])
    if by_engine:
        builder.overlaps.code = codes["engine"]
        builder.overlaps.metadata.options = {**scheduling.serial(options), **scheduling.one_thread()}
    else:
        builder.pw2wannier90.code = codes["pw2wannier90"]
        # Both spins run side by side.
        builder.pw2wannier90.metadata.options = scheduling.parallel(codes["pw2wannier90"], options, share=2)
    builder.wannier90.code = codes["wannier90"]
    builder.wannier90.parameters = orm.Dict(wannier90)
    builder.wannier90.metadata.description = words
    builder.wannier90.metadata.options = scheduling.serial(options)
    builder.model.code = codes["engine"]
    builder.model.metadata.options = {**scheduling.serial(options), **scheduling.one_thread()}
    _lay_out(builder, options, npool)
    return builder


def _pseudos_and_cutoffs(
    inputs: dict[str, Any], structure: orm.StructureData, pseudos: dict[str, UpfData] | None
) -> tuple[dict[str, UpfData], dict[str, Any]]:
    """The pseudopotential of every kind, and what is decided of the cutoffs, which are set in the inputs."""
    label = inputs["pseudo_family"]
    group = None if pseudos else families.family(label)
    chosen = pseudos or families.pseudos_of(group, structure)
    functional = inputs["scf"]["parameters"]["SYSTEM"].get("input_dft")
    message = validation.pseudos(chosen) or validation.pseudos_of(structure, chosen, functional)
    if message:
        raise ValueError(message)
    group = group or families.family_of(chosen.values(), label)
    return chosen, cutoffs.settle(inputs, cutoffs.elements_of(chosen), group)


def _starting_magnetization(moments: dict[str, float], pseudos: dict[str, UpfData]) -> dict[str, float]:
    """As pw.x takes it: moments in units of the valence electrons."""
    valence = {kind: read_pseudo(pseudos[kind]).valence for kind in moments}
    validation.require_moments(moments, valence)
    return {kind: moment / valence[kind] for kind, moment in moments.items()}


def _changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Namelists of another pw.x step: the scf's, with what this step changes."""
    return {name: {**base.get(name, {}), **changes.get(name, {})} for name in {**base, **changes}}


def _later(scf: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Namelists of a step on the scf's density; it has its own number of bands."""
    parameters = _changed(scf, changes)
    parameters["SYSTEM"].pop("nbnd", None)
    return parameters


def _set_pw(ports: Any, code: orm.AbstractCode, parameters: dict[str, Any]) -> None:
    ports.code = code
    ports.parameters = orm.Dict(parameters)


def _lay_out(builder: Any, options: dict[str, Any] | None, npool: int | None) -> None:
    """Ranks, pools and memory of every pw.x job, with the reason as its description."""
    size = size_of(builder.structure, builder)
    for step, job in pw_ports(builder).items():
        chosen = scheduling.parallel(job.code, options)
        job.metadata.options = chosen
        resources = resources_of(job)
        layout = pw_layout(size, step, resources, npool)
        scheduler = job.code.computer.scheduler_type
        job.metadata.options = {**asked_memory(layout, resources, resources.ranks_per_machine, scheduler), **chosen}
        job.metadata.description = layout.words
        job.parallelization = orm.Dict({"npool": layout.parts})


def _set_relaxation(
    builder: Any,
    code: orm.AbstractCode,
    film: Film,
    scf: dict[str, Any],
    relax: dict[str, Any],
) -> None:
    """Positions relaxed in the fixed cell; `fixed` names the atoms that stay, such as ['Pt.2']."""
    step = builder.relax.base_relax
    _set_pw(step.pw, code, _changed(scf, relax["parameters"]))
    step.kpoints = builder.scf.kpoints
    builder.relax.meta_convergence = orm.Bool(False)
    fixed = sites_of(film, relax["fixed"]) if relax["fixed"] else []
    if fixed:
        held = [list(FREE) if site in fixed else [False] * 3 for site in range(len(film.symbols))]
        step.pw.settings = orm.Dict({"FIXED_COORDS": held})


def starting_moments(film: Film, given: dict[str, float] | None, table: dict[str, float]) -> dict[str, float]:
    """Starting moment (mu_B) of every kind of a film.

    As given by element, layer or kind; where nothing is given what the structure came with, else the protocol's table
    for the magnetic elements, and none for the others.

    Raises
    ------
    ValueError
        If no kind is magnetic, a magnetic element has no moment, or a name is no part of the film.
    """
    kinds = dict(zip(film.kinds, film.symbols, strict=True))
    by_rule = {kind: table.get(symbol) if symbol in film.magnets else 0.0 for kind, symbol in kinds.items()}
    moments = moments_by_name(film, given or {}, default=dict(film.moments) or by_rule)
    unknown = [kind for kind, moment in moments.items() if moment is None]
    if unknown:
        raise ValueError(
            f"magnetic_moments: none is known for {', '.join(unknown)} (the table has {', '.join(table)}); give it "
            f"(--moment {unknown[0]}=MU_B)"
        )
    magnetic = {kind: moment for kind, moment in moments.items() if kinds[kind] in film.magnets}
    if not any(magnetic.values()):
        raise ValueError(
            f"magnetic_moments: all are 0 for {', '.join(magnetic)}, the film's magnet; give some that are not "
            "(--moment), or name other magnets (--magnets)"
        )
    return {kind: float(moment) for kind, moment in moments.items()}


def wannier_mesh_of(structure: orm.StructureData, inputs: dict[str, Any]) -> orm.KpointsData:
    """The Wannier functions' mesh, even where that of the comparison has the same distance: one nscf run serves both.

    Parameters
    ----------
    structure : StructureData
    inputs : dict
        From `load_protocol`.
    """
    return symmetric_mesh_of(structure, inputs["wannierisation"], even=same_distance(inputs))


def same_distance(inputs: dict[str, Any]) -> bool:
    """Whether inputs by protocol ask for one mesh, by its distance, for the Wannier functions and the comparison."""
    sections = (inputs["wannierisation"], inputs["completeness"] or {})
    if any(section.get("kpoints_mesh") for section in sections):
        return False
    own, compared = (section.get("kpoints_distance") for section in sections)
    return bool(own == compared)


def symmetric_mesh_of(structure: orm.StructureData, settings: dict[str, Any], even: bool = False) -> orm.KpointsData:
    """`mesh_of`, by a distance with as many points more as the film's operations ask for, by divisions as it is.

    Parameters
    ----------
    structure : StructureData
    settings : dict
    even : bool
        Of a mesh by distance: every second point of it is a mesh, too.

    Raises
    ------
    InputError
        If the mesh is none of a film.
    """
    kpoints = mesh_of(structure, settings, even)
    if not settings.get("kpoints_mesh"):
        kpoints.set_kpoints_mesh(symmetric_divisions(kpoints.get_kpoints_mesh()[0], operations_of_film(structure)))
    return kpoints


def mesh_of(structure: orm.StructureData, settings: dict[str, Any], even: bool = False) -> orm.KpointsData:
    """The Gamma-centred mesh of a protocol's section: its `kpoints_mesh`, or from `kpoints_distance` (1/Angstrom).

    Raises
    ------
    InputError
        If the mesh is none of a film.
    """
    kpoints = orm.KpointsData()
    kpoints.set_cell_from_structure(structure)
    if settings.get("kpoints_mesh"):
        mesh = list(settings["kpoints_mesh"])
        kpoints.set_kpoints_mesh([*mesh, *[1] * (3 - len(mesh))])
    else:
        kpoints.set_kpoints_mesh_from_density(settings["kpoints_distance"], force_parity=even)
    if message := validation.mesh(kpoints):
        raise InputError(message)
    return kpoints
