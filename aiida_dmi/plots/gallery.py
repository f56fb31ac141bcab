"""Every figure of one calculation by its name: what `aiida-dmi plot` and the report draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import xarray as xr
from aiida import orm

from aiida_dmi.data.completeness import CompletenessData
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine import WannierModel, compute
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.maps.band_parts import band_parts
from aiida_dmi.engine.maps.k_map import k_map
from aiida_dmi.engine.output.results import tensors_of
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.layers import mask_weights
from aiida_dmi.structures.runs import film_of_model, film_of_run

from .bands import plot_bands
from .brillouin import plot_k_map
from .convergence import converge, plot_convergence
from .layers import layer_parts, plot_layers
from .others import others, plot_others
from .provenance import plot_provenance
from .response import FERMI_LEVEL, MASKED, SPIN_ORBIT, plot_fermi_level, plot_masked, plot_spin_orbit
from .selection import point
from .structure import plot_structure
from .style import Plot

MESH = 96
"""Points along each direction where a figure is computed from the model."""
SMALLEST_MESH = 12


@dataclass(frozen=True)
class Case:
    """A calculation to draw, and the point of its sweep.

    Parameters
    ----------
    title : str
    response : DmiData, optional
    model : WannierModelData, optional
    structure : StructureData, optional
    workchain : WorkChainNode, optional
    completeness : CompletenessData, optional
    i, j : str
        Component.
    choice : dict
        Label on an axis of the result, such as temperature=300.0; see `selection.point`.
    mesh : int
        Points along each direction where a figure is computed from the model.
    """

    title: str
    response: DmiData | None = None
    model: WannierModelData | None = None
    structure: orm.StructureData | None = None
    workchain: orm.WorkChainNode | None = None
    completeness: CompletenessData | None = None
    i: str = "y"
    j: str = "x"
    choice: dict[str, Any] = field(default_factory=dict)
    mesh: int = MESH

    @classmethod
    def of(cls, node: orm.Node, **options: Any) -> Case:
        """What is known of a DmiWorkChain, a WannierModelWorkChain, a DmiData or a WannierModelData.

        Raises
        ------
        InputError
            If the node is none of these.
        """
        if isinstance(node, orm.WorkChainNode) and node.process_label in ("DmiWorkChain", "WannierModelWorkChain"):
            given = {name: node.inputs[name] for name in ("structure", "model") if name in node.inputs}
            outputs = ("response", "model", "structure", "completeness")
            made = {name: node.outputs[name] for name in outputs if name in node.outputs}
            found = given | made
            formula = found["structure"].label or found["structure"].get_formula() if "structure" in found else ""
            return cls(node.label or formula or f"pk {node.pk}", workchain=node, **found, **options)
        if isinstance(node, DmiData):
            job = node.creator
            if job is not None and "completeness" in job.inputs:  # a corrected response
                job = job.inputs.response.creator
            model = job.inputs.model if job is not None and "model" in job.inputs else None
            return cls(node.label or _formula(model) or f"pk {node.pk}", node, model, **options)
        if isinstance(node, WannierModelData):
            return cls(node.label or _formula(node), model=node, **options)
        raise InputError(
            f"{node.pk}: a {getattr(node, 'process_label', None) or type(node).__name__} was given, expected a "
            "DmiWorkChain, a WannierModelWorkChain, or the data of a response or a model"
        )

    @cached_property
    def result(self) -> xr.Dataset:
        """The labelled arrays.

        Raises
        ------
        InputError
            If the calculation has none (yet).
        """
        if self.response is None:
            raise InputError(f"{self.title}: it has no response; expected a finished DmiWorkChain or its response")
        return self.response.dataset

    @cached_property
    def wannier(self) -> WannierModel:
        """The model, loaded.

        Raises
        ------
        InputError
            If it is not known.
        """
        if self.model is None:
            raise InputError(f"{self.title}: its Wannier model is not known; give the DmiWorkChain or the model")
        return self.model.load()

    @cached_property
    def exact(self) -> xr.Dataset | None:
        """The comparison with plane waves at the point of the sweep, where there is one."""
        if self.completeness is None or self.response is None:
            return None
        chosen = point(self.result, self.i, self.j, self.choice)
        where = {axis: float(chosen[axis]) for axis in ("temperature", "fermi_shift")}
        return self.completeness.dataset.sel(where, method="nearest")

    @cached_property
    def film(self) -> Film | None:
        """Layers and normal, as they were decided when the run was launched; None where they are not known."""
        if self.workchain is not None:
            return film_of_run(self.workchain)
        return None if self.model is None or self.wannier.dimension == 3 else film_of_model(self.model)

    @cached_property
    def conditions(self) -> Conditions:
        """Temperature, direction, chemical potentials of what is computed from the model."""
        if self.response is None:
            given: dict[str, Any] = {
                key: float(self.choice[key]) for key in ("temperature", "soi_scale") if key in self.choice
            }
            return Conditions(**given)
        chosen = point(self.result, self.i, self.j, self.choice)
        shift = float(chosen.fermi_shift)
        return Conditions(
            temperature=float(chosen.temperature),
            direction=tuple(self.result.direction_vector.sel(direction=chosen.direction.item()).values.tolist()),
            mask=tuple(float(w) for w in chosen.mask_weights.values),
            soi_scale=float(chosen.soi_scale),
            fermi_shift=shift,
            fermi_level=str(chosen.attrs["fermi_level"]),
            # What holds no quantity of H(xi) knows the level of Hbar alone.
            mu=float(chosen.mu if "mu" in chosen else chosen.mu_bare) + shift,
            mu_bare=float(chosen.mu_bare) + shift,
        )


@dataclass(frozen=True)
class Conditions:
    """A point of a sweep as the engine takes it; energies in eV, temperature in K. mu 'dft': the scf's."""

    temperature: float = 300.0
    direction: tuple[float, ...] = (0.0, 0.0, 1.0)
    mask: tuple[float, ...] | None = None
    soi_scale: float = 1.0
    fermi_shift: float = 0.0
    fermi_level: str = "neutral"
    mu: float | str = "dft"
    mu_bare: float | str = "dft"


def draw(name: str, case: Case) -> Plot:
    """One figure.

    Parameters
    ----------
    name : str
        From `FIGURES`.
    case : Case

    Raises
    ------
    InputError
        If there is no such figure, or the calculation lacks what it needs.
    """
    if name not in FIGURES:
        raise InputError(f"figure: {name!r} was given, expected one of {', '.join(FIGURES)}")
    return FIGURES[name](case)


def possible(case: Case) -> list[str]:
    """Figures that the calculation has what they need for; `masked` and `convergence` on request only: minutes."""
    names = []
    if case.response is not None:
        sizes, held = case.result.sizes, set(tensors_of(case.result))
        if sizes["soi_scale"] > 1 and held.intersection(dict(SPIN_ORBIT)):
            names.append("spin-orbit")
        if sizes["fermi_shift"] > 1 and held.intersection(FERMI_LEVEL):
            names.append("fermi-level")
        if sizes["mask"] > 1 and sizes["fermi_shift"] > 1 and held.intersection(MASKED):
            names.append("masked")
        if others(case.result):
            names.append("others")
    if case.model is not None:
        names += ["k-map", "bands", "layers"]
    if case.structure is not None:
        names.append("structure")
    if case.workchain is not None:
        names.append("provenance")
    return names


def _spin_orbit(case: Case) -> Plot:
    return plot_spin_orbit(case.result, case.title, case.i, case.j, **_without(case, "soi_scale"))


def _fermi_level(case: Case) -> Plot:
    return plot_fermi_level(case.result, case.title, case.i, case.j, **_without(case, "fermi_shift"))


def _others(case: Case) -> Plot:
    return plot_others(case.result, case.title, case.i, case.j, **case.choice)


def _masked(case: Case) -> Plot:
    """Fig. 5 from the result where it holds a partial mask, else computed: the interface's spin-orbit interaction."""
    part = case.choice.get("mask")
    choice = {key: value for key, value in case.choice.items() if key not in ("mask", "fermi_shift")}
    if case.result.sizes["mask"] > 1:
        return plot_masked(case.result, case.title, case.i, case.j, part, **choice)
    conditions = case.conditions
    film = case.film or Film.of(case.wannier)
    # Where the interface is the whole film, as with one layer each, the substrate's part is what there is to tell.
    part = part or ("interface" if len(film.sites("interface")) < case.wannier.atoms else "substrate")
    found = compute(
        case.wannier,
        case.mesh,
        soi_scales=[conditions.soi_scale],
        fermi_shifts=case.result.fermi_shift.values,
        temperatures=[conditions.temperature],
        directions=[conditions.direction],
        soi_masks=mask_weights(film, {"all": "all", part: part}),
        fermi_level=conditions.fermi_level,
    )
    return plot_masked(found, case.title, case.i, case.j, part)


def _k_map(case: Case) -> Plot:
    at = case.conditions
    common: dict[str, Any] = {"temperature": at.temperature, "direction": at.direction, "mask": at.mask}
    with_soi = k_map(case.wannier, case.mesh, ["D"], mu=at.mu, soi_scale=at.soi_scale, **common)
    bare = k_map(case.wannier, case.mesh, ["misalignment"], mu=at.mu_bare, **common)
    both = with_soi.assign(misalignment=bare.misalignment)
    return plot_k_map(both, case.wannier.cell, ("D", "misalignment"), case.title, case.i, case.j)


def _bands(case: Case) -> Plot:
    at = case.conditions
    mu = case.wannier.fermi_energy if at.mu == "dft" else float(at.mu)
    found = band_parts(
        case.wannier, temperature=at.temperature, mu=mu, direction=at.direction, mask=at.mask, soi_scale=at.soi_scale
    )
    return plot_bands(found, case.title, case.i, case.j)


def _convergence(case: Case) -> Plot:
    """Meshes doubled up to the case's."""
    at = case.conditions
    meshes = [case.mesh]
    while meshes[0] % 2 == 0 and meshes[0] // 2 >= SMALLEST_MESH:
        meshes.insert(0, meshes[0] // 2)
    results = converge(
        case.wannier,
        meshes,
        soi_scales=[at.soi_scale],
        fermi_shifts=[at.fermi_shift],
        temperatures=[at.temperature],
        directions=[at.direction],
        soi_masks=None if at.mask is None else {"mask": at.mask},
        fermi_level=at.fermi_level,
    )
    return plot_convergence(results, case.title, case.i, case.j)


def _layers(case: Case) -> Plot:
    at = case.conditions
    names = None if case.film is None else case.film.names
    parts = layer_parts(
        case.wannier,
        case.mesh,
        temperature=at.temperature,
        mu=at.mu_bare,
        direction=at.direction,
        names=names,
        exact=case.exact,
    )
    return plot_layers(parts, case.title, case.i, case.j)


def _structure(case: Case) -> Plot:
    if case.structure is None:
        raise InputError(f"{case.title}: its structure is not known; give the DmiWorkChain")
    return plot_structure(case.structure, case.film, case.title)


def _provenance(case: Case) -> Plot:
    if case.workchain is None:
        raise InputError(f"{case.title}: not a workchain; give the DmiWorkChain whose provenance is to be drawn")
    return plot_provenance(case.workchain, case.title)


def _without(case: Case, axis: str) -> dict[str, Any]:
    """The choice without the axis that is drawn."""
    return {key: value for key, value in case.choice.items() if key != axis}


def _formula(model: Any) -> str:
    return "" if model is None else "/".join(dict.fromkeys(reversed(model.base.attributes.get("symbols"))))


FIGURES: dict[str, Callable[[Case], Plot]] = {
    "spin-orbit": _spin_orbit,
    "fermi-level": _fermi_level,
    "masked": _masked,
    "others": _others,
    "k-map": _k_map,
    "bands": _bands,
    "convergence": _convergence,
    "layers": _layers,
    "structure": _structure,
    "provenance": _provenance,
}
"""Name to what draws it; `rashba` (Fig. 2) needs no calculation, see `rashba.plot_rashba`."""
