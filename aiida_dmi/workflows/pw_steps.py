"""The workchains of pw.x, with jobs that are reused as this package's workchains say."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.plugins import WorkflowFactory

from aiida_dmi.workflows.reuse import ReusingWorkChain

Base = WorkflowFactory("quantumespresso.pw.base")
Relax = WorkflowFactory("quantumespresso.pw.relax")


class PwBaseWorkChain(ReusingWorkChain, Base):
    """One run of pw.x with aiida-quantumespresso's restarts."""


class PwRelaxWorkChain(ReusingWorkChain, Relax):
    """A relaxation by runs of this package's `PwBaseWorkChain`."""

    def submit(self, process: Any, inputs: dict[str, Any] | None = None, **kwargs: Any) -> orm.ProcessNode:
        """Submit a process; arguments as AiiDA's."""
        return super().submit(PwBaseWorkChain if process is Base else process, inputs, **kwargs)
