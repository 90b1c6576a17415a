"""Raw directives of an operator get what nginx would not inherit, and are otherwise left alone."""

import re

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from infra_formula.portal import entries, included, raw_config, rendering
from nginx_conf import parse
from portal_samples import LOADER, facts, settings
from visitor_samples import RAW_PROXIED
from visitor_samples import raw_config as samples

OIDC = {"portal_auth": "oidc", "oauth2_proxy_endpoint": "127.0.0.1:4180"}
WAYS = ({}, {"portal_auth": "basic"}, OIDC)
ADDED = re.compile(r"^ *# Added by the formula:$", re.MULTILINE)


def rendered(entry, way, key="home"):
    portal = {key: entry} if key == "home" else {key: {"domain": "x.p", **entry}}
    given_ = settings(**way)
    assert entries.problems(portal, given_) == []
    files = rendering.files(portal, given_, facts(), LOADER)
    (server,) = [
        block for block in parse(files).walk()
        if block.name == "server" and block.own("server_name")[0][0] in ("x.p", "i.pigsty")
        and (key == "home") == (block.own("server_name") == [["i.pigsty"]])
    ]  # fmt: skip
    return files[f"conf.d/{key}.conf"]["text"], server


DIRECTIVES = (
    "add_header X-Own 1;", "add_header X-Frame-Options DENY always;", "proxy_set_header X-Own 1;",
    "proxy_set_header X-Real-IP $remote_addr;", "proxy_set_header x-forwarded-for 'a;b}';",
    "proxy_ignore_headers Expires;", "proxy_hide_header X-Own;", "proxy_pass http://127.0.0.1:9;",
    "auth_basic off;", "satisfy any;", "internal;", "root /srv/x;", "return 204;", "gzip on;",
    "# } { a comment\n", "set $a '{';", "fastcgi_pass unix:/run/php;", "grpc_pass grpc://[::1]:9;",
    "grpc_set_header X-Own 1;", "fastcgi_param HTTP_X_REAL_IP x;",
)  # fmt: skip
BLOCK = st.recursive(
    st.lists(st.sampled_from(DIRECTIVES), max_size=4).map("\n".join),
    lambda inner: st.tuples(
        st.sampled_from(["location /x/ {", "location ^~ /y {", "if ($a) {", "location @z {"]),
        st.lists(inner, max_size=3),
        st.sampled_from([" ", "\n", "\n    "]),
    ).map(lambda t: t[0] + t[2] + f"{t[2]}".join(t[1]) + "\n}"),
    max_leaves=6,
)


@hypothesis_settings(max_examples=15, deadline=None)
@given(config=st.lists(BLOCK, max_size=3).map("\n".join), way=st.sampled_from(WAYS))
def test_every_block_has_what_it_would_not_inherit(config, way):
    assert entries.config_fault(config) is None
    text, server = rendered({"config": config, "hsts": True}, way)
    assert entries.config_fault(text) is None  # it is still whole
    for block in server.walk():
        if block.title() == "location ^~ /haproxy/":  # it has headers of its own
            continue
        added = {words[0].lower() for words in block.effective("add_header")}
        assert {"strict-transport-security", "x-content-type-options"} <= added, block.title()
        # nginx takes no header of a request in an `if`.
        hands_on = any(block.own(name) for name in ("proxy_pass", "proxy_set_header"))
        if hands_on and block.name != "if":
            headers = {words[0].lower() for words in block.effective("proxy_set_header")}
            assert {"x-forwarded-user", "x-original-url", "authorization", "cookie"} <= headers
            assert block.effective("proxy_ignore_headers")


@hypothesis_settings(max_examples=15, deadline=None)
@given(config=st.lists(BLOCK, max_size=3).map("\n".join))
def test_nothing_of_an_operator_is_lost_or_moved(config):
    text, _server = rendered({"config": config}, {})
    left = text.partition("# infra_portal.home.config\n")[2].split()
    position = 0
    for word in config.split():
        position = left.index(word, position) + 1


@pytest.mark.parametrize(
    "config",
    [
        "",
        "gzip off;",
        "location /x/ {\n    proxy_pass http://127.0.0.1:9/;\n}",
        "location /x/ { return 204; }",
        "location /zh/ {\n    rewrite ^/zh/(.*)$ /$1 permanent;\n}",
        "add_header X-Own 1;",
        "location /files/ { internal; root /data; }",
        "location /x/ {\n    auth_basic Own;\n    auth_basic_user_file /etc/x;\n    return 204;\n}",
    ],
)
def test_directives_that_lose_nothing_are_left_as_they_are(config):
    text, _server = rendered({"endpoint": "127.0.0.1:9", "config": config}, {}, "x")
    assert "auth_basic" in config or not ADDED.search(text)


@pytest.mark.parametrize(
    ("lines", "user", "authorization"),
    [
        ("", "$remote_user", "''"),
        ("auth_basic off;", None, "$bearer_token"),
        ("satisfy any;", None, "''"),
        ("satisfy any; location /x/y/ { proxy_pass http://127.0.0.1:9; }", None, "''"),
        ("satisfy any; satisfy all;", "$remote_user", "''"),
        ("proxy_set_header X-Own 1;", "$remote_user", "''"),
        ("proxy_set_header X-Own 1; auth_basic off;", None, "$bearer_token"),
        ("proxy_set_header X-Forwarded-User me;", "me", "''"),
        ("proxy_set_header Authorization $http_authorization;", "$remote_user",
         "$http_authorization"),
    ],
)  # fmt: skip
def test_who_a_visitor_is_follows_from_the_login_of_the_location(lines, user, authorization):
    config = f"location /x/ {{ {lines} proxy_pass http://127.0.0.1:9; }}"
    _text, server = rendered({"auth": True, "config": config}, {"portal_auth": "basic"})
    (block,) = [b for b in server.walk() if b.title() == "location /x/"]
    for location in (block, *block.blocks):
        values = dict.fromkeys(("x-forwarded-user", "authorization"))
        for name, value in location.effective("proxy_set_header"):
            values[name.lower()] = value or values.get(name.lower())
        assert values["x-forwarded-user"] == user
        assert (values["authorization"] or "''") == authorization


def test_a_location_that_is_let_in_by_address_changes_the_whole_server():
    _text, server = rendered({"config": "satisfy any;\nallow 10.0.0.0/8;\ndeny all;"},
                             {"portal_auth": "basic"})  # fmt: skip
    headers = server.own("proxy_set_header")
    assert [words for words in headers if words[0] == "X-Forwarded-User"] == [
        ["X-Forwarded-User", ""]
    ]


def test_headers_of_the_server_itself_are_not_sent_twice():
    config = "proxy_set_header X-Real-IP 1.2.3.4;\nadd_header X-Frame-Options DENY;"
    _text, server = rendered({"config": config}, {})
    sent = [words[0].lower() for words in server.own("proxy_set_header") if words[1]]
    added = [words[0] for words in server.own("add_header")]
    assert sent.count("x-real-ip") == 1
    assert added.count("X-Frame-Options") == 1


def test_headers_of_a_file_that_is_included_count(tmp_path):
    (tmp_path / "own.conf").write_text("proxy_set_header X-Real-IP $remote_addr;\n")
    config = f"location /x/ {{ include {tmp_path}/own.conf; proxy_pass http://127.0.0.1:9; }}"
    text, _server = rendered({"endpoint": "127.0.0.1:9", "config": "gzip on;"}, {}, "x")
    read = raw_config.parse(config, included.text)
    assert read.blocks[0].own("proxy_set_header") == [["X-Real-IP", "$remote_addr"]]
    assert "gzip on;" in text


def test_the_sample_of_an_operator_is_proxied_where_it_says_so():
    _text, server = rendered({"config": samples(9, "/srv/site")}, {})
    titles = {b.title() for b in server.proxied()}
    assert {f"location {path.rpartition('/')[0]}/" for path in RAW_PROXIED[:3]} <= titles
