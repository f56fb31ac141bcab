"""`aiida-dmi screen` and `aiida-dmi table`: a campaign from its spec, and its results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click
import pandas as pd
from aiida import orm
from aiida.manage import get_manager
from matplotlib.figure import Figure
from tabulate import tabulate

from aiida_dmi.cli.completion import Name, campaigns
from aiida_dmi.cli.numbers import LINES
from aiida_dmi.cli.profile import load_profile
from aiida_dmi.cli.watch import quiet_console
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import unit_words
from aiida_dmi.engine.output.units import UNITS
from aiida_dmi.screening import plots
from aiida_dmi.screening.campaign import Entry
from aiida_dmi.screening.candidates import Candidate, expand
from aiida_dmi.screening.checks import check_campaign_codes, check_candidate
from aiida_dmi.screening.controller import progress
from aiida_dmi.screening.controller import screen as run_campaign
from aiida_dmi.screening.cost import estimated_cost
from aiida_dmi.screening.spec import Spec, read_spec
from aiida_dmi.screening.table import campaign_table, check_format, column_of, number_columns, rank, rows, write_table

SHOWN = ("closure", "state", "message")
"""Columns on the screen beside the film, the one quantity and its units; files have all of them."""


@click.command()
@click.argument("spec", metavar="SPEC.yaml", type=click.Path(exists=True, dir_okay=False))
@click.option("-n", "--dry-run", is_flag=True, help="List the candidates and what they are estimated to cost.")
@click.option("--max-active", type=LINES, default=1, show_default=True, help="Candidates at one time.")
@click.option("--retry", is_flag=True, help="Start those that failed or were refused once more.")
@click.option("--run", "in_process", is_flag=True, help="Run here, without a daemon.")
@click.option("--fresh", is_flag=True, help="Do not reuse jobs of earlier runs (AiiDA's caching).")
@click.option("--output", type=click.Path(dir_okay=False), help="Write the table: .csv, .json or .parquet.")
@click.pass_context
def screen(
    context: click.Context,
    spec: str,
    dry_run: bool,
    max_active: int,
    retry: bool,
    in_process: bool,
    fresh: bool,
    output: str | None,
) -> None:
    """Compute every film of a spec, each once; run again to go on.

    \b
    Example:
        aiida-dmi screen campaign.yaml --dry-run
        aiida-dmi screen campaign.yaml --max-active 4 --output results.csv
    """
    if output:
        check_format(Path(output))
    load_profile(context)
    content = read_spec(spec)
    if dry_run:
        candidates = expand(content)
        click.echo(planned(content, candidates))
        check_campaign_codes(content, candidates)
        return
    # Opening the database sets the loggers up: before they are quietened, not after.
    get_manager().get_profile_storage()
    try:
        with quiet_console() if in_process else nullcontext():
            entries = run_campaign(
                content,
                max_active=max_active,
                retry=retry,
                in_process=in_process,
                caching=not fresh,
                say=click.echo,
            )
    except KeyboardInterrupt:
        click.echo("stopped; run the same command again to go on", err=True)
        context.exit(130)
    click.echo(shown(rows(entries)))
    if output:
        click.echo(f"wrote {write_table(rows(entries), output)}")
    context.exit(exit_status(entries))


@click.command()
@click.argument("campaign", type=Name(campaigns))
@click.option("--points", is_flag=True, help="A row for every direction, mask, temperature and shift.")
@click.option("--rank", "by", metavar="COLUMN", help="Sort by a column, the largest size first.")
@click.option("--ascending", is_flag=True, help="With --rank: the smallest first.")
@click.option("--output", type=click.Path(dir_okay=False), help="Write all columns: .csv, .json or .parquet.")
@click.option("--plot", "folder", type=click.Path(file_okay=False), help="Draw D against x and the heat map there.")
@click.option("--layers", help="Heat map: only films of these layers, such as 1+1.")
@click.option("--unit", type=click.Choice(list(plots.LABELS)), default="meV_angstrom", show_default=True)
@click.option("--quantity", help="On the screen and in plots: D, Q, a_I, energy ...; default: D, or what comes first.")
@click.pass_context
def table(
    context: click.Context,
    campaign: str,
    points: bool,
    by: str | None,
    ascending: bool,
    output: str | None,
    folder: str | None,
    layers: str | None,
    unit: str,
    quantity: str | None,
) -> None:
    """Results of a campaign: on the screen, in a file, as plots.

    \b
    Example:
        aiida-dmi table campaign --rank D_yx_mJ_per_m2 --output results.csv --plot figures
    """
    if output:
        check_format(Path(output))
    load_profile(context)
    results = campaign_table(campaign, points)
    if by:
        results = rank(results, by, ascending=ascending, absolute=True)
    extra = [name for name in ("x", "compound", "direction", "mask", "shift_eV") if points]
    click.echo(shown(results, *extra, by, quantity=quantity))
    if output:
        click.echo(f"wrote {write_table(results, output)}")
    if folder:
        for path in draw(campaign, Path(folder), layers, unit, quantity or _first_quantity(results)):
            click.echo(f"wrote {path}")


def planned(spec: Spec, candidates: Sequence[Candidate] | None = None) -> str:
    """The candidates of a spec, what each is estimated to cost, and what would be refused."""
    lines, total, memory, refused = [], 0.0, 0.0, 0
    candidates = expand(spec) if candidates is None else candidates
    for number, candidate in enumerate(candidates, 1):
        known = _state(candidate)
        try:
            cost = estimated_cost(candidate)
            check_candidate(candidate)
        except ValueError as error:
            refused += 1
            lines.append([number, candidate.label, "", "", "", "", f"refused: {' '.join(str(error).split())}"])
            continue
        total += 0.0 if known else cost.core_seconds
        memory = max(memory, 0.0 if known else cost.memory)
        costs = (f"{cost.core_seconds / 3600:.2g}", f"{cost.memory / 1e9:.2g}")
        lines.append([number, candidate.label, f"{cost.electrons:g}", cost.functions, *costs, known])
    header = ["", "film", "electrons", "functions a spin", "core hours", "GB a rank", ""]
    counts = {len(candidate.inputs["response"]["fermi_shifts"]) for candidate in candidates}
    shifts = f"{min(counts)} to {max(counts)}" if len(counts) > 1 else f"{min(counts)}"
    return "\n".join(
        [
            tabulate(lines, headers=header, maxcolwidths=[None, 50, None, None, None, None, 60]),
            "",
            f"{len(candidates)} candidates, {refused} refused, {shifts} Fermi-level shifts each; about "
            f"{total / 3600:.2g} core hours to compute and up to {memory / 1e9:.2g} GB a rank (to a factor of two)",
        ]
    )


def _state(candidate: Candidate) -> str:
    """Whether there is a process for a candidate already, in whatever campaign."""
    from aiida_dmi.screening.inputs import MARK

    query = orm.QueryBuilder().append(
        orm.WorkChainNode,
        filters={"description": f"{MARK} {candidate.key}"},
        project=["attributes.process_state", "attributes.exit_status"],
    )
    found = query.all()
    if any(status == 0 for _, status in found):
        return "computed"
    return "started" if found else ""


def shown(results: pd.DataFrame, *more: str | None, quantity: str | None = None) -> str:
    """A table for the screen: one quantity, D where there is no other wish, or what comes first without it."""
    numbers = _numbers(results, quantity)
    wanted = [name for name in ("label", *numbers, *SHOWN) if name in results.columns]
    wanted[1:1] = [name for name in more if name and name in results.columns and name not in wanted]
    headings = {"label": "film", **numbers}
    names = [headings.get(name, name) for name in wanted]
    cells = [[_cell(value) for value in row] for row in results[wanted].itertuples(index=False)]
    numeric = ["right" if pd.api.types.is_numeric_dtype(results[name]) else "left" for name in wanted]
    return tabulate(cells, headers=names, disable_numparse=True, colalign=numeric, maxcolwidths=[60] * len(names))


def _numbers(results: pd.DataFrame, quantity: str | None) -> dict[str, str]:
    """Columns of a quantity in all its units, the error of each component's first, and their headings."""
    if quantity is not None:
        column_of(results, quantity, next(iter(UNITS)))  # refuses what is not there
    chosen, headings, components = quantity or _first_quantity(results), {}, set()
    for column in number_columns(results):
        if column.quantity != chosen:
            continue
        headings[column.name] = unit_words(column.unit)
        if column.component not in components:
            components.add(column.component)
            headings[column.name] = f"{column.symbol} ({headings[column.name]})"
            headings[f"{column.name}_error"] = "+-"
    return headings


def _first_quantity(results: pd.DataFrame) -> str:
    """D, or what a campaign without it computed first."""
    return next((column.quantity for column in number_columns(results)), "D")


def _cell(value: Any) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def draw(campaign: str, folder: Path, layers: str | None, unit: str, quantity: str) -> list[Path]:
    """The plots that the campaign's results allow.

    Raises
    ------
    InputError
        If they allow none, with the reasons.
    """
    headline = campaign_table(campaign)
    if layers:
        headline = headline[headline["layers"] == layers]
    makers: dict[str, Callable[[], Figure]] = {
        "doping": lambda: plots.plot_doping(campaign_table(campaign, points=True), quantity, unit),
        "doping_parts": lambda: plots.plot_doping_parts(campaign_table(campaign, points=True), unit),
        "heat_map": lambda: plots.plot_heat_map(headline, quantity, unit),
    }
    folder.mkdir(parents=True, exist_ok=True)
    written, reasons = [], []
    for name, make in makers.items():
        try:
            figure = make()
        except InputError as error:
            reasons.append(f"{name}: {error}")
            continue
        path = folder / f"{campaign}_{name}.png"
        figure.savefig(path, dpi=200)
        written.append(path)
    if not written:
        raise InputError("; ".join(reasons))
    return written


def exit_status(entries: list[Entry]) -> int:
    """0 if every candidate gave a result, 1 if one did not."""
    click.echo(progress(entries, len(entries)))
    return 0 if all(entry.state == "finished" for entry in entries) else 1
