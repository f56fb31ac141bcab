"""Speed and memory of the engine against floors and peers, in one process with one thread.

Run with `make bench` (one thread: OMP_NUM_THREADS=1). Ratios are against something measured in the same run, in turns
with it, and times are medians of processor time (wall time where several processes work), so that they hold on a
machine that others use too. `--peer PYTHON` names an interpreter that has wannierberri[default]; without it that
part is left out.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from models import COPT, hamiltonians, interpreter, synthetic, write_tb

from aiida_dmi.engine import WannierModel, compute
from aiida_dmi.engine.integrate.kernel import Kernel
from aiida_dmi.engine.integrate.settings import Settings
from aiida_dmi.engine.run.compute import MEMORY_LIMIT

SHIFTS = np.linspace(-1, 1, 21)
NAMED = ("D", "Q", "a_I", "a_II")
"""What the goals name; by default compute gives D(1) and with it the closure, too."""


def medians(*functions: Callable[[], object], repeats: int = 3, warm_up: bool = True) -> list[float]:
    """Median processor times of functions called in turns, after one warm-up each, seconds."""
    times = [[] for _ in functions]
    for turn in range(repeats + warm_up):
        for function, taken in zip(functions, times, strict=True):
            start = time.process_time()
            function()
            if turn >= warm_up:
                taken.append(time.process_time() - start)
    return [float(np.median(taken)) for taken in times]


def prepared(model: WannierModel, mesh: int) -> Kernel:
    """What `compute` does once for a mesh: images of R, operators and tables of products on R."""
    settings = Settings.checked(
        dimension=2, atoms=model.atoms, mesh=mesh, soi_scales=[1.0], fermi_shifts=SHIFTS, temperatures=[300.0],
        directions=[(0, 0, 1)], soi_masks=None, fermi_level="dft",
    )  # fmt: skip
    return Kernel.prepare(model, settings, MEMORY_LIMIT)


def against_eigensolver() -> list[dict]:
    """D, Q, a(I), a(II), then D(1) as well, 21 shifts, one xi, against numpy.linalg.eigh of the same matrices.

    What does not depend on the number of k points (see `prepared`) stands apart.
    """
    rows = []
    cases = [("Co/Pt(111) 1+1", WannierModel.load(COPT), 64, 1024, 3), ("synthetic", synthetic(36), 48, 256, 3)]
    cases.append(("synthetic, size of Co/Pt 3+10", synthetic(117), 48, 64, 1))
    for name, model, mesh, sample, repeats in cases:
        kpoints = np.array([[i / mesh, j / mesh, 0.0] for i in range(mesh) for j in range(mesh)])[:sample]
        matrices = hamiltonians(model, kpoints)
        small = model.functions < 100

        def run(model=model, mesh=mesh, **options):
            return compute(model, mesh, fermi_shifts=SHIFTS, **options)

        functions = [
            lambda matrices=matrices: np.linalg.eigh(matrices),
            lambda m=model, n=mesh: prepared(m, n),
            lambda run=run: run(fermi_level="dft", quantities=NAMED),
            lambda run=run: run(fermi_level="dft"),
        ]
        # A minute each for the largest model: once and cold, and without the third way.
        functions += [lambda run=run: run(quantities=NAMED)] if small else []
        floor, once, named, every, *neutral = medians(*functions, repeats=repeats, warm_up=small)
        floor, points = floor / len(matrices), mesh**2
        row = {"model": name, "spinor orbitals": 2 * model.functions, "mesh": f"{mesh}x{mesh}"}
        row |= {"eigh (us/k)": floor * 1e6, "once (s)": once, "D, Q, a(I), a(II) (us/k)": (named - once) / points * 1e6}
        row |= {"ratio": (named - once) / points / floor, "with once": named / points / floor}
        row["ratio, D(1) too"] = (every - once) / points / floor
        row["ratio, neutral"] = (neutral[0] - once) / points / floor if neutral else ""
        rows.append(row)
    return rows


SUBSETS = (("Q",), ("D",), ("D", "Q"), ("a_I", "a_II"), ("D_1",), NAMED, (*NAMED, "D_1"))


def subsets() -> list[dict]:
    """What is left out costs nothing: us/k of some of the quantities, and as a part of what all of them cost."""
    rows = []
    cases = [("Co/Pt(111) 1+1", WannierModel.load(COPT), 48), ("synthetic, 72 spinor orbitals", synthetic(36), 24)]
    for name, model, mesh in cases:
        for level in ("dft", "neutral"):

            def run(asked, model=model, mesh=mesh, level=level):
                return compute(model, mesh, fermi_shifts=SHIFTS, fermi_level=level, quantities=asked)

            times = medians(*[lambda asked=asked, run=run: run(asked) for asked in SUBSETS])
            row = {"model": name, "fermi_level": level}
            for asked, taken in zip(SUBSETS, times, strict=True):
                row[", ".join(asked)] = f"{taken / mesh**2 * 1e6:.0f} ({taken / times[-1]:.2f})"
            rows.append(row)
    return rows


def sweep() -> dict:
    """Ten xi, two directions, 81 shifts, three temperatures against one xi, one direction, 21 shifts, one."""
    model = WannierModel.load(COPT)
    one, many = medians(
        lambda: compute(model, 48, fermi_shifts=SHIFTS, fermi_level="dft"),
        lambda: compute(
            model, 48, soi_scales=np.linspace(0.1, 1, 10), directions=[(0, 0, 1), (1, 0, 0)],
            fermi_shifts=np.linspace(-1, 1, 81), temperatures=[300.0, 600.0, 1500.0], fermi_level="dft",
        ),
        repeats=1,
    )  # fmt: skip
    return {"one (s)": one, "sweep (s)": many, "ratio": many / one}


def naive() -> dict:
    """One call a shift against all shifts in one."""
    model = WannierModel.load(COPT)
    together, apart = medians(
        lambda: compute(model, 24, fermi_shifts=SHIFTS, fermi_level="dft"),
        lambda: [compute(model, 24, fermi_shifts=[s], fermi_level="dft") for s in SHIFTS],
        repeats=1,
    )
    return {"all shifts in one call (s)": together, "one call a shift (s)": apart, "ratio": apart / together}


def processes() -> dict:
    """Two worker processes against one: wall time, which needs two idle cores, and the processor time of each side."""
    model = WannierModel.load(COPT)

    def used() -> np.ndarray:
        both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return np.array([usage.ru_utime + usage.ru_stime for usage in both])

    def run(count: int) -> tuple[float, list[float]]:
        start, before = time.perf_counter(), used()
        compute(model, 128, fermi_shifts=SHIFTS, fermi_level="dft", processes=count)
        return time.perf_counter() - start, (used() - before).tolist()

    (one, alone), (two, shared) = run(1), run(2)
    return {
        "one (s)": one, "two (s)": two, "speed-up": one / two,
        "one (CPU s)": alone[0], "two: parent (CPU s)": shared[0], "two: workers (CPU s)": shared[1],
        "speed-up on idle cores, at most": alone[0] / (shared[0] + shared[1] / 2),
    }  # fmt: skip


def memory(mesh: int) -> dict:
    """Peak memory and time of a large mesh in a process of its own, default memory_limit (1 GiB)."""
    code = (
        "import resource, time; from aiida_dmi.engine import WannierModel, compute; t = time.time();"
        f"compute(WannierModel.load({str(COPT)!r}), {mesh});"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.time() - t)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, seconds = (float(x) for x in done.stdout.split())
    return {"mesh": f"{mesh}x{mesh}", "peak (MiB)": peak, "time (s)": seconds}


def against_wannierberri(python: str) -> dict:
    """k points per second against WannierBerri's AHC (internal terms, 21 Fermi levels) on the same model."""
    model = WannierModel.load(COPT)
    mesh, rounds = 96, 3
    ours, named, theirs = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        write_tb(model, Path(folder) / "copt_tb.dat")
        script = Path(__file__).with_name("peer_wannierberri.py")
        command = [python, str(script), str(Path(folder) / "copt_tb.dat"), str(mesh)]
        for _ in range(rounds):
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
            theirs.append(json.loads(done.stdout.strip().splitlines()[-1]))
            every, four = medians(
                lambda: compute(model, mesh, fermi_shifts=SHIFTS, fermi_level="dft"),
                lambda: compute(model, mesh, fermi_shifts=SHIFTS, fermi_level="dft", quantities=NAMED),
                repeats=2,
            )
            ours.append(every)
            named.append(four)
    peer = float(np.median([one["k per second"] for one in theirs]))
    every, four = (mesh**2 / float(np.median(times)) for times in (ours, named))
    return {
        f"WannierBerri {theirs[0]['version']}, AHC (k/s)": peer,
        "D, Q, a(I), a(II) (k/s)": four,
        "ratio": four / peer,
        "D(1) too (k/s)": every,
        "ratio, D(1) too": every / peer,
    }


def show(title: str, rows: dict | list[dict]) -> None:
    """A Markdown table."""
    rows = rows if isinstance(rows, list) else [rows]
    keys = list(rows[0])
    print(f"\n### {title}\n\n| {' | '.join(keys)} |\n|{'---|' * len(keys)}")
    for row in rows:
        print("| " + " | ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    sys.stdout.flush()


def main() -> None:
    """Everything, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=interpreter, help="Python interpreter that has wannierberri[default]")
    parser.add_argument("--large", action="store_true", help="the 512x512 mesh too: it takes minutes")
    options = parser.parse_args()
    show("Against the eigensolver (21 shifts, one xi)", against_eigensolver())
    show("Some of the quantities (us/k, and part of all)", subsets())
    show("A sweep against a point", sweep())
    show("Against one call a shift", naive())
    show("Worker processes", processes())
    if options.peer:
        show("Against WannierBerri", against_wannierberri(options.peer))
    if options.large:
        show("Memory", memory(512))
    print(f"\npeak of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
