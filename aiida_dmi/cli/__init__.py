"""`aiida-dmi`: the command line for everything that needs AiiDA."""

from __future__ import annotations

import importlib
import itertools
import sys
import traceback
from typing import Any

import click

from aiida_dmi import __version__

COMMANDS = {
    "containers": ("containers:containers", "Codes whose programs come from a container image."),
    "demo": ("demo:command", "The main job on a small film, from the slab to pictures."),
    "export": ("export:export", "A result as CSV, netCDF, JSON, for ubermag or mumax3."),
    "launch": ("launch:launch", "Run a film, a model or a response, here or by the daemon."),
    "model": ("model:model", "What a Wannier model holds."),
    "plot": ("plot:plot", "Figures of a calculation, and their numbers as CSV."),
    "query": ("query:query", "Films by their numbers, results by what made them."),
    "report": ("report:report", "One HTML page on a calculation; opens offline."),
    "screen": ("screen:screen", "Compute every film of a spec, each once."),
    "setup": ("setup_command:setup", "Make or check profile, computer, codes and pseudopotentials."),
    "show": ("show:show", "D, Q and the decomposition with units and errors."),
    "status": ("status:status", "What runs, what ended, and how."),
    "table": ("screen:table", "Results of a campaign: on the screen, in a file, as plots."),
    "trace": ("trace:trace", "From a number back to the slab."),
}
"""Name to `module:object` under `aiida_dmi.cli`, loaded when it is used, and the line of --help: that is quick."""

BAD_INPUT = 2


class Commands(click.Group):
    """Loads a command's module when the command is used."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Names, in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of a name, None where there is none."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"aiida_dmi.cli.{module}"), attribute)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aiida-dmi")
@click.option("-p", "--profile", metavar="NAME", help="AiiDA profile (default: AiiDA's default profile).")
@click.option(
    "-v",
    "--verbosity",
    type=click.Choice(["report", "debug"]),
    default="report",
    help="debug: the whole trace of an error, in place of its one line.",
)
@click.pass_context
def cli(context: click.Context, profile: str | None, verbosity: str) -> None:
    """Dzyaloshinskii-Moriya interaction of magnetic films, with provenance.

    \b
    From install to a number:
        aiida-dmi setup
        aiida-dmi launch dmi 'Co/Pt(111):1+1'
        aiida-dmi show PK
    Tab completion: eval "$(_AIIDA_DMI_COMPLETE=bash_source aiida-dmi)"
    """
    context.obj = {"profile": profile, "verbosity": verbosity}


def load_profile(context: click.Context) -> None:
    """Load the profile that was asked for, or the default one.

    Raises
    ------
    click.UsageError
        If there is none: `aiida-dmi setup` makes one.
    """
    from aiida.common.exceptions import ConfigurationError
    from aiida.manage import configuration

    try:
        configuration.load_profile((context.find_root().obj or {}).get("profile"), allow_switch=True)
    except ConfigurationError as error:
        raise click.UsageError(f"no AiiDA profile ({error}); make one with `aiida-dmi setup`") from error


def main() -> None:
    """Entry point: errors a user can mend are one line."""
    from aiida_dmi.cli.setup import SetupError

    try:
        cli(standalone_mode=True)
    except (SetupError, ValueError) as error:
        if _debugging(sys.argv[1:]):
            traceback.print_exc()
        click.echo(f"aiida-dmi: {' '.join(str(error).split())}", err=True)
        sys.exit(BAD_INPUT)


def _debugging(arguments: list[Any]) -> bool:
    """Whether -v debug stands before the command."""
    return any(pair in (("-v", "debug"), ("--verbosity", "debug")) for pair in itertools.pairwise(arguments))
