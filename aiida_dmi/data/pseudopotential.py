"""Pseudopotentials of the engine as nodes."""

from __future__ import annotations

import io

from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.engine.build.pseudopotential import Pseudopotential


def upf_data(pseudo: Pseudopotential, filename: str) -> UpfData:
    """A node that is not yet stored, with the exact z_valence.

    aiida-pseudo takes whole numbers of valence electrons only and finds the rounded one that `Pseudopotential.to_upf`
    writes into PP_INFO. The node of a mixture, which has 16.8 of them, is to say so.

    Parameters
    ----------
    pseudo : Pseudopotential
    filename : str
        Under which pw.x will find it.
    """
    node = UpfData(io.BytesIO(pseudo.to_upf().encode()), filename=filename)
    if not pseudo.valence.is_integer():
        node.base.attributes.set("z_valence", pseudo.valence)
    return node
