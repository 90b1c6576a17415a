"""The course that every state takes: compare, test, apply, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from salt.exceptions import CommandExecutionError, SaltInvocationError


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
    """

    changes: dict[str, Any] = field(default_factory=dict)
    comment: str = ""
    would: str = ""
    apply: Callable[[], str | None] = _nothing
    warnings: list[str] = field(default_factory=list)


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
    reported.
    """
    warnings: list[str] = []
    try:
        plan = compare()
        warnings = plan.warnings
        result: bool | None = True
        comment = plan.comment
        if plan.changes and test:
            result, comment = None, plan.would or plan.comment
        elif plan.changes:
            comment = plan.apply() or comment
        changes = plan.changes
    except (CommandExecutionError, SaltInvocationError, OSError) as err:
        result, changes, comment = False, {}, str(err)
    ret = {"name": name, "result": result, "changes": changes, "comment": comment}
    return {**ret, "warnings": warnings} if warnings else ret
