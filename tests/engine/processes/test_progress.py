"""Progress lines."""

import io
import time

from aiida_dmi.engine.processes.progress import Progress, SilentProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_last_line_is_always_printed():
    stream = io.StringIO()
    progress = Progress(10, "sum", stream, interval=1000.0)
    progress.advance(4)
    assert stream.getvalue() == ""
    progress.advance(6)
    assert stream.getvalue().startswith("sum: 10/10 k (100 %), ")
    assert stream.getvalue().endswith("remaining 0:00\n")


def test_lines_now_and_then():
    stream = io.StringIO()
    progress = Progress(4, "sum", stream, interval=0.0)
    for _ in range(4):
        progress.advance(1)
    lines = stream.getvalue().splitlines()
    assert [line.split()[1] for line in lines] == ["1/4", "2/4", "3/4", "4/4"]


def test_slow_rates_have_digits(monkeypatch):
    """A point in three seconds is no 0 k/s, and forty a second are no 40.0."""
    for seconds, points, rate in ((3.0, 1, "0.33"), (0.1, 4, "40")):
        clock = iter([0.0, seconds])
        monkeypatch.setattr(time, "monotonic", lambda clock=clock: next(clock))
        stream = io.StringIO()
        Progress(4, "sum", stream, interval=0.0).advance(points)
        assert f"), {rate} k/s, " in stream.getvalue()


def test_terminal_overwrites_one_line():
    stream = Terminal()
    progress = Progress(2, "sum", stream, interval=0.0)
    progress.advance(1)
    progress.advance(1)
    assert stream.getvalue().count("\r") == 2
    assert stream.getvalue().count("\n") == 1


def test_resumed_points_count_but_do_not_enter_the_rate(monkeypatch):
    stream, now = io.StringIO(), 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    progress = Progress(1000, "sum", stream, interval=0.0)
    progress.resume(900)
    assert progress.done == 900
    now += 10.0  # what the next hundred take
    progress.advance(100)
    assert "1000/1000 k" in stream.getvalue()
    assert "10 k/s, elapsed 0:10" in stream.getvalue()


def test_silence(capsys):
    SilentProgress(3, "sum").advance(3)
    assert capsys.readouterr() == ("", "")
