"""`aiida-dmi plot`: the figures of a calculation, as PNG, SVG or PDF, with their numbers as CSV beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from aiida import orm

from aiida_dmi.cli.completion import MODEL, MODEL_RUNS, RESPONSE, NodeName
from aiida_dmi.cli.inputs import load_node
from aiida_dmi.cli.numbers import POINTS, Finite
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.engine.errors import InputError
from aiida_dmi.plots import style
from aiida_dmi.plots.convergence import plot_convergence
from aiida_dmi.plots.gallery import FIGURES, MESH, Case, draw, possible
from aiida_dmi.plots.rashba import plot_rashba, rashba_sweep
from aiida_dmi.plots.response import plot_fermi_level, plot_masked, plot_spin_orbit
from aiida_dmi.plots.style import Plot

RASHBA = "rashba"
SIDE_BY_SIDE = {"spin-orbit": plot_spin_orbit, "fermi-level": plot_fermi_level, "masked": plot_masked}


def figure_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What any figure takes."""
    options = [
        click.option(
            "-w", "--what", multiple=True, type=click.Choice([*FIGURES, RASHBA]), help="Default: all at hand."
        ),
        click.option(
            "-o",
            "--output",
            type=click.Path(file_okay=False),
            default=".",
            show_default=True,
            help="Folder of NAME-PK.png, .csv.",
        ),
        click.option("-f", "--format", "formats", multiple=True, type=click.Choice(style.FORMATS), default=("png",)),
        click.option("--theme", type=click.Choice(list(style.THEMES)), default="light", show_default=True),
        click.option("-c", "--component", default="yx", show_default=True, help="Of D, Q, a: DMI vector, propagation."),
        click.option("--direction", help="Of the magnetisation, as the result names it: 0,0,1."),
        click.option("--mask", help="Spin-orbit mask, as the result names it; of a(I) in the figure masked."),
        click.option("--temperature", type=Finite(), help="K."),
        click.option("--soi-scale", type=Finite(), help="xi."),
        click.option("--shift", "fermi_shift", type=Finite(), help="Of the Fermi level, eV."),
        click.option("--mesh", type=POINTS, default=MESH, show_default=True, help="Where computed anew."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.argument("pks", nargs=-1, metavar="[PK]...", type=NodeName(MODEL_RUNS, [RESPONSE, MODEL]))
@figure_options
@click.pass_context
def plot(context: click.Context, /, pks: tuple[str, ...], what: tuple[str, ...], **options: Any) -> None:
    """Figures of a DmiWorkChain, a response or a model; the numbers beside as CSV.

    \b
    spin-orbit   D and -Q against xi (Fig. 3); several PKs become panels
    fermi-level  Q, Q(1), a(I), a(II) against the shift and doping (Fig. 4); panels
    others       any other quantity that was computed, against xi, shift or temperature
    masked       D and a(I, mask) against the shift (Fig. 5); panels
    k-map        D and the spin misalignment on the Brillouin zone
    bands        with and without spin-orbit interaction, coloured by their part in D
    convergence  against the k mesh: of several PKs, or computed from the model of one
    layers       a(I), a(II) layer by layer
    structure    the film from the side and from above
    provenance   what was made from what
    rashba       D and Q of the Rashba model against alpha (Fig. 2); needs no PK

    \b
    Example:
        aiida-dmi plot 1234
        aiida-dmi plot 1234 5678 -w spin-orbit -f pdf -o figures
        aiida-dmi plot -w rashba
    """
    if what != (RASHBA,):
        load_profile(context)
        if not pks:
            raise click.UsageError("PK: none was given, expected a DmiWorkChain; only `-w rashba` needs none")
    write_figures([load_node(pk) for pk in pks], what, **options)


def write_figures(
    nodes: list[orm.Node],
    what: tuple[str, ...],
    *,
    output: str,
    formats: tuple[str, ...],
    theme: str,
    component: str,
    mesh: int,
    **choice: Any,
) -> None:
    """Draw and write, and say what was written.

    Raises
    ------
    InputError
        If a figure that was asked for cannot be drawn: what it lacks.
    """
    if len(component) != 2 or component[0] not in "xyz" or component[1] not in "xyz":
        raise InputError(f"component: {component!r} was given, expected two of x, y, z, such as yx")
    chosen = {axis: label for axis, label in choice.items() if label is not None}
    cases = [Case.of(node, i=component[0], j=component[1], choice=chosen, mesh=mesh) for node in nodes]
    names = what or tuple(possible(cases[0]))
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    with style.theme(theme):
        for name in names:
            for path in _one(name, cases).write(folder / "-".join([name, *(str(n.pk) for n in nodes)]), formats):
                click.echo(f"wrote {path}")


def _one(name: str, cases: list[Case]) -> Plot:
    if name == RASHBA:
        return plot_rashba(rashba_sweep())
    first = cases[0]
    if len(cases) == 1:
        return draw(name, first)
    if name == "convergence":
        return plot_convergence([case.result for case in cases], first.title, first.i, first.j, **first.choice)
    if name not in SIDE_BY_SIDE:
        raise InputError(f"{name}: {len(cases)} calculations were given, expected one; draw them one by one")
    titles = [case.title for case in cases]
    if len(set(titles)) < len(titles):
        titles = [f"{case.title} ({number})" for number, case in enumerate(cases, start=1)]
    results = dict(zip(titles, (case.result for case in cases), strict=True))
    choice = dict(first.choice)
    choice.pop("soi_scale" if name == "spin-orbit" else "fermi_shift", None)
    if name == "masked":
        choice["part"] = choice.pop("mask", None)
    return SIDE_BY_SIDE[name](results, "", first.i, first.j, **choice)
