"""A machine that Pigsty laid out is taken over in place: what it had and served is there.

The programs are real ones under Pigsty's unit names (see pigsty_site.py). A loop asks the portal,
a metric and a name while the formula is applied, and prints how long each was away.
"""

import json
import time
from pathlib import Path

import pytest
from pigsty_site import ADDRESS, build
from vendors import DISTRO

pytestmark = pytest.mark.soak
HERE = Path(__file__).parent
PILLAR = {
    "infra": {
        "infra_hosts": {ADDRESS: {"infra_seq": 1}},
        **DISTRO,
        "ca_source": "/root/pigsty/files/pki/ca",
        "infra_portal": {
            "home": {"domain": "i.pigsty"},
            "wiki": {"domain": "wiki.pigsty", "endpoint": "127.0.0.1:8428", "auth": True},
        },
        "nginx_users": {"admin": "s3cret"},
        "dns_records": ["${admin_ip} i.pigsty wiki.pigsty"],
        # Its other sources stay, as they do with Pigsty's repo_remove: false.
        "repo_remove": False,
    }
}
MINUTES_AGO = 5  # VictoriaMetrics does not tell of the last half minute yet
LAYOUTS = ["4.5", pytest.param("4.0", marks=pytest.mark.soak)]


@pytest.fixture(scope="module", params=LAYOUTS)
def machine(request, boot_lab):
    machine = boot_lab(pillar=PILLAR).machine("infra-1")
    build(machine, request.param)
    load = ["curl", "-fsS", "--retry", "20", "--retry-connrefused", "--retry-delay", "1"]
    moment = int((time.time() - MINUTES_AGO * 60) * 1000)
    metric = f"pigsty_was_here 42 {moment}"
    machine.run([*load, "--data-binary", metric, "http://127.0.0.1:8428/api/v1/import/prometheus"])
    machine.run([*load, "http://127.0.0.1:8428/internal/force_flush"])
    return machine


@pytest.fixture(scope="module")
def taken(machine, record_testsuite_property):
    """The machine, taken over, with what it had before and what was seen meanwhile."""
    machine.before = {
        path: machine.read(path)
        for path in ("/etc/pki/ca.crt", "/etc/pki/infra.key", "/etc/nginx/conf.d/cert/pigsty.key",
                     "/etc/nginx/conf.d/wiki.conf", "/infra/rules/pgsql.yml")
    }  # fmt: skip
    machine.pid = machine.run(["systemctl", "show", "--property=MainPID", "nginx"]).stdout
    machine.told = machine.apply(test=True, check=False)
    machine.write("/root/outage.py", (HERE / "outage.py").read_text(encoding="utf-8"))
    machine.run(["sh", "-c", "setsid python3 /root/outage.py /root/done >/root/outage 2>&1 &"])
    machine.applied = machine.apply()
    machine.run(["touch", "/root/done"])
    machine.run(["sh", "-c", "until [ -s /root/outage ]; do sleep 0.1; done"], timeout=60)
    machine.seen = json.loads(machine.read("/root/outage"))
    for name, seconds in machine.seen["gaps"].items():
        print(f"{name}: away for {seconds:.1f} s at most")
    return machine


def get(machine, url, *options):
    words = ["curl", "-s", "-o", "-", "-w", "\n%{http_code}", *options, url]
    body, _, code = machine.run(words, check=False).stdout.rpartition("\n")
    return int(code), body


def test_looking_changes_nothing_and_says_what_it_found(taken):
    assert taken.told.ok, taken.told.complaint()
    found = taken.told.changes["infra-legacy-taken-over (infra_legacy.taken_over)"]["found"]
    assert "/etc/nginx/link-cert" in found


def test_nothing_was_away_for_long(taken):
    """Not a promise in seconds: on a busy machine a restart takes what it takes."""
    assert all(count > 10 for count in taken.seen["asked"].values()), taken.seen
    # nginx was reloaded; it never was away.
    assert taken.run(["systemctl", "show", "--property=MainPID", "nginx"]).stdout == taken.pid


def test_metrics_of_before_are_answered(taken):
    query = "http://127.0.0.1:8428/api/v1/query?query=last_over_time(pigsty_was_here[1d])"
    code, body = get(taken, query, "-g")
    assert code == 200
    assert [r["value"][1] for r in json.loads(body)["data"]["result"]] == ["42"]


def test_the_ca_its_certificates_and_keys_are_kept(taken):
    for path in ("/etc/pki/ca.crt", "/etc/pki/infra.key", "/etc/nginx/conf.d/cert/pigsty.key"):
        assert taken.read(path) == taken.before[path]
    assert taken.read("/etc/pki/ca/ca.key") == taken.read("/root/pigsty/files/pki/ca/ca.key")
    https = ["--cacert", "/etc/pki/ca.crt", "--resolve", f"wiki.pigsty:443:{ADDRESS}"]
    assert get(taken, "https://wiki.pigsty/", *https)[0] == 401
    assert taken.run(["readlink", "/www/ca.crt"]).stdout == "/etc/pki/ca.crt\n"


def test_the_password_is_the_same_and_no_longer_in_clear(taken):
    wiki = ["--resolve", f"wiki.pigsty:80:{ADDRESS}", "--resolve", f"wiki.pigsty:443:{ADDRESS}"]
    sign = [*wiki, "--cacert", "/etc/pki/ca.crt", "-u", "admin:s3cret"]
    assert get(taken, "https://wiki.pigsty/", *sign)[0] == 200
    assert get(taken, "http://wiki.pigsty/", *sign)[0] == 301
    assert "s3cret" not in taken.read("/etc/nginx/.htpasswd")


def test_sites_and_servers_of_others_go_on(taken):
    assert get(taken, f"http://{ADDRESS}/docs/index.html") == (200, "mine\n")
    assert get(taken, f"http://{ADDRESS}:8076/") == (200, "own")
    assert "db-1" in taken.read("/etc/nginx/conf.d/haproxy/upstream-db-1.conf")


def test_the_repository_is_taken_as_it_is(taken):
    status = taken.salt_call("infra_repo.status")
    assert status["complete"] is True
    assert get(taken, f"http://{ADDRESS}/pigsty/Packages")[0] == 200


def test_records_of_other_modules_are_answered(taken):
    found = taken.salt_call("infra_dns.query", "pg-test", "A", "127.0.0.1", "53")
    assert found["values"] == ["10.10.10.51"]


def test_targets_and_rules_of_others_are_kept(taken):
    assert "db-1" in taken.read("/infra/targets/node/10.10.10.51.yml")
    assert taken.read("/infra/rules/pgsql.yml") == taken.before["/infra/rules/pgsql.yml"]


def test_what_nobody_needs_any_more_is_gone_and_kept_a_copy_of(taken):
    gone = ["/etc/nginx/link-cert", "/etc/dnsmasq.d/pigsty", "/infra/hosts", "/infra/bin/new",
            "/usr/lib/systemd/system/vmetrics.service"]  # fmt: skip
    assert [p for p in gone if taken.run(["test", "-e", p], check=False).returncode == 0] == []
    kept = "/var/lib/infra/replaced"
    assert (
        taken.read(f"{kept}/etc/nginx/conf.d/wiki.conf")
        == (taken.before["/etc/nginx/conf.d/wiki.conf"])
    )
    assert "OPTS" in taken.read(f"{kept}/etc/default/vmetrics")
    taken.run(["test", "-e", f"{kept}/etc/nginx/link-cert"])


def test_from_then_on_it_is_like_any_other(taken):
    assert taken.apply().changes == {}
    health = taken.salt_call("infra_status.services")
    assert {
        name: row.get("healthy") for name, row in health.items() if row.get("healthy") is False
    } == {}
