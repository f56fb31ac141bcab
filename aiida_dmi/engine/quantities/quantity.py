"""What a quantity is: everything that sums, symmetry, results, maps, plots and tables have to know of it.

A quantity is one module of this package: a class with the attributes below and its coefficients, and one instance of
it in the module's `QUANTITIES`; `registry` finds it there.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..constants import EV
from ..model.rashba import RashbaModel
from ..model.wannier import WannierModel
from ..states.coefficients import Coefficients, Occupations, occupy, occupy_each
from ..states.first_order_states import FirstOrderStates
from ..states.spinor_states import SpinorStates
from ..states.spinors import to_lab

Floats = npt.NDArray[np.float64]
Model = WannierModel | RashbaModel


@dataclasses.dataclass(frozen=True)
class Axis:
    """One index of a tensor.

    Parameters
    ----------
    name : str
        Of the dimension in results.
    axial : bool
        Whether it turns as a spin does: an inversion leaves it. Else it is polar, as a direction in space.
    of_spin : bool
        Whether coefficients hold it along the spin frame (e_1, e_2, n), two or three of its axes; else along x, y, z.
    """

    name: str
    axial: bool
    of_spin: bool = False

    def size(self, dimension: int) -> int:
        """Three for what turns as a spin; as many as periodic directions (2 for a film) for a direction in space."""
        return 3 if self.axial else dimension


SPIN = Axis("i", axial=True, of_spin=True)
"""Component of a spin, or of the DMI vector."""
DIRECTION = Axis("j", axial=False)
"""Direction of propagation, of a gradient or of a current."""
FIELD = Axis("l", axial=False)
"""A second direction in space, such as that of an electric field."""
AXES = (SPIN, DIRECTION, FIELD)
OF_DMI = [SPIN.name, DIRECTION.name]
"""Indices of D and all that is compared with it."""


@dataclasses.dataclass(frozen=True)
class Unit:
    """What the sum over k, a mean in eV and Angstrom, is multiplied by, and the unit it then has.

    Parameters
    ----------
    factor : float
    name : str
        Such as 'meV angstrom'.
    per : str
        What it belongs to: cell, area.
    """

    factor: float
    name: str
    per: str


def energy_length(model: Model) -> Unit:
    """MeV*Angstrom per cell; of a RashbaModel, which has no cell, meV/Angstrom."""
    if isinstance(model, RashbaModel):
        return Unit(EV * model.measure, "meV / angstrom", "area")
    return Unit(EV, "meV angstrom", "cell")


@dataclasses.dataclass(frozen=True)
class Filling:
    """Chemical potentials of the means over one mesh, and the electrons of Hbar there.

    Parameters
    ----------
    mu : ndarray, shape (direction, mask, xi, temperature, shift)
        With the shift, eV; of first order without xi.
    electrons : ndarray, shape (temperature, shift)
    """

    mu: Floats
    electrons: Floats


class Quantity(abc.ABC):
    """One quantity. Subclass `FiniteOrder` or `FirstOrder`, which say what states it is made from.

    Attributes
    ----------
    name : str
        In `quantities=`, results, checkpoints and tables.
    title : str
        What it is, with its equation.
    symbol : str
        As it is written in tables and figures, such as 'a(I)'; default: the name.
    axes : tuple of Axis
        Its indices; a scalar has none.
    odd_in_time : bool
        Whether time reversal of the whole magnet changes its sign.
    by_default : bool
        Whether a run that names no quantities computes it.
    accompanies : str or None
        A quantity that it is computed with, wherever that is asked for and the model has it.
    method : str
        'bands', or another way to the same number, which is taken where it is asked for.
    place : int
        Where it stands among the others in results and tables.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    symbol: ClassVar[str] = ""
    axes: ClassVar[tuple[Axis, ...]] = (SPIN, DIRECTION)
    odd_in_time: ClassVar[bool] = False
    by_default: ClassVar[bool] = False
    accompanies: ClassVar[str | None] = None
    method: ClassVar[str] = "bands"
    place: ClassVar[int] = 100
    finite: ClassVar[bool]

    def unit(self, model: Model) -> Unit:
        """Of the result for a model."""
        return energy_length(model)

    def given_by(self, model: Model) -> bool:
        """Whether a model has what it is made from."""
        del model
        return True

    @abc.abstractmethod
    def coefficients(self, states: Any) -> Any:
        """Coefficients of the occupations of bands, at a batch of k points; `Coefficients`, unless `summed` differs."""

    def summed(self, coefficients: Any, occupations: Occupations) -> Floats:
        """Sum over bands and k points with each row of weights: shape (rows, mu and kT, *axes), divided by nothing."""
        return occupy(coefficients, occupations)

    def integrand(self, coefficients: Any, mu: float, kt: float) -> Floats:
        """Sum over bands at every k point: shape (k, *axes)."""
        return occupy_each(coefficients, mu, kt)

    def completed(self, mean: Floats, filling: Filling) -> Floats:
        """The quantity from its mean over the mesh, eV and Angstrom; the same, unless it depends on the filling."""
        del filling
        return mean

    def in_lab(self, values: Floats, frame: Floats) -> Floats:
        """A tensor, shape (..., *axes), from the spin frame (rows e_1, e_2, n) to x, y, z."""
        for place, axis in enumerate(self.axes):
            if axis.of_spin:
                values = to_lab(values, frame, place - len(self.axes))
        return values

    def shape(self, dimension: int) -> tuple[int, ...]:
        """Of one tensor."""
        return tuple(axis.size(dimension) for axis in self.axes)

    def labels(self, dimension: int) -> dict[str, Sequence[str]]:
        """Names of its components, by axis."""
        return {axis.name: list("xyz")[: axis.size(dimension)] for axis in self.axes}


class FiniteOrder(Quantity):
    """A quantity of H = Hbar + xi V, over all xi."""

    finite = True

    @abc.abstractmethod
    def coefficients(self, states: SpinorStates) -> Any:
        """See `Quantity`; bands are the `states.energies`."""


class FirstOrder(Quantity):
    """A quantity of Hbar that is linear in V: the slope in xi at xi = 0.

    Its first axis is `SPIN`: of k and -k one is enough, with V in two parts (`opposite`), and each part has its own
    components of the spin.

    Attributes
    ----------
    exact : bool
        Whether it is made from the differentiated projectors, `states.exact`.
    """

    finite = False
    exact: ClassVar[bool] = False

    @abc.abstractmethod
    def coefficients(self, states: FirstOrderStates) -> Coefficients:
        """See `Quantity`; bands are those of Hbar, up, then down."""


@dataclasses.dataclass(frozen=True)
class Derived:
    """What follows from quantities by a formula, where all of them are asked for.

    Parameters
    ----------
    name, title, symbol : str
    of : tuple of str
    factors : tuple of float
        It is the sum of the quantities times these.
    """

    name: str
    title: str
    symbol: str
    of: tuple[str, ...]
    factors: tuple[float, ...]

    def value(self, tensors: dict[str, Floats]) -> Floats:
        """From the quantities' values."""
        return np.asarray(sum(factor * tensors[name] for name, factor in zip(self.of, self.factors, strict=True)))
