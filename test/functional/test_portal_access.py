"""Who gets in where: basic auth, OIDC through oauth2-proxy, and what stays open, by a real nginx.

oauth2-proxy is a stand-in (test/lab/standins/oauth2_proxy.py).
"""

import base64

import pytest
from closing import stop
from lab.standins import oauth2_proxy
from nginx_server import PASSWORD, Server, Upstream
from ports import free_port

TOOLS = ("vmetrics", "vlogs", "vtraces", "vmalert", "alertmgr", "blackbox")
CLOSED = (
    "/", "/index.html", "/zh", "/zh.html", "/logs/", "/haproxy/node-1/", "//", "/pigsty/../",
    *(f"/{tool}/" for tool in TOOLS),
)  # fmt: skip
OPEN = ("/pigsty/some.deb", "/pigsty.repo", "/ca.crt", "/.well-known/acme-challenge/token")
ANN = {"Authorization": "Basic " + base64.b64encode(f"ann:{PASSWORD}".encode()).decode()}
PAGE = {"Accept": "text/html"}
HOME = "i.pigsty"


@pytest.fixture(scope="module")
def upstream():
    made = Upstream()
    yield made
    made.close()


@pytest.fixture(scope="module")
def start(tmp_path_factory, upstream):
    running = []

    def start(entries, **changes):
        names = ("vmetrics", "vlogs", "vtraces", "vmalert", "alertmanager", "blackbox", "grafana")
        components = {name: {"port": upstream.port} for name in names}
        server = Server(
            tmp_path_factory.mktemp("nginx"), entries, components=components,
            haproxy={"node-1": f"127.0.0.1:{upstream.port}"}, **changes,
        )  # fmt: skip
        running.append(server)
        for path in OPEN:
            root = server.home / "acme" if "acme" in path else server.home
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("for everybody")
        for page in ("index.html", "zh.html", "404.html"):
            (server.home / page).write_text(f"page {page}")
        return server

    yield start
    for server in running:
        server.close()


def entries(port):
    there = f"127.0.0.1:{port}"
    return {
        "home": {"certbot": "x"},
        "tool": {"domain": "p.pigsty", "endpoint": there},
        "bare": {"domain": "b.pigsty", "endpoint": there, "auth": False},
        "admin": {"domain": "a.pigsty", "endpoint": there, "auth": False,
                  "auth_paths": ["/admin/"]},
        "hooks": {"domain": "h.pigsty", "endpoint": there, "auth": True, "open_paths": ["/hooks"]},
        "site": {"domain": "s.pigsty", "path": "/www/s", "auth_paths": ["/private"]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def basic(start, upstream):
    return start(entries(upstream.port), portal_auth="basic")


@pytest.fixture(scope="module")
def oidc(start, upstream):
    port = free_port()
    proxy = oauth2_proxy.start(port)
    yield start(
        entries(upstream.port), portal_auth="oidc", oauth2_proxy_endpoint=f"127.0.0.1:{port}",
        oauth2_proxy_groups=["infra", "a b;c"], nginx_users=False,
    )  # fmt: skip
    stop(proxy)


def test_without_the_switch_the_home_page_and_its_tools_are_open(start):
    server = start({})
    for path in ("/", "/vmetrics/", "/haproxy/node-1/"):
        assert server.get(HOME, path, tls=False)[0] == 200, path


@pytest.mark.parametrize("path", CLOSED)
def test_basic_closes_the_home_page_and_its_tools(basic, upstream, path):
    asked = len(upstream.seen)
    code, told, _ = basic.get(HOME, path)
    assert code == 401
    assert told["www-authenticate"].startswith("Basic realm=")
    assert basic.get(HOME, path, Authorization="Basic YW5uOndyb25n")[0] == 401
    assert len(upstream.seen) == asked
    assert basic.get(HOME, path, **ANN)[0] in (200, 403, 404)


@pytest.mark.parametrize("path", CLOSED)
def test_no_password_is_asked_for_in_the_clear(basic, oidc, path):
    for server in (basic, oidc):
        code, told, _ = server.get(HOME, path, tls=False)
        assert code == 301
        assert told["location"].startswith(f"https://{HOME}:{server.tls_port}/")


@pytest.mark.parametrize("path", OPEN)
@pytest.mark.parametrize("tls", [True, False])
def test_what_machines_fetch_is_open_whatever_the_switch(basic, oidc, path, tls):
    for server in (basic, oidc):
        assert server.get(HOME, path, tls)[::2] == (200, "for everybody")
        assert server.get(HOME, "/pigsty/none.deb", tls)[::2] == (404, "page 404.html")


def test_the_upstream_is_told_the_user_and_not_the_password(basic, upstream):
    assert basic.get(HOME, "/vmetrics/x", X_Forwarded_User="root", **ANN)[0] == 200
    assert upstream.header("X-Forwarded-User") == "ann"
    assert upstream.header("Authorization") is None
    basic.get("b.pigsty", "/", X_Forwarded_User="root", X_Forwarded_Email="r@x", X_WEBAUTH_USER="r")
    for name in ("X-Forwarded-User", "X-Forwarded-Email", "X-WEBAUTH-USER"):
        assert upstream.header(name) is None


def test_grafana_asks_for_a_login_itself_and_sees_its_own_tokens_only(basic, upstream):
    assert basic.get(HOME, "/ui/api", **ANN)[0] == 200
    assert upstream.header("Authorization") is None
    assert basic.get(HOME, "/ui/api", Authorization="Bearer glsa_1")[0] == 200
    assert upstream.header("Authorization") == "Bearer glsa_1"


def test_an_entry_for_a_tool_is_as_closed_as_the_tool(basic):
    assert basic.get("p.pigsty")[0] == 401
    assert basic.get("p.pigsty", **ANN)[0] == 200
    assert basic.get("b.pigsty")[0] == 200  # auth: false says so


@pytest.mark.parametrize(
    "path",
    ["/admin/", "/admin", "/admin/x?y=/", "/ADMIN/x", "/admin.json", "//admin/", "/x/../admin/",
     "/./admin/", "/%61dmin/", "/x/%2e%2e/admin/", "/x%2f..%2fadmin/", "/admin%2fx", "/admin;x=1"],
)  # fmt: skip
def test_a_closed_path_is_closed_under_each_of_its_names(basic, upstream, path):
    asked = len(upstream.seen)
    assert basic.get("a.pigsty", path)[0] == 401
    assert len(upstream.seen) == asked
    assert basic.get("a.pigsty", path, **ANN)[0] == 200


@pytest.mark.parametrize("name", ["a.pigsty", "h.pigsty"])
@pytest.mark.parametrize(
    "rest",
    ["..;/admin", "..%3b/admin", "%252e%252e/admin", "..\\admin", "..%5cadmin", "%2561dmin",
     "..%2fhooks/x", ";/../admin", "./x", "x//admin", "."],
)  # fmt: skip
def test_what_two_servers_may_read_differently_is_refused_beside_a_login(
    basic, upstream, name, rest
):
    asked = len(upstream.seen)
    before = "/hooks/" if name == "h.pigsty" else "/x/"
    assert basic.get(name, before + rest)[0] in (400, 401)
    assert len(upstream.seen) == asked


def test_an_open_path_is_open_and_nothing_else_is(basic):
    for path in ("/hooks", "/hooks/push", "/hooks?x=..;/admin", "/hooks/a.b"):
        assert basic.get("h.pigsty", path)[0] == 200, path
    for path in ("/", "/hooksx", "/Hooks/", "/x/hooks/", "/hooks/../x", "/hooks%2f..%2fx"):
        assert basic.get("h.pigsty", path)[0] == 401, path
    assert basic.get("h.pigsty", "/x", **ANN)[0] == 200


def test_a_static_site_has_closed_paths_too(basic):
    assert basic.get("s.pigsty", "/private/x")[0] == 401
    assert basic.get("s.pigsty", "/x")[0] == 404


# -- OIDC


@pytest.mark.parametrize("path", CLOSED)
def test_oidc_closes_the_home_page_and_its_tools(oidc, upstream, path):
    asked = len(upstream.seen)
    assert oidc.get(HOME, path)[0] == 401
    assert oidc.get(HOME, path, Cookie="_oauth2_proxy=nobody")[0] == 401
    assert oidc.get(HOME, path, Cookie="_oauth2_proxy=bob")[0] == 403  # of another group
    assert len(upstream.seen) == asked
    assert oidc.get(HOME, path, Cookie="_oauth2_proxy=ann")[0] in (200, 403, 404)


@pytest.mark.parametrize("name", [HOME, "p.pigsty", "h.pigsty"])
def test_a_browser_is_led_through_the_sign_in_and_back(oidc, upstream, name):
    asked = "/vmetrics/vmui/?q=a&b=%2Fc"
    # As a browser sends it: with the port, which is not the scheme's own.
    host = f"{name}:{oidc.tls_port}"
    code, told, _ = oidc.get(name, asked, Host=host, **PAGE)
    assert code == 302
    target = told["location"]
    assert target.startswith(oauth2_proxy.PROVIDER)
    query = oauth2_proxy.parse_qs(oauth2_proxy.urlsplit(target).query)
    origin = f"https://{name}:{oidc.tls_port}"
    assert query["redirect_uri"] == [f"{origin}/oauth2/callback"]
    assert query["state"] == [origin + asked]
    state = oauth2_proxy.urlencode({"code": "ann", "state": query["state"][0]})
    code, told, _ = oidc.get(name, f"/oauth2/callback?{state}", Host=host)
    assert (code, told["location"]) == (302, origin + asked)
    cookie = told["set-cookie"].partition(";")[0]
    forged = {"Cookie": cookie, "X_Forwarded_User": "root"}
    code, told, body = oidc.get(name, asked, Host=host, **forged, **PAGE)
    assert code == 200
    assert body.startswith("upstream ")
    assert "Max-Age" in told["set-cookie"]  # a session that goes on is handed on
    assert upstream.header("X-Forwarded-User") == "ann"
    assert upstream.header("X-Forwarded-Email") == "ann@example.org"


def test_a_form_that_is_sent_without_a_session_reaches_nobody(oidc, upstream):
    asked = len(upstream.seen)
    code, _, _ = oidc.get(
        HOME, "/alertmgr/api/v2/silences", method="POST", Content_Length="0", **PAGE
    )
    assert code == 302
    assert oidc.get(HOME, "/alertmgr/", method="POST", Content_Length="0")[0] == 401
    assert len(upstream.seen) == asked


def test_the_question_itself_is_not_for_clients(oidc):
    assert oidc.get(HOME, "/oauth2/auth", Cookie="_oauth2_proxy=ann")[0] == 404


def test_where_nobody_answers_for_a_session_nobody_gets_in(start, upstream):
    server = start(
        entries(upstream.port), portal_auth="oidc",
        oauth2_proxy_endpoint=f"127.0.0.1:{free_port()}", nginx_users=False,
    )  # fmt: skip
    asked = len(upstream.seen)
    for name, path in (
        (HOME, "/"),
        (HOME, "/vmetrics/"),
        ("p.pigsty", "/"),
        ("a.pigsty", "/admin"),
    ):
        assert server.get(name, path, Cookie="_oauth2_proxy=ann")[0] == 500
    assert len(upstream.seen) == asked
    assert server.get(HOME, "/pigsty/some.deb")[0] == 200
