"""`aiida-dmi launch`: the workchains from the command line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import click
from aiida import engine, orm
from aiida.common.exceptions import NotExistent

from aiida_dmi.cli import inputs
from aiida_dmi.cli.completion import MODEL, MODEL_RUNS, FilmName, Name, NodeName, computers, families
from aiida_dmi.cli.numbers import RANKS, SECONDS, Finite
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.cli.setup import COMPUTER
from aiida_dmi.cli.watch import run_with_progress
from aiida_dmi.engine.build.atomic_functions import HYDROGENIC
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.integrate.settings import MAX_MESH, Tolerance
from aiida_dmi.engine.output.headline import mesh_label
from aiida_dmi.report.summary import as_text
from aiida_dmi.structures.choices import KINDS, NORMALS, Choices
from aiida_dmi.structures.description import film_in_words
from aiida_dmi.structures.film import Film
from aiida_dmi.workflows.codes import CODES, OPTIONAL
from aiida_dmi.workflows.completeness_inputs import serves_both
from aiida_dmi.workflows.cutoffs import basis
from aiida_dmi.workflows.dmi import DmiWorkChain
from aiida_dmi.workflows.layout import Step, completeness_steps, memory_of, model_steps, response_step, size_of
from aiida_dmi.workflows.ports import inputs_of
from aiida_dmi.workflows.protocols.utils import load_protocol, read_protocols
from aiida_dmi.workflows.steps import last_words
from aiida_dmi.workflows.wannier_model import WannierModelWorkChain

PROTOCOLS = list(read_protocols()["protocols"])


@click.group()
def launch() -> None:
    """Run a film or a model, here or by the daemon.

    \b
    Example:
        aiida-dmi launch dmi 'Co/Pt(111):1+1' --dry-run
        aiida-dmi launch response 1234 --set response.mesh=288
    """


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of all launches."""
    options = [
        click.option("--protocol", type=click.Choice(PROTOCOLS), default="fast", show_default=True),
        click.option("--overrides", type=click.Path(exists=True, dir_okay=False), help="YAML, nested as the protocol."),
        click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="One override: response.mesh=96."),
        click.option(
            "--computer", type=Name(computers), default=COMPUTER, show_default=True, help="Where the codes are."
        ),
        click.option("--np", "ranks", type=RANKS, help="MPI ranks of pw.x, processes of dmi-engine."),
        click.option("--walltime", type=SECONDS, help="Of each job, seconds."),
        click.option("--label", help="Label of the workchain."),
        click.option("--fresh", is_flag=True, help="Do not reuse jobs of earlier runs (AiiDA's caching)."),
        click.option("--daemon", is_flag=True, help="Submit and return; `verdi daemon start` runs it."),
        click.option("-n", "--dry-run", is_flag=True, help="Say what would run, and run nothing."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def of_film(function: Callable[..., Any]) -> Callable[..., Any]:
    """The film, and what is said of its atoms."""
    moment = click.option(
        "--moment", "moments", multiple=True, metavar="NAME=MU_B", help="Starting moment: Co=1.7, Co.1=1.7."
    )
    family = click.option(
        "--family",
        type=Name(families),
        help="Pseudopotential family, fully relativistic.  [default: PseudoDojo's where it is installed, else SG15's]",
    )
    pools = click.option("--pools", type=RANKS, help="Pools of k points of pw.x.  [default: from the film's size]")
    return click.argument("film", type=FilmName())(family(moment(what_film(kinds(pools(function))))))


def what_film(function: Callable[..., Any]) -> Callable[..., Any]:
    """What is said of a film in place of the rules: the same keys as `overrides: film`."""
    normal = click.option(
        "--normal",
        type=click.Choice(NORMALS),
        help="+z along the cell's vacuum vector, or against it; layers that are not magnetic may then lie between the "
        "magnet's (multilayers).",
    )
    return what_model(normal(function))


def what_model(function: Callable[..., Any]) -> Callable[..., Any]:
    """What may be said of a finished model, which is not turned any more."""
    options = [
        click.option("--magnets", metavar="A,B", help="Elements that carry the magnetism.  [default: Cr Mn Fe Co Ni]"),
        click.option("--substrate", metavar="A", help="An element of the substrate.  [default: side with more layers]"),
        click.option(
            "--thickness", type=Finite(positive=True), metavar="T", help="Of the magnetic film, angstrom, for mJ/m^2."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def kinds(function: Callable[..., Any]) -> Callable[..., Any]:
    """How atoms become species of pw.x."""
    return click.option("--kinds", type=click.Choice(KINDS), help="One kind an element or a layer, for --moment.")(
        function
    )


SAID_OF_FILM = ("magnets", "substrate", "normal", "thickness", "kinds")


def _with_film(overrides: dict[str, Any], options: dict[str, Any], own: dict[str, Any] | None = None) -> dict[str, Any]:
    """The overrides, with what the options say of the film; `own`: what it says of itself, which they go before."""
    section = overrides.get("film") or {}
    if not isinstance(section, dict):
        raise InputError(f"overrides: film {section!r} was given, expected a mapping")
    said = Choices.checked({key: options[key] for key in SAID_OF_FILM if options.get(key) is not None})
    said = Choices.checked(own).changed(Choices.checked(section)).changed(said)
    return {**overrides, "film": said.given()} if said.given() else overrides


@launch.command()
@of_film
@common
def dmi(film: str, family: str | None, moments: tuple[str, ...], pools: int | None, **options: Any) -> None:
    """From a film to D, Q, Q(1), a(I), a(II).

    FILM: a preset such as 'Mn/W(001):1+9' or 'Co/Pt(111):1+1', a structure file, or a pk or uuid.

    \b
    Example:
        aiida-dmi launch dmi 'Co/Pt(111):1+1' --set response.mesh=96 --daemon
    """
    _launch_film("dmi", DmiWorkChain, film, family, moments, {**options, "pools": pools})


@launch.command()
@of_film
@common
def model(film: str, family: str | None, moments: tuple[str, ...], pools: int | None, **options: Any) -> None:
    """From a film to its Wannier model.

    \b
    Example:
        aiida-dmi launch model 'Mn/W(001):1+3' --np 2
    """
    _launch_film("model", WannierModelWorkChain, film, family, moments, {**options, "pools": pools})


@launch.command()
@click.argument("source", metavar="MODEL", type=NodeName(MODEL_RUNS, [MODEL], files=True))
@what_model
@common
def response(source: str, **options: Any) -> None:
    """From a finished model to D and its decomposition: another xi, direction, shift or mask.

    MODEL: a model file, or pk or uuid of a model or of the workchain that made it.

    \b
    Example:
        aiida-dmi launch response 1234 --set 'response.directions=[[1,0,0]]' --set response.mesh=288
    """
    load_profile(click.get_current_context())
    node = inputs.load_model(source)
    overrides = inputs.load_overrides(options["overrides"], options["settings"])
    overrides = _with_film(overrides, options)
    builder = DmiWorkChain.get_builder_from_model(
        _codes(options["computer"])["engine"],
        node,
        protocol=options["protocol"],
        overrides=overrides,
        options=_scheduling(options),
    )
    _check(builder)
    builder["metadata"].label = options["label"] or "response of a finished model"
    attributes, job = node.base.attributes, builder["response"].dmi
    lines = [f"model      {' '.join(attributes.get('symbols'))}, {node.filename}"]
    if builder.get("film") is not None:
        lines += film_in_words(Film.from_record(builder["film"].get_dict(), node.load()))
    if load_protocol(options["protocol"], overrides)["completeness"] is not None:
        lines.append(
            "exact      left out: a finished model has no density any more; these are numbers of the Wannier functions "
            "(launch dmi puts back what they leave out)"
        )
    lines += _describe_response(job.parameters.get_dict())
    if options["dry_run"]:
        shape = (attributes.get("functions"), len(attributes.get("symbols")), attributes.get("mesh"))
        lines += _describe_cost([response_step(job, *shape)], job.code.computer)
    _start("response", builder, lines, options)


def _launch_film(
    what: str, workchain: Any, text: str, family: str | None, moments: tuple[str, ...], options: dict[str, Any]
) -> None:
    load_profile(click.get_current_context())
    slab = inputs.load_film(text, bool(moments))
    overrides = _with_film(inputs.load_overrides(options["overrides"], options["settings"]), options, slab.said)
    if family is not None:
        overrides.setdefault("pseudo_family", family)
    builder = workchain.get_builder_from_protocol(
        _codes(options["computer"]),
        slab.structure,
        protocol=options["protocol"],
        overrides=overrides,
        magnetic_moments=inputs.load_moments(moments),
        options=_scheduling(options),
        npool=options["pools"],
    )
    _check(builder)
    film = builder.structure
    builder.metadata.label = options["label"] or slab.structure.label or text
    ports = builder.wannier_model if what == "dmi" else builder
    lines = _describe_film(film, builder.film, ports)
    lines += [f"note       {note}" for note in slab.notes]
    if what == "dmi":
        lines += _describe_completeness(builder["completeness"], ports)
        lines += _describe_response(builder["response"].dmi.parameters.get_dict())
    if options["dry_run"]:
        steps = model_steps(film, ports)
        if what == "dmi":
            size, mesh = size_of(film, ports), ports.kpoints.get_kpoints_mesh()[0]
            exact = builder["completeness"]
            if inputs_of(exact):
                steps += completeness_steps(film, ports, exact, serves_both(ports, exact.kpoints))
            steps.append(response_step(builder["response"].dmi, size.functions, size.atoms, mesh))
        lines += _describe_cost(steps, ports.scf.pw.code.computer)
    _start(what, builder, lines, options)


def _check(builder: Any) -> None:
    """What AiiDA would say of the inputs once it runs or submits them, said before a dry run describes them.

    Raises
    ------
    InputError
        Naming the port and what is wrong with it.
    """
    ports = builder.process_class.spec().inputs
    problem = ports.validate(ports.pre_process(inputs_of(builder)))
    if problem is not None:
        raise InputError(f"{problem.port}: {problem.message}")


def _codes(computer: str) -> dict[str, orm.AbstractCode]:
    """The codes that `aiida-dmi setup` made on a computer."""
    found: dict[str, orm.AbstractCode] = {}
    for name in CODES:
        try:
            found[name] = orm.load_code(f"{name}@{computer}")
        except NotExistent as error:
            if name not in OPTIONAL:
                raise click.UsageError(
                    f"--computer {computer}: no code {name}@{computer}; make it with `aiida-dmi setup --computer "
                    f"{computer}`"
                ) from error
    return found


def _scheduling(options: dict[str, Any]) -> dict[str, Any] | None:
    chosen: dict[str, Any] = {}
    if options["ranks"]:
        chosen["resources"] = {"num_machines": 1, "num_mpiprocs_per_machine": options["ranks"]}
    if options["walltime"]:
        chosen["max_wallclock_seconds"] = options["walltime"]
    return chosen or None


def _describe_film(film: orm.StructureData, record: orm.Dict, ports: Any) -> list[str]:
    decided = Film.from_record(record.get_dict(), film)
    layers = ", ".join(
        f"{_counted([decided.names[site] for site in layer])} at {height:.2f}"
        for layer, height in zip(decided.layers, decided.layer_heights, strict=True)
    )
    starting = ports.scf.pw.parameters["SYSTEM"]["starting_magnetization"]
    meshes = {name: mesh_label(node.get_kpoints_mesh()[0][:2]) for name, node in
              (("scf", ports.scf.kpoints), ("wannier", ports.kpoints))}  # fmt: skip
    resources = ports.scf.pw.metadata.options["resources"]
    ranks = resources["num_machines"] * resources["num_mpiprocs_per_machine"]
    settings = ports.wannierisation.get_dict()
    neighbours = ports.wannier90.metadata.description
    relaxes = "base_relax" in (inputs_of(ports).get("relax") or {})
    functions = settings.get("trial_functions", HYDROGENIC)
    return [
        f"film       {film.label or film.get_formula()}; layers (z, Angstrom): {layers}",
        f"cell       {film.cell_lengths[0]:.4f} x {film.cell_lengths[1]:.4f} x {film.cell_lengths[2]:.4f} Angstrom",
        *film_in_words(decided),
        f"cutoffs    {ports.cutoffs['words']}",
        *_warned_basis(ports),
        f"pw.x       scf mesh {meshes['scf']}, {ranks} ranks",
        f"moments    starting_magnetization {', '.join(f'{kind} {m:.4g}' for kind, m in starting.items())}",
        f"Wannier    mesh {meshes['wannier']} ({size_of(film, ports).nscf_points} k points in the nscf), orbitals "
        f"{' '.join(settings['orbitals'])} on every atom ({functions}), window to E_F + "
        f"{settings['frozen_window']:g} eV, {settings['retries']} further tries at most",
        *([f"neighbours {neighbours}"] if neighbours else []),
        f"steps      {'relax, ' if relaxes else ''}scf, bands, nscf, overlaps, wannier90, model",
    ]


def _describe_completeness(ports: Any, model: Any) -> list[str]:
    """A line on what becomes of what the Wannier functions leave out."""
    if not inputs_of(ports):
        return ["exact      not asked for: D and its parts are those of the Wannier functions (completeness={})"]
    mesh = mesh_label(ports.kpoints.get_kpoints_mesh()[0][:2])
    states = "the Wannier functions' nscf" if serves_both(model, ports.kpoints) else "a nscf of its own"
    return [f"exact      D(1), a(I), a(II) in plane waves on {mesh}, from {states}; what was missing is put back"]


def _warned_basis(ports: Any) -> list[str]:
    """A line where the quality gate will find the cutoff too low."""
    value, limit = basis(ports.cutoffs.get_dict()), ports.quality.get("basis", None)
    if value is None or limit is None or value >= limit:
        return []
    return [
        f"warning    that is {value:.2g} of the recommended cutoff; the quality gate asks for {limit:g} (quality.basis)"
    ]


def _counted(names: list[str]) -> str:
    """Such as 'Pt.1', or '2 Fe.1 + 3 Ge.1' where a layer has several atoms."""
    counts = Counter(names)
    return " + ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())


def _describe_response(parameters: dict[str, Any]) -> list[str]:
    mesh = str(parameters.get("mesh", ""))
    if parameters.get("tolerance") is not None:
        first = f"from {mesh} " if mesh else ""
        most = parameters.get("max_mesh", MAX_MESH)
        mesh = f"{first}to {Tolerance.checked(parameters['tolerance']).words}, {most} points a side at most"
    axes = ", ".join(
        f"{len(parameters[key])} {words}"
        for key, words in (
            ("soi_scales", "xi"),
            ("fermi_shifts", "shifts"),
            ("temperatures", "temperatures"),
            ("directions", "directions"),
            ("soi_masks", "masks"),
        )
        if parameters.get(key)
    )
    return [f"response   mesh {mesh}; {axes}"]


def _describe_cost(steps: list[Step], computer: orm.Computer) -> list[str]:
    """Layout of the jobs, time and memory, and a warning where a machine is too small."""
    lines = [f"layout     {step.name}: {step.words}" for step in steps if step.words]
    times = ", ".join(f"{step.name} {duration(step.seconds)}" for step in steps)
    largest = max(steps, key=lambda step: step.memory)
    total, cores = sum(step.seconds for step in steps), sum(step.core_seconds for step in steps)
    lines += [
        f"time       about {duration(total)}, {cores / 3600:.2g} core hours, to a factor of two: {times}",
        f"memory     up to {largest.memory / 1e9:.2g} GB on a machine ({largest.name})",
    ]
    there = memory_of(computer)
    lines += [
        f"warning    {step.name} needs about {step.memory / 1e9:.2g} GB, a machine of {computer.label} has "
        f"{there / 1e9:.2g} GB: take fewer ranks (--np) or --pools, or more machines"
        for step in steps
        if there is not None and step.memory > there
    ]
    return lines


def duration(seconds: float) -> str:
    """Such as '40 s', '12 min' or '3.5 h'."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.2g} h"


def _start(what: str, builder: Any, lines: list[str], options: dict[str, Any]) -> None:
    for line in lines:
        click.echo(line)
    if options["dry_run"]:
        click.echo("dry run: nothing was started")
        return
    builder.caching = not options["fresh"]
    if options["daemon"]:
        node = engine.submit(builder)
        click.echo(f"submitted {node.process_label} pk {node.pk}; follow it with `aiida-dmi status {node.pk}`")
        return
    node = run_with_progress(builder)
    if not node.is_finished_ok:
        exit_ = f" exit {node.exit_status}" if node.is_finished else ""
        raise click.ClickException(f"{node.process_label}<{node.pk}>{exit_}: {last_words(node)}")
    if what == "model":
        click.echo(f"model pk {node.outputs.model.pk}, uuid {node.outputs.model.uuid}")
    else:
        click.echo(as_text(node))
