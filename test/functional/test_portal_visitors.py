"""What a visitor must not get or make up, by whatever spelling, from a real nginx with the portal.

Each test is an attack that got through once, and its siblings.
"""

import base64
import itertools
import os
import re
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from closing import stop
from lab.standins import oauth2_proxy
from nginx_server import PASSWORD, Server, Upstream
from portal_samples import TEMPLATES
from ports import free_port
from visitor_samples import RAW_PROXIED, raw_config

HOME = "i.pigsty"
ANN = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
ROOT = "Basic " + base64.b64encode(b"root:a made-up password").decode()
SESSION = "_oauth2_proxy=ann"
AGE = "max-age=31536000"


SPELLINGS = (
    "localhost", "LOCALHOST", "127.0.0.1", "127.0.0.2", "0.0.0.0",  # noqa: S104
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::1]", "0x7f000001", "0x7f.1", "10.10.10.10", "${admin_ip}",
    socket.gethostname(),
)  # fmt: skip
"""Ways to write this node in an endpoint; nginx takes each of them."""


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def plain_answer(upstream):
    upstream.answer()


@pytest.fixture(scope="module")
def folder():
    """A place for sites: not below /tmp, of which nginx's unit has its own."""
    with TemporaryDirectory(prefix="infra-nginx-", dir="/var/lib") as path:
        yield Path(path)


def entries(port, folder):
    there = f"127.0.0.1:{port}"
    site = str(folder / "site")
    config = raw_config(port, site)
    login = {"auth": False, "hsts": True}
    spelled = {
        f"spelled-{number}": {"domain": f"{number}.spelled.pigsty", "endpoint": f"{host}:{port}"}
        for number, host in enumerate(SPELLINGS)
    }
    return {
        **spelled,
        "home": {"config": config, "hsts": True},
        "plain": {"domain": "plain.pigsty", "endpoint": there, "config": config, **login},
        "closed": {"domain": "closed.pigsty", "endpoint": there, "auth": True, "hsts": True,
                   "config": config},
        "admin": {"domain": "admin.pigsty", "domains": ["*.admin.pigsty"], "endpoint": there,
                  "auth_paths": ["/admin"], **login},
        "hooks": {"domain": "hooks.pigsty", "endpoint": there, "auth": True, "hsts": True,
                  "open_paths": ["/hooks"]},
        "site": {"domain": "site.pigsty", "path": site, "index": True, "config": config,
                 "auth_paths": ["/private"], **login},
        "vault": {"domain": "vault.pigsty", "path": site, "auth": True, "hsts": True,
                  "open_paths": ["/open-files"]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def start(folder, upstream):
    running = []
    for name in ("", "files", "private", "open-files", "pigsty"):
        below = folder / "site" / name
        (below / ".git").mkdir(parents=True)
        (below / ".git/config").write_text("a secret of .git")
        (below / ".env").write_text("a secret of .env")
        (below / "page.html").write_text("a page")
    (folder / "site/exact").mkdir()
    (folder / "site/exact/.env").write_text("a secret of .env")

    def start(way, **changes):
        root = folder / f"server-{len(running)}"
        root.mkdir()
        names = ("vmetrics", "vlogs", "vtraces", "vmalert", "alertmanager", "grafana")
        components = {name: {"port": upstream.port} for name in names}
        components["grafana"] |= {"auth_proxy": True, "endpoints": []}
        server = Server(
            root, entries(upstream.port, folder), components=components, portal_auth=way,
            closed_ports=[upstream.port], haproxy={"node-1": f"127.0.0.1:{upstream.port}"},
            **changes,
        )  # fmt: skip
        running.append(server)
        for page in ("index.html", "404.html"):
            (server.home / page).write_text(f"page {page}")
        for name in ("", "pigsty/", "acme/.well-known/acme-challenge/"):
            below = server.home / name
            below.mkdir(parents=True, exist_ok=True)
            (below / ".git").mkdir()
            (below / ".git/config").write_text("a secret of .git")
            (below / ".env").write_text("a secret of .env")
            (below / ".key.asc").write_text("a secret of .key.asc")
        (server.home / "pigsty/a.deb").write_text("a package")
        (server.home / ".well-known").mkdir()
        (server.home / ".well-known/security.txt").write_text("whom to tell")
        return server

    yield start
    for server in running:
        server.close()


@pytest.fixture(scope="module")
def servers(start):
    """A portal without a login, one with passwords, and one with OIDC."""
    port = free_port()
    proxy = oauth2_proxy.start(port)
    yield {
        "": start(""),
        "basic": start("basic"),
        "oidc": start("oidc", oauth2_proxy_endpoint=f"127.0.0.1:{port}"),
    }
    stop(proxy)


def credentials(way):
    return {"basic": {"Authorization": ANN}, "oidc": {"Cookie": SESSION}}.get(way, {})


def received(upstream):
    """Headers of the last request, names in lower case; each once."""
    lines = upstream.seen[-1].split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    pairs = [(key.lower(), value.strip()) for key, _, value in (x.partition(":") for x in lines)]
    assert len(pairs) == len(dict(pairs)), pairs
    return dict(pairs)


# -- tools of the node behind another name


@pytest.mark.parametrize("number", range(len(SPELLINGS)))
def test_a_tool_is_closed_however_its_endpoint_is_spelled(servers, upstream, number):
    name = f"{number}.spelled.pigsty"
    asked = len(upstream.seen)
    assert servers["basic"].get(name, "/")[0] == 401, SPELLINGS[number]
    assert servers["basic"].get(name, "/", Authorization=ROOT)[0] == 401
    assert servers["oidc"].get(name, "/")[0] == 401
    assert len(upstream.seen) == asked
    assert servers["basic"].get(name, "/", tls=False)[0] == 301


# -- files that begin with a dot


SITES = [
    (HOME, "/"), (HOME, "/pigsty/"), (HOME, "/files/"), (HOME, "/alias/"),
    ("plain.pigsty", "/files/"), ("plain.pigsty", "/alias/"), ("closed.pigsty", "/files/"),
    ("site.pigsty", "/"), ("site.pigsty", "/private/"), ("site.pigsty", "/files/"),
    ("site.pigsty", "/alias/"), ("vault.pigsty", "/"), ("vault.pigsty", "/open-files/"),
]  # fmt: skip


@pytest.mark.parametrize("way", ["", "basic"])
@pytest.mark.parametrize(("name", "below"), SITES)
def test_no_hidden_file_is_served(servers, way, name, below):
    for hidden in (
        ".env", "%2eenv", ".%65nv", ".git/config", "%2Egit/config", "x/../.env", "/.git/config",
        ".git//config", ".git/../.env", "./.env", ".well-known/../.env", ".env?x=1", ".git/",
        ".ENV/../.env",
    ):  # fmt: skip
        tls = way == "basic"
        assert "secret" not in servers[way].get(name, below + hidden, tls, Authorization=ANN)[2]


@pytest.mark.parametrize("name", [HOME, "plain.pigsty", "site.pigsty"])
def test_a_hidden_file_that_an_operator_names_itself_is_not_served_either(servers, name):
    assert "secret" not in servers[""].get(name, "/exact/.env")[2]


@pytest.mark.parametrize("path", ["/.key.asc", "/.pigsty.repo", "//.key.asc", "/%2ekey.asc"])
def test_no_hidden_key_is_among_the_published_ones(servers, path):
    assert "secret" not in servers[""].get(HOME, path)[2]


def test_what_is_meant_for_visitors_is_served(servers):
    for name, path, wanted in (
        (HOME, "/pigsty/a.deb", "a package"),
        (HOME, "/.well-known/security.txt", "whom to tell"),
        (HOME, "/files/page.html", "a page"),
        (HOME, "/alias/page.html", "a page"),
        ("site.pigsty", "/page.html", "a page"),
        ("plain.pigsty", "/files/page.html", "a page"),
        ("plain.pigsty", "/.git/config", "upstream /.git/config"),  # its own affair
    ):
        assert servers[""].get(name, path)[::2] == (200, wanted), path


# -- headers about the visitor


MADE_UP = {
    name: f"evil-{name}"
    for name in (
        "X-Forwarded-User", "X-Forwarded-Groups", "X-Forwarded-Email", "X-Forwarded-For",
        "X-Forwarded-Preferred-Username", "X-Forwarded-Prefix", "X-Forwarded-Host",
        "X-Forwarded-Port", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "X-Auth-Request-User",
        "X-Auth-Request-Groups", "Remote-User", "X-Original-URL", "X-Rewrite-URL",
        "X-WEBAUTH-USER", "X-WEBAUTH-ROLE", "X-SSL-Client-Cert", "Proxy", "True-Client-IP",
    )
}  # fmt: skip


@pytest.mark.parametrize("way", ["", "basic", "oidc"])
@pytest.mark.parametrize("name", [HOME, "plain.pigsty", "closed.pigsty"])
@pytest.mark.parametrize("path", RAW_PROXIED)
def test_a_location_of_the_operator_gets_nothing_that_a_visitor_makes_up(
    servers, upstream, way, name, path
):
    login = "" if name == "plain.pigsty" else way or ("basic" if name == "closed.pigsty" else "")
    shown = {**MADE_UP, **credentials(login)}
    if path == "/own-host/x":  # its operator wrote that it is appended
        del shown["X-Forwarded-For"]
    assert servers[way].get(name, path, **shown)[0] == 200
    got = received(upstream)
    assert not [value for value in got.values() if "evil" in value]
    user = {"basic": "ann", "oidc": "ann", "": None}[login]
    assert got.get("x-forwarded-user") == user
    assert got["x-forwarded-for"] == "127.0.0.1"
    assert "authorization" not in got
    assert "oauth2" not in got.get("cookie", "")
    if path == "/own-header/x":
        assert got["x-own"] == "one"
    if path.startswith("/outer"):
        assert got["x-outer"] == "one"


@pytest.mark.parametrize("name", [HOME, "closed.pigsty"])
@pytest.mark.parametrize("path", ["/open/x", "/satisfied/x"])
def test_a_name_that_nobody_verified_is_not_handed_on(servers, upstream, name, path):
    for shown in ({"Authorization": ROOT}, {"X-Forwarded-User": "root"}, {}):
        assert servers["basic"].get(name, path, **shown)[0] == 200
        got = received(upstream)
        assert got.get("x-forwarded-user") is None
        assert "authorization" not in got
    assert servers["basic"].get(name, path, Authorization=ANN)[0] == 200
    assert "authorization" not in received(upstream)


@pytest.mark.parametrize("way", ["basic", "oidc"])
@pytest.mark.parametrize("path", [*RAW_PROXIED, "/files/page.html", "/said"])
def test_a_location_of_the_operator_asks_for_no_password_in_the_clear(servers, way, path):
    code, told, _ = servers[way].get(HOME, path, tls=False)
    assert (code, told["location"]) == (301, f"https://{HOME}:{servers[way].tls_port}{path}")


def test_a_location_that_its_operator_opens_stays_on_plain_http(servers):
    assert servers["basic"].get(HOME, "/open/x", tls=False)[0] == 200


class Gateway(socketserver.ThreadingTCPServer):
    """Answers FastCGI, uwsgi and SCGI; keeps the bytes of each request."""

    daemon_threads = allow_reuse_address = True

    def __init__(self, protocol):
        super().__init__(("127.0.0.1", 0), GatewayRequest)
        self.protocol, self.seen = protocol, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class GatewayRequest(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.settimeout(0.3)
        data = b""
        try:
            while got := self.request.recv(65536):
                data += got
        except TimeoutError:
            pass
        self.server.seen.append(data)
        answer = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\nok"
        if self.server.protocol == "fastcgi":
            head = struct.pack(">BBHHBB", 1, 6, 1, len(answer), 0, 0)
            end = struct.pack(">BBHHBB", 1, 3, 1, 8, 0, 0) + bytes(8)
            answer = head + answer + end
        self.request.sendall(answer)


@pytest.mark.parametrize("protocol", ["fastcgi", "uwsgi", "scgi"])
def test_a_program_behind_a_gateway_gets_nothing_made_up(tmp_path, protocol):
    gateway = Gateway(protocol)
    config = (
        f"location /x/ {{\n    {protocol}_param REQUEST_METHOD $request_method;\n"
        f"    {protocol}_pass 127.0.0.1:{gateway.server_address[1]};\n}}\n"
    )
    server = Server(tmp_path, {"home": {"config": config}}, portal_auth="basic")
    try:
        code = server.get(HOME, "/x/", Authorization=ANN, Cookie="kept=1", **MADE_UP)[0]
        assert code == 200
    finally:
        server.close()
        stop(gateway)
    assert b"evil" not in gateway.seen[-1]
    assert ANN.encode() not in gateway.seen[-1]
    assert b"kept=1" in gateway.seen[-1]


def test_behind_a_trusted_proxy_the_address_is_the_visitors_and_nobody_elses(start, upstream):
    server = start("")
    balancer = "set_real_ip_from 127.0.0.2;\nreal_ip_header X-Forwarded-For;\n"
    (server.root / "etc/conf.d/10-balancer.conf").write_text(balancer)
    server.process.send_signal(signal.SIGHUP)

    def seen_from(address):
        head = (
            "GET / HTTP/1.1\r\nHost: plain.pigsty\r\nConnection: close\r\n"
            "X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\n\r\n"
        )
        with socket.create_connection(("127.0.0.1", server.port), 10, (address, 0)) as channel:
            channel.sendall(head.encode())
            while channel.recv(65536):
                pass
        got = received(upstream)
        return got["x-forwarded-for"], got["x-real-ip"]

    deadline = time.monotonic() + 20
    while seen_from("127.0.0.2") != ("203.0.113.9", "203.0.113.9"):
        assert time.monotonic() < deadline
    assert seen_from("127.0.0.3") == ("127.0.0.3", "127.0.0.3")


# -- headers of answers


ANSWERS = [
    (HOME, "/"), (HOME, "/none"), (HOME, "/vmetrics/"), (HOME, "/ui/vmetrics/x"),
    (HOME, "/pigsty/a.deb"), (HOME, "/pigsty"), (HOME, "/haproxy/node-1/"), (HOME, "/.env"),
    (HOME, "/nginx"), (HOME, "/%0a"),
    *((name, path) for name in (HOME, "plain.pigsty", "closed.pigsty")
      for path in (*RAW_PROXIED, "/files/page.html", "/files/none", "/said", "/files/.env")),
    ("plain.pigsty", "/x"), ("closed.pigsty", "/x"), ("admin.pigsty", "/admin/x"),
    ("admin.pigsty", "/x"), ("admin.pigsty", "/x/..;/admin"), ("hooks.pigsty", "/hooks"),
    ("hooks.pigsty", "/x"), ("site.pigsty", "/page.html"), ("site.pigsty", "/private/page.html"),
    ("site.pigsty", "/files/page.html"), ("site.pigsty", "/.env"), ("site.pigsty", "/files"),
    ("vault.pigsty", "/page.html"), ("vault.pigsty", "/open-files/page.html"),
]  # fmt: skip


@pytest.mark.parametrize("way", ["", "basic", "oidc"])
@pytest.mark.parametrize(("name", "path"), ANSWERS)
def test_every_answer_has_the_security_headers_of_its_server(servers, upstream, way, name, path):
    upstream.answer("Strict-Transport-Security: max-age=0", "X-Upstream: yes")
    server = servers[way]
    for method in ("GET", "POST"):
        for shown in ({}, credentials(way or "basic"), {"Accept": "text/html"}):
            code, told, _ = server.get(name, path, method=method, Content_Length="0", **shown)
            assert told.get("strict-transport-security") == AGE, (code, told)
            if name == HOME:
                assert told.get("x-content-type-options") == "nosniff", code
                assert "x-frame-options" in told or path.startswith("/ui/"), code
                assert "referrer-policy" in told, code
    if path == "/own-answer/x" and name == "plain.pigsty":
        assert told["x-own-answer"] == "a;b}"


def test_a_session_that_goes_on_is_handed_on_beside_the_other_headers(servers):
    for name, path in (
        (HOME, "/vmetrics/"), (HOME, "/own-answer/x"), (HOME, "/files/page.html"),
        ("admin.pigsty", "/admin"), ("closed.pigsty", "/own-answer/x"),
    ):  # fmt: skip
        _, told, _ = servers["oidc"].get(name, path, Cookie=SESSION)
        assert told.get("set-cookie", "").startswith("_oauth2_proxy=ann"), path
        assert told["strict-transport-security"] == AGE


def test_no_answer_in_the_clear_says_that_it_is_to_be_encrypted(servers):
    for name in (HOME, "plain.pigsty", "site.pigsty", "closed.pigsty"):
        for path in ("/", "/none", "/said", "/own-answer/x"):
            assert "strict-transport-security" not in servers[""].get(name, path, tls=False)[1]


def test_a_request_that_is_none_is_answered_with_the_headers_as_well(servers):
    server = servers[""]
    long = b"/" + b"a" * 9000
    for line in (b"GET /%zz HTTP/1.1", b"GET / HTTP/9", b"GET " + long + b" HTTP/1.1"):
        answer = over_tls(server, HOME, line + b"\r\nHost: x\r\n\r\n")
        assert b"Strict-Transport-Security: " + AGE.encode() in answer, answer[:200]


def over_tls(server, name, data):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    raw = socket.create_connection(("127.0.0.1", server.tls_port), 10)
    with context.wrap_socket(raw, server_hostname=name) as channel:
        answer = b""
        try:
            channel.sendall(data)
            while got := channel.recv(65536):
                answer += got
        except OSError:
            pass
    return answer


def test_an_answer_of_an_operators_location_is_still_the_backends_own(servers, upstream):
    upstream.answer("X-Accel-Redirect: /said", body="its own answer")
    for path in RAW_PROXIED:
        assert servers[""].get(HOME, path)[2] == "its own answer", path


# -- redirects


@pytest.mark.parametrize("way", ["basic", "oidc"])
@pytest.mark.parametrize(
    "host", ["evil.example.org", "evil.example.org:80", "i.pigsty.evil.example", "6.6.6.6", "[::6]",
             "xi.pigsty", "closed.pigsty.", "a.closed.pigsty", "i_pigsty"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/vmetrics/", "//evil.example.org/", "/haproxy/node-1/"])
def test_no_redirect_leads_to_a_name_that_the_portal_does_not_have(servers, way, host, path):
    server = servers[way]
    for request in (f"GET {path} HTTP/1.1\r\nHost: {host}",
                    f"GET http://{host}{path} HTTP/1.1\r\nHost: {HOME}"):  # fmt: skip
        answer = server.raw(f"{request}\r\nConnection: close\r\n\r\n".encode())
        code, where = answer[9:12], location(answer)
        assert code in (b"301", b"400"), answer
        if code == b"301":
            assert re.match(rf"https://(i|closed)\.pigsty:{server.tls_port}/", where), where


def location(answer):
    found = re.search(rb"\r\nLocation: ([^\n]*)\n", answer)
    return found[1].removesuffix(b"\r").decode("latin-1") if found else ""


@pytest.mark.parametrize("way", ["basic", "oidc"])
def test_a_redirect_keeps_the_name_that_the_visitor_used(servers, way):
    server = servers[way]
    for host, wanted in (
        (HOME, HOME), ("I.PIGSTY", HOME), ("i.pigsty:1", HOME), ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.9", HOME), ("localhost", "localhost"), ("closed.pigsty", "closed.pigsty"),
        ("10.10.10.10", "10.10.10.10"),
    ):  # fmt: skip
        answer = server.raw(
            f"GET /a%20b?c=%2F HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
        )
        assert location(answer) == f"https://{wanted}:{server.tls_port}/a%20b?c=%2F", host


def test_a_redirect_below_a_wildcard_keeps_its_name(servers):
    said = servers["oidc"].raw(
        b"GET /x HTTP/1.1\r\nHost: one.admin.pigsty\r\nConnection: close\r\n\r\n"
    )
    assert location(said) == f"https://one.admin.pigsty:{servers['oidc'].tls_port}/x"


def test_an_unknown_name_is_not_where_a_sign_in_leads_back_to(servers):
    code, told, _ = servers["oidc"].get("evil.example.org", "/vmetrics/", Accept="text/html")
    assert code == 302
    assert "evil.example.org" not in told["location"]


ENCODED = ["%0d", "%0a", "%0d%0aX-Evil:%201", "%0D%0ASet-Cookie:%20a=b", "%00", "%09", "%7f",
           "%e5%98%8a%e5%98%8d", "%5cevil.example.org", "/%5cevil.example.org",
           "%2fevil.example.org", "/%09/evil.example.org"]  # fmt: skip
REDIRECTING = ["/ui/vmetrics/", "/ui/vmetrics", "/%75i/vmetrics/", "/ui/haproxy/", "/ui//vlogs/",
               "/pigsty", "/files", "/haproxy", "/vmetrics", "/"]  # fmt: skip


@pytest.mark.parametrize("name", [HOME, "site.pigsty", "closed.pigsty"])
@pytest.mark.parametrize("before", REDIRECTING)
def test_nothing_that_is_encoded_is_a_header_of_a_redirect(servers, name, before):
    for way, made_up in itertools.product(("", "basic"), ENCODED):
        server = servers[way]
        head = f"GET {before}{made_up} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        answer = server.raw(head.encode("latin-1")).partition(b"\r\n\r\n")[0]
        for line in answer.split(b"\r\n"):
            assert re.fullmatch(rb"[\t\x20-\x7e\x80-\xff]*", line), line
        assert not re.search(rb"(?i)^(x-evil|set-cookie):", answer, re.MULTILINE)
        assert not re.match(r"[\\/]{2}|/[\t\\]", location(answer + b"\r\n"))


def test_links_of_grafana_lead_to_the_tools_beside_it(servers):
    for path, wanted in (
        ("/ui/vmetrics/vmui/?a=%2F&b", "/vmetrics/vmui/?a=%2F&b"),
        ("/ui/vlogs/a%20b", "/vlogs/a%20b"), ("/ui/alertmgr", "/alertmgr"),
        ("/ui/haproxy/node-1/", "/haproxy/node-1/"),
    ):  # fmt: skip
        code, told, _ = servers[""].get(HOME, path)
        assert (code, told["location"]) == (301, wanted)


# -- logs


FORGED = "2026/11/28 12:00:00 [emerg] 1#1: bind() failed"
WAYS_TO_FORGE = {
    "a path": "GET /%0a{forged}%0a HTTP/1.1",
    "a path of the repository": "GET /pigsty/x%0A{forged}%0a HTTP/1.1",
    "a carriage return": "GET /x%0d{forged}%0d HTTP/1.1",
    "a path in a folder": "GET /files/%0a{forged}/ HTTP/1.1",
    "a user": "GET /x HTTP/1.1\r\nAuthorization: Basic {user}",
    "a host": "GET /x HTTP/1.1\r\nHost: a%0a{forged}",
    "a query": "GET /none?a=%0a{forged} HTTP/1.1",
}


@pytest.mark.parametrize("way", ["", "basic"])
@pytest.mark.parametrize("name", [HOME, "site.pigsty", "closed.pigsty", "vault.pigsty"])
@pytest.mark.parametrize("forgery", WAYS_TO_FORGE)
def test_no_request_writes_a_line_of_its_own_into_the_error_log(servers, way, name, forgery):
    server = servers[way]
    user = base64.b64encode(f"a\n{FORGED}\n:x".encode()).decode()
    head = WAYS_TO_FORGE[forgery].format(forged=FORGED.replace(" ", "%20"), user=user)
    head += "" if "Host:" in head else f"\r\nHost: {name}"
    data = f"{head}\r\nConnection: close\r\n\r\n".encode()
    server.raw(data)
    over_tls(server, name, data)
    lines = [line for path in (server.root / "log-error.log", *server.root.glob("log/*"))
             for line in re.split(r"[\r\n]", path.read_text())]  # fmt: skip
    assert not [line for line in lines if line.startswith(FORGED[:20])]


@pytest.mark.parametrize("way", ["umask", "rotated", "missing"])
def test_the_error_log_is_not_for_everybody(tmp_path, way):
    """With the umask of nginx's unit, and with the formula's own settings of logrotate."""
    unit = (TEMPLATES / "nginx.service.conf").read_text()
    before = os.umask(int(re.search(r"^UMask=(\d+)$", unit, re.MULTILINE)[1], 8))
    try:
        server = Server(tmp_path, {})
    finally:
        os.umask(before)
    log = tmp_path / "log-error.log"
    try:
        server.get(HOME, "/none?token=a-token", tls=False)
        assert "a-token" in log.read_text()
        if way == "rotated":
            log.chmod(0o644)  # as an nginx made it that has not been restarted since
            settings = tmp_path / "logrotate"
            text = (TEMPLATES / "logrotate").read_text()
            text = text.replace("/var/log/nginx-error.log", str(log))
            settings.write_text(text.replace("/run/nginx.pid", str(tmp_path / "pid")))
            settings.chmod(0o644)
            state = str(tmp_path / "state")
            subprocess.run(["/usr/sbin/logrotate", "-f", "-s", state, settings], check=True)
        elif way == "missing":
            log.unlink()
            server.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 20
        while not (log.exists() and "another" in log.read_text()):
            assert time.monotonic() < deadline
            server.get(HOME, "/none?token=another", tls=False)
        assert not log.stat().st_mode & 0o037
        assert not [p for p in (tmp_path / "log").iterdir() if p.stat().st_mode & 0o037]
    finally:
        server.close()
