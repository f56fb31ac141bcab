"""`make demo`: the main job, real programs on a real small film."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from pathlib import Path

import click
from aiida import orm
from aiida.manage.caching import disable_caching, enable_caching
from tabulate import tabulate

from aiida_dmi.cli import setup
from aiida_dmi.cli.watch import run_with_progress
from aiida_dmi.plots.response import plot_fermi_level, plot_spin_orbit
from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.workflows.dmi import DmiWorkChain

JOBS = 10
"""pw.x three times (scf, bands for the gate, nscf); wannier90 -pp; overlaps and wannier90 of two spins; build; run."""


@click.command()
@click.option("--output", type=click.Path(file_okay=False), default="demo", show_default=True, help="Folder for plots.")
@click.option("--fresh", is_flag=True, help="Compute again what an earlier run has computed.")
def command(output: str, fresh: bool) -> None:
    """The main job on a small film: Co/Pt(111), one layer each, from the slab to D and its decomposition.

    \b
    Example:
        aiida-dmi demo --output pictures
    """
    sys.exit(run_demo(Path(output), fresh))


def run_demo(output: Path, fresh: bool = False) -> int:
    """Co/Pt(111) 1+1 with the fast protocol; returns the exit status.

    Parameters
    ----------
    output : Path
        Folder for the plots.
    fresh : bool
        Do not reuse jobs of an earlier run (AiiDA's caching).
    """
    began = time.monotonic()
    click.echo(setup.ensure_profile())
    codes = setup.ensure_codes(setup.ensure_computer())
    family = setup.ensure_pseudo_family()
    with disable_caching() if fresh else enable_caching():
        structure = co_pt111(1, 1)
        builder = DmiWorkChain.get_builder_from_protocol(
            codes, structure, protocol="fast", overrides={"pseudo_family": family.label}
        )
        builder.metadata.label = structure.label
        click.echo(f"running {structure.label}: {structure.get_formula()}, fast protocol")
        node = run_with_progress(builder, JOBS)
    if not node.is_finished_ok:
        click.echo(f"demo: DmiWorkChain<{node.pk}> failed, exit {node.exit_status}: {node.exit_message}", err=True)
        return 1
    click.echo(report(node))
    output.mkdir(parents=True, exist_ok=True)
    result = node.outputs.response.dataset
    for name, plot in (("dmi_spin_orbit.png", plot_spin_orbit), ("dmi_fermi_level.png", plot_fermi_level)):
        plot(result, structure.label).savefig(output / name, dpi=150)
        click.echo(f"wrote {output / name}")
    profile = os.environ.get("AIIDA_PATH", ".aiida")
    click.echo(
        f"done in {time.monotonic() - began:.0f} s; look around: AIIDA_PATH={profile} verdi process show {node.pk}"
    )
    return 0


def report(node: orm.WorkChainNode) -> str:
    """Table of a DmiWorkChain's headline values with units, errors and where they come from."""
    summary = node.outputs.output_parameters.get_dict()
    symbols = {
        "D_yx": "D_yx",
        "Q_yx": "Q_yx",
        "D_1_yx": "D(1)_yx",
        "Q_1_yx": "-Q(1)_yx",
        "a_I_yx": "a(I)_yx",
        "a_II_yx": "a(II)_yx",
    }
    rows = []
    for key, symbol in symbols.items():
        value = summary["values"][key]
        sign = -1 if symbol.startswith("-") else 1
        row = [symbol]
        for unit in ("meV_angstrom", "pJ_per_m", "mJ_per_m2"):
            known = unit in value
            row.append(f"{sign * value[unit]:.3f} +- {value[unit + '_error']:.3f}" if known else "-")
        rows.append(row)
    mesh, nested = ("x".join(map(str, summary[key])) for key in ("mesh", "nested_mesh"))
    moment = summary.get("total_magnetization_bohr")
    lines = [
        "",
        tabulate(rows, headers=["", "meV*Angstrom per cell", "pJ/m", "mJ/m^2"], stralign="right"),
        "",
        f"at xi = {summary['soi_scale']:g}, T = {summary['temperature_K']:g} K, n = {summary['direction']}, "
        f"shift {summary['fermi_shift_eV']:g} eV; response mesh {mesh}, "
        f"errors: change from {nested or 'no nested mesh'}",
        f"closure |D(1) + Q(1)|/|D(1)| = {summary['closure']:.3f}",
        f"cell area {summary['cell_area_angstrom2']:.4f} Angstrom^2"
        + (
            f", film thickness t = {summary['thickness_angstrom']:.4f} Angstrom"
            if "thickness_angstrom" in summary
            else ""
        ),
        f"Fermi energy {summary['fermi_energy_eV']:.4f} eV (scf), chemical potential "
        f"{summary['chemical_potential_eV']:.4f} eV ({summary['fermi_level']})"
        + (f", moment {moment:.2f} mu_B per cell" if moment is not None else ""),
        *textwrap.wrap(f"sign: {summary['sign']}", 116, subsequent_indent="      "),
        f"DmiWorkChain pk {node.pk}, uuid {node.uuid}",
    ]
    return "\n".join(lines)
