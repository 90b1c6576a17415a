"""What the library imports: no cycles, nothing of what lies above it, and little of Salt."""

import ast
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
LIBRARY = REPO / "_utils" / "infra_formula"
PURE = ("salt.exceptions", "salt.utils.dictupdate", "salt.utils.path", "salt.utils.yaml")
"""Parts of Salt without state, which any module of the library may import."""
SALT = {
    "infra_formula.registration.events": {"salt.client", "salt.key"},
    "infra_formula.orchestration.publishing": {"salt.client"},
    "infra_formula.redaction": {"salt.utils.context.func_globals_inject"},
    "infra_formula.orchestration.steps": {"salt.utils.minions"},
    "infra_formula.registration.spool": {"salt.key"},
}
"""Modules that work on a master, or that wrap what Salt calls, with what they need of it."""


def module_name(path):
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree):
    """Every dotted name that a module imports, at its top or in a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


IMPORTS = {
    module_name(path): set(imports(ast.parse(path.read_text(encoding="utf-8"))))
    for path in sorted(LIBRARY.rglob("*.py"))
}


def in_library(name):
    """The module of the library that a dotted name is, or is in."""
    while name and name not in IMPORTS:
        name = name.rpartition(".")[0]
    return name


GRAPH = {
    module: {in_library(name) for name in names if name.startswith("infra_formula.")} - {module}
    for module, names in IMPORTS.items()
}


def cycle(graph):
    """Modules that import each other, in a circle; None if there is no such circle."""
    done = set()

    def visit(module, trail):
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return None
        done.add(module)
        found = (visit(other, [*trail, module]) for other in sorted(graph[module]))
        return next(filter(None, found), None)

    return next(filter(None, (visit(module, []) for module in graph)), None)


def test_a_cycle_would_be_found():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": set()}) is None
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_there_is_no_cycle():
    assert len(GRAPH) > 40
    assert cycle(GRAPH) is None


def test_every_import_of_the_library_is_there():
    for module, names in IMPORTS.items():
        for name in names:
            if name.startswith("infra_formula."):
                assert in_library(name) != "infra_formula" or hasattr(
                    __import__("infra_formula"), name.rpartition(".")[2]
                ), (module, name)


def test_the_library_imports_nothing_of_what_lies_above_it():
    above = {"_modules", "_states", "_runners", "tools", "test", "support"}
    for module, names in IMPORTS.items():
        assert not above & {name.partition(".")[0] for name in names}, module


def test_the_library_reaches_salt_through_a_minion():
    for module, names in IMPORTS.items():
        salts = {name for name in names if name.partition(".")[0] == "salt"}
        others = {name for name in salts if not name.startswith(PURE)}
        assert others == SALT.get(module, set()), module


def test_no_dunder_of_salt_is_in_the_library():
    names = re.compile(r"__(salt|opts|grains|pillar|context|states|utils)__")
    for path in LIBRARY.rglob("*.py"):
        loaded = [
            node.id
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Name) and names.fullmatch(node.id)
        ]
        assert loaded == [], path


CALL = re.compile(r"""(?:__salt__|\bsalt|functions)\s*[\[(.]\s*["']infra_|\.call\(\s*["']infra_""")
"""A call of a module of ours by its name, in Python or in Jinja."""


@pytest.mark.parametrize(
    "text",
    ['__salt__["infra_dns.query"](x)', "salt['infra_x.y']()", 'minion.call("infra_x.y")'],
)
def test_a_call_by_name_would_be_found(text):
    assert CALL.search(text)


def test_no_module_of_ours_is_called_by_its_name():
    folders = ("_modules", "_states", "_runners", "_utils", "infra", "tools")
    files = [path for folder in folders for path in (REPO / folder).rglob("*") if path.is_file()]
    assert len(files) > 300
    found = []
    for path in files:
        if path.suffix in (".py", ".sls", ".jinja", ".j2", ".yaml", ""):
            text = path.read_text(encoding="utf-8")
            found += [f"{path.relative_to(REPO)}: {match[0]}" for match in CALL.finditer(text)]
    # What every SLS imports; on a minion that is known to have the module.
    assert found == ["infra/map.jinja: salt['infra_"]
