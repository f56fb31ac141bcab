"""Tables and figure of docs/cost.md, from the runs that cost_runs.py reads and the estimate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from cost_runs import RANKS, Run, size_of

from aiida_dmi.plots.style import Plot, drawn, panels
from aiida_dmi.workflows import estimate
from aiida_dmi.workflows.estimate import FilmSize
from aiida_dmi.workflows.protocols.utils import load_protocol

SERIES = {
    "Mn/W(001)": [f"Mn/W(001):1+{n}" for n in range(1, 10)],
    "Co/Pt(111)": [*(f"Co/Pt(111):1+{n}" for n in range(1, 11)), "Co/Pt(111):3+10"],
}
PAPER = ("Mn/W(001):1+9", "Co/Pt(111):3+10")
CAMPAIGNS = ("Co/Pt(111):1+1", "Co/Pt(111):3+3", *PAPER)
MESHED = "Co/Pt(111):3+3"
ENGINE = {"overlaps": 2, "wannier90": 2, "build": 1}
"""Steps between nscf and response, and how often they run."""

# -- tables ------------------------------------------------------------------------------------------------


def film_table(found: list[Run]) -> str:
    """Measured and estimated seconds of every film; the scf with the estimated number of iterations."""
    head = ["run", "film", "atoms", "bands", "k points", "scf iterations", "scf (s)", "nscf (s)",
            "overlaps, wannier90, build (s)", "clock", "estimate / measured"]  # fmt: skip
    return markdown(head, [_film_row(run) for run in found])


def _film_row(run: Run) -> list[str]:
    size, steps = run.size, [step for step in ("scf", "nscf") if step in run.pw]
    engine = sum(number * run.engine[step] for step, number in ENGINE.items())
    measured = engine + sum(run.pw[step] for step in steps)
    estimated = estimate.film_seconds(size, []) + sum(rank_seconds(size, step) for step in steps)
    pw = [f"{run.pw[step]:.0f}, {rank_seconds(size, step):.0f}" if step in steps else "" for step in ("scf", "nscf")]
    return [
        f"`{run.label}`",
        run.preset,
        str(size.atoms),
        f"{size.scf_bands}, {size.nscf_bands}",
        f"{size.scf_points}, {size.nscf_points}",
        f"{run.iterations}, {estimate.scf_iterations(size):.0f}",
        *pw,
        f"{engine:.0f}, {estimate.film_seconds(size, []):.0f}",
        run.clock,
        f"{estimated / measured:.2f}",
    ]


def rank_seconds(size: FilmSize, step: str) -> float:
    """The estimate for a rank of the archive's runs."""
    return core_seconds(size, step) / RANKS


def core_seconds(size: FilmSize, *steps: str) -> float:
    """Of steps of pw.x."""
    return sum(estimate.points_of(size, step) * estimate.point_seconds(size, step) for step in steps)


def response_table(measured: list[dict[str, float]]) -> str:
    """Measured and estimated seconds and memory of the responses."""
    head = ["functions a spin", "mesh", "ξ", "time (s)", "estimate / measured", "memory (MB)"]
    return markdown(head, [_response_row(**{key: int(entry[key]) for key in entry if key != "seconds"},
                                         seconds=entry["seconds"]) for entry in measured])  # fmt: skip


def _response_row(
    functions: int, atoms: int, model_mesh: int, mesh: int, xi: int, peak_bytes: int, seconds: float
) -> list[str]:
    settings = {"mesh": mesh, "soi_scales": [1.0] * xi}
    estimated = estimate.response_seconds(functions, settings)
    memory = estimate.response_bytes(functions, atoms, [model_mesh, model_mesh], settings)
    return [
        str(functions),
        f"{mesh}x{mesh}",
        str(xi),
        f"{seconds:.2f}, {estimated:.2f}",
        f"{estimated / seconds:.2f}",
        f"{peak_bytes / 1e6:.0f}, {memory / 1e6:.0f}",
    ]


def completeness_size(entry: dict[str, Any]) -> FilmSize:
    """The sizes of a measured comparison that its time follows from."""
    unused = dict.fromkeys(("scf_bands", "kept_bands", "scf_points", "mesh_points"), 0)
    same = {key: entry[key] for key in ("atoms", "electrons", "projectors", "plane_waves", "functions")}
    return FilmSize(**same, **unused, grid=tuple(entry["grid"]), nscf_bands=entry["bands"], nscf_points=entry["points"])


def completeness_table(measured: list[dict[str, Any]]) -> str:
    """Measured and estimated seconds of `dmi-engine complete`."""
    head = ["film", "pseudopotentials", "Ry", "plane waves", "bands", "k points", "time (s)", "estimate / measured"]
    rows = []
    for entry in measured:
        estimated = estimate.completeness_seconds(completeness_size(entry))
        cells = [entry[key] for key in ("film", "pseudopotentials", "ecutwfc", "plane_waves", "bands", "points")]
        rows.append([*map(str, cells), f"{entry['seconds']:.0f}, {estimated:.0f}",
                     f"{estimated / entry['seconds']:.2f}"])  # fmt: skip
    return markdown(head, rows)


def paper_table() -> str:
    """Estimates for the paper's films."""
    head = ["film", "atoms", "functions a spin", "plane waves", "bands", "scf (core h)", "nscf",
            "overlaps, wannier90, build", "response", "all", "scf, one rank (GB)"]  # fmt: skip
    rows = []
    for preset in PAPER:
        protocol = load_protocol("fast", None)
        size = size_of(preset)
        parts = [core_seconds(size, "scf"), core_seconds(size, "nscf"), estimate.film_seconds(size, [])]
        parts.append(estimate.response_seconds(size.functions, protocol["response"]))
        hours = [f"{seconds / 3600:.2g}" for seconds in (*parts, sum(parts))]
        memory = f"{estimate.pw_bytes(size, 'scf', 1, 1) / 1e9:.1f}"
        rows.append([preset, str(size.atoms), str(size.functions), f"{size.plane_waves:.0f}", str(size.nscf_bands),
                     *hours, memory])  # fmt: skip
    return markdown(head, rows)


def coefficient_table() -> str:
    """What was fitted."""
    entries = [(part, name, value) for part, entry in estimate.coefficients().items() for name, value in entry.items()]
    return markdown(["step", "coefficient", "value"], [[part, name, f"{value:.2e}"] for part, name, value in entries])


def markdown(head: list[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


# -- figure ------------------------------------------------------------------------------------------------


@drawn
def figure(found: list[Run]) -> Plot:
    """How the cost grows: with atoms, k points, xi and candidates."""
    axes = ["atoms", "points of the mesh", "ξ", "candidates"]
    plot, (atoms, points, scales, candidates) = panels(axes, width=3.5, height=3.3)
    fast = load_protocol("fast", None)
    _draw_atoms(plot, atoms, found, fast)
    _draw_points(plot, points, fast)
    for functions in (18, 54, 117):
        _line(plot, scales, f"{functions} functions a spin", "response, 192x192", [1, 2, 6, 10, 20],
              lambda n, f=functions: estimate.response_seconds(f, {"mesh": 192, "soi_scales": [1.0] * n}))  # fmt: skip
    for preset in CAMPAIGNS:
        size = size_of(preset)
        whole = estimate.film_seconds(size, ["scf", "bands", "nscf"])
        whole += estimate.response_seconds(size.functions, fast["response"])
        _line(plot, candidates, preset, "campaign", [1, 10, 100, 1000, 10**4, 10**5], lambda n, w=whole: n * w)
    for panel, label in zip((atoms, points, scales, candidates), axes, strict=True):
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel(label)
        panel.set_ylabel("core hours")
        panel.legend(fontsize=6.5)
    atoms.set_xticks([2, 4, 6, 10, 13], labels=["2", "4", "6", "10", "13"])
    atoms.set_xticks([], minor=True)
    plot.table.notes.append("estimate of aiida_dmi.workflows.estimate, protocol fast; measured: archive, both ranks")
    return plot


def _line(plot: Plot, panel: Any, name: str, what: str, x: Sequence[int], seconds: Callable[[int], float]) -> None:
    hours = [seconds(value) / 3600 for value in x]
    panel.plot(x, hours, marker=".", label=name)
    plot.table.add({"line": [name] * len(x), "of": [what] * len(x), "at": list(x), "core hours": hours})


def _draw_atoms(plot: Plot, panel: Any, found: list[Run], fast: dict[str, Any]) -> None:
    for film, presets in SERIES.items():
        sizes = {size.atoms: size for size in (size_of(preset) for preset in presets)}
        x = sorted(sizes)
        _line(plot, panel, f"{film}, scf and nscf", film, x, lambda n, s=sizes: core_seconds(s[n], "scf", "nscf"))
        _line(plot, panel, f"{film}, response", film, x,
              lambda n, s=sizes: estimate.response_seconds(s[n].functions, fast["response"]))  # fmt: skip
        # The archive's runs had one of k and -k.
        measured = [run for run in found if {"scf", "nscf"} <= set(run.pw) and run.size.atoms in sizes
                    and run.size == replace(sizes[run.size.atoms], nscf_points=run.size.nscf_points)]  # fmt: skip
        x = [run.size.atoms for run in measured]
        shares = [sizes[run.size.atoms].nscf_points / run.size.nscf_points for run in measured]
        hours = [RANKS * (run.pw["scf"] + share * run.pw["nscf"]) / 3600
                 for run, share in zip(measured, shares, strict=True)]  # fmt: skip
        panel.plot(x, hours, "x", color="0.2", zorder=3)
        names = [f"{film}, scf and nscf, measured"] * len(measured)
        plot.table.add({"line": names, "of": [run.label for run in measured], "at": x, "core hours": hours})


def _draw_points(plot: Plot, panel: Any, fast: dict[str, Any]) -> None:
    size = size_of(MESHED)
    sides = [4, 6, 8, 12, 16, 24]
    _line(plot, panel, "scf", MESHED, [n**2 for n in sides],
          lambda n: core_seconds(replace(size, scf_points=-(-n // 6)), "scf"))  # fmt: skip
    _line(plot, panel, "nscf", MESHED, [n**2 for n in sides],
          lambda n: core_seconds(size_of(MESHED, None, ([8, 8], [math.isqrt(n)] * 2)), "nscf"))  # fmt: skip
    _line(plot, panel, "response, 6 ξ", MESHED, [n**2 for n in (24, 48, 96, 192, 384)],
          lambda n: estimate.response_seconds(size.functions, {**fast["response"], "mesh": [n, 1]}))  # fmt: skip
