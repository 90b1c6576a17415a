"""Whether a ruleset of nftables lets in a packet: its rules, evaluated. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_DEPTH = 16


def admits(
    rules: Iterable[Mapping[str, Any]],
    source: str,
    port: int,
    protocol: str = "tcp",
    begins: bool = True,
    interface: str = "",
) -> bool | None:
    """Whether a ruleset lets a packet to this machine in; pure.

    rules
        As :func:`nftables.ruleset` returns them.
    source
        Address that the packet comes from.
    port
        Port that it goes to.
    protocol
        ``tcp`` or ``udp``.
    begins
        It begins a connection; False: it belongs to one.
    interface
        Interface that it comes in by; empty: any but loopback.

    Returns None if that depends on what is unknown here, such as a match of iptables
    or the name of an interface.
    """
    known = _Ruleset(rules)
    packet = _Packet(ipaddress.ip_address(source), port, protocol, begins, interface)
    outcomes = {"accept"}
    for chain in known.entrances(packet.address.version):
        verdicts = known.walk(chain, packet)
        if "through" in verdicts:
            verdicts = (verdicts - {"through"}) | {str(known.chains[chain].get("policy", "accept"))}
        if verdicts == {"drop"}:
            return False
        outcomes |= verdicts
    return True if outcomes == {"accept"} else None


class _Packet:
    def __init__(
        self, address: Any, port: int, protocol: str, begins: bool, interface: str
    ) -> None:
        self.address, self.port, self.protocol = address, port, protocol
        self.begins, self.interface = begins, interface

    def value(self, left: Any) -> Any:
        """What an expression is of this packet: a value, a set of flags, _NONE or _UNKNOWN."""
        if not isinstance(left, Mapping) or len(left) != 1:
            return _UNKNOWN
        ((kind, what),) = left.items()
        if kind == "&" and isinstance(what, list) and len(what) == 2:
            flags = self.value(what[0])
            return flags & _words(what[1]) if isinstance(flags, set) else flags
        if not isinstance(what, Mapping):
            return _UNKNOWN
        if kind == "meta":
            return self._meta(what.get("key"))
        if kind == "payload" and "field" in what:
            return self._field(what.get("protocol"), what["field"])
        if kind == "ct" and what.get("key") == "state":
            return {"new" if self.begins else "established"}
        if kind == "ct" and what.get("key") == "status":
            return set()
        return _UNKNOWN

    def _meta(self, key: Any) -> Any:
        version = self.address.version
        known = {
            "l4proto": self.protocol,
            "nfproto": f"ipv{version}",
            "protocol": "ip" if version == 4 else "ip6",
        }
        if key in ("iif", "iifname"):
            return self.interface or _OUTSIDE
        return known.get(str(key), _UNKNOWN)

    def _field(self, protocol: Any, field: Any) -> Any:
        family = "ip" if self.address.version == 4 else "ip6"
        if protocol in ("ip", "ip6"):
            if protocol != family:
                return _NONE
            if field == "saddr":
                return self.address
            return self.protocol if field in ("protocol", "nexthdr") else _UNKNOWN
        if protocol in ("tcp", "udp", "th"):
            if protocol not in ("th", self.protocol):
                return _NONE
            if field == "dport":
                return self.port
            if field == "flags":
                return {"syn"} if self.begins else {"ack"}
        if protocol in ("icmp", "icmpv6", "sctp", "dccp", "arp", "ether", "vlan", "udplite"):
            return _UNKNOWN if protocol in ("ether", "vlan") else _NONE
        return _UNKNOWN


_NONE = object()
"""What an expression is of a packet that has no such part: nothing matches it."""

_UNKNOWN = object()
_OUTSIDE = object()
"""An interface that is not named, and is not loopback."""


class _Ruleset:
    def __init__(self, items: Iterable[Mapping[str, Any]]) -> None:
        self.chains: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        self.rules: dict[tuple[str, str, str], list[Sequence[Any]]] = {}
        self.sets: dict[tuple[str, str, str], Any] = {}
        for item in items:
            if "chain" in item:
                chain = item["chain"]
                self.chains[chain["family"], chain["table"], chain["name"]] = chain
            elif "rule" in item:
                rule = item["rule"]
                place = rule["family"], rule["table"], rule["chain"]
                self.rules.setdefault(place, []).append(rule.get("expr", []))
            elif "set" in item or "map" in item:
                named = item.get("set") or item["map"]
                place = named["family"], named["table"], named["name"]
                self.sets[place] = named.get("elem", [])

    def entrances(self, version: int) -> list[tuple[str, str, str]]:
        """Base chains that a packet to this machine goes through; one that drops it is enough."""
        family = "ip" if version == 4 else "ip6"
        return [
            place
            for place, chain in self.chains.items()
            if chain.get("hook") in ("prerouting", "input")
            and chain.get("type") == "filter"
            and place[0] in ("inet", family)
        ]

    def walk(self, place: tuple[str, str, str], packet: _Packet, depth: int = 0) -> set[str]:
        """What may become of a packet in a chain: ``accept``, ``drop``, ``through``."""
        if depth > _DEPTH:
            return {"accept", "drop", "through"}
        outcomes: set[str] = set()
        for expr in self.rules.get(place, []):
            fits, verdicts = self._rule(place, expr, packet)
            if fits is False or not verdicts:
                continue
            passes = fits is None
            for verdict, target in verdicts:
                if verdict in ("accept", "drop"):
                    outcomes.add(verdict)
                elif verdict == "return":
                    outcomes.add("through")
                elif verdict == "goto":
                    outcomes |= self.walk((*place[:2], target), packet, depth + 1)
                elif verdict == "jump":
                    inside = self.walk((*place[:2], target), packet, depth + 1)
                    outcomes |= inside - {"through"}
                    passes = passes or "through" in inside
                else:  # a verdict that is nothing to this packet, such as `continue`
                    passes = True
            if not passes:
                return outcomes
        return outcomes | {"through"}

    def _rule(
        self, place: tuple[str, str, str], expr: Sequence[Any], packet: _Packet
    ) -> tuple[bool | None, list[tuple[str, str]]]:
        """Whether a rule fits (None: perhaps), and the verdicts that it may come to."""
        fits: bool | None = True
        verdicts: list[tuple[str, str]] = []
        for statement in expr:
            if not isinstance(statement, Mapping) or len(statement) != 1:
                fits = None
                continue
            ((kind, what),) = statement.items()
            if kind in _WITH_DETAILS and not isinstance(what, Mapping):
                fits = None
            elif kind == "match":
                matches = self._match(place, what, packet)
                if matches is False:
                    return False, []
                fits = None if matches is None else fits
            elif kind in ("accept", "drop", "return", "continue"):
                verdicts.append((kind, ""))
            elif kind == "reject":
                verdicts.append(("drop", ""))
            elif kind in ("jump", "goto"):
                verdicts.append((kind, str(what.get("target"))))
            elif kind == "vmap":
                some, sure = self._vmap(place, what, packet)
                if sure and not some:
                    return False, []
                verdicts += some
                fits = fits if sure else None
            elif kind == "xt" and what.get("type") == "target":
                if what.get("name") not in _XT_HARMLESS:
                    return None, [("accept", ""), ("drop", "")]
            elif kind == "queue":
                verdicts += [("accept", ""), ("drop", "")]
            elif kind not in _HARMLESS:
                fits = None
        return fits, verdicts

    def _vmap(
        self, place: tuple[str, str, str], what: Any, packet: _Packet
    ) -> tuple[list[tuple[str, str]], bool]:
        data = what.get("data")
        if isinstance(data, str) and data.startswith("@"):
            data = {"set": self.sets.get((*place[:2], data[1:]), [])}
        elements: Any = data.get("set") if isinstance(data, Mapping) else None
        verdicts, sure = [], True
        for element in elements if isinstance(elements, list) else [elements]:
            try:
                key, verdict = element
                ((kind, target),) = verdict.items()
            except (TypeError, ValueError, AttributeError):
                return [("accept", ""), ("drop", "")], False
            matches = self._equal(place, packet.value(what.get("key")), key)
            if matches is False:
                continue
            name = target.get("target", "") if isinstance(target, Mapping) else ""
            verdicts.append(("drop" if kind == "reject" else kind, str(name)))
            if matches:
                return verdicts, sure
            sure = False
        return verdicts, sure

    def _match(self, place: tuple[str, str, str], what: Any, packet: _Packet) -> bool | None:
        value = packet.value(what.get("left"))
        if value is _NONE:
            return False
        op, right = what.get("op", "=="), what.get("right")
        if op in ("==", "in"):
            return self._equal(place, value, right, within=op == "in")
        if op == "!=":
            matches = self._equal(place, value, right)
            return None if matches is None else not matches
        if isinstance(value, int) and isinstance(right, int):
            compared = {"<": value < right, ">": value > right, "<=": value <= right}
            return compared.get(op, value >= right if op == ">=" else None)
        return None

    def _equal(
        self, place: tuple[str, str, str], value: Any, right: Any, within: bool = False
    ) -> bool | None:
        """Whether a value is what stands on the right: a word, a range, a set of these."""
        if value is _UNKNOWN or value is _NONE:
            return None if value is _UNKNOWN else False
        if isinstance(right, str) and right.startswith("@"):
            right = {"set": self.sets.get((*place[:2], right[1:]), [])}
        if isinstance(right, Mapping) and "set" in right:
            elements = right["set"] if isinstance(right["set"], list) else [right["set"]]
            if isinstance(value, set):
                return bool(value & {str(e) for e in elements if isinstance(e, str)})
            each = [self._equal(place, value, element) for element in elements]
            return True if True in each else None if None in each else False
        if isinstance(right, Mapping) and "elem" in right:
            inner = right["elem"]
            return (
                self._equal(place, value, inner.get("val")) if isinstance(inner, Mapping) else None
            )
        if isinstance(value, set):
            # `in` and a list of states ask for one of them; flags that are masked, for all.
            return bool(value & _words(right)) if within else value == _words(right)
        if value is _OUTSIDE:
            return False if right == "lo" else None
        return _equals_one(value, right)


_WITH_DETAILS = ("match", "jump", "goto", "vmap", "xt")
_HARMLESS = ("counter", "log", "comment", "notrack", "mangle", "ct helper", "set")
_XT_HARMLESS = ("LOG", "NFLOG", "MARK", "CONNMARK", "CT", "TRACE")
"""Targets of iptables that decide nothing."""


def _words(right: Any) -> set[str]:
    if isinstance(right, Mapping) and "|" in right:
        right = right["|"]
    return {str(word) for word in right} if isinstance(right, list) else {str(right)}


def _equals_one(value: Any, right: Any) -> bool | None:
    """Whether a value is one word, a prefix or a range."""
    try:
        if isinstance(right, Mapping) and "prefix" in right:
            prefix = right["prefix"]
            network = ipaddress.ip_network(f"{prefix['addr']}/{prefix['len']}", strict=False)
            return value in network
        if isinstance(right, Mapping) and "range" in right:
            low, high = right["range"]
            if isinstance(value, int):
                return int(low) <= value <= int(high)
            same = ipaddress.ip_address(low), ipaddress.ip_address(high)
            return bool(same[0] <= value <= same[1])
        if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
            return value == ipaddress.ip_address(right) if isinstance(right, str) else None
    except (ValueError, TypeError, KeyError):
        return None
    if isinstance(right, str | int):
        return bool(value == right)
    return None
