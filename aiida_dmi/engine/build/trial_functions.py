"""wannier90's hydrogen-like trial functions on plane waves.

g(r) = R_r(|r - c|) Theta_{l,mr}(u (r - c)): radial part r = 1, 2, 3 of a hydrogen atom of charge zona, angular part
l, mr in the frame u of the projection's own axes (wannier90 user guide, tables 3.1 to 3.3).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.special import spherical_jn

from ..errors import InputError
from ..model.harmonics import real_harmonics
from .quantum_espresso import WaveFunctions

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

_S, _PZ, _PX, _PY, _DZ2, _DX2Y2 = (0, 0), (1, 0), (1, 1), (1, -1), (2, 0), (2, 2)
_R2, _R3, _R6, _R12 = (1 / np.sqrt(n) for n in (2, 3, 6, 12))
_SP2 = (
    {_S: _R3, _PX: -_R6, _PY: _R2},
    {_S: _R3, _PX: -_R6, _PY: -_R2},
    {_S: _R3, _PX: 2 * _R6},
)
HYBRIDS: dict[int, tuple[dict[tuple[int, int], float], ...]] = {
    -1: ({_S: _R2, _PX: _R2}, {_S: _R2, _PX: -_R2}),
    -2: _SP2,
    -3: tuple({_S: 0.5, _PX: x / 2, _PY: y / 2, _PZ: x * y / 2} for x in (1, -1) for y in (1, -1)),
    -4: (*_SP2, {_PZ: _R2, _DZ2: _R2}, {_PZ: -_R2, _DZ2: _R2}),
    -5: (
        *({_S: _R6, _PX: x * _R2, _DZ2: -_R12, _DX2Y2: 0.5} for x in (-1, 1)),
        *({_S: _R6, _PY: y * _R2, _DZ2: -_R12, _DX2Y2: -0.5} for y in (-1, 1)),
        *({_S: _R6, _PZ: z * _R2, _DZ2: _R3} for z in (-1, 1)),
    ),
}
"""sp, sp2, sp3, sp3d, sp3d2 by l = -1..-5 (table 3.2): weight of each real harmonic (l, mu), mu as in harmonics.py."""

RADIAL = {
    1: (1.0, (2.0,)),
    2: (1 / 2, np.array([2, -1]) / np.sqrt(8)),
    3: (1 / 3, np.array([1, -2 / 3, 2 / 27]) * np.sqrt(4 / 27)),
}
"""R_r(x/zona)/zona^(3/2) = sum_p c_p x^p exp(-d x) by r: (d, (c_0, c_1, ...)), table 3.3; int r^2 R^2 dr = 1."""
EXTENT = float(np.exp(2.3))
"""Radius, in units of 1/zona, at which pw2wannier90.x ends the functions: the last point (9.97) of its radial mesh."""
ZONA = (0.1, 100.0)
"""1/bohr; no atomic orbital is wider or narrower, and the radial tables of wider ones would fill the memory."""
STEP = 0.005
"""Step in |k + G|/zona of the radial tables."""


@dataclasses.dataclass(frozen=True)
class TrialFunction:
    """One projection of a .nnkp file.

    Parameters
    ----------
    centre : tuple of float
        In units of the lattice vectors.
    ell, mr : int
        wannier90's l (-5..3; negative: hybrids) and mr (from 1).
    radial : int
        1, 2 or 3.
    zaxis, xaxis : tuple of float
        Cartesian, orthogonal, any length.
    zona : float
        Inverse length of the radial function, 1/bohr, as pw2wannier90.x takes it.

    Raises
    ------
    InputError
        If one of them is out of range.
    """

    centre: tuple[float, ...]
    ell: int
    mr: int
    radial: int = 1
    zaxis: tuple[float, ...] = (0.0, 0.0, 1.0)
    xaxis: tuple[float, ...] = (1.0, 0.0, 0.0)
    zona: float = 1.0

    def __post_init__(self) -> None:
        if not -5 <= self.ell <= 3:
            raise InputError(f"projections: l = {self.ell} was given, expected -5 to 3")
        last = 2 * self.ell + 1 if self.ell >= 0 else len(HYBRIDS[self.ell])
        if not 1 <= self.mr <= last:
            raise InputError(f"projections: mr = {self.mr} was given for l = {self.ell}, expected 1 to {last}")
        if self.radial not in RADIAL:
            raise InputError(f"projections: radial part r = {self.radial} was given, expected 1, 2 or 3")
        if not ZONA[0] <= self.zona <= ZONA[1]:
            raise InputError(
                f"projections: zona = {self.zona:g} was given, expected {ZONA[0]:g} to {ZONA[1]:g} (1/bohr)"
            )
        z, x = np.array(self.zaxis), np.array(self.xaxis)
        lengths = np.linalg.norm(z) * np.linalg.norm(x)
        if not (lengths > 1e-12 and abs(z @ x) <= 1e-6 * lengths):
            raise InputError(f"projections: zaxis {self.zaxis} and xaxis {self.xaxis} are not orthogonal; correct them")

    @property
    def harmonics(self) -> dict[tuple[int, int], float]:
        """Weights of the real harmonics (l, mu) that make up Theta.

        Within a shell wannier90 counts m = 0, cos 1, sin 1, cos 2, ...: mu = 0, 1, -1, 2, -2, ...
        """
        if self.ell < 0:
            return HYBRIDS[self.ell][self.mr - 1]
        return {(self.ell, self.mr // 2 * (-1) ** self.mr): 1.0}

    @property
    def frame(self) -> Floats:
        """Rows: the axes x, y, z = z, x, z cross x, of unit length; shape (3, 3)."""
        z = np.array(self.zaxis) / np.linalg.norm(self.zaxis)
        x = np.array(self.xaxis) / np.linalg.norm(self.xaxis)
        return np.array([x, np.cross(z, x), z])


def radial_transform(ell: int, radial: int, zona: float, q: Floats) -> Floats:
    """Int r^2 R(r) j_l(qr) dr of wannier90's radial functions, from 0 to EXTENT/zona.

    The end is pw2wannier90.x's, so that the functions of the two programs are the same; of r = 3 it cuts off a
    visible tail. Gauss-Legendre points resolve the largest q; pw2wannier90.x sums a logarithmic mesh, which is
    exact to 1e-6 for r = 1 and to 2e-3 for r = 3.

    Parameters
    ----------
    ell : int
    radial : int
        1, 2 or 3.
    zona : float
        1/bohr.
    q : ndarray, shape (n,)
        1/bohr.

    Returns
    -------
    ndarray, shape (n,)
        bohr^(3/2).
    """
    # x = zona r; j_l(qr) turns q/zona EXTENT / 2 pi times.
    turns = float(q.max()) / zona * EXTENT / (2 * np.pi)
    points, weights = np.polynomial.legendre.leggauss(64 + int(4 * turns))
    x = (points + 1) * EXTENT / 2
    decay, coefficients = RADIAL[radial]
    function = np.polynomial.polynomial.polyval(x, coefficients) * np.exp(-decay * x)
    bessel = spherical_jn(ell, q[:, None] / zona * x)
    result: Floats = bessel @ (weights * EXTENT / 2 * x**2 * function) / zona**1.5
    return result


@functools.lru_cache(maxsize=64)
def _radial_table(ell: int, radial: int, zona: float, cutoff: float) -> CubicSpline:
    """`radial_transform` up to a cutoff (1/bohr): of functions that end there a spline is right to 1e-8."""
    grid = np.arange(0.0, cutoff / zona + 2 * STEP, STEP) * zona
    return CubicSpline(grid, radial_transform(ell, radial, zona, grid))


def on_plane_waves(functions: Sequence[TrialFunction], waves: WaveFunctions, cell: Floats) -> Complexes:
    """Normalised Bloch sums of the trial functions, <k+G|g_n>.

    With tau the centre, up to a factor

        <k+G|g> = exp(-i(k+G).tau) sum_l (-i)^l Theta_l(u (k+G)) int r^2 R(r) j_l(|k+G| r) dr,

    the factor such that the sum of |<k+G|g>|^2 over the plane waves is 1 at every k. This is what pw2wannier90.x
    writes up to version 7.1. From 7.2 on it leaves out this normalisation, after which a shell's functions turn
    into each other under a rotation of the film; for Co/Pt(111) that changed .amn by 0.14, D by 1.3 % and did not
    make D_xy = -D_yx hold better (0.8 % instead of 0.2 %), so this project keeps the older form.

    Parameters
    ----------
    functions : sequence of TrialFunction
    waves : WaveFunctions
        Their plane waves are taken.
    cell : ndarray, shape (3, 3)
        Rows, bohr.

    Returns
    -------
    ndarray, shape (functions, plane waves), complex
    """
    vectors = waves.vectors
    length = np.linalg.norm(vectors, axis=1)
    cutoff = float(math.ceil(length.max()))
    radial: dict[tuple[int, int, float], Floats] = {}
    angular: dict[tuple[bytes, int], Floats] = {}
    phases: dict[tuple[float, ...], Complexes] = {}
    result = np.empty((len(functions), len(vectors)), dtype=complex)
    for n, function in enumerate(functions):
        frame = function.frame
        form = np.zeros(len(vectors), dtype=complex)
        for (ell, mu), weight in function.harmonics.items():
            shell = (ell, function.radial, function.zona)
            if shell not in radial:
                radial[shell] = _radial_table(*shell, cutoff)(length)
            axes = (frame.tobytes(), ell)
            if axes not in angular:
                angular[axes] = real_harmonics(ell, vectors @ frame.T)
            form += weight * (-1j) ** ell * angular[axes][:, ell + mu] * radial[shell]
        if function.centre not in phases:
            phases[function.centre] = np.exp(-1j * (vectors @ (np.array(function.centre) @ cell)))
        result[n] = phases[function.centre] * form / np.linalg.norm(form)
    return result
