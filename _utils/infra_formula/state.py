"""The course that every state takes: compare, test, apply, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError

from infra_formula import redaction


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Plan:
    """The difference between a machine and what is desired of it, and the way to close it.

    changes
        What differs, as Salt reports it; empty where the machine is up to date.
    comment
        What is so once the plan is carried out, or already.
    would
        Comment under ``test=True``.
    apply
        Carries the plan out; may return a comment that takes the place of ``comment``.
    warnings
        Lines that Salt shows beside the comment.
    record
        Writes the formula's own record of the run. Called in each run without ``test=True`` that
        has no error, with changes or without.
    sub_states
        Results that Salt reports as states of their own (``sub_state_run``).
    """

    changes: dict[str, Any] = field(default_factory=dict)
    comment: str = ""
    would: str = ""
    apply: Callable[[], str | None] = _nothing
    warnings: list[str] = field(default_factory=list)
    record: Callable[[], None] = _nothing
    sub_states: list[dict[str, Any]] = field(default_factory=list)


def converge(name: str, test: bool, compare: Callable[[], Plan]) -> dict[str, Any]:
    """Carry out what a state is for, and make what Salt expects of a state.

    name
        Name of the state.
    test
        Whether to report only, ``__opts__["test"]``.
    compare
        Makes the plan; changes nothing.

    Returns ``name``, ``result``, ``changes``, ``comment``, and ``warnings`` if there are any. An
    error of the library or of Salt is a failed result with its message; after it, no change is
    reported. Nothing of it shows a secret of the run.
    """
    warnings: list[str] = []
    sub_states: list[dict[str, Any]] = []
    try:
        plan = compare()
        warnings = plan.warnings
        result: bool | None = True
        comment = plan.comment
        if plan.changes and test:
            result, comment = None, plan.would or plan.comment
        elif plan.changes:
            comment = plan.apply() or comment
        if not test:
            plan.record()
        changes, sub_states = plan.changes, plan.sub_states
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        result, changes, comment = False, {}, str(err)
    ret: dict[str, Any] = {"name": name, "result": result, "changes": changes, "comment": comment}
    if warnings:
        ret["warnings"] = warnings
    if sub_states:
        ret["sub_state_run"] = [
            {**sub, "result": None} if test and sub["changes"] else sub for sub in sub_states
        ]
    scrubbed: dict[str, Any] = redaction.scrub_data(ret, arguments=not redaction.is_quiet(ret))
    return scrubbed
