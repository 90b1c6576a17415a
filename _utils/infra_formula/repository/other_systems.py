"""Whether a repository is for this machine: packages of another release must not get onto it.

A repository that the formula built names its targets. One of another program (Pigsty's archives) is
known by its packages: by their architecture, and by what distributions and vendors put into the
versions of a release.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion
from infra_formula.repository import systems

_BY_NUMBER = {
    **{code.removeprefix("d"): os["codename"] for code, os in systems.OSES.items()
       if os["distro"] == "debian"},
    **{os["releasever"]: os["codename"] for os in systems.OSES.values()
       if os["distro"] == "ubuntu"},
}  # fmt: skip
_CODENAMES = "|".join(_BY_NUMBER.values())
_CERTAIN = (
    # Packages that a vendor builds for each release, and backports: 16.4-1.pgdg12+1, 1.28-1~jammy.
    re.compile(rf"[._~+-](?P<name>{_CODENAMES})(?![a-z])"),
    re.compile(r"(?:pgdg|~bpo|~deb|ubuntu(?:\d+\.)?)(?P<number>\d\d\.04|1[1-3](?!\d))"),
)
_STABLE_UPDATE = re.compile(r"[+~]deb(?P<number>1[1-3])u\d")
_LIBC = re.compile(r"/?libc6_(2\.\d+)-[^/]*\.deb$")
_LIBC_OF = {
    "2.31": "bullseye",
    "2.36": "bookworm",
    "2.41": "trixie",
    "2.35": "jammy",
    "2.39": "noble",
}
"""Version of the C library in each release: packages.{debian.org,ubuntu.com}/libc6."""

_FEW = 0.05  # part of the packages: a release has some that its predecessor updated last
_RPM = re.compile(r"\.(?:module_|rh)?el(\d+)[._+~a-z\d-]*\.(?:[a-z\d_]+)\.rpm$")


def fault(minion: Minion, info: dict[str, Any], files: Iterable[str]) -> str:
    """Why a repository is not for this machine; empty if it is, or if nothing says so.

    minion
        Its grains tell release and architecture.
    info
        ``targets`` of a repository that the formula built.
    files
        Paths of the files in it.
    """
    family, release, arch = systems.identity(minion)
    targets = [target for target in info.get("targets") or [] if systems.of_target(target)[0]]
    if targets:
        if not release or (family, release, arch) in map(systems.of_target, targets):
            return ""
        return _text(", ".join(targets), release, arch)
    names = [name for name in files if name.endswith((".deb", ".rpm"))]
    suffix = f".{family}"
    own = [name for name in names if name.endswith(suffix)]
    arches = _architectures(own, family)
    if arches and arch and arch not in arches:
        return _text(f"packages for {', '.join(sorted(arches))}", release, arch)
    releases = _releases(own, release) if family == "deb" else _majors(own)
    if release and releases and release not in releases:
        return _text(f"packages of {', '.join(sorted(releases))}", release, arch)
    return ""


def _text(holds: str, release: str, arch: str) -> str:
    return (
        f"it holds {holds}, but this machine is {release or 'of unknown release'} {arch}. Packages"
        " of another release or architecture must not be installed here"
    )


def refuse(minion: Minion, where: str, info: dict[str, Any], files: Iterable[str]) -> None:
    """Raise CommandFailed if a repository is not for this machine; see :func:`fault`."""
    reason = fault(minion, info, files)
    if reason:
        raise CommandFailed(f"{where}: {reason}")


def _architectures(files: list[str], family: str) -> set[str]:
    """Architectures in the names: name_version_arch.deb, name-version-release.arch.rpm."""
    mark = "_" if family == "deb" else "."
    architectures = {name.rpartition(".")[0].rpartition(mark)[2] for name in files}
    return architectures & (set(systems.ARCHES.values()) | set(systems.ARCHES))


def _releases(files: list[str], release: str) -> set[str]:
    """Codenames that the versions of debs are of; empty if nothing tells."""
    certain: Counter[str] = Counter()
    updates: Counter[str] = Counter()
    for file in files:
        name = file.rpartition("/")[2]
        libc = _LIBC.search(name)
        if libc and libc[1] in _LIBC_OF:
            return {_LIBC_OF[libc[1]]}
        version = name.partition("_")[2]
        for pattern in _CERTAIN:
            for match in pattern.finditer(version):
                group = match.groupdict()
                codename = group.get("name") or _BY_NUMBER.get(group.get("number") or "", "")
                certain[codename] += bool(codename)
        for match in _STABLE_UPDATE.finditer(version):
            updates[_BY_NUMBER[match["number"]]] += 1
    if certain[release] or updates[release]:
        return {release}
    if +certain:
        return {codename for codename, count in certain.items() if count}
    return {codename for codename, count in updates.items() if count > 1 + _FEW * len(files)}


def _majors(files: list[str]) -> set[str]:
    return {f"el{match[1]}" for file in files if (match := _RPM.search(file))}
