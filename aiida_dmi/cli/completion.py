"""What the shell completes: films, nodes, and names that the profile holds."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from aiida_dmi.text import one_line

NEWEST = 50
"""Nodes that are offered at most, the newest first."""

PRESETS = ("Co/Pt(111):1+1", "Co/Pt(111):3+10", "Mn/W(001):1+3", "Mn/W(001):1+9")
"""Films that are offered before a letter is typed."""

RUNS = ("DmiWorkChain",)
MODEL_RUNS = ("DmiWorkChain", "WannierModelWorkChain")
ALL_RUNS = (*MODEL_RUNS, "DmiScreeningWorkChain")
RESPONSE, MODEL = "data.dmi.response.DmiData.", "data.dmi.model.WannierModelData."


class NodeName(click.ParamType):
    """A node by pk, uuid or label; the value stays the text that was given.

    Parameters
    ----------
    processes : sequence of str
        Labels of the processes that are offered.
    data : sequence of str
        Types of the data that are offered.
    files : bool
        A file is welcome too.
    """

    name = "pk"

    def __init__(self, processes: Iterable[str] = (), data: Iterable[str] = (), files: bool = False) -> None:
        self._processes, self._data, self._files = list(processes), list(data), files

    def shell_complete(self, context: click.Context, parameter: click.Parameter, text: str) -> list[CompletionItem]:
        """Numbers of the newest nodes; uuids or labels once the text is the beginning of one."""
        items = [CompletionItem(text, type="file")] if self._files else []
        if has_profile(context):
            items += [_item(value, label) for value, label in self._nodes(text)]
        return items

    def _nodes(self, text: str) -> list[tuple[str, str]]:
        """Identifier and label of the nodes that the text may stand for."""
        from aiida import orm

        wanted: list[tuple[type[orm.Node], dict[str, object]]] = []
        if self._processes:
            wanted.append((orm.ProcessNode, {"attributes.process_label": {"in": self._processes}}))
        if self._data:
            wanted.append((orm.Data, {"node_type": {"in": self._data}}))
        rows = []
        for kind, filters in wanted:
            query = orm.QueryBuilder().append(kind, filters=filters, project=["id", "uuid", "label"], tag="node")
            rows += query.order_by({"node": {"id": "desc"}}).all()
        found = []
        for pk, uuid, label in sorted(rows, reverse=True):
            if str(pk).startswith(text):
                found.append((str(pk), label))
            elif text and uuid.startswith(text):
                found.append((uuid, label))
            elif text and label.startswith(text):
                found.append((label, f"pk {pk}"))
        return [(value, one_line(help_text)) for value, help_text in found if _can_be_typed(value)][:NEWEST]


class FilmName(NodeName):
    """A film: a preset, a structure file, or a node that has one."""

    name = "film"

    def __init__(self) -> None:
        super().__init__(MODEL_RUNS, ["data.core.structure.StructureData."], files=True)

    def shell_complete(self, context: click.Context, parameter: click.Parameter, text: str) -> list[CompletionItem]:
        """Presets by name, numbers of structures and runs."""
        names = films() if text else PRESETS
        presets = [_item(name) for name in names if name.startswith(text)]
        # Last: bash forgets what stands before the item for files.
        return [*super().shell_complete(context, parameter, text), *presets]


class Name(click.ParamType):
    """A name that the profile knows.

    Parameters
    ----------
    known : callable
        The names; called with the profile loaded.
    """

    name = "text"

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        self._known = known

    def shell_complete(self, context: click.Context, parameter: click.Parameter, text: str) -> list[CompletionItem]:
        """Those that begin with the text."""
        if not has_profile(context):
            return []
        return [_item(name) for name in sorted(self._known()) if name.startswith(text) and _can_be_typed(name)]


class ProfileName(click.ParamType):
    """An AiiDA profile."""

    name = "text"

    def shell_complete(self, context: click.Context, parameter: click.Parameter, text: str) -> list[CompletionItem]:
        """Those of the configuration."""
        from aiida.manage.configuration import get_config

        return [_item(name) for name in get_config().profile_names if name.startswith(text)]


def films() -> tuple[str, ...]:
    """Presets, and one layer of every magnet on three of every substrate whose crystal is known."""
    from aiida_dmi.structures.crystals import CRYSTALS, SURFACES
    from aiida_dmi.structures.film import MAGNETS

    made = (
        f"{magnet}/{substrate}({surface}):1+3"
        for magnet in MAGNETS
        for substrate, crystal in CRYSTALS.items()
        if substrate not in MAGNETS
        for surface in SURFACES[crystal.lattice]
    )
    return tuple(dict.fromkeys((*PRESETS, *made)))


def computers() -> list[str]:
    """Labels of the profile's computers."""
    from aiida import orm

    return [computer.label for computer in orm.Computer.collection.all()]


def codes() -> list[str]:
    """Full labels of the codes that are not hidden."""
    from aiida import orm

    return [
        code.full_label for code in orm.QueryBuilder().append(orm.AbstractCode).all(flat=True) if not code.is_hidden
    ]


def families() -> list[str]:
    """Labels of the pseudopotential families."""
    from aiida import orm
    from aiida_pseudo.groups.family import PseudoPotentialFamily

    return orm.QueryBuilder().append(PseudoPotentialFamily, project="label").all(flat=True)


def campaigns() -> list[str]:
    """Names of the screening campaigns."""
    from aiida import orm

    from aiida_dmi.screening.campaign import PREFIX

    query = orm.QueryBuilder().append(orm.Group, filters={"label": {"like": f"{PREFIX}%"}}, project="label")
    return [label.removeprefix(PREFIX) for label in query.all(flat=True)]


def has_profile(context: click.Context) -> bool:
    """Load the profile for the sake of completion; where there is none there is nothing to offer."""
    from aiida_dmi.cli.profile import load_profile

    try:
        load_profile(context)
    except click.UsageError:
        return False
    return True


def _can_be_typed(value: str) -> bool:
    """Whether a shell takes it for one word: within an open quote only what ends no quote and means nothing there.

    Labels come from other people's archives, and what is completed runs at the next Enter.
    """
    return value.isprintable() and not (_quote_open() and set(value) & set("'\"$`\\!"))


def _quote_open() -> bool:
    words = os.environ.get("COMP_WORDS", "")
    return words.count("'") % 2 == 1 or words.count('"') % 2 == 1


def _item(value: str, help_text: str = "") -> CompletionItem:
    """An item; quoted where bash would take a film's parentheses for its own, unless a quote is open already."""
    in_bash = os.environ.get("_AIIDA_DMI_COMPLETE", "").startswith("bash")
    return CompletionItem(shlex.quote(value) if in_bash and not _quote_open() else value, help=help_text or None)
