"""What a user says of a film's atoms by name: sites, spin-orbit masks, starting moments.

Names are those of `film.Film`. Every function takes the film itself, or a structure that is read as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiida import orm

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.intake import layers_as_they_stand


def layer_names(structure: Any, magnets: Sequence[str] | None = None) -> list[str]:
    """Layer name of every atom, such as `['Pt.2', 'Pt.1', 'Co.1']`.

    Parameters
    ----------
    structure : Film, StructureData, ase.Atoms or WannierModel
    magnets : sequence of str, optional
        Of a structure: magnetic elements; default what was said when its node was made, else Cr, Mn, Fe, Co, Ni.

    Raises
    ------
    InputError
        If the film has no magnet, or two with other layers in between.
    """
    return list(_film(structure, magnets).names)


def _film(structure: Any, magnets: Sequence[str] | None) -> Film:
    """The film that is meant; what was said of a node when it was made holds unless other magnets are named."""
    if isinstance(structure, Film):
        return structure
    if magnets is not None:
        return layers_as_they_stand(structure, Choices(magnets=tuple(magnets)))
    # Not above: what makes films by name is built on this module.
    from aiida_dmi.structures.slab import choices_of

    said = choices_of(structure) if isinstance(structure, orm.StructureData) else None
    return layers_as_they_stand(structure, said)


def sites_of(structure: Any, names: str | Iterable[str], magnets: Sequence[str] | None = None) -> list[int]:
    """Atoms that names stand for.

    Parameters
    ----------
    structure : Film, StructureData, ase.Atoms or WannierModel
        Kinds may be plain elements: layers are read from the heights.
    names : str or iterable of str
        An element `Co`, a layer `Pt.1` or layers `Pt.1-3`, a kind `Pt1`, or a group: `all`, `substrate`, `magnet`,
        `spacer`, `cap`, `interface` (the magnet's first layer and the substrate's first).
    magnets : sequence of str, optional
        As `layer_names`.

    Returns
    -------
    list of int
        Atom numbers from 0, ascending.

    Raises
    ------
    InputError
        If a name is no part of the film.
    """
    film = _film(structure, magnets)
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
    film = _film(structure, magnets)
    weights: dict[str, list[float]] = {}
    for name, mask in masks.items():
        try:
            weights[name] = _mask(film, mask)
        except InputError as error:
            raise InputError(f"mask {name}: {error}") from error
    return weights


def moments_by_name(
    structure: Any,
    moments: Mapping[str, float],
    magnets: Sequence[str] | None = None,
    default: Mapping[str, float | None] | None = None,
) -> dict[str, Any]:
    """Starting moments of the kinds, given by the same names as masks.

    Parameters
    ----------
    structure, magnets
        As `sites_of`.
    moments : mapping
        Name to moment, mu_B; the name that stands for fewer atoms wins.
    default : mapping, optional
        Kind to moment where none was given; else 0.

    Returns
    -------
    dict
        Every kind's moment, mu_B: `magnetic_moments` of `get_builder_from_protocol`.

    Raises
    ------
    InputError
        If a name is no part of the film, or atoms of one kind were given different moments.
    """
    film = _film(structure, magnets)
    try:
        values = _by_name(film, moments, [(default or {}).get(kind, 0.0) for kind in film.kinds])
    except InputError as error:
        raise InputError(f"moments: {error}") from error
    found: dict[str, Any] = {}
    for kind, value in zip(film.kinds, values, strict=True):
        if found.setdefault(kind, value) != value:
            raise InputError(
                f"moments: atoms of kind {kind} were given {_moment(found[kind])} and {_moment(value)} mu_B, a kind "
                "has one moment; build the film with kinds='layer' (--kinds layer)"
            )
    return found


def _moment(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _mask(film: Film, mask: Any) -> list[float]:
    """Weights of one mask."""
    if isinstance(mask, str):
        mask = [mask]
    if isinstance(mask, Mapping):
        return [float(weight) for weight in _by_name(film, mask, [0.0] * len(film.symbols))]
    if not isinstance(mask, Sequence) or not mask:
        raise InputError(f"{mask!r} was given, expected names, a mapping of names to weights, or one weight an atom")
    if all(isinstance(name, str) for name in mask):
        chosen = {site for name in mask for site in film.sites(name)}
        return [float(site in chosen) for site in range(len(film.symbols))]
    if len(mask) != len(film.symbols):
        raise InputError(f"{len(mask)} weights were given for {len(film.symbols)} atoms")
    return [_number(weight) for weight in mask]


def _by_name(film: Film, given: Mapping[str, float], default: Sequence[Any]) -> list[Any]:
    """One value an atom from values by name; the default's for atoms that no name stands for.

    The name that stands for fewer atoms is the more specific one and wins, in whatever order the names stand: the
    database does not keep it.
    """
    values = list(default)
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
