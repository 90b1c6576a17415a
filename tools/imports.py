"""The library's packages and what each imports: a table in docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path

from tools import formula, markdown

LIBRARY = formula.ROOT / "_utils" / "infra_formula"
PAGE = formula.ROOT / "docs" / "architecture.md"
BEGIN = "<!-- Written by `make generate` from the imports of _utils/infra_formula. -->"
END = "<!-- End of what is written by `make generate`. -->"


def packages() -> dict[str, tuple[str, list[str], set[str]]]:
    """Name of each package → its docstring, its modules, and the packages that it imports."""
    found = {}
    for folder in sorted(path.parent for path in LIBRARY.glob("*/__init__.py")):
        about = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        files = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
        imported = {name for path in files for name in _imported(path)} - {folder.name}
        found[folder.name] = (about or "", [path.stem for path in files], imported)
    return {name: (about, modules, imported & set(found)) for name, (about, modules, imported)
            in found.items()}  # fmt: skip


def _imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {f"{node.module}.{alias.name}" for node in froms for alias in node.names}
    return {n.split(".")[1] for n in names if n.startswith("infra_formula.")}


def page(text: str) -> str:
    """Return the page with a new table between its two comments.

    Raises ValueError if the page has no such comments.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/architecture.md: expected {BEGIN} and {END}")
    rows = [
        [f"`{name}/`", about, ", ".join(modules), ", ".join(sorted(imported))]
        for name, (about, modules, imported) in packages().items()
    ]
    table = markdown.table(["package", "subject", "modules", "imports"], rows)
    return f"{before}{begin}\n\n{table}\n{end}{after}"
