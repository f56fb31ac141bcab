"""Which CalcJob runs which program: decided here and nowhere else."""

from __future__ import annotations

from aiida.orm import AbstractCode
from aiida.plugins import CalculationFactory

CODES = {
    "pw": "quantumespresso.pw",
    "pw2wannier90": "quantumespresso.pw2wannier90",
    "wannier90": "dmi.wannier90",
    "engine": "dmi.model",
}
"""Names that `get_builder_from_protocol` takes codes under, with the plugin each code is set up for."""

Wannier90Calculation = CalculationFactory("dmi.wannier90")


def check_codes(codes: dict[str, AbstractCode]) -> None:
    """Refuse missing or unknown codes.

    Raises
    ------
    ValueError
        Naming what is missing or not known.
    """
    missing, unknown = sorted(set(CODES) - set(codes)), sorted(set(codes) - set(CODES))
    if missing or unknown:
        what = [f"missing {', '.join(missing)}"] if missing else []
        what += [f"unknown {', '.join(unknown)}"] if unknown else []
        raise ValueError(f"codes: {'; '.join(what)}; expected {', '.join(CODES)}")
