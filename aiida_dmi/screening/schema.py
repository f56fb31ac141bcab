"""What may stand in the spec of a campaign: its keys, the type of their values, and what goes with what."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

from aiida_quantumespresso.calculations.pw import PwCalculation
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from aiida_dmi.engine.errors import brief
from aiida_dmi.structures.film import LAYER_NAME
from aiida_dmi.structures.geometry import bilayer
from aiida_dmi.workflows.codes import CODES
from aiida_dmi.workflows.protocols.strict import NO_MAPPING, PlacedError, Strict, fits, number, or_none, quantity, shown

GRID = ("magnets", "substrates", "caps", "surface")
SOURCES = ("film", "magnets", "structure", "model")
"""What a system is made from; one of them stands in every system."""
FINISHED = ("structure", "model")
DOPINGS = ("rigid", "vca", "exchange")

NAME = re.compile(r"[\w.-]+")
LAYERS = re.compile(r"\d+(\+\d+)+")
LAYERS_HELP = "numbers from the top down such as ['1+3']"
FRACTION_HELP = "parts x above 0 and below 1"
TYPES = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "Sequence[float]": "a list of numbers",
    "Sequence[str]": "a list of texts",
}
"""Types of `geometry.bilayer`'s arguments, in words."""


# -- values ------------------------------------------------------------------------------------------------


def layer_numbers(value: Any) -> list[str] | None:
    """Numbers of layers, one or several films."""
    texts = [value] if isinstance(value, str) else value
    if value is None:
        return None
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and LAYERS.fullmatch(t) for t in texts):
        raise ValueError(f"expected {LAYERS_HELP}")
    return texts


def elements(value: Any) -> tuple[str, ...]:
    """Chemical symbols; whether they are some is known where films are built."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("expected a list of elements (quote No and other YAML words)")
    return tuple(names)


def numbers(value: Any) -> tuple[float, ...]:
    """One number or a list of them."""
    values = value if isinstance(value, list) else [value]
    if not all(number(item) for item in values):
        raise ValueError("expected a list of numbers")
    return tuple(float(item) for item in values)


def virtual_crystals(value: Any) -> dict[str, dict[str, tuple[float, ...]]]:
    """Layer to element to parts x."""
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    for layer, given in _by_layer(value).items():
        if not isinstance(given, dict) or not all(isinstance(element, str) for element in given):
            raise PlacedError((layer,), f": {shown(given)} was given, expected a mapping")
        if not given:
            raise PlacedError((layer,), ": no element, expected such as {Fe: [0.1, 0.2]}")
        found[layer] = {element: _parts(layer, element, parts) for element, parts in given.items()}
    return found


def _parts(layer: str, element: str, value: Any) -> tuple[float, ...]:
    parts: tuple[float, ...] = _placed((layer, element), numbers, value)
    if not parts or not all(0 < x < 1 for x in parts):
        raise PlacedError(
            (layer, element),
            f": {shown(value)} was given, expected {FRACTION_HELP} (0 is the film itself, 1 an exchange)",
        )
    return parts


def exchanges(value: Any) -> dict[str, tuple[str, ...]]:
    """Layer to the elements that take its place."""
    return {layer: _placed((layer,), elements, new) for layer, new in _by_layer(value).items()}


def _by_layer(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected a mapping")
    for name in value:
        if not isinstance(name, str) or not LAYER_NAME.fullmatch(name):
            raise PlacedError((), f": {shown(name)} was given, expected a layer such as Co.1 or Pt.1-2")
    if not value:
        raise PlacedError((), ": no layer, expected such as {Co.1: ...}")
    return value


def _placed(place: tuple[str, ...], check: Callable[[Any], Any], value: Any) -> Any:
    """A value inside another one, checked; the message names its place."""
    try:
        return check(value)
    except ValueError as error:
        raise PlacedError(place, f": {shown(value)} was given, {error}") from error


def film_changes(value: Any) -> dict[str, Any]:
    """Arguments of `geometry.bilayer`, each of the type that it says, and `kinds`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("expected a mapping")
    types, arguments = get_type_hints(bilayer), inspect.signature(bilayer).parameters
    for name, given in value.items():
        if name == "kinds":
            _placed((name,), fits(lambda kinds: kinds in ("element", "layer"), "element or layer"), given)
            continue
        if name not in arguments:
            raise PlacedError((str(name),), f": unknown; expected some of {', '.join([*arguments, 'kinds'])}")
        try:
            TypeAdapter(types[name], config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(given)
        except ValidationError as error:
            parts = [part for part in str(arguments[name].annotation).split(" | ") if part != "None"]
            expected = " or ".join(TYPES.get(part, f"a {part}") for part in parts)
            raise PlacedError((name,), f": {shown(given)} was given, expected {expected}") from error
    return value


def job_options(value: Any) -> dict[str, Any] | None:
    """Options of a job, as AiiDA knows them."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("expected a mapping")
    ports = PwCalculation.spec().inputs["metadata"]["options"]
    for name, given in value.items():
        if name not in ports:
            raise PlacedError((str(name),), f": unknown; expected some of {', '.join(sorted(ports))}")
        if problem := ports[name].validate(given):
            raise PlacedError((name,), f": {shown(given)} was given; {brief(problem.message)}")
    return value


def miller_indices(value: Any) -> str:
    """Miller indices, also as the number that YAML makes of them: 111, and 1 for 001."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:03d}"
    if not isinstance(value, str):
        raise ValueError("expected Miller indices such as 111")
    return value


def named(value: Any) -> dict[str, Any]:
    """A mapping whose keys are text."""
    if value is not None and (not isinstance(value, dict) or not all(isinstance(name, str) for name in value)):
        raise ValueError("expected a mapping")
    return value or {}


def _node(value: Any) -> bool:
    return bool(value) and isinstance(value, (str, int)) and not isinstance(value, bool)


Layers = Annotated[Any, AfterValidator(layer_numbers)]
Elements = Annotated[Any, AfterValidator(elements)]
Numbers = Annotated[Any, AfterValidator(numbers)]
Named = Annotated[Any, AfterValidator(named)]
Identifier = Annotated[Any, AfterValidator(fits(_node, "a pk, uuid or label"))]
Moments = dict[str, Annotated[Any, quantity()]] | None


# -- mappings ----------------------------------------------------------------------------------------------


class Rigid(Strict):
    """Doping by a rigid shift of the Fermi level: one model for all shifts.

    Attributes
    ----------
    shifts : tuple of float
        eV, beside those of the spec.
    substituted : tuple of str or None
        Elements that share the added electrons; None: all of the film.
    """

    shifts: Numbers = ()
    substituted: Annotated[Any, AfterValidator(or_none(elements))] = None


class Doping(Strict):
    """One entry of `dopings`: one of its three kinds."""

    rigid: Rigid | None = None
    vca: Annotated[Any, AfterValidator(virtual_crystals)] = None
    exchange: Annotated[Any, AfterValidator(exchanges)] = None

    @model_validator(mode="before")
    @classmethod
    def keys_are_known(cls, given: Any) -> Any:
        """One of the three."""
        if not isinstance(given, dict):
            raise PydanticCustomError(NO_MAPPING, "no mapping")
        if len(given) != 1 or next(iter(given)) not in DOPINGS:
            raise PlacedError((), f": {', '.join(map(str, given))} was given, expected one of {', '.join(DOPINGS)}")
        # `rigid:` with nothing behind it takes the spec's shifts.
        return {key: {} if key == "rigid" and value is None else value for key, value in given.items()}


def one_rigid(given: list[Doping] | None) -> list[Doping]:
    """Dopings; of the rigid ones one at most."""
    found = [place for place, entry in enumerate(given or []) if entry.rigid is not None]
    if len(found) > 1:
        raise PlacedError((found[1],), ": a second rigid doping; one model serves all shifts, give them in one")
    return given or []


Dopings = Annotated[list[Doping] | None, AfterValidator(one_rigid)]


class Entry(Strict):
    """One entry of `systems`: a film by name, a grid of elements, or a node that exists."""

    film: str = ""
    magnets: Elements = ()
    substrates: Elements = ()
    caps: Annotated[Any, AfterValidator(lambda value: () if value in (None, []) else elements(value))] = ()
    surface: Annotated[Any, AfterValidator(miller_indices)] = None
    structure: Identifier = None
    model: Identifier = None
    layers: Layers = None
    changes: Annotated[Any, AfterValidator(film_changes)] = Field(default_factory=dict)
    dopings: Dopings = None
    moments: Moments = None

    @model_validator(mode="after")
    def keys_go_together(self) -> Entry:
        """One source, and with it what belongs to it."""
        given = self.model_fields_set
        sources = [key for key in SOURCES if key in given]
        if len(sources) != 1:
            raise PlacedError(
                (), f": {', '.join(sources) or 'no source'} was given, expected one of {', '.join(SOURCES)}"
            )
        source = sources[0]
        if source == "magnets" and "substrates" not in given:
            raise PlacedError(("substrates",), ": None was given, expected a list of elements")
        if source != "magnets" and (misplaced := [key for key in GRID if key in given]):
            raise PlacedError(
                (), f": {', '.join(misplaced)} given beside {source}; they belong to magnets and substrates"
            )
        if source in FINISHED and (extra := [key for key in ("layers", "changes") if key in given]):
            raise PlacedError((), f": {', '.join(extra)} given beside {source}, which is a finished film; remove them")
        if source == "film" and ":" in self.film and "layers" in given:
            raise PlacedError(("layers",), f": given, and {self.film!r} names its layers already; give one of them")
        return self

    @property
    def has_layers(self) -> bool:
        """Whether the source says the layers itself."""
        return self.structure is not None or self.model is not None or ":" in self.film


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list such as [{film: Co/Pt(111)}]")
    return value


class Content(Strict):
    """A whole spec; `systems` has to be there, and `name` for a campaign."""

    name: Annotated[Any, AfterValidator(fits(
        lambda name: isinstance(name, str) and NAME.fullmatch(name) is not None, "letters, digits, '.', '_' or '-'",
    ))] = ""  # fmt: skip
    systems: Annotated[list[Entry], BeforeValidator(_listed)] = Field(default=None, validate_default=True)
    layers: Layers = None
    dopings: Dopings = None
    masks: Named = Field(default_factory=dict)
    directions: Any = None
    shifts: Numbers = ()
    temperatures: Any = None
    moments: Moments = None
    protocol: str | None = None
    overrides: Named = Field(default_factory=dict)
    codes: dict[str, str] | None = None
    options: Annotated[Any, AfterValidator(job_options)] = None

    @model_validator(mode="after")
    def codes_are_known(self) -> Content:
        """Codes by the names that the workflow has for them."""
        if unknown := [name for name in self.codes or {} if name not in CODES]:
            raise PlacedError(("codes",), f": {', '.join(unknown)} is unknown; expected some of {', '.join(CODES)}")
        return self
