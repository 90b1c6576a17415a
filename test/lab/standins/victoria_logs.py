#!/usr/bin/python3
"""Stand-in for VictoriaLogs: takes JSON lines in, finds them again by word and by field.

It refuses what is no LogsQL, but of pipes and of `stats` it computes nothing.
"""

import json
import re
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

sys.path.insert(0, "/usr/share/victoria-logs-stand-in")
# Beside it in its package; in the checkout there.
sys.path.append(str(Path(__file__).resolve().parents[2] / "support"))
import logsql
import serving

GIVEN = serving.flags("victoria-logs", sys.argv[1:])
DATA = Path(GIVEN.get("storageDataPath", "victoria-logs-data"))
LOCK = threading.Lock()
COUNT = {"rows": 0}


def matches(line: dict[str, Any], query: str) -> bool:
    """Whether a line has each word and each `field:value` of a query; pipes are not known."""
    for part in re.findall(r'(?:[\w.]+:)?(?:"[^"]*"|\S+)', query.split("|")[0]):
        field, colon, value = part.partition(":")
        if field == "_time" or part == "*":
            continue
        text = json.loads(value) if colon and value.startswith('"') else value
        if colon and field != "_msg":
            if str(line.get(field, "")) != text:
                return False
        elif (text or part).strip('"') not in str(line.get("_msg", "")):
            return False
    return True


def refusal(query: str) -> str:
    """Why VictoriaLogs would refuse a query; empty where it would not."""
    if not query.strip():
        return "missing query"
    try:
        logsql.parse(query)
    except logsql.LogsQLError as error:
        return str(error)
    return ""


def parsed(line: str) -> dict[str, Any]:
    """What is kept in a line; nothing of one that was cut off."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class Handler(serving.Handler):
    def do_GET(self) -> None:
        self.route(urlsplit(self.path), b"")

    def do_POST(self) -> None:
        self.route(urlsplit(self.path), self.body())

    def route(self, url: SplitResult, body: bytes) -> None:
        given = {
            k: v[0]
            for k, v in parse_qs(
                f"{url.query}&{body.decode('utf-8', 'replace')}" if b"=" in body[:40] else url.query
            ).items()
        }
        if url.path == "/health":
            self.answer(200, "OK")
        elif url.path == "/metrics":
            rows = COUNT["rows"]
            self.answer(
                200,
                f"vl_rows_ingested_total {rows}\nvl_rows_dropped_total 0\n"
                "vl_storage_is_read_only 0\n",
            )
        elif url.path == "/internal/force_flush":
            self.answer(200, "")
        elif url.path == "/insert/jsonline":
            self.insert(body)
        elif url.path.startswith("/select/logsql/") and (fault := refusal(given.get("query", ""))):
            self.answer(400, f"cannot parse query [{given.get('query', '')}]: {fault}")
        elif url.path == "/select/logsql/query":
            self.query(given["query"], int(given.get("limit", 1000)))
        elif url.path == "/select/logsql/stats_query":
            empty = {"status": "success", "data": {"resultType": "vector", "result": []}}
            self.answer(200, json.dumps(empty), "application/json")
        elif url.path.startswith("/select/vmui"):
            self.application(url.path, "VictoriaLogs (stand-in)")
        else:
            self.answer(400, f"unsupported path requested: {url.path}")

    def insert(self, body: bytes) -> None:
        names = {k: self.headers.get(f"VL-{k}") for k in ("Msg-Field", "Time-Field")}
        ignored = (self.headers.get("VL-Ignore-Fields") or "").split(",")
        if self.headers.get("Content-Type") == "application/x-www-form-urlencoded":
            body = b""  # it is read as a form
        out = []
        for raw in body.decode("utf-8", "replace").splitlines():
            whole = parsed(raw)
            if not whole:
                continue
            line = {k: v for k, v in whole.items() if k not in ignored}
            line["_msg"] = line.pop(names["Msg-Field"] or "_msg", "")
            line["_time"] = line.pop(names["Time-Field"] or "_time", "")
            line["_stream_fields"] = self.headers.get("VL-Stream-Fields", "")
            out.append(json.dumps(line))
        with LOCK:
            with (DATA / "lines").open("a") as stream:
                # A line that a full disk or a kill cut off before stays alone.
                stream.write("".join(f"\n{line}" for line in out))
            COUNT["rows"] += len(out)
        self.answer(200, "")

    def query(self, text: str, limit: int) -> None:
        path = DATA / "lines"
        with LOCK:
            lines = path.read_text().splitlines() if path.exists() else []
        found = [line for line in lines if (whole := parsed(line)) and matches(whole, text)]
        self.answer(200, "".join(f"{line}\n" for line in found[-limit:]), "application/stream+json")


DATA.mkdir(parents=True, exist_ok=True)
try:
    (DATA / "flock.lock").touch()
except OSError as err:
    sys.exit(f"fatal: cannot create lock file in {DATA}: {err}")
serving.serve("victoria-logs", GIVEN.get("httpListenAddr", ":9428"), Handler)
