"""Fetch many files at once into a store of verified content.

The *store* is a directory that holds each file once, under its SHA-256: ``<store>/ab/abcdef…``.
What is there was verified when it came. Beside it ``partial`` holds what an interrupted run had
got so far; the next one goes on from there (HTTP range requests).

An *item* is a mapping: ``url``; ``checksum`` (``sha256:…``, may be empty); ``size`` in bytes
(0 for unknown); ``name``, for messages; ``login`` (user and password), if it needs one. One without
a checksum may have ``known``, what an earlier run noted of it: it is asked whether it has changed.
``tls`` (``connections.Tls``) says how the server's certificate is verified.
"""

from __future__ import annotations

import hashlib
import http.client
import queue
import shutil
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from infra_formula import redaction
from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion
from infra_formula.repository import connections, package_files, package_store

log = redaction.logger(__name__)
SLOWEST = 1024
"""Bytes per second below which an upstream counts as hung."""

LARGEST = 16 * 2**30
"""Bytes that a file of unknown size may have."""

GIVE_UP_AFTER = 20
"""Files that fail before the rest is not even tried."""

CONNECTIONS = 20
"""Files at a time, if nothing else is asked for; as many as apt-mirror fetches."""

_CHUNK = 256 * 1024
_REPORT_EVERY = 2.0  # seconds


class _Stopped(Exception):
    """Others failed, so this one need not go on."""


def fetch(
    minion: Minion,
    items: list[dict[str, Any]],
    store: str,
    partial: str,
    connections: int = CONNECTIONS,
    retries: int = 4,
    timeout: int = 30,
    proxy_env: dict[str, str] | None = None,
    tag: str = "",
    note: str = "",
) -> dict[str, Any]:
    """Fetch items into the store, several at once.

    items
        See the module's description; without those that are in the store.
    store, partial
        Directories, on one file system.
    connections, retries
        Files at a time, and requests after a temporary failure, with a growing pause.
    timeout
        Seconds without an answer, or with less than 1 KiB/s, until a connection is given up.
    proxy_env
        See ``connections.proxy_for``.
    tag, note
        Event tag and file for the progress, reported every 2 seconds; empty for none.

    Returns ``files`` (SHA-256 of each item, in order), ``notes`` (for each without a checksum, its
    SHA-256 and what the server says of its version, to be given as ``known``) and ``bytes``
    (fetched).

    Raises CommandFailed naming each file that could not be fetched; the others stay.
    """
    job = _Job(items, Path(store), Path(partial), retries, timeout, proxy_env)
    for folder in (store, partial):
        Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
    missing = sum(item["size"] for item in items)
    free = shutil.disk_usage(partial).free
    have = sum(p.stat().st_size for p in Path(partial).iterdir())
    if missing - have > free:
        raise CommandFailed(
            f"{store}: {missing / 2**20:.0f} MiB are still to be fetched, but its file system has"
            f" only {free / 2**20:.0f} MiB free"
        )
    threads = [
        threading.Thread(target=_work, args=(job,), name=f"fetch-{n}", daemon=True)
        for n in range(max(1, min(connections, len(items))))
    ]
    started = last = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.02)
            if time.monotonic() - last >= _REPORT_EVERY:
                last = time.monotonic()
                _report(minion, _progress(job, last - started, finished=False), tag, note)
    finally:
        job.stop.set()
        for thread in threads:
            thread.join()
    if items:
        _report(minion, _progress(job, time.monotonic() - started, finished=True), tag, note)
    if job.errors:
        raise CommandFailed(_error_text(job))
    return {"files": job.results, "notes": job.notes, "bytes": job.bytes}


def _report(minion: Minion, progress: dict[str, Any], tag: str, note: str) -> None:
    line = describe(progress)
    log.info("%s", line)
    if note:
        Path(note).write_text(line, encoding="utf-8")
    if minion.opts.get("__cli") == "salt-call" and sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{line}" + ("\n" if progress["finished"] else ""))
        sys.stderr.flush()
    if tag and minion.opts.get("master_uri") and minion.opts.get("file_client") != "local":
        minion.call("event.send", tag, progress)


def describe(progress: dict[str, Any]) -> str:
    """A progress report as one line for people."""
    left = progress["seconds_left"]
    return (
        f"fetched {progress['done']} of {progress['total']} files,"
        f" {progress['bytes'] / 2**20:.1f} of {progress['total_bytes'] / 2**20:.1f} MiB,"
        f" {progress['rate'] / 2**20:.1f} MiB/s"
        + (f", {int(left)} s left" if left is not None and not progress["finished"] else "")
        + (f", now {progress['current']}" if progress["current"] else "")
    )


class _Job:
    """What the workers share."""

    def __init__(
        self,
        items: list[dict[str, Any]],
        store: Path,
        partial: Path,
        retries: int,
        timeout: int,
        proxy_env: dict[str, str] | None,
    ) -> None:
        self.items, self.store, self.partial = items, store, partial
        self.retries, self.timeout, self.proxy_env = retries, timeout, proxy_env
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
        # The largest first: no connection is left alone with one at the end.
        for index in sorted(range(len(items)), key=lambda i: -items[i]["size"]):
            self.waiting.put(index)
        self.results: list[str] = [""] * len(items)
        self.notes: list[dict[str, str]] = [{} for _ in items]
        self.errors: dict[int, str] = {}
        self.bytes = 0
        self.done = 0
        self.current = ""

    def count(self, number: int) -> None:
        with self.lock:
            self.bytes += number


def _progress(job: _Job, seconds: float, finished: bool) -> dict[str, Any]:
    total = sum(item["size"] for item in job.items)
    rate = job.bytes / seconds if seconds > 0 else 0.0
    return {
        "done": job.done,
        "total": len(job.items),
        "failed": len(job.errors),
        "bytes": job.bytes,
        "total_bytes": max(total, job.bytes),
        "rate": round(rate),
        "seconds_left": round(max(0, total - job.bytes) / rate) if rate else None,
        "current": "" if finished else job.current,
        "finished": finished,
    }


def _error_text(job: _Job) -> str:
    items = job.items
    lines = [f"{items[i]['url']}: {why}" for i, why in sorted(job.errors.items())]
    untried = len(items) - job.done - len(job.errors)
    head = f"{len(lines)} of {len(items)} files could not be fetched"
    if untried > 0:
        head += f" ({untried} more were not tried)"
    return head + ":\n" + "\n".join(lines)


def _work(job: _Job) -> None:
    session = connections.Session(job.proxy_env, job.timeout)
    try:
        while not job.stop.is_set():
            try:
                index = job.waiting.get_nowait()
            except queue.Empty:
                return
            job.current = job.items[index]["name"]
            try:
                job.results[index] = _one(job.items[index], session, job)
                if not job.items[index]["checksum"]:
                    job.notes[index] = _note(job.results[index], session.answer)
                with job.lock:
                    job.done += 1
            except _Stopped:
                return
            except connections.FinalError as exc:
                with job.lock:
                    job.errors[index] = str(exc)
                    if len(job.errors) >= GIVE_UP_AFTER:
                        job.stop.set()
            except Exception as exc:  # whatever it is must reach the user, not die with a thread
                with job.lock:
                    job.errors[index] = connections.error_text(exc)
                    job.stop.set()
    finally:
        session.close()


_VALIDATORS = {"etag": "If-None-Match", "last-modified": "If-Modified-Since"}
"""What a server says of a file's version, and how it is asked by that (RFC 9110, section 13)."""


def _note(sha256: str, answer: dict[str, str]) -> dict[str, str]:
    return {"sha256": sha256, **{name: answer[name] for name in _VALIDATORS if name in answer}}


def _conditions(known: dict[str, str]) -> dict[str, str]:
    return {header: known[name] for name, header in _VALIDATORS.items() if name in known}


class _Unchanged(Exception):
    """The server still has what is known."""


def _one(item: dict[str, Any], session: connections.Session, job: _Job) -> str:
    """Fetch one item, as often as it takes; returns the SHA-256 of its content."""
    key = item["checksum"].replace(":", "-") or hashlib.sha256(item["url"].encode()).hexdigest()
    path = job.partial / key
    wrong = 0
    reason = ""
    begun = path.stat().st_size if path.exists() else 0
    # What an earlier run had got may be of no use; to begin anew is no failure.
    attempts = job.retries + (2 if begun and item["checksum"] else 1)
    for attempt in range(attempts):
        if attempt and job.stop.wait(connections.pause(attempt)):
            raise _Stopped
        if not item["checksum"]:
            # What cannot be checked when it is whole cannot be glued together from two answers.
            path.unlink(missing_ok=True)
        try:
            sha256, other = _transfer(item, path, session, job)
        except _Unchanged:
            path.unlink(missing_ok=True)
            return str(item["known"]["sha256"])
        except (connections.TemporaryError, http.client.HTTPException) as exc:
            session.close()
            reason = connections.error_text(exc)
            if isinstance(exc, connections.StaleError):
                path.unlink(missing_ok=True)
            continue
        except OSError as exc:
            session.close()
            reason = connections.error_text(exc)
            if isinstance(exc, (ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror)):
                continue
            raise
        kind, _, digits = item["checksum"].partition(":")
        if digits and digits != (sha256 if kind == "sha256" else other):
            path.unlink()
            got = sha256 if kind == "sha256" else other
            reason = f"its {kind} is {got}, but the upstream's metadata says {digits}"
            wrong += 1
            if wrong > 1:
                break
            continue
        fault = "" if item["checksum"] else package_files.fault(path, item["name"])
        if fault:
            path.unlink()
            raise connections.FinalError(fault)
        final = package_store.path(job.store, sha256)
        final.parent.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o644)
        path.replace(final)
        return sha256
    if begun and path.exists() and path.stat().st_size <= begun:
        # Nothing followed it: the next build begins anew.
        path.unlink()
    raise connections.FinalError(reason or "given up")


def _transfer(
    item: dict[str, Any], path: Path, session: connections.Session, job: _Job
) -> tuple[str, str]:
    """Bring the partial file up to its full size; returns its SHA-256 and its own checksum."""
    kind = item["checksum"].partition(":")[0] or "sha256"
    hashes = [hashlib.sha256()]
    if kind != "sha256":
        hashes.append(hashlib.new(kind, usedforsecurity=False))
    size = item["size"]
    have = path.stat().st_size if path.exists() else 0
    if size and have > size:
        path.unlink()
        have = 0
    with path.open("ab") as out:
        if have:
            with path.open("rb") as old:
                while chunk := old.read(_CHUNK):
                    for digest in hashes:
                        digest.update(chunk)
        if not (size and have == size):
            conditions = _conditions(item.get("known") or {})
            login, tls = item.get("login"), item.get("tls")
            answer = session.get(item["url"], have, login, conditions, tls)
            with answer as (stream, status):
                if status == 304:
                    raise _Unchanged
                if have and status != 206:
                    out.truncate(0)
                    hashes = [hashlib.new(d.name, usedforsecurity=False) for d in hashes]
                    have = 0
                have += _copy(stream, out, hashes, (size or LARGEST) - have, session, job)
            if size and have < size:
                raise connections.TemporaryError(f"only {have} of {size} bytes came")
    return hashes[0].hexdigest(), hashes[-1].hexdigest()


def _copy(
    stream: Any,
    out: BinaryIO,
    hashes: list[Any],
    limit: int,
    session: connections.Session,
    job: _Job,
) -> int:
    copied = 0
    window, since = 0, time.monotonic()
    while True:
        if job.stop.is_set():
            raise _Stopped
        chunk = stream.read1(_CHUNK)
        if not chunk:
            return copied
        copied += len(chunk)
        if copied > limit:
            raise connections.FinalError(f"it is longer than the {limit} bytes expected")
        out.write(chunk)
        for digest in hashes:
            digest.update(chunk)
        job.count(len(chunk))
        window += len(chunk)
        now = time.monotonic()
        if now - since >= session.timeout:
            if window < SLOWEST * session.timeout:
                raise connections.TemporaryError(
                    f"the upstream sends less than {SLOWEST} bytes per second"
                )
            window, since = 0, now
