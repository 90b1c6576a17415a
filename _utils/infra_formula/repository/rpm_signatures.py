"""Signatures of rpm packages: verified, or replaced by that of this node."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from infra_formula.errors import CommandFailed
from infra_formula.repository import contents, dnf, package_store, signing


def verify(
    folder: Path, name: str, found: list[dict[str, Any]], signer: dict[str, str], home: str
) -> dict[str, str]:
    """Check the signatures of rpms; sign with our key those that bear none that clients can check.

    Returns the files with the upstream keys that clients need: published path → file.
    """
    notes_file = folder / "cache" / "rpm.json"
    notes = contents.read_json(str(notes_file))
    keys: dict[str, str] = {}
    for target in found:
        if target["family"] != "rpm":
            continue
        for upstream in [*target["upstreams"], None]:
            own = [
                p
                for p in target["packages"]
                if p["path"].endswith(".rpm")
                and p.get("upstream") == (upstream["name"] if upstream else None)
            ]
            files = upstream["keys"] if upstream else []
            states = _states(folder, own, files, notes)
            if any(state == "good" for state in states.values()):
                for number, file in enumerate(files):
                    suffix = "" if len(files) == 1 else f"-{number}"
                    keys[f"keys/{upstream['name']}{suffix}{Path(file).suffix}"] = file
            _refuse(target["id"], upstream, own, states)
            resign = [p for p in own if states[p["sha256"]] in ("unsigned", "unknown")]
            _sign(folder, resign, signer, notes)
    contents.write_json(str(notes_file), notes)
    return keys


def _states(
    folder: Path, packages: list[dict[str, Any]], files: list[str], notes: dict[str, Any]
) -> dict[str, str]:
    mark = hashlib.sha256(b"".join(Path(f).read_bytes() for f in files)).hexdigest()[:16]
    unchecked = {
        str(package_store.path(folder / "store", p["sha256"])): p["sha256"]
        for p in packages
        if f"{mark}:{p['sha256']}" not in notes
    }
    if unchecked:
        states = signing.check_packages(files, list(unchecked), str(folder / "cache" / "rpmdb"))
        notes.update({f"{mark}:{unchecked[path]}": state for path, state in states.items()})
    return {p["sha256"]: notes[f"{mark}:{p['sha256']}"] for p in packages}


def _refuse(
    target: str,
    upstream: dict[str, Any] | None,
    packages: list[dict[str, Any]],
    states: dict[str, str],
) -> None:
    bad = {p["file"]: states[p["sha256"]] for p in packages if states[p["sha256"]] == "bad"}
    if upstream is not None and not upstream["trusted"]:
        unsigned_index = not dnf.is_set(upstream["meta"], "repo_gpgcheck", True)
        strict = dnf.is_set(upstream["meta"], "gpgcheck", False)
        bad.update(
            {
                p["file"]: states[p["sha256"]]
                for p in packages
                # Without a strong checksum, a signed index does not verify a package.
                if states[p["sha256"]] != "good" and (unsigned_index or strict or p.get("weak"))
            }
        )
    if bad:
        raise CommandFailed(
            f"{target}: packages not signed by the gpgkey of"
            f" {upstream['name'] if upstream else 'anybody'}: "
            + ", ".join(f"{file} ({state})" for file, state in sorted(bad.items()))
        )


def _sign(
    folder: Path, packages: list[dict[str, Any]], signer: dict[str, str], notes: dict[str, Any]
) -> None:
    work = folder / "partial" / "sign"
    shutil.rmtree(work, ignore_errors=True)
    unchecked = []
    for package in packages:
        note = f"signed:{signer['fingerprint']}:{package['sha256']}"
        if not package_store.path(folder / "store", notes.get(note, "-")).is_file():
            work.mkdir(exist_ok=True)
            copy = work / f"{package['sha256']}.rpm"
            shutil.copyfile(package_store.path(folder / "store", package["sha256"]), copy)
            unchecked.append((note, copy))
    if unchecked:
        signing.sign_packages(
            signer["home"],
            signer["fingerprint"],
            [str(copy) for _note, copy in unchecked],
            signer["passphrase_file"],
        )
        for note, copy in unchecked:
            digest = contents.checksum(str(copy))
            target = package_store.path(folder / "store", digest)
            target.parent.mkdir(exist_ok=True, mode=0o700)
            copy.chmod(0o644)
            copy.replace(target)
            notes[note] = digest
        work.rmdir()
    for package in packages:
        digest = notes[f"signed:{signer['fingerprint']}:{package['sha256']}"]
        package["sha256"] = digest
        package["size"] = package_store.path(folder / "store", digest).stat().st_size
