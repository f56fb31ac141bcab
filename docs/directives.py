"""What the API pages are made of: every module of a package, the ports of a process, formulas in docstrings."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

NOT_OURS = ("metadata", "monitors", "handler_overrides", "on_unhandled_failure", "pause_on_max_iterations")
"""Ports that AiiDA gives every process, or every one that restarts."""
AIIDA_OWN = 200
"""Exit codes below are AiiDA's, the same for every process."""


class Modules(SphinxDirective):
    """`.. modules:: aiida_dmi.engine`: every public module of a package, with its public members.

    A module that is added is documented; nothing has to be written down twice. With `:without: build` a subpackage
    is left to another place.
    """

    required_arguments = 1
    option_spec = {"without": str}  # noqa: RUF012 docutils' way

    def run(self) -> list[nodes.Node]:
        """One autodoc directive a module."""
        name = self.arguments[0]
        package = import_module(name)
        left_out = f"{name}.{self.options['without']}." if "without" in self.options else None
        lines = []
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            skipped = left_out is not None and f"{found.name}.".startswith(left_out)
            if found.ispkg or skipped or found.name.rpartition(".")[2].startswith("_"):
                continue
            lines += [f".. rubric:: {found.name.removeprefix('aiida_dmi.')}", ""]
            # What matplotlib writes into every subclass of a figure is not ours.
            lines += [f".. automodule:: {found.name}", "   :members:", "   :exclude-members: set", ""]
        return parsed(self, lines)


class Ports(SphinxDirective):
    """`.. ports:: aiida_dmi.workflows.dmi.DmiWorkChain`: inputs, outputs and exit codes as tables.

    Namespaces of other plugins' processes are one row: their own documentation says what is in them.
    """

    required_arguments = 1
    deepest = 2

    def run(self) -> list[nodes.Node]:
        """Three tables."""
        module, _, name = self.arguments[0].rpartition(".")
        spec = getattr(import_module(module), name).spec()
        lines = table("Inputs", ("port", "type", "what"), self.rows(spec.inputs))
        lines += table("Outputs", ("port", "type", "what"), self.rows(spec.outputs))
        own = ((code.status, name, escaped(code.message)) for name, code in spec.exit_codes.items())
        lines += table("Exit codes", ("", "name", "message"), (row for row in sorted(own) if row[0] >= AIIDA_OWN))
        return parsed(self, lines)

    def rows(self, namespace: Any, path: str = "", depth: int = 1) -> Iterator[tuple[str, str, str]]:
        """Ports by path, those that must be given in bold."""
        for name, port in namespace.items():
            if name in NOT_OURS:
                continue
            where = f"{path}{name}"
            text = " ".join(str(port.help or "").split())
            if hasattr(port, "items") and len(port) and depth < self.deepest:
                yield from self.rows(port, f"{where}.", depth + 1)
                continue
            kind = "namespace" if hasattr(port, "items") else kinds(port.valid_type)
            needed = port.required and not (hasattr(port, "has_default") and port.has_default())
            yield (f"**{where}**" if needed else where), kind, escaped(text)


def kinds(types: Any) -> str:
    """Names of the types that a port takes."""
    given = types if isinstance(types, tuple) else (types,)
    return ", ".join(kind.__name__ for kind in given if kind is not None and kind is not type(None))


def table(title: str, headings: tuple[str, ...], rows: Iterator[tuple[Any, ...]]) -> list[str]:
    """A list-table in reStructuredText; nothing where there are no rows."""
    lines = [f".. rubric:: {title}", "", ".. list-table::", "   :header-rows: 1", ""]
    content = [headings, *rows]
    for row in content:
        for number, cell in enumerate(row):
            lines.append(f"   {'* -' if number == 0 else '  -'} {cell}")
    return [*lines, ""] if len(content) > 1 else []


def parsed(directive: SphinxDirective, lines: list[str]) -> list[nodes.Node]:
    """Nodes of lines of reStructuredText."""
    box = nodes.container()
    directive.state.nested_parse(StringList(lines, source=directive.arguments[0]), 0, box)
    return box.children


CODE = re.compile(r"(`[^`]*`)")
MARKUP = re.compile(r"(?<!\\)[|*]")


def escaped(line: str) -> str:
    """|k + G> and meV*Angstrom are formulas, not markup; what stands in `code` stays."""
    parts = CODE.split(line)
    parts[::2] = [MARKUP.sub(lambda match: f"\\{match[0]}", part) for part in parts[::2]]
    return "".join(parts)


def plain_formulas(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Docstrings hold physics in plain text."""
    lines[:] = [escaped(line) for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """The docstrings are changed before napoleon reads them, at the usual priority."""
    app.add_directive("modules", Modules)
    app.add_directive("ports", Ports)
    app.connect("autodoc-process-docstring", plain_formulas, priority=400)
    return {"parallel_read_safe": True}
