"""One writer a file: a second run with the same output or checkpoint is refused while the first lives."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path

from ..errors import InputError, brief

_held: set[Path] = set()
"""Of this process, for which the kernel's locks do not count."""
ELSEWHERE = (errno.EACCES, errno.EAGAIN)
"""What the kernel says where another process has the lock; anything else: this file system has no locks."""


class Lock:
    """Held while the block runs; for others there is a hidden file beside the one that is written.

    The lock is the kernel's (POSIX, over NFS too), so that it ends with its process, however that ends: a file that a
    killed run has left is taken over. Worker processes do not inherit it. The file names host and process for the
    message, and decides by itself only where the file system has no locks.

    Parameters
    ----------
    key : str
        The argument that named the file, for the message.
    path : Path
        The file that is to be written.

    Raises
    ------
    InputError
        On entering, if another run holds it.
    """

    def __init__(self, key: str, path: Path) -> None:
        self._key, self._path = key, path
        # Two names of one file, over a link, are one.
        real = path.resolve()
        self._file = real.with_name(f".{real.name}.lock")

    def __enter__(self) -> Lock:
        if self._file in _held:
            raise self._refusal(f"process {os.getpid()}, this one")
        self._handle = self._opened()
        while not self._is_there():
            # The one before has removed it between opening and locking.
            os.close(self._handle)
            self._handle = self._opened()
        try:
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        except OSError as error:
            self.__exit__()
            raise InputError(f"{self._key}: {self._file} cannot be written ({error.strerror}); make room") from error
        _held.add(self._file)
        return self

    def __exit__(self, *exception: object) -> None:
        _held.discard(self._file)
        self._file.unlink(missing_ok=True)
        os.close(self._handle)

    def _opened(self) -> int:
        """The file, locked."""
        try:
            handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(
                f"{self._key}: {self._file} cannot be opened ({error.strerror}); remove it if no run writes "
                f"{self._path.name}"
            ) from error
        holder = brief(os.pread(handle, 300, 0).decode(errors="replace"))
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in ELSEWHERE or _lives(holder):
                os.close(handle)
                pid, _, host = holder.partition(" ")
                raise self._refusal(f"process {pid} on {host}" if host else "unknown") from error
        return handle

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(self._file))
        except FileNotFoundError:
            return False

    def _refusal(self, holder: str) -> InputError:
        return InputError(
            f"{self._key}: {self._path} is being written by another run ({holder}); wait until it has ended, or name "
            "another file"
        )


def _lives(holder: str) -> bool:
    """Whether a process that a lock file names may live; of another host nobody knows."""
    pid, _, host = holder.partition(" ")
    if not pid.isdecimal() or host != socket.gethostname():
        return bool(holder)
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's
        return True
    return True
