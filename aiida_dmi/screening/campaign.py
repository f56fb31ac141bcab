"""A campaign in the database: one group, and extras on its processes. Nothing else knows how far it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.manage import get_manager

from aiida_dmi.engine.errors import InputError
from aiida_dmi.screening.candidates import Candidate

PREFIX = "dmi/screening/"
KEY = "dmi_candidate"
"""Extra of a process: the candidate's key."""
FACTS = "dmi_candidate_facts"
"""Extra of a process: its label and what the table shows of it."""
REPLACED = "dmi_candidate_replaced"
"""Extra of a process that failed or was cut off, and that another one stands in for."""
REFUSED = "refused"
"""Extra of the group: key to label and message of the candidates whose inputs could not be made."""

CONTROLLER = "controller"
"""Extra of the group: which interpreter runs it."""

ENDED = ("finished", "excepted", "killed")


@dataclass(frozen=True)
class Entry:
    """A candidate's process, or what refused it.

    Attributes
    ----------
    key : str
    facts : dict
        `label`, and what the table shows of the candidate.
    state : {'running', 'finished', 'failed', 'refused'}
    message : str
        Why it failed or was refused.
    pk, uuid, exit_status
        Of the DmiWorkChain; None where there is none.
    """

    key: str
    facts: dict[str, Any] = field(default_factory=dict)
    state: str = "running"
    message: str = ""
    pk: int | None = None
    uuid: str | None = None
    exit_status: int | None = None

    @property
    def label(self) -> str:
        """Of the candidate."""
        return str(self.facts.get("label", self.key))


def campaign_group(name: str, create: bool = False) -> orm.Group:
    """The group of a campaign.

    Raises
    ------
    InputError
        If there is no such campaign.
    """
    label = f"{PREFIX}{name}"
    if create:
        return orm.Group.collection.get_or_create(label)[0]
    try:
        return orm.Group.collection.get(label=label)
    except NotExistent as error:
        known = orm.QueryBuilder().append(orm.Group, filters={"label": {"like": f"{PREFIX}%"}}, project="label")
        names = ", ".join(label.removeprefix(PREFIX) for label in known.all(flat=True)) or "none"
        raise InputError(f"campaign: {name!r} was given, this profile has {names}") from error


def facts_of(candidate: Candidate) -> dict[str, Any]:
    """What is written beside the process."""
    return {"label": candidate.label, **candidate.facts, "protocol": candidate.protocol}


def entries(name: str) -> list[Entry]:
    """Every candidate of a campaign that was started or refused, in the order of starting."""
    group = campaign_group(name)
    query = orm.QueryBuilder().append(orm.Group, filters={"id": group.pk}, tag="campaign")
    attributes = ("process_state", "exit_status", "exit_message", "exception")
    projected = [
        "ctime",
        "id",
        "uuid",
        f"extras.{KEY}",
        f"extras.{FACTS}",
        *(f"attributes.{name}" for name in attributes),
    ]
    query.append(orm.ProcessNode, with_group="campaign", project=projected, tag="process")
    found = []
    # By time, not by number: an import gives other numbers. The number settles what two processes of one time are.
    rows = sorted(plain_rows(query), key=lambda row: row[:2])
    for _, pk, uuid, key, facts, state, status, message, exception in rows:
        ended_well = state == "finished" and status == 0
        outcome = "running" if state not in ENDED else "finished" if ended_well else "failed"
        why = message or " ".join(str(exception or "").split()) or (state if outcome == "failed" else "")
        found.append(Entry(key, facts or {}, outcome, why, pk, uuid, status))
    started = {entry.key for entry in found}
    refused = group.base.extras.get(REFUSED, {})
    found += [
        Entry(key, entry["facts"], "refused", entry["message"]) for key, entry in refused.items() if key not in started
    ]
    return found


def plain_rows(query: orm.QueryBuilder) -> Iterable[list[Any]]:
    """Rows of a query that projects no nodes, straight from the storage.

    `QueryBuilder.all` looks for nodes in every nested value of every row: half of the time of a table of thousands.
    """
    rows: Iterable[list[Any]] = get_manager().get_profile_storage().query().iterall(query.as_dict(), None)
    return rows
