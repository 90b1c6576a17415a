"""Upstreams that are names: a real nginx resolves them while it runs, by a real name server."""

import subprocess
import time

import nginx_check
import pytest
from infra_formula.portal import configuration, rendering, upstreams
from name_server import NameServer
from nginx_server import Server, Upstream
from portal_samples import LOADER, facts, settings
from ports import free_port


@pytest.fixture
def names(tmp_path):
    server = NameServer(tmp_path)
    yield server
    server.close()


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def portal(tmp_path, names):
    started = []

    def start(entries, **changes):
        server = Server(tmp_path, entries, name_service=names.service(), **changes)
        started.append(server)
        return server

    yield start
    for server in started:
        server.close()


def upstreams_on_one_port(*addresses):
    """Servers on several addresses and one port, which others on this machine do not use."""
    while True:
        found = [Upstream(addresses[0])]
        try:
            found += [Upstream(address, found[0].port) for address in addresses[1:]]
        except OSError:
            for server in found:
                server.close()
        else:
            return found


def until(get, wanted):
    """Ask until the answer is the wanted one: nginx remembers a name for five seconds."""
    deadline = time.monotonic() + 120
    while (got := get()) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return got


def shapes(port):
    """Entries with a name among their endpoints, by their form."""
    app, other = f"app.corp.example:{port}", f"other.corp.example:{port}"
    return {
        "one": {"domain": "one.pigsty", "endpoint": app},
        "two": {"domain": "two.pigsty", "endpoint": [app, other]},
        "socket": {"domain": "socket.pigsty", "endpoint": ["unix:/nonexistent", app]},
        "named-in-config": {
            "domain": "config.pigsty",
            "endpoint": app,
            "config": "location /raw/ {\n    proxy_pass http://named-in-config/below/;\n}",
        },
        "with-a-resolver": {
            "domain": "resolver.pigsty",
            "endpoint": app,
            "config": "resolver 127.0.0.1:1;\nresolver_timeout 1s;",
        },
    }


def test_a_name_without_an_answer_costs_its_own_entry_only(portal, names, upstream):
    """At the start no name resolves; once they do, each entry is served without a reload."""
    there = f"127.0.0.1:{upstream.port}"
    entries = {**shapes(upstream.port), "literal": {"domain": "literal.pigsty", "endpoint": there}}
    server = portal(entries)
    assert server.get("literal.pigsty")[0] == 200
    paths = {"one": "/", "two": "/", "socket": "/", "config": "/raw/x", "resolver": "/"}
    for name, path in paths.items():
        assert server.get(f"{name}.pigsty", path)[0] == 502, name
    names.knows("app.corp.example")
    for name, path in paths.items():
        if name != "resolver":  # its own one answers nothing
            assert until(lambda n=name, p=path: server.get(f"{n}.pigsty", p)[0], 200) == 200, name
    assert server.get("config.pigsty", "/raw/x")[2] == "upstream /below/x"


def test_an_address_that_moves_is_followed(portal, names):
    """The new address is used within seconds, without a reload."""
    here, there = upstreams_on_one_port("127.0.0.5", "127.0.0.6")
    here.answer(body="here")
    there.answer(body="there")
    names.knows("app.corp.example", address="127.0.0.5")
    server = portal({"app": {"domain": "a.p", "endpoint": f"app.corp.example:{here.port}"}})
    assert server.get("a.p")[2] == "here"
    names.knows("app.corp.example", address="127.0.0.6")
    here.close()
    try:
        assert until(lambda: server.get("a.p")[2], "there") == "there"
    finally:
        there.close()


def test_a_name_behind_an_oidc_sign_in_does_not_hold_nginx_up(portal, names):
    server = portal(
        {"app": {"domain": "a.p", "path": "/", "auth": "oidc"}},
        oauth2_proxy_endpoint="sign-in.corp.example:4180",
    )
    assert server.get("a.p")[0] in (500, 502)
    assert server.get("i.pigsty", "/nothing")[0] == 404


def test_a_relay_hands_on_what_the_portal_sent_and_nothing_of_its_own(portal, names, upstream):
    """Through a relay, an upstream sees the bytes that it sees without one."""
    names.knows("app.corp.example", "other.corp.example")
    direct = [f"127.0.0.1:{upstream.port}", f"127.0.0.1:{upstream.port}"]
    server = portal({
        "direct": {"domain": "direct.pigsty", "endpoint": direct, "websocket": True},
        "relay": {
            "domain": "relay.pigsty",
            "endpoint": shapes(upstream.port)["two"]["endpoint"],
            "websocket": True,
        },
    })  # fmt: skip
    upstream.answer(
        "Server: behind", "Date: Thu, 01 Jan 1970 00:00:00 GMT", "X-Accel-Redirect: /etc/passwd",
        "Location: http://other.example/x", "Set-Cookie: a=b", "X_Odd: 1",
        body="x" * 100_000,
    )  # fmt: skip
    seen, answers = [], []
    for name in ("direct", "relay"):
        status, headers, body = server.get(
            f"{name}.pigsty", "/a%2Fb//c?d=%20", method="POST", Upgrade="websocket",
            Connection="upgrade", Cookie="a=b", Content_Length="0", X_Long="y" * 3000,
        )  # fmt: skip
        headers.pop("date")  # nginx's own, of this second
        seen.append(upstream.seen[-1].replace(name.encode(), b"NAME"))
        answers.append((status, headers, body))
    assert sorted(seen[0].split(b"\r\n")) == sorted(seen[1].split(b"\r\n"))
    assert answers[0] == answers[1]


def test_with_several_names_one_that_answers_is_enough(portal, names, upstream):
    names.knows("other.corp.example")
    server = portal({"two": shapes(upstream.port)["two"]})
    assert [server.get("two.pigsty")[0] for _ in range(6)] == [200] * 6


def test_names_of_a_newer_nginx_are_resolved_by_their_block():
    got = upstreams.upstream(
        "app",
        ["app.corp.example:80", "10.0.0.1:80"],
        {"nginx_port": 80, "admin_ip": "10.0.0.1"},
        {"servers": [], "ipv6": False, "hosts": [], "search": []},
        (1, 27, 3),
    )
    assert got["target"] == "app"
    assert got["members"] == [
        {"address": "app.corp.example:80", "resolve": True},
        {"address": "10.0.0.1:80", "resolve": False},
    ]
    assert got["relays"] == []


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("app.corp.example:80", "app.corp.example:80"),
        ("App.Corp.Example.:80", "App.Corp.Example.:80"),
        ("nas:80", "nas.corp.example:80"),
        ("here:80", None),  # dns_records has it: its name server knows it as it is
        ("localhost:80", None),
        ("in-hosts-file:80", None),
        ("10.0.0.1:80", None),
        ("[::1]:80", None),
        ("2130706433:80", None),  # an address, to the C library
        ("unix:/run/x.sock", None),
    ],
)
def test_which_endpoints_are_names_for_the_resolver(endpoint, expected):
    given = {"admin_ip": "10.0.0.1", "dns_records": ["10.0.0.1 here"]}
    service = {"servers": [], "ipv6": False, "hosts": ["in-hosts-file", "localhost"],
               "search": ["corp.example"]}  # fmt: skip
    found = upstreams.run_time_name(endpoint, given, service)
    assert found == (endpoint if endpoint.startswith("here") else expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver 10.0.0.9\nnameserver 1.1.1.1\n", ["10.0.0.9", "1.1.1.1"]),
        # The site's know the site's names, and nginx would ask each in turn.
        (
            "nameserver 10.0.0.1\nnameserver 1.1.1.1\nnameserver 10.0.0.2\n",
            ["10.0.0.1", "10.0.0.2"],
        ),
        ("nameserver fd00::1\nsearch a.example b.example\n", ["[fd00::1]"]),
        ("", ["127.0.0.1"]),
    ],
)
def test_nginx_uses_the_name_servers_of_the_machine(tmp_path, monkeypatch, text, expected):
    (tmp_path / "resolv.conf").write_text(text)
    monkeypatch.setattr(upstreams.resolver, "RESOLV_CONF", tmp_path / "resolv.conf")
    service = upstreams.name_service({"addresses": ["10.0.0.1", "10.0.0.2"], "own_address": None})
    assert service["servers"] == expected
    assert service["search"] == (["a.example", "b.example"] if "search" in text else [])


def test_the_apply_names_the_entry_whose_name_has_no_address(monkeypatch):
    entries = {
        "good": {"domain": "g.p", "endpoint": "127.0.0.1:80"},
        "typo": {"domain": "t.p", "endpoint": ["127.0.0.1:80", "no-such-host.invalid:80"]},
    }
    warnings = configuration.name_warnings(entries, settings())
    assert warnings == [
        "infra_portal.typo.endpoint: this machine finds no address for no-such-host.invalid:80; "
        "requests are answered with 502 until it does"
    ]


def test_over_https_a_name_is_reached_as_an_address_is(portal, names, tmp_path):
    """The TLS server name is the endpoint's, directly and through a relay."""
    names.knows("app.corp.example")
    port, cert = free_port(), tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x",
         "-addext", "subjectAltName=DNS:app.corp.example", "-keyout", cert, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    ca = subprocess.run(["openssl", "x509", "-in", cert], check=True, capture_output=True).stdout
    (tmp_path / "ca.pem").write_bytes(ca)
    behind = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", cert, "-www"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    common = {"scheme": "https", "proxy_ssl_verify": True, "proxy_ssl_name": "app.corp.example",
              "proxy_ssl_trusted_certificate": str(tmp_path / "ca.pem")}  # fmt: skip
    app = f"app.corp.example:{port}"
    server = portal({
        "one": {"domain": "one.p", "endpoint": app, **common},
        "two": {"domain": "two.p", "endpoint": [app, f"127.0.0.1:{port}"], **common},
    })  # fmt: skip
    try:
        for name in ("one.p", "two.p", "two.p"):
            assert until(lambda name=name: server.get(name)[0], 200) == 200
            assert "TLSv1" in server.get(name)[2]
    finally:
        behind.kill()
        behind.wait(20)


RAW_FORMS = {
    "bare": ("location /in/ {{ proxy_pass http://app.corp.example:{0}; }}", "/in/a%20b?c=d",
             "/in/a%20b?c=d"),
    "path": ("location /in/ {{ proxy_pass http://app.corp.example:{0}/below/; }}", "/in/a%20b?c=d",
             "/below/a%20b?c=d"),
    "root": ("location /in/ {{ proxy_pass http://app.corp.example:{0}/; }}", "/in/x/y", "/x/y"),
    "exact": ("location = /in {{ proxy_pass http://app.corp.example:{0}/one; }}", "/in?q=1",
              "/one?q=1"),
    "caret": ("location ^~ /in {{ proxy_pass 'http://app.corp.example:{0}/x'; }}", "/in/y",
              "/x/y"),
    "regex": ("location ~ ^/in {{ proxy_pass http://app.corp.example:{0}; }}", "/in/y", "/in/y"),
    "branch": ("location /in {{ if ($arg_x) {{ proxy_pass http://app.corp.example:{0}; }} "
               "}}", "/in?x=1", "/in?x=1"),
    "limit": ("location /in {{ limit_except GET {{ deny all; }} "
              "proxy_pass http://app.corp.example:{0}; }}", "/in", "/in"),
    "own rewrite": ("location /in/ {{ rewrite ^/in/(.*)$ /r/$1 break; "
                    "proxy_pass http://app.corp.example:{0}; }}", "/in/z", "/r/z"),
    "before": ("location /in/ {{ if ($arg_no) {{ return 403; }} "
               "proxy_pass http://app.corp.example:{0}/b/; }}", "/in/z", "/b/z"),
    "named": ("location /in {{ try_files /none @there; }} location @there {{ "
              "proxy_pass http://app.corp.example:{0}; }}", "/in/z", "/in/z"),
    "nested": ("location /in/ {{ location /in/deep/ {{ "
               "proxy_pass http://app.corp.example:{0}/d/; }} }}", "/in/deep/z", "/d/z"),
}  # fmt: skip


def test_a_name_in_config_is_resolved_while_nginx_runs(portal, names, upstream):
    """nginx starts without an answer; later, paths, redirects and `Host` are as before."""
    entries = {
        f"e{number}": {"domain": f"e{number}.p", "endpoint": f"127.0.0.1:{upstream.port}",
                       "config": text.format(upstream.port)}
        for number, (text, _, _) in enumerate(RAW_FORMS.values())
    }  # fmt: skip
    server = portal(entries)
    for number in range(len(entries)):
        path = [*RAW_FORMS.values()][number][1]
        assert server.get(f"e{number}.p", path)[0] == 502, [*RAW_FORMS][number]
        assert server.get(f"e{number}.p", "/other")[0] == 200
    names.knows("app.corp.example")
    there = f"http://app.corp.example:{upstream.port}"
    for number, (form, (_, path, expected)) in enumerate(RAW_FORMS.items()):
        assert until(lambda p=path, n=number: server.get(f"e{n}.p", p)[0], 200) == 200, form
        assert upstream.seen[-1].split(b" ")[1].decode() == expected, form
        assert upstream.header("Host") == f"app.corp.example:{upstream.port}", form
    upstream.answer(f"Location: {there}/below/next", status="302 Found")
    assert server.get("e1.p", "/in/x")[1]["location"] == "/in/next"
    upstream.answer(f"Location: {there}/next", status="302 Found")
    assert server.get("e0.p", "/in/x")[1]["location"] == "/next"
    assert server.get("e9.p", "/in/z?no=1")[0] == 403


@pytest.mark.parametrize(
    "text",
    [
        "upstream app { server app.corp.example:80; }",
        "upstream app { server 127.0.0.1:1; server app.corp.example backup; }",
        "server { listen 81; location / { proxy_pass http://app.corp.example; } }",
        "server { listen 81; location / { fastcgi_pass app.corp.example:9000; } }",
        "resolver dns.corp.example;",
        "log_format x '$host'; access_log syslog:server=logs.corp.example:514 x;",
    ],
)
def test_a_name_in_nginx_http_config_is_named(text):
    (error,) = rendering.problems({}, settings(nginx_http_config=text))
    assert error.startswith("nginx_http_config: expected an address in place of ")
    fine = text.replace("app.corp.example", "127.0.0.1").replace("dns.corp.example", "127.0.0.1")
    fine = fine.replace("logs.corp.example", "127.0.0.1")
    assert rendering.problems({}, settings(nginx_http_config=fine)) == []


def test_a_group_of_the_site_and_of_an_entry_is_no_name():
    given = settings(nginx_http_config="upstream mine { server 127.0.0.1:1; }")
    config = "location /a { proxy_pass http://mine; } location /b { proxy_pass http://app/x; }"
    entries = {"app": {"domain": "a.p", "endpoint": "127.0.0.1:2", "config": config}}
    assert config in rendering.files(entries, given, facts(), LOADER)["conf.d/app.conf"]["text"]
    assert [*rendering.raw_name_warnings(entries, given)] == []


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("location /a/ { rewrite x /y; proxy_pass http://app.corp.example/b/; }",
         "_pass app.corp.example"),
        ("location /a { proxy_pass http://app.corp.example/b?c; }", "_pass app.corp.example"),
        ("location /a { proxy_redirect default; proxy_pass http://app.corp.example; }",
         "_pass app.corp.example"),
        ("location /a { memcached_pass app.corp.example:11211; }", "_pass app.corp.example:11211"),
        ("access_log syslog:server=logs.corp.example:514;", "access_log logs.corp.example"),
        ("resolver dns.corp.example;", "resolver dns.corp.example"),
        ("set_real_ip_from lb.corp.example;", "set_real_ip_from lb.corp.example"),
    ],
)  # fmt: skip
def test_what_stays_with_nginx_is_a_warning(config, name):
    entries = {"app": {"domain": "a.p", "endpoint": "127.0.0.1:2", "config": config}}
    (warning,) = rendering.raw_name_warnings(entries, settings())
    assert warning.startswith(f"infra_portal.app.config: nginx resolves {name} only when it starts")


@pytest.mark.parametrize(
    "text",
    [
        "grpc_pass grpc://app.corp.example:50051;",
        "fastcgi_pass app.corp.example:9000;",
        "uwsgi_pass uwsgi://app.corp.example:3031;",
        "scgi_pass app.corp.example:4000;",
        "proxy_pass https://app.corp.example/x/; proxy_ssl_server_name on;",
        "proxy_pass http://App.Corp.Example.;",
        "proxy_redirect off; proxy_pass http://app.corp.example/b/;",
        "# proxy_pass http://not.this/;\n proxy_pass\n   http://app.corp.example/c;",
        "mirror /m; proxy_pass http://app.corp.example;",
        "set $there http://app.corp.example; proxy_pass $there;",
    ],
)
def test_nginx_takes_a_name_of_any_program_without_an_answer(tmp_path, text):
    """As at boot, when no name server answers."""
    config = f"location /a/ {{ {text} }}\nlocation = /m {{ internal; return 204; }}"
    entries = {"app": {"domain": "a.p", "endpoint": "127.0.0.1:2", "config": config}}
    silent = {"servers": ["127.0.0.1:9"], "ipv6": False, "hosts": [], "search": []}
    known = facts(nginx_version=nginx_check.version(), name_service=silent)
    files = rendering.files(entries, settings(nginx_user="root", nginx_group="root"), known, LOADER)
    assert nginx_check.accepts(nginx_check.make_prefix(tmp_path), files) == ""
