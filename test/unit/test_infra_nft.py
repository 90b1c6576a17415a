"""The table that confines ports, and what a ruleset lets in."""

import ipaddress
import json
import shutil
import subprocess
from pathlib import Path
from unittest.mock import create_autospec

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from infra_formula import process
from infra_formula.firewall import nftables as nft
from infra_formula.firewall import packets
from salt.exceptions import CommandExecutionError

CASES = Path(__file__).parent / "cases"
OTHERS = yaml.safe_load((CASES / "nft_rules.yaml").read_text(encoding="utf-8"))
ROWS = [
    {"service": "vmetrics", "ports": ["8428/tcp"], "sources": ["10.0.0.12", "fd00::12"]},
    {"service": "alertmanager", "ports": ["9059/tcp"], "sources": ["fd00::12", "10.0.0.12"]},
    {"service": "alertmanager", "ports": ["9094/tcp", "9094/udp"], "sources": ["10.0.0.12"]},
    {"service": "vlogs", "ports": ["9428/tcp"],
     "sources": ["10.0.0.0/8", "10.0.0.12", "192.168.0.0/16"]},
    {"service": "blackbox", "ports": ["9115/tcp"], "sources": []},
]  # fmt: skip


def test_the_file_is_golden():
    golden = CASES / "infra-firewall.nft"
    assert nft.text(ROWS) == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "row",
    [
        {"ports": ["8428"], "sources": []},
        {"ports": ["0/tcp"], "sources": []},
        {"ports": ["65536/tcp"], "sources": []},
        {"ports": ["1/tcp; drop"], "sources": []},
        {"ports": ["1/icmp"], "sources": []},
        {"ports": ["1/tcp"], "sources": ["10.0.0.2; drop"]},
        {"ports": ["1/tcp"], "sources": ["infra-1"]},
    ],
)
def test_what_is_no_port_and_no_address_does_not_get_into_the_file(row):
    with pytest.raises(ValueError, match=r"expected a port|does not appear to be"):
        nft.text([{"service": "x", **row}])


# -- what nft makes of it


def in_force(*contents):
    """Have nft load files in a network namespace of its own; returns the ruleset then."""
    # A minion's own loader is not needed for that: this is the real program and the real kernel.
    script = 'for f; do printf %s "$f" | nft -f - || exit 1; done; nft --json list ruleset'
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", *contents],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["nftables"]


def usable():
    if shutil.which("nft") is None or shutil.which("unshare") is None:
        return False
    command = ["unshare", "--net", "nft", "list", "tables"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_nft = pytest.mark.skipif(not usable(), reason="no nft, or no right to use it")

networks = st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.ip_addresses(v=4).map(str),
    st.integers(0, 32),
) | st.builds(
    lambda address, length: str(ipaddress.ip_network((address, length), strict=False)),
    st.ip_addresses(v=6).map(str),
    st.integers(0, 128),
)
ports = st.builds(
    lambda number, protocol: f"{number}/{protocol}",
    st.integers(1, 65535).filter(lambda number: number != 22),
    st.sampled_from(["tcp", "udp"]),
)
rows = st.lists(
    st.fixed_dictionaries(
        {
            "service": st.sampled_from(["vmetrics", "vlogs", "grafana"]),
            "ports": st.lists(ports, max_size=3),
            "sources": st.lists(networks, max_size=4),
        }
    ),
    max_size=4,
)


@needs_nft
@settings(max_examples=25, deadline=None)
@given(rows, st.ip_addresses())
def test_loopback_what_is_established_and_every_other_port_are_never_dropped(rows, address):
    rules = in_force(nft.text(rows))
    source = str(address)
    confined = {port for row in rows for port in row["ports"]}
    assert packets.admits(rules, source, 22) is True
    assert packets.admits(rules, source, 22, begins=False) is True
    for port in confined:
        number, _, protocol = port.partition("/")
        entitled = [
            address in ipaddress.ip_network(word)
            for row in rows
            if port in row["ports"]
            for word in row["sources"]
        ]
        asked = (rules, source, int(number), protocol)
        assert packets.admits(*asked, interface="lo") is True
        assert packets.admits(*asked) is any(entitled)
        if protocol == "tcp":
            assert packets.admits(*asked, begins=False) is True
    for free in (80, 443, 53):
        if f"{free}/tcp" not in confined:
            assert packets.admits(rules, source, free) is True


@needs_nft
def test_loading_it_again_replaces_it_and_leaves_the_tables_of_others():
    others = "table ip nat {\n}\ntable inet docker {\n}\n"
    once = in_force(others, nft.text(ROWS))
    again = in_force(others, nft.text(ROWS[:1]), nft.text(ROWS))
    assert nft.managed_table(once) == nft.managed_table(again)
    assert nft.managed_table(once) != []
    named = {
        value["name"]
        for item in nft.other_tables(once)
        for value in item.values()
        if "name" in value
    }
    assert {"nat", "docker"} <= named
    assert nft.managed_table(nft.other_tables(once)) == []


# -- what rules of others let in


@needs_nft
@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case["rules"].split(None, 3)[3][:60])
def test_rules_of_others_are_followed(case):
    assert packets.admits(in_force(case["rules"]), "10.0.0.7", 8428) is case["admitted"]


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers()
    | st.sampled_from(["lo", "@s", "accept", "tcp", "10.0.0.7"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["match", "left", "right", "op", "set", "prefix", "range", "meta", "payload", "key",
             "field", "xt", "vmap", "jump", "goto", "ct", "&", "limit", "drop"]
        ),
        inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(JUNK, max_size=4))
def test_a_rule_that_is_not_understood_is_at_most_unknown(expr):
    place = {"family": "inet", "table": "t"}
    rules = [
        {"chain": {**place, "name": "c", "hook": "input", "type": "filter", "policy": "accept"}},
        {"rule": {**place, "chain": "c", "expr": expr}},
    ]
    assert packets.admits(rules, "10.0.0.7", 8428) in (True, False, None)


@pytest.mark.parametrize("flags", [["syn", "ack"], {"|": ["syn", "ack"]}])
def test_both_ways_in_which_releases_of_nft_write_flags_are_read(flags):
    place = {"family": "inet", "table": "infra"}
    left = {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, flags]}
    begins = {"match": {"op": "!=", "left": left, "right": "syn"}}
    chain = {**place, "name": "input", "hook": "input", "type": "filter", "policy": "drop"}
    rules = [
        {"chain": chain},
        {"rule": {**place, "chain": "input", "expr": [begins, {"accept": None}]}},
    ]
    assert packets.admits(rules, "10.0.0.7", 8428) is False
    assert packets.admits(rules, "10.0.0.7", 8428, begins=False) is True


def test_chains_that_lead_in_a_circle_end():
    place = {"family": "inet", "table": "t"}
    rules = [
        {"chain": {**place, "name": "c", "hook": "input", "type": "filter", "policy": "accept"}},
        {"rule": {**place, "chain": "c", "expr": [{"jump": {"target": "c"}}]}},
    ]
    assert packets.admits(rules, "10.0.0.7", 8428) is None


# -- the program


@pytest.fixture
def program(monkeypatch):
    """What nft answers; a test changes it."""
    answer = {"retcode": 0, "stdout": "", "stderr": ""}
    monkeypatch.setattr(process, "run", create_autospec(process.run, return_value=answer))
    monkeypatch.setattr(nft.salt.utils.path, "which", lambda name: f"/usr/sbin/{name}")
    return answer


def test_why_nft_cannot_be_used_is_said(program, monkeypatch):
    assert nft.unavailable() is None
    program.update(retcode=1, stderr="Operation not permitted (you must be root)\nmore")
    assert (
        nft.unavailable() == "nft cannot be used here: Operation not permitted (you must be root)"
    )
    monkeypatch.setattr(nft.salt.utils.path, "which", lambda name: None)
    assert nft.unavailable() == "nft is not installed"


def test_a_file_that_nft_refuses_is_told_in_its_words(program):
    assert nft.check("") is None
    program.update(retcode=1, stderr="Error: syntax error\n")
    assert "syntax error" in nft.check("x")


@pytest.mark.parametrize(("code", "said"), [(1, ""), (0, "{"), (0, "{}"), (0, "7")])
def test_a_ruleset_that_cannot_be_read_is_an_error(program, code, said):
    program.update(retcode=code, stdout=said)
    with pytest.raises(CommandExecutionError, match="nft list ruleset"):
        nft.ruleset()


def words_of(run):
    return [call.args[0][1:] for call in run.mock_calls]


def test_what_is_loaded_is_read_by_one_call_and_only_if_it_is_needed(program):
    program.update(stdout='{"nftables": [{"metainfo": {}}]}')
    reading = nft.Reading()
    process.run.assert_not_called()
    for _ in range(2):
        assert (reading.fault, reading.rules) == (None, [{"metainfo": {}}])
    assert words_of(process.run) == [["--json", "list", "ruleset"]]


def test_a_machine_that_nft_cannot_be_used_on_has_no_rules_and_a_reason(program, monkeypatch):
    program.update(retcode=1, stderr="Operation not permitted\n")
    reading = nft.Reading()
    assert (reading.rules, reading.fault) == (
        [],
        "nft cannot be used here: Operation not permitted",
    )
    assert words_of(process.run) == [["--json", "list", "ruleset"], ["list", "tables"]]
    monkeypatch.setattr(nft.salt.utils.path, "which", lambda name: None)
    reading = nft.Reading()
    assert (reading.rules, reading.fault) == ([], "nft is not installed")
    assert process.run.call_count == 2


def test_an_nft_that_lists_tables_but_no_rules_is_an_error(program):
    program.update(stdout="JSON support not compiled-in")
    for name in ("fault", "rules"):
        with pytest.raises(CommandExecutionError, match="nft list ruleset"):
            getattr(nft.Reading(), name)
