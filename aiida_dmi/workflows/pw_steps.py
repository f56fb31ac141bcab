"""pw.x as aiida-quantumespresso runs it, with another way to start where it breaks down or cannot diagonalise.

The classes keep the names of those they extend, which is what reports and `verdi process list` show.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import ExitCode, ProcessHandlerReport, process_handler
from aiida_quantumespresso.calculations.pw import PwCalculation
from aiida_quantumespresso.workflows.pw.base import PwBaseWorkChain as Base
from aiida_quantumespresso.workflows.pw.relax import PwRelaxWorkChain as Relax

from aiida_dmi.aiida_types import Spec
from aiida_dmi.calculations.scheduler import ending as ended_by_scheduler
from aiida_dmi.parsers.quantum_espresso import ending_of
from aiida_dmi.workflows.reuse import ReusingWorkChain

Codes = PwCalculation.exit_codes
DIAGONALISATION = (
    Codes.ERROR_COMPUTING_CHOLESKY,
    Codes.ERROR_DIAGONALIZATION_TOO_MANY_BANDS_NOT_CONVERGED,
    Codes.ERROR_S_MATRIX_NOT_POSITIVE_DEFINITE,
    Codes.ERROR_ZHEGVD_FAILED,
    Codes.ERROR_QR_FAILED,
    Codes.ERROR_EIGENVECTOR_CONVERGENCE,
    Codes.ERROR_BROYDEN_FACTORIZATION,
)
INCOMPLETE = (
    Codes.ERROR_OUTPUT_STDOUT_INCOMPLETE,
    Codes.ERROR_OUTPUT_STDOUT_MISSING,
    Codes.ERROR_OUTPUT_XML_MISSING,
    Codes.ERROR_OUTPUT_XML_READ,
    Codes.ERROR_OUTPUT_XML_PARSE,
    Codes.ERROR_OUTPUT_XML_FORMAT,
    Codes.ERROR_OUTPUT_FILES,
    Codes.ERROR_UNEXPECTED_PARSER_EXCEPTION,
)
"""The run did not reach its end; the parser does not know why."""
ITERATED = re.compile(r"estimated scf accuracy")
"""In the output once an scf iteration is done: its start was not at fault."""


class Remedy(NamedTuple):
    """Something else to try: words for the report, and a change of a job's inputs that says whether it changed any."""

    words: str
    change: Callable[[AttributeDict], bool]


def _random(inputs: AttributeDict) -> bool:
    """Atomic functions of several atoms can depend on each other; random ones do not."""
    return _set(inputs.parameters["ELECTRONS"], "startingwfc", "random")


def _conjugate_gradients(inputs: AttributeDict) -> bool:
    """The slowest and safest algorithm."""
    return _set(inputs.parameters["ELECTRONS"], "diagonalization", "cg")


def _one_pool(inputs: AttributeDict) -> bool:
    flags = inputs.parallelization.get_dict() if "parallelization" in inputs else {}
    if not _ranks(inputs) > 1 or flags.get("npool", 1) == 1:
        return False
    inputs.parallelization = orm.Dict({**flags, "npool": 1})
    return True


def _one_rank(inputs: AttributeDict) -> bool:
    # Ranks that a container starts are part of its code.
    if not _ranks(inputs) > 1 or not inputs.metadata.options.get("withmpi", True):
        return False
    flags = inputs.parallelization.get_dict() if "parallelization" in inputs else {}
    inputs.parallelization = orm.Dict({**flags, "npool": 1})
    resources = {**inputs.metadata.options["resources"], "num_machines": 1, "num_mpiprocs_per_machine": 1}
    resources.pop("tot_num_mpiprocs", None)
    inputs.metadata.options["resources"] = resources
    return True


def _ranks(inputs: AttributeDict) -> int:
    resources = inputs.metadata.options.get("resources", {})
    machines, per_machine = resources.get("num_machines", 1), resources.get("num_mpiprocs_per_machine") or 1
    return int(resources.get("tot_num_mpiprocs") or machines * per_machine)


def _set(namelist: dict[str, Any], key: str, value: str) -> bool:
    changed = namelist.get(key) != value
    namelist[key] = value
    return changed


RANDOM = Remedy("random starting wave functions", _random)
GRADIENTS = Remedy("conjugate-gradient diagonalisation", _conjugate_gradients)
ONE_POOL = Remedy("one pool of k points", _one_pool)
ONE_RANK = Remedy("one MPI rank", _one_rank)


class PwBaseWorkChain(ReusingWorkChain, Base):  # type: ignore[misc]  # the package it comes from has no types
    """pw.x with restarts: those of aiida-quantumespresso, and another start where it broke down at once.

    What is changed stays changed in the next tries. A run that was ended from outside, or that pw.x ended with a reason
    that no other start mends, is not tried again.
    """

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports, outline and exit codes."""
        super().define(spec)
        spec.exit_code(381, "ERROR_NO_OTHER_START", message="pw.x breaks down however it is started")

    @process_handler(priority=610, exit_codes=[ExitCode(0)])
    def require_its_end(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """A run with a CRASH file can pass for finished: the folder then holds its parent's bands."""
        if ending_of(calculation).done:
            return None
        return self._start_otherwise(calculation)

    @process_handler(priority=605, exit_codes=[Codes.ERROR_NPOOLS_TOO_HIGH])
    def take_one_pool(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Some pools had no k point."""
        return self._try(calculation, [ONE_POOL])

    @process_handler(priority=600, exit_codes=[*DIAGONALISATION, *INCOMPLETE])
    def handle_diagonalization_errors(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """In place of the parent's: other starting functions before other algorithms, also where pw.x said nothing."""
        if calculation.exit_status in [code.status for code in DIAGONALISATION]:
            return self._try(calculation, [RANDOM, GRADIENTS, ONE_POOL, ONE_RANK])
        return self._start_otherwise(calculation)

    def _start_otherwise(self, calculation: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Another start of a run that did not reach its end, if that can be the remedy."""
        found = ending_of(calculation)
        if found.of_diagonalisation:
            return self._try(calculation, [RANDOM, GRADIENTS, ONE_POOL, ONE_RANK])
        at_start = found.reason is None and found.breakdown is not None and not ITERATED.search(found.output)
        if not at_start or found.killed or ended_by_scheduler(calculation) is not None:
            if calculation.is_finished_ok:
                return ProcessHandlerReport(True, self.exit_codes.ERROR_NO_OTHER_START)
            return None
        return self._try(calculation, [RANDOM, ONE_POOL, GRADIENTS, ONE_RANK])

    def _try(self, calculation: orm.CalcJobNode, remedies: list[Remedy]) -> ProcessHandlerReport:
        words = ending_of(calculation).words() or calculation.exit_message
        what = f"{calculation.process_label}<{calculation.pk}> failed ({words})"
        for remedy in remedies:
            if remedy.change(self.ctx.inputs):
                self.report(f"{what}; once more with {remedy.words}")
                return ProcessHandlerReport(True)
        self.report(f"{what}; no other way to start it is left")
        return ProcessHandlerReport(True, self.exit_codes.ERROR_NO_OTHER_START)


class PwRelaxWorkChain(ReusingWorkChain, Relax):  # type: ignore[misc]  # the package it comes from has no types
    """A relaxation by runs of this package's `PwBaseWorkChain`."""

    def submit(self, process: Any, inputs: dict[str, Any] | None = None, **kwargs: Any) -> orm.ProcessNode:
        """Submit a process; arguments as AiiDA's."""
        return super().submit(PwBaseWorkChain if process is Base else process, inputs, **kwargs)
