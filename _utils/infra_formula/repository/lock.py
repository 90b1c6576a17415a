"""One process at a time changes a repository."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra_formula.errors import CommandFailed
from infra_formula.repository import releases


@contextlib.contextmanager
def exclusive(home: str, name: str, what: str) -> Iterator[None]:
    """Lock a repository against other processes, and report a full disk in plain words."""
    # What is published has to be readable for the web server, whatever the minion's own umask is.
    umask = os.umask(0o022)
    try:
        folder = Path(releases.work(home, name))
        with (folder / "lock").open("a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise CommandFailed(
                    f"{Path(home, name)}: {_holder(stream)} is changing it; try again later"
                ) from exc
            stream.truncate(0)
            stream.write(json.dumps({"pid": os.getpid(), "what": what, "since": int(time.time())}))
            stream.flush()
            try:
                yield
            finally:
                stream.truncate(0)
                (folder / "progress").unlink(missing_ok=True)
    except OSError as exc:
        place = f" ({exc.filename})" if exc.filename else ""
        raise CommandFailed(
            f"{Path(home, name)}: {exc.strerror or exc}{place}; what was published is unchanged"
        ) from exc
    finally:
        os.umask(umask)


def _holder(stream: Any) -> str:
    stream.seek(0)
    try:
        held = json.loads(stream.read())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(held["since"]))
        return f"process {held['pid']} ({held['what']}, since {since})"
    except (ValueError, KeyError):
        return "another process"


def activity(folder: Path) -> str:
    lock = folder / "lock"
    if not lock.exists():
        return ""
    with lock.open("r", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return ""
        except BlockingIOError:
            text = _holder(stream)
    progress = folder / "progress"
    with contextlib.suppress(FileNotFoundError):
        text += ": " + progress.read_text(encoding="utf-8")
    return text
