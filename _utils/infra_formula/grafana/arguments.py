"""What the states of Grafana are given."""

from __future__ import annotations

from typing import Any

from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.data import load
from infra_formula.monitoring import arguments as monitoring_arguments
from infra_formula.parameters import elsewhere
from infra_formula.parameters.site import Site
from infra_formula.portal import arguments as portal_arguments


def directory(here: Site) -> str:
    """Where its dashboards are."""
    return f"{here['infra_data']}/grafana"


def settings(here: Site) -> dict[str, Any]:
    """What ``grafana.ini`` is made of."""
    packages = [
        *daemon_arguments.installations(here)["grafana"]["packages"],
        *here["grafana_plugins"],
    ]
    catalogue = load("grafana")["plugins"]
    unsigned = [
        plugin
        for package, row in catalogue.items()
        if package in packages and row.get("unsigned")
        for plugin in row["plugins"]
    ]
    names = [entry["name"] for entry in portal_arguments.names(here)]
    return {
        "port": here["grafana_port"],
        "listen": daemon_arguments.listen(here)["grafana"],
        "pgurl": here["grafana_pgurl"],
        "admin_username": here["grafana_admin_username"],
        "admin_password": here["grafana_admin_password"],
        "anonymous": here["grafana_anonymous"],
        "auth_proxy": here["grafana_auth_proxy"],
        "theme": here["grafana_theme"],
        "language": here["language"],
        "home": f"{directory(here)}/home/home.json",
        "origins": list(dict.fromkeys(["localhost", "127.0.0.1", *here.addresses, *names])),
        "proxies": ["127.0.0.1", "::1", *here.addresses],
        "unsigned": list(dict.fromkeys([*unsigned, *here["grafana_plugins_unsigned"]])),
    }


def administrator(here: Site) -> dict[str, Any]:
    """Who queries its API."""
    return {
        "port": here["grafana_port"],
        "username": here["grafana_admin_username"],
        "password": here["grafana_admin_password"],
    }


def _elsewhere(row: dict[str, Any], urls: dict[str, str]) -> dict[str, Any]:
    """A data source, of the store that the site has elsewhere if it has one."""
    component = row.get("when", "")
    url = urls.get(component)
    if not url or row.get("each"):
        return row
    path = "/select/jaeger" if component == "vtraces" else ""
    return {**row, "when": f"{component}_url", "url": url + path}


def data_sources(here: Site) -> dict[str, Any]:
    """Arguments of ``infra_grafana.datasources``."""
    meta = here["grafana_meta"].split("/")
    names = (
        "grafana_meta",
        "grafana_view_password",
        "vmetrics_port",
        "vlogs_port",
        "vtraces_port",
        "vmetrics_scrape_interval",
    )
    values = {name: here[name] for name in names}
    urls = {name: elsewhere.url(here, name) for name in ("vmetrics", "vlogs", "vtraces")}
    return {
        "rows": [_elsewhere(row, urls) for row in load("grafana")["datasources"]],
        "values": {
            **values,
            **{f"{name}_url": url for name, url in urls.items()},
            "meta_endpoint": meta[0],
            "meta_database": meta[-1],
        },
        "enabled": list(here.enabled),
        "nodes": monitoring_arguments.by_number(here),
    }
