"""Files of variables beside an inventory: ``group_vars/`` and ``host_vars/``.

Ansible reads ``group_vars/NAME``, with the endings ``.yml``, ``.yaml`` and ``.json`` or none, and
all files of a directory of that name, in the order of their names. Hidden files and those that end
in ``~`` are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from infra_formula.pigsty.inventory import VariablesFile

_ENDINGS = ("", ".yml", ".yaml", ".json")
_MAX_SIZE = 4_000_000  # bytes of one file; more is no file of variables


def read(directory: Path) -> tuple[list[VariablesFile], list[str]]:
    """Read the files of variables in the directory of an inventory.

    Returns the files, and one message for each that cannot be read.
    """
    files: list[VariablesFile] = []
    unread: list[str] = []
    for folder in ("group_vars", "host_vars"):
        for name, path in _files(directory / folder):
            relative = str(path.relative_to(directory))
            try:
                if path.stat().st_size > _MAX_SIZE:
                    unread.append(f"{relative}: more than {_MAX_SIZE} bytes")
                    continue
                text = path.read_text(encoding="utf-8")
            except OSError as err:
                unread.append(f"{relative}: {err.strerror}")
            except UnicodeDecodeError:
                unread.append(f"{relative}: expected text in UTF-8")
            else:
                host = name if folder == "host_vars" else None
                group = "" if host else name
                files.append({"path": relative, "text": text, "group": group, "host": host})
    return files, unread


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Group or host, and file; in the order in which Ansible merges those of one name."""
    if not folder.is_dir():
        return
    entries = [path for path in folder.iterdir() if not _is_left_out(path)]
    names = {p.name if p.is_dir() or p.suffix not in _ENDINGS else p.stem for p in entries}
    for name in sorted(names):
        for ending in _ENDINGS:
            path = folder / f"{name}{ending}"
            if path.is_dir() and not ending:
                yield from ((name, inner) for inner in _below(path))
            elif path.is_file():
                yield name, path


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if _is_left_out(path):
            continue
        if path.is_dir():
            yield from _below(path)
        elif path.suffix in _ENDINGS:
            yield path


def _is_left_out(path: Path) -> bool:
    return path.name.startswith(".") or path.name.endswith("~")
