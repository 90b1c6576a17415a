"""Basic-auth files: passwords from pillar become hashes, by openssl's ``passwd``.

A password in pillar may be plain, or hashed already (``$6$…``, ``$5$…``, ``$2y$…``, ``$apr1$…``).
"""

from __future__ import annotations

import hmac
import re
from pathlib import Path
from typing import Any

from infra_formula import process
from infra_formula.errors import CommandFailed, InvalidInput

_HASH = re.compile(r"\$(?:1|5|6|apr1|2[abxy])\$\S+|\{SSHA\}\S+")
_SHA512 = re.compile(r"\$6\$([./0-9A-Za-z]{1,16})\$[./0-9A-Za-z]{86}")


def files(users: dict[str, str], group: str, folder: str) -> dict[str, dict[str, Any]]:
    """The basic-auth file of a portal, as a file of an ``infra_files`` set; none without users.

    users
        User → password, plain or hashed.
    group
        Of nginx's workers, which read it.
    folder
        Where it lies. A hash in there that still fits its password is kept.

    Returns path below the folder → file.
    """
    if not users:
        return {}
    path = Path(folder, ".htpasswd")
    current = path.read_text(encoding="utf-8") if path.exists() else ""
    text = lines(users, current)
    return {path.name: {"text": text, "mode": "0640", "group": group, "secret": True}}


def lines(users: dict[str, str], current: str = "") -> str:
    """Content of a basic-auth file.

    users
        User → password, plain or hashed.
    current
        Content of the file as it is: a hash that still fits its password is kept, so that nothing
        changes when nothing did.

    Returns one line ``user:hash`` per user, sorted.

    Raises SaltInvocationError for a user whose name cannot stand in such a file, and
    CommandExecutionError where openssl fails.
    """
    known = dict(line.split(":", 1) for line in current.splitlines() if ":" in line)
    out = []
    for user in sorted(users):
        if not re.fullmatch(r"[^\s:\x00-\x1f]+", user):
            raise InvalidInput(f"nginx_users[{user!r}]: expected a user without ':' or blanks")
        out.append(f"{user}:{_hash(user, users[user], known.get(user, ''))}\n")
    return "".join(out)


def _hash(user: str, password: str, known: str) -> str:
    if _HASH.fullmatch(password):
        return password
    if not password:
        raise InvalidInput(f"nginx_users.{user}: expected a password, got an empty one")
    found = _SHA512.fullmatch(known)
    if found and hmac.compare_digest(_openssl(password, found.group(1)), known):
        return known
    return _openssl(password)


def _openssl(password: str, salt: str = "") -> str:
    """SHA-512 crypt of a password, which openssl reads from standard input: no process list."""
    command = ["openssl", "passwd", "-6", "-stdin"] + (["-salt", salt] if salt else [])
    outcome = process.run(command, stdin=password)
    if outcome["retcode"]:
        raise CommandFailed(f"openssl passwd: {outcome['stderr']}")
    return outcome["stdout"].strip()
