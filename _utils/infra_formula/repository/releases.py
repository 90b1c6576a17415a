"""Generations of a published repository: assembled beside, switched in by one rename, checked.

Below ``<home>/.<name>``::

    store/ab/<sha256>       each package once; generations hold hard links
    partial/                what an interrupted fetch had got
    generations/<id>/       what is, or was, published
    seals/<id>.json         size, time and inode of each file when it was published
    previous                symbolic link to the generation for a rollback
    cache/                  what the index tools have learned

``<home>/<name>`` is a symbolic link to one generation; replacing it is one rename. A directory that
this formula does not manage (Pigsty's offline package, unpacked) is left as it is.

Each complete repository holds ``repo_complete``: the SHA-256 of every file, in the format of
``sha256sum -c``, written last.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra_formula.errors import CommandFailed
from infra_formula.fileset import renameat2
from infra_formula.repository import contents, marker

STAGE = ".new-"


def work(home: str, name: str) -> str:
    """The folder for everything that is not published; made where it is missing."""
    base = Path(home).resolve()
    folder = base / f".{name}"
    for path in (base, folder, folder / "generations"):
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
    for part in ("store", "partial", "seals", "cache"):
        (folder / part).mkdir(exist_ok=True, mode=0o700)
    return str(folder)


def refuse_mounts(home: str, name: str) -> None:
    """Raise CommandFailed if a file system is mounted where a rename or a hard link has to work."""
    base = Path(home).resolve()
    live = base / name
    if os.path.ismount(live):
        raise CommandFailed(
            f"{live} is a mount point, so it cannot be replaced by another generation in one"
            f" rename. Mount the file system at {base} instead (repo_home, or a folder above it)"
        )
    folder = base / f".{name}"
    for part in ("store", "partial", "generations"):
        path = folder / part
        if path.exists() and path.stat().st_dev != folder.stat().st_dev:
            raise CommandFailed(
                f"{path} is on another file system than {folder}, so it cannot share files with it."
                f" Mount one file system at {base}"
            )


def state(home: str, name: str) -> dict[str, Any]:
    """What is published, without reading the packages.

    home, name
        ``repo_home`` and ``repo_name``.

    Returns ``kind`` (``none``; ``ours``: built or unpacked by us; ``foreign``: an unmanaged
    directory), ``origin`` (``built``, ``unpacked``, ``found``), ``path`` (the real
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
    ours = real.parent == folder / "generations" and (real / marker.INFO).is_file()
    origin = "built" if ours else "found"
    if (folder / "seals" / f"{real.name}.origin").exists():
        note = contents.read_json(str(folder / "seals" / f"{real.name}.origin"))
        # One that was found, and signed here, is noted as well.
        origin = "unpacked" if note.get("archive") else "found"
    result.update(kind="ours" if ours else "foreign", path=str(real), origin=origin)
    if ours:
        result["info"] = contents.read_json(str(real / marker.INFO))
    if not (real / marker.MARKER).is_file():
        result["problems"] = [f"{marker.MARKER}: missing, so the repository is not complete"]
        return result
    try:
        listed = marker.read((real / marker.MARKER).read_text(encoding="utf-8", errors="replace"))
    except ValueError as exc:
        result["problems"] = [f"{marker.MARKER}: {exc}"]
        return result
    if ours and not listed:
        result["problems"] = [
            f"{marker.MARKER}: empty, so it is unknown whether the rest is complete"
        ]
        return result
    result["problems"] = _quick_problems(real, listed, folder / "seals" / f"{real.name}.json")
    if not ours:
        result["problems"] += contents.index_problems(real)
    result["complete"] = not result["problems"]
    return result


def _quick_problems(real: Path, listed: dict[str, str], seal_file: Path) -> list[str]:
    """Compare with the seal: a file of the same size, time and inode was not written to."""
    seal = contents.read_json(str(seal_file))
    problems = []
    doubtful = {}
    for rel, digest in listed.items():
        identity = contents.identity(real / rel)
        if identity is None:
            problems.append(f"{rel}: missing")
        elif seal and seal.get(rel) != identity:
            doubtful[rel] = digest
    return problems + contents.changed_files(real, doubtful)


def verify(home: str, name: str) -> dict[str, Any]:
    """Read every file of the published repository and compare it with the marker.

    Returns ``files`` (how many are listed), ``bytes`` (read) and ``problems``, each naming a file:
    missing, changed, or not listed.
    """
    live = Path(home).resolve() / name
    if not live.is_dir():
        return {"files": 0, "bytes": 0, "problems": [f"{live}: there is no repository"]}
    real = live.resolve()
    return contents.verify_folder(str(real), strict=(real / marker.INFO).is_file())


def stage(home: str, name: str) -> str:
    """A new, empty folder to assemble a generation in; removes what killed runs left."""
    generations = Path(work(home, name)) / "generations"
    for path in generations.glob(f"{STAGE}*"):
        shutil.rmtree(path)
    moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    folder = generations / f"{STAGE}{moment}-{secrets.token_hex(3)}"
    folder.mkdir(mode=0o755)
    return str(folder)


@contextlib.contextmanager
def staged(home: str, name: str) -> Iterator[Path]:
    """A folder as of :func:`stage`, which is removed if an error occurs."""
    folder = Path(stage(home, name))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


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
        shutil.copyfile(signature, base / f"{marker.MARKER}.asc")
    contents.flush(folder)
    temporary = base / f".{marker.MARKER}"
    with temporary.open("w", encoding="utf-8") as stream:
        stream.write(marker.text(sums))
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(base / marker.MARKER)


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
    contents.flush(str(generation.parent))
    _point(base, name, generation)
    _remove_old(base, name)
    return str(generation)


def write_seal(home: str, name: str, generation: str) -> None:
    """Note size, time and inode of what a marker lists, to notice later that a file was touched."""
    real = Path(generation)
    listed = marker.read((real / marker.MARKER).read_text(encoding="utf-8", errors="replace"))
    data = {rel: contents.identity(real / rel) for rel in listed}
    contents.write_json(str(Path(work(home, name)) / "seals" / f"{real.name}.json"), data)


def _point(base: Path, name: str, generation: Path) -> None:
    """Have the published name stand for a generation, in one rename."""
    live = base / name
    folder = base / f".{name}"
    fresh = folder / "next"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(generation, base))
    former = live.resolve() if live.exists() else None
    if live.is_symlink() or not live.exists():
        if former is not None and (former / marker.MARKER).is_file() and former != generation:
            _set_previous(folder, former)
        os.rename(fresh, live)
    else:
        _replace_directory(folder, live, fresh)
    fd = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace_directory(folder: Path, live: Path, fresh: Path) -> None:
    """Replace an unmanaged repository, a real directory, the first time."""
    unmanaged = folder / "generations" / f"found-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
    if renameat2.exchange(str(fresh), str(live)):
        # Now `fresh` is the directory, and `live` the link: there was no moment without either.
        os.rename(fresh, unmanaged)
    else:
        os.rename(live, unmanaged)
        os.rename(fresh, live)
    if not any(unmanaged.iterdir()):
        unmanaged.rmdir()
        return
    _set_previous(folder, unmanaged)


def _set_previous(folder: Path, generation: Path) -> None:
    fresh = folder / "previous.next"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(os.path.relpath(generation, folder))
    os.rename(fresh, folder / "previous")


def _remove_old(base: Path, name: str) -> None:
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
    checked = contents.verify_folder(str(target), strict=(target / marker.INFO).is_file())
    if checked["problems"]:
        raise CommandFailed(
            f"{base / name}: the previous repository is damaged, so the present one stays:\n"
            + "\n".join(checked["problems"])
        )
    now = (base / name).resolve()
    _point(base, name, target)
    return {"old": str(now), "new": str(target)}


def invalidate(home: str, name: str, rels: list[str]) -> None:
    """Have published files read again, whatever their size and time say, and fetched again.

    rels
        Paths of files found changed.
    """
    folder = Path(work(home, name))
    real = (Path(home).resolve() / name).resolve()
    seal_file = folder / "seals" / f"{real.name}.json"
    sealed = contents.read_json(str(seal_file))
    if sealed:
        contents.write_json(
            str(seal_file), {**sealed, **{rel: None for rel in rels if rel in sealed}}
        )
    try:
        listed = marker.read((real / marker.MARKER).read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return
    for rel in rels:
        digest = listed.get(rel, "")
        if len(digest) == 64:
            (folder / "store" / digest[:2] / digest).unlink(missing_ok=True)


def mark_incomplete(folder: str, problems: list[str]) -> str:
    """Take the marker off a damaged repository, so that it does not count as complete.

    folder
        The repository's real directory.
    problems
        What is wrong with it; written to ``repo_damaged`` in the marker's place.

    Returns the path of ``repo_damaged``.
    """
    base = Path(folder)
    damaged = base / "repo_damaged"
    damaged.write_text("\n".join(problems) + "\n", encoding="utf-8")
    if (base / marker.MARKER).exists():
        os.replace(base / marker.MARKER, base / f"{marker.MARKER}.damaged")
    return str(damaged)
