"""The offline package of a repository: packed, checked, unpacked, signed."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.minion import Minion
from infra_formula.parameters import schema
from infra_formula.repository import archive as repository_archive
from infra_formula.repository import (
    catalogue,
    contents,
    indexes,
    known_archives,
    lock,
    logins,
    marker,
    other_systems,
    releases,
    sealing,
    signatures,
    signing,
    systems,
)


def pack(
    minion: Minion,
    name: str = "pigsty",
    home: str = "/www",
    version: str = "v4.5.0",
    archive: str = "",
    folder: str = "/root",
    compression: str = "gzip",
) -> dict[str, Any]:
    """Pack what is published into one archive; see ``infra_repo.pack``."""
    if compression not in ("gzip", "zstd"):
        raise InvalidInput(f"compression: expected gzip or zstd, got {compression!r}")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", version):
        raise InvalidInput(f"version: expected something like v4.5.0, got {version!r}")
    with lock.exclusive(home, name, "pack"):
        state = releases.state(home, name)
        if not state["complete"]:
            raise CommandFailed(
                f"{Path(home, name)}: not complete, so it is not packed:\n"
                + "\n".join(state["problems"] or ["there is no repository"])
            )
        logins.refuse_published(state["info"].get("upstreams", []), str(Path(home, name)))
        real = Path(state["path"])
        if not archive:
            targets = state["info"].get("targets") or [systems.this_target(minion)]
            code, _, arch = targets[0].partition(".")
            archive = str(
                Path(
                    folder,
                    repository_archive.archive_name(version, code, arch, compression),
                )
            )
        sums = _all_checksums(real)
        result = repository_archive.pack(
            str(real), name, archive, {**state["info"], "packages": None}, sums
        )
        packed = known_archives.identity(result["archive"])
        known_archives.remember(name, home, result["sha256"], packed, packed=True)
        return result


def _all_checksums(real: Path) -> dict[str, str]:
    """SHA-256 of every file: those of the marker as it says, the others read now."""
    text = (real / marker.MARKER).read_text(encoding="utf-8")
    listed = marker.read(text)
    return {
        rel: listed[rel] if len(listed.get(rel, "")) == 64 else contents.checksum(str(real / rel))
        for rel in contents.files_of(str(real))
    }


def unpack(
    minion: Minion,
    archive: str,
    name: str = "pigsty",
    home: str = "/www",
    checksum: str = "",
    fingerprint: str = "",
    unsigned: bool = False,
    key: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Check an archive, and publish the repository in it; see ``infra_repo.unpack``."""
    wanted = catalogue.normal_checksum(checksum)
    if wanted is None:
        raise InvalidInput(f"checksum: expected e.g. sha256:<64 digits>, got {checksum!r}")
    _required_keys(fingerprint)
    with lock.exclusive(home, name, "unpack"), repository_archive.opened(archive) as fd:
        identity = known_archives.identity(archive, os.fstat(fd))
        before = {**identity, "sha256": contents.checksum(f"/proc/self/fd/{fd}")}
        if wanted:
            kind, _, digits = wanted.partition(":")
            actual = contents.checksum(f"/proc/self/fd/{fd}", kind)
            if actual != digits:
                raise CommandFailed(f"{archive}: its {kind} is {actual}, but expected {digits}")
        state = releases.state(home, name)
        trusted = _trusted_key(name, home, state)
        folder = Path(releases.work(home, name))
        with releases.staged(home, name) as stage:
            result = repository_archive.unpack(archive, str(stage), fd)
            signed = _check_unpacked(stage, name, archive, fingerprint, result["manifest"])
            described = contents.read_json(str(stage / marker.INFO))
            files = contents.files_of(str(stage))
            other_systems.refuse(minion, archive, described, files)
            # What came from an unsigned archive, and was signed here, is followed by another one.
            again = bool(unpacked_from(name, home).get("unsigned"))
            _refuse_other_key(archive, trusted, signed, fingerprint, unsigned or again)
            here, due = "", ""
            if not (stage / marker.INFO).is_file():
                due = "sign"
                if _can_sign(stage):
                    here = sealing.sign_folder(
                        minion, str(stage), name, str(folder / "cache"), key or {}
                    )
                    due = ""
                else:
                    # What the tools are installed from has to be an index that apt and Salt read.
                    indexes.complete_flat(str(stage), name)
                before["unsigned"] = True
            elif not shutil.which("gpgv"):
                due = "verify"
            # Before it is published: an archive must never look like something that we built.
            _write_origin(folder, stage, {**before, **({"due": due} if due else {})})
            path = releases.publish(home, name, str(stage))
        known_archives.remember(name, home, before["sha256"], identity, packed=False)
    return {
        "path": path,
        "files": result["files"],
        "bytes": result["bytes"],
        "key": signed,
        "signed_here": here,
    }


def _write_origin(folder: Path, stage: Path, note: dict[str, Any]) -> None:
    """Note where the content of a staged generation is from; see :func:`unpacked_from`."""
    file = folder / "seals" / f"{stage.name.removeprefix('.new-')}.origin"
    file.write_text(json.dumps(note), encoding="utf-8")


def _can_sign(stage: Path) -> bool:
    """Whether the tools are there: an archive may be what they are installed from."""
    debs = any(rel.endswith(".deb") for rel in contents.files_of(str(stage)))
    tools = ["gpg", *(["apt-ftparchive"] if debs else [])]
    return all(shutil.which(tool) for tool in tools)


_MANIFEST = "repo_manifest.json"
_UNKNOWN_KEY = "an unknown key"


def _required_keys(fingerprint: str) -> list[str]:
    """Fingerprints of the keys of which one must have signed an archive; none for any key.

    Raises InvalidInput for a fingerprint that is not whole.
    """
    keys = [key.upper() for key in schema.fingerprints(fingerprint)]
    if fingerprint and not keys:
        raise InvalidInput(
            "repo_archive_fingerprint: expected a whole fingerprint of 40 or 64 hexadecimal digits"
            f" (no key ID), got {fingerprint!r}"
        )
    return keys


def _trusted_key(name: str, home: str, state: dict[str, Any]) -> str:
    """Fingerprint of the key that clients of the repository trust; empty for none."""
    key = str(state["info"].get("key") or "")
    public = Path(home, f"{name}.asc")
    if key or not public.is_file():
        return key
    # The repository lost its description, or was replaced; the clients have the key still.
    try:
        return str(signing.fingerprints(str(public))[0])
    except (CommandExecutionError, IndexError):
        return signing.primary_fingerprint(public.read_bytes()) or _UNKNOWN_KEY


def _refuse_other_key(
    archive: str, trusted: str, signed: str, fingerprint: str, unsigned: bool
) -> None:
    """A repository that clients can verify is replaced by one that they can verify, too."""
    if not trusted or signed == trusted:
        return
    if signed and not fingerprint:
        raise CommandFailed(
            f"{archive}: is signed by {signed}, but what is published is signed by {trusted}, which"
            f" clients trust. If that is meant, set repo_archive_fingerprint: {signed}"
        )
    if not signed and not unsigned:
        raise CommandFailed(
            f"{archive}: is not signed (or has no {_MANIFEST}), but what is published is signed by"
            f" {trusted}, which clients trust. If that is"
            " meant, set repo_archive_unsigned: true"
        )


def check_archive(
    archive: str,
    name: str = "pigsty",
    home: str = "/www",
    fingerprint: str = "",
    unsigned: bool = False,
    minion: Minion | None = None,
) -> None:
    """Check whether an archive may be published, as far as possible without unpacking it.

    archive, name, home, fingerprint, unsigned
        As for :func:`unpack`.
    minion
        The machine that is to install from it; None if that is not compared.

    Raises CommandExecutionError with the reason against it.
    """
    _required_keys(fingerprint)
    trusted = _trusted_key(name, home, releases.state(home, name))
    with repository_archive.opened(archive) as fd:
        manifest = repository_archive.peek(archive, fd)
    # What the manifest claims is verified when the archive is unpacked. One without is not signed.
    info = manifest.get("info")
    if minion and isinstance(info, dict):
        other_systems.refuse(minion, archive, info, manifest.get("files", {}))
    claim = str(info.get("key") or "") if isinstance(info, dict) else ""
    _refuse_other_key(archive, trusted, claim, fingerprint, unsigned)


def sign(
    minion: Minion, name: str = "pigsty", home: str = "/www", key: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Sign with this node's own key what is published without a signature.

    See ``infra_repo.sign``.
    """
    with lock.exclusive(home, name, "sign"):
        state = releases.state(home, name)
        if state["kind"] == "ours":
            return {"changed": False, "path": state["path"], "key": state["info"].get("key", "")}
        if not state["complete"]:
            raise CommandFailed(
                f"{Path(home, name)}: not complete, so it is not signed:\n"
                + "\n".join(state["problems"] or ["there is no repository"])
            )
        folder = Path(releases.work(home, name))
        with releases.staged(home, name) as stage:
            contents.copy_tree(state["path"], str(stage))
            fingerprint = sealing.sign_folder(
                minion, str(stage), name, str(folder / "cache"), key or {}
            )
            note = {**unpacked_from(name, home), "unsigned": True}
            note.pop("due", None)
            _write_origin(folder, stage, note)
            path = releases.publish(home, name, str(stage))
    return {"changed": True, "path": path, "key": fingerprint}


def complete_signature(
    minion: Minion, name: str = "pigsty", home: str = "/www", key: dict[str, Any] | None = None
) -> dict[str, str]:
    """Do what could not be done for want of gpg when an archive was unpacked.

    name, home, key
        As for :func:`sign`.

    An archive that is not signed is signed with this node's own key; the signatures of one that is
    signed are verified. Returns ``key``, the fingerprint.

    Raises CommandExecutionError for a signature that is not good.
    """
    note = unpacked_from(name, home)
    if note.get("due") == "sign":
        return {"key": sign(minion, name, home, key)["key"]}
    with lock.exclusive(home, name, "verify"):
        real = Path(releases.state(home, name)["path"])
        verdict = signatures.verify(real, name)
        described = contents.read_json(str(real / marker.INFO)).get("key")
        if not verdict["problems"] and verdict["key"] != described:
            verdict["problems"] = [
                f"{marker.INFO}: names the key {described}, not {verdict['key']}"
            ]
        if verdict["problems"]:
            raise CommandFailed(
                f"{Path(home, name)}: what was unpacked from {note.get('archive')} is not signed"
                " as it claims to be:\n" + "\n".join(verdict["problems"])
            )
        note.pop("due", None)
        _origin_file(name, home).write_text(json.dumps(note), encoding="utf-8")
    return {"key": str(verdict["key"])}


def archive_identity(archive: str) -> dict[str, Any]:
    """Identity of an archive: path, size and time."""
    return known_archives.identity(archive)


def unpacked_from(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """The archive that what is published was unpacked from; empty for none.

    Returns ``archive``, ``size`` and ``mtime`` (see :func:`archive_identity`), ``sha256``, and
    where they apply ``request`` (what the parameters asked for since then), ``unsigned`` (it was
    not signed) and ``due`` (``sign`` or ``verify``: what could not be done when it was unpacked,
    for want of gpg).
    """
    return dict(contents.read_json(str(_origin_file(name, home))))


def note_request(name: str, home: str, request: str) -> None:
    """Note what the parameters ask for while the content of an archive is published."""
    note = {**unpacked_from(name, home), "request": request}
    contents.write_json(str(_origin_file(name, home)), note)


def _origin_file(name: str, home: str) -> Path:
    base = Path(home).resolve()
    return base / f".{name}" / "seals" / f"{(base / name).resolve().name}.origin"


def _check_unpacked(stage: Path, name: str, archive: str, fingerprint: str, manifest: bool) -> str:
    """Check what came out of an archive; returns the fingerprint that it is signed with."""
    ours = (stage / marker.INFO).is_file()
    if not manifest or not ours:
        checked = contents.verify_folder(str(stage), strict=ours)
        if checked["problems"]:
            raise CommandFailed(f"{archive}: is not complete:\n" + "\n".join(checked["problems"]))
    if not ours:
        if fingerprint:
            raise CommandFailed(f"{archive}: is not signed, but {fingerprint} was expected")
        return ""
    info = contents.read_json(str(stage / marker.INFO))
    inside = info.get("name")
    if inside != name:
        raise CommandFailed(f"{archive}: holds the repository {inside!r}, not {name!r}")
    state: dict[str, Any] = {"key": "", "problems": []}
    if shutil.which("gpgv"):
        state = signatures.verify(stage, name)
    else:
        # A bare machine may have no gpgv before it has a repository to install it from. Until the
        # signatures are verified, apt verifies the index by this key.
        public = stage / f"{name}.asc"
        data = public.read_bytes() if public.is_file() else b""
        state["key"] = signing.primary_fingerprint(data)
    if state["problems"]:
        raise CommandFailed(f"{archive}: " + "\n".join(state["problems"]))
    described = info.get("key")
    if state["key"] and described != state["key"]:
        raise CommandFailed(
            f"{archive}: is signed by {state['key']}, but its {marker.INFO} says {described}"
        )
    wanted = _required_keys(fingerprint)
    if wanted and state["key"] not in wanted:
        raise CommandFailed(
            f"{archive}: is signed by {state['key']}, but {', '.join(wanted)} was expected"
        )
    listed = marker.read((stage / marker.MARKER).read_text(encoding="utf-8"))
    present = set(contents.files_of(str(stage)))
    if set(listed) - present or present - set(listed) - {
        marker.MARKER,
        f"{marker.MARKER}.asc",
    }:
        raise CommandFailed(f"{archive}: its {marker.MARKER} does not list what is in it")
    for rel in sorted(present - {marker.MARKER, f"{marker.MARKER}.asc"}):
        if contents.checksum(str(stage / rel)) != listed[rel]:
            raise CommandFailed(f"{archive}: {rel} is not what its {marker.MARKER} says")
    return str(state["key"])
