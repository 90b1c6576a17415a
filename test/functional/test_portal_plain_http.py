"""No password is asked for, nor taken, on plain HTTP, however a login came about: a real nginx."""

import base64
import shutil

import jinja2
import nginx_server
import pytest
from closing import stop
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from infra_formula.errors import Refused
from infra_formula.portal import entries as portal_entries
from infra_formula.portal import plain_http, rendering
from lab.standins import oauth2_proxy
from nginx_server import PASSWORD, Server, Upstream
from portal_samples import LOADER, TEMPLATES, facts, settings
from ports import free_port

ANN = "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
TOKEN = "Bearer a-token"  # noqa: S105
HOME = "i.pigsty"
RAW = 'auth_basic "raw"; auth_basic_user_file .htpasswd;'
CUSTOM = """server {
    server_name {{ entry.domain }};
    listen {{ settings.nginx_port }};
    MORE
    location / { proxy_pass http://127.0.0.1:PORT; }
    location /in { auth_basic "in"; auth_basic_user_file .htpasswd;
        proxy_pass http://127.0.0.1:PORT; }
}
"""


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def start(tmp_path_factory, upstream):
    running = []
    names = ("vmetrics", "vlogs", "vtraces", "vmalert", "alertmanager", "blackbox", "grafana")

    def start(portal, **changes):
        components = {name: {"port": upstream.port} for name in names} | {"pev": {"port": None}}
        server = Server(
            tmp_path_factory.mktemp("nginx"), portal,
            **{"components": components, "haproxy": {"node-1": f"127.0.0.1:{upstream.port}"},
               "closed_ports": [upstream.port], **changes},
        )  # fmt: skip
        running.append(server)
        for page in ("index.html", "zh.html", "404.html", "pev.html", "in", "pigsty/a.deb"):
            file = server.home / page
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"page {page}")
        return server

    yield start
    for server in running:
        server.close()


def authorizations(upstream, since):
    return [
        line for request in upstream.seen[since:] for line in request.split(b"\r\n")
        if line.lower().startswith(b"authorization:")
    ]  # fmt: skip


def check_closed(server, upstream, name, path, over_https=401):
    """A path needs a login over HTTPS, and on plain HTTP it redirects, whatever is sent."""
    assert server.get(name, path)[0] == over_https, (name, path)
    since = len(upstream.seen)
    for headers in ({}, {"Authorization": ANN}, {"Authorization": TOKEN}):
        code, answer, _ = server.get(name, path, tls=False, **headers)
        assert code == 301, (name, path, headers)
        assert answer["location"] == f"https://{name}:{server.tls_port}{path}"
    assert len(upstream.seen) == since


def check_open(server, upstream, name, path):
    """A path without a login stays on plain HTTP, where a login is not handed on."""
    since = len(upstream.seen)
    for headers in ({}, {"Authorization": ANN}, {"Authorization": TOKEN}):
        assert server.get(name, path, tls=False, **headers)[0] in (200, 404), (name, path, headers)
    assert authorizations(upstream, since) == []


def portal(port):
    there = {"endpoint": f"127.0.0.1:{port}"}
    site = {"path": "/usr/share"}
    entries = {
        "auth": {**there, "auth": True},
        "basic": {**there, "auth": "basic"},
        "unforced": {**there, "auth": True, "enforce_https": False},
        "users": {**there, "users": ["ann"]},
        "files": {**site, "auth": True},
        "spa": {**site, "auth": True, "spa": True, "expires": "1h"},
        "paths": {**there, "auth_paths": ["/in"]},
        "hooks": {**there, "auth": True, "open_paths": ["/out"]},
        "hooks2": {**there, "auth": True, "open_paths": ["/out"], "enforce_https": False},
        "inner": {**there, "locations": {"/in": {"auth": True}}},
        "exact": {**there, "locations": {"= /in": {"auth": True}}},
        "regex": {**there, "locations": {"~ ^/in": {"auth": "basic"}}},
        "caret": {**there, "locations": {"^~ /in": {"auth": True, **there}}},
        "filed": {**there, "locations": {"/in": {"auth": True, "path": "/usr/share"}}},
        "outer": {**there, "auth": True, "locations": {"/out": {"auth": False}}},
        "any": {**there, "auth": True, "allow": "10.9.9.9", "satisfy": "any"},
        "both": {**there, "locations": {"/in": {"auth": True}, "/in/out": {"auth": False}}},
        "cache": {**there, "proxy_cache": True, "locations": {"/in": {"auth": True}}},
        "own": {**there, "proxy_set_header": {"Authorization": "$http_authorization"},
                "locations": {"/in": {"auth": True}}},
        "raw": {**there, "config": RAW},
        "rawfiles": {**site, "config": RAW},
        "rawin": {**there, "config": f"location /in {{ {RAW} proxy_pass http://rawin; }}"},
        "rawnest": {**there, "config": "location /x { location /x/in { " + RAW + "} }"},
        "rawlimit": {**there, "config": "location /in { limit_except GET { " + RAW
                     + "} proxy_pass http://rawlimit; }"},
        "rawout": {**there, "config": RAW + " location /out { auth_basic off; "
                   "proxy_pass http://rawout; }"},
        "rawout2": {**there, "auth": True, "config": "location /out { auth_basic off; "
                    "proxy_set_header Authorization ${http_authorization}; "
                    "proxy_pass http://rawout2; }"},
        "rawvar": {**there, "config": 'set $realm "x"; location /in { auth_basic $realm; '
                   "auth_basic_user_file .htpasswd; proxy_pass http://rawvar; }"},
        "rawhand": {**there, "config": "location /in { add_header WWW-Authenticate "
                    "'Basic realm=x' always; return 401; }"},
        "rawask": {**there, "config": "location = /ask { internal; return 401; } "
                   "location /in { auth_request /ask; proxy_pass http://rawask; }"},
        "rawnamed": {**there, "config": "location /in { try_files /none @in; } location @in { "
                     + RAW + " proxy_pass http://rawnamed; }"},
        "rawif": {**there, "config": "location /in { " + RAW + " if ($arg_x) { "
                  "proxy_pass http://rawif; } proxy_pass http://rawif; }"},
        "health": {**there, "auth": True, "config": "location = /out { return 200 fine; }"},
        "maint": {**there, "auth": True, "maintenance": {"allow": ["127.0.0.1"]}},
        "challenge": {**there, "auth": True, "certbot": "x"},
        "hsts": {**there, "auth": True, "hsts": True, "open_paths": ["/out"]},
        "up": {**there, "auth": True, "websocket": True, "scheme": "http"},
        "only": {"locations": {"/in": {**there, "auth": True}}},
    }  # fmt: skip
    return {key: {"domain": f"{key}.p", "domains": [f"{key}.q"], **e} for key, e in entries.items()}


CLOSED = {
    **{
        key: ["/", "/in", "/in/x?y=1"]
        for key in ("auth", "basic", "unforced", "users", "files", "spa", "hooks", "hooks2", "any",
                    "outer", "raw", "rawfiles", "rawout", "rawout2", "health", "maint", "hsts",
                    "challenge", "up")
    },
    **{
        key: ["/in", "/in?y=1"]
        for key in ("paths", "inner", "exact", "regex", "caret", "both", "cache", "own", "rawin",
                    "rawvar", "rawhand", "rawask", "rawnamed", "rawif", "only")
    },
    "rawnest": ["/x/in", "/x/in/y"],
    "filed": ["/in/x", "/in/"],
    "paths": ["/in", "/in/", "/IN/x", "/inner"],
}  # fmt: skip
OPEN = {
    **{
        key: ["/out", "/out/x"]
        for key in ("hooks", "hooks2", "outer", "rawout", "rawout2", "hsts")
    },
    **{
        key: ["/", "/x"]
        for key in ("paths", "inner", "exact", "regex", "caret", "filed", "both", "cache", "own",
                    "rawin", "rawvar", "rawhand", "rawask", "rawif")
    },
    "health": ["/out"],
    "both": ["/", "/in/out/x"],
}  # fmt: skip


@pytest.fixture(scope="module")
def server(start, upstream):
    return start(portal(upstream.port), user_names=["ann"])


@pytest.mark.parametrize("key", CLOSED)
def test_what_needs_a_login_redirects_plain_http(server, upstream, key):
    for path in CLOSED[key]:
        for end in ("p", "q"):
            check_closed(server, upstream, f"{key}.{end}", path)


@pytest.mark.parametrize("key", OPEN)
def test_what_needs_none_stays_on_plain_http(server, upstream, key):
    for path in OPEN[key]:
        check_open(server, upstream, f"{key}.p", path)


def test_over_https_a_login_is_taken_as_before(server, upstream):
    for key in ("auth", "hooks", "inner", "rawin", "raw"):
        assert server.get(f"{key}.p", "/in", Authorization=ANN)[0] == 200, key
    assert server.get("hooks.p", "/out", Authorization=TOKEN)[0] == 200
    assert upstream.header("Authorization") == TOKEN
    assert server.get("rawlimit.p", "/in", method="POST", Content_Length="0")[0] == 401


def test_a_method_that_needs_a_login_redirects_plain_http(server):
    sent = {"tls": False, "Content_Length": "0", "Authorization": ANN}
    assert server.get("rawlimit.p", "/in", method="POST", **sent)[0] == 301


def test_a_challenge_stays_on_plain_http(server):
    file = server.home / "acme/.well-known/acme-challenge/a"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("proof")
    path = "/.well-known/acme-challenge/a"
    assert server.get("challenge.p", path, tls=False)[::2] == (200, "proof")


HOMES = {
    "auth": ({"home": {"auth": True}}, {}),
    "unforced": ({"home": {"auth": True, "enforce_https": False}}, {}),
    "users": ({"home": {"users": ["ann"]}}, {"user_names": ["ann"]}),
    "portal_auth": ({}, {"portal_auth": "basic"}),
    "raw": ({"home": {"config": RAW}}, {}),
}
TOOLS = ("vmetrics", "vlogs", "vtraces", "vmalert", "alertmgr", "blackbox")


@pytest.mark.parametrize("way", HOMES)
def test_the_home_page_and_its_tools_ask_over_https_alone(start, upstream, way):
    entries, changes = HOMES[way]
    server = start(entries, **changes)
    paths = ["/", "/zh", "/pev", "/index.html", "/none", "//", *(f"/{tool}/" for tool in TOOLS)]
    for path in [*paths, "/haproxy/node-1/", "/vlogs/select/x"]:
        check_closed(server, upstream, HOME, path, over_https=401)
    # The default server answers for names that nobody has, and for addresses.
    for name in ("unknown.p", "127.0.0.1", ""):
        assert server.get(name, "/", tls=False)[0] == 301 if name else True
    if way != "raw":
        for path in ("/pigsty/a.deb", "/vlogs/insert/jsonline", "/ca.crt", "/nginx"):
            check_open(server, upstream, HOME, path)


@pytest.mark.parametrize("inner", [{"locations": {"/in": {"auth": True}}},
                                   {"config": f"location /in {{ {RAW} }}"}])  # fmt: skip
def test_a_closed_location_of_an_open_home_page_redirects(start, upstream, inner):
    server = start({"home": inner})
    check_closed(server, upstream, HOME, "/in")
    for path in ("/", "/vmetrics/", "/pigsty/a.deb", "/ui/"):
        check_open(server, upstream, HOME, path)


def test_a_machine_that_asks_for_its_own_login_is_shown_over_https_alone(start, upstream):
    upstream.answer("WWW-Authenticate: Basic realm=haproxy", status="401 Unauthorized")
    try:
        server = start({}, portal_haproxy_logins=["node-1"])
        page = {"Sec_Fetch_Dest": "document"}
        assert server.get(HOME, "/haproxy/node-1/", **page)[0] == 401
        since = len(upstream.seen)
        assert server.get(HOME, "/haproxy/node-1/", tls=False, Authorization=ANN, **page)[0] == 301
        assert len(upstream.seen) == since
    finally:
        upstream.answer()


def test_with_oidc_neither_a_session_nor_its_pages_are_on_plain_http(start, upstream):
    port = free_port()
    proxy = oauth2_proxy.start(port)
    there = {"endpoint": f"127.0.0.1:{upstream.port}"}
    server = start(
        {"in": {"domain": "in.p", **there, "locations": {"/in": {"auth": "oidc"}}},
         "all": {"domain": "all.p", **there, "auth": "oidc"},
         "home": {"locations": {"/in": {"auth": "oidc"}}}},
        oauth2_proxy_endpoint=f"127.0.0.1:{port}",
    )  # fmt: skip
    for name, path in (("in.p", "/in"), ("all.p", "/"), (HOME, "/in"), (HOME, "/oauth2/start"),
                       ("in.p", "/oauth2/sign_in"), ("all.p", "/oauth2/sign_in")):  # fmt: skip
        since = len(upstream.seen)
        for headers in ({}, {"Cookie": "_oauth2_proxy=ann"}, {"Authorization": TOKEN}):
            assert server.get(name, path, tls=False, **headers)[0] == 301, (name, path)
        assert len(upstream.seen) == since
    stop(proxy)


@pytest.mark.parametrize("more", ["", "listen TLS ssl; ssl_certificate conf.d/cert/pigsty.crt; "
                                      "ssl_certificate_key conf.d/cert/pigsty.key;"])  # fmt: skip
def test_a_template_of_the_site_asks_over_https_alone(start, upstream, tmp_path, monkeypatch, more):
    text = CUSTOM.replace("PORT", str(upstream.port))
    text = text.replace("MORE", more.replace("TLS", "{{ settings.nginx_ssl_port }}"))
    (tmp_path / "site.conf.j2").write_text(text)
    loader = jinja2.ChoiceLoader([jinja2.FileSystemLoader(tmp_path), LOADER])
    monkeypatch.setattr(nginx_server, "LOADER", loader)
    server = start({"site": {"domain": "site.p", "conf": "site.conf.j2"}})
    check_closed(server, upstream, "site.p", "/in")
    since = len(upstream.seen)
    assert server.get("site.p", "/", tls=False)[0] == 200
    assert server.get("site.p", "/", tls=False, Authorization=ANN)[0] == 301
    assert authorizations(upstream, since) == []


def test_a_server_of_nginx_http_config_asks_over_https_alone(start, upstream):
    port, tls_port = free_port(), free_port()
    text = (
        f"server {{ listen {port}; listen {tls_port} ssl; server_name own.p; {RAW}\n"
        "ssl_certificate conf.d/cert/pigsty.crt; ssl_certificate_key conf.d/cert/pigsty.key; }"
    )
    server = start({}, nginx_http_config=text)
    own = type("Own", (), {"port": port, "tls_port": tls_port, "get": Server.get})()
    check_closed(own, upstream, "own.p", "/")
    assert server.get(HOME, tls=False)[0] == 200
    plain = f"server {{ listen {port}; {RAW} }}"
    with pytest.raises(Refused, match="nginx_http_config: expected a `listen … ssl`"):
        rendering.files({}, settings(nginx_http_config=plain), facts(), LOADER)


def test_behind_trusted_proxies_a_login_does_not_loop(start, upstream):
    server = start(portal(upstream.port) | {"home": {"auth": True}}, user_names=["ann"],
                   nginx_trusted_proxies=["127.0.0.1"])  # fmt: skip
    secure = {"X_Forwarded_Proto": "https", "tls": False}
    for key, paths in CLOSED.items():
        for path in paths[:1]:
            assert server.get(f"{key}.p", path, **secure)[0] == 401, key
            assert server.get(f"{key}.p", path, tls=False)[0] == 301, key
            plain = {"X_Forwarded_Proto": "http", "tls": False}
            assert server.get(f"{key}.p", path, Authorization=ANN, **plain)[0] == 301, key
    for path in ("/", "/vmetrics/", "/pev"):
        assert server.get(HOME, path, **secure)[0] == 401
        assert server.get(HOME, path, tls=False)[0] == 301
    # An open path hands a login on that came over HTTPS, as the proxy says.
    assert server.get("hooks.p", "/out", Authorization=TOKEN, **secure)[0] == 200
    assert upstream.header("Authorization") == TOKEN


def test_whoever_else_says_https_is_not_believed(start, upstream):
    server = start(portal(upstream.port), user_names=["ann"], nginx_trusted_proxies=["10.9.9.9"])
    for key, paths in CLOSED.items():
        got = server.get(f"{key}.p", paths[0], tls=False, X_Forwarded_Proto="https")
        assert got[0] == 301, key


def test_a_parameter_allows_passwords_over_plain_http(start, upstream):
    server = start(portal(upstream.port), user_names=["ann"], nginx_auth_over_http=True)
    for key in ("auth", "hooks", "inner", "raw"):
        assert server.get(f"{key}.p", "/in", tls=False)[0] == 401, key
        assert server.get(f"{key}.p", "/in", tls=False, Authorization=ANN)[0] == 200, key
    assert server.get("hooks.p", "/out", tls=False, Authorization=TOKEN)[0] == 200
    assert upstream.header("Authorization") == TOKEN


PLAIN = {"nginx_sslmode": "disable"}
THERE = {"domain": "web.p", "endpoint": "127.0.0.1:1"}


@pytest.mark.parametrize(
    ("portal", "changes", "where"),
    [
        ({"web": {**THERE, "auth": True}}, {}, "infra_portal.web.auth"),
        ({"web": {**THERE, "users": ["ann"]}}, {}, "infra_portal.web.users"),
        ({"web": {**THERE, "auth_paths": ["/a"]}}, {}, "infra_portal.web.auth_paths"),
        ({"web": {**THERE, "locations": {"/a": {"auth": True}}}}, {},
         "infra_portal.web.locations['/a'].auth"),
        ({"web": {**THERE, "config": RAW}}, {}, "infra_portal.web.config"),
        ({"web": {**THERE, "config": f"location /x {{ {RAW} }}"}}, {}, "infra_portal.web.config"),
        ({"home": {"auth": True}}, {}, "infra_portal.home.auth"),
        ({}, {"portal_auth": "basic"}, "infra_portal.home: expected no login by portal_auth"),
        ({"home": {}}, {"portal_auth": "basic"}, "infra_portal.home"),
        ({"web": {"domain": "web.p", "endpoint": "127.0.0.1:9059"}},
         {"portal_auth": "basic", "components": {"alertmanager": {"port": 9059}}},
         "infra_portal.web: expected no login by portal_auth"),
        ({"web": {**THERE, "auth": "oidc"}}, {"oauth2_proxy_endpoint": "127.0.0.1:2"},
         "infra_portal.web.auth"),
        ({}, {"portal_haproxy_logins": ["node-1"]}, "portal_haproxy_logins"),
    ],
)  # fmt: skip
def test_without_https_a_login_is_an_error_that_names_it_and_the_parameter(portal, changes, where):
    found = portal_entries.problems(portal, settings(**PLAIN, **changes))
    assert any(x.startswith(where) and "nginx_auth_over_http" in x for x in found), found
    assert portal_entries.problems(portal, settings(**changes)) == []
    allowed = settings(**PLAIN, nginx_auth_over_http=True, **changes)
    assert portal_entries.problems(portal, allowed) == []


def test_without_https_a_portal_without_logins_is_as_before():
    assert portal_entries.problems({"web": THERE}, settings(**PLAIN)) == []


# -- other ways of asking


@pytest.fixture(scope="module")
def odd(start, upstream, tmp_path_factory):
    """Sites in which an open location leads to a closed one by itself."""
    root = tmp_path_factory.mktemp("site", numbered=True)
    for name, text in (("docs/index.html", '<!--#include virtual="/in/x" -->'), ("in/x", "secret")):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    files, there = {"path": str(root)}, {"endpoint": f"127.0.0.1:{upstream.port}"}
    closed = f"location /in/ {{ {RAW} }}"
    entries = {
        "auth": {**there, "auth": True}, "open": {**there, "auth": True, "open_paths": ["/out"]},
        "inner": {**there, "locations": {"/in": {"auth": True}}},
        "accel": {**there, "accel_redirect": True,
                  "config": f"location /secret/ {{ internal; {RAW} proxy_pass http://accel; }}"},
        "error": {**files, "config": f"error_page 404 /in/x; {closed}"},
        "try": {**files, "config": f"location /t {{ try_files /none /in/x; }} {closed}"},
        "moved": {**there, "config": f"rewrite ^/alias /in/ last; {closed}"},
        "ssi": {**files, "config": f"ssi on; {closed}"},
        "index": {**files, "config": f"location ~ index.html$ {{ {RAW} }}"},
    }  # fmt: skip
    entries = {key: {"domain": f"{key}.p", **entry} for key, entry in entries.items()}
    # The tests' files are below /tmp, which the unit of nginx does not see: here it is no unit.
    for entry in entries.values():
        if "path" in entry:
            entry["path"] = f"/proc/self/root{root}"
    entries["wild"] = {"domain": "*.w.p", **there, "auth": True}
    return start({**entries, "home": {"auth": True}})


def asked(host, path, method="GET", version="1.1", headers=f"Authorization: {ANN}\r\n"):
    head = f"{method} {path} HTTP/{version}\r\nHost: {host}\r\nConnection: close\r\n"
    return f"{head}{headers}\r\n".encode()


ODD = [
    f"GET / HTTP/1.0\r\nAuthorization: {ANN}\r\n\r\n".encode(),
    asked("other.p", "http://auth.p/"),
    *(asked(h, "/") for h in ("auth.p:80", "AUTH.P", "auth.p.", "a.w.p", "b.c.w.p", "127.0.0.1",
                              "[::1]", "nobody", "", "auth.p:99999")),
    *(asked("inner.p", p) for p in ("//in", "/%69n", "/x/../in", "/in;x", "/IN", "/./in", "/in?x")),
    *(asked("auth.p", "/", method=m) for m in ("HEAD", "POST", "OPTIONS", "TRACE", "FOO")),
    *(asked("inner.p", "/in", method=m) for m in ("HEAD", "PUT", "OPTIONS", "DELETE", "FOO")),
    *(asked(h, p, headers=x) for h, p in (("auth.p", "/"), ("open.p", "/out")) for x in (
        f"authorization:{ANN}\r\n", f"X-Forwarded-Proto: https\r\nAuthorization: {ANN}\r\n",
        f"Authorization: {ANN}\r\nAuthorization: {ANN}\r\n", f"Authorization : {ANN}\r\n",
        f"Authorization: {ANN}\r\nUpgrade: websocket\r\n", f"Proxy-Authorization: {ANN}\r\n",
    )),
    *(asked("i.pigsty", p) for p in ("/", "/zh", "/pev", "/ui/", "/haproxy/x/", "/oauth2/",
                                     "/nginx", "/pigsty/", "/.htpasswd", "/vlogs/insert/x")),
    asked("accel.p", "/"), asked("error.p", "/none"), asked("try.p", "/t"),
    asked("moved.p", "/alias"), asked("ssi.p", "/docs/index.html"), asked("index.p", "/docs/"),
    b"GET /out HTTP/1.1\r\nHost: open.p\r\n\r\n" + asked("auth.p", "/"),
]  # fmt: skip


def test_no_way_of_asking_over_plain_http_leads_to_a_password(odd, upstream):
    upstream.answer("X-Accel-Redirect: /secret/a")
    try:
        for request in ODD:
            since = len(upstream.seen)
            answer = odd.raw(request, 5)
            assert b" 401 " not in answer, request
            assert b"WWW-Authenticate" not in answer, request
            assert b"secret" not in answer, request
            assert ANN.encode() not in b"".join(upstream.seen[since:]), request
    finally:
        upstream.answer()


# -- any portal

_LOCATION = st.fixed_dictionaries(
    {}, optional={"auth": st.sampled_from([True, False, "basic"]),
                  "path": st.just("/usr/share"), "expires": st.just("1h")}
)  # fmt: skip
_RAW = st.lists(
    st.sampled_from(
        ["{R}", "location /in {{ {R} }}", "location /out {{ auth_basic off; }}",
         "location ~ ^/re {{ {R} proxy_pass http://127.0.0.1:{P}; }}", "location = /one {{ {R} }}",
         "location /a {{ location /a/b {{ {R} }} location /a/c {{ auth_basic off; }} }}",
         "location /h {{ limit_except GET {{ {R} }} }}", "error_page 404 /in;",
         "location @n {{ {R} }} location /t {{ try_files /none @n; }}"]
    ), unique=True, max_size=4,
).map("\n".join)  # fmt: skip
_ENTRY = st.fixed_dictionaries(
    {"config": _RAW},
    optional={
        "auth": st.sampled_from([True, False, "basic"]),
        "locations": st.dictionaries(
            st.sampled_from(["/in2", "= /one2", "~ ^/re2", "^~ /a2", "/a2/b", "/"]), _LOCATION,
            max_size=3,
        ),
        "open_paths": st.just(["/out2"]),
        "auth_paths": st.just(["/in3"]),
        "enforce_https": st.booleans(),
        "certbot": st.just("x"),
        "hsts": st.just(True),
    },
)  # fmt: skip
PATHS = ("/", "/in", "/in/x", "/in2", "/one", "/one2", "/re", "/re2", "/a/b", "/a/c", "/a2/b/c",
         "/h", "/t", "/out", "/out2", "/in3", "/none", "/index.html")  # fmt: skip


@pytest.fixture(scope="module")
def draw_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("any")


@hypothesis_settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
@given(drawn=st.lists(_ENTRY, min_size=10, max_size=10), home=_ENTRY, files=st.booleans())
def test_no_portal_asks_for_a_password_on_plain_http(draw_folder, upstream, drawn, home, files):
    portal = {}
    for number, entry in enumerate(drawn):
        key = f"e{number}"
        there = {"path": "/usr/share"} if files else {"endpoint": f"127.0.0.1:{upstream.port}"}
        portal[key] = {"domain": f"{key}.p", **there, **entry}
    portal["home"] = {**home}
    given = settings()
    for key, entry in [*portal.items()]:
        entry["config"] = entry["config"].format(R=RAW, P=upstream.port)
        if portal_entries.problems({key: entry}, given):
            del portal[key]
    shutil.rmtree(draw_folder)
    draw_folder.mkdir()
    try:
        server = Server(draw_folder, portal)
    except RuntimeError as err:
        if not {"duplicate", "cannot"} & {*str(err).split()}:
            raise
        return
    try:
        since = len(upstream.seen)
        for key in ("home", *portal):
            name = HOME if key == "home" else f"{key}.p"
            for path in PATHS:
                sent = {"method": "POST" if path == "/h" else "GET", "Content_Length": "0"}
                code, answer, _ = server.get(name, path, tls=False, Authorization=ANN, **sent)
                assert code != 401, (key, path, portal.get(key), answer)
            entry = portal.get(key, {})
            if plain_http.of_config(entry.get("config", "")).anywhere:
                assert authorizations(upstream, since) == [], entry
            since = len(upstream.seen)
    finally:
        server.close()


def test_the_formula_asks_nothing_of_its_own_over_plain_http():
    """What is rendered for the samples holds no login that plain HTTP reaches, by its text."""
    files = rendering.files(portal(1), settings(user_names=["ann"]), facts(), LOADER)
    for rel, file in files.items():
        text = file.get("text", "")
        again = plain_http.guarded(text, "$https", "https://x")
        assert again == text, rel
    assert (TEMPLATES / "macros.j2").exists()
