"""What a program said of itself, remembered until its file changes.

Only for what lies in the file itself, such as its version and its flags, and only for compiled
programs: a script may call another file, which changes by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import salt.utils.path

from infra_formula import paths
from infra_formula.fileset import atomic

_ELF = b"\x7fELF"


def record_path() -> Path:
    """The record, which root alone writes and reads."""
    return paths.STATE_DIR / "programs.json"


def recall(program: str, question: str) -> str | None:
    """What a program answered to a question; None if it was not asked, or changed since.

    program
        Its name or absolute path.
    question
        Any text, such as ``--help``.
    """
    known = _record().get(program, {})
    if not isinstance(known, dict) or known.get("file") != _identity(program):
        return None
    answer = known.get("answers", {}).get(question)
    return answer if isinstance(answer, str) else None


def remember(program: str, question: str, answer: str) -> None:
    """Remember what a program answered, if it is compiled and the formula was applied here."""
    identity = _identity(program)
    if identity is None or not paths.STATE_DIR.is_dir():
        return
    record = _record()
    known = record.get(program)
    answers = known["answers"] if isinstance(known, dict) and known.get("file") == identity else {}
    record[program] = {"file": identity, "answers": {**answers, question: answer}}
    with contextlib.suppress(OSError):  # it is asked again then
        atomic.write(record_path(), json.dumps(record, indent=1, sort_keys=True) + "\n")


def _record() -> dict[str, Any]:
    try:
        data = json.loads(record_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _identity(program: str) -> list[int | str] | None:
    """What changes with a program's file; None if it is missing, or no compiled program."""
    location = salt.utils.path.which(program)
    if not location:
        return None
    path = os.path.realpath(location)
    try:
        with open(path, "rb") as stream:
            if stream.read(len(_ELF)) != _ELF:
                return None
            status = os.fstat(stream.fileno())
    except OSError:
        return None
    return [path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]
