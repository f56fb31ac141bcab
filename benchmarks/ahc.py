"""The anomalous Hall conductivity `ahc` against WannierBerri: 21 Fermi levels, n along z and along x.

`python benchmarks/ahc.py --peer PYTHON`, an interpreter that has wannierberri[default]. WannierBerri is given H and the
position matrices on R as a _tb.dat and makes everything else itself, on the same mesh. Two of its formulas stand
against ours, each where it says the same:

- its AHC (Berry curvature, internal terms; occupations 0 and 1) against position matrices that hold the centres alone,
  at 1 mK, where only states within some 1e-6 eV of a Fermi level could tell the difference;
- its Kubo sum with the Fermi function (optical conductivity at zero frequency) against the model as it is, at 300 K.

Exit status 1 where a difference exceeds 1e-4 of the largest value, or a component that symmetry forbids is there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from engine import SHIFTS, show
from models import COPT, crystal, interpreter, write_tb

from aiida_dmi.engine import WannierModel, compute, symmetrised
from aiida_dmi.engine.constants import BOLTZMANN_EV, ELEMENTARY_CHARGE, HBAR_EV_S

GOAL = 1e-4
FORBIDDEN = 1e-9
"""What may be left, of the largest component, of those that the symmetry of a symmetrised model forbids."""
COLD, WARM = 1e-3, 300.0
COMPONENTS = {"yz": 0, "zx": 1, "xy": 2}
"""Component to number of the vector O, sigma_ab = eps_abc O_c."""
DIRECTIONS = {"z": (0, 0, 1), "x": (1, 0, 0)}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model on a mesh; `allowed`: by direction, the one component that its symmetry allows."""

    name: str
    model: WannierModel
    mesh: tuple[int, int, int]
    allowed: dict[str, str] = dataclasses.field(default_factory=dict)


def cases(mesh: int) -> list[Case]:
    """The real film, the same as a stack with z as a third direction and its symmetry exact, and a random magnet."""
    film = WannierModel.load(COPT)
    moments = np.array([0.4, 1.9])  # of Pt and Co, mu_B: the file has none, and the symmetry needs to know them unlike
    exact = symmetrised(dataclasses.replace(film, moments=moments))
    stack = dataclasses.replace(exact, periodic=np.array([True, True, True]))
    return [
        Case("Co/Pt(111) 1+1", film, (mesh, mesh, 1)),
        Case("symmetrised, stacked", stack, (mesh // 2, mesh // 2, 3), {"z": "xy", "x": "yz"}),
        Case("random bulk magnet", crystal(), (12, 12, 12)),
    ]


def on_centres(model: WannierModel) -> WannierModel:
    """The model with position matrices that hold the centres alone."""
    position, diagonal = np.zeros_like(model.position), np.arange(model.functions)
    centres = np.einsum("sqjii->sji", model.position).real / len(model.kpoints)
    position[..., diagonal, diagonal] = centres[:, None]
    return dataclasses.replace(model, position=position)


def ours(case: Case, model: WannierModel, direction: str, temperature: float) -> tuple[np.ndarray, str]:
    """Shape (levels, components), and the unit; of a film sigma_xy alone."""
    mesh = case.mesh[: model.dimension]
    tensor = compute(
        model, mesh, fermi_shifts=SHIFTS, fermi_level="dft", temperatures=[temperature],
        directions=[DIRECTIONS[direction]], quantities=["ahc"],
    ).ahc.squeeze()  # fmt: skip
    tensor = tensor.transpose("fermi_shift", "j", "l")
    pairs = [pair for pair in COMPONENTS if set(pair) <= set(tensor.j.values)]
    both = [np.stack([tensor.sel(j=a, l=b) for a, b in order], axis=-1) for order in (pairs, [p[::-1] for p in pairs])]
    if np.abs(both[0] + both[1]).max() > FORBIDDEN * np.abs(both[0]).max():
        raise SystemExit(f"{case.name}, n = {direction}: ahc is not antisymmetric")
    return both[0], tensor.attrs["units"]


def theirs(case: Case, direction: str, python: str) -> tuple[str, dict[str, np.ndarray]]:
    """WannierBerri's version and values, each of shape (levels, components), in our units."""
    model = case.model
    settings = {
        "periodic": model.periodic.tolist(), "mesh": case.mesh,
        "levels": (model.fermi_energy + SHIFTS).tolist(), "kt": BOLTZMANN_EV * WARM,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model_tb.dat"
        write_tb(model, path, DIRECTIONS[direction])
        command = [python, str(Path(__file__).with_name("peer_ahc.py")), path.name, json.dumps(settings)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise SystemExit(f"{python}: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")
    peer = json.loads(done.stdout.strip().splitlines()[-1])
    values = {name: np.array(vectors) / 100 for name, vectors in peer["values"].items()}  # S/m to S/cm
    if model.dimension == 2:
        # Of a film the conductivity times the height of the cell, in e^2/h.
        height = abs(float(np.linalg.det(model.cell))) / model.area * 1e-8  # cm
        quantum = ELEMENTARY_CHARGE / (2 * np.pi * HBAR_EV_S)
        values = {name: value[:, [COMPONENTS["xy"]]] * height / quantum for name, value in values.items()}
    return peer["version"], values


def compared(case: Case, direction: str, python: str) -> tuple[list[dict], dict, list[str]]:
    """Rows of the comparison, the row of what our form leaves out, and what is wrong."""
    version, peer = theirs(case, direction, python)
    centred = on_centres(case.model)
    names = list(COMPONENTS) if case.model.dimension == 3 else ["xy"]
    rows, wrong = [], []
    for formula, model, temperature in (("internal", centred, COLD), ("kubo", case.model, WARM)):
        mine, unit = ours(case, model, direction, temperature)
        largest, difference = np.abs(mine).max(axis=0), np.abs(mine - peer[formula])
        label = {"internal": f"{version}: AHC", "kubo": f"{version}: Kubo"}[formula]
        row = {"model": case.name, "mesh": "x".join(map(str, case.mesh[: case.model.dimension])), "n": direction}
        row |= {"WannierBerri": label, "T (K)": temperature, "unit": unit}
        sizes = dict(zip(names, largest, strict=True))
        row |= {name: float(sizes[name]) if name in sizes else "" for name in COMPONENTS}
        row["difference / largest"] = float(difference.max() / largest.max())
        rows.append(row)
        where = f"{case.name}, n = {direction}, {formula}"
        if not row["difference / largest"] < GOAL:
            wrong.append(f"{where}: WannierBerri differs by {row['difference / largest']:.1e}, goal {GOAL:g}")
        for side, values in (("ahc", mine), ("WannierBerri", peer[formula])):
            forbidden = [i for i, name in enumerate(names) if name != case.allowed.get(direction, name)]
            if case.allowed and not np.abs(values[:, forbidden]).max() < FORBIDDEN * np.abs(values).max():
                wrong.append(f"{where}: {side} has components other than {case.allowed[direction]}")
    mine, _ = ours(case, case.model, direction, COLD)
    left_out = float(np.abs(mine - peer["whole"]).max() / np.abs(mine).max())
    return rows, {"model": case.name, "n": direction, "left out / largest": left_out}, wrong


def main() -> None:
    """Both tables, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peer", type=interpreter, required=True, help="Python interpreter that has wannierberri[default]"
    )
    parser.add_argument("--mesh", type=int, default=48, help="points a side for the film (half of it for the stack)")
    options = parser.parse_args()
    results = [compared(case, direction, options.peer) for case in cases(options.mesh) for direction in DIRECTIONS]
    rows, left_out = [row for rows, _, _ in results for row in rows], [row for _, row, _ in results]
    show("ahc against WannierBerri (largest values over 21 Fermi levels)", rows)
    show("What the velocity between Wannier functions leaves out of the whole Berry curvature", left_out)
    if wrong := [line for _, _, lines in results for line in lines]:
        raise SystemExit("\n".join(["", *wrong]))


if __name__ == "__main__":
    main()
