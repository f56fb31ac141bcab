"""Versions of the files that outlive the program: which are read, and what is said of the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ... import __version__
from ..errors import InputError

OLDEST = 1
"""First version of every format. Versions from it to the newest are read: a node's file is never rewritten."""


def check_version(what: str, attributes: Mapping[str, Any], kind: str, newest: int, remake: str) -> int:
    """The version of a file, if it is one that this program reads.

    Parameters
    ----------
    what : str
        The file, as the message names it.
    attributes : mapping
        The file's own, `format` and `version` among them.
    kind : str
        The format that is expected.
    newest : int
        Its version as this program writes it.
    remake : str
        The command that writes such a file.

    Returns
    -------
    int
        From `OLDEST` to `newest`.

    Raises
    ------
    InputError
        If the file is of another format, has no version or one that was never written, or is of a newer one.
    """
    given, version = attributes.get("format", "none"), attributes.get("version", "none")
    expected = f"'{kind}' version {newest} is expected"
    found = f"{what}: format '{given}' version {version} was given"
    numbered = isinstance(version, (int, np.integer)) and not isinstance(version, (bool, np.bool_))
    if not isinstance(given, str) or given != kind or not numbered or version < OLDEST:
        raise InputError(f"{found}, {expected}; write it with {remake}")
    if version > newest:
        raise InputError(
            f"{found}, made by a newer aiida-dmi than this one ({__version__}), by which {expected}; "
            f"upgrade it (pip install --upgrade aiida-dmi), or write the file again with {remake}"
        )
    return int(version)
