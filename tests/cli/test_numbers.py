"""Every number that a command takes: out of range it is one line before anything is done, never a trace."""

import contextlib

import click
import pytest

from aiida_dmi import cli

EXTREMES = [
    "-1",
    "0",
    "99999999",
    "9" * 30,
    "-" + "9" * 30,
    "1e400",
    "nan",
    "inf",
    "-inf",
    "1e-400",
    "0x10",
    "1_0",
    "",
    " ",
    "\u0663",
]


def numbers():
    """(words, option, more words) of every option that takes a number."""

    def walk(command, context, path):
        for option in command.params:
            numeric = isinstance(option.type, (click.types.IntParamType, click.types.FloatParamType))
            if isinstance(option, click.Option) and (numeric or option.type.name == "float"):
                yield path, option.opts[-1], command
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                yield from walk(child, click.Context(child, parent=context), (*path, name))

    yield from walk(cli.cli, click.Context(cli.cli), ())


OPTIONS = {f"{' '.join(path)} {option}": (path, option, command) for path, option, command in numbers()}


def test_all_of_them_are_known():
    assert len(OPTIONS) > 15


@pytest.mark.parametrize("name", OPTIONS)
def test_a_number_out_of_range_is_refused_where_it_is_given(name):
    """By the option itself: of what it takes, nothing is nan, infinite or larger than any machine."""
    _, option, command = OPTIONS[name]
    (parameter,) = [p for p in command.params if option in p.opts]
    taken = {}
    for text in EXTREMES:
        with contextlib.suppress(click.BadParameter):
            taken[text] = parameter.type.convert(text, parameter, None)
    for text, value in taken.items():
        assert -1e308 < value < 1e308, text
        if isinstance(value, int):
            assert 0 < value <= 10**9, text


@pytest.mark.parametrize(
    "words",
    [
        ["status", "-D", "99999999"],
        ["status", "-l", "0"],
        ["status", "9" * 30],
        ["show", "1", "-t", "nan"],
        ["export", "1", "--temperature", "inf"],
        ["query", "films", "--min-d", "nan"],
        ["launch", "response", "1", "--np", "1000000000"],
        ["launch", "response", "1", "--walltime", "9" * 20],
        ["report", "1", "--mesh", "1"],
        ["query", "made-with", "--pseudo", "9" * 30],
        ["query", "made-with", "--code", "9" * 30],
    ],
)
def test_it_is_one_line(aiida_profile, words, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["aiida-dmi", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("aiida-dmi: ")
