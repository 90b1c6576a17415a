"""Alerts of three INFRA nodes, one of which is away for a while: one message each.

Three real Alertmanagers with the formula's own flags and timing, each in a network of its own on
one bridge. Each alert is sent to all that can be reached, as the vmalert of each node does.
"""

import collections
import http.server
import json
import os
import re
import signal
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
RELEASE = "trixie"
ALERTS = 100
NODES = (1, 2, 3)
AWAY = 1
BRIDGE = f"am{os.getpid() % 100000}"
HOSTS = {f"infra-{n}": {"infra_seq": n, "ip": f"10.77.0.{n}"} for n in NODES}
POST = """
import sys, urllib.request
json = {"Content-Type": "application/json"}
request = urllib.request.Request(sys.argv[1], sys.stdin.buffer.read(), json)
urllib.request.urlopen(request, timeout=5)
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True, timeout=30)


@pytest.fixture(scope="module")
def program():
    """Alertmanager and the files that it reads, before the test has a network without a way out."""
    path, use = programs.locate("alertmanager", RELEASE)
    programs.note([use])
    return path, programs.unpacked(DEBIANS["alertmanager"], RELEASE) / "usr/share"


@pytest.fixture
def network(program):
    """Three networks on a bridge, whose own end is 10.77.0.254, in a network of the test's own."""
    with own_network():
        yield from _bridged()


def _bridged():
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("address", "add", "10.77.0.254/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for n in NODES:
            space, outer = f"{BRIDGE}-{n}", f"{BRIDGE}v{n}"
            ip("netns", "add", space)
            ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", outer, "master", BRIDGE, "up")
            ip("-n", space, "address", "add", f"10.77.0.{n}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "lo", "up")
            ip("-n", space, "link", "set", "eth0", "up")
        yield
    finally:
        for n in NODES:
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

    class Server(http.server.ThreadingHTTPServer):
        """Takes the connections of all alerts at once: a late message is one that comes twice."""

        request_queue_size = 1024

    with Server(("10.77.0.254", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found.url = f"http://10.77.0.254:{server.server_port}/"
        yield found
        stop(server)


def settings(url):
    """A receiver for critical alerts with the formula's timing; groups are flushed more often."""
    names = ("inhibit_rules", "global", "time_intervals", "templates")
    given = {name: {} for name in names} | {"routes": [], "tracing": {}}
    given["receivers"] = {"hook": {"webhook": {"url": url, "send_resolved": False}}}
    given["severities"] = {"CRIT": "hook"}
    given["route"] = {"group_interval": "2s"}
    return given


class Node:
    """A running Alertmanager."""

    def __init__(self, n, name, folder, url, program):
        self.n = n
        path, share = program
        values = {**merging.defaults(GRAINS), "infra_hosts": HOSTS, "admin_ip": "10.77.0.1"}
        here = Site(values, {**GRAINS, "id": name})
        folder.mkdir()
        (folder / "am.yml").write_text(json.dumps(alertmanager.config(settings(url))))
        words = flags.command_line(arguments.daemons(here)["alertmanager"])[1:]
        words = [word for word in words if "config.file" not in word and "storage.path" not in word]
        mount = 'mount --bind "$0" /usr/share && exec "$@"'
        command = [*self.inside(), "unshare", "--mount", "sh", "-c", mount, str(share), str(path),
                   *words, "--config.file=am.yml",
                   "--storage.path=data", "--log.level=debug"]  # fmt: skip
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)

    def inside(self):
        return ["ip", "netns", "exec", f"{BRIDGE}-{self.n}"]

    def ask(self, path, data=None):
        request = urllib.request.Request(
            f"http://10.77.0.{self.n}:9059{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310 - its own
                return json.loads(answer.read() or b"null")
        except OSError:
            return None

    def send_from_itself(self, body):
        """As the vmalert of a node that is cut off does."""
        command = [*self.inside(), "python3", "-c", POST, "http://127.0.0.1:9059/api/v2/alerts"]
        subprocess.run(command, input=body, check=True, timeout=30)

    def peers(self):
        status = self.ask("/api/v2/status") or {}
        return len((status.get("cluster") or {}).get("peers") or [])

    def flushes(self):
        """How often the group of each alert was begun to be flushed."""
        flushed = r'msg=flushing .*?alertname=\\"(\w+)\\"'
        return collections.Counter(re.findall(flushed, self.log.read_text()))


@pytest.fixture
def nodes(network, messages, program, tmp_path):
    running = []
    for n, name in zip(NODES, HOSTS, strict=True):
        running.append(Node(n, name, tmp_path / name, messages.url, program))
    yield running
    for node in running:
        node.process.kill()
        node.process.wait()


def alerts(prefix):
    return [f"{prefix}{i}" for i in range(ALERTS)]


def body(names):
    return json.dumps([{"labels": {"alertname": n, "severity": "CRIT"}} for n in names]).encode()


def wait(question, seconds=180):
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def decided(nodes, names):
    """Wait until each node has decided about these alerts: sent, or left to another.

    A group is flushed the second time from now only when the first time from now has ended.
    """
    before = [node.flushes() for node in nodes]
    wait(lambda: all(
        node.flushes()[name] >= then[name] + 2
        for node, then in zip(nodes, before, strict=True) for name in names
    ))  # fmt: skip


def sent(messages, names):
    """Numbers of messages → how many alerts of these had them."""
    return dict(collections.Counter(messages[name] for name in names))


def fire(nodes, names):
    for node in nodes:
        node.ask("/api/v2/alerts", body(names))


@pytest.fixture
def whole(nodes, messages):
    """All three have one cluster, and have sent a hundred alerts once each."""
    wait(lambda: all(node.peers() == 3 for node in nodes))
    first = alerts("First")
    fire(nodes, first)
    decided(nodes, first)
    assert sent(messages, first) == {1: ALERTS}
    return nodes


def test_a_node_that_is_cut_off_costs_no_message_and_doubles_only_its_own(whole, messages):
    """It neither reaches the others nor the receiver; its own vmalert goes on sending to it."""
    first, second, third = alerts("First"), alerts("Second"), alerts("Third")
    away, *others = whole
    ip("link", "set", f"{BRIDGE}v{AWAY}", "down")
    fire(others, [*first, *second])
    away.send_from_itself(body([*first, *second]))
    decided(others, second)
    assert sent(messages, [*first, *second]) == {1: 2 * ALERTS}

    ip("link", "set", f"{BRIDGE}v{AWAY}", "up")
    wait(lambda: all(node.peers() == 3 for node in whole))
    fire(whole, [*first, *second])
    decided(whole, [*first, *second])
    assert sent(messages, first) == {1: ALERTS}
    # What it had begun to send when it was back comes from it, too.
    assert set(sent(messages, second)) <= {1, 2}

    before = messages.copy()
    fire(whole, [*first, *second, *third])
    decided(whole, [*second, *third])
    assert sent(messages, third) == {1: ALERTS}
    assert {n: messages[n] for n in before} == dict(before)


def test_a_node_that_stands_still_costs_no_message_and_doubles_none(whole, messages):
    """As a machine whose memory or disk is exhausted, or that is paused."""
    first, second, third = alerts("First"), alerts("Second"), alerts("Third")
    away, *others = whole
    away.process.send_signal(signal.SIGSTOP)
    wait(lambda: all(node.peers() == 2 for node in others))
    fire(others, [*first, *second])
    decided(others, second)
    assert sent(messages, [*first, *second]) == {1: 2 * ALERTS}

    away.process.send_signal(signal.SIGCONT)
    fire(whole, [*first, *second, *third])
    decided(whole, [*first, *second, *third])
    assert sent(messages, [*first, *second, *third]) == {1: 3 * ALERTS}
    assert all(node.peers() == 3 for node in whole)
