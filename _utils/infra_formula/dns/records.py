"""DNS records: lines of hosts(5) in files below ``/etc/hosts.d``, one file per registrant.

``default`` holds ``dns_records``; the other files are named after the minion that registered them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from infra_formula import punycode

ROOT = "/etc/hosts.d"
HEAD = "# Managed by Salt (infra formula). Changes here are overwritten.\n"
PRIVATE_TOP_LEVEL = (
    *("pigsty", "corp", "home", "internal", "intranet", "lan", "local", "private", "test"),
)
"""Single labels that no registry sells."""
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)


class Record(TypedDict):
    """One address and its names."""

    address: str
    names: list[str]


def parse(lines: Any, admin_ip: str, path: str = "dns_records") -> tuple[list[Record], list[str]]:
    """Parse records in the syntax of hosts(5).

    lines
        A list of lines ``address name [name …]``; ``${admin_ip}`` is replaced, ``#`` begins a
        comment, an empty line is skipped.
    admin_ip
        Address that replaces ``${admin_ip}``.
    path
        Key path of the list, for the messages.

    Returns the valid records and one message per invalid line.
    """
    if not isinstance(lines, list):
        return [], [f"{path}: expected a list of lines, got {lines!r}"]
    records: list[Record] = []
    errors: list[str] = []
    seen: dict[tuple[str, int], tuple[str, int]] = {}
    for index, line in enumerate(lines):
        here = f"{path}[{index}]"
        if not isinstance(line, str):
            errors.append(f"{here}: expected a line like '10.10.10.10 i.pigsty', got {line!r}")
            continue
        problem, record = _parse_line(line, admin_ip)
        if record is not None:
            problem = _contradiction(record, seen, index, path)
        if problem:
            errors.append(f"{here}: {problem}")
        elif record is not None:
            records.append(record)
    return records, errors


def _parse_line(line: str, admin_ip: str) -> tuple[str | None, Record | None]:
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]", line):
        return "expected one line without control characters", None
    words = line.replace("${admin_ip}", admin_ip).split("#", 1)[0].split()
    if not words:
        return None, None
    address = normalize_address(words[0])
    if address is None:
        return f"expected an address first, got {words[0]!r}", None
    if len(words) == 1:
        return f"expected a name after {words[0]}", None
    for name in words[1:]:
        problem = name_problem(name)
        if problem:
            return problem, None
    return None, {"address": address, "names": [w.lower().rstrip(".") for w in words[1:]]}


def _contradiction(
    record: Record, seen: dict[tuple[str, int], tuple[str, int]], index: int, path: str
) -> str | None:
    version = ipaddress.ip_address(record["address"]).version
    for name in record["names"]:
        address, first = seen.setdefault((name, version), (record["address"], index))
        if address != record["address"]:
            return f"{name!r} is {record['address']} here and {address} in {path}[{first}]"
    return None


def normalize_address(text: Any) -> str | None:
    """An address in its canonical form; None for what no record may hold."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if not isinstance(text, str) or "%" in text:
        return None
    return None if address.is_unspecified or address.is_multicast else str(address)


def name_problem(name: Any) -> str | None:
    """Why a record may not hold this name; None if it may."""
    if not isinstance(name, str) or not name.isascii():
        form = punycode.ascii_form(name) if isinstance(name, str) else None
        return f"expected a name in ASCII{f', {form}' if form else ''}, got {name!r}"
    bare = name.rstrip(".") if not name.endswith("..") else ""
    if name.startswith("*."):
        return f"{name!r} is a wildcard; put it into dns_wildcards"
    if not 1 <= len(bare) <= 253 or not all(_LABEL.fullmatch(part) for part in bare.split(".")):
        return f"expected a name of letters, digits, hyphens and dots, got {name!r}"
    if re.fullmatch(r"[0-9.]+", bare):
        return f"expected a name, got the address or number {name!r}"
    return None


def render(records: Iterable[Record]) -> str:
    """Render records to a file of hosts(5)."""
    return HEAD + "".join(f"{r['address']} {' '.join(r['names'])}\n" for r in records)


def pairs(text: str) -> set[tuple[str, str]]:
    """The (name, address) pairs in a file of hosts(5); invalid lines are skipped."""
    result: set[tuple[str, str]] = set()
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        address = normalize_address(words[0]) if words else None
        if address is not None:
            result.update((name.lower(), address) for name in words[1:])
    return result


def pairs_of_file(name: str) -> set[tuple[str, str]]:
    """:func:`pairs` of the file of one registrant; empty if there is none."""
    return pairs(text_of_file(name))


def text_of_file(name: str) -> str:
    """The file of one registrant; empty if there is none."""
    try:
        return Path(ROOT, name).read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, IsADirectoryError):
        return ""


def registrants() -> list[str]:
    """Names of the files of records."""
    root = Path(ROOT)
    paths = root.iterdir() if root.is_dir() else ()
    return sorted(p.name for p in paths if p.is_file() and not p.name.startswith("."))


def served(registrant: str | None = None) -> dict[str, dict[str, list[str]]]:
    """Records in the files of this minion's name server.

    registrant
        Only those of this one: ``default`` (dns_records) or a minion id.

    Returns registrant → address → names.
    """
    out: dict[str, dict[str, list[str]]] = {}
    for name in registrants():
        if registrant in (None, name):
            out[name] = {}
            for host, address in sorted(pairs_of_file(name)):
                out[name].setdefault(address, []).append(host)
    return out
