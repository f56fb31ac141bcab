"""Layers of a film, and the names by which a user speaks of its atoms.

A film lies in the xy plane, its normal +z points from the substrate to the magnet. Layers are named by element and
number, counted from the interface: `Pt.1` is the substrate layer next to the magnet, `Pt.2` the one below it; `Co.1`
is the magnet's layer at the interface, `Co.2` the one above it. A cap on top of the magnet counts upwards and goes on
where the substrate's layers of the same element end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from aiida import orm

from aiida_dmi.engine.errors import InputError

MAGNETS = ("Cr", "Mn", "Fe", "Co", "Ni")
"""Elements that carry a film's magnetism unless others are named."""

LAYER_TOLERANCE = 0.3
"""Atoms whose heights follow each other within this, Angstrom, are one layer."""

GROUPS = ("all", "substrate", "magnet", "cap", "interface")
"""Names of parts of a film; `interface` is the magnet's first layer and the substrate's first."""

LAYER_NAME = re.compile(r"([A-Z][a-z]?)\.(\d+)(?:-(\d+))?")


@dataclass(frozen=True)
class Film:
    """The layers of a film.

    Attributes
    ----------
    symbols, kinds : tuple of str
        Chemical symbol and kind name of every atom.
    layers : tuple of tuple of int
        Atom numbers (from 0) of every layer, from the lowest to the highest.
    magnets : tuple of str
        Elements that make a layer part of the magnet.
    """

    symbols: tuple[str, ...]
    kinds: tuple[str, ...]
    layers: tuple[tuple[int, ...], ...]
    magnets: tuple[str, ...] = MAGNETS

    @classmethod
    def of(cls, structure: Any, magnets: Sequence[str] | None = None) -> Film:
        """Read the layers of a structure.

        Parameters
        ----------
        structure : StructureData, ase.Atoms or WannierModel
            Anything with `symbols` and `positions`, Angstrom; the film's normal is z.
        magnets : sequence of str, optional
            Magnetic elements; default `MAGNETS`.
        """
        if isinstance(structure, orm.StructureData):
            kinds = tuple(site.kind_name for site in structure.sites)
            symbols = tuple(structure.get_kind(kind).symbol for kind in kinds)
            heights = [site.position[2] for site in structure.sites]
        else:
            symbols = tuple(str(symbol) for symbol in structure.symbols)
            kinds = symbols
            heights = np.asarray(structure.positions)[:, 2].tolist()
        return cls(symbols, kinds, cluster_layers(heights), tuple(MAGNETS if magnets is None else magnets))

    @cached_property
    def magnetic_block(self) -> tuple[int, int]:
        """First and last magnetic layer, as indices into `layers`.

        Raises
        ------
        InputError
            If no layer is magnetic, or layers that are not stand between two that are.
        """
        magnetic = [any(self.symbols[site] in self.magnets for site in layer) for layer in self.layers]
        if not any(magnetic):
            raise InputError(
                f"structure: no magnetic layer among {', '.join(dict.fromkeys(self.symbols))} "
                f"(looked for {', '.join(self.magnets)}); give `magnets`, the elements that carry the magnetism"
            )
        first, last = magnetic.index(True), len(magnetic) - 1 - magnetic[::-1].index(True)
        if not all(magnetic[first : last + 1]):
            order = " / ".join(
                "+".join(dict.fromkeys(self.symbols[site] for site in layer)) for layer in self.layers[first : last + 1]
            )
            raise InputError(
                f"structure: two magnets with other layers in between were given (upwards: {order}), one was "
                "expected; give `magnets`, the elements of the one that counts, or remove the other"
            )
        return first, last

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Layer name of every atom, such as `Pt.1`.

        Each element's layers are numbered in the order magnet upwards, substrate downwards, cap upwards.
        """
        first, last = self.magnetic_block
        order = [*range(first, last + 1), *range(first - 1, -1, -1), *range(last + 1, len(self.layers))]
        counts: dict[str, int] = {}
        names = [""] * len(self.symbols)
        for index in order:
            for symbol in dict.fromkeys(self.symbols[site] for site in self.layers[index]):
                counts[symbol] = counts.get(symbol, 0) + 1
                for site in self.layers[index]:
                    if self.symbols[site] == symbol:
                        names[site] = f"{symbol}.{counts[symbol]}"
        return tuple(names)

    def group(self, name: str) -> list[int]:
        """Atoms of one of `GROUPS`; empty where the film has no such part."""
        if name == "all":
            return list(range(len(self.symbols)))
        first, last = self.magnetic_block
        chosen = {
            "substrate": self.layers[:first],
            "magnet": self.layers[first : last + 1],
            "cap": self.layers[last + 1 :],
            "interface": self.layers[max(first - 1, 0) : first + 1],
        }[name]
        return sorted(site for layer in chosen for site in layer)

    def sites(self, name: str) -> list[int]:
        """Atoms that one name stands for; see `sites_of`."""
        if name in GROUPS:
            found = self.group(name)
        elif layer := LAYER_NAME.fullmatch(name):
            element, first, last = layer[1], int(layer[2]), int(layer[3] or layer[2])
            wanted = {f"{element}.{number}" for number in range(first, last + 1)}
            # A range that runs past the last layer is a mistake, not a request for the rest.
            found = [site for site, own in enumerate(self.names) if own in wanted] if wanted <= set(self.names) else []
        else:
            found = [site for site, symbol in enumerate(self.symbols) if symbol == name]
            found = found or [site for site, kind in enumerate(self.kinds) if kind == name]
        if not found:
            raise InputError(f"{name!r} is no part of this film; it has {self.vocabulary()}")
        return found

    def vocabulary(self) -> str:
        """All names that `sites` knows for this film, in words."""
        elements = sorted(set(self.symbols))
        words = [f"elements {', '.join(elements)}"]
        try:
            last = {element: sum(name.startswith(f"{element}.") for name in set(self.names)) for element in elements}
            groups = [name for name in GROUPS if self.group(name)]
            layers = [f"{element}.1" + (f"-{count}" if count > 1 else "") for element, count in last.items()]
            words += [f"layers {', '.join(layers)}", f"groups {', '.join(groups)}"]
        except InputError as error:
            words.append(f"no numbered layers ({error})")
        kinds = sorted(set(self.kinds) - set(elements))
        return "; ".join([*words, *([f"kinds {', '.join(kinds)}"] if kinds else [])])


def cluster_layers(heights: Sequence[float], tolerance: float = LAYER_TOLERANCE) -> tuple[tuple[int, ...], ...]:
    """Layers of atoms from their heights.

    Parameters
    ----------
    heights : sequence of float
        z of every atom, Angstrom.
    tolerance : float
        An atom higher than the one before it by more than this, Angstrom, opens a new layer.

    Returns
    -------
    tuple of tuple of int
        Atom numbers of each layer, from the lowest layer to the highest.
    """
    order = sorted(range(len(heights)), key=lambda site: (heights[site], site))
    layers: list[list[int]] = []
    for site in order:
        if layers and heights[site] - heights[layers[-1][-1]] <= tolerance:
            layers[-1].append(site)
        else:
            layers.append([site])
    return tuple(tuple(sorted(layer)) for layer in layers)


def layer_names(structure: Any, magnets: Sequence[str] | None = None) -> list[str]:
    """Layer name of every atom, such as `['Pt.2', 'Pt.1', 'Co.1']`.

    Parameters
    ----------
    structure, magnets
        As `Film.of`.

    Raises
    ------
    InputError
        If the film has no magnet, or two with other layers in between.
    """
    return list(Film.of(structure, magnets).names)


def sites_of(structure: Any, names: str | Iterable[str], magnets: Sequence[str] | None = None) -> list[int]:
    """Atoms that names stand for.

    Parameters
    ----------
    structure : StructureData, ase.Atoms or WannierModel
        Kinds may be plain elements: layers are read from the heights.
    names : str or iterable of str
        An element `Co`, a layer `Pt.1` or layers `Pt.1-3`, a kind `Pt1`, or a group: `all`, `substrate`, `magnet`,
        `cap`, `interface` (the magnet's first layer and the substrate's first).
    magnets : sequence of str, optional
        Magnetic elements; default Cr, Mn, Fe, Co, Ni.

    Returns
    -------
    list of int
        Atom numbers from 0, ascending.

    Raises
    ------
    InputError
        If a name is no part of the film.
    """
    film = Film.of(structure, magnets)
    return sorted({site for name in ([names] if isinstance(names, str) else names) for site in film.sites(name)})


def mask_weights(
    structure: Any, masks: Mapping[str, Any], magnets: Sequence[str] | None = None
) -> dict[str, list[float]]:
    """Spin-orbit masks by name, as the engine takes them (`soi_masks`): one weight an atom.

    Parameters
    ----------
    structure, magnets
        As `sites_of`.
    masks : mapping
        Mask name to a name or a list of names (weight 1 there, 0 elsewhere), to a mapping of names to weights (0
        elsewhere; the name that stands for fewer atoms wins), or to one weight an atom.

    Returns
    -------
    dict
        Mask name to one weight an atom.

    Raises
    ------
    InputError
        If a name is no part of the film, a weight is no finite number, or two names of one mask contradict each other.

    Examples
    --------
    >>> mask_weights(film, {"interface": ["Co", "Pt.1"], "half": {"Pt": 0.5, "Co": 1}})  # doctest: +SKIP
    {'interface': [0.0, 1.0, 1.0], 'half': [0.5, 0.5, 1.0]}
    """
    film = Film.of(structure, magnets)
    weights: dict[str, list[float]] = {}
    for name, mask in masks.items():
        try:
            weights[name] = _mask(film, mask)
        except InputError as error:
            raise InputError(f"mask {name}: {error}") from error
    return weights


def moments_by_name(
    structure: Any, moments: Mapping[str, float], magnets: Sequence[str] | None = None
) -> dict[str, float]:
    """Starting moments of the kinds, given by the same names as masks.

    Parameters
    ----------
    structure, magnets
        As `sites_of`.
    moments : mapping
        Name to moment, mu_B; the name that stands for fewer atoms wins.

    Returns
    -------
    dict
        Every kind's moment, mu_B; 0 where none was given: `magnetic_moments` of `get_builder_from_protocol`.

    Raises
    ------
    InputError
        If a name is no part of the film, or atoms of one kind were given different moments.
    """
    film = Film.of(structure, magnets)
    try:
        values = _by_name(film, moments)
    except InputError as error:
        raise InputError(f"moments: {error}") from error
    found: dict[str, float] = {}
    for kind, value in zip(film.kinds, values, strict=True):
        if found.setdefault(kind, value) != value:
            raise InputError(
                f"moments: atoms of kind {kind} were given {found[kind]:g} and {value:g} mu_B, a kind has one moment; "
                "build the film with kinds='layer'"
            )
    return found


def layer_kind(name: str) -> str:
    """Kind of a layer: letters and digits, three at most, since pw.x (6.7) keeps no more of a label.

    Parameters
    ----------
    name : str
        Such as `Pt.1`.

    Returns
    -------
    str
        Symbols of two letters take one character, 1 to 9 and then a to z: Pt1 ... Pt9, Pta ... Ptz, 35 layers.
        Symbols of one letter take a decimal number, W1 ... W99: a letter would make another element of them.

    Raises
    ------
    InputError
        If the number does not fit.
    """
    element, number = name.split(".")
    most = 99 if len(element) == 1 else 35
    if not 1 <= int(number) <= most:
        raise InputError(f"layer {name}: kinds by layer reach {element}.{most}; build the film with kinds by element")
    if len(element) == 1 or int(number) < 10:
        return f"{element}{number}"
    return element + chr(ord("a") + int(number) - 10)


def _mask(film: Film, mask: Any) -> list[float]:
    """Weights of one mask."""
    if isinstance(mask, str):
        mask = [mask]
    if isinstance(mask, Mapping):
        return _by_name(film, mask)
    if not isinstance(mask, Sequence) or not mask:
        raise InputError(f"{mask!r} was given, expected names, a mapping of names to weights, or one weight an atom")
    if all(isinstance(name, str) for name in mask):
        chosen = {site for name in mask for site in film.sites(name)}
        return [float(site in chosen) for site in range(len(film.symbols))]
    if len(mask) != len(film.symbols):
        raise InputError(f"{len(mask)} weights were given for {len(film.symbols)} atoms")
    return [_number(weight) for weight in mask]


def _by_name(film: Film, given: Mapping[str, float]) -> list[float]:
    """One value an atom from values by name; 0 for atoms that no name stands for.

    The name that stands for fewer atoms is the more specific one and wins, in whatever order the names stand: the
    database does not keep it.
    """
    values = [0.0] * len(film.symbols)
    owner: dict[int, tuple[str, int]] = {}
    for name, value in sorted(given.items(), key=lambda item: (-len(film.sites(item[0])), item[0])):
        sites = film.sites(name)
        for site in sites:
            other, size = owner.get(site, (name, 0))
            if size == len(sites) and values[site] != _number(value):
                raise InputError(f"{other!r} and {name!r} stand for the same atom with different values; give one")
            values[site], owner[site] = _number(value), (name, len(sites))
    return values


def _number(value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise InputError(f"{value!r} was given, expected a number")
    return float(value)
