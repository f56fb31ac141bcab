"""Starting moments of a film's atoms: those that a structure came with, and the order they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ase
import numpy as np
from numpy.typing import ArrayLike

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.convert import with_kinds
from aiida_dmi.structures.film import ORDERS, Film
from aiida_dmi.structures.heights import layer_kind

ALIKE = 0.25
"""mu_B within which moments of one kind start as one: no guess is better, and pw.x has ten species at most."""
NO_SIGN = 0.1
"""mu_B; moments of opposite signs are alike only where they are smaller than this."""
LONGEST_KIND = 3
MOMENT_ARRAYS = ("magmom", "magmoms", "initial_magmom", "magnetic_moment", "magnetic_moments")
"""Names under which others keep moments (mu_B) of the atoms, beside ASE's own."""


def with_moments(slab: ase.Atoms) -> tuple[ase.Atoms, dict[str, float], list[str]]:
    """The slab with the array `kinds`, the moment (mu_B) of each kind, empty where it has none, and what changed.

    Atoms of one kind with different moments would end in one species of pw.x, and their moments in its mean: they get
    kinds of their own. So do kinds whose names pw.x would cut.

    Raises
    ------
    InputError
        If the moments are vectors or not finite.
    """
    atoms = slab.copy()
    for name in MOMENT_ARRAYS:
        atoms.arrays.pop(name, None)
    symbols = slab.get_chemical_symbols()
    kinds = [str(kind) for kind in slab.arrays["kinds"]] if "kinds" in slab.arrays else list(symbols)
    moments = np.array(_moments_of(slab), dtype=float)
    if moments.ndim == 2 and not moments[:, :2].any():
        moments = moments[:, 2]
    if moments.ndim > 1:
        raise InputError("moments: vectors were given, expected one number an atom: the film is collinear")
    if not np.isfinite(moments).all():
        raise InputError("moments: numbers that are not finite were given, expected mu_B, one an atom")
    words: list[str] = []
    for kind in dict.fromkeys(kinds):
        sites = [site for site, own in enumerate(kinds) if own == kind]
        groups = alike(moments[sites].tolist())
        fits = kind.isidentifier() and len(kind) <= LONGEST_KIND
        for number, group in enumerate(groups, 1):
            members = [sites[place] for place in group]
            given = moments[members]
            if np.ptp(given) > 0.0005:
                words.append(
                    f"moments of {len(members)} atoms {kind}, {given.min():.3g} to {given.max():.3g} mu_B, start as "
                    f"one: {given.mean():.3g}"
                )
            moments[members] = round(float(given.mean()), 3)
            if len(groups) > 1 or not fits:
                name = free_kind(symbols[sites[0]], number, set(kinds))
                for site in members:
                    kinds[site] = name
        if not fits:
            new = dict.fromkeys(kinds[site] for site in sites)
            words.append(f"kind {kind} is named {' and '.join(new)}: pw.x keeps three letters and digits of a name")
    atoms.set_initial_magnetic_moments(None)
    found = dict(zip(kinds, moments.tolist(), strict=True)) if moments.any() else {}
    return with_kinds(atoms, kinds), found, words


def _moments_of(slab: ase.Atoms) -> ArrayLike:
    """Moments to start from; those that a calculation found, or that others wrote, where there are none."""
    initial = slab.get_initial_magnetic_moments()
    results = getattr(slab.calc, "results", {})
    # Of an extended xyz, ASE takes a column `magmom` for the total moment, and leaves it one number an atom.
    found: list[Any] = [*map(results.get, ("magmoms", "magmom")), *map(slab.arrays.get, MOMENT_ARRAYS)]
    one_an_atom = (values for values in found if np.shape(values)[:1] == (len(slab),))
    moments: ArrayLike = initial if initial.any() else next(one_an_atom, initial)
    return moments


def alike(moments: Sequence[float]) -> list[list[int]]:
    """Places of moments (mu_B) that start as one, in the order of each group's first place."""
    groups: list[list[int]] = []
    for place in sorted(range(len(moments)), key=lambda number: (moments[number], number)):
        lowest = moments[groups[-1][0]] if groups else 0.0
        opposite = lowest < -NO_SIGN and moments[place] > NO_SIGN
        if groups and not opposite and moments[place] - lowest <= ALIKE:
            groups[-1].append(place)
        else:
            groups.append([place])
    return sorted((sorted(group) for group in groups), key=lambda group: group[0])


def free_kind(symbol: str, number: int, taken: set[str]) -> str:
    """A kind with a number, such as Mn1, that no other atoms have.

    Raises
    ------
    InputError
        If there is none left.
    """
    last = 99 if len(symbol) == 1 else 35
    names = (layer_kind(f"{symbol}.{n}") for n in range(number, last + 1))
    found = next((name for name in names if name not in taken), None)
    if found is None:
        raise InputError(f"kinds: {symbol} has more kinds than can be named; give fewer different moments or kinds")
    return found


def pointing_up(film: Film, moments: Mapping[str, float]) -> tuple[dict[str, float], str | None]:
    """Moments (mu_B, by kind) of which the magnets' sum points along n, and in words whether all were reversed for it.

    Reversing every moment changes no number, D being even in n; the gate takes n for the magnetisation's direction.
    """
    total = sum(
        moments.get(kind, 0.0) for kind, symbol in zip(film.kinds, film.symbols, strict=True) if symbol in film.magnets
    )
    if total >= 0:
        return dict(moments), None
    # Not -0.0, which another film with the same numbers would not have.
    reversed_ = {kind: -moment if moment else 0.0 for kind, moment in moments.items()}
    return reversed_, "all moments reversed, so that the magnetisation points along n: D is the same"


def check_order(film: Film) -> None:
    """Refuse what the theory here is not of.

    Raises
    ------
    InputError
        If the moments cancel.
    """
    if film.order == ORDERS[2]:
        given = ", ".join(f"{kind} {moment:+g}" for kind, moment in sorted(film.moments.items()) if moment)
        raise InputError(
            f"moments: antiferromagnetic ones were given ({given} mu_B); D here is of one magnetisation that turns as "
            "a whole, of ferromagnets and ferrimagnets; give other moments (--moment), or magnetic layers that do not "
            "cancel"
        )
