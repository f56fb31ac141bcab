"""Doped films: layers whose atoms are virtual crystals of two elements.

The geometry stays that of the host; what doping changes is the pseudopotential of some kinds. See
`aiida_dmi.engine.build.virtual_crystal` for what a virtual crystal describes and what it leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.engine import calcfunction
from aiida_pseudo.data.pseudo.upf import UpfData
from aiida_pseudo.groups.family import PseudoPotentialFamily

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.calculations.virtual_crystal import virtual_crystal_pseudo
from aiida_dmi.engine.build.ghost_states import require_no_ghost_states
from aiida_dmi.engine.build.virtual_crystal import check_fraction, formula, virtual_crystal
from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.heights import layer_kind
from aiida_dmi.structures.intake import layers_as_they_stand
from aiida_dmi.structures.slab import choices_of

Mixture = tuple[str, float]
"""The element that replaces part of the host, and the part, 0 to 1."""


class DopedFilm(NamedTuple):
    """A film and the pseudopotential of each of its kinds: `structure` and `pseudos` of the builders."""

    structure: orm.StructureData
    pseudos: dict[str, UpfData]


def dope(
    structure: orm.StructureData,
    doping: Mapping[str, Sequence[Any]],
    pseudos: str | Mapping[str, UpfData],
    magnets: Sequence[str] | None = None,
) -> DopedFilm:
    """Replace part of the atoms of some layers by another element, as a virtual crystal.

    A kind that is doped as a whole keeps its name; of others the doped layers get kinds of their own, named by the
    layer (`layer_kind`): Co.1 of a film with the kind Co becomes Co1. Chemical symbols stay the host's, so masks and
    moments are named as for the host at every x; the model that comes out names atoms by the element of larger weight.

    Parameters
    ----------
    structure : StructureData
        The host film.
    doping : mapping
        Name (as for `sites_of`: 'Co.1', 'Pt.1-2', 'Pt', 'magnet') to the element and its part, such as
        {'Co.1': ('Fe', 0.2)} for Co(0.8)Fe(0.2).
    pseudos : str or mapping
        Label of an installed family of fully relativistic pseudopotentials, or UpfData by element.
    magnets : sequence of str, optional
        Magnetic elements; default what was said when the film was made, else Cr, Mn, Fe, Co, Ni.

    Returns
    -------
    DopedFilm
        Structure and mixed pseudopotentials are made by calcfunctions, so that the provenance shows host, elements
        and parts.

    Raises
    ------
    InputError
        If a name is no part of the film, an atom is doped twice, a pseudopotential is missing, two elements cannot be
        mixed, or their mixture has ghost states; nothing has been stored then.
    """
    film = _host(structure, magnets)
    mixtures = _mixtures(film, doping)
    kinds = _kinds(film, mixtures)
    of_element = _pseudopotentials(pseudos)
    wanted = {kind: (film.symbols[site], mixtures.get(site)) for site, kind in enumerate(kinds)}
    parts = {
        (host, mixture): (of_element(host), *([of_element(mixture[0])] if mixture else []))
        for host, mixture in dict.fromkeys(wanted.values())
    }
    for (host, mixture), nodes in parts.items():
        if mixture:
            one, other = (read_pseudo(node) for node in nodes)
            mixed = virtual_crystal(one, other, mixture[1])
            require_no_ghost_states(mixed, formula(host, *mixture))

    # One level down: AiiDA's attributes have no '.' in their names.
    arguments = {"doping": {name: list(value) for name, value in doping.items()}, "magnets": list(film.magnets)}
    doped = doped_structure(structure, orm.Dict(arguments))
    made = {
        key: virtual_crystal_pseudo(nodes[0], nodes[1], orm.Float(key[1][1])) if key[1] else nodes[0]
        for key, nodes in parts.items()
    }
    return DopedFilm(doped, {kind: made[key] for kind, key in wanted.items()})


@calcfunction
def doped_structure(structure: orm.StructureData, arguments: orm.Dict) -> orm.StructureData:
    """The host film with kinds that tell doped from undoped atoms; the label names what is doped.

    Parameters
    ----------
    structure : StructureData
    arguments : Dict
        `doping` and `magnets` of `dope`.
    """
    changes = arguments["doping"]
    film = _host(structure, arguments["magnets"])
    kinds = _kinds(film, _mixtures(film, changes))
    doped = orm.StructureData(cell=structure.cell, pbc=structure.pbc)
    for site, symbol, name in zip(structure.sites, film.symbols, kinds, strict=True):
        mass = structure.get_kind(site.kind_name).mass
        doped.append_atom(symbols=symbol, name=name, position=site.position, mass=mass)
    words = []
    for name, (element, fraction) in sorted(changes.items()):
        hosts = dict.fromkeys(film.symbols[site] for site in film.sites(name))
        words.append(f"{name} = {'/'.join(formula(host, element, fraction) for host in hosts)}")
    doped.label = ", ".join([structure.label or structure.get_formula(), *words])
    return doped


def _host(structure: orm.StructureData, magnets: Sequence[str] | None) -> Film:
    """The host film, with what was said of it when it was made; other magnets where they are named."""
    said = choices_of(structure)
    return layers_as_they_stand(structure, said.changed(Choices(magnets=tuple(magnets))) if magnets else said)


def _mixtures(film: Film, doping: Mapping[str, Sequence[Any]]) -> dict[int, Mixture]:
    """What every doped atom is mixed with."""
    if not doping:
        raise InputError("doping: none was given, expected such as {'Co.1': ('Fe', 0.2)}")
    mixtures: dict[int, Mixture] = {}
    for name, value in doping.items():
        try:
            element, fraction = _mixture(value)
            sites = film.sites(name)
        except InputError as error:
            raise InputError(f"doping: {name}: {error}") from error
        for site in sites:
            if film.symbols[site] == element:
                raise InputError(f"doping: {name}: {element} is to replace {element}; give another element")
            if site in mixtures:
                raise InputError(f"doping: {name}: atom {site} is doped by another name too; name each atom once")
            mixtures[site] = (element, fraction)
    return mixtures


def _mixture(value: Sequence[Any]) -> Mixture:
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not isinstance(value[0], str):
        raise InputError(f"{value!r} was given, expected an element and its part, such as ('Fe', 0.2)")
    check_fraction(value[1])
    return value[0], float(value[1])


def _kinds(film: Film, mixtures: Mapping[int, Mixture]) -> list[str]:
    """Kind of every atom; pw.x has few species to give (10), so only what must be told apart is."""
    kinds = list(film.kinds)
    for kind in dict.fromkeys(film.kinds):
        sites = [site for site, own in enumerate(film.kinds) if own == kind]
        if len({mixtures.get(site) for site in sites}) > 1:
            for site in sites:
                if site in mixtures:
                    kinds[site] = layer_kind(film.names[site])
    owner: dict[str, tuple[str, Mixture | None]] = {}
    for site, kind in enumerate(kinds):
        own = (film.symbols[site], mixtures.get(site))
        if owner.setdefault(kind, own) != own:
            raise InputError(
                f"doping: kind {kind} would stand for atoms that are doped differently; name other layers, or build "
                "the film with kinds='layer'"
            )
    return kinds


def _pseudopotentials(given: str | Mapping[str, UpfData]) -> Callable[[str], UpfData]:
    """Look-up of an element's pseudopotential."""
    if not isinstance(given, str):

        def from_mapping(element: str) -> UpfData:
            if element not in given:
                raise InputError(f"pseudos: none for {element}; give its fully relativistic UpfData")
            return given[element]

        return from_mapping
    try:
        family = orm.load_group(given)
    except NotExistent:
        family = None
    if not isinstance(family, PseudoPotentialFamily):
        raise InputError(f"pseudos: no family {given!r} of pseudopotentials is installed; see `aiida-pseudo list`")

    def from_family(element: str) -> UpfData:
        try:
            return family.get_pseudo(element)
        except ValueError as error:
            raise InputError(f"pseudos: family {given!r} has none for {element}; install one that has") from error

    return from_family
