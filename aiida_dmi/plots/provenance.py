"""The provenance of a calculation, stage by stage: which program made what from what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from aiida_dmi.aiida_types import pk_of

from .style import Plot, drawn, plain

CALLS = (LinkType.CALL_CALC, LinkType.CALL_WORK)
INPUTS = (LinkType.INPUT_CALC, LinkType.INPUT_WORK)
CREATED = (LinkType.CREATE, LinkType.RETURN)
TRANSPARENT = ("DmiWorkChain", "WannierModelWorkChain", "WannierFunctionsWorkChain", "DmiScreeningWorkChain")
"""Workchains whose steps are stages of their own."""
SOURCES = {"structure": "structure", "pseudos": "pseudopotentials", "model": "Wannier model"}
FILL = {"ok": "#D7EBDD", "failed": "#F4CFC9", "data": "#DCE6F2", "other": "#EEEEEE"}
EDGE = {"ok": "#2E7D4F", "failed": "#B3261E", "data": "#2F5D8C", "other": "#777777"}
INK = "#1A1A1A"
BOX = (2.1, 0.62)
STEP = (2.45, 1.05)
"""Width and height of a box, and the distance from one to the next; inches."""


@dataclass
class Stage:
    """One box of the graph.

    Parameters
    ----------
    name : str
        Step of the workflow, such as 'scf'.
    detail : str
        Program, time, pk.
    kind : {'ok', 'failed', 'data', 'other'}
    pk : int
        Of the process, or of the datum.
    depends : set of int
        Stages (by pk) whose outputs it took.
    """

    name: str
    detail: str
    kind: str
    pk: int
    depends: set[int] = field(default_factory=set)


def stages(node: orm.WorkChainNode) -> list[Stage]:
    """The stages of a workchain in the order in which they ran; data that came from outside first, the result last.

    Parameters
    ----------
    node : WorkChainNode
        A DmiWorkChain or WannierModelWorkChain.

    Returns
    -------
    list of Stage
        Calculation functions are no stages: what passes through one counts as passed on.
    """
    steps = list(_steps(node))
    found = [
        Stage(SOURCES[name], _content(name, members), "data", pk_of(members[0]))
        for name, members in _sources(node).items()
    ]
    owner = {
        pk_of(datum): stage.pk
        for stage, members in zip(found, _sources(node).values(), strict=True)
        for datum in members
    }
    for label, process in steps:
        made = [pk_of(link.node) for each in _inside(process) for link in _links(each, CREATED, outgoing=True)]
        owner |= dict.fromkeys(made, pk_of(process))
        found.append(Stage(label, _detail(process), _state(process), pk_of(process)))
    for stage, (_, process) in zip(found[-len(steps) :] if steps else [], steps, strict=True):
        stage.depends = _origins(_taken(process), owner) - {stage.pk}
    if "output_parameters" in node.outputs:
        result = node.outputs.output_parameters
        last = Stage("D, Q, a(I), a(II)", f"response and table, pk {result.pk}", "data", result.pk)
        last.depends = _origins([result, *([node.outputs.response] if "response" in node.outputs else [])], owner)
        found.append(last)
    return found


def _steps(node: orm.ProcessNode, attempt: str = "") -> Iterable[tuple[str, orm.ProcessNode]]:
    """The stages called by a workchain, workchains of this package opened."""
    called = sorted(_links(node, CALLS, outgoing=True), key=lambda link: pk_of(link.node))
    tries = sum(link.node.process_label == "WannierFunctionsWorkChain" for link in called)
    number = 0
    for link in called:
        process = link.node
        if isinstance(process, orm.CalcFunctionNode) or not isinstance(process, orm.ProcessNode):
            continue
        if process.process_label in TRANSPARENT:
            number += process.process_label == "WannierFunctionsWorkChain"
            yield from _steps(process, f" (try {number})" if tries > 1 else attempt)
        else:
            yield link.link_label.replace("_", " ") + attempt, process


def _inside(process: orm.ProcessNode) -> Iterable[orm.ProcessNode]:
    """A process and all that it called."""
    yield process
    for link in _links(process, CALLS, outgoing=True):
        if isinstance(link.node, orm.ProcessNode):
            yield from _inside(link.node)


def _taken(process: orm.ProcessNode) -> list[orm.Data]:
    return [link.node for link in _links(process, INPUTS, outgoing=False) if isinstance(link.node, orm.Data)]


def _origins(data: Iterable[orm.Data], owner: dict[int, int]) -> set[int]:
    """Stages that data come from, through any number of calculation functions."""
    origins: set[int] = set()
    waiting, seen = list(data), set()
    while waiting:
        datum = waiting.pop()
        if datum.pk in seen:
            continue
        seen.add(datum.pk)
        if datum.pk in owner:
            origins.add(owner[datum.pk])
            continue
        for link in _links(datum, (LinkType.CREATE,), outgoing=False):
            if isinstance(link.node, orm.CalcFunctionNode):
                waiting += _taken(link.node)
    return origins


def _links(node: orm.Node, types: tuple[LinkType, ...], *, outgoing: bool) -> list[orm.utils.links.LinkTriple]:
    ends = node.base.links.get_outgoing if outgoing else node.base.links.get_incoming
    return list(ends(link_type=types).all())


def _sources(node: orm.WorkChainNode) -> dict[str, list[orm.Data]]:
    """Structure, pseudopotentials and a given model among the inputs."""
    found: dict[str, list[orm.Data]] = {}
    for link in sorted(_links(node, INPUTS, outgoing=False), key=lambda link: link.link_label):
        parts = link.link_label.split("__")
        name = "pseudos" if "pseudos" in parts else parts[-1] if len(parts) == 1 else ""
        if name in SOURCES and isinstance(link.node, orm.Data):
            found.setdefault(name, []).append(link.node)
    return found


def _content(name: str, members: list[orm.Data]) -> str:
    if name == "structure":
        return f"{members[0].get_formula()}, pk {members[0].pk}"
    if name == "pseudos":
        return ", ".join(f"{datum.element} pk {datum.pk}" for datum in members)
    return f"{', '.join(members[0].base.attributes.get('symbols'))}, pk {members[0].pk}"


def _state(process: orm.ProcessNode) -> str:
    if process.is_finished_ok:
        return "ok"
    return "failed" if process.is_terminated else "other"


def _detail(process: orm.ProcessNode) -> str:
    """Program, time and pk of a stage."""
    jobs = [each for each in _inside(process) if isinstance(each, orm.CalcJobNode)]
    codes = [each.inputs.code for each in jobs if "code" in each.inputs]
    program = codes[0].label if codes else process.process_label
    cached = any(each.base.caching.is_created_from_cache for each in jobs)
    seconds = (process.mtime - process.ctime).total_seconds()
    time = "from the cache" if cached else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    failed = "" if process.exit_status in (0, None) else f", exit {process.exit_status}"
    return f"{program}, {time}{failed}, pk {process.pk}"


# -- the picture ------------------------------------------------------------------------------------------------


@drawn
def plot_provenance(node: orm.WorkChainNode, title: str = "") -> Plot:
    """The stages as boxes, from what went in (top) to D (bottom); arrows: what one made and another took.

    Parameters
    ----------
    node : WorkChainNode
        A DmiWorkChain or WannierModelWorkChain.
    title : str

    Returns
    -------
    Plot
        Green: done, red: failed, blue: data. Time is from a stage's start to its end, waiting included.
    """
    found = stages(node)
    rows = _rows(found)
    places: dict[int, tuple[float, float]] = {}
    for depth, row in enumerate(rows):
        # Below what a stage was made from, so that arrows cross little.
        row.sort(key=lambda stage: (_middle(stage, places), stage.pk))
        for number, stage in enumerate(row):
            places[stage.pk] = ((number - (len(row) - 1) / 2) * STEP[0], -depth * STEP[1])
    width = max(len(row) for row in rows) * STEP[0] + 0.3
    height = len(rows) * STEP[1] + 0.3
    plot = Plot(figsize=(width, height))
    axes = plot.add_subplot()
    for stage in found:
        for origin in _direct(stage, found):
            _arrow(axes, places[origin], places[stage.pk])
        _box(axes, places[stage.pk], stage)
    axes.set_xlim(-width / 2, width / 2)
    axes.set_ylim(-height + STEP[1] / 2 + 0.15, STEP[1] / 2 + 0.15)
    axes.set_aspect("equal")
    axes.axis("off")
    if title:
        axes.set_title(plain(title))
    names = {stage.pk: stage.name for stage in found}
    plot.table.add(
        {
            "pk": [stage.pk for stage in found],
            "stage": [stage.name for stage in found],
            "state": [stage.kind for stage in found],
            "detail": [stage.detail for stage in found],
            "made from": ["; ".join(names[pk] for pk in sorted(_direct(stage, found))) for stage in found],
        }
    )
    plot.table.notes.append(f"{node.process_label} pk {node.pk}, uuid {node.uuid}")
    plot.caption = (
        "Provenance by stage: green boxes are programs that ended well, red ones failed, blue ones are data. Every "
        f"file behind them: verdi node graph generate {node.pk}."
    )
    return plot


def _rows(found: list[Stage]) -> list[list[Stage]]:
    """Stages by the longest way from what came from outside."""
    depth: dict[int, int] = {}
    for stage in found:
        # In the order in which they ran, whatever a stage was made from has its depth already.
        depth[stage.pk] = 1 + max((depth[pk] for pk in stage.depends if pk in depth), default=-1)
    levels = range(max(depth.values(), default=-1) + 1)
    return [[stage for stage in found if depth[stage.pk] == level] for level in levels]


def _direct(stage: Stage, found: list[Stage]) -> set[int]:
    """What a stage was made from, without what it also got by way of another stage."""
    by_pk = {other.pk: other for other in found}

    def before(pk: int) -> set[int]:
        return {up for origin in by_pk[pk].depends for up in (origin, *before(origin))}

    indirect = {up for pk in stage.depends for up in before(pk)}
    return stage.depends - indirect


def _middle(stage: Stage, places: dict[int, tuple[float, float]]) -> float:
    above = [places[pk][0] for pk in stage.depends if pk in places]
    return sum(above) / len(above) if above else 0.0


def _box(axes: Axes, place: tuple[float, float], stage: Stage) -> None:
    corner = (place[0] - BOX[0] / 2, place[1] - BOX[1] / 2)
    shape = "round,pad=0,rounding_size=0.3" if stage.kind == "data" else "round,pad=0,rounding_size=0.06"
    axes.add_patch(
        FancyBboxPatch(corner, *BOX, boxstyle=shape, facecolor=FILL[stage.kind], edgecolor=EDGE[stage.kind], zorder=2)
    )
    text: dict[str, Any] = {"ha": "center", "va": "center", "color": INK, "zorder": 3}
    axes.text(place[0], place[1] + 0.12, plain(stage.name), fontsize=9, fontweight="bold", **text)
    axes.text(place[0], place[1] - 0.14, plain(stage.detail), fontsize=6.5, **text)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    patch = FancyArrowPatch(
        (start[0], start[1] - BOX[1] / 2),
        (end[0], end[1] + BOX[1] / 2),
        arrowstyle="-|>",
        mutation_scale=9,
        color=EDGE["other"],
        linewidth=1.0,
        shrinkA=0,
        shrinkB=1,
        zorder=1,
    )
    axes.add_patch(patch)
