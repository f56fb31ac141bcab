"""Builders by protocol: from codes and a slab to complete inputs."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.workflows.codes import check_codes
from aiida_dmi.workflows.protocols.utils import load_protocol

WALLTIME = 12 * 3600


def wannier_model_builder(
    workchain: Any,
    codes: dict[str, orm.AbstractCode],
    structure: orm.StructureData,
    protocol: str | None = None,
    overrides: dict[str, Any] | None = None,
    pseudos: dict[str, UpfData] | None = None,
    magnetic_moments: dict[str, float] | None = None,
    options: dict[str, Any] | None = None,
) -> ProcessBuilder:
    """Inputs of `WannierModelWorkChain`.

    Parameters
    ----------
    workchain : class
        WannierModelWorkChain.
    codes : dict
        `pw`, `pw2wannier90`, `wannier90`, `engine`.
    structure : StructureData
        The film, normal +z.
    protocol : str, optional
        Name in protocols/film.yaml.
    overrides : dict, optional
        Nested as the protocol's inputs; unknown keys are refused by name.
    pseudos : dict, optional
        Fully relativistic UpfData of every kind; default the protocol's `pseudo_family`.
    magnetic_moments : dict, optional
        Kind (or element) to starting moment in mu_B; default the protocol's table of elements.
    options : dict, optional
        `metadata.options` of pw.x and pw2wannier90.x: resources, max_wallclock_seconds, queue_name, ...

    Raises
    ------
    ValueError
        If a code, a pseudopotential or a magnetic atom is missing, or a key is unknown.
    """
    check_codes(codes)
    inputs = load_protocol(protocol, overrides)
    chosen = pseudos or _from_family(inputs["pseudo_family"], structure)
    moments = starting_moments(structure, magnetic_moments, inputs["magnetic_moments"])
    scf = inputs["scf"]["parameters"]
    scf["SYSTEM"]["starting_magnetization"] = {
        kind: moment / read_pseudo(chosen[kind]).valence for kind, moment in moments.items() if kind in chosen
    }
    nscf = {name: {**scf.get(name, {}), **inputs["nscf"]["parameters"].get(name, {})} for name in scf}

    builder = workchain.get_builder()
    builder.structure = structure
    builder.pseudos = chosen
    builder.kpoints = _mesh(structure, inputs["wannierisation"])
    builder.wannierisation = orm.Dict(
        {key: inputs["wannierisation"][key] for key in ("orbitals", "bands_per_function", "frozen_window")}
    )
    builder.scf.kpoints = _mesh(structure, inputs["scf"])
    for name, parameters in (("scf", scf), ("nscf", nscf)):
        step = builder[name]
        step.pw.code = codes["pw"]
        step.pw.parameters = orm.Dict(parameters)
        step.pw.metadata.options = _options(codes["pw"], options)
        # Pools of k points need no communication: they are the first thing to use processors for.
        step.pw.parallelization = orm.Dict({"npool": _pools(step.pw.metadata.options)})
    builder.pw2wannier90.code = codes["pw2wannier90"]
    # Both spins run side by side.
    builder.pw2wannier90.metadata.options = _options(codes["pw2wannier90"], options, share=2)
    builder.wannier90.code = codes["wannier90"]
    builder.wannier90.parameters = orm.Dict(inputs["wannierisation"]["parameters"])
    builder.wannier90.metadata.options = _serial(options)
    builder.model.code = codes["engine"]
    builder.model.metadata.options = {**_serial(options), "environment_variables": {"OMP_NUM_THREADS": "1"}}
    return builder


def dmi_builder(workchain: Any, codes: dict[str, orm.AbstractCode], structure: orm.StructureData, **rest: Any) -> Any:
    """Inputs of `DmiWorkChain`: those of `wannier_model_builder` and the response's.

    Parameters
    ----------
    workchain : class
        DmiWorkChain.
    codes, structure, **rest
        As `wannier_model_builder`.
    """
    from aiida_dmi.workflows.wannier_model import WannierModelWorkChain

    inputs = load_protocol(rest.get("protocol"), rest.get("overrides"))
    builder = workchain.get_builder()
    model = wannier_model_builder(WannierModelWorkChain, codes, structure, **rest)
    builder.structure = structure
    for key, value in model._inputs(prune=True).items():
        if key not in ("structure", "metadata"):
            builder.wannier_model[key] = value
    builder.response.code = codes["engine"]
    builder.response.parameters = orm.Dict(inputs["response"])
    options = rest.get("options")
    builder.response.metadata.options = {
        **_serial(options),
        "environment_variables": {"OMP_NUM_THREADS": "1"},
        "processes": _processors(codes["engine"], options),
    }
    moments = starting_moments(structure, rest.get("magnetic_moments"), inputs["magnetic_moments"])
    builder.thickness = orm.Float(magnetic_thickness(structure, [kind for kind, m in moments.items() if m]))
    return builder


def starting_moments(
    structure: orm.StructureData, given: dict[str, float] | None, table: dict[str, float]
) -> dict[str, float]:
    """Starting moment (mu_B) of every kind: as given by kind or element, else by the protocol's table.

    Raises
    ------
    ValueError
        If no kind of the structure is magnetic, or a name is none of its kinds or elements.
    """
    kinds = {kind.name: kind.symbol for kind in structure.kinds}
    unknown = sorted(set(given or {}) - set(kinds) - set(kinds.values()))
    if unknown:
        raise ValueError(f"magnetic_moments: {', '.join(unknown)} is no kind or element of {', '.join(kinds)}")
    chosen = given if given is not None else table
    moments = {kind: float(chosen.get(kind, chosen.get(symbol, 0.0))) for kind, symbol in kinds.items()}
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
    sites = sorted(structure.sites, key=lambda site: site.position[2])
    layers: list[list[Any]] = []
    for site in sites:
        if layers and site.position[2] - layers[-1][-1].position[2] < 0.3:
            layers[-1].append(site)
        else:
            layers.append([site])
    heights = [sum(site.position[2] for site in layer) / len(layer) for layer in layers]
    magnetic = [index for index, layer in enumerate(layers) if any(site.kind_name in kinds for site in layer)]
    steps = [heights[index] - heights[index - 1] for index in magnetic if index > 0]
    if not steps:
        raise ValueError("structure: the thickness of a single free-standing layer is not defined; give `thickness`")
    return sum(steps) / len(steps) * len(magnetic)


def _from_family(label: str, structure: orm.StructureData) -> dict[str, UpfData]:
    from aiida.common.exceptions import NotExistent

    try:
        family = orm.load_group(label)
        return dict(family.get_pseudos(structure=structure))
    except (NotExistent, ValueError) as error:
        raise ValueError(
            f"pseudo_family: {label!r} is not installed or lacks an element ({error}); run `aiida-pseudo install "
            "pseudo-dojo -x PBE -r FR`, or name another fully relativistic family in the overrides"
        ) from error


def _mesh(structure: orm.StructureData, settings: dict[str, Any]) -> orm.KpointsData:
    kpoints = orm.KpointsData()
    kpoints.set_cell_from_structure(structure)
    if settings.get("kpoints_mesh"):
        mesh = list(settings["kpoints_mesh"])
        kpoints.set_kpoints_mesh([*mesh, *[1] * (3 - len(mesh))])
    else:
        kpoints.set_kpoints_mesh_from_density(settings["kpoints_distance"])
    return kpoints


def _processors(code: orm.AbstractCode, options: dict[str, Any] | None) -> int:
    resources = (options or {}).get("resources", {})
    if "num_mpiprocs_per_machine" in resources:
        return int(resources["num_mpiprocs_per_machine"])
    return int(code.computer.get_default_mpiprocs_per_machine() or 1)


def _options(code: orm.AbstractCode, options: dict[str, Any] | None, share: int = 1) -> dict[str, Any]:
    per_machine = max(1, _processors(code, options) // share)
    machines = int((options or {}).get("resources", {}).get("num_machines", 1))
    return {
        "max_wallclock_seconds": WALLTIME,
        "withmpi": True,
        "environment_variables": {"OMP_NUM_THREADS": "1"},
        **(options or {}),
        "resources": {"num_machines": machines, "num_mpiprocs_per_machine": per_machine},
    }


def _serial(options: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "max_wallclock_seconds": WALLTIME,
        **(options or {}),
        "resources": {"num_machines": 1, "num_mpiprocs_per_machine": 1},
        "withmpi": False,
    }


def _pools(options: dict[str, Any]) -> int:
    resources = options["resources"]
    ranks = resources["num_machines"] * resources["num_mpiprocs_per_machine"]
    return max(pools for pools in (1, 2, 3, 4) if ranks % pools == 0)
