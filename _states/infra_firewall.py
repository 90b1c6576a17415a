"""Ports that this machine's firewall lets in, and who gets through it to the services."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import salt.utils.path
from infra_formula import systemd
from infra_formula.fileset import atomic
from infra_formula.fileset.file_set import FileSet
from infra_formula.firewall import nftables
from infra_formula.firewall import ports as firewall_ports
from infra_formula.minion import Minion
from infra_formula.uninstall import install_record
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __states__: dict[str, Any]
    __opts__: dict[str, Any]
    __low__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_SET, _ROOT, _UNIT = "firewall", "/etc", "infra-firewall"
_RULES = "infra-firewall.nft"
_UNITS = {
    f"systemd/system/{_UNIT}.service": f"salt://infra/firewall/files/{_UNIT}.service",
    "systemd/system/nftables.service.d/infra.conf": "salt://infra/firewall/files/nftables.conf",
}
_LOADED = Path("/var/lib/infra/firewall.json")
"""How the table looked when it was loaded: nft words it in its own way, by its release."""
_PACKAGE = "nftables"
_TABLE = "table inet infra"


def open(name: str, ports: list[str], sources: list[str] | None = None) -> dict[str, Any]:
    """Ports are open, where firewalld or ufw runs; other ports are left as they are.

    name
        Any name for the state.
    ports
        Like ``80/tcp``.
    sources
        Addresses and networks that are let in; without it, everybody.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        firewall = firewall_ports.active()
        if firewall is None:
            return {**ret, "comment": "neither firewalld nor ufw runs"}
        have = firewall_ports.open_ports(firewall)
        wanted = ports
        if sources is not None:
            wanted = [f"{p} from {source}" for p in ports if p not in have for source in sources]
        missing = [rule for rule in wanted if rule not in have]
        if not missing:
            return {**ret, "comment": f"{firewall} lets in {', '.join(ports)}"}
        ret["changes"] = {firewall: missing}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"{firewall} would let in {missing}"}
        component = install_record.component_of(__low__.get("__sls__", ""))
        if component:  # what was open before is not closed on the way back
            ports_of_ours = {"ports": dict.fromkeys(missing, firewall)}
            install_record.add(component, ports_of_ours)
        for port in missing:
            firewall_ports.open_port(firewall, port)
    except CommandExecutionError as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{firewall} lets in {', '.join(ports)}"}


def confined(
    name: str,
    rows: list[dict[str, Any]],
    nodes: list[str],
    site: list[str],
    mode: str = "auto",
    opens: bool = True,
) -> dict[str, Any]:
    """The services' ports are reached by those who are entitled to, and by nobody else.

    name
        Any name for the state.
    rows
        Ports and who may reach them, see the execution module infra_firewall.
    nodes
        Addresses of the INFRA nodes.
    site
        ``node_firewall_intranet``.
    mode
        ``infra_firewall``: ``auto``, ``required`` or ``off``.
    opens
        Firewalld and ufw are told whom to let in.

    Where firewalld or ufw runs, it is told whom to let in; what we told it and is no longer so is
    taken back. Where no firewall drops by default, a table of nftables does it: one of our own,
    which never lets in what others drop.
    """
    ret: dict[str, Any] = {
        "name": name,
        "changes": {},
        "result": True,
        "comment": "",
        "warnings": [],
    }
    try:
        firewall = firewall_ports.active()
        if firewall and opens:
            _follow(ret, firewall, rows)
        guard = firewall_ports.guard()
        ours, told = firewall_ports.confinable(rows, nodes, site)
        if guard or mode == "off" or not ours:
            _withdraw(ret)
            because = guard or ("infra_firewall is off" if mode == "off" else "nothing to confine")
            _say(ret, f"no table of ours: {because}", f"{_TABLE} would go: {because}")
        else:
            ret["warnings"] += told
            _table(ret, ours, mode)
    except (SaltInvocationError, CommandExecutionError, OSError) as err:
        return _done({**ret, "changes": {}, "result": False, "comment": str(err)})
    return _done(ret)


def _done(ret: dict[str, Any]) -> dict[str, Any]:
    if not ret["warnings"]:
        ret.pop("warnings")
    if __opts__["test"] and ret["changes"] and ret["result"] is True:
        ret["result"] = None
    return ret


def _say(ret: dict[str, Any], done: str, would: str) -> None:
    said = would if __opts__["test"] and ret["changes"] else done
    ret["comment"] = f"{ret['comment']}; {said}" if ret["comment"] else said


# -- firewalld and ufw ---------------------------------------------------------------------------


def _follow(ret: dict[str, Any], firewall: str, rows: list[dict[str, Any]]) -> None:
    """Have a firewall let in those who are entitled, and no longer those who were."""
    have = firewall_ports.open_ports(firewall)
    wanted = firewall_ports.granted(rows)
    for row in rows:
        for port in row["ports"]:
            if port in have and row["ours"] and row["sources"] is not None:
                ret["warnings"].append(
                    f"{firewall} lets everybody reach {port} ({row['service']}); close it there, "
                    "and name who needs it in infra_firewall_allow"
                )
    missing = [r for r in wanted if r not in have and r.partition(" from ")[0] not in have]
    gone = {
        rule: component
        for component, kinds in install_record.record().items()
        for rule, by in kinds.get("ports", {}).items()
        if by == firewall and " from " in rule and rule in have and rule not in wanted
    }
    if missing:
        ret["changes"][firewall] = missing
    ret["changes"].update({f"{firewall} {rule}": "closed" for rule in gone})
    if not __opts__["test"]:
        component = install_record.component_of(__low__.get("__sls__", ""))
        if component and missing:
            install_record.add(component, {"ports": dict.fromkeys(missing, firewall)})
        for rule in missing:
            firewall_ports.open_port(firewall, rule)
        for rule, owner in gone.items():
            firewall_ports.close_port(firewall, rule)
            install_record.forget(owner, "ports", [rule])
    ports = _ports([row for row in rows if row["opened"]])
    _say(
        ret,
        f"{firewall} lets in {ports or 'nothing'} for those who are entitled",
        f"{firewall} would follow who is entitled",
    )


# -- the table of nftables -----------------------------------------------------------------------


def _files(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    try:
        files = {_RULES: {"text": nftables.text(rows), "mode": "0644"}}
    except ValueError as err:
        raise CommandExecutionError(str(err)) from err
    for path, source in _UNITS.items():
        text = _minion().call("cp.get_file_str", source)
        if not text:
            raise CommandExecutionError(f"{source} is not served")
        files[path] = {"text": text, "mode": "0644"}
    return files


def _table(ret: dict[str, Any], rows: list[dict[str, Any]], mode: str) -> None:
    """Have the table in force, now and after a restart."""
    locked_out = firewall_ports.locked_out(rows)
    if locked_out:
        raise CommandExecutionError(
            f"{', '.join(locked_out)}: SSH listens there, and would be confined; nothing was "
            "changed. Give the service another port"
        )
    files = _files(rows)
    fault = _installed(ret)
    if fault:
        _without(ret, fault, mode)
        return
    if nftables.unavailable() is None:
        fault = nftables.refusal(files[_RULES]["text"])
        if fault:
            _without(ret, f"nft refuses {_TABLE}: {fault}", mode)
            return
    plan = FileSet(_SET, _ROOT, replace=files).plan(files)
    differs = plan.has_changes
    runs = systemd.unit_state(_UNIT)["active"]
    state = _state(files[_RULES]["text"])
    why = (
        "its rules changed"
        if differs
        else ""
        if runs and state == _remembered()
        else ("it was not in force" if not runs or state["table"] is None else "it was changed")
    )
    if not why:
        _say(ret, f"{_TABLE} confines {_ports(rows)}", "")
        return
    ret["changes"].update(plan.diff)
    ret["changes"][_TABLE] = f"loaded: {why}"
    if not __opts__["test"]:
        component = install_record.component_of(__low__.get("__sls__", ""))
        if component:
            was = {"file": "", "active": False}
            entries = {"units": {_UNIT: was}, "paths": {str(_LOADED): "absent"}}
            install_record.add(component, entries)
        if differs:
            plan.apply(reload=_load)
        else:
            _load()
        text = json.dumps(_state(files[_RULES]["text"]), sort_keys=True)
        atomic.write(str(_LOADED), text + "\n", 0o644)
    _say(ret, f"{_TABLE} confines {_ports(rows)}", f"{_TABLE} would confine {_ports(rows)}")


def _ports(rows: list[dict[str, Any]]) -> str:
    return ", ".join(sorted({port for row in rows for port in row["ports"]}))


def _load() -> None:
    systemd.systemctl("daemon-reload")
    systemd.systemctl("enable", "--quiet", f"{_UNIT}.service")
    systemd.systemctl("reload-or-restart", f"{_UNIT}.service")


def _state(text: str) -> dict[str, Any]:
    """Digests of the file, and of the table in force; the latter None where there is none."""
    table = None
    if nftables.unavailable() is None:
        rules = nftables.own(nftables.ruleset())
        table = _digest(json.dumps(rules, sort_keys=True)) if rules else None
    return {"file": _digest(text), "table": table}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _remembered() -> Any:
    try:
        return json.loads(_LOADED.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _installed(ret: dict[str, Any]) -> str | None:
    """Have nft on this machine; returns why it cannot be used, None where it can."""
    if salt.utils.path.which("nft"):
        return nftables.unavailable()
    if __opts__["test"]:
        # The package lists of a bare machine may not know it yet; a real run refreshes them.
        ret["changes"][_PACKAGE] = "would be installed"
        return None
    component = install_record.component_of(__low__.get("__sls__", ""))
    if component:
        install_record.add(component, {"packages": {_PACKAGE: False}})
    # Nobody else may have had the package lists refreshed in this run.
    done = __states__["pkg.installed"](name=_PACKAGE, install_recommends=False, refresh=True)
    if done["result"] is False:
        if component:
            install_record.forget(component, "packages", [_PACKAGE])
        return f"{_PACKAGE} cannot be installed: {done['comment']}"
    if component:
        install_record.add_package_changes(component, done.get("changes", {}))
    ret["changes"].update(done.get("changes", {}))
    return nftables.unavailable()


def _without(ret: dict[str, Any], fault: str, mode: str) -> None:
    """Tell that nothing confines the ports: an error where that is required, else a warning."""
    if mode == "required":
        raise CommandExecutionError(
            f"infra_firewall is required, and there is no firewall on this machine: {fault}"
        )
    ret["warnings"].append(
        f"the services' ports are open to every machine: no firewall runs, and {fault}. Confine "
        "them by a firewall outside of this machine, or run firewalld or ufw; infra_status.access "
        "shows who reaches what; infra_firewall: 'off' ends this warning"
    )
    ret["comment"] = f"not confined: {fault}"


def _withdraw(ret: dict[str, Any]) -> None:
    """Have no table of ours, and no unit that loads it."""
    gone = FileSet(_SET, _ROOT).remove(test=True)
    if not gone:
        return
    ret["changes"][_TABLE] = "removed"
    if __opts__["test"]:
        return
    systemd.systemctl("disable", "--now", "--quiet", f"{_UNIT}.service")
    FileSet(_SET, _ROOT).remove()
    systemd.systemctl("daemon-reload")
    _LOADED.unlink(missing_ok=True)
