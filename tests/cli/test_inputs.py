"""Overrides and moments from the command line: what is taken, and one line for what is not."""

import click
import pytest

from aiida_dmi.cli.inputs import load_moments, load_overrides


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "overrides.yaml"

    def write(text):
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "settings", "found"),
    [
        ("", ("response.mesh=96", "force=true"), {"response": {"mesh": 96}, "force": True}),
        ("response: {mesh: 48}", ("response.mesh=96",), {"response": {"mesh": 96}}),
        # A mapping is added to, not put in the place of, what the file says.
        (
            "response: {mesh: 48, temperatures: [300]}",
            ("response={mesh: 96}",),
            {"response": {"mesh": 96, "temperatures": [300]}},
        ),
        ("response: {mesh: 48}", ("response.soi_scales=[0, 1]",), {"response": {"mesh": 48, "soi_scales": [0, 1]}}),
        ("relax: {fixed: [Pt.1]}", ("relax=null",), {"relax": None}),
        ("", ("relax={}",), {"relax": {}}),
        ("", ("scf.parameters.SYSTEM.input_dft=a=b",), {"scf": {"parameters": {"SYSTEM": {"input_dft": "a=b"}}}}),
    ],
)
def test_overrides(file, text, settings, found):
    assert load_overrides(file(text) if text else None, settings) == found


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("[1, 2]", (), "holds list, expected keys and values as in the protocol"),
        (" ", (), "holds nothing, expected keys and values as in the protocol"),
        ("a: [", (), "not readable as YAML"),
        ("", ("response.mesh",), "expected KEY=VALUE, such as response.mesh=96"),
        ("", ("=96",), "expected KEY=VALUE"),
        ("", ("response..mesh=96",), "expected KEY=VALUE"),
        ("", (".=96",), "expected KEY=VALUE"),
        ("", ("response.mesh=[",), "'[' is no YAML value"),
        ("", ("response.mesh=96", "response.mesh=48"), "response.mesh is given twice; give it once"),
        ("response: 3", ("response.mesh=96",), "response holds a value, not a section"),
        ("", ("response.mesh=3", "response.mesh.x=3"), "mesh holds a value, not a section"),
    ],
)
def test_overrides_that_are_none(file, text, settings, message):
    with pytest.raises(click.UsageError) as caught:
        load_overrides(file(text) if text else None, settings)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_overrides_that_cannot_be_read(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "binary", tmp_path):
        with pytest.raises(click.UsageError, match="not readable as YAML"):
            load_overrides(str(path), ())


def test_moments():
    assert load_moments(()) is None
    assert load_moments(("Co=1.7", "Pt.1 = -3e-1", "Fe=+2", "Mn=.5")) == {"Co": 1.7, "Pt.1": -0.3, "Fe": 2.0, "Mn": 0.5}


@pytest.mark.parametrize(
    "text", ["Co", "=2", "Co=", "Co=much", "Co=nan", "Co=inf", "Co=-inf", "Co=1_0", "Co=1e999", "Co=1,7"]
)
def test_moments_that_are_none(text):
    with pytest.raises(click.UsageError, match="expected NAME=MOMENT, such as Co=1"):
        load_moments((text,))


def test_moment_given_twice():
    with pytest.raises(click.UsageError, match="Co is given twice"):
        load_moments(("Co=1", "Co=2"))
