"""Name resolution of this machine as states: its nameservers, and its table of hosts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, state
from infra_formula.dns import resolver
from salt.exceptions import SaltInvocationError

if TYPE_CHECKING:
    __states__: dict[str, Any]
    __opts__: dict[str, Any]


def configured(
    name: str, method: str, servers: list[str], options: list[str], own: list[str]
) -> dict[str, Any]:
    """This machine queries the site's name servers first, three nameservers at most.

    name
        Any name for the state.
    method
        ``add``, ``overwrite`` or ``none`` (nothing changes).
    servers
        Addresses of the site's name servers, in order.
    options
        Lines for the top of resolv.conf.
    own
        Addresses of this machine and of the INFRA nodes; other nameservers are external.

    If systemd-resolved or NetworkManager owns ``/etc/resolv.conf``, a drop-in configures the owner.
    Otherwise the file is written, and the original is backed up.
    """
    return state.converge(
        name, __opts__["test"], lambda: resolver.plan(method, servers, options, own)
    )


def released(name: str) -> dict[str, Any]:
    """The owner of resolv.conf is reloaded, after its drop-in was removed.

    name
        Any name for the state.
    """

    def compare() -> state.Plan:
        owner = resolver.owner()
        if owner == "file":
            return state.Plan(comment="Nothing reads a drop-in.")
        return state.Plan(
            changes={owner: "reloaded"},
            comment=f"{owner} reloaded.",
            would=f"{owner} would be reloaded.",
            apply=resolver.reload,
        )

    return state.converge(name, __opts__["test"], compare)


def hosts(name: str, lines: list[str], admin_ip: str) -> dict[str, Any]:
    """Entries of the formula are in the table of hosts, beside others.

    name
        Absolute path, ``/etc/hosts``.
    lines
        Entries in its syntax; ``${admin_ip}`` is replaced.
    admin_ip
        Address that replaces ``${admin_ip}``.
    """
    path = Path(name)
    try:
        current = path.read_text(encoding="utf-8") if path.is_file() else ""
        text = resolver.hosts_text(current, resolver.hosts_entries(lines, admin_ip))
    except (SaltInvocationError, OSError) as err:
        return {"name": name, "changes": {}, "result": False, "comment": str(err)}
    try:
        ret = __states__["file.managed"](name=name, contents=text, mode="0644")
    except OSError as err:
        ret = {"name": name, "changes": {}, "result": False, "comment": str(err)}
    if ret["result"] is False:
        hint = "if the file cannot be written, set node_write_etc_hosts: false"
        return {**ret, "comment": f"{ret['comment']}; {hint}"}
    return ret


redaction.guard(globals())
