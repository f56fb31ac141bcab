"""Which inputs of a calculation differ from its protocol, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiida import orm

from aiida_dmi.provenance.protocol import nearest_protocol

MISSING = "-"


@dataclass(frozen=True)
class Difference:
    """One input: its key as in the protocol file, what was used, and what the protocol says."""

    key: str
    used: str
    protocol: str


def protocol_differences(node: orm.WorkChainNode) -> tuple[str, list[Difference]]:
    """The protocol that a DmiWorkChain's inputs are nearest to, and where they differ.

    Parameters
    ----------
    node : DmiWorkChain

    Returns
    -------
    name : str
        See `aiida_dmi.provenance.protocol.nearest_protocol`.
    differences : list of Difference
    """
    name, found = nearest_protocol(node)
    if "wannier_model" not in node.inputs:
        # A response of a finished model is compared by the response; the gate's table beside it says what was forced.
        found.pop("force", None)
    rows = [(key.replace(".kpoints_mesh", " mesh"), *map(_text, pair)) for key, pair in found.items()]
    return name, [Difference(*row) for row in rows]


def _text(value: Any) -> str:
    """Short: lists of many numbers by their ends."""
    if value is None:
        return MISSING
    if isinstance(value, list) and len(value) > 6 and all(isinstance(v, (int, float)) for v in value):
        return f"{value[0]:g}, {value[1]:g}, ... {value[-1]:g} ({len(value)})"
    if isinstance(value, list):
        return ", ".join(_text(v) for v in value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(v)}" for key, v in sorted(value.items()))
    return f"{value:g}" if isinstance(value, float) else str(value)
