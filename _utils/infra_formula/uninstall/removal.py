"""The way back: takes from this machine what this formula brought, and puts back what was there.

What it goes by is the record of what was there before (infra_before) and the manifests of what was
written (infra_files), not the pillar: what was brought by an earlier pillar goes, too.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra_formula import process, systemd
from infra_formula.errors import CommandFailed
from infra_formula.fileset import manifest, originals
from infra_formula.minion import Minion
from infra_formula.uninstall import install_record

STAGES = ("service", "config", "package", "data")
_DPKG_NEEDS = re.compile(r"^\s+(\S+) depends on (\S+?)[.;]?(?: \(.*)?$", re.MULTILINE)
_DPKG_OF = re.compile(r"problems prevent removal of (\S+):")
_RPM_NEEDS = re.compile(r"^\s*(.+?) is needed by \(installed\) (\S+)$", re.MULTILINE)


def problems(remove: Any, confirm: Any) -> list[str]:
    """What is wrong with ``infra_remove`` and ``infra_remove_confirm``; pure.

    Returns one message per error, each beginning with the key path.
    """
    errors = []
    if not isinstance(remove, (list, tuple)) or not remove or set(remove) - set(STAGES):
        errors.append(f"infra_remove: expected a list out of {', '.join(STAGES)}, got {remove!r}")
    else:
        # Nothing is taken away from under a service that runs, or from under its configuration.
        asks = {"config": "service", "package": "config", "data": "service"}
        errors += [
            f"infra_remove: {stage} asks for {first}, too, got {list(remove)}"
            for stage, first in asks.items()
            if stage in remove and first not in remove
        ]
    if not isinstance(confirm, (list, tuple)) or [c for c in confirm if not isinstance(c, str)]:
        errors.append(f"infra_remove_confirm: expected a list of paths, got {confirm!r}")
    return errors


def unconfirmed(data: Iterable[str], confirm: Iterable[str]) -> list[str]:
    """Of paths of data, those that are there and are not named.

    data
        Absolute paths.
    confirm
        ``infra_remove_confirm``.
    """
    named = {path.rstrip("/") for path in confirm}
    return [path for path in data if os.path.lexists(path) and path.rstrip("/") not in named]


# -- services ------------------------------------------------------------------------------------


def running(minion: Minion, units: Iterable[str]) -> list[str]:
    """Of units, those that run or start with the machine."""
    seen = install_record.look(minion, {"units": list(units)}).get("units", {})
    return [u for u, now in seen.items() if now["active"] or now["file"].startswith("enabled")]


def resume(
    minion: Minion, units: Mapping[str, Mapping[str, Any]], test: bool = False
) -> dict[str, str]:
    """Have units be as they were: unmasked, started, and enabled, where that is how they were.

    units
        Unit → ``file`` and ``active``, as the record has them.
    test
        Only tell.

    Returns unit → what is, or would be, done.
    """
    done: dict[str, str] = {}
    now = install_record.look(minion, {"units": list(units)}).get("units", {})
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
                    # Its package stays: it is not to start by itself with the next boot.
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


def back(paths: Mapping[str, str], test: bool = False) -> dict[str, str]:
    """Files and links are as they were; directories are not looked at.

    paths
        Absolute path → what was there, as the record has it.
    test
        Only tell.

    Returns path → ``removed`` or ``put back``, for those that are, or would be, touched. A link to
    a directory that holds something stays, as that is reached through it.
    """
    done: dict[str, str] = {}
    for path, was in paths.items():
        here = Path(path)
        if here.is_dir() and not here.is_symlink():
            continue
        if os.path.lexists(originals.backup_path(path)):
            done[path] = "put back"
            if not test:
                originals.restore(path)
        elif was.startswith("link:"):
            target = was.removeprefix("link:")
            if here.is_symlink() and os.readlink(path) == target:
                continue
            done[path] = "put back"
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


def empty(folders: Iterable[str], gone: Iterable[str] = ()) -> list[str]:
    """Of directories, those that are there and hold nothing, or nothing but what goes before them.

    folders
        Absolute paths.
    gone
        Absolute paths that are to be taken as gone.
    """
    left = {_real(path) for path in gone}
    found = []
    for folder in sorted(set(folders), key=lambda f: _real(f).count("/"), reverse=True):
        path = Path(folder)
        if path.is_symlink() or not path.is_dir():
            continue
        if all(_real(str(child)) in left for child in path.iterdir()):
            found.append(folder)
            left.add(_real(folder))
    return found


def _real(path: str) -> str:
    """A path with the links in it resolved, but for the last part."""
    parent, name = os.path.split(path)
    return os.path.join(os.path.realpath(parent), name)


def leading_to(links: Iterable[str], folders: Iterable[str]) -> list[str]:
    """Of links, those that lead to directories which go, or are gone, or hold nothing.

    links
        Absolute paths; what is no link is passed over.
    folders
        Absolute paths of directories that go.
    """
    going = set(folders)
    found = []
    for link in map(Path, links):
        target = Path(os.path.realpath(link))
        if not link.is_symlink() or (target.exists() and not target.is_dir()):
            continue
        if not target.exists() or str(target) in going or not any(target.iterdir()):
            found.append(str(link))
    return found


def destroy(path: str) -> None:
    """Remove a file, a link or a whole directory; a mount point is emptied, and stays."""
    here = Path(path)
    if here.is_symlink() or not here.is_dir():
        here.unlink(missing_ok=True)
    elif here.is_mount():
        for child in here.iterdir():
            destroy(str(child))
    else:
        shutil.rmtree(here)


# -- packages ------------------------------------------------------------------------------------


def needed(family: str, said: str) -> dict[str, str]:
    """Of packages that are not to be removed, which is needed by which; pure.

    family
        ``Debian`` or ``RedHat``.
    said
        What ``dpkg --no-act --purge``, or ``rpm --erase --test``, says about removing them.
    """
    if family == "Debian":
        found = {}
        for block in re.split(r"(?=dpkg: dependency problems)", said):
            of = _DPKG_OF.search(block)
            user = _DPKG_NEEDS.search(block)
            if of and user:
                found[of.group(1)] = user.group(1)
        return found
    return dict(_RPM_NEEDS.findall(said))


def removable(minion: Minion, packages: Iterable[str]) -> dict[str, Any]:
    """Which packages can go without taking another one with them.

    packages
        Names; those that are not installed are passed over.

    Returns ``remove`` (names) and ``needed`` (name → the package that needs it).
    """
    there = minion.call("pkg.list_pkgs")
    left = sorted(name for name in set(packages) if name in there)
    kept: dict[str, str] = {}
    family = minion.grains["os_family"]
    command = (
        ["dpkg", "--no-act", "--purge"] if family == "Debian" else ["rpm", "--erase", "--test"]
    )
    while left:
        outcome = process.run([*command, *left], env={"LC_ALL": "C"})
        if outcome["retcode"] == 0:
            break
        said = f"{outcome['stdout']}\n{outcome['stderr']}"
        users = needed(family, said)
        if family != "Debian":
            users = {_provider(what): user for what, user in users.items()}
        stay = {name.partition(":")[0]: user for name, user in users.items()}
        stay = {name: user for name, user in stay.items() if name in left}
        if not stay:
            raise CommandFailed(f"{' '.join(command)}: {said.strip()}")
        kept.update(stay)
        left = [name for name in left if name not in stay]
    return {"remove": left, "needed": kept}


def _provider(capability: str) -> str:
    """Name of the installed package that provides what another one needs."""
    word = capability.split(" ", 1)[0]
    outcome = process.run(
        ["rpm", "--query", "--queryformat", "%{NAME}\n", "--whatprovides", word],
    )
    return outcome["stdout"].splitlines()[0] if outcome["retcode"] == 0 else word


def purge(minion: Minion, packages: list[str]) -> None:
    """Remove packages with the configuration that they brought.

    Raises CommandExecutionError where some are still installed then.
    """
    function = "pkg.purge" if minion.grains["os_family"] == "Debian" else "pkg.remove"
    minion.call(function, pkgs=packages)
    left = sorted(set(packages) & set(minion.call("pkg.list_pkgs")))
    if left:
        raise CommandFailed(f"the package manager left these installed: {', '.join(left)}")


# -- accounts ------------------------------------------------------------------------------------


def accounts_to_go(
    accounts: Iterable[str], groups: Iterable[str], data: Iterable[str], stopped: bool = False
) -> dict[str, dict[str, str]]:
    """Which accounts and groups have nothing left that is theirs.

    accounts, groups
        Names.
    data
        Absolute paths of data; whom one of them belongs to stays.
    stopped
        Take their processes as ended.

    Returns ``accounts`` and ``groups``: name → '' where it can go, else why it stays. What is not
    there is left out.
    """
    owners, members = set(), set()
    for path in data:
        if os.path.lexists(path):
            st = os.lstat(path)
            owners.add(st.st_uid)
            members.add(st.st_gid)
    busy = {
        os.stat(entry.path).st_uid for entry in os.scandir("/proc") if entry.name.isdigit()
        if os.path.exists(entry.path)
    }  # fmt: skip
    found: dict[str, dict[str, str]] = {"accounts": {}, "groups": {}}
    for name in accounts:
        try:
            uid = pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
        owns = "its data stays" if uid in owners else ""
        busy -= {uid} if stopped else set()
        found["accounts"][name] = owns or ("processes of it run" if uid in busy else "")
    for name in groups:
        try:
            gid = grp.getgrnam(name).gr_gid
        except KeyError:
            continue
        primary = [p.pw_name for p in pwd.getpwall() if p.pw_gid == gid]
        stays = [p for p in primary if found["accounts"].get(p, "not ours")]
        owns = "data of it stays" if gid in members else ""
        found["groups"][name] = owns or (f"the group of {stays[0]}" if stays else "")
    return found


# -- the end -------------------------------------------------------------------------------------


def left(minion: Minion) -> list[str]:
    """What is still on this machine of all that is on record as ours, in words."""
    record = install_record.record()
    kinds = ("packages", "installed", "accounts", "groups")
    ours: dict[str, set[str]] = {kind: set() for kind in kinds}
    found: set[str] = set()
    for noted in record.values():
        for kind in kinds:
            ours[kind] |= {n for n, was in noted.get(kind, {}).items() if not was}
        found |= {p for p, was in noted.get("paths", {}).items() if was == "absent"}
        found -= {p for p in found if not os.path.lexists(p)}
        found |= set(noted.get("displaced", {}))
    now = install_record.look(
        minion,
        {
            "packages": sorted(ours["packages"] | ours["installed"]),
            "accounts": sorted(ours["accounts"]),
            "groups": sorted(ours["groups"]),
        },
    )
    found |= {name for names in now.values() for name, there in names.items() if there}
    return sorted(found | set(manifest.published()))


def forget_all(data: Iterable[str], test: bool = False, gone: Iterable[str] = ()) -> list[str]:
    """Remove what this formula keeps for itself below /var/lib/infra.

    data
        Absolute paths of data: what of it lies there stays. So does what somebody left in
        ``textfile``, and what is kept in ``replaced`` and has a successor of somebody else's.
    test
        Only tell.
    gone
        Absolute paths that are to be taken as gone.

    Returns the paths that are, or would be, removed.
    """
    without = set(gone)
    base = Path(originals.backup_path("")).parent
    if not base.is_dir():
        return []
    removed = []
    for child in sorted(base.iterdir()):
        holds = child.is_dir() and any(
            str(p) not in without for p in child.rglob("*") if p.is_file() or p.is_symlink()
        )
        if str(child) in data or (child.name in ("textfile", "replaced") and holds):
            continue
        removed.append(str(child))
        if not test:
            destroy(str(child))
    if not test and not any(base.iterdir()):
        base.rmdir()
    return removed
