"""Recording and alert rules, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra_formula.daemon import configuration
from infra_formula.minion import Minion
from infra_formula.monitoring import vmalert
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


_SET = "rules"


def managed(
    name: str,
    daemons: list[dict[str, Any]],
    settings: dict[str, Any],
    custom: dict[str, Any] | None = None,
    logs: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The files of rules are ours and the site's; checked by vmalert, and reloaded by it.

    name
        Directory of the rules, ``<infra_data>/rules``.
    daemons
        vmalert, and the vmalert for logs where there is one; see the execution module infra_daemon.
    settings, custom, logs
        See ``infra_rules.files`` among the execution modules.

    Files that somebody else put there stay and are evaluated, too.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    try:
        files = vmalert.rendered(_minion(), settings, custom, logs)
        check = vmalert.check
        changes = configuration.apply(
            _SET,
            name,
            files,
            daemons,
            __opts__["test"],
            check=lambda changed: check(changed, daemons[0]["program"]),
        )
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "result": False, "comment": str(err)}
    if changes and __opts__["test"]:
        return {**ret, "result": None, "changes": changes, "comment": "the rules would change"}
    return {**ret, "changes": changes, "comment": f"{len(files)} files of rules are as asked for"}
