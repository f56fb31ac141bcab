"""What a user names on the command line: films, models, nodes, overrides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.common.exceptions import MultipleObjectsError

from aiida_dmi.data.lookup import find_node
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.yaml_text import load_yaml
from aiida_dmi.structures.bilayer import film
from aiida_dmi.structures.slab import film_from_ase, film_from_structure

PRESET = re.compile(r"^[A-Z][A-Za-z/]*\(\d+\)(:[\d+]+)?$")
"""Such as Mn/W(001):1+9."""


def load_node(text: str) -> orm.Node:
    """A node by pk, label or uuid: see `aiida_dmi.data.lookup.find_node`.

    Raises
    ------
    click.UsageError
        If there is none, or more than one.
    """
    try:
        return find_node(text)
    except InputError as error:
        raise click.UsageError(str(error)) from error


def load_film(text: str) -> orm.StructureData:
    """A film from a preset's name, a structure file, or a node.

    Parameters
    ----------
    text : str
        'Mn/W(001):1+9'; a file that ASE reads (cif, POSCAR, xsf, extended xyz, ...); pk or uuid of a StructureData or
        of a workchain that had one.

    Raises
    ------
    click.UsageError
        If it is none of them.
    """
    if PRESET.match(text):
        return film(text)
    if Path(text).is_file():
        return _from_file(Path(text))
    try:
        node = load_node(text)
    except click.UsageError as error:
        if re.fullmatch(r"\d+|[0-9a-f-]{6,36}", text) or isinstance(error.__cause__, MultipleObjectsError):
            raise
        raise click.UsageError(
            f"{text!r} was given, expected a film such as 'Mn/W(001):1+9', a structure file, or pk, uuid or label"
        ) from error
    if isinstance(node, orm.StructureData):
        return node if tuple(node.pbc) == (True, True, False) else film_from_structure(node)
    for found in (getattr(node, "outputs", None), getattr(node, "inputs", None)):
        if found is not None and "structure" in found:
            return found.structure
    raise click.UsageError(f"{text}: {type(node).__name__}<{node.pk}> has no structure; give a StructureData")


def _from_file(path: Path) -> orm.StructureData:
    import ase.io

    try:
        atoms = ase.io.read(path)
    except Exception as error:  # ASE's readers raise whatever their formats bring up
        raise click.UsageError(
            f"{path}: ASE cannot read it ({error}); give a cif, POSCAR or extended xyz file"
        ) from error
    return film_from_ase(atoms)


def load_model(text: str) -> WannierModelData:
    """A model from a model file, or by pk or uuid of it or of the workchain that made it."""
    if Path(text).is_file():
        return WannierModelData(Path(text).absolute())
    node = load_node(text)
    if isinstance(node, WannierModelData):
        return node
    for found in (getattr(node, "outputs", None), getattr(node, "inputs", None)):
        if found is not None and "model" in found:
            return found.model
    raise click.UsageError(f"{text}: {type(node).__name__}<{node.pk}> has no Wannier model; give one, or a model file")


def load_overrides(path: str | None, settings: tuple[str, ...]) -> dict[str, Any]:
    """Overrides of a protocol from a YAML file and from KEY=VALUE pairs.

    Parameters
    ----------
    path : str, optional
    settings : tuple of str
        'response.mesh=96', 'scf.parameters.SYSTEM.ecutwfc=60', 'relax={fixed: [Pt.2]}': the value is YAML.

    Raises
    ------
    click.UsageError
        If the file or a value is no YAML, or a pair has no '='.
    """
    try:
        overrides = load_yaml(Path(path).read_text(encoding="utf-8")) if path else {}
    except ValueError as error:
        raise click.UsageError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(overrides, dict):
        raise click.UsageError(f"{path}: holds {type(overrides).__name__}, expected keys and values as in the protocol")
    for text in settings:
        key, found, value = text.partition("=")
        if not found or not key:
            raise click.UsageError(f"--set {text}: expected KEY=VALUE, such as response.mesh=96")
        try:
            parsed = load_yaml(value)
        except ValueError as error:
            raise click.UsageError(f"--set {text}: {value!r} is no YAML value") from error
        *sections, last = key.split(".")
        place = overrides
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise click.UsageError(f"--set {text}: {section} holds a value, not a section")
        place[last] = parsed
    return overrides


def load_moments(pairs: tuple[str, ...]) -> dict[str, float] | None:
    """Starting moments, 'Co=1.7' or 'Co.1=1.7', mu_B; None where none is given."""
    moments = {}
    for text in pairs:
        name, found, value = text.partition("=")
        try:
            moments[name] = float(value)
        except ValueError as error:
            raise click.UsageError(f"--moment {text}: expected NAME=MOMENT, such as Co=1.7 (mu_B)") from error
        if not found or not name:
            raise click.UsageError(f"--moment {text}: expected NAME=MOMENT, such as Co=1.7 (mu_B)")
    return moments or None
