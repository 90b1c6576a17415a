"""Daemons of this formula on the command line."""

from __future__ import annotations

import infra_formula

infra_formula.current()

from infra_formula import redaction, systemd
from infra_formula.systemd import UnitState


def running(unit: str) -> UnitState:
    """State of a unit and of its main process.

    unit
        Its name without ``.service``.

    Returns ``active`` (bool), ``state`` (``ActiveState/SubState``), ``pid`` (int, 0 for none),
    ``command`` (argument list of the main process), ``replaced`` (its program file was replaced
    since it started), ``invocation`` (id that changes with each start), ``reload`` (the unit's
    files changed since systemd read them).

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_daemon.running vmetrics
    """
    return systemd.unit_state(unit)


redaction.guard(globals())
