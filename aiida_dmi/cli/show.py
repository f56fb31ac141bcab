"""`aiida-dmi show`: D, Q and the decomposition with units and errors."""

from __future__ import annotations

import json

import click
from aiida import orm

from aiida_dmi.cli.completion import RESPONSE, RUNS, NodeName
from aiida_dmi.cli.inputs import load_node
from aiida_dmi.cli.numbers import Finite
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.engine.errors import InputError
from aiida_dmi.report.summary import as_text, gate_lines, quality_of, summary_of


@click.command()
@click.argument("pk", type=NodeName(RUNS, [RESPONSE]))
@click.option("-t", "--thickness", type=Finite(positive=True), help="Of the magnetic film, angstrom, for mJ/m^2.")
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.pass_context
def show(context: click.Context, pk: str, thickness: float | None, form: str) -> None:
    """D, Q, D(1), Q(1), a(I), a(II) with units and errors, and the quality gate.

    PK: pk, uuid or label of a DmiWorkChain or of its response.

    \b
    Example:
        aiida-dmi show 1234
        aiida-dmi show 1234 --format json
    """
    load_profile(context)
    print_node(load_node(pk), thickness, form)


def print_node(node: orm.Node, thickness: float | None, form: str) -> None:
    """The table, or JSON with `values`, their conditions and `quality`."""
    quality = quality_of(node)
    try:
        if form == "table":
            click.echo(as_text(node, thickness))
        else:
            content = {"pk": node.pk, "uuid": node.uuid, **summary_of(node, thickness), "quality": quality}
            click.echo(json.dumps(content, indent=2))
    except InputError:
        # A run that ended at the model's gate has no response: what the gate says is the answer then.
        if quality:
            click.echo("\n".join(gate_lines(quality)))
        raise
