"""A directive in `config` has an effect on a real nginx, or is refused by what to use instead."""

import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from infra_formula.portal import entries as portal_entries
from infra_formula.portal import raw_config, raw_directives
from nginx_check import NGINX, accepts, make_prefix, render
from nginx_conf import parse
from portal_samples import settings

OIDC = {"oauth2_proxy_endpoint": "127.0.0.1:4180"}
DOMAIN = "x.p"
CACHE = {"proxy_cache": {"valid": "1h"}}
SAMPLES = {
    "proxy": {"endpoint": "127.0.0.1:1"},
    "proxy-tls": {"endpoint": "127.0.0.1:1", "scheme": "https", "proxy_ssl_verify": True},
    "proxy-rich": {"endpoint": "127.0.0.1:1", "proxy_buffer_size": "32k", **CACHE, "hsts": True,
                   "large_client_header_buffers": "32k", "gzip": True, "expires": "1d"},
    "grpc": {"endpoint": "127.0.0.1:1", "scheme": "grpcs", "proxy_ssl_verify": True,
             "proxy_buffer_size": "32k"},
    "static": {"path": "/www/x"},
    "listing": {"path": "/www/x", "index": True, "expires": "1d"},
    "spa": {"path": "/www/x", "spa": True},
    "basic": {"endpoint": "127.0.0.1:1", "auth": "basic"},
    "oidc": {"endpoint": "127.0.0.1:1", "auth": "oidc"},
    "locations": {"endpoint": "127.0.0.1:1", "locations": {"/a": {"websocket": True}}},
}  # fmt: skip
SEVERAL = frozenset(
    [
        "add_header",
        "auth_request_set",
        "error_page",
        "if",
        "include",
        "listen",
        "proxy_hide_header",
        "proxy_ignore_headers",
        "grpc_ignore_headers",
        "server_name",
        "access_log",
        "ssl_certificate",
        "ssl_certificate_key",
        "rewrite",
    ]
)
"""Directives of which nginx takes several, or that stand in a block of their own."""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    return make_prefix(tmp_path_factory.mktemp("nginx"))


def blocks(files):
    """The server of the entry, and its `location /`."""
    (server,) = [
        b
        for b in parse(files).walk()
        if b.own("server_name") == [[DOMAIN]] and b.own("client_max_body_size")
    ]
    (root,) = [b for b in server.blocks if b.title() == "location /"]
    return server, root


def refusals(entry):
    found = portal_entries.problems({"x": entry}, settings(**OIDC))
    assert all(e.startswith("infra_portal.x.config: expected") for e in found), found
    return found


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_what_the_portal_sets_is_refused_in_config_or_takes_effect(prefix, name):
    entry = {"domain": DOMAIN, **SAMPLES[name]}
    server, root = blocks(render({"x": entry}, **OIDC))
    lines = {
        words[0]: " ".join(raw_config.quoted(w) for w in words)
        for block in (root, server)
        for words in block.directives
        if words[0] not in SEVERAL
    }
    assert len(lines) >= 4
    for directive, line in lines.items():
        changed = {**entry, "config": f"{line};"}
        files = render({"x": changed}, **OIDC)
        refused = refusals(changed)
        complaint = accepts(prefix, files)
        is_dead = bool(blocks(files)[1].own(directive)) if not complaint else False
        assert bool(refused) == bool(complaint or is_dead), (line, refused, complaint)
        if refused:
            (error,) = refused
            assert directive in error
            named = re.search(r"expected (?:the attribute )?(\w+)", error)[1]
            known = {*portal_entries.ENTRY, *settings(), "no", "endpoint", "a"}
            assert named in known, error


DEAD = {
    "proxy_set_header X-Frame-Options DENY": "proxy_set_header",
    "proxy_buffering on": "proxy_buffering",
    "proxy_read_timeout 1h": "proxy_read_timeout",
    "proxy_http_version 1.0": "proxy_http_version",
    "proxy_next_upstream off": "proxy_next_upstream",
    "client_max_body_size 2g": "client_max_body_size",
    "location / { return 204; }": "locations",
    "location ^~ / { return 204; }": "locations",
    "try_files $uri /index.html": "locations",
    "root /srv/x": "path",
    "proxy_pass http://127.0.0.1:1": "endpoint",
    "limit_req_zone $binary_remote_addr zone=x:1m rate=1r/s": "nginx_http_config",
    "map $uri $x { default 1; }": "nginx_http_config",
    "log_format x '$uri'": "nginx_http_config",
    "worker_processes 4": "nginx.conf",
    "ip_hash": "balance",
    "listen 443 ssl": "nginx_ssl_port",
    "fastcgi_param A b": "fastcgi_pass",
}


@pytest.mark.parametrize(("line", "named"), DEAD.items())
def test_a_directive_that_would_be_dead_or_a_duplicate_names_what_to_use(line, named):
    config = line if line.endswith("}") else f"{line};"
    (error,) = refusals({"domain": DOMAIN, "endpoint": "127.0.0.1:1", "config": config})
    assert named in error
    assert line.split()[0] in error


@pytest.mark.parametrize(
    "line",
    [
        "gzip off", "add_header X-Own 1", "rewrite ^/a /b", "set $a b", "return 204",
        "access_log off", "error_page 500 /x", "if ($arg_x) { return 404; }", "deny 1.2.3.4",
        "location /x/ { proxy_read_timeout 1h; proxy_pass http://127.0.0.1:1; }",
        "proxy_cookie_path / /x", "proxy_redirect off", "proxy_intercept_errors on",
        "proxy_buffer_size 8k", "limit_rate 1m", "keepalive_timeout 5s", "default_type text/plain",
        "proxy_headers_hash_max_size 2048", "sub_filter a b",
    ],
)  # fmt: skip
def test_what_has_an_effect_is_left_alone(prefix, line):
    config = line if line.endswith("}") else f"{line};"
    entry = {"domain": DOMAIN, "endpoint": "127.0.0.1:1", "config": config}
    assert refusals(entry) == []
    assert accepts(prefix, render({"x": entry})) == ""


CONTEXTS = {
    "server": "events {{}} http {{ server {{ listen 127.0.0.1:1; {}; }} }}",
    "http": "events {{}} http {{ {}; }}",
    "location": "events {{}} http {{ server {{ listen 127.0.0.1:1; location /x {{ {}; }} }} }}",
    "upstream": "events {{}} http {{ upstream u {{ server 127.0.0.1; {}; }} }}",
}
TABLES = {
    "http": raw_directives.HTTP_ONLY,
    "location": raw_directives.LOCATION_ONLY,
    "upstream": raw_directives.UPSTREAM_ONLY,
    "main": raw_directives.MAIN_ONLY,
}


def test_the_table_has_every_directive_that_this_nginx_takes_elsewhere(tmp_path):
    words = set(re.findall(rb"(?<=\0)[a-z][a-z0-9_]{1,40}(?=\0)", Path(NGINX).read_bytes()))
    names = {word.decode() for word in words} | set().union(*TABLES.values())

    def complaint(name, context):
        path = tmp_path / f"{context}-{name}"
        path.write_text(CONTEXTS[context].format(name))
        command = [NGINX, "-t", "-q", "-p", tmp_path, "-c", path, "-e", "/dev/null"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stderr

    def context(name):
        said = complaint(name, "server")
        if "unknown directive" in said or "is not allowed here" not in said:
            return ""
        places = [x for x in TABLES if x != "main" and "not allowed" not in complaint(name, x)]
        return places[0] if places else "main"

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(sorted(names), pool.map(context, sorted(names)), strict=True))
    elsewhere = {name: place for name, place in found.items() if place}
    assert len(elsewhere) >= 50
    assert {n: p for n, p in elsewhere.items() if n not in TABLES[p]} == {}


def test_a_file_beside_the_pages_is_found_below_a_location_of_an_operator(prefix):
    config = r"location ~* \.(css|js)$ { expires 1d; }"
    entry = {"domain": DOMAIN, "path": "/www/x", "config": config}
    files = render({"x": entry})
    server, _root = blocks(files)
    (location,) = [b for b in server.blocks if "css" in b.title()]
    assert location.effective("root") == [["/www/x"]]
    assert accepts(prefix, files) == ""
