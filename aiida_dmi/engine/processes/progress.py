"""Progress of a long sum over k points: count, rate, elapsed and remaining time."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Prints a line now and then; on a terminal the line is overwritten.

    Parameters
    ----------
    total : int
        Number of k points.
    label : str
        What is being done.
    stream : file, optional
        Default standard error; None for silence is `Progress.silent`.
    interval : float
        Seconds between lines (a terminal is updated five times as often).
    """

    def __init__(self, total: int, label: str, stream: TextIO | None = None, interval: float = 5.0) -> None:
        self.total, self.label, self.done = total, label, 0
        self._stream = sys.stderr if stream is None else stream
        self._terminal = self._stream.isatty()
        self._interval = interval / 5 if self._terminal else interval
        self._start = time.monotonic()
        self._next = self._start + self._interval
        self._resumed = 0

    def resume(self, count: int) -> None:
        """Count k points that an earlier run has done; they do not enter the rate."""
        self.done += count
        self._resumed += count

    def advance(self, count: int) -> None:
        """Count k points done just now."""
        self.done += count
        now = time.monotonic()
        if now >= self._next or self.done >= self.total:
            self._next = now + self._interval
            self._print(now - self._start)

    def _print(self, elapsed: float) -> None:
        rate = (self.done - self._resumed) / max(elapsed, 1e-9)
        remaining = (self.total - self.done) / max(rate, 1e-9)
        text = (
            f"{self.label}: {self.done}/{self.total} k ({100 * self.done / self.total:.0f} %), "
            f"{_rate(rate)} k/s, elapsed {_clock(elapsed)}, remaining {_clock(remaining)}"
        )
        end = "\n" if not self._terminal or self.done >= self.total else ""
        self._stream.write(("\r\x1b[K" if self._terminal else "") + text + end)
        self._stream.flush()


class SilentProgress(Progress):
    """Counts and prints nothing."""

    def _print(self, elapsed: float) -> None:
        return


def _rate(rate: float) -> str:
    """Two digits of a slow one."""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:d}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:d}:{rest:02d}"
