"""Clients that mean no good, against a real nginx that serves the portal as it is rendered."""

import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from nginx_server import Server, Upstream, drain

LIMIT = 100 * 1024  # bytes, of the body of a request to the entry `shop`


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder():
    """A place that nginx is given sites from: not below /tmp, of which its unit has its own."""
    with TemporaryDirectory(prefix="infra-nginx-", dir="/var/lib") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def server(folder, upstream):
    there = f"127.0.0.1:{upstream.port}"
    root = folder
    site = root / "site"
    (site / ".git").mkdir(parents=True)
    (site / ".git/config").write_text("hidden")
    (site / "index.html").write_text("the site")
    made = Server(
        root,
        {
            "shop": {"domain": "shop.pigsty", "endpoint": there, "client_max_body_size": LIMIT},
            "live": {"domain": "live.pigsty", "endpoint": there, "websocket": True},
            "closed": {"domain": "closed.pigsty", "endpoint": there, "auth": True},
            "site": {"domain": "site.pigsty", "path": str(site)},
        },
        components={"vmetrics": {"port": upstream.port}},
    )
    (made.home / "pigsty").mkdir()
    (made.home / "pigsty/a.deb").write_text("a package")
    (made.home / "index.html").write_text("the home page")
    (root / "outside.txt").write_text("a file outside")
    yield made
    made.close()


def status(answer):
    """Status codes of the answers in what came back."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def ask(server, name, head, body=b""):
    text = f"{head}\r\nHost: {name}\r\nConnection: close\r\n\r\n"
    return server.raw(text.encode("latin-1") + body)


# -- paths


@pytest.mark.parametrize("name", ["i.pigsty", "site.pigsty"])
@pytest.mark.parametrize("before", ["/", "/pigsty/", "/pigsty"])
@pytest.mark.parametrize(
    "way",
    ["../outside.txt", "../../outside.txt", "%2e%2e/outside.txt", "..%2foutside.txt",
     "%2e%2e%2foutside.txt", "%252e%252e%252foutside.txt", "..\\outside.txt", "..%5coutside.txt",
     "....//outside.txt", "..;/outside.txt", ".%00./outside.txt", "..%c0%afoutside.txt",
     "x/../../outside.txt", "/%2e%2e//../outside.txt", "a.deb/../../../outside.txt"],
)  # fmt: skip
def test_no_path_leads_outside(server, name, before, way):
    said = ask(server, name, f"GET {before}{way} HTTP/1.1")
    assert status(said)[0] in (400, 404)
    assert b"a file outside" not in said


@pytest.mark.parametrize("path", ["/.git/config", "/%2egit/config", "//.git/config", "/x/../.git/"])
def test_what_is_hidden_in_a_site_stays_hidden(server, path):
    said = ask(server, "site.pigsty", f"GET {path} HTTP/1.1")
    assert status(said) == [404]
    assert b"the site" in ask(server, "site.pigsty", "GET / HTTP/1.1")


# -- one request read as two


BOTH = "POST / HTTP/1.1\r\nContent-Length: {length}\r\nTransfer-Encoding: {coding}"
HIDDEN = b"GET /vmetrics/hidden HTTP/1.1\r\nHost: i.pigsty\r\n\r\n"
SMUGGLED = {
    "CL.TE": (BOTH.format(length=5 + len(HIDDEN), coding="chunked"), b"0\r\n\r\n" + HIDDEN),
    "TE.CL": (BOTH.format(length=4, coding="chunked"), b"5c\r\n" + HIDDEN + b"0\r\n\r\n"),
    "TE.TE": (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"0\r\n\r\n" + HIDDEN,
    ),
    "a coding that is none": (
        "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: xchunked",
        b"0\r\n\r\n" + HIDDEN),
    "a blank before the colon": (
        "POST / HTTP/1.1\r\nTransfer-Encoding : chunked", b"0\r\n\r\n" + HIDDEN),
    "a coding after a tab": (
        "POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding:\tchunked",
        b"0\r\n\r\n" + HIDDEN),
    "two lengths": (
        "POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 44", HIDDEN),
    "two lengths in one": ("POST / HTTP/1.1\r\nContent-Length: 0, 44", HIDDEN),
    "a length with a sign": ("POST / HTTP/1.1\r\nContent-Length: +44", HIDDEN),
    "a negative length": ("POST / HTTP/1.1\r\nContent-Length: -1", HIDDEN),
    "a folded line": (
        "POST / HTTP/1.1\r\nX: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 44", HIDDEN),
    "a folded coding": (
        "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\nContent-Length: 5",
        b"0\r\n\r\n" + HIDDEN),
    "a size of a chunk that is none": (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked", b"0x0\r\n\r\n" + HIDDEN),
    "a size of a chunk that is too large": (
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked", b"fffffffffffffffff\r\n" + HIDDEN),
    "a zero byte": ("POST / HTTP/1.1\r\nX: a\0b\r\nContent-Length: 44", HIDDEN),
}  # fmt: skip


@pytest.mark.parametrize("name", ["shop.pigsty", "live.pigsty", "i.pigsty"])
@pytest.mark.parametrize("trick", SMUGGLED)
def test_a_request_that_can_be_read_as_two_is_one_or_none(server, upstream, name, trick):
    asked = len(upstream.seen)
    head, body = SMUGGLED[trick]
    path = "/vmetrics/" if name == "i.pigsty" else "/"
    text = head.replace("POST / ", f"POST {path} ", 1)
    said = server.raw(f"{text}\r\nHost: {name}\r\n\r\n".encode("latin-1") + body)
    assert len(status(said)) <= 1
    seen = upstream.seen[asked:]
    # What nginx passes on at all, it passes on in its own words: one length or one coding.
    for request in seen:
        lines = [line.lower() for line in request.split(b"\r\n\r\n")[0].split(b"\r\n")]
        framing = [x for x in lines if x.startswith((b"content-length", b"transfer-encoding"))]
        assert len(framing) <= 1, framing
    assert not any(request.startswith(b"GET /vmetrics/hidden") for request in seen)
    if not seen:
        assert status(said)[0] in (400, 405, 411, 413, 501)


@pytest.mark.parametrize("name", ["shop.pigsty", "live.pigsty"])
@pytest.mark.parametrize("protocol", ["h2c", "h2c, websocket", "TLS/1.3", "websocket, h2c"])
def test_only_websockets_are_upgraded(server, upstream, name, protocol):
    server.raw(
        f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: Upgrade, HTTP2-Settings, close\r\n"
        f"HTTP2-Settings: AAMAAABkAAQAAP__\r\nUpgrade: {protocol}\r\n\r\n".encode()
    )
    assert upstream.header("Upgrade") is None
    assert upstream.header("Connection") is None
    ask(server, name, "GET / HTTP/1.1\r\nConnection: close, X-Real-IP\r\nUpgrade: WebSocket")
    assert upstream.header("Upgrade") == ("websocket" if name == "live.pigsty" else None)
    assert upstream.header("X-Real-IP") == "127.0.0.1"


# -- names


@pytest.mark.parametrize(
    "host",
    ["", "shop.pigsty@closed.pigsty", "shop.pigsty/closed.pigsty", "shop.pigsty closed.pigsty",
     "shop.pigsty\\closed", "shop_pigsty", "shop..pigsty", ".shop.pigsty", "[::1", "a" * 300,
     "shop.pigsty\x01", "..", "unknown.example.org", "127.0.0.1"],
)  # fmt: skip
def test_a_name_that_is_none_reaches_no_entry(server, upstream, host):
    asked = len(upstream.seen)
    said = server.raw(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert status(said)[0] in (200, 400)
    assert len(upstream.seen) == asked
    if status(said) == [200]:
        assert b"the home page" in said  # as for every name that is nobody's


@pytest.mark.parametrize("host", ["shop.pigsty", "SHOP.pigsty", "shop.pigsty:1", "shop.pigsty."])
def test_an_entry_is_told_its_name_and_nothing_of_the_clients_making(server, upstream, host):
    ask(server, host, "GET / HTTP/1.1\r\nX-Forwarded-Host: evil.example.org\r\n"
        "X-Forwarded-Proto: https\r\nX-Real-IP: 1.2.3.4\r\nX_Real_IP: 1.2.3.4")  # fmt: skip
    assert upstream.header("Host").partition(":")[0] == "shop.pigsty"
    assert upstream.header("X-Forwarded-Host").partition(":")[0] == "shop.pigsty"
    assert upstream.header("X-Forwarded-Proto") == "http"
    assert upstream.header("X-Real-IP") == "127.0.0.1"
    assert upstream.header("X_Real_IP") is None


def test_the_name_in_the_address_counts_for_login_and_upstream_alike(server, upstream):
    asked = len(upstream.seen)
    # On plain HTTP nobody is asked for a password.
    said = ask(server, "shop.pigsty", "GET http://closed.pigsty/ HTTP/1.1")
    assert status(said) == [301]
    text = b"GET http://closed.pigsty/ HTTP/1.1\r\nHost: shop.pigsty\r\nConnection: close\r\n\r\n"
    assert status(server.raw_tls(text)) == [401]
    assert len(upstream.seen) == asked
    said = ask(server, "closed.pigsty", "GET http://shop.pigsty/ HTTP/1.1")
    assert status(said) == [200]
    assert upstream.header("Host").partition(":")[0] == "shop.pigsty"
    assert status(ask(server, "a\r\nHost: b", "GET / HTTP/1.1")) == [400]
    assert status(server.raw(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")) == [400]


@pytest.mark.parametrize(
    "head",
    ["TRACE / HTTP/1.1", "CONNECT shop.pigsty:80 HTTP/1.1", "GET / HTTP/3.0", "GET\t/ HTTP/1.1",
     "G\0T / HTTP/1.1"],
)  # fmt: skip
def test_what_is_no_request_is_refused(server, upstream, head):
    asked = len(upstream.seen)
    assert status(ask(server, "shop.pigsty", head))[0] in (400, 405, 505)
    assert len(upstream.seen) == asked


# -- too much, and too slow


@pytest.mark.parametrize(
    "head",
    ["GET /" + "a" * 70000 + " HTTP/1.1", "GET / HTTP/1.1\r\nX: " + "a" * 70000,
     "GET / HTTP/1.1\r\n" + "\r\n".join(f"X-{i}: {'a' * 1000}" for i in range(200))],
)  # fmt: skip
def test_a_header_that_is_too_large_is_refused(server, upstream, head):
    asked = len(upstream.seen)
    assert status(ask(server, "shop.pigsty", head))[0] in (400, 414, 431)
    assert len(upstream.seen) == asked


def test_a_body_that_is_too_large_is_refused(server, upstream):
    asked = len(upstream.seen)
    told = ask(server, "shop.pigsty", f"POST / HTTP/1.1\r\nContent-Length: {LIMIT + 1}")
    assert status(told) == [413]
    assert len(upstream.seen) == asked
    chunk = b"1000\r\n" + b"a" * 0x1000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 20) as channel:
        channel.sendall(
            b"POST / HTTP/1.1\r\nHost: shop.pigsty\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        sent = 0
        try:
            while sent < 100 * LIMIT:
                channel.sendall(chunk)
                sent += 0x1000
        except OSError:
            pass
        drain(channel)
    assert sum(len(request) for request in upstream.seen[asked:]) < 2 * LIMIT
    fits = ask(server, "shop.pigsty", f"POST / HTTP/1.1\r\nContent-Length: {LIMIT}", b"a" * LIMIT)
    assert status(fits) == [200]


def test_slow_clients_are_cut_off_and_keep_nobody_out(server):
    slow = []
    for _ in range(300):
        channel = socket.create_connection(("127.0.0.1", server.port), 30)
        channel.sendall(b"GET / HTTP/1.1\r\nHost: i.pigsty\r\nX-Slow: ")
        slow.append(channel)
    assert server.get("i.pigsty", tls=False)[0] == 200
    deadline = time.monotonic() + 120
    open_still = set(slow)
    while open_still and time.monotonic() < deadline:
        time.sleep(2)
        for channel in list(open_still):
            try:
                channel.sendall(b"a")
                channel.setblocking(False)  # a client that never stops sending
                if channel.recv(1024) == b"":
                    open_still.discard(channel)
            except BlockingIOError:
                channel.setblocking(True)
            except OSError:
                open_still.discard(channel)
    for channel in slow:
        channel.close()
    assert not open_still
    assert server.get("i.pigsty", tls=False)[0] == 200


def test_answers_say_what_a_browser_may_do_with_them_and_not_who_serves(server):
    _, told, _ = server.get("i.pigsty", tls=False)
    assert told["server"] == "nginx"
    assert told["x-content-type-options"] == "nosniff"
    assert told["x-frame-options"] == "SAMEORIGIN"
