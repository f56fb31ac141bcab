"""When the command line cannot say or write something: a full disk, a closed pipe, a terminal that is gone."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, TextIO

from aiida_dmi.text import one_line

FULL = (errno.ENOSPC, errno.EDQUOT)
OBEYED = re.compile(r"([\n\r\t]|\x1b\[[0-9;]*m)")
"""Ends of lines and columns; colours, which AiiDA's own lines have."""
LEAST_ROOM = 2**20
"""Bytes: a disk that has fewer is the full one."""


def _shown(part: str) -> str:
    """Of a text, split by `OBEYED`: what a terminal may obey as it is, the rest in what can be printed."""
    return part if OBEYED.fullmatch(part) else one_line(part)


class LastingStream:
    """A standard stream that goes on when nobody takes what it says: a run is worth more than the lines about it.

    Characters that a terminal would obey are written as Python writes them: labels come from other people's archives.

    Attributes
    ----------
    failure : OSError or None
        The first one; what was to be said from there on is lost.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None
        if hasattr(stream, "reconfigure"):
            # What the terminal's encoding has not.
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """As a stream's."""
        if self.failure is None:
            try:
                self._stream.write("".join(map(_shown, OBEYED.split(text))))
            except OSError as error:
                self._fail(error)
        return len(text)

    def flush(self) -> None:
        """As a stream's."""
        if self.failure is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.failure = error
        # What stands in its buffer would fail again when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def what_was_lost(stream: LastingStream, name: str) -> str:
    """One line on a stream that failed: why, and where the results are all the same."""
    error = stream.failure
    why = "nobody reads it any more" if isinstance(error, BrokenPipeError) else getattr(error, "strerror", error)
    return (
        f"{name} cannot be written ({why}): what was to be said is lost, nothing else is; runs and results are in the "
        "database (`aiida-dmi status`)"
    )


def words_of(error: OSError) -> str:
    """One line on a failed access to a file; of a full disk which disk it is."""
    if error.errno not in FULL:
        return f"{type(error).__name__}: {error}; -v debug shows where"
    place = error.filename or "a file"
    full = full_disks(error.filename)
    where = f" ({', '.join(full)})" if full else ""
    return f"{place} cannot be written: no room left on its disk{where}; make room, or name a place elsewhere"


def full_disks(path: Any = None) -> list[str]:
    """The disk of a path; without one, those without room among the disks that this program writes to.

    Returns
    -------
    list of str
        Such as 'mounted at /home, 0 of 20000 MB free'.
    """
    if path is None:
        places = [_aiida_folder(), Path.cwd(), Path(tempfile.gettempdir())]
        places = [place for place in places if shutil.disk_usage(place).free < LEAST_ROOM]
    else:
        places = [folder for folder in Path(path).absolute().parents if folder.is_dir()][:1]
    found = {}
    for place in places:
        usage = shutil.disk_usage(place)
        mount = next(folder for folder in (place, *place.parents) if folder.is_mount())
        found[mount] = f"mounted at {mount}, {usage.free / 1e6:.0f} of {usage.total / 1e6:.0f} MB free"
    return list(found.values())


def _aiida_folder() -> Path:
    """Where database and repository are."""
    from aiida.manage.configuration import get_config

    return Path(get_config().dirpath)
