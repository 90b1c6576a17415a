"""The whole formula on one machine, with the pillar that `make demo` shows.

The programs are Debian's. Where programs are given (or PACKAGING=upstream), they are the vendor's
packages, and what Debian does not ship is on as well.
"""

import json
from pathlib import Path

import filled
import pytest
import vendors
import yaml
from lab.applied import Applied
from waiting import eventually

from .test_portal import TOOLS, Portal

HERE = Path(__file__).resolve().parent
STORES = filled.ALL if vendors.replaced() else ("vmetrics",)
UNITS = ["systemctl", "show", "--property=Id,InvocationID,NRestarts", "*.service"]


@pytest.fixture(scope="module")
def lab(boot_lab, platform, tmp_path_factory):
    site = boot_lab(platform=platform)
    if not vendors.replaced():
        yield site
        return
    vendor = vendors.repository(tmp_path_factory.mktemp("vendor"))
    parameters = {**vendor.parameters(), **dict.fromkeys(vendors.NOT_SHIPPED, True)}
    site.machine("infra-1").add_pillar("packaging", yaml.safe_dump({"infra": parameters}))
    with vendor.served(site):
        yield site


@pytest.fixture(scope="module")
def machine(lab):
    return lab.machine("infra-1")


def test_on_a_bare_machine_it_tells_what_it_would_do_and_does_nothing(machine):
    told = machine.apply(test=True)
    assert any(result["result"] is None for result in told.values())
    present = machine.run(
        ["ls", "-d", "/etc/nginx", "/etc/pki", "/www", "/data", "/etc/hosts.d", "/var/lib/infra"],
        check=False,
    )
    assert present.stdout == ""
    units = machine.run(["systemctl", "list-units", "--no-legend", "nginx*", "dnsmasq*"]).stdout
    assert units == ""


def test_one_apply_is_enough(machine):
    assert machine.apply().ok


def test_the_second_changes_nothing_and_restarts_nothing(machine):
    before = machine.run(UNITS).stdout
    assert machine.apply().changes == {}
    assert machine.run(UNITS).stdout == before
    assert machine.apply(test=True).changes == {}


REFUSED = {
    "vmalert_options: vmalert refuses it": {"vmalert_options": "-nonsense=1"},
    "vmalert_rules.a: vmalert refuses it": {
        "vmalert_rules": {"a": {"groups": [{"name": "g", "rules": [{"record": "x", "expr": "("}]}]}}
    },
    "alertmanager_receivers.a: amtool refuses it": {
        "alertmanager_receivers": {"a": {"webhook_configs": [{"url": "http://x/", "bogus": 1}]}}
    },
    "vmetrics_scrape_jobs[0] (a): VictoriaMetrics refuses it": {
        "vmetrics_scrape_jobs": [
            {"job_name": "a", "nonsense": 1, "static_configs": [{"targets": ["a:1"]}]}
        ]
    },
    "infra_portal.x.config: nginx refuses": {
        "infra_portal": {
            "x": {"domain": "x.pigsty", "endpoint": "10.0.0.1:80", "config": "nonsense on;"}
        }
    },
    "dns_options[0]: dnsmasq refuses it": {"dns_options": ["nonsense=1"]},
    "node_ntp_servers[0]: chronyd refuses it": {
        "node_ntp_servers": ["pool pool.ntp.org iburst nonsense"]
    },
    "vmetrics_port: port 8099 is taken by python3": {"vmetrics_port": 8099},
}
OWN_UNITS = [*UNITS[:-1], *map("{}.service".format, ("nginx", "dnsmasq", "vmetrics", "vmalert"))]
CHECKSUMS = ["sh", "-c", "find /etc /www /data/infra/rules -type f -exec sha256sum {} + | sort"]


def test_what_a_program_refuses_is_found_before_anything_is_changed(machine):
    """What changes with it is changed nowhere, in no component."""
    machine.run(["systemd-run", "--unit=taker", "python3", "-m", "http.server", "8099"])
    before = machine.run(CHECKSUMS).stdout, machine.run(OWN_UNITS).stdout
    assert before[0].count("\n") > 100
    for expected, change in REFUSED.items():
        good = {"dns_records": ["10.10.10.10 another.pigsty"], "nginx_users": {"a": "password-1"}}
        done = machine.apply(pillar={"infra": {**good, **change}}, check=False)
        assert [title.split(" ")[0] for title in done.failed] == ["infra-preflight-passed"], done
        assert expected in done.complaint()
        assert len(done) < 5
        assert (machine.run(CHECKSUMS).stdout, machine.run(OWN_UNITS).stdout) == before, expected
    machine.run(["systemctl", "stop", "taker"])


THEIRS = """
nginx-config:
  file.managed:
    - name: /etc/nginx/nginx.conf
    - contents: |
        # Managed by another formula.
        events {}
        http { server { listen 8098; } }

time-config:
  file.append:
    - name: /etc/chrony/chrony.conf
    - text: 'maxdistance 3.5'
"""


@pytest.mark.parametrize("order", ["infra,theirs", "theirs,infra"])
def test_another_formula_that_writes_the_same_files_is_named(machine, order):
    """Each of both reports success, and whoever comes last wins, in every run anew."""
    machine.write("/srv/salt/theirs.sls", THEIRS)
    done = machine.apply(order, check=False)
    machine.run(["rm", "/srv/salt/theirs.sls"])
    assert [title.split(" ")[0] for title in done.failed] == ["infra-daemon-units-stable"], done
    assert "/etc/nginx/nginx.conf: something else wrote it in this run" in done.complaint()
    assert "/etc/chrony/chrony.conf: something else wrote it" in done.complaint()
    again = machine.apply(check=False)
    assert again.ok
    assert machine.apply().changes == {}


def test_a_highstate_agrees(machine):
    machine.write("/srv/salt/top.sls", "base:\n  '*':\n    - infra\n")
    told = Applied.of(machine.salt_call("state.highstate", "test=True", check=False))
    machine.run(["rm", "/srv/salt/top.sls"])
    assert told.ok, told.complaint()
    assert told.changes == {}
    assert any("infra-nginx-portal-managed" in key for key in told)


@pytest.mark.soak
def test_an_idle_node_writes_next_to_nothing(lab, machine):
    assert machine.apply().ok  # of the long tests of this file it is the first
    # Nothing is idle while its probes fail: what the demo's portal leads to is started.
    own = [*TOOLS, *(["grafana"] if vendors.replaced() else [])]
    Portal(lab).start_upstreams(own)
    for site in ("web.io", "web.cc"):
        machine.write(f"/www/{site}/index.html", "<title>site</title>a site")
    question = ["-d", 'query=min(probe_success{job="probe"})', "http://127.0.0.1:8428/api/v1/query"]
    assert eventually(lambda: '"1"' in machine.run(["curl", "-sSG", *question]).stdout)
    machine.put(HERE / "written_lines.py", "/root/written_lines.py")
    counted = machine.run(["/opt/salt/bin/python3", "/root/written_lines.py", "30"]).stdout
    lines = json.loads(counted)
    # 20 a minute, of which every probe, scrape and rule has its turn in half of one.
    assert len(lines) < 10, "\n".join(lines)


def test_each_service_starts_again_on_filled_data(machine):
    filled.assert_steady(machine)  # after the start on empty directories
    filled.fill(machine, "whole", STORES)
    machine.run(["systemctl", "restart", *filled.units(machine)])
    filled.assert_steady(machine)
    assert filled.missing(machine, "whole", STORES) == []


def test_everything_comes_back_after_a_power_cut(machine):
    filled.fill(machine, "late", STORES)  # which is in memory still, and may be lost
    machine.kill()
    machine.boot()
    filled.assert_steady(machine)
    assert filled.missing(machine, "whole", STORES) == []
    applied = machine.apply()
    restarted = [title for title in applied.changes if "infra_service.running" not in title]
    assert restarted == []
    assert machine.apply().changes == {}


def test_what_is_switched_off_stops_and_is_back_when_switched_on(machine):
    off = {"infra": {"nginx_enabled": False, "dns_enabled": False}}
    services = ["nginx", "dnsmasq"]
    done = machine.apply(pillar=off)
    assert done.ok, done.complaint()
    active = machine.run(["systemctl", "is-active", *services], check=False).stdout.split()
    assert active == ["inactive", "inactive"]
    enabled = machine.run(["systemctl", "is-enabled", *services], check=False).stdout.split()
    assert enabled == ["disabled", "disabled"]
    ports = "( sport = :80 or sport = :443 or sport = :53 )"
    assert machine.run(["ss", "-Hltun", "src", "10.10.10.10", "and", ports]).stdout == ""
    machine.run(["curl", "-sSf", "http://127.0.0.1:8428/health"])
    assert machine.apply(pillar=off).changes == {}
    told = machine.salt_call("infra_status.services")
    assert {name: told[name]["running"] for name in ("nginx", "dns", "vmetrics")} == {
        "nginx": False,
        "dns": False,
        "vmetrics": True,
    }
    assert machine.apply().ok
    active = machine.run(["systemctl", "is-active", *services], check=False).stdout.split()
    assert active == ["active", "active"]
    machine.run(["curl", "-sSf", "-o", "/dev/null", "http://10.10.10.10/"])
    assert machine.apply().changes == {}
