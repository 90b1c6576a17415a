"""Basic-auth files: passwords from pillar, hashed by ``openssl passwd``.

A password may be plain, or hashed already (``$6$…``, ``$5$…``, ``$2y$…``, ``$apr1$…``).
"""

from __future__ import annotations

import hmac
import re
from pathlib import Path

from infra_formula import process
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset.contents import File

_HASH = re.compile(r"\$(?:1|5|6|apr1|2[abxy])\$\S+|\{SSHA\}\S+")
_SHA512 = re.compile(r"\$6\$([./0-9A-Za-z]{1,16})\$[./0-9A-Za-z]{86}")


def files(users: dict[str, str], group: str, folder: str) -> dict[str, File]:
    """The basic-auth file of a portal, by its name; empty without users.

    users
        User → password, plain or hashed.
    group
        Group of nginx's workers, which read it.
    folder
        Its directory. A hash in the present file that fits its password is reused.
    """
    if not users:
        return {}
    path = Path(folder, ".htpasswd")
    current = path.read_text(encoding="utf-8") if path.exists() else ""
    text = lines(users, current)
    return {path.name: {"text": text, "mode": "0640", "group": group, "secret": True}}


def of_sites(all_files: dict[str, File], sites: dict[str, list[str]]) -> dict[str, File]:
    """The basic-auth files of sites that only some users may enter, by their names.

    all_files
        What :func:`files` returned.
    sites
        Name of the file → users.
    """
    main = all_files.get(".htpasswd")
    if main is None:
        return {}
    result: dict[str, File] = {}
    for name, users in sites.items():
        selected = [x for x in main["text"].splitlines(True) if x.split(":", 1)[0] in users]
        result[name] = {**main, "text": "".join(selected)}
    return result


def lines(users: dict[str, str], current: str = "") -> str:
    """Content of a basic-auth file.

    users
        User → password, plain or hashed.
    current
        Present content of the file. A hash in it that fits its password is reused, so that an
        apply without a change changes nothing.

    Returns one line ``user:hash`` per user, sorted.

    Raises InvalidInput for an invalid user name or an empty password, CommandFailed if openssl
    fails.
    """
    present = dict(line.split(":", 1) for line in current.splitlines() if ":" in line)
    out = []
    for user in sorted(users):
        if not re.fullmatch(r"[^\s:\x00-\x1f]+", user):
            raise InvalidInput(f"nginx_users[{user!r}]: expected a user without ':' or blanks")
        out.append(f"{user}:{_hash(user, users[user], present.get(user, ''))}\n")
    return "".join(out)


def _hash(user: str, password: str, present: str) -> str:
    if _HASH.fullmatch(password):
        return password
    if not password:
        raise InvalidInput(f"nginx_users.{user}: expected a password, got an empty one")
    match = _SHA512.fullmatch(present)
    if match and hmac.compare_digest(_openssl(password, match.group(1)), present):
        return present
    return _openssl(password)


def _openssl(password: str, salt: str = "") -> str:
    """SHA-512 crypt of a password. openssl reads it from standard input, not its command line."""
    command = ["openssl", "passwd", "-6", "-stdin"] + (["-salt", salt] if salt else [])
    outcome = process.run(command, stdin=password)
    if outcome["retcode"]:
        raise CommandFailed(f"openssl passwd: {outcome['stderr']}")
    return outcome["stdout"].strip()
