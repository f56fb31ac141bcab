"""`aiida-dmi report`: one HTML page on a calculation."""

from __future__ import annotations

from pathlib import Path

import click

from aiida_dmi.cli.completion import RUNS, NodeName
from aiida_dmi.cli.inputs import load_node
from aiida_dmi.cli.numbers import POINTS
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.plots.gallery import MESH
from aiida_dmi.report.page import write_report


@click.command()
@click.argument("pk", type=NodeName(RUNS))
@click.option("-o", "--output", type=click.Path(dir_okay=False), help="HTML file  [default: dmi-report-PK.html]")
@click.option("--mesh", type=POINTS, default=MESH, show_default=True, help="Of figures from the model.")
@click.option("--quick", is_flag=True, help="Leave out what is computed from the model: k maps, bands, layers.")
@click.pass_context
def report(context: click.Context, pk: str, output: str | None, mesh: int, quick: bool) -> None:
    """One self-contained HTML file on a DmiWorkChain; opens offline.

    Numbers with errors, quality gate, the film, inputs that differ from the protocol, figures with their data,
    provenance, versions, what to cite.

    \b
    Example:
        aiida-dmi report 1234
        aiida-dmi report 1234 --quick -o co-pt.html
    """
    load_profile(context)
    node = load_node(pk)
    path = Path(output or f"dmi-report-{node.pk}.html")
    if not path.absolute().parent.is_dir():
        raise click.UsageError(f"--output: folder {path.parent} does not exist; make it first")
    write_report(node, path, mesh, from_model=not quick)
    click.echo(f"wrote {path}")
