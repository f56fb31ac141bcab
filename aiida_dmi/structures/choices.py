"""What a user says of a film in place of the intake's rules: in Python, in overrides, on the command line."""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from ase.data import chemical_symbols

from aiida_dmi.engine.errors import InputError

KINDS = ("element", "layer")
NORMALS = ("up", "down")


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
    kinds : {'element', 'layer'} or None
        One kind an element, or one a layer; rule: the slab's own.
    moments : mapping or None
        Kind to starting moment, mu_B, as the structure came with them.
    """

    magnets: tuple[str, ...] | None = None
    substrate: str | None = None
    normal: str | None = None
    thickness: float | None = None
    vacuum: float | None = None
    kinds: str | None = None
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
            magnets = [part for part in re.split(r"[,\s]+", magnets) if part]
        if isinstance(magnets, Set):
            magnets = sorted(magnets)
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
        kinds = values.get("kinds")
        if kinds is not None and kinds not in KINDS:
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
        return {key: value for key, value in stored.items() if value is not None}

    def changed(self, other: Choices) -> Choices:
        """These choices where the other says nothing."""
        said = {field.name: getattr(other, field.name) for field in dataclasses.fields(other)}
        said = {key: value for key, value in said.items() if value is not None}
        # One word on which way is up takes the place of the other.
        if "substrate" in said or "normal" in said:
            said = {"substrate": None, "normal": None, **said}
        return dataclasses.replace(self, **said)


def _element(value: Any) -> bool:
    return isinstance(value, str) and value in chemical_symbols[1:]


def _number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, numbers.Real) and math.isfinite(value)


def _length(value: Any) -> bool:
    return _number(value) and value > 0
