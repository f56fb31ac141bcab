"""The magnetic Rashba model (Eq. 84): exactly solvable, through the same kernels as a real film."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arguments import number
from ..constants import HBAR2_OVER_2M
from ..errors import InputError
from .operators import Operators, SpinOrbit
from .spin_frame import in_spin_frame, spin_frame

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

LARGEST = 1e3
"""eV*Angstrom, eV, electron masses and 1/Angstrom: what lies beyond is a slip of the pen, and would overflow."""
BOTH_SIGNS = {"least": -LARGEST, "most": LARGEST}
CUTOFF = f"a positive number of 1/Angstrom, at most {LARGEST:g}"
NO_CUTOFF = "only a RashbaModel takes one; a Wannier model has its cell"


@dataclasses.dataclass(frozen=True)
class RashbaModel:
    """H = hbar^2 k^2 / 2m + alpha (k x e_z).sigma + (exchange/2) sigma.n  (Eq. 84, n = z there).

    Parameters
    ----------
    alpha : float
        Rashba parameter, eV*Angstrom.
    exchange : float
        Exchange splitting Delta V, eV.
    mass : float
        In electron masses.
    cutoff : float, optional
        Half the side of the square of k, 1/Angstrom; `compute` sets it. It must hold every occupied state.

    Examples
    --------
    >>> from aiida_dmi.engine import RashbaModel, compute
    >>> result = compute(RashbaModel(0.1, 1.0), mesh=64, cutoff=0.6, temperatures=[100.0])
    >>> bool(abs(result.D.sel(i="y", j="x").item() - 0.261) < 0.01)
    True
    """

    alpha: float
    exchange: float
    mass: float = 1.0
    cutoff: float | None = None

    dimension = 2
    functions = 1
    atoms = 1
    fermi_energy = 0.0
    electrons = None

    def __post_init__(self) -> None:
        for name in ("alpha", "exchange"):
            number(f"RashbaModel: {name}", getattr(self, name), f"a number of at most {LARGEST:g}", **BOTH_SIGNS)
        number("RashbaModel: mass", self.mass, f"electron masses above 0, at most {LARGEST:g}", above=0, most=LARGEST)
        if self.cutoff is not None:
            number("cutoff", self.cutoff, CUTOFF, above=0, most=LARGEST)

    def with_cutoff(self, cutoff: float | None) -> RashbaModel:
        """The same model summed over [-cutoff, cutoff]^2."""
        if cutoff is None:
            raise InputError("cutoff: missing; a RashbaModel needs a positive one in 1/Angstrom")
        return dataclasses.replace(self, cutoff=number("cutoff", cutoff, CUTOFF, above=0, most=LARGEST))

    @property
    def side(self) -> float:
        """Side 2 cutoff of the square of k, 1/Angstrom."""
        if self.cutoff is None:
            raise InputError("cutoff: a RashbaModel needs a positive one in 1/Angstrom; give compute(cutoff=...)")
        return 2 * self.cutoff

    @property
    def measure(self) -> float:
        """(2 cutoff)^2 / (2 pi)^2: the mean over the mesh times this is the integral of d^2k/(2 pi)^2."""
        return (self.side / (2 * np.pi)) ** 2

    def operators(self, kpoints: Floats) -> Operators:
        """Kinetic and exchange energy and hbar v = hbar^2 k/m; `kpoints` in units of 2 cutoff."""
        k = self._cartesian(kpoints)
        velocity = np.stack([(2 * HBAR2_OVER_2M / self.mass * k).T] * 2)
        return Operators(
            hamiltonian=self.hamiltonian(kpoints),
            velocity=velocity[..., None, None].astype(complex),
            position=np.zeros((2, 2, len(k), 1, 1), dtype=complex),
            overlap=np.ones((len(k), 1, 1), dtype=complex),
        )

    def hamiltonian(self, kpoints: Floats) -> Complexes:
        """Hbar of spin up and down, shape (2, k, 1, 1), eV."""
        kinetic = HBAR2_OVER_2M / self.mass * (self._cartesian(kpoints) ** 2).sum(axis=1)
        hamiltonian = np.stack([kinetic + self.exchange / 2, kinetic - self.exchange / 2])
        return hamiltonian[..., None, None].astype(complex)

    def spin_orbit_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> Any:
        """Coefficients of k_x, k_y in V's blocks (up-up, up-down, down-down) along `direction`.

        alpha (k x e_z).sigma = alpha (k_y sigma_x - k_x sigma_y).
        """
        weight = np.asarray(mask, dtype=float)
        if weight.shape != (1,) or not np.isfinite(weight).all():
            raise InputError(f"soi_masks: {weight.tolist()} was given, a RashbaModel takes one finite weight")
        linear = weight[0] * self.alpha * np.array([[0.0, 1.0], [-1.0, 0.0], [0.0, 0.0]])  # (alpha = x, y, z; k_j)
        return in_spin_frame(np.broadcast_to(linear.astype(complex), (3, 3, 2)), spin_frame(direction))

    def spin_orbit(self, columns: Complexes, kpoints: Floats, operators: Operators) -> SpinOrbit:
        """V and hbar v^SOI = dV/dk at a batch of k points."""
        velocity = np.broadcast_to(columns[:, :, None], (3, 2, len(kpoints)))
        return SpinOrbit(self.interaction(columns, kpoints), velocity[..., None, None])

    def interaction(self, columns: Complexes, kpoints: Floats) -> Complexes:
        """V's blocks, shape (3, k, 1, 1), eV."""
        return (columns @ self._cartesian(kpoints).T)[..., None, None]

    @property
    def time_reversal(self) -> bool:
        """Not made use of: a(I) and a(II) are summed over every k."""
        return False

    def second_component(
        self, columns: Complexes, kpoints: Floats, operators: Operators
    ) -> tuple[Complexes, Complexes]:
        """Not available: see `time_reversal`."""
        raise InputError("a RashbaModel makes no use of time reversal")

    def exact_second_component(self, columns: Complexes, kpoints: Floats) -> Complexes:
        """Not available: see `time_reversal`."""
        raise InputError("a RashbaModel makes no use of time reversal")

    def exact_velocity_columns(self, direction: Sequence[float], mask: npt.ArrayLike) -> None:
        """None: v^SOI = dV/dk is exact as it is."""
        return

    def exact_velocity(self, columns: Complexes, kpoints: Floats) -> Complexes:
        """Not available: see `exact_velocity_columns`."""
        raise InputError("a RashbaModel has no differentiated projectors; its a_II is exact")

    def _cartesian(self, kpoints: Floats) -> Floats:
        """K in 1/Angstrom from the mesh's [0, 1), wrapped to [-cutoff, cutoff)."""
        wrapped: Floats = ((kpoints[:, :2] + 0.5) % 1.0 - 0.5) * self.side
        return wrapped
