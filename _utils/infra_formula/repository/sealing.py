"""The signing key of this node, and what is signed with it."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from infra_formula import paths
from infra_formula.minion import Minion
from infra_formula.repository import (
    contents,
    indexes,
    marker,
    releases,
    signing,
    systems,
)


def sign_folder(minion: Minion, folder: str, name: str, cache: str, key: dict[str, Any]) -> str:
    """Sign a complete repository that is not signed with the key of this node.

    folder
        A staged generation; index and marker in it are replaced.
    cache
        Folder ``cache`` of ``releases.work``.

    For apt, an index of all packages is written and signed. For yum, the index is signed: it has
    the checksum of every package, so that clients need no signature in those.

    Returns the fingerprint of the key.
    """
    stage = Path(folder)
    signer = signing_key(name, key)
    for rel in (*_FLAT_INDEX, f"{name}.asc", f"{name}.gpg", "repodata/repomd.xml.asc"):
        (stage / rel).unlink(missing_ok=True)
    shutil.rmtree(stage / "by-hash", ignore_errors=True)
    files = contents.files_of(folder)
    debs = [rel for rel in files if rel.endswith(".deb")]
    signatures = []
    if debs:
        texts = indexes.paragraphs(folder, debs, str(Path(cache, "index.db")))
        architectures = {indexes.field(t, "Architecture") for t in texts.values()}
        # apt does not look into a repository that does not name its architecture.
        architectures.add(systems.ARCHES.get(minion.grains["cpuarch"], minion.grains["cpuarch"]))
        fields = {
            "Origin": name,
            "Label": name,
            "Architectures": " ".join(sorted(architectures - {"all"})),
            "Description": f"local repository {name}",
        }
        indexes.write_suite(folder, ".", fields, {".": texts})
        signatures += [("Release", "InRelease", "clear"), ("Release", "Release.gpg", "detached")]
    yum = (stage / "repodata" / "repomd.xml").is_file()
    if yum:
        signatures.append(("repodata/repomd.xml", "repodata/repomd.xml.asc", "detached"))
    write_public_key(stage, name, signer)
    info = {
        "format": 1,
        "name": name,
        "built": int(time.time()),
        "key": signer["fingerprint"],
        "suites": [],
        "default_suite": "",
        "flat": bool(debs),
        "yum": ["."] if yum else [],
        "keys": [],
        "rpms_signed": False,
        "targets": [],
        "upstreams": [],
    }
    (stage / marker.INFO).write_text(json.dumps(info, indent=1), encoding="utf-8")
    sign(stage, signer, signatures)
    seal(stage, {}, signer, Path(cache))
    return str(signer["fingerprint"])


_FLAT_INDEX = (
    *(f"Packages{suffix}" for suffix in ("", ".gz", ".bz2", ".xz", ".zst")),
    *("Release", "InRelease", "Release.gpg"),
    *(marker.INFO, "repo_complete", "repo_complete.asc"),
)


def write_public_key(stage: Path, name: str, signer: dict[str, str]) -> None:
    """Publish the key: armoured, and as old programs want it."""
    (stage / f"{name}.asc").write_text(signer["public"], encoding="utf-8")
    binary = signing.dearmor(signer["public"].encode())
    (stage / f"{name}.gpg").write_bytes(binary)


def seal(stage: Path, sums: dict[str, str], signer: dict[str, str], cache: Path) -> None:
    """List every file with its checksum in the marker, sign that, and put both in place."""
    for rel in contents.files_of(str(stage)):
        if rel not in sums:
            sums[rel] = contents.checksum(str(stage / rel))
    (cache / "marker").write_text(marker.text(sums), encoding="utf-8")
    sign(cache, signer, [("marker", "marker.asc", "detached")])
    releases.seal(str(stage), sums, str(cache / "marker.asc"))


def signing_key(name: str, key: dict[str, Any] | None) -> dict[str, str]:
    key = key or {}
    home = key.get("home") or str(paths.STATE_DIR / "repo" / name / "gnupg")
    passphrase = key.get("passphrase_file") or ""
    existing = signing.key(
        home, key.get("uid") or f"{name} repository", key.get("secret_file") or "", passphrase
    )
    return {**existing, "home": home, "passphrase_file": passphrase}


def sign(base: Path, signer: dict[str, str], files: list[tuple[str, str, str]]) -> None:
    signing.sign(
        signer["home"],
        signer["fingerprint"],
        [
            {"source": str(base / source), "target": str(base / target), "kind": kind}
            for source, target, kind in files
        ],
        signer["passphrase_file"],
    )
