"""What each attribute of an entry does to real bytes: of a visitor, of an endpoint, of a file."""

import socket
import subprocess
import time
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from infra_formula.portal import rendering, views
from nginx_check import version as check_version
from nginx_server import NGINX, PASSWORD, Server, Upstream
from portal_samples import ALL_COMPONENTS, settings
from ports import free_port

FORGED = {"X-Forwarded-User": "root", "X-Frame": "mine", "X-Tenant": "mine"}


@pytest.fixture(scope="module")
def upstreams():
    made = {name: Upstream() for name in ("app", "other", "backup")}
    yield made
    for upstream in made.values():
        upstream.close()


@pytest.fixture(autouse=True)
def plain_answers(upstreams):
    for name, upstream in upstreams.items():
        upstream.answer("X-Answered-By: " + name)


@pytest.fixture(scope="module")
def server(upstreams):
    app, other, backup = (f"127.0.0.1:{upstreams[n].port}" for n in ("app", "other", "backup"))
    with TemporaryDirectory(prefix="infra-nginx-", dir="/var/lib") as folder:
        root, site = Path(folder, "server"), Path(folder, "site")
        root.mkdir()
        (site / "assets").mkdir(parents=True)
        (site / ".git").mkdir()
        for name in ("index.html", "app.css", "assets/x.js", ".git/config", "down.html"):
            (site / name).write_text(f"file {name}")
        (site / "large.txt").write_text("large " * 4000)
        entries = {
            "headers": {"endpoint": app, "host": "internal.example.com",
                        "proxy_set_header": {"X-Tenant": "acme $host", "X-Forwarded-For": "",
                                             "X-Quote": 'a"b\\c;}', "X-Frame": "", "X-Number": 7}},
            "places": {"endpoint": app, "locations": {
                "/api": {"endpoint": other, "strip_prefix": True},
                "/kept/": {"endpoint": other},
                "= /exact": {"endpoint": other},
                "~* \\.(php|cgi)$": {"endpoint": other},
                "/pgadmin4/": {"proxy_set_header": {"X-Script-Name": "/pgadmin4"}},
                "/files": {"path": str(site)},
                "/app/": {"path": str(site), "spa": True},
                "/old": {"redirect": {"to": "/new", "code": 302}},
                "/live": {"websocket": True},
                "/small/": {"client_max_body_size": 10},
            }},
            "logins": {"endpoint": app, "locations": {
                "/admin": {"auth": True},
                "/admin/open": {"auth": False},
                "/admin/below": {"endpoint": other},
                "/x/": {"endpoint": other},
            }},
            "closed": {"endpoint": app, "auth": True, "locations": {
                "/hooks": {"auth": False}, "/other": {"endpoint": other}}},
            "tools": {"endpoint": app, "auth": False, "locations": {
                "/metrics": {"endpoint": "localhost:8428"}}},
            "weights": {"endpoint": [{"address": app, "weight": 3}, {"address": other}]},
            "backup": {"endpoint": [{"address": "127.0.0.1:1"}, {"address": backup,
                                                                "backup": True}]},
            "sticky": {"endpoint": [app, other], "balance": "hash $arg_user consistent"},
            "cached": {"endpoint": app, "proxy_cache": {"valid": "1h"}},
            "buffered": {"endpoint": app, "proxy_buffer_size": "64k"},
            "large": {"endpoint": app, "large_client_header_buffers": "64k"},
            "plain": {"endpoint": app},
            "static": {"path": str(site), "expires": "1h", "gzip": False,
                       "config": "location ~* \\.css$ {\n    expires 1d;\n}",
                       "locations": {"/assets/": {"expires": "max"}}},
            "spa": {"path": str(site), "spa": True, "expires": "1d",
                    "locations": {"/api/": {"endpoint": app}}},
            "moved": {"redirect": {"to": "https://www.example.com", "code": 308}},
            "apex": {"endpoint": app, "domains": ["www.apex.pigsty"],
                     "redirect": {"names": ["www.apex.pigsty"]}},
            "down": {"endpoint": app, "maintenance": {"page": str(site / "down.html")},
                     "certbot": "x", "config": "location /raw { return 204; }"},
            "partly": {"endpoint": app, "maintenance": {"allow": ["127.0.0.0/8"]}},
            "short": {"endpoint": app, "maintenance": True},
            "version": {"endpoint": app, "proxy_http_version": 1.0},
        }  # fmt: skip
        started = Server(
            root,
            {key: {"domain": f"{key}.pigsty", **entry} for key, entry in entries.items()},
            components=ALL_COMPONENTS, portal_auth="basic", own_names=[], tool_ports={},
        )  # fmt: skip
        acme = started.home / "acme/.well-known/acme-challenge"
        acme.mkdir(parents=True)
        (acme / "token").write_text("a challenge")
        yield started
        started.close()


def who(server, name, path="/", **headers):
    """Which endpoint answered, and the path that it got."""
    code, told, body = server.get(f"{name}.pigsty", path, **headers)
    return told.get("x-answered-by", code), body.removeprefix("upstream ")


def ann():
    return {"Authorization": "Basic " + b64encode(f"ann:{PASSWORD}".encode()).decode()}


def test_headers_of_an_entry_reach_its_endpoint_in_place_of_the_portals(server, upstreams):
    server.get("headers.pigsty", "/", **FORGED)
    app = upstreams["app"]
    assert app.header("Host") == "internal.example.com"
    assert app.header("X-Tenant") == "acme headers.pigsty"
    assert app.header("X-Quote") == 'a"b\\c;}'
    assert app.header("X-Number") == "7"
    assert app.header("X-Forwarded-For") is None
    assert app.header("X-Frame") is None
    assert app.header("X-Forwarded-User") is None
    assert app.header("X-Real-IP") == "127.0.0.1"
    heads = [line.split(":")[0].lower() for line in app.seen[-1].decode().splitlines()[1:] if line]
    assert len(heads) == len(set(heads))


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", ("app", "/")),
        ("/a?b=c", ("app", "/a?b=c")),
        ("/api/x?y=z", ("other", "/x?y=z")),
        ("/api", ("other", "/")),
        ("/kept/x%20y", ("other", "/kept/x%20y")),
        ("/exact", ("other", "/exact")),
        ("/exact/", ("app", "/exact/")),
        ("/x.PHP", ("other", "/x.PHP")),
        ("/files/app.css", (200, "file app.css")),
        ("/files/.git/config", (404, None)),
        ("/files../site/down.html", ("app", "/files../site/down.html")),
        ("/app/any/page", (200, "file index.html")),
        ("/app/app.css", (200, "file app.css")),
    ],
)
def test_what_is_below_one_name_is_answered_by_its_location(server, path, answer):
    found = who(server, "places", path)
    assert found[0] == answer[0]
    if answer[1] is not None:
        assert found[1] == answer[1]


def test_a_location_redirects_and_has_headers_of_its_own(server, upstreams):
    code, told, _ = server.get("places.pigsty", "/old")
    assert (code, told["location"]) == (302, "/new")
    code, told, _ = server.get("places.pigsty", "/files")
    assert (code, told["location"]) == (301, "/files/")
    server.get("places.pigsty", "/pgadmin4/x")
    assert upstreams["app"].header("X-Script-Name") == "/pgadmin4"
    server.get("places.pigsty", "/x", X_Script_Name="mine")
    for path, kept in (("/live/x", "websocket"), ("/x", None)):
        server.get("places.pigsty", path, Upgrade="websocket", Connection="upgrade")
        assert upstreams["app"].header("Upgrade") == kept
    assert server.get("places.pigsty", "/small/", method="POST", Content_Length="11")[0] == 413


@pytest.mark.parametrize(
    ("name", "path", "open_"),
    [
        ("logins", "/", True),
        ("logins", "/admin", False),
        ("logins", "/admin/x", False),
        ("logins", "/administration", False),
        ("logins", "/admin/below/x", False),
        ("logins", "/admin/open/x", True),
        ("logins", "/x/admin", True),
        ("closed", "/", False),
        ("closed", "/other", False),
        ("closed", "/hooks", True),
        ("tools", "/", True),
        ("tools", "/metrics", False),
    ],
)
def test_each_location_has_the_login_that_it_says_or_that_is_around_it(server, name, path, open_):
    assert (server.get(f"{name}.pigsty", path)[0] != 401) is open_
    code = server.get(f"{name}.pigsty", path, **ann())[0]
    assert code == (502 if path == "/metrics" else 200)


@pytest.mark.parametrize(
    "path",
    ["/Admin/x", "/ADMIN", "/%61dmin/x", "//admin/x", "/x/..;/admin", "/x/..%2fadmin",
     "/x/%2e%2e/admin", "/x/../admin/x", "/%2561dmin", "/x/..%5cadmin", "/admin;x", "/./admin",
     "/admin/open/..;/x", "/admin/open/%2e%2e/x", "/admin/open/..%2f..%2fadmin"],
)  # fmt: skip
def test_no_other_spelling_of_a_path_leads_past_the_login_of_a_location(server, upstreams, path):
    before = {name: len(upstream.seen) for name, upstream in upstreams.items()}
    assert server.get("logins.pigsty", path)[0] in (400, 401, 404)
    assert {name: len(upstream.seen) for name, upstream in upstreams.items()} == before


def test_endpoints_have_weights_and_backups_and_are_balanced_by_a_key(server):
    found = [who(server, "weights")[0] for _ in range(8)]
    assert (found.count("app"), found.count("other")) == (6, 2)
    assert {who(server, "backup")[0] for _ in range(3)} == {"backup"}
    users = {
        user: {who(server, "sticky", f"/?user={user}")[0] for _ in range(3)} for user in "abcdefgh"
    }
    assert all(len(answers) == 1 for answers in users.values())
    assert set().union(*users.values()) == {"app", "other"}


def test_an_answer_is_kept_but_none_of_a_visitor_with_a_login_or_a_cookie(server, upstreams):
    app = upstreams["app"]
    app.answer("Cache-Control: public", body="first")
    assert server.get("cached.pigsty", "/page")[2] == "first"
    app.answer(body="second")
    assert server.get("cached.pigsty", "/page")[2] == "first"
    for headers in ({"Cookie": "session=1"}, {"Authorization": "Bearer x"}):
        assert server.get("cached.pigsty", "/page", **headers)[2] == "second"
        assert server.get("cached.pigsty", "/mine", **headers)[2] == "second"
    app.answer(body="third")
    assert server.get("cached.pigsty", "/page")[2] == "first"
    assert server.get("cached.pigsty", "/mine")[2] == "third"
    app.answer("Set-Cookie: session=2", body="fourth")
    assert server.get("cached.pigsty", "/set")[2] == "fourth"
    app.answer(body="fifth")
    assert server.get("cached.pigsty", "/set")[2] == "fifth"


def test_large_headers_pass_where_the_entry_says_so(server, upstreams):
    upstreams["app"].answer("X-Large: " + "x" * 40000)
    assert server.get("buffered.pigsty", "/")[0] == 200
    assert server.get("plain.pigsty", "/")[0] == 502
    upstreams["app"].answer()
    cookie = {"Cookie": "a=" + "x" * 50000}
    assert server.get("large.pigsty", "/", **cookie)[0] == 200
    assert server.get("plain.pigsty", "/", **cookie)[0] == 400


def test_files_are_kept_by_browsers_as_long_as_the_entry_says(server):
    ages = {
        path: server.get("static.pigsty", path)[1].get("cache-control")
        for path in ("/", "/app.css", "/assets/x.js")
    }
    assert ages == {
        "/": "max-age=3600", "/app.css": "max-age=86400", "/assets/x.js": "max-age=315360000"
    }  # fmt: skip
    code, told, body = server.get("static.pigsty", "/large.txt", Accept_Encoding="gzip")
    assert (code, "content-encoding" in told, len(body)) == (200, False, 24000)


def test_an_application_of_one_page_answers_every_path_and_its_files(server):
    assert server.get("spa.pigsty", "/any/page")[::2] == (200, "file index.html")
    assert server.get("spa.pigsty", "/assets/x.js")[2] == "file assets/x.js"
    assert server.get("spa.pigsty", "/api/x")[2] == "upstream /api/x"
    assert server.get("spa.pigsty", "/.git/config")[0] == 404
    # The page itself names the files of a release: it must not be older than they are.
    assert server.get("spa.pigsty", "/any/page")[1]["cache-control"] == "no-cache"
    assert server.get("spa.pigsty", "/app.css")[1]["cache-control"] == "max-age=86400"


def test_names_are_redirected_with_the_path_and_the_status(server):
    code, told, _ = server.get("moved.pigsty", "/a?b=c", tls=False)
    assert (code, told["location"]) == (308, "https://www.example.com/a?b=c")
    for tls in (True, False):
        code, told, _ = server.get("www.apex.pigsty", "/a?b=c", tls=tls)
        assert (code, told["location"]) == (301, "https://apex.pigsty/a?b=c")
    assert who(server, "apex") == ("app", "/")


def test_maintenance_answers_everybody_but_who_is_allowed_and_certbot(server, upstreams):
    before = len(upstreams["app"].seen)
    for path in ("/", "/raw", "/a/b"):
        assert server.get("down.pigsty", path)[::2] == (503, "file down.html")
    code, told, body = server.get("short.pigsty", "/")
    assert (code, told["content-type"]) == (503, "text/html")
    assert "short.pigsty" in body
    assert len(upstreams["app"].seen) == before
    assert server.get("down.pigsty", "/.well-known/acme-challenge/token", tls=False)[0] == 200
    assert who(server, "partly") == ("app", "/")


GRPC_SERVER = """
daemon off; pid {root}/grpc.pid; events {{}}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{port} http2;
        location / {{
            default_type application/grpc;
            return 200 "$server_protocol $request_uri $host [$http_x_forwarded_user] $http_x_own";
        }}
    }}
}}
"""


def test_an_endpoint_that_speaks_grpc_gets_http2_and_the_portals_headers(tmp_path):
    port = free_port()
    conf = tmp_path / "grpc.conf"
    conf.write_text(GRPC_SERVER.format(root=tmp_path, port=port))
    backend = subprocess.Popen([NGINX, "-c", conf, "-p", tmp_path, "-e", tmp_path / "error.log"])
    entries = {"rpc": {"domain": "rpc.pigsty", "endpoint": f"127.0.0.1:{port}", "scheme": "grpc",
                       "proxy_set_header": {"X-Own": "own"},
                       "locations": {"/stripped/": {"strip_prefix": True}}}}  # fmt: skip
    (tmp_path / "portal").mkdir()
    server = Server(tmp_path / "portal", entries)
    try:
        deadline = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for path, got in (("/a.Service/Call", "/a.Service/Call"), ("/stripped/x", "/x")):
            body = subprocess.run(
                ["curl", "-sSk", "--http2", "-H", "content-type: application/grpc",
                 "-H", "X-Forwarded-User: root", "--data-binary", "x",
                 "--resolve", f"rpc.pigsty:{server.tls_port}:127.0.0.1",
                 f"https://rpc.pigsty:{server.tls_port}{path}"],
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            assert body == f"HTTP/2.0 {got} rpc.pigsty [] own"
    finally:
        server.close()
        backend.terminate()
        backend.wait(20)


@pytest.mark.parametrize(
    ("attribute", "value"), [("http3", True), ("brotli", True), ("proxy_http_version", 2)]
)
def test_what_this_nginx_lacks_is_refused_by_name(attribute, value):
    number = check_version()
    has = {"http3": "http3" in rendering.modules(), "brotli": "brotli" in rendering.modules(),
           "proxy_http_version": number >= [1, 29, 4]}[attribute]  # fmt: skip
    entry = {"domain": "x.p", "endpoint": "127.0.0.1:1", attribute: value}
    found = rendering.problems({"x": entry}, settings())
    assert bool(found) is not has
    if found:
        (error,) = found
        assert error.startswith(f"infra_portal.x.{attribute}: expected")
        assert ".".join(map(str, number)) in error


def test_an_endpoint_is_asked_in_the_version_that_the_entry_says(server, upstreams):
    server.get("version.pigsty", "/")
    assert upstreams["app"].seen[-1].split(b"\r\n")[0].endswith(b"HTTP/1.0")
    server.get("plain.pigsty", "/")
    assert upstreams["app"].seen[-1].split(b"\r\n")[0].endswith(b"HTTP/1.1")


def test_a_cache_is_kept_apart_by_all_that_a_visitor_may_send_of_the_address():
    """An upstream makes links of the port in `Host`: another visitor must not be given those."""
    portal = {"a": {"domain": "a.x", "endpoint": "10.0.0.1:80", "proxy_cache": True}}
    (location,) = views.views(portal, settings())["a"]["locations"]
    for variable in ("$scheme", "$portal_host", "$visitor_port", "$request_uri"):
        assert variable in location["cache"]["key"]
