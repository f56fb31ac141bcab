"""What a user names on the command line: films, models, nodes, overrides."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.common.exceptions import MultipleObjectsError

from aiida_dmi.data.lookup import find_node
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.errors import InputError, brief
from aiida_dmi.engine.files.yaml_text import load_yaml
from aiida_dmi.structures.bilayer import film
from aiida_dmi.structures.files import Slab, slab_of_file, structure_file
from aiida_dmi.structures.runs import said_of_run

PRESET = re.compile(r"^[A-Z][A-Za-z/]*\(\d+\)(:[\d+]+)?$")
"""Such as Mn/W(001):1+9."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


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


def load_film(text: str, moments_given: bool = False) -> Slab:
    """A film from a preset's name, a structure file, or a node.

    Parameters
    ----------
    text : str
        'Mn/W(001):1+9'; a structure file (cif, POSCAR, xsf, extended xyz, pw.x input, ...), with '@3' behind its name
        for one of its frames; pk, uuid or label of a StructureData or of a workchain that had one.

    moments_given : bool
        Whether moments are given beside it.

    Returns
    -------
    Slab
        As it is given, not turned yet: the builder takes it in.

    Raises
    ------
    click.UsageError
        If it is none of them.
    """
    if PRESET.match(text):
        return Slab(film(text), {}, [])
    if structure_file(text) is not None:
        return slab_of_file(text, moments_given)
    try:
        node = load_node(text)
    except click.UsageError as error:
        if re.fullmatch(r"\d+|[0-9a-f-]{6,36}", text) or isinstance(error.__cause__, MultipleObjectsError):
            raise
        raise click.UsageError(
            f"{text!r} was given, expected a film such as 'Mn/W(001):1+9', a structure file, or pk, uuid or label"
        ) from error
    if isinstance(node, orm.StructureData):
        return Slab(node, {}, [])
    for found in (getattr(node, "outputs", None), getattr(node, "inputs", None)):
        if found is not None and "structure" in found:
            return Slab(found.structure, said_of_run(node) if isinstance(node, orm.WorkChainNode) else {}, [])
    raise click.UsageError(f"{text}: {type(node).__name__}<{node.pk}> has no structure; give a StructureData")


def load_model(text: str) -> WannierModelData:
    """A model from a model file, or by pk or uuid of it or of the workchain that made it."""
    if Path(text).is_file():
        return WannierModelData(Path(text).absolute())
    node = load_node(text)
    if isinstance(node, WannierModelData):
        return node
    for found in (getattr(node, "outputs", None), getattr(node, "inputs", None)):
        if found is not None and "model" in found:
            model: WannierModelData = found.model
            return model
    raise click.UsageError(f"{text}: {type(node).__name__}<{node.pk}> has no Wannier model; give one, or a model file")


def load_overrides(path: str | None, settings: tuple[str, ...]) -> dict[str, Any]:
    """Overrides of a protocol from a YAML file and from KEY=VALUE pairs.

    Parameters
    ----------
    path : str, optional
    settings : tuple of str
        'response.mesh=96', 'scf.parameters.SYSTEM.ecutwfc=60', 'relax={fixed: [Pt.2]}': the value is YAML. A mapping
        is added to what the file says, everything else replaces it.

    Raises
    ------
    click.UsageError
        If the file or a value is no YAML, a pair has no '=', or a key is given twice.
    """
    try:
        overrides = load_yaml(Path(path).read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: not readable as YAML ({brief(error)})") from error
    if not isinstance(overrides, dict):
        held = "nothing" if overrides is None else type(overrides).__name__
        raise click.UsageError(f"{path}: holds {held}, expected keys and values as in the protocol")
    said: set[str] = set()
    for text in settings:
        key, found, value = text.partition("=")
        *sections, last = key.split(".")
        if not found or not all([*sections, last]):
            raise click.UsageError(f"--set {brief(text)}: expected KEY=VALUE, such as response.mesh=96")
        if key in said:
            raise click.UsageError(f"--set {brief(text)}: {key} is given twice; give it once")
        said.add(key)
        try:
            parsed = load_yaml(value)
        except ValueError as error:
            raise click.UsageError(f"--set {brief(text)}: {brief(value)!r} is no YAML value") from error
        place = overrides
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise click.UsageError(f"--set {brief(text)}: {section} holds a value, not a section")
        _put(place, last, parsed)
    return overrides


def _put(place: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, dict) and isinstance(place.get(key), dict):
        for inner, part in value.items():
            _put(place[key], inner, part)
    else:
        place[key] = value


def load_moments(pairs: tuple[str, ...]) -> dict[str, float] | None:
    """Starting moments, 'Co=1.7' or 'Co.1=1.7', mu_B; None where none is given.

    Raises
    ------
    click.UsageError
        If a pair has no name or no finite number, or a name is given twice.
    """
    moments: dict[str, float] = {}
    for text in pairs:
        name, _, value = (part.strip() for part in text.partition("="))
        if not name or not NUMBER.fullmatch(value) or not math.isfinite(float(value)):
            raise click.UsageError(f"--moment {brief(text)}: expected NAME=MOMENT, such as Co=1.7 (mu_B)")
        if name in moments:
            raise click.UsageError(f"--moment {brief(text)}: {name} is given twice; give it once")
        moments[name] = float(value)
    return moments or None
