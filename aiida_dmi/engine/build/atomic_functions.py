"""Trial functions made of the pseudo-atom's own orbitals: Wannier functions that hold the bands between mesh points.

Hydrogen's functions with one radius for all elements, normalised at every k (`trial_functions`), leave the interpolated
bands tens of meV off. Here, with R normalised in free space and <k+G|g> not normalised at any k,

    <k+G|g> = (4 pi/sqrt(Omega)) (-i)^l Y_lm(k+G) exp(-i(k+G).tau) int r^2 R(r) j_l(|k+G| r) dr,

- s: the valence orbital, a little wider, R(r) = chi_s(0.95 r)/r;
- p of an atom whose p orbitals are its semicore's, or none: r exp(-1.3 r) in the plane and r exp(-0.8 r) along the
  normal, where the film has room (a pseudo-atomic p of a metal's atom is too diffuse); else the valence orbital;
- d: the valence orbital; its columns count three times in Loewdin's orthonormalisation, so that the d functions stay
  themselves and the s and p functions are made orthogonal to them. The span is the same.

The numbers are those that hold the bands of Co/Pt(111), Mn/W(001) and Cr/Pt(111) best
(docs/how-to/wannier-functions.md).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.integrate import simpson
from scipy.interpolate import CubicSpline
from scipy.special import spherical_jn

from ..errors import InputError
from ..model.harmonics import real_harmonics
from .pseudopotential import Pseudopotential
from .quantum_espresso import SaveFolder, WaveFunctions
from .trial_functions import TrialFunction

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

HYDROGENIC, ATOMIC = KINDS = ("hydrogenic", "atomic")
"""What trial functions can be: wannier90's hydrogen-like ones, or these."""
WIDER = 0.95
"""Argument of the s orbital: chi(0.95 r)."""
IN_PLANE, ALONG_NORMAL = 1.3, 0.8
"""1/bohr: decay of p_x, p_y and of p_z where there is no valence p orbital."""
DECAY = {0: 1.0, 2: 1.5, 3: 2.0}
"""1/bohr: of r^l exp(-a r) for an l that the pseudopotential has no valence orbital of."""
WEIGHTS = {0: 1.0, 1: 1.0, 2: 3.0, 3: 3.0}
"""Of a column in Loewdin's orthonormalisation, by l."""
STEP, REACH = 0.01, 30.0
"""Bohr: radial mesh, and where the functions end."""
Q_STEP = 0.02
"""1/bohr, of the tables of radial transforms."""


@dataclasses.dataclass(frozen=True)
class AtomicFunction:
    """One trial function on an atom.

    Parameters
    ----------
    centre : tuple of float
        In units of the lattice vectors.
    ell, mu : int
        Real harmonic, mu as in harmonics.py.
    transform : CubicSpline
        int r^2 R j_l(qr) dr, bohr^(3/2), of q in 1/bohr.
    """

    centre: tuple[float, ...]
    ell: int
    mu: int
    transform: CubicSpline

    @property
    def weight(self) -> float:
        """Of its column in Loewdin's orthonormalisation."""
        return WEIGHTS[self.ell]


def atomic_functions(
    functions: Sequence[TrialFunction], save: SaveFolder, pseudos: Mapping[str, Pseudopotential], cutoff: float
) -> list[AtomicFunction]:
    """In the places of projections s, p, d, f on atoms, in their order.

    Parameters
    ----------
    functions : sequence of TrialFunction
        Of the .nnkp file; only centre, l, mr are taken.
    save : SaveFolder
        Its atoms and their kinds.
    pseudos : mapping
        Kind to pseudopotential; of a fully relativistic one the orbitals are averaged over j.
    cutoff : float
        Largest |k + G|, 1/bohr.

    Raises
    ------
    InputError
        If a projection is on no atom, a hybrid, or in axes of its own, or a kind has no pseudopotential.
    """
    tables: dict[tuple[str, int, bool], CubicSpline] = {}
    found = []
    for number, function in enumerate(functions, 1):
        if function.ell < 0 or not np.allclose(function.frame, np.eye(3)):
            raise InputError(
                f"projection {number}: hybrids and axes of their own have no atomic functions; give s, p, d"
            )
        kind = _kind_at(function.centre, save, number)
        if kind not in pseudos:
            raise InputError(f"pseudos: none was given of {kind}; expected one of each of {', '.join(save.species)}")
        ((ell, mu),) = function.harmonics
        key = (kind, ell, mu == 0)
        if key not in tables:
            tables[key] = _transform(*_radial(pseudos[kind], ell, mu == 0), ell, cutoff)
        found.append(AtomicFunction(function.centre, ell, mu, tables[key]))
    return found


def on_plane_waves(functions: Sequence[AtomicFunction], waves: WaveFunctions, cell: Floats) -> Complexes:
    """<k+G|g_n>, each column times its weight.

    Parameters
    ----------
    functions : sequence of AtomicFunction
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
    volume = abs(float(np.linalg.det(cell)))
    angular = {ell: real_harmonics(ell, vectors) for ell in {one.ell for one in functions}}
    phases: dict[tuple[float, ...], Complexes] = {}
    radial: dict[int, Floats] = {}
    result = np.empty((len(functions), len(vectors)), dtype=complex)
    for n, one in enumerate(functions):
        if one.centre not in phases:
            phases[one.centre] = np.exp(-1j * (vectors @ (np.array(one.centre) @ cell)))
        if id(one.transform) not in radial:
            radial[id(one.transform)] = one.transform(length)
        form = angular[one.ell][:, one.ell + one.mu] * radial[id(one.transform)]
        factor = one.weight * 4 * np.pi / math.sqrt(volume) * (-1j) ** one.ell
        result[n] = factor * phases[one.centre] * form
    return result


def _kind_at(centre: tuple[float, ...], save: SaveFolder, number: int) -> str:
    distance = np.array(centre) - save.positions @ np.linalg.inv(save.cell)
    off = np.abs(distance - np.rint(distance)).max(axis=1)
    nearest = int(off.argmin())
    if off[nearest] > 1e-5:
        raise InputError(f"projection {number}: there is no atom at {centre}; atomic functions stand on atoms")
    return save.species[nearest]


def _radial(pseudo: Pseudopotential, ell: int, along_normal: bool) -> tuple[Floats, Floats]:
    """Radial mesh (bohr) and r R(r), of any norm."""
    semicore = pseudo.semicore_shells()
    valence = [
        orbital
        for orbital in pseudo.orbitals
        if orbital.ell == ell and orbital.occupation > 0 and (int(orbital.label[0]), ell) not in semicore
    ]
    radii = np.arange(0.0, REACH + STEP / 2, STEP)
    if not valence:
        decay = DECAY.get(ell, ALONG_NORMAL if along_normal else IN_PLANE)
        return radii, radii ** (ell + 1) * np.exp(-decay * radii)
    # Of shells that the atom has twice, the outermost; j averaged where the file has both.
    label = max(orbital.label for orbital in valence)
    members = [orbital for orbital in valence if orbital.label == label]
    share = [1.0 if one.j is None or ell == 0 else (2 * one.j + 1) / (4 * ell + 2) for one in members]
    values = np.sum([part * one.values for part, one in zip(share, members, strict=True)], axis=0)
    stretched = WIDER * radii if ell == 0 else radii
    return radii, np.interp(stretched, pseudo.radii, values, right=0.0)


def _transform(radii: Floats, values: Floats, ell: int, cutoff: float) -> CubicSpline:
    """Int r (rR) j_l(qr) dr of q up to a cutoff (1/bohr), R normalised in free space."""
    values = values / math.sqrt(float(simpson(values**2, x=radii)))
    grid = np.arange(0.0, cutoff + 2 * Q_STEP, Q_STEP)
    return CubicSpline(grid, simpson(radii * values * spherical_jn(ell, grid[:, None] * radii), x=radii, axis=1))
