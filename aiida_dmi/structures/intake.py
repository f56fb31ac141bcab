"""The one intake for films: whatever comes in, a checked film comes out, and what was decided of it.

Everything that a later step needs to know of a film is decided here and nowhere else: which way is up, which elements
are magnetic, which layers are substrate, magnet and cap, how thick the magnet is, which order its moments have. What a
user says (`Choices`) goes before every rule; a rule that might surprise says so in a line of `Film.decisions`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ase
import numpy as np

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures import frame
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.convert import with_kinds
from aiida_dmi.structures.film import AS_GIVEN, FROM_SUBSTRATE, MAGNETS, TO_SUBSTRATE, Film
from aiida_dmi.structures.heights import LAYER_TOLERANCE, ROUNDING, layer_kind
from aiida_dmi.structures.moments import check_order, pointing_up, with_moments
from aiida_dmi.structures.symmetry import NEARLY, vanishing

MOST_KINDS = 10
"""Species that pw.x takes (its NSX)."""
SPARSE = 0.5
"""What has a smaller part of the atoms of the magnet's fullest layer is an adsorbate and makes no substrate."""
NOISE = 0.1
"""Angstrom; heights of layers that are this near to the tolerance may be on either side of it by chance."""


class Taken(NamedTuple):
    """What the intake gives: the atoms of the film, and the film.

    Attributes
    ----------
    atoms : ase.Atoms
        Normal +z, pbc (T, T, F), kinds as the array `kinds`; the order of the atoms is the slab's.
    film : Film
    changed : bool
        Whether atoms, cell or kinds are others than those given.
    done : tuple of str
        Those of the film's decisions that say how it was changed; the others say how it is read.
    """

    atoms: ase.Atoms
    film: Film
    changed: bool
    done: tuple[str, ...]


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
    given, moments, done = with_moments(slab)
    moments = _moments(given, choices.moments, moments)
    if not given.pbc.any():
        done.append("pbc is False along all lattice vectors: taken to repeat in the film's plane")
    given, words = frame.vacuum_along_a_vector(given)
    done += [words] if words else []
    magnets = _magnets(given.get_chemical_symbols(), choices)
    up = frame.upright(given)
    over, normal, rules = _which_way(Film.of(up.atoms, magnets, multilayer=choices.normal is not None), choices)
    if over:
        done.append(f"turned over: {'down was asked for' if choices.normal else 'the magnet lay below the substrate'}")
    if _stands(given) and not over and not anew:
        atoms = given
    else:
        up = frame.turned_over(up) if over else up
        atoms = frame.with_vacuum(up.atoms, up.vacuum)
        done += up.words
    if choices.vacuum is not None:
        atoms = frame.with_vacuum(atoms, choices.vacuum)
    for change in (frame.shortest_cell, frame.on_lattice):
        atoms, words = change(atoms)
        done += [words] if words else []
    film = Film.of(
        atoms,
        magnets,
        multilayer=choices.normal is not None,
        normal=normal,
        given_thickness=choices.thickness,
        moments=moments,
    )
    if choices.kinds is not None:
        atoms, film, words = _kinds_by(choices.kinds, atoms, film)
        done += [words] if words else []
    if len(set(film.kinds)) > MOST_KINDS:
        raise InputError(
            f"kinds: {len(set(film.kinds))} were given ({', '.join(dict.fromkeys(film.kinds))}), pw.x takes "
            f"{MOST_KINDS}; use one an element (--kinds element), and give kinds of their own to fewer atoms"
        )
    missed = frame.missed_lattice(atoms)
    rules += [*([missed] if missed else []), *_doubtful_layers(film)]
    film = dataclasses.replace(film, decisions=(*done, *rules))
    return Taken(atoms, _with_symmetry(film, atoms), _differs(slab, atoms), tuple(done))


def with_starting_moments(film: Film, atoms: ase.Atoms, moments: Mapping[str, float]) -> Film:
    """The film once the starting moments of all its kinds are known.

    Parameters
    ----------
    film : Film
    atoms : ase.Atoms
        Of the film, kinds as the array `kinds`.
    moments : mapping
        Kind to starting moment, mu_B.

    Raises
    ------
    InputError
        If they cancel: the theory here is not of antiferromagnets.
    """
    moments, turned = pointing_up(film, moments)
    started = _with_symmetry(dataclasses.replace(film, moments=moments), atoms)
    check_order(started)
    carrying = {symbol for symbol, kind in zip(film.symbols, film.kinds, strict=True) if moments.get(kind)}
    quiet = [element for element in MAGNETS if element in film.symbols and element not in carrying]
    words = [f"{element} starts without a moment (--moment {element}=MU_B)" for element in quiet]
    words = [*([turned] if turned else []), *words]
    return dataclasses.replace(started, decisions=tuple(dict.fromkeys([*started.decisions, *words])))


def _with_symmetry(film: Film, atoms: ase.Atoms) -> Film:
    """The film with what the symmetry of its atoms and moments says of D."""
    zero, nearly = vanishing(atoms, film.moments)
    decisions = [line for line in film.decisions if not line.startswith(NEARLY)]
    return dataclasses.replace(film, vanishing=zero, decisions=(*decisions, *([nearly] if nearly else [])))


def as_it_stands(structure: Any, choices: Choices | None = None) -> Film:
    """The film of something that is not to be turned: a finished model, or the structure of an earlier run.

    Parameters
    ----------
    structure : WannierModel or StructureData
        Normal z.
    choices : Choices, optional
        `substrate` and `normal` only say what +z is.

    Raises
    ------
    InputError
        If a choice does not fit.
    """
    film = layers_as_they_stand(structure, choices, multilayer=True)
    atoms, moments, _ = with_moments(_atoms_of(structure, film))
    film = dataclasses.replace(film, kinds=tuple(str(kind) for kind in atoms.arrays["kinds"]), moments=moments)
    return _with_symmetry(film, atoms) if any(film.magnetic) else film


def layers_as_they_stand(structure: Any, choices: Choices | None = None, multilayer: bool = False) -> Film:
    """The layers of something that is not to be turned, and which way up it is.

    Parameters
    ----------
    structure : StructureData, ase.Atoms or WannierModel
        Normal z.
    choices : Choices, optional
    multilayer : bool
        Whether layers that are not magnetic may lie between magnetic ones though no `normal` was stated; else that is
        refused once a layer's name is asked for: elements have sites without.

    Raises
    ------
    InputError
        If a choice does not fit.
    """
    choices = choices or Choices()
    multilayer = multilayer or choices.normal is not None
    magnets = _magnets(list(Film.of(structure).symbols), choices)
    film = Film.of(structure, magnets, multilayer=multilayer, given_thickness=choices.thickness)
    if not film.in_one_block:
        return dataclasses.replace(film, normal=AS_GIVEN)
    over, normal, words = _which_way(film, choices)
    if over:
        normal = TO_SUBSTRATE
        words = ["on its head: +z points from the magnet to the substrate, and D_yx has the sign for this +z"]
    return dataclasses.replace(film, normal=normal, decisions=tuple(words))


def _atoms_of(structure: Any, film: Film) -> ase.Atoms:
    """Atoms of a structure or a model that stands as it is, with the kinds and moments that it has."""
    positions = [site.position for site in structure.sites] if hasattr(structure, "sites") else structure.positions
    atoms = ase.Atoms(film.symbols, positions=positions, cell=structure.cell, pbc=(True, True, False))
    moments = getattr(structure, "moments", None)
    if moments is not None:
        atoms.set_initial_magnetic_moments(moments)
    return with_kinds(atoms, film.kinds)


def _moments(atoms: ase.Atoms, said: Mapping[str, float] | None, found: dict[str, float]) -> dict[str, float]:
    """Moments of the kinds: those said, else those that the atoms came with."""
    if not said:
        return found
    kinds = {str(kind) for kind in atoms.arrays["kinds"]}
    if unknown := sorted(set(said) - kinds):
        raise InputError(f"moments: {', '.join(unknown)} is no kind of the film, which has {', '.join(sorted(kinds))}")
    return dict(said)


def _doubtful_layers(film: Film) -> list[str]:
    """A word on layers that might as well have been read otherwise."""
    if film.sloped:
        low, high = film.sloped[0]
        return [
            f"layers run into each other, such as {film.names[low]} and {film.names[high]}, "
            f"{film.heights[high] - film.heights[low]:.2f} Angstrom apart; masks can also give one weight an atom"
        ]
    words = {}
    order = sorted(range(len(film.heights)), key=lambda site: film.heights[site])
    for low, high in itertools.pairwise(order):
        gap = film.heights[high] - film.heights[low]
        if abs(gap - LAYER_TOLERANCE) <= NOISE:
            taken = "two layers" if gap > LAYER_TOLERANCE + ROUNDING else "one layer"
            words[film.names[low], film.names[high]] = (
                f"{film.names[low]} and {film.names[high]}, {gap:.2f} Angstrom apart, are {taken}: one is what follows "
                f"within {LAYER_TOLERANCE:g} Angstrom"
            )
    return list(words.values())


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
    full = max(len(layer) for layer in film.layers[first : last + 1])
    # Single molecules on a film are no layers of a substrate.
    below, above = (sum(len(layer) >= SPARSE * full for layer in side) for side in sides)
    elements = ["/".join(_elements(film, side)) or "nothing" for side in sides]
    words: list[str] = []
    if choices.normal is not None:
        over = choices.normal == "down"
    elif choices.substrate is not None:
        over = _named_above(film, sides, choices.substrate)
    elif below == above:
        why, otherwise = "magnetic layers alone", "--normal"
        if any(sides):
            why = f"neither side of the magnet has more layers ({elements[0]} below, {elements[1]} above)"
            otherwise = "--substrate, --normal"
        return False, AS_GIVEN, [f"{why}: +z as given ({otherwise})"]
    else:
        over = above > below
        if all(sides):
            substrate, cap = (1, 0) if over else (0, 1)
            words.append(
                f"substrate by rule: {elements[substrate]}, {_layers(len(sides[substrate]))}, and {elements[cap]}, "
                f"{_layers(len(sides[cap]))}, the cap; the other way D has the other sign (--substrate, --normal)"
            )
    lower, upper = sides[::-1] if over else sides
    return over, FROM_SUBSTRATE if lower else TO_SUBSTRATE if upper else AS_GIVEN, words


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


def _kinds_by(how: str, atoms: ase.Atoms, film: Film) -> tuple[ase.Atoms, Film, str | None]:
    """One kind an element or a layer, each with the moment that its atoms had; and in words what else was done."""
    kinds, words = list(film.symbols), None
    if how == "layer":
        kinds = [layer_kind(name) for name in film.names]
        if len(set(kinds)) > MOST_KINDS:
            magnet = film.group("magnet")
            kinds = [kind if site in magnet else film.symbols[site] for site, kind in enumerate(kinds)]
            words = f"kinds by layer in the magnet alone: of the whole film they are more than the {MOST_KINDS} of pw.x"
    moments: dict[str, float] = {}
    for old, new in zip(film.kinds, kinds, strict=True) if film.moments else ():
        moment = float(film.moments.get(old, 0.0))
        if moments.setdefault(new, moment) != moment:
            raise InputError(
                f"kinds: by {how} {new} would stand for moments of {moments[new]:g} and {moment:g} mu_B; leave kinds "
                "out, which keeps them apart"
            )
    return with_kinds(atoms, kinds), dataclasses.replace(film, kinds=tuple(kinds), moments=moments), words


def _stands(slab: ase.Atoms) -> bool:
    """Whether a slab lies in the xy plane, in one piece, in a right-handed cell whose third vector points up."""
    cell = np.array(slab.cell[:])
    flat = np.abs(cell[:2, 2]).max() < frame.SAID and np.abs(cell[2, :2]).max() < frame.SAID
    upward = cell[2, 2] > 0 and np.linalg.det(cell) > 0
    whole = flat and np.ptp(Film.of(slab).heights) > np.ptp(slab.positions[:, 2]) - frame.SAID
    return bool(whole and upward and tuple(slab.pbc) == (True, True, False))


def _differs(slab: ase.Atoms, film: ase.Atoms) -> bool:
    """Whether the film's node would be another one than the slab's."""
    kinds = slab.arrays["kinds"] if "kinds" in slab.arrays else np.array(slab.get_chemical_symbols())
    same = tuple(slab.pbc) == tuple(film.pbc) and list(kinds) == list(film.arrays["kinds"])
    return not (same and np.array_equal(slab.cell[:], film.cell[:]) and np.array_equal(slab.positions, film.positions))
