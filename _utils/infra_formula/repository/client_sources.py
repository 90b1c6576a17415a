"""What clients of a repository need: definitions for apt and yum.

Pure functions of their arguments.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset.contents import MANAGED_BY, File
from infra_formula.minion import Minion
from infra_formula.repository import contents, other_systems, releases, systems

_AHEAD = 2 * 24 * 3600  # seconds
HEAD = f"# {MANAGED_BY}\n"
TARGETS = "# Targets: "
"""Before the targets in a definition for yum, whose address has the client's own release."""


def endpoint(address: str, port: int = 80) -> str:
    """Address of a web server, without the port where it is the usual one.

    address
        IP address or name, or a URL.
    port
        Its port; ignored for a URL that has one.
    """
    if "://" in address:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port or port
    else:
        scheme, host = "http", address
    if ":" in host:
        host = f"[{host}]"
    usual = {"http": 80, "https": 443}.get(scheme)
    if usual is None or not host:
        raise InvalidInput(f"repo_endpoint: expected an http URL, got {address!r}")
    return f"{scheme}://{host}" + ("" if port == usual else f":{port}")


def definitions(
    name: str,
    bases: list[str],
    info: dict[str, Any],
    public_key: str,
    section: str = "",
    codename: str = "",
) -> dict[str, str]:
    """Client definitions of a repository.

    name
        ``repo_name``.
    bases
        Addresses of the repository, e.g. ``http://10.10.10.10/pigsty``; the first is preferred,
        the others are fall-backs.
    info
        ``suites`` (codenames that there is an index for), ``default_suite``, ``flat`` (whether the
        repository's own folder is an apt repository), ``yum`` (folders of yum repositories, or
        ``.``), ``keys`` (files below the repository with keys that its rpms are signed with) and
        ``rpms_signed`` (False where only the index is signed, which has their checksums).
    public_key
        The signing key, armoured; empty for a repository that is not signed.
    section
        Section of the yum definition; the name where empty.
    codename
        Suite for the apt definition; the default suite where empty.

    Returns ``repo`` (yum) and ``sources`` (apt, deb822); empty where there is nothing to define.
    """
    section = section or name
    suite = codename or info.get("default_suite") or ""
    return {
        "repo": _yum(name, section, bases, info, public_key) if info.get("yum") else "",
        "sources": _apt(name, bases, info, suite, public_key)
        if suite in info.get("suites", ()) or info.get("flat")
        else "",
    }


def _apt(name: str, bases: list[str], info: dict[str, Any], suite: str, key: str) -> str:
    lines = [f"X-Repolib-Name: {name}", "Types: deb", f"URIs: {' '.join(bases)}"]
    if suite in info.get("suites", ()):
        lines += [f"Suites: {suite}", "Components: main"]
    else:
        lines.append("Suites: ./")
    arches = _architectures(info, suite)
    if arches:
        lines.append(f"Architectures: {' '.join(arches)}")
    # A client whose clock is a day behind installs, too; apt allows for ten seconds.
    lines.append(f"Date-Max-Future: {_AHEAD}")
    if key:
        body = [f" {line}" if line.strip() else " ." for line in key.strip().splitlines()]
        lines += ["Signed-By:", *body]
    else:
        lines += ["# The repository was not signed by those who made it.", "Trusted: yes"]
    return HEAD + "\n".join(lines) + "\n"


def _architectures(info: dict[str, Any], suite: str) -> list[str]:
    """Debian's architectures of a suite, as far as the repository names its targets."""
    systems_of = map(systems.of_target, info.get("targets") or [])
    architectures = [arch for _, release, arch in systems_of if release == suite]
    return list(dict.fromkeys(architectures))


def _yum(name: str, section: str, bases: list[str], info: dict[str, Any], key: str) -> str:
    """A section for each address, which has the key of that address and the others as fall-backs.

    dnf fetches every ``gpgkey`` of a section: one whose server does not answer would cost them all.
    """
    folders = info["yum"]
    targets = "" if folders == ["."] else f"{TARGETS}{' '.join(folders)}\n"
    sections = []
    for number, base in enumerate(bases, 1):
        own = section if number == 1 else f"{section}-{number}"
        others = [other for other in bases if other != base]
        sections.append(_yum_section(name, own, [base, *others], info, key))
    return HEAD + targets + "\n".join(sections)


def _yum_section(name: str, section: str, bases: list[str], info: dict[str, Any], key: str) -> str:
    # One definition serves every release: yum fills in its own.
    tail = "" if info["yum"] == ["."] else "/el$releasever.$basearch"
    index = 1 if key else 0
    packages = 1 if key and info.get("rpms_signed", True) else 0
    lines = [
        f"[{section}]",
        f"name = {section} $releasever - $basearch",
        "baseurl = " + "\n          ".join(f"{base}{tail}/" for base in bases),
        "enabled = 1",
        f"gpgcheck = {packages}",
        f"repo_gpgcheck = {index}",
        "module_hotfixes = 1",
        "priority = 1",
        "skip_if_unavailable = 1",
    ]
    if key:
        files = [f"{name}.asc", *info.get("keys", [])]
        lines.append("gpgkey = " + "\n         ".join(f"{bases[0]}/{file}" for file in files))
    return "\n".join(lines) + "\n"


def for_machine(text: str, kind: str, minion: Minion) -> tuple[str, str]:
    """A definition for one machine, and why it is not for that one; the latter empty if it is.

    text, kind
        The definition, ``sources`` or ``repo``.
    minion
        Its grains tell release and architecture.

    yum's ``$releasever`` may be a minor release, 9.4, that no repository is built for.
    """
    _, release, arch = systems.identity(minion)
    if kind == "sources":
        suites = _values(text, "Suites")
        arches = _values(text, "Architectures")
        if suites and release and suites != ["./"] and release not in suites:
            return text, _not_for(release, arch, ", ".join(suites))
        if arches and arch and arch not in arches:
            return text, _not_for(release, arch, ", ".join([*suites, *arches]))
        return text, ""
    targets = re.search(rf"(?m)^{re.escape(TARGETS)}(.*)$", text)
    if targets and release and f"{release}.{arch}" not in targets[1].split():
        return text, _not_for(release, arch, targets[1].strip())
    major = release.removeprefix("el")
    return text.replace("/el$releasever.", f"/el{major}.") if major else text, ""


def _values(text: str, field: str) -> list[str]:
    match = re.search(rf"(?m)^{field}:(.*)$", text)
    return match[1].split() if match else []


def _not_for(release: str, arch: str, holds: str) -> str:
    return (
        f"its repository is for {holds}, but this machine is {release} {arch}. Add this machine's"
        " system to repo_targets, and apply the INFRA node"
    )


def of_machine(minion: Minion, name: str, home: str) -> str:
    """Definition of the local repository for this very machine, by ``file://``; empty for none.

    Raises CommandFailed if what is published is for another release or architecture.
    """
    info, public = _client_info(name, home)
    family, release, _ = systems.identity(minion)
    kind = "sources" if family == "deb" else "repo"
    place = Path(home, name)
    if place.is_dir():
        other_systems.refuse(minion, str(place), info, contents.files_of(str(place.resolve())))
    section = f"{name}-local"
    codename = release if release in info["suites"] else ""
    base = [f"file://{home}/{name}"]
    text = definitions(name, base, info, public, section=section, codename=codename)[kind]
    text, fault = for_machine(text, kind, minion)
    if text and fault:
        raise CommandFailed(f"{place}: {fault}")
    return text


def client_files(
    name: str = "pigsty",
    home: str = "/www",
    endpoints: list[str] | None = None,
) -> dict[str, File]:
    """The files that tell clients how to use the repository, as files of a file set.

    name, home
        ``repo_name`` and ``repo_home``.
    endpoints
        Addresses of the INFRA nodes, the preferred one first: ``http://10.10.10.10:8080``.

    Raises CommandFailed if the repository is not signed, but clients trust a key.
    """
    bases = [f"{endpoint(address)}/{name}" for address in endpoints or []]
    info, public = _client_info(name, home)
    trusted = Path(home, f"{name}.asc")
    if bases and not public and (info["flat"] or info["yum"]) and trusted.is_file():
        raise CommandFailed(
            f"{Path(home, name)}: expected a signed repository, since clients trust the key in"
            f" {trusted}. Sign it with the key of this node: salt-call infra_repo.sign"
        )
    local = definitions(name, [f"file://{home}/{name}"], info, public, section=f"{name}-local")
    files = {f"{name}-local.{kind}": text for kind, text in local.items()}
    if bases:
        remote = definitions(name, bases, info, public)
        files.update({f"{name}.{kind}": text for kind, text in remote.items()})
        for suite in info["suites"]:
            of_suite = definitions(name, bases, info, public, codename=suite)
            files[f"{name}-{suite}.sources"] = of_suite["sources"]
    files[f"{name}.asc"] = public
    return {rel: {"text": text} for rel, text in files.items() if text}


def _client_info(name: str, home: str) -> tuple[dict[str, Any], str]:
    state = releases.state(home, name)
    if state["kind"] == "none":
        return {"suites": [], "flat": False, "yum": []}, ""
    real = Path(state["path"])
    if state["kind"] == "ours":
        return state["info"], (real / f"{name}.asc").read_text(encoding="utf-8")
    flat = any((real / file).is_file() for file in ("Packages", "Packages.gz"))
    yum = ["."] if (real / "repodata" / "repomd.xml").is_file() else []
    return {"suites": [], "flat": flat, "yum": yum}, ""
