"""What of this formula runs on this minion, and whether it is well.

The state tree leaves a list of the minion's components in ``/var/lib/infra/status.json``
(infra/status), and who is entitled to reach its ports in ``/var/lib/infra/reach.json``, so that
nothing here needs pillar. ``unit_of``, ``listening``, ``version_in``, ``text``, ``callers`` and
``access_text`` are pure.
"""

from __future__ import annotations

import contextvars
import http.client
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

from infra_formula import process, systemd
from infra_formula.daemon import units as daemon_units
from infra_formula.dns import client as dns_client
from infra_formula.dns import records as dns_records
from infra_formula.errors import CommandFailed
from infra_formula.firewall import admission
from infra_formula.minion import Minion
from infra_formula.ntp import chrony

KNOWN = Path("/var/lib/infra/status.json")
REACH = Path("/var/lib/infra/reach.json")
_PROPERTIES = (
    "Id",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "ActiveEnterTimestamp",
    "ControlGroup",
)
_COLUMNS = (
    "component",
    "unit",
    "enabled",
    "running",
    "since",
    "restarts",
    "listening",
    "healthy",
    "version",
)


def services(minion: Minion) -> dict[str, dict[str, Any]]:
    """Each component of this minion: whether it is asked for, runs, and is well by its own check.

    Returns component → ``unit``, ``enabled`` (asked for by its parameter), ``running``, ``since``
    (as systemd writes it), ``restarts`` (by systemd itself, in the last hour), ``listening`` (list
    of ``address:port/protocol``), ``healthy`` (bool; None where it is switched off), ``said``
    (what its own check said) and ``version`` (where the program tells it). The call ends with a
    code other than 0 where a component is not healthy.

    Raises CommandExecutionError where the formula was never applied here.
    """
    rows = known()
    names = [row["unit"] for row in rows if row["unit"]]
    units = systemd.show(names, _PROPERTIES, must=False)
    sockets = _sockets()
    restarts = daemon_units.restarts_last_hour()
    with ThreadPoolExecutor(max_workers=8) as pool:
        # Salt's dunders live in the context of the thread that was called.
        asked = [
            pool.submit(contextvars.copy_context().run, _row, row, units, sockets, restarts)
            for row in rows
        ]
        told = [answer.result() for answer in asked]
    if any(row["enabled"] and not row["healthy"] for row in told):
        minion.context["retcode"] = 1
    return {row["name"]: {k: v for k, v in row.items() if k != "name"} for row in told}


def table(minion: Minion) -> str:
    """:func:`services`, and :func:`access` below it, as tables for people."""
    above = text(services(minion))
    try:
        below = access_text(access(minion))
    except CommandExecutionError as err:
        below = f"who reaches the ports cannot be told: {err}"
    return f"{above}\n\n{below}"


def access(minion: Minion) -> dict[str, dict[str, Any]]:
    """Who reaches each port of this minion past the portal, by its sockets and the rules in force.

    Each rule of nftables, firewalld or ufw that runs now is followed for a connection from each
    INFRA node, from an address of each network that has a say, and from one that is in none.

    Returns port (like ``8428/tcp``) → ``service``, ``listens`` (addresses), ``entitled`` (``all``,
    ``site``, ``peers``, ``infra``, ``machine``), ``reached_by`` (of whom was asked for; ``this
    machine`` where nobody else gets in), ``beyond`` (those of them who are not entitled),
    ``unknown`` (those of whom the rules leave it open) and ``by`` (the firewall that decides). A
    port on which nothing listens is left out. The call ends with a code other than 0 where somebody
    gets in who is not entitled.

    Raises CommandExecutionError where the formula was never applied here, or the rules cannot be
    read.
    """
    data = _reach()
    sockets = _places()
    by, admits = admission.current()
    found: dict[str, dict[str, Any]] = {}
    for row in data["rows"]:
        asked = callers(row["sources"], data["nodes"], data["site"])
        for port in row["ports"]:
            listens = sockets.get(port, [])
            if not listens:
                continue
            number, _, protocol = port.partition("/")
            told = _told(asked, listens, lambda a, n=int(number), p=protocol: admits(a, n, p))
            out = {"service": row["service"], "listens": listens, "entitled": row["reached_by"]}
            found[port] = {**out, **told, "by": by}
    if any(row["beyond"] for row in found.values()):
        minion.context["retcode"] = 1
    return found


def _reach() -> dict[str, Any]:
    try:
        data = json.loads(REACH.read_text(encoding="utf-8"))
        return {key: list(data[key]) for key in ("rows", "nodes", "site")}
    except FileNotFoundError:
        raise CommandFailed(f"{REACH} is missing; it is written by `state.apply infra`") from None
    except (ValueError, KeyError, TypeError) as err:
        raise CommandFailed(f"{REACH}: {err}; apply infra anew") from err


def callers(
    sources: list[str] | None, nodes: Iterable[str], site: Iterable[str]
) -> dict[str, tuple[str, bool]]:
    """Whom to ask for, for one port; pure.

    sources
        Addresses and networks that are entitled; None for everybody.
    nodes
        Addresses of the INFRA nodes.
    site
        Networks of the site.

    Returns who → an address of theirs, and whether they are entitled. An address that stands for a
    network is none that something smaller stands for.
    """
    networks = {}
    for word in [*nodes, *(sources or []), *site]:
        network = ipaddress.ip_network(word, strict=False)
        single = network.prefixlen == network.max_prefixlen
        networks[str(network.network_address) if single else str(network)] = network
    entitled = None if sources is None else [ipaddress.ip_network(s, strict=False) for s in sources]
    out = {}
    for name, network in networks.items():
        smaller = [n for n in networks.values() if n != network and _within(n, network)]
        address = _outside(network, smaller)
        if address is not None:
            out[name] = address
    for name, net in (("any machine", "0.0.0.0/0"), ("any machine (IPv6)", "2000::/3")):
        address = _outside(ipaddress.ip_network(net), list(networks.values()), far=True)
        if address is not None:
            out[name] = address
    return {
        name: (str(a), entitled is None or any(a in network for network in entitled))
        for name, a in out.items()
    }


def _within(one: Any, other: Any) -> bool:
    return one.version == other.version and one.subnet_of(other)


def _outside(network: Any, others: list[Any], far: bool = False) -> Any:
    """An address of a network that is in none of others; None where none was found."""
    step = max(1, network.num_addresses // 251)
    first = int(network.network_address) + (9 * step if far else 0)
    for number in range(min(250, network.num_addresses)):
        # Beside those that end in 0, which are no machine's.
        address = network.network_address + (
            min(first - int(network.network_address) + number * step + 1, network.num_addresses - 1)
        )
        if not any(address in other for other in others if other.version == address.version):
            return address
    return None


def _told(
    asked: Mapping[str, tuple[str, bool]], listens: list[str], admits: Any
) -> dict[str, list[str]]:
    reached, beyond, unknown = [], [], []
    open_to = [place for place in listens if not _loopback(place)]
    for who, (address, entitled) in asked.items():
        if not any(_speaks(place, address) for place in open_to):
            continue
        admitted = admits(address)
        if admitted is None:
            unknown.append(who)
        elif admitted:
            reached.append(who)
            beyond += [] if entitled else [who]
    return {"reached_by": reached or ["this machine"], "beyond": beyond, "unknown": unknown}


def _loopback(place: str) -> bool:
    return place.startswith("127.") or place in ("::1", "localhost")


def _speaks(place: str, address: str) -> bool:
    """Whether a socket bound to an address takes what comes in an address's family."""
    if place in ("*", "::"):
        return True
    return (":" in place) == (":" in address)


def access_text(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out what :func:`access` returned; pure."""
    lines = [["port", "service", "listens", "for", "reached by", "decided by"]]
    for port, row in found.items():
        reached = [
            f"{who} (NOT ENTITLED)" if who in row["beyond"] else who for who in row["reached_by"]
        ]
        reached += [f"{who}?" for who in row["unknown"]]
        place = " ".join(row["listens"])
        lines.append([port, row["service"], place, row["entitled"], ", ".join(reached), row["by"]])
    return _aligned(lines)


def known() -> list[dict[str, Any]]:
    """Components of this minion, as the state tree left them; see infra/status."""
    try:
        found = json.loads(KNOWN.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CommandFailed(f"{KNOWN} is missing; it is written by `state.apply infra`") from None
    except ValueError as err:
        raise CommandFailed(f"{KNOWN}: {err}; apply infra anew") from err
    if not isinstance(found, list):
        raise CommandFailed(f"{KNOWN}: expected a list; apply infra anew")
    return found


def text(found: dict[str, dict[str, Any]]) -> str:
    """Lay out what :func:`services` returned; pure."""
    lines = [list(_COLUMNS)]
    for name, row in found.items():
        running = "yes" if row["running"] else "no"
        well = {True: "yes", False: f"NO: {row['said']}", None: "-"}[row["healthy"]]
        lines.append(
            [
                name,
                row["unit"] or "-",
                "yes" if row["enabled"] else "no",
                running if row["unit"] else "-",
                row["since"] or "-",
                str(row["restarts"]) if row["unit"] else "-",
                " ".join(row["listening"]) or "-",
                well,
                row["version"] or "-",
            ]
        )
    return _aligned(lines)


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _row(
    row: dict[str, Any],
    units: dict[str, dict[str, str]],
    sockets: dict[str, list[str]],
    restarts: dict[str, int],
) -> dict[str, Any]:
    unit = units.get(row["unit"], {})
    running = unit.get("ActiveState") == "active"
    out = {
        "name": row["name"],
        "unit": row["unit"],
        "enabled": row["enabled"],
        "running": running,
        "since": unit.get("ActiveEnterTimestamp", "") if running else "",
        "restarts": restarts.get(unit.get("Id", ""), 0),
        "listening": sockets.get(unit.get("ControlGroup", "-"), []) if running else [],
        "healthy": None,
        "said": "",
        "version": "",
    }
    if not row["enabled"]:
        out["said"] = "switched off"
        return out
    out["healthy"], out["said"] = _well(row, running, unit)
    out["version"] = _version(row.get("version") or [])
    return out


def _well(row: dict[str, Any], running: bool, unit: dict[str, str]) -> tuple[bool, str]:
    if row["unit"] and not running:
        state = f"{unit.get('ActiveState', 'unknown')} ({unit.get('SubState', 'unknown')})"
        return False, f"{row['unit']} is {state}"
    try:
        return True, check(row["check"])
    except (CommandExecutionError, KeyError, TypeError) as err:
        return False, str(err)


def check(asked: dict[str, Any]) -> str:
    """Ask a component whether it is well.

    asked
        ``kind`` and what that takes: ``http`` (``port``, ``path``, ``tls``), ``dns`` (``port``),
        ``ntp`` (``serves``, ``sourced``), ``files`` (``paths`` that have to be there).

    Returns what it said.

    Raises CommandExecutionError where it is not well.
    """
    kind = asked["kind"]
    if kind == "http":
        return _http(asked["port"], asked["path"])
    if kind == "dns":
        records = dns_records.served("default").get("default", {})
        address, names = next(iter(records.items()), ("", ["localhost"]))
        rtype = "AAAA" if ":" in address else "A"
        for tcp in (False, True):
            answer = dns_client.query(names[0], rtype, port=asked["port"], tcp=tcp)
            if address and address not in answer["values"]:
                raise CommandFailed(f"{names[0]}: answers {answer['rcode']}")
        return f"answers for {names[0]} over UDP and TCP"
    if kind == "ntp":
        status = chrony.status()
        problem = chrony.health_problem(status, asked["serves"], asked["sourced"])
        if problem:
            raise CommandFailed(problem)
        return f"stratum {status['tracking']['stratum']}"
    if kind == "files":
        missing = [path for path in asked["paths"] if not Path(path).exists()]
        if missing:
            raise CommandFailed(f"missing: {', '.join(missing)}")
        return "is there"
    raise CommandFailed(f"expected a kind of check, got {kind!r}")


def _http(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        # The portal keeps its own node's questions out of its access log by this name.
        connection.request("GET", path, headers={"User-Agent": "infra-formula"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as err:
        raise CommandFailed(f"port {port}: {err}") from err
    finally:
        connection.close()
    if status not in (200, 204, 301, 302, 401):
        raise CommandFailed(f"port {port}: {path} answers {status}")
    return f"{path} answers {status}"


def _sockets() -> dict[str, list[str]]:
    program = salt.utils.path.which("ss")
    if program is None:
        return {}
    outcome = process.run([program, "-Hlntup"])
    return listening(outcome["stdout"], _cgroup)


def _places() -> dict[str, list[str]]:
    """Port (like ``8428/tcp``) → addresses of this machine on which something listens there."""
    program = salt.utils.path.which("ss")
    if program is None:
        raise CommandFailed("ss is not installed, which tells what listens (iproute2)")
    outcome = process.run([program, "-Hlntu"])
    found: dict[str, set[str]] = {}
    for line in outcome["stdout"].splitlines():
        words = line.split()
        if len(words) < 5:
            continue
        place, _, port = words[4].rpartition(":")
        place = place.partition("%")[0].strip("[]")
        found.setdefault(f"{port}/{words[0]}", set()).add(place)
    return {port: sorted(places) for port, places in found.items()}


def _cgroup(pid: int) -> str:
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return ""
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
    return paths.get("", "") or paths.get("name=systemd", "")


def listening(output: str, group_of: Any) -> dict[str, list[str]]:
    """Addresses by control group, out of what ``ss -Hlntup`` prints; pure.

    output
        The text.
    group_of
        Called with a process id, returns its control group.
    """
    out: dict[str, set[str]] = {}
    for line in output.splitlines():
        words = line.split()
        if len(words) < 5:
            continue
        place = f"{words[4]}/{words[0]}"
        for pid in re.findall(r"pid=(\d+)", line):
            out.setdefault(group_of(int(pid)), set()).add(place)
    return {group: sorted(places) for group, places in out.items()}


def _version(command: list[str]) -> str:
    """The version that a program tells; empty where it tells none."""
    if not command or salt.utils.path.which(command[0]) is None:
        return ""
    outcome = process.run(command, timeout=5)
    return version_in(outcome["stdout"] + "\n" + outcome["stderr"])


def version_in(output: str) -> str:
    """The first version number in a text; empty where there is none; pure."""
    match = re.search(r"(?<![\d.])v?(\d+\.\d+(?:\.\d+)*(?:[-+~][\w.]+)?)", output)
    return match[1] if match else ""
