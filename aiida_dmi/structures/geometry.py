"""Geometry of a magnetic film on a single-crystal substrate, one atom a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.frame import FLOOR, MIN_VACUUM

FACETS = {"fcc111": "(111)", "bcc001": "(001)", "bcc110": "(110)", "hcp0001": "(0001)"}
"""Supported surfaces and how a label writes them."""

HEXAGONAL = ("fcc111", "hcp0001")


def bilayer(
    substrate: str,
    magnet: str,
    facet: str,
    lattice_constant: float,
    substrate_layers: int,
    magnet_layers: int,
    interface_spacing: float,
    magnet_spacing: float | Sequence[float] | None = None,
    substrate_spacing: float | Sequence[float] | None = None,
    stacking: str | Sequence[str] | None = None,
    caps: Sequence[Mapping[str, Any]] = (),
    substitutions: Mapping[str, str] | None = None,
    strain: float | Sequence[float] = 0.0,
    vacuum: float = 12.0,
) -> ase.Atoms:
    """A pseudomorphic magnetic film on a substrate, in the primitive surface cell.

    Parameters
    ----------
    substrate, magnet : str
        Chemical symbols.
    facet : {'fcc111', 'bcc001', 'bcc110', 'hcp0001'}
        Of the substrate; the film continues its lattice. a1 lies along x: a nearest-neighbour row for fcc111 and
        hcp0001, [100] for bcc001, [001] for bcc110.
    lattice_constant : float
        a of the substrate's crystal, Angstrom.
    substrate_layers, magnet_layers : int
    interface_spacing : float
        Between the substrate's and the magnet's layers at the interface, Angstrom.
    magnet_spacing : float or sequence of float, optional
        Between the magnet's layers, Angstrom, from the interface upwards; one number for all, or
        `magnet_layers - 1`. Needed from two layers on.
    substrate_spacing : float or sequence of float, optional
        Between the substrate's layers, Angstrom, from the interface downwards; default the bulk's (for hcp0001 with
        the ideal c/a).
    stacking : {'fcc', 'hcp'} or sequence of these, optional
        Of the magnet on the hexagonal facets, one for all its layers or one each from the interface upwards: 'fcc'
        goes on as the two layers below, 'hcp' stands above the last but one. Default as the substrate. On a single
        substrate layer the choice of the first is a rotation by 180 degrees.
    caps : sequence of mapping
        Layers on top of the magnet, from below: `element`, `layers` (default 1), `interface_spacing` to what is
        below and, from two layers on, `spacing` between them, Angstrom. They stack as the substrate.
    substitutions : mapping, optional
        Layers (names as of `film.Film`, before any substitution) to the element that replaces theirs:
        `{"Pt.1": "Ir", "Co.1": "Fe"}`. Spacings stay.
    strain : float or pair of float
        Relative change of the lattice in the plane, of both axes or of x and y. Spacings stay: give them, or relax.
    vacuum : float
        From the highest layer to the next image's lowest, Angstrom.

    Returns
    -------
    ase.Atoms
        Periodic in x and y, sites from the lowest layer upwards, normal +z from the substrate to the magnet.

    Raises
    ------
    InputError
        Naming the argument that makes no sense.
    """
    if facet not in FACETS:
        raise InputError(f"facet: {facet!r} was given, expected one of {', '.join(FACETS)}")
    for name, count in (("substrate_layers", substrate_layers), ("magnet_layers", magnet_layers)):
        _check_count(name, count)
    symbols = [substrate] * substrate_layers + [magnet] * magnet_layers
    for cap in caps:
        check_cap(cap)
        symbols += [cap["element"]] * cap.get("layers", 1)
    for symbol in symbols:
        _check_element(symbol)
    check_length("lattice_constant", lattice_constant)

    steps = _steps_between(
        facet,
        lattice_constant,
        (substrate_layers, substrate_spacing),
        interface_spacing,
        (magnet_layers, magnet_spacing),
        caps,
    )
    if not vacuum >= MIN_VACUUM:
        raise InputError(f"vacuum: {vacuum} was given, expected {MIN_VACUUM:g} Angstrom or more")
    heights = min(FLOOR, vacuum / 2) + np.concatenate([[0.0], np.cumsum(steps)])

    plane = surface_lattice(facet, lattice_constant)
    fractions = _stack(facet, substrate_layers, _stacking(facet, stacking, magnet_layers), len(symbols))
    positions = fractions @ plane
    # Into the cell that contains the origin, so that atoms of one column have one in-plane position.
    positions[:, 0] -= plane[0, 0] * (positions[:, 0] > plane[0, 0] - 1e-9)
    positions[:, 2] = heights
    cell = np.array([*plane, [0.0, 0.0, heights[-1] - heights[0] + vacuum]])
    deformation = np.diag([*_strain(strain), 1.0])
    atoms = ase.Atoms(symbols, positions=positions @ deformation, cell=cell @ deformation, pbc=(True, True, False))
    return _substitute(atoms, magnet, substitutions or {})


def surface_lattice(facet: str, lattice_constant: float) -> NDArray[np.float64]:
    """a1 and a2 of a facet's primitive surface cell: (2, 3), Angstrom, a1 along x."""
    a = lattice_constant
    if facet == "bcc001":
        return np.array([[a, 0.0, 0.0], [0.0, a, 0.0]])
    if facet == "bcc110":
        return np.array([[a, 0.0, 0.0], [a / 2, a / np.sqrt(2), 0.0]])
    side = a / np.sqrt(2) if facet == "fcc111" else a
    return np.array([[side, 0.0, 0.0], [side / 2, side * np.sqrt(3) / 2, 0.0]])


def bulk_spacing(facet: str, lattice_constant: float) -> float:
    """Distance of the crystal's layers along the facet's normal, Angstrom (hcp0001: of ideal c/a)."""
    divisor = {"fcc111": np.sqrt(3), "bcc001": 2.0, "bcc110": np.sqrt(2), "hcp0001": np.sqrt(3 / 2)}[facet]
    return float(lattice_constant / divisor)


def _substitute(atoms: ase.Atoms, magnet: str, substitutions: Mapping[str, str]) -> ase.Atoms:
    """Replace layers by other elements; names are those of the film before."""
    symbols = atoms.get_chemical_symbols()
    replaced: dict[int, str] = {}
    for name, element in substitutions.items():
        _check_element(element)
        try:
            sites = Film.of(atoms, [magnet]).sites(name)
        except InputError as error:
            raise InputError(f"substitutions: {error}") from error
        for site in sites:
            # Refused rather than resolved by order: the database does not keep a mapping's order.
            if site in replaced:
                raise InputError(f"substitutions: {replaced[site]!r} and {name!r} name the same layer; give one")
            replaced[site], symbols[site] = name, element
    changed: ase.Atoms = atoms.copy()
    changed.set_chemical_symbols(symbols)
    return changed


def _steps_between(
    facet: str,
    lattice_constant: float,
    substrate: tuple[int, float | Sequence[float] | None],
    interface_spacing: float,
    magnet: tuple[int, float | Sequence[float] | None],
    caps: Sequence[Mapping[str, Any]],
) -> list[float]:
    """Distances from layer to layer, upwards."""
    bulk = bulk_spacing(facet, lattice_constant)
    below = _spacings("substrate_spacing", bulk if substrate[1] is None else substrate[1], substrate[0] - 1)
    steps = [*below[::-1], *_spacings("interface_spacing", interface_spacing, 1)]
    steps += _spacings("magnet_spacing", magnet[1], magnet[0] - 1)
    for cap in caps:
        what = f"caps: {cap['element']}: "
        steps += _spacings(f"{what}interface_spacing", cap.get("interface_spacing"), 1)
        steps += _spacings(f"{what}spacing", cap.get("spacing"), cap.get("layers", 1) - 1)
    return steps


def _spacings(name: str, given: float | Sequence[float] | None, count: int) -> list[float]:
    """`count` spacings from one number or a list."""
    if count == 0:
        return []
    values = list(given) if isinstance(given, Sequence) else [given] * count
    if len(values) != count:
        raise InputError(
            f"{name}: {len(values)} numbers were given, expected one, or one for each of {count} distances"
        )
    return [check_length(name, value) for value in values]


def _stacking(facet: str, given: str | Sequence[str] | None, magnet_layers: int) -> list[str]:
    """Stacking of each of the magnet's layers."""
    if given is None:
        return [facet[:3]] * magnet_layers
    if facet not in HEXAGONAL:
        raise InputError(f"stacking: {given!r} was given, {facet} leaves no choice; leave it out")
    chosen = [given] * magnet_layers if isinstance(given, str) else list(given)
    if not set(chosen) <= {"fcc", "hcp"}:
        raise InputError(f"stacking: {given!r} was given, expected 'fcc' or 'hcp'")
    if len(chosen) != magnet_layers:
        raise InputError(f"stacking: {len(chosen)} were given, expected one or one for each of {magnet_layers} layers")
    return chosen


def _stack(facet: str, substrate_layers: int, magnet: list[str], layers: int) -> NDArray[np.float64]:
    """In-plane position of each layer's atom in units of a1, a2: (layers, 2)."""
    if facet not in HEXAGONAL:
        shift = [0.5, 0.5] if facet == "bcc001" else [0.5, 0.0]
        return np.array([shift if layer % 2 else [0.0, 0.0] for layer in range(layers)])
    # The close-packed layer's three sites are 0, 1, 2 thirds of a1 + a2. The next layer takes one of the two that are
    # free: the same step as before makes fcc, the opposite one hcp.
    order = [facet[:3]] * (substrate_layers - 1) + magnet + [facet[:3]] * (layers - substrate_layers - len(magnet))
    # The lowest layer starts at two thirds, so that the first magnetic layer on one layer of an fcc substrate stands
    # at the origin.
    sites, step = [2], 1
    for index, stacking in enumerate(order):
        # The layer above a single one continues a crystal that is not there: its first step is +1 for either.
        step = -step if stacking == "hcp" and (index > 0 or substrate_layers == 1) else step
        sites.append((sites[-1] + step) % 3)
    return np.array([[site / 3, site / 3] for site in sites])


def _strain(given: float | Sequence[float]) -> list[float]:
    """1 + strain along x and y."""
    values = list(given) if isinstance(given, Sequence) else [given, given]
    if len(values) != 2 or not all(isinstance(value, (int, float)) and abs(value) < 0.3 for value in values):
        raise InputError(f"strain: {given!r} was given, expected a relative change, such as 0.02, or one for x and y")
    return [1.0 + value for value in values]


def check_cap(cap: Mapping[str, Any]) -> None:
    """Refuse a cap with unknown keys or without an element."""
    known = {"element", "layers", "interface_spacing", "spacing"}
    if not isinstance(cap, Mapping) or "element" not in cap or not set(cap) <= known:
        raise InputError(f"caps: {cap!r} was given, expected a mapping with `element` and {', '.join(sorted(known))}")
    _check_count("caps: layers", cap.get("layers", 1))


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name}: {value!r} was given, expected a whole number of layers, at least 1")


def check_length(name: str, value: Any) -> float:
    """A positive length, Angstrom; anything else is refused."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < np.inf:
        raise InputError(f"{name}: {value!r} was given, expected a positive length in Angstrom")
    return float(value)


def _check_element(symbol: Any) -> None:
    if symbol not in chemical_symbols[1:]:
        raise InputError(f"element: {symbol!r} was given, expected a chemical symbol, such as Pt")
