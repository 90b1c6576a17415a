"""Files of a repository: which there are, and whether they are what was published."""

from __future__ import annotations

import concurrent.futures
import ctypes
import hashlib
import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from infra_formula import json_text
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic
from infra_formula.repository import marker


def index_problems(real: Path) -> list[str]:
    """Pigsty's marker lists packages only; without an index they cannot be installed."""
    index = ("Packages", "Packages.gz", "repodata/repomd.xml")
    if any((real / path).is_file() for path in index) or (real / "dists").is_dir():
        return []
    return [f"no index ({', '.join(index)}) in it"]


def identity(path: Path) -> list[int] | None:
    try:
        st = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [st.st_size, st.st_mtime_ns, st.st_ino] if stat.S_ISREG(st.st_mode) else None


def read_json(path: str) -> dict[str, Any]:
    """What was noted in a file; empty where there is none, or nothing that can be read."""
    try:
        data = json_text.parse(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write_json(path: str, data: dict[str, Any]) -> None:
    """Note something in a file, wholly or not at all."""
    atomic.write(path, json.dumps(data))


def checksum(path: str, kind: str = "sha256") -> str:
    """Checksum of a file as hexadecimal digits."""
    digest = hashlib.new(kind, usedforsecurity=False)
    buffer = memoryview(bytearray(2**20))
    with open(path, "rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def changed_files(root: Path, listed: dict[str, str]) -> list[str]:
    """Files whose content is not what is listed; read on all processors."""

    def look(item: tuple[str, str]) -> str:
        rel, digest = item
        path = root / rel
        if not path.is_file() or path.is_symlink():
            return f"{rel}: missing"
        try:
            kind = {32: "md5", 64: "sha256"}[len(digest)]
            actual = checksum(str(path), kind)
        except OSError as exc:
            return f"{rel}: cannot be read: {exc.strerror}"
        return "" if actual == digest else f"{rel}: its content is not what was published"

    # hashlib lets go of the interpreter lock, so threads do run side by side.
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return [problem for problem in pool.map(look, sorted(listed.items())) if problem]


def verify_folder(folder: str, strict: bool = True) -> dict[str, Any]:
    """As :func:`releases.verify`, for any folder.

    strict
        Complain about files that are not listed, too.
    """
    real = Path(folder)
    file = real / marker.MARKER
    if not file.is_file():
        problem = f"{marker.MARKER}: missing, so the repository is not complete"
        return {"files": 0, "bytes": 0, "problems": [problem]}
    try:
        listed = marker.read(file.read_text(encoding="utf-8", errors="replace"))
    except ValueError as exc:
        return {"files": 0, "bytes": 0, "problems": [f"{marker.MARKER}: {exc}"]}
    problems = changed_files(real, listed)
    size = sum((identity(real / rel) or [0])[0] for rel in listed)
    if strict:
        for rel in files_of(folder):
            if rel not in listed and rel not in (marker.MARKER, f"{marker.MARKER}.asc"):
                problems.append(f"{rel}: is not one of the files published")
    elif not problems:
        problems += index_problems(real)
    return {"files": len(listed), "bytes": size, "problems": problems}


def files_of(folder: str) -> list[str]:
    """Regular files below a folder, relative to it, sorted."""
    files = []
    for where, folders, names in os.walk(folder):
        folders.sort()
        for file in names:
            path = os.path.join(where, file)
            if not os.path.islink(path):
                files.append(os.path.relpath(path, folder))
    return sorted(files)


def link(source: str, target: str) -> None:
    """Give a file of the store its published name, as a hard link: a generation costs no space."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.link(source, target)


def copy_tree(source: str, target: str) -> None:
    """Fill a staged generation with what another folder has; hard links where that is possible.

    source
        The folder.
    target
        The staged generation, empty.
    """
    for where, folders, names in os.walk(source):
        here = Path(target, os.path.relpath(where, source))
        here.mkdir(exist_ok=True)
        for entry in [*folders, *names]:
            path = os.path.join(where, entry)
            if os.path.islink(path):
                os.symlink(os.readlink(path), here / entry)
            elif entry in names:
                try:
                    os.link(path, here / entry)
                except OSError:
                    shutil.copy2(path, here / entry)


def flush(folder: str) -> None:
    """Have the file system of a folder write out all that it holds back."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise CommandFailed(f"{folder}: cannot be written out: {os.strerror(code)}")
    finally:
        os.close(fd)
