"""Parser of `dmi.overlaps`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from aiida.orm import Data, Dict

from aiida_dmi.engine.build.overlaps import Summary
from aiida_dmi.parsers.engine import EngineParser


class OverlapsParser(EngineParser):
    """Makes a Dict of the engine's summary; the overlaps themselves stay in the remote folder."""

    OUTPUT = "output_parameters"

    def _result(self, path: Path) -> Data:
        expected = {field.name for field in dataclasses.fields(Summary)}
        try:
            content = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path.name} is not a readable summary ({error})") from error
        if not isinstance(content, dict) or set(content) != expected:
            raise ValueError(f"{path.name} is not a readable summary: expected {', '.join(sorted(expected))}")
        return Dict(content)
