"""What pw.x and MPI say when a run stops: the reason, the breakdown, the kill."""

import subprocess

import pytest

from aiida_dmi.parsers.quantum_espresso import ABORTS, DIAGONALISATION, KILLS, MEMORY, reason

RULER = " " + 78 * "%"


def stdout(routine, message, code=1):
    error = f"     Error in routine {routine} ({code}):\n     {message}"
    return f"     Program PWSCF\n\n{RULER}\n{error}\n{RULER}\n\n     stopping ..."


def crash(task, routine, message):
    return f"{RULER}\n     task #{task:10d}\n     from {routine} : error #         1\n     {message}\n{RULER}\n\n"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([""], None),
        (["     Program PWSCF\n  100% of it %%\n"], None),
        ([stdout("c_bands", "too many bands are not converged")], "c_bands: too many bands are not converged"),
        ([stdout("  S matrix not positive definite ", "x", 12)], "S matrix not positive definite: x"),
        ([stdout("read_namelists", "bad line in namelist &system\n     (error could be in the line before)", 2)],
         "read_namelists: bad line in namelist &system (error could be in the line before)"),
        # The same from every rank, once; from an other pool in CRASH alone.
        (["", crash(0, "readpp", "file not found") + crash(1, "readpp", "file not found")], "readpp: file not found"),
        ([stdout("a", "b"), crash(1, "c", "d")], "a: b; c: d"),
        # Cut off in the middle of it.
        ([f"{RULER}\n     Error in routine davcio (10):\n     error writing"], "davcio: error writing"),
        # No routine's name.
        ([f"{RULER}\n     something else\n{RULER}"], "something else"),
    ],
)  # fmt: skip
def test_reason(texts, words):
    assert reason(texts) == words


def test_long_reasons_are_cut():
    said = reason([stdout("read_cards", "x" * 10_000), *(stdout(f"r{n}", "y") for n in range(9))])
    assert len(said) <= 200
    assert "\n" not in said


def test_reason_of_the_program_itself(tmp_path):
    """pw.x with a keyword that it does not know."""
    (tmp_path / "in").write_text("&control\n/\n&system\n no_such_keyword = 1\n/\n&electrons\n/\n")
    done = subprocess.run(["pw.x", "-in", "in"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    words = reason([done.stdout, done.stderr, (tmp_path / "CRASH").read_text()])
    assert words.startswith("read_namelists: bad line in namelist &system")
    assert "no_such_keyword" in words
    assert DIAGONALISATION.search(words) is None


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        ("c_bands: too many bands are not converged", True),
        ("cdiaghg: S matrix not positive definite", True),
        ("pcdiaghg: problems computing cholesky", True),
        ("x: y; rdiaghg: eigenvectors failed to converge", True),
        ("diaghg: info =/= 0", True),
        ("rotate_wfc_k: x", True),
        ("iosys: diagonalization paro not implemented", False),
        ("readpp: file Co.diag.UPF not found", False),
        ("davcio: error reading file", False),
    ],
)
def test_reasons_that_the_diagonalisation_gives(words, is_one):
    assert (DIAGONALISATION.search(words) is not None) is is_one


@pytest.mark.parametrize(
    ("text", "broke_down", "killed"),
    [
        ("MPI_ABORT was invoked on rank 1 in communicator MPI_COMM_WORLD\nwith errorcode 101.", True, False),
        ("process rank 0 with PID 1 on node n exited on signal 11 (Segmentation fault).", True, False),
        ("process rank 0 with PID 1 on node n exited on signal 6 (Aborted).", True, False),
        ("Program received signal SIGFPE: Floating-point exception - erroneous arithmetic operation.", True, False),
        ("forrtl: severe (174): SIGSEGV, segmentation fault occurred", True, False),
        ("At line 12 of file x.f90\nFortran runtime error: End of file", True, False),
        ("srun: error: n1: task 1: Exited with exit code 101", True, False),
        ("srun: error: n1: tasks 0-3: Segmentation fault (core dumped)", True, False),
        ("=   EXIT CODE: 139", True, False),
        ("process rank 0 with PID 1 on node n exited on signal 9 (Killed).", False, True),
        ("process rank 0 with PID 1 on node n exited on signal 15 (Terminated).", False, True),
        ("=   EXIT CODE: 9", False, True),
        ("srun: error: n1: task 0: Exited with exit code 137", False, False),
        ("bash: line 1: 123 Killed   pw.x", False, True),
        ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***", False, True),
        ("Warning: Permanently added 'n1' to the list of known hosts.", False, False),
        ("", False, False),
    ],
)
def test_breakdowns_and_kills(text, broke_down, killed):
    assert any(pattern.search(text) for pattern in ABORTS) is broke_down
    assert (KILLS.search(text) is not None and not broke_down) is killed


@pytest.mark.parametrize("text", ["Detected 1 oom-kill event(s) in StepId=7.0", "task 0: Out Of Memory", "OOM Killed"])
def test_memory(text):
    assert MEMORY.search(text) is not None or KILLS.search(text) is not None
