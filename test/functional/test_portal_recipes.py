"""Recipes of docs/portal.md, each with a server that behaves as the application does.

The pillars are parsed out of the page; only ports are replaced. test_portal_applications.py has the
applications themselves. A recipe without one of its attributes fails, so that none is there for
nothing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import os
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "support"))

from nginx_server import Server  # noqa: E402

LARGE = 3 * 1024 * 1024  # bytes; the portal's own limit is one megabyte here
SECONDS = 20
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def recipes() -> dict[str, dict[str, Any]]:
    page = (ROOT / "docs/portal.md").read_text(encoding="utf-8")
    section = page.split("## Settings of well-known applications")[1].split("\n## ")[0]
    return dict(yaml.safe_load(section.split("```yaml\n")[1].split("```")[0]))


# -- the applications


class Application(BaseHTTPRequestHandler):
    """What applications have in common: bodies, answers and echoing websockets."""

    protocol_version = "HTTP/1.1"
    timeout = SECONDS

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            found = b""
            while size := int(self.rfile.readline() or b"0", 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, code: int, body: bytes | str = b"", **headers: str) -> None:
        body = body.encode() if isinstance(body, str) else body
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def public_url(self) -> str:
        """Scheme, name and port by which a visitor came, as applications make links of them."""
        return f"{self.headers['X-Forwarded-Proto']}://{self.headers['Host']}"

    def origin_agrees(self) -> bool:
        """What Grafana, Jupyter, Mattermost and code-server ask of a websocket."""
        return urlsplit(self.headers.get("Origin", "")).netloc == self.headers["Host"]

    def websocket(self) -> None:
        """Open a websocket, and send one message back."""
        if self.headers.get("Upgrade", "").lower() != "websocket":
            return self.answer(400, 'Can "Upgrade" only to "WebSocket".')
        if not self.origin_agrees():
            return self.answer(403, "origin not allowed")
        key = self.headers["Sec-WebSocket-Key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest()).decode()
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"),
                            ("Sec-WebSocket-Accept", accept)):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        head = self.rfile.read(6)  # one short frame with a mask
        text = bytes(b ^ head[2 + i % 4] for i, b in enumerate(self.rfile.read(head[1] & 0x7F)))
        self.wfile.write(bytes([0x81, len(text)]) + text)
        self.close_connection = True
        return None

    def handle_request(self) -> None:
        self.answer(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_MOVE = do_MKCOL = do_PROPFIND = (
        lambda self: self.handle_request()
    )


class WebsocketAt(Application):
    path_of_socket = ""

    def handle_request(self) -> None:
        if self.path.partition("?")[0] == self.path_of_socket:
            self.websocket()
        else:
            self.body()
            self.answer(200, self.public_url())


class Grafana(WebsocketAt):
    path_of_socket = "/api/live/ws"


class Jupyter(WebsocketAt):
    path_of_socket = "/api/kernels/1/channels"


class Mattermost(WebsocketAt):
    path_of_socket = "/api/v4/websocket"


class CodeServer(WebsocketAt):
    path_of_socket = "/stable-1/"


class HomeAssistant(WebsocketAt):
    path_of_socket = "/api/websocket"

    def handle_request(self) -> None:
        """As aiohttp's middleware of Home Assistant judges what a trusted proxy says."""
        visitors = self.headers.get_all("X-Forwarded-For", [])
        schemes = self.headers.get_all("X-Forwarded-Proto", [])
        names = self.headers.get_all("X-Forwarded-Host", [])
        if [len(visitors), len(schemes), len(names)] != [1, 1, 1] or "," in visitors[0]:
            self.answer(400, "malformed X-Forwarded-*")
        else:
            super().handle_request()


class Gitea(Application):
    def handle_request(self) -> None:
        if self.path.endswith("/objects/batch"):
            wanted = json.loads(self.body())["objects"][0]
            href = f"{self.public_url()}/ann/app.git/info/lfs/objects/{wanted['oid']}"
            found = {"objects": [{**wanted, "actions": {"upload": {"href": href}}}]}
            self.answer(200, json.dumps(found))
        else:
            digest = hashlib.sha256(self.body()).hexdigest()
            self.answer(200 if self.path.endswith(digest) else 422)


class Registry(Application):
    def handle_request(self) -> None:
        if self.command == "POST":
            self.answer(202, Location=f"{self.public_url()}/v2/app/blobs/uploads/1?_state=a%2Fb%3D")
        elif self.command == "PATCH":
            size = len(self.body())
            self.answer(202, Range=f"0-{size - 1}", Location=self.path)
        else:
            self.answer(404)


class Nextcloud(Application):
    def handle_request(self) -> None:
        body = self.body()
        words = {"method": self.command, "path": self.path, "size": len(body),
                 "to": self.headers.get("Destination"), "depth": self.headers.get("Depth"),
                 "url": self.public_url()}  # fmt: skip
        self.answer(200, json.dumps(words))


class Odoo(Application):
    def handle_request(self) -> None:
        if self.path.startswith("/websocket"):
            self.answer(500, "Couldn't bind the websocket. Is the connection opened on 8072?")
        else:
            self.answer(200, "odoo")


class OdooEvents(WebsocketAt):
    path_of_socket = "/websocket"


class Minio(Application):
    """Verifies a presigned URL (AWS Signature 4), of which Host, path and query are parts."""

    stored: dict[str, bytes] = {}  # noqa: RUF012

    def handle_request(self) -> None:
        path, _, query = self.path.partition("?")
        given = dict(parse_qsl(query, keep_blank_values=True))
        if given.pop("X-Amz-Signature", "") != signature(
            self.command, self.headers["Host"], path, given
        ):
            self.answer(403, "SignatureDoesNotMatch")
        elif self.command == "PUT":
            self.stored[path] = self.body()
            self.answer(200)
        else:
            self.answer(200, self.stored[path])


def signature(method: str, host: str, path: str, query: dict[str, str]) -> str:
    pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in query.items())
    line = "&".join(f"{k}={v}" for k, v in pairs)
    request = f"{method}\n{path}\n{line}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    day = query.get("X-Amz-Date", "")[:8]
    scope = f"{day}/us-east-1/s3/aws4_request"
    hashed = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{query.get('X-Amz-Date', '')}\n{scope}\n{hashed}"
    key = b"AWS4secret"
    for word in (day, "us-east-1", "s3", "aws4_request"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.new(key, text.encode(), "sha256").hexdigest()


class PgAdmin(Application):
    def handle_request(self) -> None:
        script = self.headers.get("X-Script-Name", "")
        self.answer(302, Location=f"{script}/login")


class Keycloak(Application):
    def handle_request(self) -> None:
        scheme, host = self.headers["X-Forwarded-Proto"], self.headers["X-Forwarded-Host"]
        name, port = host.rpartition(":")[0], self.headers["X-Forwarded-Port"]
        self.answer(
            302,
            Location=f"{scheme}://{name}:{port}/realms/a",
            Set_Cookie=f"KC={'x' * 40000}; Path=/",
        )


class Events(Application):
    read = threading.Event()

    def handle_request(self) -> None:
        self.read.clear()
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        # The second is sent only when the visitor has the first.
        if self.read.wait(SECONDS):
            self.wfile.write(b"data: second\n\n")
        self.close_connection = True


# -- a visitor


class Visitor:
    """Comes over HTTPS through a forwarded port, which the portal knows only by `Host`."""

    def __init__(self, server: Server, domain: str) -> None:
        self.server, self.host = server, f"{domain}:8443"

    def connect(self) -> ssl.SSLSocket:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.create_connection(("127.0.0.1", self.server.tls_port), SECONDS)
        return context.wrap_socket(raw, server_hostname=self.host.partition(":")[0])

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", timeout=SECONDS)
        connection.sock = self.connect()
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.suppress(OSError):  # a body that is refused: the answer says why
            connection.request(method, path, body, {"Host": self.host, **told})
        with connection.getresponse() as answer:
            found = answer.status, answer.headers, answer.read()
        connection.close()
        return found

    def talk(self, path: str) -> bytes:
        """What a websocket answers to "hello"; nothing if it does not open."""
        with self.connect() as channel:
            channel.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nOrigin: https://{self.host}\r\n"
                "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                f"{base64.b64encode(os.urandom(16)).decode()}\r\n\r\n".encode()
            )
            with channel.makefile("rb") as stream:
                if b" 101 " not in stream.readline():
                    return b""
                while stream.readline().strip():
                    pass
                mask = b"mask"
                text = bytes(b ^ mask[i % 4] for i, b in enumerate(b"hello"))
                channel.sendall(bytes([0x81, 0x80 | 5]) + mask + text)
                return stream.read(7)[2:]


def opens_a_websocket(path: str) -> Callable[[Visitor], None]:
    def check(visitor: Visitor) -> None:
        assert visitor.talk(path) == b"hello"
        assert visitor.ask("GET", "/")[2].decode() == f"https://{visitor.host}"

    return check


def gitea(visitor: Visitor) -> None:
    data = os.urandom(LARGE)
    wanted = {"objects": [{"oid": hashlib.sha256(data).hexdigest(), "size": LARGE}]}
    batch = visitor.ask("POST", "/ann/app.git/info/lfs/objects/batch", json.dumps(wanted))[2]
    href = urlsplit(json.loads(batch)["objects"][0]["actions"]["upload"]["href"])
    assert (href.scheme, href.netloc) == ("https", visitor.host)
    assert visitor.ask("PUT", href.path, data)[0] == 200


def registry(visitor: Visitor) -> None:
    code, told, _ = visitor.ask("POST", "/v2/app/blobs/uploads/", b"")
    there = urlsplit(told["location"])
    assert (code, there.scheme, there.netloc) == (202, "https", visitor.host)
    where = f"{there.path}?{there.query}"
    pieces = (b"\0" * 65536 for _ in range(LARGE // 65536))  # in chunks, as docker sends it
    code, told, _ = visitor.ask("PATCH", where, pieces)
    assert (code, told["range"]) == (202, f"0-{LARGE - 1}")
    assert told["location"] == where


def nextcloud(visitor: Visitor) -> None:
    for name in ("caldav", "carddav"):
        code, told, _ = visitor.ask("GET", f"/.well-known/{name}")
        assert (code, told["location"]) == (301, "/remote.php/dav/")
    assert "strict-transport-security" in visitor.ask("GET", "/")[1]
    there = f"https://{visitor.host}/remote.php/dav/files/ann/a%20b"
    for method in ("PROPFIND", "MKCOL", "MOVE"):
        said = visitor.ask(
            method, "/remote.php/dav/uploads/ann/1/%2B", Destination=there, Depth="1"
        )
        assert json.loads(said[2]) == {
            "method": method, "path": "/remote.php/dav/uploads/ann/1/%2B", "size": 0, "to": there,
            "depth": "1", "url": f"https://{visitor.host}",
        }  # fmt: skip
    said = visitor.ask("PUT", "/remote.php/dav/uploads/ann/1/2", b"\0" * LARGE)
    assert said[0] == 200
    assert json.loads(said[2])["size"] == LARGE


def odoo(visitor: Visitor) -> None:
    assert visitor.ask("GET", "/web")[2] == b"odoo"
    assert visitor.talk("/websocket?version=1") == b"hello"
    code, told, body = visitor.ask("GET", "/web/static/app.js")
    assert (code, body) == (200, b"odoo")
    assert told["cache-control"] == "max-age=86400"


def mattermost(visitor: Visitor) -> None:
    opens_a_websocket("/api/v4/websocket")(visitor)
    assert visitor.ask("POST", "/api/v4/files", b"\0" * LARGE)[0] == 200


def minio(visitor: Visitor) -> None:
    path = "/bucket/a%20b/%C3%BC%2Bc%252F.txt"
    query = {"X-Amz-Date": "20260101T000000Z", "X-Amz-SignedHeaders": "host", "versionId": "",
             "response-content-disposition": 'attachment; filename="a b"'}  # fmt: skip

    def presigned(method: str) -> str:
        signed = {**query, "X-Amz-Signature": signature(method, visitor.host, path, query)}
        return f"{path}?{urlencode(signed, quote_via=quote, safe='')}"

    data = os.urandom(LARGE)
    assert visitor.ask("PUT", presigned("PUT"), data, Expect="100-continue")[0] == 200
    assert visitor.ask("GET", presigned("GET"))[::2] == (200, data)
    code, told, _ = visitor.ask("HEAD", presigned("HEAD"))
    assert (code, told["content-length"]) == (200, str(LARGE))


def pgadmin(visitor: Visitor) -> None:
    assert visitor.ask("GET", "/pgadmin4/")[1]["location"] == "/pgadmin4/login"


def keycloak(visitor: Visitor) -> None:
    code, told, _ = visitor.ask("GET", "/realms/a/protocol/openid-connect/auth?a=b")
    assert (code, told["location"]) == (302, f"https://{visitor.host}/realms/a")
    assert len(told["set-cookie"]) > 40000


def events(visitor: Visitor) -> None:
    with visitor.connect() as channel:
        channel.sendall(f"GET / HTTP/1.1\r\nHost: {visitor.host}\r\n\r\n".encode())
        with channel.makefile("rb") as stream:
            lines = []
            while (line := stream.readline()) and b"second" not in line:
                lines.append(line)
                if b"first" in line:
                    Events.read.set()
    assert b"data: first\n" in lines
    assert b"second" in line


CHECKS: dict[str, tuple[type[Application], Callable[[Visitor], None]]] = {
    "grafana": (Grafana, opens_a_websocket("/api/live/ws")),
    "jupyter": (Jupyter, opens_a_websocket("/api/kernels/1/channels")),
    "gitea": (Gitea, gitea),
    "nextcloud": (Nextcloud, nextcloud),
    "odoo": (Odoo, odoo),
    "mattermost": (Mattermost, mattermost),
    "minio": (Minio, minio),
    "pgadmin": (PgAdmin, pgadmin),
    "code": (CodeServer, opens_a_websocket("/stable-1/?reconnectionToken=a-b")),
    "registry": (Registry, registry),
    "hass": (HomeAssistant, opens_a_websocket("/api/websocket")),
    "keycloak": (Keycloak, keycloak),
    "events": (Events, events),
}
WITHOUT = [
    ("grafana", "websocket"), ("jupyter", "websocket"), ("gitea", "client_max_body_size"),
    ("nextcloud", "locations"), ("nextcloud", "client_max_body_size"), ("nextcloud", "hsts"),
    ("odoo", "locations"), ("mattermost", "locations"), ("mattermost", "client_max_body_size"),
    ("minio", "client_max_body_size"), ("pgadmin", "locations"), ("code", "websocket"),
    ("registry", "client_max_body_size"), ("hass", "websocket"), ("keycloak", "proxy_buffer_size"),
]  # fmt: skip
"""Recipes, and an attribute without which they do not do."""


def domain_without(name: str, attribute: str) -> str:
    return f"{name}-without-{attribute.replace('_', '-')}.pigsty"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    applications = {
        name: ThreadingHTTPServer(("127.0.0.1", 0), kind)
        for name, kind in {**{n: k for n, (k, _) in CHECKS.items()}, "8072": OdooEvents}.items()
    }
    for application in applications.values():
        application.daemon_threads = True
        threading.Thread(target=application.serve_forever, daemon=True).start()
    given = {}
    for name, entry in recipes().items():
        if name not in CHECKS:
            continue
        port = applications[name].server_address[1]
        given[name] = {**entry, "endpoint": f"127.0.0.1:{port}"}
        for own in entry.get("locations", {}).values():
            if "endpoint" in own:
                other = applications[own["endpoint"].rpartition(":")[2]].server_address[1]
                own["endpoint"] = f"127.0.0.1:{other}"
    for name, attribute in WITHOUT:
        rest = {key: value for key, value in given[name].items() if key != attribute}
        key = f"{name}-without-{attribute}"
        given[key] = {**rest, "domain": domain_without(name, attribute)}
    started = Server(
        tmp_path_factory.mktemp("nginx"), {"home": {"domain": "i.pigsty"}, **given},
        nginx_client_max_body_size="1m",
    )  # fmt: skip
    yield started
    started.close()
    for application in applications.values():
        application.shutdown()
        application.server_close()


def test_each_recipe_of_the_page_is_tried() -> None:
    """gRPC alone needs a server of HTTP/2, which test_portal_applications.py has."""
    assert set(recipes()) == {*CHECKS, "rpc"}


@pytest.mark.parametrize("name", CHECKS)
def test_the_application_works_with_its_recipe(server: Server, name: str) -> None:
    CHECKS[name][1](Visitor(server, recipes()[name]["domain"]))


@pytest.mark.parametrize(("name", "attribute"), WITHOUT)
def test_without_an_attribute_of_its_recipe_it_does_not(
    server: Server, name: str, attribute: str
) -> None:
    with pytest.raises(AssertionError):
        CHECKS[name][1](Visitor(server, domain_without(name, attribute)))
