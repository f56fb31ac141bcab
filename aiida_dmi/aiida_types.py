"""Types of AiiDA where its own annotations say too little, or what no override may say; each with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from aiida import engine, orm
from aiida.engine import ExitCode, Process
from aiida.parsers import Parser

Kind = TypeVar("Kind", bound=orm.Node)

Spec: TypeAlias = Any
"""What `define` fills. `Process.define` promises to take every spec; that of a job or a workchain needs its own kind
(`CalcJobProcessSpec`, `WorkChainSpec`), which no override may ask for. AiiDA itself ignores the rule at this place."""

if_: Callable[[Callable[..., bool]], Any] = engine.if_
"""As AiiDA's, for the steps of any class: plumpy's type is that of functions which take every workchain."""
while_: Callable[[Callable[..., bool]], Any] = engine.while_
"""As `if_`."""


def exit_code(process: Process | Parser, label: str, /, **context: Any) -> ExitCode:
    """An exit code of a process's spec: AiiDA gives what stands in this namespace the type Any.

    Parameters
    ----------
    process : Process or Parser
    label : str
    context
        What the braces of its message stand for.
    """
    code: ExitCode = process.exit_codes[label]
    return code.format(**context) if context else code


def pk_of(node: orm.Node) -> int:
    """The pk of a node that is stored; AiiDA's type allows for one that is not.

    Raises
    ------
    ValueError
        If it is not stored.
    """
    if node.pk is None:
        raise ValueError(f"{type(node).__name__} of uuid {node.uuid}: it is not stored and has no pk")
    return node.pk


def computer_of(entity: orm.Node | orm.AbstractCode) -> orm.Computer:
    """The computer of a job, a folder or a code, which always has one; AiiDA's type is that of every node.

    Raises
    ------
    ValueError
        If it has none.
    """
    if entity.computer is None:
        raise ValueError(f"{type(entity).__name__}<{entity.pk}>: it has no computer")
    return entity.computer


def node_of(pk: int, kind: type[Kind]) -> Kind:
    """The node of a pk, of a kind that is known.

    Raises
    ------
    ValueError
        If it is of another kind.
    """
    node = orm.load_node(pk)
    if not isinstance(node, kind):
        raise ValueError(f"pk {pk} is a {type(node).__name__}, expected a {kind.__name__}")
    return node


def state_of(process: orm.ProcessNode) -> str:
    """The state of a process in AiiDA's word; one that was cut off in the instant of its creation has none yet."""
    return "created" if process.process_state is None else str(process.process_state.value)
