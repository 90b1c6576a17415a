"""Recording and alert rules, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.daemon.model import Daemon
from infra_formula.minion import Minion
from infra_formula.monitoring import vmalert
from infra_formula.state import converge

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__, __env__)


def managed(
    name: str,
    daemons: list[Daemon],
    settings: dict[str, Any],
    custom: dict[str, Any] | None = None,
    logs: dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The files of rules follow the parameters; checked by vmalert, and reloaded.

    name
        Directory of the rules, ``<infra_data>/rules``. vmalert evaluates unmanaged files in it too.
    daemons
        vmalert, and the vmalert for logs if there is one; see the state module infra_daemon.
    settings
        Values for the templates: ports, ``portal_url``, ``nodes``, ``timeout_seconds``, ``logs``
        and ``dashboards``.
    custom, logs
        The values of ``vmalert_rules`` and ``vmalert_logs_rules``.
    overrides
        The value of ``vmalert_rule_overrides``.
    """
    return converge(
        name,
        __opts__["test"],
        lambda: vmalert.plan(_minion(), name, daemons, settings, custom, logs, overrides),
    )


redaction.guard(globals())
