"""Who is told of what, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.daemon import configuration
from infra_formula.monitoring import alertmanager
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]


def managed(name: str, daemon: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Alertmanager's configuration is as the parameters say; checked by amtool, and reloaded.

    name
        ``/etc/alertmanager.yml``.
    daemon
        Alertmanager, see the execution module infra_daemon.
    settings
        See ``infra_alert.config`` among the execution modules.

    The file holds secrets: it is of mode 0600, and no difference of it is shown.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    told = len(settings["receivers"])
    comment = f"{told} receivers are as asked for"
    if not told:
        comment = "nobody is told of alerts: alertmanager_receivers is empty"
    try:
        files = alertmanager.files(alertmanager.config(settings))
        changes = configuration.apply(
            "alertmanager",
            "/etc",
            files,
            [daemon],
            __opts__["test"],
            replace=tuple(files),
            check=lambda _changed: alertmanager.check(settings),
        )
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "result": False, "comment": str(err)}
    if changes and __opts__["test"]:
        return {**ret, "result": None, "changes": changes, "comment": "who is told would change"}
    return {**ret, "changes": changes, "comment": comment}
