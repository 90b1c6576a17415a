#!/usr/bin/python3
"""Stand-in for Vector: checks the form of its configuration and ships journal and files.

It reads no VRL: of a transform it takes the constant fields of the event that is made, and the
line itself as `message`. What the real programs of VRL do is not tested by it.
"""

import glob
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import yaml

sys.path.insert(0, "/usr/share/vector-stand-in")
import serving

KINDS = {
    "sources": {
        "internal_metrics": {"type", "scrape_interval_secs"},
        "journald": {"type", "current_boot_only", "data_dir", "include_units", "exclude_units"},
        "file": {"type", "include", "exclude", "read_from", "ignore_older_secs", "data_dir"},
    },
    "transforms": {"remap": {"type", "inputs", "source", "drop_on_error", "drop_on_abort"}},
    "sinks": {
        "prometheus_exporter": {"type", "inputs", "address", "default_namespace"},
        "http": {"type", "inputs", "uri", "method", "compression", "encoding", "framing",
                 "healthcheck", "acknowledgements", "buffer", "request", "auth", "tls"},
    },
}  # fmt: skip
TOP = {"data_dir", "api", "sources", "transforms", "sinks", "acknowledgements", "log_schema"}
COUNT = {"sent": 0}


def load(folder: str) -> dict[str, Any]:
    """Read a folder of configuration; raises ValueError for what the real program would refuse."""
    whole: dict[str, Any] = {"sources": {}, "transforms": {}, "sinks": {}}
    for path in sorted(glob.glob(f"{folder}/*.yaml")):
        with open(path) as stream:
            part = yaml.safe_load(stream) or {}
        for key, value in part.items():
            if key not in TOP:
                raise ValueError(f"{path}: unknown field `{key}`")
            if key not in KINDS:
                whole[key] = value
                continue
            for name, component in value.items():
                allowed = KINDS[key].get(component.get("type"))
                if allowed is None:
                    raise ValueError(
                        f"{path}: {key}.{name}: unknown variant {component.get('type')}"
                    )
                unknown = set(component) - allowed
                if unknown:
                    raise ValueError(f"{path}: {key}.{name}: unknown field {sorted(unknown)[0]}")
                if name in whole[key]:
                    raise ValueError(f"{path}: duplicate {key} id {name}")
                whole[key][name] = component
    names = {*whole["sources"], *whole["transforms"]}
    for key in ("transforms", "sinks"):
        for name, component in whole[key].items():
            for wanted in component["inputs"]:
                if "*" not in wanted and wanted not in names:
                    raise ValueError(f'Input "{wanted}" for {key[:-1]} "{name}" doesn\'t match any')
    for name, sink in whole["sinks"].items():
        buffer = sink.get("buffer", {})
        if buffer.get("type") == "disk" and buffer.get("max_size", 0) < 268435488:
            raise ValueError(f"sinks.{name}.buffer.max_size: must be 268435488 bytes or larger")
    return whole


def constants(source: str) -> dict[str, Any]:
    """Fields that a program in VRL sets to a constant."""
    return {k: json.loads(v) for k, v in re.findall(r'"(\w+)": ("[^"]*"|\d+)\s*[,}\n]', source)}


class Shipper:
    """Threads that follow sources and send lines, one queue for each receiver."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.live = True
        self.queues: dict[str, queue.Queue[dict[str, Any]]] = {}
        for name, sink in config["sinks"].items():
            if sink["type"] == "http":
                self.queues[name] = queue.Queue(100000)
                threading.Thread(target=self.send, args=(name, sink), daemon=True).start()
        for name, transform in config["transforms"].items():
            for wanted in transform["inputs"]:
                source = config["sources"].get(wanted)
                if source:
                    work = (name, source, constants(transform["source"]))
                    threading.Thread(target=self.follow, args=work, daemon=True).start()

    def follow(self, name: str, source: dict[str, Any], fields: dict[str, Any]) -> None:
        lines = journal(self) if source["type"] == "journald" else files(self, source)
        for line in lines:
            event = {**fields, "_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **line}
            for sink, waiting in self.queues.items():
                if any(fnmatch(name, p) for p in self.config["sinks"][sink]["inputs"]):
                    waiting.put(event)

    def send(self, name: str, sink: dict[str, Any]) -> None:
        headers = {"Content-Type": "application/x-ndjson", **sink["request"]["headers"]}
        batch = []
        while self.live:
            try:
                batch.append(self.queues[name].get(timeout=0.5))
                if len(batch) < 200 and not self.queues[name].empty():
                    continue
            except queue.Empty:
                if not batch:
                    continue
            data = "\n".join(map(json.dumps, batch)).encode()
            try:
                request = urllib.request.Request(sink["uri"], data, headers)  # noqa: S310
                with urllib.request.urlopen(request, timeout=5):  # noqa: S310
                    COUNT["sent"] += len(batch)
                batch = []
            except OSError:
                time.sleep(1)


def journal(shipper: Shipper) -> Iterator[dict[str, Any]]:
    command = ["journalctl", "--boot", "--follow", "--lines=all", "--output=json", "--no-pager"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for raw in process.stdout or ():
            if not shipper.live:
                process.kill()
                return
            entry = json.loads(raw)
            unit = str(entry.get("_SYSTEMD_UNIT", "")).removesuffix(".service")
            yield {
                "message": str(entry.get("MESSAGE", "")),
                "unit": unit,
                "app": str(entry.get("SYSLOG_IDENTIFIER", "")),
            }


def files(shipper: Shipper, source: dict[str, Any]) -> Iterator[dict[str, Any]]:
    offsets: dict[str, int] = {}
    while shipper.live:
        for pattern in source["include"]:
            for path in glob.glob(pattern):
                with open(path, errors="replace") as stream:
                    stream.seek(offsets.get(path, 0))
                    for line in stream:
                        yield {"message": line.rstrip("\n")}
                    offsets[path] = stream.tell()
        time.sleep(0.5)


class Handler(serving.Handler):
    def do_GET(self) -> None:
        self.answer(
            200,
            f"vector_component_sent_events_total {COUNT['sent']}\n"
            'vector_component_discarded_events_total{intentional="false"} 0\n',
        )


def main() -> None:
    argv = sys.argv[1:]
    validate = argv[:1] == ["validate"]
    folder = "/etc/vector"
    words = iter(argv[1:] if validate else argv)
    for word in words:
        name, _, value = word.partition("=")
        if validate and name in ("--no-environment", "--skip-healthchecks", "--deny-warnings"):
            continue
        if name not in serving.FLAGS["vector"]:
            print(f"error: unexpected argument '{name}' found", file=sys.stderr)
            sys.exit(2)
        if name == "--version":
            print("vector 9.0.0 (stand-in)")
            sys.exit(0)
        if name in ("--config-dir", "-C"):
            folder = value or next(words)
    try:
        config = load(folder)
    except (ValueError, yaml.YAMLError) as err:
        print(f"ERROR vector: Configuration error. error={err}", file=sys.stderr)
        sys.exit(78)
    if validate:
        print("Validated")
        sys.exit(0)
    os.makedirs(f"{config['data_dir']}/buffer", exist_ok=True)
    shipper = Shipper(config)
    threading.Thread(target=reloads, args=([shipper], folder), daemon=True).start()
    exporter = next(s for s in config["sinks"].values() if s["type"] == "prometheus_exporter")
    serving.serve("vector", exporter["address"], Handler, RELOAD.set)


RELOAD = threading.Event()


def reloads(running: list[Shipper], folder: str) -> None:
    while True:
        RELOAD.wait()
        RELOAD.clear()
        try:
            config = load(folder)
        except (ValueError, yaml.YAMLError) as err:
            print(f"ERROR vector: Configuration error. error={err}", file=sys.stderr, flush=True)
            continue
        running[0].live = False
        running[0] = Shipper(config)
        print("INFO vector: Vector has reloaded.", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
