"""Pillar validation as a state: the pillar is valid, or nothing changes."""

from __future__ import annotations

from typing import Any


def valid(
    name: str, errors: list[str] | None = None, warnings: list[str] | None = None
) -> dict[str, Any]:
    """The pillar of this minion is valid.

    name
        Any name for the state.
    errors, warnings
        Findings about the pillar, which was validated while the run was rendered.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    if warnings:
        ret["warnings"] = warnings
    if errors:
        comment = "\n".join(["The pillar is not valid; nothing was changed.", *errors])
        return {**ret, "result": False, "comment": comment}
    return {**ret, "comment": "The pillar is valid."}
