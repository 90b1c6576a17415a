"""Thousands of hostile requests to one portal with everything on; none may get through.

The rows of the table in docs/security.md are written by these tests (support/attack_table.py).
"""

import base64
import itertools
import re
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import attack_table
import pytest
from closing import stop
from lab.standins import oauth2_proxy
from nginx_server import PASSWORD, Server, Upstream
from portal_samples import ALL_COMPONENTS
from ports import free_port
from visitor_samples import RAW_PROXIED, raw_config

HOME = "i.pigsty"
THIS = "test/functional/test_portal_corpus.py"
ANN = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
SESSION = "_oauth2_proxy=ann"
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND", "PATCH")


@dataclass
class Try:
    """A request, and what came of it."""

    host: str
    path: str
    method: str = "GET"
    headers: list[tuple[str, str]] = field(default_factory=list)
    tls: bool = True
    status: int = 0
    answer: bytes = b""  # header of the answer
    body: bytes = b""
    reached: list[bytes] = field(default_factory=list)  # what servers behind the portal got

    def header(self, name):
        found = re.search(rf"(?im)^{name}:[ \t]*([^\n]*?)\r?$".encode(), self.answer)
        return found[1].decode("latin-1") if found else None

    def __str__(self):
        return f"{self.method} {self.host}{self.path} {self.headers} → {self.status}"


class Visitor:
    """Sends requests one after the other, over as few connections as nginx allows."""

    def __init__(self, server, upstream):
        self.server, self.upstream, self.channels = server, upstream, {}
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.answered = 0

    def send(self, tries):
        for one in tries:
            before = len(self.upstream.seen)
            self._send(one)
            one.reached = self.upstream.seen[before:]
            self.answered += 1
        return tries

    def _send(self, one):
        lines = [f"{one.method} {one.path} HTTP/1.1", f"Host: {one.host}", "Content-Length: 0"]
        lines += [f"{name}: {value}" for name, value in one.headers]
        data = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        channel = self.channels.pop(one.tls, None)
        if channel is not None:
            try:
                channel.sendall(data)
                self._receive(one, channel)
            except OSError:
                channel.close()
            else:
                return
        channel = self._connect(one.tls)
        channel.sendall(data)
        self._receive(one, channel)

    def _connect(self, tls):
        port = self.server.tls_port if tls else self.server.port
        channel = socket.create_connection(("127.0.0.1", port), 20)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(channel, server_hostname=HOME) if tls else channel

    def _receive(self, one, channel):
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more(channel)
        head, _, body = data.partition(b"\r\n\r\n")
        one.answer, one.status = head + b"\r\n", int(head.split(b" ")[1])
        length = one.header("Content-Length")
        if one.method != "HEAD" and length is not None:
            while len(body) < int(length):
                body += self._more(channel)
        elif one.method != "HEAD" and one.header("Transfer-Encoding"):
            while not body.endswith(b"0\r\n\r\n"):
                body += self._more(channel)
        one.body = body
        if one.header("Connection") == "close":
            channel.close()
        else:
            self.channels[one.tls] = channel

    @staticmethod
    def _more(channel):
        got = channel.recv(65536)
        if not got:
            raise ConnectionResetError
        return got


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def visitor(upstream):
    """A visitor of a portal with everything on: both logins, all tools, every kind of entry."""
    port = free_port()
    proxy = oauth2_proxy.start(port)
    with TemporaryDirectory(prefix="infra-nginx-", dir="/var/lib") as folder:
        root = Path(folder)
        for name in ("", "files", "private", "open-files"):
            _fill(root / "site" / name)
        (root / "outside.txt").write_text("a file outside")
        (root / "server").mkdir()
        server = Server(
            root / "server", entries(upstream.port, root / "site"), portal_auth="basic",
            components=components(upstream.port), closed_ports=[upstream.port],
            oauth2_proxy_endpoint=f"127.0.0.1:{port}", oauth2_proxy_groups=["infra"],
            haproxy={"node-1": f"127.0.0.1:{upstream.port}"},
        )  # fmt: skip
        for name in ("", "pigsty", "acme/.well-known/acme-challenge"):
            _fill(server.home / name)
        (server.home / "outside.txt").write_text("a page")
        yield Visitor(server, upstream)
        server.close()
    stop(proxy)


def _fill(folder):
    (folder / ".git").mkdir(parents=True)
    for name in (".git/config", ".env", ".htpasswd", ".key.asc"):
        (folder / name).write_text("a secret")
    for name in ("index.html", "page.html", "404.html"):
        (folder / name).write_text("a page")


def components(port):
    found = {name: {"port": port} for name in ALL_COMPONENTS if name != "pev"}
    found["grafana"] |= {"auth_proxy": True, "endpoints": []}
    return found


def entries(port, site):
    there = f"127.0.0.1:{port}"
    config = raw_config(port, site)
    open_ = {"auth": False, "hsts": True}
    closed = {"hsts": True, "auth": True}
    return {
        "home": {"config": config, "hsts": True, "certbot": "x"},
        "tool": {"domain": "tool.pigsty", "endpoint": f"LOCALHOST:{port}", "hsts": True},
        "plain": {"domain": "plain.pigsty", "endpoint": there, "config": config, **open_},
        "basic": {"domain": "basic.pigsty", "endpoint": there, "config": config, **closed},
        "oidc": {"domain": "oidc.pigsty", "endpoint": there, "hsts": True, "auth": "oidc"},
        "wild": {"domain": "*.wild.pigsty", "endpoint": there, **closed},
        "live": {"domain": "live.pigsty", "endpoint": there, "websocket": True, **closed},
        "admin": {"domain": "admin.pigsty", "endpoint": there, "auth_paths": ["/admin"], **open_},
        "hooks": {"domain": "hooks.pigsty", "endpoint": there, "open_paths": ["/hooks"], **closed},
        "site": {"domain": "site.pigsty", "path": str(site), "index": True, "config": config,
                 "auth_paths": ["/private"], **open_},
        "vault": {"domain": "vault.pigsty", "path": str(site), "open_paths": ["/open-files"],
                  **closed},
    }  # fmt: skip


# -- places behind a login


CLOSED = [
    *((HOME, path) for path in (
        "/index.html", "/vmetrics/", "/vlogs/", "/vtraces/", "/vmalert/", "/alertmgr/",
        "/blackbox/", "/code/", "/jupyter/", "/haproxy/node-1/", "/plain/x", "/own-header/x",
        "/outer/inner/x", "/files/page.html")),
    ("tool.pigsty", "/x"), ("basic.pigsty", "/x"), ("basic.pigsty", "/own-header/x"),
    ("oidc.pigsty", "/x"), ("a.wild.pigsty", "/x"), ("live.pigsty", "/x"),
    ("admin.pigsty", "/admin/x"), ("hooks.pigsty", "/x"), ("vault.pigsty", "/page.html"),
    ("site.pigsty", "/private/page.html"),
]  # fmt: skip
SPELLINGS = (
    lambda p: p, lambda p: "/" + p, lambda p: "/." + p, lambda p: "/x/.." + p,
    lambda p: f"/%{ord(p[1]):02x}{p[2:]}", lambda p: f"/%25{ord(p[1]):02x}{p[2:]}",
    lambda p: p + "?a=/pigsty/", lambda p: p + ";/../pigsty/x", lambda p: "/pigsty/.." + p,
    lambda p: "/pigsty/%2e%2e" + p, lambda p: "/pigsty/..%2f" + p[1:],
    lambda p: "/hooks/..;" + p, lambda p: "/hooks/..%5c" + p[1:], lambda p: p.replace("/", "//"),
    lambda p: p + "%00", lambda p: p + "/.well-known/acme-challenge/x",
    lambda p: "/.well-known/acme-challenge/.." + p, lambda p: p + "/a.repo",
)  # fmt: skip
LOGINS = (
    [],
    [("Authorization", "Basic " + base64.b64encode(b"ann:wrong").decode())],
    [("Authorization", "Basic " + base64.b64encode(b"root:").decode())],
    [("Authorization", "Bearer x"), ("X-Forwarded-User", "ann"), ("X-WEBAUTH-USER", "ann")],
    [("Cookie", "_oauth2_proxy=nobody"), ("X-Auth-Request-User", "ann")],
    [("X-Original-URL", "/pigsty/"), ("X-Rewrite-URL", "/pigsty/"), ("X-Forwarded-For", "::1")],
)


def hosts_of(name):
    """Ways to write a name; the home page has every name that is nobody's."""
    more = ("127.0.0.1", "nobody.example", "localhost") if name == HOME else ()
    return (name, name.upper(), f"{name}.", f"{name}:99", *more)


def without_login():
    hosts = {name: itertools.cycle(hosts_of(name)) for name, _path in CLOSED}
    methods = itertools.cycle(METHODS)
    for (name, path), spelling, headers in itertools.product(CLOSED, SPELLINGS, LOGINS):
        tls = headers is not LOGINS[1] or name in ("basic.pigsty", "vault.pigsty")
        yield Try(next(hosts[name]), spelling(path), next(methods), headers, tls)


def is_behind_login(one):
    """Whether a request got what is behind a login."""
    return bool(one.reached) or one.status not in (301, 302, 400, 401, 403, 404, 405)


# -- files that begin with a dot


SITES = [
    (HOME, "/"), (HOME, "/pigsty/"), (HOME, "/files/"), (HOME, "/alias/"), (HOME, "/slash"),
    (HOME, "/.well-known/acme-challenge/"), ("plain.pigsty", "/files/"), ("plain.pigsty", "/slash"),
    ("basic.pigsty", "/alias/"), ("site.pigsty", "/"), ("site.pigsty", "/private/"),
    ("site.pigsty", "/files/"), ("vault.pigsty", "/"), ("vault.pigsty", "/open-files/"),
]  # fmt: skip
HIDDEN = (".env", ".git/config", ".htpasswd", ".key.asc", ".git/", "../.env")
DOTS = (".", "%2e", "%2E", "/.", "x/../.", "./.", "%2f.", ".well-known/../.", "%252e", "..%2f.")


def hidden_files():
    methods = itertools.cycle(("GET", "POST", "GET", "PROPFIND", "GET"))
    for (name, below), hidden, dot, headers in itertools.product(
        SITES, HIDDEN, DOTS, ([], [("Authorization", ANN)])
    ):
        yield Try(name, below + dot + hidden[1:], next(methods), headers)


def is_hidden_file(one):
    return b"secret" in one.body


# -- paths that lead outside


OUTSIDE = (
    "../outside.txt", "../../outside.txt", "%2e%2e/outside.txt", "..%2foutside.txt",
    "%2e%2e%2foutside.txt", "%252e%252e%252foutside.txt", "..%5coutside.txt", "....//outside.txt",
    "..;/outside.txt", ".%00./outside.txt", "..%c0%afoutside.txt", "x/../../outside.txt",
    "../../../../etc/passwd", "%2e%2e/%2e%2e/%2e%2e/etc/passwd",
)  # fmt: skip


def outside():
    for (name, below), way, headers in itertools.product(
        SITES, OUTSIDE, ([], [("Authorization", ANN)])
    ):
        yield Try(name, below + way, "GET", headers)


def is_outside(one):
    return b"a file outside" in one.body or b"root:x:" in one.body


# -- headers about the visitor


BELIEVED = (
    "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port",
    "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-User", "X-Forwarded-Groups",
    "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token",
    "X-Forwarded-Uri", "X-Forwarded-Client-Cert", "Forwarded", "X-Auth-Request-User",
    "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username",
    "Remote-User", "Remote-Groups", "Remote-Email", "X-Remote-User", "X-Remote-Group",
    "X-WEBAUTH-USER", "X-WEBAUTH-NAME", "X-WEBAUTH-EMAIL", "X-WEBAUTH-ROLE", "X-Original-URL",
    "X-Rewrite-URL", "X-Original-Host", "True-Client-IP", "X-Client-IP", "X-SSL-Client-Cert",
    "Proxy", "Proxy-Authorization", "X-Accel-Mapping", "Via",
)  # fmt: skip
PROXIED = [
    *((HOME, path) for path in ("/vmetrics/x", "/ui/x", "/code/x", "/jupyter/x",
                                "/vlogs/insert/x", "/haproxy/node-1/x")),
    *((name, path) for name in (HOME, "plain.pigsty", "basic.pigsty")
      for path in RAW_PROXIED if path != "/own-host/x"),
    ("plain.pigsty", "/x"), ("oidc.pigsty", "/x"), ("live.pigsty", "/x"),
    ("admin.pigsty", "/admin/x"), ("admin.pigsty", "/x"), ("hooks.pigsty", "/hooks/x"),
]  # fmt: skip


def forged_headers():
    spellings = itertools.cycle(
        (str, str.upper, str.lower, lambda h: h.replace("-", "_"), lambda h: h.replace("-", "_", 1))
    )
    for (name, path), header, several in itertools.product(PROXIED, BELIEVED, (1, 2)):
        login = [("Cookie", SESSION)] if name == "oidc.pigsty" else [("Authorization", ANN)]
        yield Try(name, path, "GET", [*login, *[(next(spellings)(header), "evil")] * several])


def is_forged(one):
    return one.status != 200 or not one.reached or b"evil" in one.reached[-1]


def credentials():
    for (name, path), (header, value) in itertools.product(
        [p for p in PROXIED if p[0] != "plain.pigsty"],
        (("Authorization", ANN), ("authorization", ANN), ("Cookie", f"a=1; {SESSION}"),
         ("Cookie", f"{SESSION}; _oauth2_proxy_1=x"), ("Proxy-Authorization", ANN)),
    ):  # fmt: skip
        yield Try(name, path, "GET", [(header, value)])


def is_leak(one):
    secret = one.headers[0][1].rpartition(" ")[2]
    return any(word in got for got in one.reached for word in (secret.encode(), b"_oauth2_proxy"))


# -- redirects


ENCODED = (
    "%0d", "%0a", "%0d%0aX-Evil:%201", "%0aSet-Cookie:%20evil=1", "%00", "%09", "%7f",
    "%5cevil.example", "/%5cevil.example", "%2fevil.example", "/%09/evil.example", "//evil.example",
    "@evil.example",
)  # fmt: skip
REDIRECTING = [
    *((HOME, p) for p in ("/", "/ui/vmetrics/", "/ui/vmetrics", "/%75i/vlogs/", "/ui//haproxy/",
                          "/pigsty", "/files", "/haproxy", "/vmetrics", "/plain/", "/moved/")),
    ("plain.pigsty", "/moved/"), ("site.pigsty", "/moved/"),
    ("basic.pigsty", "/"), ("oidc.pigsty", "/"), ("site.pigsty", "/files"), ("site.pigsty", "/"),
    ("vault.pigsty", "/open-files"), ("a.wild.pigsty", "/"),
]  # fmt: skip


def redirects():
    for (name, path), made_up, tls, host in itertools.product(
        REDIRECTING, ENCODED, (True, False), ("", "evil.example")
    ):
        yield Try(host or name, path + made_up, "GET", [("Accept", "text/html")], tls)


def is_open_redirect(one):
    where = one.header("Location") or "/"
    lines = one.answer.removesuffix(b"\r\n").split(b"\r\n")
    own = re.match(r"https?://(?:[a-z.]+\.)?pigsty[:/]|/(?![/\\\t])", where)
    own = own or where.startswith(oauth2_proxy.PROVIDER)
    return (
        not own
        or any(not re.fullmatch(rb"[\t\x20-\x7e\x80-\xff]*", line) for line in lines)
        or one.header("X-Evil") is not None
        or "evil" in (one.header("Set-Cookie") or "")
    )


# -- lines of logs


FORGED = "2026/11/28 12:00:00 [emerg] 1#1: bind() failed"


def forged_lines():
    for name, (before, after), end, tls in itertools.product(
        (HOME, "basic.pigsty", "oidc.pigsty", "site.pigsty", "vault.pigsty", "nobody.example"),
        (("/", ""), ("/pigsty/", ""), ("/files/", "/"), ("/none/", ".html"), ("/x?a=", "")),
        ("%0a", "%0d", "%0d%0a", "%0A%00"),
        (True, False),
    ):
        path = f"{before}{end}{FORGED.replace(' ', '%20')}{end}{after}"
        user = base64.b64encode(f"a\n{FORGED}\n:x".encode()).decode()
        yield Try(name, path, "GET", [("Authorization", f"Basic {user}")], tls)


ATTACKS = {
    "reach a tool or an entry without its login": (without_login, is_behind_login),
    "read a file whose name begins with a dot": (hidden_files, is_hidden_file),
    "read a file outside a site": (outside, is_outside),
    "make up a header about the visitor": (forged_headers, is_forged),
    "have a backend receive the portal's password or session": (credentials, is_leak),
    "redirect to another site, or add a header to an answer": (redirects, is_open_redirect),
    "write a line of one's own into a log": (forged_lines, lambda _one: False),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_request_of_the_corpus_gets_through(visitor, attack):
    requests, succeeds = ATTACKS[attack]
    tries = visitor.send(list(requests()))
    through = [str(one) for one in tries if succeeds(one)]
    if requests is forged_lines:
        through = log_lines(visitor.server)
    assert through[:20] == []
    # Whatever is tried, an answer over HTTPS says that this site is never to be asked without.
    bare = [str(one) for one in tries if one.tls and not one.header("Strict-Transport-Security")]
    assert bare[:20] == []
    attack_table.check(attack, len(tries), len(through), THIS)


def log_lines(server):
    logs = [server.root / "log-error.log", *server.root.glob("log/*")]
    lines = [line for log in logs for line in re.split(r"[\r\n]", log.read_text("latin-1"))]
    return [line for line in lines if line.startswith(FORGED[:20])]


def test_the_corpus_has_thousands_of_requests():
    assert sum(len(list(requests())) for requests, _ in ATTACKS.values()) >= 6000


def test_a_visitor_with_a_login_gets_in(visitor):
    """The test of the test."""
    for name, path in CLOSED:
        login = [("Cookie", SESSION)] if name == "oidc.pigsty" else [("Authorization", ANN)]
        (one,) = visitor.send([Try(name, path, headers=login)])
        assert one.status == 200, one
