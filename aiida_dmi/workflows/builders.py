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
from aiida_dmi.structures.layers import cluster_layers, mask_weights, moments_by_name, sites_of
from aiida_dmi.workflows import neighbours, validation
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
        The film, normal +z.
    protocol : str, optional
        Name in protocols/film.yaml.
    overrides : dict, optional
        Nested as the protocol's inputs; unknown keys are refused by name.
    pseudos : dict, optional
        Fully relativistic UpfData of every kind; default the protocol's `pseudo_family`.
    magnetic_moments : dict, optional
        Name (element, layer such as Co.1, kind) to starting moment in mu_B; default the protocol's table of elements.
    options : dict, optional
        `metadata.options` of the parallel programs: resources, max_wallclock_seconds, queue_name, ...
    npool : int, optional
        Pools of k points of every pw.x run; default chosen for each from the film's size (`layout.pw_layout`).

    Raises
    ------
    ValueError
        If a code, a pseudopotential or a magnetic atom is missing, the structure is no film, or a key is unknown.
    """
    inputs = load_protocol(protocol, overrides, structure.cell[2][2])
    by_engine = inputs["overlaps"] == "dmi-engine"
    check_codes(codes, optional=("pw2wannier90",) if by_engine else ())
    message = validation.structure(structure)
    if message:
        raise ValueError(message)
    chosen = pseudos or _from_family(inputs["pseudo_family"], structure)
    moments = starting_moments(structure, magnetic_moments, inputs["magnetic_moments"])
    scf = inputs["scf"]["parameters"]
    message = validation.pseudos(chosen) or validation.pseudos_of(structure, chosen, scf["SYSTEM"].get("input_dft"))
    if message:
        raise ValueError(message)
    scf["SYSTEM"]["starting_magnetization"] = _starting_magnetization(moments, chosen)
    validation.require_kinds(scf["SYSTEM"], structure)

    builder = workchain.get_builder()
    builder.structure = structure
    builder.pseudos = chosen
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
        _set_relaxation(builder, codes["pw"], structure, scf, inputs["relax"])
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

    inputs = load_protocol(protocol, overrides)
    builder = workchain.get_builder()
    model = wannier_model_builder(
        WannierModelWorkChain, codes, structure, protocol, overrides, pseudos, magnetic_moments, options, npool
    )
    builder.structure = structure
    copy_ports(model, builder.wannier_model, but=("structure",))
    moments = starting_moments(structure, magnetic_moments, inputs["magnetic_moments"])
    magnets = sorted({structure.get_kind(kind).symbol for kind, moment in moments.items() if moment})
    atoms = len(structure.sites)
    functions = atoms * sum(FUNCTIONS_PER_ORBITAL[orbital] for orbital in model.wannierisation["orbitals"])
    shape = (functions, atoms, model.kpoints.get_kpoints_mesh()[0])
    _set_response(builder, codes["engine"], structure, shape, inputs, options, magnets)
    builder.thickness = orm.Float(magnetic_thickness(structure, [kind for kind, m in moments.items() if m]))
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
    loaded = model.load()
    shape = (loaded.functions, loaded.atoms, list(loaded.mesh))
    _set_response(builder, code, loaded, shape, inputs, options)
    magnetic = [symbol in inputs["magnetic_moments"] for symbol in loaded.symbols]
    if any(magnetic):
        builder.thickness = orm.Float(_thickness(loaded.positions[:, 2].tolist(), magnetic))
    return builder


def _set_response(
    builder: Any,
    code: orm.AbstractCode,
    film: Any,
    shape: tuple[int, int, list[int]],
    inputs: dict[str, Any],
    options: dict[str, Any] | None,
    magnets: list[str] | None = None,
) -> None:
    """`shape`: functions a spin, atoms and mesh of the model."""
    # null in an override takes a key of the protocol away: `mesh: null` beside a tolerance.
    parameters = {key: value for key, value in inputs["response"].items() if value is not None}
    if "soi_masks" in parameters:
        parameters["soi_masks"] = mask_weights(film, parameters["soi_masks"], magnets)
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
    structure: orm.StructureData,
    scf: dict[str, Any],
    relax: dict[str, Any],
) -> None:
    """Positions relaxed in the fixed cell; `fixed` names the atoms that stay, such as ['Pt.2']."""
    step = builder.relax.base_relax
    _set_pw(step.pw, code, _changed(scf, relax["parameters"]))
    step.kpoints = builder.scf.kpoints
    builder.relax.meta_convergence = orm.Bool(False)
    fixed = sites_of(structure, relax["fixed"]) if relax["fixed"] else []
    if fixed:
        held = [list(FREE) if site in fixed else [False] * 3 for site in range(len(structure.sites))]
        step.pw.settings = orm.Dict({"FIXED_COORDS": held})


def starting_moments(
    structure: orm.StructureData, given: dict[str, float] | None, table: dict[str, float]
) -> dict[str, float]:
    """Starting moment (mu_B) of every kind: as given by element, layer or kind, else by the protocol's table.

    Raises
    ------
    ValueError
        If no kind of the structure is magnetic, or a name is no part of the film.
    """
    kinds = {kind.name: kind.symbol for kind in structure.kinds}
    if given is None:
        moments = {kind: float(table.get(symbol, 0.0)) for kind, symbol in kinds.items()}
    else:
        moments = moments_by_name(structure, given)
    if not any(moments.values()):
        raise ValueError(
            f"structure: no magnetic atom among the kinds {', '.join(kinds)} (known: {', '.join(table)}); "
            "give `magnetic_moments` for the kinds that carry the film's magnetism"
        )
    return moments


def magnetic_thickness(structure: orm.StructureData, kinds: list[str]) -> float:
    """Thickness t of the magnetic film, Angstrom: the sum over its layers of the distance to the layer below.

    Layers are atoms of one height within 0.3 Angstrom. A single magnetic layer thus counts with its distance
    from the substrate, a film without substrate with its mean spacing.
    """
    sites = structure.sites
    return _thickness([site.position[2] for site in sites], [site.kind_name in kinds for site in sites])


def _thickness(heights: list[float], magnetic: list[bool]) -> float:
    layers = cluster_layers(heights)
    means = [sum(heights[site] for site in layer) / len(layer) for layer in layers]
    chosen = [index for index, layer in enumerate(layers) if any(magnetic[site] for site in layer)]
    steps = [means[index] - means[index - 1] for index in chosen if index > 0]
    if not steps:
        raise ValueError("structure: the thickness of a single free-standing layer is not defined; give `thickness`")
    return sum(steps) / len(steps) * len(chosen)


def _from_family(label: str, structure: orm.StructureData) -> dict[str, UpfData]:
    from aiida.common.exceptions import MultipleObjectsError, NotExistent

    try:
        return dict(orm.load_group(label).get_pseudos(structure=structure))
    except (NotExistent, MultipleObjectsError, ValueError, AttributeError) as error:  # some groups are no families
        raise ValueError(
            f"pseudo_family: {label!r} is not installed or lacks an element ({error}); run `aiida-pseudo install "
            "pseudo-dojo -x PBE -r FR`, or name another fully relativistic family in the overrides"
        ) from error


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
