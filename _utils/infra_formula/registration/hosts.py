"""The parameter ``infra_hosts`` as a whole: which INFRA nodes a site has."""

from __future__ import annotations

import ipaddress
from typing import Any

from infra_formula.registration import canonical
from infra_formula.registration.canonical import host_address


def hosts_problems(hosts: Any, admin_ip: str) -> list[str]:
    """Validate ``infra_hosts`` beyond its types; values of a wrong type are skipped.

    admin_ip
        Address of a single INFRA node that has only its minion id.

    Returns one message per error, each beginning with the key path.
    """
    nodes = hosts.items() if isinstance(hosts, dict) else ()
    known = {key: host for key, host in nodes if isinstance(host, dict)}
    if not known:
        return [
            "infra_hosts: expected at least one INFRA node, like {10.10.10.10: {infra_seq: 1}}; "
            "is the pillar assigned to this minion?"
        ]
    errors = []
    owners: dict[str, str] = {}
    for key, host in known.items():
        path = f"infra_hosts[{key!r}]"
        is_address = address_or_none(key) is not None
        if is_address and host.get("ip") not in (None, key):
            errors.append(f"{path}.ip: expected {key}, got {host.get('ip')!r}")
        if not is_address and "ip" not in host and len(known) > 1:
            errors.append(
                f"{path}.ip: missing; expected the address of a node whose key is a minion id"
            )
            continue
        ip = str(host.get("ip") or (key if is_address else admin_ip))
        if address_or_none(ip) is not None and host_address(ip) is None:
            errors.append(f"{path}: expected the address of a machine, got {ip}")
        first = owners.setdefault(str(canonical.address(ip) or ip), str(key))
        if first != str(key):
            errors.append(f"{path}: {ip} is the address of {first} too")
    return errors


def hosts_warnings(parameters: dict[str, Any]) -> list[str]:
    """What about ``infra_hosts`` deserves attention.

    parameters
        The dictionary below ``infra:``.
    """
    hosts = parameters.get("infra_hosts")
    if parameters.get("ca_crt") or parameters.get("ca_fingerprint"):
        return []
    return [
        f"infra_hosts[{key!r}]: any minion can claim an address, so a new client trusts no CA that"
        " comes from it; use the minion id as key and the address as `ip`, or set ca_fingerprint"
        " (docs/fleet.md)"
        for key in (hosts if isinstance(hosts, dict) else ())
        if address_or_none(key) is not None
    ]


def address_or_none(text: Any) -> str | None:
    """The value if it is an IP address, else None."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return None
    return text if isinstance(text, str) else None
