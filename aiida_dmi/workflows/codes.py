"""Which CalcJob runs which program: decided here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from aiida.orm import AbstractCode, ContainerizedCode
from aiida.plugins import CalculationFactory


def _wannier90() -> str:
    """The official plugin where it is installed (aiida-wannier90), else the bundled one with the same ports."""
    return "wannier90.wannier90" if find_spec("aiida_wannier90") else "dmi.wannier90"


CODES = {
    "pw": "quantumespresso.pw",
    "pw2wannier90": "quantumespresso.pw2wannier90",
    "pp": "quantumespresso.pp",
    "wannier90": _wannier90(),
    "engine": "dmi.model",
}
"""Names that `get_builder_from_protocol` takes codes under, with the plugin each code is set up for."""

OPTIONAL = ("pw2wannier90", "pp")
"""Those that only some inputs need: see `needed`."""

WITHOUT_PP = (
    "pp (pp.x) reads the potential for `completeness`; make it with `aiida-dmi setup` (--computer), or leave that step "
    "out with `completeness: null`"
)
"""What to do where there is no such code: it came later than the others, and some protocols ask for it."""

RANKS = re.compile(r"\s-np (\d+)$")
"""End of a container engine's command that starts MPI ranks inside the container."""

Wannier90Calculation: Any = CalculationFactory(CODES["wannier90"])


def needed(inputs: Mapping[str, Any], response: bool = True) -> list[str]:
    """Names of the codes that inputs by protocol need (`protocols.utils.load_protocol`).

    Parameters
    ----------
    inputs : mapping
    response : bool
        Whether a response follows the model: only that is completed.
    """
    completed = response and inputs["completeness"] is not None
    asked = {"pw2wannier90": inputs["overlaps"] == "pw2wannier90", "pp": completed}
    return [name for name in CODES if asked.get(name, True)]


def check_codes(codes: Mapping[str, AbstractCode], names: Sequence[str]) -> None:
    """Refuse missing or unknown codes.

    Parameters
    ----------
    codes : dict
    names : sequence of str
        Those that must be there.

    Raises
    ------
    ValueError
        Naming what is missing or not known.
    """
    missing, unknown = sorted(set(names) - set(codes)), sorted(set(codes) - set(CODES))
    if missing == ["pp"] and not unknown:
        raise ValueError(f"codes: missing pp; {WITHOUT_PP}")
    if missing or unknown:
        what = [f"missing {', '.join(missing)}"] if missing else []
        what += [f"unknown {', '.join(unknown)}"] if unknown else []
        raise ValueError(f"codes: {'; '.join(what)}; expected {', '.join(CODES)}")


def ranks_inside(code: AbstractCode) -> int | None:
    """MPI ranks that a code starts in its container; None where that is left to the job's mpirun."""
    match = RANKS.search(code.engine_command) if isinstance(code, ContainerizedCode) else None
    return int(match[1]) if match else None
