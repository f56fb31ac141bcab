"""What a user names on the command line: films, models, nodes, overrides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
from aiida import orm
from aiida.common.exceptions import MultipleObjectsError, NotExistent

from aiida_dmi.data.model import WannierModelData
from aiida_dmi.engine.yaml_text import load_yaml
from aiida_dmi.structures.bilayer import film
from aiida_dmi.structures.files import Slab, slab_of_file, structure_file
from aiida_dmi.structures.runs import said_of_run

PRESET = re.compile(r"^[A-Z][A-Za-z/]*\(\d+\)(:[\d+]+)?$")
"""Such as Mn/W(001):1+9."""
MOST_NAMED = 3


def load_node(text: str) -> orm.Node:
    """A node by pk, uuid or label; a film and its run may share a label, which means the run then.

    Raises
    ------
    click.UsageError
        If there is none, or more than one.
    """
    try:
        return orm.load_node(int(text) if text.isdigit() else text)
    except (NotExistent, ValueError) as error:
        raise click.UsageError(
            f"{text!r} was given, no node has this pk, uuid or label; see `aiida-dmi status`"
        ) from error
    except MultipleObjectsError as error:
        runs = _labelled(text, orm.WorkChainNode)
        found = runs or _labelled(text, orm.Node)
        if len(found) == 1:
            return found[0]
        named = ", ".join(f"pk {node.pk} of {node.ctime.astimezone():%Y-%m-%d %H:%M}" for node in found[:MOST_NAMED])
        raise click.UsageError(
            f"{text!r} was given, {len(found) or 'several'} nodes have it, the newest {named or 'unknown'}; give a pk "
            "(`aiida-dmi status`)"
        ) from error


def _labelled(label: str, kind: type[orm.Node]) -> list[orm.Node]:
    """Nodes of a label, the newest first."""
    query = orm.QueryBuilder().append(kind, filters={"label": label}, tag="node")
    return query.order_by({"node": {"id": "desc"}}).all(flat=True)


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
