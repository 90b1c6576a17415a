"""The attributes of an entry of ``infra_portal``: the rule of each, and what it does.

Each is stated once, here: ``make generate`` takes the texts for the documents and for editors.
Attributes that are not Pigsty's have the names of nginx's directives where there is one.
"""

from __future__ import annotations

from typing import Any

Rule = dict[str, Any]

_SWITCH: Rule = {"type": "bool"}
_ENDPOINT: Rule = {
    "type": "map",
    "keys": {
        "address": {"type": "endpoint", "about": "`host:port`, `[IPv6]:port` or `unix:/path`."},
        "weight": {
            "type": "int",
            "min": 1,
            "max": 10000,
            "about": "Its share of the requests beside the others; 1 if not given.",
        },
        "backup": {**_SWITCH, "about": "Only where all others fail; `false` if not given."},
        "max_fails": {
            "type": "int",
            "min": 0,
            "max": 10000,
            "about": "Failures in a `fail_timeout` after which it is left out; 1 if not given.",
        },
        "fail_timeout": {
            "type": "timeout",
            "about": "How long it is left out then; `10s` if not given.",
        },
    },
    "required": ["address"],
}
_CACHE: Rule = {
    "type": "map",
    "keys": {
        "valid": {
            "type": "timeout",
            "about": "How long an answer is kept if the endpoint does not say; `10m` if not given.",
        },
        "max_size": {
            "type": "size",
            "about": "How large the cache may be on disk; `1g` if not given.",
        },
        "inactive": {
            "type": "timeout",
            "about": "An answer that nobody asks for is dropped after this; `1d` if not given.",
        },
        "key": {
            "type": "line",
            "about": (
                "As nginx's `proxy_cache_key`; if not given, "
                "`$scheme$portal_host$visitor_port$request_uri`: all that an answer may link to."
            ),
        },
    },
}
_REDIRECT: Rule = {
    "type": "map",
    "keys": {
        "to": {
            "type": "line",
            "about": (
                "A URL, or a path. The visitor's path follows a URL that has none. The entry's "
                "`domain` if not given, beside `names`."
            ),
        },
        "code": {
            "type": "int",
            "enum": [301, 302, 303, 307, 308],
            "about": "The status; 301 if not given.",
        },
        "names": {
            "type": "list",
            "items": {"type": "domain"},
            "about": "Only these of the entry's names are redirected.",
        },
    },
}
_MAINTENANCE: Rule = {
    "type": "map",
    "keys": {
        "allow": {
            "type": "list",
            "items": {"type": "line"},
            "about": "Addresses and networks that get the site itself.",
        },
        "page": {
            "type": "path",
            "about": "An HTML file to show; a line of text if not given.",
        },
    },
}

_ADDRESSES: Rule = {"either": [{"type": "network"}, {"type": "line", "enum": ["all"]}]}

SERVER: dict[str, Rule] = {
    "domain": {
        "type": "site",
        "about": "Name it is served under. Without one an entry is known, but not served.",
    },
    "domains": {
        "type": "list",
        "items": {"type": "site"},
        "about": "Further names.",
    },
    "auth_paths": {
        "type": "list",
        "items": {"type": "path"},
        "about": "Paths, and all that begin so, that need a login while the rest needs none.",
    },
    "open_paths": {
        "type": "list",
        "items": {"type": "path"},
        "about": "Paths, with what is below them, that need no login while the rest does.",
    },
    "cert": {
        "either": [{"type": "path"}, {"type": "name"}],
        "about": (
            "A certificate of your own: a name in `nginx_certificates`, or an absolute path on the "
            "INFRA node; else the portal's."
        ),
    },
    "key": {
        "type": "path",
        "about": "The path of the key, where `cert` is a path.",
    },
    "certbot": {
        "type": "name",
        "about": "Name of a public certificate, shared by entries of the same name.",
    },
    "enforce_https": {
        "type": "bool",
        "about": "Redirect plain HTTP; if not given, as `nginx_sslmode` says.",
    },
    "hsts": {
        "either": [{"type": "bool"}, {"type": "int", "min": 0, "max": 63072000}],
        "about": (
            "Tell browsers to stay on HTTPS, `true` for a year, or seconds; `false` if not given."
        ),
    },
    "log": {
        "either": [{"type": "name"}, {"type": "bool", "enum": [False]}],
        "about": (
            "Name of its access log below `/var/log/nginx`, with or without `.log`; `<key>.log` if "
            "not given. `off` or false: none."
        ),
    },
    "users": {
        "type": "list",
        "items": {"type": "line"},
        "about": (
            "Those of `nginx_users` who may come in, by name; all of them if not given. The entry "
            "has `auth: basic` then."
        ),
    },
    "allow": {
        "either": [_ADDRESSES, {"type": "list", "items": _ADDRESSES}],
        "about": (
            "Addresses and networks that may come in, and nobody else; with `deny`, the smallest "
            "network that has an address counts. `all` is every address."
        ),
    },
    "deny": {
        "either": [_ADDRESSES, {"type": "list", "items": _ADDRESSES}],
        "about": "Addresses and networks that may not come in.",
    },
    "satisfy": {
        "type": "line",
        "enum": ["all", "any"],
        "about": (
            "`any`: an address of `allow` needs no login, and who logs in may come from anywhere; "
            "`all` if not given."
        ),
    },
    "ssl_client_certificate": {
        "either": [{"type": "path"}, {"type": "name"}],
        "about": (
            "CA of the certificates that visitors have to show: an absolute path on the INFRA "
            "node, such as `/etc/pki/ca.crt`, or a name in `nginx_certificates`. Plain HTTP is "
            "redirected."
        ),
    },
    "ssl_verify_client": {
        "either": [{"type": "bool"}, {"type": "line", "enum": ["on", "off", "optional"]}],
        "about": (
            "`true` if not given, beside `ssl_client_certificate`. With `optional`, a visitor may "
            "have none, and the endpoint decides by `$ssl_client_verify`."
        ),
    },
    "log_format": {
        "type": "name",
        "about": (
            "Format of its access log: `combined`, or a `log_format` of `nginx_http_config`; "
            "`nginx_log_format` if not given."
        ),
    },
    "limit_req": {
        "type": "map",
        "keys": {
            "rate": {"type": "rate"},
            "zone": {"type": "name"},
            "burst": {"type": "int", "min": 0, "max": 1000000},
            "nodelay": {"type": "bool"},
            "delay": {"type": "int", "min": 0, "max": 1000000},
            "status": {"type": "int", "min": 400, "max": 599},
        },
        "about": (
            "How often a client may ask: `rate`, like `10r/s`, for each address, or the name of a "
            "`zone` of `nginx_http_config`; with `burst`, `nodelay` or `delay` as nginx has them. "
            "What is too often is answered with `status`, 429 if not given."
        ),
    },
    "config": {
        "type": "text",
        "about": "Further nginx directives for its server.",
    },
    "conf": {
        "type": "name",
        "about": "A template of your own below `salt://infra/nginx/files`.",
    },
    "large_client_header_buffers": {
        "either": [{"type": "size"}, {"type": "line"}],
        "about": (
            "For long URLs and large cookies: the size of a buffer, or nginx's number and size; "
            "`4 16k` if not given."
        ),
    },
    "maintenance": {
        "either": [_SWITCH, _MAINTENANCE],
        "about": "Answer with 503 and a page: `true`, or a dictionary of `allow` and `page`.",
    },
    "http3": {
        **_SWITCH,
        "about": "Serve HTTP/3, too, where nginx has it (1.25 and later); `false` if not given.",
    },
}
"""Attributes of an entry as a whole: its names, its certificate, its logs."""

LOCATION: dict[str, Rule] = {
    "endpoint": {
        "either": [
            {"type": "endpoint"},
            {"type": "list", "items": {"either": [{"type": "endpoint"}, _ENDPOINT]}},
            _ENDPOINT,
        ],
        "about": (
            "`host:port`, `[IPv6]:port` or `unix:/path` to proxy to. A list is balanced; those "
            "that fail are left out. Each may be a dictionary of `address`, `weight`, `backup`, "
            "`max_fails` and `fail_timeout`, as in nginx's `server`."
        ),
    },
    "balance": {
        "type": "line",
        "about": (
            "How endpoints are balanced: nginx's `least_conn`, `ip_hash`, `random`, `hash KEY` or "
            "`hash KEY consistent`; one after the other if not given."
        ),
    },
    "scheme": {
        "type": "line",
        "enum": ["http", "https", "grpc", "grpcs"],
        "about": (
            "`https` where the endpoint speaks TLS, `grpc` or `grpcs` where it speaks gRPC; `http` "
            "if not given."
        ),
    },
    "websocket": {
        "type": "bool",
        "about": "Upgrades of connections pass through; `false` if not given.",
    },
    "path": {
        "type": "path",
        "about": "Directory of a static site.",
    },
    "index": {
        "type": "bool",
        "about": "List the files of `path`; `false` if not given, but `true` for `home`.",
    },
    "auth": {
        "either": [{"type": "bool"}, {"type": "line", "enum": ["basic", "oidc"]}],
        "about": (
            "Only for who logs in: `true` by the portal's way (`portal_auth`, or `basic` where "
            "that is empty), `basic`, or `oidc`. If not given, `false`; with `portal_auth` "
            "`true` where the endpoint is one of the home page's tools."
        ),
    },
    "realm": {
        "type": "quoted",
        "about": "What the browser shows when it asks for a password; `Auth <key>` if not given.",
    },
    "client_max_body_size": {
        "type": "size",
        "about": "The largest body of a request; else `nginx_client_max_body_size`.",
    },
    "proxy_connect_timeout": {
        "type": "timeout",
        "about": "As nginx's directive; else `nginx_proxy_connect_timeout`.",
    },
    "proxy_read_timeout": {
        "type": "timeout",
        "about": "As nginx's directive; else `nginx_proxy_read_timeout`.",
    },
    "proxy_send_timeout": {
        "type": "timeout",
        "about": "As nginx's directive; else `nginx_proxy_send_timeout`.",
    },
    "accel_redirect": {
        "type": "bool",
        "about": (
            "The endpoint may answer with a location of `config`, by `X-Accel-Redirect`; "
            "`false` if not given."
        ),
    },
    "proxy_ssl_verify": {
        "type": "bool",
        "about": "Verify the certificate of an HTTPS endpoint; `false` if not given.",
    },
    "proxy_ssl_trusted_certificate": {
        "type": "path",
        "about": "By which CA; that of the machine if not given.",
    },
    "proxy_ssl_name": {
        "type": "domain",
        "about": "Under which name; that of the endpoint if not given.",
    },
    "proxy_http_version": {
        "type": "any",
        "enum": ["1.0", "1.1", "2", 1.0, 1.1, 2],
        "about": (
            "HTTP version in which the endpoint is asked; `1.1` if not given. `2` takes nginx "
            "1.29.4."
        ),
    },
    "host": {
        "type": "line",
        "about": "The `Host` that the endpoint gets; the visitor's if not given.",
    },
    "proxy_set_header": {
        "type": "map",
        "items": {"either": [{"type": "line"}, {"type": "int"}]},
        "about": (
            "Headers that the endpoint gets beside the portal's, or in their place: name → value, "
            "in which nginx's variables may stand. An empty value removes the header."
        ),
    },
    "proxy_next_upstream": {
        "type": "line",
        "about": (
            "When the next endpoint is tried, as nginx's directive; `error timeout http_502 "
            "http_503 http_504` if not given."
        ),
    },
    "proxy_buffering": {
        **_SWITCH,
        "about": (
            "Take an answer from the endpoint as fast as it sends it; `false` if not given, but "
            "`true` with `proxy_cache`."
        ),
    },
    "proxy_buffer_size": {
        "type": "size",
        "about": "The largest header of an answer; a page of memory, 4k, if not given.",
    },
    "proxy_request_buffering": {
        **_SWITCH,
        "about": "Take a request's whole body before the endpoint gets it; `false` if not given.",
    },
    "proxy_cache": {
        "either": [_SWITCH, _CACHE],
        "about": (
            "Keep answers of the endpoint, below `/var/cache/infra-nginx`: `true`, or a dictionary "
            "of `valid`, `max_size`, `inactive` and `key`. A request with a login, a cookie or "
            "a certificate is neither answered from there, nor is its answer kept."
        ),
    },
    "spa": {
        **_SWITCH,
        "about": (
            "`path` is a single-page application: where there is no file, its `index.html` "
            "answers; `false` if not given."
        ),
    },
    "redirect": {
        "either": [{"type": "line"}, _REDIRECT],
        "about": (
            "Send visitors to a URL, or by a dictionary of `to`, `code` and `names` (for "
            "`www.example.com` to `example.com`)."
        ),
    },
    "expires": {
        "either": [
            {"type": "duration"},
            {"type": "line", "enum": ["max", "epoch", "off"]},
            {"type": "int", "min": -1, "max": -1},
            _SWITCH,
        ],
        "about": (
            "How long browsers may keep an answer, as nginx's directive: a duration, `max`, "
            "`epoch`, `-1` for not at all, or `off`; as the endpoint says if not given."
        ),
    },
    "gzip": {**_SWITCH, "about": "Compress answers by gzip; `true` if not given."},
    "brotli": {
        **_SWITCH,
        "about": (
            "Compress answers by brotli, too, where nginx has its module; `false` if not given."
        ),
    },
}
"""Attributes of what answers: of the whole entry, and of each of its ``locations``."""

IN_LOCATIONS: dict[str, Rule] = {
    **LOCATION,
    "strip_prefix": {
        **_SWITCH,
        "about": (
            "The endpoint gets the path without the location's: `/x` for `/api/x`; `false` if not "
            "given."
        ),
    },
}
"""Attributes of an item of ``locations``."""

ENTRY: dict[str, Rule] = {
    **SERVER,
    **LOCATION,
    "locations": {
        "type": "map",
        "items": {"type": "map", "keys": IN_LOCATIONS},
        "about": (
            "What answers below some paths: path → attributes, of which those that are not given "
            "are the entry's. A path is as nginx has it: `/api`, `= /api`, `^~ /api`, `~ REGEX` or "
            "`~* REGEX`."
        ),
    },
}
"""Rule of each attribute of an entry (see parameters/schema.py), with its text (``about``)."""
