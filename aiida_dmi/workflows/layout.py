"""How the jobs of a film are laid out on a computer: pools of k points, processes of the response, memory.

Chosen from the sizes of the film (`estimate`) and from what the computer has. What the user gives is kept. Every choice
says why in one line: it is the description of the job, and stands in the report of the workchain that starts it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiida import orm

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.workflows import estimate
from aiida_dmi.workflows.estimate import FilmSize

COMMUNICATION = 0.1
"""What each further rank of a pool costs the others, as a part of the time (assumed; pools cost nothing)."""
USABLE = 0.9
"""Part of a machine's memory that the jobs may take."""
MARGIN = 2.0
"""Memory asked of a scheduler, in units of the estimate: no job is to be ended for an estimate."""
LEAST_MEMORY = 1e9
"""Bytes asked of a scheduler for a rank, at least."""
WORTH_A_PROCESS = 5.0
"""Seconds of work below which a further process of dmi-engine, which takes a second to start, is not worth it."""
GIVEN = "given"


@dataclass(frozen=True)
class Resources:
    """What there is for a job.

    Attributes
    ----------
    machines, ranks_per_machine : int
    memory : float or None
        Bytes of a machine; None where the computer does not say it.
    given : bool
        Whether the user gave the ranks.
    """

    machines: int
    ranks_per_machine: int
    memory: float | None = None
    given: bool = False

    @property
    def ranks(self) -> int:
        """Of all machines."""
        return self.machines * self.ranks_per_machine


@dataclass(frozen=True)
class Layout:
    """How a job runs, and why so.

    Attributes
    ----------
    what : str
        Such as '4 ranks in 2 pools'.
    parts : int
        Pools of pw.x, or processes of dmi-engine.
    seconds : float
        Wall time that it is estimated to take.
    memory : float
        Bytes it is estimated to take on a machine.
    why : str
    """

    what: str
    parts: int
    seconds: float
    memory: float
    why: str

    @property
    def words(self) -> str:
        """One line."""
        return f"{self.what}, about {self.memory / 1e9:.1f} GB a machine ({self.why})"


def memory_of(computer: orm.Computer) -> float | None:
    """Bytes of a machine, as the computer was set up; None where that is not known."""
    kilobytes = computer.get_default_memory_per_machine()
    return None if kilobytes is None else 1024.0 * kilobytes


def pw_layout(size: FilmSize, step: str, resources: Resources, pools: int | None = None) -> Layout:
    """Pools of a pw.x step.

    Parameters
    ----------
    size : FilmSize
    step : str
        'relax', 'scf', 'bands', 'spin_orbit_bands' or 'nscf'.
    resources : Resources
    pools : int, optional
        Given by the user; then nothing is chosen.

    Returns
    -------
    Layout
        The fastest that fits into the memory. The points of a pool are done one after the other, those of a pool too
        many are waited for; ranks of one pool share a point and have to talk to each other. More pools than k points
        are not made. Where nothing fits, the one that takes least memory.

    Raises
    ------
    ValueError
        If the ranks cannot be divided into the pools that are given.
    """
    points = estimate.points_of(size, step)
    single = estimate.point_seconds(size, step)

    def layout(number: int, why: str = "") -> Layout:
        inside = resources.ranks // number
        seconds = math.ceil(points / number) * single * (1 + COMMUNICATION * (inside - 1)) / inside
        memory = resources.ranks_per_machine * estimate.pw_bytes(size, step, number, inside)
        return Layout(pw_words(resources.ranks, number), number, seconds, memory, why)

    if pools is not None:
        if pools < 1 or resources.ranks % pools:
            raise ValueError(f"npool: {pools} was given, expected a divisor of the {resources.ranks} ranks")
        return layout(pools, GIVEN)
    # k points are counted without spin here, as pw.x's users do: a pool then has at least one of each spin.
    spins = 1 if step == "spin_orbit_bands" else 2
    possible = [n for n in range(1, resources.ranks + 1) if resources.ranks % n == 0 and n <= points // spins]
    layouts = [layout(number) for number in possible]
    limit = math.inf if resources.memory is None else USABLE * resources.memory
    fitting = [found for found in layouts if found.memory <= limit]
    best = min(fitting or layouts, key=lambda found: found.seconds if fitting else found.memory)
    return layout(best.parts, _why_pools(best, layouts, points // spins, limit))


def _why_pools(best: Layout, layouts: Sequence[Layout], points: int, limit: float) -> str:
    """The reason for a number of pools, one line."""
    if best.memory > limit:
        return f"more than the {limit / 1e9:.1f} GB that may be used of a machine; no number of pools takes less"
    fastest = min(layouts, key=lambda found: found.seconds)
    if fastest.parts != best.parts:
        return f"{fastest.parts} pools, the fastest, would take {fastest.memory / 1e9:.1f} GB a machine"
    most = max(found.parts for found in layouts)
    if best.parts < most:
        return f"{points} k points leave ranks of {most} pools idle"
    return f"{points} k points; pools do not have to talk to each other"


def pw_words(ranks: int, pools: int) -> str:
    """Such as '4 ranks in 2 pools'."""
    return f"{ranks} {'rank' if ranks == 1 else 'ranks'} in {pools} {'pool' if pools == 1 else 'pools'}"


def response_layout(
    functions: int, atoms: int, mesh: Sequence[int], settings: Mapping[str, Any], resources: Resources
) -> Layout:
    """Processes of dmi-engine run, on one machine.

    Parameters
    ----------
    functions, atoms : int
        Of the model: functions a spin.
    mesh : sequence of int
        The model's mesh.
    settings : mapping
        The response's: mesh, soi_scales, directions, soi_masks.
    resources : Resources
        Ranks of a machine are the processors there are; given ones are taken as they are.

    Returns
    -------
    Layout
        As many processes as processors, unless the work is not worth them or the memory does not hold them.
    """
    work = estimate.response_seconds(functions, settings)
    each = estimate.response_bytes(functions, atoms, mesh, settings)

    def layout(number: int, why: str) -> Layout:
        return Layout(process_words(number), number, work / number, number * each, why)

    processors = resources.ranks_per_machine
    if resources.given:
        return layout(processors, GIVEN)
    worth = max(1, min(processors, int(work / WORTH_A_PROCESS)))
    held = worth if resources.memory is None else int(USABLE * resources.memory / each)
    if held < worth:
        why = f"more would not fit into {USABLE * resources.memory / 1e9:.1f} GB" if resources.memory else ""
        return layout(max(1, held), why)
    if worth < processors:
        return layout(worth, f"{work:.0f} s of work are not worth {processors} processes")
    return layout(worth, "as many as processors")


def completeness_layout(size: FilmSize, resources: Resources) -> Layout:
    """Processes of `dmi-engine complete`, on one machine: as many as processors, k points and memory allow.

    Parameters
    ----------
    size : FilmSize
        On the comparison's mesh.
    resources : Resources
        As of `response_layout`.
    """
    work, each = estimate.completeness_seconds(size), estimate.completeness_bytes(size)

    def layout(number: int, why: str) -> Layout:
        return Layout(process_words(number), number, work / number, number * each, why)

    processors, points = resources.ranks_per_machine, size.nscf_points
    if resources.given:
        return layout(processors, GIVEN)
    held = processors if resources.memory is None else max(1, int(USABLE * resources.memory / each))
    number = min(processors, points, held)
    if number == held < processors:
        return layout(number, "more would not fit into the memory")
    return layout(number, "as many as processors" if number == processors else f"{points} k points")


def process_words(number: int) -> str:
    """Such as '4 processes'."""
    return f"{number} {'process' if number == 1 else 'processes'}"


def asked_memory(layout: Layout, resources: Resources, ranks: int, scheduler: str) -> dict[str, int]:
    """The option `max_memory_kb` of a job.

    Only where the computer says how much a machine has: otherwise the scheduler may not count memory at all, and refuse
    what asks for it. Without a scheduler (core.direct) AiiDA would make a limit on addresses of it, which MPI exceeds.
    """
    if resources.memory is None or scheduler == "core.direct":
        return {}
    wanted = max(MARGIN * layout.memory, LEAST_MEMORY * ranks)
    return {"max_memory_kb": int(min(wanted, resources.memory) / 1024)}


def said(inputs: Mapping[str, Any]) -> str:
    """How a step is laid out, for the report of the workchain that starts it; '' where there is no choice.

    Parameters
    ----------
    inputs : mapping
        Of a PwBaseWorkChain (`pw`), a PwRelaxWorkChain (`base_relax`), a DmiBaseWorkChain (`dmi`) or a job.

    Returns
    -------
    str
        The job's description as the builder made it; with 'given' in place of its reason where pools or processes were
        changed afterwards.
    """
    inputs = inputs.get("base_relax") or inputs
    job = inputs.get("pw") or inputs.get("dmi") or inputs
    metadata = job.get("metadata") or {}
    options = metadata.get("options") or {}
    if "parallelization" in job and "npool" in job["parallelization"].get_dict():
        resources = options.get("resources", {})
        ranks = resources.get("num_machines", 1) * (resources.get("num_mpiprocs_per_machine") or 1)
        now = pw_words(ranks, job["parallelization"]["npool"])
    elif "processes" in options:
        now = process_words(options["processes"])
    else:
        return ""
    described: str = metadata.get("description") or ""
    return described if described.startswith(f"{now}, ") else f"{now} ({GIVEN})"


# -- a builder's jobs --------------------------------------------------------------------------------------


class Step(NamedTuple):
    """A step of a film: its name, wall time and processor time (s), memory of a machine (bytes), how it is laid out."""

    name: str
    seconds: float
    core_seconds: float
    memory: float
    words: str = ""


def size_of(structure: orm.StructureData, ports: Any, compared: orm.KpointsData | None = None) -> FilmSize:
    """Sizes of a film with the inputs of `WannierModelWorkChain`, complete but for the jobs' options.

    Parameters
    ----------
    structure : StructureData
    ports : Ports
    compared : KpointsData, optional
        Mesh of the comparison with plane waves, in place of the Wannier functions'.
    """
    mesh = ports.kpoints if compared is None else compared
    numbers = {kind: number for number, kind in enumerate(structure.get_kind_names(), 1)}
    kinds = [site.kind_name for site in structure.sites]
    read = {kind: read_pseudo(ports.pseudos[kind]) for kind in numbers}
    positions = structure.get_ase().get_scaled_positions()
    return FilmSize.of(
        (structure.cell, positions, [numbers[kind] for kind in kinds]),
        [read[kind] for kind in kinds],
        ports.scf.pw.parameters.get_dict(),
        (ports.scf.kpoints.get_kpoints_mesh()[0], mesh.get_kpoints_mesh()[0]),
        ports.wannierisation.get_dict(),
        irreducible=compared is not None or "code" in ports.overlaps,
        random_points=ports.random_points.value,
    )


def pw_ports(ports: Any) -> dict[str, Any]:
    """The pw.x jobs that are set up in the inputs of `WannierModelWorkChain`, in the order in which they run."""
    found = {"relax": ports.relax.base_relax.pw}
    found |= {step: ports[step].pw for step in ("scf", "bands", "spin_orbit_bands", "nscf")}
    return {step: job for step, job in found.items() if "code" in job}


def resources_of(job: Any) -> Resources:
    """What a job's options ask for."""
    asked = job.metadata.options["resources"]
    return Resources(asked["num_machines"], asked["num_mpiprocs_per_machine"], memory_of(job.code.computer))


def model_steps(structure: orm.StructureData, ports: Any) -> list[Step]:
    """The steps from a film to its model, as they are set up, with the first choice of Wannier functions."""
    size, steps = size_of(structure, ports), []
    for step, job in pw_ports(ports).items():
        found = pw_layout(size, step, resources_of(job), job.parallelization["npool"])
        work = estimate.points_of(size, step) * estimate.point_seconds(size, step)
        steps.append(Step(step, found.seconds, work, found.memory, said(job)))
    for step, spins in (("overlaps", 2), ("wannier90", 2), ("build", 1)):
        seconds = estimate.engine_seconds(size, step)
        # Both spins run side by side.
        steps.append(Step(step, seconds, spins * seconds, spins * estimate.engine_bytes(size, step)))
    return steps


def completeness_steps(structure: orm.StructureData, model: Any, ports: Any, shared: bool) -> list[Step]:
    """The steps of the comparison with plane waves, as they are set up.

    Parameters
    ----------
    structure : StructureData
    model, ports : Ports
        Inputs of `WannierModelWorkChain` and of `CompletenessWorkChain`.
    shared : bool
        Whether the nscf run of the Wannier functions serves here, too.
    """
    size, steps = size_of(structure, model, ports.kpoints), []
    if not shared:
        job = ports.nscf.pw
        found = pw_layout(size, "nscf", resources_of(job), job.parallelization["npool"])
        work = estimate.points_of(size, "nscf") * estimate.point_seconds(size, "nscf")
        steps.append(Step("second nscf", found.seconds, work, found.memory))
    job = ports.completeness
    number = job.metadata.options["processes"]
    found = completeness_layout(size, Resources(1, number, memory_of(job.code.computer), given=True))
    steps.append(Step("completeness", found.seconds, number * found.seconds, found.memory, said(job)))
    return steps


def response_step(job: Any, functions: int, atoms: int, mesh: Sequence[int]) -> Step:
    """The response, as it is set up, of a model with so many functions a spin."""
    settings, number = job.parameters.get_dict(), job.metadata.options["processes"]
    resources = Resources(1, number, memory_of(job.code.computer), given=True)
    found = response_layout(functions, atoms, mesh, settings, resources)
    return Step("response", found.seconds, number * found.seconds, found.memory, said(job))
