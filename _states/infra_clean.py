"""The way back as states: one for each stage of a component; see infra_clean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula import systemd
from infra_formula.fileset import manifest
from infra_formula.fileset.file_set import FileSet
from infra_formula.firewall import ports
from infra_formula.minion import Minion
from infra_formula.uninstall import install_record, removal
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __lowstate__: list[dict[str, Any]]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def allowed(name: str, safeguard: bool, remove: list[str], confirm: list[str]) -> dict[str, Any]:
    """Something may be removed from this machine.

    name
        Any name for the state; it has to run first, and with ``failhard``.
    safeguard
        ``infra_safeguard``.
    remove, confirm
        ``infra_remove`` and ``infra_remove_confirm``.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    errors = removal.problems(remove, confirm)
    if errors:
        told = "\n".join(errors)
        return {**ret, "result": False, "comment": f"nothing was changed; in pillar:\n{told}"}
    if safeguard:
        comment = (
            f"nothing was changed: infra_safeguard is on. To remove {', '.join(remove)} "
            "(infra_remove) from this machine, give infra_safeguard: false for this one run: "
            """pillar='{"infra": {"infra_safeguard": false}}'"""
        )
        return {**ret, "result": False, "comment": comment}
    return {**ret, "comment": f"{', '.join(remove)} may be removed"}


def confirmed(name: str, data: list[str], remove: list[str], confirm: list[str]) -> dict[str, Any]:
    """The data that is to be destroyed is named by whoever asks for it.

    name
        Any name for the state; it has to run before anything is removed, and with ``failhard``.
    data
        Absolute paths of data.
    remove, confirm
        ``infra_remove`` and ``infra_remove_confirm``.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if "data" not in remove:
        return {**ret, "comment": "data is kept"}
    missing = removal.unconfirmed(data, confirm)
    if missing:
        comment = (
            "nothing was changed: infra_remove asks for data to be destroyed; it asks for "
            f"infra_remove_confirm: [{', '.join(missing)}] besides, got [{', '.join(confirm)}]"
        )
        return {**ret, "result": False, "comment": comment}
    return {**ret, "comment": "what is to be destroyed is named"}


def service(name: str) -> dict[str, Any]:
    """The services of a component do not run, nor start with the machine.

    name
        The component.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        units = removal.running(_minion(), _record(name).get("units", {}))
        if not units:
            return {**ret, "comment": "no service of it runs"}
        ret["changes"] = dict.fromkeys(units, "stopped")
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"{', '.join(units)} would be stopped"}
        for unit in units:
            full = systemd.unit_name(unit)
            systemd.systemctl("disable", "--now", full)
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{', '.join(units)} stopped"}


def config(name: str, sets: dict[str, str], caches: list[str]) -> dict[str, Any]:
    """What a component wrote is gone, what it replaced is back, what ran before runs again.

    name
        The component.
    sets
        Its sets of files (infra_files): name → the directory below which it lies, for one whose
        manifest does not say so.
    caches
        Absolute paths of directories that hold nothing but what can be had again.

    Files that others wrote, and directories that hold some, stay.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    test = __opts__["test"]
    try:
        published = manifest.published()
        for owned in (s for s in sets if s in published):
            root = published[owned] or sets[owned]
            for rel in FileSet(owned, root).remove(test=test):
                ret["changes"][f"{root}/{rel}"] = "removed"
        for cache in removal.unconfirmed(caches, []):
            ret["changes"][cache] = "removed"
            if not test:
                removal.destroy(cache)
        record = _record(name)
        paths = removal.back(record.get("paths", {}), test=test)
        ret["changes"].update(paths)
        if not test and any("/systemd/" in path for path in ret["changes"]):
            systemd.systemctl("daemon-reload")
        ret["changes"].update(_settings(name, record))
        units = record.get("units", {})
        if units and not test:
            # systemd keeps one in mind that did not end well, although it is gone.
            names = [systemd.unit_name(unit) for unit in units]
            systemd.systemctl("reset-failed", *names, must=False)
        ret["changes"].update(removal.resume(_minion(), units, test=test))
        if not test:
            # Noted anew by the next apply: by then somebody may have changed what is there now.
            install_record.forget(name, "units", units)
            whole = [p for p, was in record.get("paths", {}).items() if not _is_folder(p, was)]
            install_record.forget(name, "paths", whole)
    except (SaltInvocationError, CommandExecutionError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    return _told(ret, "its configuration")


def _is_folder(path: str, was: str) -> bool:
    """Whether a directory or a link to one is still to go, once it holds nothing."""
    return was == "absent" and _minion().call("file.directory_exists", path)


def _settings(component: str, record: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Put back what is set elsewhere than in files: firewall, SELinux, time zone."""
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
    """Packages that a component brought are gone, unless something that stays needs them.

    name
        The component.

    Packages that were there before stay; those that had to make way are installed again.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        mine, shared = _packages(name)
        if shared and not __opts__["test"]:
            for kind in ("packages", "installed"):
                install_record.forget(name, kind, shared)
        found = removal.removable(_minion(), mine) if mine else {"remove": [], "needed": {}}
        displaced = _record(name).get("displaced", {})
        ret["changes"] = dict.fromkeys(found["remove"], "removed")
        ret["changes"].update(dict.fromkeys(displaced, "installed again"))
        if not __opts__["test"]:
            if found["remove"]:
                removal.purge(_minion(), found["remove"])
            gone = [p for p in mine if p not in found["needed"]]
            for kind in ("packages", "installed"):
                install_record.forget(name, kind, gone)
            if displaced:
                ret["warnings"] = _reinstalled(ret, name, displaced)
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    told = [f"{one} stays: {user} needs it" for one, user in found["needed"].items()]
    told += [f"{one} stays: another component has it" for one in shared]
    return _told(ret, "its packages", told)


def _packages(name: str) -> tuple[list[str], list[str]]:
    """Packages that a component brought: those that are its alone, and those that others have."""
    everything = install_record.record()

    def brought(component: str) -> list[str]:
        kinds = everything.get(component, {})
        return [
            p for k in ("packages", "installed") for p, was in kinds.get(k, {}).items() if not was
        ]

    others = {p for component in everything if component != name for p in brought(component)}
    mine = brought(name)
    return [p for p in mine if p not in others], [p for p in mine if p in others]


def _reinstalled(ret: dict[str, Any], component: str, displaced: dict[str, str]) -> list[str]:
    """Install what had to make way; what cannot be had just now stays noted, and is told."""
    try:
        _minion().call("pkg.install", pkgs=list(displaced))
    except CommandExecutionError as err:
        for one in displaced:
            ret["changes"].pop(one)
        return [f"{', '.join(displaced)} was there before and cannot be had now: {err}"]
    install_record.forget(component, "displaced", displaced)
    return []


def data(name: str, paths: list[str]) -> dict[str, Any]:
    """The data of a component is destroyed.

    name
        The component.
    paths
        Absolute paths, each confirmed (see :func:`confirmed`).
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        there = [p for p in paths if removal.unconfirmed([p], [])]
        ret["changes"] = dict.fromkeys(there, "destroyed")
        for path in [] if __opts__["test"] else there:
            removal.destroy(path)
    except (CommandExecutionError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    return _told(ret, "its data")


def rest(name: str, remove: list[str], data: list[str]) -> dict[str, Any]:
    """Directories that a component made and that are empty now are gone, and so are its accounts.

    name
        The component.
    remove
        ``infra_remove``; accounts go with packages, unless data of theirs stays.
    data
        Absolute paths of the data of every component.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        record = _record(name)
        paths = record.get("paths", {})
        # A daemon that is stopped may write once more: what holds data is no left-over when empty.
        stays = [] if "data" in remove else data
        absent = [p for p, was in paths.items() if was == "absent" and p not in stays]
        gone = _gone_by_then(stays, data) if __opts__["test"] else []
        empty = removal.empty(absent, gone)
        ret["changes"] = dict.fromkeys(empty, "removed")
        for folder in [] if __opts__["test"] else empty:
            _minion().call("file.rmdir", folder)
        # Links to directories: what was reached through them is gone, so that they lead nowhere.
        links = removal.leading_to(absent, empty)
        ret["changes"].update(dict.fromkeys(links, "removed"))
        for link in [] if __opts__["test"] else links:
            removal.destroy(link)
        left = stays if __opts__["test"] else data
        kept = [] if "package" not in remove else _accounts(ret, name, record, left)
        if not __opts__["test"]:
            install_record.forget(name, "paths", ret["changes"])
    except (CommandExecutionError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    return _told(ret, "what else was of it", kept)


def _gone_by_then(stays: list[str], data: list[str]) -> list[str]:
    """With ``test=True``: what this run would have removed before it came here.

    stays
        Data that it is not asked to destroy.
    """
    mine = [chunk for chunk in __lowstate__ if chunk["state"] == "infra_clean"]
    components = {chunk["name"] for chunk in mine if chunk["fun"] == "config"}
    gone = [path for path in data if path not in stays]
    folders = []
    for component in components:
        paths = _record(component).get("paths", {})
        absent = [p for p, was in paths.items() if was == "absent" and p not in stays]
        gone += [p for p in absent if not _is_folder(p, "absent")]
        folders += [p for p in absent if _is_folder(p, "absent")]
    roots = manifest.published()
    for chunk in mine:
        for owned, root in chunk.get("sets", {}).items():
            if owned in roots:
                root = roots[owned] or root
                gone += [f"{root}/{r}" for r in FileSet(owned, root).managed_files()]
    empty = removal.empty(folders, gone)
    return [*gone, *empty, *removal.leading_to(folders, empty)]


def _accounts(
    ret: dict[str, Any], component: str, record: dict[str, Any], data: list[str]
) -> list[str]:
    ours = {
        kind: [n for n, was in record.get(kind, {}).items() if not was]
        for kind in ("accounts", "groups")
    }
    found = removal.accounts_to_go(ours["accounts"], ours["groups"], data, stopped=__opts__["test"])
    kept = []
    for kind, function in (("accounts", "user.delete"), ("groups", "group.delete")):
        for one, why in found[kind].items():
            if why:
                kept.append(f"{one} stays: {why}")
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
            gone = [n for n in ours[kind] if not found[kind].get(n)]
            install_record.forget(component, kind, gone)
    return kept


def finished(name: str, remove: list[str], data: list[str]) -> dict[str, Any]:
    """What could not go before something else did is gone; and at last what was noted of all this.

    name
        Any name for the state; it has to run last.
    remove
        ``infra_remove``.
    data
        Absolute paths of the data of every component.

    What is still here of ours (packages, data and their accounts) stays on record, so that it can
    go later.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    test = __opts__["test"]
    try:
        for component in install_record.record() if not test else ():
            steps = [rest(component, remove, data)]
            if "package" in remove:
                steps.insert(0, package(component))
            for step in steps:
                ret["changes"].update(step["changes"])
                if step["result"] is False or step.get("warnings"):
                    told = "; ".join(step.get("warnings", [step["comment"]]))
                    return {**ret, "result": False, "comment": f"{component}: {told}"}
        left = [] if test and "package" in remove else removal.left(_minion())
        if left:
            return {**ret, "comment": f"stays on record: {', '.join(left)}"}
        before = _gone_by_then([] if "data" in remove else data, data) if test else []
        gone = removal.forget_all(data, test=test, gone=before)
        ret["changes"].update(dict.fromkeys(gone, "removed"))
    except (CommandExecutionError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    return _told(ret, "what was noted")


def _record(component: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = install_record.record().get(component, {})
    return found


def _told(ret: dict[str, Any], what: str, kept: list[str] | None = None) -> dict[str, Any]:
    if not ret.get("warnings"):
        ret.pop("warnings", None)
    behind = f"; {'; '.join(kept)}" if kept else ""
    if not ret["changes"]:
        return {**ret, "comment": f"{what}: nothing to do{behind}"}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"{what} would be removed{behind}"}
    return {**ret, "comment": f"{what}: removed{behind}"}
