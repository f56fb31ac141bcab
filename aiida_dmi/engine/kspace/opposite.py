"""How V enters the first order at k points that stand for their opposites, too.

Without spin-orbit interaction the collinear channels have time reversal, K (complex conjugation, k to -k): Hbar, A
and O stay as they are; sigma_2 of the spin frame, hbar vbar and the W_alpha of V = sum_alpha sigma_alpha W_alpha change
sign. a(I), a(II) and D(1) are linear in V, so what the component i of their spin takes from sigma_alpha W_alpha is the
same at k and -k if both or none of i and alpha are 2, and cancels else. One of the two k points is enough, with V in
two parts: without sigma_2 W_2 for the components 1 and 3, and that alone for 2.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..model.operators import Operators, Points, SpinOrbit

Floats = npt.NDArray[np.float64]
Complexes = npt.NDArray[np.complex128]

EVERY = (True, True, True)


class SplitBands(Protocol):
    """What is asked of a model whose V is taken in two parts."""

    def exact_velocity(self, columns: Any, kpoints: Floats) -> Complexes: ...  # noqa: D102
    def second_component(  # noqa: D102
        self, columns: Any, kpoints: Floats, operators: Operators
    ) -> tuple[Complexes, Complexes]: ...
    def exact_second_component(self, columns: Any, kpoints: Floats) -> Complexes: ...  # noqa: D102


@dataclasses.dataclass(frozen=True)
class Channel:
    """A V of the first order, at some k points, and which spin components of the result are its.

    Parameters
    ----------
    spin_orbit : SpinOrbit
        V and v^SOI, with all blocks.
    exact : ndarray, shape (3, d, k, n, n), or None
        Blocks of v^SOI from differentiated projectors.
    flip, exact_flip : (ndarray, ndarray), ndarray, or None
        Up-down blocks of V and v^SOI, shapes (k, n, n) and (d, k, n, n), and of `exact`, to take instead of theirs.
    components : tuple of bool, length 3
        e_1, e_2, n of the spin frame.
    """

    spin_orbit: SpinOrbit
    exact: Complexes | None
    flip: tuple[Complexes, Complexes] | None = None
    exact_flip: Complexes | None = None
    components: tuple[bool, bool, bool] = EVERY

    def part(self, points: slice) -> Channel:
        """Of some of the k points."""
        return Channel(
            self.spin_orbit.part(points),
            None if self.exact is None else self.exact[:, :, points],
            None if self.flip is None else (self.flip[0][points], self.flip[1][:, points]),
            None if self.exact_flip is None else self.exact_flip[:, points],
            self.components,
        )


def channels(
    bands: SplitBands,
    columns: tuple[Any, Any],
    kpoints: Floats,
    operators: Operators,
    spin_orbit: SpinOrbit,
    split: bool,
) -> list[Channel]:
    """One channel, or two where each k point stands for its opposite, too.

    Parameters
    ----------
    bands : BandModel
    columns : tuple
        V(R) of one direction and mask, and v^SOI(R) from differentiated projectors or None.
    kpoints : ndarray, shape (k, 3)
    operators, spin_orbit
        At these k points.
    split : bool
        Whether there are to be two.
    """
    interaction, exact_columns = columns
    exact = None if exact_columns is None else bands.exact_velocity(exact_columns, kpoints)
    if not split:
        return [Channel(spin_orbit, exact)]
    second = bands.second_component(interaction, kpoints, operators)
    rest = spin_orbit.interaction[1] - second[0], spin_orbit.velocity[1] - second[1]
    exact_second = exact_rest = None
    if exact is not None:
        exact_second = bands.exact_second_component(exact_columns, kpoints)
        exact_rest = exact[1] - exact_second
    return [
        Channel(spin_orbit, exact, rest, exact_rest, (True, False, True)),
        Channel(spin_orbit, exact, second, exact_second, (False, True, False)),
    ]


def stretch(indices: npt.NDArray[np.intp]) -> Points:
    """Ascending indices as a slice where they have no gap: views instead of copies."""
    if len(indices) and indices[-1] - indices[0] + 1 == len(indices):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices
