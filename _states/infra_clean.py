"""Removal of a component, stage by stage; see the library's uninstall package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction, systemd
from infra_formula.errors import InvalidInput
from infra_formula.fileset import manifest
from infra_formula.fileset.file_set import FileSet
from infra_formula.firewall import ports
from infra_formula.minion import Minion
from infra_formula.state import Plan, converge
from infra_formula.uninstall import accounts, install_record, packages, removal
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


_REMOVED = "infra_clean.removed"


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def allowed(
    name: str,
    safeguard: bool,
    remove: list[str],
    confirm: list[str],
    errors: list[str] | None = None,
) -> dict[str, Any]:
    """Removal from this machine is allowed.

    name
        Any name for the state; it has to run first, and with ``failhard``.
    safeguard
        ``infra_safeguard``.
    remove, confirm
        ``infra_remove`` and ``infra_remove_confirm``.
    errors
        What is wrong with the pillar. It names what is removed, so that nothing is removed then.
    """

    def compare() -> Plan:
        if errors:
            head = "The pillar is not valid; nothing was removed."
            raise InvalidInput("\n".join([head, *errors]))
        removal.check_allowed(safeguard, remove, confirm)
        _minion().context[_REMOVED] = set()
        packages.Foretold.start(_minion())
        return Plan(comment=f"Removal is allowed: {', '.join(remove)}.")

    return converge(name, __opts__["test"], compare)


def confirmed(name: str, data: list[str], remove: list[str], confirm: list[str]) -> dict[str, Any]:
    """The data that is to be deleted is named in the pillar.

    name
        Any name for the state; it has to run before anything is removed, and with ``failhard``.
    data
        Absolute paths of data.
    remove, confirm
        ``infra_remove`` and ``infra_remove_confirm``.
    """

    def compare() -> Plan:
        if "data" not in remove:
            return Plan(comment="No data is deleted.")
        removal.check_confirmed(data, confirm)
        return Plan(comment=f"Deletion confirmed for {', '.join(data)}.")

    return converge(name, __opts__["test"], compare)


def service(name: str) -> dict[str, Any]:
    """The services of a component are stopped and disabled.

    name
        The component.
    """
    return converge(name, __opts__["test"], lambda: removal.plan_stop(_minion(), name))


def config(name: str, sets: dict[str, str], caches: list[str]) -> dict[str, Any]:
    """A component's files are removed, the originals restored, the services before it started.

    name
        The component.
    sets
        Its file sets: name → its directory, for one whose manifest is corrupt.
    caches
        Absolute paths of directories whose content can be downloaded again.

    Unmanaged files stay, and so do the directories that hold some.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    test = __opts__["test"]
    try:
        published = manifest.published()
        for file_set in (s for s in sets if s in published):
            root = published[file_set] or sets[file_set]
            for rel in FileSet(file_set, root).remove(test=test):
                ret["changes"][f"{root}/{rel}"] = "removed"
        for cache in removal.unconfirmed(caches, []):
            ret["changes"][cache] = "removed"
            if not test:
                removal.delete(cache)
        record = _record(name)
        paths = removal.restore_files(record.get("paths", {}), test=test)
        ret["changes"].update(paths)
        if not test and any("/systemd/" in path for path in ret["changes"]):
            systemd.systemctl("daemon-reload")
        ret["changes"].update(_settings(name, record))
        units = record.get("units", {})
        if units and not test:
            # systemd lists a failed unit although its file is removed.
            names = [systemd.unit_name(unit) for unit in units]
            systemd.systemctl("reset-failed", *names, must=False)
        ret["changes"].update(removal.restore_units(_minion(), units, test=test))
        if not test:
            # The next apply records these again: they may have been changed by then.
            install_record.forget(name, "units", units)
            whole = [p for p, was in record.get("paths", {}).items() if not _is_folder(p, was)]
            install_record.forget(name, "paths", whole)
    except (SaltInvocationError, CommandExecutionError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    _assume_removed(p for p, done in ret["changes"].items() if done == "removed")
    return _report(ret, f"The configuration of {name}")


def _is_folder(path: str, was: str) -> bool:
    """Whether a directory, or a link to one, has to be removed once it is empty."""
    return was == "absent" and _minion().call("file.directory_exists", path)


def _settings(component: str, record: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Restore settings that are not files: firewall, SELinux, time zone."""
    changes: dict[str, Any] = {}
    test = __opts__["test"]
    for port, firewall in record.get("ports", {}).items():
        if ports.active() == firewall and (port in ports.open_ports(firewall)):
            changes[f"{firewall} {port}"] = "closed"
            if not test:
                ports.close_port(firewall, port)
    for boolean, was in record.get("booleans", {}).items():
        if not was and _minion().call("selinux.getsebool", boolean).get("State") == "on":
            changes[boolean] = "off"
            if not test:
                _minion().call("selinux.setsebool", boolean, "off", persist=True)
    for pattern in record.get("contexts", {}):
        if _minion().call("selinux.fcontext_get_policy", pattern, sel_type="httpd_sys_content_t"):
            changes[pattern] = "no context"
            if not test:
                _minion().call(
                    "selinux.fcontext_delete_policy", pattern, sel_type="httpd_sys_content_t"
                )
    for zone, was in record.get("timezones", {}).items():
        if zone != was and _minion().call("timezone.get_zone") == zone:
            changes["timezone"] = was
            if not test:
                _minion().call("timezone.set_zone", was)
    if not test:
        for kind in ("ports", "booleans", "contexts", "timezones"):
            if record.get(kind):
                install_record.forget(component, kind, record[kind])
    return changes


def package(name: str) -> dict[str, Any]:
    """Packages of a component are removed, unless another package requires them.

    name
        The component.

    Packages that were there before installation stay; those that were removed for the component
    are installed again.
    """
    test = __opts__["test"]
    return converge(name, test, lambda: packages.plan_removal(_minion(), name, test))


def data(name: str, paths: list[str]) -> dict[str, Any]:
    """The data of a component is deleted.

    name
        The component.
    paths
        Absolute paths, each confirmed (see :func:`confirmed`).
    """

    def compare() -> Plan:
        plan = removal.plan_deletion(name, paths)
        _assume_removed(plan.changes)
        return plan

    return converge(name, __opts__["test"], compare)


def rest(name: str, remove: list[str], data: list[str]) -> dict[str, Any]:
    """Empty directories that a component created, and its accounts, are removed.

    name
        The component.
    remove
        ``infra_remove``; accounts go with packages, unless their data stays.
    data
        Absolute paths of the data of every component.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        record = _record(name)
        paths = record.get("paths", {})
        # A daemon that is being stopped may write once more: an empty directory of data stays.
        stays = [] if "data" in remove else data
        absent = [p for p, was in paths.items() if was == "absent" and p not in stays]
        empty = removal.empty_directories(absent, _assumed_removed())
        ret["changes"] = dict.fromkeys(empty, "removed")
        for folder in [] if __opts__["test"] else empty:
            _minion().call("file.rmdir", folder)
        links = removal.dangling_links(absent, empty)
        ret["changes"].update(dict.fromkeys(links, "removed"))
        for link in [] if __opts__["test"] else links:
            removal.delete(link)
        left = stays if __opts__["test"] else data
        staying = [] if "package" not in remove else _accounts(ret, name, record, left)
        if not __opts__["test"]:
            install_record.forget(name, "paths", ret["changes"])
    except (CommandExecutionError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    _assume_removed(ret["changes"])
    return _report(ret, f"Empty directories and accounts of {name}", staying)


def _assume_removed(paths: Iterable[str]) -> None:
    """With ``test=True``: have the following states of this run treat paths as removed."""
    if __opts__["test"]:
        _minion().context.setdefault(_REMOVED, set()).update(paths)


def _assumed_removed() -> set[str]:
    return set(_minion().context.get(_REMOVED, ())) if __opts__["test"] else set()


def _accounts(
    ret: dict[str, Any], component: str, record: dict[str, Any], data: list[str]
) -> list[str]:
    managed = {
        kind: [n for n, was in record.get(kind, {}).items() if not was]
        for kind in ("accounts", "groups")
    }
    result = accounts.removable(
        managed["accounts"], managed["groups"], data, stopped=__opts__["test"]
    )
    staying = []
    for kind, function in (("accounts", "user.delete"), ("groups", "group.delete")):
        for one, why in result[kind].items():
            if why:
                staying.append(f"{one} stays: {why}")
                continue
            ret["changes"][one] = "removed"
            # With an account its group of the same name goes, too.
            exists = "user.info" if kind == "accounts" else "group.info"
            if (
                not __opts__["test"]
                and _minion().call(exists, one)
                and not _minion().call(function, one)
            ):
                raise CommandExecutionError(f"{one} cannot be removed; see the minion's log")
        if not __opts__["test"]:
            removed = [n for n in managed[kind] if not result[kind].get(n)]
            install_record.forget(component, kind, removed)
    return staying


def finished(name: str, remove: list[str], data: list[str]) -> dict[str, Any]:
    """What could not be removed before something else is removed; and the install record itself.

    name
        Any name for the state; it has to run last.
    remove
        ``infra_remove``.
    data
        Absolute paths of the data of every component.

    What is still there (packages, data and their accounts) stays in the record, so that it can be
    removed later.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    test = __opts__["test"]
    try:
        reported = _assumed_removed()
        for component in install_record.record():
            steps = [rest(component, remove, data)]
            if "package" in remove and not test:
                steps.insert(0, package(component))
            for step in steps:
                changes = {k: v for k, v in step["changes"].items() if k not in reported}
                ret["changes"].update(changes)
                if step["result"] is False or step.get("warnings"):
                    message = "; ".join(step.get("warnings", [step["comment"]]))
                    return {**ret, "result": False, "comment": f"{component}: {message}"}
        left = [] if test and "package" in remove else removal.left(_minion())
        if left:
            return {**ret, "comment": f"These stay in the install record: {', '.join(left)}"}
        purged = removal.purge_state_dir(data, test, _assumed_removed())
        ret["changes"].update(dict.fromkeys(purged, "removed"))
    except (CommandExecutionError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    return _report(ret, "The install record")


def _record(component: str) -> dict[str, dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = install_record.record().get(component, {})
    return entries


def _report(ret: dict[str, Any], what: str, staying: list[str] | None = None) -> dict[str, Any]:
    behind = f"; {'; '.join(staying)}" if staying else ""
    if not ret["changes"]:
        return {**ret, "comment": f"{what}: nothing to remove{behind}"}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"{what}: would be removed{behind}"}
    return {**ret, "comment": f"{what}: removed{behind}"}


redaction.guard(globals())
