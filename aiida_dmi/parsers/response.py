"""Parser of `dmi.response`."""

from __future__ import annotations

from aiida_dmi.data.response import DmiData
from aiida_dmi.parsers.engine import EngineParser


class DmiParser(EngineParser):
    """Makes a DmiData of the result file."""

    OUTPUT = "response"
    DATA = DmiData
