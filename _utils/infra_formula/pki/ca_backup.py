"""Backup of the CA in one encrypted file, and its restoration.

The file is a tar archive, encrypted by gpg with a passphrase (AES-256, and gpg's own check against
changes), so that it can be read without this formula too::

    gpg --decrypt ca.backup | tar --extract --directory=/

The passphrase is read by gpg from a file; neither it nor the key of the CA ever stands on a command
line or, unencrypted, on disk elsewhere than in its place.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from infra_formula import paths
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.fileset import restoring
from infra_formula.pki import certificates

_KEPT = re.compile(r"etc/pki/(ca\.crt|ca/ca\.key|misc/[A-Za-z0-9._@*-]+\.(crt|key))")
_GPG = ["gpg", "--batch", "--no-tty", "--quiet", "--pinentry-mode", "loopback"]
_SECONDS = 120


def pack(files: dict[str, bytes]) -> bytes:
    """A tar archive of files; pure.

    files
        Path without its leading slash → content.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in sorted(files.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(content), mode(name), int(time.time())
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Files of a tar archive that :func:`pack` made; pure.

    Raises CommandExecutionError for what is no such archive, or holds anything else.
    """
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is None or not _KEPT.fullmatch(member.name):
                    raise CommandFailed(
                        f"it is no backup of a CA: {member.name!r} is not expected in it"
                    )
                files[member.name] = stream.read()
    except tarfile.TarError as err:
        raise CommandFailed(f"it is no backup of a CA: {err}") from err
    for name in ("etc/pki/ca.crt", "etc/pki/ca/ca.key"):
        if name not in files:
            raise CommandFailed(f"it is no backup of a CA: there is no {name} in it")
    return files


def mode(name: str) -> int:
    """Permissions of a file of a backup: all may read the certificate of the CA, and no other."""
    return 0o644 if name == "etc/pki/ca.crt" else 0o600


def write(path: str, passphrase_file: str) -> list[str]:
    """Write the CA, and what was issued by hand, into an encrypted file.

    See ``infra_cert.backup``.
    """
    _check_passphrase(passphrase_file)
    target = Path(path)
    if not target.is_absolute() or not target.parent.is_dir():
        raise InvalidInput(f"path: expected a new file in a folder that is there: {path!r}")
    if os.path.lexists(target):
        raise InvalidInput(f"path: {path} is there already; a backup replaces nothing")
    root = paths.PKI.parent.parent
    members = [
        paths.PKI / "ca.crt",
        paths.PKI / "ca/ca.key",
        *sorted((paths.PKI / "misc").glob("*.*")),
    ]
    files = {str(p.relative_to(root)): p.read_bytes() for p in members if p.is_file()}
    files = {name: content for name, content in files.items() if _KEPT.fullmatch(name)}
    unpack(data := pack(files))  # a backup without a CA in it is none
    _gpg(["--cipher-algo", "AES256", "--s2k-digest-algo", "SHA512", "--s2k-count", "65011712",
          "--symmetric", "--output", path], passphrase_file, data)  # fmt: skip
    if unpack(read(path, passphrase_file)) != files:
        raise CommandFailed(f"{path} cannot be read back")
    return sorted(f"/{name}" for name in files)


def read(path: str, passphrase_file: str) -> bytes:
    """Decrypt a backup; returns the tar archive.

    Raises CommandExecutionError for a wrong passphrase, or a file that was changed.
    """
    _check_passphrase(passphrase_file)
    if not Path(path).is_file():
        raise InvalidInput(f"path: expected a file, there is none at {path}")
    return _gpg(["--decrypt", path], passphrase_file, b"")


def restore(path: str, passphrase_file: str, force: bool = False) -> dict[str, str]:
    """Put back what a backup holds, after it is seen to be whole; see ``infra_cert.restore``."""
    files = unpack(read(path, passphrase_file))
    texts = [files[n].decode("utf-8", "replace") for n in ("etc/pki/ca.crt", "etc/pki/ca/ca.key")]
    fault = certificates.text_fault(*texts)
    if fault:
        raise CommandFailed(f"{path}: the CA in it cannot be used: {fault}")
    modes = {name: mode(name) for name in files}
    return restoring.put(files, modes, time.strftime("%Y%m%dT%H%M%S"), force)


def _check_passphrase(file: str) -> None:
    path = Path(file)
    if not path.is_file() or not path.read_bytes().strip():
        raise InvalidInput(f"passphrase_file: expected a file with a passphrase: {file!r}")
    if path.stat().st_mode & 0o077:
        raise InvalidInput(f"passphrase_file: {file} is open to others; chmod 600 it first")


def _gpg(argv: list[str], passphrase_file: str, data: bytes) -> bytes:
    """Run gpg with a home directory of its own, which goes with it, and so its agent does."""
    with tempfile.TemporaryDirectory(prefix="infra-gpg-") as home:
        command = [*_GPG, "--homedir", home, "--passphrase-file", passphrase_file, *argv]
        try:
            done = subprocess.run(
                command,
                input=data,
                capture_output=True,
                timeout=_SECONDS,
                umask=0o077,
                check=False,
            )
            ended = ["gpgconf", "--homedir", home, "--kill", "all"]
            subprocess.run(ended, capture_output=True, timeout=_SECONDS, check=False)
        except FileNotFoundError:
            raise CommandFailed("gpg is not installed; install the package gnupg") from None
        except subprocess.TimeoutExpired as err:
            raise CommandFailed(f"gpg did not end within {_SECONDS} s") from err
    if done.returncode:
        raise CommandFailed(f"gpg: {done.stderr.decode('utf-8', 'replace').strip()}")
    return done.stdout
