"""A run and whatever ends it: kill -9, a terminal that is gone, full disks; what the next command says and does."""

import re
import signal
import subprocess

import pytest

from aiida_dmi.cli.watch import expected_jobs
from aiida_dmi.structures.bilayer import co_pt111
from aiida_dmi.workflows.dmi import DmiWorkChain
from aiida_dmi.workflows.wannier_model import WannierModelWorkChain

from ..workflows.conftest import wait_until
from ..workflows.test_daemon import LEFT, LONG

ENDED = "interrupted; running jobs ended: 1;"


@pytest.fixture(autouse=True)
def closed_gate(request):
    if "user" in request.fixturenames:
        request.getfixturevalue("user").gate.unlink(missing_ok=True)


def ended(process, user):
    """Its exit status and what it said, once it has ended."""
    return process.wait(LONG), user.said()


def test_killed_run_goes_on(user):
    """Its job runs on; status says what is left; the same command takes it up, another one names it."""
    process = user.start()
    process.kill()
    process.wait()
    assert len(user.engines()) == 1
    pk = user.newest("CUT OFF")
    one = user.status(pk)
    assert f"its process {process.pid} on " in one
    assert re.search(r"jobs that had not ended: \d+ \(job \d+\);", one)
    assert f"`aiida-dmi stop {pk}`" in one
    other = user.run(*user.command(mesh=8))
    assert f"left over: DmiWorkChain<{pk}> response of a finished model, whose process {process.pid} is gone" in other
    user.gate.touch()
    said = user.run(*user.command("--label", "again"))
    assert f"DmiWorkChain<{pk}> response of a finished model goes on" in said
    assert f"DmiWorkChain pk {pk}, " in said
    assert "1/1 jobs" in said
    assert user.script(LEFT) == "[]"
    assert re.search(rf"^ *{pk} .* again .* finished", user.status(), re.MULTILINE)


def test_killed_run_is_ended(user):
    process = user.start("--fresh")
    process.kill()
    process.wait()
    pk = user.newest("CUT OFF")
    assert f"DmiWorkChain<{pk}> is ended, 1 jobs with it" in user.run("aiida-dmi", "stop", pk)
    wait_until(lambda: not user.engines(), 60, "the engine ends")
    assert user.script(LEFT) == "[]"
    assert "KILLED" in user.status(pk)
    again = subprocess.run(
        ["aiida-dmi", "stop", pk], env=user.environment, capture_output=True, text=True, check=False, timeout=LONG
    )
    assert again.returncode == 2
    assert f"DmiWorkChain<{pk}> has ended" in again.stderr


def test_a_terminal_that_is_closed_ends_the_jobs(user):
    """As Ctrl-C does (`tests/workflows/test_daemon.py`)."""
    # Where the tests themselves run under nohup, too.
    process = user.start("--fresh", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
    process.send_signal(signal.SIGHUP)
    status, said = ended(process, user)
    assert status == 1
    assert ENDED in said
    assert said.rstrip().endswith("aiida-dmi: stopped")
    assert "Traceback" not in said
    wait_until(lambda: not user.engines(), 60, "the engine ends")
    assert user.script(LEFT) == "[]"


def test_nohup_outlives_its_terminal(user):
    process = user.start("--fresh", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    user.gate.touch()
    status, said = ended(process, user)
    assert status == 0
    assert "D_yx" in said


def test_stop_from_another_terminal(user):
    process = user.start("--fresh")
    pk = user.newest("waiting")
    assert f"stopped by process {process.pid}" in user.run("aiida-dmi", "stop", pk)
    assert ended(process, user)[0] == 1
    assert user.script(LEFT) == "[]"


def test_progress_is_of_this_run_alone(user):
    """Two runs at one time, one profile: each counts its own jobs."""
    process = user.start("--fresh")
    other = user.run(*user.command("--fresh", mesh=8))
    user.gate.touch()
    status, first = ended(process, user)
    assert status == 0
    jobs = [set(re.findall(r"DmiCalculation<(\d+)>", said)) for said in (first, other)]
    assert [len(found) for found in jobs] == [1, 1]
    assert jobs[0] != jobs[1]
    assert [said.count("1/1 jobs") for said in (first, other)] == [1, 1]


def full(user, command, **streams):
    """Exit status and standard error of a command, with nowhere to write to."""
    with open("/dev/full", "w") as nowhere:
        done = subprocess.run(
            command, cwd=user.folder, env=user.environment, text=True, check=False, timeout=LONG,
            **{name: nowhere if stream == "full" else subprocess.PIPE for name, stream in streams.items()},
        )  # fmt: skip
    said = (done.stderr or "") + (done.stdout or "")
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    return done.returncode, said


def test_full_standard_output_loses_no_result(user):
    status, said = full(user, user.command("--fresh", mesh=6), stdout="full", stderr="pipe")
    assert status == 1
    assert said.strip() == (
        "aiida-dmi: standard output cannot be written (No space left on device): what was to be said is lost, nothing "
        "else is; runs and results are in the database (`aiida-dmi status`)"
    )
    pk = user.newest("finished")
    assert "mesh                 6x6" in user.run("aiida-dmi", "show", pk)
    for words in (["show", pk], ["status"], ["launch", "--help"]):
        status, said = full(user, ["aiida-dmi", *words], stdout="full", stderr="pipe")
        assert status != 0, words
        assert "standard output cannot be written" in said, words


def test_full_standard_error(user):
    status, said = full(user, ["aiida-dmi", "status", "nothing"], stdout="pipe", stderr="full")
    assert status == 2
    assert "standard error cannot be written" in said


def test_reader_that_goes_away(user):
    command = subprocess.Popen(
        ["aiida-dmi", "--help"], env=user.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    command.stdout.close()
    said = command.stderr.read()
    assert command.wait(LONG) == 1
    assert said.count("\n") == 1
    assert "nobody reads it any more" in said


@pytest.mark.parametrize(
    ("workchain", "changes", "jobs"),
    [
        (DmiWorkChain, {}, 10),
        (DmiWorkChain, {"check_spin_orbit": True}, 11),
        (DmiWorkChain, {"relax": {"fixed": ["Pt.1"]}}, 11),
        (WannierModelWorkChain, {}, 9),
    ],
)
def test_the_count_comes_from_the_process(codes, pseudo_family, workchain, changes, jobs):
    overrides = {"pseudo_family": pseudo_family.label, **changes}
    builder = workchain.get_builder_from_protocol(codes, co_pt111(1, 1), overrides=overrides)
    assert expected_jobs(builder) == jobs
