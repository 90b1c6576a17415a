"""What the stand-ins share: flags as strict as the real program's, and an HTTP server."""

from __future__ import annotations

import gzip
import json
import signal
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FLAGS = json.loads(Path(__file__).with_name("flags.json").read_text())


def flags(name: str, argv: list[str]) -> dict[str, str]:
    """Parse flags as Go's package flag does; ends with status 2 for one that is not documented."""
    found = {}
    for word in argv:
        key, _, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or word.startswith("---"):
            sys.exit(f"unprocessed command-line args left: {word}")
        if key == "version":
            print(f"{name}-stand-in-9.0.0")
            sys.exit(0)
        if key not in FLAGS[name]:
            print(f"flag provided but not defined: -{key}", file=sys.stderr)
            sys.exit(2)
        found[key] = value
    return found


class Handler(BaseHTTPRequestHandler):
    """Answers in plain text or JSON; a subclass says what."""

    protocol_version = "HTTP/1.1"

    def answer(self, code: int, body: str | bytes, kind: str = "text/plain") -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self) -> bytes:
        """The body of the request, unpacked."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw

    def application(self, path: str, title: str) -> None:
        """A web application as the real ones are: a page that is empty without its script."""
        script = path.endswith(".js")
        page = f'<!doctype html><title>{title}</title>{title}<script src="./index.js"></script>'
        self.answer(200, "" if script else page, "text/javascript" if script else "text/html")

    def log_message(self, *_: object) -> None:
        """Say nothing of single requests."""


def serve(
    name: str,
    address: str,
    handler: type[BaseHTTPRequestHandler],
    hangup: Callable[[], None] = lambda: None,
) -> None:
    """Serve until told to end; on SIGHUP do what `hangup` does."""
    host, _, port = address.rpartition(":")
    server = ThreadingHTTPServer((host or "0.0.0.0", int(port)), handler)  # noqa: S104
    server.daemon_threads = True
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    signal.signal(signal.SIGHUP, lambda *_: hangup())
    print(f"{name} (stand-in) serves {address}", file=sys.stderr, flush=True)
    server.serve_forever()
