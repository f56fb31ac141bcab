"""Where D(1) exact - D(1) of the model comes from: `python validation/channels.py SPEC.yaml`, SPEC that of `complete`.

By channel (the projectors of one l of one atom, all is linear in them), and by the states that D(1) is summed over:
between pw.x's bands alone, with exact matrix elements, with and without the semicore. What all of them leave of the
exact one are the bands above; what the bands without semicore leave of the model is how the disentangled space differs
from bands. (yx - xy)/2, meV*Angstrom, at mu where the plane waves hold the electrons on the mesh of the nscf.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml
from spirals import neutral
from tables import markdown

from aiida_dmi.engine import WannierModel, compute
from aiida_dmi.engine.build import Pseudopotential
from aiida_dmi.engine.build.quantum_espresso import SaveFolder
from aiida_dmi.engine.completeness import CompletenessSpec
from aiida_dmi.engine.completeness.active import active_counts
from aiida_dmi.engine.completeness.form_factors import FormFactors
from aiida_dmi.engine.completeness.kernel import PlaneWaveKernel
from aiida_dmi.engine.completeness.plane_waves import PlaneWaves
from aiida_dmi.engine.completeness.points import MeshPoints
from aiida_dmi.engine.completeness.potential import read_potentials
from aiida_dmi.engine.completeness.resolvents import Coupling
from aiida_dmi.engine.constants import BOLTZMANN_EV, EV
from aiida_dmi.engine.states.divided_differences import berry_weight
from aiida_dmi.engine.symmetry.symmetrise import symmetrised

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

LETTERS = "spdf"
STEP = 1e-3
"""Of xi, in the central difference between bands."""
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


@dataclasses.dataclass(frozen=True)
class Channel:
    """The projectors of one l of one atom."""

    atom: int
    ell: int
    name: str


@dataclasses.dataclass(frozen=True)
class ByChannel(FormFactors):
    """Form factors whose spin-orbit couplings, and the rows of each, are those of one channel after the other."""

    channels: tuple[Channel, ...]

    @classmethod
    def of_all(cls, factors: FormFactors, channels: list[Channel]) -> ByChannel:
        """With an entry a channel in place of one an atom."""
        rows = tuple(factors.rows[channel.atom] for channel in channels)
        return cls(factors.tables, factors.positions, factors.average, rows, tuple(channels))

    @property
    def spin_orbit(self) -> tuple[Complexes, ...]:
        """h_alpha, zero but for the channel's l."""
        return tuple(
            _only(self.tables[c.atom].spin_orbit, _ells(self.tables[c.atom].ells), c.ell) for c in self.channels
        )


def _ells(ells: list[int]) -> Floats:
    """L of every row of projectors."""
    return np.repeat(ells, [2 * ell + 1 for ell in ells])


def _only(coupling: Complexes, ells: Floats, ell: int) -> Complexes:
    """The block of one l."""
    own = ells == ell
    return np.where(own[:, None] & own[None], coupling, 0)


def channels_of(save: SaveFolder, pseudos: dict[str, Pseudopotential]) -> list[Channel]:
    """Of a film's atoms, l > 0."""
    return [
        Channel(atom, ell, f"{name} {LETTERS[ell]}")
        for atom, name in enumerate(save.species)
        for ell in sorted({p.ell for p in pseudos[name].projectors} - {0})
    ]


def of_model(
    model: WannierModel, pseudos: dict[str, Pseudopotential], mesh: int, temperature: float, mu: float, channel: Channel
) -> float:
    """The model's D(1) with the spin-orbit interaction of one channel, on the same mesh and at the same mu."""
    coupling = list(model.coupling)
    pseudo = list(pseudos.values())[list(pseudos).index(model.symbols[channel.atom])]
    ells = _ells([pseudo.projectors[i].ell for i in pseudo.spin_orbit()[0]])
    for atom, own in enumerate(coupling):
        coupling[atom] = _only(own, ells, channel.ell) if atom == channel.atom else 0 * own
    used = dataclasses.replace(model, coupling=tuple(coupling), fermi_energy=mu)
    result = compute(
        used, mesh=mesh, temperatures=[temperature], soi_scales=[0.0], fermi_level="dft", quantities=["D_1"]
    )
    tensor = result.D_1.values.reshape(3, -1)
    return float(tensor[1, 0] - tensor[0, 1]) / 2


def between_bands(
    waves: PlaneWaves, coupling: Coupling, bands: list[Complexes], energies: list[Floats], mu: float, kt: float
) -> Floats:
    """D(1), (yx - xy)/2, of every channel, in the space of some bands of both spins: mean of k and -k.

    Eqs. 2, 11, 12 of H + xi V there, differentiated in xi; what the bands leave out is nowhere, in v as in T.
    """
    beta = [waves.overlaps(states) for states in bands]
    slopes = [np.stack([waves.gradient_overlaps(j, states) for j in range(2)]) for states in bands]
    velocities = [
        np.stack([states.conj() @ waves.velocity(j, states).T for j in range(2)]) for states in bands
    ]  # fmt: skip
    overlap = bands[0].conj() @ bands[1].T
    count = len(energies[0])
    e = np.concatenate(energies)
    w = [[coupling.between(beta[s], beta[t]) for t in range(2)] for s in range(2)]
    y = [
        [coupling.between(slopes[s], beta[t][None]) + coupling.between(beta[s][None], slopes[t]) for t in range(2)]
        for s in range(2)
    ]
    result = np.zeros(coupling.atoms)
    for sign in (1, -1):
        turned = (lambda x: x) if sign > 0 else np.conj
        v = np.zeros((2, len(e), len(e)), dtype=complex)
        v[:, :count, :count], v[:, count:, count:] = (sign * turned(x) for x in velocities)
        for index in range(coupling.atoms):
            for i, j, factor in ((1, 0, 0.5), (0, 1, -0.5)):
                sigma = np.zeros((len(e), len(e)), dtype=complex)
                sigma[:count, count:] = PAULI[i][0, 1] * turned(overlap)
                sigma += sigma.conj().T
                torque = 0.5j * (e[:, None] - e[None]) * sigma
                blocks = [[PAULI[i][s, t] * turned(w[s][t][index, i]) for t in range(2)] for s in range(2)]
                moved = [[PAULI[i][s, t] * turned(y[s][t][index, i, j]) for t in range(2)] for s in range(2)]
                interaction, slope = sign * np.block(blocks), np.block(moved)
                for direction in (1, -1):
                    h = np.diag(e) + direction * STEP * interaction
                    at, u = np.linalg.eigh(h)
                    weight = berry_weight(at[:, None], at[None], mu, kt)
                    full = u.conj().T @ (v[j] + direction * STEP * slope) @ u
                    total = (weight * ((u.conj().T @ torque @ u) * full.T).imag).sum()
                    result[index] += factor * direction * total / (2 * STEP) / 2
    return result


def compared(spec: CompletenessSpec, temperature: float) -> tuple[list[Channel], dict[str, Floats]]:
    """D(1) of every channel: exact, between all bands of the nscf, between those without semicore, of the model."""
    save = SaveFolder.read(spec.nscf)
    model = symmetrised(WannierModel.load(spec.model))
    pseudos = {name: Pseudopotential.read(spec.pseudopotentials[name]) for name in dict.fromkeys(save.species)}
    points = MeshPoints.of(save, model)
    weights = points.weights / points.weights.sum()
    kt = BOLTZMANN_EV * temperature
    energies = [np.sort(save.energies[:, k], axis=None) for k in points.places]
    mu = neutral(energies, list(weights), save.electrons, kt)
    channels = channels_of(save, pseudos)
    counts = active_counts(save.energies, mu, temperature)
    grid = (np.array([mu]), np.array([kt]))
    kernel = PlaneWaveKernel.of(
        save, pseudos, read_potentials(spec.potentials, save), counts, grid, 2, spec.memory_limit
    )
    kernel = dataclasses.replace(kernel, factors=ByChannel.of_all(kernel.factors, channels))
    coupling = Coupling(kernel.factors.rows, kernel.factors.spin_orbit)
    semicore = sum(pseudos[name].semicore_bands() for name in save.species)
    found: dict[str, Any] = {name: np.zeros(len(channels)) for name in ("exact", "bands", "without semicore")}
    for weight, k in zip(weights, points.places, strict=True):
        tensors = kernel.point(int(k))[0]["D_1"][0]
        found["exact"] += weight * (tensors[:, 1, 0] - tensors[:, 0, 1]) / 2
        up, down = (save.wave_functions(s, int(k)) for s in range(2))
        factors = (*kernel.factors.at(up.vectors), kernel.factors.average)
        waves = PlaneWaves.at(up.vectors, up.miller, kernel.potentials, factors, 2)
        for name, lowest in (("bands", 0), ("without semicore", semicore)):
            bands = [np.ascontiguousarray(one.coefficients[lowest:]) for one in (up, down)]
            own = [save.energies[s, k, lowest:] for s in range(2)]
            found[name] += weight * between_bands(waves, coupling, bands, own, mu, kt)
        print(".", end="", flush=True)
    print()
    side = points.mesh.divisions[0]
    found = {name: EV * values for name, values in found.items()}
    found["model"] = np.array([of_model(model, pseudos, side, temperature, mu, channel) for channel in channels])
    return channels, found


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path, help="of dmi-engine complete")
    parser.add_argument("--temperature", type=float, default=3000.0, help="K")
    given = parser.parse_args(arguments)
    spec = yaml.safe_load(given.spec.read_text(encoding="utf-8"))
    channels, found = compared(CompletenessSpec.from_mapping(spec, given.spec.parent), given.temperature)
    rows = [
        [channel.name, *(f"{found[name][i]:.3f}" for name in found), f"{found['exact'][i] - found['model'][i]:.3f}"]
        for i, channel in enumerate(channels)
    ]
    total = {name: values.sum() for name, values in found.items()}
    rows.append(["all", *(f"{x:.3f}" for x in total.values()), f"{total['exact'] - total['model']:.3f}"])
    print(markdown(["channel", *found, "exact - model"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
