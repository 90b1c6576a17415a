"""Directives in ``config`` that nginx would refuse beside the portal's, or that would do nothing.

``config`` stands in the ``server`` of an entry. A directive that the portal sets there as well is a
duplicate. One that the portal sets in ``location /``, which answers every request that no other
location takes, has no effect there. Both are refused by the attribute to use. Source of the
contexts: https://nginx.org/en/docs/dirindex.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra_formula.portal import locations, raw_config
from infra_formula.portal.locations import Match
from infra_formula.portal.raw_config import Block

MAIN_ONLY = frozenset(
    [
        "accept_mutex",
        "accept_mutex_delay",
        "daemon",
        "epoll_events",
        "debug_connection",
        "debug_points",
        "env",
        "events",
        "google_perftools_profiles",
        "http",
        "load_module",
        "lock_file",
        "mail",
        "master_process",
        "multi_accept",
        "pcre_jit",
        "pid",
        "ssl_engine",
        "stream",
        "thread_pool",
        "timer_resolution",
        "use",
        "user",
        "worker_aio_requests",
        "worker_connections",
        "worker_cpu_affinity",
        "worker_priority",
        "worker_processes",
        "worker_rlimit_core",
        "worker_rlimit_nofile",
        "worker_shutdown_timeout",
        "working_directory",
    ]
)
"""Directives of nginx.conf itself, outside of ``http``."""

HTTP_ONLY = frozenset(
    [
        "charset_map",
        "fastcgi_cache_path",
        "geo",
        "geoip_city",
        "geoip_country",
        "geoip_org",
        "geoip_proxy",
        "geoip_proxy_recursive",
        "http2_recv_buffer_size",
        "limit_conn_zone",
        "limit_req_zone",
        "log_format",
        "map",
        "map_hash_bucket_size",
        "map_hash_max_size",
        "perl_modules",
        "perl_require",
        "perl_set",
        "proxy_cache_path",
        "scgi_cache_path",
        "server",
        "server_names_hash_bucket_size",
        "server_names_hash_max_size",
        "split_clients",
        "upstream",
        "uwsgi_cache_path",
        "variables_hash_bucket_size",
        "variables_hash_max_size",
    ]
)
"""Directives that stand in ``http`` alone."""

LOCATION_ONLY = {
    "alias": "path of a location in locations",
    "empty_gif": "locations, or a location in config",
    "fastcgi_pass": "a location in config",
    "flv": "a location in config",
    "grpc_pass": "endpoint and scheme",
    "internal": "a location in config",
    "limit_except": "a location in config",
    "memcached_pass": "a location in config",
    "mp4": "a location in config",
    "perl": "a location in config",
    "random_index": "a location in config",
    "proxy_pass": "endpoint",
    "scgi_pass": "a location in config",
    "uwsgi_pass": "a location in config",
}
"""Directives that stand in a ``location`` alone → what to use instead."""

UPSTREAM_ONLY = frozenset(["hash", "ip_hash", "keepalive", "least_conn", "random", "zone"])
"""Directives of a group of endpoints."""

# Directive → attribute that sets it, in ``location /`` of an entry with an endpoint.
_PROXY = {
    "proxy_http_version": "proxy_http_version",
    "proxy_set_header": "proxy_set_header",
    "proxy_connect_timeout": "proxy_connect_timeout",
    "proxy_read_timeout": "proxy_read_timeout",
    "proxy_send_timeout": "proxy_send_timeout",
    "proxy_next_upstream": "proxy_next_upstream",
    "proxy_buffering": "proxy_buffering",
    "proxy_request_buffering": "proxy_request_buffering",
}
_PROXY_TLS = {"proxy_ssl_server_name": "scheme", "proxy_ssl_name": "proxy_ssl_name"}
_VERIFIED = {
    "proxy_ssl_verify": "proxy_ssl_verify",
    "proxy_ssl_verify_depth": "proxy_ssl_verify",
    "proxy_ssl_trusted_certificate": "proxy_ssl_trusted_certificate",
}
_GRPC = {
    "grpc_set_header": "proxy_set_header",
    "grpc_connect_timeout": "proxy_connect_timeout",
    "grpc_read_timeout": "proxy_read_timeout",
    "grpc_send_timeout": "proxy_send_timeout",
    "grpc_next_upstream": "proxy_next_upstream",
    "client_body_timeout": "proxy_read_timeout",
}
# Only where the attribute is given.
_BUFFERS = ("buffer_size", "buffers", "busy_buffers_size")
_CACHE = ("", "_bypass", "_key", "_lock", "_valid")
_INDEX = ("autoindex", "autoindex_exact_size", "autoindex_format", "autoindex_localtime")
_FAMILIES = ("proxy", "grpc", "fastcgi", "uwsgi", "scgi", "memcached")
_ASIDE = {"proxy_headers_hash_bucket_size", "proxy_headers_hash_max_size"}
"""Directives of the portal that stand aside for those of ``config``."""
_FOR_FILES = ("root", "index", "autoindex")


def problems(
    where: str, key: str, entry: dict[str, Any], auth: str, settings: dict[str, Any]
) -> Iterator[str]:
    """Errors in the directives of ``config``, whose form is valid.

    where
        Key path of ``config``.
    key, entry
        The entry.
    auth
        How its visitors log in: ``''``, ``basic`` or ``oidc``.
    settings
        Of them ``nginx_port`` and ``nginx_ssl_port``.
    """
    root = raw_config.parse(entry["config"])
    server = server_directives(key, entry, auth)
    location = location_directives(key, entry)
    names = [words[0] for words in root.directives]
    for name in dict.fromkeys([*names, *(block.name for block in root.blocks)]):
        if name in MAIN_ONLY:
            yield f"{where}: expected directives of a server; {name} belongs to nginx.conf"
        elif name in HTTP_ONLY:
            yield (
                f"{where}: expected directives of a server; {name} belongs to http, in "
                "nginx_http_config"
            )
        elif name in UPSTREAM_ONLY:
            yield f"{where}: expected the attribute balance in place of the directive {name}"
        elif name in LOCATION_ONLY:
            yield (
                f"{where}: expected {LOCATION_ONLY[name]} in place of the directive {name}, which "
                "nginx takes in a location only"
            )
        elif name in server:
            yield _refusal(where, name, server[name], "which the portal sets already")
        elif name in location:
            yield _refusal(where, name, location[name], "which would have no effect")
    for arguments in root.own("listen"):
        for parameter in ("nginx_port", "nginx_ssl_port"):
            if arguments and arguments[0].rpartition(":")[2] == str(settings[parameter]):
                yield f"{where}: expected no listen {arguments[0]}, which is {parameter} already"
    yield from _unused(where, key, entry, root, {*server, *location})
    yield from _locations(where, entry, root)


def _refusal(where: str, name: str, attribute: str, reason: str) -> str:
    if not attribute:
        return f"{where}: expected no directive {name}, {reason}, to keep visitors out of headers"
    return f"{where}: expected the attribute {attribute} in place of the directive {name}, {reason}"


def server_directives(key: str, entry: dict[str, Any], auth: str) -> dict[str, str]:
    """Directives that the portal sets in the server of an entry, and nginx takes once → attribute.

    Those that stand aside for ``config`` are not among them.
    """
    advice = {
        "client_max_body_size": "client_max_body_size",
        "http2": "nginx_sslmode",
        "ignore_invalid_headers": "",
        "underscores_in_headers": "",
    }
    if key == "home" or "path" in entry:
        advice["root"] = "path"
    if auth == "basic":
        advice |= {"auth_basic": "auth", "auth_basic_user_file": "auth"}
    elif auth == "oidc":
        advice["auth_request"] = "auth"
    if "limit_req" in entry:
        advice["limit_req_status"] = "limit_req"
    for attribute in ("large_client_header_buffers", "gzip", "expires", "brotli"):
        if attribute in entry:
            advice[attribute] = attribute
    return advice


def location_directives(key: str, entry: dict[str, Any]) -> dict[str, str]:
    """Directives that the portal sets in ``location /``, or that it leaves nothing to do."""
    if key == "home":
        return {"try_files": "locations"}
    if "path" in entry:
        advice = {"try_files": "spa"}
        return advice | dict.fromkeys(_INDEX, "index") if entry.get("index") else advice
    if "endpoint" not in entry:
        return {"try_files": "locations"}
    advice = {"try_files": "locations"}
    scheme = entry.get("scheme", "http")
    family = "grpc" if scheme.startswith("grpc") else "proxy"
    advice |= _GRPC if family == "grpc" else _PROXY
    tls = (_PROXY_TLS if scheme in ("https", "grpcs") else {}) | (
        _VERIFIED if scheme in ("https", "grpcs") and entry.get("proxy_ssl_verify") else {}
    )
    advice |= {name.replace("proxy", family, 1): attribute for name, attribute in tls.items()}
    if "proxy_buffer_size" in entry:
        buffers = _BUFFERS if family == "proxy" else _BUFFERS[:1]
        advice |= {f"{family}_{name}": "proxy_buffer_size" for name in buffers}
    if entry.get("proxy_cache") not in (None, False):
        advice |= {f"proxy_cache{name}": "proxy_cache" for name in _CACHE}
        advice["proxy_no_cache"] = "proxy_cache"
    return advice


def _unused(
    where: str, key: str, entry: dict[str, Any], root: Block, known: set[str]
) -> Iterator[str]:
    """Directives about servers of a kind, or about files, that no location of the entry has."""
    if key == "home" or root.own("include") or any(b.own("include") for b in root.walk()):
        return
    inner = {words[0] for block in root.walk() for words in block.directives if block is not root}
    used = {family for family in _FAMILIES if f"{family}_pass" in inner}
    for location in locations.of_entry(entry):
        if "endpoint" in location.attributes:
            is_grpc = location.attributes.get("scheme", "").startswith("grpc")
            used.add("grpc" if is_grpc else "proxy")
    serves_files = bool(root.blocks) or "path" in entry
    for name in dict.fromkeys(words[0] for words in root.directives):
        family = name.partition("_")[0]
        if name in known | LOCATION_ONLY.keys() | HTTP_ONLY | _ASIDE:
            continue
        if family in _FAMILIES and "_" in name and family not in used:
            yield f"{where}: expected a location with {family}_pass that uses {name}"
        elif name in _FOR_FILES and not serves_files:
            yield f"{where}: expected the attribute path, or a location in config that uses {name}"


def _locations(where: str, entry: dict[str, Any], root: Block) -> Iterator[str]:
    """Locations that an attribute has already."""
    of_attribute = {
        _identity(match): key
        for key in entry.get("locations", {})
        if (match := locations.parse(key)) is not None
    }
    for block in root.blocks:
        if block.name != "location" or not 1 <= len(block.arguments) <= 2:
            continue
        identity = _identity(Match("".join(block.arguments[:-1]), block.arguments[-1]))
        if identity in of_attribute:
            yield (
                f"{where}: expected another location than {of_attribute[identity]!r}, which is in "
                "locations"
            )
        elif identity == ("", "/"):
            yield (
                f"{where}: expected the attributes of the entry, or locations, in place of "
                'location /: the portal has it already, and nginx refuses a duplicate location "/"'
            )
        elif identity == ("", "/.well-known/acme-challenge/") and entry.get("certbot"):
            yield f"{where}: expected no location for ACME beside the attribute certbot"


def _identity(match: Match) -> tuple[str, str]:
    """What is the same for locations that nginx calls duplicates."""
    return ("", match.text) if match.is_prefix else (match.modifier, match.text)
