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
from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __grains__: dict[str, Any]

log = logging.getLogger(__name__)

INFO = "repo_info.json"
MARKER = "repo_complete"


# -- building ------------------------------------------------------------------------------------


def build(
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

    CLI Example:

    .. code-block:: bash

        salt-call infra_repo.build '{name: pigsty, home: /www, targets: [d12.x86_64], …}'
    """
    plan = __salt__["infra_repo_catalogue.plan"](request)
    home, name = plan["home"], plan["name"]
    with _working(home, name, "build"):
        state = __salt__["infra_repo_tree.state"](home, name)
        if not force and not needs_build(state, plan["fingerprint"]):
            return __salt__["infra_repo_build.outcome"](
                state["path"], state["info"], state["info"], False, 0
            )
        return __salt__["infra_repo_build.build"](plan, state, key or {}, transfer or {}, force)


def needs_build(state: dict[str, Any], fingerprint: str) -> bool:
    """Whether what is published has to be built (again).

    state
        What ``infra_repo_tree.state`` says.
    fingerprint
        Of the plan.

    A complete repository is taken as it is: always, where it was unpacked or made by somebody else;
    for as long as the request stays the same, where we built it.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.needs_build '{complete: false}' abc
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
        folder = Path(__salt__["infra_repo_tree.work"](home, name))
        with (folder / "lock").open("a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise CommandExecutionError(
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
        raise CommandExecutionError(
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

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.status
    """
    state = __salt__["infra_repo_tree.state"](home, name)
    info = state["info"]
    real = Path(state["path"]) if state["path"] else None
    packages = info.get("packages")
    if packages is None and real is not None:
        packages = [
            {"size": (real / rel).stat().st_size}
            for rel in __salt__["infra_repo_tree.files_of"](str(real))
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
    """What is published, for people.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.summary --out=newline_values_only
    """
    return describe(status(name, home))


def describe(data: dict[str, Any]) -> str:
    """What :func:`status` says, for people.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.describe '{…}'
    """
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
    files = __salt__["infra_repo_tree.files_of"](str(real))
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
        found = __salt__["infra_repo_sign.verify"](
            [str(public)], str(real / rel), str(real / source) if source else ""
        )
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

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.verify
    """
    found = __salt__["infra_repo_tree.verify"](home, name)
    real = (Path(home) / name).resolve()
    problems = list(found["problems"])
    if (real / INFO).is_file():
        problems += _signatures(real, name)["problems"]
    if problems:
        __salt__["infra_repo_tree.distrust"](home, name, [p.partition(":")[0] for p in problems])
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

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.damage pigsty /www
    """
    state = __salt__["infra_repo_tree.state"](home, name)
    if state["kind"] == "none":
        return []
    if state["kind"] == "foreign" and state["complete"]:
        seal = Path(home).resolve() / f".{name}" / "seals" / f"{Path(state['path']).name}.json"
        if not seal.exists():
            return list(__salt__["infra_repo_tree.verify"](home, name)["problems"])
    return list(state["problems"])


# -- going back, packing, unpacking --------------------------------------------------------------


def rollback(name: str = "pigsty", home: str = "/www") -> dict[str, str]:
    """Publish the repository that was published before; called again, it goes forth again.

    Returns ``old`` and ``new`` (paths).

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.rollback
    """
    with _working(home, name, "rollback"):
        result: dict[str, str] = __salt__["infra_repo_tree.rollback"](home, name)
    return result


def pack(
    name: str = "pigsty",
    home: str = "/www",
    version: str = "v4.5.0",
    archive: str = "",
    folder: str = "/tmp",  # noqa: S108  (where Pigsty's bootstrap looks for it)
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

    CLI Example:

    .. code-block:: bash

        salt-call infra_repo.pack version=v4.5.0 folder=/srv
    """
    if compression not in ("gzip", "zstd"):
        raise SaltInvocationError(f"compression: expected gzip or zstd, got {compression!r}")
    if not re.fullmatch(r"[A-Za-z0-9._-]+", version):
        raise SaltInvocationError(f"version: expected something like v4.5.0, got {version!r}")
    with _working(home, name, "pack"):
        state = __salt__["infra_repo_tree.state"](home, name)
        if not state["complete"]:
            raise CommandExecutionError(
                f"{Path(home, name)}: not complete, so it is not packed:\n"
                + "\n".join(state["problems"] or ["there is no repository"])
            )
        real = Path(state["path"])
        if not archive:
            targets = state["info"].get("targets") or [__salt__["infra_repo.machine"]()]
            code, _, arch = targets[0].partition(".")
            archive = str(
                Path(
                    folder,
                    __salt__["infra_repo_pack.archive_name"](version, code, arch, compression),
                )
            )
        sums = _all_sums(real)
        result: dict[str, Any] = __salt__["infra_repo_pack.pack"](
            str(real), name, archive, {**state["info"], "packages": None}, sums
        )
    return result


def _all_sums(real: Path) -> dict[str, str]:
    """SHA-256 of every file: those of the marker as it says, the others read now."""
    text = (real / MARKER).read_text(encoding="utf-8")
    listed = __salt__["infra_repo_tree.read_marker"](text)
    return {
        rel: listed[rel]
        if len(listed.get(rel, "")) == 64
        else __salt__["infra_repo_tree.checksum"](str(real / rel))
        for rel in __salt__["infra_repo_tree.files_of"](str(real))
    }


def machine() -> str:
    """The target that this machine is.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.machine
    """
    result: str = __salt__["infra_repo_catalogue.target_of"](
        __grains__["os_family"],
        __grains__["os"],
        int(__grains__["osmajorrelease"]),
        __grains__["cpuarch"],
    )
    return result


def unpack(
    archive: str,
    name: str = "pigsty",
    home: str = "/www",
    checksum: str = "",
    fingerprint: str = "",
) -> dict[str, Any]:
    """Check an archive, and publish the repository in it.

    archive
        File made by :func:`pack`, or one of Pigsty's.
    checksum
        Checksum that the archive must have, e.g. ``sha256:…``; empty for any.
    fingerprint
        Fingerprint of the key that must have signed it; empty for the key in the archive.

    Returns ``path``, ``files``, ``bytes`` and ``key`` (empty where it is not signed).

    Raises CommandExecutionError; what was published is then unchanged.

    CLI Example:

    .. code-block:: bash

        salt-call infra_repo.unpack /tmp/pkg.tgz
    """
    wanted = __salt__["infra_repo_catalogue.normal_checksum"](checksum)
    if wanted is None:
        raise SaltInvocationError(f"checksum: expected e.g. sha256:<64 digits>, got {checksum!r}")
    with _working(home, name, "unpack"):
        if not Path(archive).is_file():
            raise CommandExecutionError(f"{archive}: there is no such file")
        before = archive_identity(archive)
        if wanted:
            kind, _, digits = wanted.partition(":")
            actual = __salt__["infra_repo_tree.checksum"](archive, kind)
            if actual != digits:
                raise CommandExecutionError(
                    f"{archive}: its {kind} is {actual}, but expected {digits}"
                )
        stage = Path(__salt__["infra_repo_tree.stage"](home, name))
        try:
            result = __salt__["infra_repo_pack.unpack"](archive, str(stage))
            key = _check_unpacked(stage, name, archive, fingerprint, result["manifest"])
            folder = Path(__salt__["infra_repo_tree.work"](home, name))
            # Before it is published: an archive must never look like something that we built.
            note = folder / "seals" / f"{stage.name.removeprefix('.new-')}.origin"
            note.write_text(json.dumps(before), encoding="utf-8")
            path = __salt__["infra_repo_tree.publish"](home, name, str(stage))
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise
    return {"path": path, "files": result["files"], "bytes": result["bytes"], "key": key}


def archive_identity(archive: str) -> dict[str, Any]:
    """What tells whether an archive is the one that was unpacked: path, size and time.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.archive_identity /tmp/pkg.tgz
    """
    st = os.stat(archive)
    return {"archive": archive, "size": st.st_size, "mtime": st.st_mtime_ns}


def unpacked_from(name: str = "pigsty", home: str = "/www") -> dict[str, Any]:
    """The archive that what is published was unpacked from; empty for none.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.unpacked_from
    """
    base = Path(home).resolve()
    live = (base / name).resolve()
    note = base / f".{name}" / "seals" / f"{live.name}.origin"
    return dict(__salt__["infra_repo_tree.read_json"](str(note)))


def _check_unpacked(stage: Path, name: str, archive: str, fingerprint: str, manifest: bool) -> str:
    """Check what came out of an archive; returns the fingerprint that it is signed with."""
    ours = (stage / INFO).is_file()
    if not manifest or not ours:
        checked = __salt__["infra_repo_tree.verify_folder"](str(stage), strict=ours)
        if checked["problems"]:
            raise CommandExecutionError(
                f"{archive}: is not complete:\n" + "\n".join(checked["problems"])
            )
    if not ours:
        if fingerprint:
            raise CommandExecutionError(f"{archive}: is not signed, but {fingerprint} was expected")
        return ""
    inside = json.loads((stage / INFO).read_text(encoding="utf-8"))["name"]
    if inside != name:
        raise CommandExecutionError(f"{archive}: holds the repository {inside!r}, not {name!r}")
    state: dict[str, Any] = {"key": "", "problems": []}
    if fingerprint or shutil.which("gpgv"):
        # A bare machine may have no gpgv before it has a repository to install it from.
        state = _signatures(stage, name)
    if state["problems"]:
        raise CommandExecutionError(f"{archive}: " + "\n".join(state["problems"]))
    wanted = re.sub(r"\s", "", fingerprint).upper()
    if wanted and not state["key"].endswith(wanted):
        raise CommandExecutionError(
            f"{archive}: is signed by {state['key']}, but {wanted} was expected"
        )
    listed = __salt__["infra_repo_tree.read_marker"]((stage / MARKER).read_text(encoding="utf-8"))
    present = set(__salt__["infra_repo_tree.files_of"](str(stage)))
    if set(listed) - present or present - set(listed) - {MARKER, f"{MARKER}.asc"}:
        raise CommandExecutionError(f"{archive}: its {MARKER} does not list what is in it")
    for rel in sorted(present - {MARKER, f"{MARKER}.asc"}):
        if __salt__["infra_repo_tree.checksum"](str(stage / rel)) != listed[rel]:
            raise CommandExecutionError(f"{archive}: {rel} is not what its {MARKER} says")
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

    CLI Example:

    .. code-block:: bash

        salt '*' infra_repo.client_files pigsty /www '["http://10.10.10.10"]'
    """
    normal = __salt__["infra_repo_client.endpoint"]
    bases = [f"{normal(address)}/{name}" for address in endpoints or []]
    define = __salt__["infra_repo_client.definitions"]
    info, public = _client_info(name, home)
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
    state = __salt__["infra_repo_tree.state"](home, name)
    if state["kind"] == "none":
        return {"suites": [], "flat": False, "yum": []}, ""
    real = Path(state["path"])
    if state["kind"] == "ours":
        return state["info"], (real / f"{name}.asc").read_text(encoding="utf-8")
    flat = any((real / file).is_file() for file in ("Packages", "Packages.gz"))
    yum = ["."] if (real / "repodata" / "repomd.xml").is_file() else []
    return {"suites": [], "flat": flat, "yum": yum}, ""
