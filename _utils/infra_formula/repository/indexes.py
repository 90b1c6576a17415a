"""Index packages: apt's Packages and Release files, yum's repodata.

apt-ftparchive and createrepo_c read the packages, new ones only, on all processors at once: the
paragraph that apt-ftparchive wrote about a package is cached under the identity of the file (inode,
size, modification time), which a hard link shares. createrepo_c starts from its last result.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import gzip
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from infra_formula.errors import CommandFailed

_SCHEMA = """
create table if not exists paragraph (
  ino integer, size integer, mtime integer, text text not null,
  primary key (ino, size, mtime)
) without rowid
"""
_COMPRESSION = 6
_SHA256_ALONE = [
    argument
    for kind in ("MD5", "SHA1", "SHA512")
    for argument in ("-o", f"APT::FTPArchive::{kind}=false")
]
_FILENAME = re.compile(rb"(?m)^Filename: \./([0-9]+)\.deb\n?")


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def paragraphs(root: str, paths: list[str], cache: str, workers: int = 0) -> dict[str, str]:
    """What apt has to know about each package.

    root
        Directory that the paths are relative to.
    paths
        Packages (``.deb``).
    cache
        Database of what is already known; made where it is missing.
    workers
        How many apt-ftparchive at once; 0 for one per processor.

    Returns path → paragraph of a Packages file, with ``Filename`` set to the path.

    Raises CommandExecutionError naming the packages that apt-ftparchive cannot read.
    """
    identity = _identities(root, paths)
    with _database(cache) as db:
        known = {
            (ino, size, mtime): text
            for ino, size, mtime, text in db.execute("select ino, size, mtime, text from paragraph")
        }
        new = {identity[path]: path for path in paths if identity[path] not in known}
        if new:
            sizes = {path: size for (_ino, size, _mtime), path in new.items()}
            result = _read_packages(root, sizes, workers or processors())
            fresh = {key: result[path] for key, path in new.items()}
            known.update(fresh)
            with db:
                db.executemany(
                    "insert or replace into paragraph values (?, ?, ?, ?)",
                    [(*key, text) for key, text in fresh.items()],
                )
        return {path: f"{known[identity[path]]}Filename: {path}\n" for path in paths}


def forget(root: str, paths: list[str], cache: str) -> int:
    """Drop from the cache what is about none of the packages given; returns how many were dropped.

    root, paths, cache
        See :func:`paragraphs`.
    """
    keep = set(_identities(root, paths).values())
    with _database(cache) as db:
        gone = set(db.execute("select ino, size, mtime from paragraph")) - keep
        with db:
            db.executemany("delete from paragraph where ino=? and size=? and mtime=?", gone)
    return len(gone)


def _identities(root: str, paths: list[str]) -> dict[str, tuple[int, int, int]]:
    """Path → inode, size and modification time of the file."""
    identities = {}
    for path in paths:
        st = os.stat(f"{root}/{path}")
        identities[path] = (st.st_ino, st.st_size, st.st_mtime_ns)
    return identities


@contextlib.contextmanager
def _database(path: str) -> Iterator[sqlite3.Connection]:
    try:
        db = _open_database(path)
    except sqlite3.DatabaseError:
        # A cache that cannot be read is no loss: it is made again.
        Path(path).unlink(missing_ok=True)
        db = _open_database(path)
    try:
        yield db
    finally:
        db.close()


def _open_database(path: str) -> sqlite3.Connection:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=60)
    try:
        db.execute(_SCHEMA)
        db.execute("select count(*) from paragraph").fetchone()
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def _read_packages(root: str, sizes: dict[str, int], workers: int) -> dict[str, str]:
    """Let apt-ftparchive read packages, several at once; path → paragraph without Filename.

    sizes
        Path → bytes.
    """
    if not shutil.which("apt-ftparchive"):
        raise CommandFailed("apt-ftparchive (package apt-utils) is not installed")
    shares: list[list[str]] = [[] for _ in range(max(1, min(workers, len(sizes))))]
    loads = [0] * len(shares)
    for path in sorted(sizes, key=lambda p: -sizes[p]):
        least = loads.index(min(loads))
        shares[least].append(path)
        loads[least] += sizes[path]
    stage = tempfile.mkdtemp(prefix=".index-", dir=root)
    try:
        with concurrent.futures.ThreadPoolExecutor(len(shares)) as pool:
            jobs = [
                pool.submit(_read_share, root, f"{stage}/{number}", share)
                for number, share in enumerate(shares)
            ]
            result: dict[str, str] = {}
            complaints = []
            for job in jobs:
                texts, complaint = job.result()
                result.update(texts)
                complaints.append(complaint)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    unread = [path for path in sizes if path not in result]
    if unread:
        raise CommandFailed(
            f"apt-ftparchive cannot read {', '.join(sorted(unread))}:\n"
            + "\n".join(filter(None, complaints))
        )
    return result


def _read_share(root: str, folder: str, share: list[str]) -> tuple[dict[str, str], str]:
    # Links with names of our own: apt-ftparchive walks a directory, it does not take a list.
    os.mkdir(folder)
    for number, path in enumerate(share):
        os.link(f"{root}/{path}", f"{folder}/{number}.deb")
    # Through a file: it writes each paragraph by itself, and each would be a read from a pipe.
    with open(f"{folder}.out", "w+b") as out:
        done = subprocess.run(
            ["apt-ftparchive", "-q", *_SHA256_ALONE, "packages", "."],  # noqa: S607
            cwd=folder,
            env={**os.environ, "APT_CONFIG": "/dev/null", "LC_ALL": "C.UTF-8"},
            stdout=out,
            stderr=subprocess.PIPE,
            check=False,
        )
        out.seek(0)
        blocks = out.read().split(b"\n\n")
    texts = {}
    for block in blocks:
        match = _FILENAME.search(block)
        if match:
            rest = block[: match.start()] + block[match.end() :]
            texts[share[int(match[1])]] = _decoded(rest.strip(b"\n") + b"\n")
    complaint = done.stderr.decode(errors="replace").strip()
    for number, path in enumerate(share):
        complaint = complaint.replace(f"./{number}.deb", path)
    return texts, complaint


def _decoded(paragraph: bytes) -> str:
    """A paragraph as text; a control file that is not UTF-8 is an old one, in Latin-1."""
    try:
        return paragraph.decode("utf-8")
    except UnicodeDecodeError:
        return paragraph.decode("latin-1")


def field(paragraph: str, name: str) -> str:
    """A field of a paragraph (its first line); empty where it has none."""
    for line in paragraph.splitlines():
        if line.startswith(f"{name}: "):
            return line[len(name) + 2 :].strip()
    return ""


def write_suite(
    root: str,
    folder: str,
    fields: dict[str, str],
    components: dict[str, dict[str, str]],
    before: str = "",
) -> list[str]:
    """Write the index of one suite, with a Release file and by-hash twins.

    root
        Directory of the repository.
    folder
        Folder of the suite below root, e.g. ``dists/bookworm``; ``.`` for a flat repository.
    fields
        Fields of the Release file: ``Origin``, ``Suite``, ``Codename`` …
    components
        Index path below folder, e.g. ``main/binary-amd64`` (``.`` for a flat one) → path of a
        package → its paragraph.
    before
        The repository as it was published before: its by-hash files stay for one generation more,
        so that a client in the middle of an update finds the files that its index lists.

    Returns the paths written, relative to root; the Release file is the first. Not signed yet.
    """
    suite = Path(root, folder)
    sums: dict[str, tuple[int, str]] = {}
    written = []
    for component, packages in components.items():
        text = "\n".join(packages[path] for path in _order(packages))
        raw = text.encode("utf-8", "surrogateescape")
        target = suite / component
        target.mkdir(parents=True, exist_ok=True)
        former = Path(before, folder, component) if before else None
        packed = _compressed(raw, former)
        for name, data in (("Packages", raw), ("Packages.gz", packed)):
            path = target / name
            path.write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            rel = name if component == "." else f"{component}/{name}"
            sums[rel] = (len(data), digest)
            twin = target / "by-hash" / "SHA256" / digest
            twin.parent.mkdir(parents=True, exist_ok=True)
            if not twin.exists():
                os.link(path, twin)
            written += [path, twin]
        written += _carry_over(former, target)
    release = suite / "Release"
    release.write_text(release_text(fields, sums, time.time()), encoding="utf-8")
    return [os.path.relpath(path, root) for path in dict.fromkeys([release, *written])]


def _compressed(raw: bytes, former: Path | None) -> bytes:
    """An index compressed; that of the former repository, if it is the same."""
    if former is not None:
        with contextlib.suppress(OSError, EOFError, zlib.error):
            packed = (former / "Packages.gz").read_bytes()
            if gzip.decompress(packed) == raw:
                return packed
    # No time stamp in it: the same packages give the same bytes.
    return gzip.compress(raw, compresslevel=_COMPRESSION, mtime=0)


def _order(packages: dict[str, str]) -> list[str]:
    return sorted(packages, key=lambda path: (path.rpartition("/")[2], path))


def _carry_over(old: Path | None, target: Path) -> list[Path]:
    """Link the index files that the former Release lists, but not those of its predecessor."""
    carried = []
    for name in ("Packages", "Packages.gz"):
        if old is not None and (old / name).is_file():
            digest = hashlib.sha256((old / name).read_bytes()).hexdigest()
            twin = target / "by-hash" / "SHA256" / digest
            if not twin.exists():
                os.link(old / name, twin)
            carried.append(twin)
    return carried


def release_text(fields: dict[str, str], sums: dict[str, tuple[int, str]], now: float) -> str:
    """A Release file.

    fields
        Its fields, in order.
    sums
        Path relative to it → size in bytes and SHA-256.
    now
        Seconds since the epoch.
    """
    lines = [f"{key}: {value}" for key, value in fields.items()]
    lines.append(time.strftime("Date: %a, %d %b %Y %H:%M:%S UTC", time.gmtime(now)))
    lines += ["Acquire-By-Hash: yes", "SHA256:"]
    lines += [f" {digest} {size:>16} {path}" for path, (size, digest) in sorted(sums.items())]
    return "\n".join(lines) + "\n"


def complete_flat(root: str, name: str) -> list[str]:
    """Write what is missing of a flat apt index: Packages, Packages.gz and the Release file.

    root
        Directory with a Packages file, in one of the two forms.
    name
        Origin and label.

    Returns the files written. An index with a Release file stays as it is.
    """
    base = Path(root)
    plain, packed = base / "Packages", base / "Packages.gz"
    if any((base / file).exists() for file in ("Release", "InRelease")):
        return []
    written = []
    if plain.is_file() and not packed.exists():
        packed.write_bytes(gzip.compress(plain.read_bytes(), compresslevel=_COMPRESSION, mtime=0))
        written.append(packed.name)
    elif packed.is_file() and not plain.exists():
        try:
            plain.write_bytes(gzip.decompress(packed.read_bytes()))
        except (OSError, EOFError, zlib.error) as exc:
            raise CommandFailed(f"{packed}: is damaged: {exc}") from exc
        written.append(plain.name)
    if not plain.is_file():
        return written
    sums = {}
    for path in (plain, packed):
        data = path.read_bytes()
        sums[path.name] = (len(data), hashlib.sha256(data).hexdigest())
    fields = {"Origin": name, "Label": name, "Description": f"local repository {name}"}
    text = release_text(fields, sums, time.time()).replace("Acquire-By-Hash: yes\n", "")
    (base / "Release").write_text(text, encoding="utf-8")
    return [*written, "Release"]


def write_repodata(
    root: str, folder: str, cache: str, before: str = "", workers: int = 0
) -> list[str]:
    """Write the repodata of one yum repository.

    root, folder
        Directory of the whole repository, and of this one below it.
    cache
        Directory for the last result, which createrepo_c starts from.
    before
        The previous repository: its repodata files stay for one generation more.
    workers
        Threads of createrepo_c; 0 for one per processor.

    Returns the paths written, relative to root. Not signed yet.
    """
    if not shutil.which("createrepo_c"):
        raise CommandFailed("createrepo_c (package createrepo-c) is not installed")
    base = Path(root, folder)
    base.mkdir(parents=True, exist_ok=True)
    last = Path(cache)
    known = (last / "repodata" / "repomd.xml").is_file()
    done = _createrepo(base, last if known else None, workers or processors())
    if done.returncode and known:
        # The last result may have been damaged; it is only there to save time.
        shutil.rmtree(base / "repodata", ignore_errors=True)
        done = _createrepo(base, None, workers or processors())
    complaints = done.stderr.strip()
    if done.returncode or "Cannot read package" in complaints:
        raise CommandFailed(f"createrepo_c cannot index {base}:\n{complaints}")
    fresh = last.with_name(f"{last.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    _link_tree(base / "repodata", fresh / "repodata")
    shutil.rmtree(last, ignore_errors=True)
    fresh.rename(last)
    if before and Path(before, folder, "repodata").is_dir():
        _keep_former(Path(before, folder, "repodata"), base / "repodata")
    return [os.path.relpath(path, root) for path in sorted((base / "repodata").iterdir())]


def _createrepo(base: Path, last: Path | None, workers: int) -> subprocess.CompletedProcess[str]:
    argv = [
        "createrepo_c",
        "--quiet",
        "--no-database",
        "--checksum=sha256",
        "--general-compress-type=gz",
        "--error-exit-val",
        f"--workers={workers}",
    ]
    if last is not None:
        argv += ["--update", f"--update-md-path={last}"]
    return subprocess.run([*argv, str(base)], capture_output=True, text=True, check=False)


def _link_tree(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for path in source.iterdir():
        os.link(path, target / path.name)


def _keep_former(old: Path, new: Path) -> None:
    """Link the files that the former repomd.xml lists, but not those of its predecessor."""
    text = (old / "repomd.xml").read_text(encoding="utf-8") if (old / "repomd.xml").exists() else ""
    for path in old.iterdir():
        if path.name in text and not (new / path.name).exists():
            os.link(path, new / path.name)
