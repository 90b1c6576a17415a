"""A repository in one archive, for machines without network; and back again, trusting nothing.

The archive is a tar file compressed by gzip or zstd, with one folder in it, as Pigsty's offline
packages have. Its first member, ``repo_manifest.json``, lists every file with size and SHA-256, so
that reading it can be stopped at the first thing that should not be there. Pigsty's own archives
have no such member; those are limited by what an archive of packages can sensibly hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from salt.exceptions import CommandExecutionError

from infra_formula import json_text
from infra_formula.errors import CommandFailed
from infra_formula.fileset import root_only
from infra_formula.repository import marker

MANIFEST = "repo_manifest.json"
FILES = 200_000
"""Files that an archive without manifest may hold."""

RATIO = 20
"""How many times its own size an archive without manifest may grow to; packages do not compress."""

_CHUNK = 2**20
_HEADER = 2**16
_ROOM = 2**26
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class _Member(tarfile.TarInfo):
    """A member whose extended headers cannot eat up the memory."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        extended = (
            tarfile.GNUTYPE_LONGNAME,
            tarfile.GNUTYPE_LONGLINK,
            tarfile.XHDTYPE,
            tarfile.XGLTYPE,
            tarfile.SOLARIS_XHDTYPE,
        )
        if self.type in extended and self.size > _HEADER:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(archive)  # type: ignore[misc]


def archive_name(version: str, code: str, arch: str, compression: str = "gzip") -> str:
    """Name of an offline package, as Pigsty writes it.

    version, code, arch
        E.g. ``v4.5.0``, ``d12``, ``x86_64``.
    compression
        ``gzip`` or ``zstd``.
    """
    suffix = {"gzip": "tgz", "zstd": "tar.zst"}[compression]
    return f"pigsty-pkg-{version}.{code}.{arch}.{suffix}"


def pack(
    folder: str, name: str, archive: str, info: dict[str, Any], sums: dict[str, str]
) -> dict[str, Any]:
    """Write the archive of a repository.

    folder, name
        The real directory, and the name of the folder in the archive.
    archive
        File to write; ``.tgz`` and ``.tar.gz`` are compressed by gzip, ``.tar.zst`` by zstd.
    info
        Put into the manifest.
    sums
        Path → SHA-256 of every file; each is checked while it is read.

    Returns ``archive``, ``files``, ``bytes`` and ``sha256``. If it raises, there is no archive.
    """
    base = Path(folder)
    links = {}
    for where, folders, names in os.walk(base):
        for entry in [*folders, *names]:
            path = Path(where, entry)
            if path.is_symlink():
                links[str(path.relative_to(base))] = os.readlink(path)
    for rel in sums:
        try:
            rel.encode()
        except UnicodeEncodeError as exc:
            raise CommandFailed(
                f"{base}: {rel!r} is a name that is not UTF-8; remove that file; nothing packed"
            ) from exc
    files = {rel: ((base / rel).stat().st_size, digest) for rel, digest in sorted(sums.items())}
    manifest = {"format": 1, "name": name, "info": info, "files": files, "links": links}
    target = Path(archive)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.new")
    try:
        with (
            _compressor(temporary, target.name) as sink,
            tarfile.open(fileobj=sink, mode="w|", bufsize=_CHUNK) as tar,
        ):
            data = json.dumps(manifest).encode()
            _add(tar, f"{name}/{MANIFEST}", len(data), io.BytesIO(data))
            for rel, (size, digest) in files.items():
                with (base / rel).open("rb") as stream:
                    reader = _Hashing(stream)
                    _add(tar, f"{name}/{rel}", size, reader)
                if reader.digest.hexdigest() != digest:
                    raise CommandFailed(
                        f"{base / rel}: its content is not what was published; nothing packed"
                    )
        whole = hashlib.sha256()
        with temporary.open("rb") as written:
            while chunk := written.read(_CHUNK):
                whole.update(chunk)
            os.fsync(written.fileno())
        temporary.replace(target)
    except OSError as exc:
        raise CommandFailed(f"{target}: cannot be written: {exc.strerror or exc}") from exc
    finally:
        temporary.unlink(missing_ok=True)
    return {
        "archive": str(target),
        "files": len(files),
        "bytes": target.stat().st_size,
        "sha256": whole.hexdigest(),
    }


class _Hashing:
    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.digest.update(data)
        return data


def _add(tar: tarfile.TarFile, name: str, size: int, stream: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mode = 0o644
    tar.addfile(member, stream)


@contextlib.contextmanager
def _compressor(path: Path, name: str) -> Iterator[IO[bytes]]:
    # Packages are compressed already: the fastest level loses nothing.
    if name.endswith((".tar.zst", ".tzst")):
        argv = ["zstd", "-q", "-T0", "-1", "-c"]
    elif name.endswith((".tgz", ".tar.gz")):
        argv = [*(["pigz"] if shutil.which("pigz") else ["gzip"]), "-1", "-n", "-c"]
    else:
        raise CommandFailed(f"{name}: expected a name in .tgz, .tar.gz or .tar.zst")
    if not shutil.which(argv[0]):
        raise CommandFailed(f"{argv[0]} is not installed")
    # The folder may be one like /tmp, where others may have put a file or a link of this name.
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with (
        os.fdopen(fd, "wb") as out,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=errors) as job,
    ):
        sink = job.stdin
        if sink is None:
            raise CommandFailed(f"{argv[0]}: no pipe to it")
        try:
            try:
                yield sink
                sink.close()
            except BrokenPipeError:
                # The compressor ended: it says why. Its pipe is closed once more, by Popen.
                with contextlib.suppress(BrokenPipeError):
                    sink.close()
                job.wait()
        except BaseException:
            job.kill()
            raise
        if job.wait():
            errors.seek(0)
            reason = errors.read().decode(errors="replace").strip()
            raise CommandFailed(f"{path.parent}: {name} cannot be written: {reason}")


@contextlib.contextmanager
def opened(archive: str, descriptor: int | None = None) -> Iterator[int]:
    """A descriptor of an archive that only root can have written: a given one, or a new one."""
    if descriptor is not None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
        return
    try:
        fd: int = root_only.open_file(archive)
    except OSError as exc:
        raise CommandFailed(f"{archive}: cannot be read: {exc.strerror}") from exc
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _opened(archive: Path, fd: int) -> Iterator[IO[bytes]]:
    """The archive's content, uncompressed as it is read; only the descriptor is read."""
    try:
        magic = os.pread(fd, 4, 0)
    except OSError as exc:
        raise CommandFailed(f"{archive}: cannot be read: {exc.strerror}") from exc
    if magic[:2] == b"\x1f\x8b":
        argv = ["gzip", "-dc"]
    elif magic == b"\x28\xb5\x2f\xfd":
        argv = ["zstd", "-q", "-dc"]
    else:
        raise CommandFailed(f"{archive}: is no archive compressed by gzip or zstd")
    if not shutil.which(argv[0]):
        raise CommandFailed(f"{argv[0]} is not installed")
    with subprocess.Popen(argv, stdin=fd, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        out, err = job.stdout, job.stderr
        if out is None or err is None:
            raise CommandFailed(f"{argv[0]}: no pipe from it")
        try:
            yield out
            # Whatever stands behind the end mark; a bomb is not read to its end.
            if out.read(_ROOM) and out.read(1):
                raise CommandFailed(f"{archive}: goes on behind its end")
            if job.wait():
                complaint = err.read().decode(errors="replace").strip()
                raise CommandFailed(f"{archive}: is damaged or cut off: {complaint}")
        finally:
            if job.poll() is None:
                job.kill()


def peek(archive: str, descriptor: int | None = None) -> dict[str, Any]:
    """The manifest of an archive, without unpacking it; empty for one without (Pigsty's own), and
    for what is no archive, or for one that is not trusted.

    archive
        The file.
    descriptor
        What ``root_only.open_file`` returned for it; opened here where None.
    """
    result: dict[str, Any] = {}
    damaged = (CommandExecutionError, tarfile.TarError, EOFError, ValueError, OSError)
    with (
        contextlib.suppress(*damaged),
        opened(archive, descriptor) as fd,
        _opened(Path(archive), fd) as stream,
    ):
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
            member = tar.next()
            if member is not None and PurePosixPath(member.name).name == MANIFEST:
                result = _manifest(tar, member)
        raise CommandFailed("seen enough")
    return result


def unpack(archive: str, folder: str, descriptor: int | None = None) -> dict[str, Any]:
    """Unpack an archive into an empty folder, and check it on the way.

    folder
        Where its files go; its own folder (``pigsty/``) is left out.
    descriptor
        Of ``root_only.open_file``; opened here if None. Nothing else is read.

    Returns ``info`` (of the manifest), ``files`` (how many), ``bytes`` and ``manifest`` (whether
    there was one; without, the checksums still have to be verified).
    """
    path = Path(archive)
    try:
        with opened(archive, descriptor) as fd, _opened(path, fd) as stream:
            return _unpack(path, stream, Path(folder), os.fstat(fd).st_size)
    except (tarfile.TarError, EOFError, ValueError) as exc:
        raise CommandFailed(f"{archive}: is damaged or cut off: {exc}") from exc
    except OSError as exc:
        raise CommandFailed(f"{archive}: cannot be unpacked: {exc.strerror}") from exc


def _unpack(archive: Path, stream: IO[bytes], base: Path, packed: int) -> dict[str, Any]:
    free = shutil.disk_usage(base).free
    limit = min(free, max(RATIO * packed, _ROOM))
    manifest: dict[str, Any] = {}
    seen: set[str] = set()
    top = ""
    total = 0
    with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK, tarinfo=_Member) as tar:
        for number, member in enumerate(tar):
            if number > FILES + len(manifest.get("files", ())):
                raise CommandFailed(f"{archive}: holds more than {FILES} files")
            top, rel = _place(archive, member, top)
            if member.isdir() and not member.name.endswith(MANIFEST):
                continue
            if rel == MANIFEST and number == 0:
                manifest = _manifest(tar, member)
                size = sum(entry[0] for entry in manifest["files"].values())
                if size > free:
                    raise CommandFailed(
                        f"{archive}: needs {size} bytes, but {base} has only {free} free"
                    )
                limit = size
                continue
            if rel in seen:
                raise CommandFailed(f"{archive}: holds {member.name} twice")
            seen.add(rel)
            wanted = manifest.get("files", {}).get(rel) if manifest else None
            if manifest and wanted is None:
                raise CommandFailed(f"{archive}: {rel} is not in its manifest")
            if wanted and wanted[0] != member.size:
                raise CommandFailed(f"{archive}: {rel} has not the size in the manifest")
            total += member.size
            if total > limit:
                raise CommandFailed(f"{archive}: holds more than the {limit} bytes that it may")
            digest = _write(tar, member, base / rel)
            if wanted and wanted[1] != digest:
                raise CommandFailed(f"{archive}: {rel} has not the checksum it should have")
    missing = sorted(set(manifest.get("files", ())) - seen)
    if missing:
        raise CommandFailed(f"{archive}: is cut off; {len(missing)} files are missing,"
                                    f" the first is {missing[0]}")  # fmt: skip
    if not seen:
        raise CommandFailed(f"{archive}: holds nothing")
    if marker.MARKER not in seen:
        raise CommandFailed(f"{archive}: holds no {marker.MARKER}; it is no complete repository")
    for rel, target in manifest.get("links", {}).items():
        _link(archive, base, rel, target)
    return {
        "info": manifest.get("info", {}),
        "files": len(seen),
        "bytes": total,
        "manifest": bool(manifest),
    }


def _place(archive: Path, member: tarfile.TarInfo, top: str) -> tuple[str, str]:
    """The archive's one folder, and the member's path below it."""
    name = member.name
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or any(ord(c) < 32 for c in name):
        raise CommandFailed(f"{archive}: {name!r} would lie outside of its folder")
    try:
        name.encode()
    except UnicodeEncodeError as exc:
        raise CommandFailed(f"{archive}: {name!r} is a name that is not UTF-8") from exc
    if member.sparse is not None or not (member.isreg() or member.isdir()):
        kind = _KINDS.get(member.type, "a sparse file" if member.isreg() else "of unknown kind")
        raise CommandFailed(f"{archive}: {name!r} is {kind}; only files may be in it")
    if len(parts) == 1 and not member.isdir():
        raise CommandFailed(f"{archive}: {name!r} does not lie in a folder")
    if top and parts[0] != top:
        raise CommandFailed(f"{archive}: holds two folders, {top!r} and {parts[0]!r}")
    return parts[0], str(PurePosixPath(*parts[1:])) if len(parts) > 1 else ""


def _manifest(tar: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    stream = tar.extractfile(member)
    if stream is None or member.size > 2**28:
        raise ValueError("its manifest cannot be read")
    data = json_text.parse(stream.read())
    try:
        files, links = data["files"], data["links"]
        for rel, (size, digest) in files.items():
            if not isinstance(size, int) or size < 0 or len(digest) != 64:
                raise ValueError(f"its manifest says nonsense about {rel!r}")
        if not all(isinstance(target, str) for target in links.values()):
            raise ValueError("its manifest says nonsense about links")
    except (KeyError, TypeError, AttributeError) as exc:
        raise ValueError(f"its manifest is not of the form that one has ({exc!r})") from exc
    return dict(data)


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    source = tar.extractfile(member)
    if source is None:
        raise ValueError(f"{member.name} cannot be read")
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    written = 0
    with os.fdopen(fd, "wb") as out:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            out.write(chunk)
            written += len(chunk)
    if written != member.size:
        raise ValueError(f"{member.name} ends after {written} of {member.size} bytes")
    return digest.hexdigest()


def _link(archive: Path, base: Path, rel: str, target: str) -> None:
    """A link that the repository has within itself, such as one to another name of its index."""
    path = base / rel
    parts = PurePosixPath(rel).parts
    inside = os.path.normpath(os.path.join(os.path.dirname(rel), target))
    if (
        os.path.isabs(rel)
        or ".." in parts
        or os.path.isabs(target)
        or inside.startswith("..")
        or path.exists()
        or any((base / PurePosixPath(*parts[:n])).is_symlink() for n in range(1, len(parts)))
        or not (base / inside).exists()
    ):
        raise CommandFailed(f"{archive}: a link {rel!r} to {target!r} cannot be right")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
