"""WorkChain `dmi.response_base`: dmi-engine run, again from its checkpoint when it was cut off."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ExitCode, ProcessBuilder, ProcessHandlerReport, process_handler

from aiida_dmi.aiida_types import Spec, while_
from aiida_dmi.calculations.response import DmiCalculation
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.workflows import cleaning
from aiida_dmi.workflows.ports import fill
from aiida_dmi.workflows.protocols.mixin import FilmProtocols
from aiida_dmi.workflows.protocols.utils import load_protocol
from aiida_dmi.workflows.response_inputs import film_for, response_ports, shape_of_model
from aiida_dmi.workflows.reuse import ReusingWorkChain

CUT_OFF = DmiCalculation.exit_codes.ERROR_OUTPUT_STDOUT_INCOMPLETE


class DmiBaseWorkChain(FilmProtocols, ReusingWorkChain, BaseRestartWorkChain):
    """One response job; a job that was cut off by walltime or a crash goes on from its checkpoint."""

    _process_class = DmiCalculation

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports, outline and exit codes."""
        super().define(spec)
        spec.expose_inputs(DmiCalculation, namespace="dmi", exclude=("parent_folder",))
        spec.expose_outputs(DmiCalculation)
        spec.outline(
            cls.setup,
            while_(cls.should_run_process)(cls.run_process, cls.inspect_process),
            cls.results,
        )
        spec.exit_code(410, "ERROR_RESPONSE_FAILED", message="dmi-engine run failed ({pk}, exit {status}): {message}")

    def setup(self) -> None:
        """The first job's inputs."""
        super().setup()
        self.ctx.inputs = AttributeDict(self.exposed_inputs(DmiCalculation, namespace="dmi"))

    @process_handler(priority=500, exit_codes=[CUT_OFF])
    def resume_from_checkpoint(self, job: orm.CalcJobNode) -> ProcessHandlerReport:
        """Cut off: the next job takes over the sums that the checkpoint holds.

        A job that came to no checkpoint is tried once more; the second one did not get anywhere either.
        """
        if self._has_checkpoint(job):
            self.report(f"DmiCalculation<{job.pk}>: {job.exit_message}; goes on from its checkpoint")
            self.ctx.inputs.parent_folder = job.outputs.remote_folder
            return ProcessHandlerReport(True)
        if self.ctx.iteration > 1:
            return self._end(job)
        self.report(f"DmiCalculation<{job.pk}>: {job.exit_message}; it has no checkpoint yet: once more from the start")
        return ProcessHandlerReport(True)

    @process_handler(priority=100)
    def say_why(self, job: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Everything else ends here, with the engine's own line."""
        return None if job.is_finished_ok else self._end(job)

    def _has_checkpoint(self, job: orm.CalcJobNode) -> bool:
        try:
            return DmiCalculation.CHECKPOINT_FILE in job.outputs.remote_folder.listdir()
        except OSError:  # the folder is gone, and the checkpoint with it
            return False

    def _end(self, job: orm.CalcJobNode) -> ProcessHandlerReport:
        # Also for the last job that max_iterations allows, the exit code says why, not merely that there are no more.
        self.ctx.is_finished = True
        code = self.exit_codes.ERROR_RESPONSE_FAILED
        return ProcessHandlerReport(
            True, code.format(pk=job.pk, status=job.exit_status, message=job.exit_message or "no message")
        )

    def results(self) -> ExitCode | None:
        """The job's outputs, also those that this workchain's node has already.

        A worker that dies after they are stored and before the process is saved leaves a process without outputs. AiiDA
        skips those that are on the node, and then misses them: exit status 11 for a run that ended well.
        """
        code: ExitCode | None = super().results()
        outputs = self.get_outputs(self.ctx.children[-1])
        for name in self.spec().outputs:
            if name in outputs and name not in self.outputs:
                self.out(name, outputs[name])
        return code

    def on_terminated(self) -> None:
        """Remove the jobs' folders where that is asked for; not after a failure: the checkpoint is worth keeping."""
        super(BaseRestartWorkChain, self).on_terminated()
        if self.inputs.clean_workdir.value and self.node.is_finished_ok:
            removed, kept = cleaning.clean(self.node)
            self.report("; ".join([f"cleaned {removed} folders", *kept]))

    @classmethod
    def get_builder_from_protocol(
        cls,
        code: orm.AbstractCode,
        model: WannierModelData,
        protocol: str | None = None,
        overrides: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
    ) -> ProcessBuilder:
        """Builder with all inputs by a protocol.

        Parameters
        ----------
        code : Code
            dmi-engine.
        model : WannierModelData
        protocol, overrides, options
            As `DmiWorkChain.get_builder_from_model`; only `film`, `response` and `clean_workdir` are used.
        """
        inputs = load_protocol(protocol, overrides)
        builder = cls.get_builder()
        builder["dmi"].model = model
        film = film_for(model, inputs) or model.load()
        return fill(builder, response_ports(code, film, shape_of_model(model), inputs, options))
