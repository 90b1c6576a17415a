"""Ports through this machine's firewall, whichever runs; and who gets through it.

A rule reads ``80/tcp``, for everybody, or ``9428/tcp from 10.0.0.0/8``.

A *row* is one of ``infra/map/reach.jinja``: ``service``, ``ports`` (like ``8428/tcp``),
``reached_by`` (``all``, ``site``, ``peers``, ``infra``), ``sources`` (addresses and networks that
are entitled; None for everybody), ``opened`` (those that a firewall is told to let in) and ``ours``
(False: what listens there is not of this formula, and is not confined).

``ufw_ports``, ``ufw_rules``, ``ufw_admits``, ``firewalld_admits``, ``rich_ports``, ``granted``,
``confinable`` and ``problems`` are pure.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import salt.utils.path

from infra_formula import process
from infra_formula.daemon import local_ports
from infra_formula.errors import CommandFailed
from infra_formula.firewall import nftables

_ANYBODY = {4: "9.9.9.9", 6: "2620:fe::9"}
"""Addresses that are of no site: whom a firewall that drops by default does not let in."""
_UNUSED = 30999  # a port that nobody has opened
_SSH = 22
_LEGACY = "/proc/net/ip{}_tables_names"
_INTERFACES = "/proc/net/if_inet6"


def active() -> str | None:
    """The firewall that runs on this machine: ``firewalld``, ``ufw`` or None."""
    if salt.utils.path.which("firewall-cmd"):
        state = process.run(["firewall-cmd", "--state"])
        if state["stdout"].strip() == "running":
            return "firewalld"
    if salt.utils.path.which("ufw") and _run("ufw", "status").startswith("Status: active"):
        return "ufw"
    return None


def open_ports(firewall: str) -> list[str]:
    """Rules by which a firewall lets in ports.

    firewall
        What :func:`active` returned.
    """
    if firewall == "ufw":
        return ufw_ports(_run("ufw", "status"))
    # Both what runs and what a restart brings back have to have it.
    both = [
        {
            *_run("firewall-cmd", *kept, "--list-ports").split(),
            *rich_ports(_run("firewall-cmd", *kept, "--list-rich-rules")),
        }
        for kept in ([], ["--permanent"])
    ]
    return sorted(both[0] & both[1])


def ufw_ports(status: str) -> list[str]:
    """Rules that the output of ``ufw status`` shows; pure."""
    pattern = re.compile(r"^(\d+/(?:tcp|udp))\s+ALLOW(?: IN)?\s+(\S+)\s*$", re.MULTILINE)
    found = pattern.findall(status)
    return sorted({port if who == "Anywhere" else f"{port} from {who}" for port, who in found})


def rich_ports(rules: str) -> list[str]:
    """Rules that firewalld's rich rules, as we write them, stand for; pure."""
    pattern = re.compile(
        r'^rule family="ipv[46]" source address="(\S+)" port port="(\d+)" '
        r'protocol="(tcp|udp)" accept$',
        re.MULTILINE,
    )
    return sorted({f"{port}/{kind} from {who}" for who, port, kind in pattern.findall(rules)})


def open_port(firewall: str, port: str) -> None:
    """Let a port in, now and after a restart.

    firewall
        ``firewalld`` or ``ufw``.
    port
        A rule, see the module's own description.

    Raises CommandExecutionError with the firewall's own words where it refuses.
    """
    number, _, source = port.partition(" from ")
    if firewall == "ufw":
        _run("ufw", *ufw_words(number, source))
        return
    rule = f"--add-rich-rule={_rich(number, source)}" if source else f"--add-port={number}"
    _run("firewall-cmd", "--permanent", rule)
    _run("firewall-cmd", rule)


def _rich(port: str, source: str) -> str:
    number, _, kind = port.partition("/")
    family = "ipv6" if ":" in source else "ipv4"
    return (
        f'rule family="{family}" source address="{source}" '
        f'port port="{number}" protocol="{kind}" accept'
    )


def ufw_words(port: str, source: str) -> list[str]:
    """How ufw is told to let in a port, from a source or (empty) from everywhere; pure."""
    if not source:
        return ["allow", port]
    number, _, kind = port.partition("/")
    return ["allow", "proto", kind, "from", source, "to", "any", "port", number]


def close_port(firewall: str, port: str) -> None:
    """No longer let a port in that :func:`open_port` opened.

    firewall, port
        As for :func:`open_port`.

    Raises CommandExecutionError with the firewall's own words where it refuses.
    """
    number, _, source = port.partition(" from ")
    if firewall == "ufw":
        _run("ufw", "delete", *ufw_words(number, source))
        return
    rule = f"--remove-rich-rule={_rich(number, source)}" if source else f"--remove-port={number}"
    _run("firewall-cmd", "--permanent", rule)
    _run("firewall-cmd", rule)


# -- who is let in -------------------------------------------------------------------------------


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


def granted(rows: Iterable[Mapping[str, Any]]) -> list[str]:
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
    told = (
        f"node_firewall_intranet: expected the networks of the site, but {', '.join(outside)} (an "
        f"INFRA node) is in none of them; {', '.join(left)} stay open to everybody until it is"
    )
    return [row for row in ours if row["reached_by"] != "site"], [told] if left else []


def locked_out(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Of rows to be confined, the ports that SSH has on this machine, which never are.

    rows
        See the module's own description.
    """
    found = []
    for row in rows:
        for port in row["ports"]:
            number = int(port.partition("/")[0])
            names = {_process(pid) for pid in local_ports.listeners(number)}
            # systemd itself listens for sshd where it starts it for each connection.
            if number == _SSH or names & {"sshd", "dropbear", "systemd"}:
                found.append(f"{port} ({row['service']})")
    return found


def _process(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def guard() -> str | None:
    """The firewall of this machine, other than ours, that drops what it was not told to let in.

    Returns ``firewalld``, ``ufw``, ``nftables``, ``iptables``, or None where there is none, or
    where it lets in by default.
    """
    firewall = active()
    if firewall == "firewalld":
        zone = _run("firewall-cmd", "--get-default-zone").strip()
        target = _run("firewall-cmd", "--permanent", f"--zone={zone}", "--get-target").strip()
        return None if target == "ACCEPT" else firewall
    if firewall == "ufw":
        return firewall if ufw_rules(_run("ufw", "status", "verbose"))[0] else None
    versions = (4, 6) if _has_ipv6() else (4,)
    if all(_iptables_drop(version) for version in versions):
        return "iptables"
    if nftables.unavailable():
        return None
    rules = nftables.foreign(nftables.ruleset())
    if all(_nftables_drop(rules, version) or _iptables_drop(version) for version in versions):
        return "nftables"
    return None


def _nftables_drop(rules: list[dict[str, Any]], version: int) -> bool:
    admitted = nftables.admits(rules, _ANYBODY[version], _UNUSED)
    if admitted is not None:
        return not admitted
    # Rules of iptables that cannot be read from here: the policy tells what they are exceptions of.
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
    return _run(program, "-S", "INPUT").splitlines()


def _iptables_drop(version: int) -> bool:
    return "-P INPUT DROP" in _legacy_rules(version)


def ufw_rules(status: str) -> tuple[bool, list[tuple[str, str, str]]]:
    """What ``ufw status verbose`` tells; pure.

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


def judge() -> tuple[str, Callable[[str, int, str], bool | None]]:
    """What decides who gets in, and a function that tells of a source, port and protocol.

    The function answers from the rules in force: True, False, or None where that cannot be told.
    """
    firewall = active()
    nft = nftables.unavailable() is None
    rules = nftables.ruleset() if nft else []
    status = ""
    if firewall == "ufw":
        status = _run("ufw", "status", "verbose")
        # Its rules are iptables', which its own words tell better.
        rules = [item for item in rules if not _of_iptables(item)]
    zone, services = "", {}
    if firewall == "firewalld" and not nft:
        # It speaks to the kernel itself; what it says of its zone is as near as one gets.
        zone = _run("firewall-cmd", "--list-all")
        names = (_zone_line(zone, "services") or "").split()
        services = {n: _run("firewall-cmd", f"--info-service={n}") for n in names}
        if len(re.findall(r"^\S", _run("firewall-cmd", "--get-active-zones"), re.MULTILINE)) > 1:
            zone = ""  # which of several it is depends on more than can be seen from here
    names = [firewall] if firewall else []
    if nftables.own(rules):
        names.append("table inet infra")
    if not names and guard():
        names.append(str(guard()))

    def admits(source: str, port: int, protocol: str) -> bool | None:
        version = ipaddress.ip_address(source).version
        found = [nftables.admits(rules, source, port, protocol)]
        if firewall == "ufw":
            found.append(ufw_admits(status, source, port, protocol))
        elif _legacy_rules(version) not in ([], ["-P INPUT ACCEPT"]):
            found.append(None)
        if firewall == "firewalld" and not nft:
            found.append(firewalld_admits(zone, services, source, port, protocol))
        return False if False in found else None if None in found else True

    return " and ".join(names) or "no firewall", admits


def firewalld_admits(
    zone: str, services: Mapping[str, str], source: str, port: int, protocol: str
) -> bool | None:
    """Whether a zone of firewalld lets in a packet; None where that cannot be told; pure.

    zone
        What ``firewall-cmd --list-all`` prints; empty where the zone is not known.
    services
        Name of each of its services → what ``firewall-cmd --info-service`` prints of it.
    source, port, protocol
        Whence, and whereto.
    """
    if not zone:
        return None
    ports = [_zone_line(text, "ports") or "" for text in (zone, *services.values())]
    for word in " ".join(ports).split():
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?/(tcp|udp)", word)
        if match and match[3] == protocol and int(match[1]) <= port <= int(match[2] or match[1]):
            return True
    rules = re.findall(r"^\s*(rule .*)$", zone, re.MULTILINE)
    address = ipaddress.ip_address(source)
    for rule in (rule.strip() for rule in rules):
        for known in rich_ports(rule):
            where, _, whence = known.partition(" from ")
            if where == f"{port}/{protocol}" and address in ipaddress.ip_network(whence, False):
                return True
    if [rule for rule in rules if not rich_ports(rule.strip())]:
        return None
    return _zone_line(zone, "target") == "ACCEPT"


def _zone_line(text: str, name: str) -> str | None:
    match = re.search(rf"^\s+{name}:[ \t]*(.*?)\s*$", text, re.MULTILINE)
    return match[1] if match else None


def _of_iptables(item: Mapping[str, Any]) -> bool:
    ((_kind, value),) = item.items()
    table = value.get("table", value.get("name")) if isinstance(value, Mapping) else ""
    return isinstance(value, Mapping) and value.get("family") in ("ip", "ip6") and table == "filter"


def _run(*command: str) -> str:
    outcome = process.run(list(command), env={"LC_ALL": "C"})
    if outcome["retcode"]:
        said = outcome["stderr"] or outcome["stdout"]
        raise CommandFailed(f"{' '.join(command)}: {said}")
    return outcome["stdout"]
