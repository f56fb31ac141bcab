"""Imports point one way: the order of the layers stands in docs/architecture.md, every import is held against it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "aiida_dmi"


def layers():
    """Room -> its place in the list."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^## Layers\n.*?```text\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    return {room: place for place, line in enumerate(block.splitlines()) for room in line.split()}


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}
LAYERS = layers()


def room(module):
    """The longest name of the list that a module lies in; None for the package itself (its version)."""
    parts = module.split(".")[1:]
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((name for name in names if name in LAYERS), ".".join(parts[:1]) or None)


def imports(module):
    """Every module of the package that a module imports, at its head, inside functions or for type checkers."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            names = [f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names]
        found |= {name for name in names if name in MODULES and name != module}
    return found


IMPORTS = {module: imports(module) for module in MODULES}


def test_every_room_is_listed():
    rooms = {room(module) for module in MODULES} - {None}
    assert rooms == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_to_earlier_layers(layer):
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if room(module) == layer and room(other) not in (None, layer) and LAYERS[room(other)] > LAYERS[layer]
    ]
    assert not wrong


def test_rooms_of_one_line_know_nothing_of_each_other():
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        for other in others
        if None not in (room(module), room(other))
        and room(module) != room(other)
        and LAYERS[room(module)] == LAYERS[room(other)]
    ]
    assert not wrong


def test_no_circle():
    """Of modules, wherever their imports stand: what can be taken away, one by one, leaves nothing."""
    left = {module: set(others) for module, others in IMPORTS.items()}
    while free := [module for module, others in left.items() if not others & set(left)]:
        for module in free:
            del left[module]
    # What only hangs on a circle is none itself.
    while idle := [m for m in left if not any(m in others for n, others in left.items() if n != m)]:
        for module in idle:
            del left[module]
    assert not left


def test_no_program_is_imported_by_parsers_and_data():
    for module, others in IMPORTS.items():
        if room(module) in ("data", "parsers", "calculations"):
            assert not {other for other in others if room(other) in ("engine.run", "cli")}, module
