"""Full disks under a command of `aiida-dmi`: which one is named, and that a run goes on once there is room."""

import contextlib
import signal
import subprocess

import pytest

from ..cli.conftest import set_up
from ..workflows.test_daemon import LEFT, LONG, own_processes, signal_all
from .test_daemon_faults import mounted

ROOM = 20
"""MiB of a disk: what a profile and some runs take, twice."""


@pytest.fixture
def user(tmp_path, upf_folder, model_file):
    """AiiDA's folder lies on a disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", f"size={ROOM}m", "tmpfs"):
        user = set_up(folder, upf_folder, model_file)
        user.run("verdi", "config", "set", "transport.task_retry_initial_interval", 1)
        yield user
        signal_all(own_processes(user), signal.SIGKILL)


def fill(folder):
    """To the last byte; what to remove again."""
    file = folder / "filling"
    with file.open("wb", buffering=0) as handle, contextlib.suppress(OSError):
        while True:
            handle.write(bytes(2**12))
    return file


def last_line(user, *words):
    """What a command that fails says last, without a trace."""
    done = subprocess.run(
        [str(word) for word in words], cwd="/", env=user.environment, capture_output=True, text=True, check=False,
        timeout=LONG,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_full_disk_of_the_database(user, note):
    """In the middle of a run: the job runs on, the run is broken off with one line and goes on later."""
    process = user.start()
    filling = fill(user.folder)
    user.gate.touch()
    status, said = process.wait(LONG), user.said()
    assert status == 1
    assert "Traceback" not in said
    assert f"(mounted at {user.folder}, 0 of" in said
    filling.unlink()
    pk = user.newest("CUT OFF")
    again = user.run(*user.command())
    assert f"DmiWorkChain<{pk}> response of a finished model goes on" in again
    assert "D_yx" in again
    assert user.script(LEFT) == "[]"
    note(
        "disk full under AiiDA's folder, in a run here",
        f"`{said.strip().splitlines()[-1]}`",
        "-",
        "the same run goes on",
    )


def test_full_scratch(user, tmp_path, note):
    """AiiDA tries five times and pauses the job; nobody could make it go on but a new run, which does."""
    scratch = user.scratch
    scratch.mkdir()
    with mounted(scratch, "-t", "tmpfs", "-o", "size=1m", "tmpfs"):
        filling = fill(scratch)
        said = last_line(user, *user.command(mesh=6))
        assert "AiiDA has paused DmiCalculation<" in said
        assert "No space left on device" in said
        filling.unlink()
        subprocess.run(["mount", "-o", "remount,size=20m", str(scratch)], check=True)
        pk = user.newest("CUT OFF")
        again = user.run(*user.command(mesh=6))
    assert f"DmiWorkChain<{pk}> response of a finished model goes on" in again
    assert "D_yx" in again
    note("disk full in scratch, in a run here", f"`{said}`", "-", "the same run goes on")


def test_full_disk_of_what_is_written(user, tmp_path, note):
    """A table, a page, a figure: the file and its disk are named, the old file stays."""
    user.run(*user.command(mesh=6))
    pk = user.newest("finished")
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=1m,nr_inodes=99", "tmpfs"):
        old = folder / "old.csv"
        old.write_text("old")
        fill(folder)
        for command in (
            ["export", pk, "--output", old],
            ["report", pk, "--output", folder / "page.html"],
            ["plot", pk, "-w", "spin-orbit", "--output", folder],
        ):
            said = last_line(user, "aiida-dmi", *command)
            assert "no room left on its disk" in said
            assert f"(mounted at {folder}, 0 of" in said
        assert old.read_text() == "old"
        assert sorted(path.name for path in folder.iterdir()) == ["filling", "old.csv"]
    note("disk full where a file is to be written", f"`{said}`", "-", "the old file is there, no new one")
