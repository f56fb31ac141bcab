"""The spec of a screening campaign: what may stand in the YAML file, checked before anything else happens."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.yaml_text import load_yaml
from aiida_dmi.structures.film import LAYER_NAME
from aiida_dmi.workflows.protocols.utils import load_protocol

KEYS = (
    "name",
    "systems",
    "layers",
    "dopings",
    "masks",
    "directions",
    "shifts",
    "temperatures",
    "moments",
    "protocol",
    "overrides",
    "codes",
    "options",
)
"""Of the whole spec; `systems` is the only one that has to be there, and `name` for a campaign."""

GRID = ("magnets", "substrates", "caps", "surface")
SYSTEM_KEYS = ("film", *GRID, "structure", "model", "layers", "changes", "dopings", "moments")
SOURCES = ("film", "magnets", "structure", "model")
"""What a system is made from; one of them stands in every system."""

RIGID_KEYS = ("shifts", "substituted")
DOPINGS = ("rigid", "vca", "exchange")
LAYERS = re.compile(r"\d+(\+\d+)+")
NAME = re.compile(r"[\w.-]+")
FRACTION_HELP = "parts x above 0 and below 1"

FROM_SPEC = {
    "masks": "soi_masks",
    "directions": "directions",
    "shifts": "fermi_shifts",
    "temperatures": "temperatures",
}
"""Keys of the spec that are arguments of the response; in the overrides they would be said twice."""


@dataclass(frozen=True)
class Rigid:
    """Doping by a rigid shift of the Fermi level: one model for all shifts.

    Attributes
    ----------
    shifts : tuple of float
        eV, beside those of the spec.
    substituted : tuple of str or None
        Elements that share the added electrons; None: all of the film.
    """

    shifts: tuple[float, ...] = ()
    substituted: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Dopings:
    """What is varied in a film.

    Attributes
    ----------
    rigid : Rigid or None
    vca : tuple of mapping
        Each maps a layer's name to {element: parts x}; several layers of one entry are varied together (product).
    exchange : tuple of mapping
        Each maps a layer's name to the elements that take its place.
    """

    rigid: Rigid | None = None
    vca: tuple[Mapping[str, Mapping[str, Sequence[float]]], ...] = ()
    exchange: tuple[Mapping[str, Sequence[str]], ...] = ()


@dataclass(frozen=True)
class System:
    """One entry of `systems`: a film by name, a grid of elements, or a node that exists.

    Attributes
    ----------
    given : mapping
        `film`, or `magnets`, `substrates`, `caps` and `surface`, or `structure`, or `model`, as in the spec.
    layers : tuple of str
        Numbers of layers from the top down, such as '1+3'; empty where the film's name says them.
    changes : mapping
        Further arguments of `geometry.bilayer`, and `kinds`.
    dopings : Dopings
    moments : mapping or None
        Starting moments by name, mu_B.
    """

    given: Mapping[str, Any]
    layers: tuple[str, ...]
    changes: Mapping[str, Any]
    dopings: Dopings
    moments: Mapping[str, float] | None


@dataclass(frozen=True)
class Spec:
    """A campaign, checked.

    Attributes
    ----------
    name : str
        Of the campaign.
    systems : tuple of System
    protocol : str or None
    overrides : mapping
        Of the protocol, those of the response that `masks`, `directions`, `shifts` and `temperatures` make included.
    codes : mapping
        Name (pw, wannier90, engine, pw2wannier90) to the code's label.
    options : mapping or None
        `metadata.options` of the parallel programs.
    """

    name: str
    systems: tuple[System, ...]
    protocol: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    codes: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] | None = None


def read_spec(path: str | Path) -> Spec:
    """Read a spec from a YAML file; the campaign's default name is the file's.

    Raises
    ------
    InputError
        If it cannot be read, or as `parse_spec`.
    """
    path = Path(path)
    try:
        content = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"spec {path}: cannot be read ({error}); give a YAML file") from error
    except ValueError as error:
        raise InputError(f"spec {path}: no valid YAML ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"spec {path}: expected a mapping with {', '.join(KEYS)}; `systems` has to be there")
    return parse_spec({"name": path.stem, **content})


def parse_spec(content: Mapping[str, Any]) -> Spec:
    """Check a spec.

    Parameters
    ----------
    content : mapping
        As in the YAML file (docs/how-to/screen.md).

    Raises
    ------
    InputError
        Naming the key, what was given and what is expected.
    """
    _known("", content, KEYS)
    name = content.get("name", "")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(f"name: {name!r} was given, expected letters, digits, '.', '_' or '-'")
    protocol = content.get("protocol")
    overrides = _mapping("overrides", content.get("overrides"))
    response = dict(_mapping("overrides.response", overrides.get("response")))
    for key, argument in FROM_SPEC.items():
        if key in content:
            if argument in response:
                raise InputError(f"{key}: overrides.response.{argument} is given too; give one of them")
            response[argument] = content[key]
    if "masks" in content:
        # The film as it is comes first: the headline numbers are its.
        response["soi_masks"] = {"all": ["all"], **_mapping("masks", content["masks"])}
    if "shifts" in content:
        response["fermi_shifts"] = sorted({0.0, *_numbers("shifts", content["shifts"])})
    changed = {**overrides, **({"response": response} if response else {})}
    try:
        load_protocol(protocol, changed)
    except ValueError as error:
        raise InputError(str(error)) from error
    shared = _dopings("dopings", content.get("dopings"))
    systems = content.get("systems")
    if not isinstance(systems, list) or not systems:
        raise InputError(f"systems: {systems!r} was given, expected a list such as [{{film: Co/Pt(111)}}]")
    return Spec(
        name=name,
        systems=tuple(_system(f"systems[{n}]", entry, content, shared) for n, entry in enumerate(systems)),
        protocol=protocol,
        overrides=changed,
        codes=_mapping("codes", content.get("codes")),
        options=_mapping("options", content["options"]) if "options" in content else None,
    )


def _system(where: str, entry: Any, content: Mapping[str, Any], shared: Dopings) -> System:
    given = _mapping(where, entry)
    _known(f"{where}.", given, SYSTEM_KEYS)
    sources = [key for key in SOURCES if key in given]
    if len(sources) != 1:
        raise InputError(
            f"{where}: {', '.join(sources) or 'no source'} was given, expected one of {', '.join(SOURCES)}"
        )
    source = sources[0]
    if source == "magnets":
        for key in ("magnets", "substrates", "caps"):
            _names(f"{where}.{key}", given.get(key, [] if key == "caps" else None), empty=key == "caps")
    elif misplaced := [key for key in GRID if key in given]:
        raise InputError(
            f"{where}: {', '.join(misplaced)} given beside {source}; they belong to magnets and substrates"
        )
    if source in ("structure", "model") and (extra := [key for key in ("layers", "changes") if key in given]):
        raise InputError(f"{where}: {', '.join(extra)} given beside {source}, which is a finished film; remove them")
    named = source == "film" and ":" in str(given["film"])
    layers = (
        () if named or source in ("structure", "model") else _layers(where, given.get("layers", content.get("layers")))
    )
    if named and "layers" in given:
        raise InputError(f"{where}.layers: given, and {given['film']!r} names its layers already; give one of them")
    moments = given.get("moments", content.get("moments"))
    return System(
        given={key: given[key] for key in ("film", *GRID, "structure", "model") if key in given},
        layers=layers,
        changes=_mapping(f"{where}.changes", given.get("changes")),
        dopings=_dopings(f"{where}.dopings", given["dopings"]) if "dopings" in given else shared,
        moments=None if moments is None else _mapping("moments", moments),
    )


def _layers(where: str, given: Any) -> tuple[str, ...]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and LAYERS.fullmatch(t) for t in texts):
        raise InputError(f"{where}.layers: {given!r} was given, expected numbers from the top down such as ['1+3']")
    return tuple(texts)


def _dopings(where: str, given: Any) -> Dopings:
    """`dopings`: a list whose entries are {rigid: ...}, {vca: ...} or {exchange: ...}."""
    if given is None:
        return Dopings()
    if not isinstance(given, list):
        raise InputError(f"{where}: {given!r} was given, expected a list of {', '.join(DOPINGS)}")
    rigid: Rigid | None = None
    vca, exchange = [], []
    for number, entry in enumerate(given):
        place = f"{where}[{number}]"
        kinds = list(_mapping(place, entry))
        if len(kinds) != 1 or kinds[0] not in DOPINGS:
            raise InputError(f"{place}: {', '.join(map(str, kinds))} was given, expected one of {', '.join(DOPINGS)}")
        kind, value = kinds[0], entry[kinds[0]]
        if kind == "rigid":
            if rigid is not None:
                raise InputError(f"{place}: a second rigid doping; one model serves all shifts, give them in one")
            rigid = _rigid(f"{place}.rigid", value)
        elif kind == "vca":
            vca.append(_vca(f"{place}.vca", value))
        else:
            layers = _layer_mapping(f"{place}.exchange", value)
            exchange.append({layer: _names(f"{place}.exchange.{layer}", new) for layer, new in layers.items()})
    return Dopings(rigid, tuple(vca), tuple(exchange))


def _rigid(where: str, given: Any) -> Rigid:
    settings = _mapping(where, given)
    _known(f"{where}.", settings, RIGID_KEYS)
    substituted = settings.get("substituted")
    return Rigid(
        tuple(_numbers(f"{where}.shifts", settings.get("shifts", []))),
        None if substituted is None else _names(f"{where}.substituted", substituted),
    )


def _vca(where: str, given: Any) -> dict[str, dict[str, tuple[float, ...]]]:
    checked: dict[str, dict[str, tuple[float, ...]]] = {}
    for layer, elements in _layer_mapping(where, given).items():
        checked[layer] = {}
        for element, parts in _mapping(f"{where}.{layer}", elements).items():
            numbers = _numbers(f"{where}.{layer}.{element}", parts)
            if not numbers or not all(0 < x < 1 for x in numbers):
                raise InputError(
                    f"{where}.{layer}.{element}: {parts!r} was given, expected {FRACTION_HELP} "
                    "(0 is the film itself, 1 an exchange)"
                )
            checked[layer][element] = tuple(numbers)
        if not checked[layer]:
            raise InputError(f"{where}.{layer}: no element, expected such as {{Fe: [0.1, 0.2]}}")
    return checked


def _layer_mapping(where: str, given: Any) -> dict[str, Any]:
    layers = _mapping(where, given)
    for name in layers:
        if not LAYER_NAME.fullmatch(name):
            raise InputError(f"{where}: {name!r} was given, expected a layer such as Co.1 or Pt.1-2")
    if not layers:
        raise InputError(f"{where}: no layer, expected such as {{Co.1: ...}}")
    return layers


def _known(where: str, given: Mapping[str, Any], expected: Sequence[str]) -> None:
    unknown = [str(key) for key in given if key not in expected]
    if unknown:
        raise InputError(
            f"{', '.join(where + key for key in unknown)}: unknown; expected some of {', '.join(expected)}"
        )


def _mapping(where: str, given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise InputError(f"{where}: {given!r} was given, expected a mapping")
    return dict(given)


def _names(where: str, given: Any, empty: bool = False) -> tuple[str, ...]:
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or (not names and not empty):
        raise InputError(f"{where}: {given!r} was given, expected a list of elements (quote No and other YAML words)")
    return tuple(names)


def _numbers(where: str, given: Any) -> list[float]:
    values = given if isinstance(given, list) else [given]
    if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
        raise InputError(f"{where}: {given!r} was given, expected a list of numbers")
    return [float(value) for value in values]
