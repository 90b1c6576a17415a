"""Units of this machine: what systemd reports of them, and whether one keeps restarting."""

from __future__ import annotations

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.daemon import units


def restarts_last_hour() -> dict[str, int]:
    """Count the restarts that systemd did by itself in the last hour.

    Returns name of the unit (with ``.service``) → restarts; a unit without any is not in it.

    CLI Example:

    .. code-block:: bash

        salt '*' infra_units.restarts_last_hour
    """
    return units.restarts_last_hour()


redaction.guard(globals())
