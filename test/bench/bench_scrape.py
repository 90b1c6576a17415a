#!/usr/bin/env python3
"""How many exporters one VictoriaMetrics scrapes: 1,000 and 5,000 of 1,000 series every 10 s.

VictoriaMetrics has the flags of an INFRA node. Every exporter is an address of this machine below
127.0.0.0/8 at which nginx serves one of ten files, in which a third of the values differ at random:
a scrape is real, costs the other end little, and is harder to compress than counters. Both share
the machine's processors, so that a machine of its own scrapes more. `late` is the share of scrapes
that took longer than the timeout, or did not take place. Disk per day is computed from what a
sample takes. Asserts nothing.

Usage: test/bench/bench_scrape.py [EXPORTERS...]
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPO / "test/bench"), str(REPO / "test/support"), str(REPO / "_utils")]

import programs  # noqa: E402
import report  # noqa: E402
from infra_formula.daemon import arguments, flags  # noqa: E402
from infra_formula.parameters import merging  # noqa: E402
from infra_formula.parameters.site import Site  # noqa: E402

SIZES = (1000, 5000)
SERIES = 1000
FILES = 10
INTERVAL = 10  # seconds
PATIENCE = 300  # seconds that a request may take
SECONDS = int(os.environ.get("SCRAPE_SECONDS", "180"))
METRICS, EXPORTERS = 18428, 19100  # ports
GRAINS = {"id": "infra-1", "ipv4": [], "os_family": "Debian", "kernel": "Linux"}
NGINX = """
worker_processes auto; worker_rlimit_nofile 65536; pid nginx.pid; error_log error.log; daemon off;
events { worker_connections 16384; }
http {
    access_log off; sendfile on; keepalive_timeout 75;
    # A file by a digit of the time: values differ from scrape to scrape, as counters do.
    map $msec $variant { ~(?<digit>[0-9])$ $digit; default 0; }
    server {
        listen PORT backlog=16384;
        root FOLDER;
        location = /metrics { default_type text/plain; try_files /$variant.txt =404; }
    }
}
"""


def exporters(folder, series=SERIES):
    """Files with the metrics of an exporter, and nginx that serves them at every address."""
    for variant in range(FILES):
        random.seed(variant)
        lines = [
            f'node_bench_seconds_total{{cpu="{n // 8}",mode="m{n % 8}"}} '
            f"{n * 1000 + (variant * 10 + random.random() if n % 3 == 0 else 0):.2f}"
            for n in range(series)
        ]
        (folder / f"{variant}.txt").write_text("\n".join(lines) + "\n")
    text = NGINX.replace("PORT", str(EXPORTERS)).replace("FOLDER", str(folder))
    (folder / "nginx.conf").write_text(text)
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    return subprocess.Popen([nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")])


def configure(folder, number):
    """Have VictoriaMetrics scrape a number of exporters, once it reads its configuration."""
    targets = [
        f"127.{1 + n // 62500}.{n // 250 % 250}.{1 + n % 250}:{EXPORTERS}" for n in range(number)
    ]
    job = {"job_name": "node", "static_configs": [{"targets": targets}]}
    configuration = {"global": {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": "8s"},
                     "scrape_configs": [job]}  # fmt: skip
    (folder / "prometheus.yml").write_text(json.dumps(configuration))


def store(folder, number):
    """VictoriaMetrics that scrapes a number of exporters."""
    configure(folder, number)
    hosts = {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}}
    here = Site(
        {**merging.defaults(GRAINS), "infra_hosts": hosts, "vmetrics_port": METRICS}, GRAINS
    )
    words = flags.command_line(arguments.daemons(here)["vmetrics"])[1:]
    words = [word.replace("/infra", str(folder)) for word in words if "vmalert" not in word]
    with (folder / "log").open("wb") as log:
        program = programs.program("victoria-metrics")
        return subprocess.Popen([program, *words], stdout=log, stderr=log)


def ask(path):
    url = f"http://127.0.0.1:{METRICS}{path}"
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{url}: {error.read().decode()}") from error


def value(query, moment):
    """The first value of a query's answer as of a moment, in seconds since 1970."""
    words = urllib.parse.urlencode({"query": query, "time": moment, "timeout": f"{PATIENCE}s"})
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            rows = json.loads(ask(f"/api/v1/query?{words}"))["data"]["result"]
            break
        except RuntimeError:  # it may still be busy with what it scraped
            if time.monotonic() > deadline:
                raise
            time.sleep(5)
    return float(rows[0]["value"][1]) if rows else 0.0


def metric(name):
    """The sum of a metric of VictoriaMetrics' own."""
    lines = [line for line in ask("/metrics").splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def spent(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def memory(pid):
    """MiB that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def measure(number, seconds=SECONDS, series=SERIES):
    """A row of the table."""
    with tempfile.TemporaryDirectory(prefix="bench-scrape-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        served = exporters(folder, series)
        running = store(folder, number)
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                try:
                    ask("/health")
                    break
                except OSError:
                    time.sleep(0.2)
            time.sleep(3 * INTERVAL)  # all series are new at first
            before, begun, rows = (
                spent(running.pid),
                time.monotonic(),
                metric("vm_rows_inserted_total"),
            )
            time.sleep(seconds)
            took = time.monotonic() - begun
            ended = time.time()
            busy, samples = spent(running.pid) - before, metric("vm_rows_inserted_total") - rows
            held = memory(running.pid)
            # One that has no processor left for more scrapes has none for questions either.
            configure(folder, 0)
            running.send_signal(signal.SIGHUP)
            ask("/internal/force_flush")
            ask("/internal/force_merge")
            window = f"[{int(seconds)}s]"
            duration = value(f"avg(avg_over_time(scrape_duration_seconds{window}))", ended)
            slowest = value(
                f"quantile(0.99, max_over_time(scrape_duration_seconds{window}))", ended
            )
            due = number * took / INTERVAL
            good = value(f"sum(sum_over_time(up{window}))", ended)
            size = sum(
                p.stat().st_size for p in (folder / "metrics/data").rglob("*") if p.is_file()
            )
            each = size / max(1.0, metric("vm_rows{"))
            per_day = each * number * series * 86400 / INTERVAL / 1e9
            return [f"{number}", samples / took / 1000, duration * 1000, slowest * 1000,
                    f"{max(0.0, 1 - good / due):.1%}", busy / took, held / 1024,
                    each, per_day]  # fmt: skip
        finally:
            running.terminate()
            running.wait()
            served.terminate()
            served.wait()


def main():
    # Each target is a connection, as the unit of an INFRA node allows.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sizes = [int(word) for word in sys.argv[1:]] or SIZES
    rows = []
    for number in sizes:
        report.progress(f"{number} exporters, {SECONDS} s")
        rows.append(measure(number))
    report.table(
        f"One VictoriaMetrics that scrapes exporters of {SERIES} series every {INTERVAL} s",
        ["exporters", "1,000 samples/s", "scrape, ms", "slowest 1%, ms", "late", "processors",
         "memory, GiB", "bytes/sample", "disk, GB/day"],
        rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
