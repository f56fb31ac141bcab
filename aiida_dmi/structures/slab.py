"""Films from any slab: pymatgen, ASE, StructureData; and the film that a stored structure is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ase
import numpy as np
from aiida import orm
from aiida.engine import calcfunction

from aiida_dmi.engine.errors import InputError
from aiida_dmi.structures.bilayer import magnet_elements
from aiida_dmi.structures.choices import Choices
from aiida_dmi.structures.convert import atoms_of, check_occupancies, partial_occupancy, structure_data, with_kinds
from aiida_dmi.structures.film import Film
from aiida_dmi.structures.intake import Taken, take_in
from aiida_dmi.structures.moments import with_moments


class CheckedFilm(NamedTuple):
    """A film's node, and what was decided of it."""

    structure: orm.StructureData
    film: Film


def film_from_pymatgen(slab: Any, magnets: Sequence[str] | None = None, **options: Any) -> orm.StructureData:
    """A film from a pymatgen Structure or Slab (SlabGenerator, `Structure.from_file`).

    Parameters
    ----------
    slab : pymatgen.core.Structure
        Ordered; the vacuum along any of its lattice vectors. A site property `magmom` or `final_magmom` (mu_B) gives
        starting moments, `kind_name` (of AiiDA) the kinds.
    magnets, **options
        As `film_from_structure`.

    Raises
    ------
    InputError
        If a site holds more than one element, or as `film_from_structure`.
    """
    if not hasattr(slab, "lattice"):
        raise InputError(f"structure: {type(slab).__name__} was given, expected a Structure or Slab of pymatgen")
    if not slab.is_ordered:
        shared = next(site for site in slab if not site.is_ordered)
        raise InputError(partial_occupancy(f"a site shared or not full ({shared.species_string})"))
    atoms = ase.Atoms(
        [site.specie.symbol for site in slab], positions=slab.cart_coords, cell=slab.lattice.matrix, pbc=True
    )
    moments = [_moment(site) for site in slab]
    if any(moments):
        atoms.set_initial_magnetic_moments(moments)
    names = [site.properties.get("kind_name") for site in slab]
    if all(names):
        atoms = with_kinds(atoms, names)
    return film_from_ase(atoms, magnets, **options)


def _moment(site: Any) -> float:
    """Starting moment of a pymatgen site, mu_B: its properties `magmom`, `final_magmom`, or the spin of its species."""
    found = (site.properties.get("magmom"), site.properties.get("final_magmom"), getattr(site.specie, "spin", None))
    given = next((value for value in found if value is not None), None)
    # A Magmom is a vector along x, y, z, or along the axis of its spinors alone.
    vector = np.atleast_1d(np.asarray(getattr(given, "moment", given if given is not None else 0.0), dtype=object))
    if len(vector) == 3 and not any(vector[:2]):
        vector = vector[2:]
    try:
        (moment,) = vector
        return float(moment)
    except (TypeError, ValueError) as error:
        raise InputError(f"moments: {given!r} was given, expected one number an atom: the film is collinear") from error


def film_from_ase(atoms: ase.Atoms, magnets: Sequence[str] | None = None, **options: Any) -> orm.StructureData:
    """A film from ASE's Atoms; parameters and errors as `film_from_structure`.

    Initial moments, or those that a calculation found, become starting moments, and atoms of one element with different
    ones get kinds of their own. Tags and constraints are left behind.
    """
    if not isinstance(atoms, ase.Atoms):
        raise InputError(f"structure: {type(atoms).__name__} was given, expected ASE's Atoms")
    check_occupancies(atoms)
    named, moments, _ = with_moments(atoms)
    choices = Choices.checked({"magnets": magnets, **options, **({"moments": moments} if moments else {})})
    # What is no film is refused before anything is stored.
    take_in(named, choices)
    slab = structure_data(named, "")
    return _oriented(slab, choices)


def film_from_structure(
    slab: orm.StructureData,
    magnets: Sequence[str] | None = None,
    substrate: str | None = None,
    kinds: str | None = None,
    vacuum: float | None = None,
    normal: str | None = None,
    thickness: float | None = None,
) -> orm.StructureData:
    """Turn a slab into a film as the workflows want it: normal +z from the substrate to the magnet, pbc (T, T, F).

    The slab is turned, never mirrored (a mirror would change the sign of D): a1 along x, a2 in the upper half of the
    xy plane, both as given (exchanged where the film had to be put on its head), a3 along z. Atoms go from the lowest
    to the highest. What is said here is kept with the film: masks, moments and t follow from it later.

    Parameters
    ----------
    slab : StructureData
        The vacuum along any lattice vector, which need not be perpendicular to the film.
    magnets, substrate, kinds, vacuum, normal, thickness
        As `intake.Choices`.

    Returns
    -------
    StructureData
        Made by the calcfunction `orient_film` from the slab.

    Raises
    ------
    InputError
        As `intake.take_in`; nothing has been stored then.
    """
    if not isinstance(slab, orm.StructureData):
        raise InputError(f"structure: {type(slab).__name__} was given, expected a StructureData")
    given = {"magnets": magnets, "substrate": substrate, "kinds": kinds, "vacuum": vacuum, "normal": normal}
    choices = choices_of(slab).changed(Choices.checked({**given, "thickness": thickness}))
    take_in(atoms_of(slab), choices)
    return _oriented(slab, choices)


def film_of(structure: orm.StructureData, choices: Choices | None = None) -> CheckedFilm:
    """The film that a structure is: the node itself where it lies as a film does, else a new one made from it.

    Parameters
    ----------
    structure : StructureData
        Of any origin, stored or not. What was said when the film was made (magnets, normal, thickness, moments) holds.
    choices : Choices, optional
        What is said now, which goes before.

    Raises
    ------
    InputError
        As `intake.take_in`; nothing has been stored then.
    """
    taken = read_film(structure, choices)
    if not taken.changed:
        return CheckedFilm(structure, taken.film)
    asked = choices_of(structure).changed(choices or Choices())
    return CheckedFilm(orient_film(structure, orm.Dict({**asked.given(), "sort": False})), taken.film)


def read_film(structure: orm.StructureData, choices: Choices | None = None) -> Taken:
    """As `film_of`, and nothing is stored; with how the film was changed when it was made among its decisions."""
    taken = take_in(atoms_of(structure), choices_of(structure).changed(choices or Choices()))
    if taken.changed and getattr(structure, "hubbard", None):
        raise InputError(
            "structure: one with Hubbard parameters was given that does not lie as a film does, and they would be lost "
            f"on the way ({'; '.join(taken.done) or 'kinds, cell or pbc change'}); turn it first, or leave them out"
        )
    decisions = dict.fromkeys([*decisions_of(structure), *taken.film.decisions])
    return taken._replace(film=dataclasses.replace(taken.film, decisions=tuple(decisions)))


def _oriented(slab: orm.StructureData, choices: Choices) -> orm.StructureData:
    return orient_film(slab, orm.Dict({**choices.given(), "sort": True}))


@calcfunction
def orient_film(slab: orm.StructureData, parameters: orm.Dict) -> orm.StructureData:
    """The film that a slab is, in the provenance.

    Parameters
    ----------
    slab : StructureData
    parameters : Dict
        Of `intake.Choices`; `sort`: whether atoms go from the lowest to the highest, and x along a1.

    Returns
    -------
    StructureData
        Its description says how it was changed, a line each.
    """
    options = parameters.get_dict()
    sort = options.pop("sort", True)
    atoms, film, _, done = take_in(atoms_of(slab), Choices.checked(options), anew=sort)
    label = slab.label or f"{slab.get_formula()} film, {len(film.layers)} layers"
    order = [site for layer in film.layers for site in layer] if sort else range(len(atoms))
    made = structure_data(atoms[list(order)], label)
    made.description = "\n".join(done)
    return made


def decisions_of(structure: orm.StructureData) -> list[str]:
    """How a film was changed when it was made of a slab; doping and relaxation leave it as it is."""
    creator = structure.creator
    if creator is None:
        return []
    if creator.process_label == "orient_film":
        return [*decisions_of(creator.inputs.slab), *structure.description.splitlines()]
    host = _host(creator)
    return [] if host is None else decisions_of(host)


def choices_of(structure: orm.StructureData) -> Choices:
    """What was said of a film when it was made: by the arguments of its builder, or to `orient_film`.

    Doping and relaxation leave it as it is.
    """
    creator = structure.creator
    if creator is None:
        return Choices()
    made_by = creator.process_label
    if made_by == "build_bilayer":
        return choices_of_bilayer(creator.inputs.parameters.get_dict())
    if made_by == "orient_film":
        given = creator.inputs.parameters.get_dict()
        kept = {key: given.get(key) for key in ("magnets", "thickness")}
        if given.get("moments"):
            # Of the kinds as they have become.
            given.pop("sort", None)
            kept["moments"] = dict(take_in(atoms_of(creator.inputs.slab), Choices.checked(given)).film.moments)
        # It lies as it should; what said so is no word on the film that it has become.
        up = {"normal": "up"} if given.get("normal") or given.get("substrate") else {}
        return Choices.checked({**kept, **up})
    host = _host(creator)
    if host is None:
        return Choices()
    said = choices_of(host)
    # Doping makes kinds of its own.
    fits = said.moments is None or set(said.moments) == set(structure.get_kind_names())
    return said if fits else dataclasses.replace(said, moments=None)


def choices_of_bilayer(arguments: Mapping[str, Any]) -> Choices:
    """What the arguments of `geometry.bilayer` say: the magnet, and that the substrate lies below it."""
    atoms = {key: value for key, value in arguments.items() if key != "kinds"}
    return Choices(magnets=tuple(magnet_elements(atoms)), normal="up")


def _host(creator: orm.ProcessNode) -> orm.StructureData | None:
    """The structure that a process (doping, relaxation) made another one of."""
    found = creator.inputs.structure if "structure" in creator.inputs else None
    return found if isinstance(found, orm.StructureData) else None
