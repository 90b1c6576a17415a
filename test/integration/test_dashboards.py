"""Every panel about a program that is here shows something, on a machine that runs all of them.

Those are Debian's, and what is given beside (INFRA_PROGRAMS). The questions are asked of the
machine's own VictoriaMetrics, VictoriaLogs and VictoriaTraces, with the variables filled in as
Grafana does it. What cannot be seen here is said below, each with its reason. A second machine has
an Alertmanager, so that there is a mesh, and the node exporter reads what not every kernel tells
from files of ours (kernel.py). The lines of logs are ours, in the form that Vector ships them in.
"""

import json
import re
import subprocess
import sys
import time
from contextlib import nullcontext
from fnmatch import fnmatchcase

import filled
import metric_names
import panels
import programs
import pytest
import vendors
from lab import aptconf
from lab.paths import CHECKOUT
from lab.suites import MachineSpec

sys.path.insert(0, str(CHECKOUT / "tools"))

from dashboards import catalogue

IP, PEER = "10.10.10.10", "10.10.10.11"
KERNEL = "/run/kernel"
BOARDS = panels.load()
CODE = {board.uid: board for board in catalogue.boards()}
VENDORS = {"grafana": "grafana", "vlogs": "victoria-logs", "vtraces": "victoria-traces",
           "vector": "vector"}  # fmt: skip
"""What Debian has no package of (Panel.about), and the program of it."""

ELSEWHERE = {
    **{about: "Debian has no package of it, and none is given"
       for about, name in VENDORS.items() if not programs.is_real(name)},
    "docker": "no part of the formula",
    "keepalived": "no part of the formula, and Debian has no exporter of it",
    "others": "families of targets that Pigsty's other modules bring",
    "recent VictoriaMetrics": "Debian's is older than its metrics of pressure, and the newer one "
    "has them where the kernel tells a control group's pressure",
}  # fmt: skip
"""Programs that do not run on this machine (Panel.about)."""

LATER = {
    "victoria-logs": (
        (1, 52), {"vl_active_streams", "vl_pending_rows", "vl_total_disk_space_bytes"}),
    "victoria-traces": (
        (0, 10), {"vt_active_streams", "vt_active_traces", "vt_pending_rows",
                  "vt_total_disk_space_bytes"}),
}  # fmt: skip
"""Metrics that releases before the vendor's current one lack, where such a one is given."""
SERVICE = "shop"
TYPED = {"search": "*", "service": SERVICE}
"""What is typed in for the variables of that kind."""
LOGS = {
    "instant": ("query", {"limit": "100"}),
    "stats": ("stats_query", {}),
    "statsRange": ("stats_query_range", {"step": "15s"}),
}
"""Paths of VictoriaLogs' query API by a question's form, and what is asked beside it."""
VARIABLES = {"fieldValue": "field_values"}
UNITS = ("alertmanager", "blackbox_exporter", "chrony", "dnsmasq", "haproxy", "keepalived",
         "vector", "vlogs", "vmalert", "vmetrics", "vtraces")  # fmt: skip
VALUES_OF = re.compile(r"label_values\((?P<series>.*), (?P<label>\w+)\)")
HAPROXY = f"""
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend metrics
  bind :9101
  http-request use-service prometheus-exporter if {{ path /metrics }}
  stats enable
frontend web
  bind 127.0.0.1:8099
  default_backend portal
backend portal
  server infra-1 {IP}:80 check
"""


def upstreams():
    """The archives that this host itself uses, as upstream definitions."""
    return [
        {
            "name": source.suite.replace("/", "-"),
            "module": "node",
            "releases": [13],
            "arch": ["x86_64"],
            "baseurl": f"{source.uri} {source.suite} {source.components}",
            "signed_by": source.signed_by or aptconf.KEYRING,
        }
        for source in aptconf.for_release("trixie")
    ]


PILLAR = {
    "infra": {
        "infra_hosts": {IP: {"infra_seq": 1}, PEER: {"infra_seq": 2}},
        "vmetrics_scrape_interval": "3s",
        "vmetrics_scrape_timeout": "2s",
        "node_exporter_options": "--no-collector.softnet --no-collector.nvme --collector.tcpstat "
        f"--collector.processes --path.procfs={KERNEL}",
        "repo_modules": "node",
        "repo_packages": ["tree"],
        "repo_extra_packages": [],
        "repo_remove": False,
        "haproxy_enabled": True,
        "infra_drift_check": "daily",
        # One that answers, and one that never does: its alert is about to fire.
        "blackbox_targets": {"tcp_connect": [f"{IP}:80", f"{IP}:2"], "http_2xx": [f"http://{IP}/"]},
        "alertmanager_receivers": {"hook": {"webhook": {"url": "http://10.10.10.1:5001/"}}},
        "alertmanager_route": {"group_wait": "1s"},
        "vmalert_rules": {"test": [{"name": "test", "rules": [
            {"alert": "Always", "expr": 'up{job="node"}',
             "labels": {"severity": "INFO", "level": "2", "category": "node"}}]}]},
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def lab(boot_lab, tmp_path_factory):
    packages = vendors.DISTRO
    vendor = vendors.repository(tmp_path_factory.mktemp("vendor")) if vendors.replaced() else None
    if vendor:
        # Which machines know of beside the repository that they build.
        packages = {
            "infra_packaging": "upstream",
            "node_repo_remove": False,
            **vendors.real_ones(),
        }
    pillar = {"infra": {**PILLAR["infra"], **packages, "repo_upstream": upstreams()}}
    machines = [MachineSpec("infra-1", IP), MachineSpec("infra-2", PEER)]
    site = boot_lab(platform="debian-13", pillar=pillar, machines=machines)
    machine = site.machine("infra-1")
    kernel = (CHECKOUT / "test/integration/kernel.py").read_text(encoding="utf-8")
    machine.write("/root/kernel.py", kernel)
    machine.run(["systemd-run", "--unit=kernel", "python3", "/root/kernel.py", KERNEL])
    fill = (
        "while sleep 2; do head -c 1M /dev/urandom >> /var/tmp/filling; done"  # so that a disk does
    )
    machine.run(["systemd-run", "--unit=filling", "sh", "-c", fill])
    for each in (machine, site.machine("infra-2")):
        each.run(["apt-get", "update"])
    machine.run(["apt-get", "install", "-qq", "-y", "haproxy"])
    machine.write("/etc/haproxy/haproxy.cfg", HAPROXY)
    machine.run(["systemctl", "restart", "haproxy"])
    hooks = [sys.executable, str(CHECKOUT / "test/integration/hooks.py"), "10.10.10.1", "5001"]
    command = site.net_command([*hooks, str(tmp_path_factory.mktemp("hooks") / "calls")])
    with (
        vendor.served(site) if vendor else nullcontext(),
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as told,
    ):
        try:
            for each in site.machines if vendor else ():
                vendor.add_to(each)
            for done in (site.machine("infra-2").apply("infra.alertmanager"), machine.apply()):
                assert done.ok, done.complaint()
            machine.run(["sh", "-c", "echo '# by hand' >> /etc/chrony/chrony.conf"])
            machine.run(["systemctl", "start", "infra-drift.service"])
            if "vlogs" not in ELSEWHERE:
                send_logs(machine)
            if "vtraces" not in ELSEWHERE:
                filled.send_trace(machine, SERVICE)
            yield site
        finally:
            told.kill()


def send_logs(machine):
    """Give VictoriaLogs lines of every source, with the fields that Vector gives them."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    rows = []

    def line(job, message, **fields):
        rows.append({"_time": moment, "_msg": message, "job": job, "ip": IP, **fields})

    for unit in UNITS:
        for level in ("info", "warning", "err"):
            line("syslog", f"{unit} says {level} 1", unit=unit, app=unit, level=level,
                 ins="infra-1", cls="infra")  # fmt: skip
    line("syslog", "Out of memory: Killed process 1", unit="", app="kernel", level="err",
         ins="infra-1", cls="infra")  # fmt: skip
    line("grafana", "level=error", level="error", ins="grafana-1", cls="grafana")
    for status, level in ((200, "info"), (404, "warning"), (502, "error")):
        line("nginx", "a request", request=f"GET /pigsty/{status} HTTP/1.1", status=status,
             client="10.10.10.21", server="i.pigsty", level=level, ins="nginx-1",
             cls="nginx")  # fmt: skip
    line("nginx", "an error", level="error", ins="nginx-1", cls="nginx-error")
    path = "/insert/jsonline?_stream_fields=job,ins,ip"
    body = "".join(f"{json.dumps(row)}\n" for row in rows)
    filled.send(machine, "vlogs", path, body, "application/stream+json")


def ask_store(lab, store, questions):
    """Ask a store of the machine; the texts of the answers, which have to be good ones."""
    # On the machine itself: a store of one INFRA node listens nowhere else.
    machine = lab.machine("infra-1")
    machine.write("/root/ask.py", (CHECKOUT / "test/support/ask.py").read_text(encoding="utf-8"))
    words = ["python3", "/root/ask.py", f"http://127.0.0.1:{filled.PORTS[store]}"]
    answers = json.loads(machine.run(words, input=json.dumps(questions)).stdout)
    refused = {
        str(parameters): body
        for (_, parameters), (status, body) in zip(questions, answers, strict=True)
        if status != 200
    }
    assert refused == {}, refused
    return [body for _, body in answers]


def asked(lab, questions):
    """Ask the machine's VictoriaMetrics; the parsed answers."""
    return [json.loads(body)["data"] for body in ask_store(lab, "vmetrics", questions)]


def chosen(lab):
    """Values of each dashboard's variables when it is opened, and the names of those without any.

    The value is All where that can be chosen, or the first that there is; no variable depends on
    one of the latter.
    """
    of_metrics = [
        (uid, variable, VALUES_OF.fullmatch(variable["query"]))
        for uid, board in BOARDS.items()
        for variable in board["templating"]["list"]
        if variable["type"] == "query" and isinstance(variable["query"], str)
    ]
    everything = {
        uid: {variable["name"]: TYPED.get(variable["name"], ".*")
              for variable in board["templating"]["list"]}
        for uid, board in BOARDS.items()
    }  # fmt: skip
    questions = [
        [f"/api/v1/label/{way['label']}/values",
         {"match[]": panels.filled(way["series"], everything[uid])}]
        for uid, _, way in of_metrics
    ]  # fmt: skip
    without = {uid: [] for uid in BOARDS}
    for (uid, variable, _), values in zip(of_metrics, asked(lab, questions), strict=True):
        if not values:
            without[uid].append(variable["name"])
        elif not variable.get("includeAll"):
            everything[uid][variable["name"]] = values[0]
    return everything, without


def answers(lab):
    """Every question for metrics, and the series that came back."""
    now = int(time.time())
    values, _ = chosen(lab)
    targets, questions = [], []
    for uid, board in BOARDS.items():
        for target in panels.targets(board):
            if target.source != "ds-metrics":
                continue
            targets.append(target)
            query = {"query": panels.filled(target.expr, values[uid])}
            if target.instant:
                questions.append(["/api/v1/query", {**query, "time": str(now)}])
            else:
                span = {"start": str(now - 300), "end": str(now), "step": "15"}
                questions.append(["/api/v1/query_range", {**query, **span}])
    found = [(t, data["result"]) for t, data in zip(targets, asked(lab, questions), strict=True)]
    return [*found, *log_answers(lab, values, now), *trace_answers(lab, values)]


def log_answers(lab, values, now):
    """Every question for logs, and what came back, where there is a real VictoriaLogs."""
    if "vlogs" in ELSEWHERE:
        return []
    span = {"start": str(now - 300), "end": str(now + 1)}
    targets, questions = [], []
    for uid, board in BOARDS.items():
        for target in panels.targets(board):
            if target.source != "ds-vlogs":
                continue
            path, more = LOGS[target.form]
            targets.append(target)
            query = panels.filled(target.expr, values[uid])
            questions.append([f"/select/logsql/{path}", {"query": query, **span, **more}])
    assert len(targets) > 40
    bodies = ask_store(lab, "vlogs", questions)
    return [
        (t, [json.loads(line) for line in body.splitlines()] if t.form == "instant"
         else json.loads(body)["data"]["result"])
        for t, body in zip(targets, bodies, strict=True)
    ]  # fmt: skip


def trace_answers(lab, values):
    """Every search for traces, and what came back, where there is a real VictoriaTraces."""
    if "vtraces" in ELSEWHERE:
        return []
    targets = [(uid, target) for uid, board in BOARDS.items() for target in panels.targets(board)
               if target.source == "ds-vtraces"]  # fmt: skip
    questions = [
        [
            "/select/jaeger/api/traces",
            {"service": panels.filled(t.expr, values[uid]), "limit": "20"},
        ]
        for uid, t in targets
    ]
    assert questions
    bodies = ask_store(lab, "vtraces", questions)
    return [(t, json.loads(b)["data"]) for (_, t), b in zip(targets, bodies, strict=True)]


def panel_of(target):
    """The panel of a question as the code has it."""
    return list(CODE[target.board].panels())[target.number]


def wanted(target):
    """Whether it is about a program that runs here, and a metric that its release has."""
    return panel_of(target).about not in ELSEWHERE and not (
        set(re.findall(r"\w+", target.expr)) & lacking()
    )


def lacking():
    """Metrics that the given programs are too old for."""
    found = set()
    for name, (current, metrics) in LATER.items():
        _, version = programs.given().get(name, ("", "unknown"))
        numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
        if numbers and numbers < current:
            found |= metrics
    return found


@pytest.fixture(scope="module")
def seen(lab):
    """The answers, once nothing more comes: rules need some rounds before all is recorded."""
    deadline = time.monotonic() + 180
    while True:
        found = answers(lab)
        missing = [t for t, result in found if not result and wanted(t)]
        if not missing or time.monotonic() > deadline:
            return found
        time.sleep(5)


def test_every_panel_about_a_program_here_shows_something(seen, capsys):
    empty, table = [], {}
    for target, result in seen:
        row = table.setdefault(target.board, {"all": set(), "here": set(), "with": set()})
        row["all"].add(target.number)
        if not wanted(target):
            continue
        row["here"].add(target.number)
        if result:
            row["with"].add(target.number)
        else:
            empty.append(f"{target.board}: {target.panel} {target.name}: {target.expr}")
    with capsys.disabled():
        print("\ndashboard                 panels  of programs here  with data")
        for uid, row in table.items():
            print(f"{uid:25}" + "".join(f"{len(row[k]):8}" for k in ("all", "here", "with")))
        sums = [sum(len(row[k]) for row in table.values()) for k in ("all", "here", "with")]
        print(f"{'all':25}" + "".join(f"{number:8}" for number in sums))
    assert empty == [], "\n".join(empty)


def numbers(result):
    for series in result:
        for _, value in series.get("values") or [series["value"]]:
            if value not in ("NaN", "+Inf", "-Inf"):
                yield float(value)


def test_values_fit_their_units(seen):
    """A share of one is not a percentage, and a date is in milliseconds."""
    wrong = []
    for target, result in seen:
        ours = target.source == "ds-metrics" and target.kind != "table"
        found = list(numbers(result)) if ours else []
        if not found:
            continue
        if target.unit == "percentunit" and not -1 <= min(found) <= max(found) <= 2:
            wrong.append((target.board, target.panel, min(found), max(found)))
        if target.unit.startswith("dateTime") and min(found) < 1e12:
            wrong.append((target.board, target.panel, min(found)))
    assert wrong == [], wrong


def logs_without(lab):
    """Names of variables that VictoriaLogs has no value for, of what is about a program here."""
    values, _ = chosen(lab)
    variables = [
        (uid, variable)
        for uid, board in BOARDS.items()
        for variable in board["templating"]["list"]
        if variable["type"] == "query"
        and not isinstance(variable["query"], str)
        and "vlogs" not in ELSEWHERE
    ]
    questions = [
        [f"/select/logsql/{VARIABLES[query['type']]}",
         {"query": panels.filled(query["query"], values[uid]), "field": query["field"],
          "limit": str(query["limit"]), "start": str(int(time.time()) - 3600)}]
        for uid, query in ((uid, variable["query"]) for uid, variable in variables)
    ]  # fmt: skip
    bodies = ask_store(lab, "vlogs", questions)
    return [(uid, variable["name"]) for (uid, variable), body in zip(variables, bodies, strict=True)
            if not json.loads(body)["values"]]  # fmt: skip


def test_every_variable_of_a_dashboard_about_a_program_here_has_values(lab, seen):
    _, without = chosen(lab)
    assert {n: w for n, w in without.items() if w and CODE[n].about not in ELSEWHERE} == {}
    assert logs_without(lab) == []


def test_each_metric_here_that_pigsty_shows_is_shown_or_left_out_for_a_reason(lab, seen):
    (known,) = asked(lab, [["/api/v1/label/__name__/values", {}]])
    pigstys = [name for name in known if metric_names.named(name)]
    assert len(pigstys) > 100
    shown = metric_names.shown()
    unknown = [n for n in pigstys if n not in shown and not metric_names.left_out(n)]
    assert unknown == [], "\n".join(unknown)
    # What has a reason not to be shown is there, or the reason is about nothing.
    of_here = [p for p in metric_names.LEFT_OUT if not p.startswith("etcd")]
    assert [p for p in of_here if not any(fnmatchcase(n, p) for n in known)] == []
