"""The scrape configuration and the targets, as pure functions of the parameters."""

from pathlib import Path

import pytest
import yaml
from infra_formula.monitoring import blackbox as infra_blackbox
from infra_formula.monitoring import scraping as infra_scrape
from salt.exceptions import SaltInvocationError

REPO = Path(__file__).resolve().parents[2]
JOBS = yaml.safe_load((REPO / "infra/vmetrics/jobs.yaml").read_text(encoding="utf-8"))
VALUES = {
    "blackbox_enabled": True,
    "blackbox_port": 9115,
    "exporter_metrics_path": "/metrics",
    "patroni_ssl_enabled": True,
    "redis_exporter_port": 9121,
    "register_sample_limit": 100000,
    "register_label_limit": 60,
    "minio_scheme": "https",
}
SETTINGS = {
    "closed_ports": [],
    "http_port": 80,
    "https_port": 443,
    "dns": True,
    "dns_port": 53,
    "repo": "/pigsty/repo_complete",
    "blackbox": True,
}


def jobs(custom=None, **values):
    made = infra_scrape.config(JOBS, {**VALUES, **values}, "10s", "8s", custom)
    return {job["job_name"]: job for job in made["scrape_configs"]}


def test_every_job_of_the_documents_is_there():
    assert set(jobs()) == {
        "ping", "probe", "infra", "node", "docker", "etcd", "minio", "pgsql", "pgsql-patroni",
        "pgrds", "redis", "mysql", "kafka", "juice",
    }  # fmt: skip


def test_every_job_finds_its_targets_in_files():
    for name, job in jobs().items():
        folder = "patroni" if name == "pgsql-patroni" else name
        assert job["file_sd_configs"] == [{"files": [f"/infra/targets/{folder}/*.yml"]}]
        assert "targets" not in job
        assert "when" not in job


def test_a_password_of_the_sites_is_not_taken_for_a_parameter():
    secret = "a${word}${blackbox_port}b"  # noqa: S105
    logins = {
        "basic_auth": {"username": secret, "password": secret},
        "authorization": {"credentials": secret},
        "oauth2": {"client_secret": secret, "endpoint_params": {"x": secret}},
        "bearer_token": secret,
        "headers": [f"X-Login: {secret}"],
        "params": {"token": [secret]},
        "consul_sd_configs": [{"token": secret, "basic_auth": {"password": secret}}],
    }
    made = jobs([{"job_name": "shop", **logins}])["shop"]
    assert {key: made[key] for key in logins} == logins


def test_every_job_in_which_minions_register_has_limits():
    custom = [
        {"job_name": "app", "targets": "app"},
        {"job_name": "big", "targets": "big", "sample_limit": 9, "label_limit": 8},
        {"job_name": "static", "static_configs": [{"targets": ["10.0.0.1:1"]}]},
    ]
    found = {n: (j.get("sample_limit"), j.get("label_limit")) for n, j in jobs(custom).items()}
    without = {"infra", "probe", "static"}
    assert {name for name, limits in found.items() if limits == (None, None)} == without
    assert found.pop("big") == (9, 8)
    assert set(found.values()) == {(100000, 60), (None, None)}
    off = jobs(register_sample_limit=0, register_label_limit=0)
    assert not any("sample_limit" in job or "label_limit" in job for job in off.values())


def test_no_job_believes_what_its_targets_say_they_are():
    """With honor_labels a target could name itself by another's ins, cls and ip."""
    assert [name for name, job in jobs().items() if job.get("honor_labels")] == []


def test_ports_are_those_of_the_parameters():
    found = jobs(blackbox_port=19115, redis_exporter_port=19121)
    assert found["ping"]["relabel_configs"][-1]["replacement"] == "127.0.0.1:19115"
    assert found["redis"]["relabel_configs"][-1]["replacement"] == "$1:19121"


def test_without_the_exporter_nothing_is_probed():
    assert {"ping", "probe"} & set(jobs(blackbox_enabled=False)) == set()


def test_a_site_adds_jobs_and_replaces_ours():
    own = [{"job_name": "shop", "targets": "shop"}, {"job_name": "node", "scheme": "https"}]
    found = jobs(own)
    assert found["shop"]["file_sd_configs"] == [{"files": ["/infra/targets/shop/*.yml"]}]
    assert found["node"] == {"job_name": "node", "scheme": "https"}


def test_a_name_that_is_no_parameter_is_an_error():
    with pytest.raises(SaltInvocationError, match="nothing_of_ours"):
        jobs([{"job_name": "x", "targets": "x", "metrics_path": "${nothing_of_ours}"}])


def test_the_nodes_own_targets():
    nodes = [{"ip": "10.10.10.10", "seq": 1}, {"ip": "10.10.10.11", "seq": 2}]
    names = [{"name": "i.pigsty", "entry": "home", "tls": True}]
    found = infra_scrape.own_targets(nodes, {"nginx": 9113, "ca": None}, names, SETTINGS)
    assert found["infra/infra-2.yml"] == [
        {
            "labels": {"ip": "10.10.10.11", "ins": "nginx-2", "cls": "nginx"},
            "targets": ["10.10.10.11:9113"],
        }
    ]
    asked = {(t, e["labels"]["module"]) for e in found["probe/infra.yml"] for t in e["targets"]}
    assert asked == {
        (target.format(ip), module)
        for ip in ("10.10.10.10", "10.10.10.11")
        for target, module in (
            ("https://{}:443/", "http_portal"),
            ("{}:53", "dns_udp"),
            ("{}:53", "dns_tcp"),
            ("http://{}:80/pigsty/repo_complete", "http_2xx"),
        )
    }


def test_what_only_the_node_reaches_is_asked_on_loopback():
    nodes = [{"ip": "10.10.10.10", "seq": 1}]
    given = {**SETTINGS, "closed_ports": [9113]}
    found = infra_scrape.own_targets(nodes, {"nginx": 9113, "vlogs": 9428}, [], given)
    told = [(entry["labels"]["ip"], entry["targets"]) for entry in found["infra/infra-1.yml"]]
    assert told == [("10.10.10.10", ["127.0.0.1:9113"]), ("10.10.10.10", ["10.10.10.10:9428"])]


def test_what_is_off_is_no_target():
    off = {**SETTINGS, "dns": False, "repo": None}
    nodes = [{"ip": "10.10.10.10", "seq": 1}]
    assert infra_scrape.own_targets(nodes, {}, [], off) == {"infra/infra-1.yml": []}
    names = [{"name": "i.pigsty", "entry": "home", "tls": False}]
    found = infra_scrape.own_targets(nodes, {}, names, {**off, "blackbox": False})
    assert found == {"infra/infra-1.yml": []}


def test_targets_of_pillar():
    given = {"shop": [{"targets": ["10.0.0.1:80"], "labels": {"cls": "shop", "n": 1}}]}
    probes = {"tcp_connect": ["10.0.0.2:22", {"target": "10.0.0.3:22", "cls": "ssh"}]}
    found = infra_scrape.pillar_targets(given, probes)
    assert found["shop/pillar.yml"][0]["labels"] == {"cls": "shop", "n": "1"}
    assert [e["labels"]["cls"] for e in found["probe/pillar.yml"]] == ["probe", "ssh"]
    assert {e["labels"]["module"] for e in found["probe/pillar.yml"]} == {"tcp_connect"}


@pytest.mark.parametrize(
    ("parameters", "path"),
    [
        ({"vmetrics_scrape_jobs": [{}]}, "vmetrics_scrape_jobs[0].job_name"),
        (
            {"vmetrics_scrape_jobs": [{"job_name": "a"}]},
            "vmetrics_scrape_jobs[0]: expected targets",
        ),
        (
            {"vmetrics_scrape_jobs": [{"job_name": "a", "targets": "a"}] * 2},
            "vmetrics_scrape_jobs[1].job_name: 'a' is vmetrics_scrape_jobs[0] already",
        ),
        (
            {"vmetrics_scrape_jobs": [{"job_name": "a", "targets": "../x"}]},
            "vmetrics_scrape_jobs[0].targets",
        ),
        ({"vmetrics_targets": {"a/b": [{"targets": []}]}}, "vmetrics_targets.a/b"),
        ({"vmetrics_targets": {"a": [{"targets": ["x y"]}]}}, "vmetrics_targets.a[0].targets[0]"),
        (
            {"vmetrics_targets": {"a": [{"targets": [], "labels": {"b-c": 1}}]}},
            "vmetrics_targets.a[0].labels.b-c",
        ),
        ({"blackbox_targets": {"http_2xx": ["example.com"]}}, "blackbox_targets.http_2xx[0]"),
        ({"blackbox_targets": {"tcp_connect": ["host"]}}, "blackbox_targets.tcp_connect[0]"),
        ({"blackbox_targets": {"icmp": [{"cls": "x"}]}}, "blackbox_targets.icmp[0]"),
        (
            {"blackbox_targets": {"icmp": ["10.0.0.1:80"]}},
            "blackbox_targets.icmp[0]: expected a host",
        ),
        (
            {"blackbox_targets": {"icmp": ["http://h/"]}},
            "blackbox_targets.icmp[0]: expected a host",
        ),
        (
            {"blackbox_targets": {"dns_udp": ["dns://h"]}},
            "blackbox_targets.dns_udp[0]: expected a na",
        ),
        (
            {"blackbox_targets": {"http_2xxx": ["https://a/"]}},
            "blackbox_targets.http_2xxx: expected a module of the blackbox exporter, got "
            "'http_2xxx'; did you mean 'http_2xx'?",
        ),
        ({"blackbox_targets": {"qqq": []}}, "blackbox_targets.qqq: expected a module"),
        (
            {"blackbox_modules": {"ssh": {"prober": "tcp"}}, "blackbox_targets": {"ssh": ["h"]}},
            "blackbox_targets.ssh[0]: expected host:port, got 'h'",
        ),
        (
            {"blackbox_modules": {"shop": {"prober": "http"}}, "blackbox_targets": {"shop": ["h"]}},
            "blackbox_targets.shop[0]: expected an http:// or https:// URL, got 'h'",
        ),
        (
            {"blackbox_modules": {"call": {"prober": "grpc"}}, "blackbox_targets": {"call": ["h"]}},
            "blackbox_targets.call[0]: expected host:port",
        ),
        (
            {"vmetrics_targets": {"probe": [{"targets": ["a"], "labels": {"module": "icpm"}}]}},
            "vmetrics_targets.probe[0].labels.module: expected a module of the blackbox exporter, "
            "got 'icpm'; did you mean 'icmp'?",
        ),
        (
            {"vmetrics_targets": {"probe": [{"targets": ["a"]}]}},
            "vmetrics_targets.probe[0].labels.module: expected a module",
        ),
        (
            {"vmetrics_targets": {"probe": [{"targets": ["a"], "labels": {"module": "http_2xx"}}]}},
            "vmetrics_targets.probe[0].targets[0]: expected an http",
        ),
        ({"vmetrics_scrape_timeout": "20s"}, "vmetrics_scrape_timeout"),
    ],
)
def test_a_fault_is_told_by_its_key(parameters, path):
    (message,) = infra_scrape.problems(parameters)
    assert message.startswith(path)


def test_good_parameters_are_good():
    assert infra_scrape.problems({}) == []
    good = {
        "vmetrics_scrape_jobs": [{"job_name": "a", "targets": "a"}],
        "vmetrics_targets": {"a": [{"targets": ["h:1"], "labels": {"cls": "x"}}]},
        "blackbox_targets": {"http_2xx": ["https://example.com/"], "icmp": ["10.0.0.1"]},
        "vmetrics_scrape_interval": "1m",
        "vmetrics_scrape_timeout": "50s",
    }
    assert infra_scrape.problems(good) == []


@pytest.mark.parametrize(
    ("prober", "target"),
    [
        ("http", "https://[2001:db8::1]:8443/x?y=z"),
        ("tcp", "[2001:db8::1]:22"),
        ("tcp", "mail.example.com:25"),
        ("icmp", "2001:db8::1"),
        ("icmp", "fe80::1%eth0"),
        ("icmp", "gateway"),
        ("dns", "10.0.0.53"),
        ("dns", "[2001:db8::53]:53"),
        ("grpc", "10.0.0.1:9000"),
        ("unix", "/run/x.sock"),
    ],
)
def test_a_modules_prober_decides_what_its_targets_look_like(prober, target):
    # Its name says another prober.
    name = "icmp_shop" if prober == "http" else "http_shop"
    modules = {name: {"prober": prober}}
    good = {"blackbox_modules": modules, "blackbox_targets": {name: [target]}}
    assert infra_scrape.problems(good) == []


def test_probes_of_a_job_of_the_sites_own_are_its_own_matter():
    own = {
        "vmetrics_scrape_jobs": [{"job_name": "probe", "targets": "probe"}],
        "vmetrics_targets": {"probe": [{"targets": ["a"]}]},
    }
    assert infra_scrape.problems(own, ["probe"]) == []


def test_the_exporters_modules():
    settings = {"ca_bundle": "/etc/ssl/certs/ca-certificates.crt", "dns_name": "i.pigsty"}
    made = infra_blackbox.modules(settings, {"http_2xx": {"prober": "http"}})["modules"]
    assert {"icmp", "icmp_ttl5", "http_2xx", "http_post_2xx", "tcp_connect"} <= set(made)
    assert made["http_2xx"] == {"prober": "http"}
    assert 502 not in made["http_portal"]["http"]["valid_status_codes"]
    assert made["dns_tcp"]["dns"]["transport_protocol"] == "tcp"
