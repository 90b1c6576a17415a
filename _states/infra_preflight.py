"""The first look of an apply: what installed programs would refuse, before anything is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import preflight, redaction, state_tree
from infra_formula.minion import Minion

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]
    __grains__: dict[str, Any]
    __context__: dict[str, Any]
    __pillar__: dict[str, Any]

__env__ = ""  # the state's saltenv, which Salt sets during a call


def passed(name: str) -> dict[str, Any]:
    """The installed programs accept the flags and configurations of this pillar; ports are free.

    name
        Any name for the state.

    Nothing is changed, with ``test=True`` or without. What is the same as in the last apply is not
    checked again. A part whose program is not installed yet is checked before it is put in place,
    by its own state.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True}
    minion = Minion(__salt__, __opts__, __grains__, __context__, __env__)
    # The whole pillar as an argument would be parsed again. pillar.get is masked here (Salt 3008).
    pillars = (__pillar__.get(name, {}) for name in ("infra", "infra_secrets"))
    values = state_tree.values(minion, *pillars)
    if preflight.passed_before(values):
        return {**ret, "comment": "As in the last apply."}
    problems = preflight.check(minion, values)
    if problems.refused:
        comment = "\n".join(["Refused; nothing was changed.", *problems.refused])
        return redaction.scrub_data({**ret, "result": False, "comment": comment})
    if not __opts__["test"]:
        preflight.record(values)
    comment = f"Accepted: {', '.join(problems.accepted) or 'nothing is installed yet'}."
    if problems.unchecked:
        comment += f" Checked when it is put in place: {', '.join(problems.unchecked)}."
    return {**ret, "comment": comment}


redaction.guard(globals())
