#!/usr/bin/python3
"""Stand-in for VictoriaTraces: takes OTLP as protobuf over HTTP, answers Jaeger's query API.

As the real one it stores nothing of a resource without spans, and refuses OTLP as JSON.
"""

import json
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

sys.path.insert(0, "/usr/share/victoria-traces-stand-in")
import otlp
import serving

GIVEN = serving.flags("victoria-traces", sys.argv[1:])
DATA = Path(GIVEN.get("storageDataPath", "victoria-traces-data"))
LOCK = threading.Lock()
COUNT = {"rows": 0}
JAEGER = "/select/jaeger/api/"


def stored() -> Iterator[otlp.Span]:
    """Every span that was kept; nothing of a line that was cut off."""
    path = DATA / "spans"
    with LOCK:
        lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        try:
            yield otlp.Span(**json.loads(line))
        except (ValueError, TypeError):
            continue


def jaeger(trace_id: str, spans: Iterable[otlp.Span]) -> dict[str, Any]:
    """A trace as Jaeger tells it."""
    processes: dict[str, Any] = {}
    shown = []
    for span in spans:
        known = next((k for k, p in processes.items() if p["serviceName"] == span.service), "")
        process = known or f"p{len(processes) + 1}"
        processes[process] = {"serviceName": span.service, "tags": []}
        parent = {"refType": "CHILD_OF", "spanID": span.parent, "traceID": trace_id}
        shown.append(
            {
                "traceID": trace_id,
                "spanID": span.span_id,
                "operationName": span.name,
                "references": [parent] if span.parent else [],
                "startTime": span.start // 1000,
                "duration": (span.end - span.start) // 1000,
                "tags": [],
                "logs": [],
                "processID": process,
                "warnings": None,
            }
        )
    return {"traceID": trace_id, "spans": shown, "processes": processes, "warnings": None}


class Handler(serving.Handler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/health":
            self.answer(200, "OK")
        elif url.path == "/metrics":
            self.answer(
                200,
                f"vt_rows_ingested_total {COUNT['rows']}\nvt_rows_dropped_total 0\n"
                "vt_storage_is_read_only 0\n",
            )
        elif url.path == "/internal/force_flush":
            self.answer(200, "")
        elif url.path.startswith(JAEGER):
            given = {key: values[0] for key, values in parse_qs(url.query).items()}
            self.select([unquote(p) for p in url.path.removeprefix(JAEGER).split("/")], given)
        elif url.path.startswith("/select/vmui"):
            self.application(url.path, "VictoriaTraces (stand-in)")
        else:
            self.answer(400, f"unsupported path requested: {url.path}")

    def select(self, path: list[str], given: dict[str, str]) -> None:
        """Answer a question of Jaeger's API."""
        found: list[Any]
        if path == ["services"]:
            found = sorted({span.service for span in stored()})
        elif len(path) == 3 and path[0] == "services" and path[2] == "operations":
            found = sorted({span.name for span in stored() if span.service == path[1]})
        elif path[0] == "traces" and len(path) <= 2:
            if len(path) == 1 and not given.get("service"):
                self.answer(400, "service name is required")
                return
            ids = {
                span.trace_id
                for span in stored()
                if (span.trace_id == path[1] if path[1:] else span.service == given["service"])
                and given.get("operation", span.name) == span.name
            }
            limit = int(given.get("limit", 20))
            found = [
                jaeger(one, [span for span in stored() if span.trace_id == one])
                for one in sorted(ids)[:limit]
            ]
        else:
            self.answer(400, f"unsupported path requested: {self.path}")
            return
        whole = {"data": found, "errors": None, "limit": 0, "offset": 0, "total": len(found)}
        self.answer(200, json.dumps(whole), "application/json")

    def do_POST(self) -> None:
        body = self.body()
        if urlsplit(self.path).path != "/insert/opentelemetry/v1/traces":
            self.answer(400, f"unsupported path requested: {self.path}")
            return
        if self.headers.get("Content-Type") == "application/json":
            self.answer(
                400, "json encoding isn't supported for opentelemetry format. Use protobuf encoding"
            )
            return
        try:
            spans = otlp.spans(body)
        except otlp.OtlpError as error:
            self.answer(400, f"cannot read OpenTelemetry protocol data: {error}")
            return
        with LOCK, (DATA / "spans").open("a") as stream:
            stream.write("".join(f"{json.dumps(asdict(span))}\n" for span in spans))
            COUNT["rows"] += len(spans)
        self.answer(200, "")


DATA.mkdir(parents=True, exist_ok=True)
try:
    (DATA / "flock.lock").touch()
except OSError as err:
    sys.exit(f"fatal: cannot create lock file in {DATA}: {err}")
serving.serve("victoria-traces", GIVEN.get("httpListenAddr", ":10428"), Handler)
