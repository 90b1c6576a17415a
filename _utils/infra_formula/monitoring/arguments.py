"""What the states of scraping, probes, rules, receivers and log shipping are given."""

from __future__ import annotations

from typing import Any

from infra_formula import addresses
from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.daemon import flags
from infra_formula.data import load
from infra_formula.logs.vector import INSERT
from infra_formula.monitoring import cluster, storage_nodes
from infra_formula.monitoring import remote_write as stores
from infra_formula.monitoring.alertmanager import receivers_by_name
from infra_formula.parameters import elsewhere, site
from infra_formula.parameters.site import Site
from infra_formula.portal import arguments as portal_arguments
from infra_formula.registration import arguments as registration_arguments

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def infra_targets(here: Site) -> dict[str, Any]:
    """What the INFRA nodes are themselves, as scrape targets (see ``scraping.own_targets``)."""
    enabled = here.enabled
    in_portal = "repo" in enabled and "nginx" in enabled
    clusters = storage_nodes.targets(here)
    if cluster.is_there(here):
        clusters["vmcluster"] = cluster.targets(here)
    return {
        "nodes": [{"ip": node["ip"], "seq": node["seq"]} for node in by_number(here)],
        "components": daemon_arguments.metrics_ports(here),
        "names": portal_arguments.names(here),
        "settings": {
            "http_port": here["nginx_port"],
            "https_port": here["nginx_ssl_port"],
            "closed_ports": daemon_arguments.closed_ports(here),
            "dns": "dns" in enabled,
            "dns_port": here["dns_port"],
            "repo": f"/{here['repo_name']}/repo_complete" if in_portal else None,
            "blackbox": "blackbox" in enabled,
            "streams": portal_arguments.streams(here),
            "backends": portal_arguments.backends(here),
            "tls": daemon_arguments.tls_targets(here),
            **({"clusters": clusters} if clusters else {}),
        },
    }


def scraping(here: Site) -> dict[str, Any]:
    """Arguments of ``infra_scrape.managed``."""
    keys = ("blackbox_enabled", "blackbox_port", "exporter_metrics_path", "patroni_ssl_enabled")
    limits = ("register_sample_limit", "register_label_limit")
    values = {key: here[key] for key in (*keys, "redis_exporter_port", *limits)}
    return {
        "jobs": load("scrape_jobs"),
        "values": {
            **values,
            "minio_scheme": "https" if here["minio_https"] else "http",
            "tls": _encrypted(here),
            "exporter_tls_config": here["exporter_tls_config"] or {"ca_file": "/etc/pki/ca.crt"},
        },
        "interval": here["vmetrics_scrape_interval"],
        "timeout": here["vmetrics_scrape_timeout"],
        "own": infra_targets(here),
        "external_labels": here["vmetrics_external_labels"],
        "custom": here["vmetrics_scrape_jobs"],
        "targets": here["vmetrics_targets"],
        "probes": here["blackbox_targets"],
    }


def scraper(here: Site) -> str:
    """The daemon that scrapes, if one does: ``vmagent`` or ``vmetrics``."""
    return "vmagent" if here["vmagent_enabled"] else "vmetrics"


def remote_write(here: Site) -> dict[str, Any]:
    """The files of credentials of stores (see ``infra_scrape.remote_credentials``)."""
    row = next(row for name, row, _ in site.daemon_rows() if name == "vmagent")
    return {name: {**file} for name, file in stores.login_files(here, row["user"]).items()}


def _encrypted(here: Site) -> list[str]:
    """Jobs with a target that is asked over HTTPS, and ``blackbox`` if the exporter is."""
    jobs = ["infra"] if daemon_arguments.tls_targets(here) else []
    options = [here["node_exporter_options"]]
    options += [node.get("node_exporter_options", "") for node in here["nodes"].values()]
    if any(map(flags.has_tls, options)):
        jobs.append("node")
    return jobs + (["blackbox"] if "blackbox" in daemon_arguments.tls_daemons(here) else [])


def target_directories(here: Site) -> list[str]:
    """Directories with files of scrape targets."""
    jobs = [*load("scrape_jobs"), *(here["vmetrics_scrape_jobs"] or [])]
    return [f"{here['infra_data']}/targets/{job['targets']}" for job in jobs if "targets" in job]


def blackbox(here: Site) -> dict[str, Any]:
    """Settings of the blackbox exporter's modules; the DNS probe queries the first record."""
    record = str(next(iter(here["dns_records"]), "")).split()
    name = record[1] if len(record) > 1 else here.domain
    protocol = here["blackbox_ip_protocol"]
    return {"ca_bundle": here["ca_bundle"], "dns_name": name, "ip_protocol": protocol}


def rules(here: Site) -> dict[str, Any]:
    """Settings of the rules."""
    timeout = str(here["vmetrics_scrape_timeout"])
    grafana = elsewhere.url(here, "grafana")
    ports = ("node_exporter_port", "vector_port", "alertmanager_cluster_port")
    return {
        "portal_url": here.portal_url,
        "nodes": len(here.infra_nodes),
        "timeout_seconds": int(timeout[:-1]) * _SECONDS.get(timeout[-1], 1),
        "logs": elsewhere.is_available(here, "vlogs"),
        "dashboards": (here["grafana_enabled"] and here["nginx_enabled"]) or bool(grafana),
        **({"grafana_url": grafana} if grafana else {}),
        **{port: here[port] for port in ports},
    }


def alertmanager(here: Site) -> dict[str, Any]:
    """Settings of Alertmanager."""
    names = ["receivers", "severities", "routes", "route", "inhibit_rules", "global"]
    names += ["time_intervals", "templates", "tracing"]
    values = {name: here[f"alertmanager_{name}"] for name in names}
    return {**values, "receivers": receivers_by_name(values["receivers"])}


def vector(here: Site) -> dict[str, Any]:
    """Arguments of ``infra_vector.managed``."""
    node = here.this_node
    # VictoriaLogs of each INFRA node: directly, or through its portal.
    is_closed = daemon_arguments.listen(here)["vlogs"]
    place = f"{here['nginx_port']}/vlogs" if is_closed else here["vlogs_port"]
    receivers = storage_nodes.log_receivers(here) if here["vlogs_enabled"] else []
    sources = [name for name in ("nginx", "grafana") if node and name in here.enabled]
    return {
        "settings": {
            "data": here["vector_data"],
            "port": here["vector_port"],
            "read_from": here["vector_read_from"],
            "ip": here["node_ip"] or (node["ip"] if node else None),
            "ins": registration_arguments.name_of_minion(here),
            "cls": here["node_cluster"],
            "seq": node["seq"] if node else 0,
        },
        "towards": here.addresses,
        "sources": ["node", *sources],
        "endpoints": _log_endpoints(here),
        "nodes": [f"{addresses.in_url(address)}:{place}" for address in receivers],
        "admin_ip": here["admin_ip"],
        "buffer": here["vector_buffer_size"],
    }


def _log_endpoints(here: Site) -> list[str]:
    """The value of ``vector_log_endpoint``, with the VictoriaLogs that the site has elsewhere."""
    url = elsewhere.url(here, "vlogs")
    endpoints = [*here["vector_log_endpoint"]]
    return [url + INSERT if url and one == "infra" else one for one in endpoints]


def by_number(here: Site) -> list[dict[str, Any]]:
    """The INFRA nodes by their numbers."""
    return sorted(({**node} for node in here.infra_nodes), key=lambda node: node["seq"])
