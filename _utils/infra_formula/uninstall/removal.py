"""Removal: takes from this machine what the formula installed, and restores what was there.

It follows the install record and the manifests of file sets, not the pillar: what an earlier
pillar installed is removed too.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from infra_formula import paths, systemd
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import manifest, originals
from infra_formula.minion import Minion
from infra_formula.state import Plan
from infra_formula.uninstall import install_record

STAGES = ("service", "config", "package", "data")


def problems(remove: Any, confirm: Any) -> list[str]:
    """Validate ``infra_remove`` and ``infra_remove_confirm``.

    Returns one message per error, each beginning with the key path.
    """
    errors = []
    if not isinstance(remove, (list, tuple)) or not remove or set(remove) - set(STAGES):
        errors.append(f"infra_remove: expected a list out of {', '.join(STAGES)}, got {remove!r}")
    else:
        # Nothing is removed that a running service, or its configuration, still needs.
        requires = {"config": "service", "package": "config", "data": "service"}
        errors += [
            f"infra_remove: {stage} requires {first}, got {list(remove)}"
            for stage, first in requires.items()
            if stage in remove and first not in remove
        ]
    if not isinstance(confirm, (list, tuple)) or [c for c in confirm if not isinstance(c, str)]:
        errors.append(f"infra_remove_confirm: expected a list of paths, got {confirm!r}")
    return errors


def unconfirmed(data: Iterable[str], confirm: Iterable[str]) -> list[str]:
    """Paths of data that exist and that ``infra_remove_confirm`` does not name.

    data
        Absolute paths.
    confirm
        ``infra_remove_confirm``.
    """
    named = {path.rstrip("/") for path in confirm}
    return [path for path in data if os.path.lexists(path) and path.rstrip("/") not in named]


def check_allowed(safeguard: bool, remove: Sequence[str], confirm: Sequence[str]) -> None:
    """Refuse a removal with wrong parameters, or with ``infra_safeguard`` on.

    Raises InvalidInput and CommandFailed.
    """
    errors = problems(remove, confirm)
    if errors:
        raise InvalidInput("\n".join(["Nothing was changed; in pillar:", *errors]))
    if safeguard:
        raise CommandFailed(
            f"Nothing was changed: infra_safeguard is on. To remove {', '.join(remove)} "
            "(infra_remove) from this machine, pass infra_safeguard: false for this one run: "
            """pillar='{"infra": {"infra_safeguard": false}}'"""
        )


def check_confirmed(data: Iterable[str], confirm: Sequence[str]) -> None:
    """Refuse to delete data that ``infra_remove_confirm`` does not name; raises InvalidInput."""
    missing = unconfirmed(data, confirm)
    if missing:
        raise InvalidInput(
            "Nothing was changed: infra_remove contains data. Expected "
            f"infra_remove_confirm: [{', '.join(missing)}], got [{', '.join(confirm)}]"
        )


# -- services ------------------------------------------------------------------------------------


def active_units(minion: Minion, units: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Units that run or start with the machine, each with its ``file`` and ``active``."""
    now = install_record.inspect(minion, {"units": units}).get("units", {})
    return {u: is_ for u, is_ in now.items() if is_["active"] or is_["file"].startswith("enabled")}


def plan_stop(minion: Minion, component: str) -> Plan:
    """Plan to stop and disable the services of a component."""
    now = active_units(minion, install_record.record().get(component, {}).get("units", {}))
    units = list(now)
    if not units:
        return Plan(comment=f"No service of {component} runs.")

    def stop() -> None:
        for unit in units:
            full = systemd.unit_name(unit)
            if now[unit]["file"] == "transient":
                systemd.systemctl("stop", full, must=False)  # it has no file to be disabled by
                continue
            systemd.systemctl("disable", "--now", full)
            # What a timer has just started would write its files again after their removal.
            if unit.endswith(".timer"):
                service = unit.removesuffix(".timer") + ".service"
                systemd.systemctl("stop", service, must=False)

    return Plan(
        changes=dict.fromkeys(units, "stopped"),
        comment=f"{', '.join(units)} stopped.",
        would=f"{', '.join(units)} would be stopped.",
        apply=stop,
    )


def restore_units(
    minion: Minion, units: Mapping[str, Mapping[str, Any]], test: bool = False
) -> dict[str, str]:
    """Unmask, enable and start units that were so before installation.

    units
        Unit → ``file`` and ``active``, as in the record.
    test
        Only report.

    Returns unit → what is, or would be, done.
    """
    done: dict[str, str] = {}
    now = install_record.inspect(minion, {"units": units}).get("units", {})
    systemctl = systemd.systemctl
    for unit, was in units.items():
        full = systemd.unit_name(unit)
        link = Path("/etc/systemd/system", full)
        masked = link.is_symlink() and str(link.readlink()) == "/dev/null"
        words = []
        if masked and was["file"] != "masked":
            words.append("unmasked")
            if not test:
                link.unlink()
                systemctl("daemon-reload")
                if not was["active"] and not was["file"].startswith("enabled"):
                    # Its package stays, and would start it with the next boot.
                    systemctl("disable", full, must=False)
        if was["file"].startswith("enabled") and not now[unit]["file"].startswith("enabled"):
            words.append("enabled")
            if not test:
                systemctl("enable", full)
        if was["active"] and (masked or not now[unit]["active"]):
            words.append("started")
            if not test:
                systemctl("restart", full)
        if words:
            done[unit] = ", ".join(words)
    return done


# -- files ---------------------------------------------------------------------------------------


def restore_files(before: Mapping[str, str], test: bool = False) -> dict[str, str]:
    """Restore files and links as they were before installation; directories are left alone.

    before
        Absolute path → what was there, as in the record.
    test
        Only report.

    Returns path → ``removed`` or ``restored``, for those that are, or would be, changed. A link to
    a directory that is not empty stays.
    """
    done: dict[str, str] = {}
    for path, was in before.items():
        here = Path(path)
        if here.is_dir() and not here.is_symlink():
            continue
        if os.path.lexists(originals.backup_path(path)):
            done[path] = "restored"
            if not test:
                originals.restore(path)
        elif was.startswith("link:"):
            target = was.removeprefix("link:")
            if here.is_symlink() and os.readlink(path) == target:
                continue
            done[path] = "restored"
            if not test:
                here.unlink(missing_ok=True)
                here.symlink_to(target)
        elif was == "absent" and os.path.lexists(path):
            if here.is_symlink() and here.is_dir() and any(here.iterdir()):
                continue
            done[path] = "removed"
            if not test:
                here.unlink()
    return done


def empty_directories(folders: Iterable[str], removed: Iterable[str] = ()) -> list[str]:
    """Directories that are empty, or will be when those below them are removed.

    folders
        Absolute paths.
    removed
        Absolute paths that are treated as removed.
    """
    left = {_real(path) for path in removed}
    directories = []
    for folder in sorted(set(folders), key=lambda f: _real(f).count("/"), reverse=True):
        path = Path(folder)
        if path.is_symlink() or not path.is_dir():
            continue
        if all(_real(str(child)) in left for child in path.iterdir()):
            directories.append(folder)
            left.add(_real(folder))
    return directories


def _real(path: str) -> str:
    """A path with the links in it resolved, but for the last part."""
    parent, name = os.path.split(path)
    return os.path.join(os.path.realpath(parent), name)


def dangling_links(links: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Links to directories that are empty or do not exist.

    links
        Absolute paths; what is no link is ignored.
    folders
        Absolute paths of directories that are treated as removed.
    """
    going = set(folders)
    dangling = []
    for link in map(Path, links):
        target = Path(os.path.realpath(link))
        if not link.is_symlink() or (target.exists() and not target.is_dir()):
            continue
        if not target.exists() or str(target) in going or not any(target.iterdir()):
            dangling.append(str(link))
    return dangling


def plan_deletion(component: str, data: Iterable[str]) -> Plan:
    """Plan to delete the data of a component; each path has to be confirmed."""
    present = [path for path in data if os.path.lexists(path)]

    def delete_all() -> None:
        for path in present:
            delete(path)

    return Plan(
        changes=dict.fromkeys(present, "deleted"),
        comment=f"Data of {component}: {len(present)} paths deleted.",
        would=f"Data of {component}: {len(present)} paths would be deleted.",
        apply=delete_all,
    )


def delete(path: str) -> None:
    """Delete a file, a link or a whole directory; a mount point is emptied, and stays."""
    here = Path(path)
    if here.is_symlink() or not here.is_dir():
        here.unlink(missing_ok=True)
    elif here.is_mount():
        for child in here.iterdir():
            delete(str(child))
    else:
        shutil.rmtree(here)


# -- the end -------------------------------------------------------------------------------------


def left(minion: Minion) -> list[str]:
    """List what is still on this machine of all that the install record has as installed."""
    record = install_record.record()
    kinds = ("packages", "installed", "accounts", "groups")
    managed: dict[str, set[str]] = {kind: set() for kind in kinds}
    remaining: set[str] = set()
    for entries in record.values():
        for kind in kinds:
            managed[kind] |= {n for n, was in entries.get(kind, {}).items() if not was}
        remaining |= {p for p, was in entries.get("paths", {}).items() if was == "absent"}
        remaining -= {p for p in remaining if not os.path.lexists(p)}
        remaining |= set(entries.get("displaced", {}))
    now = install_record.inspect(
        minion,
        {
            "packages": sorted(managed["packages"] | managed["installed"]),
            "accounts": sorted(managed["accounts"]),
            "groups": sorted(managed["groups"]),
        },
    )
    remaining |= {name for names in now.values() for name, there in names.items() if there}
    return sorted(remaining | set(manifest.published()))


def purge_state_dir(
    data: Iterable[str], test: bool = False, removed: Iterable[str] = ()
) -> list[str]:
    """Remove the formula's own files below /var/lib/infra.

    data
        Absolute paths of data, which stay. So do unmanaged files in ``textfile``, and backups of
        originals that could not be restored.
    test
        Only report.
    removed
        Absolute paths that are treated as removed.

    Returns the paths that are, or would be, removed.
    """
    without = set(removed)
    base = paths.STATE_DIR
    if not base.is_dir():
        return []
    purged = []
    for child in sorted(base.iterdir()):
        holds = child.is_dir() and any(
            str(p) not in without for p in child.rglob("*") if p.is_file() or p.is_symlink()
        )
        if str(child) in data or (child.name in ("textfile", "replaced") and holds):
            continue
        purged.append(str(child))
        if not test:
            delete(str(child))
    if not test and not any(base.iterdir()):
        base.rmdir()
    return purged
