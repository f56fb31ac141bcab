"""What the CalcJobs of dmi-engine share: options, output files and exit codes."""

from __future__ import annotations

from typing import Any, cast

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.engine import ExitCode

from aiida_dmi.aiida_types import Spec, exit_code
from aiida_dmi.calculations import scheduler
from aiida_dmi.calculations.identity import IdentifiedCalculation, ResultCaching
from aiida_dmi.engine.build.completed import operations_of
from aiida_dmi.engine.errors import InputError


def define_symmetry(spec: Spec) -> None:
    """Define the input of jobs that read a nscf run on the irreducible points of a mesh."""
    spec.input(
        "symmetry",
        valid_type=orm.Dict,
        required=False,
        validator=validate_symmetry,
        help="`operations` of the film, by which dmi-engine makes the points that the nscf run lacks (from "
        "`irreducible_mesh`). Not needed for a run on the complete mesh or on one of each pair k and -k.",
    )


def validate_symmetry(node: orm.Dict | None, _: Any) -> str | None:
    """Operations that the engine takes."""
    try:
        operations_of(None if node is None else node.get("operations", None))
    except InputError as error:
        return f"symmetry: {error}"
    return None


class EngineCalculation(IdentifiedCalculation):
    """Runs one command of dmi-engine; a subclass names command, parser, input file and result.

    Attributes
    ----------
    COMMAND : str
        Of dmi-engine: 'overlaps', 'build' or 'run'.
    PARSER : str
        Entry point.
    INPUT_FILE, FILE : str
        The spec it reads, the file it writes and the parser reads.
    """

    COMMAND: str
    PARSER: str
    INPUT_FILE: str
    FILE: str
    OUTPUT_FILE = "dmi-engine.out"
    ERROR_FILE = "dmi-engine.err"

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define the shared options and exit codes."""
        super().define(spec)
        options = spec.inputs["metadata"]["options"]
        options["parser_name"].default = cls.PARSER
        options["resources"].default = {"num_machines": 1, "num_mpiprocs_per_machine": 1}
        options["withmpi"].default = False
        options["environment_variables"].default = {"OMP_NUM_THREADS": "1"}
        spec.exit_code(
            302,
            "ERROR_OUTPUT_STDOUT_MISSING",
            message="dmi-engine left no output; see _scheduler-stderr.txt: is the code installed there?",
            invalidates_cache=True,
        )
        spec.exit_code(
            312,
            "ERROR_OUTPUT_STDOUT_INCOMPLETE",
            message=f"dmi-engine {cls.COMMAND} did not reach its end (killed, out of time or memory?); "
            "it said last: {message}",
            invalidates_cache=True,
        )
        spec.exit_code(320, "ERROR_BAD_INPUT", message=f"dmi-engine {cls.COMMAND} refused its input: {{message}}")
        spec.exit_code(
            330,
            "ERROR_OUTPUT_FILE_INVALID",
            message=f"{cls.FILE} is missing or invalid: {{message}}",
            invalidates_cache=True,
        )

    @classmethod
    def get_or_create_db_record(cls) -> orm.CalcJobNode:
        """The job's node; what changes no bit of the result does not enter its hash."""
        node = cast("orm.CalcJobNode", super().get_or_create_db_record())
        node.base.caching = ResultCaching(node)
        return node

    def parse_retrieved_output(self, retrieved_temporary_folder: str | None = None) -> ExitCode | None:
        """The parser's verdict; of a job that was cut off, with the batch system's reason."""
        code = super().parse_retrieved_output(retrieved_temporary_folder)
        codes = self.exit_codes
        cut_off = (codes.ERROR_OUTPUT_STDOUT_MISSING.status, codes.ERROR_OUTPUT_STDOUT_INCOMPLETE.status)
        if code is None or code.status not in cut_off:
            return code
        ending = scheduler.ending(self.node)
        if ending is None:
            return code
        if ending.cancelled and "ERROR_CANCELLED" in codes:
            return exit_code(self, "ERROR_CANCELLED", message=ending.message)
        return ExitCode(code.status, f"{code.message}; {ending.message}", code.invalidates_cache)

    def calc_info(self, *arguments: str, output: str | None = None) -> CalcInfo:
        """Command line, and what is retrieved: the result itself is stored once, in the output node.

        Parameters
        ----------
        *arguments
            More of the command line.
        output
            Value of --output where it is not FILE.
        """
        code = CodeInfo()
        code.code_uuid = self.inputs.code.uuid
        code.cmdline_params = [self.COMMAND, self.INPUT_FILE, "--output", output or self.FILE, *arguments]
        code.stdout_name = self.OUTPUT_FILE
        code.stderr_name = self.ERROR_FILE
        info = CalcInfo()
        info.codes_info = [code]
        info.retrieve_list = [self.OUTPUT_FILE, self.ERROR_FILE]
        info.retrieve_temporary_list = [self.FILE]
        return info
