"""The engine: numpy and scipy only, what runs on the cluster. Nothing in here knows AiiDA."""

from .compute import compute
from .errors import InputError
from .model import WannierModel
from .rashba import RashbaModel
from .results import load_result, save_result

__all__ = ["InputError", "RashbaModel", "WannierModel", "compute", "load_result", "save_result"]
