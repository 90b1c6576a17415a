"""Alerts of three INFRA nodes, one of which is cut off: one message each.

Three real Alertmanagers with the formula's own flags, each in a network of its own on one bridge.
Each alert is sent to all that can be reached, as the vmalert of each node does.
"""

import collections
import http.server
import json
import os
import subprocess
import threading
import time
import urllib.request

import programs
import pytest
from closing import stop
from infra_formula.daemon import arguments, flags
from infra_formula.monitoring import alertmanager
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from support.own_network import own_network
from support.real_daemon import DEBIANS

GRAINS = {"ipv4": [], "os_family": "Debian", "kernel": "Linux", "cpuarch": "x86_64",
          "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
pytestmark = pytest.mark.soak
ALERTS = 100
PEER_TIMEOUT = 15
"""Seconds that an Alertmanager waits for the message of each peer before it (its default)."""
BRIDGE = f"am{os.getpid() % 100000}"
HOSTS = {f"infra-{n}": {"infra_seq": n, "ip": f"10.77.0.{n}"} for n in (1, 2, 3)}


def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=30)


@pytest.fixture
def network():
    """Three networks on a bridge, whose own end is 10.77.0.254, in a network of the test's own."""
    with own_network():
        yield from _bridged()


def _bridged():
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("address", "add", "10.77.0.254/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for n in (1, 2, 3):
            space, outer = f"{BRIDGE}-{n}", f"{BRIDGE}v{n}"
            ip("netns", "add", space)
            ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", outer, "master", BRIDGE, "up")
            ip("-n", space, "address", "add", f"10.77.0.{n}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", "eth0", "up")
        yield
    finally:
        for n in (1, 2, 3):
            subprocess.run(["ip", "netns", "delete", f"{BRIDGE}-{n}"], check=False, timeout=30)
        subprocess.run(["ip", "link", "delete", BRIDGE], check=False, timeout=30)


@pytest.fixture
def messages(network):
    """How often each alert arrived, by its name."""
    found = collections.Counter()

    class Hook(http.server.BaseHTTPRequestHandler):
        """Counts what it gets."""

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.update(alert["labels"]["alertname"] for alert in body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("10.77.0.254", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.url = f"http://10.77.0.254:{server.server_port}/"
        yield found
        stop(server)


def settings(url):
    names = ("severities", "inhibit_rules", "routes", "global", "time_intervals", "templates")
    given = {name: {} for name in names} | {"routes": [], "inhibit_rules": [], "tracing": {}}
    given["receivers"] = {"hook": {"webhook": {"url": url, "send_resolved": False}}}
    given["route"] = {"group_by": ["alertname"], "group_wait": "1s"}
    return given


@pytest.fixture
def nodes(network, messages, tmp_path):
    running = []
    share = programs.unpacked(DEBIANS["alertmanager"], "trixie") / "usr/share"
    for n, name in enumerate(HOSTS, 1):
        values = {**merging.defaults(GRAINS), "infra_hosts": HOSTS, "admin_ip": "10.77.0.1"}
        here = Site(values, {**GRAINS, "id": name})
        folder = tmp_path / name
        folder.mkdir()
        (folder / "am.yml").write_text(json.dumps(alertmanager.config(settings(messages.url))))
        words = flags.command_line(arguments.daemons(here)["alertmanager"])[1:]
        words = [word for word in words if "config.file" not in word and "storage.path" not in word]
        mount = 'mount --bind "$0" /usr/share && exec "$@"'
        command = ["ip", "netns", "exec", f"{BRIDGE}-{n}", "unshare", "--mount", "sh", "-c", mount,
                   str(share), programs.program("alertmanager"), *words, "--config.file=am.yml",
                   "--storage.path=data"]  # fmt: skip
        with (folder / "log").open("wb") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))
    yield tmp_path
    for process in running:
        process.kill()
        process.wait()


def ask(n, path, data=None):
    request = urllib.request.Request(
        f"http://10.77.0.{n}:9059{path}", data, {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310 - its own server
            return json.loads(answer.read() or b"null")
    except OSError:
        return None


def send(names, *members):
    alerts = [{"labels": {"alertname": name, "severity": "CRIT"}} for name in names]
    for n in members:
        ask(n, "/api/v2/alerts", json.dumps(alerts).encode())


def peers(n):
    return len(((ask(n, "/api/v2/status") or {}).get("cluster") or {}).get("peers") or [])


def wait(question, seconds=90):
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_one_cut_off_costs_no_message_and_none_comes_twice(nodes, messages):
    wait(lambda: all(peers(n) == 3 for n in (1, 2, 3)))
    first = [f"First{i}" for i in range(ALERTS)]
    send(first, 1, 2, 3)
    wait(lambda: set(first) <= set(messages))
    # Whoever is behind another in the order would have sent by now.
    time.sleep(3 * PEER_TIMEOUT)
    assert set(messages.values()) == {1}, messages.most_common(3)

    ip("link", "set", f"{BRIDGE}v1", "down")
    second = [f"Second{i}" for i in range(ALERTS)]
    send([*first, *second], 2, 3)
    wait(lambda: set(second) <= set(messages))
    time.sleep(3 * PEER_TIMEOUT)
    assert set(messages.values()) == {1}, messages.most_common(3)

    ip("link", "set", f"{BRIDGE}v1", "up")
    wait(lambda: all(peers(n) == 3 for n in (1, 2, 3)))
    send([*first, *second], 1, 2, 3)
    time.sleep(3 * PEER_TIMEOUT)
    assert set(messages.values()) == {1}, messages.most_common(3)
    assert len(messages) == 2 * ALERTS
