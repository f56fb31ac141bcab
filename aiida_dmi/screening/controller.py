"""Running a campaign: a few candidates at a time, each once, and on again after whatever stopped it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder
from aiida_submission_controller import BaseSubmissionController
from pydantic import ConfigDict

from aiida_dmi.aiida_types import node_of
from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.output.headline import in_order, symbol_of, unit_words, units_of, with_error
from aiida_dmi.screening.campaign import (
    CONTROLLER,
    FACTS,
    KEY,
    PREFIX,
    REFUSED,
    REPLACED,
    Entry,
    campaign_group,
    entries,
    facts_of,
)
from aiida_dmi.screening.candidates import Candidate, expand
from aiida_dmi.screening.inputs import MARK, candidate_builder, default_codes, load_codes
from aiida_dmi.screening.launchers import Daemon, InProcess, Launcher
from aiida_dmi.screening.spec import Spec
from aiida_dmi.workflows.reuse import made_by
from aiida_dmi.workflows.runs import IN_PROCESS, lives, this_process

POLL = 2.0
REMINDER = 60.0
"""Seconds between looking, and between lines when nothing happens."""
SILENT = 300.0
"""Seconds after which a controller on another machine, which cannot be asked, is taken to have ended."""


Say = Callable[[str], None]


class ScreeningController(BaseSubmissionController):  # type: ignore[misc]  # the package it comes from has no types
    """aiida-submission-controller for the candidates of a spec.

    What it adds: candidates start in the order of the spec, those whose inputs cannot be made are recorded instead of
    tried in every batch, and the launcher decides where processes run.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    unique_extra_keys: tuple[str, ...] = (KEY,)
    candidates: dict[str, Candidate]
    codes: dict[str, Any]
    options: Mapping[str, Any] | None = None
    caching: bool = True
    launcher: Any

    def get_all_extras_to_submit(self) -> set[tuple[str]]:
        """Keys of the candidates that were not refused."""
        refused = self.group.base.extras.get(REFUSED, {})
        return {(key,) for key in self.candidates if key not in refused}

    def get_inputs_and_processclass_from_extras(self, extras_values: tuple[str]) -> ProcessBuilder:
        """Inputs of a candidate."""
        builder = candidate_builder(self.candidates[extras_values[0]], self.codes, self.options)
        builder.caching = self.caching
        return builder

    def submit_new_batch(
        self, dry_run: bool = False, sort: bool = False, verbose: bool = False, sleep: float = 0
    ) -> dict[tuple[str], orm.ProcessNode | None]:
        """Start as many of the next candidates as there are slots; arguments as the base class."""
        left = self.get_all_extras_to_submit() - set(self.get_all_submitted_pks())
        ordered = [(key,) for key in (sorted(self.candidates) if sort else self.candidates) if (key,) in left]
        if dry_run:
            return dict.fromkeys(ordered[: self.num_available_slots])
        started: dict[tuple[str], orm.ProcessNode | None] = {}
        slots = self.num_available_slots
        for values in ordered:
            if len(started) >= slots:
                break
            candidate = self.candidates[values[0]]
            try:
                node = self.launcher.submit(self.get_inputs_and_processclass_from_extras(values))
            except ValueError as error:
                # Bad input stays bad: it is written down, and the others go on.
                self._refuse(candidate, " ".join(str(error).split()))
                continue
            enter(self.group, node, candidate)
            started[values] = node
            time.sleep(sleep)
        return started

    def _refuse(self, candidate: Candidate, message: str) -> None:
        refused = dict(self.group.base.extras.get(REFUSED, {}))
        refused[candidate.key] = {"facts": facts_of(candidate), "message": message}
        self.group.base.extras.set(REFUSED, refused)


def screen(
    spec: Spec,
    codes: Mapping[str, orm.AbstractCode] | None = None,
    max_active: int = 1,
    retry: bool = False,
    in_process: bool = False,
    caching: bool = True,
    say: Say = print,
) -> list[Entry]:
    """Run a campaign until every candidate has ended.

    Idempotent: what is in the database, in this campaign or another one, is taken over. Stopped in whatever way, the
    same call goes on: the database alone holds the state.

    Parameters
    ----------
    spec : Spec
    codes : dict, optional
        Name to code; default the spec's.
    max_active : int
        Candidates that run at one time.
    retry : bool
        Start those that failed or were refused once more.
    in_process : bool
        Run here, without a daemon.
    caching : bool
        Take over jobs with the same inputs that any earlier run finished.
    say : callable
        Takes the lines of progress.

    Returns
    -------
    list of Entry
        The candidates of this spec.

    Raises
    ------
    InputError
        If the spec does not fit, a code is missing, there is no daemon, or another controller runs this campaign.
    """
    if max_active < 1:
        raise InputError(f"max-active: {max_active} was given, expected 1 or more")
    candidates = {candidate.key: candidate for candidate in expand(spec)}
    found = dict(codes) if codes else load_codes(spec.codes or default_codes(spec))
    launcher: Launcher = InProcess() if in_process else Daemon()
    group = campaign_group(spec.name, create=True)
    with _only_controller(group) as still_here:
        if retry:
            set_aside(
                group, [e for e in entries(spec.name) if e.key in candidates and e.state in ("failed", "refused")]
            )
        adopted = adopt(group, candidates, found)
        if adopted:
            say(f"{adopted} candidates were computed or started before: taken over")
        controller = ScreeningController(
            group_label=group.label,
            max_concurrent=max_active,
            candidates=candidates,
            codes=found,
            options=spec.options,
            caching=caching,
            launcher=launcher,
        )
        _take_up(group, spec.name, launcher, say)
        _run(controller, spec.name, say, still_here)
    return [entry for entry in entries(spec.name) if entry.key in candidates]


def adopt(
    group: orm.Group, candidates: Mapping[str, Candidate], codes: Mapping[str, orm.AbstractCode] | None = None
) -> int:
    """Take processes of these candidates into the campaign that are not in it: of others, or cut off while starting.

    Parameters
    ----------
    group : Group
    candidates : dict
        By their keys.
    codes : dict, optional
        Name to code: what other programs, or these before they were replaced, have made stays where it is.

    Returns
    -------
    int
        How many.
    """
    known = {entry.key for entry in _processes(group)}
    query = orm.QueryBuilder().append(
        orm.WorkChainNode,
        filters={"description": {"like": f"{MARK} %"}, "extras": {"!has_key": REPLACED}},
        project=["description", "attributes.exit_status", "id"],
    )
    best: dict[str, tuple[bool, int]] = {}
    for description, status, pk in query.all():
        key = description.removeprefix(f"{MARK} ")
        if (
            key in candidates
            and key not in known
            and (codes is None or made_by(node_of(pk, orm.ProcessNode), codes.values()))
        ):
            # One that ended well, else the newest.
            best[key] = max(best.get(key, (False, 0)), (status == 0, pk))
    for key, (_, pk) in best.items():
        enter(group, node_of(pk, orm.ProcessNode), candidates[key])
    return len(best)


def enter(group: orm.Group, node: orm.ProcessNode, candidate: Candidate) -> None:
    """Write down which candidate a process is for, and put it into the campaign."""
    node.base.extras.set_many({KEY: candidate.key, FACTS: facts_of(candidate)})
    group.add_nodes([node])


def set_aside(group: orm.Group, failed: Iterable[Entry]) -> None:
    """Take processes out of the campaign, so that their candidates are started once more."""
    refused = dict(group.base.extras.get(REFUSED, {}))
    for entry in failed:
        refused.pop(entry.key, None)
        if entry.pk is not None:
            node = node_of(entry.pk, orm.ProcessNode)
            node.base.extras.set(REPLACED, True)
            group.remove_nodes([node])
    group.base.extras.set(REFUSED, refused)


# -- the loop ----------------------------------------------------------------------------------------------


def _run(controller: ScreeningController, name: str, say: Say, still_here: Callable[[], None]) -> None:
    """Start, wait and tell until nothing is left that will go on here."""
    began = spoken = time.monotonic()
    seen: dict[str, str] = {e.key: e.state for e in entries(name)}
    total = len(controller.candidates)
    while True:
        for node in controller.submit_new_batch().values():
            if node is not None:
                say(f"{_clock(began)} {node.label}: started, DmiWorkChain<{node.pk}>")
        now = [entry for entry in entries(name) if entry.key in controller.candidates]
        changed = [entry for entry in now if seen.get(entry.key, "running") != entry.state]
        seen |= {entry.key: entry.state for entry in now}
        for entry in changed:
            say(f"{_clock(began)} {entry.label}: {_outcome(entry)}")
        if changed or time.monotonic() - spoken > REMINDER:
            spoken = time.monotonic()
            say(f"{_clock(began)} {progress(now, total)}")
        running = [entry for entry in now if entry.state == "running"]
        mine = [entry for entry in running if controller.launcher.runs(orm.load_node(entry.pk))]
        if not mine and (running or len(now) == total):
            break
        still_here()
        controller.launcher.wait(POLL)
    say(f"{_clock(began)} {progress(now, total)}")
    if running:
        say(f"{len(running)} belong to the daemon: start it (`verdi daemon start`), then run again without --run")


def progress(now: Iterable[Entry], total: int) -> str:
    """Such as '12 of 40 candidates: 10 finished, 1 failed, 1 running'."""
    states = [entry.state for entry in now]
    counts = [f"{states.count(s)} {s}" for s in ("finished", "failed", "refused", "running") if s in states]
    return f"{len(states)} of {total} candidates: {', '.join(counts) or 'none started'}"


def _outcome(entry: Entry) -> str:
    if entry.state == "finished":
        values = orm.load_node(entry.pk).outputs.output_parameters["values"]
        key = in_order(list(values))[0]
        unit = units_of(values[key])[0]
        return f"{symbol_of(key)} = {with_error(values[key][unit], values[key][f'{unit}_error'])} {unit_words(unit)}"
    exit_ = f", exit {entry.exit_status}" if entry.exit_status is not None else ""
    return f"{entry.state}{exit_}: {entry.message}"


def _take_up(group: orm.Group, name: str, launcher: Launcher, say: Say) -> None:
    """Processes that a `--run` left behind when it was stopped go on; those that cannot are started anew."""
    for entry in entries(name):
        if entry.state != "running" or entry.pk is None:
            continue
        node = node_of(entry.pk, orm.ProcessNode)
        runner = node.base.extras.get(IN_PROCESS, None)
        if runner is None or lives(runner):
            continue
        if launcher.take_up(node):
            say(f"{entry.label}: goes on, DmiWorkChain<{node.pk}>")
        else:
            say(f"{entry.label}: DmiWorkChain<{node.pk}> was cut off while it started; a new one takes its place")
            set_aside(group, [entry])


@contextmanager
def _only_controller(group: orm.Group) -> Iterator[Callable[[], None]]:
    """Refuse a second controller of one campaign; the value says that this one is still there."""
    other = group.base.extras.get(CONTROLLER, None)
    if other is not None:
        alive = lives(other)
        if alive or (alive is None and time.time() - other["seen"] < SILENT):
            raise InputError(
                f"campaign: {group.label} is being run by process {other['pid']} on {other['host']}; wait for it"
            )
    me = this_process()

    def still_here() -> None:
        group.base.extras.set(CONTROLLER, {**me, "seen": time.time()})

    still_here()
    try:
        yield still_here
    finally:
        group.base.extras.delete(CONTROLLER)


def _processes(group: orm.Group) -> list[Entry]:
    """Entries that have a process."""
    return [entry for entry in entries(group.label.removeprefix(PREFIX)) if entry.pk is not None]


def _clock(began: float) -> str:
    return f"[{time.monotonic() - began:5.0f} s]"
