"""Time reversal of a collinear model: noise of the Wannier functions that breaks it is averaged away.

That a nscf run needs one of k and -k only, for the same reason, is in `irreducible`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from ..model.wannier import NOISE, TIME_REVERSAL_WARNING, WannierModel

Complexes = npt.NDArray[np.complex128]


def imposed(model: WannierModel) -> WannierModel:
    """A model with the noise of its time reversal averaged away.

    A collinear run without spin-orbit interaction has time reversal; what Hbar, A, O and the projections lack of it is
    noise of the Wannier functions' gauge (1e-6 to 1e-4 eV). X(q) and X(-q)* are replaced by their mean; then a(I),
    a(II) and D(1) need one of k and -k only (`engine.channels`). A model that lacks more than `TIME_REVERSAL_WARNING`
    is left alone.

    Parameters
    ----------
    model : WannierModel

    Returns
    -------
    WannierModel
        With attribute `time_reversal_noise`: what was averaged away, eV or Angstrom; the gate judges it.
    """
    noise, opposite = model.time_reversal_error, model.opposite
    if noise > TIME_REVERSAL_WARNING:
        return model

    def mean(operator: Complexes, axis: int = 1, sign: int = 1) -> Complexes:
        return np.asarray((operator + sign * np.conj(np.take(operator, opposite, axis=axis))) / 2)

    # d_j beta of a real function at k is minus the conjugate of that at -k.
    gradients = None if model.gradients is None else tuple(mean(gradient, sign=-1) for gradient in model.gradients)
    return dataclasses.replace(
        model,
        hamiltonian=mean(model.hamiltonian),
        position=mean(model.position),
        overlap=mean(model.overlap, axis=0),
        projections=tuple(mean(projection) for projection in model.projections),
        gradients=gradients,
        attributes={**model.attributes, NOISE: noise},
    )
