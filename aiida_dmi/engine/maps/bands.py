"""Band structures along a path of labelled k points, with and without spin-orbit interaction."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from .. import arguments
from ..errors import InputError
from ..integrate.settings import LIMITS, direction_label
from ..kspace.interpolation import Interpolation
from ..model.operators import Operators, SpinOrbit
from ..model.rashba import RashbaModel
from ..model.spin_frame import spin_frame
from ..model.wannier import WannierModel
from ..states.spinors import band_energies, spinor
from .arguments import checked_mask, fractional_points, minority, with_cutoff

Floats = npt.NDArray[np.float64]

Path = Sequence[tuple[str, Sequence[float]]]
"""Labels and k points in units of the reciprocal lattice vectors, such as [('G', (0, 0)), ('M', (0.5, 0))]."""

BATCH = 64
MOST_POINTS = 1_000_000
"""On a path."""
SAME_ANGLE = 0.01
SAME_LENGTH = 1e-3


def high_symmetry_path(cell: npt.ArrayLike, dimension: int = 2) -> list[tuple[str, tuple[float, ...]]]:
    """G-M-K-G of a hexagonal film, G-X-M-G of a square one, G-X-M-G-R of a simple cubic crystal.

    Parameters
    ----------
    cell : array_like, shape (3, 3)
        Lattice vectors as rows; a film's first two lie in its plane.
    dimension : int
        Periodic directions, 2 or 3.

    Returns
    -------
    list of (label, k point)
        For `bands`; 'G' is Gamma.

    Raises
    ------
    InputError
        For any other lattice: give `bands` a path of your own.

    Examples
    --------
    >>> high_symmetry_path([[2.7, 0, 0], [0, 2.7, 0], [0, 0, 20]])
    [('G', (0.0, 0.0)), ('X', (0.5, 0.0)), ('M', (0.5, 0.5)), ('G', (0.0, 0.0))]
    """
    vectors = np.asarray(cell, dtype=float)[:dimension]
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = (vectors @ vectors.T / np.outer(lengths, lengths))[np.triu_indices(dimension, 1)]
    equal = np.ptp(lengths) < SAME_LENGTH * lengths.max()
    if equal and dimension == 3 and np.abs(cosines).max() < SAME_ANGLE:
        third = (("G", (0.0, 0.0, 0.0)), ("X", (0.5, 0.0, 0.0)), ("M", (0.5, 0.5, 0.0)))
        return [*third, third[0], ("R", (0.5, 0.5, 0.5))]
    if equal and dimension == 2 and abs(cosines[0]) < SAME_ANGLE:
        return [("G", (0.0, 0.0)), ("X", (0.5, 0.0)), ("M", (0.5, 0.5)), ("G", (0.0, 0.0))]
    if equal and dimension == 2 and abs(abs(cosines[0]) - 0.5) < SAME_ANGLE:
        # Reciprocal vectors at 60 degrees for lattice vectors at 120, at 120 for lattice vectors at 60.
        corner = (1 / 3, 1 / 3) if cosines[0] < 0 else (2 / 3, 1 / 3)
        return [("G", (0.0, 0.0)), ("M", (0.5, 0.0)), ("K", corner), ("G", (0.0, 0.0))]
    raise InputError(
        f"cell: lengths {np.round(lengths, 4).tolist()} and cosines {np.round(cosines, 4).tolist()} are neither a "
        "hexagonal nor a square film nor a simple cubic crystal; give a path of (label, k point)"
    )


def bands(
    model: WannierModel | RashbaModel,
    path: Path | None = None,
    points: int = 200,
    soi_scales: Iterable[float] = (0.0, 1.0),
    *,
    direction: Sequence[float] = (0, 0, 1),
    mask: Sequence[float] | None = None,
    cutoff: float | None = None,
) -> xr.Dataset:
    """Band energies and spins along a path.

    Parameters
    ----------
    model : WannierModel or RashbaModel
    path : sequence of (label, k point), optional
        In units of the reciprocal lattice vectors (RashbaModel: of 2 cutoff). Default: `high_symmetry_path`.
    points : int
        On the whole path, shared out by length; every labelled point is one of them.
    soi_scales : iterable of float
        xi; 0: without spin-orbit interaction.
    direction : vector
        Axis n of the spin-up spinor.
    mask : sequence of float, optional
        One weight an atom on its spin-orbit interaction; default all 1.
    cutoff : float, optional
        For a RashbaModel: half the side of the square of k, 1/Angstrom.

    Returns
    -------
    xarray.Dataset
        `energy` (eV) and `spin` (<sigma.n>, 1 along `direction`) over (soi_scale, k, band), bands in order of
        energy; coordinates `distance` (1/Angstrom), `label` (empty between labelled points), `k_fractional`;
        attributes `labels`, `label_distances`, `fermi_energy` (eV).

    Raises
    ------
    InputError
        Naming the argument that does not fit.
    """
    settings = BandSettings.checked(model, path, points, soi_scales, direction=direction, mask=mask, cutoff=cutoff)
    model, scales, track, frame = settings.model, settings.soi_scales, settings.track, settings.frame
    interpolated = Interpolation(model) if isinstance(model, WannierModel) else model
    columns = interpolated.spin_orbit_columns(tuple(frame[2]), settings.mask)
    energies, spins = [], []
    for start in range(0, len(track.points), BATCH):
        batch = track.points[start : start + BATCH]
        operators = interpolated.operators(batch)
        spin_orbit = interpolated.spin_orbit(columns, batch, operators)
        solved = [_solve(operators, spin_orbit, xi) for xi in scales]
        energies.append(np.stack([energy for energy, _ in solved]))
        spins.append(np.stack([spin for _, spin in solved]))
    dims = ("soi_scale", "k", "band")
    along = {"units": "1", "long_name": "<sigma.n>, n the axis of the spin-up spinor"}
    return xr.Dataset(
        {
            "energy": (dims, np.concatenate(energies, axis=1), {"units": "eV"}),
            "spin": (dims, np.concatenate(spins, axis=1), along),
        },
        {
            "soi_scale": ("soi_scale", np.array(scales), {"units": "1", "long_name": "xi"}),
            "distance": ("k", track.distances, {"units": "1 / angstrom"}),
            "label": ("k", track.labels),
            "k_fractional": (("k", "reciprocal"), track.points, {"units": "1"}),
        },
        {
            "labels": [label for label in track.labels if label],
            "label_distances": [float(d) for d, label in zip(track.distances, track.labels, strict=True) if label],
            "label_distances_units": "1 / angstrom",
            "fermi_energy": float(model.fermi_energy),
            "fermi_energy_units": "eV",
            "direction": direction_label(tuple(frame[2])),
            "minority": minority(model),
        },
    )


@dataclasses.dataclass(frozen=True)
class BandSettings:
    """What bands are to be along: the arguments of `bands`, checked.

    Parameters
    ----------
    model : WannierModel or RashbaModel
        With the cut-off.
    track : Track
    soi_scales : tuple of float
    frame : ndarray, shape (3, 3)
        Of the direction n, see `spin_frame`.
    mask : tuple of float
    """

    model: WannierModel | RashbaModel
    track: Track
    soi_scales: tuple[float, ...]
    frame: Floats
    mask: tuple[float, ...]

    @classmethod
    def checked(
        cls,
        model: WannierModel | RashbaModel,
        path: Path | None = None,
        points: int = 200,
        soi_scales: Iterable[float] = (0.0, 1.0),
        *,
        direction: Sequence[float] = (0, 0, 1),
        mask: Sequence[float] | None = None,
        cutoff: float | None = None,
    ) -> BandSettings:
        """Validate every argument of `bands` against the model.

        Raises
        ------
        InputError
            Naming the argument that does not fit.
        """
        model = with_cutoff(model, cutoff)
        scales = arguments.numbers("soi_scales", soi_scales)
        return cls(
            model=model,
            track=Track.along(model, path, points),
            soi_scales=tuple(arguments.limited("soi_scales", xi, LIMITS["soi_scales"][0]) for xi in scales),
            frame=spin_frame(direction),
            mask=checked_mask(mask, model.atoms),
        )


@dataclasses.dataclass(frozen=True)
class Track:
    """Points of a path, their distances from its start along it, and their labels."""

    points: Floats
    distances: Floats
    labels: list[str]

    @classmethod
    def along(cls, model: WannierModel | RashbaModel, path: Path | None, points: int) -> Track:
        """Along the path, or the standard one of the model's lattice; points are shared out by length."""
        if path is None:
            if isinstance(model, RashbaModel):
                raise InputError("path: none was given, a RashbaModel has no lattice; give (label, k point) pairs")
            path = high_symmetry_path(model.cell, model.dimension)
        corners, labels = _corners(path, model.dimension)
        expected = f"an integer, {len(corners)} or more"
        points = arguments.whole("points", points, expected, least=len(corners), most=MOST_POINTS)
        # Not wrapped into the first zone: lengths along the path are what counts.
        scale = np.eye(3) * model.side if isinstance(model, RashbaModel) else 2 * np.pi * np.linalg.inv(model.cell).T
        lengths = np.linalg.norm(np.diff(corners, axis=0) @ scale, axis=1)
        if not lengths.sum() > 0:  # coordinates, or a cut-off, of 1e-200
            raise InputError(f"path: {', '.join(labels)} lie on one point, expected a path with a length")
        steps = np.maximum(1, np.rint((points - 1) * lengths / lengths.sum()).astype(int))
        track, distances, names = [corners[:1]], [np.zeros(1)], [labels[0]]
        for index, (count, length) in enumerate(zip(steps, lengths, strict=True)):
            share = np.arange(1, count + 1) / count
            track.append(corners[index] + share[:, None] * (corners[index + 1] - corners[index]))
            distances.append(distances[-1][-1] + share * length)
            names += [""] * (count - 1) + [labels[index + 1]]
        return cls(np.concatenate(track), np.concatenate(distances), names)


def _corners(path: Any, dimension: int) -> tuple[Floats, list[str]]:
    wanted = f"pairs [label, [k_1, k_2]], such as {['G', [0] * dimension]}"
    labels, points = [], []
    for item in arguments.listed(path) or ():
        pair = arguments.listed(item) or ()
        if len(pair) != 2:
            raise arguments.refusal("path", path, wanted)
        try:
            labels.append(arguments.label("path", pair[0]))
        except InputError as error:
            raise arguments.refusal("path", path, "labelled points, the labels of printable characters") from error
        points.append(pair[1])
    if not points:
        raise arguments.refusal("path", path, wanted)
    try:
        corners = fractional_points(points, dimension)
    except InputError as error:
        raise arguments.refusal("path", path, wanted) from error
    if len(labels) < 2 or (np.abs(np.diff(corners, axis=0)).max(axis=1) < 1e-9).any():
        raise arguments.refusal("path", path, "two or more labelled points, no two successive ones equal")
    return corners, labels


def _solve(operators: Operators, spin_orbit: SpinOrbit, xi: float) -> tuple[Floats, Floats]:
    """Energies in order and <sigma.n> of Hbar + xi V: (k, 2n) each."""
    n = operators.overlap.shape[-1]
    if xi == 0.0:
        # The two spins apart: a band that crosses another keeps its spin.
        energies = band_energies(operators, None, 0.0)
        order = np.argsort(energies, axis=-1, kind="stable")
        return np.take_along_axis(energies, order, axis=-1), np.where(order < n, 1.0, -1.0)
    energies, states = np.linalg.eigh(spinor(operators.hamiltonian, spin_orbit.interaction, xi))
    weight = np.abs(states) ** 2
    return energies, weight[..., :n, :].sum(-2) - weight[..., n:, :].sum(-2)
