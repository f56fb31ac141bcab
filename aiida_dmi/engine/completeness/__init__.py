"""What the Wannier functions leave out: D(1), a(I), a(II) in plane waves, and results put right by them."""

from .correct import corrected
from .file import load_completeness, save_completeness
from .run import complete
from .spec import CompletenessSpec

__all__ = ["CompletenessSpec", "complete", "corrected", "load_completeness", "save_completeness"]
