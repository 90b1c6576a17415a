"""The hosts of an inventory: their variables, addresses, and which are INFRA nodes."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from infra_formula.errors import InvalidInput
from infra_formula.pigsty import variables as _variables
from infra_formula.pigsty.inventory import Inventory
from infra_formula.registration.canonical import host_address


class Hosts:
    """The hosts of an inventory.

    variables
        Host → name → the place that sets the variable.
    notes
        What :meth:`infra_nodes` changed.
    """

    def __init__(self, inventory: Inventory) -> None:
        self.variables = _variables.effective(inventory)
        self.groups = {name: _variables.members(inventory, name) for name in inventory["groups"]}
        self.notes: list[str] = []
        self.resolved: dict[tuple[str, str], tuple[Any, str | None]] = {}

    def value(self, host: str, name: str) -> tuple[Any, str | None]:
        """The value of a variable of a host; or None, and why it cannot be computed."""
        key = (host, name)
        if key not in self.resolved:
            variable = self.variables[host].get(name)
            raw = None if variable is None else variable["value"]
            self.resolved[key] = self.resolve(raw, host)
        return self.resolved[key]

    def resolve(self, raw: Any, host: str) -> tuple[Any, str | None]:
        """A value of the inventory, rendered for a host; or None, and why it cannot be computed."""
        return _variables.resolve(raw, host, self.variables[host], self.groups, self.variables)

    def address(self, host: str) -> str | None:
        """The address of a host: its name, as usual in Pigsty, or ``ansible_host``."""
        for candidate in (host, self.value(host, "ansible_host")[0]):
            if _is_ip(candidate):
                return str(candidate)
        return None

    def key(self, host: str) -> str:
        """Key of a host in the pillar: its address, or its name as a minion id."""
        return self.address(host) or host

    def infra_nodes(self) -> tuple[dict[str, int], str]:
        """Host → infra_seq, the lowest first; and why there is none, or empty.

        Raises InvalidInput with every error.
        """
        if "infra" not in self.groups:
            if any(self.variables.values()):
                return {}, "the inventory has no group infra; name the INFRA nodes"
            raise InvalidInput("the inventory: expected a group infra, with the INFRA nodes")
        if not self.groups["infra"]:
            raise InvalidInput("infra.hosts: expected at least one host")
        nodes: dict[str, int] = {}
        errors = []
        for host in self.groups["infra"]:
            where = f"infra.hosts[{host!r}]"
            seq, problem = self.value(host, "infra_seq")
            variable = self.variables[host].get("infra_seq")
            if variable is None:
                errors.append(f"{where}.infra_seq: missing; each INFRA node needs a number")
                continue
            place = f"line {variable['line']}: {where}.infra_seq"
            number = int(seq) if re.fullmatch("[0-9]{1,9}", str(seq)) else None
            if problem or number is None:
                errors.append(
                    f"{place}: expected a number of at least 0"
                    + (f" ({problem})" if problem else "")
                )
            else:
                twin = next((h for h, n in nodes.items() if n == number), None)
                if twin is not None:
                    taken = {str(self.value(h, "infra_seq")[0]) for h in self.groups["infra"]}
                    taken |= set(map(str, nodes.values()))
                    free = next(n for n in range(1, 2 * len(taken) + 2) if str(n) not in taken)
                    self.notes.append(
                        f"{place}: {number} is also the number of {twin}; {host} has {free} here"
                    )
                    number = free
                nodes[host] = number
            if self.address(host) is None:
                expected = "expected an address as its name, or in ansible_host"
                if ":" in host:
                    expected = "expected an IPv4 address, as Pigsty does"
                errors.append(f"{where}: {expected}")
        if errors:
            raise InvalidInput("\n".join(errors))
        for host in nodes:
            address = self.address(host)
            if host_address(address) is None:
                reason = f"{address} is the address of no machine; name the INFRA nodes"
                return {}, reason
        return dict(sorted(nodes.items(), key=lambda item: item[1])), ""


def _is_ip(value: Any) -> bool:
    try:
        return isinstance(value, str) and ipaddress.ip_address(value).version == 4
    except ValueError:
        return False
