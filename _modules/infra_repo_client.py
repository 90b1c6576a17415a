"""What clients of a repository need: definitions for apt and yum; and other sources put to sleep.

Pure functions of their arguments. A source that is disabled stays where it is; every line that
was changed says so, and :func:`enabled` finds its way back by that alone.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from salt.exceptions import SaltInvocationError

_AHEAD = 2 * 24 * 3600  # seconds
OFF = "# disabled by infra formula: "
"""Stands before what a line was."""

_HEAD = "# Managed by Salt (infra formula)\n"


def endpoint(address: str, port: int = 80) -> str:
    """Address of a web server, without the port where it is the usual one.

    address
        IP address or name, or a URL.
    port
        Its port; ignored for a URL that has one.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo_client.endpoint 10.10.10.10 8080
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
        raise SaltInvocationError(f"repo_endpoint: expected an http URL, got {address!r}")
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
        ``.``) and ``keys`` (files below the repository with keys that its rpms are signed with).
    public_key
        The signing key, armoured; empty for a repository that is not signed.
    section
        Section of the yum definition; the name where empty.
    codename
        Suite for the apt definition; the default suite where empty.

    Returns ``repo`` (yum) and ``sources`` (apt, deb822); empty where there is nothing to define.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo_client.definitions pigsty '["http://a/pigsty"]' '{flat: true}' ''
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
    check = 1 if key else 0
    lines = [
        f"[{section}]",
        f"name = {section} $releasever - $basearch",
        "baseurl = " + "\n          ".join(f"{base}{tail}/" for base in bases),
        "enabled = 1",
        f"gpgcheck = {check}",
        f"repo_gpgcheck = {check}",
        "module_hotfixes = 1",
        "priority = 1",
        "skip_if_unavailable = 1",
    ]
    if key:
        files = [f"{name}.asc", *info.get("keys", [])]
        urls = [f"{base}/{file}" for base in bases for file in files]
        lines.append("gpgkey = " + "\n         ".join(urls))
    return _HEAD + "\n".join(lines) + "\n"


def disabled(text: str, kind: str) -> str:
    """A source file with all its sources disabled in place.

    text
        Its content.
    kind
        ``list`` (one line per source), ``sources`` (deb822) or ``repo`` (yum).

    Returns the new content; the same where there is nothing (left) to disable.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo_client.disabled 'deb http://a b c' list
    """
    return {"list": _list_off, "sources": _sources_off, "repo": _repo_off}[kind](text)


def _list_off(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(f"{OFF}{line}" if re.match(r"\s*deb(-src)?\s", line) else line for line in lines)


def _sources_off(text: str) -> str:
    out = []
    for stanza in re.split(r"(\n[ \t]*\n+)", text):
        if not re.search(r"^types\s*:", stanza, re.MULTILINE | re.IGNORECASE):
            out.append(stanza)
            continue
        was = re.search(r"^enabled\s*:\s*(\S*).*$", stanza, re.MULTILINE | re.IGNORECASE)
        if was is None:
            first = re.search(r"^[A-Za-z]", stanza, re.MULTILINE)
            at = first.start() if first else 0
            stanza = f"{stanza[:at]}{OFF}\nEnabled: no\n{stanza[at:]}"
        elif was.group(1).lower() not in ("no", "false", "without", "off", "disable"):
            stanza = f"{stanza[: was.start()]}{OFF}{was.group(0)}\nEnabled: no{stanza[was.end() :]}"
        out.append(stanza)
    return "".join(out)


def _repo_off(text: str) -> str:
    out = []
    for part in re.split(r"(?m)^(?=\[)", text):
        if not part.startswith("[") or part.startswith("[main]"):
            out.append(part)
            continue
        was = re.search(r"(?m)^enabled\s*=\s*(\S*).*$", part)
        if was is None:
            head, newline, rest = part.partition("\n")
            part = f"{head}\n{OFF}\nenabled=0{newline or chr(10)}{rest}"
        elif was.group(1).lower() not in ("0", "no", "false"):
            part = f"{part[: was.start()]}{OFF}{was.group(0)}\nenabled=0{part[was.end() :]}"
        out.append(part)
    return "".join(out)


def enabled(text: str) -> str:
    """A source file as it was before :func:`disabled`; other changes made since then stay.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo_client.enabled '# disabled by infra formula: deb http://a b c'
    """
    out = []
    skip = False
    for line in text.splitlines(keepends=True):
        if skip and re.match(r"enabled\s*[:=]\s*(no|0)\s*$", line, re.IGNORECASE):
            skip = False
            continue
        skip = False
        if not line.startswith(OFF.rstrip()):
            out.append(line)
            continue
        was = line[len(OFF) :] if line.startswith(OFF) else ""
        skip = not re.match(r"\s*deb(-src)?\s", was)
        if was.strip():
            out.append(was)
    return "".join(out)
