#!/usr/bin/python3
"""Stand-in for VictoriaTraces: takes OTLP over HTTP in, tells services as Jaeger does."""

import json
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, "/usr/share/victoria-traces-stand-in")
import serving

GIVEN = serving.flags("victoria-traces", sys.argv[1:])
DATA = Path(GIVEN.get("storageDataPath", "victoria-traces-data"))
LOCK = threading.Lock()
COUNT = {"rows": 0}


class Handler(serving.Handler):
    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/health":
            self.answer(200, "OK")
        elif path == "/metrics":
            self.answer(
                200,
                f"vt_rows_ingested_total {COUNT['rows']}\nvt_rows_dropped_total 0\n"
                "vt_storage_is_read_only 0\n",
            )
        elif path == "/select/jaeger/api/services":
            stored = DATA / "services"
            names = sorted(set(stored.read_text().split())) if stored.exists() else []
            body = json.dumps({"data": names, "total": len(names), "errors": None})
            self.answer(200, body, "application/json")
        elif path.startswith("/select/vmui"):
            self.application(path, "VictoriaTraces (stand-in)")
        else:
            self.answer(400, f"unsupported path requested: {path}")

    def do_POST(self) -> None:
        body = self.body()
        if urlsplit(self.path).path != "/insert/opentelemetry/v1/traces":
            self.answer(400, f"unsupported path requested: {self.path}")
            return
        for one in json.loads(body)["resourceSpans"]:
            known = {a["key"]: a["value"] for a in one["resource"]["attributes"]}
            with LOCK, (DATA / "services").open("a") as stream:
                stream.write(known["service.name"]["stringValue"] + "\n")
                COUNT["rows"] += 1
        self.answer(200, "{}", "application/json")


DATA.mkdir(parents=True, exist_ok=True)
try:
    (DATA / "flock.lock").touch()
except OSError as err:
    sys.exit(f"fatal: cannot create lock file in {DATA}: {err}")
serving.serve("victoria-traces", GIVEN.get("httpListenAddr", ":10428"), Handler)
