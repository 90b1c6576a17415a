"""Time: what chrony is told, and what it says of itself."""

from __future__ import annotations

from typing import Any

from infra_formula.ntp import chrony


def status() -> dict[str, Any]:
    """What chrony says of itself: ``tracking``, ``sources`` and ``steers`` (may it set the clock).

    Raises CommandExecutionError where it does not answer.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_ntp.status
    """
    return chrony.status()
