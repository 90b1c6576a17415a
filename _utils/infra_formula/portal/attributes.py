"""The attributes of an entry of ``infra_portal``: the rule of each, and what it does.

Each is stated once, here: ``make generate`` takes the texts for the documents and for editors.
"""

from __future__ import annotations

from typing import Any

Rule = dict[str, Any]

SERVER: dict[str, Rule] = {
    "domain": {
        "type": "domain",
        "about": "Name it is served under. Without one an entry is known, but not served.",
    },
    "domains": {
        "type": "list",
        "items": {"type": "domain"},
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
        "type": "path",
        "about": (
            "A certificate of your own, an absolute path on the INFRA node; else the portal's."
        ),
    },
    "key": {
        "type": "path",
        "about": "The key of `cert`, likewise.",
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
        "type": "name",
        "about": "Name of its access log below `/var/log/nginx`; `<key>.log` if not given.",
    },
    "config": {
        "type": "text",
        "about": "Further nginx directives for its server.",
    },
    "conf": {
        "type": "name",
        "about": "A template of your own below `salt://infra/nginx/files`.",
    },
}
"""Attributes of an entry as a whole: its names, its certificate, its logs."""

LOCATION: dict[str, Rule] = {
    "endpoint": {
        "either": [{"type": "endpoint"}, {"type": "list", "items": {"type": "endpoint"}}],
        "about": (
            "`host:port`, `[IPv6]:port` or `unix:/path` to proxy to. A list is balanced; those "
            "that fail are left out."
        ),
    },
    "scheme": {
        "type": "line",
        "enum": ["http", "https"],
        "about": "`https` where the endpoint speaks TLS; `http` if not given.",
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
}
"""Attributes of what answers: of the whole entry, and of each of its ``locations``."""

ENTRY: dict[str, Rule] = {**SERVER, **LOCATION}
"""Rule of each attribute of an entry (see parameters/schema.py), with its text (``about``)."""
