"""Any portal is either refused by name, or rendered to what a real nginx accepts."""

import re

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from infra_formula.portal import entries as portal_entries
from nginx_check import accepts, make_prefix, render
from portal_samples import ALL_COMPONENTS, DEMO, settings


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return make_prefix(tmp_path_factory.mktemp("nginx"))


@pytest.mark.parametrize("mode", ["disable", "enable", "enforce"])
@pytest.mark.parametrize("ports", [(80, 443), (8080, 8443)])
def test_the_demo_is_accepted(prefix, mode, ports):
    entries = {k: {a: v for a, v in e.items() if a != "enforce_https"} for k, e in DEMO.items()}
    files = render(
        entries if mode == "disable" else DEMO,
        nginx_sslmode=mode, nginx_port=ports[0], nginx_ssl_port=ports[1],
        components=ALL_COMPONENTS, haproxy={"node-1": "10.10.10.21:9101"},
    )  # fmt: skip
    assert accepts(prefix, files) == ""


def test_several_infra_nodes_that_share_challenges_are_accepted(prefix):
    files = render(DEMO, acme_peers=["10.10.10.11", "10.10.10.12"])
    assert accepts(prefix, files) == ""


def test_a_fault_is_not_accepted(prefix):
    """The test of the test: this nginx does refuse."""
    entries = {"a": {"domain": "a.p", "path": "/a", "config": "no_such_directive on;"}}
    assert "no_such_directive" in accepts(prefix, render(entries))


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
DOMAIN = st.builds(".".join, st.lists(LABEL, min_size=1, max_size=4)) | st.just("*.w.pigsty")
PORT = st.integers(0, 70000).map(str)
HOST = st.sampled_from(["127.0.0.1", "10.10.10.10", "[::1]", "localhost", "${admin_ip}", "1.2.3"])
ENDPOINT = st.builds("{}:{}".format, HOST, PORT) | st.just("unix:/run/a.sock")
TEXT = st.text(st.sampled_from("ab/ ;{}\n\"'$\\#\x00é.-_*:0"), max_size=12)
NASTY = TEXT | st.booleans() | st.none() | st.integers(-1, 99) | st.lists(TEXT, max_size=2)
SAFE_CONFIG = st.sampled_from(
    ["", "gzip off;", "location /x { return 204; }", "# } {\n", "set $a 'b;}';",
     'set $b "${host}";', "add_header X-A 'é';",
     "location /y {\n  rewrite ^/y/(.*)$ /$1 permanent;\n}"]
)  # fmt: skip
SIZE = st.from_regex(r"[0-9]{1,9}[kKmMgG]?", fullmatch=True)
TIME = st.from_regex(r"[0-9]{1,6}(ms|[smhdwy])", fullmatch=True)
OF_ENTRY = st.from_regex(r"/[A-Za-z0-9/._@%+=:,~-]{0,8}", fullmatch=True)
ATTRIBUTES = {
    "domain": DOMAIN,
    "domains": st.lists(DOMAIN, max_size=3, unique=True),
    "endpoint": ENDPOINT | st.lists(ENDPOINT, max_size=3),
    "path": st.from_regex(r"/[A-Za-z0-9/._@%+=:,~-]{0,20}", fullmatch=True),
    "scheme": st.sampled_from(["http", "https"]),
    "websocket": st.booleans(),
    "index": st.booleans(),
    "auth": st.booleans() | st.sampled_from(["basic", "oidc"]),
    "auth_paths": st.lists(OF_ENTRY, max_size=2),
    "open_paths": st.lists(OF_ENTRY, max_size=2),
    "realm": st.text(st.characters(exclude_categories=["C"]), max_size=12),
    "certbot": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True),
    "enforce_https": st.booleans(),
    "log": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True),
    "config": SAFE_CONFIG,
    "client_max_body_size": st.integers(0, 9) | SIZE,
    "proxy_read_timeout": TIME,
    "proxy_connect_timeout": TIME,
    "proxy_ssl_verify": st.booleans(),
    "proxy_ssl_name": DOMAIN,
    "hsts": st.booleans() | st.integers(-1, 10**8),
}
SERVER = st.fixed_dictionaries(
    {"address": ENDPOINT},
    optional={
        "weight": st.integers(0, 9), "backup": st.booleans(), "max_fails": st.integers(0, 9),
        "fail_timeout": TIME,
    },
)  # fmt: skip
HEADER = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
VALUE = st.text(
    st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="$"), max_size=12
)
TO = st.sampled_from(
    ["https://x.p", "https://x.p/a?b=c#d", "/a", "http://[::1]:80/$request_uri", "x"]
)
OF_LOCATION = {
    "endpoint": ENDPOINT | SERVER | st.lists(SERVER | ENDPOINT, max_size=3),
    "path": st.just("/www/x") | st.just("/www/y/"),
    "redirect": TO | st.fixed_dictionaries({"to": TO}, optional={"code": st.just(9)}),
    "auth": st.booleans() | st.sampled_from(["basic", "oidc"]),
    "scheme": st.sampled_from(["http", "https", "grpc", "grpcs"]),
    "balance": st.sampled_from(["least_conn", "ip_hash", "random", "hash $arg_a", "hash"]),
    "websocket": st.booleans(),
    "index": st.booleans(),
    "spa": st.booleans(),
    "strip_prefix": st.booleans(),
    "host": st.sampled_from(["h", "$host", "h:80", "a;b", ""]),
    "proxy_set_header": st.dictionaries(HEADER, VALUE | st.integers(), max_size=3),
    "proxy_http_version": st.sampled_from(["1.0", 1.1, True]),
    "proxy_next_upstream": st.sampled_from(["off", "error http_500", "never"]),
    "proxy_buffering": st.booleans(),
    "proxy_buffer_size": st.sampled_from(["1k", "32k", "2m", "1", 4096, "0k"]),
    "proxy_request_buffering": st.booleans(),
    "proxy_cache": st.booleans() | st.fixed_dictionaries(
        {}, optional={"valid": TIME, "max_size": SIZE, "inactive": TIME,
                      "key": st.sampled_from(["$uri", "a b"])}),
    "client_max_body_size": SIZE,
    "expires": st.sampled_from(["1d", "max", "off", False, True, -1, "1y"]),
    "gzip": st.booleans(),
}  # fmt: skip
PLACE = (
    OF_ENTRY
    | OF_ENTRY.map("= {}".format)
    | OF_ENTRY.map("^~ {}".format)
    | st.sampled_from(
        [r"~* \.(css|js)$", r'~ "a"', r"~ ^/[a-z]{2,3};?$", r"~ \\d\"$", "x", "~", "/"]
    )
)
LOCATIONS = st.dictionaries(PLACE, st.fixed_dictionaries({}, optional=OF_LOCATION), max_size=3)
OF_SERVER = {
    "large_client_header_buffers": st.sampled_from(["32k", "8 64k", "8", "x", 70000]),
    "maintenance": st.booleans() | st.fixed_dictionaries(
        {}, optional={"allow": st.lists(st.sampled_from(["10.0.0.0/8", "::1", "x"]), max_size=2),
                      "page": st.just("/www/down.html")}),
}  # fmt: skip
ATTRIBUTES |= {**OF_LOCATION, **OF_SERVER, "locations": LOCATIONS}
GOOD_ENTRY = st.fixed_dictionaries({}, optional=ATTRIBUTES)
ANY_ENTRY = st.fixed_dictionaries(
    {}, optional={**{k: v | NASTY for k, v in ATTRIBUTES.items()}, "cert": NASTY, "conf": NASTY}
)  # fmt: skip
KEY = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True) | st.just("home") | TEXT
PORTAL = st.dictionaries(KEY, GOOD_ENTRY, max_size=4) | st.dictionaries(
    KEY, GOOD_ENTRY | ANY_ENTRY | NASTY, max_size=3
)
# Entries that hold together, so that most of these portals reach nginx.
SOUND_OF_LOCATION = {
    "endpoint": st.just("127.0.0.1:9") | st.just([{"address": "[::1]:9", "weight": 2}, "[::]:1"]),
    "balance": st.sampled_from(["least_conn", "ip_hash", "random", "hash $arg_a consistent"]),
    "scheme": st.sampled_from(["http", "https"]),
    "websocket": st.booleans(),
    "host": st.sampled_from(["h", "$host", "h:80"]),
    "proxy_set_header": st.dictionaries(HEADER.map("X-{}".format), VALUE, max_size=2),
    "proxy_next_upstream": st.sampled_from(["off", "error http_500"]),
    "proxy_buffering": st.just(True),
    "proxy_buffer_size": st.sampled_from(["1k", "32k", "2m", 4096]),
    "proxy_request_buffering": st.booleans(),
    "proxy_cache": st.booleans() | st.just({"valid": "1h", "max_size": "10m", "key": "$uri"}),
    "proxy_connect_timeout": st.just("3s"),
    "proxy_ssl_verify": st.booleans(),
    "client_max_body_size": SIZE,
    "expires": st.sampled_from(["1d", "max", "off", False, -1, "1y"]),
    "gzip": st.booleans(),
    "accel_redirect": st.booleans(),
}  # fmt: skip
FITTING = {
    **SOUND_OF_LOCATION,
    "endpoint": st.integers(1, 65535).map("127.0.0.1:{}".format),
    "websocket": st.booleans(),
    "config": SAFE_CONFIG.filter(lambda text: "gzip" not in text),
    "certbot": st.just("x"),
    "realm": st.text(
        st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters='"\\$;{}')
    ),
    "large_client_header_buffers": st.sampled_from(["32k", "8 64k", 70000]),
    "maintenance": st.booleans() | st.just({"allow": ["10.0.0.0/8", "::1"], "page": "/www/d.html"}),
    "locations": st.dictionaries(
        st.sampled_from(["/a", "/a/b", "= /c", "^~ /d/", r"~* \.(css|js)$", r'~ "\\a{2}"', "/"]),
        st.fixed_dictionaries({}, optional=SOUND_OF_LOCATION)
        | st.fixed_dictionaries(
            {"path": st.just("/www/x")}, optional={"spa": st.just(False), "index": st.booleans()}
        )
        | st.fixed_dictionaries({"redirect": st.sampled_from(["/x", "https://x.p", "/y?a=b"])})
        | st.just({"endpoint": "127.0.0.1:9", "scheme": "grpcs", "proxy_set_header": {"X-A": ""}}),
        max_size=3,
    ),
}  # fmt: skip
SOUND = st.lists(st.fixed_dictionaries({}, optional=FITTING), max_size=4).map(
    lambda found: {
        f"e{i}": {"endpoint": "[::1]:1", **entry, "domain": f"e{i}.w.pigsty"}
        for i, entry in enumerate(found)
    }
)
SETTINGS = st.fixed_dictionaries(
    {
        "nginx_sslmode": st.sampled_from(["disable", "enable", "enforce"]),
        "nginx_port": st.integers(1, 65535),
        "nginx_ipv6": st.booleans(),
        "components": st.sampled_from([{}, ALL_COMPONENTS]),
        "nginx_users": st.booleans(),
        "portal_auth": st.sampled_from(["", "basic", "oidc"]),
        "oauth2_proxy_endpoint": st.sampled_from(["", "127.0.0.1:4180", "unix:/run/o.sock"]),
        "oauth2_proxy_groups": st.lists(st.sampled_from(["infra", "/a b", "é;$x{}"]), max_size=2),
    }
)


@hypothesis_settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(entries=PORTAL | SOUND, changes=SETTINGS)
def test_any_portal_is_refused_by_name_or_accepted_by_nginx(prefix, entries, changes):
    found = portal_entries.problems(entries, settings(**changes))
    if found:
        assert all(e.startswith(("infra_portal", "nginx_ssl_port", "portal_auth")) for e in found)
        assert all(re.search("expected|unknown key|already a name|: missing$", e) for e in found), (
            found
        )
        return
    assert accepts(prefix, render(entries, **changes)) == ""


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("ab ;{}\n\"'$\\#"), max_size=16))
def test_config_that_stays_inside_its_block_is_told_from_what_does_not(config):
    """config_fault never passes text that would close the block around it."""
    if portal_entries.config_fault(config) is None:
        assert _closes_nothing(config)


def _closes_nothing(config):
    """An independent, slower reading: the depth after each token of nginx's grammar."""
    token = re.compile(
        r"""\s+|\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\\.|\$\{[^}]*\}?|[^\s{};\\])+|\\""",
        re.DOTALL,
    )
    depth, at = 0, 0
    while at < len(config):
        match = token.match(config, at)
        if not match:
            return False
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth < 0:
            return False
        at = match.end()
    return depth == 0
