"""The gate before everything else: the pillar is good, or nothing is changed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra_formula.minion import Minion
from infra_formula.parameters import validation
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def _minion() -> Minion:
    return Minion(__salt__, __opts__, __grains__, __context__)


def valid(
    name: str,
    parameters: dict[str, Any],
    own: dict[str, Any] | None = None,
    hosts: dict[str, Any] | None = None,
    admin_ip: str = "10.10.10.10",
    portal: dict[str, Any] | None = None,
    portal_settings: dict[str, Any] | None = None,
    secrets: dict[str, Any] | list[str] | str | None = None,
    infra_node: bool = True,
    strict: bool = False,
) -> dict[str, Any]:
    """The parameters are of the names, types and values that they should be.

    name
        Any name for the state.
    parameters
        The dictionary below ``infra:`` in pillar, as given (without defaults); a dictionary, or
        the same as JSON text.
    own
        What its ``nodes`` have of this minion, likewise.
    hosts
        ``infra_hosts``; without it, it is not asked for.
    admin_ip
        The parameter, with its default.
    portal, portal_settings
        The portal (a dictionary or JSON text) and its settings, on a minion that serves one.
    secrets
        The dictionary below ``infra_secrets:`` in pillar, or the same as JSON text; on a minion
        that is no INFRA node the names in it.
    infra_node
        Whether this minion is an INFRA node. On another one a warning names each secret that its
        pillar holds.
    strict
        Fail for such a secret, in place of the warning.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    messages: dict[str, list[str]] = {"warnings": []}
    if isinstance(parameters, str):
        parameters = json.loads(parameters)
    if isinstance(own, str):
        own = json.loads(own)
    if isinstance(portal, str):
        portal = json.loads(portal)
    if isinstance(secrets, str):
        secrets = json.loads(secrets)
    try:
        messages = validation.secret_messages(_minion(), parameters, secrets, infra_node, strict)
        errors = messages["errors"] + validation.check(
            _minion(),
            parameters,
            own,
            hosts,
            admin_ip,
            portal,
            portal_settings,
            secrets,
            infra_node,
        )
    except (SaltInvocationError, CommandExecutionError) as err:
        errors = [str(err)]
    if messages["warnings"]:
        ret["warnings"] = messages["warnings"]
    if errors:
        told = "\n".join(errors)
        return {**ret, "result": False, "comment": f"nothing was changed; in pillar:\n{told}"}
    return {**ret, "comment": "the pillar is as it should be"}
