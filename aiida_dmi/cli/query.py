"""`aiida-dmi query`: films by their numbers, results by what made them."""

from __future__ import annotations

from pathlib import Path

import click
import pandas as pd
from tabulate import tabulate

from aiida_dmi.cli.completion import Name, campaigns, codes
from aiida_dmi.cli.numbers import Finite
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.units import UNITS
from aiida_dmi.provenance import queries
from aiida_dmi.screening.table import check_format, write_table

HEADERS = {"label": "film", "exit_status": "exit", "response": "response (uuid)"}


@click.group()
def query() -> None:
    """Ask the provenance graph.

    \b
    Example:
        aiida-dmi query films --min-d 5 --unit meV_angstrom --passed
        aiida-dmi query made-with --code pw@dmi-localhost
    """


OUTPUT = click.option("--output", type=click.Path(dir_okay=False), help="Write all columns: .csv, .json or .parquet.")


@query.command()
@click.option("--min-d", type=Finite(), help="Bound of |D|, in the unit.")
@click.option("--max-closure", type=Finite(), help="Bound of |D(1) + Q(1)| / |D(1)|.")
@click.option("--unit", type=click.Choice(list(UNITS)), default="pJ_per_m", show_default=True)
@click.option("--component", type=click.Choice(queries.COMPONENTS), default="yx", show_default=True)
@click.option("--campaign", type=Name(campaigns), help="Only films of this campaign.")
@click.option("--passed", is_flag=True, help="Only runs that passed every gate.")
@OUTPUT
@click.pass_context
def films(
    context: click.Context,
    min_d: float | None,
    max_closure: float | None,
    unit: str,
    component: str,
    campaign: str | None,
    passed: bool,
    output: str | None,
) -> None:
    """Films with |D| above a bound and closure below one.

    \b
    Example:
        aiida-dmi query films --min-d 1.5 --unit pJ_per_m --max-closure 0.1
    """
    _prepare(context, output)
    _show(queries.films(min_d, max_closure, unit, component, campaign, passed), output)


@query.command("made-with")
@click.option("--pseudo", help="uuid, pk, md5 or file name of a pseudopotential, or FAMILY:ELEMENT.")
@click.option("--code", type=Name(codes), help="Label, uuid or pk of a code.")
@click.option("--image", help="Name of a container image, or a part of it.")
@click.option("--engine-version", help="Version of aiida-dmi that ran the response.")
@click.option("--exhaustive", is_flag=True, help="Follow every link of the graph: slow.")
@OUTPUT
@click.pass_context
def made_with(
    context: click.Context,
    pseudo: str | None,
    code: str | None,
    image: str | None,
    engine_version: str | None,
    exhaustive: bool,
    output: str | None,
) -> None:
    """Every result that a pseudopotential, code, image or version has a part in.

    \b
    Example, which results would a wrong pseudopotential touch?
        aiida-dmi query made-with --pseudo PseudoDojo/0.4/PBE/FR/standard/upf:Pt
    """
    given = [value for value in (pseudo, code, image, engine_version) if value is not None]
    if len(given) != 1:
        raise InputError(f"made-with: {len(given)} given, expected one of --pseudo, --code, --image, --engine-version")
    _prepare(context, output)
    if pseudo is not None:
        found = queries.made_with_pseudo(pseudo, exhaustive)
    elif code is not None:
        found = queries.made_with_code(code, exhaustive)
    elif image is not None:
        found = queries.made_with_image(image, exhaustive)
    else:
        found = queries.made_with_version(given[0])
    _show(found, output)


def _prepare(context: click.Context, output: str | None) -> None:
    if output:
        check_format(Path(output))
    load_profile(context)


def _show(found: pd.DataFrame, output: str | None) -> None:
    cells = [
        ["" if pd.isna(value) else value for value in row] for row in found.drop(columns="made").itertuples(index=False)
    ]
    names = [HEADERS.get(name, name) for name in found.columns if name != "made"]
    click.echo(tabulate(cells, headers=names, floatfmt=".4g"))
    click.echo(f"{len(found)} results")
    if output:
        click.echo(f"wrote {write_table(found, output)}")
