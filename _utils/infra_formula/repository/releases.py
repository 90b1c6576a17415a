"""Generations of a published repository: assembled beside, switched in by one rename, checked.

Below ``<home>/.<name>``::

    store/ab/<sha256>       each package once; generations hold hard links
    partial/                what an interrupted fetch had got
    generations/<id>/       what is, or was, published
    seals/<id>.json         size, time and inode of each file when it was published
    previous                symbolic link to the generation for a rollback
    cache/                  what the index tools have learned

``<home>/<name>`` is a symbolic link to one generation; replacing it is one rename. A directory that
somebody else put there (Pigsty's offline package, unpacked) is taken as it is.

Each complete repository holds ``repo_complete``: the SHA-256 of every file, in the format of
``sha256sum -c``, written last.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from pathlib import Path
from typing import Any

from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic, renameat2

MARKER = "repo_complete"
INFO = "repo_info.json"
STAGE = ".new-"

_LINE = re.compile(r"^\\?([0-9a-f]{32}|[0-9a-f]{64}) [ *](.+)$")


def work(home: str, name: str) -> str:
    """The folder for everything that is not published; made where it is missing."""
    base = Path(home).resolve()
    folder = base / f".{name}"
    for path in (base, folder, folder / "generations"):
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    for part in ("store", "partial", "seals", "cache"):
        (folder / part).mkdir(exist_ok=True, mode=0o700)
    return str(folder)


def state(home: str, name: str) -> dict[str, Any]:
    """What is published, as far as can be told without reading the packages.

    home, name
        ``repo_home`` and ``repo_name``.

    Returns ``kind`` (``none``; ``ours``: built or unpacked by us; ``foreign``: a directory that
    somebody else made), ``origin`` (``built``, ``unpacked``, ``found``), ``path`` (the real
    directory, empty for none), ``complete`` (there is a marker, and the files it lists are there),
    ``problems`` (what is not as it was published), ``info`` (what we noted when we built it) and
    ``previous`` (path, empty for none).
    """
    base = Path(home).resolve()
    live = base / name
    folder = base / f".{name}"
    real = live.resolve() if live.exists() else None
    result: dict[str, Any] = {
        "kind": "none",
        "origin": "",
        "path": "",
        "complete": False,
        "problems": [],
        "info": {},
        "previous": "",
    }
    former = folder / "previous"
    if former.exists():
        result["previous"] = str(former.resolve())
    if real is None or not real.is_dir() or (not live.is_symlink() and not any(real.iterdir())):
        return result
    ours = real.parent == folder / "generations" and (real / INFO).is_file()
    origin = "built" if ours else "found"
    if (folder / "seals" / f"{real.name}.origin").exists():
        note = read_json(str(folder / "seals" / f"{real.name}.origin"))
        # One that was found, and signed here, is noted as well.
        origin = "unpacked" if note.get("archive") else "found"
    result.update(kind="ours" if ours else "foreign", path=str(real), origin=origin)
    if ours:
        result["info"] = read_json(str(real / INFO))
    if not (real / MARKER).is_file():
        result["problems"] = [f"{MARKER}: missing, so the repository is not complete"]
        return result
    try:
        listed = read_marker((real / MARKER).read_text(encoding="utf-8", errors="replace"))
    except ValueError as exc:
        result["problems"] = [f"{MARKER}: {exc}"]
        return result
    if ours and not listed:
        result["problems"] = [f"{MARKER}: empty, so nobody can tell whether the rest is complete"]
        return result
    result["problems"] = _quick_problems(real, listed, folder / "seals" / f"{real.name}.json")
    if not ours:
        result["problems"] += _foreign_problems(real)
    result["complete"] = not result["problems"]
    return result


def _quick_problems(real: Path, listed: dict[str, str], seal_file: Path) -> list[str]:
    """Compare with the seal: a file of the same size, time and inode was not written to."""
    seal = read_json(str(seal_file))
    problems = []
    doubtful = {}
    for rel, digest in listed.items():
        identity = _identity(real / rel)
        if identity is None:
            problems.append(f"{rel}: missing")
        elif seal and seal.get(rel) != identity:
            doubtful[rel] = digest
    return problems + _wrong(real, doubtful)


def _foreign_problems(real: Path) -> list[str]:
    """Pigsty's marker lists packages only; without an index they cannot be installed."""
    index = ("Packages", "Packages.gz", "repodata/repomd.xml")
    if any((real / path).is_file() for path in index) or (real / "dists").is_dir():
        return []
    return [f"no index ({', '.join(index)}) in it"]


def read_marker(text: str) -> dict[str, str]:
    """What a marker lists: path → checksum (SHA-256, or MD5 in those of Pigsty before 4.5).

    Raises ValueError for what is no such list.
    """
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        match = _LINE.match(line)
        rel = match.group(2).removeprefix("./") if match else ""
        if not match or rel.startswith("/") or ".." in rel.split("/"):
            raise ValueError(f"line {number} is no checksum of a file in it: {line[:60]!r}")
        found[rel] = match.group(1)
    return found


def marker_text(sums: dict[str, str]) -> str:
    """A marker, as :func:`read_marker` and ``sha256sum -c`` read it."""
    return "".join(f"{digest}  {rel}\n" for rel, digest in sorted(sums.items()))


def _identity(path: Path) -> list[int] | None:
    try:
        st = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [st.st_size, st.st_mtime_ns, st.st_ino] if stat.S_ISREG(st.st_mode) else None


def read_json(path: str) -> dict[str, Any]:
    """What was noted in a file; empty where there is none, or nothing that can be read."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
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


def _wrong(root: Path, listed: dict[str, str]) -> list[str]:
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


def verify(home: str, name: str) -> dict[str, Any]:
    """Read every file of the published repository and compare it with the marker.

    Returns ``files`` (how many are listed), ``bytes`` (read) and ``problems``, each naming a file:
    missing, changed, or not listed.
    """
    live = Path(home).resolve() / name
    if not live.is_dir():
        return {"files": 0, "bytes": 0, "problems": [f"{live}: there is no repository"]}
    real = live.resolve()
    return verify_folder(str(real), strict=(real / INFO).is_file())


def verify_folder(folder: str, strict: bool = True) -> dict[str, Any]:
    """As :func:`verify`, for any folder.

    strict
        Complain about files that are not listed, too.
    """
    real = Path(folder)
    marker = real / MARKER
    if not marker.is_file():
        problem = f"{MARKER}: missing, so the repository is not complete"
        return {"files": 0, "bytes": 0, "problems": [problem]}
    try:
        listed = read_marker(marker.read_text(encoding="utf-8", errors="replace"))
    except ValueError as exc:
        return {"files": 0, "bytes": 0, "problems": [f"{MARKER}: {exc}"]}
    problems = _wrong(real, listed)
    size = sum((_identity(real / rel) or [0])[0] for rel in listed)
    if strict:
        for rel in files_of(folder):
            if rel not in listed and rel not in (MARKER, f"{MARKER}.asc"):
                problems.append(f"{rel}: is not one of the files published")
    elif not problems:
        problems += _foreign_problems(real)
    return {"files": len(listed), "bytes": size, "problems": problems}


def files_of(folder: str) -> list[str]:
    """Regular files below a folder, relative to it, sorted."""
    found = []
    for where, folders, names in os.walk(folder):
        folders.sort()
        for file in names:
            path = os.path.join(where, file)
            if not os.path.islink(path):
                found.append(os.path.relpath(path, folder))
    return sorted(found)


def stage(home: str, name: str) -> str:
    """A new, empty folder to assemble a generation in; removes what killed runs left."""
    generations = Path(work(home, name)) / "generations"
    for path in generations.glob(f"{STAGE}*"):
        shutil.rmtree(path)
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    folder = generations / f"{STAGE}{moment}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o755)
    return str(folder)


def link(source: str, target: str) -> None:
    """Give a file of the store its published name, as a hard link: a generation costs no space."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    os.link(source, target)


def twin(source: str, target: str) -> None:
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


def seal(folder: str, sums: dict[str, str], signature: str = "") -> None:
    """Write the marker, last of all, after everything else has reached the disk.

    folder
        The staged generation.
    sums
        Path → SHA-256 of every file in it.
    signature
        File with the marker's detached signature, to be put beside it; empty for none.
    """
    base = Path(folder)
    if signature:
        shutil.copyfile(signature, base / f"{MARKER}.asc")
    flush(folder)
    temporary = base / f".{MARKER}"
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(marker_text(sums))
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(base / MARKER)


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


def publish(home: str, name: str, folder: str) -> str:
    """Switch a sealed generation in, and keep the one it takes the place of.

    home, name
        ``repo_home`` and ``repo_name``.
    folder
        The staged generation.

    Returns the path of the generation, under its final name.

    Raises CommandExecutionError; what was published is then published still.
    """
    base = Path(home).resolve()
    generation = Path(folder).with_name(Path(folder).name.removeprefix(STAGE))
    os.rename(folder, generation)
    write_seal(home, name, str(generation))
    flush(str(generation.parent))
    _point(base, name, generation)
    _drop_old(base, name)
    return str(generation)


def write_seal(home: str, name: str, generation: str) -> None:
    """Note size, time and inode of what a marker lists, to notice later that a file was touched."""
    real = Path(generation)
    listed = read_marker((real / MARKER).read_text(encoding="utf-8", errors="replace"))
    data = {rel: _identity(real / rel) for rel in listed}
    write_json(str(Path(work(home, name)) / "seals" / f"{real.name}.json"), data)


def _point(base: Path, name: str, generation: Path) -> None:
    """Have the published name stand for a generation, in one rename."""
    live = base / name
    folder = base / f".{name}"
    fresh = folder / "next"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(generation, base))
    former = live.resolve() if live.exists() else None
    if live.is_symlink() or not live.exists():
        if former is not None and (former / MARKER).is_file() and former != generation:
            _remember(folder, former)
        os.rename(fresh, live)
    else:
        _replace_directory(folder, live, fresh)
    fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace_directory(folder: Path, live: Path, fresh: Path) -> None:
    """The first time, a real directory may be in the way: somebody else's repository."""
    kept = folder / "generations" / f"found-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    if renameat2.exchange(str(fresh), str(live)):
        # Now `fresh` is the directory, and `live` the link: there was no moment without either.
        os.rename(fresh, kept)
    else:
        os.rename(live, kept)
        os.rename(fresh, live)
    if not any(kept.iterdir()):
        kept.rmdir()
        return
    _remember(folder, kept)


def _remember(folder: Path, generation: Path) -> None:
    fresh = folder / "previous.next"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(generation, folder))
    os.rename(fresh, folder / "previous")


def _drop_old(base: Path, name: str) -> None:
    """Remove generations that are neither published nor the previous one."""
    folder = base / f".{name}"
    keep = {(base / name).resolve(), (folder / "previous").resolve()}
    for path in (folder / "generations").iterdir():
        if path.resolve() not in keep:
            shutil.rmtree(path)
            for suffix in ("json", "origin"):
                (folder / "seals" / f"{path.name}.{suffix}").unlink(missing_ok=True)


def rollback(home: str, name: str) -> dict[str, str]:
    """Publish the previous generation again; the one published now becomes the previous one.

    Returns ``old`` and ``new`` (paths).

    Raises CommandExecutionError where there is none, or it is damaged.
    """
    base = Path(home).resolve()
    folder = base / f".{name}"
    former = folder / "previous"
    if not former.exists() or former.resolve() == (base / name).resolve():
        raise CommandFailed(f"{base / name}: there is no previous repository to go back to")
    target = former.resolve()
    checked = verify_folder(str(target), strict=(target / INFO).is_file())
    if checked["problems"]:
        raise CommandFailed(
            f"{base / name}: the previous repository is damaged, so the present one stays:\n"
            + "\n".join(checked["problems"])
        )
    now = (base / name).resolve()
    _point(base, name, target)
    return {"old": str(now), "new": str(target)}


def distrust(home: str, name: str, rels: list[str]) -> None:
    """Have published files read again, whatever their size and time say, and fetched again.

    rels
        Paths of files found changed.
    """
    folder = Path(work(home, name))
    real = (Path(home).resolve() / name).resolve()
    seal_file = folder / "seals" / f"{real.name}.json"
    sealed = read_json(str(seal_file))
    if sealed:
        write_json(str(seal_file), {**sealed, **{rel: None for rel in rels if rel in sealed}})
    try:
        listed = read_marker((real / MARKER).read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return
    for rel in rels:
        digest = listed.get(rel, "")
        if len(digest) == 64:
            (folder / "store" / digest[:2] / digest).unlink(missing_ok=True)


def unmark(folder: str, problems: list[str]) -> str:
    """Take the marker off a damaged repository, so that nobody takes it for a complete one.

    folder
        The repository's real directory.
    problems
        What is wrong with it; kept in ``repo_damaged`` in the marker's place.

    Returns the path of ``repo_damaged``.
    """
    base = Path(folder)
    damaged = base / "repo_damaged"
    damaged.write_text("\n".join(problems) + "\n", encoding="utf-8")
    if (base / MARKER).exists():
        os.replace(base / MARKER, base / f"{MARKER}.damaged")
    return str(damaged)


# -- the store -----------------------------------------------------------------------------------


def stored(home: str, name: str, items: dict[str, int]) -> list[str]:
    """Which contents the store has, whole.

    items
        SHA-256 → size in bytes (0 for unknown).

    Returns those that it has. A file that is not as it was when it was put there is read; where its
    content is wrong, it is removed.
    """
    folder = Path(work(home, name))
    notes = read_json(str(folder / "cache" / "store.json"))
    present, doubtful = [], {}
    for digest, size in items.items():
        rel = f"{digest[:2]}/{digest}"
        identity = _identity(folder / "store" / rel)
        if identity is None:
            continue
        if size and identity[0] != size:
            (folder / "store" / rel).unlink()
        elif notes.get(digest) == identity:
            present.append(digest)
        else:
            doubtful[rel] = digest
    wrong = {problem.partition(":")[0] for problem in _wrong(folder / "store", doubtful)}
    for rel, digest in doubtful.items():
        if rel in wrong:
            (folder / "store" / rel).unlink(missing_ok=True)
        else:
            present.append(digest)
    return present


def note_store(home: str, name: str, digests: list[str]) -> None:
    """Note what the store has, so that it need not be read again to know that it is whole."""
    folder = Path(work(home, name))
    flush(str(folder))
    notes = read_json(str(folder / "cache" / "store.json"))
    for digest in digests:
        identity = _identity(folder / "store" / digest[:2] / digest)
        if identity is not None:
            notes[digest] = identity
    write_json(str(folder / "cache" / "store.json"), notes)


def sweep(home: str, name: str) -> int:
    """Remove from the store what no generation has any more; returns the bytes that freed."""
    folder = Path(work(home, name))
    notes = read_json(str(folder / "cache" / "store.json"))
    freed = 0
    for path in (folder / "store").glob("??/*"):
        st = path.stat()
        if st.st_nlink == 1:
            path.unlink()
            freed += st.st_size
            notes.pop(path.name, None)
    for path in (folder / "partial").iterdir():
        path.unlink()
    write_json(str(folder / "cache" / "store.json"), notes)
    return freed
