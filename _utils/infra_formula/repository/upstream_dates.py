"""How new the index of each upstream was when it was last verified.

An upstream's signature does not say that its index is the newest. apt refuses an older one, and dnf
does not; neither does without its cache. So the newest date is recorded outside of the cache, and
whoever serves an older index again, with packages of known faults, is refused.
"""

from __future__ import annotations

import calendar
import email.utils
import json
import re
import time
from pathlib import Path
from typing import Any

from infra_formula import redaction
from infra_formula.errors import CommandFailed
from infra_formula.fileset import atomic

log = redaction.logger(__name__)

LIMIT = 500
"""Indexes whose dates are recorded; of more, those that were seen last."""

_FUTURE = 86400  # seconds that a clock may be wrong by
_LARGEST = 2**22  # bytes; an InRelease file has 200 kB
_DATE = re.compile(r"^Date:[ \t]*(.{1,60})$", re.MULTILINE)
_TIMESTAMP = re.compile(r"<timestamp>\s*([0-9]{1,12})(?:\.[0-9]*)?\s*</timestamp>")
_REVISION = re.compile(r"<revision>\s*([0-9]{1,12})\s*</revision>")


def release_date(text: str) -> int | None:
    """Date of an apt index, in seconds since the epoch; None if it has none that can be read.

    text
        An InRelease or Release file.
    """
    match = _DATE.search(text)
    parsed = email.utils.parsedate(match[1]) if match else None
    if parsed is None:
        return None
    try:
        return max(0, calendar.timegm(parsed))
    except (ValueError, OverflowError):
        return None


def repomd_date(text: str) -> int | None:
    """Date of a yum index, in seconds since the epoch; None if it has none.

    text
        A repomd.xml file. Its date is that of its newest part, or its revision.
    """
    stamps = _TIMESTAMP.findall(text) or _REVISION.findall(text)
    return max(map(int, stamps)) if stamps else None


def of_apt(root: Path) -> dict[str, int]:
    """Dates of the signed indexes that apt verified: name of the list → date.

    root
        apt's root, see ``apt.resolve``.
    """
    lists = root / "var/lib/apt/lists"
    dates = {}
    for path in sorted(lists.glob("*Release")):
        is_signed = path.name.endswith("InRelease") or path.with_name(f"{path.name}.gpg").is_file()
        date = release_date(_read(path)) if is_signed else None
        if date is not None:
            dates[path.name.removesuffix("InRelease").removesuffix("Release")] = date
    return dates


def of_dnf(root: Path, upstreams: list[dict[str, Any]]) -> dict[str, int]:
    """Dates of the indexes that dnf fetched: name and address of the upstream → date.

    root, upstreams
        As for ``dnf.resolve``. One that is trusted without a signature has no date.
    """
    dates = {}
    for upstream in upstreams:
        if upstream["trusted"]:
            continue
        # dnf names the folder after the upstream and a digest of its address.
        for path in sorted(root.glob("cache/*/repodata/repomd.xml")):
            folder = path.parent.parent.name
            if re.fullmatch(rf"{re.escape(upstream['name'])}-[0-9a-f]{{16}}", folder):
                date = repomd_date(_read(path))
                if date is not None:
                    dates[folder] = date
    return dates


def _read(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.read(_LARGEST).decode("utf-8", "replace")


def refuse_older(file: Path, target: str, found: dict[str, int], now: float | None = None) -> None:
    """Refuse an index that is older than one that was seen, and record the others.

    file
        The record; its folder is made.
    target
        Target that the indexes are for.
    found
        Name of an index → its date.

    Raises CommandFailed with each older index, and records nothing.
    """
    moment = int(time.time() if now is None else now)
    known = recorded(file)
    older = [
        f"{name or target}: the index that it serves now is of {_show(date)}, but one of"
        f" {_show(known[key]['date'])} was verified before"
        for name, date in found.items()
        for key in [f"{target}:{name}"]
        if key in known and date < known[key]["date"]
    ]
    if older:
        raise CommandFailed(
            "\n".join(older) + "\nSomebody may serve an older state again, with faults that are"
            " known. Try another mirror, or again later; if the upstream itself went back, remove"
            f" its line from {file}"
        )
    for name, date in found.items():
        # A date in the future would lock out what follows.
        if date <= moment + _FUTURE:
            known[f"{target}:{name}"] = {"date": date, "seen": moment}
    newest = sorted(known.items(), key=lambda item: (-item[1]["seen"], item[0]))[:LIMIT]
    lines = [f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in sorted(newest)]
    atomic.write(file, "{\n" + ",\n".join(lines) + "\n}\n", 0o600)


def recorded(file: Path) -> dict[str, dict[str, int]]:
    """The record: target and index → ``date`` and ``seen``, in seconds since the epoch.

    A corrupt record is moved aside, and a new one begun.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(key): {"date": int(entry["date"]), "seen": int(entry["seen"])}
            for key, entry in data.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        aside = file.with_suffix(".damaged")
        log.warning("%s is corrupt (%r). It is kept as %s, and begun anew.", file, err, aside)
        file.replace(aside)
        return {}


def _show(date: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(date))
