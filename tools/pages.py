"""Generated pages about the names of Pigsty, and about who reaches which port."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools import markdown  # isort: skip - finds the library

from infra_formula.firewall import arguments as firewall_arguments
from infra_formula.parameters import site

# -- docs/pigsty-names.md --------------------------------------------------------------------------

_NAMES = """\
<!-- Written by `make generate` from infra/pigsty.yaml; change that. -->
# Pigsty's names and ours

For operators of a Pigsty site: what [the conversion of an inventory](pigsty-inventory.md) does with
variables that have another name, another default or no equivalent here. Variables of the same name
are in [parameters.md](parameters.md), with "Pigsty" in the column *since*.
"""


def pigsty_names(schema: dict[str, dict[str, Any]], table: dict[str, Any]) -> str:
    """Return the page about what has another name, another default or no equivalent here."""
    known = {name for section in schema.values() for name in section}
    renamed = [[f"`{n}`", f"`{r['to']}`", r.get("note", "")] for n, r in table["renamed"].items()]
    registers: dict[str, list[str]] = {}
    for name, module in table["registers"].items():
        registers.setdefault(module, []).append(f"`{name}`")
    without = [[f"`{n}`", why] for n, why in table["without"].items()]
    modules: dict[str, list[str]] = {}
    for prefix, module in table["modules"].items():
        modules.setdefault(module, []).append(f"`{prefix}*`")
    others = {name: row for name, row in table["defaults"].items() if name in known}
    defaults = [[f"`{n}`", f"`{markdown.flow(r['pigsty'])}`", r["note"]] for n, r in others.items()]
    return "\n".join(
        [
            _NAMES,
            "## Another name\n",
            markdown.table(["in Pigsty", "here", ""], renamed),
            "## Another default\n",
            markdown.table(["parameter", "in Pigsty", "here"], defaults),
            "## Converted to scrape targets and DNS names\n",
            markdown.table(
                ["module", "variables"], [[m, ", ".join(n)] for m, n in registers.items()]
            ),
            "## Without an equivalent\n",
            markdown.table(["variable", "why"], without),
            "## Modules of Pigsty\n",
            "Other variables belong to the module of Pigsty with their prefix. Those of INFRA and\n"
            "NODE have no equivalent here.\n",
            markdown.table(["module", "names"], [[m, ", ".join(p)] for m, p in modules.items()]),
        ]
    )


# -- docs/security.md: who reaches what ------------------------------------------------------------

_BEGIN = "<!-- Written by `make generate` from infra/components.yaml; change that. -->"
_END = "<!-- End of what is written by `make generate`. -->"
_CALLERS = {
    "all": "everybody",
    "site": "`node_firewall_intranet`",
    "peers": "the other INFRA nodes",
    "infra": "the INFRA nodes",
    "cluster": "the INFRA nodes and `vmcluster_hosts`",
}
_ALONE = {
    "peers": "127.0.0.1",
    "all": "all addresses",
    "site": "all addresses",
    "infra": "all addresses",
    "cluster": "all addresses",
}


def security(schema: dict[str, dict[str, Any]], page: str) -> str:
    """Return a page with a new table of who reaches which port.

    schema
        As ``parameters.read`` returns it, for the ports.
    page
        The current page; the table is between two comments.

    Raises ValueError if the page has no such comments.
    """
    before, begin, rest = page.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"docs/security.md: expected {_BEGIN} and {_END}")
    head = [
        "who reaches it",
        "service (its name in `infra_firewall_allow`)",
        "port",
        "on",
        "alone it listens on",
    ]
    return f"{before}{begin}\n\n{markdown.table(head, reached(schema))}\n{end}{after}"


def place(row: Mapping[str, Any]) -> str:
    """Say where a component runs, by ``role`` and ``members`` of its row."""
    if "members" in row:
        return f"`{row['members']}`"
    return "every minion" if row["role"] == "every" else "INFRA nodes"


def reached(schema: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Return a row for each port: who reaches it, service, port, where, where it listens alone."""
    defaults = {
        name: rule["default"] for section in schema.values() for name, rule in section.items()
    }
    rows = [
        {
            "service": name,
            "title": row["title"],
            "port": row["port"],
            "reached_by": row.get("reached_by", "peers"),
            "role": component["role"],
            **({"members": component["members"]} if "members" in component else {}),
        }
        for name, row, component in site.daemon_rows()
    ]
    rows += firewall_arguments.declared()
    order = list(_CALLERS)
    rows.sort(key=lambda row: order.index(row["reached_by"]))
    out = []
    for row in rows:
        number = row["port"] if isinstance(row["port"], int) else defaults[row["port"]]
        ports = ", ".join(f"{number}/{kind}" for kind in row.get("protocols", ["tcp"]))
        ports += "" if isinstance(row["port"], int) else f" (`{row['port']}`)"
        if number is None:
            ports = f"none (`{row['port']}`)"
        alone = "off" if row.get("when") in ("clustered", "set") else _ALONE[row["reached_by"]]
        where = place(row)
        who = _CALLERS[row["reached_by"]]
        out.append([who, f"{row['title']} (`{row['service']}`)", ports, where, alone])
    return out
