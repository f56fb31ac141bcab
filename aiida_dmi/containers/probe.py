"""Starting a program through its container engine, as a job would, to see that it works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from uuid import uuid4

from aiida import orm
from aiida.common.escaping import escape_for_bash
from aiida.transports import Transport

from aiida_dmi.containers.configuration import ContainerError

TIMEOUT = 120
"""Seconds a probe may take; starting a container takes one, a large image on a parallel file system more."""
PROBES: dict[str, tuple[tuple[str, ...], str]] = {
    # pw.x, pw2wannier90.x and pp.x print version and ranks, and then stop for want of input.
    "pw": (("-i", "/dev/null"), r"Program PWSCF v\.?\s*(\S+) starts"),
    "pw2wannier90": (("-i", "/dev/null"), r"Program PW2WANNIER v\.?\s*(\S+) starts"),
    "pp": (("-i", "/dev/null"), r"Program POST-PROC v\.?\s*(\S+) starts"),
    "wannier90": (("--version",), r"Wannier90:\s*v?(\S+)"),
    "engine": (("--version",), r"^dmi-engine (\S+)"),
}
"""Arguments that make a program tell its version, and where it says so."""


@dataclass(frozen=True)
class Verified:
    """What a program said of itself: its version, and its number of MPI ranks."""

    version: str
    ranks: int


def probe_program(
    program: str, code: orm.ContainerizedCode, transport: Transport, workdir: str, ranks: int
) -> Verified:
    """Start a program and read its version.

    Raises
    ------
    ContainerError
        If it does not say its version, or runs with another number of ranks than asked for.
    """
    arguments, pattern = PROBES[program]
    with _Folder(transport, workdir) as folder:
        said = _say(transport, folder.path, code, ranks, [str(code.get_executable()), *arguments])
    versions = re.findall(pattern, said, re.MULTILINE)
    if not versions:
        raise ContainerError(
            f"{code.label}: {code.get_executable()} in {code.image_name} did not tell its version; "
            f"it said: {_excerpt(said)}"
        )
    found = mpi_ranks(said)
    if len(versions) != 1 or found != [ranks]:
        raise ContainerError(
            f"{code.label}: {ranks} MPI ranks were asked for, {len(versions)} runs of {found[0]} ranks came; the image "
            "and whatever starts the ranks do not fit together"
        )
    return Verified(versions[0], ranks)


def mpi_ranks(said: str) -> list[int]:
    """MPI ranks of every run of a Quantum ESPRESSO program, from its output; [1] where it says none (a serial build).

    Builds with OpenMP count processor cores in the line that others say their ranks in, and the ranks in the next.
    """
    found = re.findall(r"\(MPI\), running on\s+(\d+) processor|Number of MPI processes:\s+(\d+)", said)
    return [int(plain or threaded) for plain, threaded in found] or [1]


def probe_work_folder(code: orm.ContainerizedCode, transport: Transport, workdir: str) -> None:
    """Check that a job sees another job's folder through an absolute link, as it sees its parents' at run time.

    Parameters
    ----------
    code : ContainerizedCode
        Of a program that is not started as MPI ranks.

    Raises
    ------
    ContainerError
        If it does not, or cannot write into its own folder.
    """
    with _Folder(transport, workdir) as parent, _Folder(transport, workdir) as folder:
        transport.exec_command_wait(
            f"echo from the parent > {parent.path}/mark; ln -s {parent.path} {folder.path}/link"
        )
        said = _say(transport, folder.path, code, 1, ["cp", "link/mark", "copy"])
        _, copied, _ = transport.exec_command_wait(f"cat {folder.path}/copy")
    if copied.strip() != "from the parent":
        raise ContainerError(
            f"work folder: a container of {code.image_name} cannot read and write below {workdir}: {_excerpt(said)}"
        )


def command_line(code: orm.ContainerizedCode, arguments: Sequence[str], ranks: int) -> str:
    """What AiiDA writes into a job script for this code, prepended lines included."""
    mpirun: list[str] = []
    if ranks > 1 and code.with_mpi is None:
        names = {"tot_num_mpiprocs": ranks, "num_machines": 1, "num_mpiprocs_per_machine": ranks}
        mpirun = [argument.format(**names) for argument in code.computer.get_mpirun_command()]
    prepended = [escape_for_bash(p, use_double_quotes=True) for p in code.get_prepend_cmdline_params(mpirun)]
    return "\n".join([code.prepend_text, " ".join([*prepended, *map(escape_for_bash, arguments)])]).strip()


def _say(transport: Transport, folder: str, code: orm.ContainerizedCode, ranks: int, arguments: Sequence[str]) -> str:
    """Output and errors of a program that is started in a folder."""
    script = f"cd {folder}\n{command_line(code, arguments, ranks)}"
    _, output, error = transport.exec_command_wait(f"timeout {TIMEOUT} bash -c {shlex.quote(script)} < /dev/null 2>&1")
    return f"{output}\n{error}"


def _excerpt(text: str) -> str:
    """The last lines, in one."""
    return " ".join(" ".join(text.split()).rsplit(maxsplit=40)[-40:]) or "nothing"


class _Folder:
    """A folder of its own below the work folder, removed again."""

    def __init__(self, transport: Transport, workdir: str) -> None:
        self._transport = transport
        self.path = str(PurePosixPath(workdir) / f"aiida-dmi-probe-{uuid4().hex[:12]}")

    def __enter__(self) -> _Folder:
        self._transport.makedirs(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.rmtree(self.path)
