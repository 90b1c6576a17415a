"""Who may reach which port, by the parameters. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any


def problems(parameters: Mapping[str, Any], services: Iterable[str]) -> list[str]:
    """What is wrong with ``infra_firewall_allow``; pure.

    parameters
        The dictionary below ``infra:`` in pillar; types were checked before.
    services
        Names that it may have.

    Returns one message per error, each beginning with the key path.
    """
    errors = []
    known = sorted(set(services))
    for service, networks in (parameters.get("infra_firewall_allow") or {}).items():
        path = f"infra_firewall_allow.{service}"
        if service not in known:
            errors.append(f"{path}: expected one of {', '.join(known)}, got {service!r}")
        for index, network in enumerate(networks):
            try:
                ipaddress.ip_network(network)
            except ValueError as err:
                errors.append(
                    f"{path}[{index}]: expected an address or a network like 10.0.0.0/8 ({err})"
                )
    return errors


def allow_rules(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Rules by which firewalld or ufw lets in those who are entitled; pure."""
    return sorted(
        {
            f"{port} from {source}"
            for row in rows
            for port in row["ports"]
            for source in row["opened"] or []
        }
    )


def confinable(
    rows: Iterable[Mapping[str, Any]], nodes: Iterable[str], site: Iterable[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows that the table of nftables confines, and why others are left open; pure.

    rows
        See the module's own description.
    nodes
        Addresses of the INFRA nodes.
    site
        ``node_firewall_intranet``.
    """
    networks = [ipaddress.ip_network(network) for network in site]
    outside = [n for n in nodes if not any(ipaddress.ip_address(n) in net for net in networks)]
    ours = [dict(row) for row in rows if row["ours"] and row["sources"] is not None]
    if not outside:
        return ours, []
    left = sorted({row["service"] for row in ours if row["reached_by"] == "site"})
    warning = (
        f"node_firewall_intranet: expected the networks of the site, but {', '.join(outside)} (an "
        f"INFRA node) is in none of them; {', '.join(left)} stay open to everybody until it is"
    )
    return [row for row in ours if row["reached_by"] != "site"], [warning] if left else []
