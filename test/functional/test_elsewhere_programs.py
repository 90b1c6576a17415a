"""A store and an Alertmanager of the site's own: rules and alerts go there."""

import json
import time

import programs
import pytest
from infra_formula.daemon import arguments, local_ports
from infra_formula.monitoring import alertmanager
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from support.real_daemon import RealDaemon

GRAINS = {"id": "infra-1", "ipv4": ["127.0.0.1"], "os_family": "Debian", "kernel": "Linux",
          "cpuarch": "x86_64", "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
RULES = """
groups:
- name: shop
  rules:
  - {record: shop_up, expr: vector(7)}
  - {alert: ShopDown, expr: vector(1), labels: {severity: CRIT}}
"""
STORES = {
    "VictoriaMetrics": (
        lambda: programs.program("victoria-metrics"),
        ["-storageDataPath=data", "-httpListenAddr=127.0.0.1:{port}", "-search.latencyOffset=0s"],
        {"health": "/health"},
    ),
    "Prometheus": (
        lambda: str(programs.unpacked("prometheus", "") / "usr/bin/prometheus"),
        ["--config.file=prometheus.yml", "--storage.tsdb.path=data",
         "--web.enable-remote-write-receiver", "--web.listen-address=127.0.0.1:{port}"],
        {"health": "/-/healthy"},
    ),
}  # fmt: skip


def flags(store, receiver):
    """The flags of vmalert that say where the parts elsewhere are."""
    hosts = {"infra-1": {"infra_seq": 1, "ip": "10.0.0.1"}}
    here = Site(
        {
            **merging.defaults(GRAINS), "infra_hosts": hosts, "admin_ip": "10.0.0.1",
            "vmetrics_enabled": False, "vmetrics_url": f"http://127.0.0.1:{store}/",
            "alertmanager_enabled": False, "alertmanager_urls": [f"http://127.0.0.1:{receiver}"],
        },
        GRAINS,
    )  # fmt: skip
    texts = [flag["text"] for flag in arguments.daemons(here)["vmalert"]["flags"]]
    return [text for text in texts if ".url=http://127.0.0.1" in text]


def wait(question, seconds=60):
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answer


@pytest.mark.parametrize("kind", STORES)
def test_rules_are_evaluated_in_the_store_and_alerts_arrive(monkeypatch, tmp_path, kind):
    path, arguments_of_store, options = STORES[kind]
    (tmp_path / "prometheus.yml").write_text("{}\n")
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "am.yml").write_text("route: {receiver: a}\nreceivers: [{name: a}]\n")
    store = RealDaemon(monkeypatch, tmp_path, "vmetrics", path(), arguments_of_store, **options)
    receiver = RealDaemon(
        monkeypatch, tmp_path, "alertmanager", programs.program("alertmanager"),
        ["--config.file=am.yml", "--storage.path=alerts", "--cluster.listen-address=",
         "--web.listen-address=127.0.0.1:{port}"],
    )  # fmt: skip
    rules = RealDaemon(
        monkeypatch, tmp_path, "vmalert", programs.program("vmalert"),
        [*flags(store.port, receiver.port), "-rule=rules.yml", "-evaluationInterval=1s",
         "-remoteWrite.flushInterval=1s", "-httpListenAddr=127.0.0.1:{port}"],
    )  # fmt: skip

    def recorded():
        _code, body = local_ports.request(store.port, "/api/v1/query?query=shop_up")
        return json.loads(body)["data"]["result"]

    assert wait(recorded)[0]["value"][1] == "7"
    (alert,) = wait(lambda: alertmanager.alerts(receiver.port))
    assert alert["labels"]["alertname"] == "ShopDown"
    for running in (rules, receiver, store):
        running.stop()
