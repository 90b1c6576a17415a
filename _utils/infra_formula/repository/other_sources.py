"""Other package sources of a machine, put to sleep in place, and woken again.

A source that is disabled stays where it is; every line that was changed says so, and
:func:`enabled` restores it by that alone.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from salt.exceptions import CommandExecutionError

from infra_formula import process
from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion

OFF = "# disabled by infra formula: "
"""Stands before what a line was."""


def files(keep: list[str] | None = None, root: str = "/") -> dict[str, str]:
    """Files with package sources of this machine, and what kind they are.

    keep
        File names that are left out: our own.
    root
        Root of the file system.
    """
    base = Path(root)
    result = {}
    for pattern, kind in (
        ("etc/apt/sources.list", "list"),
        ("etc/apt/sources.list.d/*.list", "list"),
        ("etc/apt/sources.list.d/*.sources", "sources"),
        ("etc/yum.repos.d/*.repo", "repo"),
    ):
        for path in sorted(base.glob(pattern)):
            if path.is_file() and path.name not in (keep or []):
                result[str(path)] = kind
    return result


def read_lists(minion: Minion, failhard: bool = True) -> None:
    """Have the package manager read its sources.

    failhard
        Whether a source that cannot be used is an error.

    Raises CommandExecutionError if it cannot use one of them.

    In a repository without a Release file, apt looks for each form of an index, and for
    translations. It passes over those that are missing; Salt takes some of them for an error.
    """
    try:
        minion.call("pkg.refresh_db", failhard=failhard)
    except CommandExecutionError as exc:
        if minion.grains.get("os_family") != "Debian" or "Error getting repos" not in str(exc):
            raise
        answer = process.run(["apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any"])
        if answer["retcode"]:
            raise CommandFailed(answer["stderr"] or answer["stdout"]) from exc


def switch(
    on: bool, keep: list[str] | None = None, root: str = "/", test: bool = False
) -> dict[str, dict[str, str]]:
    """Disable the machine's package sources in place, or enable again those that we disabled.

    on
        True enables, False disables.
    keep, root
        See :func:`files`.
    test
        Only tell.

    Returns path → ``old`` and ``new`` (content) of the files that are, or would be, changed.
    """
    changes = {}
    for path, kind in files(keep, root).items():
        # As bytes: a file with CR LF is restored exactly.
        old = Path(path).read_bytes().decode("utf-8", "surrogateescape")
        new = enabled(old) if on else disabled(old, kind)
        if new == old:
            continue
        changes[path] = {"old": old, "new": new}
        if not test:
            st = os.stat(path)
            temporary = Path(f"{path}.infra-new")
            temporary.write_bytes(new.encode("utf-8", "surrogateescape"))
            os.chown(temporary, st.st_uid, st.st_gid)
            temporary.chmod(st.st_mode & 0o7777)
            temporary.replace(path)
    return changes


def disabled(text: str, kind: str) -> str:
    """A source file with all its sources disabled in place.

    text
        Its content.
    kind
        ``list`` (one line per source), ``sources`` (deb822) or ``repo`` (yum).

    Returns the new content; the same where there is nothing (left) to disable.
    """
    return {"list": _list_off, "sources": _sources_off, "repo": _repo_off}[kind](text)


def _list_off(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(f"{OFF}{line}" if re.match(r"\s*deb(-src)?\s", line) else line for line in lines)


def _sources_off(text: str) -> str:
    out = []
    for stanza in re.split(r"(\n[ \t\r]*\n[\r\n]*)", text):
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
    """A source file as it was before :func:`disabled`; other changes made since then stay."""
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
