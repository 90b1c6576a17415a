"""What clients of a repository need: definitions for apt and yum.

Pure functions of their arguments.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from infra_formula.errors import InvalidInput

_AHEAD = 2 * 24 * 3600  # seconds
_HEAD = "# Managed by Salt (infra formula)\n"


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
    # A client whose clock is a day behind installs, too; apt allows for ten seconds.
    lines.append(f"Date-Max-Future: {_AHEAD}")
    if key:
        body = [f" {line}" if line.strip() else " ." for line in key.strip().splitlines()]
        lines += ["Signed-By:", *body]
    else:
        lines += ["# The repository was not signed by those who made it.", "Trusted: yes"]
    return _HEAD + "\n".join(lines) + "\n"


def _yum(name: str, section: str, bases: list[str], info: dict[str, Any], key: str) -> str:
    folders = info["yum"]
    # One definition serves every release: yum fills in its own.
    tail = "" if folders == ["."] else "/el$releasever.$basearch"
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
        urls = [f"{base}/{file}" for base in bases for file in files]
        lines.append("gpgkey = " + "\n         ".join(urls))
    return _HEAD + "\n".join(lines) + "\n"
