"""Every number and figure of docs/validation.md from the archive: `make figures`, or `python validation/figures.py`.

Imports validation.aiida into the profile in use (made if there is none), writes docs/images/validation/*.png with
their CSV, the tables of docs/validation.md and docs/figures.md, and validation/numbers.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr
from aiida.tools.archive import import_archive
from films import OWN
from results import Case, load, numbers
from tables import SHOWN, update

from aiida_dmi.cli.setup import ensure_profile
from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.plots.layers import plot_layers
from aiida_dmi.plots.rashba import plot_rashba, rashba_sweep
from aiida_dmi.plots.response import plot_fermi_level, plot_masked, plot_spin_orbit
from aiida_dmi.plots.style import COLOURS, Plot, drawn, panels, symbol, zero_line

HERE = Path(__file__).resolve().parent
ARCHIVE = HERE / "validation.aiida"
PAGES = ("validation.md", "figures.md")
SERIES = {
    "Mn/W(001) 1+N": ("mnw-1-1", "mnw-1-2", "mnw-1-3", "mnw-1-5", "mnw-1-9"),
    "Co/Pt(111) 1+N": ("copt-1-1", "copt-1-2", "copt-1-3", "copt-1-4", "copt-1-5"),
}


def figures(cases: dict[str, Case]) -> Iterator[tuple[str, Plot]]:
    """Names and figures; those of the paper carry its numbers."""
    shown, own = ({title: cases[label] for title, label in films.items() if label in cases} for films in (SHOWN, OWN))
    yield "figure2_rashba", plot_rashba(rashba_sweep())
    yield "figure3_own", plot_spin_orbit({t: c.responses["z"] for t, c in own.items()}, temperature=300.0)
    fine = {t: c.responses["fine"] for t, c in own.items()}
    yield "figure4_own", plot_fermi_level({t: r.sel(mask=["all"]) for t, r in fine.items()}, temperature=300.0)
    yield (
        "figure4_own_exact",
        plot_fermi_level({t: exact(r.sel(mask=["all"])) for t, r in fine.items()}, temperature=300.0),
    )
    yield "figure5_own", plot_masked(fine, part="interface", mask="all", temperature=300.0)
    yield "figure3_spin_orbit", plot_spin_orbit({t: directions(c) for t, c in shown.items()}, temperature=300.0)
    yield "figure4_fermi_level", plot_fermi_level({t: c.responses["z"] for t, c in shown.items()}, temperature=300.0)
    yield "figure4_exact", plot_fermi_level({t: exact(c.responses["z"]) for t, c in shown.items()}, temperature=300.0)
    masked = {t: c.responses["layers"] for t, c in shown.items()}
    yield "figure5_masks", plot_masked(masked, part="interface", mask="all", temperature=300.0)
    yield "thickness", plot_thickness({t: [cases[x] for x in s if x in cases] for t, s in SERIES.items()})
    for title, case in (shown | own).items():
        yield f"layers_{(SHOWN | OWN)[title]}", plot_layers(by_layer(case), title)


def directions(case: Case) -> xr.Dataset:
    """Responses for n along z and, where there is one, along x in one dataset."""
    parts = [case.responses[name] for name in ("z", "x") if name in case.responses]
    return (
        parts[0]
        if len(parts) == 1
        else xr.concat(
            parts,
            "direction",
            data_vars="minimal",
            join="override",
            coords="minimal",
            compat="override",
            combine_attrs="override",
        )
    )


def exact(result: xr.Dataset) -> xr.Dataset:
    """a(II) from the differentiated projectors in place of [V, A], and as a(I) what is left of -Q(1)."""
    second, error = result.a_II_exact, result.a_II_exact_error
    first = (-result.Q_1 - second).assign_attrs(result.a_I.attrs)
    return result.assign(a_I=first, a_I_error=result.Q_1_error + error, a_II=second, a_II_error=error)


def by_layer(case: Case) -> xr.Dataset:
    """a(I), a(II) with the SOI of one layer at a time, as `plot_layers` takes it."""
    result = case.responses["layers"].sel(temperature=300.0, fermi_shift=0.0).isel(direction=0)
    names = sorted((str(m) for m in result.mask.values if "." in str(m)), key=lambda name: -int(name.split(".")[1]))
    magnet = case.record["preset"].split("/")[0]
    chosen = result.sel(mask=[*names, magnet]).rename(mask="layer")
    kept = chosen[["a_I", "a_I_error", "a_II", "a_II_error"]]
    mu = float(result.mu_bare)
    return kept.assign_attrs(temperature=300.0, mu=mu, direction=str(result.direction.values))


@drawn
def plot_thickness(series: dict[str, list[Case]]) -> Plot:
    """D, a(I) and a(II) against the layers of the heavy metal."""
    plot, axes = panels(list(series))
    for panel, (title, cases) in zip(axes, series.items(), strict=True):
        layers = [case.layers for case in cases]
        rows: dict[str, object] = {"film": [case.record["preset"] for case in cases], "layers": layers}
        for name in ("D", "Q", "a_I", "a_II"):
            values = np.array([float(case.at(case.finest)[name]) for case in cases])
            errors = np.array([float(case.at(case.finest)[f"{name}_error"]) for case in cases])
            panel.errorbar(layers, values, errors, marker="o", capsize=2, color=COLOURS[name], label=symbol(name, "yx"))
            rows[f"{name}_yx (meV angstrom per cell)"] = values
            rows[f"{name}_yx error (meV angstrom per cell)"] = errors
        zero_line(panel)
        panel.set_xticks(layers)
        panel.set_xlabel("layers of the heavy metal")
        panel.set_ylabel("meV Å per cell")
        panel.set_title(title)
        plot.table.add(rows)
    axes[0].legend()  # the same colours in both; here there is room
    plot.table.notes += [
        "xi = 1, n = z, T = 300 K, neutral; errors: change from the mesh of half as many points a side"
    ]
    plot.caption = (
        "D, Q, a(I), a(II), component yx, against the thickness of the heavy metal; bars: error from the k mesh."
    )
    return plot


def main() -> int:
    """Import, compute, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, default=HERE.parent / "docs" / "images" / "validation")
    parser.add_argument("--numbers", type=Path, default=HERE / "numbers.json")
    parser.add_argument("--docs", type=Path, default=HERE.parent / "docs", help="folder with the pages")
    parser.add_argument("--archive", type=Path, default=ARCHIVE)
    options = parser.parse_args()
    ensure_profile()
    import_archive(options.archive)
    cases = load()
    options.images.mkdir(parents=True, exist_ok=True)
    for name, plot in figures(cases):
        plot.write(options.images / name)
        print(options.images / f"{name}.png")
    with whole_file(options.numbers) as temporary:
        temporary.write_text(json.dumps(numbers(cases), indent=1, sort_keys=True) + "\n")
    print(options.numbers)
    for page in PAGES:
        path = options.docs / page
        text = update(path, cases)
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
