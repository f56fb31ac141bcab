"""The first Brillouin zone of a film, and the points at which bands are checked."""

from __future__ import annotations

import numpy as np
import pytest

from aiida_dmi.engine.kspace.zone import check_points, first_zone, high_symmetry_points, plane_reciprocal


def area(corners: np.ndarray) -> float:
    x, y = corners.T
    return float(np.abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


@pytest.mark.parametrize(
    ("cell", "corners"),
    [
        ([[2.7, 0, 0], [-1.35, 1.35 * 3**0.5, 0], [0, 0, 20]], 6),
        ([[2.7, 0, 0], [1.35, 1.35 * 3**0.5, 0], [0, 0, 20]], 6),
        ([[2.7, 0, 0], [0, 2.7, 0], [0, 0, 20]], 4),
        ([[2.7, 0, 0], [0, 4.1, 0], [0, 0, 20]], 4),
        ([[2.7, 0, 0], [0.8, 3.4, 0], [0, 0, 20]], 6),
    ],
)
def test_first_zone_has_the_area_and_corners_of_the_lattice(cell, corners):
    zone = first_zone(cell)
    assert len(zone) == corners
    assert area(zone) == pytest.approx((2 * np.pi) ** 2 / abs(np.linalg.det(np.array(cell)[:2, :2])))
    # A zone is its own inversion.
    assert {tuple(c) for c in (-zone).round(8)} == {tuple(c) for c in zone.round(8)}


@pytest.mark.parametrize(
    ("cell", "edges", "corners"),
    [
        ([[2.7, 0, 0], [-1.35, 1.35 * 3**0.5, 0], [0, 0, 20]], 3, 1),
        ([[2.7, 0, 0], [1.35, 1.35 * 3**0.5, 0], [0, 0, 20]], 3, 1),
        ([[2.7, 0, 0], [0, 2.7, 0], [0, 0, 20]], 2, 1),
        ([[2.7, 0, 0], [0, 4.1, 0], [0, 0, 20]], 2, 1),
        ([[2.7, 0, 0], [0.8, 3.4, 0], [0, 0, 20]], 3, 1),
    ],
)
def test_high_symmetry_points_are_those_of_the_lattice(cell, edges, corners):
    found = high_symmetry_points(cell)
    names = [name for name, _ in found]
    assert (names.count("Gamma"), names.count("edge centre"), names.count("corner")) == (1, edges, corners)
    reciprocal = plane_reciprocal(cell)
    images = np.stack(np.meshgrid(range(-4, 5), range(-4, 5)), axis=-1).reshape(-1, 2) @ reciprocal
    for name, point in found:
        # As many lattice points are nearest to it: one, two, three (four where the zone is a rectangle).
        distances = np.linalg.norm(np.array(point[:2]) @ reciprocal - images, axis=1)
        nearest = int((distances < distances.min() + 1e-6).sum())
        assert nearest in {"Gamma": (1,), "edge centre": (2,), "corner": (3, 4)}[name]


def test_check_points_are_the_same_at_every_call_and_even():
    cell = [[2.7, 0, 0], [-1.35, 1.35 * 3**0.5, 0], [0, 0, 20]]
    points = check_points(cell, 40)
    assert points.shape == (45, 3)
    np.testing.assert_array_equal(points, check_points(cell, 40))
    # Fewer are the first of more.
    np.testing.assert_array_equal(points[:15], check_points(cell, 10))
    assert np.abs(points[5:, :2].mean(axis=0) - 0.5).max() < 0.1
    assert (points[:, 2] == 0).all()
