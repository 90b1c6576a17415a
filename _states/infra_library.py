"""The library, modules and states of this formula on a minion. Imports nothing of the library."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __salt__: dict[str, Any]


def synced(
    name: str, environment: str, synced: list[str] | None, marker: str, digest: str
) -> dict[str, Any]:
    """The library, modules and states are those of the run's environment.

    name
        Of the state only.
    environment
        The salt environment that the run takes its files from.
    synced
        What was synced while the run was rendered. None if nothing could be synced then
        (salt-ssh): this state does it, under ``test=True`` as well, since it fills a cache only.
    marker
        Absolute path of the file beside Salt's cache of them that says what was synced.
    digest
        Of the formula's release. It is written to ``marker``, under ``test=True`` as well, if it is
        that of the files.
    """
    if synced is None:
        synced = []
        for kind in ("utils", "modules", "states"):
            synced += __salt__[f"saltutil.sync_{kind}"](saltenv=environment, refresh=False)
    path = Path(marker)
    if _digest(path.parent) == digest:
        text = f"{digest}\n"
        if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text:
            path.write_text(text, encoding="utf-8")
    else:
        # A master lists its files anew every 20 seconds only, or somebody changed the formula. The
        # next run syncs again.
        path.unlink(missing_ok=True)
    changes = {"synced": synced} if synced else {}
    comment = f"{len(synced)} files synced." if synced else "The library is up to date."
    return {"name": name, "changes": changes, "result": True, "comment": comment}


def _digest(cache: Path) -> str:
    """The digest of what is in Salt's cache of the formula, as ``make generate`` computes it."""
    whole = hashlib.sha256()
    for folder, pattern in (
        ("modules", "infra_*.py"),
        ("states", "infra_*.py"),
        ("utils", "infra_formula/**/*.py"),
    ):
        root = cache / folder
        for path in sorted(root.glob(pattern)):
            name = f"_{folder}/{path.relative_to(root)}"
            if name != "_utils/infra_formula/release.py":
                content = hashlib.sha256(path.read_bytes()).hexdigest()
                whole.update(f"{name}\0{content}\n".encode())
    return whole.hexdigest()
