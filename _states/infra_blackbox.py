"""How the blackbox exporter probes, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.daemon import configuration as daemon_configuration
from infra_formula.monitoring import blackbox
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]


def managed(
    name: str,
    daemon: dict[str, Any],
    settings: dict[str, Any],
    custom: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The exporter's modules are ours and the site's; checked by it, and reloaded.

    name
        ``/etc/blackbox.yml``.
    daemon
        The exporter, see the execution module infra_daemon.
    settings, custom
        See ``infra_blackbox.modules`` among the execution modules.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        configuration = blackbox.modules(settings, custom)
        files = blackbox.files(configuration)
        check = blackbox.check
        changes = daemon_configuration.apply(
            "blackbox",
            "/etc",
            files,
            [daemon],
            __opts__["test"],
            replace=tuple(files),
            check=lambda _changed: check(configuration, daemon["program"], custom),
        )
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "result": False, "comment": str(err)}
    if changes and __opts__["test"]:
        return {**ret, "result": None, "changes": changes, "comment": "the modules would change"}
    comment = f"{len(configuration['modules'])} modules are as asked for"
    return {**ret, "changes": changes, "comment": comment}
