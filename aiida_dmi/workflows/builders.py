"""Builders by protocol: from codes and a slab to complete inputs."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.functions import FUNCTIONS_PER_ORBITAL, read_pseudo
from aiida_dmi.calculations.response import DmiCalculation
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.intake import with_starting_moments
from aiida_dmi.structures.layers import mask_weights, moments_by_name, sites_of
from aiida_dmi.structures.moments import check_order
from aiida_dmi.structures.runs import film_of_model
from aiida_dmi.structures.slab import CheckedFilm, film_of, read_film
from aiida_dmi.workflows import cutoffs, families, neighbours, validation
from aiida_dmi.workflows.codes import check_codes, ranks_inside
from aiida_dmi.workflows.layout import (
    Resources,
    asked_memory,
    memory_of,
    pw_layout,
    pw_ports,
    resources_of,
    response_layout,
    size_of,
)
from aiida_dmi.workflows.origin import ORIGIN, origin_of
from aiida_dmi.workflows.protocols.utils import load_protocol

WALLTIME = 12 * 3600
FREE = (True, True, True)


def wannier_model_builder(
    workchain: Any,
    codes: dict[str, orm.AbstractCode],
    structure: orm.StructureData,
    protocol: str | None = None,
    overrides: dict[str, Any] | None = None,
    pseudos: dict[str, UpfData] | None = None,
    magnetic_moments: dict[str, float] | None = None,
    options: dict[str, Any] | None = None,
    npool: int | None = None,
) -> ProcessBuilder:
    """Inputs of `WannierModelWorkChain`.

    Parameters
    ----------
    workchain : class
        WannierModelWorkChain.
    codes : dict
        `pw`, `wannier90`, `engine`; `pw2wannier90` where the overlaps are to come from it.
    structure : StructureData
        The film, of any origin: `structures.slab.film_of` turns it where it does not lie as a film does.
    protocol : str, optional
        Name in protocols/film.yaml.
    overrides : dict, optional
        Nested as the protocol's inputs; unknown keys are refused by name.
    pseudos : dict, optional
        Fully relativistic UpfData of every kind; default those of `overrides['pseudo_family']`, without one of the
        family that `families.family` decides on. Cutoffs that are not given are those that it, or the one family that
        holds all of the given ones, recommends.
    magnetic_moments : dict, optional
        Name (element, layer such as Co.1, kind) to starting moment in mu_B; default what the structure came with, else
        the protocol's table for the magnetic elements. A moment makes no element magnetic: `overrides['film']` does,
        with `magnets`.
    options : dict, optional
        `metadata.options` of the parallel programs: resources, max_wallclock_seconds, queue_name, ...
    npool : int, optional
        Pools of k points of every pw.x run; default chosen for each from the film's size (`layout.pw_layout`).

    Raises
    ------
    ValueError
        If a code, a pseudopotential or a magnetic atom is missing, the structure is no film, or a key is unknown.
    """
    checked = _checked_film(structure, protocol, overrides, magnetic_moments)
    builder = _model_builder(workchain, codes, checked, protocol, overrides, pseudos, options, npool)
    builder.origin = origin_of(protocol, overrides, pseudos, magnetic_moments, builder.cutoffs)
    return builder


def _checked_film(
    structure: orm.StructureData,
    protocol: str | None,
    overrides: dict[str, Any] | None,
    magnetic_moments: dict[str, float] | None,
) -> CheckedFilm:
    """The film with its starting moments."""
    inputs = load_protocol(protocol, overrides)
    choices = Choices.checked(inputs["film"])
    taken = read_film(structure, choices)
    moments = starting_moments(taken.film, magnetic_moments, inputs["magnetic_moments"])
    film = with_starting_moments(taken.film, taken.atoms, moments)
    # Nothing is stored before it is known to be one.
    return CheckedFilm(film_of(structure, choices).structure, film)


def _model_builder(
    workchain: Any,
    codes: dict[str, orm.AbstractCode],
    checked: CheckedFilm,
    protocol: str | None,
    overrides: dict[str, Any] | None,
    pseudos: dict[str, UpfData] | None,
    options: dict[str, Any] | None,
    npool: int | None,
) -> ProcessBuilder:
    """`wannier_model_builder` of a film that has been checked."""
    structure, film = checked
    inputs = load_protocol(protocol, overrides, structure.cell[2][2])
    by_engine = inputs["overlaps"] == "dmi-engine"
    check_codes(codes, optional=("pw2wannier90",) if by_engine else ())
    message = validation.structure(structure)
    if message:
        raise ValueError(message)
    chosen, decided = _pseudos_and_cutoffs(inputs, structure, pseudos)
    scf = inputs["scf"]["parameters"]
    scf["SYSTEM"]["starting_magnetization"] = _starting_magnetization(dict(film.moments), chosen)
    validation.require_kinds(scf["SYSTEM"], structure)

    builder = workchain.get_builder()
    builder.structure = structure
    builder.film = orm.Dict(film.record())
    builder.pseudos = chosen
    builder.cutoffs = orm.Dict(decided)
    mesh = mesh_of(structure, inputs["wannierisation"])
    builder.kpoints, wannier90, words = neighbours.settled(mesh, inputs["wannierisation"])
    attempts = inputs["wannierisation"]["attempts"]
    builder.wannierisation = orm.Dict(
        {key: inputs["wannierisation"][key] for key in (*validation.SETTINGS, "attempts")}
    )
    # Every choice, one of them again where a job was killed, and thrice where folders are gone.
    builder.max_iterations = orm.Int(len(attempts) + 5)
    builder.quality = orm.Dict(inputs["quality"])
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
        builder.overlaps.metadata.options = {**_serial(options), **_one_thread()}
    else:
        builder.pw2wannier90.code = codes["pw2wannier90"]
        # Both spins run side by side.
        builder.pw2wannier90.metadata.options = _options(codes["pw2wannier90"], options, share=2)
    builder.wannier90.code = codes["wannier90"]
    builder.wannier90.parameters = orm.Dict(wannier90)
    builder.wannier90.metadata.description = words
    builder.wannier90.metadata.options = _serial(options)
    builder.model.code = codes["engine"]
    builder.model.metadata.options = {**_serial(options), **_one_thread()}
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


def dmi_builder(
    workchain: Any,
    codes: dict[str, orm.AbstractCode],
    structure: orm.StructureData,
    protocol: str | None = None,
    overrides: dict[str, Any] | None = None,
    pseudos: dict[str, UpfData] | None = None,
    magnetic_moments: dict[str, float] | None = None,
    options: dict[str, Any] | None = None,
    npool: int | None = None,
) -> Any:
    """Inputs of `DmiWorkChain`: those of `wannier_model_builder` and the response's.

    Parameters
    ----------
    workchain : class
        DmiWorkChain.
    codes, structure, protocol, overrides, pseudos, magnetic_moments, options, npool
        As `wannier_model_builder`. The masks of `overrides['response']['soi_masks']` name atoms, as in
        {'interface': ['Co', 'Pt.1']} (see `aiida_dmi.structures.layers.mask_weights`), or give one weight an atom.
    """
    from aiida_dmi.workflows.wannier_model import WannierModelWorkChain

    checked = _checked_film(structure, protocol, overrides, magnetic_moments)
    inputs = load_protocol(protocol, overrides)
    builder = workchain.get_builder()
    model = _model_builder(WannierModelWorkChain, codes, checked, protocol, overrides, pseudos, options, npool)
    builder.structure, builder.film = checked.structure, model.film
    builder.origin = origin_of(protocol, overrides, pseudos, magnetic_moments, model.cutoffs)
    copy_ports(model, builder.wannier_model, but=("structure", "film", ORIGIN))
    atoms = len(checked.film.symbols)
    functions = atoms * sum(FUNCTIONS_PER_ORBITAL[orbital] for orbital in model.wannierisation["orbitals"])
    shape = (functions, atoms, model.kpoints.get_kpoints_mesh()[0])
    _set_response(builder, codes["engine"], checked.film, shape, inputs, options)
    return builder


def copy_ports(source: Any, target: Any, but: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> None:
    """Set in one builder what is set in another one, or in a namespace of it."""
    for key, value in source._inputs(prune=True).items():
        if key not in (*but, "metadata") and (not only or key in only):
            target[key] = value


def response_builder(
    workchain: Any,
    code: orm.AbstractCode,
    model: WannierModelData,
    protocol: str | None = None,
    overrides: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
) -> Any:
    """Inputs of `DmiWorkChain` from a finished model.

    Parameters
    ----------
    workchain : class
        DmiWorkChain.
    code : Code
        dmi-engine.
    model : WannierModelData
    protocol, overrides, options
        As `dmi_builder`; of the protocol only `response`, `quality` and `force` are used.
    """
    inputs = load_protocol(protocol, overrides)
    builder = workchain.get_builder()
    builder.model = model
    attributes = model.base.attributes
    mesh = list(attributes.get("mesh"))
    shape = (int(attributes.get("functions")), len(attributes.get("symbols")), mesh)
    film: Film | None = None
    # A bulk crystal has layers neither to name nor to measure.
    if mesh[2] == 1:
        film = film_of_model(model, choices=Choices.checked(inputs["film"]))
        check_order(film)
        if any(film.magnetic):
            builder.film = orm.Dict(film.record())
    _set_response(builder, code, film or model.load(), shape, inputs, options)
    builder.origin = origin_of(protocol, overrides)
    return builder


def _set_response(
    builder: Any,
    code: orm.AbstractCode,
    film: Any,
    shape: tuple[int, int, list[int]],
    inputs: dict[str, Any],
    options: dict[str, Any] | None,
) -> None:
    """`shape`: functions a spin, atoms and mesh of the model."""
    # null in an override takes a key of the protocol away: `mesh: null` beside a tolerance.
    parameters = {key: value for key, value in inputs["response"].items() if value is not None}
    if "soi_masks" in parameters:
        parameters["soi_masks"] = mask_weights(film, parameters["soi_masks"])
    builder.response.clean_workdir = orm.Bool(inputs["clean_workdir"])
    job = builder.response.dmi
    job.code = code
    job.parameters = orm.Dict(parameters)
    # The layout follows from them: what the process would refuse is refused here.
    message = DmiCalculation.validate_inputs({"parameters": job.parameters}, None)
    if message is not None:
        raise ValueError(f"response: {message}")
    processors = Resources(1, _processors(code, options), memory_of(code.computer), given=_ranks_given(options))
    layout = response_layout(*shape, parameters, processors)
    # One task with a processor for every worker: Slurm would give it one, for all of them.
    resources = {"num_machines": 1, "num_mpiprocs_per_machine": 1, "num_cores_per_mpiproc": layout.parts}
    job.metadata.options = {
        **asked_memory(layout, processors, layout.parts, code.computer.scheduler_type),
        **_serial(options),
        **_one_thread(),
        "resources": resources,
        "processes": layout.parts,
    }
    job.metadata.description = layout.words
    limits = {key: value for key, value in inputs["quality"].items() if key in validation.RESPONSE}
    builder.quality = orm.Dict(limits)
    builder.force = orm.Bool(inputs["force"])


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
        chosen = _options(job.code, options)
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


def mesh_of(structure: orm.StructureData, settings: dict[str, Any]) -> orm.KpointsData:
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
        kpoints.set_kpoints_mesh_from_density(settings["kpoints_distance"])
    if message := validation.mesh(kpoints):
        raise InputError(message)
    return kpoints


def _processors(code: orm.AbstractCode, options: dict[str, Any] | None) -> int:
    resources = (options or {}).get("resources", {})
    if "num_mpiprocs_per_machine" in resources:
        return int(resources["num_mpiprocs_per_machine"])
    return int(code.computer.get_default_mpiprocs_per_machine() or 1)


def _ranks_given(options: dict[str, Any] | None) -> bool:
    return "num_mpiprocs_per_machine" in (options or {}).get("resources", {})


def _options(code: orm.AbstractCode, options: dict[str, Any] | None, share: int = 1) -> dict[str, Any]:
    inside = ranks_inside(code)
    if inside is not None and (options or {}).get("withmpi"):
        raise ValueError(
            f"options: withmpi True was given, but {code.full_label} starts its {inside} ranks in its container; "
            "mpirun in front would start independent runs in one folder; leave withmpi out"
        )
    per_machine = inside or max(1, _processors(code, options) // share)
    machines = int((options or {}).get("resources", {}).get("num_machines", 1))
    return {
        "max_wallclock_seconds": WALLTIME,
        "withmpi": inside is None,
        "environment_variables": {"OMP_NUM_THREADS": "1"},
        **(options or {}),
        "resources": {
            **(options or {}).get("resources", {}),
            "num_machines": machines,
            "num_mpiprocs_per_machine": per_machine,
        },
    }


def _one_thread() -> dict[str, Any]:
    return {"environment_variables": {"OMP_NUM_THREADS": "1"}}


def _serial(options: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "max_wallclock_seconds": WALLTIME,
        **(options or {}),
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1},
        "withmpi": False,
    }
