"""Pillar validation as a state: the pillar is valid, or nothing changes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.minion import Minion
from infra_formula.parameters import validation
from salt.exceptions import CommandExecutionError, SaltInvocationError

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]


def valid(
    name: str,
    errors: list[str] | None = None,
    warnings: list[str] | None = None,
    parameters: str = "",
    secrets: str = "",
) -> dict[str, Any]:
    """The pillar of this minion is valid.

    name
        Any name for the state.
    errors, warnings
        Findings about the pillar, which was checked while the run was rendered.
    parameters, secrets
        JSON of the pillars ``infra`` and ``infra_secrets``, to be checked now: under salt-ssh, the
        library is not on the target while the run is rendered.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if parameters:
        minion = Minion(__salt__, __opts__, __grains__, __context__)
        try:
            found = validation.check_run(
                minion, json.loads(parameters), json.loads(secrets or "null")
            )
        except (SaltInvocationError, CommandExecutionError) as err:
            found = {"errors": [str(err)], "warnings": []}
        errors, warnings = found["errors"], found["warnings"]
    if warnings:
        ret["warnings"] = warnings
    if errors:
        comment = "\n".join(["The pillar is not valid; nothing was changed.", *errors])
        return {**ret, "result": False, "comment": comment}
    return {**ret, "comment": "The pillar is valid."}


redaction.guard(globals())
