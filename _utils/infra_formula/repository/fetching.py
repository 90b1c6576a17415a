"""Fetch many files at once into a store of verified content.

The *store* is a directory that holds each file once, under its SHA-256: ``<store>/ab/abcdef…``.
What is there was verified when it came. Beside it ``partial`` holds what an interrupted run had
got so far; the next one goes on from there (HTTP range requests).

An *item* is a mapping: ``url``; ``checksum`` (``sha256:…``, may be empty); ``size`` in bytes
(0 for unknown); ``name``, for messages.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import http.client
import ipaddress
import logging
import queue
import random
import shutil
import socket
import ssl
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote, urljoin, urlsplit

from infra_formula.errors import CommandFailed
from infra_formula.minion import Minion

log = logging.getLogger(__name__)

REDIRECTS = 5
"""Redirections followed for one file."""
SLOWEST = 1024
"""Bytes per second below which an upstream counts as hung."""
LARGEST = 16 * 2**30
"""Bytes that a file of unknown size may have."""
GIVE_UP_AFTER = 20
"""Files that fail before the rest is not even tried."""

_CHUNK = 256 * 1024
_RETRY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_REDIRECT_STATUS = {301, 302, 303, 307, 308}


class _Final(Exception):
    """Asking again will not help."""


class _Again(Exception):
    """Asking again may help."""


class _Stale(_Again):
    """What an earlier run had got of the file is of no use."""


class _Stopped(Exception):
    """Others failed, so this one need not go on."""


def store_path(store: str, sha256: str) -> Path:
    """Where the store keeps content, by its SHA-256."""
    return Path(store, sha256[:2], sha256)


def proxy_for(url: str, proxy_env: dict[str, str] | None) -> str:
    """The proxy that an address is to be fetched through.

    url
        Address of the file.
    proxy_env
        ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` (commas; a name stands for
        its sub-domains too; ``*`` patterns, networks like ``10.0.0.0/8``), as Pigsty has them.

    Returns the proxy's URL, empty for none.
    """
    env = {key.lower(): value for key, value in (proxy_env or {}).items() if value}
    parts = urlsplit(url)
    proxy = env.get(f"{parts.scheme}_proxy") or env.get("all_proxy") or ""
    host = (parts.hostname or "").lower()
    if not proxy or parts.scheme == "file":
        return ""
    for pattern in str(env.get("no_proxy", "")).lower().split(","):
        if pattern.strip() and _matches(host, pattern.strip()):
            return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _matches(host: str, pattern: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(pattern, strict=False)
    if "*" in pattern:
        return fnmatch.fnmatch(host, pattern)
    bare = pattern.lstrip(".")
    return host == bare or host.endswith(f".{bare}")


def read(url: str, proxy_env: dict[str, str] | None = None, limit: int = 2**20) -> bytes:
    """A small file as bytes, such as a public key.

    url
        http, https or file.
    proxy_env
        See :func:`proxy_for`.
    limit
        Bytes it may have.

    Raises CommandExecutionError with the reason.
    """
    session = _Session(proxy_env, 30)
    reason = ""
    try:
        for attempt in range(3):
            try:
                with session.get(url, 0) as (stream, _status):
                    data: bytes = stream.read(limit + 1)
                    if len(data) > limit:
                        raise _Final(f"longer than {limit} bytes")
                return data
            except _Final as exc:
                raise CommandFailed(f"{url}: {exc}") from exc
            except (_Again, OSError, http.client.HTTPException) as exc:
                reason = _why(exc)
                time.sleep(_pause(attempt))
    finally:
        session.close()
    raise CommandFailed(f"{url}: {reason}")


def fetch(
    minion: Minion,
    items: list[dict[str, Any]],
    store: str,
    partial: str,
    connections: int = 8,
    retries: int = 4,
    timeout: int = 30,
    proxy_env: dict[str, str] | None = None,
    tag: str = "",
    note: str = "",
) -> dict[str, Any]:
    """Fetch items into the store, several at once.

    items
        See the module's own description; those already in the store have to be left out.
    store, partial
        Directories, on one file system.
    connections
        How many files at a time.
    retries
        How often a file is asked for again after a failure that may pass; with a growing pause.
    timeout
        Seconds without an answer, or with less than 1 KiB/s, after which a connection is given up.
    proxy_env
        See :func:`proxy_for`.
    tag
        Event tag under which progress is sent to the master every few seconds; empty for none.
    note
        File that the latest progress is written to, for whoever asks meanwhile; empty for none.

    Returns ``files`` (for each item, in order, the SHA-256 of its content) and ``bytes`` (fetched
    over the network).

    Raises CommandExecutionError naming each file that could not be had, and why. What was fetched
    before stays.
    """
    return fetch_reporting(
        items,
        store,
        partial,
        connections,
        retries,
        timeout,
        proxy_env,
        lambda progress: _report(minion, progress, tag, note),
    )


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


class _State:
    """What the workers share."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.results: list[str] = [""] * len(items)
        self.errors: dict[int, str] = {}
        self.bytes = 0
        self.done = 0
        self.current = ""

    def count(self, number: int) -> None:
        with self.lock:
            self.bytes += number


def fetch_reporting(
    items: list[dict[str, Any]],
    store: str,
    partial: str,
    connections: int,
    retries: int,
    timeout: int,
    proxy_env: dict[str, str] | None,
    report: Callable[[dict[str, Any]], None],
    every: float = 2.0,
) -> dict[str, Any]:
    """The half of :func:`fetch` that is free of Salt; ``report`` gets a progress mapping."""
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
    state = _State(items)
    # The largest first: no connection is left alone with one at the end.
    for index in sorted(range(len(items)), key=lambda i: -items[i]["size"]):
        state.todo.put(index)
    threads = [
        threading.Thread(
            target=_work,
            args=(state, items, store, partial, retries, timeout, proxy_env),
            name=f"fetch-{n}",
            daemon=True,
        )
        for n in range(max(1, min(connections, len(items))))
    ]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        last = started
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(0.02)
            if time.monotonic() - last >= every:
                last = time.monotonic()
                report(_progress(state, items, last - started, finished=False))
    finally:
        state.stop.set()
        for thread in threads:
            thread.join()
    if items:
        report(_progress(state, items, time.monotonic() - started, finished=True))
    if state.errors:
        raise CommandFailed(_complaint(state, items))
    return {"files": state.results, "bytes": state.bytes}


def _progress(
    state: _State, items: list[dict[str, Any]], seconds: float, finished: bool
) -> dict[str, Any]:
    total = sum(item["size"] for item in items)
    rate = state.bytes / seconds if seconds > 0 else 0.0
    return {
        "done": state.done,
        "total": len(items),
        "failed": len(state.errors),
        "bytes": state.bytes,
        "total_bytes": max(total, state.bytes),
        "rate": round(rate),
        "seconds_left": round(max(0, total - state.bytes) / rate) if rate else None,
        "current": "" if finished else state.current,
        "finished": finished,
    }


def _complaint(state: _State, items: list[dict[str, Any]]) -> str:
    lines = [f"{items[i]['url']}: {why}" for i, why in sorted(state.errors.items())]
    untried = len(items) - state.done - len(state.errors)
    head = f"{len(lines)} of {len(items)} files could not be fetched"
    if untried > 0:
        head += f" ({untried} more were not tried)"
    return head + ":\n" + "\n".join(lines)


def _work(
    state: _State,
    items: list[dict[str, Any]],
    store: str,
    partial: str,
    retries: int,
    timeout: int,
    proxy_env: dict[str, str] | None,
) -> None:
    session = _Session(proxy_env, timeout)
    try:
        while not state.stop.is_set():
            try:
                index = state.todo.get_nowait()
            except queue.Empty:
                return
            item = items[index]
            state.current = item["name"]
            try:
                state.results[index] = _one(item, store, partial, retries, session, state)
                with state.lock:
                    state.done += 1
            except _Stopped:
                return
            except _Final as exc:
                with state.lock:
                    state.errors[index] = str(exc)
                    if len(state.errors) >= GIVE_UP_AFTER:
                        state.stop.set()
            except Exception as exc:  # whatever it is must reach the user, not die with a thread
                with state.lock:
                    state.errors[index] = _why(exc)
                    state.stop.set()
    finally:
        session.close()


def _one(
    item: dict[str, Any],
    store: str,
    partial: str,
    retries: int,
    session: _Session,
    state: _State,
) -> str:
    """Fetch one item, as often as it takes; returns the SHA-256 of its content."""
    key = item["checksum"].replace(":", "-") or hashlib.sha256(item["url"].encode()).hexdigest()
    path = Path(partial, key)
    wrong = 0
    reason = ""
    for attempt in range(retries + 1):
        if attempt and state.stop.wait(_pause(attempt)):
            raise _Stopped
        if not item["checksum"]:
            # What cannot be checked when it is whole cannot be glued together from two answers.
            path.unlink(missing_ok=True)
        try:
            sha256, other = _transfer(item, path, session, state)
        except (_Again, http.client.HTTPException) as exc:
            session.close()
            reason = _why(exc)
            if isinstance(exc, _Stale):
                path.unlink(missing_ok=True)
            continue
        except OSError as exc:
            session.close()
            reason = _why(exc)
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
        final = store_path(store, sha256)
        final.parent.mkdir(mode=0o700, exist_ok=True)
        path.chmod(0o644)
        path.replace(final)
        return sha256
    raise _Final(reason or "given up")


def _transfer(
    item: dict[str, Any], path: Path, session: _Session, state: _State
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
            with session.get(item["url"], have) as (stream, status):
                if have and status != 206:
                    out.truncate(0)
                    hashes = [hashlib.new(d.name, usedforsecurity=False) for d in hashes]
                    have = 0
                have += _copy(stream, out, hashes, (size or LARGEST) - have, session, state)
            if size and have < size:
                raise _Again(f"only {have} of {size} bytes came")
    return hashes[0].hexdigest(), hashes[-1].hexdigest()


def _copy(
    stream: Any, out: BinaryIO, hashes: list[Any], limit: int, session: _Session, state: _State
) -> int:
    copied = 0
    window, since = 0, time.monotonic()
    while True:
        if state.stop.is_set():
            raise _Stopped
        chunk = stream.read1(_CHUNK)
        if not chunk:
            return copied
        copied += len(chunk)
        if copied > limit:
            raise _Final(f"it is longer than the {limit} bytes expected")
        out.write(chunk)
        for digest in hashes:
            digest.update(chunk)
        state.count(len(chunk))
        window += len(chunk)
        now = time.monotonic()
        if now - since >= session.timeout:
            if window < SLOWEST * session.timeout:
                raise _Again(f"the upstream sends less than {SLOWEST} bytes per second")
            window, since = 0, now


def _why(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.strerror}" + (f": {exc.filename}" if exc.filename else "")
    return str(exc) or type(exc).__name__


def _pause(attempt: int) -> float:
    # Jitter, so that all connections do not come back to a struggling upstream at once.
    return min(8.0, 0.25 * 2**attempt) * (0.5 + random.random() / 2)  # noqa: S311


class _Session:
    """Connections of one worker, kept open from file to file."""

    def __init__(self, proxy_env: dict[str, str] | None, timeout: int) -> None:
        self.proxy_env = proxy_env
        self.timeout = timeout
        self.open: dict[tuple[str, str, str], http.client.HTTPConnection] = {}

    def close(self) -> None:
        for connection in self.open.values():
            connection.close()
        self.open.clear()

    @contextlib.contextmanager
    def get(self, url: str, offset: int) -> Any:
        """Ask for a file from an offset on: a stream, and the status of the answer."""
        if urlsplit(url).scheme == "file":
            try:
                with Path(unquote(urlsplit(url).path)).open("rb") as stream:
                    stream.seek(offset)
                    yield stream, 206
            except FileNotFoundError as exc:
                raise _Final("there is no such file") from exc
            return
        for _hop in range(REDIRECTS + 1):
            response = self._ask(url, offset)
            if response.status in _REDIRECT_STATUS:
                response.read()
                target = urljoin(url, response.headers.get("Location", ""))
                if urlsplit(target).scheme not in ("http", "https"):
                    raise _Final(f"it redirects to {target!r}, which is not followed")
                if url.startswith("https:") and not target.startswith("https:"):
                    raise _Final(f"it redirects from https to {target!r}, which is not followed")
                url = target
                continue
            yield _checked(response, offset), response.status
            if response.length:
                raise _Again(f"the connection broke off {response.length} bytes too early")
            response.read()  # nothing is left, but this is what frees the connection for the next
            return
        raise _Final(f"more than {REDIRECTS} redirections, the last one to {url}")

    def _ask(self, url: str, offset: int) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        proxy = proxy_for(url, self.proxy_env)
        key = (parts.scheme, parts.netloc, proxy)
        fresh = key not in self.open
        if fresh:
            self.open[key] = _connect(parts, proxy, self.timeout)
        path = quote(parts.path or "/", safe="/%:=&?~#+!$,;'@()*[]") + (
            f"?{parts.query}" if parts.query else ""
        )
        if proxy and parts.scheme == "http":
            path = f"http://{parts.netloc.rpartition('@')[2]}{path}"
        headers = {"User-Agent": "infra-formula", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        headers.update(_credentials(parts, proxy if parts.scheme == "http" else ""))
        try:
            self.open[key].request("GET", path, headers=headers)
            return self.open[key].getresponse()
        except (http.client.HTTPException, OSError):
            self.open.pop(key).close()
            if fresh:
                raise
            # The other side had closed a connection that we kept open: no failure of its own.
            return self._ask(url, offset)


def _credentials(parts: Any, proxy: str) -> dict[str, str]:
    found = {}
    for header, where in (("Authorization", parts), ("Proxy-Authorization", urlsplit(proxy))):
        if where.username:
            pair = f"{unquote(where.username)}:{unquote(where.password or '')}"
            found[header] = "Basic " + b64encode(pair.encode()).decode()
    return found


def _connect(parts: Any, proxy: str, timeout: int) -> http.client.HTTPConnection:
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "http":
        if proxy:
            through = urlsplit(proxy)
            return http.client.HTTPConnection(
                through.hostname or "", through.port or 3128, timeout=timeout
            )
        return http.client.HTTPConnection(host, port, timeout=timeout)
    context = ssl.create_default_context()
    if not proxy:
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
    through = urlsplit(proxy)
    connection = http.client.HTTPSConnection(
        through.hostname or "", through.port or 3128, timeout=timeout, context=context
    )
    connection.set_tunnel(host, port or 443, headers=_credentials(urlsplit(""), proxy))
    return connection


def _checked(response: http.client.HTTPResponse, offset: int) -> http.client.HTTPResponse:
    status = response.status
    if status == 200 or (status == 206 and offset):
        start = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if status == 206 and start != str(offset):
            raise _Final(f"asked for the part from byte {offset} on, it sent another")
        return response
    response.read()
    if status == 416:
        raise _Stale("it does not have the part that was missing")
    if status in _RETRY_STATUS:
        raise _Again(f"it answered {status} {response.reason}")
    raise _Final(f"it answered {status} {response.reason}")
