"""`aiida-dmi containers`: codes whose programs come from a container image."""

from __future__ import annotations

import click
import yaml
from tabulate import tabulate

from aiida_dmi.cli.completion import Name, computers
from aiida_dmi.cli.numbers import RANKS
from aiida_dmi.containers.configuration import engine, find_layout, render

ENGINES = click.Choice(["podman", "docker", "apptainer"])
IMAGE = "An image, a .sif file, or the name of a shipped description: aiida-dmi, aiidalab-qe, nvidia-qe."


@click.group()
def containers() -> None:
    """Codes from container images.

    \b
    Example:
        aiida-dmi containers setup --engine podman --image localhost/aiida-dmi --np 2
        aiida-dmi containers list
    """


@containers.command("setup")
@click.option("--engine", "engine_name", type=ENGINES, required=True)
@click.option("--image", default="aiida-dmi", show_default=True, help=IMAGE)
@click.option(
    "--computer",
    "label",
    type=Name(computers),
    help="A computer for containers alone; default dmi-ENGINE, this machine.",
)
@click.option("--np", "ranks", type=RANKS, help="MPI ranks of pw.x, pw2wannier90.x; default the computer's.")
@click.option("--mpi", type=click.Choice(["inside", "host"]), help="Where ranks start; default inside, apptainer host.")
@click.pass_context
def setup_command(
    context: click.Context, engine_name: str, image: str, label: str | None, ranks: int | None, mpi: str | None
) -> None:
    """Make and check a code for every program of an image; safe to repeat.

    \b
    Example:
        aiida-dmi containers setup --engine podman --image localhost/aiida-dmi --np 2
    """
    from aiida import orm
    from aiida.common.exceptions import NotExistent

    from aiida_dmi.cli import setup
    from aiida_dmi.containers.codes import EXTRA, setup_codes

    setup.ensure_profile(context.find_root().params.get("profile") or setup.PROFILE)
    try:
        computer = orm.load_computer(label) if label else setup.ensure_computer(f"dmi-{engine_name}")
    except NotExistent as error:
        raise ValueError(f"computer: there is no {label}; `verdi computer list` names those there are") from error
    ranks = ranks if ranks is not None else computer.get_default_mpiprocs_per_machine() or 1
    for code in setup_codes(engine_name, image, computer, ranks, mpi).values():
        about = code.base.extras.get(EXTRA)
        with_ranks = f", {about['ranks']} ranks" if about["ranks"] > 1 else ""
        click.echo(f"code {code.full_label}: {about['version']}{with_ranks}, {code.image_name}")


@containers.command("list")
@click.option("--all", "everything", is_flag=True, help="The hidden predecessors, too.")
@click.pass_context
def list_command(context: click.Context, everything: bool) -> None:
    """What codes there are, and what was found when they were checked.

    \b
    Example:
        aiida-dmi containers list --all
    """
    from aiida_dmi.cli.profile import load_profile
    from aiida_dmi.containers.codes import EXTRA, codes_of, digest_of

    load_profile(context)
    rows = []
    for code in codes_of():
        if everything or not code.is_hidden:
            about = code.base.extras.get(EXTRA)
            found = (about["engine"], about["image"], digest_of(code)[:19], about["version"], about["ranks"])
            rows.append((code.full_label, *found, about["verified"]))
    headers = ("code", "engine", "image", "digest", "version", "ranks", "verified")
    click.echo(tabulate(rows, headers) if rows else "no codes; make some with `aiida-dmi containers setup`")


@containers.command("render")
@click.option("--engine", "engine_name", type=ENGINES, required=True)
@click.option("--image", default="aiida-dmi", show_default=True, help=IMAGE)
@click.option("--workdir", required=True, help="The computer's work folder.")
@click.option("--computer", "label", type=Name(computers), required=True, help="Its label, for the file.")
@click.option("--np", "ranks", type=RANKS, default=1, show_default=True, help="MPI ranks of pw.x, pw2wannier90.x.")
@click.option("--mpi", type=click.Choice(["inside", "host"]), help="Where ranks start; default inside, apptainer host.")
def render_command(engine_name: str, image: str, workdir: str, label: str, ranks: int, mpi: str | None) -> None:
    """Print the codes as YAML for `verdi code create core.code.containerized --config`, without checking anything.

    \b
    Example:
        aiida-dmi containers render --engine apptainer --image qe.sif --workdir /scratch/me --computer cluster
    """
    from aiida_dmi.workflows.codes import CODES

    contents, name = find_layout(image)
    documents = []
    for program in contents.programs:
        code = {
            "label": program,
            "computer": label,
            "default_calc_job_plugin": CODES[program],
            **render(engine(engine_name), contents, program, name, workdir, ranks, mpi),
        }
        documents.append(code)
    click.echo(yaml.safe_dump_all(documents, sort_keys=False, width=1000), nl=False)
