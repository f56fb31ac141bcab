"""The one intake for films: whatever comes in, a checked film comes out, and what was decided of it.

Everything that a later step needs to know of a film is decided here and nowhere else: which way is up, which elements
are magnetic, which layers are substrate, magnet and cap, how thick the magnet is, which order its moments have. What a
user says (`Choices`) goes before every rule; a rule that might surprise says so in a line of `Film.decisions`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import ase
import numpy as np
from ase.data import chemical_symbols

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures import frame
from aiida_dmi.structures.convert import with_kinds
from aiida_dmi.structures.film import AS_GIVEN, FROM_SUBSTRATE, MAGNETS, ORDERS, TO_SUBSTRATE, Film
from aiida_dmi.structures.heights import layer_kind
from aiida_dmi.structures.symmetry import allowed_components

KINDS = ("element", "layer")
NORMALS = ("up", "down")
NEITHER = "neither side of the magnet has more layers"
BY_ELEMENT = ("kinds", "element")
"""What `kinds` is where nothing was said."""


@dataclass(frozen=True)
class Choices:
    """What a user says of a film; None leaves it to the rule.

    Attributes
    ----------
    magnets : tuple of str or None
        Elements that carry the magnetism; rule: those of Cr, Mn, Fe, Co, Ni that the film has.
    substrate : str or None
        An element of the substrate, on one side of the magnet alone.
    normal : {'up', 'down'} or None
        +z along the lattice vector that crosses the vacuum, or against it. Rule: from the side of the magnet with more
        layers, the substrate, to the magnet; as given where neither side has more. Stated, it also allows layers that
        are not magnetic between magnetic ones.
    thickness : float or None
        t of the magnetic film, Angstrom; rule: `Film.thickness`.
    vacuum : float or None
        To set, Angstrom; rule: as in the slab.
    kinds : {'element', 'layer'}
        'element' keeps the slab's kinds; 'layer': one kind a layer.
    moments : mapping or None
        Kind to starting moment, mu_B, as the structure came with them.
    """

    magnets: tuple[str, ...] | None = None
    substrate: str | None = None
    normal: str | None = None
    thickness: float | None = None
    vacuum: float | None = None
    kinds: str = "element"
    moments: Mapping[str, float] | None = dataclasses.field(default=None, hash=False)

    @classmethod
    def checked(cls, given: Mapping[str, Any] | None = None) -> Choices:
        """From a mapping as it stands in overrides, on the command line or in the database.

        Raises
        ------
        InputError
            Naming the key, what was given and what is expected.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        values = dict(given or {})
        if unknown := [str(key) for key in values if key not in known]:
            raise InputError(f"film: {', '.join(unknown)} is unknown; expected some of {', '.join(known)}")
        magnets, substrate, normal = (values.get(key) for key in ("magnets", "substrate", "normal"))
        if isinstance(magnets, str):
            magnets = [part.strip() for part in magnets.split(",")]
        if magnets is not None:
            if not isinstance(magnets, Sequence) or not magnets or not all(_element(name) for name in magnets):
                raise InputError(f"magnets: {values['magnets']!r} was given, expected elements, such as [Co, Fe]")
            magnets = tuple(dict.fromkeys(magnets))
        if substrate is not None and not _element(substrate):
            raise InputError(f"substrate: {substrate!r} was given, expected an element, such as Pt")
        if normal is not None and normal not in NORMALS:
            raise InputError(f"normal: {normal!r} was given, expected up or down")
        for key in ("thickness", "vacuum"):
            if values.get(key) is not None and not _length(values[key]):
                raise InputError(f"{key}: {values[key]!r} was given, expected a positive number of Angstrom")
        moments = values.get("moments")
        if moments is not None and not (isinstance(moments, Mapping) and all(_number(m) for m in moments.values())):
            raise InputError(f"moments: {moments!r} was given, expected kinds and their moments in mu_B")
        kinds = values.get("kinds") or "element"
        if kinds not in KINDS:
            raise InputError(f"kinds: {kinds!r} was given, expected 'element' or 'layer'")
        if substrate is not None and normal is not None:
            raise InputError("normal: given beside substrate; either of them says which way is up, give one")
        return cls(
            magnets,
            substrate,
            normal,
            None if values.get("thickness") is None else float(values["thickness"]),
            None if values.get("vacuum") is None else float(values["vacuum"]),
            kinds,
            None if moments is None else {str(kind): float(moment) for kind, moment in moments.items()},
        )

    def given(self) -> dict[str, Any]:
        """What differs from the rules, for the database."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        stored = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
        stored = {key: dict(value) if isinstance(value, Mapping) else value for key, value in stored.items()}
        return {
            key: value for key, value in stored.items() if value is not None and (key, value) != ("kinds", "element")
        }

    def changed(self, other: Choices) -> Choices:
        """These choices where the other says nothing."""
        said = {field.name: getattr(other, field.name) for field in dataclasses.fields(other)}
        said = {key: value for key, value in said.items() if value is not None and (key, value) != BY_ELEMENT}
        # One word on which way is up takes the place of the other.
        if "substrate" in said or "normal" in said:
            said = {"substrate": None, "normal": None, **said}
        return dataclasses.replace(self, **said)


class Taken(NamedTuple):
    """What the intake gives: the atoms of the film, and the film.

    Attributes
    ----------
    atoms : ase.Atoms
        Normal +z, pbc (T, T, F), kinds as the array `kinds`; the order of the atoms is the slab's.
    film : Film
    changed : bool
        Whether atoms, cell or kinds are others than those given.
    """

    atoms: ase.Atoms
    film: Film
    changed: bool


def take_in(slab: ase.Atoms, choices: Choices | None = None, anew: bool = False) -> Taken:
    """The film that a slab is.

    The slab is turned, never mirrored (a mirror would change the sign of D). A slab that lies in the xy plane already,
    the right way up, in one piece and with pbc (T, T, F), stays where it is.

    Parameters
    ----------
    slab : ase.Atoms
        The vacuum along any lattice vector. An array `kinds` names kinds (default: the elements); atoms of one kind
        with different initial moments get kinds of their own.
    choices : Choices, optional
    anew : bool
        Put x along a1 and the film above the cell's floor also where it lies as a film does.

    Raises
    ------
    InputError
        If there is no film: atoms on one another, no vacuum, no magnet, two magnets with other layers in between; or
        if a choice does not fit it. The order of its moments is judged once they are all known: `check_order`.
    """
    choices = choices or Choices()
    frame.check_atoms(slab)
    given, moments = with_moments(slab)
    magnets = _magnets(given.get_chemical_symbols(), choices)
    up = frame.upright(given)
    over, normal, decisions = _which_way(Film.of(up.atoms, magnets, multilayer=choices.normal is not None), choices)
    if _stands(given) and not over and not anew:
        atoms = given
    else:
        up = frame.turned_over(up) if over else up
        atoms = frame.with_vacuum(up.atoms, up.vacuum)
        decisions += up.words
    if choices.vacuum is not None:
        atoms = frame.with_vacuum(atoms, choices.vacuum)
    for change in (frame.shortest_cell, frame.on_lattice):
        atoms, words = change(atoms)
        decisions += [words] if words else []
    film = Film.of(
        atoms,
        magnets,
        multilayer=choices.normal is not None,
        normal=normal,
        given_thickness=choices.thickness,
        moments=dict(choices.moments or moments),
    )
    if choices.kinds == "layer":
        atoms, film = _kinds_by_layer(atoms, film)
    vanishing = allowed_components(atoms).why_none
    if vanishing:
        # Which way is up then makes no difference.
        decisions = [*(words for words in decisions if not words.startswith(NEITHER)), vanishing]
    film = dataclasses.replace(film, vanishing=vanishing, decisions=tuple(decisions))
    return Taken(atoms, film, _differs(slab, atoms))


def as_it_stands(structure: Any, choices: Choices | None = None) -> Film:
    """The film of something that is not to be turned: a finished model, or the structure of an earlier run.

    Parameters
    ----------
    structure : WannierModel or StructureData
        Normal z.
    choices : Choices, optional

    Raises
    ------
    InputError
        If a choice does not fit, or asks to turn it.
    """
    choices = choices or Choices()
    magnets = _magnets([str(symbol) for symbol in Film.of(structure).symbols], choices)
    film = Film.of(structure, magnets, multilayer=True, given_thickness=choices.thickness)
    if not any(film.magnetic):
        return dataclasses.replace(film, normal=AS_GIVEN)
    over, normal, words = _which_way(film, Choices(normal=choices.normal))
    if over:
        normal = TO_SUBSTRATE
        words = ["on its head: +z points from the magnet to the substrate, and D_yx has the sign for this +z"]
    return dataclasses.replace(film, normal=normal, decisions=tuple(words))


def check_order(film: Film) -> None:
    """Refuse what the theory here is not of.

    Raises
    ------
    InputError
        If the starting moments cancel.
    """
    if film.order == ORDERS[2]:
        given = ", ".join(f"{kind} {moment:+g}" for kind, moment in sorted(film.moments.items()) if moment)
        raise InputError(
            f"moments: antiferromagnetic starting moments were given ({given} mu_B); D here is of one magnetisation "
            "that turns as a whole, of ferromagnets and ferrimagnets; give other moments (--moment), or magnetic "
            "layers that do not cancel"
        )


def with_moments(slab: ase.Atoms) -> tuple[ase.Atoms, dict[str, float]]:
    """The slab with the array `kinds`, and the moment (mu_B) of each kind; empty where the slab has none.

    Atoms of one kind with different moments would end in one species of pw.x, and their moments in its mean: they get
    kinds of their own.
    """
    atoms = slab.copy()
    kinds = [str(kind) for kind in slab.arrays["kinds"]] if "kinds" in slab.arrays else slab.get_chemical_symbols()
    moments = np.asarray(slab.get_initial_magnetic_moments(), dtype=float)
    if moments.ndim > 1:
        raise InputError("moments: vectors were given, expected one number an atom: the film is collinear")
    if not np.isfinite(moments).all():
        raise InputError("moments: numbers that are not finite were given, expected mu_B, one an atom")
    moments = np.round(moments, 3)
    symbols = slab.get_chemical_symbols()
    for kind in dict.fromkeys(kinds):
        sites = [site for site, own in enumerate(kinds) if own == kind]
        different = list(dict.fromkeys(moments[sites].tolist()))
        if len(different) > 1:
            for site in sites:
                kinds[site] = _free_kind(symbols[site], different.index(moments[site]) + 1, set(kinds) - {kind})
    atoms.set_initial_magnetic_moments(None)
    found = dict(zip(kinds, moments.tolist(), strict=True)) if moments.any() else {}
    return with_kinds(atoms, kinds), found


def _free_kind(symbol: str, number: int, taken: set[str]) -> str:
    """A kind of a number, such as Mn1, that no other kind has."""
    names = (layer_kind(f"{symbol}.{n}") for n in range(number, 36))
    return next(name for name in names if name not in taken)


def _magnets(symbols: Sequence[str], choices: Choices) -> tuple[str, ...]:
    """The elements that carry the magnetism: named, or those of the rule that the film has."""
    present = set(symbols)
    if choices.magnets is None:
        return tuple(element for element in MAGNETS if element in present) or MAGNETS
    if missing := [element for element in choices.magnets if element not in present]:
        raise InputError(
            f"magnets: {', '.join(missing)} is not in the film, which has {', '.join(sorted(present))}; name elements "
            "of it"
        )
    return choices.magnets


def _which_way(film: Film, choices: Choices) -> tuple[bool, str, list[str]]:
    """Whether the film is to be turned over, what +z is then, and the rule in words where one decided."""
    first, last = film.magnetic_block
    sides = [film.layers[:first], film.layers[last + 1 :]]
    below, above = len(sides[0]), len(sides[1])
    elements = ["/".join(_elements(film, side)) for side in sides]
    words: list[str] = []
    if choices.normal is not None:
        over = choices.normal == "down"
    elif choices.substrate is not None:
        over = _named_above(film, sides, choices.substrate)
    elif below == above:
        over = False
        if below:
            words.append(
                f"{NEITHER} ({elements[0]} below, {elements[1]} above): +z as given; "
                "turned over, D has the other sign (--substrate, --normal)"
            )
        return over, AS_GIVEN, words
    else:
        over = above > below
        if below and above:
            substrate, cap = (1, 0) if over else (0, 1)
            words.append(
                f"substrate by rule: {elements[substrate]}, {_layers(len(sides[substrate]))}, and {elements[cap]}, "
                f"{_layers(len(sides[cap]))}, the cap; the other way D has the other sign (--substrate, --normal)"
            )
    if over:
        why = "down was asked for" if choices.normal else "the magnet lay below the substrate"
        words.insert(0, f"turned over: {why}")
        below, above = above, below
    return over, FROM_SUBSTRATE if below else TO_SUBSTRATE if above else AS_GIVEN, words


def _named_above(film: Film, sides: Sequence[Sequence[Sequence[int]]], substrate: str) -> bool:
    """Whether the side that holds the named element lies above the magnet."""
    found = [substrate in _elements(film, side) for side in sides]
    if found[0] == found[1]:
        where = "both sides" if found[0] else "neither side"
        raise InputError(
            f"substrate: {substrate!r} was given, it is on {where} of the magnet; name another element, or say "
            "`normal` (--normal up or down)"
        )
    return found[1]


def _elements(film: Film, layers: Sequence[Sequence[int]]) -> list[str]:
    return list(dict.fromkeys(film.symbols[site] for layer in layers for site in layer))


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _kinds_by_layer(atoms: ase.Atoms, film: Film) -> tuple[ase.Atoms, Film]:
    """One kind a layer, each with the moment that its atoms had."""
    kinds = [layer_kind(name) for name in film.names]
    moments: dict[str, float] = {}
    for old, new in zip(film.kinds, kinds, strict=True) if film.moments else ():
        moment = float(film.moments.get(old, 0.0))
        if moments.setdefault(new, moment) != moment:
            raise InputError(
                f"kinds: by layer {new} would stand for moments of {moments[new]:g} and {moment:g} mu_B; use "
                "kinds='element', which keeps them apart"
            )
    return with_kinds(atoms, kinds), dataclasses.replace(film, kinds=tuple(kinds), moments=moments)


def _stands(slab: ase.Atoms) -> bool:
    """Whether a slab lies in the xy plane, in one piece, in a right-handed cell whose third vector points up."""
    cell = np.array(slab.cell[:])
    flat = np.abs(cell[:2, 2]).max() < frame.SAID and np.abs(cell[2, :2]).max() < frame.SAID
    upward = cell[2, 2] > 0 and np.linalg.det(cell) > 0
    whole = np.ptp(Film.of(slab).heights) > np.ptp(slab.positions[:, 2]) - frame.SAID
    return bool(flat and upward and whole and tuple(slab.pbc) == (True, True, False))


def _differs(slab: ase.Atoms, film: ase.Atoms) -> bool:
    """Whether the film's node would be another one than the slab's."""
    kinds = slab.arrays["kinds"] if "kinds" in slab.arrays else np.array(slab.get_chemical_symbols())
    same = tuple(slab.pbc) == tuple(film.pbc) and list(kinds) == list(film.arrays["kinds"])
    return not (same and np.array_equal(slab.cell[:], film.cell[:]) and np.array_equal(slab.positions, film.positions))


def _element(value: Any) -> bool:
    return isinstance(value, str) and value in chemical_symbols[1:]


def _number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and math.isfinite(value)


def _length(value: Any) -> bool:
    return _number(value) and value > 0
