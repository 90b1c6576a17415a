"""Who is told of what: Alertmanager's configuration from pillar, and what it knows now."""

from __future__ import annotations

from typing import Any

from infra_formula.monitoring import alertmanager


def alerts(port: int = 9059) -> list[dict[str, Any]]:
    """Alerts that this node's Alertmanager knows.

    port
        The value of ``alertmanager_port``.

    Returns one mapping per alert: ``labels``, ``state`` (``active``, ``suppressed``), ``since`` and
    ``receivers``.

    Raises CommandExecutionError where it does not answer.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_alert.alerts
    """
    return alertmanager.alerts(port)


def cluster(port: int = 9059) -> dict[str, Any]:
    """The mesh that this node's Alertmanager sees: ``status`` and ``peers`` (addresses).

    port
        The value of ``alertmanager_port``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_alert.cluster
    """
    return alertmanager.cluster(port)


def silences(port: int = 9059) -> list[dict[str, Any]]:
    """Silences that are in force or to come, on this node's Alertmanager and so on all of them.

    port
        The value of ``alertmanager_port``.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_alert.silences
    """
    return alertmanager.silences(port)
