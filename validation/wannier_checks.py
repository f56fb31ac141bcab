"""How much depends on the choice of Wannier functions, on the kept pw.x states of a `dmi.wannier_model` run.

    aiida-dmi launch model 'Co/Pt(111):1+1' --protocol balanced
    python validation/wannier_checks.py PK

Prints rows of docs/how-to/wannier-functions.md: D with other frozen windows, numbers of bands, radii of the trial
functions and coarser meshes (those that the run's mesh holds), and the model's band velocities against those of pw.x's
states at the gate's check points. The work folders of the run must still be there. No job is submitted: overlaps,
wannier90.x and `build` run here, half a minute a row.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiida import load_profile, orm
from aiida.common.links import LinkType

from aiida_dmi.calculations.functions import highest_kept
from aiida_dmi.engine import WannierModel, compute
from aiida_dmi.engine.build import BuildSpec, Pseudopotential, atomic_functions, build
from aiida_dmi.engine.build.completed import operations_of
from aiida_dmi.engine.build.irreducible import SpaceOperation, gamma_centred
from aiida_dmi.engine.build.overlaps import OverlapsSpec, write_overlaps
from aiida_dmi.engine.build.quantum_espresso import SaveFolder, in_angstrom
from aiida_dmi.engine.completeness.form_factors import FormFactors
from aiida_dmi.engine.completeness.plane_waves import PlaneWaves
from aiida_dmi.engine.kspace.interpolation import Interpolation
from aiida_dmi.engine.maps.quality import band_errors

ORBITALS = "s;p;d"
FUNCTIONS = 9
TEMPERATURE = 1500.0
WINDOWS = (1.5, 2.5, 3.0)
BANDS = (2.0, 2.5, 3.0, 4.0)
RADII = (0.9, 1.1)
COARSEST = 6
NEAR = 0.02
"""eV: of bands nearer to each other the mean velocity is compared: where they cross, their order may differ."""
RANGES = ((-6.0, 1.0), (-0.5, 0.5))
"""eV from E_F."""


@dataclass(frozen=True)
class States:
    """What a run left: states on the mesh and at the check points, pseudopotentials, and how the mesh is completed."""

    mesh: int
    nscf: Path
    bands: Path
    pseudos: dict[str, Path]
    operations: tuple[SpaceOperation, ...]
    fermi_energy: float

    @property
    def excluded(self) -> int:
        """Semicore bands."""
        read = {kind: Pseudopotential.read(path) for kind, path in self.pseudos.items()}
        return sum(read[kind].semicore_bands() for kind in SaveFolder.read(self.nscf).species)


def states_of(run: orm.WorkChainNode, folder: Path) -> States:
    """Of a finished WannierModelWorkChain, its last try."""
    tries = [node for node in run.called if node.process_label == "WannierFunctionsWorkChain"]
    last = max(tries, key=lambda node: node.pk)
    (bands,) = run.base.links.get_outgoing(link_type=LinkType.CALL_WORK, link_label_filter="bands").all_nodes()
    reduced = next(node for node in last.called if node.process_label == "irreducible_mesh")
    pseudos = {}
    for kind, pseudo in run.inputs.pseudos.items():
        pseudos[kind] = folder / f"{kind}.upf"
        pseudos[kind].write_text(pseudo.get_content())
    return States(
        mesh=last.inputs.kpoints.get_kpoints_mesh()[0][0],
        nscf=saved(last.outputs.nscf_folder),
        bands=saved(bands.outputs.remote_folder),
        pseudos=pseudos,
        operations=operations_of(reduced.outputs.symmetry["operations"]),
        fermi_energy=run.outputs.scf_parameters["fermi_energy"],
    )


def saved(folder: orm.RemoteData) -> Path:
    """pw.x's .save folder."""
    return Path(folder.get_remote_path()) / "out" / "aiida.save"


def made(states: States, folder: Path, mesh: int, window: float, bands_per_function: float) -> WannierModel:
    """A model with one choice of everything; s, p, d on every atom."""
    save = SaveFolder.read(states.nscf)
    total, excluded, functions = save.energies.shape[-1], states.excluded, FUNCTIONS * len(save.species)
    kept = highest_kept(save.energies, min(excluded + int(np.ceil(bands_per_function * functions)), total - 1))
    top = min(states.fermi_energy + window, float(save.energies[..., excluded + functions].min()) - 0.01)
    outside = [*range(1, excluded + 1), *range(kept + 1, total + 1)]
    fractional = save.positions @ np.linalg.inv(save.cell)
    blocks = {
        "projections": [f"{kind}:{ORBITALS}" for kind in dict.fromkeys(save.species)],
        "unit_cell_cart": ["ang", *(" ".join(f"{x:.10f}" for x in row) for row in in_angstrom(save.cell))],
        "atoms_frac": [
            f"{kind} {' '.join(f'{x:.10f}' for x in place)}"
            for kind, place in zip(save.species, fractional, strict=True)
        ],
        "kpoints": [" ".join(f"{x:.12f}" for x in k) for k in gamma_centred((mesh, mesh, 1))],
    }
    lines = [
        f"num_wann = {functions}", f"num_bands = {kept - excluded}", "num_iter = 0", "dis_num_iter = 0",
        f"dis_froz_max = {top}", "guiding_centres = true", "write_u_matrices = true", f"mp_grid = {mesh} {mesh} 1",
        f"exclude_bands = {','.join(map(str, outside))}",
    ]  # fmt: skip
    for name, rows in blocks.items():
        lines += [f"begin {name}", *rows, f"end {name}"]
    for spin in ("up", "down"):
        (folder / f"{spin}.win").write_text("\n".join(lines) + "\n")
    run("wannier90.x", "-pp", "up", folder=folder)
    for spin in ("up", "down"):
        spec = OverlapsSpec(
            states.nscf, folder / "up.nnkp", spin, states.operations, atomic_functions.ATOMIC, states.pseudos
        )
        write_overlaps(spec, folder / spin)
        run("wannier90.x", spin, folder=folder)
    return build(
        BuildSpec(
            nscf=states.nscf,
            wannier_up=folder / "up",
            wannier_down=folder / "down",
            pseudopotentials=states.pseudos,
            fermi_energy=states.fermi_energy,
            operations=states.operations,
        )
    )


def run(*command: str, folder: Path) -> None:
    """A program that has to end well."""
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@contextmanager
def radii(factor: float) -> Iterator[None]:
    """Trial functions with every radial function R(r) replaced by R(r / factor)."""
    original = atomic_functions._radial

    def scaled(pseudo: Pseudopotential, ell: int, along_normal: bool) -> tuple[Any, Any]:
        mesh, values = original(pseudo, ell, along_normal)
        return mesh, np.interp(mesh / factor, mesh, values, right=0.0)

    atomic_functions._radial = scaled
    try:
        yield
    finally:
        atomic_functions._radial = original


def velocities(states: States, model: WannierModel) -> dict[tuple[float, float], tuple[float, float]]:
    """Root mean square of pw.x's velocities at the check points (eV*Angstrom), and of the model's error, per cent.

    pw.x's are <psi|dH/dk|psi> of its own states, kinetic and non-local part; both spins and directions.
    """
    save = SaveFolder.read(states.bands)
    read = {kind: Pseudopotential.read(path) for kind, path in states.pseudos.items()}
    waves = [save.wave_functions(0, k) for k in range(len(save.kpoints))]
    factors = FormFactors.of(save, read, max(np.linalg.norm(one.vectors, axis=1).max() for one in waves) + 0.1)
    operators = Interpolation(model).operators(save.kpoints)
    _, vectors = np.linalg.eigh(operators.hamiltonian)
    ours = np.einsum("skin,sdkij,skjn->sdkn", vectors.conj(), operators.velocity, vectors, optimize=True).real
    pairs = []
    for k, one in enumerate(waves):
        at = PlaneWaves.at(
            one.vectors, one.miller, np.zeros((2, 1, 1, 1)), (*factors.at(one.vectors), factors.average), 2
        )
        for spin in range(2):
            all_states = save.wave_functions(spin, k).coefficients[states.excluded :][: model.functions]
            reference = save.energies[spin, k, states.excluded :][: model.functions] - states.fermi_energy
            theirs = [np.vecdot(all_states, at.velocity(j, all_states)).real for j in range(2)]
            groups = np.split(np.arange(len(reference)), np.flatnonzero(np.diff(reference) > NEAR) + 1)
            # A group that ends with the bands that are there may lack a member.
            pairs += [
                (reference[group].mean(), theirs[j][group].mean(), ours[spin, j, k, group].mean(), len(group))
                for group in groups[:-1]
                for j in range(2)
            ]
    energy, theirs, ours, weight = np.array(pairs).T
    found = {}
    for low, high in RANGES:
        inside = (energy > low) & (energy < high)
        size = np.sqrt(np.average(theirs[inside] ** 2, weights=weight[inside]))
        error = np.sqrt(np.average((ours - theirs)[inside] ** 2, weights=weight[inside]))
        found[low, high] = float(size), float(100 * error / size)
    return found


def row(states: States, label: str, mesh: int, window: float, bands_per_function: float) -> WannierModel:
    """Make a model, print D and the bands' errors."""
    with tempfile.TemporaryDirectory() as name:
        model = made(states, Path(name), mesh, window, bands_per_function)
    result = compute(model, 72, temperatures=[TEMPERATURE], soi_scales=[1.0], quantities=["D"], symmetry="auto")
    d = float(result.D.sel(i="y", j="x").squeeze())
    reference = SaveFolder.read(states.bands)
    errors = band_errors(Interpolation(model), reference.kpoints, reference.energies[..., states.excluded :])
    numbers = f"{errors.weighted:.1f} | {errors.largest:.0f} | {model.time_reversal_error:.0e}"
    print(f"| {label} | {d:.3f} | {numbers} |", flush=True)
    return model


def main() -> int:
    """One table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="pk of a finished WannierModelWorkChain (trial functions atomic, s p d)")
    parser.add_argument("--bands", action="store_true", help="only the numbers of bands that the nscf holds")
    given = parser.parse_args()
    load_profile()
    with tempfile.TemporaryDirectory() as name:
        states = states_of(orm.load_node(given.run), Path(name))
        print("| changed | D_yx | bands | largest | time reversal |\n|---|---|---|---|---|")
        model = row(states, "nothing", states.mesh, 2.0, 1.75)
        held = SaveFolder.read(states.nscf).energies.shape[-1] - states.excluded
        for number in (number for number in BANDS if number * model.functions < held):
            row(states, f"{number:g} bands a function", states.mesh, 2.0, number)
        if given.bands:
            return 0
        for (low, high), (size, error) in velocities(states, model).items():
            said = f"rms {size:.2f} eV Angstrom, error {error:.2f} %"
            print(f"velocities, E_F {low:+g} to {high:+g} eV: {said}", flush=True)
        for window in WINDOWS:
            row(states, f"window to E_F + {window:g} eV", states.mesh, window, 1.75)
        for factor in RADII:
            with radii(factor):
                row(states, f"radii times {factor:g}", states.mesh, 2.0, 1.75)
        for mesh in (n for n in range(COARSEST, states.mesh) if states.mesh % n == 0):
            row(states, f"mesh {mesh}x{mesh}", mesh, 2.0, 1.75)
    return 0


if __name__ == "__main__":
    sys.exit(main())
