"""Trial functions on plane waves against their definition in real space (wannier90 user guide, tables 3.1 to 3.3)."""

import numpy as np
import pytest
from scipy.special import spherical_jn

from aiida_dmi.engine import InputError
from aiida_dmi.engine.build.quantum_espresso import WaveFunctions
from aiida_dmi.engine.build.trial_functions import HYBRIDS, TrialFunction, on_plane_waves, radial_transform

CELL = np.array([[7.0, 0.0, 0.0], [1.0, 8.0, 0.0], [0.5, 0.0, 9.0]])


def theta(ell, mr, r):
    """Table 3.1 and 3.2 as printed, of unit vectors r (3, n); hybrids from their parts."""
    x, y, z = r
    s = np.full_like(x, 1 / np.sqrt(4 * np.pi))
    pz, px, py = (np.sqrt(3 / (4 * np.pi)) * c for c in (z, x, y))
    dz2 = np.sqrt(5 / (16 * np.pi)) * (3 * z**2 - 1)
    dxz, dyz = np.sqrt(15 / (4 * np.pi)) * x * z, np.sqrt(15 / (4 * np.pi)) * y * z
    dx2y2, dxy = np.sqrt(15 / (16 * np.pi)) * (x**2 - y**2), np.sqrt(15 / (4 * np.pi)) * x * y
    f = np.sqrt(7 / (16 * np.pi))
    shells = {
        0: [s],
        1: [pz, px, py],
        2: [dz2, dxz, dyz, dx2y2, dxy],
        3: [
            f * (5 * z**3 - 3 * z),
            f * np.sqrt(1.5) * x * (5 * z**2 - 1),
            f * np.sqrt(1.5) * y * (5 * z**2 - 1),
            f * np.sqrt(15) * z * (x**2 - y**2),
            f * np.sqrt(60) * x * y * z,
            f * np.sqrt(2.5) * x * (x**2 - 3 * y**2),
            f * np.sqrt(2.5) * y * (3 * x**2 - y**2),
        ],
        -1: [(s + px) / np.sqrt(2), (s - px) / np.sqrt(2)],
        -3: [(s + px + py + pz) / 2, (s + px - py - pz) / 2, (s - px + py - pz) / 2, (s - px - py + pz) / 2],
    }
    sp2 = [
        s / np.sqrt(3) - px / np.sqrt(6) + py / np.sqrt(2),
        s / np.sqrt(3) - px / np.sqrt(6) - py / np.sqrt(2),
        s / np.sqrt(3) + 2 * px / np.sqrt(6),
    ]
    shells[-2] = sp2
    shells[-4] = [*sp2, (pz + dz2) / np.sqrt(2), (-pz + dz2) / np.sqrt(2)]
    plane = s / np.sqrt(6) - dz2 / np.sqrt(12)
    shells[-5] = [
        plane - px / np.sqrt(2) + dx2y2 / 2,
        plane + px / np.sqrt(2) + dx2y2 / 2,
        plane - py / np.sqrt(2) - dx2y2 / 2,
        plane + py / np.sqrt(2) - dx2y2 / 2,
        s / np.sqrt(6) - pz / np.sqrt(2) + dz2 / np.sqrt(3),
        s / np.sqrt(6) + pz / np.sqrt(2) + dz2 / np.sqrt(3),
    ]
    return shells[ell][mr - 1]


def radial(r, x):
    """Table 3.3 with zona = 1."""
    if r == 1:
        return 2 * np.exp(-x)
    if r == 2:
        return (2 - x) * np.exp(-x / 2) / np.sqrt(8)
    return np.sqrt(4 / 27) * (1 - 2 * x / 3 + 2 * x**2 / 27) * np.exp(-x / 3)


@pytest.fixture(scope="module")
def waves():
    rng = np.random.default_rng(3)
    miller = np.unique(rng.integers(-2, 3, (12, 3)), axis=0)
    miller = np.concatenate([[[0, 0, 0]], miller[(miller != 0).any(axis=1)]])
    return WaveFunctions(np.zeros(3), miller, np.eye(len(miller), dtype=complex), 2 * np.pi * np.linalg.inv(CELL).T)


def by_quadrature(function, waves):
    """Int exp(-iq.r) g(r) d3r over the ball of radius exp(2.3)/zona, normalised over the plane waves."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    heights, areas = np.polynomial.legendre.leggauss(40)
    turns = 2 * np.pi * np.arange(80) / 80
    z, phi = (grid.ravel() for grid in np.meshgrid(heights, turns, indexing="ij"))
    unit = np.stack([np.sqrt(1 - z**2) * np.cos(phi), np.sqrt(1 - z**2) * np.sin(phi), z])
    area = np.repeat(areas, len(turns)) * 2 * np.pi / len(turns)
    z_axis, x_axis = (np.array(axis) / np.linalg.norm(axis) for axis in (function.zaxis, function.xaxis))
    own = np.stack([x_axis, np.cross(z_axis, x_axis), z_axis]) @ unit
    angular = area * theta(function.ell, function.mr, own)
    total = np.zeros(len(waves.vectors), dtype=complex)
    half = np.exp(2.3) / 2  # where pw2wannier90.x's radial mesh ends
    for x, weight in zip((nodes + 1) * half, weights * half, strict=True):
        r = x / function.zona
        shell = np.exp(-1j * r * (waves.vectors @ unit)) @ angular
        total += weight * x**2 * radial(function.radial, x) * shell
    total *= np.exp(-1j * waves.vectors @ (np.array(function.centre) @ CELL))
    return total / np.linalg.norm(total)


EVERY = [(ell, mr) for ell in range(4) for mr in range(1, 2 * ell + 2)]
EVERY += [(ell, mr) for ell, states in HYBRIDS.items() for mr in range(1, len(states) + 1)]


@pytest.mark.parametrize(("ell", "mr"), EVERY)
def test_every_function_in_turned_axes(ell, mr, waves):
    function = TrialFunction((0.2, -0.3, 1.1), ell, mr, 1, (1.0, 2.0, 2.0), (2.0, -2.0, 1.0), 1.3)
    np.testing.assert_allclose(on_plane_waves([function], waves, CELL)[0], by_quadrature(function, waves), atol=1e-7)


@pytest.mark.parametrize("r", [1, 2, 3])
@pytest.mark.parametrize("zona", [0.7, 2.0])
def test_every_radial_function(r, zona, waves):
    functions = [TrialFunction((0.0, 0.5, 0.0), 1, 2, r, zona=zona), TrialFunction((0.1, 0.2, 0.3), 2, 1, r, zona=zona)]
    expected = [by_quadrature(function, waves) for function in functions]
    np.testing.assert_allclose(on_plane_waves(functions, waves, CELL), expected, atol=1e-7)


@pytest.mark.parametrize("ell", range(4))
def test_radial_transform_at_large_momenta(ell):
    """Against a trapezoid of 2e5 points: the number of Gauss points grows with the largest q."""
    q, x = np.array([0.0, 0.3, 5.0, 40.0]), np.linspace(0, np.exp(2.3), 200_001)
    exact = np.trapezoid(x**2 * radial(1, x) * spherical_jn(ell, q[:, None] * x), x, axis=1)
    np.testing.assert_allclose(radial_transform(ell, 1, 1.0, q), exact, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ell": 4}, "l = 4"),
        ({"ell": -6}, "l = -6"),
        ({"ell": 1, "mr": 4}, "mr = 4 was given for l = 1, expected 1 to 3"),
        ({"ell": -3, "mr": 5}, "expected 1 to 4"),
        ({"mr": 0}, "mr = 0"),
        ({"radial": 4}, "r = 4"),
        ({"zona": 0.0}, "zona = 0"),
        ({"zona": float("inf")}, "zona = inf"),
        ({"xaxis": (0.1, 0.0, 1.0)}, "not orthogonal"),
        ({"zaxis": (0.0, 0.0, 0.0)}, "not orthogonal"),
    ],
)
def test_impossible_functions_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        TrialFunction(**({"centre": (0.0, 0.0, 0.0), "ell": 2, "mr": 1} | change))
