"""Targets and queries of this node's VictoriaMetrics."""

from __future__ import annotations

from typing import Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.monitoring import scraping


def query(expression: str, port: int = 8428) -> list[dict[str, Any]]:
    """Evaluate a MetricsQL expression now.

    expression
        E.g. ``up == 0``.
    port
        The value of ``vmetrics_port``.

    Returns one mapping per series: ``labels`` and ``value`` (float).

    Raises CommandExecutionError if VictoriaMetrics does not answer or refuses the expression.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_scrape.query 'count(up) by (job)'
    """
    return scraping.query(expression, port)


def status(port: int = 8428) -> list[dict[str, Any]]:
    """Targets of this node's VictoriaMetrics, and whether they are up.

    port
        The value of ``vmetrics_port``.

    Returns one mapping per target: ``job``, ``ins``, ``instance``, ``url``, ``health`` and
    ``error``.

    Raises CommandExecutionError if VictoriaMetrics does not answer.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_scrape.status
    """
    return scraping.status(port)


redaction.guard(globals())
