"""Private members of other packages are used in one module alone."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HERE = "aiida_dmi.aiida_private"
NAMED_TUPLES = {"_replace", "_asdict", "_fields", "_make"}
"""Public, as Python's documentation says: the underscore keeps them apart from the names of fields."""
DOCUMENTED = {"_process_class"}
"""What AiiDA's documentation tells a BaseRestartWorkChain to set."""


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in (ROOT / "aiida_dmi").rglob("*.py")}
TREES = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in MODULES.items()}


def is_private(name):
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def attributes(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_private(node.attr)]


def of_itself(node):
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def defined_in_body(body):
    """Functions and variables of a module or a class."""
    names = set()
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names


def classes(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


def members(definition):
    """What a class defines: in its body, and by assigning to self."""
    assigned = {node.attr for node in attributes(definition) if of_itself(node) and isinstance(node.ctx, ast.Store)}
    return defined_in_body(definition.body) | assigned


def foreign_attributes(tree):
    """Private attributes of other objects that no class of the same module defines."""
    own = NAMED_TUPLES.union(*map(members, classes(tree)))
    return [node for node in attributes(tree) if not of_itself(node) and node.attr not in own]


def foreign_imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module != "__future__" and not node.level:
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [name for alias in node.names for name in alias.name.split(".")]
        else:
            continue
        if any(map(is_private, names)):
            yield node


def inherited(module, definition):
    """Private members that a class has from classes of other packages and redefines or uses."""
    kind = getattr(importlib.import_module(module), definition.name, None)
    if not inspect.isclass(kind):
        return set()
    bases = [base for base in kind.__mro__ if base is not kind]
    ours = [base for base in kind.__mro__ if base.__module__ in TREES]
    own = set()
    for base in ours:
        own.update(*(members(found) for found in classes(TREES[base.__module__]) if found.name == base.__name__))
    theirs = set().union(*(vars(base) for base in bases if base not in ours and base is not object))
    redefined = {name for name in defined_in_body(definition.body) if is_private(name) and name in theirs}
    used = {node.attr for node in attributes(definition) if of_itself(node) and node.attr not in own | NAMED_TUPLES}
    return (redefined | used) - DOCUMENTED


@pytest.mark.parametrize("module", sorted(MODULES))
def test_private_members_of_others(module):
    tree = TREES[module]
    found = [f"line {node.lineno}: {ast.unparse(node)}" for node in [*foreign_attributes(tree), *foreign_imports(tree)]]
    # The engine knows nothing of AiiDA, whose classes are the ones to inherit from.
    if not module.startswith("aiida_dmi.engine"):
        found += [f"class {one.name}: {name}" for one in classes(tree) for name in inherited(module, one)]
    assert (found == []) == (module != HERE), found


def test_what_is_found():
    """The rules themselves, on what they are there to find."""
    tree = ast.parse(
        "from plumpy._x import y\nimport aiida._z\nfrom a import _b\n"
        "builder._inputs(prune=True)\nMixin._key\nsuper()._setup()\nself._own\nx._replace(a=1)\nx.__class__\n"
        "class A:\n    def _mine(self): ...\n    def f(self, other): return other._mine()\n"
    )
    found = {ast.unparse(node) for node in foreign_attributes(tree)}
    assert found == {"builder._inputs", "Mixin._key", "super()._setup"}
    assert len(list(foreign_imports(tree))) == 3
