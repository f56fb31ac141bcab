"""`make demo`: the main job, real programs on a real small film."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.manage import get_config

from aiida_dmi.cli import setup
from aiida_dmi.cli.pseudopotentials import described, ensure_pseudo_family
from aiida_dmi.cli.watch import run_with_progress
from aiida_dmi.containers.codes import setup_codes
from aiida_dmi.plots.response import plot_fermi_level, plot_spin_orbit
from aiida_dmi.report.summary import as_text
from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.workflows.dmi import DmiWorkChain

OVERRIDES: dict[str, Any] = {"completeness": {}}
"""Beside the fast protocol: what the Wannier functions leave out is put back, on 12x12 points by a nscf of its own.
Functions made on 12x12 as well would save that, and take twice as long in the response."""


@click.command()
@click.option("--output", type=click.Path(file_okay=False), default="demo", show_default=True, help="Folder for plots.")
@click.option("--fresh", is_flag=True, help="Compute again what an earlier run has computed.")
@click.option("--container", type=click.Choice(["podman", "docker"]), help="Take every program from the image.")
@click.pass_context
def command(context: click.Context, output: str, fresh: bool, container: str | None) -> None:
    """The main job on a small film: Co/Pt(111), one layer each, from the slab to D and its decomposition.

    \b
    Example:
        aiida-dmi demo --output pictures
    """
    context.exit(run_demo(Path(output), fresh, container))


def run_demo(output: Path, fresh: bool = False, container: str | None = None) -> int:
    """Co/Pt(111) 1+1 with the fast protocol; returns the exit status.

    Parameters
    ----------
    output : Path
        Folder for the plots.
    fresh : bool
        Do not reuse jobs of an earlier run (AiiDA's caching).
    container : str, optional
        'podman' or 'docker': the programs come from the image of containers/Containerfile.
    """
    began = time.monotonic()
    click.echo(setup.ensure_profile())
    codes = _codes(container)
    family = ensure_pseudo_family()
    click.echo(described(family))
    structure = co_pt111(1, 1)
    builder = DmiWorkChain.get_builder_from_protocol(dict(codes), structure, protocol="fast", overrides=OVERRIDES)
    builder["metadata"].label, builder.caching = structure.label, not fresh
    click.echo(f"running {structure.label}: {structure.get_formula()}, fast protocol")
    click.echo(f"cutoffs {builder['wannier_model'].cutoffs['words']}")
    node = run_with_progress(builder)
    if not node.is_finished_ok:
        click.echo(f"demo: DmiWorkChain<{node.pk}> failed, exit {node.exit_status}: {node.exit_message}", err=True)
        return 1
    click.echo(as_text(node))
    output.mkdir(parents=True, exist_ok=True)
    result = node.outputs.response.dataset
    for name, plot in (("dmi_spin_orbit.png", plot_spin_orbit), ("dmi_fermi_level.png", plot_fermi_level)):
        plot(result, structure.label).savefig(output / name, dpi=150)
        click.echo(f"wrote {output / name}")
    click.echo(f"done in {time.monotonic() - began:.0f} s; to look around:")
    click.echo(f"    source {sys.prefix}/bin/activate; export AIIDA_PATH={Path(get_config().dirpath).parent}")
    click.echo(f"    aiida-dmi show {node.pk}; aiida-dmi plot {node.pk}; aiida-dmi report {node.pk}; aiida-dmi --help")
    return 0


def _codes(container: str | None) -> Mapping[str, orm.AbstractCode]:
    """The programs of this machine, or those of the image."""
    if container is None:
        return setup.ensure_codes(setup.ensure_computer())
    computer = setup.ensure_computer(f"dmi-{container}")
    codes = setup_codes(container, "aiida-dmi", computer, computer.get_default_mpiprocs_per_machine() or 1)
    click.echo(f"every program from {codes['pw'].image_name} by {container}")
    return codes
