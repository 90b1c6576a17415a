"""What of a value passes a rule of the schema: item by item, key by key."""

from __future__ import annotations

import re
from typing import Any

from infra_formula.parameters import schema
from infra_formula.parameters.secrets import without_value
from infra_formula.pigsty import values

OMIT = object()
"""In place of a value of which nothing passes."""

Omissions = list[tuple[str, str]]
"""Key path and reason of each part that does not pass."""

_SHOWN = 3  # paths that are listed for one reason


def sieve(path: str, value: Any, rule: dict[str, Any], omitted: Omissions) -> Any:
    """What of a value passes a rule, converted to its types; :data:`OMIT` if nothing does.

    path
        Key path of the value, for the omissions.
    value, rule
        See :func:`infra_formula.parameters.schema.check`.
    omitted
        What does not pass is added to it.
    """
    if value is None and "unset" in rule:
        return None
    value = _tidy(value, rule)
    if "either" in rule:
        return _sieve_either(path, value, rule, omitted)
    kind = rule.get("type", "any")
    if kind == "map" and isinstance(value, dict):
        return _sieve_map(path, value, rule, omitted)
    if kind == "list" and isinstance(value, list):
        parts = [sieve(f"{path}[{i}]", v, rule.get("items", {}), omitted)
                 for i, v in enumerate(value)]  # fmt: skip
        return [part for part in parts if part is not OMIT]
    converted = values.coerce(value, rule)
    errors = schema.check(path, converted, rule)
    if errors:
        omitted.append((path, without_value(errors[0]).removeprefix(f"{path}: ")))
        return OMIT
    return converted


def _sieve_either(path: str, value: Any, rule: dict[str, Any], omitted: Omissions) -> Any:
    for choice in rule["either"]:
        if not schema.check(path, values.coerce(_tidy(value, choice), choice), choice):
            return values.coerce(_tidy(value, choice), choice)
    for choice in rule["either"]:
        if (choice.get("type"), type(value)) in (("list", list), ("map", dict)):
            return sieve(path, value, choice, omitted)
    error = schema.check(path, value, rule)[0]
    omitted.append((path, without_value(error).removeprefix(f"{path}: ")))
    return OMIT


def _sieve_map(path: str, value: dict[Any, Any], rule: dict[str, Any], omitted: Omissions) -> Any:
    keys, required = rule.get("keys"), rule.get("required", [])
    out: dict[str, Any] = {}
    for raw, item in value.items():
        key = str(raw) if isinstance(raw, (int, float)) and not isinstance(raw, bool) else raw
        here = schema.join(path, key)
        if not isinstance(key, str):
            omitted.append((here, "expected a key that is text"))
        elif keys is not None and key not in keys:
            omitted.append((here, "it has no effect here"))
        else:
            inner = keys[key] if keys is not None else rule.get("items", {})
            if item is None and "unset" not in inner and schema.check(here, item, inner):
                omitted.append((here, "it is empty"))
                continue
            part = sieve(here, item, inner, omitted)
            if part is not OMIT:
                out[key] = part
    missing = [key for key in required if key not in out]
    if missing:
        omitted.append((path, f"{missing[0]} is missing"))
        return OMIT
    return out


def _tidy(value: Any, rule: dict[str, Any]) -> Any:
    """Text without what only its form in YAML has: a tab for a blank, an end of line."""
    kinds = ("line", "quoted", "endpoint", "url")
    if not isinstance(value, str) or rule.get("type") not in kinds or rule.get("secret") is True:
        return value
    return re.sub(r"[\t\r\n]+", " ", value).strip()


def notes(omitted: Omissions) -> list[str]:
    """Omissions for people; those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in omitted:
        by_reason.setdefault(reason, []).append(path)
    lines = []
    for reason, paths in by_reason.items():
        listed = ", ".join(paths[:_SHOWN])
        listed += f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        lines.append(f"omitted: {listed}: {reason}")
    return lines
