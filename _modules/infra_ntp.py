"""The time service of this minion."""

from __future__ import annotations

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.ntp import chrony


def status() -> chrony.Status:
    """Status of chrony.

    Returns ``tracking`` and ``sources`` (what chronyc reports) and ``steers`` (whether it may set
    the clock).

    Raises CommandExecutionError if chrony does not answer.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_ntp.status
    """
    return chrony.status()


redaction.guard(globals())
