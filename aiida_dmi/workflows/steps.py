"""What the steps of a workchain share: how one is started and reported, and why one did not end well."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, WorkChain
from aiida_quantumespresso.calculations.pw import PwCalculation
from aiida_quantumespresso.calculations.pw2wannier90 import Pw2wannier90Calculation

from aiida_dmi.aiida_types import exit_code, pk_of
from aiida_dmi.calculations.scheduler import ending
from aiida_dmi.parsers.quantum_espresso import ending_of
from aiida_dmi.workflows.layout import said

ESPRESSO = {
    PwCalculation.build_process_type(): "pw.x",
    Pw2wannier90Calculation.build_process_type(): "pw2wannier90.x",
}
"""Jobs that say themselves why they stopped, between lines of '%'."""


def start(workchain: WorkChain, process: Any, inputs: dict[str, Any], step: str, why: str = "") -> Any:
    """Submit a step, name its link, and report it in plain words: why, and how its job is laid out."""
    inputs = AttributeDict(inputs)
    metadata = AttributeDict(inputs.get("metadata", {}))
    metadata.call_link_label = step.replace(", spin ", "_").replace(" ", "_").replace("-", "_")
    inputs.metadata = metadata
    node = workchain.submit(process, **inputs)
    words = "; ".join(part for part in (why, said(inputs)) if part)
    workchain.report(f"{step}: {process.__name__}<{node.pk}> started{f', {words}' if words else ''}")
    return node


def last_words(node: Any) -> str:
    """Why a process did not end well, in its own words."""
    if node.is_excepted:
        return f"broke off with an exception; see `verdi process report {node.pk}`"
    words = node.exit_message or ("killed" if node.is_killed else "no message")
    if not isinstance(node, orm.CalcJobNode) or not node.is_failed:
        return words
    how = ending(node)
    program = ESPRESSO.get(node.process_type)
    own = None if program is None else ending_of(node).words(program)
    said = [line for line in (own, None if how is None else how.message) if line and line not in words]
    return "; ".join([words.rstrip(".") if said else words, *said])


def step_failed(workchain: WorkChain, step: str, node: Any, /, **context: Any) -> ExitCode:
    """The exit code ERROR_SUB_PROCESS_FAILED_`step`, with the process that did not end well and its last words.

    Parameters
    ----------
    workchain : WorkChain
        Whose spec has the code.
    step : str
    node : ProcessNode
    **context
        More that the braces of the message stand for (a `step` of its own among them), or other words as its
        `message`.
    """
    details = {"pk": node.pk, "status": node.exit_status, "message": last_words(node), **context}
    return exit_code(workchain, f"ERROR_SUB_PROCESS_FAILED_{step}", **details)


def words_of_last_job(workchain: orm.WorkChainNode) -> str:
    """Why a workchain of pw.x jobs did not end well: its last job knows better than the workchain itself."""
    jobs = [node for node in workchain.called_descendants if isinstance(node, orm.CalcJobNode)]
    last = max(jobs, key=pk_of, default=None)
    return last_words(workchain if last is None or last.is_finished_ok else last)
