"""Sets of generated files as states of their own (see the execution module infra_files)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __salt__: dict[str, Any]
    __opts__: dict[str, Any]


def absent(name: str, root: str) -> dict[str, Any]:
    """Nothing of a set is left; what it once replaced is back, foreign files are untouched.

    name
        Name of the set, e.g. ``portal``.
    root
        Directory below which it lies.
    """
    ret: dict[str, Any] = {"name": name, "changes": {}, "result": True, "comment": ""}
    present = __salt__["infra_files.remove"](name, root, test=True)
    if not present:
        return {**ret, "comment": "nothing of it is there"}
    ret["changes"] = {"removed": present if len(present) <= 40 else f"{len(present)} files"}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": "its files would be removed"}
    __salt__["infra_files.remove"](name, root)
    return {**ret, "comment": "its files are removed"}
