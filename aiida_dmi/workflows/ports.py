"""Inputs as they are put together, before there is a builder: the same for every workchain that has these ports."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from aiida.engine import ProcessBuilderNamespace
from aiida.orm import Node

Builder = TypeVar("Builder", bound=ProcessBuilderNamespace)


class Ports(dict[str, Any]):
    """A namespace of inputs: ports as attributes or keys; a namespace is there as soon as it is named."""

    def __missing__(self, key: str) -> Ports:
        self[key] = space = Ports()
        return space

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_"):
            raise AttributeError(key)
        return self[key]

    def __setattr__(self, key: str, value: Any) -> None:
        self[key] = value


def fill(builder: Builder, ports: Mapping[str, Any], only: Collection[str] = (), but: Collection[str] = ()) -> Builder:
    """Set in a builder, or in a namespace of it, what stands in `ports`.

    Parameters
    ----------
    builder : ProcessBuilder or ProcessBuilderNamespace
    ports : Ports
    only, but : collections of str
        Ports of the first level that are set alone, or left out.

    Returns
    -------
    ProcessBuilder or ProcessBuilderNamespace
        The same, for a return.
    """
    for key, value in ports.items():
        if key in but or (only and key not in only):
            continue
        if isinstance(value, Ports):
            if value:
                fill(builder[key], value)
        else:
            setattr(builder, key, value)
    return builder


def inputs_of(builder: Mapping[str, Any]) -> dict[str, Any]:
    """What is set in a builder or in a namespace of it, without the namespaces in which nothing is."""
    found = {}
    for key, value in builder.items():
        if not isinstance(value, Mapping) or isinstance(value, Node):
            found[key] = value
        elif inside := inputs_of(value):
            found[key] = inside
    return found
