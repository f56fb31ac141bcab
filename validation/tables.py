"""The tables of docs/validation.md, as Markdown, between marks in the page: `figures.py` puts them there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import xarray as xr
from films import CONVERGENCE, FILMS, FINE, OWN, PAPER, RELAXED, THICKNESS
from results import Case

QUANTITIES = {"D": "D", "Q": "Q", "D_1": "D(1)", "Q_1": "Q(1)", "a_I": "a(I)", "a_II": "a(II)"}
GATE = {
    "bands": "bands (meV)",
    "spread": "spread (Å²)",
    "time_reversal": "time reversal (eV)",
    "spin_overlap": "spin overlap",
    "charge": "charge",
    "moment": "moment off by (μ_B)",
}
MARK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def update(page: Path, cases: dict[str, Case]) -> str:
    """The page with its tables made anew."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]](cases)}\n{match[3]}"

    return MARK.sub(table, page.read_text(encoding="utf-8"))


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table."""
    names = list(head)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def value(point: xr.Dataset, name: str) -> str:
    """A number with its k error, meV*Angstrom per cell; an error below 0.005 is left out."""
    number, error = float(point[name]), float(point[f"{name}_error"])
    return f"{number:.2f} ± {error:.2f}" if error >= 0.005 else f"{number:.2f}"


def models(cases: dict[str, Case]) -> str:
    """How each film's model was made, and its gate."""
    head = ["run", "film", "Ry", "scf mesh", "Wannier mesh", "window (eV)", "functions", "moment (μ_B)", *GATE.values()]
    return markdown(head, (_model(label, case) for label, case in cases.items()))


def _model(label: str, case: Case) -> list[str]:
    record, gate = case.record, case.record["quality"]
    return [
        f"`{label}`",
        record["preset"],
        f"{record['ecutwfc_ry']:g}",
        "x".join(map(str, record["scf_mesh"][:2])),
        "x".join(map(str, record["wannier_mesh"][:2])),
        f"{record['frozen_window_ev']:g}",
        str(record["functions_per_spin"]),
        f"{record['moment_bohr_magneton']:.2f}",
        *(f"{gate[name]:.2g}" for name in GATE),
    ]


def thickness(cases: dict[str, Case], temperature: float = 300.0) -> str:
    """Every film: the tensors, closure, symmetry residual, mesh."""
    chosen = {label: case for label, case in cases.items() if label in (*THICKNESS, *PAPER)}
    head = ["film", *QUANTITIES.values(), "k error of D", "closure", "residual", "mesh"]
    rows = []
    for label, case in chosen.items():
        film = ", ".join(part for part in (case.record["preset"], FILMS[label].note) if part)
        for response, name in ((case.finest, ""), ("x", ", n = x")):
            if response in case.responses:
                rows.append([film + name, *_tensors(case, response, temperature)])
    return markdown(head, rows)


def _tensors(case: Case, response: str, temperature: float) -> list[str]:
    point = case.at(response, temperature)
    mesh = "x".join(str(m) for m in point.attrs["mesh"])
    relative = float(point.D_error) / abs(float(point.D))
    return [
        *(value(point, name) for name in QUANTITIES),
        f"{100 * relative:.2g} %",
        f"{float(point.closure):.3f}",
        f"{float(point.symmetry_residual):.3f}",
        mesh,
    ]


def hot(cases: dict[str, Case]) -> str:
    """As `thickness`, at 1500 K."""
    return thickness(cases, 1500.0)


def fine(cases: dict[str, Case]) -> str:
    """The films of `FINE` on the sweep's mesh and on the finer one; 300 K."""
    rows = []
    for label in FINE:
        if label in cases:
            rows += [[f"`{label}`", *_tensors(cases[label], response, 300.0)] for response in ("z", "fine")]
    return markdown(["run", *QUANTITIES.values(), "k error of D", "closure", "residual", "mesh"], rows)


def convergence(cases: dict[str, Case]) -> str:
    """One setting changed at a time, against the first run of each film; 300 K."""
    head = ["run", "changed", *QUANTITIES.values(), "a(II) exact - a(II)", "D at 1500 K"]
    rows = []
    for label in CONVERGENCE:
        if label in cases:
            rows.append([f"`{label}`", CONVERGENCE[label].note, *_compared(cases[label])])
    return markdown(head, rows)


def relaxed(cases: dict[str, Case]) -> str:
    """Distances and tensors with the preset's and with relaxed distances."""
    head = ["run", "heights of the layers (Å)", *QUANTITIES.values(), "a(II) exact - a(II)", "D at 1500 K"]
    rows = []
    for label in RELAXED:
        for name in (label.removesuffix("-relaxed"), label):
            if name in cases:
                heights = cases[name].record["heights_angstrom"]
                base = min(heights.values())
                text = ", ".join(f"{layer} {z - base:.2f}" for layer, z in sorted(heights.items(), key=lambda x: x[1]))
                rows.append([f"`{name}`", text, *_compared(cases[name])])
    return markdown(head, rows)


def _compared(case: Case) -> list[str]:
    point = case.at("z")
    exact = float(point.a_II_exact) - float(point.a_II)
    return [*(value(point, name) for name in QUANTITIES), f"{exact:.2f}", value(case.at("z", 1500.0), "D")]


def layers(cases: dict[str, Case]) -> str:
    """a(I), a(II) with the spin-orbit interaction of one layer at a time; D with it on this layer alone."""
    rows = []
    for label, case in cases.items():
        if "layers" not in case.responses:
            continue
        for mask in case.responses["layers"].mask.values:
            point = case.at("layers", 300.0, str(mask))
            rows.append([f"`{label}`", str(mask), *(value(point, name) for name in ("D", "a_I", "a_II"))])
    return markdown(["run", "spin-orbit interaction on", "D", "a(I)", "a(II)"], rows)


def times(cases: dict[str, Case]) -> str:
    """Seconds of each step of the model."""
    steps = list(dict.fromkeys(step for case in cases.values() for step, _ in case.record["seconds"]))
    rows = []
    for label, case in cases.items():
        taken = {step: sum(seconds for name, seconds in case.record["seconds"] if name == step) for step in steps}
        rows.append([f"`{label}`", *(str(taken[step]) if taken[step] else "" for step in steps)])
    return markdown(["run", *steps], rows)


SHOWN = {"Mn/W(001) 1+3": "mnw-1-3", "Co/Pt(111) 3+3": "copt-3-3"}
"""Films of the paper's figures, by title."""


def caption(
    cases: dict[str, Case], quantities: Iterable[str], response: str = "z", films: Mapping[str, str] = SHOWN
) -> str:
    """What every figure says below it: film, cutoffs, meshes, temperature, k errors."""
    parts = []
    for title, label in films.items():
        if label not in cases:
            continue
        record, result = cases[label].record, cases[label].responses[response].sel(temperature=300.0, i="y", j="x")
        heights = sorted(record["heights_angstrom"].values())
        scf, fine = (f"{record[key][0]}x{record[key][1]}" for key in ("scf_mesh", "wannier_mesh"))
        errors = ", ".join(f"{QUANTITIES[name]} {float(result[f'{name}_error'].max()):.2g}" for name in quantities)
        mesh = "x".join(str(m) for m in result.attrs["mesh"])
        parts.append(
            f"{title}: {len(heights)} layers, {heights[-1] - heights[0]:.2f} Å between the outer ones; cutoffs "
            f"{record['ecutwfc_ry']:g} and {4 * record['ecutwfc_ry']:g} Ry, scf mesh {scf}, Wannier mesh {fine}; "
            f"T = 300 K, mesh {mesh}; largest k error in the figure (meV Å per cell): {errors}."
        )
    return " ".join(parts) + "\n"


TABLES: dict[str, Callable[[dict[str, Case]], str]] = {
    "models": models,
    "thickness": thickness,
    "hot": hot,
    "fine": fine,
    "convergence": convergence,
    "relaxed": relaxed,
    "layers": layers,
    "times": times,
    "caption-figure3": lambda cases: caption(cases, ("D", "Q")),
    "caption-figure4": lambda cases: caption(cases, ("Q", "Q_1", "a_I", "a_II")),
    "caption-figure5": lambda cases: caption(cases, ("D", "a_I"), "layers"),
    "caption-figure3-own": lambda cases: caption(cases, ("D", "Q"), films=OWN),
    "caption-figure4-own": lambda cases: caption(cases, ("Q", "Q_1", "a_I", "a_II"), "fine", OWN),
    "caption-figure5-own": lambda cases: caption(cases, ("D", "a_I"), "fine", OWN),
}
