"""`aiida-dmi export`: a result as files for other programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from aiida import orm

from aiida_dmi.cli.completion import MODEL, MODEL_RUNS, RESPONSE, NodeName
from aiida_dmi.cli.inputs import load_node
from aiida_dmi.cli.numbers import Finite
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.plots.gallery import Case
from aiida_dmi.report.export import micromagnetic, sweep_csv
from aiida_dmi.report.summary import quality_of, summary_of

SUFFIXES = {"csv": ".csv", "netcdf": ".nc", "json": ".json", "ubermag": ".py", "mumax3": ".mx3", "model": ".h5"}


def export_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What an export takes."""
    options = [
        click.option("--to", "target", type=click.Choice(list(SUFFIXES)), default="csv", show_default=True),
        click.option("-o", "--output", type=click.Path(dir_okay=False), help="File  [default: dmi-PK and its ending]"),
        click.option(
            "-t",
            "--thickness",
            type=Finite(positive=True),
            help="Of the magnetic film, angstrom  [default: the workchain's]",
        ),
        click.option("--direction", help="For ubermag, mumax3: of the magnetisation, as the result names it."),
        click.option("--mask", help="For ubermag, mumax3: spin-orbit mask."),
        click.option("--temperature", type=Finite(), help="For ubermag, mumax3: K."),
        click.option("--soi-scale", type=Finite(), help="For ubermag, mumax3: xi."),
        click.option("--shift", "fermi_shift", type=Finite(), help="For ubermag, mumax3: of the Fermi level, eV."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.argument("pk", type=NodeName(MODEL_RUNS, [RESPONSE, MODEL]))
@export_options
@click.pass_context
def export(context: click.Context, /, pk: str, **options: Any) -> None:
    """Write a result for other programs.

    \b
    csv      every number of the sweep, with units in the headings
    netcdf   the labelled arrays: xarray.open_dataset
    json     the headline values and the quality gate
    ubermag  a line for a Python script: DMI(D=...), J/m^2
    mumax3   a line for an .mx3 script: Dind, J/m^2
    model    the Wannier model file

    \b
    Example:
        aiida-dmi export 1234 --to csv
        aiida-dmi export 1234 --to mumax3 --temperature 300
    """
    load_profile(context)
    write_export(load_node(pk), **options)


def write_export(node: orm.Node, target: str, output: str | None, thickness: float | None, **choice: Any) -> None:
    """Write the file, complete or not at all, and say so.

    Raises
    ------
    InputError
        If the node has not what is to be written.
    """
    path = Path(output or f"dmi-{node.pk}{SUFFIXES[target]}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"output: folder {path.parent} does not exist; make it first")
    content = _content(node, target, thickness, {axis: label for axis, label in choice.items() if label is not None})
    with whole_file(path) as temporary:
        temporary.write_bytes(content)
    click.echo(f"wrote {path}")


def _content(node: orm.Node, target: str, thickness: float | None, choice: dict[str, Any]) -> bytes:
    case = Case.of(node)
    if target == "model":
        if case.model is None:
            raise InputError(f"{node.pk}: its Wannier model is not known; give the DmiWorkChain or the model")
        return bytes(case.model.get_content(mode="rb"))
    if target == "json":
        return (json.dumps({**summary_of(node, thickness), "quality": quality_of(node)}, indent=2) + "\n").encode()
    result = case.result  # says what is missing, where there is no response
    if target == "netcdf":
        return bytes(case.response.get_content(mode="rb")) if case.response is not None else b""
    if target == "csv":
        return sweep_csv(result).encode()
    if thickness is None and isinstance(node, orm.WorkChainNode):
        thickness = summary_of(node).get("thickness_angstrom")
    return micromagnetic(target, result, thickness, f"{case.title}, uuid {node.uuid}", choice).encode()
