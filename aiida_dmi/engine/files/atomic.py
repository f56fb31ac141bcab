"""Files that are complete whenever they exist: written under a hidden name of their writer, then renamed."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

ABANDONED = 3600.0
"""Seconds. No file takes that long to write: an older temporary of another machine is a killed run's."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary beside `path` to write to; it takes the name when the block ends well, and goes when it does not.

    It has the permissions that opening `path` for writing would give: those of a file that is there, else what the
    umask leaves. What killed writers of the same path have left is removed first.
    """
    remove_leftovers(path)
    temporary = created(path)
    try:
        yield temporary
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
    except OSError as error:
        # A full disk names no file: the reader of the message needs one.
        error.filename = error.filename or str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def created(path: Path) -> Path:
    """A new temporary of this writer's beside `path`.

    The kernel takes the umask off its permissions, as from every new file's.

    Raises
    ------
    OSError
        If there can be none, and `path` could not be written.
    """
    while True:
        name = f".{path.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.part"
        temporary = path.with_name(name)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return temporary


def remove_leftovers(path: Path) -> None:
    """Remove the temporaries of `path` whose writers have ended; not to be called while this process writes it."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(?P<host>.+)\.(?P<pid>\d+)\.[^.]+\.part")
    for other in path.parent.iterdir():
        found = pattern.fullmatch(other.name)
        if found and not _writer_lives(other, found["host"], int(found["pid"])):
            other.unlink(missing_ok=True)


def _writer_lives(temporary: Path, host: str, pid: int) -> bool:
    if host != socket.gethostname():
        with contextlib.suppress(FileNotFoundError):  # its writer has just renamed it
            return time.time() - temporary.stat().st_mtime < ABANDONED
        return False
    if pid == os.getpid():  # in a container the killed run had the same number
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
