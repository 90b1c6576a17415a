"""Grafana: its settings, its administrator and its provisioning, as states.

An *administrator* is a mapping of ``port``, ``username`` and ``password``. A *daemon* is described
in the state module infra_daemon.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.daemon.model import Daemon
from infra_formula.grafana import administrator as grafana_administrator
from infra_formula.grafana import dashboards as grafana_dashboards
from infra_formula.grafana import data_sources, provisioning
from infra_formula.grafana import settings as grafana_settings
from infra_formula.grafana.api import Administrator
from infra_formula.minion import Minion
from infra_formula.state import Plan, converge

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def configured(
    name: str, daemon: Daemon, settings: dict[str, Any], config: dict[str, Any]
) -> dict[str, Any]:
    """Grafana's settings follow the parameters; if it runs and they changed, it is restarted.

    name
        ``/etc/grafana/grafana.ini``.
    daemon
        Grafana.
    settings
        See infra_formula.grafana.arguments.
    config
        The value of ``grafana_config``.

    If it is unhealthy with them, the previous files are restored and it is restarted with those.
    """
    return converge(
        name,
        __opts__["test"],
        lambda: grafana_settings.plan(_minion(), daemon, settings, config),
    )


def administrator(name: str, daemon: Daemon, password: str) -> dict[str, Any]:
    """Grafana's administrator has this name and password, in the running Grafana.

    name
        The value of ``grafana_admin_username``.
    daemon
        Grafana.
    password
        The value of ``grafana_admin_password``; set whatever it was before, and then tried.
    """
    test = __opts__["test"]
    return converge(name, test, lambda: grafana_administrator.plan(daemon, name, password, test))


def datasources(
    name: str,
    daemon: Daemon,
    administrator: Administrator,
    rows: list[dict[str, Any]],
    values: dict[str, Any],
    enabled: list[str],
    nodes: list[dict[str, Any]],
    site: str = "{}",
) -> dict[str, Any]:
    """Grafana has the formula's and the site's data sources; those that are gone are removed.

    name
        Any name for the state.
    daemon
        Grafana.
    administrator
        Account with which they are reloaded.
    rows, values, enabled, nodes
        ``infra/grafana/datasources.yaml``, values for the names in it, enabled components, and the
        INFRA nodes, each ``ip`` and ``seq``.
    site
        The value of ``grafana_datasources``, as JSON text.
    """

    def compare() -> Plan:
        sources = data_sources.sources(rows, values, enabled, nodes, json.loads(site))
        files = data_sources.files(sources)
        return provisioning.plan("datasources", grafana_settings.ROOT, files, daemon, administrator)

    return converge(name, __opts__["test"], compare)


def dashboards(
    name: str,
    daemon: Daemon,
    administrator: Administrator,
    site: str = "{}",
    dirs: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Grafana has the formula's and the site's dashboards; those that are gone are removed.

    name
        Directory of the dashboards.
    daemon, administrator
        See :func:`datasources`.
    site
        The value of ``grafana_dashboards``, as JSON text.
    dirs
        The value of ``grafana_dashboard_dirs``.

    A dashboard that a user made in Grafana is backed up before one with its uid replaces it, and is
    named among the changes.
    """

    def compare() -> Plan:
        files = grafana_dashboards.served(_minion(), json.loads(site), dirs or {})
        return provisioning.plan("dashboards", name, files, daemon, administrator)

    return converge(name, __opts__["test"], compare)


def providers(
    name: str,
    daemon: Daemon,
    administrator: Administrator,
    own: list[str],
    site: bool = False,
    dirs: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Grafana has the folders of dashboards, and their directories.

    name
        Directory of the dashboards.
    daemon, administrator
        See :func:`datasources`.
    own
        Names of the formula's folders.
    site
        Whether the site has dashboards in pillar.
    dirs
        The value of ``grafana_dashboard_dirs``.
    """

    def compare() -> Plan:
        files = grafana_dashboards.providers(name, own, site, dirs or {})
        return provisioning.plan("providers", grafana_settings.ROOT, files, daemon, administrator)

    return converge(name, __opts__["test"], compare)


def shown(
    name: str, daemon: Daemon, administrator: Administrator, seconds: int = 60
) -> dict[str, Any]:
    """Grafana has loaded every data source and dashboard of the files on this machine.

    name
        Directory of the dashboards.
    daemon, administrator
        See :func:`datasources`.
    seconds
        How long to wait for that.
    """

    def check() -> Plan:
        if __opts__["test"]:
            return Plan(comment="Grafana is queried only without test=True.")
        counts = provisioning.wait_until_provisioned(name, daemon, administrator, seconds)
        numbers = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        return Plan(comment=f"Grafana has {numbers}.")

    return converge(name, __opts__["test"], check)


redaction.guard(globals())
