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
