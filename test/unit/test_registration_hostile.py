"""Hostile facts: none fails what is made of the inventory, and none changes what others have."""

import copy
import json

import hostile_facts
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from infra_formula import paths
from infra_formula.errors import InfraError, InvalidInput
from infra_formula.fileset.file_set import FileSet
from infra_formula.registration import canonical, domains, generated, inventory
from infra_formula.registration import facts as own_facts

SETTINGS = {
    "nodes": [
        {"key": "infra-1", "ip": "10.10.10.10", "seq": 1},
        {"key": "10.10.10.11", "ip": "10.10.10.11", "seq": 2},
    ],
    "reserved": {"i.pigsty": "infra_portal.home", "*.apps.pigsty": "dns_wildcards"},
    "portal_names": ["i.pigsty"],
    "jobs": [],
    "others": {"switch-1": {"ip": "10.10.10.250", "targets": [{"job": "ping"}]}},
    "dns_records": ["10.10.10.10 p.pigsty"],
    "admin_ip": "10.10.10.10",
    "domains": None,
    "networks": ["10.0.0.0/8", "fd00::/8"],
    "assigned": {"node-22": {"node_cluster": "pg-meta"}},
    "cluster": "nodes",
    "components": ["vmetrics", "nginx"],
    "own_id": "infra-1",
    "own_addresses": ["10.10.10.10", "127.0.0.1", "172.17.0.1", "10.10.10.3"],
}


def site():
    """The mine of a site in which all is well."""
    mine = {
        name: hostile_facts.good(name, f"10.10.10.{number}")
        for name, number in (("infra-1", 10), ("infra-2", 11), ("node-21", 21), ("node-22", 22))
    }
    mine["infra-1"]["infra_seq"] = 1
    mine["infra-2"] |= {"infra_seq": 2, "haproxy": None}
    mine["node-21"]["targets"].append({"job": "pgsql", "port": 9630, "ins": "pg-test-1"})
    mine["node-21"]["dns"].append({"address": "10.10.10.2", "names": ["db.pigsty"]})
    mine["node-22"]["cls"] = "pg-meta"
    return mine


MINE = site()
BEFORE = inventory.accept(MINE, SETTINGS)
ATTACKS = list(hostile_facts.records())


def accept(mine, before=BEFORE["nodes"], **settings):
    return inventory.accept(mine, {**SETTINGS, **settings}, before)


def check_outputs(nodes):
    """What is made of an inventory is what its programs take."""
    folded = [canonical.name(f["ins"]) for f in nodes.values()]
    assert len(folded) == len(set(folded))
    files = generated.target_files(nodes)
    for rel, spec in files.items():
        address = rel.rpartition("/")[2].removesuffix(".yml")
        assert address in {f["ip"].replace(":", "-") for f in nodes.values()}
        assert rel.split("/")[1] in own_facts.JOBS
        for entry in yaml.safe_load(spec["text"]):
            assert {"ip", "ins", "cls"} <= set(entry["labels"])
    FileSet("hostile", "/nonexistent").plan(files)
    for records in generated.records(nodes).values():
        for record in records:
            assert canonical.host_address(record["address"]) == record["address"]
            for name in record["names"]:
                assert canonical.is_dns_name(name), name
    for name, address in generated.haproxy(nodes).items():
        assert canonical.is_name(name)
        host = address.rpartition(":")[0].strip("[]")
        assert host in {f["ip"] for f in nodes.values()}
    json.dumps(generated.page_nodes(nodes, "10.10.10.10"))


def test_a_site_in_which_all_is_well_is_taken_whole():
    assert BEFORE["refused"] == {}
    assert set(BEFORE["nodes"]) == {*MINE, "switch-1"}
    assert len(ATTACKS) > 1000


@pytest.mark.parametrize("ident", ["aaa-1", "zzz-1"])
def test_no_hostile_record_fails_a_run_or_changes_what_others_have(ident):
    for attack, facts in ATTACKS:
        mine = {ident: facts, **MINE}
        found = accept(mine)
        others = {i: f for i, f in found["nodes"].items() if i != ident}
        assert others == BEFORE["nodes"], attack
        assert set(found["refused"]) <= {ident}, attack
        if ident in found["nodes"]:
            check_outputs(found["nodes"])
        text = json.dumps(found)
        assert len(text) < 2_000_000, attack
        # What was decided once is decided again: a second apply changes nothing.
        assert accept(mine, found["nodes"])["nodes"] == found["nodes"], attack


def test_minions_that_all_publish_one_attack_each_leave_the_site_as_it_is():
    mine = dict(MINE)
    for number, (_attack, facts) in enumerate(ATTACKS):
        facts = copy.deepcopy(facts)
        if isinstance(facts, dict) and facts.get("ip") == "10.10.10.66":
            facts["ip"] = f"10.20.{number >> 8}.{number & 255}"
        if isinstance(facts, dict) and facts.get("ins") == "evil":
            facts["ins"] = f"evil-{number}"
        mine[f"evil-{number}"] = facts
    found = accept(mine)
    assert {i: found["nodes"][i] for i in BEFORE["nodes"]} == BEFORE["nodes"]
    assert len(found["nodes"]) > 300
    check_outputs(found["nodes"])
    assert accept(mine, found["nodes"])["nodes"] == found["nodes"]


@pytest.mark.parametrize("ident", ["aaa-1", "zzz-1"])
def test_a_known_minion_that_turns_hostile_takes_nothing_of_others(ident):
    """An unchanged claim beats a changed one, whatever the order of the ids."""
    known = accept({ident: hostile_facts.good(ident, "10.10.10.66"), **MINE})["nodes"]
    assert ident in known
    for attack, facts in hostile_facts.records(ident):
        found = accept({ident: facts, **MINE}, known)
        assert {i: f for i, f in found["nodes"].items() if i != ident} == BEFORE["nodes"], attack
    theft = {**hostile_facts.good(ident), **{k: MINE["node-21"][k] for k in ("ip", "ins", "dns")}}
    found = accept({ident: theft, **MINE}, known)
    assert found["nodes"] == BEFORE["nodes"]
    assert "'10.10.10.21' is node-21's" in found["refused"][ident][0]


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=4)
    | st.text(max_size=12)
    | st.sampled_from([*hostile_facts.ADDRESSES, *hostile_facts.NAMES]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*hostile_facts.KEYS, "job", "port", "names"]), inner)
    ),
    max_leaves=10,
)
IDS = st.sampled_from(["aaa-1", "AAA-1", "zzz-1", "db.pigsty", "pg-test-1", "default", "a/../b"])


@st.composite
def hostile(draw):
    number = draw(st.integers(10, 70))
    facts = hostile_facts.good(draw(IDS | st.sampled_from(list(MINE))), f"10.10.10.{number}")
    for key in draw(st.lists(st.sampled_from(hostile_facts.KEYS), max_size=3)):
        facts[key] = draw(JUNK)
    return facts


@given(st.dictionaries(IDS, hostile() | JUNK, max_size=5), st.booleans())
def test_whatever_minions_publish_together_others_keep_what_they_have(mine, known):
    before = BEFORE["nodes"]
    if known:
        before = accept({i: hostile_facts.good(i, f"10.10.11.{n}") for n, i in enumerate(mine)}
                        | MINE)["nodes"]  # fmt: skip
    found = accept({**mine, **MINE}, before)
    for ident, facts in BEFORE["nodes"].items():
        kept = found["nodes"][ident]
        # A minion that the master accepted under such an id has that name.
        names = [n for r in facts["dns"] for n in r["names"] if n not in mine]
        assert {**kept, "dns": [], "targets": []} == {**facts, "dns": [], "targets": []}
        assert [n for r in kept["dns"] for n in r["names"]] == names
        assert [t for t in facts["targets"] if t.get("ins") not in mine] == kept["targets"]
    check_outputs(found["nodes"])
    again = accept({**mine, **MINE}, found["nodes"])
    assert again["nodes"] == found["nodes"]


@given(st.text(max_size=40) | st.ip_addresses().map(str))
def test_a_canonical_address_is_canonical_again_and_never_a_mapped_one(text):
    found = canonical.host_address(text)
    if found is not None:
        assert canonical.host_address(found) == found
        assert ":" not in found or "." not in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("::ffff:10.10.10.66", "10.10.10.66"),
        ("FD00:0:0::A", "fd00::a"),
        ("::10.10.10.66", None),
        ("::1:2", None),
        ("100.100.100.200", None),
        ("168.63.129.16", None),
        ("fd00:ec2::254", None),
        ("64:ff9b::a0a:a0a", None),
    ],
)
def test_addresses_have_one_form(text, expected):
    assert canonical.host_address(text) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["i.pigsty", "wiki.pigsty"], ["pigsty"]),
        (["*.apps.corp.example"], ["corp.example"]),
        (["example.com"], ["example.com"]),
        (["shop.co.uk", "www.shop.co.uk"], ["shop.co.uk"]),
        (["portal"], ["portal"]),
    ],
)
def test_the_sites_domains_are_those_of_the_portal_and_nothing_that_is_sold(names, expected):
    assert domains.site_domains(names) == expected


@pytest.mark.parametrize(
    ("name", "patterns", "allowed"),
    [
        ("x.pigsty", ["pigsty"], True),
        ("a.b.pigsty", ["pigsty"], True),
        ("pigsty", ["pigsty"], False),
        ("xpigsty", ["pigsty"], False),
        ("pg-1", ["pg-*"], True),
        ("pg-1.google.com", ["pg-*"], False),
        ("pg-1", [], False),
        ("node-9", [], True),
        ("given", [], True),
        ("wpad.pigsty", ["pigsty"], False),
    ],
)
def test_names_lie_below_the_sites_domains_or_are_the_minions_own(name, patterns, allowed):
    found = domains.problem(name, "Node-9", {"given"}, patterns)
    assert (found is None) == allowed


def test_what_the_pillar_gives_to_a_minion_is_its_own_before_all_others():
    given = {
        "node-23": {"nodename": "web", "node_ip": "192.0.2.23", "node_cluster": "web"},
        "10.10.10.24": {"register": {"pg": {"dns": [{"address": "192.0.2.99", "names": ["vip"]}]}}},
    }
    first = hostile_facts.good("aaa-1", "10.10.10.66")
    mine = {"aaa-1": {**first, "ins": "web"}, **MINE}
    before = accept(mine)["nodes"]
    assert before["aaa-1"]["ins"] == "web"
    mine["node-23"] = {**hostile_facts.good("web", "192.0.2.23"), "cls": "web"}
    mine["node-23"]["dns"][0]["names"] = ["web"]
    mine["node-24"] = hostile_facts.good("node-24", "10.10.10.24")
    mine["node-24"]["dns"] = [{"address": "192.0.2.99", "names": ["vip"]}]
    mine["aaa-2"] = {**hostile_facts.good("aaa-2", "10.10.10.67"), "cls": "web"}
    found = accept(mine, before, assigned=given)
    assert found["nodes"]["node-23"]["dns"] == mine["node-23"]["dns"]
    assert found["nodes"]["node-24"]["dns"] == mine["node-24"]["dns"]
    assert found["refused"] == {
        "aaa-1": ["ins: 'web' is node-23's"],
        "aaa-2": ["cls: 'web' is assigned to others (nodes)"],
    }
    # Whoever was in a cluster before stays in it.
    before = {**before, "aaa-2": {**hostile_facts.good("aaa-2", "10.10.10.67"), "cls": "web"}}
    assert "aaa-2" in accept(mine, before, assigned=given)["nodes"]
    publishers = {"x": {"targets": [7], "dns": ["x", {"names": 7}]}, "y": 7}
    wrong = {"nodename": 7, "register": [], "node_ip": []}
    for junk in (None, 7, "x", [], wrong, {"register": publishers}):
        assert accept(MINE, assigned={"node-21": junk, 7: junk})["nodes"] == BEFORE["nodes"]


def test_members_of_a_cluster_may_each_register_its_name_and_one_of_them_has_it():
    record = [{"address": "10.10.10.9", "names": ["pg.pigsty"]}]
    members = {
        name: {**hostile_facts.good(name, f"10.10.10.{n}"), "dns": record}
        for name, n in (("m-1", 31), ("m-2", 32))
    }
    found = accept({**MINE, **members})
    assert generated.records(found["nodes"])["m-1"] == record
    assert found["refused"] == {"m-2": ["dns: 'pg.pigsty' is m-1's"]}
    members["m-2"]["dns"] = [{"address": "10.10.10.8", "names": ["pg.pigsty"]}]
    assert set(accept({**MINE, **members})["refused"]) == {"m-1", "m-2"}
    assert set(accept({**MINE, **members}, found["nodes"])["refused"]) == {"m-2"}


def test_an_error_of_any_kind_in_a_reload_restores_the_files(tmp_path, monkeypatch):
    """The check of what a name server answers may refuse a name by another error than a failure."""
    monkeypatch.setattr(paths, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(paths, "LOCK_DIR", tmp_path / "lock")
    root = tmp_path / "hosts.d"
    FileSet("names", root).plan({"a": {"text": "old\n"}}).apply()
    for error in (InvalidInput("a label of 64 characters"), ValueError("x"), InfraError("y")):
        calls = []

        def reload(error=error, calls=calls):
            calls.append((root / "a").read_text())
            if len(calls) == 1:
                raise error

        with pytest.raises(type(error)):
            FileSet("names", root).plan({"a": {"text": "new\n"}}).apply(reload=reload)
        assert calls == ["new\n", "old\n"]
        assert (root / "a").read_text() == "old\n"
        assert FileSet("names", root).plan({"a": {"text": "old\n"}}).has_changes is False
