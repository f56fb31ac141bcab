"""The k error against the true one: ten models, four temperatures, meshes from 24 to 288 points a side.

    python benchmarks/k_error.py                meshes in steps of 24 (twenty minutes of one core)
    python benchmarks/k_error.py --step 12      all of them, twice as long
    python benchmarks/k_error.py --step 48 --reference 336      the table of docs/k-error.md (five minutes)

True is the distance to the mesh of REFERENCE points a side. Every component of every tensor counts by itself. Exit
status 1 where fewer than 99 % are covered, or half of the errors are more than 15 times the true one.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from engine import show
from models import COPT, random_model, synthetic

from aiida_dmi.engine import RashbaModel, WannierModel, compute, symmetrised

TENSORS = ("D", "Q", "a_I", "a_II", "D_1", "Q_1")
TEMPERATURES = (50.0, 150.0, 300.0, 1500.0)
REFERENCE = 432
SMALL = 1e-6
"""Of a tensor's largest component: true errors below are those of the reference, and rounding; they have no ratio."""
COVERED, NEAR = 0.99, 15.0


def cobalt_platinum() -> WannierModel:
    """Co/Pt(111) 1+1 from first principles, its symmetry exact."""
    return symmetrised(dataclasses.replace(WannierModel.load(COPT), moments=np.array([0.4, 1.9])))


def film(functions: int, cell: list[list[float]], seed: int) -> WannierModel:
    """A random magnet of two layers without symmetry, in any plane lattice."""
    lattice = np.diag([0.0, 0.0, 30.0])
    lattice[:2, :2] = cell
    model = random_model(
        functions, lattice, np.array([[0.0, 0.0, 5.0], [0.9, 0.7, 7.0]]),
        [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (1, -1, 0)], (6, 6, 1), seed,
    )  # fmt: skip
    return metallic(model)


def metallic(model: WannierModel) -> WannierModel:
    """With a band that is partly filled."""
    return dataclasses.replace(model, electrons=0.9 * model.functions)


SQUARE, OBLIQUE, LONG = [[2.7, 0.0], [0.0, 2.7]], [[2.6, 0.0], [0.4, 2.9]], [[2.5, 0.0], [0.0, 4.4]]
MODELS: dict[str, tuple[Callable[[], WannierModel | RashbaModel], dict[str, Any]]] = {
    "Co/Pt(111) 1+1": (cobalt_platinum, {"symmetry": True}),
    "Co/Pt(111) 1+1, tilted n": (cobalt_platinum, {"symmetry": True, "directions": [(0, 1, 0)]}),
    "hexagonal, 4 functions": (lambda: metallic(synthetic(4)), {}),
    "hexagonal, 9 functions": (lambda: metallic(synthetic(9)), {}),
    "square, 2 functions": (lambda: film(2, SQUARE, 1), {}),
    "square, 4 functions": (lambda: film(4, SQUARE, 2), {}),
    "oblique, 5 functions": (lambda: film(5, OBLIQUE, 3), {}),
    "rectangular, 4 functions": (lambda: film(4, LONG, 4), {}),
    "Rashba, weak": (lambda: RashbaModel(0.1, 1.0), {"cutoff": 0.9}),
    "Rashba, strong": (lambda: RashbaModel(0.8, 0.4), {"cutoff": 0.9}),
}


@dataclasses.dataclass(frozen=True)
class Compared:
    """Errors and true errors of one model and temperature, all meshes, tensors and components.

    Parameters
    ----------
    error, true, size : ndarray, shape (n,)
        meV*Angstrom; size: of the tensor's largest component.
    mesh : ndarray, shape (n,)
    """

    error: np.ndarray
    true: np.ndarray
    size: np.ndarray
    mesh: np.ndarray

    @classmethod
    def joined(cls, parts: Iterable[Compared]) -> Compared:
        """Of several models or temperatures."""
        every = list(parts)
        return cls(*(np.concatenate([getattr(part, f.name) for part in every]) for f in dataclasses.fields(cls)))

    @property
    def resolved(self) -> np.ndarray:
        """Where there is an error."""
        return np.isfinite(self.error)

    @property
    def covered(self) -> float:
        """The part of the errors given that are no smaller than the true one, which is known to a part of SMALL."""
        given = self.resolved
        return float((self.error + SMALL * self.size >= self.true)[given].mean()) if given.any() else np.nan

    @property
    def ratio(self) -> float:
        """Median of error over true error, where the latter is known."""
        known = self.resolved & (self.true > SMALL * self.size)
        return float(np.median(self.error[known] / self.true[known])) if known.any() else np.nan

    @property
    def first(self) -> float:
        """The coarsest mesh on which half of the errors are known."""
        known = [mesh for mesh in np.unique(self.mesh) if self.resolved[self.mesh == mesh].mean() >= 0.5]
        return known[0] if known else np.nan


def compared(
    model: WannierModel | RashbaModel, axes: Mapping[str, Any], temperatures: Iterable[float], meshes: Iterable[int],
    reference: int = REFERENCE, processes: int = 1,
) -> dict[float, Compared]:  # fmt: skip
    """Errors against the distance to the reference, by temperature."""
    kelvins = list(temperatures)
    axes = {**axes, "temperatures": kelvins, "processes": processes}
    exact = compute(model, reference, **axes)
    parts: dict[float, list[Compared]] = {kelvin: [] for kelvin in kelvins}
    for mesh in meshes:
        result = compute(model, mesh, **axes)
        for kelvin, found in parts.items():
            found.extend(_of_tensor(result, exact, name, mesh, kelvin) for name in TENSORS)
    return {kelvin: Compared.joined(found) for kelvin, found in parts.items()}


def _of_tensor(result: xr.Dataset, exact: xr.Dataset, name: str, mesh: int, kelvin: float) -> Compared:
    value, error, right = (one.sel(temperature=kelvin).values.ravel() for one in (
        result[name], result[f"{name}_error"], exact[name],
    ))  # fmt: skip
    size = np.full(len(value), np.abs(right).max())
    return Compared(error, np.abs(value - right), size, np.full(len(value), mesh))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=int, default=24, help="between meshes, points a side")
    parser.add_argument("--reference", type=int, default=REFERENCE, help="points a side of what is taken for true")
    parser.add_argument("--processes", type=int, default=1, help="worker processes; the numbers are the same")
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    options = parser.parse_args()
    meshes, everything, rows = range(24, 289, options.step), [], []
    for name in options.models:
        start, (make, axes) = time.perf_counter(), MODELS[name]
        by_temperature = compared(make(), axes, TEMPERATURES, meshes, options.reference, options.processes)
        for kelvin, found in by_temperature.items():
            rows.append({"model": name, "T (K)": f"{kelvin:g}", **_words(found)})
        everything.extend(by_temperature.values())
        so_far = Compared.joined(everything)
        line = f"{100 * so_far.covered:.2f} % covered, median {so_far.ratio:.1f}"
        print(f"{name}: {time.perf_counter() - start:.0f} s; up to here {line}", file=sys.stderr)
    total = Compared.joined(everything)
    rows.append({"model": "all", "T (K)": "", **_words(total)})
    show(f"The k error, meshes from 24 to {meshes[-1]} in steps of {options.step}", rows)
    return 0 if total.covered >= COVERED and total.ratio < NEAR else 1


def _words(found: Compared) -> dict[str, str]:
    first = f"{found.first:.0f}" if np.isfinite(found.first) else "-"
    covered = f"{100 * found.covered:.1f} %" if np.isfinite(found.covered) else "-"
    known = f"{100 * found.resolved.mean():.0f} %"
    ratio = f"{found.ratio:.1f}" if np.isfinite(found.ratio) else "-"
    return {"resolved from": first, "resolved": known, "covered": covered, "median error/true": ratio}


if __name__ == "__main__":
    sys.exit(main())
