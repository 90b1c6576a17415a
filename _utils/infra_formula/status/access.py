"""Who reaches the ports of this minion directly: its sockets, and the active rules."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from infra_formula import paths
from infra_formula.errors import CommandFailed
from infra_formula.firewall import admission
from infra_formula.minion import Minion
from infra_formula.status import sockets, tables

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_SAMPLES = 250  # addresses of a network that are tried


def access(minion: Minion) -> dict[str, dict[str, Any]]:
    """Report who reaches each port; see :func:`infra_status.access`.

    Sets the return code of the call if somebody reaches a port without being entitled to.

    Raises CommandFailed if the formula was never applied here, or the rules cannot be read.
    """
    data = _entitlements()
    listening = sockets.by_port()
    firewall, admits = admission.current()
    rows: dict[str, dict[str, Any]] = {}
    for row in data["rows"]:
        senders = callers(row["sources"], data["nodes"], data["site"])
        for port in row["ports"]:
            addresses = listening.get(port, [])
            if not addresses:
                continue
            number, _, protocol = port.partition("/")
            reached = _reached_by(senders, addresses, _for_port(admits, int(number), protocol))
            head = {
                "service": row["service"],
                "listens": addresses,
                "entitled": row["reached_by"],
            }
            rows[port] = {**head, **reached, "by": firewall}
    if any(row["beyond"] for row in rows.values()):
        minion.context["retcode"] = 1
    return rows


def _for_port(
    admits: Callable[[str, int, str], bool | None], port: int, protocol: str
) -> Callable[[str], bool | None]:
    return lambda sender: admits(sender, port, protocol)


def _entitlements() -> dict[str, Any]:
    path = paths.STATE_DIR / "reach.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return {key: list(data[key]) for key in ("rows", "nodes", "site")}
    except FileNotFoundError:
        raise CommandFailed(f"{path} is missing; it is written by `state.apply infra`") from None
    except (ValueError, KeyError, TypeError) as err:
        raise CommandFailed(f"{path}: {err}; apply infra anew") from err


def callers(
    sources: Sequence[str] | None, nodes: Iterable[str], site: Iterable[str]
) -> dict[str, tuple[str, bool]]:
    """Choose one sender of each kind for the rules to be tried with.

    sources
        Addresses and networks that are entitled; None for every machine.
    nodes
        Addresses of the INFRA nodes.
    site
        Networks of the site.

    Returns name → address, and whether it is entitled. The address of a network lies in none of the
    smaller networks.
    """
    networks: dict[str, Network] = {}
    for word in [*nodes, *(sources or []), *site]:
        network = ipaddress.ip_network(word, strict=False)
        single = network.prefixlen == network.max_prefixlen
        networks[str(network.network_address) if single else str(network)] = network
    addresses: dict[str, Address] = {}
    for name, network in networks.items():
        smaller = [n for n in networks.values() if n != network and _is_within(n, network)]
        if (address := _address_outside(network, smaller)) is not None:
            addresses[name] = address
    for name, everything in (("any machine", "0.0.0.0/0"), ("any machine (IPv6)", "2000::/3")):
        network = ipaddress.ip_network(everything)
        address = _address_outside(network, list(networks.values()), skip_first=True)
        if address is not None:
            addresses[name] = address
    entitled = [ipaddress.ip_network(source, strict=False) for source in sources or []]
    return {
        name: (str(address), sources is None or any(address in network for network in entitled))
        for name, address in addresses.items()
    }


def _is_within(one: Network, other: Network) -> bool:
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.subnet_of(other)
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return one.subnet_of(other)
    return False


def _address_outside(
    network: Network, others: Sequence[Network], skip_first: bool = False
) -> Address | None:
    """An address of a network that is in none of the others; None if none was found."""
    size = network.num_addresses
    step = max(1, size // (_SAMPLES + 1))
    start = 9 * step if skip_first else 0
    for number in range(min(_SAMPLES, size)):
        # The first address of a network is no machine's.
        address = network.network_address + min(start + number * step + 1, size - 1)
        if not any(address in other for other in others if other.version == address.version):
            return address
    return None


def _reached_by(
    senders: Mapping[str, tuple[str, bool]],
    addresses: Iterable[str],
    admits: Callable[[str], bool | None],
) -> dict[str, list[str]]:
    reached, beyond, unknown = [], [], []
    public = [address for address in addresses if not _is_loopback(address)]
    for name, (sender, entitled) in senders.items():
        if not any(_is_reachable(address, sender) for address in public):
            continue
        admitted = admits(sender)
        if admitted is None:
            unknown.append(name)
        elif admitted:
            reached.append(name)
            beyond += [] if entitled else [name]
    return {"reached_by": reached or ["this machine"], "beyond": beyond, "unknown": unknown}


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address in ("::1", "localhost")


def _is_reachable(address: str, sender: str) -> bool:
    """Whether a socket bound to an address accepts the address family of a sender."""
    return address in ("*", "::") or (":" in address) == (":" in sender)


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out what :func:`access` returned."""
    lines = [["port", "service", "listens", "for", "reached by", "decided by"]]
    for port, row in found.items():
        reached = [
            f"{who} (NOT ENTITLED)" if who in row["beyond"] else who for who in row["reached_by"]
        ]
        reached += [f"{who}?" for who in row["unknown"]]
        listens = " ".join(row["listens"])
        cells = [port, row["service"], listens, row["entitled"], ", ".join(reached), row["by"]]
        lines.append(cells)
    return tables.aligned(lines)
