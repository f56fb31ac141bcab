"""Each band's part in D: which states near the Fermi level make the interaction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import xarray as xr

from .. import arguments
from ..constants import BOLTZMANN_EV, EV
from ..kspace.interpolation import Interpolation
from ..model.operators import Operators, SpinOrbit
from ..model.spin_frame import spin_frame
from ..model.wannier import WannierModel
from ..states.divided_differences import berry_weight
from ..states.spinors import assemble, dagger, spinor, to_lab
from .bands import bands

Floats = npt.NDArray[np.float64]

BATCH = 32


def band_parts(
    model: WannierModel,
    points: int = 300,
    *,
    temperature: float = 300.0,
    mu: float,
    direction: Sequence[float] = (0, 0, 1),
    mask: Sequence[float] | None = None,
    soi_scale: float = 1.0,
) -> xr.Dataset:
    """Bands with and without spin-orbit interaction along the standard path, and each band's part in D.

    The integrand of D (Eqs. 2, 11, 12) is a sum over pairs of bands, W_nm Im[<n|T_i|m><m|hbar v_j|n>], symmetric in
    n and m; half of a pair's term is put down to either band. Two full or two empty bands have W_nm = 0, so the parts
    do not hold what cancels between them.

    Parameters
    ----------
    model : WannierModel
        A film whose lattice has a standard path (see `maps.bands.high_symmetry_path`).
    points : int
        On the whole path.
    temperature : float
        K.
    mu : float
        Chemical potential with spin-orbit interaction, eV.
    direction : vector
        Axis n of the spin-up spinor.
    mask : sequence of float, optional
        One weight an atom on its spin-orbit interaction; default all 1.
    soi_scale : float
        xi of the bands with spin-orbit interaction.

    Returns
    -------
    xarray.Dataset
        As `maps.bands.bands` at xi = 0 and `soi_scale`, and `part` over (k, band, i, j) in meV*Angstrom per
        cell, of the bands with spin-orbit interaction: its sum over bands is the integrand of D at that k.
    """
    found = bands(model, None, points, (0.0, soi_scale), direction=direction, mask=mask)
    interpolated = Interpolation(model)
    frame = spin_frame(direction)
    weights = (1.0,) * model.atoms if mask is None else mask
    columns = interpolated.spin_orbit_columns(tuple(frame[2]), weights)
    kt = BOLTZMANN_EV * arguments.temperature("temperature", temperature)
    parts = []
    for start in range(0, found.sizes["k"], BATCH):
        batch = found.k_fractional.values[start : start + BATCH]
        operators = interpolated.operators(batch)
        spin_orbit = interpolated.spin_orbit(columns, batch, operators)
        parts.append(_parts(operators, spin_orbit, soi_scale, mu, kt))
    lab = to_lab(np.concatenate(parts), frame) * EV
    attrs = {"units": "meV angstrom", "per": "cell", "long_name": "a band's part in the integrand of D"}
    labelled = xr.DataArray(
        lab, dims=("k", "band", "i", "j"), coords={"i": list("xyz"), "j": list("xyz")[: lab.shape[-1]]}, attrs=attrs
    )
    return found.assign(part=labelled).assign_attrs(mu=mu, temperature=temperature, xi=soi_scale)


def _parts(operators: Operators, spin_orbit: SpinOrbit, xi: float, mu: float, kt: float) -> Floats:
    """sum_m W_nm Im[<n|T_i|m><m|hbar v_j|n>], shape (k, band, 2, j), i along the spin frame's first two axes; eV*A."""
    energies, states = np.linalg.eigh(spinor(operators.hamiltonian, spin_orbit.interaction, xi))
    adjoint = dagger(states)
    velocity = adjoint @ spinor(operators.velocity, spin_orbit.velocity, xi) @ states
    # T = (i/2)[Hbar, sigma] joins up with down: with C = (H_u O - O H_d)/2 the block is i C of T_x, C of T_y.
    h_up, h_down = operators.hamiltonian
    commutator = 0.5 * (h_up @ operators.overlap - operators.overlap @ h_down)
    nothing = np.zeros_like(commutator)
    torque = [adjoint @ assemble(np.stack([nothing, phase * commutator, nothing])) @ states for phase in (1j, 1)]
    products = np.einsum("iknm,jkmn->knmij", np.stack(torque), velocity).imag
    return np.asarray(
        np.einsum("knm,knmij->knij", berry_weight(energies[:, :, None], energies[:, None, :], mu, kt), products)
    )
