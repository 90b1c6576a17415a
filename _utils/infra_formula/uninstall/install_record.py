"""The install record: what this machine was like before the formula first changed it.

States of ``infra_before`` add what a component is about to change, before its other states run.
What is recorded once is not recorded again, so that the record describes the machine before the
formula and not before the last run. Removal restores what it says.

The record is ``/var/lib/infra/before.json``: component → kind → name → what was there.

``paths``
    ``absent``, ``file`` (its backup lies below /var/lib/infra/replaced), ``directory``, or
    ``link:`` and its target.
``accounts``, ``groups``, ``packages``
    whether it existed (bool).
``units``
    ``file`` (systemd's UnitFileState; empty for an unknown unit) and ``active`` (bool).
``booleans``, ``contexts``
    SELinux booleans: whether each was on; SELinux file contexts: always False.
``timezones``
    time zone that is set → the one that was set before.
``installed``, ``displaced``
    packages that were installed with those of ``packages``, as their dependencies: always False;
    packages that were removed for them: their version.
``ports``
    what was opened in the firewall: port → the firewall.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from infra_formula import paths, systemd
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic, contents, manifest, originals
from infra_formula.minion import Minion
from infra_formula.state import Plan

Kinds = Mapping[str, Iterable[str]]
"""Kind → names."""
Entries = dict[str, dict[str, Any]]
"""Kind → name → what was there."""

_SELINUX = Path("/sys/fs/selinux/booleans")
_EARLIER_RELEASE = "infra_before.earlier_release"


def record_path() -> Path:
    """Where the record lies."""
    return paths.STATE_DIR / "before.json"


def component_of(sls: str) -> str | None:
    """Component that an SLS file belongs to: ``infra.nginx.config`` is of ``nginx``."""
    parts = sls.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "infra" else None


# -- what is there -------------------------------------------------------------------------------


def inspect(minion: Minion, names: Kinds) -> Entries:
    """Report what is there of what is named."""
    inspectors: dict[str, Callable[[list[str]], dict[str, Any]]] = {
        "paths": _inspect_paths,
        "accounts": lambda some: {name: _exists(pwd.getpwnam, name) for name in some},
        "groups": lambda some: {name: _exists(grp.getgrnam, name) for name in some},
        "units": _inspect_units,
        "packages": lambda some: _inspect_packages(minion, some),
        "booleans": _inspect_booleans,
        # If another policy labels the same paths, the state that sets a label fails.
        "contexts": lambda some: dict.fromkeys(some, False),
        "timezones": lambda some: dict.fromkeys(some, minion.call("timezone.get_zone")),
    }
    result = {kind: list(some) for kind, some in names.items() if kind in inspectors}
    return {kind: inspectors[kind](some) for kind, some in result.items() if some}


def _inspect_paths(some: list[str]) -> dict[str, str]:
    """Kind of each path, and of those directories above it that do not exist."""
    outside = [Path(path) for path in some if not _is_own_state(path)]
    above = {str(folder) for path in outside for folder in path.parents if not folder.exists()}
    return {path: kind_of_path(path) for path in [*some, *sorted(above)]}


def kind_of_path(path: str) -> str:
    """What is at a path: ``absent``, ``file``, ``directory`` or ``link:`` and its target.

    Files that this formula generated count as absent.
    """
    if _is_own_state(path):
        return "absent"
    if os.path.islink(path):
        return f"link:{os.readlink(path)}"
    if os.path.isdir(path):
        return "directory"
    if not os.path.exists(path):
        return "absent"
    return "absent" if contents.has_managed_header(path) else "file"


def _is_own_state(path: str) -> bool:
    """Whether a path is below /var/lib/infra, which is removed as a whole."""
    return path.startswith(f"{paths.STATE_DIR}/")


def _exists(look_up: Callable[[str], Any], name: str) -> bool:
    try:
        look_up(name)
    except KeyError:
        return False
    return True


def _inspect_units(units: list[str]) -> dict[str, dict[str, Any]]:
    properties = systemd.show(units, ("UnitFileState", "ActiveState"), must=False)
    return {
        unit: {
            "file": values.get("UnitFileState", ""),
            "active": values.get("ActiveState") in ("active", "reloading", "activating"),
        }
        for unit, values in properties.items()
    }


def _inspect_packages(minion: Minion, packages: list[str]) -> dict[str, bool]:
    installed = minion.call("pkg.list_pkgs")
    return {name: name in installed for name in packages}


def _inspect_booleans(names: list[str]) -> dict[str, bool]:
    values = {}
    for name in names:
        with contextlib.suppress(OSError):
            values[name] = (_SELINUX / name).read_text().split()[:1] == ["1"]
    return values


# -- the record ----------------------------------------------------------------------------------


def record() -> dict[str, Entries]:
    """The record: component → kind → name → what was there.

    Raises CommandFailed if it is corrupt.
    """
    try:
        data = json.loads(record_path().read_text(encoding="utf-8"))
        return {
            str(component): {str(kind): dict(names) for kind, names in kinds.items()}
            for component, kinds in data["components"].items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise CommandFailed(
            f"{record_path()} is damaged ({err}): the state of this machine before installation "
            "is unknown. Move the file away to begin anew; what is there now is then recorded as "
            "that state"
        ) from err


def missing_from_record(component: str, names: Kinds) -> dict[str, list[str]]:
    """Of what is named, what the record of a component does not have."""
    known = record().get(component, {})
    missing = {
        kind: [name for name in some if name not in known.get(kind, {})]
        for kind, some in names.items()
    }
    return {kind: some for kind, some in missing.items() if some}


def add(component: str, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Add to the record of a component; what it has already stays."""
    everything = record()
    added = False
    for kind, names in entries.items():
        for name, was in names.items():
            known = everything.setdefault(component, {}).setdefault(kind, {})
            added = added or name not in known
            known.setdefault(name, was)
    if added:
        _write(everything)


def forget(component: str, kind: str, names: Iterable[str]) -> None:
    """Remove names from the record, because they are as before installation."""
    everything = record()
    kinds = everything.get(component, {})
    left = {name: was for name, was in kinds.get(kind, {}).items() if name not in set(names)}
    if left == kinds.get(kind, {}):
        return
    kinds[kind] = left
    everything[component] = {k: v for k, v in kinds.items() if v}
    _write({c: k for c, k in everything.items() if k})


def _write(components: Mapping[str, Entries]) -> None:
    text = json.dumps({"version": 1, "components": components}, indent=1, sort_keys=True)
    try:
        atomic.write(record_path(), text)
    except OSError as err:
        raise CommandFailed(f"{record_path()}: {err.strerror or err}") from err


# -- what states do with it ----------------------------------------------------------------------


def plan(minion: Minion, component: str, names: Kinds) -> Plan:
    """Plan to record what a component is about to change, and to back up the originals."""
    done = f"The state of {component} before installation is recorded."
    earlier = minion.context.setdefault(
        _EARLIER_RELEASE, not record() and bool(manifest.published())
    )
    missing = missing_from_record(component, names)

    def apply() -> None:
        entries = inspect(minion, missing)
        if earlier and "units" in entries:
            # An earlier release without this record was applied: it may have started them.
            entries["units"] = {u: {"file": "", "active": False} for u in entries["units"]}
        originals.backup(p for p, was in entries.get("paths", {}).items() if was == "file")
        add(component, entries)

    return Plan(
        changes={"recorded": sorted(missing)} if missing else {},
        comment=done,
        would=f"The present state of {component} would be recorded.",
        apply=apply,
    )


def add_packages(minion: Minion, component: str, packages: Iterable[str]) -> None:
    """Record which packages of a component were there, before the others are installed."""
    missing = missing_from_record(component, {"packages": packages})
    if not missing:
        return
    entries = inspect(minion, missing)
    # What another component installed was not there before installation either.
    for package in installed_by_formula():
        if package in entries["packages"]:
            entries["packages"][package] = False
    add(component, entries)


def hand_over(component: str, required: Mapping[str, str]) -> None:
    """Let packages that another component requires be removed together with that component.

    A component that was applied first brings packages that a later one depends on, and may be
    removed before it.

    required
        Package of the component, which cannot be removed yet → the package that requires it. If
        no component installed the latter, the record stays as it is.
    """
    for package, other in heirs(record(), component, required).items():
        add(other, {"installed": {package: False}})
        for kind in ("packages", "installed"):
            forget(component, kind, [package])


def heirs(
    everything: Mapping[str, Entries], component: str, required: Mapping[str, str]
) -> dict[str, str]:
    """Return the packages that :func:`hand_over` passes on → the component that gets each.

    everything
        The record.
    component, required
        As there.
    """
    found: dict[str, str] = {}
    for package in required:
        user: str = package
        seen: set[str] = set()
        # What requires it may be of the same component, and stay because of a third package.
        while user in required and user not in seen:
            seen.add(user)
            user = required[user]
        for other, kinds in everything.items():
            installed = {**kinds.get("packages", {}), **kinds.get("installed", {})}
            if other != component and installed.get(user) is False:
                found[package] = other
                break
    return found


def installed_by_formula(
    except_for: str = "", everything: Mapping[str, Entries] | None = None
) -> set[str]:
    """Packages that components, except for one, installed.

    everything
        The record, if it is not the one on disk.
    """
    return {
        package
        for component, kinds in (record() if everything is None else everything).items()
        if component != except_for
        for kind in ("packages", "installed")
        for package, was in kinds.get(kind, {}).items()
        if not was
    }


def add_package_changes(component: str, changes: Mapping[str, Any]) -> None:
    """Record which packages were installed and removed along with those of a component.

    changes
        Of a state of the package manager.
    """
    changed = packages_changed_by(changes)
    if not any(changed.values()):
        return
    for package in record().get(component, {}).get("packages", {}):
        changed["installed"].pop(package, None)
    if any(changed.values()):
        add(component, changed)


def packages_changed_by(changes: Mapping[str, Any]) -> Entries:
    """Packages that a state installed (``installed``) and that it removed (``displaced``)."""
    entries: Entries = {"installed": {}, "displaced": {}}
    for name, change in changes.items():
        if not isinstance(change, Mapping):
            continue
        if change.get("new") and not change.get("old"):
            entries["installed"][name] = False
        elif change.get("old") and not change.get("new"):
            entries["displaced"][name] = change["old"]
    return entries
