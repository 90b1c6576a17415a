"""How this machine finds names, as states: its nameservers, and its own table of hosts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra_formula import process
from infra_formula.dns import dnsmasq, resolver
from infra_formula.fileset import atomic
from infra_formula.fileset.file_set import FileSet
from infra_formula.minion import Minion
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_SET = "resolver"
_REMEMBERED = "/var/lib/infra/resolver.json"
_APPLY = {
    "systemd-resolved": ["systemctl", "restart", "systemd-resolved"],
    "NetworkManager": ["systemctl", "reload", "NetworkManager"],
}


def configured(
    name: str, method: str, servers: list[str], options: list[str], own: list[str]
) -> dict[str, Any]:
    """This machine asks the site's name servers first, three nameservers at most.

    name
        Any name for the state.
    method
        ``add``, ``overwrite`` or ``none`` (nothing is done).
    servers
        Addresses of the site's name servers, in order.
    options
        Lines put on top of resolv.conf.
    own
        Addresses of this machine and of the INFRA nodes: what else is there is foreign.

    Where systemd-resolved or NetworkManager owns ``/etc/resolv.conf``, a drop-in of its own tells
    it; else the file is written, and what was there first is kept below /var/lib/infra/replaced.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if method == "none" or not servers:
        return {**ret, "comment": "nameservers are left as they are"}
    owner = resolver.owner()
    foreign = resolver.foreign([*own, *servers])
    wanted = resolver.plan(method, servers, foreign)
    told = f"asks {', '.join(wanted)} (through {owner})"
    try:
        if owner == "file":
            changes = _write_file(wanted, options, foreign)
        else:
            changes = _write_dropin(owner, method, servers, wanted, options, foreign)
        if resolver.damaged():
            changes[_REMEMBERED] = "was damaged, and is made anew of what is in use"
            if not __opts__["test"]:
                _remember(foreign)
    except (SaltInvocationError, CommandExecutionError, OSError) as err:
        comment = f"{err}; where resolv.conf cannot be written, set node_dns_method: none"
        return {**ret, "result": False, "comment": comment}
    if not changes:
        return {**ret, "comment": told}
    if __opts__["test"]:
        return {**ret, "result": None, "changes": changes, "comment": f"would be so that it {told}"}
    return {**ret, "changes": changes, "comment": told}


def _write_file(wanted: list[str], options: list[str], foreign: list[str]) -> dict[str, Any]:
    current = ""
    if _minion().call("file.file_exists", "/etc/resolv.conf"):
        current = _minion().call("file.read", "/etc/resolv.conf")
    text = resolver.resolv_conf(wanted, options, current)
    files = {"resolv.conf": {"text": text}}
    plan = FileSet(_SET, "/etc", replace=files).plan(files)
    if not plan.has_changes:
        return {}
    if not __opts__["test"]:
        _remember(foreign)
        plan.apply()
    return {"/etc/resolv.conf": "\n".join(plan.diff.values())}


def _write_dropin(
    owner: str,
    method: str,
    servers: list[str],
    wanted: list[str],
    options: list[str],
    foreign: list[str],
) -> dict[str, Any]:
    if owner == "systemd-resolved":
        # It asks the links' own servers beside these by itself.
        text = resolver.resolved_conf(method, servers[:3])
        path = "/etc/systemd/resolved.conf.d/infra.conf"
    else:
        text = resolver.networkmanager_conf(wanted, options)
        path = "/etc/NetworkManager/conf.d/infra-dns.conf"
    if not __opts__["test"]:
        _remember(foreign)
    done = __states__["file.managed"](
        name=path, contents=text, user="root", group="root", mode="0644", makedirs=True
    )
    if done["result"] is False:
        raise CommandExecutionError(done["comment"])
    if done["changes"] and not __opts__["test"]:
        outcome = process.run(_APPLY[owner])
        if outcome["retcode"]:
            raise CommandExecutionError(f"{' '.join(_APPLY[owner])}: {outcome['stderr']}")
    return {path: done["changes"]} if done["changes"] else {}


def released(name: str) -> dict[str, Any]:
    """Whoever owns resolv.conf is told that our drop-in changed.

    name
        Any name for the state.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    owner = resolver.owner()
    if owner == "file":
        return {**ret, "comment": "nobody but the file itself"}
    ret["changes"] = {owner: "reloaded"}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"{owner} would be reloaded"}
    outcome = process.run(_APPLY[owner])
    if outcome["retcode"]:
        comment = f"{' '.join(_APPLY[owner])}: {outcome['stderr']}"
        return {**ret, "changes": {}, "result": False, "comment": comment}
    return {**ret, "comment": f"{owner} is told"}


def _remember(foreign: list[str]) -> None:
    if resolver.damaged() or foreign != resolver.remembered():
        atomic.write(_REMEMBERED, json.dumps(foreign), 0o644)


def hosts(name: str, lines: list[str], admin_ip: str) -> dict[str, Any]:
    """Entries of ours are in the table of hosts, beside those of others.

    name
        Absolute path, ``/etc/hosts``.
    lines
        Entries in its syntax; ``${admin_ip}`` is replaced.
    admin_ip
        Its value.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    parsed = dnsmasq.parse(lines, admin_ip, "node_etc_hosts")
    if parsed["problems"]:
        return {**ret, "result": False, "comment": "\n".join(parsed["problems"])}
    wanted = [f"{r['address']} {' '.join(r['names'])}" for r in parsed["records"]]
    current = _minion().call("file.read", name) if _minion().call("file.file_exists", name) else ""
    text = resolver.hosts_text(current, wanted)
    try:
        done = __states__["file.managed"](name=name, contents=text, mode="0644")
    except OSError as err:
        done = {**ret, "result": False, "comment": str(err)}
    if done["result"] is False:
        comment = f"{done['comment']}; where it cannot be written, set node_write_etc_hosts: false"
        return {**done, "comment": comment}
    return done
