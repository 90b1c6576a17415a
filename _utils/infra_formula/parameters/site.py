"""The site as one minion has it: merged parameters, and what follows from them for every component.

Each component's ``arguments`` module makes of a :class:`Site` what its states are given. Pillar
validation, ``test=True``, the command line and an apply all go by the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

from infra_formula import addresses
from infra_formula.data import load
from infra_formula.parameters import cluster, merging
from infra_formula.registration import hosts


class InfraNode(TypedDict):
    """An INFRA node: key in ``infra_hosts``, address, number, and whether it is this minion."""

    key: str
    ip: str
    seq: int
    own: bool


@dataclass(frozen=True)
class Site:
    """A site, seen from one minion.

    parameters
        All parameters, merged for this minion; their types were checked.
    grains
        Facts of the minion.
    """

    parameters: Mapping[str, Any]
    grains: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Parameters that follow from others where nothing sets them."""
        values = self.parameters
        derived = cluster.derived(values, self.grains)
        if "vmagent_enabled" in values and values["vmagent_enabled"] is None:
            stores = values.get("vmetrics_remote_write") or values.get("vmcluster_hosts")
            derived["vmagent_enabled"] = bool(stores)
        if derived:
            object.__setattr__(self, "parameters", {**values, **derived})

    def __getitem__(self, parameter: str) -> Any:
        return self.parameters[parameter]

    @cached_property
    def os_family(self) -> str:
        """``Debian`` or ``RedHat``."""
        return merging.os_family(self.grains)

    @cached_property
    def infra_nodes(self) -> list[InfraNode]:
        """The INFRA nodes in the order in which they are queried: the one at ``admin_ip`` first."""
        known = merging.names_of_minion(self.grains)
        nodes = [
            InfraNode(
                key=key,
                ip=host.get("ip") or hosts.address_or_none(key) or self["admin_ip"],
                seq=host["infra_seq"],
                own=addresses.canonical(key) in known,
            )
            for key, host in self["infra_hosts"].items()
        ]
        return sorted(nodes, key=lambda node: (node["ip"] != self["admin_ip"], node["seq"]))

    @cached_property
    def this_node(self) -> InfraNode | None:
        """This minion, if it is an INFRA node."""
        return next((node for node in self.infra_nodes if node["own"]), None)

    @property
    def is_infra_node(self) -> bool:
        """Whether this minion is an INFRA node."""
        return self.this_node is not None

    @property
    def address(self) -> str:
        """Address of this INFRA node."""
        return self.this_node["ip"] if self.this_node else "127.0.0.1"

    @property
    def addresses(self) -> list[str]:
        """Addresses of the INFRA nodes."""
        return [node["ip"] for node in self.infra_nodes]

    @property
    def other_addresses(self) -> list[str]:
        """Addresses of the other INFRA nodes."""
        return [node["ip"] for node in self.infra_nodes if not node["own"]]

    @cached_property
    def enabled(self) -> dict[str, int | None]:
        """Components that are switched on → port of the web interface."""
        return {
            row["name"]: self[row["port"]] if "port" in row else None
            for row in components()
            if "switch" not in row or self[row["switch"]]
        }

    @property
    def tls(self) -> bool:
        """Whether the portal has HTTPS."""
        return bool(self["nginx_sslmode"] != "disable")

    @property
    def domain(self) -> str:
        """The portal's own name."""
        home = merging.mapping(self["infra_portal"].get("home"))
        return str(home.get("domain", "i.pigsty"))

    @property
    def portal_url(self) -> str:
        """URL of the portal, without a slash at its end."""
        scheme, port = ("https", "nginx_ssl_port") if self.tls else ("http", "nginx_port")
        suffix = "" if self[port] in (80, 443) else f":{self[port]}"
        return f"{scheme}://{self.domain}{suffix}"

    def of_packaging(self, value: Any) -> Any:
        """The part of a row's ``packages`` or ``program`` that holds here."""
        if isinstance(value, dict):
            value = value[self["infra_packaging"]]
        return value[self.os_family] if isinstance(value, dict) else value


def components() -> list[dict[str, Any]]:
    """The rows of ``infra/components.yaml``, in the order in which components are applied."""
    rows: list[dict[str, Any]] = load("components")
    return rows


def component(name: str) -> dict[str, Any]:
    """The row of one component."""
    return next(row for row in components() if row["name"] == name)


def daemon_rows() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Each daemon: its name, its row, and the row of its component."""
    for row in components():
        for name, daemon in row.get("daemons", {}).items():
            yield name, daemon, row
