"""What infra-formula computes, compares and writes: plain Python below thin Salt modules.

``_modules``, ``_states`` and ``_runners`` import it; Salt's ``saltutil.sync_utils`` brings it to a
minion. It raises the exceptions of :mod:`infra_formula.errors`, runs programs by
:mod:`infra_formula.process`, and reaches Salt through :class:`infra_formula.minion.Minion` alone.

A process that has imported the library keeps it, whatever is synced later. So each file that Salt
loads calls :func:`current` before it imports anything else of the library.
"""

from __future__ import annotations

import os
import sys


def _on_disk() -> dict[str, tuple[int, int, int, int] | None]:
    stats: dict[str, tuple[int, int, int, int] | None] = {}
    for folder, folders, files in os.walk(os.path.dirname(__file__)):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            path = os.path.join(folder, name)
            try:
                kind = os.stat(path)
            except OSError:  # a sync replaces it at this moment
                stats[path] = None
            else:
                stats[path] = (kind.st_ino, kind.st_size, kind.st_mtime_ns, kind.st_ctime_ns)
    return stats


_LOADED = _on_disk()


def loaded_files() -> list[tuple[str, tuple[int, int, int, int] | None]]:
    """Files of the library as they were when it was imported: inode, size and times of each."""
    return sorted(_LOADED.items())


def current() -> None:
    """Forget the library if its files have changed; the next import takes them from disk."""
    if _on_disk() != _LOADED:
        for name in [n for n in sys.modules if n.partition(".")[0] == __name__]:
            sys.modules.pop(name, None)
