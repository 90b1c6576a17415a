"""Every location that hands a request on says of each header about the visitor what it sends.

All configurations are read as nginx would read them: with what is included and inherited.
"""

import itertools

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from infra_formula.portal import entries as portal_entries
from infra_formula.portal import rendering
from nginx_conf import Block, parse
from portal_samples import ALL_COMPONENTS, DEMO, LOADER, TEMPLATES, facts, settings

OIDC = {"portal_auth": "oidc", "oauth2_proxy_endpoint": "127.0.0.1:4180"}
TRUSTED = {
    **ALL_COMPONENTS,
    "grafana": {"port": 3000, "auth_proxy": True, "endpoints": ["127.0.0.1:3000"]},
}
# Header → what may be sent. Nothing else may be sent of a header that is named here.
FIXED = {
    "x-real-ip": "$remote_addr",
    "x-forwarded-for": "$remote_addr",
    "x-forwarded-proto": "$scheme",
    "x-forwarded-port": "$visitor_port_number",
}
REMOVED = (
    "Forwarded", "Proxy", "Proxy-Authorization", "True-Client-IP", "X-Client-IP",
    "X-Forwarded-Prefix", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token", "X-Auth-Request-User", "X-Auth-Request-Email",
    "X-Auth-Request-Groups", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Access-Token",
    "Remote-User", "Remote-Groups", "Remote-Email", "X-Remote-User", "X-Remote-Group",
    "X-Original-URL", "X-Rewrite-URL", "X-WEBAUTH-NAME", "X-WEBAUTH-EMAIL", "X-WEBAUTH-GROUPS",
    "X-WEBAUTH-ROLE", "X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "X-Authenticated-User",
    "X-Accel-Mapping", "X-Sendfile-Type",
)  # fmt: skip
IDENTITY = ("x-forwarded-user", "x-forwarded-email", "x-webauth-user")
USERS = {"": {""}, "basic": {"", "$remote_user"}, "oidc": {"", "$signed_in_user"}}
CONFIG = "location /x/ {\n    proxy_pass http://127.0.0.1:9;\n}"
GRPC = "location /g/ {\n    grpc_pass grpc://127.0.0.1:9;\n}"
ENTRIES = {
    "home": {"certbot": "x", "config": CONFIG, "hsts": True},
    "plain": {"domain": "a.p", "endpoint": "127.0.0.1:1", "config": GRPC},
    "live": {"domain": "b.p", "endpoint": "127.0.0.1:1", "websocket": True, "auth": True},
    "admin": {"domain": "c.p", "endpoint": "127.0.0.1:1", "auth": False, "auth_paths": ["/a"]},
    "hooks": {"domain": "d.p", "endpoint": "127.0.0.1:1", "auth": True, "open_paths": ["/h"]},
    "basic": {"domain": "e.p", "endpoint": "127.0.0.1:3000", "auth": "basic"},
    "store": {"domain": "f.p", "endpoint": "10.0.0.1:1", "scheme": "https", "certbot": "x",
              "enforce_https": True},
    "send": {"domain": "g.p", "endpoint": "127.0.0.1:1", "accel_redirect": True},
    "site": {"domain": "h.p", "path": "/www/h", "auth_paths": ["/p"], "config": CONFIG},
}  # fmt: skip
EXTRAS = {"haproxy": {"node-1": "10.0.0.2:9101", "n.2": "[fd00::2]:9101"},
          "acme_peers": ["10.0.0.3"], "closed_ports": [9428, 10428]}  # fmt: skip


def rendered(entries, **changes):
    given = settings(**changes)
    assert portal_entries.problems(entries, given) == []
    return rendering.files(entries, given, facts(), LOADER)


def method(block: Block) -> str:
    """How a visitor logs in for a location."""
    for name, off in (("auth_basic", "off"), ("auth_request", "off")):
        found = block.effective(name)
        if found and found[0][0] != off:
            return {"auth_basic": "basic", "auth_request": "oidc"}[name]
    return ""


def login_of_server(block: Block) -> set[str]:
    """Every way in which a visitor logs in for some location of the same server."""
    while block.parent is not None and block.name != "server":
        block = block.parent
    return {method(b) for b in block.walk()}


def redirects_plain_http(block: Block) -> bool:
    """Whether a location, or its server, is for HTTPS alone."""
    server = block
    while server.parent is not None and server.name != "server":
        server = server.parent
    guarded = any(b.name == "if" and "$https" in b.arguments[0] for b in block.blocks)
    return guarded or all("ssl" in words for words in server.own("listen"))


def check(files: dict) -> int:
    """Judge each location that hands a request on; returns how many there are."""
    root = parse(files)
    oidc = "upstream _oauth2_proxy" in files["conf.d/00-infra.conf"]["text"]
    found = list(root.proxied())
    for block in found:
        kind = "grpc" if block.own("grpc_pass") else "proxy"
        assert not any(block.own(f"{p}_pass") for p in ("fastcgi", "uwsgi", "scgi")), block.title()
        headers = block.headers(f"{kind}_set_header")
        target = (block.own(f"{kind}_pass"))[0][0]
        judge(block, headers, target, oidc)
    return len(found)


def judge(block: Block, headers: dict[str, str], target: str, oidc: bool) -> None:
    what = f"{block.title()} → {target}"
    console = target.startswith("http://_haproxy_")
    if block.effective("proxy_pass_request_headers") == [["off"]]:
        sent = {name for name, value in headers.items() if value}
        allowed = {"host", "connection"} | ({"content-type", "authorization"} if console else set())
        assert sent <= allowed, what
        assert headers.get("authorization", "") in ("", "$console_login"), what
    else:
        assert not console, what
        for name, value in FIXED.items():
            assert headers.get(name) == value, (what, name)
        assert headers.get("x-forwarded-host", "").startswith("$portal_host"), what
        for name in REMOVED:
            if (name, target) != ("X-Auth-Request-Redirect", "http://_oauth2_proxy"):
                assert headers.get(name.lower()) == "", (what, name)
        for name in IDENTITY:
            wanted = {v.replace("user", "email") if "email" in name else v
                      for v in USERS[method(block)]}  # fmt: skip
            assert headers.get(name) in wanted, (what, name)
        judge_credentials(block, headers, target, oidc)
    ignored = {h for words in block.effective("proxy_ignore_headers") for h in words}
    if block.own("proxy_pass") and target != "http://send":
        assert "X-Accel-Redirect" in ignored, what
    if console:
        assert len(ignored) == 5, what


def judge_credentials(block: Block, headers: dict, target: str, oidc: bool) -> None:
    what = f"{block.title()} → {target}"
    if target.startswith("http://_oauth2_proxy"):
        assert headers["authorization"] == "$http_authorization"
        assert headers["cookie"] == "$http_cookie"
        return
    way = method(block)
    if way == "basic":
        assert headers["authorization"] == "", what
    elif way == "oidc":
        assert headers["authorization"] == "$application_authorization", what
    elif "basic" in login_of_server(block):
        assert headers["authorization"] == "$bearer_token", what
    elif login_of_server(block) - {""} and not redirects_plain_http(block):
        assert headers["authorization"] == "$authorization_over_https", what
    else:
        assert headers["authorization"] == "$http_authorization", what
    assert headers["cookie"] in ("", "$application_cookie" if oidc else "$http_cookie"), what


@pytest.mark.parametrize(
    ("way", "components", "ports", "mode"),
    list(
        itertools.product(
            ({}, {"portal_auth": "basic"}, OIDC, {**OIDC, "portal_auth": ""}),
            ({}, ALL_COMPONENTS, TRUSTED),
            ((80, 443), (8080, 8443)),
            ("enable", "enforce"),
        )
    ),
)
def test_every_location_of_every_sample_says_what_it_sends(way, components, ports, mode):
    changes = {
        **EXTRAS, **way, "components": components, "nginx_sslmode": mode,
        "nginx_port": ports[0], "nginx_ssl_port": ports[1],
    }  # fmt: skip
    assert check(rendered(ENTRIES, **changes)) >= 14 + 10 * bool(components)
    assert check(rendered(DEMO, **changes)) >= 10


ENTRY = st.fixed_dictionaries(
    {"endpoint": st.sampled_from(["127.0.0.1:1", "127.0.0.1:3000", "10.10.10.10:8428"])},
    optional={
        "auth": st.sampled_from([True, False, "basic", "oidc"]),
        "websocket": st.booleans(),
        "certbot": st.just("x"),
        "hsts": st.booleans(),
        "path": st.just("/www/x"),
        "config": st.sampled_from(
            ["", CONFIG, GRPC, "gzip off;", "proxy_headers_hash_max_size 1;"]
        ),
        "auth_paths": st.just(["/a"]),
        "open_paths": st.just(["/o"]),
        "accel_redirect": st.just(False),
    },
)


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    entries=st.lists(ENTRY, max_size=3),
    home=st.fixed_dictionaries({}, optional={"auth": st.just(True), "config": st.just(CONFIG)}),
    way=st.sampled_from([{}, {"portal_auth": "basic"}, OIDC, {**OIDC, "portal_auth": ""}]),
    components=st.sampled_from([{}, ALL_COMPONENTS, TRUSTED]),
    logins=st.sampled_from([[], ["node-1"]]),
)
def test_every_location_of_any_portal_says_what_it_sends(entries, home, way, components, logins):
    portal_ = {"home": home, **{f"e{i}": {**e, "domain": f"e{i}.p"} for i, e in enumerate(entries)}}
    changes = {**EXTRAS, **way, "components": components, "portal_haproxy_logins": logins}
    if portal_entries.problems(portal_, settings(**changes)):
        return
    check(rendered(portal_, **changes))


@pytest.mark.parametrize(
    ("rel", "line"),
    [
        ("conf.d/home.conf", "include infra-proxy-headers.conf;"),
        ("infra-proxy-headers.conf", "proxy_set_header X-WEBAUTH-ROLE '';"),
        ("infra-proxy-headers.conf", "proxy_set_header Remote-User '';"),
        ("conf.d/store.conf", "proxy_set_header Cookie $application_cookie;"),
        ("conf.d/plain.conf", "grpc_set_header X-Original-URL '';"),
        ("conf.d/hooks.conf", "proxy_set_header Authorization $application_authorization;"),
        ("conf.d/hooks.conf", "proxy_ignore_headers X-Accel-Redirect;"),
        ("infra-console-headers.conf", "proxy_pass_request_headers off;"),
    ],
)
def test_a_line_that_is_missing_is_seen(rel, line):
    """The test of the test."""
    files = rendered(ENTRIES, components=ALL_COMPONENTS, **EXTRAS, **OIDC)
    text = files[rel]["text"]
    assert line in text
    files[rel] = {"text": text.replace(line, "", 1)}
    with pytest.raises((AssertionError, KeyError)):
        check(files)


def test_only_three_macros_and_the_pages_of_machines_write_proxy_pass():
    found = {
        path.name: path.read_text(encoding="utf-8").count("proxy_pass ")
        for path in TEMPLATES.glob("*.conf.j2")
    }
    found["macros.j2"] = (TEMPLATES / "macros.j2").read_text(encoding="utf-8").count("proxy_pass ")
    assert {name: n for name, n in found.items() if n} == {
        "macros.j2": 3,  # the third one hands on what the portal sent to itself
        "haproxy-location.conf.j2": 1,
        "streams.conf.j2": 2,  # bytes, which have no headers
    }


def test_the_pages_of_machines_hide_what_a_browser_obeys():
    files = rendered({}, **EXTRAS, **OIDC)
    root = parse(files)
    pages = [b for b in root.proxied() if b.own("proxy_pass")[0][0].startswith("http://_haproxy_")]
    assert len(pages) == len(EXTRAS["haproxy"])
    for page in pages:
        hidden = {words[0].lower() for words in page.effective("proxy_hide_header")}
        added = {words[0].lower(): words[1] for words in page.effective("add_header")}
        assert {"set-cookie", "location", "refresh", "content-type", "www-authenticate"} <= hidden
        assert added["content-security-policy"].startswith("sandbox allow-forms; default-src")
        # What is added is nobody else's, or there would be two of it.
        assert set(added) - {"strict-transport-security"} <= hidden
