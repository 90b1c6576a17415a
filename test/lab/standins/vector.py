#!/usr/bin/python3
"""Stand-in for Vector: checks its configuration and ships journal and files.

What Vector's component reference does not know it refuses. A program in VRL is compiled and run by
the language's real compiler, which the package brings along: one that does not compile is refused,
too. It is an older release of the language than Vector's own. Buffers on disk, acknowledgements
and reading on where it stopped are not what the real one does.
"""

import contextlib
import glob
import json
import os
import queue
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
import vector_reference
import vrl_python

KINDS = vector_reference.KINDS
COUNT = {"sent": 0}


def load(folder: str) -> dict[str, Any]:
    """Read a folder of configuration; raises ValueError for what the real program would refuse."""
    whole: dict[str, Any] = {"sources": {}, "transforms": {}, "sinks": {}}
    for path in sorted(glob.glob(f"{folder}/*.yaml")):
        with open(path) as stream:
            part = yaml.safe_load(stream) or {}
        found = vector_reference.problems(part)
        if found:
            raise ValueError(f"{path}: {found[0]}")
        for key, value in part.items():
            if key not in KINDS:
                whole[key] = value
                continue
            for name, component in value.items():
                if any(name in whole[kind] for kind in KINDS):
                    raise ValueError(f"{path}: duplicate {key} id {name}")
                whole[key][name] = component
    names = {*whole["sources"], *whole["transforms"]}
    for key in ("transforms", "sinks"):
        for name, component in whole[key].items():
            for wanted in component["inputs"]:
                if "*" not in wanted and wanted not in names:
                    raise ValueError(f'Input "{wanted}" for {key[:-1]} "{name}" doesn\'t match any')
    for name, transform in whole["transforms"].items():
        wrong = vrl_python.VRLRuntime.check_syntax(
            transform.get("source", transform.get("condition"))
        )
        if wrong:
            raise ValueError(f"Transform {name!r}: {wrong.formatted_message}")
    for name, sink in whole["sinks"].items():
        buffer = sink.get("buffer", {})
        if buffer.get("type") == "disk" and buffer.get("max_size", 0) < 268435488:
            raise ValueError(f"sinks.{name}.buffer.max_size: must be 268435488 bytes or larger")
    return whole


class Program:
    """A transform's program. The time is none that JSON could carry, and so is put in by VRL."""

    BEFORE = (
        '.timestamp = if exists(.timestamp) { parse_timestamp!(.timestamp, "%+") } else { null }\n'
    )
    AFTER = '\n._time = format_timestamp!(._time, "%+")'

    def __init__(self, source: str) -> None:
        # As Vector does: a time without a zone is the machine's.
        zone = os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
        self.runtime = vrl_python.VRLRuntime(zone or "UTC")
        self.source = self.BEFORE + source + self.AFTER

    def run(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event that is shipped: as it came, where the program fails with it."""
        try:
            shipped: dict[str, Any] = self.runtime.execute(self.source, event).processed_event
        except (ValueError, RuntimeError) as err:
            print(f"ERROR transform: Mapping failed with event. error={err}", file=sys.stderr)
            return event
        return shipped


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
                    work = (name, source, transform["source"])
                    threading.Thread(target=self.follow, args=work, daemon=True).start()

    def follow(self, name: str, source: dict[str, Any], code: str) -> None:
        program = Program(code)
        events = journal(self, source) if source["type"] == "journald" else files(self, source)
        for event in events:
            shipped = program.run(event)
            for sink, waiting in self.queues.items():
                if any(fnmatch(name, p) for p in self.config["sinks"][sink]["inputs"]):
                    waiting.put(shipped)

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


def stamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1e6):06}Z"


def decoded(value: Any) -> Any:
    """A field of journalctl that is no text is a list of its bytes."""
    if not isinstance(value, list):
        return value
    try:
        return bytes(value).decode(errors="replace")
    except (TypeError, ValueError):  # a field that is there twice
        return json.dumps(value)


def journal(shipper: Shipper, source: dict[str, Any]) -> Iterator[dict[str, Any]]:
    since = "now" if source.get("since_now") else "2000-01-01"
    command = ["journalctl", "--boot", "--follow", "--all", f"--since={since}", "--output=json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        for raw in process.stdout or ():
            if not shipper.live:
                process.kill()
                return
            event = {key: decoded(value) for key, value in json.loads(raw).items()}
            taken = event.get("_SOURCE_REALTIME_TIMESTAMP", event["__REALTIME_TIMESTAMP"])
            event.update(timestamp=stamp(int(taken) / 1e6), source_type="journald")
            if "MESSAGE" in event:
                event["message"] = event.pop("MESSAGE")
            yield event


def files(shipper: Shipper, source: dict[str, Any]) -> Iterator[dict[str, Any]]:
    offsets: dict[str, int] = {}
    if source.get("read_from") == "end":
        for path in matching(source):
            with contextlib.suppress(OSError):
                offsets[path] = os.path.getsize(path)
    while shipper.live:
        for path in matching(source):
            with contextlib.suppress(OSError), open(path, "rb") as stream:
                stream.seek(offsets.get(path, 0))
                for raw in stream:
                    if not raw.endswith(b"\n"):
                        break  # the rest of it is still to be written
                    offsets[path] = stream.tell()
                    line = raw.rstrip(b"\n")
                    if len(line) <= source.get("max_line_bytes", 102400):
                        text = line.decode(errors="replace")
                        yield {"message": text, "file": path, "timestamp": stamp(time.time()),
                               "source_type": "file"}  # fmt: skip
        time.sleep(0.5)


def matching(source: dict[str, Any]) -> list[str]:
    found = {path for pattern in source["include"] for path in glob.glob(pattern)}
    return sorted(found - {p for pattern in source.get("exclude", []) for p in glob.glob(pattern)})


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
