"""Daemons of this formula: their units and flags as text, and what runs of them."""

from __future__ import annotations

from typing import Any

from infra_formula import systemd


def running(unit: str) -> dict[str, Any]:
    """What systemd tells of a unit.

    unit
        Its name without ``.service``.

    Returns ``active`` (bool), ``state`` (``ActiveState/SubState``), ``pid`` (int, 0 for none),
    ``command`` (argument list of the main process), ``replaced`` (its program's file is another
    now), ``invocation`` (id that changes with each start), ``reload`` (units are to be re-read).

    CLI Example:

    .. code-block:: bash

        salt infra-1 infra_daemon.running vmetrics
    """
    return systemd.unit_state(unit)
