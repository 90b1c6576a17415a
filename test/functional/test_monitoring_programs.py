"""What the real programs say of configurations: ours are accepted, faults are named and quoted."""

import re
import subprocess
from pathlib import Path

import programs
import pytest
import yaml
from infra_formula.daemon import flags, unit_files
from infra_formula.errors import CommandFailed, InvalidInput
from infra_formula.monitoring import alertmanager, blackbox, scraping, vmalert

REPO = Path(__file__).resolve().parents[2]
JOBS = yaml.safe_load((REPO / "infra/vmetrics/jobs.yaml").read_text(encoding="utf-8"))
VALUES = {
    "blackbox_enabled": True,
    "blackbox_port": 9115,
    "exporter_metrics_path": "/metrics",
    "patroni_ssl_enabled": False,
    "redis_exporter_port": 9121,
    "register_sample_limit": 100000,
    "register_label_limit": 60,
    "minio_scheme": "http",
}
ALERT = {
    "receivers": {"hook": {"webhook": {"url": "http://127.0.0.1:5001/"}}},
    "severities": {"CRIT": "hook"},
    "routes": [],
    "route": {},
    "inhibit_rules": yaml.safe_load((REPO / "infra/defaults.yaml").read_text(encoding="utf-8"))[
        "alertmanager_inhibit_rules"
    ],
    "global": {},
}


def own_jobs():
    """Our jobs, but for those that name certificates, which are not on this machine."""
    return [job for job in JOBS if "tls_config" not in job]


VARIANTS = programs.variants("victoria-metrics")


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def victoriametrics(request):
    """Two releases: the newer passes over what it cannot read."""
    return programs.program("victoria-metrics", request.param)


def scrape(program, custom=None):
    made = scraping.config(own_jobs(), VALUES, "10s", "8s", custom)
    made = scraping.without_unknown_limits(made, program, custom)
    scraping.check(made, program, custom)
    return made


def test_victoriametrics_accepts_our_jobs_with_their_limits(victoriametrics):
    made = {job["job_name"]: job for job in scrape(victoriametrics)["scrape_configs"]}
    assert made["node"]["sample_limit"] == 100000
    # Debian's releases have no label_limit; they drop series of more than 30 or 40 labels.
    known = "label_limit" in made["node"]
    probe = {"scrape_configs": [{"job_name": "x", "static_configs": [], "label_limit": 1}]}
    if known:
        scraping.check(probe, victoriametrics)
    else:
        with pytest.raises(CommandFailed, match="refuses the scrape configuration"):
            scraping.check(probe, victoriametrics)


def test_a_limit_of_the_sites_own_is_not_taken_away(victoriametrics):
    custom = [{"job_name": "app", "targets": "app", "label_limit": 9}]
    made = scraping.config([], VALUES, "10s", "8s", custom)
    kept = scraping.without_unknown_limits(made, victoriametrics, custom)
    assert kept["scrape_configs"][0]["label_limit"] == 9


@pytest.mark.parametrize(
    "job",
    [
        {"relabel_configs": [{"regex": "(", "source_labels": ["a"], "action": "drop"}]},
        {"scrape_interval": "soon"},
        {"no_such_key": 1},
    ],
)
def test_a_bad_job_is_named_and_victoriametrics_quoted(victoriametrics, job):
    custom = [{"job_name": "fine", "targets": "fine"}, {"job_name": "bad", "targets": "x", **job}]
    with pytest.raises(CommandFailed, match=r"vmetrics_scrape_jobs\[1\] \(bad\): VictoriaMetrics"):
        scrape(victoriametrics, custom)


def test_victoriametrics_and_vmalert_accept_the_labels_of_a_site(victoriametrics):
    labels = {"site": "berlin", "rack": 7}
    values = {**VALUES, "register_label_limit": 0}
    made = scraping.config([], values, "10s", "8s", [{"job_name": "a", "targets": "a"}], labels)
    assert made["global"]["external_labels"] == {"site": "berlin", "rack": "7"}
    scraping.check(made, victoriametrics)


PASTED = {
    "http_2xx_oauth": {
        "prober": "http", "timeout": "5s",
        "http": {"method": "GET", "preferred_ip_protocol": "ip6", "ip_protocol_fallback": False,
                 "oauth2": {"client_id": "a", "client_secret": "b", "token_url": "https://a/t"},
                 "fail_if_body_matches_regexp": ["Could not connect"]},
    },
    "grpc_tls": {"prober": "grpc", "grpc": {"service": "shop", "tls": True}},
    "dns_mx": {
        "prober": "dns",
        "dns": {"query_name": "example.com", "query_type": "MX", "valid_rcodes": ["NOERROR"],
                "validate_answer_rrs": {"fail_if_not_matches_regexp": ["mail"]}},
    },
    "pop3s": {
        "prober": "tcp",
        "tcp": {"query_response": [{"expect": "^+OK"}], "tls": True,
                "tls_config": {"insecure_skip_verify": False}},
    },
    "icmp_ttl5": {"prober": "icmp", "timeout": "5s", "icmp": {"ttl": 5}},
}  # fmt: skip
"""Modules of the shapes of the exporter's own example.yml."""


@pytest.mark.parametrize("protocol", ["ip4", "ip6"])
def test_modules_as_they_are_published_are_accepted(protocol):
    settings = {"ca_bundle": "/etc/ssl/certs/ca-certificates.crt", "dns_name": "i.pigsty",
                "ip_protocol": protocol}  # fmt: skip
    made = blackbox.modules(settings, PASTED)
    assert made["modules"]["http_2xx"]["http"]["preferred_ip_protocol"] == protocol
    blackbox.check(made, programs.program("blackbox_exporter"), PASTED)


def test_options_that_make_victoriametrics_lenient_make_its_check_so(victoriametrics):
    made = scraping.config([], VALUES, "10s", "8s", [{"job_name": "a", "targets": "a", "no": 1}])
    with pytest.raises(CommandFailed, match="refuses"):
        scraping.check(made, victoriametrics)
    scraping.check(made, victoriametrics, None, ["-promscrape.config.strictParse=false"])


def test_rules_are_checked_with_the_options_that_vmalert_runs_with():
    rule = {"alert": "A", "expr": "up", "annotations": {"summary": '{{ template "shop" . }}'}}
    text = yaml.safe_dump({"groups": [{"name": "g", "rules": [rule]}]})
    made = {"site-mine.yml": {"text": text}}
    daemon = {"program": programs.program("vmalert")}
    vmalert.check(made, {**daemon, "options": "-remoteWrite.url=x -external.label=site=a"})
    with pytest.raises(CommandFailed, match=r"vmalert_rules\.mine: vmalert refuses it: .*noSuch"):
        vmalert.check(made, {**daemon, "options": "-rule.noSuch=1"})


def rules(minion, custom=None):
    settings = {"node_exporter_port": 9100, "vector_port": 9598, "portal_url": "http://i.pigsty",
                "nodes": 1, "timeout_seconds": 8, "dashboards": True,
                "alertmanager_cluster_port": 9094,
                "logs": False}  # fmt: skip
    made = vmalert.served(minion, settings, custom)
    vmalert.check(made, {"program": programs.program("vmalert")})


def test_vmalert_accepts_our_rules(minion):
    rules(minion)


@pytest.mark.parametrize(
    "rule",
    [
        {"record": "x", "expr": "sum(("},
        {"alert": "X", "expr": "up", "annotations": {"summary": "{{ nothing }}"}},
        {"alert": "X", "expr": "up", "for": "soon"},
    ],
)
def test_a_bad_rule_is_named_and_vmalert_quoted(minion, rule):
    with pytest.raises(CommandFailed, match=r"vmalert_rules\.mine: vmalert refuses it: "):
        rules(minion, {"mine": [{"name": "g", "rules": [rule]}]})


def alert(**changes):
    alertmanager.check({**ALERT, **changes}, programs.program("amtool"))


def test_amtool_accepts_what_we_make():
    ways = {
        "mail": {"to": "a@b.c", "from": "d@e.f", "smarthost": "mail:25"},
        "webhook": {"url": "http://a/"},
        "slack": {"api_url": "http://a/", "channel": "#a"},
        "telegram": {"bot_token": "1:a", "chat_id": 5},
        "wecom": {"corp_id": "a", "api_secret": "b", "agent_id": "1", "to_party": "1"},
        "dingtalk": {"url": "http://a/"},
        "feishu": {"url": "http://a/"},
        "pagerduty": {"routing_key": "a"},
    }
    alert(receivers={"hook": ways})


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"receivers": {"hook": {"webhook": {}}}}, "alertmanager_receivers.hook"),
        ({"receivers": {"hook": {"slack": {"no": 1}}}}, "alertmanager_receivers.hook"),
        ({"routes": [{"receiver": "hook", "matchers": ['a=~"("']}]}, r"alertmanager_routes\[0\]"),
        ({"route": {"group_wait": "soon"}}, "alertmanager_route"),
        ({"global": {"no": 1}}, "alertmanager_global"),
        ({"inhibit_rules": [{"no": 1}]}, r"alertmanager_inhibit_rules\[0\]"),
    ],
)
def test_a_fault_is_named_and_amtool_quoted(changes, named):
    with pytest.raises(CommandFailed, match=f"^{named}: amtool refuses it: "):
        alert(**changes)


NIGHTS = {"name": "nights", "time_intervals": [{"weekdays": ["saturday", "sunday"]}]}
TEMPLATE = '{{ define "shop.title" }}{{ .CommonLabels.alertname }}{{ end }}\n'


def test_amtool_accepts_intervals_templates_and_receivers_that_send_nothing():
    alert(
        receivers={"hook": {"webhook": {"url": "http://a/"}}, "null": {}},
        routes=[
            {"receiver": "hook", "continue": True, "mute_time_intervals": ["nights"]},
            {"receiver": "null", "matchers": ['severity="none"']},
        ],
        time_intervals=[NIGHTS],
        templates={"shop": TEMPLATE},
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"time_intervals": [NIGHTS, {"name": 1, "no": 2}]}, r"alertmanager_time_intervals\[1\]"),
        ({"templates": {"good": TEMPLATE, "bad": "{{ end }}"}}, "alertmanager_templates.bad"),
        ({"route": {"routes": [{"no": 1}]}}, "alertmanager_route"),
        ({"tracing": {"no": 1}}, "alertmanager_tracing"),
    ],
)
def test_a_fault_of_what_alertmanager_calls_so_is_named(changes, named):
    with pytest.raises(CommandFailed, match=f"^{named}: amtool refuses it: "):
        alert(**changes)


@pytest.fixture
def routed(tmp_path):
    """Ask amtool where an alert goes."""
    made = alertmanager.config({
        **ALERT,
        "receivers": {name: {"webhook": {"url": "http://a/"}} for name in ("hook", "shop", "log")},
        "severities": {"CRIT": ["hook", "log"], "warning": "log"},
        "routes": [{"receiver": "log", "matchers": ['cls="a \\"b"']}],
        "route": {"routes": [{"receiver": "shop", "matchers": ["category=shop"]}]},
    })  # fmt: skip
    path = tmp_path / "alertmanager.yml"
    path.write_text(alertmanager.files(made)["alertmanager.yml"]["text"])
    return lambda **labels: alertmanager.route(labels, str(path), programs.program("amtool"))


def test_amtool_says_where_an_alert_goes(routed):
    assert routed(severity="CRIT") == ["hook", "log"]
    assert routed(severity="CRIT", category="shop") == ["shop"]
    assert routed(cls='a "b', category="shop") == ["log"]
    assert routed(severity="warning") == ["log"]
    assert routed() == ["hook"]
    with pytest.raises(InvalidInput, match="got the label '--help'"):
        routed(**{"--help": "x"})


def test_a_configuration_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(CommandFailed, match="amtool: "):
        alertmanager.route({"a": "b"}, str(tmp_path / "none.yml"), programs.program("amtool"))


def test_the_blackbox_exporter_accepts_our_modules_and_quotes_what_it_does_not():
    program = programs.program("blackbox_exporter")
    settings = {"ca_bundle": "/etc/ssl/certs/ca-certificates.crt", "dns_name": "i.pigsty"}
    blackbox.check(blackbox.modules(settings), program)
    bad = {"mine": {"prober": "http", "http": {"no_such_key": 1}}}
    made = blackbox.modules(settings, bad)
    with pytest.raises(CommandFailed, match=r"blackbox_modules\.mine: the exporter refuses it: "):
        blackbox.check(made, program, bad)


WITHOUT_PACKAGE = {
    f"{name}_enabled": False for name in ("vlogs", "vtraces", "grafana", "vector")
}  # of Debian


def daemons_of(modules, loaders, packaging):
    """The daemons of an INFRA node, as their SLS hands them over."""
    pillar = {
        "infra": {
            "infra_hosts": {loaders.opts["id"]: {"infra_seq": 1, "ip": "10.10.10.10"},
                            "other": {"infra_seq": 2, "ip": "10.10.10.11"}},
            "infra_packaging": packaging,
            **({} if packaging == "upstream" else WITHOUT_PACKAGE),
        }
    }  # fmt: skip
    low = modules.state.show_low_sls("infra", pillar=pillar)
    return {
        c["name"]: c["daemon"] for c in low if c.get("state") == "infra_daemon" and "daemon" in c
    }


@pytest.fixture
def daemons(modules, loaders):
    """Those of Debian's packages."""
    return daemons_of(modules, loaders, "distro")


REAL = {
    "vmetrics": "victoria-metrics",
    "vmalert": "vmalert",
    "alertmanager": "alertmanager",
    "blackbox": "blackbox_exporter",
    "nginx_exporter": "nginx_exporter",
    "node_exporter": "node_exporter",
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_program_accepts_our_flags_and_refuses_another(daemons, name):
    daemon = {**daemons[name], "program": programs.program(REAL[name])}
    flags.validate_flags(daemon)
    with pytest.raises(CommandFailed, match=f"^{daemon['options_parameter']}: .*noSuchFlag"):
        flags.validate_flags({**daemon, "options": "--noSuchFlag=1"})


@pytest.mark.parametrize("name", ["vmetrics", "vmalert", "alertmanager"])
def test_the_real_program_accepts_the_flags_of_a_site_with_ipv6(modules, loaders, name):
    hosts = {loaders.opts["id"]: {"infra_seq": 1, "ip": "2001:db8::10"},
             "2001:db8::11": {"infra_seq": 2}}  # fmt: skip
    pillar = {"infra_hosts": hosts, "infra_packaging": "distro", **WITHOUT_PACKAGE}
    low = modules.state.show_low_sls("infra", pillar={"infra": pillar})
    (daemon,) = [c["daemon"] for c in low if c.get("name") == name and c.get("fun") == "configured"]
    assert "2001:db8" in str(daemon["flags"]) or name == "vmetrics"
    flags.validate_flags({**daemon, "program": programs.program(REAL[name])})


# The vendor's alone: real ones where they are given, elsewhere stand-ins that are as strict.
VENDORS = {
    "vlogs": "victoria-logs",
    "vtraces": "victoria-traces",
    **({"vector": "vector"} if programs.is_real("vector") else {}),
}


@pytest.mark.parametrize("name", VENDORS)
def test_the_vendors_program_accepts_our_flags_and_refuses_another(modules, loaders, name):
    daemons = daemons_of(modules, loaders, "upstream")
    daemon = {**daemons[name], "program": programs.program(VENDORS[name])}
    flags.validate_flags(daemon)
    with pytest.raises(CommandFailed, match="noSuchFlag"):
        flags.validate_flags({**daemon, "options": "--noSuchFlag=1"})


def test_the_alertmanagers_of_a_site_know_each_other(daemons):
    told = [flag["text"] for flag in daemons["alertmanager"]["flags"]]
    assert "--cluster.advertise-address=10.10.10.10:9094" in told
    assert "--cluster.peer=10.10.10.11:9094" in told
    # The next one sends an alert 15 s later (peer-timeout), unless it knows that it was sent.
    assert "--cluster.pushpull-interval=5s" in told
    assert "--cluster.reconnect-interval=5s" in told
    sent = [f["text"] for f in daemons["vmalert"]["flags"] if "notifier" in f["text"]]
    assert sent == ["-notifier.url=http://127.0.0.1:9059", "-notifier.url=http://10.10.10.11:9059"]


def system_calls(group):
    """System calls of one of systemd's groups, those of the groups in it too."""
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    ).stdout
    words = {line.strip() for line in told.splitlines()[1:] if line.startswith("    ")}
    names = {word for word in words if word and not word.startswith(("#", "@"))}
    return names.union(*(system_calls(word) for word in words if word.startswith("@")))


def test_the_filter_of_system_calls_denies_what_is_dangerous_and_nothing_that_is_new(
    minion, daemons
):
    for name, daemon in daemons.items():
        files = unit_files.served(minion, daemon)
        (text,) = (spec["text"] for rel, spec in files.items() if "systemd" in rel)
        values = re.findall(r"^SystemCallFilter=(.*)$", text, re.MULTILINE)
        denied = set().union(*(system_calls(g) for g in values[0].removeprefix("~").split()))
        denied -= {call for value in values[1:] for call in value.split()}
        assert {"mount", "ptrace", "bpf", "kexec_load", "init_module", "chroot"} <= denied, name
        # What @system-service lacks and programs of today call: opening data, reading it, threads.
        wanted = {"mincore", "io_uring_setup", "landlock_create_ruleset", "seccomp", "cachestat"}
        assert not wanted & denied, name
        assert not system_calls("@default") & denied, name


def test_systemd_thinks_well_of_each_unit(minion, daemons, tmp_path):
    # A drop-in is judged together with its package's unit, in the lab.
    for name, daemon in daemons.items():
        if daemon["use_package_unit"]:
            continue
        files = unit_files.served(minion, {**daemon, "program": "/bin/true"})
        (text,) = (spec["text"] for rel, spec in files.items() if rel.endswith(".service"))
        path = tmp_path / f"{daemon['unit']}.service"
        path.write_text(text)
        told = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", str(path)],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        exposure = re.search(r"exposure level for \S+: ([\d.]+)", told)
        assert exposure, (name, told[-500:])
        assert float(exposure[1]) <= 3.0, name
