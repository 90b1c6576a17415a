"""The site's name server as states: its configuration, its records, and that it answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import salt.utils.path
from infra_formula.daemon import units
from infra_formula.dns import dnsmasq
from infra_formula.fileset import originals
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


_SET = "dns"
_TEMPLATE = "salt://infra/dns/files/dnsmasq.conf.j2"
_EARLIER = ("/etc/dnsmasq.d/pigsty", "/infra/hosts")


def configured(
    name: str, settings: dict[str, Any], upstream: list[str] | None, own: list[str]
) -> dict[str, Any]:
    """dnsmasq's configuration is what the parameters say, tested by dnsmasq itself.

    name
        Absolute path of the configuration.
    settings
        See ``infra_dns.config_text`` among the execution modules.
    upstream
        ``dns_upstream``: servers to ask for other names; None: those that this machine has anyhow.
    own
        Addresses of this machine and of every INFRA node, which are never asked.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        template = _minion().call("cp.get_file_str", _TEMPLATE)
        if not template:
            return {**ret, "result": False, "comment": f"{_TEMPLATE} is not served"}
        servers = dnsmasq.servers(upstream, own)
        text = dnsmasq.config_text(template, settings, servers)
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "result": False, "comment": str(err)}
    if not __opts__["test"]:
        originals.backup([name])  # what the package brought, for the way back
    program = salt.utils.path.which("dnsmasq")
    check = {"check_cmd": f"{program} --test -C", "tmp_dir": "/etc"} if program else {}
    done = __states__["file.managed"](
        name=name, contents=text, user="root", group="root", mode="0644", **check
    )
    told = ", ".join(s["address"] for s in servers) or "nobody"
    return {**done, "comment": f"{done['comment']}; other names are asked of {told}"}


def records(name: str, lines: list[str], admin_ip: str, port: int) -> dict[str, Any]:
    """The records of the parameters are served, and none that they no longer hold.

    name
        Any name for the state.
    lines
        ``dns_records``.
    admin_ip
        Takes the place of ``${admin_ip}``.
    port
        Port of the server.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    parsed = dnsmasq.parse(lines, admin_ip)
    if parsed["problems"]:
        return {**ret, "result": False, "comment": "\n".join(parsed["problems"])}
    files = {"default": {"text": dnsmasq.hosts_text(parsed["records"])}}
    return _published(ret, _SET, files, ("default",), port)


def registered(name: str, records: dict[str, list[dict[str, Any]]], port: int) -> dict[str, Any]:
    """The records of each registrant are served, each in a file of its own.

    name
        Name of the set of files.
    records
        Registrant → records, each ``address`` and ``names``.
    port
        Port of the server.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    render = dnsmasq.hosts_text
    files = {who: {"text": render(some)} for who, some in records.items() if some}
    return _published(ret, name, files, (), port)


def _published(
    ret: dict[str, Any], set_name: str, files: dict[str, Any], replace: tuple[str, ...], port: int
) -> dict[str, Any]:
    root = "/etc/hosts.d"
    try:
        plan = FileSet(set_name, root, replace=replace, skip_unmanaged=True).plan(files)
        if plan.unmanaged:
            ret["warnings"] = [
                f"{path}: somebody else's file is kept" for path in plan.unmanaged_paths()
            ]
        files = plan.files
        differs = plan.has_changes
        if not differs and not dnsmasq.pending():
            return {**ret, "comment": f"{len(files)} files are as they should be"}
        ret["changes"] = {"dnsmasq": "reloaded"}
        if differs:
            ret["changes"] = plan.summary()
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "the records would change"}
        if differs:
            dnsmasq.publish(_minion(), plan, port)
        else:
            dnsmasq.follow(_minion(), [], [], port)
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": "the records are as they should be"}


def migrated(name: str) -> dict[str, Any]:
    """Records that later releases of Pigsty keep elsewhere are moved to where they belong.

    name
        Absolute path of the directory of records.

    A file whose name is taken there already stays where it was, and is named in a warning;
    ``default`` is ours anyhow.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    moves: dict[str, str] = {}
    for folder in map(Path, _EARLIER):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not path.is_file() or path.name.startswith(".") or path.name == "default":
                continue
            target = f"{name}/{path.name}"
            if Path(target).exists() or target in moves.values():
                warning = f"{path} stays: {target} is there already"
                ret.setdefault("warnings", []).append(warning)
            else:
                moves[str(path)] = target
    if not moves:
        return {**ret, "comment": "there is nothing to move"}
    ret["changes"] = moves
    if __opts__["test"]:
        return {**ret, "result": None, "comment": "records would be moved"}
    for source, target in moves.items():
        made = __states__["file.rename"](name=target, source=source, makedirs=True)
        if not made["result"]:
            return {**ret, "result": False, "comment": made["comment"]}
        os.chmod(target, 0o644)
    return {**ret, "comment": "records were moved"}


def answering(name: str, lines: list[str], admin_ip: str, port: int) -> dict[str, Any]:
    """The server answers for one of its records, over UDP and over TCP.

    name
        Address of the server.
    lines, admin_ip, port
        As for :func:`records`.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if __opts__["test"]:
        return {**ret, "comment": "health is asked only in a real run"}
    found = dnsmasq.parse(lines, admin_ip)["records"]
    try:
        if found:
            first = found[0]
            pair = (first["names"][0], first["address"])
            dnsmasq.wait_for([pair], [], server=name, port=port)
            kind = "AAAA" if ":" in pair[1] else "A"
            over_tcp = dnsmasq.query(pair[0], kind, name, port, tcp=True)
            if pair[1] not in over_tcp["values"]:
                comment = f"{pair[0]} over TCP: answers {over_tcp['values']}, expected {pair[1]}"
                return {**ret, "result": False, "comment": comment}
            told = f"{pair[0]} is {pair[1]}"
        else:
            # Nothing to ask for: that it answers at all is what there is to see.
            for tcp in (False, True):
                dnsmasq.query("localhost", "A", name, port, tcp=tcp)
            told = "it has no records"
        units.record_healthy(_minion(), "dnsmasq")
    except CommandExecutionError as err:
        return {**ret, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{name}:{port} answers over UDP and TCP: {told}"}
