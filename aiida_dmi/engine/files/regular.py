"""Files that a spec names: whether they can be read and written is asked before anything is computed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ..arguments import refusal, shown
from ..errors import InputError
from .atomic import created

KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip
"""What a name may stand for instead of a file with content."""


def path_of(key: str, folder: Path, text: object) -> Path:
    """A path of a SPEC.yaml, relative ones from `folder`; whether there is a file is asked where it is read.

    Raises
    ------
    InputError
        If no file could have that name.
    """
    if not isinstance(text, str) or not text:
        raise refusal(key, text, "a path")
    path = folder / text
    try:
        os.stat(path)
    except ValueError as error:  # a null character, or no character at all
        raise InputError(f"{key}: {shown(text)} was given, expected a path ({error})") from error
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise InputError(f"{key}: {shown(text)} was given, expected a path ({error.strerror})") from error
    return path


def check_regular(path: str | Path) -> None:
    """Refuse what is there and no file: a pipe keeps its reader waiting for ever, a device never ends.

    Raises
    ------
    OSError
        Saying what it is.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:  # that it is missing is said by those who open it
        return
    if not stat.S_ISREG(mode):
        raise OSError(f"it is {KINDS.get(stat.S_IFMT(mode), 'something else')}, expected a file")


def check_inputs(files: Iterable[Path]) -> None:
    """Refuse input files of a build that are none; those that are missing are named by their readers.

    Raises
    ------
    InputError
    """
    for file in files:
        try:
            check_regular(file)
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error})") from error


def check_writable(key: str, path: Path, others: Iterable[Path]) -> None:
    """Refuse what cannot be written, or would overwrite one of the other files.

    Raises
    ------
    InputError
    """
    if not os.path.isdir(path.parent):
        raise InputError(f"{key}: folder {path.parent} does not exist; make it first")
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{key}: {path} is a folder or a device, expected a file name")
    try:
        if os.path.exists(path) and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        # Under the name that it will be written under, which is longer than its own.
        created(path).unlink()
    except (OSError, ValueError) as error:
        raise InputError(f"{key}: {path} cannot be written ({error}); name a file in a folder of yours") from error
    for other in others:
        both = os.path.exists(path) and os.path.exists(other)
        if path.resolve() == other.resolve() or (both and os.path.samefile(path, other)):
            raise InputError(f"{key}: {path} is a file of this run already and would be overwritten; name another one")
