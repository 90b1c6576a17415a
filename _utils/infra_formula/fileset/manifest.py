"""Manifests: which files a set wrote, below /var/lib/infra/manifest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra_formula import paths, redaction
from infra_formula.fileset import atomic, contents

log = redaction.logger(__name__)

_OTHER_FILES = ("portal-entries", "portal-cards")
_OTHER_PREFIX = "cleaned-"
# These lie among the manifests; see portal/applied.py, portal/cards.py and daemon/daemons.py.


@dataclass(frozen=True)
class Manifest:
    """What is recorded of a file set.

    root
        Its directory; empty if the set was never published.
    files
        Path relative to root → SHA-256.
    pending
        A previous run was interrupted between the switch and the reload.
    directories
        Absolute paths of directories that publishing created.
    """

    root: str = ""
    files: dict[str, str] = field(default_factory=dict)
    pending: bool = False
    directories: Sequence[str] = ()


def manifest_path(name: str) -> Path:
    """Where the manifest of a file set lies."""
    return paths.STATE_DIR / "manifest" / f"{name}.json"


def read(name: str) -> Manifest | None:
    """Read a manifest; None if it is corrupt."""
    try:
        data = json.loads(manifest_path(name).read_text(encoding="utf-8"))
        return Manifest(
            root=str(data["root"]),
            files={str(rel): str(sha) for rel, sha in data["files"].items()},
            pending=bool(data.get("pending")),
            directories=[str(folder) for folder in data.get("made", [])],
        )
    except FileNotFoundError:
        return Manifest()
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return None


def write(name: str, manifest: Manifest) -> None:
    """Write a manifest; raises OSError."""
    data = {"version": 1, "root": manifest.root, "files": manifest.files}
    if manifest.pending:
        data["pending"] = True
    if manifest.directories:
        data["made"] = sorted(manifest.directories)
    atomic.write(manifest_path(name), json.dumps(data, indent=1, sort_keys=True))


def published() -> dict[str, str]:
    """File sets that were published here → their directory; empty for a corrupt manifest."""
    entries = {}
    for name in _names():
        manifest = read(name)
        entries[name] = manifest.root if manifest else ""
    return entries


def recover(name: str, root: Path) -> list[str]:
    """Rebuild the list of files of a set whose manifest is corrupt.

    name, root
        The file set and its directory.

    Returns the relative paths of files that have the managed-by header and belong to no other
    file set. Empty if that cannot be decided: another manifest is corrupt too, or states that are
    no file sets write below root. A warning is logged.
    """
    path = manifest_path(name)
    if is_shared_directory(root):
        log.warning(
            "%s is corrupt. Which files below %s belong to it is unknown; none is removed.",
            path,
            root,
        )
        return []
    others: set[str] = set()
    for other in _names():
        if other == name:
            continue
        manifest = read(other)
        if manifest is None:
            log.warning(
                "%s and %s are corrupt. Which files below %s belong to them is unknown; "
                "none is removed.",
                path,
                manifest_path(other),
                root,
            )
            return []
        others.update(str(Path(manifest.root, rel).resolve()) for rel in manifest.files)
    log.warning("%s is corrupt. It is rebuilt from the files below %s.", path, root)
    return [rel for rel in _managed(root) if str((root / rel).resolve()) not in others]


def is_shared_directory(root: Path) -> bool:
    """Whether a directory is one like /etc, where states that are no file sets write too."""
    return len(root.resolve().parts) <= 2


def _names() -> list[str]:
    names = sorted(path.stem for path in manifest_path("any").parent.glob("*.json"))
    return [n for n in names if n not in _OTHER_FILES and not n.startswith(_OTHER_PREFIX)]


def _managed(root: Path) -> Iterator[str]:
    for folder, _dirs, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if contents.has_managed_header(path):
                yield str(path.relative_to(root))
