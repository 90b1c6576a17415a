"""The local software repository: built, verified, rolled back, described.

One INFRA node builds a repository for any number of operating systems and architectures
(*targets*); docs/repository.md describes the request and the layout of what is published.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.repository import (
    building,
    catalogue,
    contents,
    lock,
    marker,
    offline_package,
    releases,
    signatures,
)

log = redaction.logger(__name__)


# -- building ------------------------------------------------------------------------------------
def build(
    minion: Minion,
    request: dict[str, Any],
    key: dict[str, Any] | None = None,
    transfer: dict[str, Any] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Build a repository and publish it; nothing is published unless all of it succeeds.

    request, key, transfer, force
        As for the state ``infra_repo.built``.

    Returns what ``building.outcome`` does. If it raises, what was published is unchanged.
    """
    plan = catalogue.plan(request)
    home, name = plan["home"], plan["name"]
    with lock.exclusive(home, name, "build"):
        state = releases.state(home, name)
        if not force and not needs_build(state, plan["fingerprint"]):
            return building.outcome(state["path"], state["info"], state["info"], False, 0)
        return building.build(minion, plan, state, key or {}, transfer or {}, force)


def needs_build(state: dict[str, Any], fingerprint: str) -> bool:
    """Whether what is published has to be built (again).

    state
        What ``releases.state`` says.
    fingerprint
        Of the plan.

    A complete repository that was unpacked, or is not managed, is never built again; one that was
    built is if the request changed.
    """
    if not state["complete"]:
        return True
    return bool(state["origin"] == "built" and state["info"].get("request") != fingerprint)


# -- asking --------------------------------------------------------------------------------------
def status(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """What is published, as data; see ``infra_repo.status``."""
    state = releases.state(home, name)
    info = state["info"]
    real = Path(state["path"]) if state["path"] else None
    packages = info.get("packages")
    if packages is None and real is not None:
        packages = [
            {"size": (real / rel).stat().st_size}
            for rel in contents.files_of(str(real))
            if rel.endswith((".deb", ".rpm"))
        ]
    built = info.get("built")
    if built is None and real is not None and (real / marker.MARKER).exists():
        built = int((real / marker.MARKER).stat().st_mtime)
    return {
        "published": str(Path(home, name)),
        "path": state["path"],
        "kind": state["kind"],
        "origin": state["origin"],
        "complete": state["complete"],
        "problems": state["problems"],
        "packages": len(packages or []),
        "bytes": sum(p["size"] for p in packages or []),
        "built": built,
        "age": int(time.time()) - built if built else None,
        "targets": info.get("targets", []),
        "upstreams": info.get("upstreams", []),
        "signature": signatures.verify(real, name) if real else {"key": "", "problems": []},
        "previous": state["previous"],
        "archive": offline_package.unpacked_from(name, home) if real else {},
        "busy": lock.activity(Path(home).resolve() / f".{name}"),
    }


def summary(name: str = "pigsty", home: str = "/www") -> str:
    """What is published, for people."""
    return describe(status(name, home))


def describe(data: dict[str, Any]) -> str:
    """What :func:`status` says, for people."""
    if data["kind"] == "none":
        lines = [f"{data['published']}: no repository"]
    else:
        age = data["age"] or 0
        ago = f"{age // 86400} d {age % 86400 // 3600} h" if age >= 3600 else f"{age // 60} min"
        word = "complete" if data["complete"] else "NOT COMPLETE"
        lines = [
            f"{data['published']}: {word}, {data['packages']} packages,"
            f" {data['bytes'] / 2**20:.0f} MiB, {data['origin']} {ago} ago",
            f"  targets:   {', '.join(data['targets']) or 'unknown'}",
            f"  signed by: {data['signature']['key'] or 'no key'}",
            f"  previous:  {data['previous'] or 'none'}",
        ]
        note = data.get("archive") or {}
        if note.get("archive"):
            digest = note.get("sha256")
            lines.append(f"  archive:   {note['archive']}"
                         f" {f'sha256:{digest}' if digest else '(digest unknown)'}")  # fmt: skip
        for upstream in data["upstreams"]:
            trust = "verified" if upstream["verified"] else "NOT VERIFIED (trusted: true)"
            lines.append(f"  upstream:  {upstream['target']} {upstream['name']}"
                         f" {upstream['url']} {trust}")  # fmt: skip
    lines += [f"  problem:   {p}" for p in [*data["problems"], *data["signature"]["problems"]]]
    if data["busy"]:
        lines.append(f"  now:       {data['busy']}")
    return "\n".join(lines)


def verify(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """Read everything that is published, and check every checksum and signature.

    See ``infra_repo.verify``.
    """
    verdict = releases.verify(home, name)
    real = (Path(home) / name).resolve()
    problems = list(verdict["problems"])
    if (real / marker.INFO).is_file():
        problems += signatures.verify(real, name)["problems"]
    if problems:
        releases.invalidate(home, name, [p.partition(":")[0] for p in problems])
    return {
        "complete": not problems,
        "files": verdict["files"],
        "bytes": verdict["bytes"],
        "problems": problems,
    }


def damage(name: str, home: str) -> list[str]:
    """What is wrong with what is published, found without reading packages that were not touched.

    An unmanaged repository is read in full once.

    Returns problems; empty for a complete repository, or where there is none.
    """
    state = releases.state(home, name)
    if state["kind"] == "none":
        return []
    if state["kind"] == "foreign" and state["complete"]:
        seal = Path(home).resolve() / f".{name}" / "seals" / f"{Path(state['path']).name}.json"
        if not seal.exists():
            return list(releases.verify(home, name)["problems"])
    return list(state["problems"])


# -- going back, packing, unpacking --------------------------------------------------------------
def rollback(name: str = "pigsty", home: str = "/www") -> dict[str, str]:
    """Publish the repository that was published before; called again, it goes forth again.

    See ``infra_repo.rollback``.
    """
    with lock.exclusive(home, name, "rollback"):
        return releases.rollback(home, name)
