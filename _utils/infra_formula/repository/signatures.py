"""Signatures of a published repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra_formula.repository import (
    contents,
    marker,
    signing,
)


def verify(real: Path, name: str) -> dict[str, Any]:
    """Check all signatures of a repository against the key that is published in it."""
    public = real / f"{name}.asc"
    files = contents.files_of(str(real))
    pairs = []
    for rel in files:
        if rel.endswith("InRelease"):
            pairs.append((rel, ""))
        elif rel.endswith("Release.gpg") or rel.endswith(
            (f"{marker.MARKER}.asc", "repomd.xml.asc")
        ):
            pairs.append((rel, rel.removesuffix(".gpg").removesuffix(".asc")))
    if not public.is_file():
        return {"key": "", "problems": [f"{rel}: no key to check it" for rel, _ in pairs]}
    key = ""
    problems = []
    for rel, source in pairs:
        verdict = signing.verify(
            [str(public)], str(real / rel), str(real / source) if source else ""
        )
        key = key or verdict["key"]
        if verdict["reason"]:
            problems.append(f"{rel}: {verdict['reason']}")
    if not pairs:
        problems.append("nothing in it is signed")
    return {"key": key, "problems": problems}
