"""Whether and when a job takes over the result of an earlier one: the same in the daemon as in a run of one's own.

AiiDA's caching is a setting of an interpreter or of a profile; here it is an input of the workchain, which every job
below it obeys wherever it is started. A job of another package's plugin is told apart by its program (`identity`), and
takes the layout of an equal one that is finished: pw.x finds the same density, to rounding, on any number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiida import orm
from aiida.common import AttributeDict
from aiida.common.hashing import make_hash
from aiida.common.links import LinkType
from aiida.engine import CalcJob, Process, WorkChain
from aiida.manage.caching import disable_caching, enable_caching, get_use_cache

from aiida_dmi.aiida_private import HASH
from aiida_dmi.aiida_types import Spec
from aiida_dmi.calculations.identity import LAYOUT, IdentifiedCalculation, program_identity

WALLTIME = "max_wallclock_seconds"
NOT_COMPARED = (*LAYOUT, WALLTIME, "queue_name", "account", "qos", "priority", "max_memory_kb")
"""Options that do not tell two results apart."""
POOLS = "parallelization"
PARAMETERS = "parameters"
PROGRAM = "# program"
"""Begins the line of a job script that says which program it starts."""


class ReusingWorkChain(WorkChain):
    """Its jobs, and those of the workchains that it starts, are reused as its input `caching` says."""

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define the port."""
        super().define(spec)
        spec.input(
            "caching",
            valid_type=bool,
            required=False,
            is_metadata=True,
            help="Whether jobs may be taken from earlier runs (AiiDA's caching), here and in every workchain below, in "
            "the daemon too. Default: as the caller's, and of the first one as AiiDA is configured.",
        )

    def submit(self, process: Any, inputs: dict[str, Any] | None = None, **kwargs: Any) -> orm.ProcessNode:
        """Submit a process; arguments as AiiDA's."""
        if not (isinstance(process, type) and issubclass(process, CalcJob)):
            return super().submit(process, inputs, **kwargs)
        given = AttributeDict({**(inputs or {}), **kwargs})
        with caching(process, caching_asked(self.node)):
            if not issubclass(process, IdentifiedCalculation):
                _name_program(given)
                if get_use_cache(identifier=process.build_process_type()):
                    self._take_layout(process, given)
            return super().submit(process, given)

    def _take_layout(self, process: type[CalcJob], inputs: AttributeDict) -> None:
        """Where an equal job has another layout, take that: AiiDA finds the job then."""
        filled = process.spec().inputs.pre_process(inputs)
        found = list(equal_jobs(process, filled))
        if not found or any(_has_layout(job, filled) for job in found):
            return
        job = found[0]
        # What a workchain was given may not be changed where it stands.
        taken = {name: job.get_option(name) for name in (*LAYOUT, WALLTIME)}
        options = {**inputs.metadata.options, **{name: value for name, value in taken.items() if value is not None}}
        inputs.metadata = AttributeDict({**inputs.metadata, "options": AttributeDict(options)})
        for name in (POOLS, PARAMETERS):
            if name in inputs:
                inputs[name] = job.inputs[name]
        self.report(f"{process.__name__}: {job.pk} is the same with another layout, and is taken")


@contextmanager
def caching(process: type[Process], asked: bool | None) -> Iterator[None]:
    """AiiDA's caching on or off for one process; None leaves it as it is."""
    # AiiDA's contexts do not nest: leaving this one would end one of the caller's.
    if asked is None or get_use_cache(identifier=process.build_process_type()) == asked:
        yield
        return
    with enable_caching() if asked else disable_caching():
        yield


def caching_asked(node: orm.ProcessNode | None) -> bool | None:
    """What the nearest of a workchain and its callers says on caching; None where none says anything."""
    while node is not None:
        asked = (node.get_metadata_inputs() or {}).get("caching")
        if asked is not None:
            return bool(asked)
        node = node.caller
    return None


def made_by(node: orm.ProcessNode, codes: Iterable[orm.AbstractCode]) -> bool:
    """Whether every job of a process ran by what these codes are now.

    Parameters
    ----------
    node : ProcessNode
    codes : iterable of AbstractCode
    """
    now = {code.uuid: program_identity(code) for code in codes}
    jobs = [job for job in node.called_descendants if isinstance(job, orm.CalcJobNode)]
    return all(job.inputs.code.uuid in now and program_of(job) == now[job.inputs.code.uuid] for job in jobs)


def program_of(job: orm.CalcJobNode) -> str | None:
    """The program that a job ran, as `program_identity` found it then; None where that is not known."""
    own = job.base.attributes.get(CalcJob.KEY_CACHE_VERSION, {}).get("program")
    lines = (job.get_option("prepend_text") or "").splitlines()
    named = [line.removeprefix(f"{PROGRAM} ") for line in lines if line.startswith(PROGRAM)]
    return own or next(iter(named), None)


def _name_program(inputs: AttributeDict) -> None:
    """Let the job script, and so the hash, name the program behind the code's path."""
    program = program_identity(inputs.code) if "code" in inputs else None
    if program is None:
        return
    metadata = AttributeDict(inputs.get("metadata", {}))
    options = AttributeDict(metadata.get("options", {}))
    others = [line for line in options.get("prepend_text", "").splitlines() if not line.startswith(PROGRAM)]
    options.prepend_text = "\n".join([f"{PROGRAM} {program}", *others])
    metadata.options = options
    inputs.metadata = metadata


def equal_jobs(process: type[CalcJob], inputs: Mapping[str, Any]) -> Iterator[orm.CalcJobNode]:
    """Finished jobs that may be reused and differ at most in their layout from one that is to start.

    Parameters
    ----------
    process : class
        Of the CalcJob.
    inputs : mapping
        Its inputs, defaults among them.

    Yields
    ------
    CalcJobNode
        The newest first.
    """
    ours, options = input_hashes(inputs), inputs["metadata"]["options"]
    query = orm.QueryBuilder().append(
        orm.CalcJobNode,
        filters={"process_type": process.build_process_type(), "attributes.exit_status": 0},
        tag="job",
        project="*",
    )
    for label, digest in ours.items():
        # The parameters carry pw.x's own time limit, which does not tell results apart.
        if label != PARAMETERS and "__" not in label:
            edge: dict[str, Any] = {"edge_filters": {"label": label}, "with_outgoing": "job"}
            query.append(orm.Data, filters={f"extras.{HASH}": digest}, **edge)
    query.order_by({"job": {"id": "desc"}})
    for (job,) in query.distinct().iterall():
        links = job.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all()
        if (
            job.base.caching.is_valid_cache
            and job.base.attributes.get(process.KEY_CACHE_VERSION, {}).get("calc_job") == process.CACHE_VERSION
            and input_hashes({link.link_label: link.node for link in links}) == ours
            and all(
                _plain(options.get(name)) == _plain(job.get_option(name))
                for name in process.spec_options
                if name not in NOT_COMPARED
            )
        ):
            yield job


def _has_layout(job: orm.CalcJobNode, inputs: Mapping[str, Any]) -> bool:
    """Whether a job ran as one that is equal to it is to run."""
    options = inputs["metadata"]["options"]
    asked = [_hash("", inputs[name]) for name in (POOLS, PARAMETERS) if name in inputs]
    had = [_hash("", job.inputs[name]) for name in (POOLS, PARAMETERS) if name in inputs and name in job.inputs]
    return asked == had and all(_plain(options.get(name)) == _plain(job.get_option(name)) for name in LAYOUT)


def input_hashes(inputs: Mapping[str, Any]) -> dict[str, str]:
    """What tells inputs apart, by the labels of their links, without what does not tell results apart.

    Parameters
    ----------
    inputs : mapping
        Nested as the ports are, or by the labels.
    """
    return {label: _hash(label, node) for label, node in _flat(inputs).items() if _last(label) != POOLS}


def _last(label: str) -> str:
    """The port's own name."""
    return label.rpartition("__")[2]


def _flat(inputs: Mapping[str, Any], path: str = "") -> dict[str, orm.Node]:
    """The nodes among inputs by the labels of their links."""
    flat: dict[str, orm.Node] = {}
    for key, value in inputs.items():
        if isinstance(value, orm.Node):
            flat[path + key] = value
        elif isinstance(value, Mapping) and key != "metadata":
            flat |= _flat(value, f"{path}{key}__")
    return flat


def _hash(label: str, node: orm.Node) -> str:
    if _last(label) == PARAMETERS and isinstance(node, orm.Dict):
        content = {name: dict(value) if isinstance(value, dict) else value for name, value in node.get_dict().items()}
        for name, value in content.items():
            if name.upper() == "CONTROL":
                value.pop("max_seconds", None)
        return make_hash(content)
    # A node need not be stored for that; AiiDA's own `compute_hash` asks for it.
    return make_hash(node.base.caching.get_objects_to_hash())


def _plain(value: Any) -> Any:
    """As the database gives it back; an option that is not given is as good as an empty one."""
    return list(value) if isinstance(value, tuple) else value or None
