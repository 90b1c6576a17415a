"""A cluster of VictoriaMetrics for real: three members store, one of them is lost and comes back.

Debian has no package of these programs: the tests run where they are given (PROGRAMS=DIR).
"""

import json
import time
import urllib.parse

import programs
import pytest
from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.daemon import flags, local_ports
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from ports import free_port
from support.real_daemon import RealDaemon

NAMES = ("vmstorage", "vminsert", "vmselect")
pytestmark = pytest.mark.skipif(
    not set(NAMES) <= set(programs.given()), reason="no cluster is given (PROGRAMS=DIR)"
)
GRAINS = {"id": "infra-1", "ipv4": ["127.0.0.1"], "os_family": "Debian", "kernel": "Linux",
          "cpuarch": "x86_64", "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
SAMPLES = 300


def wait(question, seconds=90):
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answer


class Cluster:
    """Three members on loopback addresses, and an INFRA node's vminsert and vmselect."""

    def __init__(self, monkeypatch, folder, replicas):
        self.monkeypatch, self.folder = monkeypatch, folder
        self.hosts = [f"127.0.3.{number}" for number in (1, 2, 3)]
        names = (*NAMES, "vmstorage_insert", "vmstorage_select")
        ports = {f"{name}_port": free_port() for name in names}
        self.here = Site(
            {
                **merging.defaults(GRAINS),
                **ports,
                "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": "127.0.3.9"}},
                "admin_ip": "127.0.3.9",
                "vmetrics_enabled": False,
                "vmcluster_hosts": {host: {} for host in self.hosts},
                "vmcluster_replicas": replicas,
            },
            GRAINS,
        )
        self.stores = {host: self.store(host) for host in self.hosts}
        self.insert = self.start("vminsert", folder)
        self.select = self.start("vmselect", folder)

    def start(self, name, folder):
        words = flags.command_line(daemon_arguments.daemons(self.here)[name])[1:]
        port = self.here[f"{name}_port"]
        program = programs.program(name)
        return RealDaemon(self.monkeypatch, folder, name, program, words, port=port)

    def store(self, host):
        folder = self.folder / host
        folder.mkdir(exist_ok=True)
        words = flags.command_line(daemon_arguments.daemons(self.here)["vmstorage"])[1:]
        own = free_port()
        changed = []
        for word in words:
            name, _, value = word.partition("=")
            if name == "-httpListenAddr":
                word = f"{name}=127.0.0.1:{own}"
            elif name in ("-vminsertAddr", "-vmselectAddr"):
                word = f"{name}={host}:{value.rpartition(':')[2]}"
            changed.append(word.replace("/data/vmstorage", f"{folder}/data"))
        return RealDaemon(
            self.monkeypatch, folder, "vmstorage", programs.program("vmstorage"), changed, port=own
        )

    def write(self, text):
        place = "/insert/0/prometheus/api/v1/import/prometheus"
        code, body = local_ports.request(self.insert.port, place, method="POST", body=text)
        assert code == 204, body

    def count(self, metric):
        """How many series the cluster answers, and whether the answer is whole."""
        query = urllib.parse.quote(f"count({metric})")
        _code, body = local_ports.request(
            self.select.port, f"/select/0/prometheus/api/v1/query?query={query}&nocache=1"
        )
        answer = json.loads(body)
        if answer["status"] != "success":
            return 0, False
        rows = answer["data"]["result"]
        return (int(rows[0]["value"][1]) if rows else 0), not answer.get("isPartial")

    def stop(self):
        for daemon in (*self.stores.values(), self.insert, self.select):
            daemon.stop()


@pytest.fixture(params=[1, 2], ids=["one copy", "two copies"])
def replicas(request):
    return request.param


@pytest.fixture
def cluster(monkeypatch, tmp_path, replicas):
    made = Cluster(monkeypatch, tmp_path, replicas)
    yield made
    made.stop()


def lines(metric):
    return "".join(f'{metric}{{number="{number}"}} {number}\n' for number in range(SAMPLES))


def test_one_of_three_is_lost_and_no_sample_with_two_copies(cluster, replicas):
    cluster.write(lines("before"))
    assert wait(lambda: cluster.count("before") == (SAMPLES, True))
    lost = cluster.hosts[0]
    cluster.stores[lost].stop()
    # What is written now goes to those that are left.
    cluster.write(lines("meanwhile"))
    wait(lambda: cluster.count("meanwhile")[0] == SAMPLES)
    found, is_whole = cluster.count("before")
    if replicas == 2:
        assert wait(lambda: cluster.count("before") == (SAMPLES, True))
    else:
        assert (0 < found < SAMPLES, is_whole) == (True, False)
    cluster.stores[lost] = cluster.store(lost)
    assert wait(lambda: cluster.count("before") == (SAMPLES, True))
    assert wait(lambda: cluster.count("meanwhile") == (SAMPLES, True))


@pytest.mark.parametrize("name", NAMES)
def test_each_program_knows_its_flags(name, monkeypatch):
    hosts = {"infra-1": {"ip": "127.0.3.9"}}
    here = Site({**merging.defaults(GRAINS), "infra_hosts": {"infra-1": {"infra_seq": 1}},
                 "admin_ip": "127.0.3.9", "vmcluster_hosts": hosts}, GRAINS)  # fmt: skip
    daemon = {**daemon_arguments.daemons(here)[name], "program": programs.program(name)}
    flags.validate_flags(daemon)
