"""Time: what chrony is told, and what it says of itself.

``config_text``, ``tracking``, ``sources`` and ``fault`` are pure.
"""

from __future__ import annotations

import csv
import ipaddress
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import salt.utils.path
from salt.exceptions import CommandExecutionError

from infra_formula import process, systemd
from infra_formula.errors import CommandFailed, InvalidInput

_CAP_SYS_TIME = 25
_LINE = re.compile(r"(server|pool|peer|refclock)([ \t]+[!-~]+)+")
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


def problems(parameters: dict[str, Any]) -> list[str]:
    """What is wrong with the parameters of time beyond their types; pure.

    parameters
        The dictionary below ``infra:``, as given.

    Returns one message per error, each beginning with the key path.
    """
    errors = []
    for index, line in enumerate(_list(parameters.get("node_ntp_servers"))):
        if not isinstance(line, str) or not _LINE.fullmatch(line.strip(" \t")):
            errors.append(
                f"node_ntp_servers[{index}]: expected a line like 'pool pool.ntp.org iburst', "
                f"got {line!r}"
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


def source_lines(
    infra: Iterable[str], servers: Iterable[str], admin_ip: str, serves: bool
) -> list[str]:
    """Where the time comes from, as lines of chrony.conf; pure.

    infra
        Addresses of the INFRA nodes (without this one), in their order.
    servers
        ``node_ntp_servers``, with ``${admin_ip}``.
    admin_ip
        Its value.
    serves
        Whether this is an INFRA node: those take the time from elsewhere, or from one another where
        there is nothing else, and never from the admin address, which may be their own.
    """
    lines = [f"server {a} iburst" if serves else f"server {a} iburst prefer" for a in infra]
    named = set(infra)
    for line in servers:
        if serves and "${admin_ip}" in line:
            continue
        text = line.strip().replace("${admin_ip}", admin_ip)
        if text.split()[1] not in named:
            lines.append(text)
    return lines


def sources_of(settings: dict[str, Any]) -> list[str]:
    """:func:`source_lines` of the settings that an SLS file passes; pure."""
    keys = ("infra", "servers", "admin_ip", "serves")
    return source_lines(*(settings[key] for key in keys))


def config_text(template: str, settings: dict[str, Any]) -> str:
    """Render chrony.conf; pure.

    template
        Text of ``infra/ntp/files/chrony.conf.j2``.
    settings
        ``infra``, ``servers``, ``admin_ip`` and ``serves`` (see :func:`source_lines`), ``networks``
        and ``stratum``.

    Raises SaltInvocationError where the template is at fault.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - chrony's syntax, not HTML; values are checked beforehand
    )
    context = {**settings, "sources": sources_of(settings)}
    try:
        return environment.from_string(template).render(context)
    except jinja2.TemplateError as err:
        raise InvalidInput(f"chrony.conf.j2: {err}") from None


def clock_settable(status: str | None = None) -> bool:
    """Whether this machine may set its clock (a container may not).

    status
        Text of ``/proc/1/status``; read where it is not given. What init may not, no service may.
    """
    text = Path("/proc/1/status").read_text(encoding="ascii") if status is None else status
    match = re.search(r"^CapBnd:\s*([0-9a-f]+)", text, re.MULTILINE)
    return match is None or bool(int(match[1], 16) >> _CAP_SYS_TIME & 1)


def tracking(text: str) -> dict[str, Any]:
    """Take the output of ``chronyc -c tracking`` apart; pure.

    Raises ValueError for anything else.
    """
    row = _rows(text)[0]
    if len(row) != len(_TRACKING):
        raise ValueError(f"expected {len(_TRACKING)} fields of chronyc tracking, got {len(row)}")
    found: dict[str, Any] = dict(zip(_TRACKING, row, strict=True))
    for key in ("system_offset", "last_offset", "rms_offset", "root_delay", "root_dispersion"):
        found[key] = float(found[key])
    found["stratum"] = int(found["stratum"])
    found["synchronised"] = found["leap"] != "Not synchronised"
    # 127.127.1.1 as a reference: its own clock, served to a site that has no other.
    found["local"] = found["reference_id"].upper() == "7F7F0101"
    return found


def _rows(text: str) -> list[list[str]]:
    try:
        return list(csv.reader(text.strip().splitlines())) or [[]]
    except csv.Error as err:
        raise ValueError(str(err)) from err


def sources(text: str) -> list[dict[str, Any]]:
    """Take the output of ``chronyc -c sources`` apart; pure.

    Returns one mapping per source: ``kind`` (``server``, ``peer``, ``refclock``), ``state``,
    ``address``, ``stratum``, ``reach`` (how many of the last eight polls were answered) and
    ``offset`` (seconds).

    Raises ValueError for anything else.
    """
    out = []
    kinds = {"^": "server", "=": "peer", "#": "refclock"}
    for row in _rows(text) if text.strip() else ():
        if len(row) != 10:
            raise ValueError(f"expected 10 fields of chronyc sources, got {len(row)}")
        out.append(
            {
                "kind": kinds.get(row[0], row[0]),
                "state": _STATES.get(row[1], row[1]),
                "address": row[2],
                "stratum": int(row[3]),
                "reach": int(row[5], 8).bit_count(),
                "offset": float(row[7]),
            }
        )
    return out


def status() -> dict[str, Any]:
    """What chrony says of itself: ``tracking``, ``sources`` and ``steers`` (may it set the clock).

    Raises CommandExecutionError where it does not answer.
    """
    try:
        return {
            "tracking": tracking(_chronyc("tracking")),
            "sources": sources(_chronyc("sources")),
            "steers": clock_settable(),
        }
    except ValueError as err:
        raise CommandFailed(f"chronyc: {err}") from err


def _chronyc(command: str) -> str:
    program = salt.utils.path.which("chronyc")
    if program is None:
        raise CommandFailed("chronyc is not installed")
    outcome = process.run([program, "-n", "-c", command], env={"LC_ALL": "C"})
    if outcome["retcode"]:
        said = outcome["stderr"] or outcome["stdout"]
        raise CommandFailed(f"chronyc {command}: {said}")
    return outcome["stdout"]


def fault(told: dict[str, Any], serves: bool, sourced: bool) -> str | None:
    """Why the time is not as it should be; None where it is; pure.

    told
        What :func:`status` returned.
    serves
        An INFRA node: it has a time to serve, its own clock's if need be.
    sourced
        Whether it was given any source.
    """
    if serves:
        well = told["tracking"]["synchronised"] or told["tracking"]["local"]
        return None if well else "it has no time to serve"
    if not sourced or any(s["reach"] for s in told["sources"]):
        return None
    asked = ", ".join(s["address"] for s in told["sources"]) or "nobody"
    return f"no source answers (asked: {asked})"


def patience(unit: str, first: float, seconds: float = 30.0) -> float:
    """How long to wait for the time: longer while chronyd has only just been started.

    unit
        Name of its unit.
    first
        Seconds after its start in which its sources may be machines that are being set up, too.
    seconds
        Seconds to wait in any case.
    """
    entered = "ActiveEnterTimestampMonotonic"
    started = systemd.show([unit], [entered], must=False)[unit].get(entered, "")
    age = time.monotonic() - int(started) / 1e6 if started.isdigit() else first
    return max(seconds, first - age)


def wait_until_well(serves: bool, sourced: bool, seconds: float = 30.0) -> dict[str, Any]:
    """Wait until chrony has its time.

    serves, sourced
        As for :func:`fault`.
    seconds
        How long at most.

    Returns what :func:`status` does.

    Raises CommandExecutionError with what is wrong instead.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            told = status()
            wrong = fault(told, serves, sourced)
        except CommandExecutionError as err:
            told, wrong = {}, str(err)
        if wrong is None:
            return told
        if time.monotonic() > deadline:
            raise CommandFailed(wrong)
        time.sleep(0.2)
