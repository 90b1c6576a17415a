"""Metrics, logs, traces and alerts of a site with two INFRA nodes, with the vendor's package names.

The programs are real but for VictoriaLogs, VictoriaTraces, Vector and Grafana: unless real ones are
given, stand-ins of them are installed (test/lab/standins). One lab goes through the tests of this
file in their order.
"""

import json
import time
from pathlib import Path
from urllib.parse import quote

import filled
import pytest
import traces
import vendors
from authority import authority
from lab.paths import CHECKOUT
from lab.suites import MachineSpec
from waiting import eventually

INFRA = {"infra-1": "10.10.10.10", "infra-2": "10.10.10.11"}
NODE = ("node-1", "10.10.10.21")
UNITS = {
    "vmetrics": (8428, "/health", "/vmetrics/health"),
    "vlogs": (9428, "/health", "/vlogs/health"),
    "vtraces": (10428, "/health", "/vtraces/health"),
    "vmalert": (8880, "/health", "/vmalert/health"),
    "vmalert_logs": (8881, "/health", None),
    "alertmanager": (9059, "/-/healthy", "/alertmgr/-/healthy"),
    "blackbox_exporter": (9115, "/-/healthy", "/blackbox/-/healthy"),
    "nginx_exporter": (9113, "/metrics", None),
    "node_exporter": (9100, "/metrics", None),
    "vector": (9598, "/metrics", None),
    "grafana-server": (3000, "/ui/api/health", "/ui/api/health"),
}
HERE = Path(__file__).parent
BOARDS = CHECKOUT / "infra/grafana/dashboards"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("observability")


@pytest.fixture(scope="module")
def vendor(folder):
    return vendors.repository(folder)


@pytest.fixture(scope="module")
def pillar(folder, vendor):
    return {
        "infra": {
            "infra_hosts": {ip: {"infra_seq": n} for n, ip in enumerate(INFRA.values(), 1)},
            **vendor.parameters(),
            **authority(folder),
            "alertmanager_receivers": {"hook": {"webhook": {"url": "http://10.10.10.1:5001/"}}},
            # What is told must not wait longer than a test has to.
            "alertmanager_route": {"group_wait": "5s", "group_interval": "10s"},
            "blackbox_targets": {"tcp_connect": ["10.10.10.1:22222"]},
        }
    }


@pytest.fixture(scope="module")
def lab(boot_lab, pillar, folder, vendor):
    specs = [MachineSpec(name, ip) for name, ip in [*INFRA.items(), NODE]]
    site = boot_lab("fleet", pillar=pillar, machines=specs)
    with (
        vendor.served(site),
        vendors.background(
            site, str(HERE / "hooks.py"), "10.10.10.1", "5001", str(folder / "calls")
        ),
        vendors.background(
            site, "-m", "http.server", "--directory", str(folder), "--bind", "10.10.10.1", "22222"
        ),
    ):
        yield site


@pytest.fixture(scope="module")
def applied(lab):
    """Applied twice: what the first run of one publishes, the other takes up in the second."""
    done = lab.apply()
    lab.apply()
    return done


def get(machine, port, path, host="127.0.0.1"):
    words = ["curl", "-s", "-o", "-", "-w", "\n%{http_code}", f"http://{host}:{port}{path}"]
    body, _, code = machine.run(words, check=False).stdout.rpartition("\n")
    return int(code), body


def series(machine, expression):
    code, body = get(machine, 8428, f"/api/v1/query?query={quote(expression)}")
    assert code == 200, body
    return [(r["metric"], float(r["value"][1])) for r in json.loads(body)["data"]["result"]]


def invocations(machine):
    names = [f"{unit}.service" for unit in UNITS]
    told = machine.run(["systemctl", "show", "-p", "InvocationID", "--value", *names]).stdout
    return dict(zip(UNITS, told.split(), strict=True))


def alerts(machine, name):
    code, body = get(machine, 9059, f"/api/v2/alerts?filter=alertname%3D{name}")
    return json.loads(body) if code == 200 else []


def calls(folder, status=None):
    path = folder / "calls"
    told = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [c for c in told if status is None or c["status"] == status]


def test_one_command_makes_the_site(applied):
    assert {name: done.complaint() for name, done in applied.items() if not done.ok} == {}


@pytest.mark.parametrize("name", INFRA)
@pytest.mark.parametrize("unit", UNITS)
def test_each_component_is_well_directly_and_through_the_portal(lab, applied, name, unit):
    machine = lab.machine(name)
    port, path, behind = UNITS[unit]
    assert get(machine, port, path)[0] == 200
    if behind:
        assert get(machine, 80, behind)[0] == 200


@pytest.mark.parametrize("name", INFRA)
def test_every_target_is_up_and_there_are_as_many_as_are_enabled(lab, applied, name):
    machine = lab.machine(name)
    wanted = {
        "infra": 2 * 9,  # those with metrics on each INFRA node; vmalert counts twice
        "node": 3 * 2,  # node_exporter and Vector on each machine
        "ping": 3,
        "probe": 2 * (1 + 2) + 1,  # the portal's name and DNS over UDP and TCP of each; pillar's
    }
    counted = eventually(
        lambda: {m["job"]: v for m, v in series(machine, "sum by (job) (up)")} == wanted
    )
    found = {m["job"]: v for m, v in series(machine, "sum by (job) (up)")}
    assert counted, found
    assert series(machine, "up == 0") == []
    assert {m["ins"] for m, v in series(machine, "probe_success == 0")} == set()


def test_rules_are_evaluated_without_a_fault(lab, applied):
    for name in INFRA:
        machine = lab.machine(name)
        for port, groups in ((8880, 5), (8881, 1)):
            code, body = get(machine, port, "/api/v1/rules")
            assert code == 200
            found = json.loads(body)["data"]["groups"]
            assert len(found) == groups
            assert [r["lastError"] for g in found for r in g["rules"] if r["lastError"]] == []


def test_the_alertmanagers_are_one_mesh(lab, applied):
    for name in INFRA:
        found = lab.machine(name).salt_call("infra_alert.cluster")
        assert found["status"] == "ready"
        assert len(found["peers"]) == 2


def grafana(machine, path):
    """What Grafana's API answers its administrator, by the portal."""
    words = ["curl", "-sf", "-u", "admin:pigsty", f"http://127.0.0.1/ui/api{path}"]
    return json.loads(machine.run(words).stdout)


def lines(machine, query):
    """Lines of logs that a query finds by the portal."""
    code, body = get(machine, 80, f"/vlogs/select/logsql/query?query={quote(query)}")
    assert code == 200, body
    return [json.loads(line) for line in body.splitlines()]


def sources(machine):
    return {one["uid"]: one["made"] for one in grafana(machine, "/datasources")}


@pytest.mark.parametrize("name", INFRA)
def test_grafana_has_the_sources_of_every_node_and_all_dashboards(lab, applied, name):
    machine = lab.machine(name)
    kinds = ("vmetrics", "vlogs", "vtraces")
    assert set(sources(machine)) == {
        "ds-metrics", "ds-prometheus", "ds-vmetrics", "ds-vlogs", "ds-vtraces", "ds-static",
        *(f"{kind}-{seq}" for kind in kinds for seq in (1, 2)),
    }  # fmt: skip
    ours = {json.loads(path.read_text())["uid"] for path in BOARDS.rglob("*.json")}
    assert {board["uid"] for board in grafana(machine, "/search")} == ours


def test_grafana_s_log_is_among_the_logs(lab, applied):
    machine = lab.machine("infra-1")
    found = eventually(lambda: lines(machine, 'job:grafana "HTTP Server Listen"'))
    assert {line["cls"] for line in found} == {"grafana"}


def test_a_second_time_changes_and_restarts_nothing(lab, applied):
    before = {name: invocations(lab.machine(name)) for name in INFRA}
    made = {name: sources(lab.machine(name)) for name in INFRA}
    again = lab.apply()
    assert {name: done.changes for name, done in again.items() if done.changes} == {}
    assert {name: invocations(lab.machine(name)) for name in INFRA} == before
    assert {name: sources(lab.machine(name)) for name in INFRA} == made


def test_each_unit_is_hardened(lab, applied, capsys):
    machine = lab.machine("infra-1")
    table = {}
    for unit in UNITS:
        told = machine.run(["systemd-analyze", "security", unit], check=False).stdout
        table[unit] = float(told.rsplit("service:", 1)[1].split()[0])
    with capsys.disabled():
        print("\nunit               exposure")
        for unit, exposure in table.items():
            print(f"{unit:18} {exposure:8.1f}")
    assert {unit: e for unit, e in table.items() if e > 3.0} == {}


def test_logs_of_a_client_reach_both_stores(lab, applied):
    lab.machine(NODE[0]).run(["logger", "-t", "probe", "a line like no other"])
    for name in INFRA:
        machine = lab.machine(name)
        (line,) = eventually(lambda m=machine: lines(m, 'app:probe "a line like no other"'))
        assert line["ins"] == NODE[0]
        assert line["job"] == "syslog"
        assert line["level"] == "notice"


def logged(lab, query):
    """The first line of log that a query finds on the first INFRA node, through the portal."""
    url = "/vlogs/select/logsql/query?query=" + quote(query)
    machine = lab.machine("infra-1")
    return json.loads(eventually(lambda: get(machine, 80, url)[1]).splitlines()[0])


def test_a_line_of_the_journal_without_a_priority_is_no_emergency(lab, applied):
    fields = b"MESSAGE=a line of audit\nSYSLOG_IDENTIFIER=probe-of-no-priority\n"
    lab.machine("infra-1").run(["logger", "--journald"], input=fields.decode())
    line = logged(lab, 'app:"probe-of-no-priority"')
    assert line["level"] == "unknown"
    assert line["_msg"] == "a line of audit"
    assert "p" not in line


def test_requests_to_the_portal_are_logged_with_their_fields(lab, applied):
    get(lab.machine("infra-1"), 80, "/a-page-like-no-other")
    line = logged(lab, 'job:nginx status:404 "/a-page-like-no-other"')
    assert (str(line["status"]), line["level"]) == ("404", "warning")
    assert line["request"] == "GET /a-page-like-no-other HTTP/1.1"
    line = logged(lab, 'job:nginx cls:"nginx-error" "/a-page-like-no-other"')
    assert line["level"] == "error"
    assert line["client"] == "127.0.0.1"


def send_trace(machine, service):
    """Send a trace by the portal, as an application does."""
    machine.write("/root/trace", traces.request(service))
    machine.run(
        ["curl", "-sSf", "--data-binary", "@/root/trace", "-H", f"Content-Type: {traces.TYPE}",
         f"http://127.0.0.1/vtraces{traces.PATH}"]
    )  # fmt: skip


def traced(machine, path):
    """What VictoriaTraces answers to a question of Jaeger's API, by the portal."""
    code, body = get(machine, 80, f"/vtraces/select/jaeger/api/{path}")
    assert code == 200, body
    return json.loads(body)["data"]


def test_traces_go_in_over_otlp_and_come_out_as_jaeger(lab, applied):
    machine = lab.machine("infra-1")
    send_trace(machine, "shop")
    assert eventually(lambda: "shop" in traced(machine, "services"))
    assert eventually(lambda: traced(machine, "services/shop/operations") == ["query", "request"])
    (trace,) = eventually(lambda: traced(machine, "traces?service=shop"))
    spans = {span["operationName"]: span for span in trace["spans"]}
    assert spans["query"]["references"][0]["spanID"] == spans["request"]["spanID"]
    assert {span["duration"] for span in trace["spans"]} == {200_000}
    (again,) = traced(machine, f"traces/{trace['traceID']}")
    assert {span["spanID"] for span in again["spans"]} == {
        span["spanID"] for span in trace["spans"]
    }


def test_each_service_starts_again_on_filled_data(lab, applied):
    machine = lab.machine("infra-1")
    filled.assert_steady(machine)  # after the start on empty directories
    filled.fill(machine, "observed")
    machine.run(["systemctl", "restart", *UNITS])
    filled.assert_steady(machine)
    assert filled.missing(machine, "observed") == []


@pytest.mark.soak
def test_an_alert_of_two_nodes_is_one_message_and_a_silence_holds_on_both(lab, applied, folder):
    one, two = (lab.machine(name) for name in INFRA)
    node = lab.machine(NODE[0])
    mine = [{"name": "alertname", "value": "NodeDown", "isRegex": False, "isEqual": True}]

    def told(status):
        """Messages about this machine alone: on a busy host others may seem to be down, too."""
        return [
            c
            for c in calls(folder, status)
            if c["groupLabels"].get("alertname") == "NodeDown"
            and {a["labels"]["ins"] for a in c["alerts"]} == {NODE[0]}
        ]

    node.run(["systemctl", "stop", "node_exporter"])
    for machine in (one, two):
        assert eventually(lambda m=machine: alerts(m, "NodeDown"))
    assert eventually(lambda: told("firing"))
    # Were there a second message it would come within the time that one waits for another.
    time.sleep(40)
    assert len(told("firing")) == 1, json.dumps(told("firing"))
    (message,) = told("firing")
    (alert,) = message["alerts"]
    assert alert["labels"]["ins"] == NODE[0]
    assert alert["generatorURL"].startswith("https://i.pigsty/vmalert/vmalert/")
    assert alert["annotations"]["dashboard"].startswith("https://i.pigsty/ui/d/node-instance")
    assert message["externalURL"] == "https://i.pigsty/alertmgr"

    now = time.time()
    form = "%Y-%m-%dT%H:%M:%SZ"
    silence = {
        "matchers": mine,
        "startsAt": time.strftime(form, time.gmtime(now)),
        "endsAt": time.strftime(form, time.gmtime(now + 3600)),
        "createdBy": "test",
        "comment": "work",
    }
    made = one.run(
        ["curl", "-sf", "-H", "Content-Type: application/json", "-d", json.dumps(silence),
         "http://127.0.0.1:9059/api/v2/silences"]
    )  # fmt: skip
    ident = json.loads(made.stdout)["silenceID"]
    assert eventually(
        lambda: [a["status"]["state"] for a in alerts(two, "NodeDown")] == ["suppressed"]
    )
    one.run(["curl", "-sf", "-X", "DELETE", f"http://127.0.0.1:9059/api/v2/silence/{ident}"])
    assert eventually(lambda: [a["status"]["state"] for a in alerts(two, "NodeDown")] == ["active"])

    node.run(["systemctl", "start", "node_exporter"])
    assert eventually(lambda: told("resolved"), 300)
    assert len(told("firing")) == 1


@pytest.mark.soak
def test_a_certificate_about_to_end_is_told(lab, applied):
    machine = lab.machine("infra-1")
    live = "/etc/nginx/conf.d/cert/pigsty"
    machine.run(["cp", "-a", f"{live}.crt", "/root/kept.crt"])
    script = (
        f"cd /root && openssl req -new -key {live}.key -subj /CN=pigsty -out r.csr && "
        "printf 'subjectAltName=DNS:i.pigsty' > r.ext && openssl x509 -req -in r.csr -days 5 "
        "-CA /etc/pki/ca.crt -CAkey /etc/pki/ca/ca.key -CAcreateserial -extfile r.ext "
        f"-out {live}.crt && systemctl reload nginx"
    )
    machine.run(["sh", "-c", script])
    for name in INFRA:  # each of them asks the portal of both
        other = lab.machine(name)
        found = eventually(lambda m=other: alerts(m, "CertExpiresSoon"), 240)
        assert {a["labels"]["hostname"] for a in found} == {"i.pigsty"}
        assert {a["labels"]["ins"] for a in found} == {"portal-1"}
    # The formula issues it anew by itself, since it is about to end.
    assert machine.apply().ok
    assert eventually(
        lambda: not series(machine, "probe_ssl_earliest_cert_expiry - time() < 864000")
    )


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.soak
def test_a_killed_service_comes_back(lab, applied, unit, capsys):
    machine = lab.machine("infra-2")
    port, path, _ = UNITS[unit]
    before = invocations(machine)[unit]
    machine.run(["systemctl", "kill", "--signal=KILL", unit])
    start = time.monotonic()
    assert eventually(
        lambda: invocations(machine)[unit] != before and get(machine, port, path)[0] == 200
    )
    with capsys.disabled():
        print(f"\n{unit} answered again {time.monotonic() - start:.1f} s after SIGKILL", end="")


@pytest.mark.soak
def test_after_the_kills_the_state_agrees(lab, applied):
    done = lab.machine("infra-2").apply()
    assert done.changes == {}


FAULTS = {
    "a flag the program refuses": (
        {"vmetrics_options": "-noSuchFlag=1"}, "vmetrics_options", "noSuchFlag"),
    "a value the program refuses": (
        {"vmalert_options": "-rule.resendDelay=soon"}, "vmalert_options", "soon"),
    "a flag refused only at start": (
        {"alertmanager_options": "--data.retention=soon"}, "alertmanager", "soon"),
    "a broken rule": (
        {"vmalert_rules": {"mine": [{"name": "g", "rules": [{"record": "x", "expr": "sum(("}]}]}},
        "vmalert_rules.mine", "sum(("),
    "an unknown receiver": (
        {"alertmanager_routes": [{"receiver": "nobody", "matchers": ['a="b"']}]},
        "alertmanager_routes[0].receiver", "nobody"),
    "an impossible route": (
        {"alertmanager_routes": [{"receiver": "hook", "matchers": ["a=~\"(\""]}]},
        "alertmanager_routes[0]", "missing closing"),
    "a receiver without an address": (
        {"alertmanager_receivers": {"hook": {"webhook": {"noSuchOption": 1}}}},
        "alertmanager_receivers.hook", "noSuchOption"),
    "a bad regex in a scrape job": (
        {"vmetrics_scrape_jobs": [{"job_name": "x", "static_configs": [{"targets": ["a:1"]}],
                                   "relabel_configs": [{"action": "drop", "regex": "(",
                                                        "source_labels": ["a"]}]}]},
        "vmetrics_scrape_jobs[0] (x)", "regex"),
    "a port that is taken": ({"vtraces_port": 22}, "vtraces_port", "taken by"),
    "TLS files that are missing": (
        {"vmetrics_options": "-tls -tlsCertFile=/no/such.crt -tlsKeyFile=/no/such.key"},
        "vmetrics", "/no/such"),
}  # fmt: skip

# Before the service failed, the portal and the targets had taken these up: port and scheme.
FOLLOWED = {"vtraces_port", "vmetrics_options"}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.soak
def test_a_fault_names_its_parameter_and_what_ran_runs_on(lab, applied, fault):
    change, named, quoted = FAULTS[fault]
    machine = lab.machine("infra-1")
    if "vtraces_port" in change:
        machine.run(["sh", "-c", "systemd-run --unit=taker python3 -m http.server 22"])
        assert eventually(lambda: get(machine, 22, "/")[0] == 200)
    before = invocations(machine)
    done = machine.apply(pillar={"infra": change}, check=False)
    complaint = done.complaint()
    assert not done.ok
    assert named in complaint
    assert quoted in complaint
    after = invocations(machine)
    for unit, (port, path, _) in UNITS.items():
        assert get(machine, port, path)[0] == 200, unit
        if "only at start" not in fault and "missing" not in fault:
            assert after[unit] == before[unit], unit
    machine.run(["systemctl", "stop", "taker"], check=False)
    agreed = machine.apply()
    if not FOLLOWED & set(change):
        assert agreed.changes == {}, agreed.changes


@pytest.mark.soak
def test_a_read_only_data_directory_is_named(lab, applied):
    machine = lab.machine("infra-1")
    machine.run(["systemctl", "stop", "vtraces"])
    user = machine.run(["id", "-u", "victoria"]).stdout.strip()
    group = machine.run(["getent", "group", "infra"]).stdout.split(":")[2]
    options = f"ro,mode=0750,uid={user},gid={group}"
    machine.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", "/data/infra/traces"])
    try:
        complaint = machine.apply(check=False).complaint()
    finally:
        machine.run(["umount", "/data/infra/traces"])
    assert "infra_data: /data/infra/traces is on a read-only file system" in complaint
    assert machine.apply().ok
    assert get(machine, 10428, "/health")[0] == 200


@pytest.mark.soak
def test_changing_a_flag_restarts_that_service_alone(lab, applied):
    machine = lab.machine("infra-1")
    before = invocations(machine)
    done = machine.apply(pillar={"infra": {"vmetrics_retention": "20d"}})
    assert done.ok
    after = invocations(machine)
    assert {unit for unit in UNITS if before[unit] != after[unit]} == {"vmetrics"}
    machine.apply()


@pytest.mark.soak
def test_upgrading_a_program_restarts_that_service_alone(lab, applied):
    machine = lab.machine("infra-1")
    before = invocations(machine)
    # What an upgrade does to a program's file.
    machine.run(["sh", "-c", "cp /usr/bin/blackbox_exporter /root/new && "
                 "mv /root/new /usr/bin/blackbox_exporter"])  # fmt: skip
    done = machine.apply()
    assert list(done.changes) == ["infra-blackbox-unit-configured (infra_daemon.configured)"]
    after = invocations(machine)
    assert {unit for unit in UNITS if before[unit] != after[unit]} == {"blackbox_exporter"}


@pytest.mark.soak
def test_data_is_destroyed_only_when_it_is_named_and_once(lab, applied):
    machine = lab.machine("infra-1")
    send_trace(machine, "doomed")
    assert eventually(lambda: "doomed" in traced(machine, "services"))
    refused = machine.apply(pillar={"infra": {"vtraces_clean": True}}, check=False)
    assert "vtraces_clean_confirm: /data/infra/traces" in refused.complaint()
    assert "doomed" in traced(machine, "services")
    asked = {"infra": {"vtraces_clean": True, "vtraces_clean_confirm": "/data/infra/traces"}}
    assert machine.apply(pillar=asked).ok
    assert "doomed" not in traced(machine, "services")
    assert machine.apply(pillar=asked).changes == {}
    assert machine.apply().changes == {}


@pytest.mark.soak
def test_what_is_switched_off_stops_and_is_no_target(lab, applied):
    machine = lab.machine("infra-1")
    done = machine.apply(pillar={"infra": {"vtraces_enabled": False}})
    assert done.changes["infra-daemon-others-off (infra_daemon.switched_off)"] == {
        "vtraces": "switched off"
    }
    assert get(machine, 10428, "/health")[0] == 0
    assert "10428" not in machine.read("/infra/targets/infra/infra-1.yml")
    assert machine.apply().ok
    assert get(machine, 10428, "/health")[0] == 200


@pytest.mark.soak
def test_the_way_back_keeps_the_data(lab, applied):
    machine = lab.machine("infra-2")
    filled.fill(machine, "kept", ("vlogs",))
    assert machine.apply("infra.vlogs.clean", pillar={"infra": {"infra_safeguard": False}}).ok
    assert get(machine, 9428, "/health")[0] == 0
    assert machine.run(["test", "-e", "/etc/systemd/system/vlogs.service"], check=False).returncode
    assert machine.apply().ok
    assert get(machine, 9428, "/health")[0] == 200
    assert filled.missing(machine, "kept", ("vlogs",)) == []
