"""Which DNS names minions may register: those below the site's domains."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from infra_formula.dns import records as dns_records
from infra_formula.registration import canonical

_NEVER = ("localhost", "localdomain", "broadcasthost", "wpad", "isatap", "salt")
"""First or last labels: programs look these names up by themselves, and believe what they find."""

_PUBLIC_SECOND = (
    *("ac", "co", "com", "edu", "gob", "gov", "gouv", "gen", "go", "id", "info", "ltd", "me"),
    *("mil", "ne", "net", "nhs", "nom", "or", "org", "plc", "sch", "web"),
)
"""Second levels below which countries sell names, as in ``co.uk``."""


def site_domains(names: Iterable[str]) -> list[str]:
    """Domains of the portal's own names, as ``pigsty`` of ``i.pigsty``.

    Where others can have a name in the domain above one, as in ``example.com``, it is its own.
    """
    domains: dict[str, None] = {}
    for served in map(canonical.name, names):
        bare = served.removeprefix("*.")
        above = bare.partition(".")[2]
        domains[bare if is_public(above) else above] = None
    return [domain for domain in domains if domain]


def is_public(domain: str) -> bool:
    """Whether others than the site can have names below a domain, or it is no domain at all."""
    labels = domain.split(".")
    if len(labels) == 1:
        return domain not in dns_records.PRIVATE_TOP_LEVEL
    return len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _PUBLIC_SECOND


def problem(
    name: str, minion_id: str, assigned: Iterable[str], domains: Iterable[str]
) -> str | None:
    """Why a minion may not register a name; None if it may.

    assigned
        Names that the pillar gives to that minion.
    domains
        ``register_domains``: a domain, below which names lie, or a name with ``*`` for any
        characters but a dot.
    """
    if name in assigned:
        return None
    labels = name.split(".")
    if labels[0] in _NEVER or labels[-1] in _NEVER:
        return "is a name that programs look up by themselves"
    if name == canonical.name(minion_id) or any(_covers(domain, name) for domain in domains):
        return None
    return "is not below a domain of the site (register_domains)"


def _covers(domain: str, name: str) -> bool:
    if "*" in domain:
        pattern = "[^.]*".join(re.escape(part) for part in canonical.name(domain).split("*"))
        return re.fullmatch(pattern, name) is not None
    return name.endswith("." + canonical.name(domain))


def problems(domains: Any) -> list[str]:
    """Validate ``register_domains``; returns one message per error, beginning with the key path."""
    return [
        f"register_domains[{index}]: expected a domain like corp.example, or a name with * like "
        f"pg-*, got {domain!r}"
        for index, domain in enumerate(domains if isinstance(domains, list) else ())
        if not isinstance(domain, str)
        or not domain.strip("*.")
        or dns_records.name_problem(domain.replace("*", "x")) is not None
    ]
