"""What minions publish, and what an INFRA node takes of it, whatever they send."""

import copy
import json
from pathlib import PurePosixPath

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from infra_formula.parameters import merging
from infra_formula.parameters.site import Site
from infra_formula.registration import arguments, generated, inventory
from infra_formula.registration import facts as own_facts
from infra_formula.registration import hosts as infra_hosts

NODES = [
    {"key": "10.10.10.10", "ip": "10.10.10.10", "seq": 1},
    {"key": "infra-2", "ip": "10.10.10.11", "seq": 2},
]
SETTINGS = {
    "nodes": NODES,
    "reserved": {"i.pigsty": "infra_portal.home", "*.apps.pigsty": "dns_wildcards"},
    "jobs": [],
    "others": {},
    "dns_records": ["${admin_ip} p.pigsty # the portal", "not a record"],
    "admin_ip": "10.10.10.10",
    "portal_names": ["i.pigsty"],
    "domains": None,
    "networks": ["10.0.0.0/8", "fd00::/16"],
    "assigned": {},
    "cluster": "nodes",
    "components": ["vmetrics", "nginx"],
    "own_id": "infra-1",
    "own_addresses": ["10.10.10.10", "127.0.0.1", "172.17.0.1", "10.10.10.3"],
}
OTHER_PEM = "-----BEGIN CERTIFICATE-----\n" + "RVZJ" * 20 + "\n-----END CERTIFICATE-----\n"
PEM = "-----BEGIN CERTIFICATE-----\n" + "QUJD" * 20 + "\n-----END CERTIFICATE-----\n"


def facts(number=21, **changes):
    name = changes.pop("ins", f"node-{number}")
    return {
        "contract": 1,
        "ip": f"10.10.10.{number}",
        "ins": name,
        "cls": "nodes",
        "targets": [{"job": "ping"}, {"job": "node", "port": 9100}],
        "dns": [{"address": f"10.10.10.{number}", "names": [name]}],
        **changes,
    }


def accept(mine, before=None, **settings):
    return inventory.accept(mine, {**SETTINGS, **settings}, before)


# -- facts ---------------------------------------------------------------------------------------


def test_good_facts_have_no_problem():
    whole = facts(infra_seq=1, ca=PEM, haproxy=9101)
    whole["targets"].append(
        {"job": "pgsql", "port": 9630, "cls": "pg-test", "ins": "pg-test-1", "labels": {"vip": "x"}}
    )
    assert own_facts.problems(whole) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"contract": 2}, "contract"),
        ({"ip": "10.10.10.300"}, "ip"),
        ({"ip": "127.0.0.1"}, "ip"),
        ({"ip": "::1"}, "ip"),
        ({"ip": "::ffff:127.0.0.1"}, "ip"),
        ({"ip": "169.254.169.254"}, "ip"),
        ({"ip": "0.0.0.0"}, "ip"),  # noqa: S104 - refused, not bound
        ({"ip": 168430090}, "ip"),
        ({"ins": "../../etc/passwd"}, "ins"),
        ({"ins": "a;b"}, "ins"),
        ({"cls": "x\ny"}, "cls"),
        ({"haproxy": "9101; }"}, "haproxy"),
        ({"haproxy": True}, "haproxy"),
        ({"infra_seq": -1}, "infra_seq"),
        ({"ca": "-----BEGIN PRIVATE KEY-----"}, "ca"),
        ({"targets": {}}, "targets"),
        ({"targets": [{"job": "ping"}] * 201}, "targets"),
        ({"targets": ["ping"]}, "targets[0]"),
        ({"targets": [{"job": "../infra"}]}, "targets[0].job"),
        ({"targets": [{"job": "infra", "port": 1}]}, "targets[0].job"),
        ({"targets": [{"job": "node", "port": 0}]}, "targets[0].port"),
        ({"targets": [{"job": "node", "address": "10.0.0.1"}]}, "targets[0]"),
        ({"targets": [{"job": "node", "ins": "a b"}]}, "targets[0].ins"),
        ({"targets": [{"job": "node", "labels": {"ip": "10.0.0.1"}}]}, "targets[0].labels"),
        ({"targets": [{"job": "node", "labels": {"__address__": "x"}}]}, "targets[0].labels"),
        ({"targets": [{"job": "node", "labels": {"a": "x\ny"}}]}, "targets[0].labels.a"),
        ({"dns": [{"address": "10.0.0.1"}]}, "dns[0]"),
        ({"dns": [{"address": "127.0.0.1", "names": ["a"]}]}, "dns[0].address"),
        ({"dns": [{"address": "10.0.0.1", "names": ["a\n10.0.0.2 b"]}]}, "dns[0].names"),
        ({"dns": [{"address": "10.0.0.1", "names": ["A"]}]}, "dns[0].names"),
        ({"dns": [{"address": "10.0.0.1", "names": ["*.x"]}]}, "dns[0].names"),
        ({"shell": "x"}, "'shell'"),
    ],
)
def test_what_is_wrong_is_named(change, path):
    found = own_facts.problems({**facts(), **change})
    assert len(found) == 1
    assert found[0].startswith((f"{path}:", f"{path}.", f"{path} "))


@pytest.mark.parametrize("value", [None, 7, "x", [], {}])
def test_what_is_no_facts_at_all(value):
    assert own_facts.problems(value)


def test_publishers_add_up_and_the_first_names_the_minion():
    found = own_facts.compose(
        [
            {"ip": "10.0.0.1", "ins": "a", "cls": "c", "targets": [{"job": "ping"}], "dns": []},
            {"ins": "b", "targets": [{"job": "ping"}, {"job": "pgsql", "port": 9630}]},
        ]
    )
    assert found["ins"] == "a"
    assert found["targets"] == [{"job": "ping"}, {"job": "pgsql", "port": 9630}]


# -- acceptance ----------------------------------------------------------------------------------


def test_good_minions_are_taken_whole():
    found = accept({"node-21": facts(21), "node-22": facts(22, haproxy=9101)})
    assert list(found["nodes"]) == ["node-21", "node-22"]
    assert found["refused"] == {}


def test_one_broken_minion_does_not_keep_the_others_out():
    found = accept({"node-21": facts(21), "node-22": {"contract": 1}, "a/../b": facts(23)})
    assert list(found["nodes"]) == ["node-21"]
    assert set(found["refused"]) == {"node-22", "a/../b"}


def test_who_was_there_keeps_its_address():
    before = accept({"node-21": facts(21)})["nodes"]
    found = accept({"a-thief": facts(21, ins="a-thief"), "node-21": facts(21)}, before)
    assert list(found["nodes"]) == ["node-21"]
    assert found["refused"]["a-thief"] == [
        "ip: '10.10.10.21' is node-21's; delete the key of the one that is gone"
    ]


def test_of_two_newcomers_with_one_address_neither_is_taken():
    found = accept({"a": facts(21, ins="a"), "b": facts(21, ins="b"), "c": facts(22, ins="c")})
    assert list(found["nodes"]) == ["c"]
    assert set(found["refused"]) == {"a", "b"}


def test_an_infra_nodes_address_is_its_own():
    found = accept({"evil": facts(11, ins="evil")})
    assert found["refused"] == {"evil": ["ip: '10.10.10.11' is that of the INFRA node infra-2"]}
    assert accept({"infra-2": facts(11, ins="infra-2", infra_seq=2)})["refused"] == {}
    assert "infra-2" in accept({"infra-2": facts(12, ins="infra-2")})["refused"]


def test_nobody_makes_itself_an_infra_node():
    found = accept({"evil": facts(21, ins="evil", infra_seq=1)})
    assert "infra_seq: evil at 10.10.10.21 is no INFRA node" in found["refused"]["evil"][0]


def test_an_instance_name_is_taken_once_and_a_minion_id_is_its_minions():
    found = accept({"a": facts(21, ins="b"), "b": facts(22, ins="b")})
    assert list(found["nodes"]) == ["b"]
    assert "ins: 'b'" in found["refused"]["a"][0]


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("i.pigsty", "infra_portal.home"),
        ("p.pigsty", "dns_records"),
        ("x.apps.pigsty", "dns_wildcards"),
        ("node-22", "the minion node-22"),
        ("db.pigsty", "node-21's"),
    ],
)
def test_a_name_of_somebody_else_is_dropped_and_the_rest_taken(name, owner):
    first = facts(21)
    first["dns"].append({"address": "10.10.10.99", "names": ["db.pigsty"]})
    before = accept({"node-21": first, "node-22": facts(22)})["nodes"]
    evil = facts(66, ins="zz")
    evil["dns"].append({"address": "10.10.10.66", "names": [name, "mine.pigsty"]})
    found = accept({"aa": evil | {"ins": "aa"}, "node-21": first, "node-22": facts(22)}, before)
    assert found["nodes"]["aa"]["dns"][-1]["names"] == ["mine.pigsty"]
    found = accept({"node-21": first, "node-22": facts(22), "zz": evil}, before)
    assert owner in found["refused"]["zz"][0]
    assert found["nodes"]["zz"]["dns"][-1]["names"] == ["mine.pigsty"]
    assert found["nodes"]["node-21"]["dns"] == first["dns"]


def test_jobs_that_nobody_scrapes_are_said():
    odd = facts(21, targets=[{"job": "nobody", "port": 1}, {"job": "ping"}])
    found = accept({"node-21": odd})
    assert found["nodes"]["node-21"]["targets"] == [{"job": "ping"}]
    assert "'nobody'" in found["refused"]["node-21"][0]


def test_machines_of_the_pillar_come_first():
    others = {"switch-1": {"ip": "10.10.10.21", "targets": [{"job": "ping"}]}}
    found = accept({"node-21": facts(21)}, others=others)
    assert list(found["nodes"]) == ["switch-1"]
    assert found["nodes"]["switch-1"]["cls"] == "others"
    assert "switch-1's" in found["refused"]["node-21"][0]


NAME = st.sampled_from(["node-1", "node-2", "default", "../x", "a b", "infra-2", "x" * 101, ""])
SCALAR = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
JUNK = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


@st.composite
def published(draw):
    """Facts that are good but for a few of their values, which may be anything."""
    base = facts(draw(st.integers(10, 14)), ins=draw(st.sampled_from(["n", "node-1", "node-2"])))
    base["haproxy"] = draw(st.none() | st.just(9101))
    for key in draw(st.lists(st.sampled_from([*base, "x"]), max_size=2)):
        base[key] = draw(JUNK | NAME)
    if draw(st.booleans()):
        base["dns"] = [{"address": draw(NAME | st.ip_addresses().map(str)), "names": draw(JUNK)}]
    if draw(st.booleans()):
        base["targets"] = [
            {"job": draw(NAME | st.just("node")), "port": draw(SCALAR), "labels": draw(JUNK)}
        ]
    return base


@given(st.dictionaries(NAME, published() | JUNK, max_size=5))
def test_whatever_is_in_the_mine_what_is_made_of_it_is_sound(mine):
    untouched = copy.deepcopy(mine)
    found = accept(mine)
    assert mine == untouched
    nodes = found["nodes"]
    addresses = [f["ip"] for f in nodes.values()]
    assert len(addresses) == len(set(addresses))
    for rel, spec in generated.target_files(nodes).items():
        path = PurePosixPath(rel)
        assert path.parts[0] == "targets"
        assert path.parts[1] in own_facts.JOBS
        assert len(path.parts) == 3
        owner = path.name.removesuffix(".yml").replace("-", ":") if ":" in rel else path.stem
        assert owner in [a.replace(":", "-") for a in addresses]
        for entry in yaml.safe_load(spec["text"]):
            assert set(entry) == {"labels", "targets"}
            assert entry["labels"]["ip"] in addresses
            assert all(isinstance(v, str) for v in entry["labels"].values())
            for target in entry["targets"]:
                assert target.strip("[]").startswith(entry["labels"]["ip"])
    names = {}
    for ident, records in generated.records(nodes).items():
        assert ident not in ("default", "../x", "")
        for record in records:
            for name in record["names"]:
                assert own_facts.is_dns_name(name)
                assert name not in SETTINGS["reserved"]
                assert names.setdefault((name, ":" in record["address"]), ident) == ident
    for name, address in generated.haproxy(nodes).items():
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-._")
        assert address.endswith(":9101")
    # What was taken once is taken again, the same.
    again = inventory.accept(untouched, SETTINGS, nodes)
    assert again["nodes"] == nodes
    json.dumps(found)


# -- what is made of it --------------------------------------------------------------------------


def test_target_files_are_as_pigsty_writes_them():
    node = facts(21, targets=[{"job": "node", "port": 9100}, {"job": "node", "port": 9101}])
    node["targets"].append({"job": "ping"})
    node["targets"].append({"job": "pgsql", "port": 9630, "cls": "pg-test", "ins": "pg-test-1"})
    files = generated.target_files(accept({"node-21": node})["nodes"])
    assert sorted(files) == [
        "targets/node/10.10.10.21.yml",
        "targets/pgsql/10.10.10.21.yml",
        "targets/ping/10.10.10.21.yml",
    ]
    assert yaml.safe_load(files["targets/node/10.10.10.21.yml"]["text"]) == [
        {
            "labels": {"ip": "10.10.10.21", "ins": "node-21", "cls": "nodes"},
            "targets": ["10.10.10.21:9100", "10.10.10.21:9101"],
        }
    ]
    assert yaml.safe_load(files["targets/ping/10.10.10.21.yml"]["text"])[0]["targets"] == [
        "10.10.10.21"
    ]
    pgsql = yaml.safe_load(files["targets/pgsql/10.10.10.21.yml"]["text"])[0]
    assert pgsql["labels"] == {"ip": "10.10.10.21", "ins": "pg-test-1", "cls": "pg-test"}
    assert files["targets/pgsql/10.10.10.21.yml"]["mode"] == "0640"


def test_a_switched_off_exporter_is_nowhere():
    nodes = accept({"node-21": facts(21, targets=[])})["nodes"]
    assert generated.target_files(nodes) == {}
    assert generated.haproxy(nodes) == {}


def test_the_home_page_shows_the_machines():
    nodes = accept({"node-21": facts(21, haproxy=9101)})["nodes"]
    assert generated.page_nodes(nodes, "10.10.10.21") == [
        {
            "name": "node-21",
            "address": "10.10.10.21",
            "cluster": "nodes",
            "admin": True,
            "links": [{"name": "HAProxy", "url": "/haproxy/node-21/"}],
        }
    ]


def test_a_ca_is_taken_from_infra_nodes_only():
    first = facts(10, ins="infra-1", ca=PEM)
    second = facts(11, ins="infra-2", ca=PEM)
    thief = facts(12, ins="thief", ca=PEM)
    mine = {"infra-1": first, "infra-2": second, "thief": thief}
    found = inventory.divided_authorities(mine, NODES, [])
    # infra-2 is known by its id, infra-1 by an address that anybody can claim, also alone.
    assert set(found["trusted"]) == {"infra-2"}
    assert set(found["unverified"]) == {"infra-1"}
    mine["thief"] = facts(10, ins="thief", ca=PEM.replace("QUJD", "RVZJ"))
    mine["other"] = facts(11, ins="other", ca=PEM.replace("QUJD", "RVZJ"))
    found = inventory.divided_authorities(mine, NODES, [])
    assert set(found["trusted"]) == {"infra-2"}
    assert set(found["unverified"]) == {"infra-1", "thief"}
    del mine["infra-1"], mine["infra-2"]
    assert inventory.divided_authorities(mine, NODES, [])["trusted"] == {}


@settings(max_examples=200, deadline=None)
@given(
    keys=st.lists(st.sampled_from(["infra-1", "10.10.10.10", "10.10.10.11"]), max_size=3),
    claims=st.dictionaries(
        st.sampled_from(["infra-1", "thief", "10.10.10.10", "node-1"]),
        st.tuples(st.sampled_from([10, 11, 12]), st.sampled_from([PEM, OTHER_PEM])),
    ),
)
def test_no_claim_to_an_address_makes_a_ca_trusted(keys, claims):
    nodes = [{"key": k, "ip": "10.10.10.10" if k == "infra-1" else k, "seq": n}
             for n, k in enumerate(keys)]  # fmt: skip
    mine = {i: facts(number, ins=i, ca=pem) for i, (number, pem) in claims.items()}
    trusted = inventory.divided_authorities(mine, nodes, [])["trusted"]
    assert set(trusted) <= {"infra-1"} & set(keys)
    assert inventory.divided_authorities(mine, nodes, ["0" * 64])["trusted"] == {}


def test_a_key_that_is_an_address_is_a_warning():
    hosts = {"10.10.10.10": {"infra_seq": 1}, "infra-2": {"infra_seq": 2, "ip": "10.10.10.11"}}
    (warning,) = infra_hosts.hosts_warnings({"infra_hosts": hosts})
    assert warning.startswith("infra_hosts['10.10.10.10']: any minion can claim an address")
    for known in ({"ca_fingerprint": "0" * 64}, {"ca_crt": PEM}):
        assert infra_hosts.hosts_warnings({"infra_hosts": hosts, **known}) == []
    assert infra_hosts.hosts_warnings({"infra_hosts": [1]}) == []


# -- pillar --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ({}, "infra_hosts: expected at least one INFRA node"),
        (None, "infra_hosts: expected at least one INFRA node"),
        (
            {"infra-1": {"infra_seq": 1}, "infra-2": {"infra_seq": 2}},
            "infra_hosts['infra-1'].ip: missing",
        ),
        (
            {"10.0.0.1": {"infra_seq": 1}, "b": {"infra_seq": 2, "ip": "10.0.0.1"}},
            "infra_hosts['b']: 10.0.0.1 is the address of 10.0.0.1 too",
        ),
        ({"10.0.0.1": {"infra_seq": 1, "ip": "10.0.0.2"}}, "infra_hosts['10.0.0.1'].ip: expected"),
        ({"127.0.0.1": {"infra_seq": 1}}, "infra_hosts['127.0.0.1']: expected the address"),
    ],
)
def test_infra_hosts_as_a_whole(hosts, said):
    assert infra_hosts.hosts_problems(hosts, "10.10.10.10")[0].startswith(said)


@pytest.mark.parametrize(
    "hosts",
    [
        {"10.0.0.1": {"infra_seq": 1}},
        {"infra-1": {"infra_seq": 1}},
        {"infra-1.example.com": {"infra_seq": 1, "ip": "10.0.0.1"}, "10.0.0.2": {"infra_seq": 2}},
    ],
)
def test_infra_hosts_that_are_well(hosts):
    assert infra_hosts.hosts_problems(hosts, "10.10.10.10") == []


DEFAULTS = merging.defaults({"id": "infra-1", "os_family": "Debian"})


def registration(**parameters):
    grains = {"id": "infra-1", "ipv4": ["10.10.10.10"], "ipv6": ["fd00::10"]}
    hosts = {"infra-1": {"infra_seq": 1, "ip": "10.10.10.10"}}
    return arguments.registration(Site({**DEFAULTS, "infra_hosts": hosts, **parameters}, grains))


def test_what_decides_the_inventory_is_taken_from_the_parameters():
    portal = {"home": {"domain": "i.pigsty"}, "wiki": {"domain": "w.a.x", "domains": ["v.a.x"]}}
    nodes = {"node-1": {"nodename": "web", "vlogs_enabled": False}, "node-2": {"timezone": "UTC"}}
    found = registration(infra_portal=portal, nodes=nodes)
    assert found["portal_names"] == ["i.pigsty", "w.a.x", "v.a.x"]
    assert found["networks"] == DEFAULTS["node_firewall_intranet"]
    assert registration(register_networks=["10.1.0.0/16"])["networks"] == ["10.1.0.0/16"]
    assert found["assigned"] == {"node-1": {"nodename": "web"}}
    assert (found["own_id"], found["own_addresses"]) == ("infra-1", ["10.10.10.10", "fd00::10"])
    assert {"vmetrics", "nginx", "grafana"} <= set(found["components"])
    decided = inventory.accept({"node-21": facts(21)}, found)
    assert list(decided["nodes"]) == ["node-21"]


@pytest.mark.parametrize(
    ("nodes", "cluster"),
    [
        ({}, "nodes"),
        ({"node-1": {"node_cluster": "pg"}}, "nodes"),
        # This node has another one, so that it cannot see which is that of all others.
        ({"infra-1": {"node_cluster": "infra"}}, None),
        ({"fd00::10": {"node_cluster": "infra"}}, None),
    ],
)
def test_the_common_cluster_is_protected_from_nobody(nodes, cluster):
    found = registration(nodes=nodes)
    assert found["cluster"] == cluster
    mine = {"node-21": facts(21), "node-1": facts(22, ins="node-1", cls="pg")}
    assert inventory.accept(mine, found)["refused"] == {}


def test_domains_and_networks_are_checked():
    fine = {"register_domains": ["pigsty", "pg-*", "*.corp.example"]}
    fine["register_networks"] = ["10.0.0.0/8"]
    assert own_facts.pillar_problems(fine) == []
    found = own_facts.pillar_problems(
        {"register_domains": ["", "*", ".x", "a b"], "register_networks": ["10.0.0.1/8", "x"]}
    )
    assert [e.split(":")[0] for e in found] == [
        *(f"register_domains[{n}]" for n in range(4)),
        *(f"register_networks[{n}]" for n in range(2)),
    ]


def test_what_pillar_publishes_is_checked_before_it_is():
    found = own_facts.pillar_problems(
        {
            "register": {"pg": {"targets": [{"job": "pgsql", "port": "x"}]}, "a b": {}},
            "register_others": {"switch-1": {"ip": "10.0.0.300"}},
        }
    )
    assert [e.split(":")[0] for e in found] == [
        "register['pg'].targets[0].port",
        "register['a b']",
        "register_others['switch-1'].ip",
    ]
