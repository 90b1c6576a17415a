"""Traces as an application sends them: an OTLP request in protobuf."""

import secrets
import time

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PATH = "/insert/opentelemetry/v1/traces"
TYPE = "application/x-protobuf"


def request(service, names=("request", "query"), seconds=0.2):
    """The body of a request with one trace.

    Args:
        service (str): who sends it.
        names (tuple): of its spans; the first is the others' parent.
        seconds (float): how long ago the first one began; all end now.

    Returns:
        bytes: the body, of TYPE, for a POST to PATH.
    """
    message = ExportTraceServiceRequest()
    resource = message.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = service
    scope = resource.scope_spans.add()
    scope.scope.name = "test"
    trace, end = secrets.token_bytes(16), time.time_ns()
    parent = b""
    for name in names:
        span = scope.spans.add(
            trace_id=trace,
            span_id=secrets.token_bytes(8),
            parent_span_id=parent,
            name=name,
            kind=Span.SPAN_KIND_SERVER,
            start_time_unix_nano=end - int(seconds * 1e9),
            end_time_unix_nano=end,
        )
        span.attributes.add(key="http.response.status_code").value.int_value = 200
        parent = parent or span.span_id
    return message.SerializeToString()
