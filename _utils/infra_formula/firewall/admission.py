"""Who gets in: which firewall drops by default, and what the rules in force admit."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import salt.utils.path

from infra_formula.firewall import nftables, packets, ports

_ANYBODY = {4: "9.9.9.9", 6: "2620:fe::9"}
"""Public addresses, which a firewall that drops by default does not let in."""

_UNUSED = 30999  # a port that no rule opens
_LEGACY = "/proc/net/ip{}_tables_names"
_INTERFACES = "/proc/net/if_inet6"


def default_drop_firewall(nft: nftables.Reading) -> str | None:
    """The firewall of this machine, without the managed table, that drops what no rule allows.

    nft
        What nftables has loaded.

    Returns ``firewalld``, ``ufw``, ``nftables``, ``iptables``, or None where there is none, or
    where it lets in by default.
    """
    firewall = ports.active()
    if firewall == "firewalld":
        zone = ports.run_firewall("firewall-cmd", "--get-default-zone").strip()
        target = ports.run_firewall(
            "firewall-cmd", "--permanent", f"--zone={zone}", "--get-target"
        ).strip()
        return None if target == "ACCEPT" else firewall
    if firewall == "ufw":
        return firewall if ufw_rules(ports.run_firewall("ufw", "status", "verbose"))[0] else None
    versions = (4, 6) if _has_ipv6() else (4,)
    if all(_iptables_drops(version) for version in versions):
        return "iptables"
    if nft.fault:
        return None
    rules = nftables.other_tables(nft.rules)
    if all(_nftables_drops(rules, version) or _iptables_drops(version) for version in versions):
        return "nftables"
    return None


def _nftables_drops(rules: list[dict[str, Any]], version: int) -> bool:
    admitted = packets.admits(rules, _ANYBODY[version], _UNUSED)
    if admitted is not None:
        return not admitted
    # Rules of iptables that cannot be read from here: the policy is what they are exceptions of.
    families = ("inet", "ip" if version == 4 else "ip6")
    chains = [item["chain"] for item in rules if "chain" in item]
    return any(
        c.get("hook") == "input" and c.get("policy") == "drop" and c["family"] in families
        for c in chains
    )


def _has_ipv6() -> bool:
    try:
        lines = Path(_INTERFACES).read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return any(not line.endswith(" lo") for line in lines)


def _legacy_rules(version: int) -> list[str]:
    """Chain INPUT of the iptables that is not nftables, where the kernel has it loaded."""
    try:
        tables = Path(_LEGACY.format("" if version == 4 else "6")).read_text(encoding="ascii")
    except OSError:
        return []
    program = "iptables-legacy" if version == 4 else "ip6tables-legacy"
    if "filter" not in tables.split() or not salt.utils.path.which(program):
        return []
    return ports.run_firewall(program, "-S", "INPUT").splitlines()


def _iptables_drops(version: int) -> bool:
    return "-P INPUT DROP" in _legacy_rules(version)


def ufw_rules(status: str) -> tuple[bool, list[tuple[str, str, str]]]:
    """What ``ufw status verbose`` reports; pure.

    Returns whether it drops by default what comes in, and its rules in order, each where to, what
    is done (``ALLOW``, ``DENY``, ``REJECT``, ``LIMIT``) and from where.
    """
    default = re.search(r"^Default: (\w+) \(incoming\)", status, re.MULTILINE)
    lines = re.findall(
        r"^(\S.*?)\s+(ALLOW|DENY|REJECT|LIMIT)(?: IN)?\s{2,}(\S.*?)(?:\s+#.*)?$",
        status,
        re.MULTILINE,
    )
    return default is not None and default[1] != "allow", lines


def ufw_admits(status: str, source: str, port: int, protocol: str) -> bool | None:
    """Whether ufw lets in a packet; None where a rule cannot be read; pure.

    status
        What ``ufw status verbose`` prints.
    source, port, protocol
        Whence, and whereto.
    """
    drops, rules = ufw_rules(status)
    address = ipaddress.ip_address(source)
    sure = True
    for where, action, whence in rules:
        if ("(v6)" in where or "(v6)" in whence) != (address.version == 6) and "Anywhere" in whence:
            continue
        fits = _both(_ufw_port(where, port, protocol), _ufw_source(whence, address))
        if fits is None:
            sure = False
        elif fits:
            admitted = action in ("ALLOW", "LIMIT")
            return admitted if sure else None
    return not drops if sure else None


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def _ufw_port(where: str, port: int, protocol: str) -> bool | None:
    where = where.replace("(v6)", "").strip()
    if where == "Anywhere":
        return True
    match = re.fullmatch(r"([0-9]+(?::[0-9]+)?(?:,[0-9]+(?::[0-9]+)?)*)(?:/(tcp|udp))?", where)
    if match is None:
        return None
    parts = (part.partition(":") for part in match[1].split(","))
    among = any(int(low) <= port <= int(high or low) for low, _, high in parts)
    return among and match[2] in (None, protocol)


def _ufw_source(whence: str, address: Any) -> bool | None:
    whence = whence.replace("(v6)", "").strip()
    if whence == "Anywhere":
        return True
    try:
        return address in ipaddress.ip_network(whence, strict=False)
    except ValueError:
        return None


def current() -> tuple[str, Callable[[str, int, str], bool | None]]:
    """What decides who gets in, and a function of source, port and protocol.

    The function answers from the rules in force: True, False, or None if that is unknown.
    """
    firewall = ports.active()
    nft = nftables.Reading()
    rules = nft.rules
    status = ""
    if firewall == "ufw":
        status = ports.run_firewall("ufw", "status", "verbose")
        # Its rules are iptables', which its own words tell better.
        rules = [item for item in rules if not _is_of_iptables(item)]
    zone, services = "", {}
    if firewall == "firewalld" and nft.fault:
        # It speaks to the kernel itself; what it says of its zone is as near as one gets.
        zone = ports.run_firewall("firewall-cmd", "--list-all")
        names = (_zone_line(zone, "services") or "").split()
        services = {n: ports.run_firewall("firewall-cmd", f"--info-service={n}") for n in names}
        if (
            len(
                re.findall(
                    r"^\S", ports.run_firewall("firewall-cmd", "--get-active-zones"), re.MULTILINE
                )
            )
            > 1
        ):
            zone = ""  # which of several it is depends on more than can be seen from here
    names = [firewall] if firewall else []
    if nftables.managed_table(rules):
        names.append("table inet infra")
    if not names:
        dropping = default_drop_firewall(nft)
        names = [dropping] if dropping else []

    def admits(source: str, port: int, protocol: str) -> bool | None:
        version = ipaddress.ip_address(source).version
        answers = [packets.admits(rules, source, port, protocol)]
        if firewall == "ufw":
            answers.append(ufw_admits(status, source, port, protocol))
        elif _legacy_rules(version) not in ([], ["-P INPUT ACCEPT"]):
            answers.append(None)
        if firewall == "firewalld" and nft.fault:
            answers.append(firewalld_admits(zone, services, source, port, protocol))
        return False if False in answers else None if None in answers else True

    return " and ".join(names) or "no firewall", admits


def firewalld_admits(
    zone: str, services: Mapping[str, str], source: str, port: int, protocol: str
) -> bool | None:
    """Whether a zone of firewalld lets in a packet; None if that is unknown; pure.

    zone
        What ``firewall-cmd --list-all`` prints; empty where the zone is not known.
    services
        Name of each of its services → what ``firewall-cmd --info-service`` prints of it.
    source, port, protocol
        Whence, and whereto.
    """
    if not zone:
        return None
    texts = [_zone_line(text, "ports") or "" for text in (zone, *services.values())]
    for word in " ".join(texts).split():
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?/(tcp|udp)", word)
        if match and match[3] == protocol and int(match[1]) <= port <= int(match[2] or match[1]):
            return True
    rules = re.findall(r"^\s*(rule .*)$", zone, re.MULTILINE)
    address = ipaddress.ip_address(source)
    for rule in (rule.strip() for rule in rules):
        for known in ports.rich_ports(rule):
            where, _, whence = known.partition(" from ")
            if where == f"{port}/{protocol}" and address in ipaddress.ip_network(whence, False):
                return True
    if [rule for rule in rules if not ports.rich_ports(rule.strip())]:
        return None
    return _zone_line(zone, "target") == "ACCEPT"


def _zone_line(text: str, name: str) -> str | None:
    match = re.search(rf"^\s+{name}:[ \t]*(.*?)\s*$", text, re.MULTILINE)
    return match[1] if match else None


def _is_of_iptables(item: Mapping[str, Any]) -> bool:
    ((_kind, value),) = item.items()
    table = value.get("table", value.get("name")) if isinstance(value, Mapping) else ""
    return isinstance(value, Mapping) and value.get("family") in ("ip", "ip6") and table == "filter"
