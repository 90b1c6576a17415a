"""Plans of the firewall's states: ports opened, and services confined to those entitled to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

from infra_formula import paths, systemd
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic
from infra_formula.fileset.contents import File
from infra_formula.fileset.file_set import FileSet
from infra_formula.firewall import admission, entitlements, nftables, ports
from infra_formula.minion import Minion
from infra_formula.state import Plan
from infra_formula.uninstall import install_record

ROOT = "/etc"
_UNIT = "infra-firewall"
_RULES = "infra-firewall.nft"
_UNITS = {
    f"systemd/system/{_UNIT}.service": f"salt://infra/firewall/files/{_UNIT}.service",
}
_DROP_IN = "systemd/system/nftables.service.d/infra.conf"
_AFTER_NFTABLES = """\
# Managed by Salt (infra formula). Changes here are overwritten; put yours into a drop-in beside it.
# What nftables.service loads mostly begins with `flush ruleset`: the table of this formula follows.
[Service]
ExecStartPost=-/usr/sbin/nft -f /etc/infra-firewall.nft
ExecReload=-/usr/sbin/nft -f /etc/infra-firewall.nft
"""
_PACKAGE = "nftables"
_TABLE = "table inet infra"


def plan_open(wanted_ports: list[str], sources: list[str] | None, component: str | None) -> Plan:
    """Plan to open ports in firewalld or ufw, if one is active; other ports are left as they are.

    See the state ``infra_firewall.open``.
    """
    firewall = ports.active()
    if firewall is None:
        return Plan(comment="Neither firewalld nor ufw is active.")
    current = ports.open_ports(firewall)
    rules = wanted_ports
    if sources is not None:
        closed = [port for port in wanted_ports if port not in current]
        rules = [f"{port} from {source}" for port in closed for source in sources]
    missing = [rule for rule in rules if rule not in current]
    return Plan(
        changes={firewall: missing} if missing else {},
        comment=f"{firewall} allows {', '.join(wanted_ports)}.",
        would=f"{firewall} would allow {', '.join(missing)}.",
        apply=lambda: _open(firewall, missing, component),
    )


def _open(firewall: str, rules: list[str], component: str | None) -> None:
    if component and rules:
        install_record.add(component, {"ports": dict.fromkeys(rules, firewall)})
    for rule in rules:
        ports.open_port(firewall, rule)


def plan_confined(
    minion: Minion,
    rows: list[dict[str, Any]],
    nodes: list[str],
    site: list[str],
    mode: str,
    opens: bool,
    component: str | None,
) -> Plan:
    """Plan to let those who are entitled reach the services' ports, and nobody else.

    See the state ``infra_firewall.confined``.
    """
    firewall = ports.active()
    parts = [_plan_rules(firewall, rows, component)] if firewall and opens else []
    nft = nftables.Reading()
    dropping = admission.default_drop_firewall(nft)
    confined, warnings = entitlements.confinable(rows, nodes, site)
    if dropping or mode == "off" or not confined:
        reason = dropping or ("infra_firewall is off" if mode == "off" else "nothing to confine")
        parts.append(_plan_no_table(reason))
    else:
        parts.append(Plan(warnings=warnings))
        parts.append(_plan_table(minion, confined, mode, component, nft))
    return _joined(parts)


def _joined(parts: Sequence[Plan]) -> Plan:
    """Several plans as one, carried out in their order."""
    changes = {name: change for part in parts for name, change in part.changes.items()}
    warnings = [line for part in parts for line in part.warnings]

    def apply() -> str:
        comments = [(part.apply() if part.changes else None) or part.comment for part in parts]
        changes.clear()
        warnings.clear()
        for part in parts:
            changes.update(part.changes)
            warnings.extend(part.warnings)
        return " ".join(filter(None, comments))

    return Plan(
        changes=changes,
        comment=" ".join(part.comment for part in parts if part.comment),
        would=" ".join(filter(None, (p.would if p.changes else p.comment for p in parts))),
        apply=apply,
        warnings=warnings,
    )


# -- firewalld and ufw ---------------------------------------------------------------------------


def _plan_rules(firewall: str, rows: list[dict[str, Any]], component: str | None) -> Plan:
    """Allow those who are entitled, and close what this formula opened for others."""
    current = ports.open_ports(firewall)
    wanted = entitlements.allow_rules(rows)
    warnings = [
        f"{firewall} allows everybody to reach {port} ({row['service']}); close it there, and list"
        " who needs it in infra_firewall_allow"
        for row in rows
        for port in row["ports"]
        if port in current and row["ours"] and row["sources"] is not None
    ]
    missing = [r for r in wanted if r not in current and r.partition(" from ")[0] not in current]
    obsolete = {
        rule: owner
        for owner, kinds in install_record.record().items()
        for rule, by in kinds.get("ports", {}).items()
        if by == firewall and " from " in rule and rule in current and rule not in wanted
    }

    def apply() -> None:
        _open(firewall, missing, component)
        for rule, owner in obsolete.items():
            ports.close_port(firewall, rule)
            install_record.forget(owner, "ports", [rule])

    opened = _port_list([row for row in rows if row["opened"]])
    return Plan(
        changes={
            **({firewall: missing} if missing else {}),
            **{f"{firewall} {rule}": "closed" for rule in obsolete},
        },
        comment=f"{firewall} allows {opened or 'no port'} for those who are entitled.",
        would=f"Rules of {firewall} would change: {len(missing)} added, {len(obsolete)} removed.",
        apply=apply,
        warnings=warnings,
    )


# -- the table of nftables -----------------------------------------------------------------------


def _plan_table(
    minion: Minion,
    rows: list[dict[str, Any]],
    mode: str,
    component: str | None,
    nft: nftables.Reading,
) -> Plan:
    """Load the table now and at each start of the machine."""
    ssh = ports.ssh_ports(rows)
    if ssh:
        raise CommandFailed(
            f"{', '.join(ssh)}: SSH listens there and would be confined. Nothing was changed; set"
            " another port for the service"
        )
    files = _files(minion, rows)
    installed = salt.utils.path.which("nft") is not None
    if installed and nft.fault:
        return _plan_unconfined(nft.fault, mode)
    files_plan = FileSet("firewall", ROOT, replace=files).plan(files)
    reason = _load_reason(files_plan.has_changes, _state(files, nft) if installed else None)
    fault = _refusal(files) if installed and reason else None
    if fault:
        return _plan_unconfined(fault, mode)
    changes: dict[str, Any] = {} if installed else {_PACKAGE: "would be installed"}
    if reason:
        changes = {**changes, **files_plan.diff, _TABLE: f"loaded: {reason}"}
    warnings: list[str] = []

    def apply() -> str | None:
        if not installed:
            del changes[_PACKAGE]
            package, fault = _install(minion, component, files)
            if fault:
                unconfined = _plan_unconfined(fault, mode)
                warnings.extend(unconfined.warnings)
                changes.clear()
                changes.update(package)
                return unconfined.comment
            changes.update(package)
        if component:
            loaded = {"units": {_UNIT: {"file": "", "active": False}}}
            install_record.add(component, {**loaded, "paths": {str(_record()): "absent"}})
        if files_plan.has_changes:
            files_plan.apply(reload=_load)
        else:
            _load()
        state = _state(files, nftables.Reading())
        atomic.write(_record(), json.dumps(state, sort_keys=True) + "\n", 0o644)
        return None

    confined = f"{_TABLE} confines {_port_list(rows)}."
    would = f"{_TABLE} would confine {_port_list(rows)}."
    return Plan(changes, confined, would, apply, warnings)


def _files(minion: Minion, rows: list[dict[str, Any]]) -> dict[str, File]:
    try:
        files: dict[str, File] = {
            _RULES: {"text": nftables.text(rows), "mode": "0644"},
            _DROP_IN: {"text": _AFTER_NFTABLES, "mode": "0644"},
        }
    except ValueError as err:
        raise CommandFailed(str(err)) from err
    for path, source in _UNITS.items():
        text = minion.call("cp.get_file_str", source)
        if not text:
            raise CommandFailed(f"{source}: expected a file that the master serves")
        files[path] = {"text": text, "mode": "0644"}
    return files


def _refusal(files: dict[str, File]) -> str | None:
    """Why nft cannot load the table; None if it can."""
    refused = nftables.check(files[_RULES]["text"])
    return f"nft refuses {_TABLE}: {refused}" if refused else None


def _load_reason(files_differ: bool, state: dict[str, Any] | None) -> str:
    """Why the table has to be loaded; empty if it is loaded as it was written."""
    if files_differ or state is None:
        return "its rules changed"
    if not systemd.unit_state(_UNIT)["active"] or state["table"] is None:
        return "it was not loaded"
    return "" if state == _recorded() else "it was changed"


def _state(files: dict[str, File], nft: nftables.Reading) -> dict[str, Any]:
    """Digests of the file and of the loaded table, whose wording depends on nft's release."""
    rules = nftables.managed_table(nft.rules)
    table = _digest(json.dumps(rules, sort_keys=True)) if rules else None
    return {"file": _digest(files[_RULES]["text"]), "table": table}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _recorded() -> Any:
    try:
        return json.loads(_record().read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _record() -> Path:
    return paths.STATE_DIR / "firewall.json"


def _install(
    minion: Minion, component: str | None, files: dict[str, File]
) -> tuple[dict[str, Any], str | None]:
    """Install nftables; returns the changes, and why the table cannot be loaded if it cannot."""
    if component:
        install_record.add(component, {"packages": {_PACKAGE: False}})
    try:
        # No other state may have refreshed the package lists in this run.
        changes = minion.call("pkg.install", _PACKAGE, install_recommends=False, refresh=True)
        systemd.SNAPSHOT.drop()
    except CommandExecutionError as err:
        if component:
            install_record.forget(component, "packages", [_PACKAGE])
        return {}, f"{_PACKAGE} cannot be installed: {err}"
    if component:
        install_record.add_package_changes(component, changes)
    return changes, nftables.Reading().fault or _refusal(files)


def _plan_unconfined(fault: str, mode: str) -> Plan:
    """No table: an error if one is required, a warning otherwise."""
    if mode == "required":
        raise CommandFailed(f"infra_firewall is required, but no firewall is active: {fault}")
    warning = (
        f"The services' ports are open to every machine: no firewall is active, and {fault}."
        " Confine them by a firewall outside of this machine, or start firewalld or ufw."
        " infra_status.access reports who reaches what; infra_firewall: 'off' ends this warning"
    )
    return Plan(comment=f"Not confined: {fault}.", warnings=[warning])


def _plan_no_table(reason: str) -> Plan:
    """Remove the table, and the unit that loads it."""
    file_set = FileSet("firewall", ROOT)

    def apply() -> None:
        systemd.systemctl("disable", "--now", "--quiet", f"{_UNIT}.service")
        file_set.remove()
        systemd.systemctl("daemon-reload")
        _record().unlink(missing_ok=True)

    return Plan(
        changes={_TABLE: "removed"} if file_set.remove(test=True) else {},
        comment=f"There is no {_TABLE}: {reason}.",
        would=f"{_TABLE} would be removed: {reason}.",
        apply=apply,
    )


def _load() -> None:
    systemd.systemctl("daemon-reload")
    systemd.systemctl("enable", "--quiet", f"{_UNIT}.service")
    systemd.systemctl("reload-or-restart", f"{_UNIT}.service")


def _port_list(rows: list[dict[str, Any]]) -> str:
    return ", ".join(sorted({port for row in rows for port in row["ports"]}))
