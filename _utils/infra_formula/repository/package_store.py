"""The store of verified packages: each once, under its SHA-256; releases hold hard links."""

from __future__ import annotations

from pathlib import Path

from infra_formula.repository import contents, releases


def path(store: str | Path, sha256: str) -> Path:
    """Where the store keeps content, by its SHA-256."""
    return Path(store, sha256[:2], sha256)


def present(home: str, name: str, items: dict[str, int]) -> list[str]:
    """Which contents the store has, whole.

    items
        SHA-256 → size in bytes (0 for unknown).

    Returns those that it has. A file that is not as it was when it was put there is read; where its
    content is wrong, it is removed.
    """
    folder = Path(releases.work(home, name))
    notes = contents.read_json(str(folder / "cache" / "store.json"))
    present, doubtful = [], {}
    for digest, size in items.items():
        rel = f"{digest[:2]}/{digest}"
        identity = contents.identity(folder / "store" / rel)
        if identity is None:
            continue
        if size and identity[0] != size:
            (folder / "store" / rel).unlink()
        elif notes.get(digest) == identity:
            present.append(digest)
        else:
            doubtful[rel] = digest
    wrong = {
        problem.partition(":")[0] for problem in contents.changed_files(folder / "store", doubtful)
    }
    for rel, digest in doubtful.items():
        if rel in wrong:
            (folder / "store" / rel).unlink(missing_ok=True)
        else:
            present.append(digest)
    return present


def record(home: str, name: str, digests: list[str]) -> None:
    """Note what the store has, so that it need not be read again to know that it is whole."""
    folder = Path(releases.work(home, name))
    contents.flush(str(folder))
    notes = contents.read_json(str(folder / "cache" / "store.json"))
    for digest in digests:
        identity = contents.identity(folder / "store" / digest[:2] / digest)
        if identity is not None:
            notes[digest] = identity
    contents.write_json(str(folder / "cache" / "store.json"), notes)


def sweep(home: str, name: str) -> int:
    """Remove from the store what no generation has any more; returns the bytes that freed."""
    folder = Path(releases.work(home, name))
    notes = contents.read_json(str(folder / "cache" / "store.json"))
    freed = 0
    for path in (folder / "store").glob("??/*"):
        st = path.stat()
        if st.st_nlink == 1:
            path.unlink()
            freed += st.st_size
            notes.pop(path.name, None)
    for path in (folder / "partial").iterdir():
        path.unlink()
    contents.write_json(str(folder / "cache" / "store.json"), notes)
    return freed
