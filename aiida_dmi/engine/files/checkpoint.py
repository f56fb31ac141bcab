"""What a killed run resumes from: the sums so far, written atomically."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import __version__
from ..errors import InputError, StoppedError
from .atomic import remove_leftovers, whole_file
from .lock import Lock
from .regular import check_regular

Floats = npt.NDArray[np.float64]

FORM = 3
"""Of key and arrays. The first form gave several computations one key, the second had no rows: they are refused."""
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise of a damaged or foreign file."""


@contextlib.contextmanager
def held(path: Path | None) -> Iterator[None]:
    """The only run that writes this checkpoint, while the block runs.

    Raises
    ------
    InputError
        If its folder does not exist or cannot be written, it is no file, or another run is writing it.
    """
    if path is None:
        yield
        return
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise InputError(f"checkpoint: folder {path.parent} does not exist or cannot be written; make it first")
    try:
        check_regular(path)
    except OSError as error:
        raise InputError(f"checkpoint: {path} was given, {error}") from error
    with Lock("checkpoint", path):
        yield


@dataclasses.dataclass
class Checkpoint:
    """Arrays of an unfinished sum under one path.

    Parameters
    ----------
    path : Path or None
        None: nothing is kept.
    key : str
        Of the computation; a file of another one is refused.
    interval : float
        Seconds between writes.
    """

    path: Path | None
    key: str
    interval: float = 20.0
    _last: float = dataclasses.field(default_factory=time.monotonic)

    def load(self, stage: str) -> tuple[int, dict[str, Floats]] | None:
        """Batches done and arrays of a stage, or None where there is nothing to resume from.

        Raises
        ------
        InputError
            If the file is not readable or belongs to another computation.
        """
        found = self._content()
        if found is None:
            return None
        own, done, content = found
        return (done, content) if own == stage else None

    def history(self) -> tuple[str, str] | None:
        """Stage that was being worked on, and what was noted of the stages before it; None without a file."""
        found = self._content()
        return None if found is None else (found[0], str(found[2].get("history", "[]")))

    def _content(self) -> tuple[str, int, dict[str, Floats]] | None:
        if self.path is None or not self.path.exists():
            return None
        try:
            # numpy does not read a member to its end, where zip keeps the checksum.
            with zipfile.ZipFile(self.path) as archive:
                if archive.testzip() is not None:
                    raise ValueError("damaged")
            with np.load(self.path, allow_pickle=False) as file:
                content = {name: file[name] for name in file.files}
            key, found, done = str(content.pop("key")), str(content.pop("stage")), int(content.pop("done"))
        except UNREADABLE as error:
            raise InputError(f"checkpoint {self.path}: not readable ({error}); remove it to start anew") from error
        if key != self.key:
            raise InputError(
                f"checkpoint {self.path}: belongs to another computation, or to another version of aiida-dmi; "
                "remove it or name another one"
            )
        return found, done, content

    def save(self, stage: str, done: int, arrays: dict[str, Any], force: bool = False) -> None:
        """Write where the interval has passed; the file is complete whenever it exists.

        Raises
        ------
        StoppedError
            If it cannot be written: the disk is full, or the folder has gone.
        """
        if self.path is None or not (force or time.monotonic() - self._last >= self.interval):
            return
        self._last = time.monotonic()
        try:
            with whole_file(self.path) as temporary, temporary.open("wb") as file:
                np.savez(file, key=self.key, stage=stage, done=done, **arrays)
        except OSError as error:
            raise StoppedError(
                f"checkpoint {self.path}: cannot be written ({error}); make room, or name a file elsewhere, and run "
                "again: the sums of the last one written are kept"
            ) from error

    def remove(self) -> None:
        """The computation has ended, and its result is kept elsewhere."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            remove_leftovers(self.path)


def fingerprint(*parts: Any) -> str:
    """Key of a computation: of all that its sums depend on, in the order in which they stand, and of the version.

    Two computations have one key only if all parts are the same: every value goes into the hash with its type and its
    length, so that no text, number or list runs into the next one, and nothing is sorted.

    Parameters
    ----------
    *parts
        None, texts, bytes, numbers, arrays, and lists, mappings and dataclasses of them.
    """
    digest = hashlib.sha256()

    def put(kind: str, content: bytes) -> None:
        digest.update(f"{kind} {len(content)}\0".encode())
        digest.update(content)

    def feed(part: Any) -> None:
        if isinstance(part, np.ndarray) and part.dtype.kind != "O":
            put("array", str((part.dtype.str, part.shape)).encode())
            put("values", np.ascontiguousarray(part).tobytes())
        elif isinstance(part, np.ndarray):  # of Python's objects: its bytes are addresses
            put("objects", str(part.shape).encode())
            feed(part.ravel().tolist())
        elif dataclasses.is_dataclass(part) and not isinstance(part, type):
            put("record", type(part).__name__.encode())
            feed({field.name: getattr(part, field.name) for field in dataclasses.fields(part)})
        elif isinstance(part, dict):
            put("mapping", str(len(part)).encode())
            for key, value in part.items():
                feed(key)
                feed(value)
        elif isinstance(part, (list, tuple)):
            put("list", str(len(part)).encode())
            for item in part:
                feed(item)
        else:
            put(type(part).__name__, part if isinstance(part, bytes) else repr(part).encode())

    feed(__version__)
    feed(parts)
    return f"{FORM}-{digest.hexdigest()}"
