"""With which files a service was started last, for services that read them only then.

A requisite (``watch``) restarts a service in the run that changed its files; where that run ends
before the restart, no later one does. So it is written down, in ``/var/lib/infra/started``, with
which content a service was started. Clocks have no say in it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from infra_formula.fileset import atomic

STARTED = Path("/var/lib/infra/started")


def digest(files: list[str]) -> str:
    """SHA-256 over the content of files, missing ones included, as a hexadecimal string."""
    whole = hashlib.sha256()
    for path in files:
        try:
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        except FileNotFoundError:
            content = "none"
        whole.update(f"{path}\0{content}\n".encode())
    return whole.hexdigest()


def started(unit: str) -> str:
    """The digest with which a unit was started last; empty where that is not known."""
    try:
        return (STARTED / unit).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return ""


def remember(unit: str, text: str) -> None:
    """Write down the digest with which a unit was started."""
    atomic.write(str(STARTED / unit), f"{text}\n", 0o644)
