"""Sites with IPv6: brackets before each port, and keys that are compared as addresses."""

import re

import pytest
from infra_formula import addresses
from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.data import load
from infra_formula.logs import vector
from infra_formula.monitoring import arguments, scraping
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from infra_formula.portal import entries
from infra_formula.repository import arguments as repository_arguments

ONE, TWO = "2001:db8::10", "2001:db8::11"
GRAINS = {"id": "infra-1", "ipv4": ["127.0.0.1"], "ipv6": ["::1", ONE], "os_family": "Debian",
          "kernel": "Linux", "cpuarch": "x86_64", "osmajorrelease": 12, "os": "Debian"}  # fmt: skip


def site(**parameters):
    values = {
        **merging.defaults(GRAINS),
        "infra_hosts": {ONE: {"infra_seq": 1}, TWO: {"infra_seq": 2}},
        "admin_ip": ONE,
        **parameters,
    }
    return Site(values, GRAINS)


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        (ONE, f"[{ONE}]"),
        ("::1", "[::1]"),
        ("fe80::1%eth0", "[fe80::1%eth0]"),
        ("10.0.0.1", "10.0.0.1"),
        ("infra-1", "infra-1"),
        ("[::1]", "[::1]"),
    ],
)
def test_a_host_before_a_port(host, wanted):
    assert addresses.in_url(host) == wanted


@pytest.mark.parametrize("key", [ONE, "2001:DB8::10", "2001:db8:0:0:0:0:0:10"])
def test_a_node_whose_key_is_an_ipv6_address_is_that_node(key):
    assert merging.is_infra_node(GRAINS, {"infra_hosts": {key: {"infra_seq": 1}}})
    here = site(infra_hosts={key: {"infra_seq": 1}, TWO: {"infra_seq": 2}})
    assert here.this_node["seq"] == 1
    assert here.other_addresses == [TWO]


def texts(name):
    return [flag["text"] for flag in daemon_arguments.daemons(site())[name]["flags"]]


def test_flags_have_brackets_and_victoriametrics_speaks_ipv6():
    told = texts("alertmanager")
    assert f"--cluster.listen-address=[{ONE}]:9094" in told
    assert f"--cluster.advertise-address=[{ONE}]:9094" in told
    assert f"--cluster.peer=[{TWO}]:9094" in told
    assert f"-notifier.url=http://[{TWO}]:9059" in texts("vmalert")
    for name in ("vmetrics", "vlogs", "vtraces", "vmalert", "vmalert_logs"):
        assert "-enableTCP6" in texts(name)


def test_a_site_of_ipv4_runs_with_the_flags_that_it_had():
    hosts = {"infra-1": {"infra_seq": 1, "ip": "10.0.0.1"}}
    here = site(infra_hosts=hosts, admin_ip="10.0.0.1")
    flags = [f["text"] for d in daemon_arguments.daemons(here).values() for f in d["flags"]]
    assert not [flag for flag in flags if "[" in flag or flag == "-enableTCP6"]
    targets = {"shop": [{"targets": [f"[{TWO}]:1"]}]}
    here = site(infra_hosts=hosts, admin_ip="10.0.0.1", vmetrics_targets=targets)
    assert daemon_arguments.has_ipv6(here)


def test_targets_and_probes_have_brackets_and_labels_have_none():
    own = arguments.infra_targets(site())
    made = scraping.own_targets(**own)
    for rel, found in made.items():
        for entry in found:
            assert entry["labels"]["ip"] in (ONE, TWO), rel
            (target,) = entry["targets"]
            assert f"[{entry['labels']['ip']}]" in target or target.startswith("127.0.0.1:")
    assert f"[{ONE}]:53" in str(made["probe/infra.yml"])


def test_urls_of_vector_the_portal_and_the_repository_have_brackets():
    given = arguments.vector(site())
    assert given["nodes"] == [f"[{ONE}]:9428", f"[{TWO}]:9428"]
    made = vector.receivers(["infra", "http://${admin_ip}:9428"], given["nodes"], ONE)
    assert [url.partition("/insert/")[0] for url in made] == [
        f"http://[{ONE}]:9428",
        f"http://[{TWO}]:9428",
    ]
    assert entries.expand({"endpoint": "${admin_ip}:3000"}, ONE)["endpoint"] == f"[{ONE}]:3000"
    assert f"http://[{ONE}]:80" in str(repository_arguments.repository(site()))


@pytest.mark.parametrize("address", [ONE, "10.0.0.1", "redis-1"])
def test_the_label_of_a_redis_target_is_its_address(address):
    (redis,) = [job for job in load("scrape_jobs") if job["job_name"] == "redis"]
    (rule,) = [rule for rule in redis["relabel_configs"] if rule.get("target_label") == "ip"]
    target = f"redis://{addresses.in_url(address)}:6379"
    assert re.fullmatch(rule["regex"], target)[1] == address
