"""`aiida-dmi screen`, `table`, `query` and `trace`: bad input is one line, exit code 2.

What they do with a real campaign is in tests/provenance/test_campaign.py.
"""

import subprocess
import sys

import pytest


def run(*words, folder=None):
    return subprocess.run(
        [sys.executable, "-c", "from aiida_dmi.cli import main; main()", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=folder,
    )


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A fresh profile of its own."""
    import os

    environment = {**os.environ, "AIIDA_PATH": str(tmp_path_factory.mktemp("aiida"))}
    code = "from aiida_dmi.cli.setup import ensure_profile; ensure_profile()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, timeout=120)
    return environment


@pytest.mark.parametrize(
    ("how", "spec", "message"),
    [
        (
            "--run",
            "systems: [{film: 'Co/Pt(111):1+1'}]\nlayer: 1+1\n",
            "layer: unknown; expected some of name, systems, layers",
        ),
        ("--run", "systems: [{film: 'Co/Xx(111):1+1'}]\n", "film: Xx is not in the table"),
        ("--run", "systems: [\n", "no valid YAML"),
        (
            "--dry-run",
            "systems: [{film: 'Co/Pt(111):1+1'}]\ncodes: {pw: absent}\n",
            "codes: pw: no code 'absent' in this profile",
        ),
        (
            "--dry-run",
            "systems: [{film: 'Co/Pt(111):1+1', changes: {foo: 1}}]\n",
            "systems[0].changes.foo: unknown; expected some of",
        ),
        (
            "--dry-run",
            "systems: [{film: 'Co/Pt(111):1+1', changes: {vacuum: big}}]\n",
            "changes.vacuum: 'big' was given, expected a",
        ),
        (
            "--dry-run",
            "systems: [{film: 'Co/Pt(111):1+1'}]\nmoments: abc\n",
            "moments: 'abc' was given, expected a mapping",
        ),
        (
            "--dry-run",
            "systems: [{film: 'Co/Pt(111):1+1'}]\ntemperatures: [0]\n",
            "temperatures: 0.0 was given, expected kelvins",
        ),
        (
            "--dry-run",
            "systems: [{film: 'Co/Pt(111):1+1'}]\nshifts: [.nan]\n",
            "shifts: [nan] was given, expected a list of numbers",
        ),
        (
            "--dry-run",
            "systems: [{film: 'Co/Pt(111):1+1'}]\noverrides: {force: n}\n",
            "overrides: force: 'n' was given",
        ),
    ],
)
def test_bad_specs(environment, tmp_path, how, spec, message):
    path = tmp_path / "spec.yaml"
    path.write_text(spec)
    result = run("screen", str(path), how, folder=environment)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table", "absent"], "campaign: 'absent' was given, this profile has none"),
        (["table", "absent", "--output", "t.xlsx"], "output: t.xlsx was given, expected a name that ends in .csv"),
        (["query", "made-with"], "made-with: 0 given, expected one of --pseudo, --code, --image, --engine-version"),
        (["query", "made-with", "--code", "absent"], "code: 'absent' was given, see `verdi code list -A`"),
        (["query", "made-with", "--pseudo", "Xx.upf"], "pseudo: 'Xx.upf' was given"),
    ],
)
def test_bad_questions(environment, words, message):
    result = run(*words, folder=environment)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.strip().count("\n") == 0


def test_nothing_found_is_no_error(environment):
    result = run("query", "films", "--min-d", "1", folder=environment)
    assert result.returncode == 0
    assert result.stdout.strip().endswith("0 results")


def test_trace_of_no_node(environment):
    result = run("trace", "12345678", folder=environment)
    assert result.returncode == 2
    assert "no node has this pk, uuid or label" in result.stderr
