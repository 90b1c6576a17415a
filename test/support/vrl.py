"""VRL, the language of Vector's transforms: every compiler of it that this Python can load.

Vector tells a program nothing about the types of an event's fields unless its schemas are switched
on, and neither do these: what compiles here compiles there, if the release of the language agrees.
"""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

READ_AT = "2026-11-28T12:00:00+00:00"
"""When a source read the line of a test, if the test does not say."""

# The sources give a time and bytes, which no JSON can carry. The types stay unknown to the program.
_BEFORE = """
.timestamp = if is_string(.timestamp) { parse_timestamp!(.timestamp, "%+") } else { .timestamp }
if exists(.message_base64) {
  .message = if is_string(.message_base64) { decode_base64!(.message_base64) } else { .message }
  del(.message_base64)
}
"""
# Fails for a time that is none.
_AFTER = '\n._time = format_timestamp!(._time, "%+")'


class VRLError(Exception):
    """A program that does not compile, or fails with an event."""


@dataclass(frozen=True)
class Engine:
    """A compiler and its runtime.

    Attributes:
        name: of the Python package.
    """

    name: str

    def problem(self, source: str) -> str:
        """Compile a program; returns what is wrong with it, or nothing."""
        if self.name == "vrl_python":
            from vrl_python import VRLRuntime

            found = VRLRuntime.check_syntax(source)
            return str(found.formatted_message) if found else ""
        from vector_vrl import validate_vrl

        outcome = validate_vrl(source)
        return "" if outcome.success else str(outcome.error)

    def run(
        self, source: str, events: Sequence[dict[str, Any]], timezone: str = "UTC"
    ) -> list[dict[str, Any]]:
        """Run a program with each event as a source of Vector hands it over.

        Args:
            source: the program.
            events: `message` may be bytes; `timestamp` is RFC 3339, READ_AT if it is not there.
            timezone: of the machine; the newer engine knows UTC only.

        Returns the events that are shipped. Raises VRLError where one is not.
        """
        whole = _BEFORE + source + _AFTER
        given = [_encoded({"timestamp": READ_AT, **event}) for event in events]
        if self.name == "vrl_python":
            from vrl_python import VRLRuntime

            runtime = VRLRuntime(timezone)
            try:
                return [runtime.execute(whole, event).processed_event for event in given]
            except (ValueError, RuntimeError) as err:
                raise VRLError(str(err)) from err
        from vector_vrl import execute_vrl

        try:
            shipped = execute_vrl(whole, [json.dumps(event) for event in given])
        except ValueError as err:
            raise VRLError(str(err)) from err
        for event in shipped:
            if "original" in event:
                raise VRLError(event["error"])
        return list(shipped)


def _encoded(event: dict[str, Any]) -> dict[str, Any]:
    message = event.get("message")
    if not isinstance(message, bytes):
        return event
    rest = {key: value for key, value in event.items() if key != "message"}
    return {**rest, "message_base64": base64.b64encode(message).decode()}


ENGINES = [Engine(name) for name in ("vrl_python", "vector_vrl") if importlib.util.find_spec(name)]


def programs(config: dict[str, Any]) -> dict[str, str]:
    """Every program in VRL of a configuration of Vector, by its path in it."""
    return dict(_programs(config.get("transforms") or {}, "transforms"))


def _programs(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _programs(inner, f"{path}[{index}]")
        return
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        own = f"{path}.{key}"
        # A condition is a program, or an object that has one; a route is conditions by name.
        if key in ("source", "condition") and isinstance(inner, str):
            yield own, inner
        elif key == "route" and isinstance(inner, dict):
            for name, one in inner.items():
                yield from _programs({"condition": one}, f"{own}.{name}")
        else:
            yield from _programs(inner, own)
