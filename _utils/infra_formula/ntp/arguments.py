"""What the states of chrony are given."""

from __future__ import annotations

from typing import Any

from infra_formula.parameters.site import Site


def chrony(here: Site) -> dict[str, Any]:
    """Settings of chrony."""
    return {
        "infra": here.other_addresses,
        "servers": here["node_ntp_servers"],
        "admin_ip": here["admin_ip"],
        "serves": here.is_infra_node,
        "networks": here["ntp_networks"],
        "stratum": here["ntp_stratum"],
    }
