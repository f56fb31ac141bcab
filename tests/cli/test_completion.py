"""What the shell completes, asked as bash and zsh ask."""

from __future__ import annotations

import subprocess

import pytest
from aiida import orm
from aiida.engine import ProcessState
from aiida.manage import get_manager
from click.shell_completion import BashComplete, ZshComplete

from aiida_dmi.cli import cli
from aiida_dmi.cli.completion import films
from aiida_dmi.structures.bilayer import film


@pytest.fixture
def complete(aiida_profile, computer, pseudo_family, monkeypatch):
    """Values that are offered after a line; the last word is the one that is typed."""

    def ask(line, shell=BashComplete, instruction="bash_complete"):
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        monkeypatch.setenv("_AIIDA_DMI_COMPLETE", instruction)
        # Options go before the profile is loaded: without -p the tests' own one stays.
        asked = shell(cli, {}, "aiida-dmi", "_AIIDA_DMI_COMPLETE")
        return asked.get_completions(*asked.get_completion_args())

    return ask


def values(items):
    """Without the item that asks the shell for files."""
    return [item.value for item in items if item.type == "plain"]


@pytest.fixture
def run(aiida_profile):
    """A DmiWorkChain that was killed before it did anything."""
    node = orm.WorkChainNode(process_type="aiida.workflows:dmi.dmi", label="completed film")
    node.set_process_label("DmiWorkChain")
    node.set_process_state(ProcessState.KILLED)
    return node.store()


def test_commands_protocols_and_figures(complete):
    assert values(complete("aiida-dmi sh")) == ["show"]
    assert values(complete("aiida-dmi launch dmi x --protocol ")) == ["fast", "balanced", "stringent"]
    assert values(complete("aiida-dmi plot 1 -w k")) == ["k-map"]


@pytest.mark.parametrize("command", ["show", "plot", "report", "export", "status", "trace", "model inspect"])
def test_pk_uuid_and_label_of_a_run(complete, run, command):
    found = complete(f"aiida-dmi {command} {run.pk}")
    assert run.label in [item.help for item in found if item.value == str(run.pk)]
    assert values(complete(f"aiida-dmi {command} {run.uuid[:8]}"))[-1] == run.uuid
    assert f"'{run.label}'" in values(complete(f"aiida-dmi {command} compl"))
    orphan = orm.Dict({}).store()
    assert str(orphan.pk) not in values(complete(f"aiida-dmi {command} {orphan.pk}"))


def test_films_by_name_quoted_for_bash(complete):
    expected = ["'Mn/W(001):1+3'", "'Mn/W(001):1+9'", "'Mn/W(110):1+3'"]
    # Films and runs of the database, whose labels look alike, are offered as well.
    assert values(complete("aiida-dmi launch dmi Mn/W"))[-3:] == expected
    assert "Mn/W(001):1+9" in values(complete("aiida-dmi launch dmi 'Mn/W"))
    assert "Mn/W(001):1+9" in values(complete("aiida-dmi launch dmi Mn/W", ZshComplete, "zsh_complete"))
    first = complete("aiida-dmi launch dmi ")[0]
    assert first.type == "file"


def test_names_of_the_profile(complete, computer, pseudo_family):
    assert computer.label in values(complete("aiida-dmi launch dmi x --computer "))
    assert pseudo_family.label in values(complete("aiida-dmi launch dmi x --family tests"))
    assert values(complete("aiida-dmi launch dmi x --family none-such")) == []
    assert get_manager().get_profile().name in values(complete("aiida-dmi -p "))


def test_a_profile_that_is_not_there_offers_nothing(complete):
    assert values(complete("aiida-dmi -p nowhere show ")) == []


def test_every_film_that_is_offered_can_be_built(aiida_profile):
    for name in films():
        film(name)


EVIL = [
    "evil'; touch x; '",
    'evil"; touch x; "',
    "evil$(touch x)",
    "evil`touch x`",
    "evil\ntouch x",
    "evil\x1b[2J",
    "evil!1",
]


@pytest.mark.parametrize("label", EVIL)
@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_label_is_one_word_of_the_shell(complete, run, label, quote):
    """What is completed runs at the next Enter: in whatever quotes, it is a word and no command."""
    run.label = label
    labels = orm.QueryBuilder().append(orm.WorkChainNode, project="label").all(flat=True)
    for value in values(complete(f"aiida-dmi show {quote}evil")):
        line = f"echo {quote}{value}{quote}" if quote else f"echo {value}"
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
        assert done.stdout.rstrip("\n") in labels
        assert done.stderr == ""
        assert "\n" not in value
