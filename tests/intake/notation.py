"""Films written down in one line each: a plane lattice, and the layers from below with their distances."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import ase
import numpy as np
import yaml

VACUUM = 14.0
SITES = {
    # Thirds of a1 + a2 (60 degrees) are the three sites of a close-packed layer.
    "hexagonal": {"A": (0, 0), "B": (1 / 3, 1 / 3), "C": (2 / 3, 2 / 3)},
    "rectangular": {"A": (0, 0), "B": (1 / 2, 1 / 2), "C": (1 / 2, 0), "D": (0, 1 / 2)},
    # bcc(110): B is the long bridge, the hollow of the layer below.
    "centred": {"A": (0, 0), "B": (1 / 2, 0)},
}
ATOM = re.compile(r"([A-Z][a-z]?)(?:([A-D])|\(([-.\d]+),([-.\d]+)\))")


@dataclasses.dataclass(frozen=True)
class Lattice:
    """Two vectors of the plane, Angstrom, the names of their sites, and the area as the textbook has it."""

    vectors: tuple[tuple[float, float], tuple[float, float]]
    sites: str
    area: float


def hexagonal(a: float) -> Lattice:
    return Lattice(((a, 0.0), (a / 2, a * 3**0.5 / 2)), "hexagonal", a * a * 3**0.5 / 2)


def rectangular(a: float, b: float) -> Lattice:
    return Lattice(((a, 0.0), (0.0, b)), "rectangular", a * b)


LATTICES = {
    "hexagonal": hexagonal,
    "rectangular": rectangular,
    "square": lambda a: rectangular(a, a),
    "fcc111": lambda a: hexagonal(a / 2**0.5),
    "fcc001": lambda a: rectangular(a / 2**0.5, a / 2**0.5),
    "bcc110": lambda a: Lattice(((a, 0.0), (a / 2, a / 2**0.5)), "centred", a * a / 2**0.5),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """A film and what the intake is to make of it.

    name, source; stack: layers from below with their distances, such as 'PtA 2.26 PtB 2.04 CoC'; atoms of one
    layer joined by +, at a site's letter or at fractions of a1 and a2, such as Te(0.66,0.03).
    lattice: one of LATTICES with its lengths, Angstrom.
    layers: names of the layers, in the order of the stack, as they are to come out; those of one layer joined by +.
    parts: a letter a layer: s(ubstrate), m(agnet), x (spacer), c(ap).
    over: whether the film is to be turned over.
    t: thickness of the magnet, or the distances that make it; None where no distance is one.
    said: what the user says (keys of `choices.Choices`).
    given: whether +z stays as given; then the film is not to be turned over.
    zero: 'inversion' or 'mirror' where D vanishes by symmetry.
    notes: pieces of what has to be said.
    """

    name: str
    source: str
    lattice: Lattice
    stack: str
    layers: str
    parts: str
    t: float | list[float] | None
    said: dict = dataclasses.field(default_factory=dict)
    given: bool = False
    over: bool = False
    zero: str | None = None
    notes: list[str] = dataclasses.field(default_factory=list)

    def atoms(self) -> ase.Atoms:
        """The film in the middle of its vacuum, upright, pbc (T, T, T)."""
        vectors, sites = np.array(self.lattice.vectors), SITES[self.lattice.sites]
        symbols, positions, z = [], [], VACUUM / 2
        for word in self.stack.split():
            if not word[0].isalpha():
                z += float(word)
                continue
            for atom in word.split("+"):
                symbol, letter, u, v = ATOM.fullmatch(atom).groups()
                symbols.append(symbol)
                fraction = sites[letter] if letter else (float(u), float(v))
                positions.append([*(np.array(fraction) @ vectors), z])
        cell = np.zeros((3, 3))
        cell[:2, :2], cell[2, 2] = vectors, z + VACUUM / 2
        return ase.Atoms(symbols, positions=positions, cell=cell, pbc=True)

    @property
    def expected_names(self) -> list[str]:
        """Layer of every atom, in the order of the stack."""
        names: list[str] = []
        # A layer of the result may hold several of the stack's: it goes on as long as its elements do.
        layers = [dict(part.split(".") for part in layer.split("+")) for layer in self.layers.split()]
        counts = self.atoms_of_layers()
        for layer, count in zip(layers, counts, strict=True):
            names += [f"{symbol}.{layer[symbol]}" for symbol in count]
        return names

    def atoms_of_layers(self) -> list[list[str]]:
        """Symbols of each layer that is to come out: what follows within 0.5 Angstrom is one."""
        layers: list[list[str]] = []
        step = None
        for word in self.stack.split():
            if not word[0].isalpha():
                step = float(word)
                continue
            symbols = [ATOM.fullmatch(atom)[1] for atom in word.split("+")]
            if step is not None and step <= 0.5:
                layers[-1] += symbols
            else:
                layers.append(symbols)
        return layers

    @property
    def thickness(self) -> float | None:
        """t, Angstrom."""
        return sum(self.t) if isinstance(self.t, list) else self.t


def read_films() -> list[Entry]:
    """The entries of films.yaml."""
    found = []
    for given in yaml.safe_load(Path(__file__).with_name("films.yaml").read_text()):
        name, *lengths = given.pop("lattice").split()
        found.append(Entry(lattice=LATTICES[name](*map(float, lengths)), **given))
    return found
