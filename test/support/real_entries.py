"""Entries of a portal as people write them for real applications."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Entry = dict[str, Any]


def _shapes(there: str, site: str) -> Iterator[tuple[str, Entry]]:
    """Application → entry without its domain; `there`: an endpoint, `site`: a directory."""
    two = [{"address": there, "weight": 3}, {"address": there, "backup": True}]
    yield "grafana", {"endpoint": there, "websocket": True, "proxy_read_timeout": "1h"}
    yield "jupyter", {"endpoint": there, "websocket": True, "client_max_body_size": "1g"}
    yield "gitea", {"endpoint": there, "client_max_body_size": 0, "proxy_read_timeout": "10m"}
    yield (
        "nextcloud",
        {
            "endpoint": there,
            "client_max_body_size": "10g",
            "hsts": True,
            "locations": {"= /.well-known/caldav": {"redirect": "/remote.php/dav"}},
        },
    )
    yield (
        "odoo",
        {
            "endpoint": there,
            "client_max_body_size": "100m",
            "proxy_read_timeout": "12m",
            "locations": {
                "/websocket": {"endpoint": there, "websocket": True},
                "~* ^/[^/]+/static/": {"proxy_buffering": True, "expires": "1d"},
            },
        },
    )
    yield (
        "mattermost",
        {
            "endpoint": there,
            "proxy_cache": {"valid": "1h"},
            "locations": {
                r"~ /api/v[0-9]+/(users/)?websocket$": {"websocket": True, "proxy_cache": False}
            },
        },
    )
    yield "minio", {"endpoint": there, "client_max_body_size": 0, "proxy_connect_timeout": "60s"}
    yield "minio-console", {"endpoint": there, "websocket": True}
    yield (
        "pgadmin",
        {
            "endpoint": there,
            "locations": {"/pgadmin4/": {"proxy_set_header": {"X-Script-Name": "/pgadmin4"}}},
        },
    )
    yield (
        "code",
        {"endpoint": there, "websocket": True, "proxy_set_header": {"Accept-Encoding": "gzip"}},
    )
    yield "registry", {"endpoint": there, "client_max_body_size": 0, "proxy_read_timeout": "15m"}
    yield "hass", {"endpoint": there, "websocket": True}
    yield "keycloak", {"endpoint": there, "proxy_buffer_size": "128k"}
    yield "chat", {"endpoint": there, "proxy_buffering": False, "proxy_read_timeout": "24h"}
    yield "shop", {"endpoint": two, "balance": "least_conn", "proxy_next_upstream": "error timeout"}
    yield "sticky", {"endpoint": [there, there], "balance": "ip_hash"}
    yield "hashed", {"endpoint": [there, there], "balance": "hash $cookie_session consistent"}
    yield (
        "spa",
        {
            "path": site,
            "spa": True,
            "expires": "1h",
            "locations": {"/api/": {"endpoint": there, "strip_prefix": True}},
        },
    )
    yield "docs", {"path": site, "index": True, "gzip": False}
    yield "assets", {"path": site, "locations": {r"~* \.(css|js|woff2)$": {"expires": "1y"}}}
    yield "moved", {"redirect": {"to": "https://example.com", "code": 308}}
    yield "vhost", {"endpoint": there, "host": "internal.example.com"}
    yield "tenant", {"endpoint": there, "proxy_set_header": {"X-Tenant": "a", "X-Token": ""}}
    yield "big-headers", {"endpoint": there, "large_client_header_buffers": "8 64k"}
    yield (
        "upload",
        {"endpoint": there, "proxy_request_buffering": True, "client_max_body_size": "2g"},
    )
    yield (
        "mixed",
        {
            "endpoint": there,
            "locations": {
                "/static/": {"path": site, "expires": "7d"},
                "/old": {"redirect": "/new"},
                "^~ /ws": {"websocket": True},
                "/admin": {"auth": True},
            },
        },
    )
    yield (
        "raw",
        {
            "endpoint": there,
            "config": "location = /robots.txt { return 200 'no'; }\nadd_header X-Robots-Tag none;",
        },
    )
    yield "legacy", {"endpoint": there, "proxy_http_version": 1.0}
    yield "closed", {"endpoint": there, "auth": True, "open_paths": ["/hooks"]}
    yield "paths", {"endpoint": there, "auth_paths": ["/admin"]}


def real_entries(count: int, there: str, site: str) -> dict[str, Entry]:
    """So many entries, each with a domain of its own."""
    shapes = list(_shapes(there, site))
    found = {}
    for number in range(count):
        name, entry = shapes[number % len(shapes)]
        key = f"{name}-{number}"
        found[key] = {"domain": f"{key}.example.com", **entry}
    return found


BROKEN: dict[str, tuple[Entry, str]] = {
    # Refused before anything is written: entry → what the one error begins with.
    "no target": ({}, ": expected an endpoint"),
    "endpoint without port": ({"endpoint": "x"}, ".endpoint: expected host:port"),
    "port 0": ({"endpoint": "x:0"}, ".endpoint: expected host:port"),
    "a URL": ({"endpoint": "http://x:80"}, ".endpoint: expected host:port"),
    "no endpoint": ({"endpoint": []}, ".endpoint: expected at least one"),
    "only backups": ({"endpoint": [{"address": "a:1", "backup": True}]},
                     ".endpoint: expected an endpoint without backup"),
    "no address": ({"endpoint": {"weight": 1}}, ".endpoint.address: missing"),
    "weight 0": ({"endpoint": {"address": "a:1", "weight": 0}}, ".endpoint.weight: expected"),
    "balance": ({"endpoint": "a:1", "balance": "fastest"}, ".balance: expected least_conn"),
    "backup and hash": ({"endpoint": ["b:1", {"address": "a:1", "backup": True}],
                         "balance": "ip_hash"}, ".balance: expected none"),
    "typo": ({"endpoint": "a:1", "websockets": True}, ".websockets: unknown key"),
    "scheme": ({"endpoint": "a:1", "scheme": "h2"}, ".scheme: expected one of"),
    "websocket over gRPC": ({"endpoint": "a:1", "scheme": "grpc", "websocket": True},
                            ".websocket: expected a scheme other"),
    "size": ({"endpoint": "a:1", "client_max_body_size": "lots"}, ".client_max_body_size: expec"),
    "header name": ({"endpoint": "a:1", "proxy_set_header": {"a b": "c"}},
                    ".proxy_set_header['a b']: expected the name"),
    "header host": ({"endpoint": "a:1", "proxy_set_header": {"Host": "c"}},
                    ".proxy_set_header.Host: expected the attribute host"),
    "header upgrade": ({"endpoint": "a:1", "proxy_set_header": {"Upgrade": "$http_upgrade"}},
                       ".proxy_set_header.Upgrade: expected the attribute websocket"),
    "header with a line break": ({"endpoint": "a:1", "proxy_set_header": {"X-A": "a\nb"}},
                                 ".proxy_set_header.X-A: expected"),
    "host": ({"endpoint": "a:1", "host": "a;b"}, ".host: expected a name"),
    "next upstream": ({"endpoint": "a:1", "proxy_next_upstream": "sometimes"},
                      ".proxy_next_upstream: expected words"),
    "cache without buffers": ({"endpoint": "a:1", "proxy_cache": True, "proxy_buffering": False},
                              ".proxy_buffering: expected true"),
    "expires": ({"endpoint": "a:1", "expires": "soon"}, ".expires: expected"),
    "spa of an endpoint": ({"endpoint": "a:1", "spa": True}, ".spa: expected a path"),
    "redirect to itself": ({"redirect": "https://broken.example.com"}, ".redirect.to: expected"),
    "redirect of another": ({"endpoint": "a:1", "redirect": {"names": ["x.p"], "to": "/a"}},
                            ".redirect.names: expected names of the entry"),
    "location": ({"endpoint": "a:1", "locations": {"api": {"websocket": True}}},
                 ".locations.api: expected a path"),
    "location outside": ({"endpoint": "a:1", "locations": {"/a/../b": {}}},
                         ".locations['/a/../b']: expected a path"),
    "location twice": ({"endpoint": "a:1", "locations": {"/a": {}, "^~ /a": {}}},
                       ".locations['^~ /a']: expected another path"),
    "maintenance": ({"endpoint": "a:1", "maintenance": {"allow": ["me"]}},
                    ".maintenance.allow[0]: expected an address"),
    "half a directive": ({"endpoint": "a:1", "config": "gzip off"}, ".config: expected whole"),
    "dead directive": ({"endpoint": "a:1", "config": "proxy_read_timeout 1h;"},
                       ".config: expected the attribute proxy_read_timeout"),
    "the portal itself": ({"endpoint": "127.0.0.1:80"}, ".endpoint: expected another server than"),
    "the portal itself over HTTPS": ({"endpoint": "localhost:443", "scheme": "https"},
                                     ".endpoint: expected another server than the portal"),
    "the portal itself below a path": ({"endpoint": "a:1", "locations": {
        "/x": {"endpoint": "10.10.10.10:80"}}}, ".locations['/x'].endpoint: expected another ser"),
    "a name of the formula": ({"endpoint": "a:1", "domain": "generation.infra.localhost"},
                              ".domain: 'generation.infra.localhost' is already a name of the f"),
    "a socket in /tmp": ({"endpoint": "unix:/tmp/a"}, ".endpoint: expected a path outside /tmp"),
}  # fmt: skip
"""Ways to break an entry that pillar validation refuses → entry, and how its one error begins."""

REFUSED: dict[str, tuple[Entry, str]] = {
    "unknown directive": ({"config": "retrun 204;"}, ".config"),
    "unknown variable in a header": ({"proxy_set_header": {"X-A": "$no_such"}},
                                     ".proxy_set_header"),
    "unknown variable in host": ({"host": "$no_such"}, ".host"),
    "unknown zone": ({"config": "limit_req zone=none_such;"}, ".config"),
    "buffers": ({"config": "proxy_buffer_size 32k;"}, ".config"),
    "buffers of a location": ({"config": "location /x/ {\n  proxy_buffers 4 4k;\n"
                               "  proxy_buffer_size 64k;\n  proxy_pass http://127.0.0.1:9;\n}"},
                              ".config"),
    "unknown cache": ({"config": "location /x/ {\n  proxy_cache none_such;\n"
                       "  proxy_pass http://127.0.0.1:9;\n}"}, ".config"),
    "no file": ({"config": "include /none/such.conf;"}, ".config"),
    "a bad regex": ({"locations": {"~ ^/(a": {"websocket": True}}}, ".locations['~ ^/(a']"),
    "a bad regex in config": ({"config": "location ~ (x { return 204; }"}, ".config"),
    "no CA": ({"scheme": "https", "proxy_ssl_verify": True,
               "proxy_ssl_trusted_certificate": "/none/ca.crt"}, ".proxy_ssl_trusted_certificate"),
    "two of a location": ({"config": "location /x { return 204; }\nlocation /x { return 204; }"},
                          ".config"),
    "unknown cache variable": ({"proxy_cache": {"key": "$no_such"}}, ".proxy_cache"),
    "unknown hash": ({"endpoint": ["127.0.0.1:1", "127.0.0.1:2"], "balance": "hash $no_such"},
                     ".balance"),
}  # fmt: skip
"""Ways to break an entry that only nginx finds → what is added to an entry, the attribute named."""
