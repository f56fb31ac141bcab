"""The engine: numpy and scipy only, what runs on the cluster. Nothing in here knows AiiDA."""

from .errors import InputError
from .model.rashba import RashbaModel
from .model.wannier import WannierModel
from .output.results import load_result, save_result
from .run.compute import compute
from .symmetry.symmetrise import symmetrised

__all__ = ["InputError", "RashbaModel", "WannierModel", "compute", "load_result", "save_result", "symmetrised"]
