"""An INFRA node whose logs and traces are on two storage nodes, of which it is one itself.

Debian has no package of these programs: the tests run where they are given (PROGRAMS=DIR).
"""

import json
import urllib.parse
from dataclasses import dataclass
from typing import Any

import programs
import pytest
import traces
import vendors
from authority import authority
from lab.suites import MachineSpec
from waiting import eventually

NAMES = {"victoria-logs", "victoria-traces"}
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(
        not set(programs.given()) >= NAMES,
        reason="neither VictoriaLogs nor VictoriaTraces is given (PROGRAMS=DIR)",
    ),
]
INFRA = "10.10.10.10"
STORE = "10.10.10.31"
OFF = ("alertmanager", "blackbox", "dns", "nginx", "nginx_exporter", "node_ntp", "vmalert")
LINES = 90
STORAGE_NODES = ("vlstorage", "vtstorage")
PROGRAMS = ("vlogs", "vtraces", *STORAGE_NODES)


@dataclass
class Site:
    """The machines, and the pillars without and with storage nodes."""

    lab: Any
    alone: dict
    clustered: dict

    @property
    def infra(self):
        return self.lab.machine("infra-1")

    @property
    def store(self):
        return self.lab.machine("store-1")

    def set_pillar(self, pillar):
        for machine in self.lab.machines:
            machine.set_pillar(pillar)


def pillar(common, hosts):
    return {
        "infra": {
            "infra_hosts": {"infra-1": {"infra_seq": 1, "ip": INFRA}},
            **common,
            **{f"{name}_enabled": False for name in OFF},
            **dict.fromkeys(vendors.NOT_SHIPPED, False),
            "vlogs_enabled": True,
            "vtraces_enabled": True,
            "vlcluster_hosts": hosts,
            "vtcluster_hosts": hosts,
        }
    }


@pytest.fixture(scope="module")
def site(boot_lab, tmp_path_factory):
    vendor = vendors.repository(tmp_path_factory.mktemp("vendor"))
    common = {**vendor.parameters(), **authority(tmp_path_factory.mktemp("ca"))}
    machines = [MachineSpec("infra-1", INFRA), MachineSpec("store-1", STORE)]
    hosts = {"infra-1": {"ip": INFRA}, "store-1": {"ip": STORE}}
    alone, clustered = pillar(common, {}), pillar(common, hosts)
    booted = boot_lab(pillar=alone, machines=machines)
    with vendor.served(booted):
        yield Site(booted, alone, clustered)


def curl(machine, url, *words):
    return machine.run(["curl", "-s", "-m", "30", "-w", "\n%{http_code}", *words, url]).stdout


def send_logs(machine, batch):
    rows = [
        json.dumps({"message": "x", "batch": batch, "app": f"{batch}-{number}", "time": "0"})
        for number in range(LINES)
    ]
    machine.write("/root/lines", "\n".join(rows) + "\n")
    query = "_stream_fields=app&_msg_field=message&_time_field=time"
    words = ("--data-binary", "@/root/lines", "-H", "Content-Type: application/json")
    answer = curl(machine, f"http://127.0.0.1:9428/insert/jsonline?{query}", *words)
    assert answer.endswith("\n200"), answer


def logs(machine, batch, address="127.0.0.1:9428"):
    """How many lines of a batch are answered; of an error, its code, negative."""
    query = urllib.parse.quote(f"batch:={batch}")
    answer = curl(machine, f"http://{address}/select/logsql/query?query={query}")
    text, _, code = answer.rpartition("\n")
    return len(text.splitlines()) if code == "200" else -int(code)


def send_trace(machine, service):
    machine.write("/root/trace", traces.request(service))
    answer = curl(machine, f"http://127.0.0.1:10428{traces.PATH}", "--data-binary", "@/root/trace",
                  "-H", f"Content-Type: {traces.TYPE}")  # fmt: skip
    assert answer.endswith("\n200"), answer


def services(machine):
    answer = curl(machine, "http://127.0.0.1:10428/select/jaeger/api/services")
    text, _, code = answer.rpartition("\n")
    return set(json.loads(text)["data"] or []) if code == "200" else {f"error {code}"}


def test_an_infra_node_alone_stores_itself(site):
    machine = site.infra
    machine.apply()
    send_logs(machine, "alone")
    send_trace(machine, "alone")
    assert eventually(lambda: logs(machine, "alone") == LINES)
    assert eventually(lambda: "alone" in services(machine))


def test_the_storage_nodes_come_and_what_was_stored_before_is_answered(site):
    machine = site.infra
    site.set_pillar(site.clustered)
    site.store.apply()
    machine.apply()
    for each in site.lab.machines:
        assert each.apply().changes == {}
    rows = machine.salt_call("infra_status.services", check=False)
    assert all(rows[name]["healthy"] for name in PROGRAMS), rows
    rows = site.store.salt_call("infra_status.services", check=False)
    assert rows["vlstorage"]["healthy"]
    assert rows["vtstorage"]["healthy"]
    assert "vlogs" not in rows
    assert eventually(lambda: logs(machine, "alone") == LINES)
    assert eventually(lambda: "alone" in services(machine))


def test_lines_are_divided_among_the_storage_nodes_which_are_scraped(site):
    machine = site.infra
    send_logs(machine, "divided")
    assert eventually(lambda: logs(machine, "divided") == LINES)
    places = ["127.0.0.1:9491", f"{STORE}:9491"]
    parts = [logs(machine, "divided", place) for place in places]
    assert sum(parts) == LINES
    assert min(parts) > 0

    def scraped():
        query = urllib.parse.quote('up{cls=~"vlstorage|vtstorage"} == 1')
        answer = curl(machine, f"http://127.0.0.1:8428/api/v1/query?nocache=1&query={query}")
        return len(json.loads(answer.rpartition("\n")[0])["data"]["result"]) == 4

    assert eventually(scraped)


def test_one_is_lost_writing_goes_on_and_nothing_is_missing_when_it_is_back(site):
    machine, lost = site.infra, site.store
    # What a storage node has taken in the last seconds is on its disk when it is stopped.
    lost.run(["systemctl", "stop", *STORAGE_NODES])
    lost.kill()
    assert eventually(lambda: logs(machine, "divided") in (-400, -502))
    send_logs(machine, "meanwhile")
    send_trace(machine, "meanwhile")
    assert eventually(lambda: logs(machine, "meanwhile", "127.0.0.1:9491") == LINES)
    lost.boot()
    assert eventually(lambda: logs(machine, "divided") == LINES, 240)
    assert eventually(lambda: logs(machine, "meanwhile") == LINES)
    assert eventually(lambda: {"alone", "meanwhile"} <= services(machine))
    assert lost.apply().changes == {}


def test_without_the_parameter_the_infra_node_stores_itself_again(site):
    machine = site.infra
    site.set_pillar(site.alone)
    machine.apply()
    assert machine.apply().changes == {}
    assert eventually(lambda: logs(machine, "alone") == LINES)
    assert "alone" in services(machine)
    store = site.store
    store.apply()
    for unit in STORAGE_NODES:
        state = store.run(["systemctl", "is-active", unit], check=False).stdout.strip()
        assert state != "active"
    assert store.run(["ls", "/data/vlstorage"]).stdout.strip()


def test_a_storage_node_is_removed_with_its_data_if_that_is_confirmed(site):
    store = site.store
    asked = {
        "infra_safeguard": False,
        "infra_remove": ["service", "config", "package", "data"],
        "infra_remove_confirm": ["/data/vlstorage"],
    }
    store.apply("infra.vlstorage.clean", pillar={"infra": asked})
    assert store.run(["ls", "/data/vlstorage"], check=False).returncode
    assert store.run(["ls", "/data/vtstorage"]).stdout.strip()
