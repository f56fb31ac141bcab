"""Parser of `dmi.overlaps`."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from aiida.orm import Data, Dict

from aiida_dmi.engine.build.overlaps import Summary
from aiida_dmi.parsers.engine import EngineParser


class OverlapsParser(EngineParser):
    """Makes a Dict of the engine's summary; the overlaps themselves stay in the remote folder."""

    OUTPUT = "output_parameters"

    def _result(self, path: Path) -> Data:
        return Dict(read_summary(path))


def read_summary(path: Path) -> dict[str, Any]:
    """The engine's `Summary` as it wrote it.

    Raises
    ------
    ValueError
        If the file is no whole summary: of other keys, or with numbers that are none or not finite.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is not a readable summary ({error})") from error
    expected = {field.name for field in dataclasses.fields(Summary)}
    if not isinstance(content, dict) or set(content) != expected:
        raise ValueError(f"{path.name} is not a readable summary: expected {', '.join(sorted(expected))}")
    for key, value in content.items():
        numbers = value if isinstance(value, list) else [value]
        # AiiDA's database takes neither nan nor integers of any size.
        if not all(type(x) in (int, float) and abs(x) < 2**53 and math.isfinite(x) for x in numbers):
            raise ValueError(f"{path.name} is not a readable summary: {key} holds what is no number of this size")
    return content
