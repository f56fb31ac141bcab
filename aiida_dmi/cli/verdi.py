"""`verdi data dmi.response`: the same as `aiida-dmi show`, `export` and `plot`, where verdi's users look for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click
from aiida.cmdline.params import arguments, types
from aiida.cmdline.utils import decorators, echo

from aiida_dmi.cli import BAD_INPUT
from aiida_dmi.cli.export import export_options, write_export
from aiida_dmi.cli.numbers import Finite
from aiida_dmi.cli.plot import figure_options, write_figures
from aiida_dmi.cli.show import print_node
from aiida_dmi.data.response import DmiData


class Commands(click.Group):
    """Errors that a user can mend are one line, as in `aiida-dmi`."""

    def invoke(self, context: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(context)
        except ValueError as error:
            echo.echo_error(" ".join(str(error).split()))
            sys.exit(BAD_INPUT)


@click.group("dmi.response", cls=Commands)
def response() -> None:
    """D, Q, a(I), a(II): the response of a magnetic film (aiida-dmi).

    \b
    Example:
        verdi data dmi.response show 1234
    """


def datum(function: Callable[..., Any]) -> Callable[..., Any]:
    """The argument: a response by pk, uuid or label, with verdi's tab completion."""
    return arguments.DATUM(type=types.DataParamType(sub_classes=("aiida.data:dmi.response",)))(function)


@response.command("show")
@datum
@click.option("-t", "--thickness", type=Finite(positive=True), help="Of the magnetic film, angstrom, for mJ/m^2.")
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@decorators.with_dbenv()
def show(datum: DmiData, thickness: float | None, form: str) -> None:
    """The headline values with units and errors.

    \b
    Example:
        verdi data dmi.response show 1234 --thickness 2.04
    """
    print_node(datum, thickness, form)


@response.command("export")
@datum
@export_options
@decorators.with_dbenv()
def export(datum: DmiData, **options: Any) -> None:
    """As csv, netcdf, json, for ubermag or mumax3.

    \b
    Example:
        verdi data dmi.response export 1234 --to netcdf
        verdi data dmi.response export 1234 --to mumax3 --thickness 2.04
    """
    write_export(datum, **options)


@response.command("plot")
@datum
@figure_options
@decorators.with_dbenv()
def plot(datum: DmiData, what: tuple[str, ...], **options: Any) -> None:
    """Figures, and their numbers as CSV.

    \b
    Example:
        verdi data dmi.response plot 1234 -w spin-orbit -f pdf
    """
    write_figures([datum], what, **options)
