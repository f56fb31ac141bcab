"""What the CalcJobs of dmi-engine share: options, output files and exit codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from aiida import orm
from aiida.common.datastructures import CalcInfo, CodeInfo
from aiida.engine import ExitCode
from aiida_pseudo.data.pseudo.upf import UpfData

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


def define_pseudos(spec: Spec) -> None:
    """Define the input of jobs that need every pseudopotential."""
    spec.input_namespace(
        "pseudos",
        valid_type=UpfData,
        dynamic=True,
        required=True,
        help="Fully relativistic pseudopotential of every kind.",
    )


def define_long_job(spec: Spec) -> None:
    """Define the inputs of jobs that keep a checkpoint and share their work among processes."""
    spec.input(
        "parent_folder",
        valid_type=orm.RemoteData,
        required=False,
        help="Of a job with the same inputs that was cut off: its checkpoint is resumed.",
    )
    # Not a parameter: the result does not depend on it, and it does not enter the hash for caching (`identity`).
    spec.input(
        "metadata.options.processes",
        valid_type=int,
        default=1,
        validator=lambda value, _: None if value >= 1 else f"processes: {value} given, expected 1 or more",
        help="Worker processes of dmi-engine on its machine.",
    )


def refused_folders(inputs: Mapping[str, Any], remotes: Sequence[str]) -> str | None:
    """Everything must lie on one computer: the engine reads the wave functions in place."""
    folders = [inputs[name] for name in remotes if name in inputs]
    computers = {folder.computer.uuid: folder.computer.label for folder in folders}
    if "code" in inputs and inputs["code"].computer is not None:
        computers[inputs["code"].computer.uuid] = inputs["code"].computer.label
    if len(computers) <= 1:
        return None
    return f"{', '.join(remotes)} and the code must be on one computer, found {' and '.join(computers.values())}"


def refused_pseudos(inputs: Mapping[str, Any]) -> str | None:
    """At least one; a workchain that exposes these ports leaves pseudos out and fills them in itself."""
    if "pseudos" in inputs and not inputs["pseudos"]:
        return "pseudos: none given; one fully relativistic pseudopotential a kind is needed"
    return None


def pseudo_path(kind: str) -> str:
    """Of a kind's pseudopotential in the job's folder."""
    return f"pseudos/{kind}.upf"


class EngineCalculation(IdentifiedCalculation):
    """Runs one command of dmi-engine; a subclass names command, parser, input file and result.

    Attributes
    ----------
    COMMAND : str
        Of dmi-engine: 'overlaps', 'build', 'complete' or 'run'.
    PARSER : str
        Entry point.
    INPUT_FILE, FILE : str
        The spec it reads, the file it writes and the parser reads.
    MODEL_FILE, CHECKPOINT_FILE : str
        The model it reads, and what it is resumed from, where it has them.
    SAVE_FOLDER : str
        Of pw.x in the folder of a nscf run.
    """

    COMMAND: str
    PARSER: str
    INPUT_FILE: str
    FILE: str
    MODEL_FILE = "model.h5"
    CHECKPOINT_FILE: str
    SAVE_FOLDER = "out/aiida.save"
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

    def link_folders(self, info: CalcInfo, remotes: Sequence[str]) -> None:
        """Link the folders of earlier runs into the job's own, each under its input's name."""
        folders = {name: self.inputs[name] for name in remotes}
        info.remote_symlink_list = [(f.computer.uuid, f.get_remote_path(), name) for name, f in folders.items()]

    def resume(self, info: CalcInfo) -> None:
        """Copy the checkpoint of the job that was cut off, if there is one.

        One that was cut off before its first checkpoint has none: AiiDA then warns, and the run starts anew.
        """
        if "parent_folder" in self.inputs:
            parent = self.inputs.parent_folder
            source = f"{parent.get_remote_path()}/{self.CHECKPOINT_FILE}"
            info.remote_copy_list = [(parent.computer.uuid, source, self.CHECKPOINT_FILE)]
