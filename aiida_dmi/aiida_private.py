"""Members of AiiDA and of its plugins that are not public, each with the reason; no other module uses any.

`tests/test_private_members.py` holds the package to it.
"""

from __future__ import annotations

from typing import Any

from aiida.engine import CalcJob
from aiida.orm.nodes.caching import NodeCaching
from aiida_pseudo.groups.mixins.cutoffs import RecommendedCutoffMixin

CUTOFFS: str = RecommendedCutoffMixin._key_cutoffs
"""The extra of a family that holds its recommended cutoffs, by stringency and element. The public methods ask the
database for it several times for each stringency; a campaign of thousands of films asks for the cutoffs of each."""
CUTOFF_UNITS: str = RecommendedCutoffMixin._key_cutoffs_unit
"""The extra that holds their units, by stringency; as `CUTOFFS`."""

HASH: str = NodeCaching._HASH_EXTRA_KEY
"""The extra of a node that holds its hash. `get_hash` computes it, for one node that is loaded; a query that looks for
jobs with equal inputs needs its name."""


class VersionedCalcJob(CalcJob):
    """A CalcJob that adds to the versions on its node.

    They enter the hash that caching looks for, so that they have to be there when the node is stored. AiiDA stores it
    as soon as it has written its own versions, and no public method with the inputs at hand is called in between.
    """

    def further_versions(self) -> dict[str, Any]:
        """Name to version, beside those of AiiDA's own."""
        return {}

    def _setup_version_info(self) -> dict[str, Any]:
        info = super()._setup_version_info()
        attributes = self.node.base.attributes
        known = attributes.get(self.KEY_CACHE_VERSION, {})
        attributes.set(self.KEY_CACHE_VERSION, {**known, **self.further_versions()})
        return info
