"""Offline packages that a machine packed itself, or published before: known by their digest.

One that is left in its place is not published again: it would undo a build, or freeze the machine
that packed it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from infra_formula.repository import archive as repository_archive
from infra_formula.repository import contents, releases

_FILE = "archives.json"
_LIMIT = 50


def identity(archive: str, st: os.stat_result | None = None) -> dict[str, Any]:
    """Identity of an archive: path, size and time.

    st
        Of its descriptor; looked up by the path if None.
    """
    st = st or os.stat(archive)
    return {"archive": archive, "size": st.st_size, "mtime": st.st_mtime_ns}


def _read(name: str, home: str) -> dict[str, Any]:
    return contents.read_json(str(Path(home).resolve() / f".{name}" / _FILE))


def remember(name: str, home: str, sha256: str, archive: dict[str, Any], packed: bool) -> None:
    """Record an archive.

    name, home
        ``repo_name`` and ``repo_home``.
    sha256
        Digest of its content.
    archive
        See :func:`identity`.
    packed
        Whether this machine packed it; otherwise it published its content.
    """
    known = _read(name, home)
    before = known.get(sha256, {})
    known[sha256] = {**before, **archive, "packed": packed or bool(before.get("packed"))}
    known[sha256].setdefault("since", int(time.time()))
    newest = sorted(known.items(), key=lambda item: -int(item[1].get("since", 0)))[:_LIMIT]
    contents.write_json(str(Path(releases.work(home, name), _FILE)), dict(newest))


def find(name: str, home: str, archive: str) -> dict[str, Any]:
    """What is known of an archive: ``sha256`` and ``packed``; empty for one that is new.

    An archive with the path, size and time of a known one is not read.

    Raises CommandFailed if it has to be read, and others than root can write to it.
    """
    known = _read(name, home)
    if not known or not os.path.isfile(archive):
        return {}
    own = identity(archive)
    for sha256, entry in known.items():
        if own.items() <= entry.items():
            return {**entry, "sha256": sha256}
    sizes = {entry.get("size") for entry in known.values()}
    if own["size"] not in sizes:
        return {}
    with repository_archive.opened(archive) as fd:
        sha256 = contents.checksum(f"/proc/self/fd/{fd}")
    return {**known[sha256], "sha256": sha256} if sha256 in known else {}
