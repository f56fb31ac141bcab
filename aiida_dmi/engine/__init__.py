"""The engine: numpy and scipy only, what runs on the cluster. Nothing in here knows AiiDA.

Names are imported when they are first used, so that `dmi-engine` can set the number of threads before
numpy is loaded.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compute import compute
    from .errors import InputError
    from .model import WannierModel
    from .rashba import RashbaModel
    from .results import load_result, save_result

__all__ = ["InputError", "RashbaModel", "WannierModel", "compute", "load_result", "save_result"]

_HOME = {
    "InputError": "errors",
    "RashbaModel": "rashba",
    "WannierModel": "model",
    "compute": "compute",
    "load_result": "results",
    "save_result": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
