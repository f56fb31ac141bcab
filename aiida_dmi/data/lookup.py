"""Which node a text stands for: the one rule for the command line and for the specs of campaigns."""

from __future__ import annotations

import re

from aiida import orm
from aiida.common.exceptions import MultipleObjectsError, NotExistent

from aiida_dmi.engine.errors import InputError

PK = re.compile("[0-9]{1,18}")
"""Longer numbers no database counts to."""
UUID = re.compile(r"[0-9a-fA-F](-?[0-9a-fA-F]){7,31}-?")
"""Eight digits of it or more: fewer are too easily a label, or another node's."""
MOST_NAMED = 3


class NoNodeError(InputError, NotExistent):
    """No node is what a text says."""


class SeveralNodesError(InputError, MultipleObjectsError):
    """More than one node is what a text says."""


def find_node(text: str) -> orm.Node:
    """The node of a pk, a label, or a uuid.

    Digits are a pk where a node has it; then the text is a label, of a run before anything else (a film and its run may
    share one); then a uuid, or the beginning of one, of eight digits or more. What means two nodes is refused.

    Raises
    ------
    NoNodeError, SeveralNodesError
        If there is none, or more than one.
    """
    by_pk = _of_pk(text)
    by_label = labelled(text, orm.WorkChainNode) or labelled(text, orm.Node)
    other = next((node for node in by_label if by_pk and node.pk != by_pk[0].pk), None)
    if other is not None:
        raise SeveralNodesError(
            f"{text!r} was given, a pk (of {_named(by_pk[0])}) and a label (of {_named(other)}); give the uuid of the "
            f"one that is meant, {by_pk[0].uuid} or {other.uuid}"
        )
    found = by_pk or by_label or _of_uuid(text)
    if not found:
        raise NoNodeError(f"{text!r} was given, no node has this pk, uuid or label; see `aiida-dmi status`")
    if len(found) > 1:
        named = ", ".join(f"pk {node.pk} of {node.ctime.astimezone():%Y-%m-%d %H:%M}" for node in found[:MOST_NAMED])
        raise SeveralNodesError(
            f"{text!r} was given, {len(found)} nodes have it, the newest {named}; give a pk (`aiida-dmi status`)"
        )
    return found[0]


def labelled(label: str, kind: type[orm.Node]) -> list[orm.Node]:
    """Nodes of a label, the newest first; an empty label finds none."""
    # What no database takes: an error of its own would close AiiDA's session for everybody.
    if not label or re.search("[\0\ud800-\udfff]", label):
        return []
    query = orm.QueryBuilder().append(kind, filters={"label": label}, tag="node")
    found: list[orm.Node] = query.order_by({"node": {"id": "desc"}}).all(flat=True)
    return found


def _of_pk(text: str) -> list[orm.Node]:
    if not PK.fullmatch(text):
        return []
    found: list[orm.Node] = orm.QueryBuilder().append(orm.Node, filters={"id": int(text)}).all(flat=True)
    return found


def _of_uuid(text: str) -> list[orm.Node]:
    if not UUID.fullmatch(text):
        return []
    digits = text.replace("-", "").lower()
    # As uuids are written: 8, 4, 4, 4 and 12 digits.
    parts = [digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]]
    beginning = f"{'-'.join(part for part in parts if part)}%"
    query = orm.QueryBuilder().append(orm.Node, filters={"uuid": {"like": beginning}}, tag="node")
    found: list[orm.Node] = query.order_by({"node": {"id": "desc"}}).all(flat=True)
    return found


def _named(node: orm.Node) -> str:
    kind = node.process_label if isinstance(node, orm.ProcessNode) else type(node).__name__
    return f"{kind}<{node.pk}>"
