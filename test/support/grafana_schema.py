"""Whether a dashboard is what Grafana's published schema says, by the types of its own SDK.

The SDK reads what it knows, lets go of the rest, and does not look at types. So a dashboard is
read, written, and compared with itself: what is lost is no part of the schema. Then every value is
held against the type that the SDK gives it.
"""

from __future__ import annotations

import enum
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

from dashboards.datasources import VARIANTS
from grafana_foundation_sdk.cog import runtime
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as schema

register_default_plugins()
for variant in VARIANTS:
    runtime.register_dataquery_variant(variant)


def problems(board: dict[str, Any]) -> list[str]:
    """What of a dashboard's JSON the schema does not know, or knows to be something else."""
    given = json.dumps(board)
    try:
        read = schema.Dashboard.from_json(json.loads(given))
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        return [f"it cannot be read: {type(err).__name__}: {err}"]
    written = json.loads(JSONEncoder().encode(read))
    kinds = [panel["type"] for panel in _panels(board) if panel["type"] != "row"]
    unknown = [f"no such kind of panel: {k}" for k in kinds if not runtime.panelcfg_config(k)]
    return unknown + list(_lost(board, written, "")) + list(_wrong(read, schema.Dashboard, ""))


def _panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels") or []


def _lost(given: Any, written: Any, path: str) -> Iterator[str]:
    """What is in `given` and not in `written`."""
    if isinstance(given, dict) and isinstance(written, dict):
        for key, value in given.items():
            if key not in written:
                yield f"{path}.{key}: not in the schema"
            else:
                yield from _lost(value, written[key], f"{path}.{key}")
    elif isinstance(given, list) and isinstance(written, list) and len(given) == len(written):
        for index, (one, other) in enumerate(zip(given, written, strict=True)):
            yield from _lost(one, other, f"{path}[{index}]")
    elif given != written:
        yield f"{path}: {given!r} is read as {written!r}"


def _wrong(value: Any, hint: Any, path: str) -> Iterator[str]:
    """Where a value is not of its type; a model of the SDK is gone through whatever the hint is."""
    models = [one for one in _members(hint) if hasattr(one, "from_json")]
    if models and isinstance(value, dict):  # some lists the SDK takes over as they are
        read = models[0].from_json(value)
        yield from _lost(value, json.loads(JSONEncoder().encode(read)), path)
        value = read
    if type(value).__module__.startswith("grafana_foundation_sdk.models"):
        if isinstance(value, enum.Enum):
            return
        for name, inner in typing.get_type_hints(type(value)).items():
            yield from _wrong(getattr(value, name), inner, f"{path}.{name}")
        if isinstance(hint, type) and not isinstance(value, hint):
            yield f"{path}: a {type(value).__name__}, not a {hint.__name__}"
    elif not _is(value, hint):
        yield f"{path}: {value!r} is no {hint}"
    else:
        yield from _inside(value, hint, path)


def _inside(value: Any, hint: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        (inner,) = _arguments(hint, list) or (object,)
        for index, one in enumerate(value):
            yield from _wrong(one, inner, f"{path}[{index}]")
    elif isinstance(value, dict):
        inner = (_arguments(hint, dict) or (str, object))[1]
        for key, one in value.items():
            yield from _wrong(one, inner, f"{path}.{key}")


def _arguments(hint: Any, kind: type) -> tuple[Any, ...]:
    """Of `list[X]`, or of a union with one in it: X."""
    for one in _members(hint):
        if typing.get_origin(one) is kind:
            return typing.get_args(one)
    return ()


def _members(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _is(value: Any, hint: Any) -> bool:
    members = _members(hint)
    if len(members) > 1:
        return any(_is(value, one) for one in members)
    origin = typing.get_origin(hint) or hint
    if origin in (object, Any):
        return True
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(origin, type) and issubclass(origin, enum.Enum):
        return value in [one.value for one in origin]
    return isinstance(value, origin)
