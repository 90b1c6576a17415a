"""Stores that vmagent writes to: flags, files of credentials, and what is refused."""

import pytest
from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.daemon import flags
from infra_formula.daemon import parameters as daemon_parameters
from infra_formula.monitoring import arguments, remote_write
from infra_formula.parameters import merging, schema, secrets
from infra_formula.parameters.site import Site

GRAINS = {"id": "infra-1", "ipv4": ["127.0.0.1", "10.0.0.1"], "os_family": "Debian",
          "kernel": "Linux", "cpuarch": "x86_64", "osmajorrelease": 12, "os": "Debian"}  # fmt: skip
ONE = {"url": "http://10.9.0.1:9090", "username": "berlin", "password": 'p4ss,"w'}
TWO = {"url": "https://m.example.com/push", "token": "t0ken", "ca_file": "/etc/ssl/x.pem"}


def site(**parameters):
    hosts = {"infra-1": {"infra_seq": 1, "ip": "10.0.0.1"}}
    values = {**merging.defaults(GRAINS), "infra_hosts": hosts, "admin_ip": "10.0.0.1"}
    return Site({**values, **parameters}, GRAINS)


def command(name, **parameters):
    return flags.command_line(daemon_arguments.daemons(site(**parameters))[name])


def values_of(words, flag):
    return [word.partition("=")[2] for word in words if word.startswith(f"-{flag}=")]


def test_vmagent_runs_if_a_store_is_named_and_not_otherwise():
    assert not site()["vmagent_enabled"]
    assert site(vmetrics_remote_write="http://10.9.0.1:9090")["vmagent_enabled"]
    assert "vmagent" in site(vmetrics_remote_write=[ONE]).enabled
    assert site(vmagent_enabled=True)["vmagent_enabled"]


def test_a_site_without_it_has_the_flags_that_it_had():
    words = command("vmetrics")
    assert "-promscrape.config=/infra/prometheus.yml" in words
    assert "-promscrape.fileSDCheckInterval=5s" in words
    assert values_of(command("vmalert"), "remoteWrite.url") == ["http://127.0.0.1:8428"]


def test_each_store_has_its_credentials_in_the_order_of_the_urls():
    words = command("vmagent", vmetrics_remote_write=[ONE, TWO, "http://10.9.0.3"])
    assert values_of(words, "remoteWrite.url") == [
        "http://127.0.0.1:8428/api/v1/write",
        "http://10.9.0.1:9090/api/v1/write",
        "https://m.example.com/push",
        "http://10.9.0.3/api/v1/write",
    ]
    assert values_of(words, "remoteWrite.basicAuth.username") == [",berlin,,"]
    (passwords,) = values_of(words, "remoteWrite.basicAuth.passwordFile")
    (tokens,) = values_of(words, "remoteWrite.bearerTokenFile")
    assert [bool(word) for word in passwords.split(",")] == [False, True, False, False]
    assert [bool(word) for word in tokens.split(",")] == [False, False, True, False]
    assert values_of(words, "remoteWrite.tlsCAFile") == [",,/etc/ssl/x.pem,"]
    assert not values_of(words, "remoteWrite.tlsCertFile")


def test_no_secret_is_in_a_command_line_and_each_is_in_a_file_of_its_own():
    here = site(vmetrics_remote_write=[ONE, TWO])
    assert not [d for d in daemon_arguments.daemons(here).values() if "p4ss" in str(d)]
    files = arguments.remote_write(here)
    assert sorted(file["text"] for file in files.values()) == sorted(['p4ss,"w', "t0ken"])
    assert {(f["mode"], f["user"], f["secret"]) for f in files.values()} == {
        ("0600", "victoria", True)
    }
    named = " ".join(command("vmagent", vmetrics_remote_write=[ONE, TWO]))
    assert all(f"{remote_write.ROOT}/{name}" in named for name in files)


def test_a_file_of_a_credential_keeps_its_name_if_the_stores_are_reordered():
    one = arguments.remote_write(site(vmetrics_remote_write=[ONE, TWO]))
    assert one == arguments.remote_write(site(vmetrics_remote_write=[TWO, ONE]))


def test_vmetrics_does_not_scrape_beside_vmagent_and_rules_are_written_to_it():
    given = {"vmetrics_remote_write": [ONE]}
    assert not [word for word in command("vmetrics", **given) if "promscrape" in word]
    assert "-promscrape.config=/infra/prometheus.yml" in command("vmagent", **given)
    assert values_of(command("vmalert", **given), "remoteWrite.url") == ["http://127.0.0.1:8429"]
    assert values_of(command("vmalert", **given), "datasource.url") == ["http://127.0.0.1:8428"]
    assert arguments.scraper(site(**given)) == "vmagent"


def test_without_a_store_here_only_the_named_ones_are_written_to():
    given = {"vmetrics_enabled": False, "vmetrics_url": "http://10.9.0.1:9090"}
    words = command("vmagent", vmetrics_remote_write="http://10.9.0.1:9090", **given)
    assert values_of(words, "remoteWrite.url") == ["http://10.9.0.1:9090/api/v1/write"]


HOSTS = {f"infra-{n}": {"infra_seq": n * 2, "ip": f"10.0.0.{n}"} for n in (1, 2, 3)}


def test_infra_nodes_share_the_targets_and_write_to_all_stores():
    given = {"infra_hosts": HOSTS, "vmagent_enabled": True, "vmagent_replicas": 2}
    for number in (1, 2, 3):
        here = Site(site(**given).parameters, {**GRAINS, "id": f"infra-{number}", "ipv4": []})
        words = flags.command_line(daemon_arguments.daemons(here)["vmagent"])
        assert values_of(words, "promscrape.cluster.membersCount") == ["3"]
        assert values_of(words, "promscrape.cluster.memberNum") == [str(number - 1)]
        assert values_of(words, "promscrape.cluster.replicationFactor") == ["2"]
        others = {f"http://10.0.0.{n}:8428/api/v1/write" for n in (1, 2, 3) if n != number}
        written = values_of(words, "remoteWrite.url")
        assert set(written) == {"http://127.0.0.1:8428/api/v1/write", *others}
        store = flags.command_line(daemon_arguments.daemons(here)["vmetrics"])
        assert values_of(store, "dedup.minScrapeInterval") == ["10s"]


@pytest.mark.parametrize("replicas", [0, 3, 5])
def test_infra_nodes_do_not_share_what_each_scrapes_in_any_case(replicas):
    given = {"infra_hosts": HOSTS, "vmagent_enabled": True, "vmagent_replicas": replicas}
    words = command("vmagent", **given)
    assert not values_of(words, "promscrape.cluster.membersCount")
    assert values_of(words, "remoteWrite.url") == ["http://127.0.0.1:8428/api/v1/write"]
    assert not values_of(command("vmetrics", **given), "dedup.minScrapeInterval")


OFF = {"vmetrics_enabled": False, "vmalert_enabled": False}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"vmetrics_remote_write": "http://u:hidden1@a"},
            "vmetrics_remote_write: expected a URL without a login",
        ),
        (
            {"vmetrics_remote_write": [{"url": "http://u:hidden1@a"}]},
            "vmetrics_remote_write[0].url: expected a URL without a login",
        ),
        (
            {"vmetrics_remote_write": ["http://a/w?token=hidden1"]},
            "vmetrics_remote_write[0]: expected a URL without a token",
        ),
        (
            {"vmetrics_remote_write": ["http://a", "http://a/"]},
            "vmetrics_remote_write[1]: expected another URL than that of vmetrics_remote_write[0]",
        ),
        (
            {"vmetrics_remote_write": [{"url": "http://a", "username": "u"}]},
            "vmetrics_remote_write[0].password: missing",
        ),
        (
            {"vmetrics_remote_write": {"url": "http://a", "password": "hidden1"}},
            "vmetrics_remote_write.username: missing",
        ),
        (
            {"vmetrics_remote_write": [{"url": "http://a", "cert_file": "/x"}]},
            "vmetrics_remote_write[0].key_file: missing",
        ),
        (
            {"vmetrics_remote_write": [{**ONE, "token": "hidden1"}]},
            "vmetrics_remote_write[0].token: expected a login or a token",
        ),
        (
            {"vmetrics_remote_write": ["http://a"], "vmagent_enabled": False},
            "vmagent_enabled: expected true",
        ),
        (
            {"vmagent_enabled": True, **OFF},
            "vmetrics_remote_write: expected a store",
        ),
    ],
)
def test_a_fault_is_named_by_its_key_and_quotes_no_secret(parameters, message):
    found = daemon_parameters.problems(site(**parameters))
    assert [line for line in found if line.startswith(message)], found
    assert "hidden1" not in "".join(found)


@pytest.mark.parametrize(
    "given",
    [
        5, "metrics", [7], {"username": "u"}, [{"url": "ftp://a"}], [{"url": "http://a", "x": 1}],
        {"url": "http://a", "password": ["p"]}, [[]], [{"url": "http://a", "ca_file": "x"}],
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(given):
    rule = merging.rules()["vmetrics_remote_write"]
    assert schema.check("vmetrics_remote_write", given, rule)


def test_passwords_and_tokens_are_secrets_of_infra_nodes():
    rules = merging.rules()
    given = {"vmetrics_remote_write": [ONE, TWO]}
    public, secret, paths = secrets.split(rules, given)
    assert (public, secret, paths) == ({}, given, ["vmetrics_remote_write"])
    assert {'p4ss,"w', "t0ken"} <= secrets.texts(rules, given)
    assert not secrets.split(rules, {"vmetrics_remote_write": ["http://a"]})[2]
