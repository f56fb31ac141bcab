"""Parser of `dmi.model`."""

from __future__ import annotations

from aiida_dmi.data.model import WannierModelData
from aiida_dmi.parsers.engine import EngineParser


class WannierModelParser(EngineParser):
    """Makes a WannierModelData of the model file."""

    OUTPUT = "model"
    DATA = WannierModelData
