"""What a killed run resumes from: the sums so far, written atomically."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import __version__
from .atomic import remove_leftovers, whole_file
from .errors import InputError, StoppedError

Floats = npt.NDArray[np.float64]

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

    def check_folder(self) -> None:
        """Refuse a path that could not be written, before any work.

        Raises
        ------
        InputError
            If its folder does not exist or cannot be written.
        """
        if self.path is not None and not (self.path.parent.is_dir() and os.access(self.path.parent, os.W_OK)):
            raise InputError(
                f"checkpoint: folder {self.path.parent} does not exist or cannot be written; make it first"
            )

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
    """Hash of what determines a result: arrays, numbers, texts, and dataclasses of them, and the version."""
    digest = hashlib.sha256(__version__.encode())

    def feed(part: Any) -> None:
        if isinstance(part, np.ndarray):
            digest.update(str((part.dtype, part.shape)).encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        elif dataclasses.is_dataclass(part) and not isinstance(part, type):
            for field in dataclasses.fields(part):
                digest.update(field.name.encode())
                feed(getattr(part, field.name))
        elif isinstance(part, dict):
            for key in sorted(part, key=str):
                digest.update(str(key).encode())
                feed(part[key])
        elif isinstance(part, (list, tuple)):
            digest.update(str(len(part)).encode())
            for item in part:
                feed(item)
        else:
            digest.update(repr(part).encode())

    for part in parts:
        feed(part)
    return digest.hexdigest()
