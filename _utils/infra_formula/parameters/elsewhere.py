"""Parts that the site has elsewhere: a store, an Alertmanager or a Grafana of its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from infra_formula.monitoring import cluster
from infra_formula.parameters.site import Site

PARAMETERS = {
    "vmetrics": "vmetrics_url",
    "vlogs": "vlogs_url",
    "vtraces": "vtraces_url",
    "alertmanager": "alertmanager_urls",
    "grafana": "grafana_url",
}
"""Component → parameter that says where the site's own is."""

_HEALTH = {
    # Any store that is compatible with Prometheus evaluates this.
    "vmetrics": "/api/v1/query?query=1",
    "vlogs": "/health",
    "vtraces": "/health",
    "alertmanager": "/-/healthy",
    "grafana": "/api/health",
}


def urls(here: Site, component: str) -> list[str]:
    """URLs of a component that is off here and runs elsewhere; none if it runs here or nowhere."""
    if component == "vmetrics" and not here["vmetrics_enabled"] and cluster.is_there(here):
        return [cluster.query_url(here)]
    value = here[PARAMETERS[component]]
    if here[f"{component}_enabled"] or not value:
        return []
    return [url.rstrip("/") for url in ([value] if isinstance(value, str) else value)]


def url(here: Site, component: str) -> str:
    """The first of :func:`urls`; empty if there is none."""
    return next(iter(urls(here, component)), "")


def is_available(here: Site, component: str) -> bool:
    """Whether a component runs, here or elsewhere."""
    return bool(here[f"{component}_enabled"] or urls(here, component))


def checks(here: Site) -> list[dict[str, str]]:
    """What says whether the parts elsewhere are healthy: ``name`` and ``url`` of each."""
    return [
        {"name": name, "url": address + _HEALTH[name]}
        for name in PARAMETERS
        for address in urls(here, name)
    ]


def problems(here: Site) -> list[str]:
    """Problems of the parameters, one message each, which begins with the key path."""
    errors = []
    for component, parameter in PARAMETERS.items():
        value: Any = here[parameter]
        if not value:
            continue
        if here[f"{component}_enabled"]:
            errors.append(
                f"{component}_enabled: expected false, because {parameter} says that the site has "
                "its own elsewhere"
            )
        addresses = [value] if isinstance(value, str) else value
        for index, address in enumerate(addresses):
            path = parameter if isinstance(value, str) else f"{parameter}[{index}]"
            parts = urlsplit(address)
            if parts.username is not None:
                errors.append(
                    f"{path}: expected a URL without a login, which everybody could read in the "
                    "list of processes"
                )
            if parts.query or parts.fragment:
                errors.append(f"{path}: expected a URL without ? and #")
    return errors
