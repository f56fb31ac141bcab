"""The mesh of the Wannier functions, and Wannier90's choice of neighbours on it, settled before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from aiida import orm

from aiida_dmi.calculations.wannier90_neighbours import mesh_that_closes, neighbours, settings_that_close
from aiida_dmi.engine.errors import InputError


class Choice(NamedTuple):
    """Divisions of the mesh, what Wannier90's parameters need beside those given, and why; '' where nothing changed."""

    mesh: list[int]
    parameters: dict[str, Any]
    words: str


def choose(cell: Any, mesh: list[int], given: Mapping[str, Any], fixed: bool) -> Choice:
    """A mesh on which Wannier90 finds its neighbours: the one asked for, else the next denser one.

    Parameters
    ----------
    cell : array_like, shape (3, 3)
        Rows, Angstrom.
    mesh : list of int
        Three divisions.
    given : mapping
        Wannier90's parameters.
    fixed : bool
        Whether the mesh was asked for by its divisions: then it is not changed.

    Raises
    ------
    InputError
        If no settings of Wannier90 and no mesh near by do; with the mesh to take where this one was asked for.
    """
    try:
        neighbours(cell, mesh, given)
    except ValueError as error:
        reason = error
    else:
        return Choice(mesh, {}, "")
    lost = f"without neighbours for Wannier90 ({reason})"
    try:
        added = settings_that_close(cell, mesh, given)
    except ValueError:
        denser = _denser(cell, mesh, given, lost)
    else:
        return Choice(mesh, added, f"{_said(added)}: otherwise {lost}")
    if fixed:
        raise InputError(
            f"kpoints: {_shown(mesh)} was given, a mesh {lost}; give for instance {_shown(denser)}, or a cell of "
            "another height"
        )
    added = settings_that_close(cell, denser, given)
    words = f"mesh {_shown(denser)}: {_shown(mesh)} is {lost}"
    return Choice(denser, added, "; ".join([words, *([_said(added)] if added else [])]))


def _denser(cell: Any, mesh: list[int], given: Mapping[str, Any], lost: str) -> list[int]:
    try:
        return mesh_that_closes(cell, mesh, given)
    except ValueError as error:
        raise InputError(
            f"kpoints: {_shown(mesh)}, a mesh {lost}, and so are those slightly denser; give the cell to more digits, "
            "another height of it (film: vacuum), or another mesh"
        ) from error


def settled(kpoints: orm.KpointsData, section: Mapping[str, Any]) -> tuple[orm.KpointsData, dict[str, Any], str]:
    """The mesh of a protocol's section `wannierisation`, Wannier90's parameters on it, and what was changed.

    Parameters
    ----------
    kpoints : KpointsData
        As the section says, with the film's cell.
    section : mapping
        `parameters`, and `kpoints_mesh` where the mesh was given by its divisions.

    Raises
    ------
    InputError
        As `choose`.
    """
    asked = kpoints.get_kpoints_mesh()[0]
    choice = choose(kpoints.cell, asked, section["parameters"], fixed=section.get("kpoints_mesh") is not None)
    if choice.mesh != asked:
        kpoints.set_kpoints_mesh(choice.mesh)
    return kpoints, {**section["parameters"], **choice.parameters}, choice.words


def refusal(structure: orm.StructureData, kpoints: orm.KpointsData, given: Mapping[str, Any]) -> str | None:
    """What Wannier90 would say of a mesh, with the parameters as they are."""
    mesh = kpoints.get_kpoints_mesh()[0]
    try:
        neighbours(structure.cell, mesh, given)
    except ValueError as error:
        try:
            added = settings_that_close(structure.cell, mesh, given)
        except ValueError:
            remedy = "give another mesh"
        else:
            remedy = f"give {_said(added)} in wannier90.parameters"
        return f"kpoints: {_shown(mesh)}, a mesh without neighbours for Wannier90 ({error}); {remedy}"
    return None


def _said(added: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {value:g}" for key, value in added.items())


def _shown(mesh: list[int]) -> str:
    return "x".join(str(n) for n in mesh[:2])
