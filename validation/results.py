"""What the archive holds, by film: the records and the responses that tables and figures are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from aiida import orm
from films import FILMS

from aiida_dmi.data.response import DmiData

RESULTS = "validation-results"
QUANTITIES = ("D", "Q", "D_1", "Q_1", "a_I", "a_II", "a_II_exact")


@dataclass
class Case:
    """One film.

    Attributes
    ----------
    record : dict
        See `collect.record`.
    responses : dict
        'z', 'x' (directions of n), 'fine' (z on a finer mesh, ξ = 1) and 'layers' (spin-orbit interaction on parts of
        the film) to result.
    """

    record: dict[str, Any]
    responses: dict[str, xr.Dataset] = field(default_factory=dict)

    @property
    def layers(self) -> int:
        """Layers of the heavy metal."""
        return int(self.record["preset"].split("+")[-1])

    @property
    def finest(self) -> str:
        """The response for n along z with the finest mesh."""
        return "fine" if "fine" in self.responses else "z"

    def at(self, response: str, temperature: float = 300.0, mask: str = "all") -> xr.Dataset:
        """Component yx at xi = 1 and zero shift."""
        result = self.responses[response].sel(i="y", j="x", temperature=temperature, mask=mask)
        return result.isel(direction=0).sel(soi_scale=1.0, fermi_shift=0.0)


def load() -> dict[str, Case]:
    """Films of the profile in use, in the order of films.py."""
    query = orm.QueryBuilder().append(orm.Group, filters={"label": RESULTS}, tag="group")
    nodes = query.append((orm.Dict, DmiData), with_group="group", project="*").all(flat=True)
    cases = {node.label: Case(node.get_dict()) for node in nodes if isinstance(node, orm.Dict)}
    for node in nodes:
        if isinstance(node, DmiData):
            film, _, response = node.label.partition("/")
            cases[film].responses[response] = node.dataset
    return {label: cases[label] for label in FILMS if label in cases}


def numbers(cases: dict[str, Case]) -> dict[str, Any]:
    """Every number of docs/validation.md: meV*Angstrom per cell, yx, xi = 1, zero shift."""
    return {label: _film(case) for label, case in cases.items()}


def _film(case: Case) -> dict[str, Any]:
    result: dict[str, Any] = {"record": {k: v for k, v in case.record.items() if k != "trace"}}
    for response, dataset in case.responses.items():
        for mask in dataset.mask.values:
            for temperature in dataset.temperature.values:
                point = case.at(response, float(temperature), str(mask))
                result[f"{response} {mask} {temperature:g} K"] = _point(point)
    return result


def _point(point: xr.Dataset) -> dict[str, Any]:
    values: dict[str, Any] = {"mesh": [int(m) for m in point.attrs["mesh"]]}
    for name in QUANTITIES:
        if name in point:
            values[name] = [_rounded(point[name]), _rounded(point[f"{name}_error"])]
    values["closure"] = _rounded(point.closure)
    values["symmetry_residual"] = _rounded(point.symmetry_residual)
    values["mu_ev"] = _rounded(point.mu)
    return values


def _rounded(value: xr.DataArray) -> float | None:
    """Six digits after the point: what an archive gives back on any machine."""
    number = float(value)
    return round(number, 6) if np.isfinite(number) else None
