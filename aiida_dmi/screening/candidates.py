"""From a spec to its candidates: every film that is to be computed, described completely and named once."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import ase
from aiida import orm
from aiida_pseudo.groups.family import PseudoPotentialFamily

from aiida_dmi.aiida_types import Kind
from aiida_dmi.data.lookup import find_node
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.build.virtual_crystal import formula
from aiida_dmi.engine.constants import ELEMENTS
from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.spec import Dopings, Spec, System
from aiida_dmi.structures.bilayer import film_arguments, film_label
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.convert import atoms_of
from aiida_dmi.structures.crystals import SURFACES, crystal_of
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.geometry import bilayer
from aiida_dmi.structures.intake import take_in
from aiida_dmi.structures.runs import film_of_model
from aiida_dmi.structures.slab import choices_of, choices_of_bilayer
from aiida_dmi.workflows.cutoffs import settle
from aiida_dmi.workflows.families import family
from aiida_dmi.workflows.protocols.utils import load_protocol

KEY_VERSION = 1
"""Part of every key: raised when the same description would be computed differently."""

NO_PHYSICS = ("clean_workdir",)
"""Inputs of the protocol that change no number."""


@dataclass(frozen=True)
class Candidate:
    """A film to be computed.

    Attributes
    ----------
    label : str
        Such as 'Co/Pt(111) 1+1, Co.1 = Co0.8Fe0.2'.
    source : mapping
        One of `film` (arguments of `bilayer_structure`), `structure`, `model` (uuids).
    mixtures : mapping
        Layer to (element, part): virtual crystals.
    moments : mapping or None
        Starting moments by name, mu_B.
    protocol : str or None
    overrides : mapping
    facts : mapping
        What the table shows of it: magnet, substrate, cap, layers, host, doping, series, x, substituted.
    """

    label: str
    source: Mapping[str, Any]
    mixtures: Mapping[str, tuple[str, float]] = field(default_factory=dict)
    moments: Mapping[str, float] | None = None
    protocol: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """The protocol's inputs with the overrides, before what the cell's height changes."""
        return self.inputs_for(0.0)

    def inputs_for(self, height: float) -> dict[str, Any]:
        """`load_protocol` of the candidate's, for a cell of this height (Angstrom)."""
        return load_protocol(self.protocol, dict(self.overrides), height)

    @cached_property
    def settled(self) -> tuple[dict[str, Any], PseudoPotentialFamily]:
        """The inputs of the film, for its height and with its cutoffs, and the family of its pseudopotentials.

        Raises
        ------
        InputError
            If there is no family, or it recommends no cutoffs and none are given.
        """
        atoms = self.atoms()
        inputs = self.inputs_for(atoms.cell[2][2])
        group = family(inputs["pseudo_family"])
        settle(inputs, {*atoms.get_chemical_symbols(), *(element for element, _ in self.mixtures.values())}, group)
        return {**inputs, "pseudo_family": group.label}, group

    @cached_property
    def key(self) -> str:
        """Hash of everything that decides the numbers: the film with every distance, the doping, all inputs.

        Codes and resources are not in it: another code is another campaign's business (`aiida-dmi query made-with`).
        """
        inputs = {name: value for name, value in self._decided().items() if name not in NO_PHYSICS}
        if not any(inputs["film"].values()):
            # Nothing was said: as before it could be said.
            del inputs["film"]
        if "model" in self.source:
            inputs = {name: inputs[name] for name in ("response", "quality", "force")}
            # Of the model's own gate, and later than such keys.
            inputs["quality"] = {name: limit for name, limit in inputs["quality"].items() if name != "basis"}
        described = [KEY_VERSION, dict(self.source), dict(self.mixtures), self.moments and dict(self.moments), inputs]
        text = json.dumps(described, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _decided(self) -> dict[str, Any]:
        """The inputs, with family and cutoffs as this profile decides them; as given where it cannot."""
        if "model" in self.source:
            return self.inputs
        try:
            inputs, _ = self.settled
        except InputError:
            return self.inputs
        return {name: value for name, value in inputs.items() if name != "cutoffs"}

    def atoms(self) -> ase.Atoms:
        """The host film's atoms; nothing is stored."""
        return self._taken[0]

    @property
    def film(self) -> Film:
        """The host film: layers, magnets, normal; nothing is stored."""
        return self._taken[1]

    @cached_property
    def _taken(self) -> tuple[ase.Atoms, Film]:
        """What the intake makes of the source.

        Raises
        ------
        InputError
            As `geometry.bilayer` and `intake.take_in`, or if there is no such node.
        """
        said = Choices.checked(self.inputs["film"])
        if "model" in self.source:
            return _model_film(self.source["model"], said)
        if "film" in self.source:
            arguments = {key: value for key, value in self.source["film"].items() if key != "kinds"}
            atoms, choices = bilayer(**arguments), choices_of_bilayer(arguments)
            choices = dataclasses.replace(choices, kinds=self.source["film"].get("kinds"))
        else:
            node = load("structure", self.source["structure"], orm.StructureData)
            atoms, choices = atoms_of(node), choices_of(node)
        taken = take_in(atoms, choices.changed(said))
        return taken.atoms, taken.film


@lru_cache(maxsize=64)
def _model_film(uuid: str, said: Choices) -> tuple[ase.Atoms, Film]:
    """A model's film: hundreds of candidates may share its file."""
    node = load("model", uuid, WannierModelData)
    model = node.load()
    atoms = ase.Atoms(model.symbols, positions=model.positions, cell=model.cell, pbc=model.periodic)
    return atoms, film_of_model(node, choices=said)


def expand(spec: Spec) -> list[Candidate]:
    """The candidates of a spec, in its order, each once.

    Every film stands for itself; each entry of `vca` and `exchange` adds films. A doping applies to the films that
    have its layers. Rigid shifts add no candidate: they are further shifts of every film's own run.

    Raises
    ------
    InputError
        If a film cannot be built, a node does not exist, or a doping applies to no film of its system.
    """
    films = [(base, system.dopings) for system in spec.systems for base in _films(spec, system)]
    labels = _told_apart([base for base, _ in films])
    candidates: dict[str, Candidate] = {}
    unused: dict[str, str] = {}
    used: set[str] = set()
    for film, dopings in films:
        label = labels[film.key]
        base = dataclasses.replace(film, label=label, facts={**film.facts, "host": label})
        applied, varied = _varied(base, dopings)
        used |= applied
        unused |= dict.fromkeys((", ".join(entry) for entry in (*dopings.vca, *dopings.exchange)), base.label)
        for candidate in [base, *varied]:
            candidates.setdefault(candidate.key, candidate)
    if left := sorted(set(unused) - used):
        raise InputError(f"dopings: no film of the spec has the layers {'; '.join(left)} (nor {unused[left[0]]})")
    labels = _told_apart(candidates.values())
    return [dataclasses.replace(candidate, label=labels[key]) for key, candidate in candidates.items()]


def _told_apart(candidates: Iterable[Candidate]) -> dict[str, str]:
    """Labels by key; films of one label, such as with other distances, get the beginning of their keys behind it."""
    given = {candidate.key: candidate.label for candidate in candidates}
    counts = Counter(given.values())
    return {key: f"{label} [{key[:6]}]" if counts[label] > 1 else label for key, label in given.items()}


def load(what: str, identifier: Any, kind: type[Kind]) -> Kind:
    """A stored node by uuid, pk or label.

    Raises
    ------
    InputError
        If there is none of this kind.
    """
    try:
        node = find_node(str(identifier))
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    if not isinstance(node, kind):
        raise InputError(f"{what}: node {identifier!r} is a {type(node).__name__}, expected a {kind.__name__}")
    return node


# -- films -------------------------------------------------------------------------------------------------


def _films(spec: Spec, system: System) -> Iterator[Candidate]:
    """The films of one system, undoped."""
    common: dict[str, Any] = {
        "moments": system.moments,
        "protocol": spec.protocol,
        "overrides": _overrides(spec, system),
    }
    for source, name in (("structure", orm.StructureData), ("model", WannierModelData)):
        if source in system.given:
            node = load(source, system.given[source], name)
            yield _finished(Candidate(_node_label(node), {source: node.uuid}, **common), system)
            return
    for text in _texts(system):
        arguments = film_arguments(text, **system.changes)
        yield _finished(Candidate(film_label(arguments), {"film": arguments}, **common), system)


def _texts(system: System) -> list[str]:
    """Names of the films, as `structures.bilayer.film` takes them."""
    given = system.given
    if "film" in given:
        text = str(given["film"]).strip()
        return [f"{text}:{layers}" for layers in system.layers] or [text]
    texts = []
    caps = given.get("caps") or [None]
    for magnet, substrate, cap, layers in itertools.product(given["magnets"], given["substrates"], caps, system.layers):
        surface = str(given.get("surface", SURFACES[crystal_of(substrate).lattice][0]))
        stack = [*([cap] if cap else []), magnet, substrate]
        texts.append(f"{'/'.join(stack)}({surface}):{layers}")
    return texts


def _node_label(node: orm.Data) -> str:
    symbols = node.base.attributes.get("symbols", None)
    formula_ = "".join(symbols) if symbols else node.get_formula()
    return node.label or f"{formula_} {node.uuid[:8]}"


def _overrides(spec: Spec, system: System) -> dict[str, Any]:
    """The spec's overrides, with the shifts of a rigid doping among those of the response."""
    rigid = system.dopings.rigid
    if rigid is None:
        return dict(spec.overrides)
    given = load_protocol(spec.protocol, dict(spec.overrides))["response"]["fermi_shifts"]
    # 0 belongs to it: x counts the electrons from there.
    shifts = sorted({0.0, *map(float, given), *rigid.shifts})
    response = {**spec.overrides.get("response", {}), "fermi_shifts": shifts}
    return {**spec.overrides, "response": response}


def _finished(candidate: Candidate, system: System) -> Candidate:
    """With the facts of its film."""
    symbols = candidate.atoms().symbols
    rigid = system.dopings.rigid
    substituted = rigid.substituted if rigid else None
    if rigid is not None and substituted is not None and not set(substituted) <= set(symbols):
        # Elements of other films of the system: those that are there share the electrons.
        substituted = tuple(element for element in substituted if element in symbols)
        if not substituted:
            raise InputError(f"rigid.substituted: {candidate.label} has none of {', '.join(rigid.substituted or ())}")
    facts = {
        **_parts(candidate),
        "host": candidate.label,
        "doping": "rigid" if rigid else "none",
        "series": "",
        "x": 0.0,
        "substituted": list(substituted) if substituted else None,
    }
    return dataclasses.replace(candidate, facts=facts)


def _parts(candidate: Candidate) -> dict[str, str]:
    """Elements of magnet, substrate and cap, and the numbers of layers from the top down."""
    film = candidate.film
    first, last = film.magnetic_block
    counts = [len(film.layers) - 1 - last, last - first + 1, first]
    groups = {name: film.group(name) for name in ("magnet", "substrate", "cap")}
    elements = {name: "/".join(dict.fromkeys(film.symbols[n] for n in sites)) for name, sites in groups.items()}
    return {**elements, "layers": "+".join(str(count) for count in counts if count)}


# -- dopings -----------------------------------------------------------------------------------------------


def _varied(base: Candidate, dopings: Dopings) -> tuple[set[str], list[Candidate]]:
    """Names of the dopings that apply to a film, and the films they make of it."""
    applied, made = set(), []
    for kind, entries, vary in (("vca", dopings.vca, _mixed), ("exchange", dopings.exchange, _exchanged)):
        for entry in entries:
            if not _has_layers(base, entry):
                continue
            applied.add(", ".join(entry))
            if "model" in base.source or (kind == "exchange" and "structure" in base.source):
                needed = "a film by name or a structure" if kind == "vca" else "a film by name"
                raise InputError(f"dopings: {kind} of {base.label} needs {needed}; it is given as a finished node")
            made += [vary(base, choice) for choice in _choices(entry)]
    return applied, made


def _has_layers(base: Candidate, names: Sequence[str] | Mapping[str, Any]) -> bool:
    for name in names:
        try:
            base.film.sites(name)
        except InputError:
            return False
    return True


def _choices(entry: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One choice for each layer: (element, x) of a virtual crystal, an element of an exchange."""
    options = [
        [(element, x) for element, parts in given.items() for x in parts] if isinstance(given, Mapping) else list(given)
        for given in entry.values()
    ]
    for choice in itertools.product(*options):
        yield dict(zip(entry, choice, strict=True))


def _mixed(base: Candidate, mixtures: dict[str, tuple[str, float]]) -> Candidate:
    """A film with virtual crystals in some layers.

    x is the common part, below 0 where the new elements stand on the left of the old ones, as for a rigid shift; None
    where the layers differ.
    """
    hosts = {name: base.film.symbols[base.film.sites(name)[0]] for name in mixtures}
    words = [f"{name} = {formula(hosts[name], element, x)}" for name, (element, x) in mixtures.items()]
    parts = {x if _left_to_right(hosts[name], element) else -x for name, (element, x) in mixtures.items()}
    series = "/".join(f"{hosts[name]}1-x{element}x" for name, (element, _) in mixtures.items())
    facts = {
        **base.facts,
        "doping": "vca",
        "series": f"{series} in {', '.join(mixtures)}",
        "x": parts.pop() if len(parts) == 1 else None,
    }
    return dataclasses.replace(base, label=", ".join([base.label, *words]), mixtures=mixtures, facts=facts)


def _left_to_right(host: str, element: str) -> bool:
    """Whether an element has more protons than the one it replaces."""
    for symbol in (host, element):
        if symbol not in ELEMENTS:
            raise InputError(f"dopings: {symbol!r} was given, expected a chemical symbol")
    return ELEMENTS.index(element) > ELEMENTS.index(host)


def _exchanged(base: Candidate, elements: dict[str, str]) -> Candidate:
    """A film with other elements in some layers."""
    arguments = dict(base.source["film"])
    arguments["substitutions"] = {**(arguments.get("substitutions") or {}), **elements}
    words = ", ".join(f"{name} = {element}" for name, element in elements.items())
    changed = dataclasses.replace(base, label=film_label(arguments), source={"film": arguments})
    facts = {**base.facts, **_parts(changed), "doping": "exchange", "series": words, "x": None}
    return dataclasses.replace(changed, facts=facts)
