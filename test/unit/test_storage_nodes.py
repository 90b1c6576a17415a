"""Storage nodes of VictoriaLogs and VictoriaTraces: who is one, by which flags, who reaches it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from infra_formula.daemon import arguments as daemon_arguments
from infra_formula.daemon import flags
from infra_formula.daemon import parameters as daemon_parameters
from infra_formula.firewall import arguments as firewall
from infra_formula.logs import vector
from infra_formula.monitoring import arguments, scraping
from infra_formula.parameters import elsewhere, merging
from infra_formula.parameters.site import Site
from infra_formula.status import arguments as status
from infra_formula.uninstall import arguments as uninstall

GRAINS = {"os_family": "Debian", "kernel": "Linux", "cpuarch": "x86_64", "osmajorrelease": 12,
          "os": "Debian"}  # fmt: skip
INFRA = {"infra-1": {"infra_seq": 1, "ip": "10.0.0.1"}}
PAIR = {**INFRA, "infra-2": {"infra_seq": 2, "ip": "10.0.0.2"}}
NODES = {"10.0.0.31": {}, "store-2": {"ip": "10.0.0.32"}}
OWN = {"infra-1": {"ip": "10.0.0.1"}}


class Kind:
    """The names that a store has: of the component, the storage node, and the pillar's."""

    def __init__(self, prefix, store, directory, port):
        self.hosts, self.node = f"{prefix}cluster_hosts", f"{prefix}storage"
        self.store, self.directory, self.port = store, directory, port

    def site(self, minion="infra-1", address="10.0.0.1", **parameters):
        grains = {**GRAINS, "id": minion, "ipv4": ["127.0.0.1", address]}
        values = {"infra_hosts": INFRA, "admin_ip": "10.0.0.1", self.hosts: NODES}
        return Site({**merging.defaults(grains), **values, **parameters}, grains)

    def alone(self, minion="infra-1", address="10.0.0.1", **parameters):
        return self.site(minion, address, **{self.hosts: {}, **parameters})


KINDS = [
    pytest.param(Kind("vl", "vlogs", "logs", 9491), id="logs"),
    pytest.param(Kind("vt", "vtraces", "traces", 10491), id="traces"),
]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def words(here, daemon):
    return flags.command_line(daemon_arguments.daemons(here)[daemon])


def flag(here, daemon, name):
    return [word.partition("=")[2] for word in words(here, daemon) if word.startswith(f"-{name}=")]


@pytest.mark.parametrize(
    ("minion", "address", "is_node"),
    [
        ("infra-1", "10.0.0.1", False),
        ("whoever", "10.0.0.31", True),
        ("store-2", "10.9.9.9", True),
        ("other", "10.0.0.99", False),
    ],
)
def test_the_pillar_says_which_minion_is_a_storage_node(kind, minion, address, is_node):
    here = kind.site(minion, address)
    assert here[f"{kind.node}_enabled"] is is_node
    assert (kind.node in {row["name"] for row in status.components(here)}) is is_node
    assert (kind.node in status.units(here)) is is_node


def test_a_switch_decides(kind):
    off = kind.site("whoever", "10.0.0.31", **{f"{kind.node}_enabled": False})
    assert off[f"{kind.node}_enabled"] is False


def test_a_site_without_storage_nodes_is_as_before(kind):
    here = kind.alone()
    assert flag(here, kind.store, "storageDataPath") == [f"/infra/{kind.directory}"]
    assert flag(here, kind.store, "retentionPeriod") == ["15d"]
    assert flag(here, kind.store, "retention.maxDiskSpaceUsageBytes") == ["50GiB"]
    assert not [word for word in words(here, kind.store) if word.startswith("-storageNode")]
    assert here[f"{kind.node}_enabled"] is False
    targets = scraping.own_targets(**arguments.infra_targets(here))
    assert f"infra/{kind.hosts.removesuffix('_hosts')}.yml" not in targets
    assert kind.node not in {row["service"] for row in firewall.access(here)}
    assert kind.node not in {row["name"] for row in status.components(here)}


def test_an_infra_node_divides_and_queries_and_stores_nothing(kind):
    here = kind.site()
    assert flag(here, kind.store, "storageNode") == [
        f"10.0.0.31:{kind.port}", f"10.0.0.32:{kind.port}",
    ]  # fmt: skip
    stored = ("storageDataPath", "retentionPeriod", "retention.maxDiskSpaceUsageBytes")
    assert not [name for name in stored if flag(here, kind.store, name)]
    assert elsewhere.is_available(here, kind.store)
    assert daemon_parameters.problems(here) == []


def test_a_storage_node_has_a_folder_a_port_and_the_retention_of_its_own(kind):
    here = kind.site("store-2", "10.0.0.32", **{f"{kind.store}_retention": "30d"})
    assert flag(here, kind.node, "storageDataPath") == [f"/data/{kind.node}"]
    assert flag(here, kind.node, "httpListenAddr") == [f":{kind.port}"]
    assert flag(here, kind.node, "retentionPeriod") == ["30d"]
    assert flag(here, kind.node, "retention.maxDiskSpaceUsageBytes") == ["50GiB"]
    assert daemon_arguments.daemons(here)[kind.node]["made"] == [f"/data/{kind.node}"]
    assert uninstall.removals(here)[kind.node]["data"] == [f"/data/{kind.node}"]
    unlimited = kind.site("store-2", "10.0.0.32", **{f"{kind.store}_max_disk": ""})
    assert flag(unlimited, kind.node, "retention.maxDiskSpaceUsageBytes") == []


def test_an_infra_node_among_them_goes_on_with_what_it_has_stored(kind):
    here = kind.site(**{kind.hosts: {**OWN, **NODES}})
    assert here[f"{kind.node}_enabled"] is True
    assert flag(here, kind.node, "storageDataPath") == [f"/data/infra/{kind.directory}"]
    assert flag(here, kind.store, "storageDataPath") == []
    moved = kind.site(**{kind.hosts: OWN, f"{kind.node}_data": "/srv/x"})
    assert flag(moved, kind.node, "storageDataPath") == ["/srv/x"]
    # The other INFRA node of the pair only reads and writes.
    second = kind.site("infra-2", "10.0.0.2", infra_hosts=PAIR, **{kind.hosts: {**OWN, **NODES}})
    assert second[f"{kind.node}_enabled"] is False


def test_the_only_infra_node_uses_its_own_storage_node_on_loopback(kind):
    here = kind.site(**{kind.hosts: {**OWN, **NODES}})
    assert flag(here, kind.node, "httpListenAddr") == [f"127.0.0.1:{kind.port}"]
    assert flag(here, kind.store, "storageNode")[0] == f"127.0.0.1:{kind.port}"
    several = kind.site(infra_hosts=PAIR, **{kind.hosts: {**OWN, **NODES}})
    assert flag(several, kind.node, "httpListenAddr") == [f":{kind.port}"]
    assert flag(several, kind.store, "storageNode")[0] == f"10.0.0.1:{kind.port}"


def test_the_same_program_twice_has_no_port_or_folder_in_common(kind):
    here = kind.site(**{kind.hosts: {**OWN, **NODES}})
    running = [daemon_arguments.daemons(here)[name] for name in (kind.store, kind.node)]
    assert len({daemon["port"] for daemon in running}) == 2
    assert len({daemon["unit"] for daemon in running}) == 2
    paths = [flag(here, name, "storageDataPath") for name in (kind.store, kind.node)]
    assert len([path for found in paths for path in found]) == 1


def test_addresses_of_ipv6_are_in_brackets_and_listened_on(kind):
    hosts = {"2001:db8::31": {}, "store-2": {"ip": "2001:db8::32"}}
    here = kind.site(**{kind.hosts: hosts})
    assert flag(here, kind.store, "storageNode") == [
        f"[2001:db8::31]:{kind.port}", f"[2001:db8::32]:{kind.port}",
    ]  # fmt: skip
    for daemon in (kind.store, kind.node):
        assert "-enableTCP6" in words(here, daemon)
    rows = scraping.own_targets(**arguments.infra_targets(here))
    (members,) = [rows[name] for name in rows if name.endswith("cluster.yml")]
    assert members[0]["targets"] == [f"[2001:db8::31]:{kind.port}"]


def test_an_option_adds_a_storage_node_and_an_encrypted_one_is_asked_over_tls(kind):
    more = kind.site(**{f"{kind.store}_options": "-storageNode=10.0.0.40:9428"})
    assert flag(more, kind.store, "storageNode")[-1] == "10.0.0.40:9428"
    assert len(flag(more, kind.store, "storageNode")) == 3
    options = "-tls -tlsCertFile=/etc/x.crt -tlsKeyFile=/etc/x.key"
    here = kind.site(**{f"{kind.node}_options": options})
    assert "-storageNode.tls" in words(here, kind.store)
    assert flag(here, kind.store, "storageNode.tlsCAFile") == ["/etc/pki/ca.crt"]
    rows = scraping.own_targets(**arguments.infra_targets(here))
    (members,) = [rows[name] for name in rows if name.endswith("cluster.yml")]
    assert {row["labels"]["__scheme__"] for row in members} == {"https"}
    plain = scraping.own_targets(**arguments.infra_targets(kind.site()))
    (members,) = [plain[name] for name in plain if name.endswith("cluster.yml")]
    assert not any("__scheme__" in row["labels"] for row in members)


def test_each_storage_node_is_scraped(kind):
    here = kind.site(infra_hosts=PAIR, **{kind.hosts: {**OWN, **NODES}})
    rows = scraping.own_targets(**arguments.infra_targets(here))
    members = rows[f"infra/{kind.hosts.removesuffix('_hosts')}.yml"]
    assert {row["labels"]["ins"]: row["targets"] for row in members} == {
        f"{kind.node}-1": [f"10.0.0.1:{kind.port}"],
        f"{kind.node}-2": [f"10.0.0.31:{kind.port}"],
        f"{kind.node}-3": [f"10.0.0.32:{kind.port}"],
    }
    assert {row["labels"]["cls"] for row in members} == {kind.node}
    closed = kind.site(**{kind.hosts: {**OWN, **NODES}})
    rows = scraping.own_targets(**arguments.infra_targets(closed))
    members = rows[f"infra/{kind.hosts.removesuffix('_hosts')}.yml"]
    assert members[0]["targets"] == [f"127.0.0.1:{kind.port}"]


def test_only_infra_nodes_reach_a_storage_node(kind):
    rows = {row["service"]: row for row in firewall.access(
        kind.site("store-2", "10.0.0.32", infra_hosts=PAIR))}  # fmt: skip
    assert rows[kind.node]["ports"] == [f"{kind.port}/tcp"]
    assert rows[kind.node]["sources"] == ["10.0.0.1", "10.0.0.2"]
    assert rows[kind.node]["reached_by"] == "infra"
    hosts = {kind.hosts: {**OWN, **NODES}}
    pair = {row["service"]: row for row in firewall.access(kind.site(infra_hosts=PAIR, **hosts))}
    assert pair[kind.node]["sources"] == ["10.0.0.2"]
    alone = {row["service"]: row for row in firewall.access(kind.site(**hosts))}
    assert alone[kind.node]["reached_by"] == "machine"


def log_urls(here):
    told = arguments.vector(here)
    return vector.receivers(told["endpoints"], told["nodes"], told["admin_ip"])


def test_several_infra_nodes_store_each_line_once():
    nodes = {"vlcluster_hosts": NODES, "infra_hosts": PAIR}
    kind = Kind("vl", "vlogs", "logs", 9491)
    assert log_urls(kind.site(**nodes)) == ["http://10.0.0.1:9428/insert/jsonline"]
    second = kind.site("infra-2", "10.0.0.2", **nodes)
    assert log_urls(second) == ["http://10.0.0.2:9428/insert/jsonline"]
    client = kind.site("node-1", "10.0.0.50", **nodes)
    assert log_urls(client) == ["http://10.0.0.1:9428/insert/jsonline"]
    vip = kind.site("node-1", "10.0.0.50", **{**nodes, "admin_ip": "10.0.0.9"})
    assert log_urls(vip) == ["http://10.0.0.9:9428/insert/jsonline"]
    # Each of two complete stores gets every line.
    assert len(log_urls(kind.alone("node-1", "10.0.0.50", infra_hosts=PAIR))) == 2
    only = kind.site("node-1", "10.0.0.50")
    assert log_urls(only) == log_urls(kind.alone("node-1", "10.0.0.50"))


def test_what_cannot_work_is_refused_by_its_key(kind):
    def refused(message, **parameters):
        found = daemon_parameters.problems(kind.site(**parameters))
        return any(problem.startswith(message) for problem in found)

    assert refused(f"{kind.hosts}.store-1.ip: missing", **{kind.hosts: {"store-1": {}}})
    twice = {kind.hosts: {"10.0.0.31": {}, "b": {"ip": "10.0.0.31"}}}
    message = f"{kind.hosts}.b: expected another address than that of {kind.hosts}.10.0.0.31"
    assert refused(message, **twice)
    assert refused(f"{kind.store}_enabled: expected true", **{f"{kind.store}_enabled": False})
    clean = {f"{kind.store}_clean": True}
    assert refused(f"{kind.store}_clean: expected false", **clean, **{kind.hosts: OWN})
    assert not refused(f"{kind.store}_clean", **clean)
    elsewhere_ = {**clean, f"{kind.node}_data": "/srv/x", kind.hosts: OWN}
    assert not refused(f"{kind.store}_clean", **elsewhere_)
    debian = {"infra_packaging": "distro", kind.hosts: OWN}
    assert refused(f"{kind.node}_enabled: expected false with infra_packaging", **debian)


@given(
    st.dictionaries(st.ip_addresses().map(str), st.just({}), min_size=1, max_size=5),
    st.sampled_from([param.values[0] for param in KINDS]),
)
def test_each_storage_node_runs_and_is_written_to_and_scraped(hosts, kind):
    here = kind.site(**{kind.hosts: hosts})
    rows = scraping.own_targets(**arguments.infra_targets(here))
    members = rows[f"infra/{kind.hosts.removesuffix('_hosts')}.yml"]
    scraped = [target for row in members for target in row["targets"]]
    assert scraped == flag(here, kind.store, "storageNode")
    assert len({row["labels"]["ins"] for row in members}) == len(hosts)
    for address in hosts:
        assert kind.site("x", address, **{kind.hosts: hosts}, infra_hosts={})[
            f"{kind.node}_enabled"
        ]
