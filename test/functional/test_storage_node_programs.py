"""VictoriaLogs and VictoriaTraces on storage nodes for real: one of three is lost and comes back.

Debian has no package of these programs: the tests run where they are given (PROGRAMS=DIR).
"""

import http.client
import json
import time
import urllib.parse
from dataclasses import dataclass

import programs
import pytest
from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.daemon import flags
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from ports import free_port
from support import traces
from support.real_daemon import RealDaemon

GRAINS = {"id": "infra-1", "ipv4": ["127.0.0.1"], "os_family": "Debian", "kernel": "Linux",
          "cpuarch": "x86_64", "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
NUMBER = 60


def wait(question, seconds=90):
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answer


def send(port, path, body=None, content_type="application/json"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Content-Type": content_type}
        connection.request("POST" if body else "GET", path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def end(daemon):
    """Stop a daemon as systemd does: what it has in memory is written to disk."""
    daemon.process.terminate()
    daemon.process.wait(60)


@dataclass(frozen=True)
class Kind:
    """A store: its component, its storage node, its program, and the pillar's name of its hosts."""

    store: str
    node: str
    program: str
    hosts: str

    def write(self, port, batch):
        raise NotImplementedError

    def count(self, port, batch, more=""):
        """How many entries of a batch are answered, or the code of the error."""
        raise NotImplementedError


class Logs(Kind):
    def write(self, port, batch):
        # A stream each: the first lines of a stream go to one storage node.
        rows = [
            json.dumps({"message": "x", "batch": batch, "app": f"{batch}-{number}", "time": "0"})
            for number in range(NUMBER)
        ]
        query = "_stream_fields=app&_msg_field=message&_time_field=time"
        code, answer = send(port, f"/insert/jsonline?{query}", "\n".join(rows) + "\n")
        assert code == 200, answer

    def count(self, port, batch, more=""):
        query = urllib.parse.quote(f"batch:={batch}")
        code, answer = send(port, f"/select/logsql/query?query={query}{more}")
        return len(answer.splitlines()) if code == 200 else -code


class Traces(Kind):
    def write(self, port, batch):
        # The name of a span is a part of its stream.
        for number in range(NUMBER):
            body = traces.request(batch, (f"span-{number}",))
            code, answer = send(port, traces.PATH, body, traces.TYPE)
            assert code == 200, answer

    def count(self, port, batch, more=""):
        path = f"/select/jaeger/api/traces?service={batch}&limit={10 * NUMBER}{more}"
        code, answer = send(port, path)
        return len(json.loads(answer)["data"] or []) if code == 200 else -code


KINDS = [
    Logs("vlogs", "vlstorage", "victoria-logs", "vlcluster_hosts"),
    Traces("vtraces", "vtstorage", "victoria-traces", "vtcluster_hosts"),
]


@pytest.fixture(params=KINDS, ids=["logs", "traces"])
def kind(request):
    if request.param.program not in programs.given():
        pytest.skip(f"{request.param.program} is not given (PROGRAMS=DIR)")
    return request.param


class Cluster:
    """Three storage nodes on loopback addresses, and an INFRA node's program before them."""

    def __init__(self, monkeypatch, folder, kind):
        self.monkeypatch, self.folder, self.kind = monkeypatch, folder, kind
        self.hosts = [f"127.0.4.{number}" for number in (1, 2, 3)]
        self.here = self.site({host: {} for host in self.hosts})
        self.nodes = {host: self.node(host) for host in self.hosts}
        self.front = self.start(kind.store, self.words(kind.store))

    def site(self, hosts):
        ports = {f"{name}_port": free_port() for name in (self.kind.store, self.kind.node)}
        values = {
            **merging.defaults(GRAINS),
            **ports,
            "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "127.0.4.9"}},
            "admin_ip": "127.0.4.9",
            self.kind.hosts: hosts,
        }
        return Site(values, GRAINS)

    def words(self, name):
        return flags.command_line(daemon_arguments.daemons(self.here)[name])[1:]

    def start(self, name, words, port=None):
        program = programs.program(self.kind.program)
        port = port or self.here[f"{name}_port"]
        return RealDaemon(self.monkeypatch, self.folder, name, program, words, port=port)

    def node(self, host):
        own, shared = free_port(), self.here[f"{self.kind.node}_port"]
        words = [word for word in self.words(self.kind.node) if "-httpListenAddr=" not in word]
        folder = str(self.folder / host)
        words = [word.replace(f"/data/{self.kind.node}", folder) for word in words]
        listen = [f"-httpListenAddr=127.0.0.1:{own}", f"-httpListenAddr={host}:{shared}"]
        return self.start(self.kind.node, [*words, *listen], own)

    def write(self, batch):
        self.kind.write(self.front.port, batch)

    def count(self, batch, more=""):
        return self.kind.count(self.front.port, batch, more)

    def stop(self):
        for daemon in (*self.nodes.values(), self.front):
            daemon.stop()


@pytest.fixture
def cluster(monkeypatch, tmp_path, kind):
    made = Cluster(monkeypatch, tmp_path, kind)
    yield made
    made.stop()


def test_one_of_three_is_lost_and_all_that_is_written_is_there_when_it_is_back(cluster):
    cluster.write("before")
    assert wait(lambda: cluster.count("before") == NUMBER)
    parts = [cluster.kind.count(node.port, "before") for node in cluster.nodes.values()]
    assert sum(parts) == NUMBER, "an entry is stored once"
    assert min(parts) > 0, "each storage node has a share"
    lost = cluster.hosts[0]
    end(cluster.nodes[lost])
    # An answer without a part of what is stored would not tell that it lacks it.
    assert cluster.count("before") in (-400, -502)
    # What is written now goes to those that are left.
    cluster.write("meanwhile")
    left = [cluster.nodes[host].port for host in cluster.hosts[1:]]
    wait(lambda: sum(cluster.kind.count(port, "meanwhile") for port in left) == NUMBER)
    cluster.nodes[lost] = cluster.node(lost)
    assert wait(lambda: cluster.count("before") == NUMBER)
    assert wait(lambda: cluster.count("meanwhile") == NUMBER)


def test_what_an_infra_node_has_stored_alone_is_answered_by_its_storage_node(
    monkeypatch, tmp_path, kind
):
    made = Cluster.__new__(Cluster)
    made.monkeypatch, made.folder, made.kind = monkeypatch, tmp_path, kind
    made.here = made.site({})
    folder = tmp_path / "former"

    def words(name):
        """Its flags, with the one directory that both programs have in turn."""
        path = "-storageDataPath="
        found = [word for word in made.words(name) if not word.startswith(path)]
        stores = found != made.words(name)
        return [*found, f"{path}{folder}"] if stores else found

    alone = made.start(kind.store, words(kind.store))
    kind.write(alone.port, "former")
    wait(lambda: kind.count(alone.port, "former") == NUMBER)
    end(alone)
    # The cluster begins with this INFRA node alone: both run beside each other.
    made.here = made.site({"infra-1": {"ip": "127.0.4.9"}})
    front = made.start(kind.store, words(kind.store))
    node = made.start(kind.node, words(kind.node))
    try:
        assert wait(lambda: kind.count(front.port, "former") == NUMBER)
        kind.write(front.port, "later")
        assert wait(lambda: kind.count(front.port, "later") == NUMBER)
    finally:
        front.stop()
        node.stop()


def test_each_program_knows_its_flags(kind):
    hosts = {"infra-1": {"ip": "127.0.4.9"}}
    here = Site({**merging.defaults(GRAINS), "infra_hosts": {"infra-1": {"infra_seq": 1}},
                 "admin_ip": "127.0.4.9", kind.hosts: hosts,
                 f"{kind.node}_options": "-tls -tlsCertFile=/etc/a.crt -tlsKeyFile=/etc/a.key"},
                GRAINS)  # fmt: skip
    for name in (kind.store, kind.node):
        daemon = daemon_arguments.daemons(here)[name]
        flags.validate_flags({**daemon, "program": programs.program(kind.program)})
