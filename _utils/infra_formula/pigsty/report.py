"""The report of a conversion, and the pillars as files."""

from __future__ import annotations

import re
from typing import Any, TypedDict

import yaml

KINDS = {
    "locked": "Locked: the apply refuses until you set the value by hand",
    "refused": "To be corrected by hand: this formula does not accept the value",
    "unresolved": "To be set by hand: only Ansible can compute the value",
    "encrypted": "To be set by hand: the value is encrypted",
    "partly": "Converted in part; the rest has to be set by hand",
    "taken": "Converted without a change",
    "renamed": "Converted to another name",
    "registered": "Converted to scrape targets and DNS names",
    "overridden": "Without effect: another place overrides it",
    "idle": "Without effect: only INFRA nodes read it, and it is set for none of them",
    "without": "Without an equivalent",
    "module": "Of another module of Pigsty",
    "unknown": "Unknown: no variable of Pigsty, as far as this formula knows",
}
"""What may become of a variable, in the order of the report."""
_HEAD = """\
#!yaml
# From {source}, by infra_pigsty.convert. {about}
"""
_ABOUT = {
    "infra": "For all minions; its secrets are in infra_secrets.",
    "infra_secrets": "Passwords of the inventory: assign it to INFRA nodes only.",
}
_WIDTH = 300  # characters of a note that stay on one line
_LINES = 8  # line numbers that are listed for one variable


class Row(TypedDict):
    """One place of the inventory that sets a variable.

    name, at, line
        The variable, its key path, and its line.
    file
        The file of ``group_vars`` or ``host_vars``; empty for the inventory.
    became
        A key of :data:`KINDS`.
    to
        Parameter that it became.
    note
        What else the reader has to know, one line for each fact.
    """

    name: str
    at: str
    line: int
    file: str
    became: str
    to: str | None
    note: str | None


class Closed(TypedDict):
    """Something that is closed until somebody opens it, and why."""

    path: str
    reason: str


class Report(TypedDict):
    """What became of each variable, notes, and defaults that differ from Pigsty's.

    closed
        What is closed, because the inventory does not say how to open it.
    release
        The release that the inventory was taken for, and why.
    """

    closed: list[Closed]
    release: str
    variables: list[Row]
    notes: list[str]
    defaults: list[dict[str, str]]


class _Dumper(yaml.SafeDumper):
    """YAML for people: texts as blocks, lists indented below their key, no aliases."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value.strip("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represent_text)


def pillar_file(pillar: dict[str, Any], source: str = "an inventory") -> str:
    """The text of a pillar file. It is not rendered with Jinja, so braces in it stay.

    pillar
        ``infra`` or ``infra_secrets``, with that key.
    source
        What it was converted from, for the comment at the top.
    """
    body = yaml.dump(
        pillar, Dumper=_Dumper, default_flow_style=False, sort_keys=False, allow_unicode=True,
        width=100,
    )  # fmt: skip
    name = re.sub(r"[^\w. -]", "?", source)
    about = " ".join(_ABOUT[key] for key in pillar)
    return _HEAD.format(source=name, about=about) + body


def text(report: Report) -> str:
    """A report for people."""
    lines = []
    if report["closed"]:
        lines.append("Closed, because the inventory does not say how to open it")
        lines += [f"  {row['path']}: {row['reason']}" for row in report["closed"]]
        lines.append("")
    lines += [f"Taken for an inventory of Pigsty {report['release']}", ""]
    for kind, title in KINDS.items():
        rows = [row for row in report["variables"] if row["became"] == kind]
        if not rows:
            continue
        lines.append(f"{title} ({len(rows)})")
        merged: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            name = f"{row['name']} -> {row['to']}" if kind == "renamed" else row["name"]
            merged.setdefault((name, row["note"] or ""), []).append(row)
        for (name, note), places in merged.items():
            where = list(dict.fromkeys(map(_place, places)))
            listed = ", ".join(where[:_LINES])
            listed += f" and {len(where) - _LINES} more" if len(where) > _LINES else ""
            head = f"  {name} (line{'s' if len(where) > 1 else ''} {listed})"
            parts = note.split("\n")
            if len(note) <= _WIDTH or len(parts) == 1:
                lines.append(f"{head}: {'; '.join(parts)}" if note else head)
            else:
                lines += [f"{head}:", *(f"    {part}" for part in parts)]
        lines.append("")
    defaults = [f"{row['name']}: {row['note']}" for row in report["defaults"]]
    for title, items in (
        ("Notes", report["notes"]),
        ("Not in the inventory, and the default differs from Pigsty's", defaults),
    ):
        if items:
            lines += [title, *(f"  {item}" for item in items), ""]
    return "\n".join(_one_line(line) for line in lines)


def _place(row: Row) -> str:
    return f"{row['line']} of {row['file']}" if row["file"] else str(row["line"])


def _one_line(line: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", "?", line)
