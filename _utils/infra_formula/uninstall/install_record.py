"""What this machine was like before this formula first changed it; the way back goes there.

Nothing is listed twice: what a run is about to do is read out of its own low state (the packages,
accounts, directories, files, links and services that its states name), and what is there of it is
noted before the first of them runs, by component. What was noted once is not noted again, so that
the record says what was there before us and not before the last run.

The record is ``/var/lib/infra/before.json``: component → kind → name → what was there.

``paths``
    ``absent``, ``file`` (a copy lies below /var/lib/infra/replaced), ``directory``, or ``link:``
    and where it led.
``accounts``, ``groups``, ``packages``
    whether it was there (bool).
``units``
    ``file`` (systemd's UnitFileState; empty for a unit that was not known) and ``active`` (bool).
``booleans``, ``contexts``
    SELinux booleans: whether each was on; SELinux file contexts: always False.
``timezones``
    time zone that is set → the one that was set before.
``installed``, ``displaced``
    packages that came with those of ``packages``, as their dependencies: always False; packages
    that had to make way for them: their version.
``ports``
    what was opened in the firewall: port → the firewall.

``wanted``, ``component_of`` and ``came`` are pure.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from infra_formula import systemd
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic, contents
from infra_formula.minion import Minion

RECORD = Path("/var/lib/infra/before.json")
OURS = "/var/lib/infra/"
"""What lies below is the formula's own; it goes as a whole, last."""
_SELINUX = Path("/sys/fs/selinux/booleans")
_SHARED = {"webroot": "repo"}
"""States that several components include → the one of them that is removed last."""


def component_of(sls: str) -> str | None:
    """Component that an SLS file belongs to: ``infra.nginx.config`` is of ``nginx``; pure."""
    parts = sls.split(".")
    if len(parts) < 2 or parts[0] != "infra":
        return None
    return _SHARED.get(parts[1], parts[1])


def _names(chunk: Mapping[str, Any]) -> list[str]:
    given = chunk.get("pkgs") or [chunk["name"]]
    return [name if isinstance(name, str) else next(iter(name)) for name in given]


_KINDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("file", "managed"): ("paths",),
    ("file", "symlink"): ("paths",),
    ("file", "directory"): ("paths",),
    ("group", "present"): ("groups",),
    ("user", "present"): ("accounts", "groups"),
    ("service", "running"): ("units",),
    ("selinux", "boolean"): ("booleans",),
    ("selinux", "fcontext_policy_present"): ("contexts",),
    ("timezone", "system"): ("timezones",),
}


def wanted(
    chunks: Iterable[Mapping[str, Any]], files: Mapping[str, Iterable[str]]
) -> dict[str, dict[str, list[str]]]:
    """What the states of a run name, by component and kind; pure.

    chunks
        Salt's low state.
    files
        Component → absolute paths that it writes by states of its own.
    """
    found: dict[str, dict[str, list[str]]] = {}

    def note(component: str, kind: str, names: Iterable[str]) -> None:
        known = found.setdefault(component, {}).setdefault(kind, [])
        known.extend(n for n in names if n not in known)

    for chunk in chunks:
        component = component_of(chunk.get("__sls__", ""))
        if component is None:
            continue
        what = (chunk["state"], chunk["fun"])
        for kind in _KINDS.get(what, ()):
            if not chunk["name"].startswith(OURS):
                note(component, kind, [chunk["name"]])
        if "private_key" in chunk and chunk["fun"] != "authority":
            # A certificate that we issue; the authority itself is data.
            note(component, "paths", [chunk["name"], chunk["private_key"]])
        if chunk["state"] == "pkg":
            note(component, "packages", _names(chunk))
        elif what == ("infra_daemon", "installed"):
            note(component, "packages", _names(chunk) if "pkgs" in chunk else chunk["packages"])
            # The distribution's own units of it, which are masked.
            note(component, "units", chunk.get("others") or [])
        elif what == ("infra_firewall", "confined"):
            found.setdefault(component, {})  # it notes itself what it brings, once it does
    for component in [c for c in found if files.get(c)]:
        note(component, "paths", files[component])
    return found


def look(minion: Minion, names: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Any]]:
    """What is there of what is named.

    names
        Kind → names, as :func:`wanted` has them for one component.
    """
    seen: dict[str, dict[str, Any]] = {}
    lookers: dict[str, Callable[[list[str]], dict[str, Any]]] = {
        "paths": _paths,
        "accounts": lambda some: {n: _exists(pwd.getpwnam, n) for n in some},
        "groups": lambda some: {n: _exists(grp.getgrnam, n) for n in some},
        "units": _units,
        "packages": partial(_packages, minion),
        "booleans": _booleans,
        # That we label is all there is to know: another label of the same paths is refused.
        "contexts": lambda some: dict.fromkeys(some, False),
        "timezones": lambda some: dict.fromkeys(some, minion.call("timezone.get_zone")),
    }
    for kind, some in names.items():
        if kind in lookers and some:
            seen[kind] = lookers[kind](list(some))
    return seen


def _paths(paths: list[str]) -> dict[str, str]:
    """Kind of each path, and of those directories above it that are not there either."""
    others = [Path(path) for path in paths if not path.startswith(OURS)]
    above = {str(folder) for path in others for folder in path.parents if not folder.exists()}
    return {path: kind_of(path) for path in [*paths, *sorted(above)]}


def kind_of(path: str) -> str:
    """What lies at a path: ``absent``, ``file``, ``directory`` or ``link:`` and its target.

    A file that this formula generated counts as absent: it was not there before us.
    """
    if path.startswith(OURS):
        return "absent"
    if os.path.islink(path):
        return f"link:{os.readlink(path)}"
    if os.path.isdir(path):
        return "directory"
    if not os.path.exists(path):
        return "absent"
    return "absent" if contents.has_managed_header(path) else "file"


def _exists(ask: Any, name: str) -> bool:
    try:
        ask(name)
    except KeyError:
        return False
    return True


def _units(units: list[str]) -> dict[str, dict[str, Any]]:
    """What systemd says of units, in one call; unknown ones, and all without systemd, are off."""
    shown = systemd.show(units, ("UnitFileState", "ActiveState"), must=False)
    return {
        unit: {
            "file": values.get("UnitFileState", ""),
            "active": values.get("ActiveState") in ("active", "reloading", "activating"),
        }
        for unit, values in shown.items()
    }


def _packages(minion: Minion, packages: list[str]) -> dict[str, bool]:
    there = minion.call("pkg.list_pkgs")
    return {name: name in there for name in packages}


def _booleans(names: list[str]) -> dict[str, bool]:
    seen = {}
    for name in names:
        with contextlib.suppress(OSError):
            seen[name] = (_SELINUX / name).read_text().split()[:1] == ["1"]
    return seen


def came(running: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Packages that a run installed, dependencies too, and those that it displaced; pure.

    running
        The results of the run's states so far, as Salt hands them to a state (``__running__``).

    Returns component → ``installed`` and ``displaced``, as in the record.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for key, result in running.items():
        state, fun = key.partition("_|-")[0], key.rpartition("_|-")[2]
        component = component_of(result.get("__sls__", ""))
        installs = state == "pkg" or (state, fun) in (
            ("infra_daemon", "installed"),
            ("infra_firewall", "confined"),
        )
        if component is None or not installs:
            continue
        for name, change in (result.get("changes") or {}).items():
            if not isinstance(change, Mapping):
                continue
            kinds = found.setdefault(component, {"installed": {}, "displaced": {}})
            if change.get("new") and not change.get("old"):
                kinds["installed"][name] = False
            elif change.get("old") and not change.get("new"):
                kinds["displaced"][name] = change["old"]
    return found


# -- the record ----------------------------------------------------------------------------------


def record() -> dict[str, dict[str, dict[str, Any]]]:
    """What was noted: component → kind → name → what was there.

    Raises CommandExecutionError where the record is there and cannot be read.
    """
    try:
        data = json.loads(RECORD.read_text(encoding="utf-8"))
        return {
            str(component): {str(kind): dict(names) for kind, names in kinds.items()}
            for component, kinds in data["components"].items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise CommandFailed(
            f"{RECORD} is damaged ({err}): what this machine was like before is not known. "
            "Move it away to begin anew; what is there now then counts as having been there"
        ) from err


def unnoted(names: Mapping[str, Mapping[str, Iterable[str]]]) -> dict[str, dict[str, list[str]]]:
    """Of what is named, what the record does not have yet.

    names
        What :func:`wanted` returned.
    """
    have = record()
    missing: dict[str, dict[str, list[str]]] = {}
    for component, kinds in names.items():
        for kind, some in kinds.items():
            known = have.get(component, {}).get(kind, {})
            left = [n for n in some if n not in known]
            if left:
                missing.setdefault(component, {})[kind] = left
    return missing


def note(seen: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Add to the record; what it has already stays.

    seen
        Component → kind → name → what was there.
    """
    have = record()
    for component, kinds in seen.items():
        for kind, names in kinds.items():
            for name, was in names.items():
                have.setdefault(component, {}).setdefault(kind, {}).setdefault(name, was)
    _write(have)


def forget(component: str, kind: str, names: Iterable[str]) -> None:
    """Take names out of the record, because they are now as they were before."""
    have = record()
    kinds = have.get(component, {})
    known = kinds.get(kind, {})
    left = {n: was for n, was in known.items() if n not in set(names)}
    if left == known:
        return
    kinds[kind] = left
    have[component] = {k: v for k, v in kinds.items() if v}
    _write({c: k for c, k in have.items() if k})


def _write(components: dict[str, dict[str, dict[str, Any]]]) -> None:
    text = json.dumps({"version": 1, "components": components}, indent=1, sort_keys=True)
    try:
        atomic.write(RECORD, text)
    except OSError as err:
        raise CommandFailed(f"{RECORD}: {err.strerror or err}") from err
