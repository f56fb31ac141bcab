"""Standard output and error that may be full or closed, and signals that end a run: neither costs its result."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, TextIO

COMPLETE = "dmi-engine: complete"
"""Last line of standard output of a run that finished: what AiiDA's parsers decide by."""
ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""End a run as Ctrl-C does; a run that was told to ignore one (nohup) goes on ignoring it."""


class Tolerant:
    """A text stream that goes on when nothing more can be written to it, and remembers why.

    Parameters
    ----------
    stream : file or None
        None is what Python has in place of a stream that was closed when it started.

    Attributes
    ----------
    reason : str
        Empty while all is written.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.reason = "it is closed" if stream is None else ""

    def write(self, text: str) -> int:
        """All of the text, or nothing any more."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:  # the name of a file in bytes that are no text
                encoding = getattr(self._stream, "encoding", None) or "ascii"
                self.write(text.encode(encoding, "backslashreplace").decode(encoding))
            except (OSError, ValueError) as error:
                self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """What is still in memory."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._give_up(error)

    def isatty(self) -> bool:
        """Whether somebody looks at it."""
        return self._stream is not None and self._stream.isatty()

    def _give_up(self, error: Exception) -> None:
        self.reason = getattr(error, "strerror", None) or str(error)
        with contextlib.suppress(OSError, ValueError):
            # What Python still holds for it goes nowhere, instead of failing once more when the process ends.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno() if self._stream is not None else nowhere)
            os.close(nowhere)
        self._stream = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _fill_standard_descriptors() -> None:
    """Open nothing in place of streams that are closed: the next file would get a stream's number and its texts."""
    last = -1
    while last <= 2:
        last = os.open(os.devnull, os.O_RDWR)
    os.close(last)


@contextlib.contextmanager
def tolerant_streams() -> Iterator[tuple[Tolerant, Tolerant]]:
    """sys.stdout and sys.stderr that go on when they are full or closed."""
    _fill_standard_descriptors()
    output, errors = Tolerant(sys.stdout), Tolerant(sys.stderr)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = output, errors
    try:
        yield output, errors
    finally:
        output.flush()
        errors.flush()
        sys.stdout, sys.stderr = before


class Ended(KeyboardInterrupt):
    """A signal has ended this process: what is in hand is left in order, as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Signals that would end the process at once raise Ended; a second one does end it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}

    def end(number: int, frame: FrameType | None) -> None:
        for other in taken:
            signal.signal(other, signal.SIG_DFL)
        raise Ended(number)

    taken = [number for number, handler in before.items() if handler != signal.SIG_IGN]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            # None: whatever C code has installed, which Python cannot put back.
            signal.signal(number, before[number] or signal.SIG_DFL)
