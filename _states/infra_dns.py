"""The site's name server as states: its configuration, its records, and that it answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, state
from infra_formula.daemon import units
from infra_formula.dns import dnsmasq, migration
from infra_formula.dns import records as dns_records
from infra_formula.fileset import conflicts, contents, originals
from infra_formula.minion import Minion
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def configured(
    name: str, settings: dict[str, Any], upstream: list[str] | None, own: list[str]
) -> dict[str, Any]:
    """dnsmasq has the configuration of the parameters, tested by dnsmasq itself.

    name
        Absolute path of the configuration.
    settings
        ``port``, ``listen``, ``wildcards``, ``cnames``, ``options`` and ``admin_ip``.
    upstream
        ``dns_upstream``: servers for other names; None: those that this machine had before.
    own
        Addresses of this machine and of every INFRA node, which are never forwarded to.
    """
    try:
        text, servers = dnsmasq.desired(_minion(), settings, upstream, own)
        if contents.current(Path(name)) != contents.desired({"text": text}):
            dnsmasq.check_text(text, settings)
            conflicts.note_changed([name])
    except (SaltInvocationError, CommandExecutionError) as err:
        return {"name": name, "changes": {}, "result": False, "comment": str(err)}
    if not __opts__["test"]:
        originals.backup([name])
    ret = __states__["file.managed"](
        name=name, contents=text, user="root", group="root", mode="0644"
    )
    upstreams = ", ".join(server["address"] for server in servers) or "no server"
    return {**ret, "comment": f"{ret['comment']}; other names are forwarded to {upstreams}"}


def records(name: str, lines: list[str], admin_ip: str, port: int) -> dict[str, Any]:
    """The name server serves the records of the parameters, and no earlier ones.

    name
        Any name for the state.
    lines
        ``dns_records``.
    admin_ip
        Address that replaces ``${admin_ip}``.
    port
        Port of the server.
    """
    return state.converge(
        name,
        __opts__["test"],
        lambda: dnsmasq.plan_dns_records(_minion(), lines, admin_ip, port),
    )


def registered(
    name: str, records: dict[str, list[dns_records.Record]], port: int
) -> dict[str, Any]:
    """The name server serves the records of each registrant, from a file each.

    name
        Name of the file set.
    records
        Registrant → records, each ``address`` and ``names``.
    port
        Port of the server.
    """
    return state.converge(
        name,
        __opts__["test"],
        lambda: dnsmasq.plan_registered_records(_minion(), name, records, port),
    )


def migrated(name: str) -> dict[str, Any]:
    """Records that releases of Pigsty wrote elsewhere are in the directory of records.

    name
        Absolute path of that directory.

    A file whose name is in use there stays where it is, and a warning names it.
    """
    return state.converge(name, __opts__["test"], lambda: migration.plan(name))


def answering(name: str, lines: list[str], admin_ip: str, port: int) -> dict[str, Any]:
    """The server answers for one of its records, over UDP and over TCP.

    name
        Address of the server.
    lines, admin_ip, port
        As for :func:`records`.
    """

    def check() -> state.Plan:
        if __opts__["test"]:
            return state.Plan(comment="Health is checked only in a real run.")
        parsed, _ = dns_records.parse(lines, admin_ip)
        answered = dnsmasq.check_health(name, port, parsed[0] if parsed else None)
        units.record_healthy(_minion(), "dnsmasq")
        return state.Plan(comment=f"{name}:{port} answers over UDP and TCP: {answered}.")

    return state.converge(name, __opts__["test"], check)


redaction.guard(globals())
