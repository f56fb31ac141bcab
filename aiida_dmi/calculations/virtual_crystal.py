"""Calculation function: the pseudopotential of a doped layer."""

from __future__ import annotations

from aiida import orm
from aiida.engine import calcfunction
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.calculations.functions import read_pseudo
from aiida_dmi.data.pseudopotential import upf_data
from aiida_dmi.engine.build.virtual_crystal import formula, virtual_crystal


@calcfunction
def virtual_crystal_pseudo(first: UpfData, second: UpfData, fraction: orm.Float) -> UpfData:
    """Mix two pseudopotentials as operators: `first` with weight 1 - fraction, `second` with weight fraction.

    Parameters
    ----------
    first, second : UpfData
        Norm-conserving and fully relativistic, of one family.
    fraction : Float
        0 to 1.

    Returns
    -------
    UpfData
        Its `element` is that of the larger weight, its `z_valence` in general no integer; the file's name says what
        it is, such as Co0.8Fe0.2.upf. See `aiida_dmi.engine.build.virtual_crystal` for what such an atom means.

    Raises
    ------
    InputError
        If the two cannot be mixed.
    """
    one, other = read_pseudo(first), read_pseudo(second)
    mixture = virtual_crystal(one, other, fraction.value)
    return upf_data(mixture, f"{formula(one.element, other.element, fraction.value)}.upf")
