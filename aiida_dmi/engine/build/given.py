"""What was given: the largest number, paths that a file system takes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from ..errors import InputError, brief

LARGEST = 1e8
"""No length (bohr, Angstrom), energy or number of electrons in a file is larger; what is came from a damaged one."""


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
