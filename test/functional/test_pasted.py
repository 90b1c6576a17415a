"""Files of other projects, pasted whole: real programs take what the formula makes of them.

The texts are of this project; their shapes are those of awesome-prometheus-alerts, of the node
mixin, and of Alertmanager's simple.yml.
"""

import json
import subprocess
import time
from pathlib import Path

import programs
import pytest
import yaml
from infra_formula.errors import InfraError
from infra_formula.monitoring import alertmanager, arguments, vmalert
from infra_formula.parameters import merging, schema
from infra_formula.parameters.site import Site
from support.real_daemon import RealDaemon

GRAINS = {"id": "infra-1", "ipv4": ["127.0.0.1"], "os_family": "Debian", "kernel": "Linux",
          "cpuarch": "x86_64", "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
PASTED = Path(__file__).parent / "cases/pasted"
AWESOME, MIXIN, SIMPLE = (
    (PASTED / f"{name}.yml").read_text(encoding="utf-8") for name in ("awesome", "mixin", "simple")
)


@pytest.mark.parametrize("text", [AWESOME, MIXIN], ids=["awesome", "mixin"])
def test_pasted_rules_are_evaluated_by_a_real_vmalert(monkeypatch, tmp_path, text):
    pasted = yaml.safe_load(text)
    assert not schema.check("x", {"pasted": pasted}, merging.rules()["vmalert_rules"])
    assert not vmalert.problems({"vmalert_rules": {"pasted": pasted}})
    (tmp_path / "pasted.yml").write_text(yaml.safe_dump(pasted))
    vmalert.check({"site-pasted.yml": {"text": text}}, {"program": programs.program("vmalert"),
                                                       "options": ""})  # fmt: skip
    store = RealDaemon(
        monkeypatch, tmp_path, "vmetrics", programs.program("victoria-metrics"),
        ["-storageDataPath=data", "-httpListenAddr=127.0.0.1:{port}"],
    )  # fmt: skip
    rules = RealDaemon(
        monkeypatch, tmp_path, "vmalert", programs.program("vmalert"),
        ["-rule=pasted.yml", f"-datasource.url=http://127.0.0.1:{store.port}",
         f"-remoteWrite.url=http://127.0.0.1:{store.port}", "-evaluationInterval=1s",
         "-notifier.url=http://127.0.0.1:1", "-httpListenAddr=127.0.0.1:{port}"],
    )  # fmt: skip
    try:
        wanted = {r.get("alert") or r["record"] for g in pasted["groups"] for r in g["rules"]}
        deadline = time.monotonic() + 60

        def evaluated():
            url = f"http://127.0.0.1:{rules.port}/api/v1/rules"
            printed = subprocess.run(["curl", "-fsS", url], capture_output=True, check=True,
                                     timeout=30).stdout  # fmt: skip
            found = [r for g in json.loads(printed)["data"]["groups"] for r in g["rules"]]
            return {r["name"]: r.get("lastError", "") for r in found
                    if not r["lastEvaluation"].startswith("0001")}  # fmt: skip

        while set(found := evaluated()) != wanted and time.monotonic() < deadline:
            time.sleep(0.3)
        assert found == dict.fromkeys(wanted, "")
    finally:
        rules.stop()
        store.stop()


def site(**parameters):
    hosts = {"infra-1": {"infra_seq": 1, "ip": "10.0.0.1"}}
    values = {**merging.defaults(GRAINS), "infra_hosts": hosts, "admin_ip": "10.0.0.1"}
    return Site({**values, **parameters}, GRAINS)


def simple(**changes):
    given = {f"alertmanager_{key}": value for key, value in yaml.safe_load(SIMPLE).items()}
    return {**given, **changes}


def test_alertmanagers_own_example_is_taken_key_by_key(tmp_path):
    given = simple()
    for name, value in given.items():
        assert not schema.check(name, value, merging.rules()[name])
    assert not alertmanager.problems(given)
    made = alertmanager.config(arguments.alertmanager(site(**given)))
    path = tmp_path / "am.yml"
    path.write_text(yaml.safe_dump(made))
    amtool = programs.program("amtool")
    subprocess.run([amtool, "check-config", path], check=True, capture_output=True, timeout=60)
    for labels, receiver in (
        (["service=foo1", "severity=critical"], "team-X-pager"),
        (["service=foo2"], "team-X-mails"),
        (["service=database", "owner=team-X"], "team-X-pager"),
        (["service=database"], "team-DB-pager"),
        (["service=other"], "team-X-mails"),
    ):
        words = [amtool, "config", "routes", "test", f"--config.file={path}", *labels]
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() == receiver, labels


@pytest.mark.parametrize(
    ("receivers", "message"),
    [
        ([{"email_configs": [{"to": "a@b"}]}], "alertmanager_receivers[0].name: expected"),
        ([{"name": "a", "mail": {}}, {"name": "a", "mail": {}}], "alertmanager_receivers[1].name"),
        ([{"name": 7}], "alertmanager_receivers[0].name: expected"),
        ([{"name": "a"}], "alertmanager_receivers[0]: expected an integration"),
        ([{"name": "a", "emial_configs_": []}], "alertmanager_receivers[0].emial_configs_"),
    ],
)
def test_a_list_of_receivers_with_a_fault_is_refused_by_its_key(receivers, message):
    found = alertmanager.problems({"alertmanager_receivers": receivers})
    assert [line for line in found if line.startswith(message)], found


def test_a_pasted_rule_with_a_fault_is_refused():
    pasted = yaml.safe_load(AWESOME)
    pasted["groups"][0]["rules"][0]["expr"] = "sum by ("
    daemon = {"program": programs.program("vmalert"), "options": ""}
    with pytest.raises(InfraError, match="HostOutOfMemory"):
        vmalert.check({"site-pasted.yml": {"text": yaml.safe_dump(pasted)}}, daemon)
