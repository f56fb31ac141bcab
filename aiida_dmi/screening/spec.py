"""The spec of a screening campaign, checked before anything else happens: `schema` says what may stand in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiida_dmi.engine.errors import InputError, brief
from aiida_dmi.engine.files.yaml_text import load_yaml
from aiida_dmi.screening import schema
from aiida_dmi.screening.schema import Rigid
from aiida_dmi.workflows.protocols.strict import checked
from aiida_dmi.workflows.protocols.utils import load_protocol

FROM_SPEC = {
    "masks": "soi_masks",
    "directions": "directions",
    "shifts": "fermi_shifts",
    "temperatures": "temperatures",
}
"""Keys of the spec that are arguments of the response; in the overrides they would be said twice."""


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

    @classmethod
    def of(cls, entries: Sequence[schema.Doping] | None) -> Dopings:
        """From the entries of a list, each of one kind."""
        given = entries or ()
        return cls(
            next((entry.rigid for entry in given if entry.rigid is not None), None),
            tuple(entry.vca for entry in given if entry.vca is not None),
            tuple(entry.exchange for entry in given if entry.exchange is not None),
        )


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
        raise InputError(f"spec {path}: no valid YAML ({brief(error)})") from error
    if not isinstance(content, dict):
        known = ", ".join(schema.Content.model_fields)
        raise InputError(f"spec {path}: expected a mapping with {known}; `systems` has to be there")
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
        Naming the place, what was given and what is expected.
    """
    given = checked(schema.Content, content, "", terse=True)
    overrides = _with_response(given)
    try:
        load_protocol(given.protocol, overrides)
    except ValueError as error:
        raise InputError(str(error)) from error
    return Spec(
        name=given.name,
        systems=tuple(_system(f"systems[{n}]", entry, given) for n, entry in enumerate(given.systems)),
        protocol=given.protocol,
        overrides=overrides,
        codes=given.codes or {},
        options=given.options,
    )


def _with_response(given: schema.Content) -> dict[str, Any]:
    """The overrides, with the arguments of the response that have keys of their own."""
    there = [key for key in FROM_SPEC if key in given.model_fields_set]
    response = given.overrides.get("response") or {}
    if not there or not isinstance(response, Mapping):
        return dict(given.overrides)
    for key in there:
        if FROM_SPEC[key] in response:
            raise InputError(f"{key}: overrides.response.{FROM_SPEC[key]} is given too; give one of them")
    own = {FROM_SPEC[key]: getattr(given, key) for key in there}
    if "masks" in there:
        # The film as it is comes first: the headline numbers are its.
        own["soi_masks"] = {"all": ["all"], **given.masks}
    if "shifts" in there:
        own["fermi_shifts"] = sorted({0.0, *given.shifts})
    return {**given.overrides, "response": {**response, **own}}


def _system(where: str, entry: schema.Entry, spec: schema.Content) -> System:
    layers = None if entry.has_layers else entry.layers or spec.layers
    if layers is None and not entry.has_layers:
        raise InputError(f"{where}.layers: None was given, expected {schema.LAYERS_HELP}")
    keys = [key for key in (*schema.SOURCES, *schema.GRID) if key in entry.model_fields_set]
    return System(
        given={key: getattr(entry, key) for key in keys},
        layers=tuple(layers or ()),
        changes=entry.changes,
        dopings=Dopings.of(entry.dopings if "dopings" in entry.model_fields_set else spec.dopings),
        moments=spec.moments if entry.moments is None else entry.moments,
    )
