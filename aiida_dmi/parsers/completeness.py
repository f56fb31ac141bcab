"""Parser of `dmi.completeness`."""

from __future__ import annotations

from aiida_dmi.data.completeness import CompletenessData
from aiida_dmi.parsers.engine import EngineParser


class CompletenessParser(EngineParser):
    """Makes a CompletenessData of the completeness file."""

    OUTPUT = "completeness"
    DATA = CompletenessData
