"""Time: chrony's configuration, its status, and its health."""

from __future__ import annotations

import csv
import ipaddress
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import salt.utils.path

from infra_formula import process, systemd, templates
from infra_formula.daemon import checks
from infra_formula.errors import CommandFailed, Refused
from infra_formula.minion import Minion

TEMPLATE = "salt://infra/ntp/files/chrony.conf.j2"
OPTIONS_FILE = "/etc/default/infra-chrony"
_HEAD = "# Managed by Salt (infra formula). Changes here are overwritten.\n"
_OPTIONS = f"{_HEAD}DAEMON_OPTS=-x\nOPTIONS=-x\n"
_DROPIN = f"""\
{_HEAD}# This machine may not set its clock: chronyd tells the time and leaves the clock alone (-x).
[Unit]
ConditionCapability=

[Service]
EnvironmentFile={OPTIONS_FILE}
"""
_CAP_SYS_TIME = 25
_LINE = re.compile(r"(server|pool|peer|refclock)([ \t]+[!-~]+)+")
_KINDS = {"^": "server", "=": "peer", "#": "refclock"}
_STATES = {
    "*": "selected",
    "+": "combined",
    "-": "not combined",
    "?": "unusable",
    "x": "falseticker",
    "~": "too variable",
}
_TRACKING = (
    "reference_id",
    "reference",
    "stratum",
    "reference_time",
    "system_offset",
    "last_offset",
    "rms_offset",
    "frequency",
    "residual_frequency",
    "skew",
    "root_delay",
    "root_dispersion",
    "update_interval",
    "leap",
)
_SECONDS = ("system_offset", "last_offset", "rms_offset", "root_delay", "root_dispersion")


class Settings(TypedDict):
    """Parameters of chrony.

    infra
        Addresses of the INFRA nodes (without this one), in their order.
    servers
        ``node_ntp_servers``, with ``${admin_ip}``.
    admin_ip
        Address that replaces ``${admin_ip}``.
    serves
        Whether this is an INFRA node.
    networks, stratum
        Networks that an INFRA node serves, and the stratum of its own clock.
    """

    infra: list[str]
    servers: list[str]
    admin_ip: str
    serves: bool
    networks: list[str]
    stratum: int


class Source(TypedDict):
    """One source of time, as ``chronyc sources`` reports it.

    reach
        How many of the last eight polls were answered.
    offset
        Seconds.
    """

    kind: str
    state: str
    address: str
    stratum: int
    reach: int
    offset: float


class Status(TypedDict):
    """What chrony reports; ``steers``: it may set the clock."""

    tracking: dict[str, Any]
    sources: list[Source]
    steers: bool


# -- configuration -------------------------------------------------------------------------------


def problems(parameters: Mapping[str, Any]) -> list[str]:
    """Check the parameters of time beyond their types.

    parameters
        The dictionary below ``infra:`` in pillar.

    Returns one message per error, each beginning with the key path.
    """
    errors = []
    for index, line in enumerate(_list(parameters.get("node_ntp_servers"))):
        if not isinstance(line, str) or not _LINE.fullmatch(line.strip(" \t")):
            errors.append(
                f"node_ntp_servers[{index}]: expected a line like 'pool pool.ntp.org iburst', "
                f"got {line!r}"
            )
        elif "key" in line.split()[2:]:
            errors.append(
                f"node_ntp_servers[{index}]: expected no key: the formula's chrony.conf has no "
                f"keyfile, so chronyd has no key and never follows this source, got {line!r}"
            )
    for index, network in enumerate(_list(parameters.get("ntp_networks"))):
        try:
            ipaddress.ip_network(network)
        except (ValueError, TypeError):
            errors.append(
                f"ntp_networks[{index}]: expected a network like 10.0.0.0/8, got {network!r}"
            )
    return errors


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def source_lines(settings: Settings) -> list[str]:
    """Sources of time, as lines of chrony.conf.

    A client prefers the INFRA nodes. An INFRA node uses the configured servers and the other INFRA
    nodes, and never the admin address, which may be its own.
    """
    suffix = "iburst" if settings["serves"] else "iburst prefer"
    lines = [f"server {address} {suffix}" for address in settings["infra"]]
    for line in settings["servers"]:
        if settings["serves"] and "${admin_ip}" in line:
            continue
        text = line.strip().replace("${admin_ip}", settings["admin_ip"])
        if text.split()[1] not in settings["infra"]:
            lines.append(text)
    return lines


def config_text(template: str, settings: Settings) -> str:
    """Render chrony.conf.

    template
        Text of :data:`TEMPLATE`.

    Raises InvalidInput for a broken template.
    """
    return templates.render(TEMPLATE, template, {**settings, "sources": source_lines(settings)})


def check(minion: Minion, settings: Settings) -> None:
    """Have chronyd check its configuration. Nothing is checked if it is not installed yet.

    Raises Refused that names the parameter and quotes chronyd.
    """
    check_text(config_text(templates.read(minion, TEMPLATE), settings), settings)


def check_text(text: str, settings: Settings) -> None:
    """As :func:`check`, of a text that was made already."""
    # -p prints the configuration and ends (chrony 4.0 and later); nothing of the clock is touched.
    refusal = checks.refusal(["chronyd", "-p", "-f", "{path}"], "chrony.conf", text)
    if refusal is None:
        return
    where = re.search(r"line (\d+)", refusal)
    line = text.splitlines()[int(where[1]) - 1].strip() if where else ""
    for index, server in enumerate(settings["servers"]):
        if line and server.strip().replace("${admin_ip}", settings["admin_ip"]) == line:
            raise Refused(f"node_ntp_servers[{index}]: chronyd refuses it: {refusal}: {line}")
    raise Refused(f"chronyd refuses its configuration: {refusal}{': ' if line else ''}{line}")


def no_steering_files(unit: str) -> dict[str, str]:
    """Files that have chronyd leave the clock alone: path → text.

    unit
        Name of its unit.
    """
    dropin = f"/etc/systemd/system/{unit}.service.d/infra.conf"
    return {dropin: _DROPIN, OPTIONS_FILE: _OPTIONS}


def can_set_clock(status: str | None = None) -> bool:
    """Whether this machine may set its clock; a container may not.

    status
        Text of ``/proc/1/status``, which is read if it is None. No service may do more than init.
    """
    text = Path("/proc/1/status").read_text(encoding="ascii") if status is None else status
    match = re.search(r"^CapBnd:\s*([0-9a-f]+)", text, re.MULTILINE)
    return match is None or bool(int(match[1], 16) >> _CAP_SYS_TIME & 1)


# -- status --------------------------------------------------------------------------------------


def parse_tracking(text: str) -> dict[str, Any]:
    """Parse the output of ``chronyc -c tracking``.

    Raises ValueError for anything else.
    """
    row = _rows(text)[0]
    if len(row) != len(_TRACKING):
        raise ValueError(f"expected {len(_TRACKING)} fields of chronyc tracking, got {len(row)}")
    values: dict[str, Any] = dict(zip(_TRACKING, row, strict=True))
    values.update({key: float(values[key]) for key in _SECONDS})
    values["stratum"] = int(values["stratum"])
    values["synchronised"] = values["leap"] != "Not synchronised"
    # 127.127.1.1 as a reference: its own clock, served to a site that has no other.
    values["local"] = values["reference_id"].upper() == "7F7F0101"
    return values


def _rows(text: str) -> list[list[str]]:
    try:
        return list(csv.reader(text.strip().splitlines())) or [[]]
    except csv.Error as err:
        raise ValueError(str(err)) from err


def parse_sources(text: str) -> list[Source]:
    """Parse the output of ``chronyc -c sources``.

    Raises ValueError for anything else.
    """
    sources: list[Source] = []
    for row in _rows(text) if text.strip() else ():
        if len(row) != 10:
            raise ValueError(f"expected 10 fields of chronyc sources, got {len(row)}")
        sources.append(
            {
                "kind": _KINDS.get(row[0], row[0]),
                "state": _STATES.get(row[1], row[1]),
                "address": row[2],
                "stratum": int(row[3]),
                "reach": int(row[5], 8).bit_count(),
                "offset": float(row[7]),
            }
        )
    return sources


def status() -> Status:
    """Status of chrony: ``tracking``, ``sources`` and ``steers``.

    Raises CommandFailed if it does not answer.
    """
    try:
        return {
            "tracking": parse_tracking(_chronyc("tracking")),
            "sources": parse_sources(_chronyc("sources")),
            "steers": can_set_clock(),
        }
    except ValueError as err:
        raise CommandFailed(f"chronyc: {err}") from err


def _chronyc(command: str) -> str:
    program = salt.utils.path.which("chronyc")
    if program is None:
        raise CommandFailed("chronyc is not installed")
    outcome = process.run([program, "-n", "-c", command])
    if outcome["retcode"]:
        raise CommandFailed(f"chronyc {command}: {outcome['stderr'] or outcome['stdout']}")
    return outcome["stdout"]


# -- health --------------------------------------------------------------------------------------


def health_problem(status: Status, serves: bool, has_sources: bool) -> str | None:
    """Why chrony is unhealthy; None if it is healthy.

    status
        What :func:`status` returned.
    serves
        Whether this is an INFRA node, which has to serve a time, if need be that of its own clock.
    has_sources
        Whether any source is configured.
    """
    if serves:
        has_time = status["tracking"]["synchronised"] or status["tracking"]["local"]
        return None if has_time else "it has no time to serve"
    if not has_sources or any(source["reach"] for source in status["sources"]):
        return None
    addresses = ", ".join(source["address"] for source in status["sources"]) or "none"
    return f"no source answers (sources: {addresses})"


def wait_until_healthy(settings: Settings, unit: str, start_seconds: float) -> str:
    """Wait until chrony has its time.

    unit
        Name of its unit.
    start_seconds
        A client waits this long after the start of the unit: INFRA nodes may be starting as well.

    Returns what it follows.

    Raises CommandFailed with the problem.
    """
    has_sources = bool(source_lines(settings))
    deadline = time.monotonic() + _timeout(unit, 0 if settings["serves"] else start_seconds)
    while True:
        try:
            current = status()
            problem = health_problem(current, settings["serves"], has_sources)
        except CommandFailed as err:
            problem = str(err)
        if problem is None:
            return _summary(current)
        if time.monotonic() > deadline:
            raise CommandFailed(problem)
        time.sleep(0.2)


def _timeout(unit: str, start_seconds: float, seconds: float = 30.0) -> float:
    """Seconds to wait; more while the unit has just been started."""
    started = systemd.SNAPSHOT.show(unit).get("ActiveEnterTimestampMonotonic", "")
    age = time.monotonic() - int(started) / 1e6 if started.isdigit() else start_seconds
    return max(seconds, start_seconds - age)


def _summary(status: Status) -> str:
    selected = [s["address"] for s in status["sources"] if s["state"] == "selected"]
    own_clock = "its own clock" if status["tracking"]["local"] else "no source yet"
    steers = "" if status["steers"] else "; the clock is not set (-x)"
    followed = ", ".join(selected) or own_clock
    return f"chrony follows {followed}, stratum {status['tracking']['stratum']}{steers}."
