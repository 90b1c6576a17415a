"""Pillar validation as a state: the pillar is valid, or nothing changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula.minion import Minion
from infra_formula.parameters import validation
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def valid(
    name: str, parameters: dict[str, Any] | str, secrets: dict[str, Any] | list[str] | str = ""
) -> dict[str, Any]:
    """The pillar of this minion is valid.

    name
        Any name for the state.
    parameters
        The dictionary below ``infra:`` in pillar, or the same as JSON text.
    secrets
        The dictionary below ``infra_secrets:`` in pillar, or the same as JSON text; on a minion
        that is no INFRA node, its names. A warning names each secret in the pillar of such a
        minion; with ``infra_secrets_strict`` it is an error.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    minion = Minion(__salt__, __opts__, __grains__, __context__)
    try:
        found = validation.check(minion, _data(parameters), _data(secrets or "null"))
    except (SaltInvocationError, CommandExecutionError) as err:
        found = {"errors": [str(err)], "warnings": []}
    if found["warnings"]:
        ret["warnings"] = found["warnings"]
    if found["errors"]:
        comment = "\n".join(["The pillar is not valid; nothing was changed.", *found["errors"]])
        return {**ret, "result": False, "comment": comment}
    return {**ret, "comment": "The pillar is valid."}


def _data(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
