"""WorkChain `dmi.screening`: the candidates of a spec inside one provenance tree."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.links import LinkType
from aiida.engine import ExitCode, append_, calcfunction

from aiida_dmi.aiida_types import Spec, exit_code, while_
from aiida_dmi.data.response import DmiData
from aiida_dmi.screening.candidates import Candidate, expand
from aiida_dmi.screening.inputs import candidate_builder
from aiida_dmi.screening.spec import parse_spec
from aiida_dmi.workflows.codes import CODES
from aiida_dmi.workflows.reuse import ReusingWorkChain

MOST = 1000
"""Candidates that one workchain takes; `aiida-dmi screen` has no limit."""


class DmiScreeningWorkChain(ReusingWorkChain):
    """The films of a declarative spec, each by a `DmiWorkChain`; one that fails does not stop the others.

    For a bounded set whose one node is to hold everything. For hundreds of films that grow, fail and are tried again
    use `aiida-dmi screen`, which has the same spec and keeps a group instead of a parent process.
    """

    @classmethod
    def define(cls, spec: Spec) -> None:
        """Define ports, outline and exit codes."""
        super().define(spec)
        spec.input(
            "spec",
            valid_type=orm.Dict,
            validator=cls.validate_spec,
            help="systems, layers, dopings, masks, directions, shifts, protocol, overrides: docs/how-to/screen.md. "
            "`codes` of the spec is not used.",
        )
        spec.input_namespace("codes", help="As for the DmiWorkChain.", required=True)
        for name in CODES:
            spec.input(f"codes.{name}", valid_type=orm.AbstractCode, required=False)
        spec.input(
            "max_active",
            valid_type=orm.Int,
            default=lambda: orm.Int(10),
            validator=lambda node, _: (
                None if node.value >= 1 else f"max_active: {node.value} given, expected 1 or more"
            ),
            help="Candidates that run at one time.",
        )
        spec.outline(
            cls.setup,
            while_(cls.candidates_left)(cls.run_batch, cls.inspect_batch),
            cls.results,
        )
        spec.output_namespace("responses", valid_type=DmiData, dynamic=True, help="By the candidate's number, c000.")
        spec.output("table", valid_type=orm.Dict, help="A row a candidate: film, headline values, or why it failed.")
        spec.exit_code(400, "ERROR_ALL_FAILED", message="none of {count} candidates gave a result; see the table")

    @staticmethod
    def validate_spec(node: orm.Dict, _: Any) -> str | None:
        """The spec's own check, and the films'."""
        try:
            count = len(expand(parse_spec({"name": "workchain", **node.get_dict()})))
        except ValueError as error:
            return f"spec: {error}"
        return None if count <= MOST else f"spec: {count} candidates, at most {MOST} here; use `aiida-dmi screen`"

    def setup(self) -> None:
        """Expand the spec."""
        spec = parse_spec({"name": "workchain", **self.inputs.spec.get_dict()})
        self.ctx.options = spec.options
        self.ctx.next, self.ctx.refused = 0, {}
        self.ctx.count = len(self._candidates())

    def candidates_left(self) -> bool:
        """Whether there is another one to start."""
        return bool(self.ctx.next < self.ctx.count)

    def run_batch(self) -> None:
        """Start the next candidates, as many as may run at one time."""
        candidates = self._candidates()
        for number in range(self.ctx.next, min(self.ctx.next + self.inputs.max_active.value, self.ctx.count)):
            candidate = candidates[number]
            try:
                builder = candidate_builder(candidate, dict(self.inputs.codes), self.ctx.options)
            except ValueError as error:
                self.ctx.refused[_name(number)] = " ".join(str(error).split())
                self.report(f"{candidate.label}: refused: {error}")
            else:
                builder["metadata"].call_link_label = _name(number)
                node = self.submit(builder)
                self.to_context(children=append_(node))
                self.report(f"{candidate.label}: DmiWorkChain<{node.pk}>")
            self.ctx.next = number + 1

    def inspect_batch(self) -> None:
        """Say what came of it."""
        failed = [node for node in self.ctx.get("children", []) if not node.is_finished_ok]
        self.report(f"{self.ctx.next} of {self.ctx.count} candidates done, {len(failed)} failed so far")

    def results(self) -> ExitCode | None:
        """One table of all."""
        summaries, described = {}, {}
        children = {_call_label(node): node for node in self.ctx.get("children", [])}
        responses = {}
        for number, candidate in enumerate(self._candidates()):
            name = _name(number)
            node = children.get(name)
            described[name] = {"label": candidate.label, **candidate.facts, "candidate": candidate.key}
            if node is None:
                described[name] |= {"state": "refused", "message": self.ctx.refused.get(name, "not started")}
                continue
            state = "finished" if node.is_finished_ok else "failed"
            described[name] |= {"state": state, "message": node.exit_message or "", "workchain": node.uuid}
            if "output_parameters" in node.outputs:
                summaries[name] = node.outputs.output_parameters
                responses[name] = node.outputs.response
        self.out("table", screening_table(orm.Dict(described), **summaries))
        if not responses:
            return exit_code(self, "ERROR_ALL_FAILED", count=self.ctx.count)
        self.out("responses", responses)
        return None

    def _candidates(self) -> list[Candidate]:
        """The same list at every step: it follows from the spec."""
        return expand(parse_spec({"name": "workchain", **self.inputs.spec.get_dict()}))


@calcfunction
def screening_table(candidates: orm.Dict, **summaries: orm.Dict) -> orm.Dict:
    """Headline values of every candidate beside its description: `rows`, in the order of the spec.

    Parameters
    ----------
    candidates : Dict
        Number (c000) to label, film, state and message.
    **summaries : Dict
        Number to the DmiWorkChain's `output_parameters`.
    """
    rows = []
    for name, facts in sorted(candidates.get_dict().items()):
        row = dict(facts)
        if name in summaries:
            summary = summaries[name].get_dict()
            row["closure"] = summary["closure"]
            row |= {f"{key}_{unit}": value for key, units in summary["values"].items() for unit, value in units.items()}
        rows.append(row)
    return orm.Dict({"rows": rows})


def _name(number: int) -> str:
    return f"c{number:03d}"


def _call_label(node: orm.ProcessNode) -> str:
    """Under which name its caller started a process."""
    return str(node.base.links.get_incoming(link_type=LinkType.CALL_WORK).one().link_label)
