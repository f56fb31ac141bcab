"""What Quantum ESPRESSO's programs, and the MPI they run under, say when they stop before their end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from aiida import orm

from aiida_dmi.engine.errors import brief

RULER = re.compile(r"\s*%{10,}\s*")
"""Before and after an error, in the output and in the file CRASH."""
ROUTINE = re.compile(r"(?:Error in routine|from)\s+(?P<name>.*?)\s*(?:\(\s*-?\d+\s*\)|: error #\s*-?\d+)\s*:?\s*")
"""First line of an error: '     Error in routine c_bands (1):', in CRASH '     from c_bands : error #         1'."""
TASK = re.compile(r"\s*task #\s*\d+\s*")
DONE = "JOB DONE"
CRASH = "CRASH"
DIAGONALISATION = re.compile(
    r"(?:^|; )(?:c_bands|\w*diagh?g?\w*|p?[cr]egterg|rotate_\w+|p?ppcg\w*|wfcinit|zhegv\w*|laxlib\w*)\s*:"
    r"|computing cholesky|not positive definite|eigenvectors failed",
    re.IGNORECASE,
)
"""In an error of the diagonalisation, by its routine or its words: starting functions and algorithm matter."""
ABORTS = (
    re.compile(r"MPI_ABORT was invoked[^\n]*", re.IGNORECASE),
    re.compile(r"exited on signal (?:4|6|7|8|11)\b[^\n]*", re.IGNORECASE),
    re.compile(r"(?:Program received signal|Caught signal) (?:4|6|7|8|11|SIG(?:ILL|ABRT|BUS|FPE|SEGV))\b[^\n]*"),
    re.compile(r"forrtl: severe[^\n]*|Fortran runtime error[^\n]*"),
    re.compile(r"task [\d,-]+: (?:Exited with exit code (?!137|143)\d+|Segmentation fault|Aborted|Bus error)"),
    re.compile(r"(?i:exit code):\s+(?!9\b|15\b|137|143)\d+|Segmentation fault|Floating point exception"),
)
"""A program that broke down by itself."""
KILLS = re.compile(r"signal (?:2|9|15)\b|SIGKILL|SIGTERM|\bKilled\b|CANCELLED|EXIT CODE: (?:9|15|137|143)\b")
"""... and one that was ended from outside; the ranks of one that broke down are, too."""
MEMORY = re.compile(r"oom[-_ ]kill|out of memory|cannot allocate", re.IGNORECASE)
MOST = 3
"""Different errors of one run that a message repeats."""


@dataclass(frozen=True)
class Ending:
    """How a job of Quantum ESPRESSO ended.

    Attributes
    ----------
    done : bool
        Whether the program came to its end.
    reason : str or None
        What the program itself gave for not doing so, one line.
    breakdown : str or None
        What MPI or the run-time library said of a program that broke down without a word.
    killed : bool
        Whether it was ended from outside.
    output : str
        What it had written.
    """

    done: bool
    reason: str | None
    breakdown: str | None
    killed: bool
    output: str

    def words(self, program: str = "pw.x") -> str | None:
        """One line of both; None where nothing was said."""
        said = [f"{program} said: {self.reason}"] if self.reason else []
        said += [self.breakdown] if self.breakdown else []
        return "; ".join(said) or None

    @property
    def of_diagonalisation(self) -> bool:
        """Whether the program gave the diagonalisation for the reason."""
        words = self.reason or ""
        return DIAGONALISATION.search(words) is not None and MEMORY.search(words) is None


def ending_of(job: orm.CalcJobNode) -> Ending:
    """How a job ended, from its retrieved files; any of them may be missing."""
    files = job.outputs.retrieved.base.repository if "retrieved" in job.outputs else None
    names = set() if files is None else set(files.list_object_names())

    def content(name: str | None) -> str:
        # As bytes: a program that breaks down may leave anything there.
        return (
            files.get_object_content(name, mode="rb").decode(errors="replace")
            if files is not None and name in names
            else ""
        )

    output, crash = content(job.get_option("output_filename")), content(CRASH)
    errors = "\n".join(content(job.get_option(f"scheduler_{stream}")) for stream in ("stderr", "stdout"))
    found = [match[0] for pattern in ABORTS for match in pattern.finditer(errors)]
    return Ending(
        done=DONE in output and not crash.strip(),
        reason=reason((output, errors, crash)),
        breakdown=brief(found[0]) if found else None,
        killed=MEMORY.search(errors) is not None or (not found and KILLS.search(errors) is not None),
        output=output,
    )


def reason(texts: Iterable[str]) -> str | None:
    """What stands between Quantum ESPRESSO's lines of '%': 'c_bands: too many bands are not converged'.

    Parameters
    ----------
    texts : iterable of str
        Output, error output and CRASH of a run; every rank may have written its own, and the same.
    """
    found: dict[str, None] = {}
    for text in texts:
        block: list[str] | None = None
        for line in text.splitlines():
            if RULER.fullmatch(line):
                if block:
                    found[_said(block)] = None
                block = [] if block is None else None
            elif block is not None and line.strip() and not TASK.fullmatch(line):
                block.append(line)
        if block:  # the disk was full, or the run ended, in the middle of it
            found[_said(block)] = None
    words = [line for line in found if line]
    return brief("; ".join(words[:MOST])) if words else None


def _said(block: list[str]) -> str:
    first = ROUTINE.match(block[0].strip())
    message = " ".join(line.strip() for line in (block[1:] if first else block))
    return f"{first['name']}: {message}" if first else message
