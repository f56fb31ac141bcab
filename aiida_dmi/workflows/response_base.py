"""WorkChain `dmi.response_base`: dmi-engine run, again from its checkpoint when it was cut off."""

from __future__ import annotations

from aiida import orm
from aiida.common import AttributeDict
from aiida.engine import BaseRestartWorkChain, ProcessHandlerReport, ProcessSpec, process_handler, while_

from aiida_dmi.calculations.response import DmiCalculation


class DmiBaseWorkChain(BaseRestartWorkChain):
    """One response job; a job that was cut off by walltime or a crash goes on from its checkpoint."""

    _process_class = DmiCalculation

    @classmethod
    def define(cls, spec: ProcessSpec) -> None:
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

    @process_handler(priority=500, exit_codes=[DmiCalculation.exit_codes.ERROR_OUTPUT_STDOUT_INCOMPLETE])
    def resume_from_checkpoint(self, job: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Cut off: the next job takes over the sums that the checkpoint holds."""
        self.report(f"DmiCalculation<{job.pk}>: {job.exit_message}; goes on from its checkpoint")
        self.ctx.inputs.parent_folder = job.outputs.remote_folder
        return ProcessHandlerReport(True)

    @process_handler(priority=100)
    def say_why(self, job: orm.CalcJobNode) -> ProcessHandlerReport | None:
        """Everything else ends here, with the engine's own line."""
        cut_off = DmiCalculation.exit_codes.ERROR_OUTPUT_STDOUT_INCOMPLETE.status
        if job.is_finished_ok or job.exit_status == cut_off:
            return None
        code = self.exit_codes.ERROR_RESPONSE_FAILED
        return ProcessHandlerReport(
            True, code.format(pk=job.pk, status=job.exit_status, message=job.exit_message or "no message")
        )
