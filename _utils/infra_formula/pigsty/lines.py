"""Lines of hosts(5) of an inventory: what of each the formula takes."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from infra_formula.dns import records

PARAMETERS = ("dns_records", "node_etc_hosts", "node_default_etc_hosts")
"""Parameters that are lists of such lines."""


def good_lines(value: Any, admin_ip: str, path: str) -> tuple[Any, list[tuple[str, str]]]:
    """The lines without names that no record may hold, or that have another address already.

    value
        A list of lines; anything else is returned as it is.
    admin_ip
        Address that replaces ``${admin_ip}``.
    path
        Key path of the list.

    Returns the lines, None in place of one of which nothing is left; and key path and reason of
    what is left out.
    """
    if not isinstance(value, list):
        return value, []
    seen: dict[tuple[str, int], str] = {}
    out: list[Any] = []
    omitted: list[tuple[str, str]] = []
    for index, line in enumerate(value):
        here = f"{path}[{index}]"
        if not isinstance(line, str):
            out.append(None)
            omitted.append((here, "expected a line like '10.10.10.10 i.pigsty'"))
            continue
        text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", line).strip()
        plain, mark, comment = text.partition("#")
        words = plain.split()
        if not words:
            if text:
                out.append(text)
            else:
                out.append(None)
            continue
        address = records.normalize_address(words[0].replace("${admin_ip}", admin_ip))
        if address is None:
            out.append(None)
            omitted.append((here, "expected an address first"))
            continue
        names = []
        for name in words[1:]:
            problem = _problem(name.replace("${admin_ip}", admin_ip), address, seen)
            if problem:
                omitted.append((here, problem))
            else:
                names.append(name)
        if not names:
            out.append(None)
            if len(words) == 1:
                omitted.append((here, "expected a name after the address"))
        elif names == words[1:]:
            out.append(text)
        else:
            rest = f"  #{comment}" if mark else ""
            out.append(f"{words[0]} {' '.join(names)}{rest}")
    return out, omitted


def _problem(name: str, address: str, seen: dict[tuple[str, int], str]) -> str | None:
    problem = records.name_problem(name)
    if problem:
        return problem.split(", got ", 1)[0]
    key = (name.lower().rstrip("."), ipaddress.ip_address(address).version)
    other = seen.setdefault(key, address)
    return f"{name!r} is {other} in a line before it" if other != address else None
