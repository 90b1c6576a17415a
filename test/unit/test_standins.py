"""Stand-ins are as strict about flags and questions as the programs whose place they take."""

import json
import re
import subprocess
import sys
import time
import urllib.request
from urllib.error import HTTPError
from urllib.parse import quote

import programs
import pytest
import traces
from ports import free_port

FLAGS = json.loads((programs.STANDINS / "flags.json").read_text(encoding="utf-8"))
NEWER = {
    "victoria-logs": {
        "maxBackfillAge", "retention.maxDiskUsagePercent", "search.maxQueryLen",
        "search.maxQueryTimeRange", "secret.flags", "snapshotsMaxAge", "vmalert.proxyURL",
    },
    "victoria-traces": {
        "maxBackfillAge", "otlpGRPCListenAddr", "retention.maxDiskUsagePercent",
        "search.latencyOffset", "search.maxTraces", "secret.flags", "snapshotsMaxAge",
        "vmalert.proxyURL",
    },
}  # fmt: skip
"""Flags that VictoriaLogs has since 1.27 to 1.51, VictoriaTraces since 0.2 to 0.9."""


def standin(name):
    return str(programs.STANDINS / programs.PROGRAMS[name].standin)


@pytest.mark.parametrize("name", NEWER)
def test_a_flag_that_the_real_program_does_not_document_is_refused(name):
    done = subprocess.run(
        [sys.executable, standin(name), "-httpListenAddr=:1", "-noSuchFlag=1", "-version"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "flag provided but not defined: -noSuchFlag" in done.stderr


@pytest.mark.parametrize("name", NEWER)
def test_each_flag_that_a_stand_in_takes_is_one_of_the_program_that_is_given(name):
    if name not in programs.given():
        pytest.skip(f"no {name} is given (PROGRAMS=DIR)")
    done = subprocess.run(
        [programs.program(name), "-help"], capture_output=True, text=True, check=False
    )
    real = set(re.findall(r"^  -(\S+)", done.stdout + done.stderr, re.MULTILINE))
    assert len(real) > 50
    assert set(FLAGS[name]) - real - NEWER[name] == set()


@pytest.fixture(
    scope="module", params=[*NEWER, *(f"given {n}" for n in NEWER if n in programs.given())]
)
def server(request, tmp_path_factory):
    """A stand-in that runs, and where it is given the real program: they answer alike."""
    kind, _, name = request.param.rpartition(" ")
    command = [programs.program(name)] if kind else [sys.executable, standin(name)]
    address = f"127.0.0.1:{free_port()}"
    data = tmp_path_factory.mktemp("data")
    process = subprocess.Popen(
        [*command, f"-httpListenAddr={address}", f"-storageDataPath={data}/data"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    running = Server(name, f"http://{address}")
    try:
        running.eventually(lambda: running.get("/health")[0] == 200)
        yield running
    finally:
        process.kill()
        process.wait()


class Server:
    def __init__(self, name, url):
        self.name = name
        self.url = url

    def get(self, path, data=None, **headers):
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        request = urllib.request.Request(self.url + path, data=data, headers=headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def eventually(self, ask):
        deadline = time.monotonic() + 60
        while not (found := ask()):
            assert time.monotonic() < deadline, self.url
            time.sleep(0.1)
        return found


def only(server, name):
    if server.name != name:
        pytest.skip(f"about {name}")


def test_a_path_that_there_is_not_is_refused(server):
    assert server.get("/nothing")[0] == 400
    assert server.get("/internal/force_flush")[0] == 200


def test_logs_are_found_again_by_field_and_what_is_no_logsql_is_refused(server):
    only(server, "victoria-logs")
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    rows = [{"message": f"line {n}", "t": moment, "app": "shop"} for n in range(3)]
    body = "\n".join([*map(json.dumps, rows), "no json", "[]"]).encode()
    headers = {"VL_Msg_Field": "message", "VL_Time_Field": "t", "VL_Stream_Fields": "app"}
    # What says that it is a form is read as one: no line of it is kept.
    assert server.get("/insert/jsonline", body.replace(b"shop", b"form"), **headers)[0] == 200
    headers["Content_Type"] = "application/stream+json"
    assert server.get("/insert/jsonline", body, **headers)[0] == 200

    def found(query):
        status, told = server.get(f"/select/logsql/query?query={quote(query)}")
        assert status == 200, told
        return sorted(json.loads(line)["_msg"] for line in told.splitlines())

    server.eventually(lambda: found("app:shop") == ["line 0", "line 1", "line 2"])
    assert found('app:shop "line 1"') == ["line 1"]
    assert found("app:form") == []
    for path in ("query", "stats_query"):
        for query in ("", "app:(", "* | stats by ("):
            status, told = server.get(f"/select/logsql/{path}?query={quote(query)}")
            assert status in (400, 422), (query, told)


def test_traces_come_out_as_they_went_in_and_json_is_refused(server):
    only(server, "victoria-traces")
    assert server.get(traces.PATH, b"{}", Content_Type="application/json")[0] == 400
    assert server.get(traces.PATH, b"garbage here", Content_Type=traces.TYPE)[0] == 400
    without = traces.request("nobody", names=())
    for body in (without, traces.request("shop"), traces.request("other", ("one",))):
        assert server.get(traces.PATH, body, Content_Type=traces.TYPE) == (200, "")

    def told(path):
        status, text = server.get(f"/select/jaeger/api/{path}")
        assert status == 200, text
        return json.loads(text)["data"]

    server.eventually(lambda: told("services") == ["other", "shop"])
    server.eventually(lambda: told("services/shop/operations") == ["query", "request"])
    (trace,) = server.eventually(lambda: told("traces?service=shop"))
    spans = {span["operationName"]: span for span in trace["spans"]}
    parent, child = spans["request"], spans["query"]
    assert parent["references"] == []
    assert child["references"] == [
        {"refType": "CHILD_OF", "spanID": parent["spanID"], "traceID": trace["traceID"]}
    ]
    assert {span["duration"] for span in spans.values()} == {200_000}
    assert trace["processes"][parent["processID"]]["serviceName"] == "shop"
    (again,) = told(f"traces/{trace['traceID']}")
    assert {span["spanID"] for span in again["spans"]} == {parent["spanID"], child["spanID"]}
    assert told("traces?service=nobody") == []
    assert told("traces?service=shop&operation=none") == []
