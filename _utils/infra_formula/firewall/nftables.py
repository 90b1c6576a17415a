"""The table of nftables that confines the services' ports, and what a ruleset in force lets in.

A *row* says who may reach some ports: ``ports`` (like ``8428/tcp``), ``sources`` (addresses and
networks of IPv4 and IPv6) and ``service`` (for the comment).

The table has no state. It drops what begins a TCP connection, and datagrams, so that a change cuts
no connection, and so that connections are not tracked on a machine that did not track them: a
table of connections that is full would drop other connections, SSH among them.

``text``, ``own``, ``foreign`` and ``admits`` are pure.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import salt.utils.path

from infra_formula import process
from infra_formula.errors import CommandFailed

TABLE = "infra"
_HEAD = """\
#!/usr/sbin/nft -f
# Managed by Salt (infra formula). Changes here are overwritten.
# Who reaches the services past the portal. Nothing but the ports below is touched; a packet that
# this chain accepts goes on to the chains of others.
"""
_REPLACED = f"""\
# In one step: the table is there, is emptied with all that was in it, and is made anew.
add table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
	chain input {{
		type filter hook input priority filter + 5; policy accept;
		iif "lo" accept
		# Whatever does not begin a connection. Flags that cannot be read (fragments) do not match.
		tcp flags & (syn | ack) != syn accept
"""


# -- the table -----------------------------------------------------------------------------------
def text(rows: Iterable[Mapping[str, Any]]) -> str:
    """The table that confines ports, as a file that ``nft -f`` loads in one step; pure.

    rows
        See the module's own description.

    Raises ValueError for a port, an address or a network that is none.
    """
    # A port that several rows have is reached by those of each: a drop ends the way of a packet.
    everyone: dict[tuple[str, int], list[str]] = {}
    services: dict[tuple[str, int], set[str]] = {}
    for row in rows:
        for port in row["ports"]:
            number, protocol = _port(port)
            everyone.setdefault((protocol, number), []).extend(row["sources"])
            services.setdefault((protocol, number), set()).add(row["service"])
    groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    for (protocol, number), some in sorted(everyone.items()):
        groups.setdefault((protocol, tuple(_collapsed(some))), []).append(number)
    lines = []
    for (protocol, sources), ports in sorted(groups.items()):
        match = f"{protocol} dport {_set(map(str, ports))}"
        names = {name for port in ports for name in services[protocol, port]}
        lines += ["", f"# {', '.join(sorted(names))}"]
        for family, version in (("ip", 4), ("ip6", 6)):
            same = [s for s in sources if ipaddress.ip_network(s).version == version]
            if same:
                lines.append(f"{match} {family} saddr {_set(same)} accept")
        lines.append(f"{match} counter drop")
    body = "".join(f"\t\t{line}\n" if line else "\n" for line in lines)
    return f"{_HEAD}{_REPLACED}{body}\t}}\n}}\n"


def _set(items: Iterable[str]) -> str:
    return f"{{ {', '.join(items)} }}"


def _port(port: str) -> tuple[int, str]:
    number, _, protocol = port.partition("/")
    if protocol not in ("tcp", "udp") or not number.isdecimal() or not 1 <= int(number) <= 65535:
        raise ValueError(f"expected a port like 8428/tcp, got {port!r}")
    return int(number), protocol


def _collapsed(sources: Iterable[str]) -> list[str]:
    """Networks in order, without those that lie in others: intervals must not overlap."""
    networks = [ipaddress.ip_network(source, strict=False) for source in sources]
    out: list[str] = []
    for version in (4, 6):
        same: list[Any] = [n for n in networks if n.version == version]
        for network in ipaddress.collapse_addresses(same):
            single = network.prefixlen == network.max_prefixlen
            out.append(str(network.network_address) if single else str(network))
    return out


# -- what runs -----------------------------------------------------------------------------------
class Reading:
    """What nftables of this machine has loaded, read once and only if it is needed."""

    @functools.cached_property
    def fault(self) -> str | None:
        """Why nftables cannot be used on this machine; None if it can."""
        return unavailable() if salt.utils.path.which("nft") is None else self._read[1]

    @functools.cached_property
    def rules(self) -> list[dict[str, Any]]:
        """The loaded ruleset; nothing if nftables cannot be used.

        Raises CommandFailed if nftables can be used, but does not report its rules.
        """
        return [] if self.fault else self._read[0]

    @functools.cached_property
    def _read(self) -> tuple[list[dict[str, Any]], str | None]:
        try:
            return ruleset(), None
        except CommandFailed:
            fault = unavailable()
            if fault is None:
                raise
            return [], fault


def unavailable() -> str | None:
    """Why nftables cannot be used on this machine; None if it can."""
    if salt.utils.path.which("nft") is None:
        return "nft is not installed"
    outcome = _nft("list", "tables")
    if outcome["retcode"]:
        lines = (outcome["stderr"] or outcome["stdout"]).strip().splitlines() or ["no reason given"]
        return f"nft cannot be used here: {lines[0]}"
    return None


def check(content: str) -> str | None:
    """Why nft does not accept a file; None where it does. Nothing is changed.

    content
        The text of the file.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".nft", encoding="utf-8") as stream:
        stream.write(content)
        stream.flush()
        outcome = _nft("--check", "--file", stream.name)
    return None if outcome["retcode"] == 0 else outcome["stderr"].replace(stream.name, "").strip()


def ruleset() -> list[dict[str, Any]]:
    """Every table, chain, set and rule in force, as ``nft --json list ruleset`` has them.

    Raises CommandExecutionError where nft cannot tell.
    """
    outcome = _nft("--json", "list", "ruleset")
    try:
        if outcome["retcode"]:
            raise ValueError(outcome["stderr"].strip() or "no reason given")
        return list(json.loads(outcome["stdout"])["nftables"])
    except (ValueError, KeyError, TypeError) as err:
        raise CommandFailed(f"nft list ruleset: {err}") from err


def managed_table(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The managed table of a ruleset, without handles and counters; pure."""
    lines = []
    for item in rules:
        for kind, value in item.items():
            table = value.get("name") if kind == "table" else value.get("table")
            if (value.get("family"), table) == ("inet", TABLE):
                lines.append({kind: _without_counters(value)})
    return lines


def other_tables(rules: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A ruleset without the managed table; pure."""
    return [dict(item) for item in rules if not managed_table([item])]


def _without_counters(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            k: _without_counters(v)
            for k, v in value.items()
            if k not in ("handle", "packets", "bytes")
        }
    return [_without_counters(v) for v in value] if isinstance(value, list) else value


def _nft(*words: str) -> process.Outcome:
    return process.run(["nft", *words])
