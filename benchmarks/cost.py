"""What the steps of a film cost: measured runs against the estimate, fitted, tabulated and drawn.

`python benchmarks/cost.py` imports the runs of validation/validation.aiida into the profile in use (made if there is
none), fits the seconds of one operation (aiida_dmi/workflows/cost.yaml), and writes tables and figure of docs/cost.md.
`python benchmarks/cost.py --response` first measures the response on models of several sizes, a quarter of an hour of
one core (OMP_NUM_THREADS=1), and keeps the times in benchmarks/response-times.json.

pw.x's time is the processor time of a rank where the record has it, else wall time, which other work on the machine
lengthens.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from cost_page import (
    coefficient_table,
    completeness_size,
    completeness_table,
    figure,
    film_table,
    paper_table,
    response_table,
)
from cost_runs import RANKS, Run, runs
from scipy.optimize import least_squares, nnls

from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.workflows import estimate

ROOT = Path(__file__).resolve().parent.parent
COEFFICIENTS = ROOT / "aiida_dmi" / "workflows" / "cost.yaml"
RESPONSES = ROOT / "benchmarks" / "response-times.json"
COMPLETENESS = ROOT / "benchmarks" / "completeness-times.json"
PAGE = ROOT / "docs" / "cost.md"
FIGURE = ROOT / "docs" / "images" / "cost" / "cost"
MARK = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

CLOCKS = {"fft": 6.0e-10 * 16, "matrix": 5.8e-10 * 16, "cubic": 5.7e-7, "scf": 3 / 16, "relax": 7.0}
"""Where the fit starts: pw.x's own clocks for Co/Pt 1+1 (vloc_psi; calbec, add_vuspsi, cegterg; cdiaghg), 16 products
H psi a band in a nscf run and 3 in an iteration of the scf; a relaxation was measured once."""
PRIOR = 0.2
"""Weight of that start: what few sizes cannot tell apart stays near it."""
SIZES = ((18, 24, 1), (18, 48, 1), (18, 24, 6), (36, 24, 1), (36, 36, 1), (36, 24, 6), (72, 12, 1), (72, 24, 1),
         (72, 24, 6), (117, 12, 1), (117, 12, 6))  # fmt: skip
"""Functions a spin, points a side and xi of the measured responses; 18 is Co/Pt 1+1, 117 the size of Co/Pt 3+10."""


def measure_response(functions: int, mesh: int, scales: int) -> dict[str, float]:
    """Processor time and peak memory of one response, 21 shifts, in this process."""
    from models import COPT, synthetic

    from aiida_dmi.engine import WannierModel, compute

    model = WannierModel.load(COPT) if functions == 18 else synthetic(functions)
    start = time.process_time()
    compute(model, mesh, fermi_shifts=np.linspace(-1, 1, 21), soi_scales=list(np.linspace(0.1, 1, scales)))
    taken = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"functions": functions, "atoms": model.atoms, "model_mesh": model.mesh[0], "mesh": mesh, "xi": scales,
            "seconds": round(taken, 3), "peak_bytes": peak}  # fmt: skip


# -- fitted ------------------------------------------------------------------------------------------------


def fit_pw(found: list[Run]) -> dict[str, float]:
    """Seconds of one operation of pw.x: least squares of logarithms, robust, since wall times scatter to one side."""
    names = ("fft", "matrix", "cubic", "scf")
    start = np.log([CLOCKS[name] for name in names])
    rows = [(run, step) for run in found for step in ("scf", "nscf") if step in run.pw]
    measured = np.log([run.pw[step] for run, step in rows])

    def modelled(logarithms: np.ndarray) -> np.ndarray:
        constants = dict(zip(names, np.exp(logarithms), strict=True))
        seconds = []
        for run, step in rows:
            bands = run.size.scf_bands if step == "scf" else run.size.nscf_bands
            solve = sum(constants[name] * terms for name, terms in estimate.solve_terms(run.size, bands).items())
            times = constants["scf"] * run.iterations if step == "scf" else 1.0
            seconds.append(estimate.points_of(run.size, step) / RANKS * times * solve)
        return np.log(seconds)

    solution = least_squares(
        lambda x: np.concatenate([modelled(x) - measured, PRIOR * (x - start)]), start, loss="soft_l1", f_scale=0.2
    )
    fitted = dict(zip(names, np.exp(solution.x), strict=True))
    iterations = np.exp(np.mean([np.log(run.iterations / math.sqrt(run.size.atoms)) for run in found]))
    return {**fitted, "iterations": float(iterations), "relax": CLOCKS["relax"]}


def fit_engine(found: list[Run], step: str) -> dict[str, float]:
    """Start and seconds of one operation; the least relative error with neither of them below zero."""
    numbers = np.array([estimate.engine_terms(run.size)[step] for run in found])
    return _relative(np.column_stack([np.ones_like(numbers), numbers]), [run.engine[step] for run in found],
                     ("start", "operation"))  # fmt: skip


def fit_response(measured: list[dict[str, float]]) -> dict[str, float]:
    """Start, and seconds of a k point: once and for each xi, shares of n^2 and n^3."""
    rows = []
    for entry in measured:
        points, n = entry["mesh"] ** 2, 2 * entry["functions"]
        rows.append([n**3, points * n**2, points * n**3, points * entry["xi"] * n**2, points * entry["xi"] * n**3])
    names = ("start_cube", "once_square", "once_cube", "each_square", "each_cube")
    return _relative(np.array(rows, float), [entry["seconds"] for entry in measured], names)


def fit_completeness(measured: list[dict[str, Any]]) -> dict[str, float]:
    """Start, and seconds of one operation."""
    sizes = [completeness_size(entry) for entry in measured]
    operations = [size.nscf_points * estimate.completeness_terms(size) for size in sizes]
    rows = np.column_stack([np.ones(len(measured)), operations])
    return _relative(rows, [entry["seconds"] for entry in measured], ("start", "operation"))


def _relative(matrix: np.ndarray, measured: list[float], names: tuple[str, ...]) -> dict[str, float]:
    weighted = matrix / np.array(measured)[:, None]
    scale = weighted.max(axis=0)
    solution, _ = nnls(weighted / scale, np.ones(len(measured)))
    return {name: float(value) for name, value in zip(names, solution / scale, strict=True)}


def write_coefficients(content: dict[str, dict[str, float]]) -> None:
    """cost.yaml, four digits."""
    rounded = {
        part: {name: float(f"{value:.3e}") for name, value in entries.items()} for part, entries in content.items()
    }
    text = (
        "# Written by benchmarks/cost.py from the runs of docs/cost.md: seconds of one operation on one processor\n"
        "# (aiida_dmi/workflows/estimate.py says of which), start: seconds of a job whatever its size.\n"
    )
    with whole_file(COEFFICIENTS) as temporary:
        temporary.write_text(text + yaml.safe_dump(rounded, sort_keys=False), encoding="utf-8")
    estimate.coefficients.cache_clear()


# -- main --------------------------------------------------------------------------------------------------


def records() -> list[dict[str, Any]]:
    """Of the films of the archive."""
    from aiida.tools.archive import import_archive
    from figures import ARCHIVE
    from results import load

    from aiida_dmi.cli.setup import ensure_profile

    ensure_profile()
    import_archive(ARCHIVE)
    return [case.record for case in load().values()]


def update(page: Path, tables: dict[str, str]) -> None:
    """The page with its tables made anew."""
    text = MARK.sub(lambda match: f"{match[1]}\n{tables[match[2]]}\n{match[3]}", page.read_text(encoding="utf-8"))
    with whole_file(page) as temporary:
        temporary.write_text(text, encoding="utf-8")


def main() -> int:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--response", action="store_true", help="measure the response anew")
    parser.add_argument("--one", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_response(*options.one)))
        return 0
    if options.response:
        # A process each, for the peak of its memory.
        ones = [[sys.executable, __file__, "--one", *map(str, size)] for size in SIZES]
        entries = [json.loads(subprocess.run(one, capture_output=True, text=True, check=True).stdout) for one in ones]
        with whole_file(RESPONSES) as temporary:
            temporary.write_text(json.dumps(entries, indent=1) + "\n")
    responses = json.loads(RESPONSES.read_text())
    found = runs(records())
    parts = {step: fit_engine(found, step) for step in ("overlaps", "wannier90", "build")}
    compared = json.loads(COMPLETENESS.read_text())
    parts["completeness"] = fit_completeness(compared)
    write_coefficients({"pw": fit_pw(found), **parts, "response": fit_response(responses)})
    update(PAGE, {"films": film_table(found), "responses": response_table(responses), "paper": paper_table(),
                  "completeness": completeness_table(compared), "coefficients": coefficient_table()})  # fmt: skip
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    for path in (COEFFICIENTS, PAGE, *figure(found).write(FIGURE)):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
