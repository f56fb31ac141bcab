"""What the inputs of a workchain were made by: recorded when it is started, so that nobody has to guess later.

It stands with the process itself (AiiDA's `metadata_inputs`), and so in every archive that holds the process.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from aiida import orm

from aiida_dmi.aiida_types import Spec
from aiida_dmi.workflows.protocols.utils import load_protocol, read_protocols

ORIGIN = "origin"


def define_origin(spec: Spec) -> None:
    """The port of a workchain that has builders by protocol."""
    spec.input(
        ORIGIN,
        valid_type=dict,
        required=False,
        is_metadata=True,
        help="What made these inputs: protocol, overrides, magnetic_moments as given, pseudo_family and cutoffs as "
        "decided. Written by the builders, read by `aiida-dmi report` and `trace`; nothing is computed from it.",
    )


def origin_of(
    protocol: str | None,
    overrides: dict[str, Any] | None,
    pseudos: dict[str, Any] | None = None,
    magnetic_moments: dict[str, float] | None = None,
    cutoffs: orm.Dict | None = None,
) -> dict[str, Any]:
    """The value of the port.

    Parameters
    ----------
    protocol, overrides, pseudos, magnetic_moments
        As given to a builder.
    cutoffs : Dict, optional
        What `workflows.cutoffs.settle` decided.

    Returns
    -------
    dict
        `protocol` (its name), `digest` (of what it said then), `overrides`, `pseudo_family` (None where the
        pseudopotentials were given one by one), `magnetic_moments`, `cutoffs` (in words).
    """
    name = protocol or read_protocols()["default_protocol"]
    decided = {} if cutoffs is None else cutoffs.get_dict()
    given = {
        "overrides": overrides or {},
        "pseudo_family": None if pseudos else decided.get("family"),
        "magnetic_moments": magnetic_moments,
        "cutoffs": decided.get("words"),
    }
    # As a database holds it: AiiDA leaves out without a word what is of other types.
    plain: dict[str, Any] = json.loads(json.dumps(given, default=str))
    return {"protocol": name, "digest": protocol_digest(name), **plain}


def protocol_digest(name: str) -> str:
    """Of everything that a protocol says."""
    return hashlib.sha256(json.dumps(load_protocol(name, None), sort_keys=True).encode()).hexdigest()


def recorded_origin(chain: orm.WorkChainNode) -> dict[str, Any] | None:
    """What a workchain's inputs were made by; None where it was not recorded."""
    found: dict[str, Any] | None = (chain.get_metadata_inputs() or {}).get(ORIGIN)
    return found
