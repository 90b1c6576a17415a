"""Values that are locked: in place of one that protects something and is not known.

The conversion of an inventory writes such a placeholder where the default would open what was
closed. A pillar that holds one is refused, until somebody sets the value.
"""

from __future__ import annotations

from typing import Any

from infra_formula.parameters import schema

MARK = "LOCKED: "
"""What a placeholder begins with; the reason follows."""


def placeholder(reason: str) -> str:
    """The placeholder of a value that has to be set by hand.

    reason
        Why the value is not known; never the value.
    """
    return MARK + reason


def is_locked(value: Any) -> bool:
    """Whether a value is a placeholder."""
    return isinstance(value, str) and value.startswith(MARK)


def placeholders(values: Any, path: str = "") -> dict[str, str]:
    """Key path of each placeholder in parameters → the placeholder.

    values
        The dictionary below ``infra:``, valid or not.
    """
    if is_locked(values):
        return {path: values}
    result: dict[str, str] = {}
    if isinstance(values, dict):
        for key, item in values.items():
            result |= placeholders(item, schema.join(path, key))
    elif isinstance(values, list):
        for index, item in enumerate(values):
            result |= placeholders(item, f"{path}[{index}]")
    return result


def problems(values: Any) -> list[str]:
    """One message for each placeholder in parameters, which begins with its key path.

    values
        The dictionary below ``infra:``, valid or not.
    """
    expected = "a value that you set in place of a placeholder"
    return [schema.problem(path, expected, got) for path, got in placeholders(values).items()]


def unlocked(values: Any) -> Any:
    """Parameters without their placeholders, as if these had never been set."""
    if isinstance(values, dict):
        return {key: unlocked(item) for key, item in values.items() if not is_locked(item)}
    if isinstance(values, list):
        return [unlocked(item) for item in values if not is_locked(item)]
    return values
