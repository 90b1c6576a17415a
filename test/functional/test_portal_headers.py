"""What a real nginx hands to the servers behind it, and what it takes of their answers.

The server behind the portal keeps every byte that reaches it; its answers are hostile.
"""

import base64
import signal
import socket
import time

import pytest
from closing import stop
from lab.standins import oauth2_proxy
from nginx_server import PASSWORD, Server, Upstream, drain
from ports import free_port

HOME = "i.pigsty"
ANN = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
SESSION = "_oauth2_proxy=ann"
CONSOLE = "/haproxy/node-1/"
MADE_UP = (
    "X-Real-IP", "X-Real-Scheme", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
    "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Scheme",
    "X-Forwarded-Ssl", "X-Forwarded-User", "X-Forwarded-Groups", "X-Forwarded-Email",
    "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token", "X-Forwarded-Uri",
    "X-Forwarded-Method", "X-Forwarded-Client-Cert", "Forwarded", "X-Auth-Request-User",
    "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username",
    "X-Auth-Request-Access-Token", "X-Auth-Request-Redirect", "Remote-User", "Remote-Groups",
    "Remote-Email", "Remote-Name", "X-Remote-User", "X-Remote-Group", "X-Remote-Groups",
    "X-Remote-Email", "X-Auth-User", "X-Auth-Username", "X-Authenticated-User", "X-User",
    "X-WEBAUTH-USER", "X-WEBAUTH-NAME", "X-WEBAUTH-EMAIL", "X-WEBAUTH-GROUPS", "X-WEBAUTH-ROLE",
    "X-Original-URL", "X-Original-URI", "X-Original-Host", "X-Rewrite-URL", "X-Override-URL",
    "True-Client-IP", "X-Client-IP", "X-Cluster-Client-IP", "Client-IP", "CF-Connecting-IP",
    "Fastly-Client-IP", "X-Host", "X-SSL-Client-Cert", "X-SSL-Client-Verify", "X-SSL-Client-S-DN",
    "Proxy", "Proxy-Authorization", "X-Accel-Mapping", "X-Sendfile-Type", "Via",
)  # fmt: skip
"""Headers that a visitor makes up; servers of all kinds believe one or the other."""

ASKED_WITH = {  # place → name and path
    "tool": (HOME, "/vmetrics/x"),
    "tool with a websocket": (HOME, "/code/x"),
    "tool that keeps its path": (HOME, "/jupyter/x"),
    "Grafana": (HOME, "/ui/x"),
    "Grafana's websocket": (HOME, "/ui/api/live/x"),
    "shipped logs": (HOME, "/vlogs/insert/x"),
    "location of the operator": (HOME, "/own/x"),
    "page of a machine": (HOME, CONSOLE + "x"),
    "entry": ("plain.pigsty", "/x"),
    "entry with a websocket": ("live.pigsty", "/x"),
    "entry with a login": ("closed.pigsty", "/x"),
    "closed path": ("admin.pigsty", "/admin/x"),
    "path beside a closed one": ("admin.pigsty", "/x"),
    "open path": ("hooks.pigsty", "/hooks/x"),
    "path beside an open one": ("hooks.pigsty", "/x"),
}
LOGINS = ("", "basic", "oidc")


def entries(port):
    there = f"127.0.0.1:{port}"
    own = f"location /own/ {{\n    proxy_pass http://{there};\n}}"
    redirect = "location /inside/ {\n    internal;\n    return 200 inside;\n}"
    return {
        "home": {"config": own},
        # Its port is also that of a tool, which would be closed with the home page.
        "plain": {"domain": "plain.pigsty", "endpoint": there, "config": redirect, "auth": False},
        "send": {"domain": "send.pigsty", "endpoint": there, "config": redirect, "auth": False,
                 "accel_redirect": True},
        "live": {"domain": "live.pigsty", "endpoint": there, "websocket": True, "auth": False},
        "closed": {"domain": "closed.pigsty", "endpoint": there, "auth": True},
        "admin": {"domain": "admin.pigsty", "endpoint": there, "auth": False,
                  "auth_paths": ["/admin"]},
        "hooks": {"domain": "hooks.pigsty", "endpoint": there, "auth": True,
                  "open_paths": ["/hooks"]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def plain_answer(upstream):
    upstream.answer()


@pytest.fixture(scope="module")
def start(tmp_path_factory, upstream):
    running = []

    def start(way, **changes):
        names = ("vmetrics", "vlogs", "vtraces", "grafana", "code", "jupyter")
        components = {name: {"port": upstream.port} for name in names}
        components["grafana"] |= {"auth_proxy": True, "endpoints": []}
        there = f"127.0.0.1:{upstream.port}"
        server = Server(
            tmp_path_factory.mktemp("nginx"), entries(upstream.port), components=components,
            portal_auth=way, closed_ports=[upstream.port],
            haproxy={"node-1": there, "node.2": there, "none": f"127.0.0.1:{free_port()}"},
            **changes,
        )  # fmt: skip
        running.append(server)
        for page in ("index.html", "404.html"):
            (server.home / page).write_text(f"page {page}")
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
        "oidc": start("oidc", oauth2_proxy_endpoint=f"127.0.0.1:{port}",
                      portal_haproxy_logins=["node.2"]),
    }  # fmt: skip
    stop(proxy)


def received(upstream):
    """Headers of the last request, names in lower case; each once."""
    lines = upstream.seen[-1].split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
    pairs = [(key.lower(), value.strip()) for key, _, value in (x.partition(":") for x in lines)]
    assert len(pairs) == len(dict(pairs)), pairs
    return dict(pairs)


def credentials(way):
    return {"basic": {"Authorization": ANN}, "oidc": {"Cookie": SESSION}}.get(way, {})


@pytest.mark.parametrize("way", LOGINS)
@pytest.mark.parametrize("place", ASKED_WITH)
def test_nothing_that_a_visitor_makes_up_arrives(servers, upstream, way, place):
    name, path = ASKED_WITH[place]
    server = servers[way]
    made_up = {header: f"evil-{header}" for header in MADE_UP}
    asked = len(upstream.seen)
    assert server.get(name, path, **made_up, **credentials_for(way, place))[0] == 200
    assert len(upstream.seen) == asked + 1
    assert "evil" not in upstream.seen[-1].decode("latin-1")
    got = received(upstream)
    if place == "page of a machine":
        assert got == {"host": "haproxy-node-1"}
        return
    assert got["x-real-ip"] == got["x-forwarded-for"] == "127.0.0.1"
    assert got["x-forwarded-proto"] == "https"
    assert got["x-forwarded-port"] == str(server.tls_port)
    assert got["x-forwarded-host"] == name
    identity = {k: v for k, v in got.items() if "user" in k or "email" in k or "group" in k}
    assert identity == identity_of(way, place)


def login_of(way, place):
    """How a visitor logs in for a place."""
    if place in ("entry with a login", "closed path", "path beside an open one"):
        return way or "basic"
    open_ = ("shipped logs", "entry", "entry with a websocket", "open path",
             "path beside a closed one")  # fmt: skip
    return "" if place in open_ else way


def credentials_for(way, place):
    return credentials(login_of(way, place))


def identity_of(way, place):
    found = {
        "": {},
        "basic": {"x-forwarded-user": "ann"},
        "oidc": {"x-forwarded-user": "ann", "x-forwarded-email": "ann@example.org"},
    }[login_of(way, place)]
    grafana = place.startswith("Grafana") and found
    return {**found, "x-webauth-user": "ann"} if grafana else found


@pytest.mark.parametrize("place", ASKED_WITH)
def test_nothing_arrives_under_names_that_a_server_reads_alike(servers, upstream, place):
    name, path = ASKED_WITH[place]
    head = [f"GET {path} HTTP/1.1", f"Host: {name}", "Connection: close"]
    head += [f"Authorization: {ANN}"] if login_of("", place) else []
    names = {
        alike
        for header in MADE_UP
        for alike in (header.replace("-", "_"), header.replace("-", "."), header.upper(),
                      header.lower(), header.replace("-", "_", 1))
    }  # fmt: skip
    made_up = [f"{alike}: evil" for alike in sorted(names)]
    for part in range(0, len(made_up), 100):
        said = servers[""].raw_tls(
            "\r\n".join(head + made_up[part : part + 100]).encode() + b"\r\n\r\n"
        )
        assert said.startswith(b"HTTP/1.1 200"), said
        assert upstream.seen[-1].startswith(b"GET /")
        assert b"evil" not in upstream.seen[-1]


# -- credentials


@pytest.mark.parametrize("place", ASKED_WITH)
def test_the_portals_password_reaches_nobody(servers, upstream, place):
    name, path = ASKED_WITH[place]
    assert servers["basic"].get(name, path, Authorization=ANN)[0] == 200
    if place in ("entry", "entry with a websocket"):  # other names, to which a browser sends none
        assert received(upstream)["authorization"] == ANN
    else:
        assert "authorization" not in received(upstream)


@pytest.mark.parametrize("place", ASKED_WITH)
def test_a_session_of_the_portal_reaches_nobody(servers, upstream, place):
    name, path = ASKED_WITH[place]
    cookies = f"a=1; {SESSION}; _oauth2_proxy_1=x; b=2; _oauth2_proxy_csrf_q=y"
    assert servers["oidc"].get(name, path, Cookie=cookies)[0] == 200
    got = received(upstream)
    assert "oauth2" not in upstream.seen[-1].decode()
    none = place in ("tool", "shipped logs", "page of a machine")
    assert got.get("cookie") == (None if none else "a=1; b=2")


@pytest.mark.parametrize(
    ("cookies", "left"),
    [
        ("", None),
        ("a=1", "a=1"),
        ("a=1; b=2; c=3", "a=1; b=2; c=3"),
        ("_oauth2_proxy=s", None),
        ("_oauth2_proxy=s; a=1", "a=1"),
        ("a=1; _oauth2_proxy=s", "a=1"),
        ("a=1;_oauth2_proxy=s;b=2", "a=1;b=2"),
        ("a=1;   _oauth2_proxy=s", "a=1"),
        ("_oauth2_proxy=s=|t=; a=1", "a=1"),
        ("_oauth2_proxy=; a=1", "a=1"),
        ("_oauth2_proxy_0=s; _oauth2_proxy_1=t; a=1; _oauth2_proxy_2=u", "a=1"),
        ("a=1; _oauth2_proxy_csrf=s; b=2; _oauth2_proxy_csrf_x-Y=t", "a=1; b=2"),
        ("my_oauth2_proxy=1; a_oauth2_proxy=2", "my_oauth2_proxy=1; a_oauth2_proxy=2"),
        ("a=_oauth2_proxy=x; _oauth2_proxyx=1", "a=_oauth2_proxy=x; _oauth2_proxyx=1"),
        ("; ".join(f"_oauth2_proxy_{i}=s" for i in range(12)) + "; a=1", "a=1"),
        # More than anybody has by right: none of the cookies is handed on.
        ("; ".join(f"_oauth2_proxy_{i}=s" for i in range(40)) + "; a=1", None),
        ("a=1; " + "; ".join(f"_oauth2_proxy_csrf_{i}=s" for i in range(40)), None),
        ("_oauth2_proxy=" + "s" * 12000 + "; a=1", "a=1"),
        ("a=" + ";" * 3000 + "; _oauth2_proxy=s", "a="),
    ],
)
def test_just_the_cookies_of_the_session_are_taken_out(servers, upstream, cookies, left):
    assert servers["oidc"].get("plain.pigsty", "/", Cookie=cookies)[0] == 200
    assert "oauth2_proxy" not in received(upstream).get("cookie", "").replace(left or "-", "")
    assert received(upstream).get("cookie") == left


def test_cookies_are_the_applications_where_the_portal_has_none(servers, upstream):
    assert servers[""].get("plain.pigsty", "/", Cookie="_oauth2_proxy=x; a=1")[0] == 200
    assert received(upstream)["cookie"] == "_oauth2_proxy=x; a=1"


@pytest.mark.parametrize(
    ("name", "path", "cookie", "shown", "arrives"),
    [
        # Without a session a token is what the visitor was let in by, if at all.
        ("closed.pigsty", "/", SESSION, "Bearer app", True),
        ("closed.pigsty", "/", SESSION, ANN, True),
        ("hooks.pigsty", "/hooks", "", "Bearer hook", True),
        ("plain.pigsty", "/", "", "Bearer app", True),
        (HOME, "/vmetrics/", SESSION, ANN, True),
    ],
)
def test_an_applications_own_login_goes_through_behind_oidc(
    servers, upstream, name, path, cookie, shown, arrives
):
    given = {"Cookie": cookie} if cookie else {}
    assert servers["oidc"].get(name, path, Authorization=shown, **given)[0] == 200
    assert (received(upstream).get("authorization") == shown) is arrives


def test_a_token_that_lets_a_program_in_is_not_handed_on(start, upstream):
    """oauth2-proxy takes tokens, too (--skip-jwt-bearer-tokens)."""
    gate = Upstream()
    gate.answer("X-Auth-Request-User: robot", status="202 Accepted", body="")
    server = start("oidc", oauth2_proxy_endpoint=f"127.0.0.1:{gate.port}", nginx_users=False)
    for name, path in ((HOME, "/vmetrics/"), ("closed.pigsty", "/"), (HOME, "/own/")):
        assert server.get(name, path, Authorization="Bearer portal", X_Forwarded_User="x")[0] == 200
        assert b"Bearer portal" in gate.seen[-1]  # who judges it sees it
        assert b"X-Forwarded-User" not in gate.seen[-1]
        assert "authorization" not in received(upstream)
        assert received(upstream)["x-forwarded-user"] == "robot"
    gate.close()


def test_open_paths_beside_passwords_take_tokens(servers, upstream):
    assert servers["basic"].get("hooks.pigsty", "/hooks", Authorization="Bearer h")[0] == 200
    assert received(upstream)["authorization"] == "Bearer h"


# -- answers that steer nginx


@pytest.mark.parametrize("way", LOGINS)
@pytest.mark.parametrize("place", ["tool", "page of a machine", "entry", "entry with a login",
                                   "location of the operator", "Grafana"])  # fmt: skip
@pytest.mark.parametrize("target", ["/index.html", "/inside/", "/oauth2/auth", "/nginx", "/x"])
def test_no_answer_is_taken_from_elsewhere(servers, upstream, way, place, target):
    name, path = ASKED_WITH[place]
    upstream.answer(f"X-Accel-Redirect: {target}", body="its own answer")
    asked = len(upstream.seen)
    code, told, body = servers[way].get(name, path, **credentials_for(way, place))
    assert (code, body) == (200, "its own answer")
    assert len(upstream.seen) == asked + 1
    assert not [header for header in told if header.startswith("x-accel")]


def test_an_entry_that_says_so_answers_with_a_location_of_its_own(servers, upstream):
    upstream.answer("X-Accel-Redirect: /inside/x", body="its own answer")
    assert servers[""].get("send.pigsty", "/")[2] == "inside"


# -- pages of machines


OBEYED = {
    "Set-Cookie": "_oauth2_proxy=evil; Path=/", "Set-Cookie2": "a=b", "Clear-Site-Data": '"*"',
    "Service-Worker-Allowed": "/", "Refresh": "0; url=https://evil.example.org/",
    "Link": "</a.js>; rel=preload", "Alt-Svc": 'h2="evil.example.org:443"',
    "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true",
    "Access-Control-Allow-Headers": "*", "Access-Control-Allow-Methods": "*",
    "Access-Control-Expose-Headers": "*", "Access-Control-Max-Age": "9",
    "Access-Control-Allow-Private-Network": "true", "Timing-Allow-Origin": "*",
    "Strict-Transport-Security": "max-age=0", "Public-Key-Pins": "x", "Expect-CT": "max-age=0",
    "Content-Security-Policy-Report-Only": "default-src *; report-uri https://evil.example.org/",
    "X-Content-Security-Policy": "x", "X-WebKit-CSP": "x", "Permissions-Policy": "camera=*",
    "Feature-Policy": "x", "Document-Policy": "x", "Origin-Trial": "x", "Report-To": "{}",
    "Reporting-Endpoints": 'x="https://evil.example.org/"', "NEL": "{}", "SourceMap": "/x",
    "X-SourceMap": "/x", "Speculation-Rules": '"/x"', "Content-Disposition": "attachment",
    "Content-Location": "/", "WWW-Authenticate": 'Basic realm="Pigsty Home Auth"',
    "Proxy-Authenticate": "Basic", "Authentication-Info": "x", "X-DNS-Prefetch-Control": "on",
    "Cross-Origin-Opener-Policy": "unsafe-none", "Cross-Origin-Embedder-Policy": "x",
    "Origin-Agent-Cluster": "?0", "Accept-CH": "x", "Critical-CH": "x", "Set-Login": "logged-in",
    "Supports-Loading-Mode": "x", "No-Vary-Search": "x", "X-Powered-By": "x", "Pragma": "x",
    "Secure-Session-Registration": "(ES256);path=x", "Activate-Storage-Access": "load",
    "Use-As-Dictionary": "match=*", "ETag": '"1"', "Expires": "0", "Age": "1", "P3P": "x",
    "X-Accel-Redirect": "/", "X-Accel-Expires": "0", "X-Accel-Limit-Rate": "1",
    "X-Accel-Buffering": "no", "X-Accel-Charset": "utf-7", "Server": "evil", "Last-Modified": "x",
}  # fmt: skip
"""Headers that a browser, or nginx, acts on; none of a machine's page may arrive."""

DESTINATIONS = (
    "audio", "audioworklet", "embed", "empty", "fencedframe", "font", "frame", "iframe", "image",
    "json", "manifest", "object", "paintworklet", "report", "script", "serviceworker",
    "sharedworker", "style", "track", "video", "webidentity", "worker", "xslt",
)  # fmt: skip
"""What a browser may want an answer for, apart from a page (Sec-Fetch-Dest)."""

OURS = {
    "Content-Security-Policy": "default-src *", "X-Frame-Options": "ALLOWALL",
    "X-Content-Type-Options": "sniff", "Referrer-Policy": "unsafe-url",
    "Cache-Control": "public, max-age=99999", "Cross-Origin-Resource-Policy": "cross-origin",
    "Content-Type": "text/html; charset=utf-7", "Location": "https://evil.example.org/",
}  # fmt: skip


@pytest.mark.parametrize("way", LOGINS)
@pytest.mark.parametrize("status", ["200 OK", "302 Found", "401 Unauthorized", "404 Not Found",
                                    "500 Internal Server Error"])  # fmt: skip
def test_nothing_of_a_machines_page_is_obeyed(servers, upstream, way, status):
    lines = [f"{key}: {value}" for key, value in {**OBEYED, **OURS}.items()]
    upstream.answer(*lines, status=status, body="<title>evil</title>")
    server = servers[way]
    code, told, _ = server.get(HOME, CONSOLE, **credentials(way))
    assert code == int(status[:3])
    for header, value in OBEYED.items():
        got = told.get(header.lower())
        if way == "oidc" and header == "Set-Cookie":  # oauth2-proxy's own
            assert got is None or got.startswith("_oauth2_proxy=ann;")
        else:
            assert got in (None, "nginx"), (header, value)
    assert told["content-security-policy"] == (
        "sandbox allow-forms; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"base-uri 'none'; frame-ancestors 'none'; form-action https://{HOME}/haproxy/node-1/"
    )
    assert told["x-frame-options"] == "DENY"
    assert told["x-content-type-options"] == "nosniff"
    assert told["referrer-policy"] == "no-referrer"
    assert told["cache-control"] == "no-store"
    assert told["content-type"] == "text/html; charset=utf-8"
    assert "location" not in told


@pytest.mark.parametrize(
    ("kind", "becomes"),
    [
        ("text/html", "text/html; charset=utf-8"),
        ("TEXT/HTML;charset=utf-7", "text/html; charset=utf-8"),
        ("application/json", "application/json"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/css", "text/plain; charset=utf-8"),
        ("text/javascript", "text/plain; charset=utf-8"),
        ("application/javascript", "text/plain; charset=utf-8"),
        ("text/htmlx", "text/plain; charset=utf-8"),
        ("application/jsonp", "text/plain; charset=utf-8"),
        ("application/json, text/javascript", "text/plain; charset=utf-8"),
        ("image/svg+xml", "text/plain; charset=utf-8"),
        ("application/xhtml+xml", "text/plain; charset=utf-8"),
        ("multipart/x-mixed-replace; boundary=a", "text/plain; charset=utf-8"),
        ("application/pdf", "text/plain; charset=utf-8"),
        ("x" * 200, "text/plain; charset=utf-8"),
        ("", "text/plain; charset=utf-8"),
    ],
)
def test_a_machines_page_is_of_a_kind_that_runs_nothing(servers, upstream, kind, becomes):
    upstream.answer(*([f"Content-Type: {kind}"] if kind else []), body="alert(1)")
    said = servers[""].raw(
        f"GET {CONSOLE}a.js HTTP/1.1\r\nHost: {HOME}\r\nConnection: close\r\n\r\n".encode()
    )
    lines = said.split(b"\r\n\r\n")[0].decode().split("\r\n")
    assert [x for x in lines if x.lower().startswith("content-type")] == [
        f"Content-Type: {becomes}"
    ]


@pytest.mark.parametrize(
    ("location", "arrives"),
    [
        ("/haproxy/node-1/;st=DONE", True),
        ("/haproxy/node-1/;st=ERRP;up;norefresh;scope=a-b", True),
        ("/haproxy/node-1/", True),
        ("/haproxy/node-1/?scope=x", True),
        ("/haproxy/node.2/", False),
        ("/haproxy/node-1/x", False),
        ("/haproxy/node-1/..", False),
        ("/haproxy/node-1/../../alertmgr/-/reload", False),
        ("/haproxy/node-1/%2e%2e/", False),
        ("/haproxy/node-1/;\\..\\..", False),
        ("/haproxy/node-1/;x/../../..", False),
        ("/haproxy/node-1", False),
        ("/", False),
        ("//evil.example.org/haproxy/node-1/", False),
        ("https://evil.example.org/", False),
        ("http://haproxy-node-1/", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("\t/haproxy/node-1/ /", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("status", ["303 See Other", "201 Created", "307 Temporary Redirect"])
def test_a_machines_page_leads_to_itself_only(servers, upstream, location, arrives, status):
    upstream.answer(f"Location: {location}", status=status)
    _, told, _ = servers[""].get(HOME, CONSOLE, tls=False)
    assert told.get("location") == (location if arrives else None)


@pytest.mark.parametrize(
    ("method", "headers", "code"),
    [
        ("GET", {}, 200),
        ("HEAD", {}, 200),
        ("POST", {"Content-Length": "0"}, 200),
        ("GET", {"Sec-Fetch-Dest": "document"}, 200),
        *[("GET", {"Sec-Fetch-Dest": dest}, 403) for dest in DESTINATIONS],
        ("GET", {"Service-Worker": "script"}, 403),
        ("GET", {"Service-Worker": "script", "Sec-Fetch-Dest": "document"}, 403),
        *[(method, {"Content-Length": "0"}, 403) for method in
          ("PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "MKCOL", "LOCK")],
    ],
)  # fmt: skip
def test_a_machines_page_is_opened_as_a_page_or_not_at_all(
    servers, upstream, method, headers, code
):
    asked = len(upstream.seen)
    assert servers[""].get(HOME, CONSOLE, method=method, **headers)[0] == code
    assert len(upstream.seen) == asked + (code == 200)


def test_a_form_of_a_machines_page_reaches_that_machine(servers, upstream):
    body = b"s=one&action=drain&b=%234"
    servers[""].raw(
        f"POST {CONSOLE};norefresh?scope=a HTTP/1.1\r\nHost: {HOME}\r\nConnection: close\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nX-Token: secret\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    assert upstream.seen[-1].startswith(f"POST {CONSOLE};norefresh?scope=a HTTP/1.1".encode())
    assert received(upstream) == {
        "host": "haproxy-node-1",
        "content-length": str(len(body)),
        "content-type": "application/x-www-form-urlencoded",
    }
    assert upstream.seen[-1].endswith(body)
    said = servers[""].raw(
        f"POST {CONSOLE} HTTP/1.1\r\nHost: {HOME}\r\nConnection: close\r\n"
        "Content-Length: 99999999\r\n\r\n".encode()
    )
    assert said.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/haproxy/node-1/a/../b", "/haproxy/node-1/b"),
        ("/x/../haproxy/node-1/", "/haproxy/node-1/"),
        ("//haproxy//node-1/;csv", "/haproxy/node-1/;csv"),
        ("/haproxy/node-1/%2e%2e/node-1/", "/haproxy/node-1/"),
        ("/haproxy/node-1/../../", None),
        ("/haproxy/node-1/..%2f..%2f", None),
        ("/haproxy/node-1/../other/", None),
        ("/haproxy/", None),
        ("/haproxy/nobody/", None),
        ("/haproxy/node-1", None),
    ],
)
def test_a_machine_is_asked_for_its_own_page_only(servers, upstream, path, sent):
    asked = len(upstream.seen)
    servers[""].get(HOME, path)
    if sent is None:
        assert len(upstream.seen) == asked
    else:
        assert upstream.seen[-1].split(b" ")[1] == sent.encode()


def test_a_machine_that_does_not_answer_is_reported_by_the_portal(servers):
    code, told, _ = servers[""].get(HOME, "/haproxy/none/")
    assert code == 502
    assert told["content-type"] == "text/html"
    assert told["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize(
    ("path", "shown", "arrives"),
    [
        ("/haproxy/node.2/", ANN, True),
        ("/haproxy/node.2/", "basic YTpi", True),
        ("/haproxy/node.2/", "Bearer portal", False),
        ("/haproxy/node-1/", ANN, False),
    ],
)
def test_a_machine_that_is_named_gets_the_login_that_it_asks_for(
    servers, upstream, path, shown, arrives
):
    upstream.answer('WWW-Authenticate: Basic realm="HAProxy"', status="401 Unauthorized")
    code, told, _ = servers["oidc"].get(HOME, path, Authorization=shown, Cookie=SESSION)
    assert code == 401
    assert ("www-authenticate" in told) is path.endswith("node.2/")
    assert received(upstream).get("authorization") == (shown if arrives else None)
    assert "cookie" not in received(upstream)


def test_what_pigsty_left_of_a_machine_is_in_the_sandbox_too(start, upstream):
    server = start("")
    folder = server.root / "etc/conf.d/haproxy"
    there = f"server 127.0.0.1:{upstream.port} max_fails=0;"
    (folder / "upstream-db-1.conf").write_text(f"upstream haproxy-db-1 {{ {there} }}\n")
    (folder / "location-db-1.conf").write_text(
        "location ^~/haproxy/db-1/ { proxy_pass http://haproxy-db-1; proxy_connect_timeout 1; }\n"
    )
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    shown = {"Authorization": ANN, "Cookie": SESSION, "X-Forwarded-User": "root"}
    upstream.answer("Set-Cookie: a=b", "Location: /", "X-Accel-Redirect: /index.html", body="page")
    while (answer := server.get(HOME, "/haproxy/db-1/", **shown))[0] != 200:
        assert time.monotonic() < deadline
    _, told, body = answer
    assert body == "page"
    assert received(upstream) == {"host": "haproxy-db-1"}
    assert "form-action https://i.pigsty/haproxy/db-1/" in told["content-security-policy"]
    assert not {"set-cookie", "location"} & set(told)


def test_a_websocket_carries_the_same_headers(servers, upstream):
    with socket.create_connection(("127.0.0.1", servers[""].port), 10) as channel:
        lines = [f"{header}: evil" for header in MADE_UP]
        channel.sendall(
            b"GET /chat HTTP/1.1\r\nHost: live.pigsty\r\nConnection: Upgrade\r\n"
            b"Upgrade: websocket\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n"
        )
        channel.settimeout(2)
        drain(channel)
    got = received(upstream)
    assert (got["upgrade"], got["connection"]) == ("websocket", "upgrade")
    assert "evil" not in got.values()
