#!/usr/bin/env python3
# Managed by Salt (infra formula). Changes here are overwritten.
"""Fill what is up and what is down into copies of the portal's home page, every few seconds.

The states are the last results of the probes and scrapes that a store of metrics has. nginx serves
the copies as files in place of the pages, so no request of a visitor asks the store for anything. A
page says by comments where a state belongs, and of what:

    <!--states {"lang": "en", ...}-->     the texts; without them, a page is not filled
    <!--state site KEY NAME ...-->        probes of an entry of the portal, by these names
    <!--state stream KEY PORT-->          probes of a stream
    <!--state tool COMPONENT-->           the scrape of a program
    <!--state repo-->                     the probe of the repository's marker
    <!--state none-->                     nothing asks for it
    <!--state summary-->                  how many there are of each, and when that was
"""

from __future__ import annotations

import argparse
import contextlib
import html
import http.client
import json
import os
import re
import signal
import socket
import ssl
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PAGES = ("index.html", "zh.html")
REMEMBERED = "1h"  # how old a result may be and still be shown, as stale
MOST = 32 * 1024 * 1024  # bytes of an answer of the store
REWRITE_SECONDS = 60.0  # the time on the page is never older, though nothing changed
UP, DOWN, STALE, UNKNOWN = "up", "down", "stale", "unknown"

_TEXTS = re.compile(r"<!--states (\{.*?\})-->")
_PLACE = re.compile(r"<!--state ([a-z]+(?: [A-Za-z0-9._-]+)*)-->")
_KEYS = (UP, DOWN, STALE, UNKNOWN, "at", "title", "ago", "seconds", "minutes", "was_up", "was_down")


Series = tuple[tuple[str, str], ...]
"""The labels of a series, sorted, without its name."""


class Result(NamedTuple):
    """The last result of one probe: whether it succeeded, and when that was (Unix time)."""

    labels: dict[str, str]
    success: bool
    time: float


class State(NamedTuple):
    """What a page shows: a word, the time of the result if it is stale, and what that was."""

    word: str
    time: float = 0.0
    success: bool = False


class Store:
    """A store of metrics, of any kind that is compatible with Prometheus."""

    def __init__(self, url: str, address: str, ca_file: str = "", timeout: float = 5.0) -> None:
        tls = ssl.create_default_context()
        if ca_file and Path(ca_file).is_file():
            tls.load_verify_locations(ca_file)
        self._open = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        ).open
        self._url = url.rstrip("/") + "/api/v1/query"
        self._timeout = timeout
        ip = json.dumps(address)
        # Apart: without its name, `up` of a probe's job has the labels of its result.
        self._series = (
            f'probe_success{{job="probe",ip={ip}}}',
            f'up{{job="infra",ip={ip}}}',
        )

    def results(self, fresh: float) -> list[Result]:
        """The last result of each probe.

        fresh
            So many seconds old, a result is not looked for in the past.

        Raises OSError if the store does not answer, ValueError for an answer that is none.
        """
        found = []
        for series in self._series:
            values = self._query(f"last_over_time({series}[{REMEMBERED}])")
            times = self._query(f"timestamp({series})")
            now = time.time()
            if any(now - times.get(key, (0.0, {}))[0] > fresh for key in values):
                older = self._query(f"max_over_time(timestamp({series})[{REMEMBERED}:30s])")
                times = {**older, **times}
            found += [
                Result(labels, value == 1, times[key][0])
                for key, (value, labels) in values.items()
                if key in times
            ]
        return found

    def _query(self, expression: str) -> dict[Series, tuple[float, dict[str, str]]]:
        data = urllib.parse.urlencode({"query": expression}).encode()
        request = urllib.request.Request(self._url, data=data)  # noqa: S310 - of the pillar
        try:
            with self._open(request, timeout=self._timeout) as answer:
                text = answer.read(MOST + 1)
        except http.client.HTTPException as err:
            raise ValueError(f"the answer is not HTTP: {err!r}") from err
        if len(text) > MOST:
            raise ValueError("the answer is too long")
        found = {}
        try:
            for row in json.loads(text)["data"]["result"]:
                labels = {str(k): str(v) for k, v in row["metric"].items() if k != "__name__"}
                found[tuple(sorted(labels.items()))] = (float(row["value"][1]), labels)
        except (KeyError, TypeError, AttributeError, IndexError, RecursionError) as err:
            raise ValueError(f"the answer is none of Prometheus' API: {err!r}") from err
        return found


def state(results: list[Result], now: float, fresh: float) -> State:
    """The worst state of several probes: one that failed counts before one that is stale."""
    recent = [result for result in results if now - result.time <= fresh]
    if any(not result.success for result in recent):
        return State(DOWN)
    if not results:
        return State(UNKNOWN)
    if len(recent) == len(results):
        return State(UP)
    oldest = min(results, key=lambda result: result.time)
    return State(STALE, oldest.time, oldest.success)


def selected(place: str, results: list[Result]) -> list[Result]:
    """The results that a place of a page is about."""
    kind, *words = place.split(" ")
    if kind == "repo":
        return _of_job("probe", "cls", "repo", results)
    if not words:
        return []
    key, *rest = words
    if kind == "tool":
        return _of_job("infra", "cls", key, results)
    of_entry = _of_job("probe", "entry", key, results)
    if kind == "site":
        names = [r for r in of_entry if r.labels.get("hostname", "") in rest]
        return names + _any_of([r for r in of_entry if "backend" in r.labels])
    if kind == "stream":
        ends = tuple(f":{port}" for port in rest)
        return [r for r in of_entry if ends and r.labels.get("instance", "").endswith(ends)]
    return []


def _of_job(job: str, label: str, value: str, results: list[Result]) -> list[Result]:
    return [r for r in results if r.labels.get("job") == job and r.labels.get(label) == value]


def _any_of(endpoints: list[Result]) -> list[Result]:
    """Several endpoints as one result: one that is up is enough."""
    if not endpoints:
        return []
    newest = max(result.time for result in endpoints)
    # An endpoint that is no longer probed says nothing about those that are.
    recent = [result for result in endpoints if newest - result.time < 60]
    return [Result({}, any(result.success for result in recent), newest)]


def filled(page: str, results: list[Result], now: float, fresh: float) -> tuple[str, list[str]]:
    """A page with its states, and the words that it shows; the page as it is if it has no texts."""
    match = _TEXTS.search(page)
    if not match:
        return page, []
    try:
        texts = {key: html.escape(str(json.loads(match[1])[key])) for key in _KEYS}
    except (ValueError, KeyError, TypeError):
        return page, []
    places = [place for place in _PLACE.findall(page) if place != "summary"]
    states = {p: state(selected(p, results), now, fresh) for p in dict.fromkeys(places)}
    counts = dict.fromkeys((UP, DOWN, STALE, UNKNOWN), 0)
    for place in places:
        counts[states[place].word] += 1

    def put(found: re.Match[str]) -> str:
        if found[1] == "summary":
            return _summary(counts, texts, now)
        return _shown(states[found[1]], texts, now)

    return _PLACE.sub(put, page), [_shown(s, texts, now) for s in states.values()]


def _shown(found: State, texts: dict[str, str], now: float) -> str:
    text = texts[found.word]
    if found.word == STALE:
        was = texts["was_up" if found.success else "was_down"]
        text = f"{text}: {was} {_ago(now - found.time, texts)}"
    return f'<span class="state {found.word}">{text}</span>'


def _ago(seconds: float, texts: dict[str, str]) -> str:
    if seconds < 120:
        return texts["ago"].replace("{}", f"{seconds:.0f} {texts['seconds']}")
    return texts["ago"].replace("{}", f"{seconds / 60:.0f} {texts['minutes']}")


def _summary(counts: dict[str, int], texts: dict[str, str], now: float) -> str:
    rows = "".join(
        f'<li class="state {word}"><span class="number">{number}</span> {texts[word]}</li>'
        for word, number in counts.items()
        if number
    )
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    return (
        f'<div class="summary"><ul aria-label="{texts["title"]}">{rows}</ul>'
        f'<p class="at">{texts["at"]} <time>{moment}</time></p></div>'
    )


class Writer:
    """Writes the filled copies of pages."""

    def __init__(self, pages: Path, output: Path, fresh: float) -> None:
        self._pages, self._output, self._fresh = pages, output, fresh
        self._last: dict[str, tuple[float, object, list[str]]] = {}

    def write(self, results: list[Result], now: float | None = None) -> None:
        """Write each page anew if what it shows is not what its copy shows."""
        now = time.time() if now is None else now
        for name in PAGES:
            source, copy = self._pages / name, self._output / name
            before = _identity(source)
            if before is None:
                self.remove(name)
                continue
            text, shown = filled(source.read_text(encoding="utf-8"), results, now, self._fresh)
            if not shown:
                self.remove(name)
                continue
            written, of, what = self._last.get(name, (0.0, None, []))
            is_current = of == before and what == shown and now - written < REWRITE_SECONDS
            if is_current and copy.exists():
                continue
            beside = self._output / f".{name}.new"
            beside.write_text(text, encoding="utf-8")
            beside.chmod(0o640)
            if _identity(source) == before:
                beside.replace(copy)
                self._last[name] = (now, before, shown)

    def remove(self, *names: str) -> None:
        """Remove copies, so that nginx serves the pages as they are."""
        for name in names or PAGES:
            for path in (self._output / name, self._output / f".{name}.new"):
                path.unlink(missing_ok=True)
            self._last.pop(name, None)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def notify(text: str) -> None:
    """Tell systemd, if it started this program, that it works (sd_notify)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, contextlib.suppress(OSError):
        channel.sendto(text.encode(), address)


def rounds(store: Store, writer: Writer, fresh: float) -> Iterator[str]:
    """Fill the pages once for each step; yields why the store did not answer, empty if it did."""
    results: list[Result] = []
    while True:
        fault = ""
        try:
            results = store.results(fresh)
        except (OSError, ValueError) as err:
            fault = str(err)  # the last results stay, and grow old
        horizon = time.time() - 3600
        results = [result for result in results if result.time > horizon]
        writer.write(results)
        yield fault


def main(argv: list[str]) -> int:
    """Run until a signal ends it; then no copy is left."""
    parser = argparse.ArgumentParser(description="Fill states into the portal's home page.")
    parser.add_argument("--url", required=True, help="URL of the store of metrics")
    parser.add_argument("--address", required=True, help="label `ip` of this node")
    parser.add_argument("--pages", required=True, type=Path, help="directory of the pages")
    parser.add_argument("--output", required=True, type=Path, help="directory of their copies")
    parser.add_argument("--fresh", type=float, default=60, help="seconds until a result is stale")
    parser.add_argument("--interval", type=float, default=10, help="seconds between two rounds")
    parser.add_argument("--ca-file", default="", help="CAs of the store, beside the system's")
    parser.add_argument("--rounds", type=int, default=0, help="so many, and then end; 0 for no end")
    given = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    writer = Writer(given.pages, given.output, given.fresh)
    store = Store(given.url, given.address, given.ca_file)
    last, done = "", 0
    try:
        for fault in rounds(store, writer, given.fresh):
            done += 1
            notify("READY=1\nWATCHDOG=1")
            if fault != last:
                print(f"{given.url} does not answer: {fault}" if fault else f"{given.url} answers")
                sys.stdout.flush()
            last = fault
            if done == given.rounds:
                return 0
            time.sleep(given.interval)
    finally:
        if not given.rounds:
            writer.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
