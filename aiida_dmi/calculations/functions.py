"""Calculation functions: the steps between the programs that the provenance should show."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from aiida import orm
from aiida.engine import calcfunction
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.data.completeness import CompletenessData
from aiida_dmi.data.pseudopotential import upf_data
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine.build.irreducible import SpaceOperation, film_operations, gamma_centred, reduced
from aiida_dmi.engine.build.pseudopotential import Pseudopotential
from aiida_dmi.engine.completeness.correct import corrected, of_functions
from aiida_dmi.engine.kspace.zone import check_points
from aiida_dmi.engine.output.headline import headline_values

FUNCTIONS_PER_ORBITAL = {"s": 1, "p": 3, "d": 5, "f": 7}
BELOW_NEXT_BAND = 0.01
"""eV between the end of the frozen window and the first state that does not fit into it."""
SPARE_BANDS = 4
"""Bands computed on top of those asked for, so that the highest one kept can be chosen: see `highest_kept`."""


def read_pseudo(pseudo: UpfData) -> Pseudopotential:
    """The engine's view of a UpfData.

    Raises
    ------
    InputError
        If it is not a norm-conserving UPF 2 file.
    """
    return Pseudopotential.from_text(pseudo.get_content(), pseudo.filename)


@calcfunction
def scalar_relativistic_average(pseudo: UpfData) -> UpfData:
    """Average a fully relativistic pseudopotential over j = l +- 1/2 (exact as an operator, physics.md)."""
    averaged = read_pseudo(pseudo).scalar_relativistic()
    return upf_data(averaged, f"{averaged.element}.scalar.upf")


@calcfunction
def corrected_response(response: DmiData, completeness: CompletenessData) -> DmiData:
    """A response with what its Wannier functions leave out put back (`engine.completeness.corrected`).

    Raises
    ------
    InputError
        If the two do not belong together.
    """
    result = corrected(response.dataset, completeness.dataset)
    return DmiData(io.BytesIO(result.to_netcdf(engine="h5netcdf")), filename=response.filename)


@calcfunction
def plan_wannierisation(structure: orm.StructureData, settings: orm.Dict, **pseudos: UpfData) -> orm.Dict:
    """Projections, excluded semicore and number of bands, from the structure and its pseudopotentials.

    Parameters
    ----------
    structure : StructureData
    settings : Dict
        `orbitals` (list of s, p, d, f) and `bands_per_function` (computed bands a Wannier function).
    **pseudos : UpfData
        One a kind.

    Returns
    -------
    Dict
        `projections`, `num_wann`, `semicore_bands`, `exclude_bands` (semicore, numbers from 1), `num_bands` (kept at
        least), `nbnd` (with `SPARE_BANDS`).
    """
    orbitals = settings["orbitals"]
    semicore = {kind: read_pseudo(pseudo).semicore_bands() for kind, pseudo in pseudos.items()}
    excluded = sum(semicore[site.kind_name] for site in structure.sites)
    functions = len(structure.sites) * sum(FUNCTIONS_PER_ORBITAL[orbital] for orbital in orbitals)
    bands = math.ceil(settings["bands_per_function"] * functions)
    return orm.Dict(
        {
            "projections": [
                f"{kind}:{';'.join(orbitals)}" for kind in dict.fromkeys(s.kind_name for s in structure.sites)
            ],
            "num_wann": functions,
            "semicore_bands": semicore,
            "exclude_bands": list(range(1, excluded + 1)),
            "num_bands": bands,
            "nbnd": excluded + bands + SPARE_BANDS,
        }
    )


@calcfunction
def planned_projections(plan: orm.Dict) -> orm.List:
    """The projections of a plan, as wannier90.x is to be given them.

    Parameters
    ----------
    plan : Dict
        From `plan_wannierisation`.
    """
    return orm.List(plan["projections"])


@calcfunction
def wannier90_parameters(
    base: orm.Dict,
    settings: orm.Dict,
    plan: orm.Dict,
    scf_parameters: orm.Dict,
    kpoints: orm.KpointsData,
    bands: orm.BandsData,
) -> orm.Dict:
    """Wannier90's parameters: the plan, the bands that are kept, and a frozen window that the computed bands allow.

    The window ends `frozen_window` above the scf's Fermi energy, or just below the energy at which some k point of
    either spin has more states than there are Wannier functions: such states cannot all be kept.

    Parameters
    ----------
    base : Dict
        What the user or the protocol sets.
    settings : Dict
        `frozen_window`, eV above the Fermi energy.
    plan : Dict
        From `plan_wannierisation`.
    scf_parameters : Dict
        Holds `fermi_energy`, eV.
    kpoints : KpointsData
        The ab-initio mesh.
    bands : BandsData
        Of the nscf run on that mesh, or on the irreducible points of it.
    """
    energies = bands.get_bands()
    excluded, functions = len(plan["exclude_bands"]), plan["num_wann"]
    top = scf_parameters["fermi_energy"] + settings["frozen_window"]
    if energies.shape[-1] > excluded + functions:
        top = min(top, float(energies[..., excluded + functions].min()) - BELOW_NEXT_BAND)
    # Only the spare bands are up for choice: a nscf with more bands than planned was given more on purpose.
    kept = highest_kept(energies, max(excluded + plan["num_bands"], energies.shape[-1] - SPARE_BANDS))
    outside = [*plan["exclude_bands"], *range(kept + 1, energies.shape[-1] + 1)]
    parameters = {
        "mp_grid": kpoints.get_kpoints_mesh()[0],
        "num_wann": functions,
        "num_bands": kept - excluded,
        "dis_froz_max": top,
        # Both are needed to bring operators into the Wannier gauge.
        "write_u_matrices": True,
    }
    if outside:
        parameters["exclude_bands"] = outside
    return orm.Dict({**parameters, **base.get_dict()})


def highest_kept(energies: npt.NDArray[np.float64], least: int) -> int:
    """The number of bands to keep, `least` or more, such that no k point's degenerate states are parted.

    Half of a degenerate pair is an arbitrary state: kept at Gamma, it breaks time reversal and the film's symmetry
    by 0.1 eV where the trial functions are far from the low bands. Of the possible numbers the one with the widest gap
    above it, at the k point where it is narrowest.

    Parameters
    ----------
    energies : ndarray, shape (spin, k, band)
        eV.
    least : int
    """
    bands = int(energies.shape[-1])
    if bands <= least:
        return bands
    gaps = np.diff(energies, axis=-1).min(axis=(0, 1))  # above band 1, 2, ...
    return least + int(np.argmax(gaps[least - 1 :]))


@calcfunction
def complete_mesh(kpoints: orm.KpointsData) -> orm.KpointsData:
    """The Gamma-centred mesh as an explicit list with equal weights: what Wannier90 works on."""
    mesh, offset = kpoints.get_kpoints_mesh()
    points = gamma_centred(mesh)
    if any(offset):
        raise ValueError(f"kpoints: offset {offset} was given, a Gamma-centred mesh is needed")
    explicit = orm.KpointsData()
    explicit.set_cell(kpoints.cell) if "cell" in kpoints.base.attributes else None
    explicit.set_kpoints(points, weights=[1 / len(points)] * len(points))
    return explicit


def operations_of_film(structure: orm.StructureData) -> tuple[SpaceOperation, ...]:
    """The film's space group as pw.x takes it; atoms of different kinds are different."""
    numbers = {kind: number for number, kind in enumerate(structure.get_kind_names(), 1)}
    kinds = [numbers[site.kind_name] for site in structure.sites]
    return film_operations(structure.cell, structure.get_ase().get_scaled_positions(), kinds)


@calcfunction
def irreducible_mesh(
    kpoints: orm.KpointsData, structure: orm.StructureData, scf_parameters: orm.Dict
) -> dict[str, orm.Data]:
    """The points of a complete mesh that a nscf run has to compute, and the operations that give the others.

    Without spin-orbit interaction the film's whole group and time reversal hold for either spin. Where pw.x found less
    of it in the scf (nosym, say), its density need not have it: then time reversal alone is used.

    Parameters
    ----------
    kpoints : KpointsData
        From `complete_mesh`.
    structure : StructureData
        Atoms of different kinds are different.
    scf_parameters : Dict
        Output parameters of the scf run: `number_of_symmetries`.

    Returns
    -------
    dict
        `kpoints`: explicit list in the order of the mesh, each point weighted with the number of those for which it
        stands. `symmetry`: `operations` (each with `rotation` and `translation`, of fractional coordinates; the
        identity first), and how many `points` of how many of the `mesh` are computed.
    """
    points = kpoints.get_kpoints()
    of_film = [operation for operation in operations_of_film(structure) if operation.keeps_normal]
    found = reduced(points, of_film if len(of_film) <= scf_parameters.get("number_of_symmetries", 1) else ())
    explicit = orm.KpointsData()
    explicit.set_cell(kpoints.cell) if "cell" in kpoints.base.attributes else None
    explicit.set_kpoints(points[found.kept], weights=found.weights / len(points))
    records = [operation.record() for operation in found.operations]
    return {
        "kpoints": explicit,
        "symmetry": orm.Dict({"operations": records, "points": len(found.kept), "mesh": len(points)}),
    }


@calcfunction
def check_kpoints(structure: orm.StructureData, random_points: orm.Int) -> orm.KpointsData:
    """K points at which the model's bands are held against pw.x's: the film's high-symmetry points, and random ones.

    Parameters
    ----------
    structure : StructureData
    random_points : Int
        How many; always the same ones (`engine.kspace.zone.check_points`).
    """
    points = check_points(structure.cell, random_points.value)
    explicit = orm.KpointsData()
    explicit.set_kpoints(points, weights=[1 / len(points)] * len(points))
    return explicit


@calcfunction
def headline(
    response: orm.Data,
    scf_parameters: orm.Dict | None = None,
    thickness: orm.Float | None = None,
    film: orm.Dict | None = None,
) -> orm.Dict:
    """The numbers people ask for first, with units and errors, at the real system.

    xi = 1 (or the largest), zero shift (or the nearest), first direction, mask and temperature.

    Parameters
    ----------
    response : DmiData
    scf_parameters : Dict, optional
        Adds the magnetic moment.
    thickness : Float, optional
        Of the magnetic film, Angstrom, in place of the film's; without either no mJ/m^2 are given.
    film : Dict, optional
        `structures.film.Film.record`: adds the normal, t and its rule, the order, and why D vanishes where it does.
    """
    result = response.dataset
    scales = result.soi_scale.values
    scale = 1.0 if 1.0 in scales else float(max(scales))
    # The database does not keep the order of the masks: the whole film comes first where it is among them.
    masks = [str(mask) for mask in result["mask"].values]
    mask = masks.index("all") if "all" in masks else 0
    point = result.isel(direction=0, mask=mask, temperature=0).sel(fermi_shift=0.0, method="nearest")
    record = {} if film is None else film.get_dict()
    area, t = result.attrs["cell_area"], record.get("thickness_angstrom") if thickness is None else thickness.value
    at_scale = point.sel(soi_scale=scale)
    summary: dict[str, Any] = {
        "values": headline_values(at_scale, area, t),
        "soi_scale": scale,
        "fermi_shift_eV": float(point.fermi_shift),
        "direction": str(point.direction.item()),
        "mask": str(point["mask"].item()),
        "temperature_K": float(point.temperature),
        "closure": float(point.closure) if "closure" in point else None,
        "chemical_potential_eV": float(at_scale.mu if "mu" in at_scale else at_scale.mu_bare),
        "fermi_level": result.attrs["fermi_level"],
        "fermi_energy_eV": float(result.attrs["fermi_energy"]),
        "mesh": [int(m) for m in result.attrs["mesh"]],
        **({"nested_mesh": [int(m) for m in result.attrs["nested_mesh"]]} if "nested_mesh" in result.attrs else {}),
        "cell_area_angstrom2": float(result.attrs["cell_area"]),
        "sign": result.attrs["sign"],
        "error": result.attrs["error"],
    }
    if "completeness" in point:
        summary["completeness"] = float(point.completeness)
        summary["completeness_mesh"] = [int(m) for m in result.attrs["completeness_mesh"]]
        summary["values_wannier"] = headline_values(of_functions(at_scale), area, t)
    if t is not None:
        summary["thickness_angstrom"] = t
    if record:
        summary["film"] = {key: record[key] for key in ("normal", "order", "magnets", "substrate", "cap", "decisions")}
        summary["film"]["thickness_rule"] = record["thickness_rule"] if thickness is None else "given"
        summary["film"]["vanishing"] = record["vanishing"]
    if scf_parameters is not None:
        summary["total_magnetization_bohr"] = scf_parameters.get("total_magnetization", None)
        summary["absolute_magnetization_bohr"] = scf_parameters.get("absolute_magnetization", None)
    return orm.Dict(finite(summary))


def finite(value: Any) -> Any:
    """The same with None for every number that is not finite: the database takes no others."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
