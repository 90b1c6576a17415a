"""A cluster of VictoriaMetrics: who runs what of it, by which flags, and who reaches it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.daemon import flags
from infra_formula.daemon import parameters as daemon_parameters
from infra_formula.firewall import arguments as firewall
from infra_formula.monitoring import arguments, cluster, scraping, vmalert
from infra_formula.parameters import elsewhere, merging
from infra_formula.parameters.site import Site
from infra_formula.portal import cards
from infra_formula.status import arguments as status

GRAINS = {"os_family": "Debian", "kernel": "Linux", "cpuarch": "x86_64", "osmajorrelease": 12,
          "os": "Debian"}  # fmt: skip
INFRA = {"infra-1": {"infra_seq": 1, "ip": "10.0.0.1"}}
PAIR = {**INFRA, "infra-2": {"infra_seq": 2, "ip": "10.0.0.2"}}
STORES = {"10.0.0.31": {}, "store-2": {"ip": "10.0.0.32"},
          "10.0.0.33": {"roles": ["vmstorage", "vmselect"]}}  # fmt: skip
ROLES = ("vmstorage", "vminsert", "vmselect")


def site(minion="infra-1", address="10.0.0.1", **parameters):
    grains = {**GRAINS, "id": minion, "ipv4": ["127.0.0.1", address]}
    values = {"infra_hosts": INFRA, "admin_ip": "10.0.0.1", "vmcluster_hosts": STORES}
    return Site({**merging.defaults(grains), **values, **parameters}, grains)


def runs(here):
    return {role for role in ROLES if here[f"{role}_enabled"]}


def flag(here, daemon, name):
    words = flags.command_line(daemon_arguments.daemons(here)[daemon])
    return [word.partition("=")[2] for word in words if word.startswith(f"-{name}=")]


@pytest.mark.parametrize(
    ("minion", "address", "roles"),
    [
        ("infra-1", "10.0.0.1", {"vminsert", "vmselect"}),
        ("whoever", "10.0.0.31", {"vmstorage"}),
        ("store-2", "10.9.9.9", {"vmstorage"}),
        ("store-3", "10.0.0.33", {"vmstorage", "vmselect"}),
        ("other", "10.0.0.99", set()),
    ],
)
def test_a_minion_runs_what_the_pillar_gives_it(minion, address, roles):
    assert runs(site(minion, address)) == roles


def test_an_infra_node_may_store_as_well_and_a_switch_decides():
    both = site(vmcluster_hosts={"infra-1": {"ip": "10.0.0.1"}})
    assert runs(both) == set(ROLES)
    assert runs(site(vmselect_enabled=False)) == {"vminsert"}


def test_a_site_without_one_is_as_before():
    here = site(vmcluster_hosts={})
    assert runs(here) == set()
    assert not here["vmagent_enabled"]
    assert "infra/vmcluster.yml" not in scraping.own_targets(**arguments.infra_targets(here))
    assert not {row["service"] for row in firewall.access(here)} & {"vmstorage_insert", *ROLES}
    assert not {row["name"] for row in status.components(here)} & set(ROLES)
    assert not set(status.units(here)) & set(ROLES)


def test_what_is_written_and_queried_goes_through_the_nodes_own_programs():
    here = site(vmetrics_enabled=False)
    write = "http://127.0.0.1:8480/insert/0/prometheus/api/v1/write"
    assert flag(here, "vmagent", "remoteWrite.url") == [write]
    assert flag(here, "vmalert", "datasource.url") == ["http://127.0.0.1:8481/select/0/prometheus"]
    assert flag(here, "vmalert", "remoteWrite.url") == ["http://127.0.0.1:8429"]
    assert elsewhere.url(here, "vmetrics") == "http://127.0.0.1:8481/select/0/prometheus"
    assert elsewhere.is_available(here, "vmetrics")
    assert daemon_parameters.problems(here) == []
    assert not vmalert.problems({"vmetrics_enabled": False, "vmcluster_hosts": STORES})


def test_both_stores_are_written_to_while_a_site_changes_over():
    here = site()
    assert len(flag(here, "vmagent", "remoteWrite.url")) == 2
    assert flag(here, "vmalert", "datasource.url") == ["http://127.0.0.1:8428"]


def test_each_program_knows_the_members_that_store():
    here = site(vmcluster_replicas=2)
    assert flag(here, "vminsert", "storageNode") == [
        "10.0.0.31:8400", "10.0.0.32:8400", "10.0.0.33:8400",
    ]  # fmt: skip
    assert flag(here, "vmselect", "storageNode") == [
        "10.0.0.31:8401", "10.0.0.32:8401", "10.0.0.33:8401",
    ]  # fmt: skip
    for daemon in ("vminsert", "vmselect"):
        assert flag(here, daemon, "replicationFactor") == ["2"]
    assert flag(here, "vmselect", "dedup.minScrapeInterval") == ["1ms"]
    several = site(infra_hosts=PAIR)
    assert flag(several, "vmselect", "dedup.minScrapeInterval") == ["10s"]
    assert flag(several, "vmstorage", "dedup.minScrapeInterval") == ["10s"]


def test_addresses_of_ipv6_are_in_brackets_and_listened_on():
    hosts = {"2001:db8::31": {}, "store-2": {"ip": "2001:db8::32"}}
    here = site(vmcluster_hosts=hosts)
    assert flag(here, "vminsert", "storageNode") == ["[2001:db8::31]:8400", "[2001:db8::32]:8400"]
    for daemon in ROLES:
        words = flags.command_line(daemon_arguments.daemons(here)[daemon])
        assert "-enableTCP6" in words


def test_the_only_infra_node_that_stores_is_reached_by_all_members():
    own = {"infra-1": {"ip": "10.0.0.1"}}
    both = site(vmcluster_hosts={**own, "10.0.0.31": {"roles": ["vmselect"]}})
    assert flag(both, "vminsert", "storageNode") == ["10.0.0.1:8400"]
    assert flag(both, "vmstorage", "vminsertAddr") == [":8400"]
    assert flag(both, "vmstorage", "vmselectAddr") == [":8401"]
    alone = site(vmcluster_hosts=own)
    assert flag(alone, "vmselect", "storageNode") == ["127.0.0.1:8401"]
    assert flag(alone, "vmstorage", "vmselectAddr") == ["127.0.0.1:8401"]
    assert flag(alone, "vmstorage", "httpListenAddr") == ["127.0.0.1:8482"]


def test_all_of_it_is_scraped():
    rows = scraping.own_targets(**arguments.infra_targets(site(infra_hosts=PAIR)))
    members = {row["labels"]["ins"]: row["targets"] for row in rows["infra/vmcluster.yml"]}
    assert members == {
        "vmstorage-1": ["10.0.0.31:8482"],
        "vmstorage-2": ["10.0.0.32:8482"],
        "vmstorage-3": ["10.0.0.33:8482"],
        "vminsert-1": ["10.0.0.1:8480"],
        "vminsert-2": ["10.0.0.2:8480"],
        "vmselect-1": ["10.0.0.1:8481"],
        "vmselect-2": ["10.0.0.2:8481"],
        "vmselect-3": ["10.0.0.33:8481"],
    }
    alone = scraping.own_targets(**arguments.infra_targets(site()))["infra/vmcluster.yml"]
    assert ["127.0.0.1:8480"] in [row["targets"] for row in alone]


def test_members_reach_each_other_and_nobody_else_reaches_them():
    rows = {row["service"]: row for row in firewall.access(site("store-2", "10.0.0.32"))}
    everyone = ["10.0.0.1", "10.0.0.31", "10.0.0.32", "10.0.0.33"]
    assert rows["vmstorage_insert"]["sources"] == everyone
    assert rows["vmstorage_select"]["ports"] == ["8401/tcp"]
    assert rows["vmstorage_select"]["sources"] == everyone
    assert rows["vmstorage"]["sources"] == ["10.0.0.1"]
    own = {row["service"]: row for row in firewall.access(site())}
    assert own["vmselect"]["reached_by"] == "machine"
    assert "vmstorage_insert" not in own
    pair = {row["service"]: row for row in firewall.access(site(infra_hosts=PAIR))}
    assert pair["vmselect"]["sources"] == ["10.0.0.2"]


def test_the_status_shows_what_runs_here():
    def names(here):
        return {row["name"] for row in status.components(here)}

    assert names(site()) >= {"vminsert", "vmselect", "vmagent"}
    assert names(site("store-2", "10.0.0.32")) >= {"vmstorage"}
    assert not names(site("other", "10.0.0.99")) & set(ROLES)
    rows = {row["name"]: row for row in status.components(site(vmetrics_enabled=False))}
    assert rows["vmetrics"]["check"]["urls"] == [
        "http://127.0.0.1:8481/select/0/prometheus/api/v1/query?query=1"
    ]


def test_the_page_of_metrics_is_that_of_the_cluster():
    settings = {"components": {"vmselect": {}}}
    place = ("program", ("vmselect", "/select/0/prometheus/vmui/"))
    assert cards.target("/vmetrics/vmui/", settings) == place
    settings["components"]["vmetrics"] = {}
    assert cards.target("/vmetrics/vmui/", settings) == ("program", ("vmetrics", "/vmui/"))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"vmcluster_hosts": {"store-1": {}}}, "vmcluster_hosts.store-1.ip: missing"),
        ({"vmcluster_hosts": {"10.0.0.31": {}, "b": {"ip": "10.0.0.31"}}},
         "vmcluster_hosts.b: expected another address than that of vmcluster_hosts.10.0.0.31"),
        ({"vmcluster_hosts": {"::1:2": {}, "0:0:0:0:0:0:1:2": {}}},
         "vmcluster_hosts.0:0:0:0:0:0:1:2: expected another address"),
        ({"vmcluster_hosts": {"10.0.0.31": {"roles": ["vmselect"]}}},
         "vmcluster_hosts: expected a minion with the role vmstorage"),
        ({"vmcluster_replicas": 4}, "vmcluster_replicas: expected at most 3"),
        ({"vmagent_enabled": False}, "vmagent_enabled: expected true"),
        ({"vmetrics_enabled": False, "vmetrics_url": "http://10.0.0.9:9090"},
         "vmetrics_url: expected none"),
        ({"infra_packaging": "distro"}, "vminsert_enabled: expected false with infra_packaging"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_by_its_key(parameters, message):
    assert any(p.startswith(message) for p in daemon_parameters.problems(site(**parameters)))


@given(
    st.dictionaries(
        st.ip_addresses().map(str),
        st.fixed_dictionaries(
            {}, optional={"roles": st.lists(st.sampled_from(ROLES), unique=True, max_size=3)}
        ),
        max_size=5,
    )
)
def test_each_member_is_scraped_once_and_runs_what_is_scraped(hosts):
    here = site(vmcluster_hosts=hosts)
    rows = [(row["ip"], row["cls"]) for row in cluster.targets(here)]
    assert len(rows) == len(set(rows))
    for address in hosts:
        of_member = {role for ip, role in rows if ip == address}
        assert of_member >= runs(site("x", address, vmcluster_hosts=hosts, infra_hosts={}))
    assert len({row["ins"] for row in cluster.targets(here)}) == len(rows)
