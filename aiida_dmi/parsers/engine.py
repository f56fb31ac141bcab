"""What the parsers of dmi-engine share: how the engine says that it finished, refused or broke off."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from aiida.engine import ExitCode
from aiida.orm import Data, SinglefileData
from aiida.parsers import Parser

from aiida_dmi.aiida_types import exit_code
from aiida_dmi.calculations.engine import EngineCalculation
from aiida_dmi.engine.processes.console import COMPLETE


class EngineParser(Parser):
    """Parser of a dmi-engine CalcJob; a subclass names the node it makes of the result file.

    Success is decided by the engine's own last line, never by the scheduler's word: exit code 0 is returned
    explicitly, as it then overrides a complaint of the scheduler about a run that the engine has finished.
    """

    CACHE_VERSION = 1
    OUTPUT: str
    DATA: type[SinglefileData]

    def parse(self, **kwargs: Any) -> ExitCode:
        """Turn the engine's file into the output node, or say why there is none."""
        job = cast("type[EngineCalculation]", self.node.process_class)
        lines = self._lines(job.OUTPUT_FILE)
        if lines is None:
            return exit_code(self, "ERROR_OUTPUT_STDOUT_MISSING")
        errors = self._lines(job.ERROR_FILE) or []
        refusal = next((line for line in reversed(errors) if line.startswith("dmi-engine: ")), None)
        if refusal is not None:
            return exit_code(self, "ERROR_BAD_INPUT", message=refusal.removeprefix("dmi-engine: "))
        if not lines or lines[-1] != COMPLETE:
            last = (errors or lines or ["nothing"])[-1]
            return exit_code(self, "ERROR_OUTPUT_STDOUT_INCOMPLETE", message=last)
        return self._store(Path(kwargs["retrieved_temporary_folder"]) / job.FILE)

    def _lines(self, name: str) -> list[str] | None:
        """Non-empty lines of a retrieved file, None where it is missing."""
        if name not in self.retrieved.base.repository.list_object_names():
            return None
        content = self.retrieved.base.repository.get_object_content(name, mode="rb")
        return [line.strip() for line in content.decode(errors="replace").splitlines() if line.strip()]

    def _store(self, path: Path) -> ExitCode:
        if not path.is_file():
            return exit_code(self, "ERROR_OUTPUT_FILE_INVALID", message=f"{path.name} was not written")
        try:
            node = self._result(path)
        except (ValueError, OSError, KeyError) as error:
            return exit_code(self, "ERROR_OUTPUT_FILE_INVALID", message=str(error))
        self.out(self.OUTPUT, node)
        return ExitCode(0)

    def _result(self, path: Path) -> Data:
        """The output node of the engine's file; ValueError, OSError or KeyError where the file is invalid."""
        return self.DATA(path.absolute(), filename=path.name)
