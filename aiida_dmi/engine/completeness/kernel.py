"""What a worker does with one k point: states from pw.x, resolvents, coefficients, and their sums over the bands."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from ..build.pseudopotential import Pseudopotential
from ..build.quantum_espresso import SaveFolder
from ..constants import BOLTZMANN_EV
from ..errors import InputError
from ..states.coefficients import Occupations, occupy, splitting_threshold
from .coefficients import coefficients
from .form_factors import FormFactors
from .plane_waves import PlaneWaves
from .remainder import Remainder
from .resolvents import Coupling, active_bands

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

NAMES = ("D_1", "a_I", "a_II")
ENERGY_TOLERANCE = 1e-3
"""Largest difference (eV) between pw.x's energies of active bands and those of H here."""


@dataclasses.dataclass(frozen=True)
class PlaneWaveKernel:
    """Everything that does not depend on k.

    Parameters
    ----------
    save : SaveFolder
    potentials : ndarray, shape (2, n1, n2, n3)
        eV.
    single_potentials : ndarray
        The same in single precision.
    factors : FormFactors
    counts : ndarray of int, shape (2, k)
        Of active bands.
    mu, kt : ndarray, shape (m,)
        Every chemical potential with its temperature, eV.
    dimension : int
        Of j.
    memory_limit : int
    """

    save: SaveFolder
    potentials: Floats
    single_potentials: npt.NDArray[np.float32]
    factors: FormFactors
    counts: Integers
    mu: Floats
    kt: Floats
    dimension: int
    memory_limit: int

    @classmethod
    def of(
        cls,
        save: SaveFolder,
        pseudos: dict[str, Pseudopotential],
        potentials: Floats,
        counts: Integers,
        grid: tuple[Floats, Floats],
        dimension: int,
        memory_limit: int,
    ) -> PlaneWaveKernel:
        """With the projectors tabulated up to the largest |k + G| that there is."""
        # The sphere of plane waves has one radius for all k. Half a sum of reciprocal vectors below its surface every k
        # has some k + G within as much again, so one k tells the radius to that sum.
        step = float(np.linalg.norm(save.reciprocal, axis=1).sum())
        largest = float(np.linalg.norm(save.wave_functions(0, 0).vectors, axis=1).max()) + step
        factors = FormFactors.of(save, pseudos, largest)
        single = potentials.astype(np.float32)
        return cls(save, potentials, single, factors, counts, *grid, dimension, memory_limit)

    def point(self, k: int) -> tuple[dict[str, Floats], Floats]:
        """D(1), a(I), a(II) of one k point, and its electrons.

        Returns
        -------
        tensors : dict
            Of NAMES, shape (m, atoms, 3, d), eV*Angstrom.
        electrons : ndarray, shape (m,)

        Raises
        ------
        InputError
            If the potentials, pseudopotentials and states are not of one run.
        StoppedError
            If conjugate gradients do not converge.
        """
        up, down = (self.save.wave_functions(spin, k) for spin in range(2))
        if not np.array_equal(up.miller, down.miller):
            raise InputError(
                f"nscf: {self.save.folder} has other plane waves for spin down at k point {k + 1}; run it again"
            )
        vectors = up.vectors
        projectors, gradients = self.factors.at(vectors)
        factors = (projectors, gradients, self.factors.average)
        waves = PlaneWaves.at(vectors, up.miller, self.potentials, factors, self.dimension)
        single = waves.single(self.single_potentials)
        bands = (up.coefficients, down.coefficients)
        counts, energies = self.counts[:, k], self.save.energies[:, k]
        name = f"({', '.join(f'{x:.4f}' for x in self.save.kpoints[k])})"
        self._check(waves, bands, k, name)
        remainders = [
            Remainder.of(single, s, bands[s], energies[s], int(counts[s]), self.memory_limit, name) for s in range(2)
        ]
        states = tuple(np.ascontiguousarray(bands[s][: counts[s]]) for s in range(2))
        own = tuple(energies[s, : counts[s]] for s in range(2))
        spins = active_bands(waves, single, (remainders[0], remainders[1]), (states[0], states[1]), (own[0], own[1]))
        found = coefficients(spins, self._coupling, splitting_threshold(float(self.kt.min()) / BOLTZMANN_EV))
        occupations = Occupations.of(found["D_1"].energies, self.mu, self.kt)
        return {name: occupy(found[name], occupations) for name in NAMES}, occupations.electrons

    @property
    def _coupling(self) -> Coupling:
        return Coupling(self.factors.rows, self.factors.spin_orbit)

    def _check(self, waves: PlaneWaves, bands: tuple[npt.NDArray[np.complex128], ...], k: int, name: str) -> None:
        """H has pw.x's energies: potential, pseudopotentials and states belong together."""
        for spin, own in enumerate(bands):
            states = own[: self.counts[spin, k]]
            mean = np.vecdot(states, waves.hamiltonian(spin, states)).real
            off = np.abs(mean - self.save.energies[spin, k, : len(states)])
            if not off.max() <= ENERGY_TOLERANCE:
                band = int(off.argmax())
                raise InputError(
                    f"potentials: at k = {name}, spin {('up', 'down')[spin]}, they give band {band + 1} the energy "
                    f"{mean[band]:.4f} eV, pw.x {self.save.energies[spin, k, band]:.4f} eV; expected the potentials of "
                    "the scf that the nscf started from, its pseudopotentials, and no DFT+U, meta-GGA or hybrid"
                )
