"""What the states of the portal are given."""

from __future__ import annotations

from typing import Any

from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.parameters import elsewhere, site
from infra_formula.parameters.site import Site
from infra_formula.portal import endpoints, named_certificates

_PARAMETERS = (
    "admin_ip",
    "dns_records",
    "nginx_sslmode",
    "nginx_auth_over_http",
    "nginx_port",
    "nginx_ssl_port",
    "nginx_ipv6",
    "nginx_home",
    "nginx_user",
    "nginx_group",
    "nginx_modules",
    "infra_streams",
    "nginx_trusted_proxies",
    "nginx_real_ip_header",
    "nginx_proxy_protocol_port",
    "nginx_proxy_protocol_ssl_port",
    "nginx_http_config",
    "nginx_log_format",
    "nginx_exporter_enabled",
    "ca_bundle",
    "repo_home",
    "repo_name",
    "portal_auth",
    "oauth2_proxy_endpoint",
    "oauth2_proxy_prefix",
    "oauth2_proxy_groups",
    "oauth2_proxy_cookie_name",
    "portal_haproxy_logins",
    "nginx_client_max_body_size",
    "nginx_proxy_connect_timeout",
    "nginx_proxy_read_timeout",
    "nginx_proxy_send_timeout",
)

_CLOSING = ("auth", "users", "allow", "deny", "ssl_client_certificate", "ssl_verify_client")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def portal(here: Site) -> dict[str, Any]:
    """What the portal depends on beside ``infra_portal``.

    Each INFRA node has its own public certificates, and any of them may get the request of the
    challenge (``acme_peers``). ``closed_ports`` are queried on loopback, whatever the address in an
    endpoint.
    """
    by_http = here["certbot_sign"] and here["certbot_challenge"] == "http"
    return {
        **{name: here[name] for name in _PARAMETERS},
        "components": _components(here),
        "haproxy": {},
        "acme_peers": here.other_addresses if here.is_infra_node and by_http else [],
        "addresses": here.addresses,
        "closed_ports": daemon_arguments.closed_ports(here),
        "own_address": here.this_node["ip"] if here.this_node else None,
        # Names and addresses by which an entry may lead to an INFRA node, and to which ports of it.
        "own_addresses": [*here.grains.get("ipv4", []), *here.grains.get("ipv6", [])],
        "own_names": [here.grains.get(name, "") for name in ("id", "host", "fqdn")],
        "infra_names": [node["key"] for node in here.infra_nodes],
        "tool_ports": {name: here[row["port"]] for name, row, _ in site.daemon_rows()},
        # Of the users, the portal has to know only if there are any.
        "nginx_users": bool(here["nginx_users"]),
        "user_names": sorted(here["nginx_users"]),
        # Of the certificates, which there are: keys are in no record of the portal.
        "nginx_certificates": named_certificates.digests(here["nginx_certificates"]),
    }


def streams(here: Site) -> list[dict[str, Any]]:
    """The TCP streams that can be probed, each with its ``stream`` and ``port``."""
    if "nginx" not in here.enabled:
        return []
    return [
        {"stream": name, "port": stream["listen"]}
        for name, stream in here["infra_streams"].items()
        if stream.get("protocol", "tcp") == "tcp"
    ]


def home_states(here: Site) -> dict[str, Any] | None:
    """What fills the states into the home page is given; None where no store has any."""
    if not elsewhere.is_available(here, "vmetrics") or not here.this_node:
        return None
    interval = here["vmetrics_scrape_interval"]
    return {
        "url": daemon_arguments.metrics_url(here),
        "address": here.this_node["ip"],
        "ca_file": here["ca_bundle"],
        # Four results that did not come, beside the 30 s for which VictoriaMetrics holds one back.
        "fresh": max(90, 30 + 4 * int(interval[:-1]) * _SECONDS.get(interval[-1], 1)),
    }


def packages(here: Site) -> list[str]:
    """Packages of nginx, and of what the parameters need of it."""
    row = site.component("nginx")
    packages_needed: list[str] = list(here.of_packaging(row["packages"]))
    if here["infra_streams"]:
        packages_needed += here.of_packaging(row["stream_packages"])
    return packages_needed


def stream_module(here: Site) -> list[str]:
    """Packages of the distribution's stream module, with the vendor's packages of everything else.

    The vendor's nginx has the module built in. A repository without an nginx leaves the site with
    that of the distribution, whose module is a package of its own.
    """
    if not here["infra_streams"] or here["infra_packaging"] != "upstream":
        return []
    packages_of_module: list[str] = site.component("nginx")["stream_packages"]["distro"][
        here.os_family
    ]
    return packages_of_module


def names(here: Site) -> list[dict[str, Any]]:
    """Names that the portal serves, each with its ``entry`` and ``tls``; wildcards are left out."""
    if "nginx" not in here.enabled:
        return []
    entries = {"home": {}, **here["infra_portal"]}
    return [
        {"entry": key, "name": name, "tls": here.tls}
        for key, entry in entries.items()
        if isinstance(entry, dict) and (key == "home" or "domain" in entry)
        for name in [entry.get("domain", "i.pigsty"), *entry.get("domains", [])]
        if "*" not in name
    ]


def backends(here: Site) -> list[dict[str, Any]]:
    """Endpoints of entries that a visitor has to be let in to, each with its ``entry``.

    A probe of such a name is answered by nginx (401, 403), whatever becomes of the endpoint. Those
    on loopback are left out where there are several INFRA nodes: each node probes all of them.
    """
    if "nginx" not in here.enabled:
        return []
    alone = len(here.infra_nodes) < 2
    rows = []
    for key, entry in here["infra_portal"].items():
        if not isinstance(entry, dict) or "domain" not in entry or "conf" in entry:
            continue
        if not here["portal_auth"] and not any(entry.get(name) for name in _CLOSING):
            continue
        value = endpoints.expand(entry.get("endpoint"), here["admin_ip"])
        for address in endpoints.addresses(value):
            host = address.rpartition(":")[0]
            if not address.startswith("unix:") and (alone or host not in _LOOPBACK):
                rows.append({"entry": key, "endpoint": address})
    return rows


def _components(here: Site) -> dict[str, dict[str, Any]]:
    """Enabled components: ``port``, and the ``health`` path of a daemon with a web interface."""
    daemons = daemon_arguments.daemons(here)
    components: dict[str, dict[str, Any]] = {}
    for name, port in here.enabled.items():
        components[name] = {"port": port}
        if port is not None and name in daemons:
            components[name]["health"] = daemons[name]["health"]
    if "grafana" in components:
        # A portal of this site reaches a Grafana of it under these, which trusts it then.
        hosts = ["127.0.0.1", "localhost", *here.addresses]
        endpoints = [f"{host}:{here['grafana_port']}" for host in hosts]
        components["grafana"].update(auth_proxy=here["grafana_auth_proxy"], endpoints=endpoints)
    return components
