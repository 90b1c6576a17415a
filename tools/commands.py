"""docs/commands.md: every function that this formula adds to Salt's command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HEAD = """\
<!-- Written by `make generate` from _modules and _runners; change those. -->
# Commands

For operators. Every function that this formula adds to Salt's command line, and an example of each.
`salt '*' sys.doc infra_dns.query` shows the parameters, the result and the errors of one.
"""


@dataclass(frozen=True)
class Command:
    """A public function of a module.

    name
        As it is typed: ``infra_dns.query``.
    parameters
        Names of its parameters, with their annotations.
    doc
        Its docstring.
    """

    name: str
    parameters: dict[str, str]
    doc: str

    @property
    def summary(self) -> str:
        """First sentence of the docstring."""
        text = " ".join(self.doc.split("\n\n")[0].split())
        return re.sub(r":func:|`(?=`)", "", re.split(r"(?<=\.)\s", text)[0])

    @property
    def examples(self) -> list[str]:
        """Commands of its CLI Example that call it, directly or by an SLS of its name."""
        block = self.doc.partition(".. code-block:: bash")[2]
        lines = [line.strip() for line in block.splitlines() if line.startswith("    ")]
        return [line for line in lines if self.name.rpartition(".")[2] in line]

    @property
    def documented(self) -> set[str]:
        """Parameters that the docstring has an entry for."""
        entries = re.findall(r"(?m)^(\w+(?:, \w+)*)$\n    \S", self.doc)
        return {name for entry in entries for name in entry.split(", ")}


def modules(root: Path, folder: str) -> dict[str, tuple[str, list[Command]]]:
    """Name of each module → first sentence about it, and its commands."""
    found = {}
    for path in sorted((root / folder).glob("infra_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        commands = list(_commands(path.stem, tree))
        if commands:
            found[path.stem] = ((ast.get_docstring(tree) or "").split("\n\n")[0], commands)
    return found


def _commands(module: str, tree: ast.Module) -> Iterator[Command]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            arguments = [*node.args.args, *node.args.kwonlyargs]
            parameters = {
                a.arg: ast.unparse(a.annotation) if a.annotation else "" for a in arguments
            }
            # `list_` stands for `list`, by __func_alias__.
            name = f"{module}.{node.name.rstrip('_')}"
            yield Command(name, parameters, ast.get_docstring(node) or "")


def document(root: Path) -> str:
    """Return the page."""
    parts = [HEAD]
    for title, folder in (("On minions", "_modules"), ("On the master", "_runners")):
        parts.append(f"## {title}\n")
        for module, (about, commands) in modules(root, folder).items():
            parts.append(f"### {module}\n\n{re.sub('`(?=`)', '', ' '.join(about.split()))}\n")
            rows = ["| function | what it does | example |", "|---|---|---|"]
            for command in commands:
                example = command.examples[0] if command.examples else ""
                rows.append(f"| `{command.name}` | {command.summary} | `{example}` |")
            parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)
