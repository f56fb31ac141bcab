"""From a number back to the slab: the chain that made it as a tree."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from aiida import orm
from aiida.common.links import LinkType
from aiida_pseudo.data.pseudo.upf import UpfData

from aiida_dmi.aiida_types import computer_of, pk_of
from aiida_dmi.data.model import WannierModelData
from aiida_dmi.data.response import DmiData
from aiida_dmi.engine.errors import InputError
from aiida_dmi.provenance.protocol import RECORDED, how_known, nearest_protocol
from aiida_dmi.provenance.queries import slab_of

MADE = (LinkType.CREATE,)
TAKEN = (LinkType.INPUT_CALC,)


@dataclass
class Branch:
    """A node of the tree: one line, and what it was made from."""

    text: str
    node: orm.Node
    children: list[Branch] = field(default_factory=list)

    def lines(self, prefix: str = "", last: bool = True, root: bool = True) -> list[str]:
        """The tree as text."""
        own = self.text if root else f"{prefix}{'└─ ' if last else '├─ '}{self.text}"
        inner = "" if root else prefix + ("   " if last else "│  ")
        lines = [own]
        for number, child in enumerate(self.children):
            lines += child.lines(inner, number == len(self.children) - 1, root=False)
        return lines


def trace(node: orm.Node) -> str:
    """How a result was made, back to the slab, as text.

    Parameters
    ----------
    node : Node
        DmiData, WannierModelData, the `output_parameters` of a run, or a workchain.

    Returns
    -------
    str
        The workflow with the inputs that differ from its protocol, then the tree: every process with program and
        version, when it began and how long it took, every data node that went in.

    Raises
    ------
    InputError
        If nothing of the node's making is known.
    """
    target = _result(node)
    if target.creator is None:
        raise InputError(
            f"trace: {type(target).__name__} {target.uuid} was not computed in this profile; nothing to trace"
        )
    lines = []
    for chain in _workchains(target):
        lines += _described(chain)
    slab = slab_of(target)
    if slab is not None:
        lines.append(f"slab: {_name(slab)} {slab.label or slab.get_formula()}, uuid {slab.uuid}")
    return "\n".join([*lines, "", *tree(target).lines()])


def tree(node: orm.Data) -> Branch:
    """The data provenance of a node, upwards; what stands in it already is not repeated."""
    return _branch("", node, set())


# -- lines -------------------------------------------------------------------------------------------------


def _branch(label: str, node: orm.Data, seen: set[int]) -> Branch:
    text = f"{label}: {_data(node)}" if label else _data(node)
    branch = Branch(text, node)
    creator = node.creator
    if creator is None:
        return branch
    if node.pk in seen:
        branch.text += " (see above)"
        return branch
    seen.add(pk_of(node))
    if creator.pk in seen:
        branch.children.append(Branch(f"{_name(creator)} (see above)", creator))
        return branch
    seen.add(creator.pk)
    process = Branch(_process(creator), creator)
    branch.children.append(process)
    links = creator.base.links.get_incoming(link_type=TAKEN).all()
    for link in sorted(links, key=lambda link: link.link_label):
        if not isinstance(link.node, orm.AbstractCode):
            process.children.append(_branch(link.link_label.replace("__", "."), link.node, seen))
    return branch


def _data(node: orm.Data) -> str:
    """One data node, with what tells it from others."""
    attributes = node.base.attributes
    if isinstance(node, DmiData):
        mesh = "x".join(map(str, attributes.get("mesh")))
        detail = f"mesh {mesh}, aiida-dmi {attributes.get('engine_version')}, uuid {node.uuid}"
    elif isinstance(node, WannierModelData):
        detail = f"{attributes.get('functions')} functions a spin, uuid {node.uuid}"
    elif isinstance(node, UpfData):
        detail = f"{node.filename}, md5 {node.md5}"
    elif isinstance(node, orm.StructureData):
        detail = f"{node.label or node.get_formula()}, uuid {node.uuid}"
    elif isinstance(node, orm.KpointsData):
        mesh = attributes.get("mesh", None)
        detail = "x".join(map(str, mesh)) if mesh else f"{len(node.get_kpoints())} points"
    elif isinstance(node, orm.RemoteData):
        detail = f"{computer_of(node).label}:{node.get_remote_path()}"
    elif isinstance(node, (orm.Float, orm.Int, orm.Str, orm.Bool)):
        detail = str(node.value)
    elif isinstance(node, orm.Dict):
        detail = _short(node.get_dict())
    else:
        detail = node.label
    return f"{_name(node)} {detail}".rstrip()


def _process(node: orm.ProcessNode) -> str:
    """One process: program, version, time."""
    parts = [_name(node)]
    if isinstance(node, orm.CalcJobNode):
        step = _pw_step(node)
        if step:
            parts.append(step)
        code = node.inputs.code
        parts.append(f"code {code.full_label}")
        image = getattr(code, "image_name", None)
        if image:
            parts.append(f"image {image}")
        version = _program_version(node)
        if version:
            parts.append(version)
    plugin = node.base.attributes.get("version", {}).get("plugin")
    if plugin:
        parts.append(f"plugin {plugin}")
    parts.append(f"{node.ctime:%Y-%m-%d %H:%M}")
    if node.base.caching.is_created_from_cache:
        parts.append(f"taken from {str(node.base.caching.get_cache_source())[:8]}")
    else:
        parts.append(f"{(node.mtime - node.ctime).total_seconds():.0f} s")
    return ", ".join(parts)


def _pw_step(node: orm.CalcJobNode) -> str:
    """What pw.x was asked for: scf, nscf, bands, relax; empty for other programs."""
    if node.process_label != "PwCalculation":
        return ""
    return str(node.inputs.parameters.get_dict().get("CONTROL", {}).get("calculation", "scf"))


def _program_version(node: orm.CalcJobNode) -> str:
    """What the program itself says that it is."""
    if "output_parameters" in node.outputs:
        values = node.outputs.output_parameters.get_dict()
        if "creator_version" in values:
            return f"{values.get('creator_name', 'program')} {values['creator_version']}"
    return ""


def _described(chain: orm.WorkChainNode) -> list[str]:
    """A workflow and what was asked of it beyond the protocol."""
    when = f"{chain.ctime:%Y-%m-%d %H:%M}"
    lines = [f"workflow: {_name(chain)} {chain.label}, {when}, exit {chain.exit_status}, uuid {chain.uuid}"]
    if chain.process_label == "DmiWorkChain":
        protocol, differences = nearest_protocol(chain)
        known = how_known(chain)
        note = "" if known == RECORDED else f" ({known})"
        lines.append(f"  protocol {protocol}{note}" + ("; inputs that differ:" if differences else ", unchanged"))
        lines += [
            f"    {key} = {_short(own)} (protocol: {_short(theirs)})" for key, (own, theirs) in differences.items()
        ]
    return lines


def _short(value: Any) -> str:
    text = "not set" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _workchains(node: orm.Data) -> list[orm.WorkChainNode]:
    """Workflows that returned a node, the outermost last."""
    chains = node.base.links.get_incoming(link_type=LinkType.RETURN).all_nodes()
    names = ("DmiWorkChain", "DmiScreeningWorkChain")
    wanted = [chain for chain in chains if isinstance(chain, orm.WorkChainNode) and chain.process_label in names]
    return sorted(wanted, key=pk_of, reverse=True)


def _result(node: orm.Node) -> orm.Data:
    """The node itself, or the result of a process."""
    if isinstance(node, orm.ProcessNode):
        for label in ("response", "model", "result"):
            if label in node.outputs:
                result: orm.Data = node.outputs[label]
                return result
        raise InputError(
            f"trace: {_name(node)} has no response or model (exit {node.exit_status}: {node.exit_message})"
        )
    return cast("orm.Data", node)  # what is no process is data


def _name(node: orm.Node) -> str:
    kind = node.process_label if isinstance(node, orm.ProcessNode) else type(node).__name__
    return f"{kind}<{node.pk}>"
