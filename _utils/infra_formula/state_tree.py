"""What the SLS below ``infra/`` are given: by ``infra/map.py``, once in a run."""

from __future__ import annotations

import copy
from typing import Any

from infra_formula import redaction, sls, templates
from infra_formula.daemon import arguments as daemon
from infra_formula.dns import arguments as dns
from infra_formula.fileset import conflicts
from infra_formula.firewall import arguments as firewall
from infra_formula.grafana import arguments as grafana
from infra_formula.minion import Minion
from infra_formula.monitoring import arguments as monitoring
from infra_formula.ntp import arguments as ntp
from infra_formula.parameters import merging, site, validation
from infra_formula.parameters import secrets as secret_parameters
from infra_formula.parameters.site import Site
from infra_formula.pki import arguments as pki
from infra_formula.portal import arguments as portal
from infra_formula.registration import arguments as registration
from infra_formula.repository import arguments as repository
from infra_formula.repository import needs as repository_needs
from infra_formula.status import arguments as status
from infra_formula.uninstall import arguments as uninstall

_last: dict[str, Any] = {}
"""The last result, with what it was made of: 20 SLS of a run ask for the same."""


def values(minion: Minion, parameters: Any, secrets: Any) -> dict[str, Any]:
    """Everything that an SLS may need.

    parameters, secrets
        The pillars ``infra`` and ``infra_secrets``.

    If the pillar is not valid, its ``errors`` are in the result, and all else is by the defaults:
    every SLS can be rendered then, and none of its states runs.

    From now on, nothing of this run shows a secret of the pillars, and what somebody else writes
    of the formula's files is noticed.
    """
    conflicts.begin()
    key = {
        "grains": dict(minion.grains),
        "parameters": plain(parameters),
        "secrets": plain(secrets),
        "environment": minion.environment,
    }
    if _last.get("key") == key:
        redaction.learn(_last["secret_texts"])
    else:
        texts = _secret_texts(**_pillars(key))
        redaction.learn(texts)
        try:
            result = _values(minion, **_pillars(key))
        except Exception as err:
            redaction.scrub_exception(err)
            raise
        # A copy: whoever called may change what he has.
        _last.update(key=copy.deepcopy(key), secret_texts=texts, result=result)
    merged: dict[str, Any] = _last["result"]
    return merged


class Given:
    """What :func:`values` returns, as attributes, with ``yaml``, ``by_ssh`` and the functions of
    :mod:`infra_formula.sls`.

    It holds the secrets of the pillar: it does not print them, and cannot be sent to a master.
    """

    def __init__(self, minion: Minion, parameters: Any, secrets: Any) -> None:
        result = values(minion, parameters, secrets)
        self.__dict__.update(
            result, by_ssh=False, yaml=templates.to_flow_yaml, **sls.functions(minion, result)
        )

    def __repr__(self) -> str:
        return "<what the state tree is given>"


def _pillars(key: dict[str, Any]) -> dict[str, Any]:
    return {"parameters": key["parameters"], "secrets": key["secrets"]}


def _secret_texts(parameters: Any, secrets: Any) -> frozenset[str]:
    rules = merging.rules()
    return frozenset().union(*(secret_parameters.texts(rules, p) for p in (parameters, secrets)))


def _values(minion: Minion, parameters: Any, secrets: Any) -> dict[str, Any]:
    findings = validation.check(minion, parameters, secrets)
    if findings["errors"]:
        parameters, secrets = {}, {}
    here = Site(merging.merged(minion.grains, parameters, secrets), minion.grains)
    return {
        **findings,
        "parameters": here.parameters,
        "is_infra_node": here.is_infra_node,
        "address": here.address,
        "addresses": here.addresses,
        "other_addresses": here.other_addresses,
        "infra_nodes": here.infra_nodes,
        "makes_ca": not here.is_infra_node or here.infra_nodes[0]["own"],
        "name": registration.name_of_minion(here),
        "components": _components(here),
        "enabled": here.enabled,
        "daemons": daemon.daemons(here),
        "arguments": _arguments(here),
    }


def _components(here: Site) -> list[dict[str, Any]]:
    """All components: ``name``, if it has ``daemons``, if it is ``applied`` on this minion."""
    return [
        {
            "name": row["name"],
            "daemons": "daemons" in row,
            "applied": row["name"] in here.enabled
            and (here.is_infra_node or row["role"] == "every"),
        }
        for row in site.components()
    ]


def _arguments(here: Site) -> dict[str, Any]:
    """What states are given, by subject."""
    rows = firewall.access(here)
    return {
        "alertmanager": monitoring.alertmanager(here),
        "blackbox": monitoring.blackbox(here),
        "certbot": pki.certbot(here),
        "certbot_packages": pki.certbot_packages(here),
        "daemons": {
            "installations": daemon.installations(here),
            "users": daemon.users(here),
            "packages": sorted(
                {
                    *daemon.packages(here),
                    *repository_needs.service_packages(here),
                    *_portal_packages(here),
                }
            ),
            "disabled": daemon.disabled(here),
            "disabled_services": daemon.disabled_services(here),
        },
        "dns": dns.dnsmasq(here),
        "facts": registration.facts(here),
        "firewall": {
            "access": rows,
            "confined": [row for row in rows if row["reached_by"] != "all"],
        },
        "grafana": {
            "directory": grafana.directory(here),
            "settings": grafana.settings(here),
            "administrator": grafana.administrator(here),
            "data_sources": grafana.data_sources(here),
        },
        "nginx": {
            "packages": portal.packages(here),
            "stream_module": portal.stream_module(here),
            "home_states": portal.home_states(here),
        },
        "ntp": ntp.chrony(here),
        "own_addresses": dns.own_addresses(here),
        "portal": portal.portal(here),
        "registration": registration.registration(here),
        "removal": {"components": uninstall.removals(here), "data": uninstall.data(here)},
        "remote_write": monitoring.remote_write(here),
        "repository": repository.repository(here),
        "repository_needs": repository_needs.needs(here),
        "repository_of_client": repository.client(here),
        "repository_tools": repository.tools(here),
        "resolver_servers": dns.resolver_servers(here),
        "rules": monitoring.rules(here),
        "scraper": monitoring.scraper(here),
        "scraping": monitoring.scraping(here),
        "status": {"components": status.components(here), "units": status.units(here)},
        "takeover": uninstall.takeover(here),
        "carried": uninstall.carried(here),
        "target_directories": monitoring.target_directories(here),
        "vector": monitoring.vector(here),
    }


def _portal_packages(here: Site) -> list[str]:
    is_here = here.is_infra_node and "nginx" in here.enabled
    return portal.packages(here) if is_here else []


def plain(value: Any) -> Any:
    """A part of the pillar as plain data: Salt 3008 hands out what hides its values if printed."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value
