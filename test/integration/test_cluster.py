"""Three INFRA nodes that store metrics as a cluster, of which one is lost.

Debian has no package of the cluster's programs: the tests run where they are given (PROGRAMS=DIR).
"""

import json
import time
import urllib.parse

import programs
import pytest
import vendors
from authority import authority
from lab.suites import MachineSpec
from waiting import eventually

NAMES = {"vmstorage", "vminsert", "vmselect", "vmagent"}
pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(
        not set(programs.given()) >= NAMES, reason="no cluster is given (PROGRAMS=DIR)"
    ),
]
NODES = {f"infra-{number}": f"10.10.10.{number + 9}" for number in (1, 2, 3)}
LOST = "infra-2"


@pytest.fixture(scope="module")
def lab(boot_lab, tmp_path_factory):
    vendor = vendors.repository(tmp_path_factory.mktemp("vendor"))
    pillar = {
        "infra": {
            "infra_hosts": {
                name: {"infra_seq": number, "ip": ip}
                for number, (name, ip) in enumerate(NODES.items(), 1)
            },
            **vendor.parameters(),
            **dict.fromkeys(vendors.NOT_SHIPPED, False),
            **authority(tmp_path_factory.mktemp("ca")),
            "vmetrics_enabled": False,
            "vmcluster_hosts": {name: {"ip": ip} for name, ip in NODES.items()},
            "vmcluster_replicas": 2,
            "vmagent_replicas": 2,
            "vmetrics_scrape_interval": "5s",
            "vmetrics_scrape_timeout": "4s",
            "vmetrics_targets": {"infra": [
                {"targets": [f"{ip}:9100"], "labels": {"ins": f"extra-{name}", "cls": "extra"}}
                for name, ip in NODES.items()
            ]},
        }
    }  # fmt: skip
    machines = [MachineSpec(name, ip) for name, ip in NODES.items()]
    site = boot_lab(pillar=pillar, machines=machines)
    with vendor.served(site):
        yield site


def ask(machine, path):
    printed = machine.run(
        ["curl", "-s", "-m", "20", f"http://127.0.0.1:8481/select/0{path}"]
    ).stdout
    return json.loads(printed)["data"]


def query(machine, text):
    return ask(machine, f"/prometheus/api/v1/query?nocache=1&query={urllib.parse.quote(text)}")[
        "result"
    ]


def test_one_apply_makes_each_node_a_member(lab):
    for machine in lab.machines:
        machine.apply()
    for machine in lab.machines:
        assert machine.apply().changes == {}
        rows = machine.salt_call("infra_status.services", check=False)
        assert all(rows[name]["healthy"] for name in NAMES), rows
        assert rows["vmetrics"]["healthy"]


def test_each_node_answers_what_all_have_scraped(lab):
    for machine in lab.machines:
        assert eventually(lambda m=machine: len(query(m, 'up{cls="extra"} == 1')) == 3)
        members = eventually(
            lambda m=machine: query(m, 'up{cls=~"vmstorage|vminsert|vmselect"} == 1')
        )
        assert len(members) == 9
    first = lab.machine("infra-1")
    code = ["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: i.pigsty",
            "https://127.0.0.1/vmetrics/api/v1/query?query=up"]  # fmt: skip
    assert first.run(code).stdout == "200"


def test_a_lost_node_leaves_no_gap_and_its_alert_comes_once(lab):
    left = [machine for machine in lab.machines if machine.name != LOST]
    eventually(lambda: query(left[0], 'count_over_time(up{ins="extra-infra-1"}[1m]) >= 8'), 240)
    begun = time.time()
    lab.machine(LOST).kill()

    def firing():
        printed = left[0].run(["curl", "-s", "http://127.0.0.1:9059/api/v2/alerts"]).stdout
        return [a for a in json.loads(printed) if a["labels"].get("ins") == f"extra-{LOST}"]

    assert eventually(firing, 300)
    eventually(lambda: time.time() > begun + 120, 240)
    for machine in left:
        for name in NODES:
            if name == LOST:
                continue
            start, end = begun - 30, time.time() - 40
            data = ask(
                machine,
                f"/prometheus/api/v1/query_range?nocache=1&start={start}&end={end}&step=5s&query="
                + urllib.parse.quote(f'count_over_time(up{{ins="extra-{name}"}}[15s])'),
            )
            (row,) = data["result"]
            steps = int((end - start) // 5) + 1
            assert len(row["values"]) >= steps - 1, "samples are missing"
    names = [json.dumps(alert["labels"], sort_keys=True) for alert in firing()]
    assert len(names) == len(set(names))


def test_it_comes_back_and_catches_up(lab):
    machine = lab.machine(LOST)
    machine.boot()
    assert eventually(lambda: len(query(machine, 'up{cls="extra"} == 1')) == 3, 240)
    assert machine.apply().changes == {}
