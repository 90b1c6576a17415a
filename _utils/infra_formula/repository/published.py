"""The local software repository: built, verified, rolled back, packed, described.

One INFRA node builds a repository for any number of operating systems and architectures
(*targets*); see docs/repository.md for the request that says what is to be in it, and for the
layout of what is published. The parts lie in modules of their own: ``infra_repo_catalogue`` (what
is wanted), ``infra_repo_build``, ``infra_repo_apt`` and ``infra_repo_dnf`` (what that needs),
``infra_repo_fetch``, ``infra_repo_index``, ``infra_repo_sign``, ``infra_repo_tree`` (what is
published), ``infra_repo_pack`` and ``infra_repo_client``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from salt.exceptions import CommandExecutionError

from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import root_only
from infra_formula.minion import Minion
from infra_formula.repository import archive as repository_archive
from infra_formula.repository import building, catalogue, client_sources, releases, signing

log = logging.getLogger(__name__)

INFO = "repo_info.json"
MARKER = "repo_complete"


# -- building ------------------------------------------------------------------------------------


def build(
    minion: Minion,
    request: dict[str, Any],
    key: dict[str, Any] | None = None,
    transfer: dict[str, Any] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Build a repository and publish it; nothing is published unless all of it succeeds.

    request
        What is to be in it; see ``infra_repo_catalogue.plan``.
    key
        ``home`` (gpg's directory), ``uid``, ``secret_file``, ``passphrase_file``; all optional.
    transfer
        ``connections`` (8), ``retries`` (4), ``timeout`` (30 s), ``proxy_env``, ``cache`` (where
        the solvers keep what they know); all optional.
    force
        Build although a complete repository made from the same request is published: asks the
        upstreams for newer versions.

    Returns ``changed``, ``path``, ``packages`` (how many), ``fetched`` (bytes), ``added`` and
    ``removed`` (paths, compared with what was published before).

    Raises SaltInvocationError for a request that cannot be right, CommandExecutionError when
    something fails. What was published then is published still.
    """
    plan = catalogue.plan(request)
    home, name = plan["home"], plan["name"]
    with _working(home, name, "build"):
        state = releases.state(home, name)
        if not force and not needs_build(state, plan["fingerprint"]):
            return building.outcome(state["path"], state["info"], state["info"], False, 0)
        return building.build(minion, plan, state, key or {}, transfer or {}, force)


def needs_build(state: dict[str, Any], fingerprint: str) -> bool:
    """Whether what is published has to be built (again).

    state
        What ``infra_repo_tree.state`` says.
    fingerprint
        Of the plan.

    A complete repository is taken as it is: always, where it was unpacked or made by somebody else;
    for as long as the request stays the same, where we built it.
    """
    if not state["complete"]:
        return True
    return bool(state["origin"] == "built" and state["info"].get("request") != fingerprint)


# -- one at a time -------------------------------------------------------------------------------


@contextlib.contextmanager
def _working(home: str, name: str, what: str) -> Iterator[None]:
    """Keep others from changing the repository; and let a full disk be told in plain words."""
    # What is published has to be readable for the web server, whatever the minion's own umask is.
    umask = os.umask(0o022)
    try:
        folder = Path(releases.work(home, name))
        with (folder / "lock").open("a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise CommandFailed(
                    f"{Path(home, name)}: {_holder(stream)} is changing it; try again later"
                ) from exc
            stream.truncate(0)
            stream.write(json.dumps({"pid": os.getpid(), "what": what, "since": int(time.time())}))
            stream.flush()
            try:
                yield
            finally:
                stream.truncate(0)
                (folder / "progress").unlink(missing_ok=True)
    except OSError as exc:
        place = f" ({exc.filename})" if exc.filename else ""
        raise CommandFailed(
            f"{Path(home, name)}: {exc.strerror or exc}{place}; what was published is unchanged"
        ) from exc
    finally:
        os.umask(umask)


def _holder(stream: Any) -> str:
    stream.seek(0)
    try:
        held = json.loads(stream.read())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(held["since"]))
        return f"process {held['pid']} ({held['what']}, since {since})"
    except (ValueError, KeyError):
        return "another process"


# -- asking --------------------------------------------------------------------------------------


def status(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """What is published, as data.

    name, home
        ``repo_name`` and ``repo_home``.

    Returns ``published``, ``path``, ``kind``, ``complete``, ``problems``, ``packages``, ``bytes``,
    ``built`` and ``age`` (seconds), ``targets``, ``upstreams``, ``signature`` (``key`` and
    ``problems``), ``previous`` and ``busy`` (what is going on with it just now).
    """
    state = releases.state(home, name)
    info = state["info"]
    real = Path(state["path"]) if state["path"] else None
    packages = info.get("packages")
    if packages is None and real is not None:
        packages = [
            {"size": (real / rel).stat().st_size}
            for rel in releases.files_of(str(real))
            if rel.endswith((".deb", ".rpm"))
        ]
    built = info.get("built")
    if built is None and real is not None and (real / MARKER).exists():
        built = int((real / MARKER).stat().st_mtime)
    return {
        "published": str(Path(home, name)),
        "path": state["path"],
        "kind": state["kind"],
        "origin": state["origin"],
        "complete": state["complete"],
        "problems": state["problems"],
        "packages": len(packages or []),
        "bytes": sum(p["size"] for p in packages or []),
        "built": built,
        "age": int(time.time()) - built if built else None,
        "targets": info.get("targets", []),
        "upstreams": info.get("upstreams", []),
        "signature": _signatures(real, name) if real else {"key": "", "problems": []},
        "previous": state["previous"],
        "busy": _busy(Path(home).resolve() / f".{name}"),
    }


def summary(name: str = "pigsty", home: str = "/www") -> str:
    """What is published, for people."""
    return describe(status(name, home))


def describe(data: dict[str, Any]) -> str:
    """What :func:`status` says, for people."""
    if data["kind"] == "none":
        lines = [f"{data['published']}: no repository"]
    else:
        age = data["age"] or 0
        ago = f"{age // 86400} d {age % 86400 // 3600} h" if age >= 3600 else f"{age // 60} min"
        word = "complete" if data["complete"] else "NOT COMPLETE"
        lines = [
            f"{data['published']}: {word}, {data['packages']} packages,"
            f" {data['bytes'] / 2**20:.0f} MiB, {data['origin']} {ago} ago",
            f"  targets:   {', '.join(data['targets']) or 'unknown'}",
            f"  signed by: {data['signature']['key'] or 'nobody'}",
            f"  previous:  {data['previous'] or 'none'}",
        ]
        for upstream in data["upstreams"]:
            trust = "verified" if upstream["verified"] else "NOT VERIFIED (trusted: true)"
            lines.append(f"  upstream:  {upstream['target']} {upstream['name']}"
                         f" {upstream['url']} {trust}")  # fmt: skip
    lines += [f"  problem:   {p}" for p in [*data["problems"], *data["signature"]["problems"]]]
    if data["busy"]:
        lines.append(f"  now:       {data['busy']}")
    return "\n".join(lines)


def _busy(folder: Path) -> str:
    lock = folder / "lock"
    if not lock.exists():
        return ""
    with lock.open("r", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return ""
        except BlockingIOError:
            text = _holder(stream)
    progress = folder / "progress"
    with contextlib.suppress(FileNotFoundError):
        text += ": " + progress.read_text(encoding="utf-8")
    return text


def _signatures(real: Path, name: str) -> dict[str, Any]:
    """Check all signatures of a repository against the key that is published in it."""
    public = real / f"{name}.asc"
    files = releases.files_of(str(real))
    pairs = []
    for rel in files:
        if rel.endswith("InRelease"):
            pairs.append((rel, ""))
        elif rel.endswith("Release.gpg") or rel.endswith((f"{MARKER}.asc", "repomd.xml.asc")):
            pairs.append((rel, rel.removesuffix(".gpg").removesuffix(".asc")))
    if not public.is_file():
        return {"key": "", "problems": [f"{rel}: no key to check it" for rel, _ in pairs]}
    key = ""
    problems = []
    for rel, source in pairs:
        found = signing.verify([str(public)], str(real / rel), str(real / source) if source else "")
        key = key or found["key"]
        if found["reason"]:
            problems.append(f"{rel}: {found['reason']}")
    if not pairs:
        problems.append("nothing in it is signed")
    return {"key": key, "problems": problems}


def verify(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """Read everything that is published, and check every checksum and signature.

    What is found changed is dropped from the store, and ``infra_repo.built`` will see it too: the
    next build fetches it again.

    Returns ``complete``, ``files``, ``bytes`` (read) and ``problems``, each naming its file.
    """
    found = releases.verify(home, name)
    real = (Path(home) / name).resolve()
    problems = list(found["problems"])
    if (real / INFO).is_file():
        problems += _signatures(real, name)["problems"]
    if problems:
        releases.distrust(home, name, [p.partition(":")[0] for p in problems])
    return {
        "complete": not problems,
        "files": found["files"],
        "bytes": found["bytes"],
        "problems": problems,
    }


def damage(name: str, home: str) -> list[str]:
    """What is wrong with what is published, found without reading packages that were not touched.

    A repository that somebody else made is read in full once.

    Returns problems; empty for a complete repository, or where there is none.
    """
    state = releases.state(home, name)
    if state["kind"] == "none":
        return []
    if state["kind"] == "foreign" and state["complete"]:
        seal = Path(home).resolve() / f".{name}" / "seals" / f"{Path(state['path']).name}.json"
        if not seal.exists():
            return list(releases.verify(home, name)["problems"])
    return list(state["problems"])


# -- going back, packing, unpacking --------------------------------------------------------------


def rollback(name: str = "pigsty", home: str = "/www") -> dict[str, str]:
    """Publish the repository that was published before; called again, it goes forth again.

    Returns ``old`` and ``new`` (paths).
    """
    with _working(home, name, "rollback"):
        result: dict[str, str] = releases.rollback(home, name)
    return result


def pack(
    minion: Minion,
    name: str = "pigsty",
    home: str = "/www",
    version: str = "v4.5.0",
    archive: str = "",
    folder: str = "/root",
    compression: str = "gzip",
) -> dict[str, Any]:
    """Pack what is published into one archive.

    version
        For the archive's name: ``pigsty-pkg-<version>.<os>.<arch>.tgz``.
    archive
        Path of the archive; made of folder and that name where empty.
    folder
        Where to put it.
    compression
        ``gzip`` (as Pigsty's) or ``zstd``.

    Returns ``archive``, ``files``, ``bytes`` and ``sha256``.
    """
    if compression not in ("gzip", "zstd"):
        raise InvalidInput(f"compression: expected gzip or zstd, got {compression!r}")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", version):
        raise InvalidInput(f"version: expected something like v4.5.0, got {version!r}")
    with _working(home, name, "pack"):
        state = releases.state(home, name)
        if not state["complete"]:
            raise CommandFailed(
                f"{Path(home, name)}: not complete, so it is not packed:\n"
                + "\n".join(state["problems"] or ["there is no repository"])
            )
        real = Path(state["path"])
        if not archive:
            targets = state["info"].get("targets") or [machine(minion)]
            code, _, arch = targets[0].partition(".")
            archive = str(
                Path(
                    folder,
                    repository_archive.archive_name(version, code, arch, compression),
                )
            )
        sums = _all_sums(real)
        result: dict[str, Any] = repository_archive.pack(
            str(real), name, archive, {**state["info"], "packages": None}, sums
        )
    return result


def _all_sums(real: Path) -> dict[str, str]:
    """SHA-256 of every file: those of the marker as it says, the others read now."""
    text = (real / MARKER).read_text(encoding="utf-8")
    listed = releases.read_marker(text)
    return {
        rel: listed[rel] if len(listed.get(rel, "")) == 64 else releases.checksum(str(real / rel))
        for rel in releases.files_of(str(real))
    }


def machine(minion: Minion) -> str:
    """The target that this machine is."""
    result: str = catalogue.target_of(
        minion.grains["os_family"],
        minion.grains["os"],
        int(minion.grains["osmajorrelease"]),
        minion.grains["cpuarch"],
    )
    return result


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
    """Check an archive, and publish the repository in it.

    archive
        File made by :func:`pack`, or one of Pigsty's. Nobody but root may be able to write it, see
        ``root_only.open_file``; only the descriptor that was judged is read.
    checksum
        Checksum that the archive must have, e.g. ``sha256:…``; empty for any.
    fingerprint
        Fingerprint of the key that must have signed it; empty for the key that signed what is
        published, or, where that is not signed, for the key in the archive.
    unsigned
        Whether an archive that is not signed may replace a repository that is.
    key
        This node's own key, see :func:`build`: an archive that is not signed is signed with it,
        where the tools are installed (see :func:`sign` for later).

    Returns ``path``, ``files``, ``bytes``, ``key`` (that the archive was signed with; empty where
    it is not signed) and ``signed_here`` (the key that it was signed with here, or empty).

    Raises CommandExecutionError; what was published is then unchanged.
    """
    wanted = catalogue.normal_checksum(checksum)
    if wanted is None:
        raise InvalidInput(f"checksum: expected e.g. sha256:<64 digits>, got {checksum!r}")
    with _working(home, name, "unpack"), _archive(archive) as fd:
        before = _identity(archive, os.fstat(fd))
        if wanted:
            kind, _, digits = wanted.partition(":")
            actual = releases.checksum(f"/proc/self/fd/{fd}", kind)
            if actual != digits:
                raise CommandFailed(f"{archive}: its {kind} is {actual}, but expected {digits}")
        state = releases.state(home, name)
        trusted = _trusted_key(name, home, state)
        folder = Path(releases.work(home, name))
        stage = Path(releases.stage(home, name))
        try:
            result = repository_archive.unpack(archive, str(stage), fd)
            signed = _check_unpacked(stage, name, archive, fingerprint, result["manifest"])
            # What came from an unsigned archive, and was signed here, is followed by another one.
            again = bool(unpacked_from(name, home).get("unsigned"))
            _refuse_other_key(archive, trusted, signed, fingerprint, unsigned or again)
            here, due = "", ""
            if not (stage / INFO).is_file():
                due = "sign"
                if _can_sign(stage):
                    here = building.sign_folder(
                        minion, str(stage), name, str(folder / "cache"), key or {}
                    )
                    due = ""
                before["unsigned"] = True
            elif not signed:
                due = "verify"
            # Before it is published: an archive must never look like something that we built.
            _write_origin(folder, stage, {**before, **({"due": due} if due else {})})
            path = releases.publish(home, name, str(stage))
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
    return {
        "path": path,
        "files": result["files"],
        "bytes": result["bytes"],
        "key": signed,
        "signed_here": here,
    }


@contextlib.contextmanager
def _archive(path: str) -> Iterator[int]:
    """An archive that root may trust, opened once."""
    try:
        fd: int = root_only.open_file(path)
    except FileNotFoundError:
        raise CommandFailed(f"{path}: there is no such file") from None
    try:
        yield fd
    finally:
        os.close(fd)


def _write_origin(folder: Path, stage: Path, note: dict[str, Any]) -> None:
    """Note where the content of a staged generation is from; see :func:`unpacked_from`."""
    file = folder / "seals" / f"{stage.name.removeprefix('.new-')}.origin"
    file.write_text(json.dumps(note), encoding="utf-8")


def _can_sign(stage: Path) -> bool:
    """Whether the tools are there: an archive may be what they are installed from."""
    debs = any(rel.endswith(".deb") for rel in releases.files_of(str(stage)))
    tools = ["gpg", *(["apt-ftparchive"] if debs else [])]
    return all(shutil.which(tool) for tool in tools)


_MANIFEST = "repo_manifest.json"
_UNKNOWN = "a key that cannot be told here"


def _trusted_key(name: str, home: str, state: dict[str, Any]) -> str:
    """Fingerprint of the key that clients of the repository were told to trust; empty for none."""
    key = str(state["info"].get("key") or "")
    public = Path(home, f"{name}.asc")
    if key or not public.is_file():
        return key
    # The repository lost its description, or was replaced; the clients have the key still.
    try:
        return str(signing.fingerprints(str(public))[0])
    except (CommandExecutionError, IndexError):
        return _UNKNOWN


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
            f"{archive}: is not signed (or has no {_MANIFEST}, or there is no gpgv here to verify"
            f" it), but what is published is signed by {trusted}, which clients trust. If that is"
            " meant, set repo_archive_unsigned: true"
        )


def check_archive(
    archive: str,
    name: str = "pigsty",
    home: str = "/www",
    fingerprint: str = "",
    unsigned: bool = False,
) -> None:
    """Look whether an archive may be published, as far as can be told without unpacking it.

    archive, name, home, fingerprint, unsigned
        As for :func:`unpack`.

    Raises CommandExecutionError with the reason against it.
    """
    trusted = _trusted_key(name, home, releases.state(home, name))
    with _archive(archive) as fd:
        manifest = repository_archive.peek(archive, fd)
    # What the manifest claims is verified when the archive is unpacked. One without is not signed.
    info = manifest.get("info")
    claim = str(info.get("key") or "") if isinstance(info, dict) else ""
    _refuse_other_key(archive, trusted, claim, fingerprint, unsigned)


def sign(
    minion: Minion, name: str = "pigsty", home: str = "/www", key: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Sign with this node's own key what is published without a signature.

    name, home
        ``repo_name`` and ``repo_home``.
    key
        See :func:`build`.

    Returns ``changed``, ``path`` and ``key`` (fingerprint).

    Raises CommandExecutionError; what was published is then unchanged.
    """
    with _working(home, name, "sign"):
        state = releases.state(home, name)
        if state["kind"] == "ours":
            return {"changed": False, "path": state["path"], "key": state["info"].get("key", "")}
        if not state["complete"]:
            raise CommandFailed(
                f"{Path(home, name)}: not complete, so it is not signed:\n"
                + "\n".join(state["problems"] or ["there is no repository"])
            )
        folder = Path(releases.work(home, name))
        stage = Path(releases.stage(home, name))
        try:
            releases.twin(state["path"], str(stage))
            fingerprint = building.sign_folder(
                minion, str(stage), name, str(folder / "cache"), key or {}
            )
            note = {**unpacked_from(name, home), "unsigned": True}
            note.pop("due", None)
            _write_origin(folder, stage, note)
            path = releases.publish(home, name, str(stage))
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
    return {"changed": True, "path": path, "key": fingerprint}


def complete_signature(
    minion: Minion, name: str = "pigsty", home: str = "/www", key: dict[str, Any] | None = None
) -> dict[str, str]:
    """Do what could not be done for want of gpg when an archive was unpacked.

    name, home, key
        As for :func:`sign`.

    An archive that nobody signed is signed with this node's own key; the signatures of one that is
    signed are verified. Returns ``key``, the fingerprint.

    Raises CommandExecutionError for a signature that is not good.
    """
    note = unpacked_from(name, home)
    if note.get("due") == "sign":
        return {"key": sign(minion, name, home, key)["key"]}
    with _working(home, name, "verify"):
        real = Path(releases.state(home, name)["path"])
        found = _signatures(real, name)
        described = releases.read_json(str(real / INFO)).get("key")
        if not found["problems"] and found["key"] != described:
            found["problems"] = [f"{INFO}: names the key {described}, not {found['key']}"]
        if found["problems"]:
            raise CommandFailed(
                f"{Path(home, name)}: what was unpacked from {note.get('archive')} is not signed"
                " as it claims to be:\n" + "\n".join(found["problems"])
            )
        note.pop("due", None)
        _origin(name, home).write_text(json.dumps(note), encoding="utf-8")
    return {"key": str(found["key"])}


def archive_identity(archive: str) -> dict[str, Any]:
    """What tells whether an archive is the one that was unpacked: path, size and time."""
    return _identity(archive, os.stat(archive))


def _identity(archive: str, st: os.stat_result) -> dict[str, Any]:
    return {"archive": archive, "size": st.st_size, "mtime": st.st_mtime_ns}


def unpacked_from(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """The archive that what is published was unpacked from; empty for none.

    Returns ``archive``, ``size`` and ``mtime`` (see :func:`archive_identity`), and where they
    apply ``unsigned`` (nobody had signed it) and ``due`` (``sign`` or ``verify``: what could not be
    done when it was unpacked, for want of gpg).
    """
    return dict(releases.read_json(str(_origin(name, home))))


def _origin(name: str, home: str) -> Path:
    base = Path(home).resolve()
    return base / f".{name}" / "seals" / f"{(base / name).resolve().name}.origin"


def _check_unpacked(stage: Path, name: str, archive: str, fingerprint: str, manifest: bool) -> str:
    """Check what came out of an archive; returns the fingerprint that it is signed with."""
    ours = (stage / INFO).is_file()
    if not manifest or not ours:
        checked = releases.verify_folder(str(stage), strict=ours)
        if checked["problems"]:
            raise CommandFailed(f"{archive}: is not complete:\n" + "\n".join(checked["problems"]))
    if not ours:
        if fingerprint:
            raise CommandFailed(f"{archive}: is not signed, but {fingerprint} was expected")
        return ""
    inside = json.loads((stage / INFO).read_text(encoding="utf-8"))["name"]
    if inside != name:
        raise CommandFailed(f"{archive}: holds the repository {inside!r}, not {name!r}")
    state: dict[str, Any] = {"key": "", "problems": []}
    if fingerprint or shutil.which("gpgv"):
        # A bare machine may have no gpgv before it has a repository to install it from.
        state = _signatures(stage, name)
    if state["problems"]:
        raise CommandFailed(f"{archive}: " + "\n".join(state["problems"]))
    described = json.loads((stage / INFO).read_text(encoding="utf-8")).get("key")
    if state["key"] and described != state["key"]:
        raise CommandFailed(
            f"{archive}: is signed by {state['key']}, but its {INFO} says {described}"
        )
    wanted = re.sub(r"\s", "", fingerprint).upper()
    if wanted and not state["key"].endswith(wanted):
        raise CommandFailed(f"{archive}: is signed by {state['key']}, but {wanted} was expected")
    listed = releases.read_marker((stage / MARKER).read_text(encoding="utf-8"))
    present = set(releases.files_of(str(stage)))
    if set(listed) - present or present - set(listed) - {MARKER, f"{MARKER}.asc"}:
        raise CommandFailed(f"{archive}: its {MARKER} does not list what is in it")
    for rel in sorted(present - {MARKER, f"{MARKER}.asc"}):
        if releases.checksum(str(stage / rel)) != listed[rel]:
            raise CommandFailed(f"{archive}: {rel} is not what its {MARKER} says")
    return str(state["key"])


# -- clients -------------------------------------------------------------------------------------


def client_files(
    name: str = "pigsty",
    home: str = "/www",
    endpoints: list[str] | None = None,
) -> dict[str, dict[str, str]]:
    """The files that tell clients how to use the repository, for ``infra_files``.

    endpoints
        Addresses of the INFRA nodes, the preferred one first: ``http://10.10.10.10:8080``.

    Returns file name below home → ``text``.
    """
    normal = client_sources.endpoint
    bases = [f"{normal(address)}/{name}" for address in endpoints or []]
    define = client_sources.definitions
    info, public = _client_info(name, home)
    told = Path(home, f"{name}.asc")
    if bases and not public and (info["flat"] or info["yum"]) and told.is_file():
        raise CommandFailed(
            f"{Path(home, name)} is not signed, but clients were told to trust the key in {told}."
            " Sign it with the key of this node: salt-call infra_repo.sign"
        )
    files: dict[str, str] = {}
    local = define(name, [f"file://{home}/{name}"], info, public, section=f"{name}-local")
    files[f"{name}-local.repo"], files[f"{name}-local.sources"] = local["repo"], local["sources"]
    if bases:
        remote = define(name, bases, info, public)
        files[f"{name}.repo"], files[f"{name}.sources"] = remote["repo"], remote["sources"]
        for suite in info["suites"]:
            files[f"{name}-{suite}.sources"] = define(name, bases, info, public, codename=suite)[
                "sources"
            ]
    files[f"{name}.asc"] = public
    return {rel: {"text": text} for rel, text in files.items() if text}


def _client_info(name: str, home: str) -> tuple[dict[str, Any], str]:
    state = releases.state(home, name)
    if state["kind"] == "none":
        return {"suites": [], "flat": False, "yum": []}, ""
    real = Path(state["path"])
    if state["kind"] == "ours":
        return state["info"], (real / f"{name}.asc").read_text(encoding="utf-8")
    flat = any((real / file).is_file() for file in ("Packages", "Packages.gz"))
    yum = ["."] if (real / "repodata" / "repomd.xml").is_file() else []
    return {"suites": [], "flat": flat, "yum": yum}, ""
