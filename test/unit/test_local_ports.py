"""HTTP requests to this machine, and processes that listen on its ports."""

import os
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from closing import stop
from infra_formula.daemon import local_ports
from infra_formula.errors import CommandFailed


@contextmanager
def serving(body=b"", status=200):
    """A server on a free port; yields the port and what was requested of it."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append((self.command, self.path, dict(self.headers), content))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, seen
    finally:
        stop(server)


def test_a_request_returns_the_status_and_the_body():
    with serving("ä".encode(), 503) as (port, seen):
        assert local_ports.request(port, "/a", 3.0, "POST", "b", {"X-Y": "z"}) == (503, "ä")
    method, path, headers, content = seen[0]
    assert (method, path, headers["X-Y"], content) == ("POST", "/a", "z", b"b")


def test_a_body_is_read_whole_or_refused_by_name(monkeypatch):
    monkeypatch.setattr(local_ports, "_BODY_LIMIT", 5 * 1024 * 1024)
    with serving(b"x" * 5 * 1024 * 1024) as (port, _):
        assert len(local_ports.request(port, "/")[1]) == 5 * 1024 * 1024
    message = r"http://127.0.0.1:\d+/: expected a response"
    long = serving(b"x" * (5 * 1024 * 1024 + 1))
    with long as (port, _), pytest.raises(CommandFailed, match=message):
        local_ports.request(port, "/")


def test_no_answer_is_reported_with_its_reason():
    with serving() as (port, _):
        pass
    code, reason = local_ports.request(port, "/")
    assert code is None
    assert "refused" in reason


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"no", 422, "Prog on port .*: no"),
        (b"", 404, "Prog on port .*: 404"),
        (b"<p>", 200, "JSON"),
    ],
)
def test_an_api_that_does_not_answer_json_is_an_error(body, status, message):
    with serving(body, status) as (port, _), pytest.raises(CommandFailed, match=message):
        local_ports.get_json(port, "/", "Prog")


def test_the_process_that_listens_is_found():
    with serving(b"[1]") as (port, _):
        assert local_ports.listeners(port) == {os.getpid()}
        assert local_ports.get_json(port, "/", "Prog") == [1]
    assert local_ports.listeners(port) == set()


def test_listeners_on_several_ports_are_found_by_one_look_at_the_processes(monkeypatch):
    looks = []
    glob = Path.glob
    monkeypatch.setattr(Path, "glob", lambda self, mask: looks.append(mask) or glob(self, mask))
    with serving() as (one, _), serving() as (other, _):
        found = local_ports.listeners_by_port({one, other, 1})
        assert found == {one: {os.getpid()}, other: {os.getpid()}, 1: set()}
    assert len(looks) == 1
    assert local_ports.listeners_by_port({one}) == {one: set()}
    assert len(looks) == 1  # nobody listens: no process is looked at


def test_whether_a_process_listens_is_told_of_that_process_alone():
    with serving() as (port, _):
        assert local_ports.listens(os.getpid(), port)
        assert not local_ports.listens(os.getppid(), port)
        assert not local_ports.listens(2**22 + 1, port)
    assert not local_ports.listens(os.getpid(), port)


def test_the_ports_of_a_process_are_its_own():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port in local_ports.ports_of(os.getpid())
        assert port not in local_ports.ports_of(os.getppid())
    assert port not in local_ports.ports_of(os.getpid())


def test_the_tables_of_the_kernel_are_read_once_while_sockets_stay_open(monkeypatch):
    reads = []
    read_text = Path.read_text

    def counted(self, *args, **options):
        reads.append(str(self))
        return read_text(self, *args, **options)

    monkeypatch.setattr(local_ports, "_known", {})
    monkeypatch.setattr(Path, "read_text", counted)
    with serving() as (one, _), serving() as (other, _):
        for port in (one, other, one):
            assert local_ports.listens(os.getpid(), port)
        assert reads == ["/proc/net/tcp", "/proc/net/tcp6"]
        with serving() as (third, _):  # it began to listen afterwards
            assert local_ports.listens(os.getpid(), third)
    for port in (one, other, third):  # their sockets are known, and closed
        assert not local_ports.listens(os.getpid(), port)


def test_a_process_that_is_gone_has_no_name():
    assert local_ports.process_name(2**22 + 1) == "a process"
