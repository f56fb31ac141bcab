"""`aiida-dmi model`: what a Wannier model holds."""

from __future__ import annotations

import click
from tabulate import tabulate

from aiida_dmi.cli.completion import MODEL, MODEL_RUNS, NodeName
from aiida_dmi.cli.inputs import load_model
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine import WannierModel
from aiida_dmi.engine.maps import quality
from aiida_dmi.engine.run.cli import describe
from aiida_dmi.structures.description import film_in_words
from aiida_dmi.structures.runs import film_of_model


@click.group()
def model() -> None:
    """Wannier models.

    \b
    Example:
        aiida-dmi model inspect 1234
    """


@model.command()
@click.argument("source", metavar="PK|FILE", type=NodeName(MODEL_RUNS, [MODEL], files=True))
@click.pass_context
def inspect(context: click.Context, source: str) -> None:
    """What a model holds, and whether it can be trusted.

    PK|FILE: pk or uuid of a model or of the workchain that made it, or a model file.

    \b
    Example:
        aiida-dmi model inspect 1234
        aiida-dmi model inspect model.h5
    """
    load_profile(context)
    found = load_model(source)
    loaded = found.load()
    click.echo(describe(loaded))
    spread = quality.largest_spread(loaded)
    click.echo(f"largest spread       {'not recorded' if spread is None else f'{spread:.2f} Angstrom^2'}")
    click.echo(f"up and down overlap  {quality.smallest_spin_overlap(loaded):.4f} or more")
    click.echo(f"\n{_atoms(loaded, found)}")
    if found.is_stored:
        click.echo(f"\nWannierModelData pk {found.pk}, uuid {found.uuid}")


def _atoms(loaded: WannierModel, node: WannierModelData) -> str:
    """The atoms from the top down; a bulk crystal, or a film without a magnet to count from, has no layers."""
    film = film_of_model(node) if loaded.dimension == 2 else None
    layered = film is not None and any(film.magnetic)
    names = film.names if film is not None and layered else loaded.symbols
    moments = [""] * loaded.atoms if loaded.moments is None else [f"{m:.2f}" for m in loaded.moments]
    rows = [
        [number, names[number], *(f"{x:.3f}" for x in loaded.positions[number]), moments[number]]
        for number in sorted(range(loaded.atoms), key=lambda atom: -loaded.positions[atom, 2])
    ]
    headings = ["atom", "layer", "x (Angstrom)", "y", "z", "moment (mu_B)"]
    lines = film_in_words(film) if film is not None and layered else []
    return "\n".join([tabulate(rows, headings, disable_numparse=True), "", *lines])
