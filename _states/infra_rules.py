"""Recording and alert rules, as a state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]

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
        files = __salt__["infra_rules.rendered"](settings, custom, logs)
        found = __salt__["infra_files.compare"](_SET, name, files)
        if found["foreign"]:
            told = ", ".join(f"{name}/{rel}" for rel in found["foreign"])
            raise CommandExecutionError(f"{told}: a file of somebody else's is there; move it away")
        if not __salt__["infra_files.differs"](found):
            return {**ret, "comment": f"{len(files)} files of rules are as asked for"}
        changed = {rel: files[rel] for rel in found["create"] + found["change"]}
        __salt__["infra_rules.check"](changed, daemons[0]["program"])
        ret["changes"] = dict(found["diff"])
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "the rules would change"}
        __salt__["infra_files.publish"](
            _SET, name, files, found, confirm=lambda: _reload(daemons), switch="files"
        )
    except (SaltInvocationError, CommandExecutionError) as err:
        return {**ret, "changes": {}, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{len(files)} files of rules are as asked for"}


def _reload(daemons: list[dict[str, Any]]) -> None:
    for daemon in daemons:
        __salt__["infra_daemon.reload"](daemon)
