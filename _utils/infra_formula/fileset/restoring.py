"""Files of a backup, put where they belong; what another file is in the way of is moved aside."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from infra_formula import paths
from infra_formula.errors import CommandFailed


def put(
    files: Mapping[str, bytes], modes: Mapping[str, int], stamp: str, force: bool
) -> dict[str, str]:
    """Put files in their places. Nothing is written if one of them differs, without ``force``.

    files
        Path below the root → content.
    modes
        The same path → mode of one that is not for root alone.
    stamp
        What the name of a file that is moved aside ends with.

    Returns absolute path → what became of it.

    Raises CommandFailed that names the files which differ.
    """
    root = paths.PKI.parent.parent
    differ = [n for n, c in files.items() if (root / n).exists() and (root / n).read_bytes() != c]
    if differ and not force:
        listed = ", ".join(f"/{name}" for name in sorted(differ)[:10])
        raise CommandFailed(
            f"there are other files at {listed}; force=True moves them aside and puts those of "
            "the backup in their place"
        )
    outcomes = {}
    for name, content in sorted(files.items()):
        target = root / name
        if target.exists() and name not in differ:
            outcomes[f"/{name}"] = "up to date"
            continue
        outcomes[f"/{name}"] = "restored"
        if name in differ:
            aside = target.with_name(f"{target.name}.before-{stamp}")
            target.rename(aside)
            outcomes[f"/{name}"] = f"restored; the previous file is {aside}"
        write(target, content, modes.get(name, 0o600))
    return outcomes


def write(target: Path, content: bytes, mode: int) -> None:
    """Write a file as a whole; folders that are missing are made, those of keys for root alone."""
    private = (paths.PKI / "ca", paths.STATE_DIR / "repo")
    for folder in [p for p in reversed(target.parents) if not p.exists()]:
        closed = any(folder == p or p in folder.parents for p in private)
        folder.mkdir(mode=0o700 if closed else 0o755)
    fd, beside = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    with os.fdopen(fd, "wb") as stream:
        stream.write(content)
        os.fchmod(stream.fileno(), mode)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(beside, target)
