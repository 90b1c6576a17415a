"""The stand-ins' reader of OTLP, compared with protobuf's own."""

import pytest
import traces
from hypothesis import given
from hypothesis import strategies as st
from lab.standins import otlp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ID = st.binary(max_size=16)
TIME = st.integers(0, 2**64 - 1)
SPAN = st.tuples(TEXT, ID, ID, ID, TIME, TIME)
RESOURCE = st.tuples(st.none() | TEXT, st.lists(st.lists(SPAN, max_size=3), max_size=3))


@given(st.lists(RESOURCE, max_size=3))
def test_every_request_is_read_as_it_was_written(resources):
    message, expected = ExportTraceServiceRequest(), []
    for service, scopes in resources:
        resource = message.resource_spans.add(schema_url="https://a/")
        resource.resource.attributes.add(key="host.name").value.int_value = -1
        if service is not None:
            resource.resource.attributes.add(key="service.name").value.string_value = service
        for scope_spans in scopes:
            scope = resource.scope_spans.add()
            scope.scope.name = "any"
            for name, trace, own, parent, start, end in scope_spans:
                span = scope.spans.add(
                    name=name, trace_id=trace, span_id=own, parent_span_id=parent, kind=2,
                    start_time_unix_nano=start, end_time_unix_nano=end, flags=257,
                )  # fmt: skip
                span.attributes.add(key="a").value.double_value = 0.5
                span.status.message = "fine"
                ids = (trace.hex(), own.hex(), parent.hex())
                expected.append(otlp.Span(service or "", name, *ids, start, end))
    assert otlp.spans(message.SerializeToString()) == expected


@given(st.binary(max_size=200))
def test_what_is_no_request_is_refused_and_never_breaks(body):
    try:
        found = otlp.spans(body)
    except otlp.OtlpError:
        return
    assert all(isinstance(span, otlp.Span) for span in found)


@given(st.integers(1, len(traces.request("shop")) - 1))
def test_a_request_that_is_cut_off_is_refused(length):
    with pytest.raises(otlp.OtlpError):
        otlp.spans(traces.request("shop")[:length])


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"garbage here", "unknown wireType=7"),
        (b"\x08\x01", "field 1: expected a message"),
        (b"\x0a\x05ab", "the message ends at 4 bytes, 7 are needed"),
        (b"\xff" * 11, "a number of more than 64 bits"),
        (b"\x00\x01", "field 0"),
    ],
)
def test_the_refusal_says_why(body, fault):
    with pytest.raises(otlp.OtlpError, match=fault):
        otlp.spans(body)


def test_a_trace_of_the_tests_has_a_parent_and_a_child():
    first, second = otlp.spans(traces.request("shop", ("request", "query"), seconds=0.2))
    assert (first.service, first.name, first.parent) == ("shop", "request", "")
    assert (second.name, second.parent, second.trace_id) == ("query", first.span_id, first.trace_id)
    assert first.end - first.start == 200_000_000
