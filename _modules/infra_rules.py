"""Alerts of this node's vmalert."""

from __future__ import annotations

from typing import Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.monitoring import vmalert


def firing(port: int = 8880) -> list[dict[str, Any]]:
    """Alerts of this node's vmalert.

    port
        The value of ``vmalert_port``.

    Returns one mapping per alert: ``name``, ``state`` (``pending``, ``firing``), ``labels``,
    ``value`` and ``since``.

    Raises CommandExecutionError if it does not answer.

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_rules.firing
    """
    return vmalert.firing(port)


redaction.guard(globals())
