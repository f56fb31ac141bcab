"""A film: its layers and their parts, magnets, thickness, and what was decided of them.

A film lies in the xy plane. Layers are named by element and number, counted from the interface: `Pt.1` is the substrate
layer next to the magnet, `Pt.2` the one below it; `Co.1` is the magnet's layer at the interface, `Co.2` the one above
it. Layers that are not magnetic between the magnet's (spacers of a multilayer) and a cap on top of it count upwards and
go on where the substrate's layers of the same element end. In a film on its head, +z from the magnet to the substrate,
the substrate is above: names and parts are those of the film the other way up.

`intake.take_in` decides everything here once, from whatever a user has; the decision travels with the run as the
mapping of `Film.record`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from aiida import orm

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.heights import LAYER_TOLERANCE, cluster_layers, heights_of
from aiida_dmi.structures.symmetry import FOR_EVERY_N

MAGNETS = ("Cr", "Mn", "Fe", "Co", "Ni")
"""Elements that carry a film's magnetism unless others are named."""

PARTS = ("substrate", "magnet", "spacer", "cap")
"""What a layer belongs to; a spacer lies between two magnetic layers."""

GROUPS = ("all", *PARTS, "interface")
"""Names of parts of a film; `interface` is the magnet's first layer and the substrate's first."""

LAYER_NAME = re.compile(r"([A-Z][a-z]?)\.(\d+)(?:-(\d+))?")

FLAT = 1e-3
"""Angstrom by which a lattice vector of the plane may rise out of it."""
RECORD_VERSION = 1
NEEDED = (
    "symbols", "layers", "magnets", "multilayer", "normal", "thickness_angstrom", "thickness_rule", "moments_bohr",
    "vanishing", "decisions",
)  # fmt: skip
"""Keys of a record without which it is none."""
LEAST_STEP = 0.6
"""Angstrom; layers nearer than this are terraces or a rumpled layer, and their distance is no thickness."""
COMPENSATED = 0.05
"""Part of the sum of all moments' sizes below which a sum of some of them counts as none."""
ORDERS = ("ferromagnetic", "ferrimagnetic", "antiferromagnetic")

FROM_SUBSTRATE = "+z from the substrate to the magnet"
TO_SUBSTRATE = "+z from the magnet to the substrate"
AS_GIVEN = "+z as given"


def cancels(total: float, absolute: float) -> bool:
    """Whether a magnetisation is an antiferromagnet's: its total next to nothing beside its absolute value."""
    return abs(total) < COMPENSATED * abs(absolute)


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
    heights : tuple of float
        z of every atom, Angstrom, the film in one piece.
    area : float
        Of the cell, Angstrom^2; nan where it is not known.
    multilayer : bool
        Whether layers that are not magnetic may lie between magnetic ones.
    normal : str
        What +z is: `FROM_SUBSTRATE`, `TO_SUBSTRATE` or `AS_GIVEN`; the sign of D rests on it.
    given_thickness : float or None
        t as the user gave it, Angstrom.
    moments : mapping
        Moment of every kind, mu_B, as far as it is known: the starting ones; of a model its own.
    vanishing : str or None
        Why D vanishes by symmetry, in words; None where it need not.
    decisions : tuple of str
        One line on everything that a rule decided and that might surprise.
    """

    symbols: tuple[str, ...]
    kinds: tuple[str, ...]
    layers: tuple[tuple[int, ...], ...]
    magnets: tuple[str, ...] = MAGNETS
    heights: tuple[float, ...] = ()
    area: float = float("nan")
    multilayer: bool = False
    normal: str = FROM_SUBSTRATE
    given_thickness: float | None = None
    moments: Mapping[str, float] = dataclasses.field(default_factory=dict)
    vanishing: str | None = None
    decisions: tuple[str, ...] = ()

    @classmethod
    def of(cls, structure: Any, magnets: Sequence[str] | None = None, **known: Any) -> Film:
        """Read the layers of a structure as it stands, its normal z.

        Parameters
        ----------
        structure : StructureData, ase.Atoms or WannierModel
            Anything with `symbols`, `positions` (Angstrom) and `cell`; atoms may be wrapped across the cell's face.
        magnets : sequence of str, optional
            Magnetic elements; default `MAGNETS`.
        **known
            Further attributes.

        Raises
        ------
        InputError
            If its first two lattice vectors do not lie in the xy plane.
        """
        if isinstance(structure, orm.StructureData):
            kinds = tuple(site.kind_name for site in structure.sites)
            symbols = tuple(structure.get_kind(kind).symbol for kind in kinds)
        else:
            symbols = tuple(str(symbol) for symbol in structure.symbols)
            arrays = getattr(structure, "arrays", {})
            kinds = tuple(str(kind) for kind in arrays["kinds"]) if "kinds" in arrays else symbols
        cell = np.asarray(structure.cell, dtype=float)
        if np.abs(cell[:2, 2]).max() > FLAT:
            raise InputError(
                "structure: its first two lattice vectors do not lie in the xy plane, heights are no layers then; "
                "`structures.slab.film_from_ase` or `film_from_structure` turn it"
            )
        heights = heights_of(structure)
        return cls(
            symbols,
            kinds,
            cluster_layers(heights),
            tuple(MAGNETS if magnets is None else magnets),
            heights,
            float(np.linalg.norm(np.cross(cell[0], cell[1]))),
            **known,
        )

    # -- parts -----------------------------------------------------------------------------------------

    @cached_property
    def magnetic(self) -> tuple[bool, ...]:
        """Whether each layer holds a magnetic element."""
        return tuple(any(self.symbols[site] in self.magnets for site in layer) for layer in self.layers)

    @property
    def in_one_block(self) -> bool:
        """Whether there is a magnet, and nothing else between its layers unless the film is a multilayer."""
        if not any(self.magnetic):
            return False
        first, last = self.magnetic.index(True), len(self.layers) - 1 - self.magnetic[::-1].index(True)
        return self.multilayer or all(self.magnetic[first : last + 1])

    @cached_property
    def magnetic_block(self) -> tuple[int, int]:
        """First and last magnetic layer, as indices into `layers`.

        Raises
        ------
        InputError
            If no layer is magnetic, or layers that are not stand between two that are and the film is no multilayer.
        """
        if not any(self.magnetic):
            raise InputError(
                f"structure: no magnetic layer among {', '.join(dict.fromkeys(self.symbols))} "
                f"(looked for {', '.join(self.magnets)}); give `magnets` (--magnets), the elements that carry the "
                "magnetism"
            )
        first, last = self.magnetic.index(True), len(self.layers) - 1 - self.magnetic[::-1].index(True)
        if not self.in_one_block:
            raise InputError(
                f"structure: two magnets with other layers in between were given (upwards: "
                f"{self._upwards(first, last)}), one was expected; give `magnets` (--magnets), the elements of the one "
                "that counts, or `normal` (--normal up or down) to take all of them as one multilayer"
            )
        return first, last

    @cached_property
    def outward(self) -> tuple[int, ...]:
        """Layers (indices into `layers`) from the substrate to the cap: upwards, downwards in a film on its head."""
        indices = tuple(range(len(self.layers)))
        return indices[::-1] if self.normal == TO_SUBSTRATE else indices

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """Which of `PARTS` each layer is."""
        first, last = self.magnetic_block
        below, above = ("cap", "substrate") if self.normal == TO_SUBSTRATE else ("substrate", "cap")
        return tuple(
            below if index < first else above if index > last else "magnet" if self.magnetic[index] else "spacer"
            for index in range(len(self.layers))
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Layer name of every atom, such as `Pt.1`.

        Each element's layers are numbered in the order magnet outwards, substrate inwards, spacers and cap outwards.
        """
        order = [index for index in self.outward if self.parts[index] == "magnet"]
        order += [index for index in reversed(self.outward) if self.parts[index] == "substrate"]
        order += [index for part in ("spacer", "cap") for index in self.outward if self.parts[index] == part]
        counts: dict[str, int] = {}
        names = [""] * len(self.symbols)
        for index in order:
            for symbol in dict.fromkeys(self.symbols[site] for site in self.layers[index]):
                counts[symbol] = counts.get(symbol, 0) + 1
                for site in self.layers[index]:
                    if self.symbols[site] == symbol:
                        names[site] = f"{symbol}.{counts[symbol]}"
        return tuple(names)

    def elements(self, part: str) -> list[str]:
        """Elements of one of `PARTS`, from the lowest layer upwards."""
        layers = [layer for layer, own in zip(self.layers, self.parts, strict=True) if own == part]
        return list(dict.fromkeys(self.symbols[site] for layer in layers for site in layer))

    def group(self, name: str) -> list[int]:
        """Atoms of one of `GROUPS`; empty where the film has no such part."""
        if name == "all":
            return list(range(len(self.symbols)))
        if name == "interface":
            first = next(place for place, index in enumerate(self.outward) if self.magnetic[index])
            chosen = [self.layers[index] for index in self.outward[max(first - 1, 0) : first + 1]]
        else:
            chosen = [layer for layer, part in zip(self.layers, self.parts, strict=True) if part == name]
        return sorted(site for layer in chosen for site in layer)

    def sites(self, name: str) -> list[int]:
        """Atoms that one name stands for; see `layers.sites_of`."""
        if name in GROUPS:
            found = self.group(name)
        elif layer := LAYER_NAME.fullmatch(name):
            element, first, last = layer[1], int(layer[2]), int(layer[3] or layer[2])
            most = self._count(element)
            # A range that runs past the last layer is a mistake, not a request for the rest.
            inside = 1 <= first <= last <= most
            wanted = {f"{element}.{number}" for number in range(first, last + 1)} if inside else set()
            found = [site for site, own in enumerate(self.names) if own in wanted]
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
            layers = [f"{element}.1" + (f"-{n}" if (n := self._count(element)) > 1 else "") for element in elements]
            words += [
                f"layers {', '.join(layers)}",
                f"groups {', '.join(name for name in GROUPS if self.group(name))}",
            ]
        except InputError as error:
            words.append(f"no numbered layers ({error})")
        kinds = sorted(set(self.kinds) - set(elements))
        return "; ".join([*words, *([f"kinds {', '.join(kinds)}"] if kinds else [])])

    def _count(self, element: str) -> int:
        return sum(name.startswith(f"{element}.") for name in set(self.names))

    def _upwards(self, first: int, last: int) -> str:
        """Elements of some layers, in words."""
        layers = self.layers[first : last + 1]
        return " / ".join("+".join(dict.fromkeys(self.symbols[site] for site in layer)) for layer in layers)

    # -- numbers ---------------------------------------------------------------------------------------

    @cached_property
    def layer_heights(self) -> tuple[float, ...]:
        """Mean z of every layer, Angstrom."""
        return tuple(float(np.mean([self.heights[site] for site in layer])) for layer in self.layers)

    @cached_property
    def thickness(self) -> float | None:
        """Thickness t of the magnetic film, Angstrom, which turns D into an energy per volume.

        Given, or the sum over its layers of the distance to the layer below. A single magnetic layer thus counts with
        its distance from the substrate; the lowest layer of a film without substrate with the mean distance of the
        others. None for a single layer with nothing below, and where layers lie too near for their distance to be one.
        """
        if self.given_thickness is not None:
            return self.given_thickness
        if self._no_thickness is not None:
            return None
        return float(np.mean(self._steps) * self.parts.count("magnet"))

    @property
    def thickness_rule(self) -> str:
        """Where t comes from, in words."""
        if self.given_thickness is not None:
            return "given"
        if self._no_thickness is not None:
            return f"not defined: {self._no_thickness}; give `thickness` (--thickness) for mJ/m^2"
        return "distances of the magnetic layers to the layers below" + (
            "; without the spacers" if "spacer" in self.parts else ""
        )

    @property
    def _steps(self) -> list[float]:
        """Distance of each magnetic layer to the layer below it, towards the substrate, as far as there is one."""
        pairs = itertools.pairwise(self.outward)
        chosen = [(below, index) for below, index in pairs if self.parts[index] == "magnet"]
        return [abs(self.layer_heights[index] - self.layer_heights[below]) for below, index in chosen]

    @property
    def _no_thickness(self) -> str | None:
        """Why the distances of the layers are no thickness, in words."""
        if not self._steps:
            return "a single layer with nothing below"
        if min(self._steps) < LEAST_STEP:
            return f"layers {min(self._steps):.2f} Angstrom apart"
        return "layers that run into each other" if self.sloped else None

    @cached_property
    def sloped(self) -> tuple[tuple[int, int], ...]:
        """Pairs of atoms of two layers, the lower one first, that are no further apart than atoms of one layer."""
        pairs = []
        for low, high in itertools.pairwise(self.layers):
            first, second = max(low, key=self.heights.__getitem__), min(high, key=self.heights.__getitem__)
            if self.heights[second] - self.heights[first] <= LAYER_TOLERANCE:
                pairs.append((first, second))
        return tuple(pairs)

    @property
    def order(self) -> str | None:
        """Magnetic order of the magnets' moments, one of `ORDERS`; None where none is known."""
        carriers = [kind for kind, symbol in zip(self.kinds, self.symbols, strict=True) if symbol in self.magnets]
        moments = [float(self.moments.get(kind, 0.0)) for kind in carriers]
        up, down = sum(m for m in moments if m > 0), -sum(m for m in moments if m < 0)
        if up == down == 0.0:
            return None
        # What is next to nothing on the other side makes no ferrimagnet.
        if min(up, down) < COMPENSATED * (up + down):
            return ORDERS[0]
        return ORDERS[2] if cancels(up - down, up + down) else ORDERS[1]

    # -- record ----------------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """What was decided, as the mapping that is stored with a run; `from_record` is its inverse.

        Returns
        -------
        dict
            `layer` and `part` (one an atom), `layers` (atom numbers, from the lowest up), `magnets`, `substrate`,
            `spacer`, `cap` (elements), `normal`, `thickness_angstrom`, `thickness_rule`, `area_angstrom2`, `order`,
            `moments_bohr` (by kind), `vanishing`, `vanishing_for_every_n`, `decisions`.
        """
        part = {site: own for layer, own in zip(self.layers, self.parts, strict=True) for site in layer}
        return {
            "version": RECORD_VERSION,
            "symbols": list(self.symbols),
            "layer": list(self.names),
            "part": [part[site] for site in range(len(self.symbols))],
            "layers": [list(layer) for layer in self.layers],
            "magnets": list(self.magnets),
            **{name: self.elements(name) for name in ("substrate", "spacer", "cap")},
            "multilayer": self.multilayer,
            "normal": self.normal,
            "thickness_angstrom": self.thickness,
            "thickness_rule": self.thickness_rule,
            "area_angstrom2": self.area,
            "order": self.order,
            "moments_bohr": dict(self.moments),
            "vanishing": self.vanishing,
            "vanishing_for_every_n": bool(self.vanishing) and str(self.vanishing).startswith(FOR_EVERY_N),
            "decisions": list(self.decisions),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], structure: Any) -> Film:
        """The film of a run: its layers as they were decided, on the atoms as they stand now.

        Parameters
        ----------
        record : mapping
            From `record`.
        structure : StructureData, ase.Atoms or WannierModel
            The same atoms in the same order; relaxed ones may stand elsewhere.

        Raises
        ------
        InputError
            If the record is of other atoms.
        """
        read = cls.of(structure, record["magnets"])
        if list(read.symbols) != list(record["symbols"]):
            raise InputError(
                f"film: a record of {' '.join(record['symbols'])} was given, the structure has "
                f"{' '.join(read.symbols)}; leave the record out, or make the builder anew from this structure"
            )
        given = record["thickness_angstrom"] if record["thickness_rule"] == "given" else None
        return dataclasses.replace(
            read,
            layers=tuple(tuple(layer) for layer in record["layers"]),
            multilayer=bool(record["multilayer"]),
            normal=str(record["normal"]),
            given_thickness=given,
            moments=dict(record["moments_bohr"]),
            vanishing=record["vanishing"],
            decisions=tuple(record["decisions"]),
        )
