"""What was given: as far as a message of one line holds it, the largest number, paths that a file system takes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..errors import InputError

LARGEST = 1e8
"""No length (bohr, Angstrom), energy or number of electrons in a file is larger; what is came from a damaged one."""
LONGEST = 200
"""Characters of what was found in a damaged file that a message repeats."""


def brief(text: object) -> str:
    """One line of at most `LONGEST` characters: an error's words, or what was found in a file."""
    line = " ".join(str(text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 23]}...{line[-20:]}"


def path_of(key: str, folder: Path, text: str) -> Path:
    """A path of a SPEC.yaml, relative ones from `folder`; whether there is a file is asked where it is read.

    Raises
    ------
    InputError
        If no file could have that name.
    """
    path = folder / text
    try:
        os.stat(path)
    except ValueError as error:  # a null character
        raise InputError(f"{key}: {brief(repr(text))} was given, expected a path ({error})") from error
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise InputError(f"{key}: {brief(repr(text))} was given, expected a path ({error.strerror})") from error
    return path
