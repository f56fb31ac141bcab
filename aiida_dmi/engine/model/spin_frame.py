"""The spin frame of a direction n, and V in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..arguments import listed, numbers, refusal

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]


def spin_frame(direction: Sequence[float]) -> Floats:
    """Right-handed axes (e_1, e_2, n) of the spin frame whose third axis is the direction n.

    `direction` is the axis of the spin-up spinor (physics.md); for n = z the frame is x, y, z.

    Parameters
    ----------
    direction : sequence of float, length 3
        Any length but zero.

    Returns
    -------
    ndarray, shape (3, 3)
        Rows e_1, e_2, n.

    Raises
    ------
    InputError
        If the direction is not three finite numbers or has no length.
    """
    expected = "three numbers, not all zero"
    vector = np.array(numbers("directions", listed(direction) or direction, expected))
    if vector.shape != (3,) or np.abs(vector).max() < 1e-12:
        raise refusal("directions", vector.tolist(), expected)
    # Scaled first: the squares of large components would overflow.
    vector = vector / np.abs(vector).max()
    x, y, z = vector / np.linalg.norm(vector)
    theta, phi = np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)
    return np.array(
        [
            [np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)],
            [-np.sin(phi), np.cos(phi), 0.0],
            [x, y, z],
        ]
    )


def in_spin_frame(blocks: Complexes, frame: Floats) -> Complexes:
    """V's blocks along n from W_alpha: V = sum_alpha sigma_alpha W_alpha with sigma in the frame of n.

    With W'_beta = sum_alpha e_beta,alpha W_alpha: V_uu = W'_z, V_ud = W'_x - i W'_y, V_dd = -W'_z.

    Parameters
    ----------
    blocks : ndarray, shape (3, 3, ...)
        W_alpha for the spin blocks up-up, up-down, down-down (first axis) and alpha (second axis).
    frame : ndarray, shape (3, 3)
        Rows e_1, e_2, n.

    Returns
    -------
    ndarray, shape (3, ...)
        V's blocks up-up, up-down, down-down.
    """
    e_1, e_2, n = frame
    return np.stack(
        [
            np.tensordot(n, blocks[0], axes=1),
            np.tensordot(e_1 - 1j * e_2, blocks[1], axes=1),
            -np.tensordot(n, blocks[2], axes=1),
        ]
    )
