"""Alertmanager's configuration, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.daemon.model import Daemon
from infra_formula.minion import Minion
from infra_formula.monitoring import alertmanager
from infra_formula.state import converge

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def managed(name: str, daemon: Daemon, settings: dict[str, Any]) -> dict[str, Any]:
    """Alertmanager's configuration follows the parameters; checked by amtool, and reloaded.

    name
        ``/etc/alertmanager.yml``.
    daemon
        Alertmanager, see the state module infra_daemon.
    settings
        The parameters ``receivers``, ``severities``, ``routes``, ``route``, ``inhibit_rules``,
        ``global``, ``time_intervals``, ``templates`` and ``tracing``, each the value of
        ``alertmanager_<name>``.

    The file contains secrets: its mode is 0600, and no difference of it is shown.
    """
    return converge(name, __opts__["test"], lambda: alertmanager.plan(_minion(), daemon, settings))


redaction.guard(globals())
