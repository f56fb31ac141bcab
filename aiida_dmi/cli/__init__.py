"""`aiida-dmi`: the command line for everything that needs AiiDA."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
import warnings
from typing import Any

import click

from aiida_dmi import __version__
from aiida_dmi.cli.completion import ProfileName
from aiida_dmi.cli.output import LastingStream, full_disks, what_was_lost, words_of

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
    "stop": ("stop:stop", "End a run: its jobs and its processes."),
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
        _take_verbosity(command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in sorted(COMMANDS)])


def _set_verbosity(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.find_root().ensure_object(dict)["verbosity"] = value


VERBOSITY = click.Option(
    ["-v", "--verbosity"],
    type=click.Choice(["report", "debug"]),
    expose_value=False,
    callback=_set_verbosity,
    help="debug: the whole trace of an error, before its one line.",
)


def _take_verbosity(command: click.Command) -> None:
    """Let a command and those below it take -v, as every command of verdi does."""
    if VERBOSITY not in command.params:
        command.params.append(VERBOSITY)
    if isinstance(command, click.Group):
        for child in command.commands.values():
            _take_verbosity(child)


@click.group(cls=Commands, params=[VERBOSITY], context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="aiida-dmi")
@click.option(
    "-p", "--profile", type=ProfileName(), metavar="NAME", help="AiiDA profile (default: AiiDA's default profile)."
)
@click.pass_context
def cli(context: click.Context, profile: str | None) -> None:
    """Dzyaloshinskii-Moriya interaction of magnetic films, with provenance.

    \b
    From install to a number and its pictures:
        aiida-dmi setup
        aiida-dmi launch dmi 'Co/Pt(111):1+1'
        aiida-dmi status
        aiida-dmi show PK
        aiida-dmi plot PK
    PK: of a run or a result, or its uuid, or its label.
    Tab completion (zsh, fish: zsh_source, fish_source):
        eval "$(_AIIDA_DMI_COMPLETE=bash_source aiida-dmi)"
    """
    context.ensure_object(dict)["profile"] = profile


def main() -> None:
    """Entry point: errors a user can mend are one line, with what to do.

    What cannot be said on a full or closed standard stream stops nothing; the exit status then is not 0.
    """
    streams = {}
    for name, words in (("stdout", "standard output"), ("stderr", "standard error")):
        stream = getattr(sys, name)
        if stream is not None:  # closed by whoever started this: nothing is to be said there
            streams[words] = LastingStream(stream)
            setattr(sys, name, streams[words])
    status = _run()
    for words, stream in streams.items():
        stream.flush()
        if stream.failure is not None:
            status = status or 1
            click.echo(f"aiida-dmi: {what_was_lost(stream, words)}", err=words == "standard output")
    sys.exit(status)


def _run() -> int:
    """Exit status of the command line."""
    # aiida-core says so on its first import; `aiida-dmi setup` says which folder it uses.
    warnings.filterwarnings("ignore", message="Creating AiiDA configuration folder")
    from aiida.common.exceptions import AiidaException
    from sqlalchemy.exc import SQLAlchemyError

    state: dict[str, Any] = {}
    try:
        status = cli.main(prog_name="aiida-dmi", standalone_mode=False, obj=state)
    except (click.Abort, click.ClickException, ValueError, OSError, SQLAlchemyError, AiidaException) as error:
        if state.get("verbosity") == "debug":
            traceback.print_exc()
        message, status = _explained(error)
        click.echo(f"aiida-dmi: {' '.join(message.split())}", err=True)
    return status if isinstance(status, int) else 0


def _explained(error: Exception) -> tuple[str, int]:
    """What an error is in words, and the exit status."""
    from sqlalchemy.exc import SQLAlchemyError

    if isinstance(error, click.Abort):
        return "stopped", 1
    if isinstance(error, click.ClickException):
        return _with_remedy(error), error.exit_code
    if isinstance(error, ValueError):
        return str(error), BAD_INPUT
    if isinstance(error, OSError):
        return words_of(error), 1
    said = str(error)
    if isinstance(error, SQLAlchemyError):
        # Behind the error's class, before the statement.
        found = re.search(r"\(\S+Error\) ([^\n[]+)", said)
        disks = "".join(f" ({disk})" for disk in full_disks()) if "disk" in said else ""
        return f"database: {found[1] if found else said}{disks}; -v debug shows where", 1
    return f"{type(error).__name__}: {said}; -v debug shows where", 1


def _with_remedy(error: click.ClickException) -> str:
    """What click says of an argument, and where to read on, unless the message says what to do itself."""
    message = error.format_message()
    context = getattr(error, "ctx", None)
    if context is None or "`" in message:
        return message
    return f"{message.rstrip('.')}; see `{context.command_path} --help`"
