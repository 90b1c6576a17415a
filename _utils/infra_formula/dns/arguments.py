"""What the states of the name server, and of this machine's resolver, are given."""

from __future__ import annotations

from typing import Any

from infra_formula.parameters.site import Site


def dnsmasq(here: Site) -> dict[str, Any]:
    """Settings of dnsmasq."""
    return {
        "port": here["dns_port"],
        "admin_ip": here["admin_ip"],
        "listen": here["dns_listen"] or list(dict.fromkeys(["127.0.0.1", here.address])),
        "wildcards": here["dns_wildcards"],
        "cnames": here["dns_cnames"],
        "options": here["dns_options"],
    }


def own_addresses(here: Site) -> list[str]:
    """Addresses that are no upstream of a name server here: this machine's, and INFRA nodes'."""
    grains = here.grains
    return [*grains.get("ipv4", []), *grains.get("ipv6", []), *here.addresses]


def resolver_servers(here: Site) -> list[str]:
    """Name servers of this machine: of the INFRA nodes; on one of them, its own comes first."""
    servers = here["node_dns_servers"]
    if servers is not None:
        return [server.replace("${admin_ip}", here["admin_ip"]) for server in servers]
    if not here["dns_enabled"] or here["dns_port"] != 53:
        return []
    return [here.address, *here.other_addresses] if here.is_infra_node else here.other_addresses
