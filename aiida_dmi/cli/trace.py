"""`aiida-dmi trace`: from a number back to the slab."""

from __future__ import annotations

import click

from aiida_dmi.cli import inputs
from aiida_dmi.cli.completion import MODEL, MODEL_RUNS, RESPONSE, NodeName
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.provenance.trace import trace as traced


@click.command()
@click.argument("node", metavar="UUID", type=NodeName(MODEL_RUNS, [RESPONSE, MODEL]))
@click.pass_context
def trace(context: click.Context, node: str) -> None:
    """How a result was made: the chain as a tree, with versions, times, and inputs that differ from the protocol.

    UUID: uuid or pk of a response, a model, output_parameters or a workchain (`aiida-dmi table`, `aiida-dmi query`).

    \b
    Example:
        aiida-dmi trace 749bbe34
    """
    load_profile(context)
    click.echo(traced(inputs.load_node(node)))
