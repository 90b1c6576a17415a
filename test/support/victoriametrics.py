"""A real VictoriaMetrics of a test's own, without data at first."""

import json
import subprocess
import time
import urllib.parse
import urllib.request

import programs
from ports import free_port


class Store:
    """A running VictoriaMetrics.

    Args:
        folder: where it keeps its data and its log.
        release: Debian's release whose package it is from; this machine's if not given.

    Raises RuntimeError with its log where it does not start.
    """

    def __init__(self, folder, release=""):
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                programs.program("victoria-metrics", release),
                f"-storageDataPath={folder}/data",
                f"-httpListenAddr={self.url[7:]}",
                "-retentionPeriod=10y",
                "-search.latencyOffset=0s",
                "-search.disableCache",
            ],
            stdout=self.log,
            stderr=self.log,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.get("/health")
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError((folder / "log").read_text()) from None
                time.sleep(0.05)

    def get(self, path, data=None, **query):
        url = f"{self.url}{path}?{urllib.parse.urlencode(query)}" if query else self.url + path
        request = urllib.request.Request(url, data=data)  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.read().decode()

    def put(self, series):
        lines = [json.dumps(one) for one in series]
        self.get("/api/v1/import", data="\n".join(lines).encode())
        self.get("/internal/force_flush")

    def at(self, expression, moment):
        found = json.loads(self.get("/api/v1/query", query=expression, time=moment, step="1m"))
        return [(row["metric"], float(row["value"][1])) for row in found["data"]["result"]]

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
