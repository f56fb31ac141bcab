"""Every quantity there is: those of the modules of this package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

from . import __path__
from .quantity import Derived, Quantity


def _found() -> tuple[list[Quantity], list[Derived]]:
    """`QUANTITIES` and `DERIVED` of the modules beside this one, each in its place."""
    quantities: list[Quantity] = []
    derived: list[Derived] = []
    for module in pkgutil.iter_modules(__path__):
        if f"{__package__}.{module.name}" == __name__:
            continue
        content = importlib.import_module(f"{__package__}.{module.name}")
        quantities += getattr(content, "QUANTITIES", ())
        derived += getattr(content, "DERIVED", ())
    return sorted(quantities, key=lambda one: (one.place, one.name)), derived


_EVERY, DERIVED = _found()
QUANTITIES: dict[str, Quantity] = {one.name: one for one in _EVERY if one.method == "bands"}
"""By name, in the order of results and tables; those that accompany others among them."""
OTHER_WAYS: dict[tuple[str, str], Quantity] = {(one.name, one.method): one for one in _EVERY if one.method != "bands"}
"""Second ways to a quantity's number, by name and method."""
NAMES: tuple[str, ...] = tuple(name for name, one in QUANTITIES.items() if one.accompanies is None)
"""What can be asked for."""
BY_DEFAULT: tuple[str, ...] = tuple(name for name in NAMES if QUANTITIES[name].by_default)
"""What a run computes that names no quantities."""
METHODS: tuple[str, ...] = ("bands", *sorted({method for _, method in OTHER_WAYS}))
TITLES: dict[str, str] = {
    **{name: one.title for name, one in QUANTITIES.items()},
    **{one.name: one.title for one in DERIVED},
}
"""What each number of a result is, quantities and what follows from them."""
SYMBOLS: dict[str, str] = {
    **{name: one.symbol or name for name, one in QUANTITIES.items()},
    **{one.name: one.symbol for one in DERIVED},
}
"""How each is written, by name, in the order of `TITLES`."""


def asked(names: Sequence[str], method: str = "bands") -> tuple[Quantity, ...]:
    """The quantities behind names, with those that accompany them.

    Parameters
    ----------
    names : sequence of str
        Of `NAMES`.
    method : str
        Of `METHODS`; where a quantity has no such way, it is the bands'.
    """
    wanted = [one for name, one in QUANTITIES.items() if name in names or one.accompanies in names]
    return tuple(OTHER_WAYS.get((one.name, method), one) for one in wanted)


def stands_alone(name: str) -> bool:
    """Whether a number of a result is one of its own; one that comes with another says how good that is."""
    return name not in QUANTITIES or QUANTITIES[name].accompanies is None


def is_finite(name: str) -> bool:
    """Whether a number of a result is one of H(xi), and has the dimension soi_scale."""
    return name in QUANTITIES and QUANTITIES[name].finite
