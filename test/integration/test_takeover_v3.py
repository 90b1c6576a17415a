"""A machine of Pigsty 3 is taken over: what can be kept is, what cannot is named and stays.

Prometheus is real, with blocks of days before and a head of its own; see pigsty3_site.py. The
pillar is that of its inventory, converted.
"""

import json

import pytest
from infra_formula.pigsty import conversion
from pigsty3_site import ADDRESS, DAYS, build
from vendors import DISTRO

from tools import formula

pytestmark = pytest.mark.soak
INVENTORY = """
all:
  children:
    infra: {hosts: {10.10.10.10: {infra_seq: 1}}}
    pg-meta:
      hosts: {10.10.10.10: {pg_seq: 1, pg_role: primary}}
      vars: {pg_cluster: pg-meta}
    db:
      hosts: {10.10.10.51: {pg_seq: 1, pg_role: primary}}
      vars: {pg_cluster: db}
  vars:
    version: v3.6.1
    admin_ip: 10.10.10.10
    prometheus_enabled: true
    prometheus_options: '--storage.tsdb.retention.time=15d'
"""


def pillar():
    pillars, _ = conversion.from_text(formula.minion(), INVENTORY)
    own = {"ca_source": "/root/pigsty/files/pki/ca", "repo_remove": False}
    return {**pillars, "infra": {**pillars["infra"], **DISTRO, **own}}


@pytest.fixture(scope="module")
def machine(boot_lab):
    machine = boot_lab(pillar=pillar()).machine("infra-1")
    build(machine)
    wait(machine, "http://127.0.0.1:9090/-/ready")
    wait(machine, "http://127.0.0.1:9093/-/ready")
    machine.write("/etc/prometheus/rules/broken.yml", "groups: [{name: x, rules: [{expr: ((}]}]\n")
    machine.run(["ln", "-s", "/etc/shadow", "/etc/prometheus/rules/link.yml"])
    silence = {
        "matchers": [{"name": "ins", "value": "db-1", "isRegex": False}],
        "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z",
        "createdBy": "ops", "comment": "moved",
    }  # fmt: skip
    machine.run(["curl", "-fsS", "-H", "Content-Type: application/json", "-d", json.dumps(silence),
                 "http://127.0.0.1:9093/api/v2/silences"])  # fmt: skip
    return machine


def wait(machine, url):
    machine.run(["curl", "-fsS", "-o", "/dev/null", "--retry", "60", "--retry-all-errors",
                 "--retry-delay", "1", url])  # fmt: skip


def tree(machine, path):
    """All files below a directory, each with its sum."""
    found = machine.run(["sh", "-c", f"find {path} -type f ! -path '*/wal/*' ! -name lock "
                         "! -name '*chunks_head*' ! -path '*/chunks_head/*' "
                         "! -name queries.active -exec sha256sum {} +"])  # fmt: skip
    return found.stdout


@pytest.fixture(scope="module")
def taken(machine):
    machine.before = {path: tree(machine, path) for path in KEPT}
    machine.pid = machine.run(["systemctl", "show", "--property=MainPID", "nginx"]).stdout
    machine.preview = machine.apply(test=True, check=False)
    machine.applied = machine.apply(check=False)
    return machine


KEPT = ("/data/loki", "/var/lib/grafana", "/www/docs", "/www/pigsty", "/etc/hosts.d/pg-test")


def get(machine, url, *options):
    words = ["curl", "-s", "-g", "-o", "-", "-w", "\n%{http_code}", *options, url]
    body, _, code = machine.run(words, check=False).stdout.rpartition("\n")
    return int(code), body


def query(machine, port, expression):
    code, body = get(machine, f"http://127.0.0.1:{port}/api/v1/query?query={expression}")
    assert code == 200, body
    return [float(row["value"][1]) for row in json.loads(body)["data"]["result"]]


def test_the_preview_says_what_goes_where(taken):
    assert taken.preview.ok, taken.preview.complaint()
    copied = {k: v for state, c in taken.preview.changes.items() if "carried" in state
              for k, v in c.items()}  # fmt: skip
    assert "/infra/targets/node/10.10.10.51.yml" in {p.replace("/data/infra", "/infra")
                                                     for p in copied}  # fmt: skip


def test_it_is_applied_once(taken):
    assert taken.applied.ok, taken.applied.complaint()
    assert taken.apply().changes == {}


def test_what_cannot_be_taken_along_is_named_and_stays(taken):
    warned = "\n".join(w for row in taken.applied.values() for w in row.get("warnings", []))
    for unit, data in (("prometheus", "/data/prometheus/data"), ("loki", "/data/loki"),
                       ("promtail", ""), ("pushgateway", "")):  # fmt: skip
        assert f"{unit}.service stays as it is" in warned
        assert data in warned
        assert taken.run(["systemctl", "is-active", unit]).stdout == "active\n"
    for path, sums in taken.before.items():
        assert tree(taken, path) == sums
    assert "/etc/prometheus/rules/broken.yml stays behind" in warned
    assert "/etc/prometheus/rules/link.yml stays behind: it is a symbolic link" in warned


def test_prometheus_goes_on_and_answers_from_its_data(taken):
    assert query(taken, 9090, "count_over_time(pigsty_was_here[30d])") == [DAYS * 24 - 3]


def test_every_name_answers(taken):
    for name, status in (("h.pigsty", 200), ("p.pigsty", 200), ("a.pigsty", 200)):
        found = get(taken, f"https://{name}/", "--cacert", "/etc/pki/ca.crt", "-L",
                    "--resolve", f"{name}:443:{ADDRESS}")  # fmt: skip
        assert found[0] == status, name
    assert get(taken, "https://g.pigsty/", "--cacert", "/etc/pki/ca.crt",
               "--resolve", f"g.pigsty:443:{ADDRESS}")[0] == 502  # fmt: skip
    for name in ("h.pigsty", "p.pigsty", "lab.pigsty", "wiki.pigsty"):
        assert taken.salt_call("infra_dns.query", name)["values"] == [ADDRESS]
    assert taken.salt_call("infra_dns.query", "pg-test")["values"] == ["10.10.10.51"]
    assert get(taken, f"http://{ADDRESS}:8076/") == (200, "own")
    assert get(taken, f"http://{ADDRESS}/docs/index.html") == (200, "mine\n")
    assert get(taken, f"http://{ADDRESS}/pigsty/Packages")[0] == 200
    assert taken.run(["systemctl", "show", "--property=MainPID", "nginx"]).stdout == taken.pid


def test_silences_are_kept(taken):
    code, body = get(taken, "http://127.0.0.1:9059/api/v2/silences")
    assert code == 200, body
    assert [silence["comment"] for silence in json.loads(body)] == ["moved"]


def test_targets_and_rules_of_other_modules_are_taken_along(taken):
    assert "db-1" in taken.read("/infra/targets/node/10.10.10.51.yml")
    assert "9630" in taken.read("/infra/targets/pgsql/db-1.yml")
    for name in ("pgsql", "etcd", "mine"):
        assert f"x:{name}" in taken.read(f"/infra/rules/{name}.yml")
    code, body = get(taken, "http://127.0.0.1:8880/api/v1/rules")
    assert code == 200, body
    groups = {group["name"] for group in json.loads(body)["data"]["groups"]}
    assert {"pgsql", "etcd", "mine"} <= groups
    for gone in ("rules/broken.yml", "rules/link.yml", "targets/pgsql/pg-meta-1.yml"):  # fmt: skip
        assert taken.run(["test", "-e", f"/infra/{gone}"], check=False).returncode, gone


def test_what_was_removed_here_stays_removed(taken):
    taken.run(["rm", "/data/infra/rules/mine.yml", "/data/infra/targets/pgsql/db-1.yml"])
    assert taken.apply().changes == {}


def test_a_port_that_prometheus_holds_is_refused_by_name(taken):
    given = pillar()
    given["infra"]["vmetrics_port"] = 9090
    refused = taken.apply(pillar=given, check=False)
    assert not refused.ok
    text = refused.complaint()
    assert "vmetrics_port: port 9090 is taken by prometheus" in text
    assert "stop it" in text
    assert query(taken, 9090, "count_over_time(pigsty_was_here[30d])")


def test_the_metrics_of_before_are_imported_as_the_document_says(taken):
    """Commands of docs/migrating-from-pigsty.md."""
    taken.run(["systemctl", "disable", "--now", "prometheus", "promtail", "pushgateway"])
    command = (
        "vmctl prometheus -s --prom-snapshot=/data/prometheus/data --vm-addr=http://127.0.0.1:8428"
    )
    taken.run(["script", "-qec", command, "/dev/null"])  # it draws a bar of progress
    get(taken, "http://127.0.0.1:8428/internal/force_flush")
    expected = DAYS * 24 - 3
    assert query(taken, 8428, "count_over_time(pigsty_was_here[30d])") == [expected]
    assert taken.apply().changes == {}
