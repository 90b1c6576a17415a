"""Reader of OTLP requests for traces, in protobuf's wire format.

Stand-ins run with the system's Python alone, so that no library reads it for them. Fields that are
not needed are passed over, as protobuf has it.
https://github.com/open-telemetry/opentelemetry-proto, https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Value = int | bytes


class OtlpError(ValueError):
    """A body that is no such request."""


@dataclass(frozen=True)
class Span:
    """A span, as far as Jaeger's API tells of it; times in nanoseconds, ids in hexadecimal."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    start: int
    end: int


def spans(body: bytes) -> list[Span]:
    """Read the spans of an ExportTraceServiceRequest.

    Raises OtlpError, saying what is wrong.
    """
    return [span for one in _messages(body, 1) for span in _of_resource(one)]


def _of_resource(body: bytes) -> Iterator[Span]:
    service = ""
    for resource in _messages(body, 1):
        for attribute in _messages(resource, 1):
            if _text(attribute, 1) == "service.name":
                service = next((_text(value, 1) for value in _messages(attribute, 2)), "")
    for scope in _messages(body, 2):
        for span in _messages(scope, 2):
            fields = dict(_fields(span))
            yield Span(
                service,
                _text(span, 5),
                _bytes(fields, 1).hex(),
                _bytes(fields, 2).hex(),
                _bytes(fields, 4).hex(),
                _number(fields, 7),
                _number(fields, 8),
            )


def _messages(body: bytes, number: int) -> Iterator[bytes]:
    """Every message of a repeated field."""
    for field, value in _fields(body):
        if field == number:
            if not isinstance(value, bytes):
                raise OtlpError(f"field {number}: expected a message")
            yield value


def _text(body: bytes, number: int) -> str:
    found = _bytes(dict(_fields(body)), number)
    try:
        return found.decode()
    except UnicodeDecodeError as error:
        raise OtlpError(f"field {number}: expected text in UTF-8") from error


def _bytes(fields: dict[int, Value], number: int) -> bytes:
    found = fields.get(number, b"")
    if not isinstance(found, bytes):
        raise OtlpError(f"field {number}: expected bytes")
    return found


def _number(fields: dict[int, Value], number: int) -> int:
    found = fields.get(number, 0)
    if not isinstance(found, int):
        raise OtlpError(f"field {number}: expected a number")
    return found


def _fields(body: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of every field of a message."""
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise OtlpError("field 0: there is none")
        value: Value
        if kind == VARINT:
            value, at = _varint(body, at)
        elif kind in (FIXED64, FIXED32):
            end = at + (8 if kind == FIXED64 else 4)
            value, at = int.from_bytes(_part(body, at, end), "little"), end
        elif kind == BYTES:
            size, at = _varint(body, at)
            value, at = _part(body, at, at + size), at + size
        else:
            raise OtlpError(f"field {number}: unknown wireType={kind}")
        yield number, value


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        (byte,) = _part(body, at, at + 1)
        value, at = value | (byte & 0x7F) << shift, at + 1
        if not byte & 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise OtlpError("a number of more than 64 bits")


def _part(body: bytes, at: int, end: int) -> bytes:
    if end > len(body):
        raise OtlpError(f"the message ends at {len(body)} bytes, {end} are needed")
    return body[at:end]
