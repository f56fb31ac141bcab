"""Which program a job runs, and what its result depends on: what AiiDA compares before it reuses an earlier job.

A path says nothing of the program behind it: after an upgrade the number of the old one would be taken for that of the
new. How many processes, ranks and processors compute it changes no bit of what dmi-engine writes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.orm.nodes.process.calculation.calcjob import CalcJobNodeCaching

import aiida_dmi
from aiida_dmi.aiida_private import VersionedCalcJob

LAYOUT = (
    "resources",
    "processes",
    "withmpi",
    "mpirun_extra_params",
    "custom_scheduler_commands",
    "rerunnable",
)
"""Options that say where and on how many processors a job runs; AiiDA itself leaves out queue, account, memory."""
LOCAL = "core.local"
ASKING = 60
"""Seconds an interpreter may take to say where its packages are."""
SCRIPT = 2**16
"""Bytes that are read of a script."""
INTERPRETER = re.compile(
    r"""(?:\A\#!\s*(?:/\S+/env\s+)?|^'''exec'\s+)"?(?P<path>[^"\s]*python[\d.]*)"?(?=\s|$)""", re.M
)
"""Of a script: its own line `#!`, or pip's way round the length that this may have."""
FULL_PATH = re.compile(r"""(?<![\w.$}])/[^\s"'`;|&<>()$*?{}=:,]+""")
"""Of a file that a script names."""


def program_identity(code: orm.AbstractCode) -> str | None:
    """What is behind a code's path now.

    Parameters
    ----------
    code : AbstractCode

    Returns
    -------
    str or None
        'sha256:...' of the executable; of a script also of the programs that it names by their full path, and of the
        aiida_dmi that it imports. None where the code itself says which program it is (one in a container, by the
        image's digest; one that AiiDA carries along), where it is on another machine, which would have to be asked
        before every job, and where there is none.
    """
    if isinstance(code, orm.ContainerizedCode) or not isinstance(code, orm.InstalledCode):
        return None
    if code.computer.transport_type != LOCAL:
        return None
    found = shutil.which(str(code.filepath_executable))
    if found is None:
        return None
    parts: dict[Path, str] = {}
    try:
        _identify(Path(found), parts)
    except OSError:  # a program that may be run and not be read
        return None
    (first, *others) = parts.values()
    # One word of one length, however many programs a script starts.
    return first if not others else f"sha256:{hashlib.sha256(' '.join((first, *others)).encode()).hexdigest()}"


def _identify(program: Path, parts: dict[Path, str]) -> None:
    """Add digests of a program and of what it is known to start; `parts` holds those that were met before."""
    if program in parts:
        return
    status = program.stat()
    parts[program] = f"sha256:{_digest(program, status.st_mtime_ns, status.st_size)}"
    with program.open("rb") as handle:
        head = handle.read(SCRIPT)
    if not head.startswith(b"#!"):
        return
    text = head.decode(errors="replace")
    package = _package_of(text)
    if package is not None:
        parts[package] = f"sha256:{_sources_digest(package)}"
    # The first line names what reads the script; a file that it only writes to is no program.
    for name in sorted(set(FULL_PATH.findall(text.partition("\n")[2]))):
        if Path(name).is_file() and os.access(name, os.X_OK) and not INTERPRETER.search(f"#!{name}"):
            _identify(Path(name), parts)


@lru_cache(maxsize=64)
def _digest(path: Path, changed: int, size: int) -> str:
    """Of a file; `changed` and `size` are what a file that was replaced differs in."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _package_of(script: str) -> Path | None:
    """The folder of the aiida_dmi that a Python script imports; None for anything else."""
    found = INTERPRETER.search(script)
    interpreter = None if found is None else shutil.which(found["path"])
    if interpreter is None:
        return None
    this = Path(sys.executable)
    # Environments share the program and differ in the folder it is started from.
    if Path(interpreter).parent == this.parent and this.samefile(interpreter):
        return Path(aiida_dmi.__file__).parent
    # The interpreter is asked, the script is never started: it might do anything.
    ask = f"from importlib.util import find_spec as f; s = f({aiida_dmi.__name__!r}); print(s.origin if s else '')"
    try:
        done = subprocess.run(
            [interpreter, "-c", ask], capture_output=True, text=True, timeout=ASKING, check=True, cwd="/"
        )
    except (OSError, ValueError, subprocess.SubprocessError):  # no Python, or none that works: the job will say so
        return None
    origin = Path(done.stdout.strip())
    return origin.parent if origin.is_file() else None


def _sources_digest(package: Path) -> str:
    """Of everything that dmi-engine imports from the package, by name and content."""
    digest = hashlib.sha256()
    for path in sorted([package / "__init__.py", package / "launch.py", *(package / "engine").rglob("*.py")]):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.relative_to(package)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


class ResultCaching(CalcJobNodeCaching):
    """Hash of a job whose result is the same, bit for bit, however it is laid out and from whatever checkpoint."""

    CHECKPOINT = "parent_folder"

    def get_objects_to_hash(self) -> Any:
        """As AiiDA's, without the layout and without what a cut-off job had left."""
        # AiiDA declares a list; what it gives for a job is a mapping.
        objects: Any = super().get_objects_to_hash()
        objects["attributes"] = {key: value for key, value in objects["attributes"].items() if key not in LAYOUT}
        objects["inputs"] = {key: value for key, value in objects["inputs"].items() if key != self.CHECKPOINT}
        return objects


class IdentifiedCalculation(VersionedCalcJob):
    """A CalcJob of this package: its version and its program's identity stand on the node and enter its hash.

    Whoever changes what a job or its parser makes of the same inputs raises the CACHE_VERSION of that class.
    """

    CACHE_VERSION = 1

    def further_versions(self) -> dict[str, Any]:
        """Version of the package, identity of the program."""
        known = {"plugin": aiida_dmi.__version__}
        if "code" in self.inputs:
            program = program_identity(self.inputs.code)
            known |= {} if program is None else {"program": program}
        return known
