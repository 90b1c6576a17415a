"""dpkg as a state: its lock is free, and nothing that it began is left unfinished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import infra_formula

infra_formula.current()

from infra_formula import redaction
from infra_formula.repository import dpkg
from infra_formula.state import converge

if TYPE_CHECKING:
    __opts__: dict[str, Any]


def finished(name: str, seconds: int = 900) -> dict[str, Any]:
    """Packages can be installed: what an interrupted run left unfinished is finished first.

    name
        Any name for the state.
    seconds
        How long to wait for another process that holds the package manager's lock.
    """
    test = __opts__["test"]
    return converge(name, test, lambda: dpkg.plan_finished(seconds, test))


redaction.guard(globals())
