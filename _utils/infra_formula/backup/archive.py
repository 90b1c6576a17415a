"""The archive of a backup: a compressed tar with a manifest at its end, encrypted if asked for.

The manifest names each file with its size and SHA-256. An archive that was cut off has none, and
one that was changed does not match it. gpg and age encrypt; neither writes plain text to disk.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast

from infra_formula import json_text
from infra_formula.errors import CommandFailed, InvalidInput

MANIFEST = "manifest.json"
FORMAT = 1
"""Version of the layout; a later one is refused."""

_AGE = b"age-encryption.org/"
_GZIP = b"\x1f\x8b"
_RECIPIENT = re.compile(r"[A-Za-z0-9/._@+=: -]{1,4096}")
_NAME = re.compile(r"(?:[A-Za-z0-9_.@*+:,=-]+/)*[A-Za-z0-9_.@*+:,=-]+")
_MOST_MANIFEST = 64 << 20  # bytes
_CHUNK = 1 << 20

Receiver = Callable[[str, "tarfile.TarInfo", IO[bytes]], None]


class Writer:
    """Adds files to an archive, and their manifest at the end."""

    def __init__(self, stream: IO[bytes]) -> None:
        # What takes the space is compressed already.
        self._gzip = gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1)
        self._tar = tarfile.open(fileobj=self._gzip, mode="w")  # noqa: SIM115
        self.files: dict[str, dict[str, Any]] = {}

    def add_bytes(self, name: str, content: bytes) -> None:
        """Add a file."""
        self._add(name, io.BytesIO(content), len(content))

    def add_path(self, name: str, path: Path) -> None:
        """Add a file from disk, which must not change meanwhile."""
        with path.open("rb") as stream:
            self._add(name, stream, os.fstat(stream.fileno()).st_size)

    def _add(self, name: str, stream: IO[bytes], size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(time.time())
        hashing = _Hashing(stream)
        self._tar.addfile(info, hashing)
        self.files[name] = {"size": size, "sha256": hashing.digest.hexdigest()}

    def close(self, **more: Any) -> None:
        """Write the manifest, with further facts, and end the archive."""
        manifest = {"format": FORMAT, **more, "files": dict(self.files)}
        self.add_bytes(MANIFEST, json.dumps(manifest).encode())
        self._tar.close()
        self._gzip.close()

    def abandon(self) -> None:
        """Write nothing any more."""
        self._gzip.fileobj = None  # type: ignore[assignment]


class _Hashing(io.RawIOBase):
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        return data


@contextmanager
def create(path: str, recipient: str = "") -> Iterator[Writer]:
    """Write an archive to a new file that only root reads; nothing is left of one that fails.

    path
        Absolute path at which nothing is.
    recipient
        Whom to encrypt it for: a key of age (``age1…``) or SSH, a file with a public key of gpg, or
        the name of a key in root's keyring. Empty: it is not encrypted.
    """
    target = Path(path)
    if not target.is_absolute() or not target.parent.is_dir():
        raise InvalidInput(f"path: expected a new file in a folder that is there, got {path!r}")
    if os.path.lexists(target):
        raise InvalidInput(f"path: {path} is there already; a backup replaces nothing")
    command = _encryption(recipient)
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as out, _encrypted(command, out) as stream:
            writer = Writer(stream)
            try:
                yield writer
            except BaseException:
                writer.abandon()
                raise
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.link(name, target)  # unlike a renaming, it replaces nothing
    finally:
        Path(name).unlink(missing_ok=True)


def _encryption(recipient: str) -> list[str]:
    if not recipient:
        return []
    if not isinstance(recipient, str) or not _RECIPIENT.fullmatch(recipient):
        raise InvalidInput(
            "recipient: expected a key of age, a file with a public key of gpg, or a key's name"
        )
    if recipient.startswith(("age1", "ssh-")):
        return [_program("age"), "--encrypt", f"--recipient={recipient}"]
    gpg = [_program("gpg"), "--batch", "--no-tty", "--quiet", "--compress-algo=none"]
    if recipient.startswith("/"):
        if not Path(recipient).is_file():
            raise InvalidInput(f"recipient: there is no file {recipient}")
        return [*gpg, "--encrypt", f"--recipient-file={recipient}"]
    return [*gpg, "--trust-model=always", "--encrypt", f"--recipient={recipient}"]


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        package = {"gpg": "gnupg"}.get(name, name)
        raise CommandFailed(f"{name} is not installed; install the package {package}")
    return path


@contextmanager
def _encrypted(command: list[str], out: IO[bytes]) -> Iterator[IO[bytes]]:
    if not command:
        yield out
        return
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=errors) as running,
    ):
        sink = running.stdin
        try:
            if sink is not None:
                yield sink
                sink.close()
        except BrokenPipeError:
            pass
        except BaseException:
            running.kill()
            raise
        finally:
            # A program that ended has left what was buffered for it.
            with suppress(BrokenPipeError):
                cast(IO[bytes], sink).close()
        if running.wait():
            raise _failed(command, errors)


def _failed(command: list[str], errors: IO[bytes]) -> CommandFailed:
    errors.seek(0)
    text = errors.read(2000).decode("utf-8", "replace").strip()
    return CommandFailed(f"{Path(command[0]).name}: {text}")


def read(path: str, receive: Receiver, identity: str = "") -> dict[str, Any]:
    """Read an archive whole, and hand each file on.

    path
        The archive.
    receive
        Called with the name, the size and a stream of each file. Nothing of what it gets is certain
        before this function has returned.
    identity
        File with the key that decrypts: an identity of age, or a secret key of gpg without a
        passphrase. Empty: root's keyring of gpg.

    Returns the manifest.

    Raises CommandFailed for what is no whole and unchanged archive.
    """
    if not Path(path).is_file():
        raise InvalidInput(f"path: expected a file, there is none at {path}")
    seen: dict[str, dict[str, Any]] = {}
    manifest: dict[str, Any] = {}
    try:
        with (
            _decrypted(path, identity) as stream,
            gzip.GzipFile(fileobj=stream, mode="rb") as plain,
            tarfile.open(fileobj=plain, mode="r|") as archive,
        ):
            for member in archive:
                name = member.name
                if manifest or name in seen or not _is_name(member):
                    raise CommandFailed(f"{path}: {name[:200]!r} is not expected in a backup")
                source = archive.extractfile(member)
                hashing = _Hashing(source or io.BytesIO())
                if name == MANIFEST:
                    if member.size > _MOST_MANIFEST:
                        raise CommandFailed(f"{path}: its manifest is too large")
                    manifest = _manifest(path, hashing.read())
                    continue
                receive(name, member, hashing)  # type: ignore[arg-type]
                while hashing.read(_CHUNK):
                    pass
                seen[name] = {"size": member.size, "sha256": hashing.digest.hexdigest()}
            # The rest shows whether it was cut off, or changed where nothing looks.
            while plain.read(_CHUNK):
                pass
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OSError) as err:
        if isinstance(err, OSError) and err.errno:
            raise
        raise CommandFailed(f"{path}: it is no backup, or was cut off: {err}") from err
    if not manifest:
        raise CommandFailed(f"{path}: it has no manifest: it was cut off, or is no backup")
    if manifest["files"] != seen:
        raise CommandFailed(f"{path}: its files are not those of its manifest: it was changed")
    return manifest


def _is_name(member: tarfile.TarInfo) -> bool:
    name = member.name
    parts = name.split("/")
    return member.isreg() and bool(_NAME.fullmatch(name)) and not {".", ".."} & set(parts)


def _manifest(path: str, data: bytes) -> dict[str, Any]:
    try:
        parsed = json_text.parse(data)
    except ValueError as err:
        raise CommandFailed(f"{path}: its manifest is none: {err}") from err
    if not isinstance(parsed, dict) or not isinstance(parsed.get("files"), dict):
        raise CommandFailed(f"{path}: its manifest is none")
    if parsed.get("format") != FORMAT:
        raise CommandFailed(
            f"{path}: a later release of the formula wrote it; restore it with that"
        )
    return parsed


@contextmanager
def _decrypted(path: str, identity: str) -> Iterator[IO[bytes]]:
    # Unbuffered: a program reads on where this process stopped.
    with open(path, "rb", buffering=0) as stream:
        head = stream.read(len(_AGE))
        stream.seek(0)
        if head.startswith(_GZIP):
            yield stream
            return
        if identity:
            _check_identity(identity)
        if head.startswith(_AGE):
            if not identity:
                raise InvalidInput("identity: missing; the backup is encrypted by age")
            with _piped([_program("age"), "--decrypt", f"--identity={identity}"], stream) as plain:
                yield plain
            return
        with tempfile.TemporaryDirectory(prefix="infra-gpg-") as home:
            gpg = [_program("gpg"), "--batch", "--no-tty", "--quiet"]
            if identity:
                gpg += ["--homedir", home, "--pinentry-mode=loopback"]
                imported = subprocess.run(
                    [*gpg, "--import", identity], capture_output=True, check=False, timeout=120
                )
                if imported.returncode:
                    text = imported.stderr.decode("utf-8", "replace").strip()
                    raise CommandFailed(f"identity: gpg refuses it: {text}")
            try:
                with _piped([*gpg, "--decrypt"], stream) as plain:
                    yield plain
            finally:
                if identity:
                    ended = ["gpgconf", "--homedir", home, "--kill", "all"]
                    subprocess.run(ended, capture_output=True, check=False, timeout=60)


def _check_identity(identity: str) -> None:
    path = Path(identity)
    if not path.is_absolute() or not path.is_file():
        raise InvalidInput(f"identity: expected a file with a key, got {identity!r}")
    if path.stat().st_mode & 0o077:
        raise InvalidInput(f"identity: {identity} is open to others; chmod 600 it first")


@contextmanager
def _piped(command: list[str], source: IO[bytes]) -> Iterator[IO[bytes]]:
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE, stderr=errors) as running,
    ):
        plain = cast("io.BufferedReader", running.stdout)
        try:
            if not plain.peek(1) and running.wait():
                raise _failed(command, errors)
            yield plain
        except BaseException:
            running.kill()
            raise
        plain.close()
        # gpg reports only at the end that a message was changed.
        if running.wait():
            raise _failed(command, errors)
