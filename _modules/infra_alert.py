"""Alerts, silences and the cluster of this node's Alertmanager."""

from __future__ import annotations

from typing import Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.monitoring import alertmanager


def alerts(port: int = 9059) -> list[dict[str, Any]]:
    """Alerts of this node's Alertmanager.

    port
        The value of ``alertmanager_port``.

    Returns one mapping per alert: ``labels``, ``state`` (``active``, ``suppressed``), ``since`` and
    ``receivers``.

    Raises CommandExecutionError if it does not answer.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_alert.alerts
    """
    return alertmanager.alerts(port)


def cluster(port: int = 9059) -> dict[str, Any]:
    """The cluster that this node's Alertmanager is in: ``status`` and ``peers`` (addresses).

    port
        The value of ``alertmanager_port``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_alert.cluster
    """
    return alertmanager.cluster(port)


def route(*args: str, path: str = "/etc/alertmanager.yml", **labels: Any) -> dict[str, Any]:
    """Where an alert goes: amtool's own answer for its labels, each given as ``NAME=VALUE``.

    path
        Alertmanager's configuration.

    Returns ``labels`` and ``receivers`` (their names, in the order of the routes).

    Raises CommandExecutionError if amtool is not installed, or the configuration is missing.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_alert.route severity=CRIT category=node
    """
    pairs = dict(word.partition("=")[::2] for word in args)
    pairs |= {name: str(value) for name, value in labels.items() if not name.startswith("__")}
    return {"labels": pairs, "receivers": alertmanager.route(pairs, path)}


def silences(port: int = 9059) -> list[dict[str, Any]]:
    """Silences that are active or pending; all Alertmanagers of the site share them.

    port
        The value of ``alertmanager_port``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_alert.silences
    """
    return alertmanager.silences(port)


redaction.guard(globals())
