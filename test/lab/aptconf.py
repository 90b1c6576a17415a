"""How this host reaches its Debian archive, for machines of any Debian release.

The archive's address is read from the host's own apt sources and is written down nowhere else.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .host import LabError, run

# Settings about reaching an archive; the rest of a host's apt configuration stays on the host.
REACH = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")
OS_RELEASE = Path("/etc/os-release")
MAIN = "http://deb.debian.org/debian"
"""Debian's archive, for a host whose own sources name none."""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
FIRST_RELEASE = "bookworm"
"""Of the first platform of kitchen.yml, which the demo boots."""
QUICK = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=10")
"""Settings of apt with which it soon says that nothing answers."""


@dataclass(frozen=True)
class Source:
    """One archive of the host's sources.

    Attributes:
        uri: its address.
        suite: the suite, `bookworm-updates`.
        components: its components.
        signed_by: the key ring that signs it; empty for the system's.
    """

    uri: str
    suite: str
    components: str
    signed_by: str = ""


def for_release(release: str, folder: Path = Path("/etc/apt")) -> list[Source]:
    """Return the host's Debian sources, with another release in the place of the host's.

    A host of another distribution, as Ubuntu is, has none: Debian's own archive serves it.

    Args:
        release: the release's name, `trixie`.
        folder: the host's apt configuration.

    Returns:
        The sources; the first is the release itself, without a suffix.

    Raises:
        LabError: the host's sources name no Debian archive.
    """
    if _os_release("ID", "debian") != "debian":
        return [
            Source(MAIN, release, "main"),
            Source(MAIN, f"{release}-updates", "main"),
            Source(f"{MAIN}-security", f"{release}-security", "main"),
        ]
    host = codename()
    found: dict[tuple[str, str], Source] = {}
    for source in _read(folder):
        base, dash, rest = source.suite.partition("-")
        if base in {host, release, "stable", "oldstable"}:
            wanted = Source(source.uri, release + dash + rest, source.components, source.signed_by)
            found.setdefault((wanted.uri, wanted.suite), wanted)
    sources = sorted(found.values(), key=lambda source: (source.suite != release, source.suite))
    if not sources or sources[0].suite != release:
        raise LabError(f"The apt sources of this machine name no archive of Debian {release}.")
    return sources


def upstreams(releases: dict[int, str]) -> list[dict[str, Any]]:
    """Return this host's Debian archives as definitions for `repo_upstream`.

    Args:
        releases: names of the releases by their numbers, `{12: "bookworm"}`.
    """
    return [
        {
            "name": source.suite.replace("/", "-"),
            "module": "node",
            "releases": [number],
            "arch": ["x86_64"],
            "baseurl": f"{source.uri} {source.suite} {source.components}",
            "signed_by": source.signed_by or KEYRING,
        }
        for number, release in releases.items()
        for source in for_release(release)
    ]


def deb822(sources: list[Source]) -> str:
    """Return sources in the form of a `.sources` file."""
    return "\n".join(
        f"Types: deb\nURIs: {source.uri}\nSuites: {source.suite}\n"
        f"Components: {source.components}\nSigned-By: {source.signed_by or KEYRING}\n"
        for source in sources
    )


def reach() -> str:
    """Return the host's apt settings about reaching an archive, as a configuration file."""
    dump = run(["apt-config", "dump"]).stdout.splitlines()
    return "".join(f"{line}\n" for line in dump if line.startswith(REACH))


def codename() -> str:
    """Return the name of the host's own release."""
    return _os_release("VERSION_CODENAME", "stable")


def _os_release(wanted: str, default: str) -> str:
    for line in OS_RELEASE.read_text().splitlines():
        key, _, value = line.partition("=")
        if key == wanted:
            return value.strip("\"'")
    return default


def _read(folder: Path) -> list[Source]:
    sources: list[Source] = []
    lists = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]
    for path in lists:
        if path.exists():
            sources += [found for line in path.read_text().splitlines() for found in _line(line)]
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            sources += _stanza(stanza)
    return sources


def _line(line: str) -> list[Source]:
    """Read a line of the one-line form: deb [signed-by=FILE] URI SUITE COMPONENT..."""
    found = re.fullmatch(
        r"deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)\s+([^#]+?)\s*(?:#.*)?", line.strip()
    )
    if not found or found[2].startswith("cdrom:"):
        return []
    options = dict(word.split("=", 1) for word in (found[1] or "").split() if "=" in word)
    return [Source(found[2].rstrip("/"), found[3], found[4], options.get("signed-by", ""))]


def _stanza(stanza: str) -> list[Source]:
    """Read a stanza of the deb822 form."""
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[key] = f"{fields.get(key, '')} {line.strip()}".strip()
        else:
            key, _, value = line.partition(":")
            key = key.strip().lower()
            fields[key] = value.strip()
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "").lower() == "no":
        return []
    signed_by = fields.get("signed-by", "")
    return [
        # A key may stand in the file itself; what is not a path goes by the system's key ring.
        Source(
            uri.rstrip("/"),
            suite,
            fields.get("components", "main"),
            signed_by if os.path.isabs(signed_by) else "",
        )
        for uri in fields.get("uris", "").split()
        for suite in fields.get("suites", "").split()
    ]
