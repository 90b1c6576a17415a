"""What apt of a client is told of upstreams beside their sources: logins, priorities, own CAs."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from infra_formula import process
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset.contents import File
from infra_formula.fileset.file_set import FilePlan, FileSet
from infra_formula.repository import apt, client_sources, logins, other_sources

FOLDER = "/etc/apt"
FILE_SETS = {
    "client-repo-logins": "auth.conf.d",
    "client-repo-priorities": "preferences.d",
    "client-repo-authorities": "apt.conf.d",
}
"""File set → folder below ``/etc/apt``."""

_INDEX = re.compile(r"(?m)^'([^']+?)(?:/dists/([^']+))?/InRelease' ")
_SOURCE = re.compile(r"(?mi)^(URIs|Suites)[ \t]*:[ \t]*(.*)$")


def files(
    upstreams: list[dict[str, Any]], definitions: Mapping[str, File], uses_machine: bool
) -> dict[str, File]:
    """Logins, priorities and own CAs of upstreams: path below ``/etc/apt`` → file.

    upstreams
        As ``catalogue.plan`` returns them.
    definitions
        Those of the INFRA nodes: name of the file → file.
    uses_machine
        Whether the machine's own sources are used, too.

    Raises InvalidInput if apt cannot tell an upstream with a priority from another source, or if
    a CA would hold for other hosts.
    """
    result = {
        f"auth.conf.d/{name}": file
        for upstream in upstreams
        for name, file in logins.apt_file(upstream).items()
    }
    if any(upstream.get("priority") is not None for upstream in upstreams):
        pins = apt.preferences_text(upstreams, _other_sources(definitions, uses_machine))
        result["preferences.d/infra-upstreams.pref"] = {"text": client_sources.HEAD + pins}
    authorities = apt.authorities(upstreams)
    for host in authorities:
        if ":" in host:
            raise InvalidInput(
                f"repo_upstream.ca: apt's configuration cannot name the IPv6 address {host}, so"
                " that the CA would hold for all hosts; expected the name of a host"
            )
    if authorities:
        lines = "".join(f"{line}\n" for line in apt.authority_lines(authorities))
        result["apt.conf.d/infra-upstreams.conf"] = {"text": client_sources.HEAD + lines}
    return result


def plans(found: Mapping[str, File]) -> list[FilePlan]:
    """Plans of the file sets below ``/etc/apt``.

    found
        See :func:`files`; without any, what an earlier run wrote is removed.
    """
    result = []
    for name, folder in FILE_SETS.items():
        own = {
            rel.removeprefix(f"{folder}/"): file
            for rel, file in found.items()
            if rel.startswith(f"{folder}/")
        }
        result.append(FileSet(name, f"{FOLDER}/{folder}").plan(own))
        result[-1].refuse_unmanaged()
    return result


def refuse_unreadable(upstreams: Iterable[dict[str, Any]]) -> None:
    """Raise CommandFailed if a ``ca`` is no file that apt can read.

    apt fetches as its own user, who says of a file that it cannot read only that a certificate
    is not trusted.
    """
    for upstream in upstreams:
        file = upstream.get("ca")
        if not file:
            continue
        where = f"repo_upstream ({upstream['name']}).ca"
        if not os.path.isfile(file):
            raise CommandFailed(f"{where}: {file} is no file on this machine")
        path = os.path.realpath(file)
        if not os.stat(path).st_mode & 0o004:
            raise CommandFailed(f"{where}: others than root cannot read {file}, and apt has to")
        while path != "/":
            path = os.path.dirname(path)
            if not os.stat(path).st_mode & 0o001:
                raise CommandFailed(f"{where}: others than root cannot enter {path}")


def _other_sources(definitions: Mapping[str, File], uses_machine: bool) -> list[dict[str, str]]:
    """Sources that apt has beside the upstreams, each ``url`` and ``suite``."""
    sources = []
    for file in definitions.values():
        fields = {key.lower(): value for key, value in _SOURCE.findall(str(file["text"]))}
        sources += [
            {"url": url, "suite": suite}
            for url in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return sources + (_of_machine(definitions) if uses_machine else [])


def _of_machine(definitions: Mapping[str, File]) -> list[dict[str, str]]:
    """The machine's own sources, as apt reads them."""
    with tempfile.TemporaryDirectory() as folder:
        for path in other_sources.files(list(definitions)):
            name = os.path.basename(path)
            # Those of upstreams are written anew, or removed, in this run.
            if not name.startswith("infra-"):
                text = Path(path).read_bytes().decode("utf-8", "surrogateescape")
                Path(folder, name).write_bytes(
                    other_sources.enabled(text).encode("utf-8", "surrogateescape")
                )
        answer = process.run(
            ["apt-get", "update", "--print-uris", "-o", "Dir::Etc::SourceList=/dev/null",
             "-o", f"Dir::Etc::SourceParts={folder}"]
        )  # fmt: skip
    if answer["retcode"]:
        raise CommandFailed(f"apt cannot list its sources: {answer['stderr']}")
    return [{"url": url, "suite": suite or "/"} for url, suite in _INDEX.findall(answer["stdout"])]
